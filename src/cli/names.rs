//! Names as people type them: `prod` for `tenants/acme/workspaces/prod`.
//!
//! A name may always be written in full. Shorter, it lies in the tenant of `--tenant`: `workspaces/prod`, or the ids alone,
//! `prod` and `prod/search`; or in the one that it begins with: `acme/prod/search`.

use crate::domain::role::Role;

/// A command line that cannot be; the program ends with 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// What was asked for is not among what the server told; the program ends as if the server had said so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotThere(pub String);

/// What is below a tenant, and how a name of it looks.
#[derive(Clone, Copy, Debug)]
pub struct Collections {
    /// The collections, widest first.
    collections: &'static [&'static str],
    example: &'static str,
}

/// Workspaces.
pub const WORKSPACE: Collections = Collections { collections: &["workspaces"], example: "prod" };
/// Projects.
pub const PROJECT: Collections = Collections { collections: &["workspaces", "projects"], example: "prod/search" };
/// Teams.
pub const TEAM: Collections = Collections { collections: &["teams"], example: "core" };
/// Users.
pub const USER: Collections = Collections { collections: &["users"], example: "user_..." };
/// Invitations.
pub const INVITATION: Collections = Collections { collections: &["invitations"], example: "inv_..." };
/// Service accounts.
pub const SERVICE_ACCOUNT: Collections = Collections { collections: &["serviceAccounts"], example: "edge" };
/// Public keys of service accounts.
pub const PUBLIC_KEY: Collections =
    Collections { collections: &["serviceAccounts", "publicKeys"], example: "edge/pk_..." };
/// API keys.
pub const KEY: Collections = Collections { collections: &["workspaces", "keys"], example: "prod/key_..." };
/// Roles of a tenant's own.
pub const ROLE: Collections = Collections { collections: &["roles"], example: "reviewer" };
/// Budgets.
pub const BUDGET: Collections = Collections { collections: &["budgets"], example: "bud_..." };
/// Statements.
pub const STATEMENT: Collections = Collections { collections: &["statements"], example: "2026-11" };
/// Bindings.
pub const BINDING: Collections = Collections { collections: &["bindings"], example: "bind_..." };

/// `tenants/acme` for `acme`.
#[must_use]
pub fn tenant(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("tenants/{text}") }
}

/// `roles/reader` for `reader`.
#[must_use]
pub fn role(text: &str) -> String {
    if text.contains('/') || text.is_empty() { text.to_owned() } else { format!("roles/{text}") }
}

/// The parent and the id of a name.
#[must_use]
pub fn split(name: &str) -> (String, String) {
    let mut parts: Vec<&str> = name.split('/').collect();
    let id = parts.pop().unwrap_or_default().to_owned();
    parts.pop();
    (parts.join("/"), id)
}

/// Where short names lie.
#[derive(Clone, Debug, Default)]
pub struct Names {
    tenant: Option<String>,
}

impl Names {
    /// Names lie in this tenant, unless they say otherwise.
    #[must_use]
    pub fn within(default: Option<&str>) -> Self {
        Self { tenant: default.map(tenant) }
    }

    /// The tenant that was named, else the default.
    ///
    /// # Errors
    /// Without either.
    pub fn tenant(&self, given: Option<&str>) -> Result<String, UsageError> {
        given.map(tenant).or_else(|| self.tenant.clone()).ok_or_else(|| {
            UsageError("which tenant? give --tenant ID or set TOLLREEVE_TENANT, or write names in full".into())
        })
    }

    /// The full name of a role: of a built-in one, or of one of the tenant's own; none of those has a built-in one's id.
    ///
    /// # Errors
    /// When it is the tenant's own and no tenant is known.
    pub fn role(&self, text: &str) -> Result<String, UsageError> {
        let name = role(text);
        let built_in = text.is_empty() || Role::ALL.iter().any(|role| role.to_string() == name);
        if built_in { Ok(name) } else { self.full(ROLE, text) }
    }

    /// The full name of something.
    ///
    /// # Errors
    /// When the text is no name of that kind.
    pub fn full(&self, of: Collections, text: &str) -> Result<String, UsageError> {
        if text.starts_with("tenants/") {
            return Ok(text.to_owned());
        }
        let mut ids: Vec<&str> = text.split('/').collect();
        if of.collections.contains(&ids[0]) {
            return Ok(format!("{}/{text}", self.tenant(None)?));
        }
        let tenant = if ids.len() == of.collections.len() + 1 { tenant(ids.remove(0)) } else { self.tenant(None)? };
        if ids.len() != of.collections.len() || ids.iter().any(|id| id.is_empty()) {
            let Collections { collections, example } = of;
            let what = collections.last().copied().unwrap_or_default().trim_end_matches('s');
            return Err(UsageError(format!("`{text}` names no {what}: write `{example}`, or the whole name")));
        }
        let below: Vec<String> = of.collections.iter().zip(ids).map(|(name, id)| format!("{name}/{id}")).collect();
        Ok(format!("{tenant}/{}", below.join("/")))
    }

    /// The full name of a tenant, workspace or project; the default tenant without a text.
    ///
    /// # Errors
    /// As [`Names::full`].
    pub fn scope(&self, text: Option<&str>) -> Result<String, UsageError> {
        match text {
            None => self.tenant(None),
            Some("platform") => Ok("platform".to_owned()),
            Some(text) if text.starts_with("tenants/") => Ok(text.to_owned()),
            Some(text) => {
                let parts = text.trim_start_matches("workspaces/").split('/').count();
                self.full(if parts == 1 { WORKSPACE } else { PROJECT }, text)
            }
        }
    }

    /// The full name of somebody who can hold a role.
    ///
    /// # Errors
    /// When the text does not say what they are.
    pub fn member(&self, text: &str) -> Result<String, UsageError> {
        let id = text.rsplit('/').next().unwrap_or_default();
        match text.split_once('/') {
            Some(("tenants", _)) => Ok(text.to_owned()),
            Some(("users" | "teams" | "serviceAccounts", _)) => Ok(format!("{}/{text}", self.tenant(None)?)),
            None if id.starts_with("user_") => Ok(format!("{}/users/{id}", self.tenant(None)?)),
            _ => Err(UsageError(format!(
                "`{text}` names nobody: write `users/user_...`, `teams/core` or `serviceAccounts/edge`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_lies_in_the_default_tenant_and_a_full_one_where_it_says() {
        let names = Names::within(Some("acme"));
        let full = |of, text| names.full(of, text).map_err(|error| error.to_string());
        let prod = "tenants/acme/workspaces/prod";
        for text in ["prod", "workspaces/prod", prod] {
            assert_eq!(full(WORKSPACE, text).as_deref(), Ok(prod), "{text}");
        }
        assert_eq!(full(WORKSPACE, "globex/prod").as_deref(), Ok("tenants/globex/workspaces/prod"));
        for text in ["prod/search", "acme/prod/search", "workspaces/prod/projects/search"] {
            assert_eq!(full(PROJECT, text), Ok(format!("{prod}/projects/search")), "{text}");
        }
        for (of, text) in
            [(PROJECT, "search"), (PROJECT, "a/b/c/d"), (WORKSPACE, ""), (TEAM, "a/b/c"), (PROJECT, "prod/")]
        {
            assert!(full(of, text).is_err(), "{text}");
        }
        let nowhere = Names::default();
        assert!(nowhere.full(WORKSPACE, "prod").is_err() && nowhere.full(WORKSPACE, "acme/prod").is_ok());
    }

    #[test]
    fn scopes_and_members_say_what_they_are() {
        let names = Names::within(Some("tenants/acme"));
        let scope = |text| names.scope(text).expect("a scope");
        assert_eq!(scope(None), "tenants/acme");
        assert_eq!(scope(Some("prod")), "tenants/acme/workspaces/prod");
        assert_eq!(scope(Some("workspaces/prod")), "tenants/acme/workspaces/prod");
        assert_eq!(scope(Some("prod/search")), "tenants/acme/workspaces/prod/projects/search");
        assert_eq!(scope(Some("workspaces/prod/projects/search")), "tenants/acme/workspaces/prod/projects/search");
        assert_eq!(scope(Some("platform")), "platform");
        assert_eq!(names.member("user_1").expect("a user"), "tenants/acme/users/user_1");
        assert_eq!(names.member("teams/core").expect("a team"), "tenants/acme/teams/core");
        assert!(names.member("core").is_err());
        assert_eq!(split("tenants/acme/workspaces/prod"), ("tenants/acme".into(), "prod".into()));
    }
}
