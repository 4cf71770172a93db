//! Requests that were carried out under an id of the caller's.

use super::{Inserted, Result, Tx};
use crate::domain::bindings::Principal;

/// A request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Of its body.
    pub fingerprint: String,
    /// At which its change took effect.
    pub revision: i64,
    /// Name of what it made or changed last; empty where that was not noted.
    pub resource: String,
}

/// The request that a caller had carried out under an id.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn find(tx: &mut Tx, caller: Principal, request_id: &str) -> Result<Option<Done>> {
    let row = fetch_optional!(
        tx,
        (String, i64, String),
        "SELECT fingerprint, revision, resource FROM requests WHERE caller = $1 AND request_id = $2",
        caller.to_string(),
        request_id
    )?;
    Ok(row.map(|(fingerprint, revision, resource)| Done { fingerprint, revision, resource }))
}

/// Notes that a request is carried out, unless one with this id has been.
pub async fn insert(tx: &mut Tx, caller: Principal, request_id: &str, done: &Done) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO requests (caller, request_id, fingerprint, revision, resource) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        caller.to_string(),
        request_id,
        &done.fingerprint,
        done.revision,
        &done.resource
    )?;
    Ok(rows.into())
}
