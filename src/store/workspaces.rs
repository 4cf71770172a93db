//! Rows of workspaces.

use super::{
    Inserted, Result, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{TenantId, WorkspaceId, WorkspaceKind},
    time::Timestamp,
    workspaces::Workspace,
};

pub(super) const NOUN: Noun = Noun::staying::<WorkspaceKind>("workspaces");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, slug, display_name, environment, state, deleted, created, version FROM workspaces ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, Option<i64>, i64, i64);

fn workspace(row: Row) -> Result<Workspace> {
    let (id, tenant, slug, display_name, environment, state, deleted, created, version) = row;
    Ok(Workspace {
        id: parse(&id, "workspace id")?,
        tenant: parse(&tenant, "workspace's tenant")?,
        slug: parse(&slug, "workspace slug")?,
        display_name,
        environment: parse(&environment, "workspace environment")?,
        state: value_of(state, "workspace state")?,
        deleted: deleted.map(Timestamp::from_micros),
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
    if rows > 0 {
        put_words(tx, workspace).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    let list = search::list(NOUN.name, workspace.tenant);
    let texts = [workspace.slug.as_str(), &workspace.display_name];
    search::put(tx, &Words { tenant: workspace.tenant, list, id: workspace.id.to_string(), texts: &texts }).await
}

/// Writes what can change of a workspace.
pub async fn update(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    execute!(
        tx,
        "UPDATE workspaces SET display_name = $2, state = $3, deleted = $4, version = $5 WHERE id = $1",
        workspace.id.to_string(),
        &workspace.display_name,
        text_of(&workspace.state),
        workspace.deleted.map(Timestamp::micros),
        workspace.version,
    )?;
    put_words(tx, workspace).await
}

/// The workspace with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<Workspace>> {
    let row = fetch_optional!(tx, Row, select!("WHERE tenant_id = $1 AND slug = $2"), tenant.to_string(), slug)?;
    row.map(workspace).transpose()
}

/// The workspace with this id.
pub async fn by_id(tx: &mut Tx, id: WorkspaceId) -> Result<Option<Workspace>> {
    let row = fetch_optional!(tx, Row, select!("WHERE id = $1"), id.to_string())?;
    row.map(workspace).transpose()
}

/// A page of the workspaces of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Workspace>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, listing, after };
    fetch_listed!(tx, Row, list)?.into_iter().map(workspace).collect()
}

/// Every workspace after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Workspace>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(workspace).collect()
}
