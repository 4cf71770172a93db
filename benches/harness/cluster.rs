//! A throwaway PostgreSQL cluster, made from the installed binaries.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// Ends the cluster when the shell's input ends: when this program ends, however it ends.
const WATCHDOG: &str = r#"
"$1/postgres" -D "$2/data" -c listen_addresses= -c unix_socket_directories="$2" -c max_wal_size=4GB >"$2/log" 2>&1 </dev/null &
read -r _
kill -INT $!
wait $!
"#;

/// A cluster that runs.
pub struct Cluster {
    watchdog: Child,
    folder: TempDir,
}

impl Cluster {
    /// Makes a cluster below `place` and starts it. `None` when PostgreSQL is not installed.
    pub async fn start(place: &Path) -> Option<Self> {
        let bin = installed()?;
        let folder = tempfile::tempdir_in(place).expect("a folder");
        let user = other_user();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        let run = |program: &Path| {
            let mut command = Command::new(program);
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command.current_dir("/").stdout(Stdio::null());
            command
        };
        let mut initdb = run(&bin.join("initdb"));
        initdb
            .args(["-A", "trust", "-U", "tollreeve", "-E", "UTF8", "--locale", "C", "-D"])
            .arg(folder.path().join("data"));
        assert!(initdb.status().expect("initdb runs").success(), "initdb has failed");
        let mut shell = run(Path::new("sh"));
        shell.args(["-c", WATCHDOG, "sh"]).arg(&bin).arg(folder.path()).stdin(Stdio::piped());
        let cluster = Self { watchdog: shell.spawn().expect("a shell"), folder };
        for _ in 0..300 {
            if PgConnection::connect(&cluster.url()).await.is_ok() {
                return Some(cluster);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL does not answer");
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        format!("postgres://tollreeve@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It ends by itself; the folder goes after it.
        let _ = self.watchdog.wait();
    }
}

/// The folder of the first PostgreSQL that is found.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let packaged = packaged.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    std::env::split_paths(&path)
        .chain(packaged)
        .filter_map(|bin| bin.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned))
        .find(|bin| bin.join("postgres").is_file())
}

/// Whom to run as: PostgreSQL refuses to run as root.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user `postgres`");
    let mut numbers = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    Some((numbers.next().expect("a user"), numbers.next().expect("a group")))
}
