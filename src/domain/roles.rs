//! Roles as bindings refer to them: built in, or a tenant's own.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    id::{RoleId, TenantId},
    names::Slug,
    permission::PermissionSet,
    role::Role,
    time::Timestamp,
};

/// Most roles of its own that a tenant can have.
pub const MAX_PER_TENANT: usize = 100;

/// The role that a binding gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RoleRef {
    /// One that every tenant has.
    BuiltIn(Role),
    /// A tenant's own.
    Custom(RoleId),
}

impl From<Role> for RoleRef {
    fn from(role: Role) -> Self {
        Self::BuiltIn(role)
    }
}

impl From<RoleId> for RoleRef {
    fn from(id: RoleId) -> Self {
        Self::Custom(id)
    }
}

impl fmt::Display for RoleRef {
    /// `developer` or `role_...`: no id of a built-in role begins like that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(role) => f.write_str(role.id()),
            Self::Custom(id) => fmt::Display::fmt(id, f),
        }
    }
}

/// The text is neither the id of a built-in role nor that of a tenant's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a role")]
pub struct RoleRefError;

impl FromStr for RoleRef {
    type Err = RoleRefError;

    fn from_str(text: &str) -> Result<Self, RoleRefError> {
        let built_in = Role::ALL.iter().copied().find(|role| role.id() == text).map(Self::BuiltIn);
        built_in.or_else(|| text.parse().ok().map(Self::Custom)).ok_or(RoleRefError)
    }
}

impl Serialize for RoleRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoleRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A tenant's own role: permissions under a name. Whoever changes it changes what everybody may do who is bound to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CustomRole {
    /// Identity.
    pub id: RoleId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// What it may do.
    pub permissions: PermissionSet,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_to_a_role_is_one_text_everywhere() {
        for (role, text) in [
            (RoleRef::BuiltIn(Role::BillingManager), "billing_manager".to_owned()),
            (RoleRef::Custom(RoleId::from_bits(7)), RoleId::from_bits(7).to_string()),
        ] {
            assert_eq!((role.to_string(), text.parse()), (text.clone(), Ok(role)));
            assert_eq!(serde_json::to_value(role).expect("json"), serde_json::Value::from(text));
        }
        for bad in ["", "Admin", "roles/admin", "role_x"] {
            assert_eq!(bad.parse::<RoleRef>(), Err(RoleRefError), "{bad}");
        }
    }
}
