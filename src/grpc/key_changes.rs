//! What messages mean that change keys.

use std::{collections::BTreeMap, time::Duration};

use super::{
    keys::{FIELDS, MAX_REASON},
    parse::{self, FieldError, invalid},
};
use crate::{
    app::{
        key_changes::{DeleteKey, KeyDeleted, KeyUpdate, UpdateKey},
        key_revocations::{BulkRevokeKeys, KeysRevoked},
        key_rotation::{RetireKeySecret, RotateKey},
        keys::KeyCreated,
    },
    domain::keys::{LONGEST_OVERLAP, MAX_LABELS, USUAL_OVERLAP},
    pb::tollreeve::v1 as pb,
    store::Page,
};

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 1000;
/// Longest key and value of a tag, in characters.
const MAX_TAG: usize = 63;
/// Most keys that are revoked at once.
const MAX_AT_ONCE: i64 = 1000;
/// Fields of a key that never change, or only by other calls.
const FIXED: &[&str] = &[
    "name",
    "owner",
    "hint",
    "state",
    "month_requests",
    "create_time",
    "etag",
    "last_use_time",
    "generation",
    "retire_time",
    "rotate_time",
    "rotation_due_time",
    "rotation_deadline_time",
];

/// What a key is for.
///
/// # Errors
/// When it is too long; so for every function of this module.
pub(super) fn description(text: String) -> Result<String, FieldError> {
    parse::bounded("key.description", text, MAX_DESCRIPTION)
}

/// The tags of a key.
pub(super) fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, FieldError> {
    if labels.len() > MAX_LABELS {
        return Err(invalid("key.labels", format!("must be at most {MAX_LABELS}")));
    }
    for (key, value) in &labels {
        if key.is_empty() || !is_tag(key) {
            let why = format!(
                "`{key:.64}` must have 1 to {MAX_TAG} letters, digits, `-`, `_` and `.`, and end in neither sign"
            );
            return Err(invalid("key.labels", why));
        }
        if !is_tag(value) {
            let why = format!("the value of `{key}` must have at most {MAX_TAG} letters, digits, `-`, `_` and `.`");
            return Err(invalid("key.labels", why));
        }
    }
    Ok(labels)
}

/// Whether a text is a key or a value of a tag, as those of Kubernetes are.
fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= MAX_TAG
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

impl TryFrom<pb::UpdateKeyRequest> for UpdateKey {
    type Error = FieldError;

    fn try_from(request: pb::UpdateKeyRequest) -> Result<Self, FieldError> {
        let key = parse::present("key", request.key)?;
        let name = parse::required("key.name", &key.name)?;
        let set = [
            ("display_name", !key.display_name.is_empty()),
            ("description", !key.description.is_empty()),
            ("labels", !key.labels.is_empty()),
            ("project", !key.project.is_empty()),
            ("expire_time", key.expire_time.is_some()),
            ("allowlist", key.allowlist.is_some()),
        ];
        let [renamed, described, labelled, moved, timed, listed] = parse::masked(request.update_mask, set, FIXED)?;
        let owner = (!key.owner.is_empty()).then(|| parse::required("key.owner", &key.owner)).transpose();
        let project = (!key.project.is_empty()).then(|| parse::required("key.project", &key.project)).transpose()?;
        let expires = key.expire_time.map(|time| parse::timestamp("key.expire_time", &time)).transpose()?;
        let (said, labels) = (description(key.description)?, labels(key.labels)?);
        let update = KeyUpdate {
            display_name: renamed
                .then(|| parse::display_name("key.display_name", key.display_name, &"key"))
                .transpose()?,
            description: described.then_some(said),
            labels: labelled.then_some(labels),
            project: moved.then_some(project),
            expires: timed.then_some(expires),
            allowlist: listed.then(|| key.allowlist.unwrap_or_default().try_into()).transpose()?,
        };
        Ok(Self {
            name,
            owner: owner
                .map_err(|_: FieldError| invalid("key.owner", "must be the name of a user or service account"))?,
            version: parse::version(&key.etag),
            update,
        })
    }
}

impl TryFrom<pb::DeleteKeyRequest> for DeleteKey {
    type Error = FieldError;

    fn try_from(request: pb::DeleteKeyRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::RotateKeyRequest> for RotateKey {
    type Error = FieldError;

    fn try_from(request: pb::RotateKeyRequest) -> Result<Self, FieldError> {
        let overlap = match &request.overlap {
            Some(span) => parse::duration("overlap", span)?,
            None => USUAL_OVERLAP,
        };
        if overlap > LONGEST_OVERLAP {
            return Err(invalid("overlap", format!("must be at most {} s", LONGEST_OVERLAP.as_secs())));
        }
        // To the microsecond, as times are kept.
        let overlap = Duration::from_micros(u64::try_from(overlap.as_micros()).unwrap_or(u64::MAX));
        let (name, version) = (parse::required("name", &request.name)?, parse::version(&request.etag));
        Ok(Self { name, overlap, replace: request.replace, version })
    }
}

impl TryFrom<pb::RetireKeySecretRequest> for RetireKeySecret {
    type Error = FieldError;

    fn try_from(request: pb::RetireKeySecretRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::BulkRevokeKeysRequest> for BulkRevokeKeys {
    type Error = FieldError;

    fn try_from(request: pb::BulkRevokeKeysRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        if request.filter.trim().is_empty() {
            return Err(invalid("filter", "is required; for every key: state != REVOKED"));
        }
        let page = Page { after: String::new(), limit: MAX_AT_ONCE };
        let listing = parse::listing(page, &request.filter, "", false, FIELDS)?;
        Ok(Self { parent, listing, reason: parse::bounded("reason", request.reason, MAX_REASON)? })
    }
}

impl From<KeyDeleted> for pb::DeleteKeyResponse {
    fn from(KeyDeleted(revision): KeyDeleted) -> Self {
        Self { revision }
    }
}

impl From<KeyCreated> for pb::RotateKeyResponse {
    fn from(rotated: KeyCreated) -> Self {
        let pb::CreateKeyResponse { key, secret, revision } = rotated.into();
        Self { key, secret, revision }
    }
}

impl From<KeysRevoked> for pb::BulkRevokeKeysResponse {
    fn from(revoked: KeysRevoked) -> Self {
        Self {
            revoked_count: i64::try_from(revoked.names.len()).unwrap_or(i64::MAX),
            names: revoked.names.iter().map(ToString::to_string).collect(),
            left_count: revoked.left,
            revision: revoked.revision,
        }
    }
}

intended!(UpdateKeyRequest, DeleteKeyRequest, RotateKeyRequest, RetireKeySecretRequest, BulkRevokeKeysRequest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_letters_and_digits_and_signs_only_between_them() {
        let read = |key: &str, value: &str| labels(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        let long = "x".repeat(63);
        for (key, value) in [("team", "core"), ("a.b/c".split('/').next().unwrap_or_default(), ""), (&long, &long)] {
            assert!(read(key, value).is_ok(), "{key} {value}");
        }
        let longer = "x".repeat(64);
        for (key, value) in
            [("", "v"), ("-a", "v"), ("a-", "v"), ("a b", "v"), ("a", "é"), ("a", "v_"), (&longer, ""), ("a", &longer)]
        {
            assert_eq!(read(key, value).map_err(|error| error.field), Err("key.labels".to_owned()), "{key} {value}");
        }
        let many = |count: usize| labels((0..count).map(|n| (format!("k{n}"), String::new())).collect());
        assert!(many(MAX_LABELS).is_ok() && many(MAX_LABELS + 1).is_err());
    }

    #[test]
    fn an_overlap_is_a_day_unless_it_is_said_and_a_week_at_most() {
        let name = "tenants/acme/workspaces/prod/keys/key_00000000000000000000000000".to_owned();
        let overlap = |seconds: Option<i64>| {
            let overlap = seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
            let request = pb::RotateKeyRequest { name: name.clone(), overlap, ..pb::RotateKeyRequest::default() };
            RotateKey::try_from(request).map(|asked| asked.overlap.as_secs()).map_err(|error| error.field)
        };
        assert_eq!((overlap(None), overlap(Some(0)), overlap(Some(604_800))), (Ok(86_400), Ok(0), Ok(604_800)));
        assert_eq!((overlap(Some(604_801)), overlap(Some(-1))), (Err("overlap".into()), Err("overlap".into())));
    }
}
