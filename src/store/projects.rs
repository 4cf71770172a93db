//! Rows of projects.

use super::{Inserted, Page, Result, Tx, parse};
use crate::domain::{id::WorkspaceId, projects::Project, time::Timestamp};

type Row = (String, String, String, String, String, i64, i64);

fn project((id, tenant, workspace, slug, display_name, created, version): Row) -> Result<Project> {
    Ok(Project {
        id: parse(&id, "project id")?,
        tenant: parse(&tenant, "project's tenant")?,
        workspace: parse(&workspace, "project's workspace")?,
        slug: parse(&slug, "project slug")?,
        display_name,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a project, unless its slug is taken in the workspace.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, project: &Project) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO projects (id, tenant_id, workspace_id, slug, display_name, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (workspace_id, slug) DO NOTHING",
        project.id.to_string(),
        project.tenant.to_string(),
        project.workspace.to_string(),
        project.slug.as_str(),
        &project.display_name,
        project.created.micros(),
        project.version,
    )?;
    Ok(rows.into())
}

/// The project with this slug in the workspace.
pub async fn by_slug(tx: &mut Tx, workspace: WorkspaceId, slug: &str) -> Result<Option<Project>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, workspace_id, slug, display_name, created, version FROM projects
         WHERE workspace_id = $1 AND slug = $2",
        workspace.to_string(),
        slug
    )?;
    row.map(project).transpose()
}

/// The projects of a workspace, page by page, by id.
pub async fn list(tx: &mut Tx, workspace: WorkspaceId, page: &Page) -> Result<Vec<Project>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, workspace_id, slug, display_name, created, version FROM projects
         WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        workspace.to_string(),
        &page.after,
        page.limit
    )?;
    rows.into_iter().map(project).collect()
}

/// Every project after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Project>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, workspace_id, slug, display_name, created, version FROM projects
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(project).collect()
}
