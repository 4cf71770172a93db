//! Rows of the keys that tokens are signed with.

use super::{Inserted, Result, Tx, parse};
use crate::domain::{signing_keys::SigningKey, time::Timestamp};

/// Adds a key, unless it is there.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, key: &SigningKey) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO signing_keys (kid, public_key, created, retires) VALUES ($1, $2, $3, $4)
         ON CONFLICT (kid) DO NOTHING",
        &key.kid,
        key.public_key.to_string(),
        key.created.micros(),
        key.retires.map(Timestamp::micros),
    )?;
    Ok(rows.into())
}

/// Writes when a key retires.
pub async fn update(tx: &mut Tx, key: &SigningKey) -> Result<()> {
    let sql = "UPDATE signing_keys SET retires = $2 WHERE kid = $1";
    execute!(tx, sql, &key.kid, key.retires.map(Timestamp::micros))?;
    Ok(())
}

/// Every key, the oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<SigningKey>> {
    type Row = (String, String, i64, Option<i64>);
    let rows = fetch_all!(tx, Row, "SELECT kid, public_key, created, retires FROM signing_keys ORDER BY created, kid")?;
    let key = |(kid, public_key, created, retires): Row| {
        Ok(SigningKey {
            kid,
            public_key: parse(&public_key, "signing key")?,
            created: Timestamp::from_micros(created),
            retires: retires.map(Timestamp::from_micros),
        })
    };
    rows.into_iter().map(key).collect()
}
