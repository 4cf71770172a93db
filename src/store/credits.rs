//! Rows of credit: the entries that a workspace's pool is made of.

use super::{
    Result, Tx,
    listing::{List, Listing, Noun, Position},
    parse, text_of, value_of,
};
use crate::domain::{
    budgets::Budget,
    credits::Entry,
    id::{BudgetId, TenantId, WorkspaceId},
    time::Timestamp,
    window::Period,
};

pub(super) const NOUN: Noun =
    Noun { name: "credit entries", columns: &[], stays: false, id: "seq", prefix: "", worded_by_tenant: false };

/// A query over whole entries. The first column of a list is what its rows are told apart by.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT seq, kind, amount, reference, note, expires, actor, created, period, mark, of_entry, ended
             FROM credit_entries ",
            $rest
        )
    };
}

type Row = (i64, String, i64, String, String, Option<i64>, String, i64, i64, i64, i64, bool);

fn entry(row: Row) -> Result<Entry> {
    let (seq, kind, amount, reference, note, expires, actor, created, period, mark, of_entry, ended) = row;
    Ok(Entry {
        seq,
        kind: value_of(kind, "kind of a credit entry")?,
        amount,
        reference,
        note,
        expires: expires.map(Timestamp::from_micros),
        actor,
        created: Timestamp::from_micros(created),
        period: Period(u32::try_from(period).unwrap_or(u32::MAX)),
        mark,
        of_entry,
        ended,
    })
}

/// Adds an entry to a pool, which is a workspace's. The caller made sure that its number and its reference are free.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, workspace: WorkspaceId, pool: &Budget, entry: &Entry) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO credit_entries (workspace_id, budget_id, seq, kind, amount, reference, note, expires, actor, created,
             period, mark, of_entry, ended, tenant_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        workspace.to_string(),
        pool.id.to_string(),
        entry.seq,
        text_of(&entry.kind),
        entry.amount,
        &entry.reference,
        &entry.note,
        entry.expires.map(Timestamp::micros),
        &entry.actor,
        entry.created.micros(),
        i64::from(entry.period.0),
        entry.mark,
        entry.of_entry,
        entry.ended,
        pool.tenant.to_string(),
    )?;
    Ok(())
}

/// Notes that the end of an entry is on record.
pub async fn end(tx: &mut Tx, workspace: WorkspaceId, seq: i64) -> Result<()> {
    let sql = "UPDATE credit_entries SET ended = $3 WHERE workspace_id = $1 AND seq = $2";
    execute!(tx, sql, workspace.to_string(), seq, true)?;
    Ok(())
}

/// The entry with this reference.
pub async fn by_reference(tx: &mut Tx, workspace: WorkspaceId, reference: &str) -> Result<Option<Entry>> {
    let row = fetch_optional!(
        tx,
        Row,
        select!("WHERE workspace_id = $1 AND reference = $2"),
        workspace.to_string(),
        reference
    )?;
    row.map(entry).transpose()
}

/// Every entry of a workspace, by number.
pub(super) async fn all(tx: &mut Tx, workspace: &str) -> Result<Vec<Entry>> {
    let rows = fetch_all!(tx, Row, select!("WHERE workspace_id = $1 ORDER BY seq"), workspace)?;
    rows.into_iter().map(entry).collect()
}

/// A page of the entries of a workspace.
pub async fn list(
    tx: &mut Tx,
    workspace: WorkspaceId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Entry>> {
    let within = Some(("workspace_id", workspace.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(entry).collect()
}

/// Pools of which something is to be put in order, and whose they are; at most `limit`: those with entries whose moment has
/// passed and whose end is not on record, and those of whose limit charges have taken something that came after it was set.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(BudgetId, TenantId)>> {
    let rows = fetch_all!(
        tx,
        (String, String),
        "SELECT id, tenant_id FROM budgets WHERE id IN
             (SELECT budget_id FROM credit_entries WHERE expires IS NOT NULL AND NOT ended AND expires <= $1)
         UNION
         SELECT id, tenant_id FROM budgets WHERE turns <> '' AND amount > 0 AND NOT deleted AND amount >
             (SELECT COALESCE(SUM(entries.amount), 0) FROM credit_entries AS entries WHERE workspace_id = scope_ref)
             - (SELECT COALESCE(SUM(older.settled + older.overrun), 0) FROM budget_periods AS older
                WHERE older.budget_id = budgets.id AND older.period <
                    (SELECT MAX(newest.period) FROM budget_periods AS newest WHERE newest.budget_id = budgets.id))
         LIMIT $2",
        now.micros(),
        limit
    )?;
    rows.into_iter().map(|(id, tenant)| Ok((parse(&id, "budget id")?, parse(&tenant, "budget's tenant")?))).collect()
}
