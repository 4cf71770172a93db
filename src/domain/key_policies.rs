//! What a policy allows of API keys: one way to tell whether a key keeps to it, whoever laid it down.

use serde::{Deserialize, Serialize};

use super::{
    key_schedule::Schedule,
    keys::{Allowlist, Key},
    permission::{Permission, PermissionSet},
    time::Timestamp,
};

/// Limits of keys. The default restricts nothing.
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

/// What a workspace lays down for its keys. The default restricts nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkspaceKeyPolicy {
    /// Who may make keys of their own.
    pub creators: Creators,
    /// The limits of each key, and how many of them an owner may have in the workspace.
    pub limits: KeyPolicy,
    /// The most that a key may be given, by name; `None`: all that its owner has.
    pub permissions: Option<PermissionSet>,
    /// How long a secret is good before another one is due, in seconds; `None`: for good.
    pub rotation_interval: Option<i64>,
    /// How long after that the key still works with it, in seconds.
    pub rotation_grace: i64,
}

/// Who may make keys of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Creators {
    /// Whoever holds `keys:create`.
    #[default]
    Anybody,
    /// Only who holds `keys:write`, and so may make keys for others.
    Writers,
}

/// Which parts of a key policy are to be others; `None`: as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyPolicyUpdate {
    /// See [`WorkspaceKeyPolicy::creators`].
    pub creators: Option<Creators>,
    /// See [`KeyPolicy::most_keys`].
    pub most_keys: Option<Option<i64>>,
    /// See [`KeyPolicy::longest_lifetime`].
    pub longest_lifetime: Option<Option<i64>>,
    /// See [`KeyPolicy::required`].
    pub required: Option<Vec<AllowlistKind>>,
    /// See [`WorkspaceKeyPolicy::permissions`].
    pub permissions: Option<Option<PermissionSet>>,
    /// See [`WorkspaceKeyPolicy::rotation_interval`].
    pub rotation_interval: Option<Option<i64>>,
    /// See [`WorkspaceKeyPolicy::rotation_grace`].
    pub rotation_grace: Option<i64>,
}

/// A key that a policy does not allow: the field at fault and why.
pub type Violation = (&'static str, String);

/// How a key breaks a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// It ends later than so many seconds after its creation, or never.
    Lives(i64),
    /// A list is empty that must not be.
    Open(AllowlistKind),
    /// It gives what it may not, or all that its owner has.
    Gives,
    /// Its newest secret is good for longer than it may be.
    Rotates,
    /// Its owner has so many older keys already.
    Exceeds(i64),
}

impl Breach {
    /// The field of a key that is at fault, as a request to create one has it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Lives(_) => "key.expire_time",
            Self::Open(AllowlistKind::Cidrs) => "key.allowlist.cidrs",
            Self::Open(AllowlistKind::Origins) => "key.allowlist.origins",
            Self::Open(AllowlistKind::Models) => "key.allowlist.models",
            Self::Open(AllowlistKind::Endpoints) => "key.allowlist.endpoints",
            Self::Open(AllowlistKind::Permissions) | Self::Gives => "key.allowlist.permissions",
            Self::Rotates => "key.rotation_due_time",
            Self::Exceeds(_) => "key.owner",
        }
    }

    /// What is wrong with it, by the key policy of the `owner` or `workspace`.
    #[must_use]
    pub fn why(self, whose: &str) -> String {
        match self {
            Self::Lives(longest) => {
                format!("must be at most {longest} seconds after the key's creation, by the {whose}'s key policy")
            }
            Self::Open(_) => format!("is required by the {whose}'s key policy"),
            Self::Gives => format!("must name what the {whose}'s key policy allows, and nothing else"),
            Self::Rotates => format!("is later than the {whose}'s key policy allows"),
            Self::Exceeds(most) => format!("has {most} keys, the most by the {whose}'s key policy"),
        }
    }
}

impl KeyPolicy {
    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// How a key breaks the policy that is made then, ends then (`None`: never) and may be used for that; numbers apart.
    #[must_use]
    pub fn breaches(&self, created: Timestamp, ends: Option<Timestamp>, allowlist: &Allowlist) -> Vec<Breach> {
        let outlives = self.longest_lifetime.filter(|longest| {
            let latest = after(created, *longest);
            ends.is_none_or(|ends| ends > latest)
        });
        let open = self.required.iter().filter(|kind| kind.is_empty_in(allowlist));
        outlives.map(Breach::Lives).into_iter().chain(open.map(|kind| Breach::Open(*kind))).collect()
    }

    /// Whether a key that is made then may end then (`None`: never) and may be used for that, by its owner's policy.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn check(&self, created: Timestamp, ends: Option<Timestamp>, allowlist: &Allowlist) -> Result<(), Violation> {
        first(&self.breaches(created, ends, allowlist), "owner")
    }
}

impl WorkspaceKeyPolicy {
    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what an update changes.
    pub fn update(&mut self, update: &KeyPolicyUpdate) {
        self.creators = update.creators.unwrap_or(self.creators);
        self.limits.most_keys = update.most_keys.unwrap_or(self.limits.most_keys);
        self.limits.longest_lifetime = update.longest_lifetime.unwrap_or(self.limits.longest_lifetime);
        if let Some(required) = &update.required {
            self.limits.required.clone_from(required);
        }
        self.permissions = update.permissions.unwrap_or(self.permissions);
        self.rotation_interval = update.rotation_interval.unwrap_or(self.rotation_interval);
        self.rotation_grace = update.rotation_grace.unwrap_or(self.rotation_grace);
    }

    /// What it takes to make a key of one's own.
    #[must_use]
    pub const fn creates(&self) -> Permission {
        match self.creators {
            Creators::Anybody => Permission::KeysCreate,
            Creators::Writers => Permission::KeysWrite,
        }
    }

    /// When a secret that is made then is due for another one.
    #[must_use]
    pub fn schedule(&self, made: Timestamp) -> Option<Schedule> {
        let due = after(made, self.rotation_interval?);
        Some(Schedule { due, deadline: after(due, self.rotation_grace) })
    }

    /// Whether a key that is made then may end then (`None`: never) and may be used for that.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn check(&self, created: Timestamp, ends: Option<Timestamp>, allowlist: &Allowlist) -> Result<(), Violation> {
        first(&self.terms(created, ends, allowlist), "workspace")
    }

    /// How a key breaks the policy, the number of its owner's keys apart.
    #[must_use]
    pub fn breaches(&self, key: &Key) -> Vec<Breach> {
        let late = self.schedule(key.secret_made()).filter(|latest| {
            key.secrets.schedule.is_none_or(|has| has.due > latest.due || has.deadline > latest.deadline)
        });
        let terms = self.terms(key.created, key.expires, &key.allowlist);
        terms.into_iter().chain(late.map(|_| Breach::Rotates)).collect()
    }

    fn terms(&self, created: Timestamp, ends: Option<Timestamp>, allowlist: &Allowlist) -> Vec<Breach> {
        let gives = self
            .permissions
            .is_some_and(|most| allowlist.permissions.is_none_or(|given| given.without(most) != PermissionSet::NONE));
        self.limits.breaches(created, ends, allowlist).into_iter().chain(gives.then_some(Breach::Gives)).collect()
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
}

fn first(breaches: &[Breach], whose: &str) -> Result<(), Violation> {
    breaches.first().map_or(Ok(()), |breach| Err((breach.field(), breach.why(whose))))
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(seconds.saturating_mul(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(5);

    #[test]
    fn a_key_lives_as_long_as_its_owners_policy_allows_and_not_a_moment_longer() {
        let policy = KeyPolicy { longest_lifetime: Some(60), ..KeyPolicy::default() };
        let ends = |micros| policy.check(NOW, micros, &Allowlist::default()).map_err(|(field, _)| field);
        assert_eq!(ends(Some(Timestamp::from_micros(60_000_005))), Ok(()));
        assert_eq!(ends(Some(Timestamp::from_micros(60_000_006))), Err("key.expire_time"));
        assert_eq!(ends(None), Err("key.expire_time"));
        assert!(KeyPolicy::default().check(NOW, None, &Allowlist::default()).is_ok());
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

    #[test]
    fn a_key_may_be_given_what_is_allowed_by_name_and_nothing_else() {
        let of = |all: &[Permission]| Some(PermissionSet::of(all));
        let invoke = of(&[Permission::ModelsInvoke]);
        let policy = WorkspaceKeyPolicy { permissions: invoke, ..WorkspaceKeyPolicy::default() };
        let check = |permissions| {
            let list = Allowlist { permissions, ..Allowlist::default() };
            policy.check(NOW, None, &list).map_err(|(field, _)| field)
        };
        assert_eq!((check(invoke), check(None)), (Ok(()), Err("key.allowlist.permissions")));
        assert_eq!(check(of(&[Permission::ModelsInvoke, Permission::KeysRead])), Err("key.allowlist.permissions"));
    }

    #[test]
    fn an_update_changes_what_it_names_and_a_policy_reads_as_it_was_written() {
        let mut policy = WorkspaceKeyPolicy::default();
        assert!(policy.is_open() && policy.schedule(NOW).is_none());
        policy.update(&KeyPolicyUpdate { rotation_interval: Some(Some(60)), ..KeyPolicyUpdate::default() });
        policy.update(&KeyPolicyUpdate { rotation_grace: Some(7), ..KeyPolicyUpdate::default() });
        policy.update(&KeyPolicyUpdate { creators: Some(Creators::Writers), ..KeyPolicyUpdate::default() });
        let at = Timestamp::from_micros;
        assert_eq!(policy.schedule(NOW), Some(Schedule { due: at(60_000_005), deadline: at(67_000_005) }));
        assert_eq!(policy.creates(), Permission::KeysWrite);
        let text = serde_json::to_string(&policy).expect("writes");
        assert_eq!(serde_json::from_str::<WorkspaceKeyPolicy>(&text).expect("reads"), policy);
        assert!(serde_json::from_str::<WorkspaceKeyPolicy>("{}").expect("reads").is_open());
    }
}
