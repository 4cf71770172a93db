//! Workspaces: walled-off parts of a tenant with their own keys and credit.

use serde::{Deserialize, Serialize};

use super::{
    id::{TenantId, WorkspaceId},
    key_secret::MAX_PREFIX_LEN,
    names::Slug,
    tenants::Lifecycle,
    time::Timestamp,
};

/// A workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// Identity.
    pub id: WorkspaceId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// `development`, `staging`, `production` or a custom name; never changes.
    pub environment: Slug,
    /// Suspended: its keys are refused.
    pub state: Lifecycle,
    /// When it was deleted; `state` is what it comes back in.
    #[serde(default)]
    pub deleted: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Workspace {
    /// First part of the workspace's keys: `dev`, `stg`, `prod`, or the first letters and digits of a custom environment.
    #[must_use]
    pub fn key_prefix(&self) -> String {
        match self.environment.as_str() {
            "development" => "dev".to_owned(),
            "staging" => "stg".to_owned(),
            "production" => "prod".to_owned(),
            custom => custom.chars().filter(char::is_ascii_alphanumeric).take(MAX_PREFIX_LEN).collect(),
        }
    }

    /// Whether it is neither suspended nor deleted.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.state == Lifecycle::Active && self.deleted.is_none()
    }
}
