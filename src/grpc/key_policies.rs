//! What messages mean of key policies of workspaces, and of the keys that break them.

use super::{
    keys::MAX_REASON,
    parse::{self, FieldError, invalid},
    role_templates::key_limits,
};
use crate::{
    app::key_reviews::{BreakingKey, KeysRetired, RetireKeys, ReviewKeys},
    domain::{
        key_policies::{Breach, Creators, KeyPolicyUpdate, WorkspaceKeyPolicy},
        permission::{Permission, PermissionSet},
    },
    pb::tollreeve::v1 as pb,
};

/// Shortest and longest time after which a secret is due for another one, in seconds: a day and ten years.
const INTERVAL: (i64, i64) = (86_400, 315_360_000);
/// Longest that a key works on when its rotation is due, in seconds: a year.
const MAX_GRACE: i64 = 31_536_000;
/// Most permissions that a policy names.
const MAX_PERMISSIONS: usize = 64;

/// Fields of a key policy, as a mask has them.
pub(super) const FIELDS: [&str; 7] = [
    "policies.keys.creators",
    "policies.keys.max_keys",
    "policies.keys.max_lifetime_seconds",
    "policies.keys.required_allowlists",
    "policies.keys.allowed_permissions",
    "policies.keys.rotation_interval_seconds",
    "policies.keys.rotation_grace_seconds",
];

/// Which of the [`FIELDS`] are set.
pub(super) fn set(policy: Option<&pb::WorkspaceKeyPolicy>) -> [bool; 7] {
    policy.map_or([false; 7], |policy| {
        [
            policy.creators != 0,
            policy.max_keys != 0,
            policy.max_lifetime_seconds != 0,
            !policy.required_allowlists.is_empty(),
            !policy.allowed_permissions.is_empty(),
            policy.rotation_interval_seconds != 0,
            policy.rotation_grace_seconds != 0,
        ]
    })
}

/// What is to be changed of a key policy: those of the [`FIELDS`].
pub(super) fn update(policy: WorkspaceKeyPolicy, changed: [bool; 7]) -> KeyPolicyUpdate {
    let [creators, number, lifetime, required, permissions, interval, grace] = changed;
    KeyPolicyUpdate {
        creators: creators.then_some(policy.creators),
        most_keys: number.then_some(policy.limits.most_keys),
        longest_lifetime: lifetime.then_some(policy.limits.longest_lifetime),
        required: required.then_some(policy.limits.required),
        permissions: permissions.then_some(policy.permissions),
        rotation_interval: interval.then_some(policy.rotation_interval),
        rotation_grace: grace.then_some(policy.rotation_grace),
    }
}

/// Reads a key policy, which is a field of this name; what is missing restricts nothing.
pub(super) fn policy(name: &str, policy: pb::WorkspaceKeyPolicy) -> Result<WorkspaceKeyPolicy, FieldError> {
    let field = |field: &str| format!("{name}.{field}");
    let creators = match pb::KeyCreators::try_from(policy.creators) {
        Ok(pb::KeyCreators::Unspecified | pb::KeyCreators::Anybody) => Creators::Anybody,
        Ok(pb::KeyCreators::Writers) => Creators::Writers,
        Err(_) => return Err(invalid(field("creators"), "is not a choice")),
    };
    let interval = policy.rotation_interval_seconds;
    if interval != 0 {
        parse::within(&field("rotation_interval_seconds"), interval, INTERVAL.0, INTERVAL.1)?;
    }
    let grace = parse::within(&field("rotation_grace_seconds"), policy.rotation_grace_seconds, 0, MAX_GRACE)?;
    let permissions = permissions(&field("allowed_permissions"), &policy.allowed_permissions)?;
    let limits = pb::KeyPolicy {
        max_keys: policy.max_keys,
        max_lifetime_seconds: policy.max_lifetime_seconds,
        required_allowlists: policy.required_allowlists,
    };
    Ok(WorkspaceKeyPolicy {
        creators,
        limits: key_limits(name, &limits)?,
        permissions,
        rotation_interval: (interval != 0).then_some(interval),
        rotation_grace: grace,
    })
}

fn permissions(field: &str, texts: &[String]) -> Result<Option<PermissionSet>, FieldError> {
    if texts.len() > MAX_PERMISSIONS {
        return Err(invalid(field, format!("must be at most {MAX_PERMISSIONS}")));
    }
    let read = |(i, text): (usize, &String)| {
        let unknown = |error: crate::domain::permission::UnknownPermission| invalid(format!("{field}[{i}]"), error);
        text.parse::<Permission>().map_err(unknown)
    };
    let all: Vec<Permission> = texts.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    Ok((!all.is_empty()).then(|| PermissionSet::of(&all)))
}

impl From<WorkspaceKeyPolicy> for pb::WorkspaceKeyPolicy {
    fn from(policy: WorkspaceKeyPolicy) -> Self {
        let limits = pb::KeyPolicy::from(policy.limits);
        let creators = match policy.creators {
            Creators::Anybody => pb::KeyCreators::Anybody,
            Creators::Writers => pb::KeyCreators::Writers,
        };
        Self {
            creators: creators.into(),
            max_keys: limits.max_keys,
            max_lifetime_seconds: limits.max_lifetime_seconds,
            required_allowlists: limits.required_allowlists,
            allowed_permissions: policy.permissions.iter().flat_map(|set| set.iter()).map(|p| p.to_string()).collect(),
            rotation_interval_seconds: policy.rotation_interval.unwrap_or_default(),
            rotation_grace_seconds: policy.rotation_grace,
        }
    }
}

impl TryFrom<pb::ReviewKeysRequest> for ReviewKeys {
    type Error = FieldError;

    fn try_from(request: pb::ReviewKeysRequest) -> Result<Self, FieldError> {
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            page: parse::page(request.page_size, &request.page_token)?,
            policy: request.policy.map(|tried| policy("policy", tried)).transpose()?,
        })
    }
}

impl TryFrom<pb::RetireKeysRequest> for RetireKeys {
    type Error = FieldError;

    fn try_from(request: pb::RetireKeysRequest) -> Result<Self, FieldError> {
        let expires = parse::present("expire_time", request.expire_time)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            expires: parse::timestamp("expire_time", &expires)?,
            reason: parse::bounded("reason", request.reason, MAX_REASON)?,
            after: parse::page(0, &request.page_token)?.after,
        })
    }
}

impl From<BreakingKey> for pb::BreakingKey {
    fn from(key: BreakingKey) -> Self {
        let name = |breach: Breach| breach.field().strip_prefix("key.").unwrap_or_default().to_owned();
        let mut fields: Vec<String> = key.breaches.into_iter().map(name).collect();
        // A list that is required and says too little is one field.
        fields.dedup();
        Self { key: Some(key.record.into()), fields }
    }
}

answers_page!(BreakingKey as keys: ReviewKeysResponse);

impl From<KeysRetired> for pb::RetireKeysResponse {
    fn from(retired: KeysRetired) -> Self {
        Self {
            retired_count: i64::try_from(retired.names.len()).unwrap_or(i64::MAX),
            names: retired.names.iter().map(ToString::to_string).collect(),
            left_count: retired.left,
            next_page_token: parse::page_token(&retired.next),
            revision: retired.revision,
        }
    }
}

intended!(RetireKeysRequest);
