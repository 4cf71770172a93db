//! Rows of budgets. A deleted budget stays: the ledger speaks of it.

use super::{
    Result, StoreError, Tx, dialect,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    budgets::{Budget, BudgetScope, Course},
    calendar::Clock,
    id::{BudgetId, BudgetKind, TenantId, WorkspaceId},
    time::Timestamp,
    window::Period,
};

/// A query over whole budgets.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, scope_kind, scope_ref, unit, span, amount, hard, credit, display_name, created,
                 version, on_expiry, calendar, thresholds || ';' || turns, paused FROM budgets ",
            $rest
        )
    };
}

pub(super) const NOUN: Noun = Noun {
    columns: &[("unit", "(CASE unit WHEN 'usd' THEN 'usd_nanos' ELSE unit END)")],
    ..Noun::plain::<BudgetKind>("budgets")
};

/// The budget, then how it runs. Thresholds and turns are one text, for a row has at most sixteen columns.
type Row =
    (String, String, String, String, String, String, i64, bool, bool, String, i64, i64, String, String, String, bool);

fn budget(row: Row) -> Result<Budget> {
    let (
        id,
        tenant,
        scope_kind,
        scope_ref,
        unit,
        span,
        limit,
        hard,
        credit,
        display_name,
        created,
        version,
        on_expiry,
        ..,
    ) = row;
    let (.., calendar, lists, paused) = row;
    let (thresholds, turns) = lists.split_once(';').ok_or_else(|| StoreError::Corrupt("lists of a budget".into()))?;
    Ok(Budget {
        id: parse(&id, "budget id")?,
        tenant: parse(&tenant, "budget's tenant")?,
        scope: scope_of(&scope_kind, scope_ref)?,
        unit: value_of(unit, "unit of a budget")?,
        window: value_of(span, "window of a budget")?,
        limit,
        hard,
        credit,
        on_expiry: value_of(on_expiry, "on_expiry of a budget")?,
        course: course(&calendar, thresholds, paused)?,
        turns: turns_of(turns)?,
        display_name,
        created: Timestamp::from_micros(created),
        version,
    })
}

fn course(calendar: &str, thresholds: &str, paused: bool) -> Result<Course> {
    let Clock { zone, anchor } = parse(calendar, "calendar of a budget")?;
    let percents: std::result::Result<Vec<u16>, _> = thresholds.split(' ').map(str::parse).collect();
    let thresholds = percents.ok().and_then(|percents| percents.try_into().ok());
    let thresholds = thresholds.ok_or_else(|| StoreError::Corrupt("thresholds of a budget".into()))?;
    Ok(Course { zone, anchor, thresholds, paused })
}

fn thresholds_text(budget: &Budget) -> String {
    budget.course.thresholds.iter().map(|percent| percent.to_string()).collect::<Vec<_>>().join(" ")
}

fn turns_of(text: &str) -> Result<Vec<Period>> {
    text.split_whitespace().map(|hour| Ok(Period(parse(hour, "turn of a budget")?))).collect()
}

fn turns_text(turns: &[Period]) -> String {
    turns.iter().map(|turn| turn.0.to_string()).collect::<Vec<_>>().join(" ")
}

fn scope_of(kind: &str, reference: String) -> Result<BudgetScope> {
    let what = "scope of a budget";
    Ok(match kind {
        "tenant" => BudgetScope::Tenant,
        "workspace" => BudgetScope::Workspace(parse(&reference, what)?),
        "project" => BudgetScope::Project(parse(&reference, what)?),
        "team" => BudgetScope::Team(parse(&reference, what)?),
        "user" => BudgetScope::User(parse(&reference, what)?),
        "service_account" => BudgetScope::ServiceAccount(parse(&reference, what)?),
        "key" => BudgetScope::Key(parse(&reference, what)?),
        "end_user" => BudgetScope::EndUser(reference),
        _ => return Err(StoreError::Corrupt(what.into())),
    })
}

fn scope_texts(scope: &BudgetScope) -> (&'static str, String) {
    match scope {
        BudgetScope::Tenant => ("tenant", String::new()),
        BudgetScope::Workspace(id) => ("workspace", id.to_string()),
        BudgetScope::Project(id) => ("project", id.to_string()),
        BudgetScope::Team(id) => ("team", id.to_string()),
        BudgetScope::User(id) => ("user", id.to_string()),
        BudgetScope::ServiceAccount(id) => ("service_account", id.to_string()),
        BudgetScope::Key(id) => ("key", id.to_string()),
        BudgetScope::EndUser(name) => ("end_user", name.clone()),
    }
}

/// Adds a budget.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, budget: &Budget) -> Result<()> {
    let (scope_kind, scope_ref) = scope_texts(&budget.scope);
    execute!(
        tx,
        "INSERT INTO budgets (id, tenant_id, scope_kind, scope_ref, unit, span, amount, hard, credit, display_name,
             created, version, deleted, on_expiry, calendar, thresholds, paused, turns)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        budget.id.to_string(),
        budget.tenant.to_string(),
        scope_kind,
        scope_ref,
        text_of(&budget.unit),
        text_of(&budget.window),
        budget.limit,
        budget.hard,
        budget.credit,
        &budget.display_name,
        budget.created.micros(),
        budget.version,
        false,
        text_of(&budget.on_expiry),
        budget.calendar().to_string(),
        thresholds_text(budget),
        budget.course.paused,
        turns_text(&budget.turns),
    )?;
    put_words(tx, budget).await
}

/// Writes what of a budget can change.
pub async fn update(tx: &mut Tx, budget: &Budget) -> Result<()> {
    let (scope_kind, scope_ref) = scope_texts(&budget.scope);
    execute!(
        tx,
        "UPDATE budgets SET amount = $2, version = $3, on_expiry = $4, scope_kind = $5, scope_ref = $6, hard = $7,
             display_name = $8, thresholds = $9, paused = $10, turns = $11 WHERE id = $1",
        budget.id.to_string(),
        budget.limit,
        budget.version,
        text_of(&budget.on_expiry),
        scope_kind,
        scope_ref,
        budget.hard,
        &budget.display_name,
        thresholds_text(budget),
        budget.course.paused,
        turns_text(&budget.turns),
    )?;
    put_words(tx, budget).await
}

async fn put_words(tx: &mut Tx, budget: &Budget) -> Result<()> {
    let list = search::list(NOUN.name, budget.tenant);
    let texts = [budget.display_name.as_str()];
    search::put(tx, &Words { tenant: budget.tenant, list, id: budget.id.to_string(), texts: &texts }).await
}

/// Ends a budget.
pub async fn delete(tx: &mut Tx, id: BudgetId) -> Result<()> {
    execute!(tx, "UPDATE budgets SET deleted = $2 WHERE id = $1", id.to_string(), true)?;
    Ok(())
}

/// The budget with this id, unless it has ended.
pub async fn by_id(tx: &mut Tx, id: BudgetId) -> Result<Option<Budget>> {
    let row = fetch_optional!(tx, Row, select!("WHERE id = $1 AND NOT deleted"), id.to_string())?;
    row.map(budget).transpose()
}

/// The credit pool of a workspace.
pub async fn credit_pool(tx: &mut Tx, workspace: WorkspaceId) -> Result<Option<Budget>> {
    let row =
        fetch_optional!(tx, Row, select!("WHERE scope_ref = $1 AND credit AND NOT deleted"), workspace.to_string())?;
    row.map(budget).transpose()
}

/// How many budgets stand on a scope.
pub async fn count(tx: &mut Tx, tenant: TenantId, scope: &BudgetScope) -> Result<i64> {
    let (scope_kind, scope_ref) = scope_texts(scope);
    let (count,) = fetch_one!(
        tx,
        (i64,),
        "SELECT COUNT(*) FROM budgets
         WHERE tenant_id = $1 AND scope_kind = $2 AND scope_ref = $3 AND NOT deleted",
        tenant.to_string(),
        scope_kind,
        scope_ref
    )?;
    Ok(count)
}

/// The budgets on a scope, oldest first.
pub async fn of_scope(tx: &mut Tx, tenant: TenantId, scope: &BudgetScope) -> Result<Vec<Budget>> {
    let (scope_kind, scope_ref) = scope_texts(scope);
    let rows = fetch_all!(
        tx,
        Row,
        select!("WHERE tenant_id = $1 AND scope_kind = $2 AND scope_ref = $3 AND NOT deleted ORDER BY id"),
        tenant.to_string(),
        scope_kind,
        scope_ref
    )?;
    rows.into_iter().map(budget).collect()
}

/// The hard monthly budgets in dollars on these teams, oldest first.
pub async fn monthly_of_teams(tx: &mut Tx, tenant: TenantId, teams: Vec<String>) -> Result<Vec<Budget>> {
    let (statement, list) = (dialect::MONTHLY_OF_TEAMS.text(tx), serde_json::Value::from(teams).to_string());
    let rows = fetch_all!(tx, Row, statement, tenant.to_string(), list)?;
    rows.into_iter().map(budget).collect()
}

/// A page of the budgets of a tenant.
pub async fn list(tx: &mut Tx, tenant: TenantId, listing: &Listing, after: Option<&Position>) -> Result<Vec<Budget>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE NOT deleted"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(budget).collect()
}

/// Every credit pool after the id `after`, by id, at most `limit`.
pub async fn pools(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Budget>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 AND credit ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(budget).collect()
}

/// Every budget that has not ended after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Budget>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 AND NOT deleted ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(budget).collect()
}
