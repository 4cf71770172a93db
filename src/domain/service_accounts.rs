//! Service accounts: identities of programs.

use serde::{Deserialize, Serialize};

use super::{
    id::{ServiceAccountId, TenantId},
    names::Slug,
    tenants::Lifecycle,
    time::Timestamp,
};

/// A service account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Identity.
    pub id: ServiceAccountId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// Suspended: its keys and tokens are refused.
    pub state: Lifecycle,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}
