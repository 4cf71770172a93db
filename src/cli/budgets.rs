//! `tollreeve budgets`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Back, Doomed},
    names::BUDGET,
    policies::{Terms, amount, terms},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `budgets`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the budgets of a tenant, and where they stand.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a budget and where it stands.
    Get {
        /// `bud_...`.
        name: String,
    },
    /// Make a budget.
    Create(New),
    /// Change a budget, at once.
    Update(Facts),
    /// Let a budget refuse nothing, and go on counting.
    Pause(Back),
    /// Put a paused budget in force again.
    Resume(Back),
    /// Let a budget limit something else, with what is spent on it.
    Move {
        /// What it is to limit: `teams/core`, or the name in full.
        #[arg(long, value_name = "SCOPE")]
        to: String,
        #[command(flatten)]
        record: Back,
    },
    /// End a budget.
    Delete(Doomed),
}

#[derive(clap::Args)]
struct New {
    /// What it limits: `workspaces/prod`, `teams/core`, or the name in full; `tenants/acme` for all of it.
    scope: String,
    /// Its limit, `25usd/month`, with `:soft` after it for one that only warns.
    #[arg(value_parser = terms)]
    terms: Terms,
    /// Its name for people.
    #[arg(long, default_value = "")]
    display_name: String,
    /// By whose clock its windows begin, `Europe/Berlin`. Default: UTC.
    #[arg(long, default_value = "", hide_default_value = true)]
    time_zone: String,
    /// On which day they do: of the month, or of the week, 1 for Monday.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "DAY")]
    anchor_day: i32,
    /// Percent of the limit to be told of; again for more. Default: 70, 90 and 100.
    #[arg(long = "threshold", value_name = "PERCENT")]
    thresholds: Vec<i32>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(clap::Args)]
struct Facts {
    /// `bud_...`.
    name: String,
    /// Its limit, `25usd`, `1000requests` or `5000tokens`, in the unit that it has.
    #[arg(long, value_parser = amount)]
    limit: Option<i64>,
    /// Its name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// Whether it refuses, or only warns.
    #[arg(long, value_name = "BOOL")]
    hard: Option<bool>,
    /// Percent of the limit to be told of; again for more.
    #[arg(long = "threshold", value_name = "PERCENT")]
    thresholds: Vec<i32>,
    /// What its etag must be.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

const COLUMNS: [(&str, &str); 8] = [
    ("NAME", "name"),
    ("SCOPE", "scope"),
    ("UNIT", "unit"),
    ("WINDOW", "window"),
    ("LIMIT", "limit"),
    ("SPENT", "state.spent"),
    ("PAUSED", "paused"),
    ("RESETS", "state.resets_at"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(BUDGET, name);
    match args.verb {
        // What is deleted is gone: there is nothing deleted to show.
        Verb::List { list: ListArgs { pages, filter, order_by, show_deleted: _ } } => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListBudgetsRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
            let list = listed!(session, pages, &parent, budgets.list_budgets(request), budgets);
            session.table(&list, "budgets", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetBudgetRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, budgets.get_budget(request))?, "budget")
        }
        Verb::Create(new) => create(&session, new).await,
        Verb::Update(Facts { name, limit, display_name, hard, thresholds, etag, change }) => {
            let (name, ChangeArgs { validate_only, request_id }) = (full(&name)?, change);
            let named = pb::UpdateBudgetRequest { name: name.clone(), limit, display_name, hard, ..Default::default() };
            let request = pb::UpdateBudgetRequest { thresholds, etag, request_id, validate_only, ..named };
            let answer = called!(session, "change", &name, budgets.update_budget(request))?;
            session.changed(&answer, "budget", "changed", validate_only)
        }
        Verb::Pause(Back { name, etag, change: ChangeArgs { validate_only, request_id } }) => {
            let name = full(&name)?;
            let request = pb::PauseBudgetRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "pause", &name, budgets.pause_budget(request))?;
            session.changed(&answer, "budget", "paused", validate_only)
        }
        Verb::Resume(Back { name, etag, change: ChangeArgs { validate_only, request_id } }) => {
            let name = full(&name)?;
            let request = pb::ResumeBudgetRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "resume", &name, budgets.resume_budget(request))?;
            session.changed(&answer, "budget", "resumed", validate_only)
        }
        Verb::Move { to, record: Back { name, etag, change: ChangeArgs { validate_only, request_id } } } => {
            let (name, scope) = (full(&name)?, scope(&session, &to)?);
            let request = pb::MoveBudgetRequest { name: name.clone(), scope, etag, request_id, validate_only };
            let answer = called!(session, "move", &name, budgets.move_budget(request))?;
            session.changed(&answer, "budget", "moved", validate_only)
        }
        Verb::Delete(Doomed { record: Back { name, etag, change }, sure }) => {
            let (name, ChangeArgs { validate_only, request_id }) = (full(&name)?, change);
            if !validate_only {
                sure.ask(&format!("delete {name}"), true)?;
            }
            let request = pb::DeleteBudgetRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "delete", &name, budgets.delete_budget(request))?;
            session.changed(&answer, "budget", "deleted", validate_only)
        }
    }
}

async fn create(session: &Session, new: New) -> anyhow::Result<ExitCode> {
    let New { scope: on, terms, display_name, time_zone, anchor_day, thresholds, change } = new;
    let ChangeArgs { validate_only, request_id } = change;
    let (parent, scope) = (session.names.tenant(None)?, scope(session, &on)?);
    let pb::BudgetTerms { unit, window, limit, hard } = terms.0.unwrap_or_default();
    let limits = pb::Budget { scope: scope.clone(), unit, window, limit, hard, ..pb::Budget::default() };
    let budget = Some(pb::Budget { display_name, time_zone, anchor_day, thresholds, ..limits });
    let request = pb::CreateBudgetRequest { parent, budget, validate_only, request_id };
    let answer = called!(session, "create a budget on", &scope, budgets.create_budget(request))?;
    session.changed(&answer, "budget", "created", validate_only)
}

/// The name of what a budget limits, in full.
fn scope(session: &Session, text: &str) -> anyhow::Result<String> {
    if text.starts_with("tenants/") {
        return Ok(text.to_owned());
    }
    Ok(format!("{}/{text}", session.names.tenant(None)?))
}
