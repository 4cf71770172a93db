//! Projects: initiatives inside a workspace; calls are tagged with one.

use serde::{Deserialize, Serialize};

use super::{
    id::{ProjectId, TenantId, WorkspaceId},
    names::Slug,
    time::Timestamp,
};

/// A project.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Project {
    /// Identity.
    pub id: ProjectId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Id in names, unique in the workspace; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}
