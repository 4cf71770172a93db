//! Role templates: what somebody of a kind is given when they join.

use serde::{Deserialize, Serialize};

use super::{
    id::{RoleTemplateId, TenantId},
    keys::Allowlist,
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

/// What somebody may do about keys of their own. The default restricts nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeyPolicy {
    /// Most keys at once that are neither revoked nor at their end; `None`: any number.
    pub most_keys: Option<i64>,
    /// Longest time from creation to the end of a key, in seconds; `None`: for good.
    pub longest_lifetime: Option<i64>,
    /// Lists that a key must not leave empty.
    pub required: Vec<AllowlistKind>,
}

/// A list of an [`Allowlist`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowlistKind {
    /// Address ranges.
    Cidrs,
    /// Origins.
    Origins,
    /// Models.
    Models,
    /// Endpoints.
    Endpoints,
    /// Permissions.
    Permissions,
}

/// A key that a policy does not allow: the field at fault and why.
pub type Violation = (&'static str, String);

impl KeyPolicy {
    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a key that is made then may end then (`None`: never) and may be used for that.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn check(&self, created: Timestamp, ends: Option<Timestamp>, allowlist: &Allowlist) -> Result<(), Violation> {
        if let Some(longest) = self.longest_lifetime {
            let latest = created.micros().saturating_add(longest.saturating_mul(1_000_000));
            if ends.is_none_or(|ends| ends.micros() > latest) {
                return Err((
                    "key.expire_time",
                    format!("must be at most {longest} seconds after the key's creation, by the owner's key policy"),
                ));
            }
        }
        let missing = self.required.iter().find(|kind| kind.is_empty_in(allowlist));
        missing.map_or(Ok(()), |kind| Err((kind.field(), "is required by the owner's key policy".to_owned())))
    }
}

impl AllowlistKind {
    const fn is_empty_in(self, list: &Allowlist) -> bool {
        match self {
            Self::Cidrs => list.cidrs.is_empty(),
            Self::Origins => list.origins.is_empty(),
            Self::Models => list.models.is_empty(),
            Self::Endpoints => list.endpoints.is_empty(),
            Self::Permissions => list.permissions.is_none(),
        }
    }

    /// The field of a new key that it is.
    const fn field(self) -> &'static str {
        match self {
            Self::Cidrs => "key.allowlist.cidrs",
            Self::Origins => "key.allowlist.origins",
            Self::Models => "key.allowlist.models",
            Self::Endpoints => "key.allowlist.endpoints",
            Self::Permissions => "key.allowlist.permissions",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_as_long_as_its_owners_policy_allows_and_not_a_moment_longer() {
        let policy = KeyPolicy { longest_lifetime: Some(60), ..KeyPolicy::default() };
        let now = Timestamp::from_micros(5);
        let ends = |micros| policy.check(now, micros, &Allowlist::default()).map_err(|(field, _)| field);
        assert_eq!(ends(Some(Timestamp::from_micros(60_000_005))), Ok(()));
        assert_eq!(ends(Some(Timestamp::from_micros(60_000_006))), Err("key.expire_time"));
        assert_eq!(ends(None), Err("key.expire_time"));
        assert!(KeyPolicy::default().check(now, None, &Allowlist::default()).is_ok());
    }

    #[test]
    fn a_required_list_must_not_be_empty() {
        let policy = KeyPolicy { required: vec![AllowlistKind::Cidrs, AllowlistKind::Models], ..KeyPolicy::default() };
        let check = |list| policy.check(Timestamp::from_micros(0), None, &list).map_err(|(field, _)| field);
        let cidrs = vec!["10.0.0.0/8".parse().expect("a range")];
        assert_eq!(check(Allowlist::default()), Err("key.allowlist.cidrs"));
        assert_eq!(check(Allowlist { cidrs: cidrs.clone(), ..Allowlist::default() }), Err("key.allowlist.models"));
        assert_eq!(check(Allowlist { cidrs, models: vec!["m".into()], ..Allowlist::default() }), Ok(()));
    }
}
