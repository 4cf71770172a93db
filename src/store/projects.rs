//! Rows of projects.

use super::{
    Inserted, Result, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{ProjectKind, WorkspaceId},
    projects::Project,
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::staying::<ProjectKind>("projects");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, workspace_id, slug, display_name, state, deleted, created, version FROM projects ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, Option<i64>, i64, i64);

fn project(row: Row) -> Result<Project> {
    let (id, tenant, workspace, slug, display_name, state, deleted, created, version) = row;
    Ok(Project {
        id: parse(&id, "project id")?,
        tenant: parse(&tenant, "project's tenant")?,
        workspace: parse(&workspace, "project's workspace")?,
        slug: parse(&slug, "project slug")?,
        display_name,
        state: value_of(state, "project state")?,
        deleted: deleted.map(Timestamp::from_micros),
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
        "INSERT INTO projects (id, tenant_id, workspace_id, slug, display_name, state, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (workspace_id, slug) DO NOTHING",
        project.id.to_string(),
        project.tenant.to_string(),
        project.workspace.to_string(),
        project.slug.as_str(),
        &project.display_name,
        text_of(&project.state),
        project.created.micros(),
        project.version,
    )?;
    if rows > 0 {
        put_words(tx, project).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, project: &Project) -> Result<()> {
    let list = search::list(NOUN.name, project.workspace);
    let texts = [project.slug.as_str(), &project.display_name];
    search::put(tx, &Words { tenant: project.tenant, list, id: project.id.to_string(), texts: &texts }).await
}

/// Writes what can change of a project.
pub async fn update(tx: &mut Tx, project: &Project) -> Result<()> {
    execute!(
        tx,
        "UPDATE projects SET display_name = $2, state = $3, deleted = $4, version = $5 WHERE id = $1",
        project.id.to_string(),
        &project.display_name,
        text_of(&project.state),
        project.deleted.map(Timestamp::micros),
        project.version,
    )?;
    put_words(tx, project).await
}

/// The project with this slug in the workspace.
pub async fn by_slug(tx: &mut Tx, workspace: WorkspaceId, slug: &str) -> Result<Option<Project>> {
    let row = fetch_optional!(tx, Row, select!("WHERE workspace_id = $1 AND slug = $2"), workspace.to_string(), slug)?;
    row.map(project).transpose()
}

/// A page of the projects of a workspace.
pub async fn list(
    tx: &mut Tx,
    workspace: WorkspaceId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Project>> {
    let within = Some(("workspace_id", workspace.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(project).collect()
}

/// Every project after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Project>> {
    let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(project).collect()
}
