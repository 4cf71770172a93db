//! The keys that Tollreeve signs bearer tokens with: the public halves, which everybody may know.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{public_keys::PublicKey, time::Timestamp};

/// A key that tokens are signed with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// What tokens call it: see [`kid_of`].
    pub kid: String,
    /// The key, of Ed25519.
    pub public_key: PublicKey,
    /// When it was made.
    pub created: Timestamp,
    /// From when on no token is taken that is signed with it.
    pub retires: Option<Timestamp>,
}

impl SigningKey {
    /// A key that does not retire.
    #[must_use]
    pub fn new(public_key: [u8; 32], created: Timestamp) -> Self {
        Self { kid: kid_of(&public_key), public_key: PublicKey::ed25519(public_key), created, retires: None }
    }

    /// Whether it has not retired.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.retires.is_none_or(|retires| now < retires)
    }

    /// The `x` of the key as a JWK (RFC 8037).
    #[must_use]
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public_key.bytes())
    }
}

/// The name of an Ed25519 key: its thumbprint as a JWK (RFC 7638, RFC 8037), so that whoever has the key knows it.
#[must_use]
pub fn kid_of(public_key: &[u8; 32]) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public_key));
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_called_by_its_thumbprint() {
        // RFC 8037, appendix A.3.
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("Base64");
        let x = <[u8; 32]>::try_from(x).expect("32 bytes");
        assert_eq!(kid_of(&x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let key = SigningKey::new(x, Timestamp::from_micros(7));
        assert_eq!(
            serde_json::from_str::<SigningKey>(&serde_json::to_string(&key).expect("JSON")).expect("a key"),
            key
        );
    }
}
