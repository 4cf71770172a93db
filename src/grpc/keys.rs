//! `KeyService`, and what messages of keys mean.

use tonic::Request;

use super::{
    key_changes::{description, labels},
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        key_batches, key_changes, key_reviews, key_revocations, key_rotation,
        keys::{self, CreateKey, GetKey, KeyCreated, ListKeys, NamedKey, SetKeyState},
        leaks,
    },
    domain::{
        keys::KeyState,
        listing::{Field, Kind, WORDS},
    },
    pb::tollreeve::v1::{self as pb, key_service_server::KeyService, *},
};

/// What lists of keys can be asked by.
pub(super) const FIELDS: &[Field] = &[
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&["ACTIVE", "DISABLED", "REVOKED"]), sorts: false },
    Field { name: "owner", kind: Kind::Name, sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    Field { name: "expire_time", kind: Kind::Time, sorts: false },
    Field { name: "last_use_time", kind: Kind::Time, sorts: false },
    Field { name: "rotation_due_time", kind: Kind::Time, sorts: false },
    Field { name: "workspace", kind: Kind::Name, sorts: false },
    Field { name: "environment", kind: Kind::Text, sorts: false },
    WORDS,
];

/// Longest reason, in characters.
pub(super) const MAX_REASON: usize = 1024;

#[tonic::async_trait]
impl KeyService for Management {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Answer<CreateKeyResponse> {
        self.run_intended(request, keys::create).await
    }

    async fn batch_create_keys(&self, request: Request<BatchCreateKeysRequest>) -> Answer<BatchCreateKeysResponse> {
        self.run_intended(request, key_batches::create).await
    }

    async fn get_key(&self, request: Request<GetKeyRequest>) -> Answer<GetKeyResponse> {
        self.run(request, keys::get).await
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Answer<ListKeysResponse> {
        self.run(request, keys::list).await
    }

    async fn disable_key(&self, request: Request<DisableKeyRequest>) -> Answer<DisableKeyResponse> {
        self.run(request, keys::set_state).await
    }

    async fn enable_key(&self, request: Request<EnableKeyRequest>) -> Answer<EnableKeyResponse> {
        self.run(request, keys::set_state).await
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Answer<RevokeKeyResponse> {
        self.run(request, keys::set_state).await
    }

    async fn update_key(&self, request: Request<UpdateKeyRequest>) -> Answer<UpdateKeyResponse> {
        self.run_intended(request, key_changes::update).await
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Answer<DeleteKeyResponse> {
        self.run_intended(request, key_changes::delete).await
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Answer<RotateKeyResponse> {
        self.run_intended(request, key_rotation::rotate).await
    }

    async fn retire_key_secret(&self, request: Request<RetireKeySecretRequest>) -> Answer<RetireKeySecretResponse> {
        self.run_intended(request, key_rotation::retire_secret).await
    }

    async fn bulk_revoke_keys(&self, request: Request<BulkRevokeKeysRequest>) -> Answer<BulkRevokeKeysResponse> {
        self.run_intended(request, key_revocations::revoke).await
    }

    async fn review_keys(&self, request: Request<ReviewKeysRequest>) -> Answer<ReviewKeysResponse> {
        self.run(request, key_reviews::review).await
    }

    async fn retire_keys(&self, request: Request<RetireKeysRequest>) -> Answer<RetireKeysResponse> {
        self.run_intended(request, key_reviews::retire).await
    }

    async fn report_leaked_key(&self, request: Request<ReportLeakedKeyRequest>) -> Answer<ReportLeakedKeyResponse> {
        self.run_public(request, leaks::report).await
    }
}

impl From<KeyState> for pb::KeyState {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Active => Self::Active,
            KeyState::Disabled => Self::Disabled,
            KeyState::Revoked => Self::Revoked,
        }
    }
}

impl From<NamedKey> for pb::Key {
    fn from(named: NamedKey) -> Self {
        let key = named.key;
        Self {
            name: named.name.to_string(),
            display_name: key.display_name,
            owner: named.owner,
            project: named.project,
            hint: named.hint,
            state: pb::KeyState::from(key.state).into(),
            expire_time: key.expires.map(parse::to_wire),
            allowlist: (!key.allowlist.is_open()).then(|| key.allowlist.into()),
            create_time: Some(parse::to_wire(key.created)),
            etag: parse::etag(key.version),
            last_use_time: named.last_used.map(parse::to_wire),
            description: key.description,
            labels: key.labels,
            generation: key.secrets.generation.into(),
            retire_time: key.secrets.retiring.map(|old| parse::to_wire(old.ends)),
            rotate_time: key.secrets.rotated.map(parse::to_wire),
            month_requests: named.used.map(|used| used.requests),
            rotation_due_time: key.secrets.schedule.map(|schedule| parse::to_wire(schedule.due)),
            rotation_deadline_time: key.secrets.schedule.map(|schedule| parse::to_wire(schedule.deadline)),
        }
    }
}

impl TryFrom<CreateKeyRequest> for CreateKey {
    type Error = FieldError;

    fn try_from(request: CreateKeyRequest) -> Result<Self, FieldError> {
        let key = parse::present("key", request.key)?;
        let project = (!key.project.is_empty()).then(|| parse::required("key.project", &key.project));
        let owner: Result<_, FieldError> = parse::required("key.owner", &key.owner);
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("key.display_name", key.display_name, &"key")?,
            owner: owner.map_err(|_| invalid("key.owner", "must be the name of a user or service account"))?,
            project: project.transpose()?,
            expires: key.expire_time.map(|time| parse::timestamp("key.expire_time", &time)).transpose()?,
            allowlist: key.allowlist.unwrap_or_default().try_into()?,
            description: description(key.description)?,
            labels: labels(key.labels)?,
        })
    }
}

impl TryFrom<RevokeKeyRequest> for SetKeyState {
    type Error = FieldError;

    fn try_from(request: RevokeKeyRequest) -> Result<Self, FieldError> {
        Ok(Self {
            name: parse::required("name", &request.name)?,
            state: KeyState::Revoked,
            reason: parse::bounded("reason", request.reason, MAX_REASON)?,
        })
    }
}

impl From<KeyCreated> for CreateKeyResponse {
    fn from(created: KeyCreated) -> Self {
        Self {
            key: Some(created.record.into()),
            secret: created.secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
            revision: created.revision,
        }
    }
}

asks_by_name! {
    GetKeyRequest => GetKey;
    DisableKeyRequest => SetKeyState { state: KeyState::Disabled, reason: String::new() };
    EnableKeyRequest => SetKeyState { state: KeyState::Active, reason: String::new() };
}

intended!(CreateKeyRequest);

asks_for_listing! {
    ListKeysRequest => ListKeys by FIELDS;
}

answers_one! {
    NamedKey as key: read GetKeyResponse;
    changed DisableKeyResponse, EnableKeyResponse, RevokeKeyResponse, UpdateKeyResponse, RetireKeySecretResponse;
}

answers_page!(NamedKey as keys: ListKeysResponse);
