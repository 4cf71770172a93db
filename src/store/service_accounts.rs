//! Rows of service accounts.

use super::{
    Inserted, Result, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{ServiceAccountId, ServiceAccountKind, TenantId},
    service_accounts::ServiceAccount,
    spiffe::SpiffeId,
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::staying::<ServiceAccountKind>("service accounts");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, slug, display_name, state, deleted, spiffe_id, created, version FROM service_accounts ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, Option<i64>, String, i64, i64);

fn account(row: Row) -> Result<ServiceAccount> {
    let (id, tenant, slug, display_name, state, deleted, spiffe_id, created, version) = row;
    Ok(ServiceAccount {
        id: parse(&id, "service account id")?,
        tenant: parse(&tenant, "service account's tenant")?,
        slug: parse(&slug, "service account slug")?,
        display_name,
        state: value_of(state, "service account state")?,
        deleted: deleted.map(Timestamp::from_micros),
        spiffe_id: (!spiffe_id.is_empty()).then(|| parse(&spiffe_id, "SPIFFE id")).transpose()?,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a service account, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, account: &ServiceAccount) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO service_accounts (id, tenant_id, slug, display_name, state, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, slug) DO NOTHING",
        account.id.to_string(),
        account.tenant.to_string(),
        account.slug.as_str(),
        &account.display_name,
        text_of(&account.state),
        account.created.micros(),
        account.version,
    )?;
    if rows > 0 {
        put_words(tx, account).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, account: &ServiceAccount) -> Result<()> {
    let list = search::list(NOUN.name, account.tenant);
    let texts = [account.slug.as_str(), &account.display_name];
    search::put(tx, &Words { tenant: account.tenant, list, id: account.id.to_string(), texts: &texts }).await
}

/// Writes what can change of a service account. Another SPIFFE id has to be claimed first.
pub async fn update(tx: &mut Tx, account: &ServiceAccount) -> Result<()> {
    execute!(
        tx,
        "UPDATE service_accounts SET display_name = $2, state = $3, deleted = $4, spiffe_id = $5, version = $6 WHERE id = $1",
        account.id.to_string(),
        &account.display_name,
        text_of(&account.state),
        account.deleted.map(Timestamp::micros),
        account.spiffe_id.as_ref().map(SpiffeId::as_str).unwrap_or_default(),
        account.version,
    )?;
    put_words(tx, account).await
}

/// Makes an account's SPIFFE id its own, and sets the one that it had free; unless another account has it, of any tenant.
pub async fn claim(tx: &mut Tx, account: &ServiceAccount) -> Result<Inserted> {
    execute!(tx, "DELETE FROM spiffe_ids WHERE service_account_id = $1", account.id.to_string())?;
    let Some(id) = &account.spiffe_id else { return Ok(Inserted::New) };
    let rows = execute!(
        tx,
        "INSERT INTO spiffe_ids (spiffe_id, tenant_id, service_account_id) VALUES ($1, $2, $3)
         ON CONFLICT (spiffe_id) DO NOTHING",
        id.as_str(),
        account.tenant.to_string(),
        account.id.to_string(),
    )?;
    Ok(rows.into())
}

/// The service account with this id.
pub async fn by_id(tx: &mut Tx, id: ServiceAccountId) -> Result<Option<ServiceAccount>> {
    fetch_optional!(tx, Row, select!("WHERE id = $1"), id.to_string())?.map(account).transpose()
}

/// The service account with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<ServiceAccount>> {
    let row = fetch_optional!(tx, Row, select!("WHERE tenant_id = $1 AND slug = $2"), tenant.to_string(), slug)?;
    row.map(account).transpose()
}

/// A page of the service accounts of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<ServiceAccount>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(account).collect()
}

/// Every service account after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<ServiceAccount>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(account).collect()
}
