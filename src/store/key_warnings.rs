//! When somebody is to be warned that a key is due for rotation: a column of the rows of keys.

use super::{Result, Tx, parse};
use crate::domain::{
    id::{KeyId, TenantId},
    keys::Key,
    time::Timestamp,
};

/// Keys of whose rotation somebody is due to be warned, and whose they are; at most `limit`.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(KeyId, TenantId)>> {
    let sql = "SELECT id, tenant_id FROM api_keys WHERE warns <= $1 ORDER BY warns LIMIT $2";
    let rows = fetch_all!(tx, (String, String), sql, now.micros(), limit)?;
    rows.into_iter().map(|(id, tenant)| Ok((parse(&id, "key id")?, parse(&tenant, "key's tenant")?))).collect()
}

/// Lets nobody be warned of the rotation of keys that have expired.
pub async fn drop_ended(tx: &mut Tx, now: Timestamp) -> Result<()> {
    execute!(tx, "UPDATE api_keys SET warns = NULL WHERE warns <= $1 AND expires <= $1", now.micros())?;
    Ok(())
}

/// Says when the warning after the one that is due is; whether one was, of the secret that is looked up by this.
pub async fn set_next(tx: &mut Tx, key: &Key, now: Timestamp, next: Option<Timestamp>) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE api_keys SET warns = $4 WHERE id = $1 AND public_id = $2 AND warns <= $3",
        key.id.to_string(),
        key.public_id.as_str(),
        now.micros(),
        next.map(Timestamp::micros)
    )?;
    Ok(rows > 0)
}
