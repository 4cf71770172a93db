//! Rows of passwords.

use super::{Result, Tx};
use crate::domain::{
    id::{TenantId, UserId},
    time::Timestamp,
};

/// A user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// Argon2id, as a PHC string.
    pub hash: String,
    /// When it was set.
    pub changed: Timestamp,
}

/// A user's password, if they have one.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn get(tx: &mut Tx, user: UserId) -> Result<Option<Password>> {
    let row =
        fetch_optional!(tx, (String, i64), "SELECT hash, changed FROM passwords WHERE user_id = $1", user.to_string())?;
    Ok(row.map(|(hash, changed)| Password { hash, changed: Timestamp::from_micros(changed) }))
}

/// Gives a user a password, or another one.
pub async fn set(tx: &mut Tx, tenant: TenantId, user: UserId, password: &Password) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO passwords (user_id, tenant_id, hash, changed) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed = excluded.changed",
        user.to_string(),
        tenant.to_string(),
        &password.hash,
        password.changed.micros()
    )?;
    Ok(())
}
