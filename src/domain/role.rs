//! The built-in roles.
//!
//! Their matrices are those of the product's four founding documents, made one: where a document gives something and none
//! takes it away, it is given; where one gives what another takes away, the narrower one holds. The documents:
//!
//! 1. *team collaboration*: administrator, developer, analyst and viewer, with their permissions
//! 2. *team members*: reader, developer, admin and owner, each more than the one before
//! 3. *access of a gateway*: viewer, member, admin and owner
//! 4. *workspaces*: viewer, developer, admin (at most 5) and billing manager (at most 3); see [`super::seats`]
//!
//! Where they disagree: 4 lets admins see and modify billing, 2 forbids it, so they do neither (whoever is to do both is
//! bound to both roles); 3 leaves the giving of roles to owners, 1, 2 and 4 count it to the management of members, so admins
//! give roles, but never one that holds more than they do, such as owner; 4 shows developers their own usage only, 1 gives
//! them analytics, so they see dashboards and not what others use; 2 leaves keys to admins and has developers make one of
//! their own, as 3 and 4 do with members and developers, so `keys:create` is for one's own keys and `keys:write` for
//! anybody's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::permission::{Permission, Permission::*, PermissionSet};

/// A role that every tenant has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the tenant. 2: "owner", complete control; 3: "owner", everything.
    Owner,
    /// Everything but billing, deleting the tenant and giving it away. 1: "administrator"; 2: "admin", all of a developer, team
    /// and keys, no billing; 3: "admin"; 4: "admin", but for billing.
    Admin,
    /// Builds and deploys; makes keys of its own. 1, 2 and 4: "developer".
    Developer,
    /// Uses the gateway with keys of its own. 3: "member", issues and uses keys, reads dashboards.
    Member,
    /// Reads dashboards, logs and reports. 1: "analyst".
    Analyst,
    /// Reads, nothing else. 1, 3 and 4: "viewer"; 2: "reader".
    Reader,
    /// Credit and invoices, no keys and no models. 4: "billing manager".
    BillingManager,
    /// Asks for decisions and records charges. In no document: they have no sidecars.
    Sidecar,
    /// Runs the platform: every permission, everywhere. In no document: they have no platform.
    Operator,
}

const READER: &[Permission] = &[
    TenantsRead,
    EndpointsRead,
    PromptsRead,
    LogsRead,
    AnalyticsRead,
    UsageRead,
    WorkspacesRead,
    ProjectsRead,
    TeamsRead,
];
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
    RolesRead,
    RolesWrite,
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

    /// The role's name for people.
    #[must_use]
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Owner => "Owner",
            Self::Admin => "Admin",
            Self::Developer => "Developer",
            Self::Member => "Member",
            Self::Analyst => "Analyst",
            Self::Reader => "Reader",
            Self::BillingManager => "Billing manager",
            Self::Sidecar => "Sidecar",
            Self::Operator => "Operator",
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
    use std::fmt::Write as _;

    use super::*;

    /// What each role may do, for people to read and to compare with the documents.
    #[rustfmt::skip]
    const MATRIX: &str = "
                                       owner admin developer member analyst reader billing sidecar operator
        models:invoke                  yes   yes   yes       yes    -       -      -       -       yes
        playground:use                 yes   yes   yes       yes    -       -      -       -       yes
        endpoints:read                 yes   yes   yes       -      -       yes    -       -       yes
        endpoints:write                yes   yes   yes       -      -       -      -       -       yes
        endpoints:delete               yes   yes   -         -      -       -      -       -       yes
        integrations:read              yes   yes   yes       -      -       -      -       -       yes
        integrations:write             yes   yes   yes       -      -       -      -       -       yes
        prompts:read                   yes   yes   yes       -      -       yes    -       -       yes
        prompts:write                  yes   yes   yes       -      -       -      -       -       yes
        prompts:promote                yes   yes   yes       -      -       -      -       -       yes
        logs:read                      yes   yes   yes       -      yes     yes    -       -       yes
        analytics:read                 yes   yes   yes       yes    yes     yes    -       -       yes
        reports:generate               yes   yes   -         -      yes     -      -       -       yes
        settings:read                  yes   yes   -         -      -       -      -       -       yes
        settings:write                 yes   yes   -         -      -       -      -       -       yes
        tenants:read                   yes   yes   yes       yes    yes     yes    yes     -       yes
        tenants:create                 -     -     -         -      -       -      -       -       yes
        tenants:suspend                -     -     -         -      -       -      -       -       yes
        tenant:delete                  yes   -     -         -      -       -      -       -       yes
        workspaces:read                yes   yes   yes       yes    yes     yes    yes     -       yes
        workspaces:write               yes   yes   -         -      -       -      -       -       yes
        projects:read                  yes   yes   yes       yes    yes     yes    -       -       yes
        projects:write                 yes   yes   -         -      -       -      -       -       yes
        users:read                     yes   yes   -         -      -       -      -       -       yes
        users:write                    yes   yes   -         -      -       -      -       -       yes
        users:suspend                  yes   yes   -         -      -       -      -       -       yes
        users:delete                   yes   yes   -         -      -       -      -       -       yes
        teams:read                     yes   yes   yes       yes    yes     yes    -       -       yes
        teams:write                    yes   yes   -         -      -       -      -       -       yes
        serviceAccounts:read           yes   yes   -         -      -       -      -       -       yes
        serviceAccounts:write          yes   yes   -         -      -       -      -       -       yes
        serviceAccounts:impersonate    yes   yes   -         -      -       -      -       -       yes
        bindings:read                  yes   yes   -         -      -       -      -       -       yes
        bindings:write                 yes   yes   -         -      -       -      -       -       yes
        roles:read                     yes   yes   -         -      -       -      -       -       yes
        roles:write                    yes   yes   -         -      -       -      -       -       yes
        ownership:transfer             yes   -     -         -      -       -      -       -       yes
        keys:read                      yes   yes   -         -      -       -      -       -       yes
        keys:create                    yes   yes   yes       yes    -       -      -       -       yes
        keys:write                     yes   yes   -         -      -       -      -       -       yes
        keys:rotate                    yes   yes   -         -      -       -      -       -       yes
        keys:revoke                    yes   yes   -         -      -       -      -       -       yes
        budgets:read                   yes   yes   yes       -      yes     -      yes     -       yes
        budgets:write                  yes   yes   -         -      -       -      -       -       yes
        credits:read                   yes   yes   -         -      -       -      yes     -       yes
        credits:write                  yes   -     -         -      -       -      yes     -       yes
        billing:read                   yes   -     -         -      -       -      yes     -       yes
        billing:write                  yes   -     -         -      -       -      yes     -       yes
        prices:write                   -     -     -         -      -       -      -       -       yes
        usage:read                     yes   yes   -         -      yes     yes    yes     -       yes
        usage:readOwn                  yes   yes   yes       yes    -       -      -       -       yes
        audit:read                     yes   yes   -         -      -       -      -       -       yes
        gate:authorize                 yes   yes   -         -      -       -      -       yes     yes
        gate:charge                    yes   yes   -         -      -       -      -       yes     yes";

    #[test]
    fn the_roles_are_as_the_table_says() {
        let text = |role: Role| if role == Role::BillingManager { "billing" } else { role.id() };
        let mut table = format!("{:30}", "");
        table.extend(Role::ALL.iter().map(|role| format!(" {}", text(*role))));
        for permission in Permission::ALL {
            let _ = write!(table, "\n{permission:30}");
            for role in Role::ALL {
                let may = if role.permissions().has(*permission) { "yes" } else { "-" };
                let _ = write!(table, " {may:width$}", width = text(*role).len());
            }
            table.truncate(table.trim_end().len());
        }
        let lines = |text: &str| text.trim().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(&table), lines(MATRIX), "\n{table}");
    }

    /// A line of a document: a role, what it gives to it, and what it denies it.
    type Line = (u8, Role, &'static [Permission], &'static [Permission]);

    const DOCUMENTS: &[Line] = &[
        (
            1,
            Role::Admin,
            &[
                UsersRead,
                UsersWrite,
                UsersDelete,
                EndpointsRead,
                EndpointsWrite,
                EndpointsDelete,
                AnalyticsRead,
                SettingsRead,
                SettingsWrite,
                AuditRead,
            ],
            &[],
        ),
        (
            1,
            Role::Developer,
            &[EndpointsRead, EndpointsWrite, IntegrationsRead, IntegrationsWrite, AnalyticsRead, LogsRead],
            &[UsersWrite, EndpointsDelete, SettingsWrite, AuditRead],
        ),
        (1, Role::Analyst, &[AnalyticsRead, LogsRead, ReportsGenerate], &[EndpointsWrite, SettingsWrite, UsersWrite]),
        (1, Role::Reader, &[EndpointsRead, AnalyticsRead], &[EndpointsWrite, ReportsGenerate, UsersWrite]),
        (2, Role::Reader, &[EndpointsRead, PromptsRead, LogsRead], &[EndpointsWrite, PromptsWrite, PromptsPromote]),
        (
            2,
            Role::Developer,
            &[EndpointsRead, PromptsRead, LogsRead, EndpointsWrite, PromptsWrite, PromptsPromote, KeysCreate],
            &[KeysWrite, KeysRevoke, UsersWrite, BindingsWrite, BillingRead, BillingWrite],
        ),
        (
            2,
            Role::Admin,
            &[EndpointsWrite, PromptsWrite, PromptsPromote, KeysRead, KeysWrite, KeysRotate, KeysRevoke, UsersWrite],
            &[BillingRead, BillingWrite, TenantsDelete, OwnershipTransfer],
        ),
        (2, Role::Owner, &[KeysWrite, UsersWrite, BillingRead, BillingWrite, TenantsDelete, OwnershipTransfer], &[]),
        (3, Role::Owner, &[BindingsWrite, BillingWrite, TenantsDelete], &[TenantsCreate, TenantsSuspend, PricesWrite]),
        (3, Role::Admin, &[EndpointsWrite, IntegrationsWrite, TeamsWrite, KeysWrite, UsersWrite], &[]),
        (3, Role::Member, &[KeysCreate, ModelsInvoke, AnalyticsRead], &[KeysWrite, UsersWrite, EndpointsWrite]),
        (3, Role::Reader, &[AnalyticsRead], &[ModelsInvoke, KeysCreate, PlaygroundUse]),
        (
            4,
            Role::Admin,
            &[UsersWrite, UsersDelete, BindingsWrite, BudgetsWrite, KeysRotate, UsageRead, WorkspacesWrite],
            &[],
        ),
        (
            4,
            Role::Developer,
            &[KeysCreate, ModelsInvoke, UsageReadOwn, PlaygroundUse],
            &[UsageRead, CreditsWrite, BillingWrite, BudgetsWrite, UsersWrite],
        ),
        (4, Role::Reader, &[AnalyticsRead, UsageRead], &[KeysCreate, ModelsInvoke]),
        (
            4,
            Role::BillingManager,
            &[CreditsRead, CreditsWrite, BillingRead, BillingWrite],
            &[KeysCreate, KeysRead, KeysWrite, ModelsInvoke, PlaygroundUse, EndpointsRead, IntegrationsRead],
        ),
    ];

    #[test]
    fn the_roles_keep_every_line_of_the_documents() {
        for (document, role, given, denied) in DOCUMENTS {
            let lacking = PermissionSet::of(given).without(role.permissions());
            assert!(lacking.is_empty(), "document {document}: {role} lacks {:?}", lacking.iter().collect::<Vec<_>>());
            let beyond: Vec<_> = denied.iter().filter(|p| role.permissions().has(**p)).collect();
            assert!(beyond.is_empty(), "document {document}: {role} has {beyond:?}");
        }
        // Document 2: each role does all that the one before does.
        let levels = [Role::Developer, Role::Admin, Role::Owner, Role::Operator];
        for pair in levels.windows(2) {
            assert!(pair[0].permissions().without(pair[1].permissions()).is_empty(), "{} and {}", pair[0], pair[1]);
        }
    }
}
