//! Bindings: a role, given to somebody, on something and everything below it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    id::{BindingId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    permission::{Permission, PermissionSet},
    roles::RoleRef,
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
    pub role: RoleRef,
    /// To whom.
    pub member: Member,
    /// On what.
    pub scope: Scope,
    /// When it was created.
    pub created: Timestamp,
    /// When it ends; `None`: never.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl Binding {
    /// Whether it has not ended.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

/// A binding, and what its role gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The binding.
    pub binding: Binding,
    /// The permissions of its role.
    pub permissions: PermissionSet,
}

/// Permissions on a scope, and when they end.
pub type Power = (Scope, PermissionSet, Option<Timestamp>);

/// What somebody may do, everywhere: by their bindings and those of their teams.
#[derive(Clone, Default, Debug)]
pub struct Authority(Vec<Power>);

impl Authority {
    /// From what bindings give.
    #[must_use]
    pub const fn new(powers: Vec<Power>) -> Self {
        Self(powers)
    }

    /// Everything that may be done on `scope`.
    #[must_use]
    pub fn on(&self, scope: Scope) -> PermissionSet {
        self.all(|(at, ..)| at.covers(scope))
    }

    /// Everything that may be done on `scope` or somewhere in it.
    #[must_use]
    pub fn reaching(&self, scope: Scope) -> PermissionSet {
        self.all(|(at, ..)| at.covers(scope) || scope.covers(*at))
    }

    /// Everything that may be done on `scope` until then; `None`: for good. Nobody gives away what they hold for longer
    /// than they hold it.
    #[must_use]
    pub fn lasting(&self, scope: Scope, until: Option<Timestamp>) -> PermissionSet {
        self.all(|(at, _, ends)| at.covers(scope) && ends.is_none_or(|ends| until.is_some_and(|until| until <= ends)))
    }

    fn all(&self, counts: impl Fn(&Power) -> bool) -> PermissionSet {
        let counting = self.0.iter().filter(|power| counts(power));
        counting.fold(PermissionSet::NONE, |set, (_, permissions, _)| set.with(*permissions))
    }

    /// A permission that this holds somewhere before `until`, and `other` does not hold there for as long; `None` when
    /// `other` may do all of it.
    #[must_use]
    pub fn beyond(&self, other: &Self, until: Timestamp) -> Option<Permission> {
        self.0.iter().find_map(|(at, permissions, ends)| {
            let until = ends.map_or(until, |ends| ends.min(until));
            permissions.without(other.lasting(*at, Some(until))).iter().next()
        })
    }

    /// The workspaces of a tenant that a permission is held on by roles on themselves.
    #[must_use]
    pub fn workspaces(&self, tenant: TenantId, permission: Permission) -> Vec<WorkspaceId> {
        let on_one = self.0.iter().filter_map(|held| match held.0 {
            Scope::Workspace(of, id) if of == tenant => Some(id),
            _ => None,
        });
        on_one.filter(|id| self.on(Scope::Workspace(tenant, *id)).has(permission)).collect()
    }

    /// Whether there is any binding within the tenant, or one that reaches into it.
    #[must_use]
    pub fn touches(&self, tenant: TenantId) -> bool {
        self.0.iter().any(|(at, ..)| at.tenant().is_none_or(|id| id == tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::role::Role;

    #[test]
    fn a_role_reaches_down_from_its_scope_and_nowhere_else() {
        let (tenant, other) = (TenantId::from_bits(1), TenantId::from_bits(2));
        let (workspace, sibling) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
        let held = Authority::new(vec![(Scope::Workspace(tenant, workspace), Role::Admin.permissions(), None)]);
        let writes = |scope| held.on(scope).has(Permission::KeysWrite);
        assert!(writes(Scope::Workspace(tenant, workspace)));
        assert!(writes(Scope::Project(tenant, workspace, ProjectId::from_bits(9))));
        assert!(!writes(Scope::Workspace(tenant, sibling)) && !writes(Scope::Tenant(tenant)));
        assert!(held.touches(tenant) && !held.touches(other));
    }

    #[test]
    fn an_authority_is_beyond_another_when_it_holds_more_anywhere() {
        let tenant = Scope::Tenant(TenantId::from_bits(1));
        let of = |scope, role: Role| Authority::new(vec![(scope, role.permissions(), None)]);
        let then = Timestamp::from_micros(9);
        assert_eq!(of(tenant, Role::Developer).beyond(&of(tenant, Role::Admin), then), None);
        assert!(of(tenant, Role::Owner).beyond(&of(tenant, Role::Admin), then).is_some());
        assert!(of(Scope::Platform, Role::Sidecar).beyond(&of(tenant, Role::Owner), then).is_some());
    }

    #[test]
    fn an_authority_that_ends_gives_nothing_that_lasts_longer() {
        let tenant = Scope::Tenant(TenantId::from_bits(1));
        let [sooner, then, later] = [1, 2, 3].map(Timestamp::from_micros);
        let until = |ends| Authority::new(vec![(tenant, Role::Admin.permissions(), ends)]);
        let held = until(Some(then));
        let gives = |until| held.lasting(tenant, until).has(Permission::KeysWrite);
        assert!(gives(Some(sooner)) && gives(Some(then)) && !gives(Some(later)) && !gives(None));
        assert_eq!(until(Some(then)).beyond(&held, later), None);
        assert_eq!(until(None).beyond(&held, then), None);
        assert!(until(None).beyond(&held, later).is_some());
    }
}
