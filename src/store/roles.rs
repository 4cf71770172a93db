//! Rows of the tenants' own roles, and what any role gives.

use super::{Inserted, Result, StoreError, Tx, parse};
use crate::domain::{
    id::{RoleId, TenantId},
    permission::PermissionSet,
    roles::{CustomRole, RoleRef},
    time::Timestamp,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, slug, display_name, description, permissions, created, version FROM roles ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, i64, i64);

fn role((id, tenant, slug, display_name, description, permissions, created, version): Row) -> Result<CustomRole> {
    Ok(CustomRole {
        id: parse(&id, "role id")?,
        tenant: parse(&tenant, "role's tenant")?,
        slug: parse(&slug, "role slug")?,
        display_name,
        description,
        permissions: permissions_of(&permissions)?,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// The permissions that a text lists.
pub(super) fn permissions_of(text: &str) -> Result<PermissionSet> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("list of permissions".into()))
}

fn permissions_text(permissions: PermissionSet) -> Result<String> {
    serde_json::to_string(&permissions).map_err(|_| StoreError::Corrupt("list of permissions".into()))
}

/// Adds a role, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, role: &CustomRole) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO roles (id, tenant_id, slug, display_name, description, permissions, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, slug) DO NOTHING",
        role.id.to_string(),
        role.tenant.to_string(),
        role.slug.as_str(),
        &role.display_name,
        &role.description,
        permissions_text(role.permissions)?,
        role.created.micros(),
        role.version,
    )?;
    Ok(rows.into())
}

/// Writes what can change of a role.
pub async fn update(tx: &mut Tx, role: &CustomRole) -> Result<()> {
    execute!(
        tx,
        "UPDATE roles SET display_name = $2, description = $3, permissions = $4, version = $5 WHERE id = $1",
        role.id.to_string(),
        &role.display_name,
        &role.description,
        permissions_text(role.permissions)?,
        role.version,
    )?;
    Ok(())
}

/// Removes a role.
pub async fn delete(tx: &mut Tx, id: RoleId) -> Result<()> {
    execute!(tx, "DELETE FROM roles WHERE id = $1", id.to_string())?;
    Ok(())
}

/// The role with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<CustomRole>> {
    let row = fetch_optional!(tx, Row, select!("WHERE tenant_id = $1 AND slug = $2"), tenant.to_string(), slug)?;
    row.map(role).transpose()
}

/// What a role gives.
pub async fn permissions(tx: &mut Tx, role: RoleRef) -> Result<PermissionSet> {
    let id = match role {
        RoleRef::BuiltIn(role) => return Ok(role.permissions()),
        RoleRef::Custom(id) => id.to_string(),
    };
    let row = fetch_optional!(tx, (String,), "SELECT permissions FROM roles WHERE id = $1", id)?;
    let (text,) = row.ok_or(StoreError::Corrupt("binding of no role".into()))?;
    permissions_of(&text)
}

/// The roles of a tenant, oldest first: never more than [`crate::domain::roles::MAX_PER_TENANT`].
pub async fn of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<Vec<CustomRole>> {
    let rows = fetch_all!(tx, Row, select!("WHERE tenant_id = $1 ORDER BY id"), tenant.to_string())?;
    rows.into_iter().map(role).collect()
}

/// Every role after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<CustomRole>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(role).collect()
}
