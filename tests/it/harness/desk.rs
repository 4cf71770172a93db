//! Somebody at a terminal: the real program against a real server.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    client::Client,
    process::{Process, command, run},
    world::World,
};

/// A server as a process, with a world in it, and somebody at a terminal.
pub struct Desk {
    /// What is there.
    pub world: World,
    /// The operator's token.
    pub operator: String,
    /// Where the server listens.
    pub server: String,
    /// The server.
    pub process: Process,
    /// Where its data are, and whatever else.
    pub folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("it ends by itself");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// What it printed, having done what it should.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.well()).expect("JSON")
    }

    /// It ended with this code and said these words.
    #[track_caller]
    pub fn badly(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {}", self.err);
        }
    }
}

impl Desk {
    /// Sits down.
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let process = Process::serve(folder.path(), None, &[]).await;
        let mut ask = command(&["operator-token", "--data-dir"]);
        ask.arg(folder.path());
        let operator = Said::from(run(ask).await).well().trim().to_owned();
        let world = World::made_by(&Client::new(process.addr, Some(&operator)), "acme").await;
        let server = format!("http://{}", process.addr);
        Self { world, operator, server, process, folder }
    }

    /// A command as somebody.
    pub fn command(&self, token: &str, words: &str) -> Command {
        let mut command = command(&words.split_whitespace().collect::<Vec<_>>());
        command.env("TOLLREEVE_SERVER", &self.server).env("TOLLREEVE_TOKEN", token).env("TOLLREEVE_TENANT", "acme");
        command
    }

    /// Runs a command as the operator.
    pub async fn run(&self, words: &str) -> Said {
        run(self.command(&self.operator, words)).await.into()
    }

    /// Runs a command as somebody else.
    pub async fn run_as(&self, token: &str, words: &str) -> Said {
        run(self.command(token, words)).await.into()
    }
}
