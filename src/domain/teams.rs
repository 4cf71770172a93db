//! Teams: people who share budgets.

use serde::{Deserialize, Serialize};

use super::{
    id::{TeamId, TenantId},
    names::Slug,
    time::Timestamp,
};

/// A team.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Team {
    /// Identity.
    pub id: TeamId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// What the team does.
    pub description: String,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}
