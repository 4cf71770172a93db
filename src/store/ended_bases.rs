//! Rows of what tokens rested on that has ended.

use super::{Result, Tx, parse};
use crate::domain::{id::TenantId, time::Timestamp, tokens::Basis};

/// Notes that something of a tenant has ended, and when the last token that may rest on it has.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn end(tx: &mut Tx, tenant: TenantId, basis: Basis, until: Timestamp) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO ended_bases (basis, tenant_id, until) VALUES ($1, $2, $3)
         ON CONFLICT (basis) DO UPDATE SET until = excluded.until WHERE excluded.until > ended_bases.until",
        basis.to_string(),
        tenant.to_string(),
        until.micros(),
    )?;
    Ok(())
}

/// Whether something has ended.
pub async fn has(tx: &mut Tx, basis: Basis) -> Result<bool> {
    let row = fetch_optional!(tx, (i64,), "SELECT until FROM ended_bases WHERE basis = $1", basis.to_string())?;
    Ok(row.is_some())
}

/// What has ended, with when the last token of each has, after the text `after`, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(Basis, Timestamp)>> {
    let sql = "SELECT basis, until FROM ended_bases WHERE basis > $1 ORDER BY basis LIMIT $2";
    let rows = fetch_all!(tx, (String, i64), sql, after, limit)?;
    rows.into_iter()
        .map(|(basis, until)| Ok((parse(&basis, "basis of tokens")?, Timestamp::from_micros(until))))
        .collect()
}

/// Forgets what no token rests on any more that was good at a moment.
pub async fn forget(tx: &mut Tx, moment: Timestamp) -> Result<()> {
    execute!(tx, "DELETE FROM ended_bases WHERE until <= $1", moment.micros())?;
    Ok(())
}
