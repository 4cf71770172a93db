//! What the commands for people have in common: whom they ask as whom, how they print, and what they say when it fails.

use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal as _, Write as _},
    process::ExitCode,
};

use prost::Message;
use prost_reflect::DynamicMessage;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{
    authorize::Output,
    client::{CallError, Connection, ServerArgs},
    message,
    names::{Names, UsageError},
    show::{self, Colour, Paint},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of every command for people.
#[derive(clap::Args)]
pub struct SessionArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Tenant that short names lie in, `acme`.
    #[arg(long, env = "TOLLREEVE_TENANT", global = true)]
    tenant: Option<String>,
    /// How to print the answer; as JSON, it is the message of the contract.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

impl SessionArgs {
    /// What short names mean.
    #[must_use]
    pub fn names(&self) -> Names {
        Names::within(self.tenant.as_deref())
    }

    /// Whether programs read the answer.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Which records to list.
#[derive(clap::Args, Clone)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) pages: PageArgs,
    /// Which: `state = SUSPENDED research`; see the contract's `IdentityService`.
    #[arg(long, default_value = "")]
    pub(super) filter: String,
    /// In which order: `create_time`, `name` or `display_name`, also `"name desc"`.
    #[arg(long, default_value = "", value_name = "FIELD")]
    pub(super) order_by: String,
    /// Those that are deleted too.
    #[arg(long)]
    pub(super) show_deleted: bool,
}

/// How much of a list.
#[derive(clap::Args, Clone)]
pub struct PageArgs {
    /// At most this many, up to 1000. Default: 50.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub(super) page_size: i32,
    /// Where to go on, as the page before said.
    #[arg(long, default_value = "", value_name = "TOKEN", conflicts_with = "all")]
    pub(super) page_token: String,
    /// Every page.
    #[arg(long)]
    pub(super) all: bool,
}

impl PageArgs {
    /// All of a list.
    #[must_use]
    pub fn whole() -> Self {
        Self { page_size: 0, page_token: String::new(), all: true }
    }
}

/// How a change is to be taken.
#[derive(clap::Args, Clone)]
pub struct ChangeArgs {
    /// Check everything and change nothing.
    #[arg(long)]
    pub(super) validate_only: bool,
    /// Repeat a request under its id: it is carried out once. Default: a fresh one.
    #[arg(long, default_value_t = super::client::fresh_id(), hide_default_value = true, value_name = "ID")]
    pub(super) request_id: String,
}

/// Whether to ask before something is taken away.
#[derive(clap::Args, Clone, Copy)]
pub struct Sure {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// Asks on a terminal. Elsewhere nobody can be asked: what cannot be undone (`for_good`) then needs `--yes`.
    ///
    /// # Errors
    /// When the answer is no.
    pub fn ask(self, what: &str, for_good: bool) -> anyhow::Result<()> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.yes || (!terminal && !for_good) {
            return Ok(());
        }
        if !terminal {
            return Err(UsageError(format!("{what} cannot be undone: give --yes")).into());
        }
        eprint!("{what}? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if yes { Ok(()) } else { Err(anyhow::anyhow!("nothing was changed")) }
    }
}

/// A connection, and how to speak of what comes over it.
pub struct Session {
    /// To the server.
    pub connection: Connection,
    /// What short names mean.
    pub names: Names,
    output: Output,
    paint: Paint,
}

/// One call, and what it was for: `called!(session, "read", &name, identity.get_tenant(request))`.
macro_rules! called {
    ($session:expr, $verb:expr, $on:expr, $service:ident.$rpc:ident($request:expr)) => {{
        let answer = $session.connection.$service().$rpc($request).await;
        $session.answer($verb, $on, answer).await
    }};
}

/// A list, whole when all of it was asked for.
macro_rules! listed {
    ($session:expr, $pages:expr, $on:expr, $service:ident.$rpc:ident($request:expr), $records:ident) => {{
        let pages: $crate::cli::session::PageArgs = $pages;
        let mut request = $request;
        request.page_size = if pages.all && pages.page_size == 0 { 1000 } else { pages.page_size };
        request.page_token = pages.page_token;
        let mut list = called!($session, "list", $on, $service.$rpc(request.clone()))?;
        while pages.all && !list.next_page_token.is_empty() {
            request.page_token = std::mem::take(&mut list.next_page_token);
            let page = called!($session, "list", $on, $service.$rpc(request.clone()))?;
            list.$records.extend(page.$records);
            list.next_page_token = page.next_page_token;
        }
        list
    }};
}

pub(super) use {called, listed};

/// Prints a line. Whoever reads it may have seen enough, as `head` has.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When there is no token, or no server.
    pub async fn open(args: SessionArgs) -> anyhow::Result<Self> {
        let connection = args.server.connect().await?;
        let names = Names::within(args.tenant.as_deref());
        Ok(Self { connection, names, output: args.output, paint: Paint::stdout() })
    }

    /// Connects as nobody, for calls that need no token.
    ///
    /// # Errors
    /// When there is no server.
    pub async fn open_for_anybody(args: SessionArgs) -> anyhow::Result<Self> {
        let connection = Connection::open(&args.server.server, &args.server.tls, None).await?;
        let names = Names::within(args.tenant.as_deref());
        Ok(Self { connection, names, output: args.output, paint: Paint::stdout() })
    }

    /// The answer to a call, or why there is none and what to do about it: who lacks a permission is told who could give it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn answer<T>(&self, verb: &str, on: &str, answer: Result<Response<T>, Status>) -> anyhow::Result<T> {
        let status = match answer {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let advice = if status.code() == Code::PermissionDenied { self.advice(&status, on).await } else { None };
        Err(CallError { what: format!("cannot {verb} {on}"), status, advice }.into())
    }

    /// What the caller lacks on a resource, and who could give it to them: anybody may ask that about themselves.
    async fn advice(&self, status: &Status, on: &str) -> Option<String> {
        let details = status.get_error_details();
        let permission = details.error_info()?.metadata.get("permission")?.clone();
        let question =
            |resource: String| pb::AccessQuestion { resource, permission: permission.clone(), ..Default::default() };
        // What lies beside workspaces is the tenant's.
        let parts: Vec<&str> = on.split('/').collect();
        let kept = match parts.as_slice() {
            ["tenants", _, "workspaces", _, "projects", _, ..] => 6,
            ["tenants", _, "workspaces", _, ..] => 4,
            ["tenants", _, ..] => 2,
            _ => return None,
        };
        for resource in [parts[..kept].join("/"), parts[..2].join("/")] {
            let request = pb::CheckAccessRequest { question: Some(question(resource)) };
            let answer = self.connection.access().check_access(request).await.ok();
            // When it is held here, it is lacking further up.
            if let Some(answer) = answer.and_then(|answer| answer.into_inner().answer).filter(|answer| !answer.allowed)
            {
                return Some(answer.explanation);
            }
        }
        None
    }

    /// Whether programs read the answer.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// What people read of an answer is in colours, or not.
    #[must_use]
    pub const fn paint(&self) -> Paint {
        self.paint
    }

    /// Prints an answer: as it is for programs, as `text` says for people.
    ///
    /// # Errors
    /// Never for a message of the contract.
    pub fn print<M: Message>(
        &self,
        answer: &M,
        text: impl FnOnce(&DynamicMessage) -> String,
    ) -> anyhow::Result<ExitCode> {
        let described = message::described(answer)?;
        match self.output {
            Output::Json => say(&format!("{:#}", message::json(&described))),
            Output::Text => say(text(&described).trim_end()),
        }
    }

    /// Prints a record.
    ///
    /// # Errors
    /// As [`Session::print`].
    pub fn record<M: Message>(&self, answer: &M, field: &str) -> anyhow::Result<ExitCode> {
        self.print(answer, |described| self.details(described, field))
    }

    /// Prints what became of a record.
    ///
    /// # Errors
    /// As [`Session::print`].
    pub fn changed<M: Message>(
        &self,
        answer: &M,
        field: &str,
        done: impl Display,
        validate_only: bool,
    ) -> anyhow::Result<ExitCode> {
        self.print(answer, |described| {
            let first = if validate_only { format!("would be {done}; nothing was changed") } else { done.to_string() };
            format!("{}\n{}", self.paint.paint(Colour::Green, &first), self.details(described, field))
        })
    }

    fn details(&self, answer: &DynamicMessage, field: &str) -> String {
        let record = answer.get_field_by_name(field);
        let lines =
            record.as_deref().and_then(prost_reflect::Value::as_message).map(message::lines).unwrap_or_default();
        show::pairs(self.paint, &lines)
    }

    /// Prints a list as a table of these columns, each a heading and a field; and says when there is more of it.
    ///
    /// # Errors
    /// As [`Session::print`].
    pub fn table<M: Message>(&self, answer: &M, records: &str, columns: &[(&str, &str)]) -> anyhow::Result<ExitCode> {
        self.print(answer, |described| {
            let next = message::cell(described, "next_page_token");
            if next != "-" {
                eprintln!("there are more: --all lists all of them, --page-token {next} the next");
            }
            rows(described, records, columns)
        })
    }

    /// Prints what became of several records, as a table of these columns.
    ///
    /// # Errors
    /// As [`Session::print`].
    pub fn changed_all<M: Message>(
        &self,
        answer: &M,
        records: &str,
        columns: &[(&str, &str)],
        done: &str,
    ) -> anyhow::Result<ExitCode> {
        let done = self.paint.paint(Colour::Green, done);
        self.print(answer, |described| format!("{done}\n{}", rows(described, records, columns)))
    }
}

/// The records of an answer as a table of these columns, each a heading and a field.
fn rows(answer: &DynamicMessage, records: &str, columns: &[(&str, &str)]) -> String {
    let records = answer.get_field_by_name(records);
    let records = records.as_deref().and_then(prost_reflect::Value::as_list).unwrap_or_default();
    let rows = records.iter().filter_map(prost_reflect::Value::as_message);
    let rows = rows.map(|record| columns.iter().map(|(_, path)| message::cell(record, path)).collect());
    let header: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    show::table(&header, rows.collect())
}
