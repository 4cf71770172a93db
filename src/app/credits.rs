//! Use cases of credit: a workspace's pool is a hard budget, paid in by entries; what expires of them is taken out.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, Work, budgets, caller::Caller, context::Audit, listing::Paging};
use crate::{
    domain::{
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        change::Change,
        credits::{Entry, EntryKind, MAX_TURNS, Pool},
        id::WorkspaceId,
        money::{MAX_AMOUNT, Nanos, Unit},
        names::{BudgetName, CreditEntryName, WorkspaceName},
        permission::Permission,
        time::Timestamp,
        window::{Period, Window},
    },
    engine::error::GateError,
    store::{self, credit_pools, listing::Listing},
};

/// Least time ahead at which an entry expires.
const LEAST_AHEAD: std::time::Duration = std::time::Duration::from_mins(1);

/// Asks for an entry.
#[derive(Debug)]
pub struct CreateCreditEntry {
    /// Of which workspace's pool.
    pub parent: WorkspaceName,
    /// What it is.
    pub kind: EntryKind,
    /// Billionths of a US dollar; negative takes credit back. Not zero.
    pub amount: i64,
    /// Invoice or ticket; the same again is the same entry.
    pub reference: String,
    /// For people.
    pub note: String,
    /// When what is left of it is gone; `None` for never. A whole hour.
    pub expires: Option<Timestamp>,
}

/// Asks for the entries of a workspace.
#[derive(Debug)]
pub struct ListCreditEntries {
    /// Of which workspace.
    pub parent: WorkspaceName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks where the credit of a workspace stands.
#[derive(Debug)]
pub struct GetCredit {
    /// Of which workspace.
    pub name: WorkspaceName,
}

/// An entry under its name.
#[derive(Debug)]
pub struct NamedEntry {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The entry.
    pub entry: Entry,
}

impl NamedEntry {
    /// The name of the entry with this number.
    #[must_use]
    pub fn name(&self, seq: i64) -> CreditEntryName {
        let WorkspaceName { tenant, workspace } = self.workspace.clone();
        CreditEntryName { tenant, workspace, seq }
    }
}

/// Where the credit of a workspace stands. In billionths of a US dollar; no sum is more than fits.
#[derive(Debug, Default)]
pub struct Credit {
    /// The pool; `None` without one.
    pub budget: Option<BudgetName>,
    /// The sum of all entries but expiries.
    pub granted: i128,
    /// Charged.
    pub spent: i128,
    /// Held.
    pub held: i128,
    /// Gone, and on record.
    pub expired: i128,
    /// Gone, and not on record yet.
    pub expiring: i128,
    /// What is left.
    pub remaining: i128,
    /// When something expires next, and how much.
    pub next: Option<(Timestamp, i128)>,
}

/// The credit of a workspace under its name.
#[derive(Debug)]
pub struct NamedCredit {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// Where it stands.
    pub credit: Credit,
}

/// What goes on record for an entry.
#[derive(serde::Serialize)]
struct EntryRecord<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// The pool with it.
    pool: &'a Budget,
}

/// Adds an entry to a workspace's pool; the first one opens it.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateCreditEntry) -> Result<Changed<NamedEntry>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.open_workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::CreditsWrite, work.workspace_scope(&workspace))?;
    if let Some(known) = store::credits::by_reference(&mut work.tx, workspace.id, &asked.reference).await? {
        if !is_same(&known, &asked) {
            return Err(GateError::IdempotencyConflict("reference").into());
        }
        let record = NamedEntry { workspace: asked.parent, entry: known };
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    if asked.expires.is_some_and(|at| at < work.now.after(LEAST_AHEAD)) {
        return Err(AppError::invalid("entry.expire_time", "must be at least a minute ahead"));
    }
    let before = store::budgets::credit_pool(&mut work.tx, workspace.id).await?;
    let mut pool = match &before {
        Some(before) => credit_pools::lock(&mut work.tx, before.id).await?,
        None => Pool::default(),
    };
    let current = pool.newest(before.as_ref().map_or(Period(0), |before| before.period(work.now)));
    let entry = Entry {
        seq: pool.entries.last().map_or(1, |last| last.seq + 1),
        kind: asked.kind,
        amount: asked.amount,
        reference: asked.reference,
        note: asked.note,
        expires: asked.expires,
        actor: caller.name.clone(),
        created: work.now,
        period: current,
        mark: pool.spent_in(current),
        of_entry: 0,
        ended: false,
    };
    pool.entries.push(entry.clone());
    let limit = limit(&pool, current, &entry)?;
    let turns = turns(before.as_ref(), current, entry.turn())?;
    let after = match &before {
        Some(before) => put(&mut work, before, current, limit, turns).await?.unwrap_or_else(|| before.clone()),
        None => open(&mut work, workspace.id, limit, turns).await?,
    };
    store::credits::insert(&mut work.tx, workspace.id, &after, &entry).await?;
    let record = NamedEntry { workspace: asked.parent, entry };
    let on_record = EntryRecord { entry: &record.entry, pool: &after };
    let audit = Audit::new("credits.create", &record.name(record.entry.seq), None, Some(&on_record));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Whether an entry is what is asked for: the note apart, which says nothing to the books.
fn is_same(known: &Entry, asked: &CreateCreditEntry) -> bool {
    (known.kind, known.amount, known.expires) == (asked.kind, asked.amount, asked.expires)
}

/// What the pool's limit is with a new entry; nobody takes back more than there was.
fn limit(pool: &Pool, current: Period, entry: &Entry) -> Result<i64, AppError> {
    let limit = pool.standing(current).limit;
    if limit > MAX_AMOUNT.into() {
        return Err(AppError::State(format!("credit is at most {}", Nanos(MAX_AMOUNT))));
    }
    if limit < 0 && entry.amount < 0 {
        let there = Nanos(credit_pools::limit(limit - i128::from(entry.amount)));
        return Err(AppError::State(format!("there is {there}, so {} cannot be taken back", Nanos(entry.amount))));
    }
    Ok(credit_pools::limit(limit))
}

/// When credit of the pool expires: from the period that runs on, and with another moment.
fn turns(before: Option<&Budget>, current: Period, another: Option<Period>) -> Result<Vec<Period>, AppError> {
    let known = before.map(|before| before.turns.as_slice()).unwrap_or_default();
    let mut turns: Vec<Period> = known.iter().copied().filter(|turn| *turn >= current).chain(another).collect();
    turns.sort_unstable();
    turns.dedup();
    if another.is_some() && turns.len() > MAX_TURNS {
        return Err(AppError::State(format!("credit of a pool expires at {MAX_TURNS} moments at most")));
    }
    Ok(turns)
}

/// Writes a pool's limit and when its credit expires; `None` when both are what they were.
pub(super) async fn put(
    work: &mut Work<'_>,
    before: &Budget,
    current: Period,
    limit: i64,
    turns: Vec<Period>,
) -> Result<Option<Budget>, AppError> {
    credit_pools::set_limits(&mut work.tx, before.id, current, limit).await?;
    if (limit, &turns) == (before.limit, &before.turns) {
        return Ok(None);
    }
    let after = Budget { limit, turns, version: before.version + 1, ..before.clone() };
    store::budgets::update(&mut work.tx, &after).await?;
    work.emit(Change::Budget(after.clone()));
    Ok(Some(after))
}

/// Opens the pool of a workspace.
async fn open(work: &mut Work<'_>, workspace: WorkspaceId, limit: i64, turns: Vec<Period>) -> Result<Budget, AppError> {
    let pool = Budget {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        scope: BudgetScope::Workspace(workspace),
        unit: Unit::Usd,
        window: Window::Total,
        limit,
        hard: true,
        credit: true,
        on_expiry: OnExpiry::default(),
        course: Course::default(),
        turns,
        display_name: "Credit".to_owned(),
        created: work.now,
        version: 1,
    };
    budgets::add(work, &pool).await?;
    Ok(pool)
}

/// Lists the entries of a workspace.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListCreditEntries) -> Result<Listed<NamedEntry>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::CreditsRead, work.workspace_scope(&workspace))?;
    let paging = Paging::begin(&app, &format!("credit entries of {}", workspace.id), &asked.listing)?;
    let rows = store::credits::list(&mut work.tx, workspace.id, &asked.listing, paging.after()).await?;
    Ok(paging.end(rows).map(|entry| NamedEntry { workspace: asked.parent.clone(), entry }))
}

/// Tells where the credit of a workspace stands.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetCredit) -> Result<NamedCredit, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    let workspace = work.workspace(&asked.name.workspace, &asked.name).await?;
    work.require(Permission::CreditsRead, work.workspace_scope(&workspace))?;
    let Some(budget) = store::budgets::credit_pool(&mut work.tx, workspace.id).await? else {
        return Ok(NamedCredit { workspace: asked.name, credit: Credit::default() });
    };
    let pool = credit_pools::read(&mut work.tx, budget.id).await?;
    let now = work.now;
    // The ledger may read the database as well: no connection is kept from it.
    drop(work);
    let stands = pool.standing(budget.period(now));
    // What is charged and held now memory knows best.
    let live = app.gate.standing(&budget, now).await?;
    let (spent, held) = (i128::from(live.spent), i128::from(live.held));
    let credit = Credit {
        budget: Some(BudgetName { tenant: asked.name.tenant.clone(), budget: budget.id }),
        granted: stands.granted,
        spent: stands.spent - stands.spent_now + spent,
        held: stands.reserved_before + held,
        expired: stands.expired,
        expiring: stands.expiring,
        remaining: stands.limit - spent - held,
        next: stands.next_expiry(),
    };
    Ok(NamedCredit { workspace: asked.name, credit })
}
