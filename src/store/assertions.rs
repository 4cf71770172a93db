//! Rows of assertions that were taken: each is taken once.

use super::{Inserted, Result, Tx};
use crate::domain::{
    id::{PublicKeyId, TenantId},
    time::Timestamp,
};

/// Notes that an assertion was taken, unless it was before. `until`: when it is refused for its age in any case.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, tenant: TenantId, key: PublicKeyId, jti: &str, until: Timestamp) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO assertions (public_key_id, jti, tenant_id, until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (public_key_id, jti) DO NOTHING",
        key.to_string(),
        jti,
        tenant.to_string(),
        until.micros(),
    )?;
    Ok(rows.into())
}

/// Forgets those that were too old at a moment.
pub async fn forget(tx: &mut Tx, moment: Timestamp) -> Result<()> {
    execute!(tx, "DELETE FROM assertions WHERE until <= $1", moment.micros())?;
    Ok(())
}
