//! Resource names, `tenants/acme/workspaces/prod/keys/key_...`, and the ids that people choose.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    id::{BindingId, BudgetId, InvitationId, KeyId, PublicKeyId, SessionId, UserId},
    role::Role,
    statements::Month,
};

/// An id that a person chose: 2 to 63 of `a-z 0-9 -`, starting with a letter, not ending in `-`. As in RFC 1034 labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(Box<str>);

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The text is not an id that a person may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 63 of a-z, 0-9 and '-', starting with a letter and not ending in '-'")]
pub struct SlugError;

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let good = (2..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.ends_with('-');
        if good { Ok(Self(text.into())) } else { Err(SlugError) }
    }
}

/// Splits a resource name along its pattern: `parse("tenants/acme/teams/core", ["tenants", "teams"])` gives
/// `["acme", "core"]`. `None` when the name has another shape or an empty part.
#[must_use]
pub fn parse<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut parts = name.split('/');
    let mut ids = [""; N];
    for (id, collection) in ids.iter_mut().zip(collections) {
        if parts.next()? != collection {
            return None;
        }
        *id = parts.next().filter(|id| !id.is_empty())?;
    }
    parts.next().is_none().then_some(ids)
}

/// The text is not a name of the pattern asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a name like `{0}`")]
pub struct NameError(pub &'static str);

macro_rules! resource_names {
    ($($(#[$doc:meta])* $name:ident $example:literal { $($field:ident: $kind:ty = $collection:literal),+ })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name {
            $(#[doc = concat!("Id under `", $collection, "`.")] pub $field: $kind,)+
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let [$($field),+] = parse(text, [$($collection),+]).ok_or(NameError($example))?;
                Ok(Self { $($field: $field.parse().map_err(|_| NameError($example))?),+ })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut slash = "";
                $(
                    write!(f, "{slash}{}/{}", $collection, self.$field)?;
                    slash = "/";
                )+
                let _ = slash;
                Ok(())
            }
        }
    )*};
}

resource_names! {
    /// Names a tenant.
    TenantName "tenants/acme" { tenant: Slug = "tenants" }
    /// Names a workspace.
    WorkspaceName "tenants/acme/workspaces/prod" { tenant: Slug = "tenants", workspace: Slug = "workspaces" }
    /// Names a project.
    ProjectName "tenants/acme/workspaces/prod/projects/search" {
        tenant: Slug = "tenants", workspace: Slug = "workspaces", project: Slug = "projects"
    }
    /// Names an identity provider.
    IdentityProviderName "tenants/acme/identityProviders/okta" {
        tenant: Slug = "tenants", identity_provider: Slug = "identityProviders"
    }
    /// Names a session of a user's.
    SessionName "tenants/acme/users/user_.../sessions/ses_..." {
        tenant: Slug = "tenants", user: UserId = "users", session: SessionId = "sessions"
    }
    /// Names a team.
    TeamName "tenants/acme/teams/core" { tenant: Slug = "tenants", team: Slug = "teams" }
    /// Names a user.
    UserName "tenants/acme/users/user_..." { tenant: Slug = "tenants", user: UserId = "users" }
    /// Names an invitation.
    InvitationName "tenants/acme/invitations/inv_..." { tenant: Slug = "tenants", invitation: InvitationId = "invitations" }
    /// Names a service account.
    ServiceAccountName "tenants/acme/serviceAccounts/edge" {
        tenant: Slug = "tenants", service_account: Slug = "serviceAccounts"
    }
    /// Names a public key of a service account.
    ServiceAccountKeyName "tenants/acme/serviceAccounts/edge/publicKeys/pk_..." {
        tenant: Slug = "tenants", service_account: Slug = "serviceAccounts", public_key: PublicKeyId = "publicKeys"
    }
    /// Names a binding.
    BindingName "tenants/acme/bindings/bind_..." { tenant: Slug = "tenants", binding: BindingId = "bindings" }
    /// Names a tenant's own role.
    CustomRoleName "tenants/acme/roles/reviewer" { tenant: Slug = "tenants", role: Slug = "roles" }
    /// Names a role template.
    RoleTemplateName "tenants/acme/roleTemplates/engineer" { tenant: Slug = "tenants", template: Slug = "roleTemplates" }
    /// Names a key.
    KeyName "tenants/acme/workspaces/prod/keys/key_..." {
        tenant: Slug = "tenants", workspace: Slug = "workspaces", key: KeyId = "keys"
    }
    /// Names a budget.
    BudgetName "tenants/acme/budgets/bud_..." { tenant: Slug = "tenants", budget: BudgetId = "budgets" }
    /// Names an entry of a workspace's credit.
    CreditEntryName "tenants/acme/workspaces/prod/creditEntries/7" {
        tenant: Slug = "tenants", workspace: Slug = "workspaces", seq: i64 = "creditEntries"
    }
    /// Names the statement of a month.
    StatementName "tenants/acme/statements/2026-11" { tenant: Slug = "tenants", month: Month = "statements" }
    /// Names an audit event.
    AuditEventName "tenants/acme/auditEvents/42" { tenant: Slug = "tenants", seq: i64 = "auditEvents" }
}

/// Names a role: one that every tenant has, or a tenant's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoleName {
    /// `roles/developer`.
    BuiltIn(Role),
    /// `tenants/acme/roles/reviewer`.
    Custom(CustomRoleName),
}

impl FromStr for RoleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let custom = || text.parse().map(Self::Custom).map_err(|_| NameError("roles/developer"));
        text.parse().map_or_else(|_| custom(), |role| Ok(Self::BuiltIn(role)))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(role) => fmt::Display::fmt(role, f),
            Self::Custom(name) => fmt::Display::fmt(name, f),
        }
    }
}

/// Names a version of the price list that is the same for every tenant, or of a tenant's own prices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceVersionName {
    /// The tenant; `None` for the list that is the same for all.
    pub parent: Option<TenantName>,
    /// Its number.
    pub number: i64,
}

impl FromStr for PriceVersionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = NameError("priceVersions/7` or `tenants/acme/priceVersions/7");
        let (parent, number) = text.rsplit_once("priceVersions/").ok_or(malformed)?;
        let parent = match parent.strip_suffix('/') {
            Some(parent) => Some(parent.parse().map_err(|_| malformed)?),
            None if parent.is_empty() => None,
            None => return Err(malformed),
        };
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| plain).ok_or(malformed)?;
        Ok(Self { parent, number })
    }
}

impl fmt::Display for PriceVersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parent {
            Some(parent) => write!(f, "{parent}/priceVersions/{}", self.number),
            None => write!(f, "priceVersions/{}", self.number),
        }
    }
}

/// The name of the scope above every tenant.
pub const PLATFORM: &str = "platform";

/// The longest name of an end user, in characters.
pub const MAX_END_USER: usize = 128;

/// Names one end user of a tenant's clients, whom only budgets and reports know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndUserName {
    /// Id under `tenants`.
    pub tenant: Slug,
    /// The name that the clients use: anything of 1 to [`MAX_END_USER`] characters, slashes among them.
    pub end_user: String,
}

impl FromStr for EndUserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = NameError("tenants/acme/endUsers/NAME");
        let (tenant, end_user) = text.split_once("/endUsers/").ok_or(bad)?;
        let good = (1..=MAX_END_USER).contains(&end_user.chars().count()) && !end_user.chars().any(char::is_control);
        let TenantName { tenant } = tenant.parse().map_err(|_| bad)?;
        if good { Ok(Self { tenant, end_user: end_user.to_owned() }) } else { Err(bad) }
    }
}

impl fmt::Display for EndUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/endUsers/{}", self.tenant, self.end_user)
    }
}

impl Serialize for TeamName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TeamName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Names of more than one kind: the text tells which.
macro_rules! alternatives {
    ($($(#[$doc:meta])* $name:ident $example:literal { $($variant:ident($inner:ident) $what:literal),+ $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum $name {
            $(#[doc = $what] $variant($inner),)+
        }

        impl $name {
            /// The tenant that the name begins with.
            #[must_use]
            pub const fn tenant(&self) -> &Slug {
                match self {
                    $(Self::$variant(name) => &name.tenant,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $(if let Ok(name) = text.parse() {
                    return Ok(Self::$variant(name));
                })+
                Err(NameError($example))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(name) => fmt::Display::fmt(name, f),)+
                }
            }
        }
    )*};
}

alternatives! {
    /// Names something that has keys and usage.
    PlaceName "tenants/acme" {
        Tenant(TenantName) "The tenant.",
        Workspace(WorkspaceName) "A workspace.",
    }
    /// Names something that has seats.
    SeatsName "tenants/acme/workspaces/prod" {
        Tenant(TenantName) "The tenant, for every workspace that does not say otherwise.",
        Workspace(WorkspaceName) "A workspace.",
    }
    /// Names somebody who can own a key.
    PrincipalName "tenants/acme/users/user_..." {
        User(UserName) "A person.",
        ServiceAccount(ServiceAccountName) "A program.",
    }
    /// Names somebody who can be given a role.
    MemberName "tenants/acme/users/user_..." {
        User(UserName) "A person.",
        Team(TeamName) "Every person in a team.",
        ServiceAccount(ServiceAccountName) "A program.",
    }
    /// Names something within a tenant that a role can be given on.
    ScopeName "tenants/acme/workspaces/prod" {
        Tenant(TenantName) "The tenant.",
        Workspace(WorkspaceName) "A workspace.",
        Project(ProjectName) "A project.",
    }
    /// Names something that a budget can limit.
    BudgetScopeName "tenants/acme/workspaces/prod" {
        Tenant(TenantName) "Everything in the tenant.",
        Workspace(WorkspaceName) "A workspace.",
        Project(ProjectName) "A project.",
        Team(TeamName) "The calls of a team's members.",
        User(UserName) "The calls with a person's keys.",
        ServiceAccount(ServiceAccountName) "The calls with a program's keys.",
        Key(KeyName) "The calls with one key.",
        EndUser(EndUserName) "The calls made for one user of the tenant's clients.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_along_its_pattern_or_not_at_all() {
        assert_eq!(parse("tenants/acme/teams/core", ["tenants", "teams"]), Some(["acme", "core"]));
        for bad in ["tenants/acme", "tenants/acme/teams/", "tenants/acme/teams/core/x", "tenants//teams/core", ""] {
            assert_eq!(parse(bad, ["tenants", "teams"]), None, "{bad}");
        }
    }

    #[test]
    fn a_typed_name_prints_what_it_was_read_from() {
        let text = "tenants/acme/workspaces/prod/projects/search";
        assert_eq!(text.parse::<ProjectName>().map(|name| name.to_string()), Ok(text.to_owned()));
        assert!("tenants/acme/users/nobody".parse::<UserName>().is_err());
    }

    #[test]
    fn a_slug_is_a_label_of_a_host_name() {
        for good in ["ab", "a-1", &"a".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "Ab", "a_b", "а́b", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_of_one_of_many_kinds_is_read_as_its_kind_and_prints_what_it_was_read_from() {
        for text in [
            "tenants/acme",
            "tenants/acme/workspaces/prod/projects/search",
            "tenants/acme/teams/core",
            "tenants/acme/endUsers/mail:a/b@example.com",
        ] {
            assert_eq!(text.parse::<BudgetScopeName>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for bad in ["platform", "tenants/acme/endUsers/", "tenants/Acme/endUsers/x", "tenants/acme/bindings/x"] {
            assert!(bad.parse::<BudgetScopeName>().is_err(), "{bad}");
        }
    }
}
