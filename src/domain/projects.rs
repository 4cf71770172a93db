//! Projects: initiatives inside a workspace; calls are tagged with one.

use serde::{Deserialize, Serialize};

use super::{
    id::{ProjectId, TenantId, WorkspaceId},
    names::Slug,
    tenants::Lifecycle,
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
    /// Suspended: calls that are tagged with it are refused.
    #[serde(default)]
    pub state: Lifecycle,
    /// When it was deleted; `state` is what it comes back in.
    #[serde(default)]
    pub deleted: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Project {
    /// Whether it is neither suspended nor deleted.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.state == Lifecycle::Active && self.deleted.is_none()
    }
}
