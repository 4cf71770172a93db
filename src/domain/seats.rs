//! Seats: how many may hold a role in a workspace.
//!
//! Somebody holds a role in a workspace who is bound to it there, or on the whole tenant; themselves, or by a team. What a
//! workspace does not say its tenant says, and what neither says, [`Seats::usual`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{bindings::Principal, id::WorkspaceId, role::Role, roles::RoleRef};

/// Most seats that can be set: so many that there is no limit.
pub const MAX_SEATS: i64 = 1_000_000;
/// Most roles that a tenant or a workspace can say something about.
pub const MAX_LIMITS: usize = 128;

/// What a tenant or a workspace says about seats itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Seats {
    /// Most who may hold a role.
    pub limits: BTreeMap<RoleRef, i64>,
    /// Grows with every change; the etag. 0 until something is said.
    pub version: i64,
}

impl Seats {
    /// The seats of a role where nobody has said anything: five admins and three billing managers, as the founding document
    /// of workspaces has it.
    #[must_use]
    pub const fn usual(role: RoleRef) -> Option<i64> {
        match role {
            RoleRef::BuiltIn(Role::Admin) => Some(5),
            RoleRef::BuiltIn(Role::BillingManager) => Some(3),
            _ => None,
        }
    }
}

/// Who holds one role, by where it is bound to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holders {
    /// On the whole tenant.
    pub everywhere: BTreeSet<Principal>,
    /// In a workspace.
    pub within: BTreeMap<WorkspaceId, BTreeSet<Principal>>,
}

impl Holders {
    /// Who holds the role in a workspace; `None`: in one of which nothing is said.
    #[must_use]
    pub fn of(&self, workspace: Option<WorkspaceId>) -> BTreeSet<Principal> {
        let within = workspace.and_then(|id| self.within.get(&id)).into_iter().flatten();
        self.everywhere.iter().chain(within).copied().collect()
    }
}
