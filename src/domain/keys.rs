//! API keys: what end clients present, and what each may be used for.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    bindings::Principal,
    id::{KeyId, ProjectId, TenantId, WorkspaceId},
    key_secret::{KeyHash, PublicId},
    permission::{Permission, PermissionSet},
    time::Timestamp,
};

/// Most entries in each list of an [`Allowlist`].
pub const MAX_ALLOWLIST: usize = 64;

/// Where a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Works, unless it has expired.
    Active,
    /// Switched off for now.
    Disabled,
    /// Ended for good.
    Revoked,
}

/// An API key without its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Identity.
    pub id: KeyId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The workspace it works in.
    pub workspace: WorkspaceId,
    /// Whose it is.
    pub owner: Principal,
    /// Project that calls are tagged with unless they name another.
    pub project: Option<ProjectId>,
    /// What it is looked up by.
    pub public_id: PublicId,
    /// What is stored of its secret.
    #[serde(with = "hash_text")]
    pub hash: KeyHash,
    /// Name for people.
    pub display_name: String,
    /// Where it stands.
    pub state: KeyState,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// What it may be used for.
    pub allowlist: Allowlist,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// What a key may be used for. An empty list allows everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowlist {
    /// Address ranges of end clients.
    pub cidrs: Vec<IpNet>,
    /// Host names of origins; `*.` at the start stands for every name below.
    pub origins: Vec<String>,
    /// Models; `*` at the end stands for anything.
    pub models: Vec<String>,
    /// Endpoint paths; `*` at the end stands for anything.
    pub endpoints: Vec<String>,
    /// Permissions; `None` for all that the owner has.
    pub permissions: Option<PermissionSet>,
}

impl Allowlist {
    /// What is left of permissions.
    #[must_use]
    pub fn narrowed(&self, permissions: PermissionSet) -> PermissionSet {
        self.permissions.map_or(permissions, |listed| permissions.without(permissions.without(listed)))
    }

    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a call from `ip` passes. An IPv4 address mapped into IPv6 counts as IPv4. A missing or unreadable
    /// address passes only an empty list.
    #[must_use]
    pub fn admits_ip(&self, ip: Option<IpAddr>) -> bool {
        self.cidrs.is_empty()
            || ip.is_some_and(|ip| {
                let ip = ip.to_canonical();
                self.cidrs.iter().any(|range| range.contains(&ip))
            })
    }

    /// Whether a call from `origin` (`https://app.example.com:8443` or a bare host name) passes.
    #[must_use]
    pub fn admits_origin(&self, origin: &str) -> bool {
        if self.origins.is_empty() {
            return true;
        }
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        !host.is_empty()
            && self.origins.iter().any(|allowed| match allowed.strip_prefix("*.") {
                Some(parent) => ends_with_label(host, parent),
                None => allowed.eq_ignore_ascii_case(host),
            })
    }

    /// Whether a call to `model` passes.
    #[must_use]
    pub fn admits_model(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| matches_glob(pattern, model))
    }

    /// Whether a call to `endpoint` passes.
    #[must_use]
    pub fn admits_endpoint(&self, endpoint: &str) -> bool {
        self.endpoints.is_empty() || self.endpoints.iter().any(|pattern| matches_glob(pattern, endpoint))
    }

    /// Whether the key may be used for `permission`, its owner's roles aside.
    #[must_use]
    pub fn admits_permission(&self, permission: Permission) -> bool {
        self.permissions.is_none_or(|set| set.has(permission))
    }
}

/// `host` is a name below `parent`, ignoring ASCII case.
fn ends_with_label(host: &str, parent: &str) -> bool {
    host.len() > parent.len() + 1
        && host.is_char_boundary(host.len() - parent.len())
        && host[host.len() - parent.len()..].eq_ignore_ascii_case(parent)
        && host.as_bytes()[host.len() - parent.len() - 1] == b'.'
}

fn matches_glob(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

/// A hash as hexadecimal text in JSON.
mod hash_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::KeyHash;

    pub fn serialize<S: Serializer>(hash: &KeyHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.to_hex())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyHash, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        KeyHash::from_hex(&text).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_pass_by_range_and_mapped_ipv4_counts_as_ipv4() {
        let list = Allowlist { cidrs: vec!["10.0.0.0/8".parse().expect("range")], ..Allowlist::default() };
        let passes = |text: &str| list.admits_ip(text.parse().ok());
        assert!(passes("10.1.2.3") && passes("::ffff:10.1.2.3"));
        assert!(!passes("11.0.0.1") && !passes("::1") && !passes("nonsense"));
    }

    #[test]
    fn origins_pass_by_name_or_below_a_name() {
        let list = Allowlist { origins: vec!["a.test".into(), "*.b.test".into()], ..Allowlist::default() };
        for good in ["https://a.test", "A.test:443", "https://x.b.test/path", "x.y.B.test"] {
            assert!(list.admits_origin(good), "{good}");
        }
        for bad in ["", "b.test", "xb.test", "a.test.evil", "ü.b.tesü"] {
            assert!(!list.admits_origin(bad), "{bad}");
        }
    }
}
