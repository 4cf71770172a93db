//! Role templates: what somebody of a kind is given when they join.

use serde::{Deserialize, Serialize};

use super::{
    id::{RoleTemplateId, TenantId},
    key_policies::KeyPolicy,
    money::Unit,
    names::Slug,
    roles::RoleRef,
    time::Timestamp,
    window::Window,
};

/// Most role templates that a tenant can have.
pub const MAX_PER_TENANT: usize = 100;

/// A role, and the limits that come with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoleTemplate {
    /// Identity.
    pub id: RoleTemplateId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// Whom it is for.
    pub description: String,
    /// The role.
    pub role: RoleRef,
    /// What each of them may spend; `None`: nothing is said about that.
    pub budget: Option<BudgetPreset>,
    /// What each of them may do about keys of their own; `None`: nothing is said about that.
    pub key_policy: Option<KeyPolicy>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// The budget that somebody gets of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BudgetPreset {
    /// Most that may be spent and held in a period, in `unit`; 0 to [`super::money::MAX_AMOUNT`].
    pub limit: i64,
    /// What it counts.
    pub unit: Unit,
    /// Over what span.
    pub window: Window,
    /// Whether it refuses, or only warns.
    pub hard: bool,
}
