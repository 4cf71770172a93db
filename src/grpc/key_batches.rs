//! What messages of many keys at once mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::{
        key_batches::{BatchCreateKeys, KeysCreated},
        keys::CreateKey,
    },
    pb::tollreeve::v1 as pb,
};

/// Most keys that are made at once.
const MAX_AT_ONCE: usize = 1000;

impl TryFrom<pb::BatchCreateKeysRequest> for BatchCreateKeys {
    type Error = FieldError;

    fn try_from(request: pb::BatchCreateKeysRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        if !(1..=MAX_AT_ONCE).contains(&request.keys.len()) {
            return Err(invalid("keys", format!("must be 1 to {MAX_AT_ONCE}")));
        }
        let numbered = request.keys.into_iter().enumerate();
        let keys = numbered.map(|(place, key)| {
            let one = pb::CreateKeyRequest { parent: request.parent.clone(), key: Some(key), ..Default::default() };
            // As of one alone, but for which it is.
            CreateKey::try_from(one).map_err(|error| match error.field.strip_prefix("key.") {
                Some(field) => invalid(format!("keys[{place}].{field}"), error.why),
                None => error,
            })
        });
        Ok(Self { parent, keys: keys.collect::<Result<_, _>>()? })
    }
}

impl From<KeysCreated> for pb::BatchCreateKeysResponse {
    fn from(created: KeysCreated) -> Self {
        let keys = created.keys.into_iter().map(|(key, secret)| pb::CreatedKey {
            key: Some(key.into()),
            secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        });
        Self { keys: keys.collect(), revision: created.revision }
    }
}

intended!(BatchCreateKeysRequest);
