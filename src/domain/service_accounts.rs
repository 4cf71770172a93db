//! Service accounts: identities of programs.

use serde::{Deserialize, Serialize};

use super::{
    id::{ServiceAccountId, TenantId},
    names::Slug,
    spiffe::SpiffeId,
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
    /// When it was deleted; `state` is what it comes back in.
    #[serde(default)]
    pub deleted: Option<Timestamp>,
    /// What a certificate says whose bearer acts as this account. No other account has the same.
    #[serde(default)]
    pub spiffe_id: Option<SpiffeId>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl ServiceAccount {
    /// Whether it is neither suspended nor deleted.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.state == Lifecycle::Active && self.deleted.is_none()
    }
}
