//! Rows of tenants.

use super::{Inserted, Page, Result, Tx, parse, text_of, value_of};
use crate::domain::{id::TenantId, tenants::Tenant, time::Timestamp};

type Row = (String, String, String, String, i64, i64);

fn tenant((id, slug, display_name, state, created, version): Row) -> Result<Tenant> {
    Ok(Tenant {
        id: parse(&id, "tenant id")?,
        slug: parse(&slug, "tenant slug")?,
        display_name,
        state: value_of(state, "tenant state")?,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a tenant, unless its slug is taken.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO tenants (id, slug, display_name, state, created, version) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (slug) DO NOTHING",
        tenant.id.to_string(),
        tenant.slug.as_str(),
        &tenant.display_name,
        text_of(&tenant.state),
        tenant.created.micros(),
        tenant.version,
    )?;
    Ok(rows.into())
}

/// Writes what can change of a tenant.
pub async fn update(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    execute!(
        tx,
        "UPDATE tenants SET display_name = $2, state = $3, version = $4 WHERE id = $1",
        tenant.id.to_string(),
        &tenant.display_name,
        text_of(&tenant.state),
        tenant.version,
    )?;
    Ok(())
}

/// The tenant with this slug.
pub async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Tenant>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, slug, display_name, state, created, version FROM tenants WHERE slug = $1",
        slug
    )?;
    row.map(tenant).transpose()
}

/// The tenant with this id.
pub async fn by_id(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, slug, display_name, state, created, version FROM tenants WHERE id = $1",
        id.to_string()
    )?;
    row.map(tenant).transpose()
}

/// Every tenant, page by page, by id.
pub async fn list(tx: &mut Tx, page: &Page) -> Result<Vec<Tenant>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, slug, display_name, state, created, version FROM tenants WHERE id > $1 ORDER BY id LIMIT $2",
        &page.after,
        page.limit
    )?;
    rows.into_iter().map(tenant).collect()
}

/// Every tenant after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Tenant>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, slug, display_name, state, created, version FROM tenants
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(tenant).collect()
}
