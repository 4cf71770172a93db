//! The catalogue of permissions, and sets of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! catalogue {
    ($($name:ident $text:literal $doc:literal;)*) => {
        /// Something that a caller may be allowed to do, `resource:action`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Permission {
            $(#[doc = $doc] $name,)*
        }

        impl Permission {
            /// What it allows, in a sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)*
                }
            }

            /// Every permission, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The permission's text, `keys:create`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

catalogue! {
    ModelsInvoke "models:invoke" "Call models through the gateway.";
    PlaygroundUse "playground:use" "Use the live tester.";
    EndpointsRead "endpoints:read" "See the gateway's endpoints.";
    EndpointsWrite "endpoints:write" "Create and change endpoints.";
    EndpointsDelete "endpoints:delete" "Delete endpoints.";
    IntegrationsRead "integrations:read" "See integrations.";
    IntegrationsWrite "integrations:write" "Create and change integrations.";
    PromptsRead "prompts:read" "See prompts.";
    PromptsWrite "prompts:write" "Create and change prompts.";
    PromptsPromote "prompts:promote" "Promote prompts to live.";
    LogsRead "logs:read" "Read request logs.";
    AnalyticsRead "analytics:read" "Read dashboards and analytics.";
    ReportsGenerate "reports:generate" "Generate reports.";
    SettingsRead "settings:read" "See settings.";
    SettingsWrite "settings:write" "Change settings.";
    TenantsRead "tenants:read" "See the tenant.";
    TenantsCreate "tenants:create" "Create tenants (platform).";
    TenantsSuspend "tenants:suspend" "Suspend and reactivate tenants (platform).";
    TenantsDelete "tenant:delete" "Delete the tenant.";
    WorkspacesRead "workspaces:read" "See workspaces.";
    WorkspacesWrite "workspaces:write" "Create, change and suspend workspaces.";
    ProjectsRead "projects:read" "See projects.";
    ProjectsWrite "projects:write" "Create and change projects.";
    UsersRead "users:read" "See users.";
    UsersWrite "users:write" "Add and change users.";
    UsersSuspend "users:suspend" "Suspend and reactivate users.";
    UsersDelete "users:delete" "Remove users.";
    TeamsRead "teams:read" "See teams.";
    TeamsWrite "teams:write" "Create and change teams.";
    ServiceAccountsRead "serviceAccounts:read" "See service accounts.";
    ServiceAccountsWrite "serviceAccounts:write" "Create, change and suspend service accounts.";
    ServiceAccountsImpersonate "serviceAccounts:impersonate" "Issue tokens for service accounts.";
    BindingsRead "bindings:read" "See who holds which role.";
    BindingsWrite "bindings:write" "Give and take roles.";
    RolesRead "roles:read" "See the tenant's own roles, its role templates and its seats.";
    RolesWrite "roles:write" "Create and change the tenant's own roles, its role templates and its seats.";
    OwnershipTransfer "ownership:transfer" "Transfer the tenant's ownership.";
    KeysRead "keys:read" "See keys, never their secrets.";
    KeysCreate "keys:create" "Create keys of one's own.";
    KeysWrite "keys:write" "Create and change anybody's keys.";
    KeysRotate "keys:rotate" "Rotate anybody's keys.";
    KeysRevoke "keys:revoke" "Revoke anybody's keys.";
    BudgetsRead "budgets:read" "See budgets and where they stand.";
    BudgetsWrite "budgets:write" "Create and change budgets.";
    CreditsRead "credits:read" "See credit.";
    CreditsWrite "credits:write" "Buy, grant and adjust credit.";
    BillingRead "billing:read" "See invoices and statements.";
    BillingWrite "billing:write" "Manage billing and payment.";
    PricesWrite "prices:write" "Change the price list.";
    UsageRead "usage:read" "See everybody's usage.";
    UsageReadOwn "usage:readOwn" "See one's own usage.";
    AuditRead "audit:read" "Read the audit log.";
    GateAuthorize "gate:authorize" "Ask for decisions (sidecars).";
    GateCharge "gate:charge" "Record charges (sidecars).";
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no permission of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a permission of the catalogue")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL.iter().copied().find(|p| p.as_str() == text).ok_or(UnknownPermission)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct PermissionSet(u128);

impl Serialize for PermissionSet {
    /// As texts: the catalogue may grow and be put in another order.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Permission::as_str))
    }
}

impl<'de> Deserialize<'de> for PermissionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let permissions: Result<Vec<Permission>, _> = texts.iter().map(|text| text.parse()).collect();
        Ok(Self::of(&permissions.map_err(de::Error::custom)?))
    }
}

impl PermissionSet {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every permission of the catalogue.
    pub const ALL: Self = Self((1 << Permission::ALL.len()) - 1);

    /// The set of these.
    #[must_use]
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < permissions.len() {
            bits |= 1 << permissions[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// The set as a number, for as long as the program runs: the catalogue may be put in another order.
    pub(super) const fn bits(self) -> u128 {
        self.0
    }

    /// The set that is this number.
    pub(super) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Whether the permission is in the set.
    #[must_use]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The permissions, in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |p| self.has(*p))
    }
}
