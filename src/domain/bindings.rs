//! Bindings: a role, given to somebody, on something and everything below it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    id::{BindingId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    permission::{Permission, PermissionSet},
    role::Role,
    time::Timestamp,
};

/// Who acts: the owner of a credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// A person.
    User(UserId),
    /// A program.
    ServiceAccount(ServiceAccountId),
}

/// Who a role is given to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A person.
    User(UserId),
    /// Every person in a team.
    Team(TeamId),
    /// A program.
    ServiceAccount(ServiceAccountId),
}

impl fmt::Display for Principal {
    /// The id, whose prefix tells the kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => fmt::Display::fmt(id, f),
            Self::ServiceAccount(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Display for Member {
    /// The id, whose prefix tells the kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => fmt::Display::fmt(id, f),
            Self::Team(id) => fmt::Display::fmt(id, f),
            Self::ServiceAccount(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl From<Principal> for Member {
    fn from(principal: Principal) -> Self {
        match principal {
            Principal::User(id) => Self::User(id),
            Principal::ServiceAccount(id) => Self::ServiceAccount(id),
        }
    }
}

/// What a role is given on. A binding holds on everything below its scope as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every tenant.
    Platform,
    /// One tenant.
    Tenant(TenantId),
    /// One workspace.
    Workspace(TenantId, WorkspaceId),
    /// One project.
    Project(TenantId, WorkspaceId, ProjectId),
}

impl Scope {
    /// Whether a role on this scope holds on `other` too.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Platform, _) => true,
            (Self::Tenant(a), Self::Tenant(b) | Self::Workspace(b, _) | Self::Project(b, _, _)) => a == b,
            (Self::Workspace(_, a), Self::Workspace(_, b) | Self::Project(_, b, _)) => a == b,
            (Self::Project(_, _, a), Self::Project(_, _, b)) => a == b,
            _ => false,
        }
    }

    /// The tenant of the scope; `None` for the platform.
    #[must_use]
    pub const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Platform => None,
            Self::Tenant(id) | Self::Workspace(id, _) | Self::Project(id, _, _) => Some(id),
        }
    }
}

/// A role given to somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Binding {
    /// Identity.
    pub id: BindingId,
    /// The tenant whose member it is given to.
    pub tenant: TenantId,
    /// The role.
    pub role: Role,
    /// To whom.
    pub member: Member,
    /// On what.
    pub scope: Scope,
    /// When it was created.
    pub created: Timestamp,
}

/// What somebody may do, everywhere: their bindings and those of their teams.
#[derive(Clone, Default, Debug)]
pub struct Authority(Vec<(Scope, Role)>);

impl Authority {
    /// From bindings.
    #[must_use]
    pub fn new(bindings: Vec<(Scope, Role)>) -> Self {
        Self(bindings)
    }

    /// Everything that may be done on `scope`.
    #[must_use]
    pub fn on(&self, scope: Scope) -> PermissionSet {
        let mut set = PermissionSet::NONE;
        for (at, role) in &self.0 {
            if at.covers(scope) {
                set = set.with(role.permissions());
            }
        }
        set
    }

    /// A permission that this holds somewhere and `other` does not hold there; `None` when `other` may do all of it.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Option<Permission> {
        self.0.iter().find_map(|(at, role)| role.permissions().without(other.on(*at)).iter().next())
    }

    /// Whether there is any binding within the tenant, or one that reaches into it.
    #[must_use]
    pub fn touches(&self, tenant: TenantId) -> bool {
        self.0.iter().any(|(at, _)| at.tenant().is_none_or(|id| id == tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reaches_down_from_its_scope_and_nowhere_else() {
        let (tenant, other) = (TenantId::from_bits(1), TenantId::from_bits(2));
        let (workspace, sibling) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
        let held = Authority::new(vec![(Scope::Workspace(tenant, workspace), Role::Admin)]);
        let writes = |scope| held.on(scope).has(Permission::KeysWrite);
        assert!(writes(Scope::Workspace(tenant, workspace)));
        assert!(writes(Scope::Project(tenant, workspace, ProjectId::from_bits(9))));
        assert!(!writes(Scope::Workspace(tenant, sibling)) && !writes(Scope::Tenant(tenant)));
        assert!(held.touches(tenant) && !held.touches(other));
    }

    #[test]
    fn an_authority_is_beyond_another_when_it_holds_more_anywhere() {
        let tenant = Scope::Tenant(TenantId::from_bits(1));
        let of = |scope, role| Authority::new(vec![(scope, role)]);
        assert_eq!(of(tenant, Role::Developer).beyond(&of(tenant, Role::Admin)), None);
        assert!(of(tenant, Role::Owner).beyond(&of(tenant, Role::Admin)).is_some());
        assert!(of(Scope::Platform, Role::Sidecar).beyond(&of(tenant, Role::Owner)).is_some());
    }
}
