//! Use cases of statements: what a tenant used in a month, as a draft until it is closed and the same for ever from then on.

use std::sync::Arc;

use serde::Serialize;

use super::{
    App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, listing::Paging, teams, usage::name_of,
};
use crate::{
    domain::{
        names::{StatementName, TeamName, TenantName, WorkspaceName},
        permission::Permission,
        statements::{Closing, Line, Month, Statement, Totals, csv, hash},
    },
    store::{self, listing::Listing},
};

/// Asks for a statement to be closed.
#[derive(Debug)]
pub struct CloseStatement {
    /// Which.
    pub name: StatementName,
}

/// Which lines of a statement: `None` for all.
#[derive(Debug, Default)]
pub struct OnlyLines {
    /// Of this workspace.
    pub workspace: Option<WorkspaceName>,
    /// By team, of this one.
    pub team: Option<TeamName>,
}

/// Asks for a statement, or for what some of its lines come to.
#[derive(Debug)]
pub struct GetStatement {
    /// Which.
    pub name: StatementName,
    /// Which lines count.
    pub only: OnlyLines,
}

/// Asks for the closed statements of a tenant.
#[derive(Debug)]
pub struct ListStatements {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which page. Without terms.
    pub listing: Listing,
}

/// Asks for the lines of a statement.
#[derive(Debug)]
pub struct ListStatementLines {
    /// Of which statement.
    pub parent: StatementName,
    /// Which lines.
    pub only: OnlyLines,
    /// Which page. Without terms.
    pub listing: Listing,
}

/// A statement under its name.
#[derive(Debug)]
pub struct NamedStatement {
    /// The name.
    pub name: StatementName,
    /// The statement.
    pub statement: Statement,
}

/// What goes on record when a statement is closed.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    closing: Option<&'a Closing>,
    lines: i64,
    #[serde(flatten)]
    totals: Totals,
}

/// Closes the statement of a month that is over. One that is closed stays as it is.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn close(app: Arc<App>, caller: Caller, asked: CloseStatement) -> Result<Changed<NamedStatement>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::CreditsWrite, work.scope())?;
    let (tenant, month) = (work.tenant.id, asked.name.month);
    if let Some(statement) = store::statements::find(&mut work.tx, tenant, month).await? {
        let revision = work.unchanged().await?;
        return Ok(Changed { record: NamedStatement { name: asked.name, statement }, revision });
    }
    if work.now < month.closes() {
        return Err(AppError::State(format!("{month} can be closed from {} on", month.closes())));
    }
    store::statements::lock(&mut work.tx, tenant).await?;
    let lines = draft_lines(&mut work, month).await?;
    let closing = Closing {
        number: store::statements::next_number(&mut work.tx, tenant).await?,
        at: work.now,
        actor: caller.name.clone(),
        hash: hash(&csv(&lines)),
    };
    let statement = Statement { closing: Some(closing.clone()), ..draft(month, &lines, false) };
    store::statements::insert(&mut work.tx, tenant, (&statement, &closing), &lines).await?;
    let record = |closing| Record { closing, lines: statement.lines, totals: statement.totals };
    let audit = Audit::new("statements.close", &asked.name, Some(&record(None)), Some(&record(Some(&closing))));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: NamedStatement { name: asked.name, statement }, revision })
}

/// The lines of a month as its sums have them now, with names.
async fn draft_lines(work: &mut Work<'_>, month: Month) -> Result<Vec<Line>, AppError> {
    let mut lines = store::statements::sums(&mut work.tx, work.tenant.id, month).await?;
    let mut ids: Vec<String> =
        lines.iter().flat_map(|line| [&line.workspace, &line.project, &line.team]).cloned().collect();
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| !id.is_empty());
    let names = store::names::names(&mut work.tx, ids).await?;
    let tenant = work.tenant.name();
    for line in &mut lines {
        for id in [&mut line.workspace, &mut line.project, &mut line.team] {
            *id = name_of(&names, &tenant, id);
        }
    }
    Ok(lines)
}

/// What lines come to: those by place, or those of the team that was asked for.
fn draft(month: Month, lines: &[Line], of_team: bool) -> Statement {
    let totals = Totals::of(lines.iter().filter(|line| of_team || line.team.is_empty()));
    Statement { month, lines: i64::try_from(lines.len()).unwrap_or(i64::MAX), totals, closing: None }
}

/// Begins to read in a tenant, if the caller may read these lines.
async fn read<'a>(
    app: &'a App,
    caller: &'a Caller,
    name: &StatementName,
    only: &OnlyLines,
) -> Result<Work<'a>, AppError> {
    let mut work = app.read(caller, &name.tenant, name).await?;
    let scope = match &only.workspace {
        Some(workspace) => {
            work.own(&workspace.tenant, workspace)?;
            let found = work.workspace(&workspace.workspace, workspace).await?;
            work.workspace_scope(&found)
        }
        None => work.scope(),
    };
    if let Some(team) = &only.team {
        teams::find(&mut work, team).await?;
    }
    work.require(Permission::CreditsRead, scope)?;
    Ok(work)
}

/// The lines after a number that are asked for, in order, at most `limit`.
async fn lines(
    work: &mut Work<'_>,
    month: Month,
    only: &OnlyLines,
    (after, limit): (i64, i64),
) -> Result<Vec<Line>, AppError> {
    let name = |name: Option<String>| name.unwrap_or_default();
    let workspace = name(only.workspace.as_ref().map(ToString::to_string));
    let team = name(only.team.as_ref().map(ToString::to_string));
    let tenant = work.tenant.id;
    if store::statements::find(&mut work.tx, tenant, month).await?.is_some() {
        let which = (workspace.as_str(), team.as_str());
        return Ok(store::statements::lines(&mut work.tx, tenant, month, which, (after, limit)).await?);
    }
    let mut lines = draft_lines(work, month).await?;
    lines.retain(|line| {
        line.number > after
            && (workspace.is_empty() || line.workspace == workspace)
            && (team.is_empty() || line.team == team)
    });
    lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(lines)
}

/// Reads a statement: closed, or as a draft of what was used so far.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetStatement) -> Result<NamedStatement, AppError> {
    let mut work = read(&app, &caller, &asked.name, &asked.only).await?;
    let month = asked.name.month;
    let closed = store::statements::find(&mut work.tx, work.tenant.id, month).await?;
    let statement = match closed {
        Some(closed) if asked.only.workspace.is_none() && asked.only.team.is_none() => closed,
        closed => {
            let lines = lines(&mut work, month, &asked.only, (0, i64::MAX)).await?;
            let part = draft(month, &lines, asked.only.team.is_some());
            Statement { closing: closed.and_then(|closed| closed.closing), ..part }
        }
    };
    Ok(NamedStatement { name: asked.name, statement })
}

/// Lists the closed statements of a tenant, the newest month first.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListStatements) -> Result<Listed<NamedStatement>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::CreditsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("statements of {}", work.tenant.id), &asked.listing)?;
    let before = paging.after().map_or(Ok(i64::MAX), |last| last.id.parse());
    let before = before.map_err(|_| AppError::invalid("page_token", "is not one that was given for this list"))?;
    let rows = store::statements::list(&mut work.tx, work.tenant.id, before, asked.listing.page.limit).await?;
    let tenant = work.tenant.slug.clone();
    Ok(paging.end(rows).map(|statement| NamedStatement {
        name: StatementName { tenant: tenant.clone(), month: statement.month },
        statement,
    }))
}

/// Lists the lines of a statement.
pub async fn list_lines(app: Arc<App>, caller: Caller, asked: ListStatementLines) -> Result<Listed<Line>, AppError> {
    let mut work = read(&app, &caller, &asked.parent, &asked.only).await?;
    let paging = Paging::begin(&app, &format!("lines of {}", asked.parent), &asked.listing)?;
    let after = paging.after().map_or(Ok(0), |last| last.id.parse());
    let after = after.map_err(|_| AppError::invalid("page_token", "is not one that was given for this list"))?;
    let limit = asked.listing.page.limit;
    Ok(paging.end(lines(&mut work, asked.parent.month, &asked.only, (after, limit)).await?))
}
