//! Rows of charges, written by the thousand: one statement a batch, fed with one JSON array.
//!
//! Both databases unpack JSON about as fast as they take as many binds, and the statement's text stays the same.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{Result, StoreError, Tx, dialect, text_of};
use crate::{
    domain::{id::TenantId, window::Period},
    engine::{
        accounts::SliceState,
        journal::{Entry, Posted, PostedLine, Posting, Recorded},
    },
};

/// Writes those charges that are new; gives each its position, `None` for one whose id is taken.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub(super) async fn insert(tx: &mut Tx, entries: &[&Entry]) -> Result<Vec<Option<i64>>> {
    let rows: Vec<Value> = entries.iter().map(|entry| row_of(entry)).collect();
    let sql = dialect::INSERT_CHARGES.text(tx);
    let inserted = fetch_all!(tx, (String, String, i64), sql, Value::Array(rows).to_string())?;
    let seqs: BTreeMap<(&str, &str), i64> =
        inserted.iter().map(|(tenant, id, seq)| ((tenant.as_str(), id.as_str()), *seq)).collect();
    let seq_of = |entry: &&Entry| seqs.get(&(entry.tenant.to_string().as_str(), entry.charge_id.as_str())).copied();
    Ok(entries.iter().map(seq_of).collect())
}

fn row_of(entry: &Entry) -> Value {
    let lines: Vec<PostedLine> =
        entry.postings.iter().map(|posting| PostedLine { in_slice: posting.in_slice, direct: 0, overrun: 0 }).collect();
    json!([
        entry.tenant.to_string(),
        entry.charge_id,
        entry.body_hash,
        entry.workspace,
        entry.project,
        entry.key,
        entry.owner,
        entry.caller,
        entry.end_user,
        entry.provider,
        entry.model,
        entry.price,
        text_of(&entry.outcome),
        i64::from(entry.late),
        entry.usage.requests,
        entry.usage.input,
        entry.usage.cached_input,
        entry.usage.cache_write,
        entry.usage.output,
        entry.usage.reasoning,
        entry.cost,
        entry.released,
        0,
        entry.occurred.micros(),
        entry.recorded.micros(),
        entry.labels,
        postings_text(&entry.postings, &lines),
    ])
}

/// What the charge that took this id before was: the same, or another.
pub(super) async fn earlier(tx: &mut Tx, entry: &Entry) -> Result<Posted> {
    let row = fetch_optional!(
        tx,
        (i64, String, i64, i64, i64, String),
        "SELECT seq, body_hash, cost_nanos, released_nanos, overrun_nanos, postings FROM charges
         WHERE tenant_id = $1 AND charge_id = $2",
        entry.tenant.to_string(),
        &entry.charge_id
    )?;
    let Some((seq, body_hash, cost, released, overrun, postings)) = row else {
        return Err(StoreError::Corrupt("charge".into()));
    };
    if body_hash != entry.body_hash {
        return Ok(Posted::Conflict);
    }
    let lines = postings.split_whitespace().map(line_of).collect::<Result<Vec<_>>>()?;
    Ok(Posted::Replayed(Recorded { seq, cost, released, overrun, lines }))
}

/// Adds amounts to slices that are open and have room; gives those that it was added to.
pub(super) async fn add_to_slices(tx: &mut Tx, sums: &BTreeMap<i64, i64>) -> Result<Vec<SliceState>> {
    if sums.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = sums.iter().map(|(slice, amount)| json!([slice, amount])).collect();
    let sql = dialect::ADD_TO_SLICES.text(tx);
    let changed = fetch_all!(tx, (i64, i64, i64, i64), sql, Value::Array(rows).to_string())?;
    Ok(changed.into_iter().map(|(id, granted, spent, ver)| SliceState { id, granted, spent, ver }).collect())
}

/// Takes back what [`add_to_slices`] added to `changed`, and empties it.
pub(super) async fn subtract_from_slices(
    tx: &mut Tx,
    sums: &BTreeMap<i64, i64>,
    changed: &mut Vec<SliceState>,
) -> Result<()> {
    for slice in changed.drain(..) {
        let amount = sums.get(&slice.id).copied().unwrap_or_default();
        execute!(tx, "UPDATE slices SET spent = spent - $2, ver = ver + 1 WHERE id = $1", slice.id, amount)?;
    }
    Ok(())
}

/// Corrects where a charge of this transaction went.
pub(super) async fn rewrite(tx: &mut Tx, entry: &Entry, seq: i64, lines: &[PostedLine]) -> Result<()> {
    // The column is in dollars; overruns in other units stand in the postings.
    let usd = entry.postings.iter().zip(lines).filter(|(posting, _)| posting.usd);
    let overrun = usd.map(|(_, line)| line.overrun).max().unwrap_or_default();
    execute!(
        tx,
        "UPDATE charges SET postings = $2, overrun_nanos = $3 WHERE seq = $1",
        seq,
        postings_text(&entry.postings, lines),
        overrun
    )?;
    Ok(())
}

/// `budget:period:slice:in slice:direct:overrun`, separated by spaces.
fn postings_text(postings: &[Posting], lines: &[PostedLine]) -> String {
    let mut text = String::new();
    for (Posting { budget, period: Period(period), slice, .. }, line) in postings.iter().zip(lines) {
        let PostedLine { in_slice, direct, overrun } = line;
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{space}{budget}:{period}:{slice}:{in_slice}:{direct}:{overrun}");
    }
    text
}

fn line_of(text: &str) -> Result<PostedLine> {
    let corrupt = || StoreError::Corrupt("posting".into());
    let mut numbers = text.split(':').skip(3).map(str::parse::<i64>);
    let mut next = || numbers.next().and_then(std::result::Result::ok).ok_or_else(corrupt);
    Ok(PostedLine { in_slice: next()?, direct: next()?, overrun: next()? })
}

/// How many charges a tenant has on record; for checks of the books.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), "SELECT COUNT(*) FROM charges WHERE tenant_id = $1", tenant.to_string())?;
    Ok(count)
}
