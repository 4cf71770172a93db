//! The built-in roles.
//!
//! The matrices come from the product's founding documents; where two of them disagree the narrower one holds.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::permission::{Permission, Permission::*, PermissionSet};

/// A role that every tenant has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the tenant.
    Owner,
    /// Everything but billing, deleting the tenant and giving it away.
    Admin,
    /// Builds and deploys; makes keys of its own.
    Developer,
    /// Uses the gateway with keys of its own.
    Member,
    /// Reads dashboards, logs and reports.
    Analyst,
    /// Reads, nothing else; "viewer" in some products.
    Reader,
    /// Credit and invoices, no keys and no models.
    BillingManager,
    /// Asks for decisions and records charges.
    Sidecar,
    /// Runs the platform: every permission, everywhere.
    Operator,
}

const READER: &[Permission] =
    &[TenantsRead, EndpointsRead, PromptsRead, LogsRead, AnalyticsRead, WorkspacesRead, ProjectsRead, TeamsRead];
const MEMBER: &[Permission] = &[
    ModelsInvoke,
    PlaygroundUse,
    KeysCreate,
    TenantsRead,
    WorkspacesRead,
    ProjectsRead,
    TeamsRead,
    AnalyticsRead,
    UsageReadOwn,
];
const DEVELOPER: &[Permission] = &[
    ModelsInvoke,
    PlaygroundUse,
    KeysCreate,
    UsageReadOwn,
    EndpointsRead,
    EndpointsWrite,
    IntegrationsRead,
    IntegrationsWrite,
    PromptsRead,
    PromptsWrite,
    PromptsPromote,
    LogsRead,
    AnalyticsRead,
    TenantsRead,
    WorkspacesRead,
    ProjectsRead,
    TeamsRead,
    BudgetsRead,
];
const ADMIN: &[Permission] = &[
    EndpointsDelete,
    SettingsRead,
    SettingsWrite,
    WorkspacesWrite,
    ProjectsWrite,
    UsersRead,
    UsersWrite,
    UsersSuspend,
    UsersDelete,
    TeamsWrite,
    ServiceAccountsRead,
    ServiceAccountsWrite,
    ServiceAccountsImpersonate,
    BindingsRead,
    BindingsWrite,
    KeysRead,
    KeysWrite,
    KeysRotate,
    KeysRevoke,
    BudgetsWrite,
    CreditsRead,
    UsageRead,
    AuditRead,
    ReportsGenerate,
    GateAuthorize,
    GateCharge,
];
const OWNER: &[Permission] = &[CreditsWrite, BillingRead, BillingWrite, TenantsDelete, OwnershipTransfer];
const ANALYST: &[Permission] = &[
    TenantsRead,
    AnalyticsRead,
    LogsRead,
    ReportsGenerate,
    UsageRead,
    BudgetsRead,
    WorkspacesRead,
    ProjectsRead,
    TeamsRead,
];
const BILLING: &[Permission] =
    &[TenantsRead, WorkspacesRead, BudgetsRead, CreditsRead, CreditsWrite, BillingRead, BillingWrite, UsageRead];
const SIDECAR: &[Permission] = &[GateAuthorize, GateCharge];

impl Role {
    /// Every built-in role.
    pub const ALL: &'static [Self] = &[
        Self::Owner,
        Self::Admin,
        Self::Developer,
        Self::Member,
        Self::Analyst,
        Self::Reader,
        Self::BillingManager,
        Self::Sidecar,
        Self::Operator,
    ];

    /// What the role may do.
    #[must_use]
    pub const fn permissions(self) -> PermissionSet {
        // Constants: every decision asks.
        match self {
            Self::Owner => {
                const { PermissionSet::of(DEVELOPER).with(PermissionSet::of(ADMIN)).with(PermissionSet::of(OWNER)) }
            }
            Self::Admin => const { PermissionSet::of(DEVELOPER).with(PermissionSet::of(ADMIN)) },
            Self::Developer => const { PermissionSet::of(DEVELOPER) },
            Self::Member => const { PermissionSet::of(MEMBER) },
            Self::Analyst => const { PermissionSet::of(ANALYST) },
            Self::Reader => const { PermissionSet::of(READER) },
            Self::BillingManager => const { PermissionSet::of(BILLING) },
            Self::Sidecar => const { PermissionSet::of(SIDECAR) },
            Self::Operator => PermissionSet::ALL,
        }
    }

    /// The role's id, as in `roles/developer`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Member => "member",
            Self::Analyst => "analyst",
            Self::Reader => "reader",
            Self::BillingManager => "billing_manager",
            Self::Sidecar => "sidecar",
            Self::Operator => "operator",
        }
    }

    /// What the role is for, in a sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Owner => "Everything in the tenant.",
            Self::Admin => "Everything but billing, deleting the tenant and giving it away.",
            Self::Developer => "Builds and deploys; makes keys of their own.",
            Self::Member => "Uses the gateway with keys of their own.",
            Self::Analyst => "Reads dashboards, logs and reports.",
            Self::Reader => "Reads, nothing else.",
            Self::BillingManager => "Buys credit and reads invoices; no keys, no models.",
            Self::Sidecar => "Asks for decisions and records charges.",
            Self::Operator => "Runs the platform: every permission, everywhere.",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roles/{}", self.id())
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role, such as `roles/developer`")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let id = text.strip_prefix("roles/").ok_or(UnknownRole)?;
        Self::ALL.iter().copied().find(|role| role.id() == id).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_keep_the_walls_that_the_documents_draw() {
        let can = |role: Role, permission| role.permissions().has(permission);
        assert!(can(Role::Owner, BillingWrite) && !can(Role::Admin, BillingWrite), "admins cannot access billing");
        assert!(can(Role::Developer, PromptsPromote) && !can(Role::Developer, UsersWrite));
        assert!(!can(Role::BillingManager, ModelsInvoke) && !can(Role::BillingManager, KeysCreate));
        assert!(!can(Role::Reader, ModelsInvoke) && can(Role::Reader, LogsRead));
        assert!(!can(Role::Owner, TenantsCreate), "an owner owns one tenant, not the platform");
    }
}
