//! What messages of public keys of service accounts mean.

use super::parse::{self, FieldError};
use crate::{
    app::{
        Changed,
        service_account_keys::{
            AddServiceAccountKey, DeleteServiceAccountKey, KeyDeleted, KeysListed, ListServiceAccountKeys, NamedKey,
        },
    },
    domain::public_keys::PublicKey,
    pb::tollreeve::v1 as pb,
};

impl From<NamedKey> for pb::ServiceAccountKey {
    fn from(named: NamedKey) -> Self {
        let NamedKey { name, key } = named;
        Self {
            name: name.to_string(),
            display_name: key.display_name,
            algorithm: key.public_key.algorithm().as_str().to_owned(),
            public_key_pem: key.public_key.to_string(),
            expire_time: key.expires.map(parse::to_wire),
            create_time: Some(parse::to_wire(key.created)),
        }
    }
}

impl TryFrom<pb::AddServiceAccountKeyRequest> for AddServiceAccountKey {
    type Error = FieldError;

    fn try_from(request: pb::AddServiceAccountKeyRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let key = parse::present("service_account_key", request.service_account_key)?;
        let public_key: PublicKey = parse::required("service_account_key.public_key_pem", &key.public_key_pem)?;
        let kind = public_key.algorithm().as_str();
        let expires = key.expire_time.map(|time| parse::timestamp("service_account_key.expire_time", &time));
        Ok(Self {
            parent,
            display_name: parse::display_name("service_account_key.display_name", key.display_name, &kind)?,
            public_key,
            expires: expires.transpose()?,
        })
    }
}

impl TryFrom<pb::ListServiceAccountKeysRequest> for ListServiceAccountKeys {
    type Error = FieldError;

    fn try_from(request: pb::ListServiceAccountKeysRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

impl From<Changed<NamedKey>> for pb::AddServiceAccountKeyResponse {
    fn from(changed: Changed<NamedKey>) -> Self {
        Self { service_account_key: Some(changed.record.into()), revision: changed.revision }
    }
}

impl From<KeysListed> for pb::ListServiceAccountKeysResponse {
    fn from(listed: KeysListed) -> Self {
        Self { service_account_keys: listed.0.into_iter().map(Into::into).collect() }
    }
}

impl From<KeyDeleted> for pb::DeleteServiceAccountKeyResponse {
    fn from(deleted: KeyDeleted) -> Self {
        Self { revision: deleted.0 }
    }
}

asks_by_name! {
    DeleteServiceAccountKeyRequest => DeleteServiceAccountKey;
}

intended!(AddServiceAccountKeyRequest, DeleteServiceAccountKeyRequest);
