//! Rows of workspaces.

use super::{
    Inserted, Result, StoreError, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{TenantId, WorkspaceId, WorkspaceKind},
    policies::Policies,
    time::Timestamp,
    workspaces::Workspace,
};

pub(super) const NOUN: Noun = Noun::staying::<WorkspaceKind>("workspaces");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, slug, display_name, environment, policies, state, deleted, created, version
                 FROM workspaces ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, String, Option<i64>, i64, i64);

fn workspace(row: Row) -> Result<Workspace> {
    let (id, tenant, slug, display_name, environment, policies, state, deleted, created, version) = row;
    Ok(Workspace {
        id: parse(&id, "workspace id")?,
        tenant: parse(&tenant, "workspace's tenant")?,
        slug: parse(&slug, "workspace slug")?,
        display_name,
        environment: parse(&environment, "workspace environment")?,
        policies: policies_of(&policies)?,
        state: value_of(state, "workspace state")?,
        deleted: deleted.map(Timestamp::from_micros),
        created: Timestamp::from_micros(created),
        version,
    })
}

fn policies_of(text: &str) -> Result<Policies> {
    if text.is_empty() {
        return Ok(Policies::default());
    }
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("policies of a workspace".into()))
}

/// What policies are stored as: nothing for those that a new workspace has.
fn policies_text(policies: &Policies) -> Result<String> {
    if *policies == Policies::default() {
        return Ok(String::new());
    }
    serde_json::to_string(policies).map_err(|_| StoreError::Corrupt("policies of a workspace".into()))
}

/// Adds a workspace, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, workspace: &Workspace) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO workspaces (id, tenant_id, slug, display_name, environment, policies, state, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, slug) DO NOTHING",
        workspace.id.to_string(),
        workspace.tenant.to_string(),
        workspace.slug.as_str(),
        &workspace.display_name,
        workspace.environment.as_str(),
        policies_text(&workspace.policies)?,
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
        "UPDATE workspaces SET display_name = $2, policies = $3, state = $4, deleted = $5, version = $6 WHERE id = $1",
        workspace.id.to_string(),
        &workspace.display_name,
        policies_text(&workspace.policies)?,
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

/// A page of the workspaces of a tenant; of some of them when `only` says which.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    only: Option<Vec<WorkspaceId>>,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Workspace>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let among = only.map(|ids| ids.iter().map(ToString::to_string).collect());
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, among, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(workspace).collect()
}

/// Every workspace after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Workspace>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(workspace).collect()
}
