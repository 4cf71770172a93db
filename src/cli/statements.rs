//! `tollreeve statements`.

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

use clap::Subcommand;

use super::{
    names::{STATEMENT, TEAM, WORKSPACE},
    session::{ChangeArgs, PageArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::{
    domain::statements::{Line, csv, hash},
    pb::tollreeve::v1 as pb,
};

/// Flags of `statements`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the closed statements of the tenant.
    List {
        #[command(flatten)]
        pages: PageArgs,
    },
    /// Show what a month comes to, of the tenant, a workspace or a team; a draft until it is closed.
    Show {
        /// The month, `2026-11`.
        month: String,
        #[command(flatten)]
        only: Only,
    },
    /// Close the statement of a month that is over: it does not change any more.
    Close {
        /// The month, `2026-11`.
        month: String,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        sure: Sure,
    },
    /// Print the lines of a statement as CSV; checked against what it was closed with, when all of it is asked for.
    Export {
        /// The month, `2026-11`.
        month: String,
        #[command(flatten)]
        only: Only,
    },
}

/// Which lines.
#[derive(clap::Args)]
struct Only {
    /// Only of this workspace, `prod`.
    #[arg(long)]
    workspace: Option<String>,
    /// Only by team, of this one, `core`.
    #[arg(long)]
    team: Option<String>,
}

impl Only {
    fn names(&self, session: &Session) -> anyhow::Result<(String, String)> {
        let workspace = self.workspace.as_deref().map(|name| session.names.full(WORKSPACE, name)).transpose()?;
        let team = self.team.as_deref().map(|name| session.names.full(TEAM, name)).transpose()?;
        Ok((workspace.unwrap_or_default(), team.unwrap_or_default()))
    }
}

const COLUMNS: [(&str, &str); 6] = [
    ("NAME", "name"),
    ("NUMBER", "number"),
    ("REQUESTS", "totals.requests"),
    ("COST (NANOS)", "totals.cost_nanos"),
    ("BY", "actor"),
    ("CLOSED", "close_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |month: &str| session.names.full(STATEMENT, month);
    match args.verb {
        Verb::List { pages } => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListStatementsRequest { parent: parent.clone(), ..Default::default() };
            let list = listed!(session, pages, &parent, usage.list_statements(request), statements);
            session.table(&list, "statements", &COLUMNS)
        }
        Verb::Show { month, only } => {
            let (name, (workspace, team)) = (full(&month)?, only.names(&session)?);
            let request = pb::GetStatementRequest { name: name.clone(), workspace, team };
            session.record(&called!(session, "read", &name, usage.get_statement(request))?, "statement")
        }
        Verb::Close { month, change: ChangeArgs { validate_only, request_id }, sure } => {
            let name = full(&month)?;
            if !validate_only {
                sure.ask(&format!("close {name}"), true)?;
            }
            let request = pb::CloseStatementRequest { name: name.clone(), request_id, validate_only };
            let answer = called!(session, "close", &name, usage.close_statement(request))?;
            session.changed(&answer, "statement", "closed", validate_only)
        }
        Verb::Export { month, only } => export(&session, &full(&month)?, &only).await,
    }
}

async fn export(session: &Session, name: &str, only: &Only) -> anyhow::Result<ExitCode> {
    let (workspace, team) = only.names(session)?;
    let whole = workspace.is_empty() && team.is_empty();
    let parent = name.to_owned();
    let request = pb::ListStatementLinesRequest { parent, workspace, team, ..Default::default() };
    let pages = PageArgs::whole();
    let list = listed!(session, pages, name, usage.list_statement_lines(request), lines);
    let text = csv(&list.lines.into_iter().map(Line::from).collect::<Vec<_>>());
    if whole {
        let request = pb::GetStatementRequest { name: name.to_owned(), ..Default::default() };
        let answer = called!(session, "read", name, usage.get_statement(request))?;
        let sha256 = answer.statement.map(|statement| statement.sha256).unwrap_or_default();
        if !sha256.is_empty() && sha256 != hash(&text) {
            anyhow::bail!("the lines of {name} are not those that it was closed with");
        }
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads it may have seen enough, as `head` has.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
