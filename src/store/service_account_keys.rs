//! Rows of public keys of service accounts.

use super::{Result, Tx, parse};
use crate::domain::{
    id::{PublicKeyId, ServiceAccountId},
    service_account_keys::ServiceAccountKey,
    time::Timestamp,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, service_account_id, display_name, public_key, expires, created
             FROM service_account_keys ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, Option<i64>, i64);

fn key(row: Row) -> Result<ServiceAccountKey> {
    let (id, tenant, account, display_name, public_key, expires, created) = row;
    Ok(ServiceAccountKey {
        id: parse(&id, "public key id")?,
        tenant: parse(&tenant, "public key's tenant")?,
        account: parse(&account, "public key's account")?,
        display_name,
        public_key: parse(&public_key, "public key")?,
        expires: expires.map(Timestamp::from_micros),
        created: Timestamp::from_micros(created),
    })
}

/// Adds a key.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, key: &ServiceAccountKey) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO service_account_keys (id, tenant_id, service_account_id, display_name, public_key, expires, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        key.id.to_string(),
        key.tenant.to_string(),
        key.account.to_string(),
        &key.display_name,
        key.public_key.to_string(),
        key.expires.map(Timestamp::micros),
        key.created.micros(),
    )?;
    Ok(())
}

/// The key of an account with this id.
pub async fn of(tx: &mut Tx, account: ServiceAccountId, id: PublicKeyId) -> Result<Option<ServiceAccountKey>> {
    let sql = select!("WHERE service_account_id = $1 AND id = $2");
    fetch_optional!(tx, Row, sql, account.to_string(), id.to_string())?.map(key).transpose()
}

/// Every key of an account, in the order in which they were added.
pub async fn all_of(tx: &mut Tx, account: ServiceAccountId) -> Result<Vec<ServiceAccountKey>> {
    let rows = fetch_all!(tx, Row, select!("WHERE service_account_id = $1 ORDER BY id"), account.to_string())?;
    rows.into_iter().map(key).collect()
}

/// Deletes a key.
pub async fn delete(tx: &mut Tx, id: PublicKeyId) -> Result<()> {
    execute!(tx, "DELETE FROM service_account_keys WHERE id = $1", id.to_string())?;
    Ok(())
}
