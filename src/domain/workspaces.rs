//! Workspaces: walled-off parts of a tenant with their own keys and credit.

use serde::{Deserialize, Serialize};

use super::{
    id::{TenantId, WorkspaceId},
    key_secret::MAX_PREFIX_LEN,
    names::Slug,
    policies::Policies,
    tenants::Lifecycle,
    time::Timestamp,
};

/// A workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// Identity.
    pub id: WorkspaceId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// `development`, `staging`, `production` or a custom name; never changes.
    pub environment: Slug,
    /// What holds for all that is made in it.
    #[serde(default)]
    pub policies: Policies,
    /// Suspended: its keys are refused.
    pub state: Lifecycle,
    /// When it was deleted; `state` is what it comes back in.
    #[serde(default)]
    pub deleted: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Workspace {
    /// First part of the workspace's keys: see [`key_prefix`].
    #[must_use]
    pub fn key_prefix(&self) -> String {
        key_prefix(self.environment.as_str())
    }

    /// Whether it is neither suspended nor deleted.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.state == Lifecycle::Active && self.deleted.is_none()
    }
}

/// The environments that every workspace can have, and the first part of their keys.
pub const ENVIRONMENTS: [(&str, &str); 3] = [("development", "dev"), ("staging", "stg"), ("production", "prod")];

/// First part of the keys of an environment: its own for the three that are known, else the first letters and digits of the
/// name. Keys carry it for good, so the environment of a workspace never changes.
#[must_use]
pub fn key_prefix(environment: &str) -> String {
    match ENVIRONMENTS.iter().find(|(name, _)| *name == environment) {
        Some((_, prefix)) => (*prefix).to_owned(),
        None => environment.chars().filter(char::is_ascii_alphanumeric).take(MAX_PREFIX_LEN).collect(),
    }
}

/// The known environment whose keys those of a custom one could be taken for; `None`: they look like no other's.
#[must_use]
pub fn mistaken_for(environment: &str) -> Option<&'static str> {
    let prefix = key_prefix(environment);
    let known = ENVIRONMENTS.iter().find(|(name, of)| *name != environment && *of == prefix);
    known.map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_custom_environment_do_not_look_like_those_of_a_known_one() {
        for (name, prefix) in ENVIRONMENTS {
            assert_eq!((key_prefix(name).as_str(), mistaken_for(name)), (prefix, None));
        }
        assert_eq!(key_prefix("red-team-2027"), "redteam2");
        for (custom, known) in [("prod", "production"), ("st-g", "staging"), ("d-e-v", "development")] {
            assert_eq!(mistaken_for(custom), Some(known), "{custom}");
        }
        assert_eq!(mistaken_for("prod-2"), None);
    }
}
