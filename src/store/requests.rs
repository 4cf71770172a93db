//! Requests that were carried out under an id of the caller's.

use super::{Inserted, Result, Tx};
use crate::domain::bindings::Principal;

/// The fingerprint and revision of the request that a caller had carried out under an id.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn find(tx: &mut Tx, caller: Principal, request_id: &str) -> Result<Option<(String, i64)>> {
    let row = fetch_optional!(
        tx,
        (String, i64),
        "SELECT fingerprint, revision FROM requests WHERE caller = $1 AND request_id = $2",
        caller.to_string(),
        request_id
    )?;
    Ok(row)
}

/// Notes that a request is carried out, unless one with this id has been.
pub async fn insert(
    tx: &mut Tx,
    caller: Principal,
    request_id: &str,
    fingerprint: &str,
    revision: i64,
) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO requests (caller, request_id, fingerprint, revision) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        caller.to_string(),
        request_id,
        fingerprint,
        revision
    )?;
    Ok(rows.into())
}
