//! Rows of workspaces.

use super::{Inserted, Page, Result, Tx, parse, text_of, value_of};
use crate::domain::{
    id::{TenantId, WorkspaceId},
    time::Timestamp,
    workspaces::Workspace,
};

type Row = (String, String, String, String, String, String, i64, i64);

fn workspace((id, tenant, slug, display_name, environment, state, created, version): Row) -> Result<Workspace> {
    Ok(Workspace {
        id: parse(&id, "workspace id")?,
        tenant: parse(&tenant, "workspace's tenant")?,
        slug: parse(&slug, "workspace slug")?,
        display_name,
        environment: parse(&environment, "workspace environment")?,
        state: value_of(state, "workspace state")?,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a workspace, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, workspace: &Workspace) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO workspaces (id, tenant_id, slug, display_name, environment, state, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, slug) DO NOTHING",
        workspace.id.to_string(),
        workspace.tenant.to_string(),
        workspace.slug.as_str(),
        &workspace.display_name,
        workspace.environment.as_str(),
        text_of(&workspace.state),
        workspace.created.micros(),
        workspace.version,
    )?;
    Ok(rows.into())
}

/// Writes what can change of a workspace.
pub async fn update(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    execute!(
        tx,
        "UPDATE workspaces SET display_name = $2, state = $3, version = $4 WHERE id = $1",
        workspace.id.to_string(),
        &workspace.display_name,
        text_of(&workspace.state),
        workspace.version,
    )?;
    Ok(())
}

/// The workspace with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<Workspace>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, environment, state, created, version FROM workspaces
         WHERE tenant_id = $1 AND slug = $2",
        tenant.to_string(),
        slug
    )?;
    row.map(workspace).transpose()
}

/// The workspace with this id.
pub async fn by_id(tx: &mut Tx, id: WorkspaceId) -> Result<Option<Workspace>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, environment, state, created, version FROM workspaces WHERE id = $1",
        id.to_string()
    )?;
    row.map(workspace).transpose()
}

/// The workspaces of a tenant, page by page, by id.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Workspace>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, environment, state, created, version FROM workspaces
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant.to_string(),
        &page.after,
        page.limit
    )?;
    rows.into_iter().map(workspace).collect()
}

/// Every workspace after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Workspace>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, environment, state, created, version FROM workspaces
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(workspace).collect()
}
