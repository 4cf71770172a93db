//! Fingerprints of the key files that the database belongs to.

use super::{Inserted, Result, Tx};

/// The fingerprint kept under a name.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let row = fetch_optional!(tx, (String,), "SELECT fingerprint FROM keyring WHERE name = $1", name)?;
    Ok(row.map(|(fingerprint,)| fingerprint))
}

/// Keeps a fingerprint under a name, unless one is kept there already.
pub async fn set(tx: &mut Tx, name: &str, fingerprint: &str) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO keyring (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        name,
        fingerprint
    )?;
    Ok(rows.into())
}
