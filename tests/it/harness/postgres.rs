//! A throwaway PostgreSQL cluster, made from the installed binaries. One serves the whole test process; a test that
//! wants to stop it makes its own.
//!
//! A shell waits beside the cluster for the end of the test process, however that ends, and takes the cluster with it.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;

use super::eventually;

/// Set: a test that needs PostgreSQL fails when there is none.
pub const REQUIRED: &str = "TOLLREEVE_TEST_REQUIRE_POSTGRES";

/// Runs the cluster as a child, until a line or the end of its input. Without the line `keep` nothing is left behind.
const WATCHDOG: &str = r#"
bin=$1; folder=$2; shift 2
"$bin/postgres" -D "$folder/data" "$@" >>"$folder/log" 2>&1 </dev/null &
read -r word
if [ "$word" = crash ]; then kill -QUIT $!; else kill -INT $!; fi
wait $!
if [ -z "$word" ]; then rm -rf "$folder"; fi
"#;

/// A cluster that runs, or is stopped for a while.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    watchdog: Option<Child>,
}

/// The cluster that most tests share; `None` when PostgreSQL is not installed.
pub async fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
    SHARED.get_or_init(|| Cluster::start(&[])).await.as_ref()
}

impl Cluster {
    /// Makes a cluster and starts it. `None`, with a line that says so, when PostgreSQL is not installed.
    pub async fn start(settings: &[&str]) -> Option<Self> {
        let Some(bin) = installed() else {
            assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and PostgreSQL is not installed");
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let mut cluster = Self::empty(bin);
        let mut initdb = cluster.command("initdb");
        initdb.args(["--no-sync", "-A", "trust", "-U", "tollreeve", "-E", "UTF8", "--locale", "C", "-D"]);
        make(initdb.arg(cluster.folder.join("data")));
        cluster.resume(settings).await;
        Some(cluster)
    }

    /// Makes a standby of it that follows, and starts it.
    pub async fn standby(&self) -> Self {
        let mut standby = Self::empty(self.bin.clone());
        let mut copy = standby.command("pg_basebackup");
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--pgdata"]);
        copy.arg(standby.folder.join("data")).arg("--dbname").arg(self.url("postgres"));
        make(&mut copy);
        standby.resume(&[]).await;
        standby
    }

    /// Runs a statement as its administrator.
    pub async fn run(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connects");
        connection.execute(sql).await.expect("runs");
        connection.close().await.expect("closes");
    }

    fn empty(bin: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder").keep();
        let owner = other_owner();
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        Self { bin, folder, owner, watchdog: None }
    }

    /// Starts the cluster again after [`Cluster::stop`] or [`Cluster::crash`].
    pub async fn resume(&mut self, settings: &[&str]) {
        let socket = format!("unix_socket_directories={}", self.folder.display());
        let fixed = [socket.as_str(), "listen_addresses=", "max_connections=400", "max_wal_size=4GB", "autovacuum=off"];
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "sh"]).arg(&self.bin).arg(&self.folder);
        for setting in fixed.iter().chain(settings) {
            watchdog.args(["-c", setting]);
        }
        if let Some((user, group)) = self.owner {
            watchdog.uid(user).gid(group);
        }
        // In a group of its own: what stops the tests from a terminal is not meant for it.
        watchdog.process_group(0).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.watchdog = Some(watchdog.spawn().expect("a shell"));
        let url = self.url("postgres");
        eventually("PostgreSQL answers", async || {
            let mut connection = PgConnection::connect(&url).await.ok()?;
            connection.ping().await.ok()
        })
        .await;
    }

    /// Stops the cluster in order, and keeps its data.
    pub async fn stop(&mut self) {
        self.end(b"keep\n").await;
    }

    /// Stops the cluster as a crash would, and keeps its data.
    pub async fn crash(&mut self) {
        self.end(b"crash\n").await;
    }

    async fn end(&mut self, word: &[u8]) {
        let mut watchdog = self.watchdog.take().expect("it runs");
        watchdog.stdin.take().expect("a pipe").write_all(word).expect("the shell reads");
        tokio::task::spawn_blocking(move || watchdog.wait()).await.expect("waits").expect("ends");
    }

    /// The address of a database of it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tollreeve@localhost/{database}?host={}", self.folder.display())
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Makes a database that nobody else uses; gives its address.
    pub async fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connects");
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("creates a database");
        connection.close().await.expect("closes");
        self.url(&name)
    }

    /// Makes a database that belongs to a user of its own with this attribute, who is no superuser; gives its address for
    /// that user.
    pub async fn database_of(&self, user: &str, attribute: &str) -> String {
        let url = self.database().await;
        let mut connection = PgConnection::connect(&url).await.expect("connects");
        let (name,): (String,) = sqlx::query_as("SELECT current_database()::TEXT")
            .fetch_one(&mut connection)
            .await
            .expect("the database's name");
        let user = format!("{user}_{name}");
        for sql in [format!("CREATE ROLE {user} LOGIN {attribute}"), format!("ALTER DATABASE {name} OWNER TO {user}")] {
            connection.execute(AssertSqlSafe(sql)).await.expect("a user of its own");
        }
        connection.close().await.expect("closes");
        url.replacen("tollreeve@", &format!("{user}@"), 1)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir("/");
        command
    }
}

fn make(program: &mut Command) {
    let made = program.output().expect("it is installed with the server");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            // It ends by itself; waiting only keeps it from staying as a zombie.
            let _ = watchdog.wait();
        } else {
            // Stopped, with its data kept for a start that does not come.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The folder with the newest PostgreSQL.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort_by_key(|folder| version(folder));
    std::env::split_paths(&path)
        .chain(found.into_iter().rev())
        .find(|folder| ["initdb", "postgres", "pg_basebackup"].iter().all(|program| folder.join(program).is_file()))
}

fn version(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// Whom to run as: PostgreSQL refuses to run as root.
fn other_owner() -> Option<(u32, u32)> {
    let me = fs::metadata("/proc/self").or_else(|_| fs::metadata(".")).expect("oneself").uid();
    if me != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user that is not root"))
}
