//! API keys: what end clients present, and what each may be used for.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    bindings::Principal,
    id::{KeyId, ProjectId, TenantId, WorkspaceId},
    key_schedule::Schedule,
    key_secret::PublicId,
    peppers::SecretHash,
    permission::PermissionSet,
    rules::{glob, is_below},
    time::Timestamp,
};

/// Most entries in each list of an [`Allowlist`].
pub const MAX_ALLOWLIST: usize = 64;

/// Most tags of a key.
pub const MAX_LABELS: usize = 32;
/// How long a secret works beside the one that takes its place, unless it is said.
pub const USUAL_OVERLAP: Duration = Duration::from_hours(24);
/// Longest that it may.
pub const LONGEST_OVERLAP: Duration = Duration::from_hours(7 * 24);
/// How long a secret whose showing was lost can be had again.
pub const SHOWN_AGAIN: Duration = Duration::from_hours(24);

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
    /// What its newest secret is looked up by.
    pub public_id: PublicId,
    /// What is stored of that.
    pub hash: SecretHash,
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
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its secrets, but for what is looked up by of the newest.
    #[serde(default)]
    pub secrets: Secrets,
    /// When it was deleted: nobody sees it from then on, and it never works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

/// Which secrets a key has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Secrets {
    /// Which the newest is: 1, and one more with each rotation.
    pub generation: u32,
    /// When that was made; `None`: with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Timestamp>,
    /// The one before it, as long as that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<Box<Retiring>>,
    /// When the newest is due for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self { generation: 1, rotated: None, retiring: None, schedule: None }
    }
}

impl Secrets {
    /// Whether the key has had one secret only, which is good for as long as the key.
    #[must_use]
    pub fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

/// A secret that another one has taken the place of, and that still works.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retiring {
    /// What it is looked up by.
    pub public_id: PublicId,
    /// What is stored of it.
    pub hash: SecretHash,
    /// Which it is.
    pub generation: u32,
    /// When it ends.
    pub ends: Timestamp,
}

impl Key {
    /// Whether its last day has passed.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|ends| ends <= now)
    }

    /// From when on decisions refuse it: its end, or the deadline of its rotation, which another secret moves.
    #[must_use]
    pub fn refused_from(&self) -> Option<Timestamp> {
        let deadline = self.secrets.schedule.map(|schedule| schedule.deadline);
        self.expires.into_iter().chain(deadline).min()
    }

    /// The secret before the newest, if that still works.
    #[must_use]
    pub fn retiring(&self, now: Timestamp) -> Option<&Retiring> {
        self.secrets.retiring.as_deref().filter(|old| old.ends > now)
    }

    /// When its newest secret was made.
    #[must_use]
    pub fn secret_made(&self) -> Timestamp {
        self.secrets.rotated.unwrap_or(self.created)
    }

    /// The key with a new secret that is made then and due for another one by the schedule. The one that it had works on until
    /// `ends`, if that is to come, and no longer than it would have; the one before that, never.
    #[must_use]
    pub fn rotated(
        &self,
        (public_id, hash): (PublicId, SecretHash),
        schedule: Option<Schedule>,
        now: Timestamp,
        ends: Timestamp,
    ) -> Self {
        let Secrets { generation, schedule: had, .. } = self.secrets;
        // Another secret brings the key back to work, and not the one that was good no more.
        let ends = had.map_or(ends, |had| had.deadline.min(ends));
        let old = Retiring { public_id: self.public_id, hash: self.hash, generation, ends };
        let secrets = Secrets {
            generation: generation.saturating_add(1),
            rotated: Some(now),
            retiring: (ends > now).then(|| Box::new(old)),
            schedule,
        };
        Self { public_id, hash, secrets, version: self.version + 1, ..self.clone() }
    }

    /// The key with its newest secret alone.
    #[must_use]
    pub fn retired(&self) -> Self {
        let secrets = Secrets { retiring: None, ..self.secrets.clone() };
        Self { secrets, version: self.version + 1, ..self.clone() }
    }

    /// Whether the key lets nobody do anything that it did not let them do as `before`: it ends no later, it may be used for
    /// no more, and its calls are tagged as they were.
    #[must_use]
    pub fn is_within(&self, before: &Self) -> bool {
        let ends = |key: &Self| key.expires.unwrap_or(Timestamp::from_micros(i64::MAX));
        ends(self) <= ends(before) && self.project == before.project && self.allowlist.is_within(&before.allowlist)
    }
}

/// What a key may be used for. An empty list allows everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowlist {
    /// Address ranges of end clients.
    pub cidrs: Vec<IpNet>,
    /// Host names of origins; `*.` at the start stands for every name below.
    pub origins: Vec<String>,
    /// Models; `*` stands for any text.
    pub models: Vec<String>,
    /// Endpoint paths; `*` stands for any text.
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

    /// Whether everything that this allows, `wider` allows too, entry by entry: what several entries of that allow together
    /// counts as more.
    #[must_use]
    pub fn is_within(&self, wider: &Self) -> bool {
        within(&self.cidrs, &wider.cidrs, |wider, range| wider.contains(range))
            && within(&self.origins, &wider.origins, |wider, host| {
                wider == host
                    || wider.strip_prefix("*.").is_some_and(|parent| is_below(host.as_bytes(), parent.as_bytes()))
            })
            && within(&self.models, &wider.models, |wider, pattern| glob(wider, pattern))
            && within(&self.endpoints, &wider.endpoints, |wider, pattern| glob(wider, pattern))
            && wider
                .permissions
                .is_none_or(|all| self.permissions.is_some_and(|listed| listed.without(all) == PermissionSet::NONE))
    }

    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether each entry of a list is covered by one of a wider list; an empty list is wider than any other.
fn within<T>(list: &[T], wider: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wider.is_empty() || !list.is_empty() && list.iter().all(|entry| wider.iter().any(|one| covers(one, entry)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::permission::Permission;

    fn list(change: impl Fn(&mut Allowlist)) -> Allowlist {
        let mut list = Allowlist::default();
        change(&mut list);
        list
    }

    #[test]
    fn a_list_is_within_another_when_each_of_its_entries_is() {
        let ranges = |texts: &[&str]| {
            list(|list| list.cidrs = texts.iter().map(|text| text.parse().expect("a range")).collect())
        };
        let hosts = |texts: &[&str]| list(|list| list.origins = texts.iter().map(|text| (*text).to_owned()).collect());
        let models = |texts: &[&str]| list(|list| list.models = texts.iter().map(|text| (*text).to_owned()).collect());
        let may = |all: &[Permission]| list(|list| list.permissions = Some(PermissionSet::of(all)));
        let (open, both) = (Allowlist::default(), [Permission::ModelsInvoke, Permission::LogsRead]);
        for (narrow, wide) in [
            (open.clone(), open.clone()),
            (ranges(&["10.1.0.0/16", "10.2.0.0/16"]), ranges(&["10.0.0.0/8"])),
            (ranges(&["10.0.0.0/8"]), open.clone()),
            (hosts(&["a.b.test", "*.c.b.test"]), hosts(&["*.b.test"])),
            (models(&["gpt-4o", "gpt-4-turbo*"]), models(&["gpt-4*"])),
            (models(&["gpt-4o-mini", "gpt-*-mini"]), models(&["gpt*mini"])),
            (may(&both[..1]), may(&both)),
            (may(&both), open.clone()),
        ] {
            assert!(narrow.is_within(&wide), "{narrow:?} {wide:?}");
            assert!(narrow == wide || !wide.is_within(&narrow), "{wide:?} {narrow:?}");
        }
        for (one, other) in [
            (ranges(&["10.0.0.0/8", "11.0.0.0/8"]), ranges(&["10.0.0.0/8"])),
            (ranges(&["2001:db8::/32"]), ranges(&["10.0.0.0/8"])),
            (hosts(&["b.test"]), hosts(&["*.b.test"])),
            (hosts(&["*.b.test"]), hosts(&["b.test"])),
            (models(&["gpt-4*"]), models(&["gpt-4o"])),
            (models(&["gpt-4*"]), models(&["gpt-*-mini"])),
            (may(&[Permission::ModelsInvoke, Permission::KeysRead]), may(&both)),
        ] {
            assert!(!one.is_within(&other), "{one:?} {other:?}");
        }
    }
}
