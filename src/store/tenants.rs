//! Rows of tenants. One that is purged is a tombstone, which nobody finds.

use super::{
    Inserted, Result, StoreError, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    branding::Branding,
    id::{TenantId, TenantKind},
    tenants::Tenant,
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::staying::<TenantKind>("tenants");

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, slug, display_name, branding, state, deleted, created, version FROM tenants ", $rest)
    };
}

type Row = (String, String, String, String, String, Option<i64>, i64, i64);

fn tenant((id, slug, display_name, branding, state, deleted, created, version): Row) -> Result<Tenant> {
    Ok(Tenant {
        id: parse(&id, "tenant id")?,
        slug: parse(&slug, "tenant slug")?,
        display_name,
        branding: branding_of(&branding)?,
        state: value_of(state, "tenant state")?,
        deleted: deleted.map(Timestamp::from_micros),
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Nothing for what a new tenant has.
fn branding_of(text: &str) -> Result<Branding> {
    if text.is_empty() {
        return Ok(Branding::default());
    }
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("branding of a tenant".into()))
}

fn branding_text(branding: &Branding) -> Result<String> {
    if *branding == Branding::default() {
        return Ok(String::new());
    }
    serde_json::to_string(branding).map_err(|_| StoreError::Corrupt("branding of a tenant".into()))
}

/// Adds a tenant, unless its slug is taken.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO tenants (id, slug, display_name, state, created, version)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (slug) DO NOTHING",
        tenant.id.to_string(),
        tenant.slug.as_str(),
        &tenant.display_name,
        text_of(&tenant.state),
        tenant.created.micros(),
        tenant.version,
    )?;
    if rows > 0 {
        put_words(tx, tenant).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    let list = search::list(NOUN.name, "all");
    let texts = [tenant.slug.as_str(), &tenant.display_name];
    search::put(tx, &Words { tenant: tenant.id, list, id: tenant.id.to_string(), texts: &texts }).await
}

/// Writes what can change of a tenant.
pub async fn update(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    execute!(
        tx,
        "UPDATE tenants SET display_name = $2, state = $3, deleted = $4, version = $5, branding = $6 WHERE id = $1",
        tenant.id.to_string(),
        &tenant.display_name,
        text_of(&tenant.state),
        tenant.deleted.map(Timestamp::micros),
        tenant.version,
        branding_text(&tenant.branding)?,
    )?;
    put_words(tx, tenant).await
}

/// Erases the people and credentials of a tenant, ends its budgets, and leaves of the tenant itself what is given: its
/// id, and names that mean nothing. Charges and the audit log stay.
pub async fn purge(tx: &mut Tx, tombstone: &Tenant) -> Result<()> {
    let id = tombstone.id.to_string();
    // Each refers only to those after it.
    for statement in [
        "DELETE FROM invitations WHERE tenant_id = $1",
        "DELETE FROM mail WHERE tenant_id = $1",
        "DELETE FROM last_used WHERE tenant_id = $1",
        "DELETE FROM bindings WHERE tenant_id = $1",
        "DELETE FROM seats WHERE tenant_id = $1",
        "DELETE FROM key_policies WHERE tenant_id = $1",
        "DELETE FROM role_templates WHERE tenant_id = $1",
        "DELETE FROM roles WHERE tenant_id = $1",
        "DELETE FROM api_keys WHERE tenant_id = $1",
        "DELETE FROM team_members WHERE tenant_id = $1",
        "DELETE FROM teams WHERE tenant_id = $1",
        "DELETE FROM external_identities WHERE tenant_id = $1",
        "DELETE FROM identity_providers WHERE tenant_id = $1",
        "DELETE FROM sessions WHERE tenant_id = $1",
        "DELETE FROM passwords WHERE tenant_id = $1",
        "DELETE FROM users WHERE tenant_id = $1",
        "DELETE FROM ended_bases WHERE tenant_id = $1",
        "DELETE FROM assertions WHERE tenant_id = $1",
        "DELETE FROM service_account_keys WHERE tenant_id = $1",
        "DELETE FROM former_users WHERE tenant_id = $1",
        "DELETE FROM spiffe_ids WHERE tenant_id = $1",
        "DELETE FROM service_accounts WHERE tenant_id = $1",
        "UPDATE budgets SET deleted = TRUE, display_name = '' WHERE tenant_id = $1",
        "UPDATE projects SET display_name = slug WHERE tenant_id = $1",
        "UPDATE workspaces SET display_name = slug WHERE tenant_id = $1",
        "DELETE FROM search_words WHERE tenant_id = $1",
        "UPDATE tenants SET purged = TRUE WHERE id = $1",
    ] {
        execute!(tx, statement, &id)?;
    }
    execute!(tx, "UPDATE tenants SET slug = $2 WHERE id = $1", &id, tombstone.slug.as_str())?;
    update(tx, tombstone).await
}

/// The tenant with this slug.
pub async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Tenant>> {
    let row = fetch_optional!(tx, Row, select!("WHERE slug = $1 AND NOT purged"), slug)?;
    row.map(tenant).transpose()
}

/// The tenant with this id.
pub async fn by_id(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>> {
    let row = fetch_optional!(tx, Row, select!("WHERE id = $1 AND NOT purged"), id.to_string())?;
    row.map(tenant).transpose()
}

/// A page of the tenants; of one of them when `only` says which.
pub async fn list(
    tx: &mut Tx,
    only: Option<TenantId>,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Tenant>> {
    let within = only.map(|id| ("id", id.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE NOT purged"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(tenant).collect()
}

/// Every tenant after the id `after`, by id, at most `limit`; those that are purged among them, since others refer to them.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Tenant>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(tenant).collect()
}
