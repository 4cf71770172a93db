//! Tenants: organisations, and the wall between them.

use serde::{Deserialize, Serialize};

use super::{branding::Branding, id::TenantId, names::Slug, time::Timestamp};

/// Whether a record is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// In use.
    #[default]
    Active,
    /// Out of use until reactivated.
    Suspended,
}

/// An organisation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tenant {
    /// Identity.
    pub id: TenantId,
    /// Id in names; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// What its mails and front ends look like.
    #[serde(default)]
    pub branding: Branding,
    /// Suspended: every key and caller of the tenant is refused.
    pub state: Lifecycle,
    /// When it was deleted; `state` is what it comes back in.
    #[serde(default)]
    pub deleted: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Tenant {
    /// The tenant that operators live in; made at the first start.
    pub const SYSTEM: &'static str = "system";

    /// `tenants/acme`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("tenants/{}", self.slug)
    }

    /// Whether it is neither suspended nor deleted.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.state == Lifecycle::Active && self.deleted.is_none()
    }
}
