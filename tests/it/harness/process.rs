//! The real program as a process, for tests that end it the hard way.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::eventually;

/// Path of the program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tollreeve");

/// The program with arguments and nothing of this process's environment that is meant for it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOLLREEVE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end, which must come by itself.
pub async fn run(command: Command) -> Output {
    run_with(command, Stdio::null()).await
}

/// The same with something to read from standard input.
pub async fn run_with(mut command: Command, input: impl Into<Stdio>) -> Output {
    let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    // Whatever it says is taken while it speaks: a pipe holds little.
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let mut running = Running(Some(child));
    let status = eventually("the program ends", async || running.0.as_mut()?.try_wait().ok()?).await;
    let [stdout, stderr] = [out, err].map(|reading| reading.join().expect("no panic"));
    Output { status, stdout, stderr }
}

/// Reads all that comes out of a pipe.
fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("a pipe");
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).expect("its output");
        text
    })
}

/// A program that does not outlive the test that waits for it.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server as a process.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Process {
    /// Starts a server in a folder, on SQLite or on a PostgreSQL database; it answers when this returns.
    pub async fn serve(folder: &Path, database_url: Option<&str>, more: &[&str]) -> Self {
        eventually("the server starts", async || {
            // On PostgreSQL the lock of a server that was killed is free a moment later.
            Self::start(program(folder, database_url, more)).await.ok()
        })
        .await
    }

    /// Starts a server by any command that becomes one; its log when it ends instead.
    pub async fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let ready = Arc::new(OnceLock::new());
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        std::thread::spawn({
            let (log, ready) = (Arc::clone(&log), Arc::clone(&ready));
            move || {
                for line in lines.map_while(Result::ok) {
                    if let Some(addr) = addr_in(&line) {
                        let _ = ready.set(addr);
                    }
                    log.lock().push(line);
                }
            }
        });
        let outcome = eventually("the server is ready or ends", async || match child.try_wait() {
            Ok(Some(_)) => Some(None),
            _ => ready.get().copied().map(Some),
        })
        .await;
        let Some(addr) = outcome else { return Err(log.lock().join("\n")) };
        let mut process = Self { child, log, addr };
        process.serving().await;
        Ok(process)
    }

    /// Waits until the server says of itself that it serves.
    async fn serving(&mut self) {
        let channel = Endpoint::from_shared(format!("http://{}", self.addr)).expect("an address").connect_lazy();
        eventually("the server is healthy", async || {
            let answer = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.ok()?;
            (answer.into_inner().status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().join("\n")
    }

    /// Stops all of it where it is, as a machine that is paused does.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, signal).expect("it runs");
    }

    /// Waits for its end; gives its exit code and what it has logged.
    pub async fn ended(self) -> (Option<i32>, String) {
        let mut own = self;
        let ended = tokio::task::spawn_blocking(move || {
            let process = &mut own;
            process.child.wait().map(|status| (status, process.log()))
        });
        let ended = tokio::time::timeout(Duration::from_mins(1), ended).await.expect("it ends");
        let (status, log) = ended.expect("no panic").expect("it has run");
        (status.code(), log)
    }

    /// Ends it at once, as `kill -9` does.
    pub async fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        tokio::task::spawn_blocking(move || drop(self)).await.expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Has ended already, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tollreeve serve` in a folder, on SQLite or on a PostgreSQL database.
pub fn program(folder: &Path, database_url: Option<&str>, more: &[&str]) -> Command {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--threads", "2"]);
    command.arg("--data-dir").arg(folder).args(more);
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command
}

/// The address in the line that says that the server is ready.
fn addr_in(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    fields.get("message").filter(|message| *message == "ready")?;
    fields.get("addr")?.as_str()?.parse().ok()
}
