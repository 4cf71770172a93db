//! What a program signs to show who it is: a JWT of its own (RFC 7523), by the rules of RFC 8725 and narrower ones.
//!
//! Which key a signature is checked with is said by what is registered, never by the assertion: it names a key, and brings
//! none.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

use super::{id::PublicKeyId, names::ServiceAccountName, public_keys::PublicKey, time::Timestamp};

/// Whom an assertion must be for.
pub const AUDIENCE: &str = "tollreeve";
/// Longest assertion that is looked at, in bytes.
const MAX_ASSERTION: usize = 8192;
/// Longest life of one, in seconds.
const MAX_LIFE: i64 = 300;
/// How far the clocks may differ, in seconds.
const SKEW: i64 = 30;
/// Longest name of one, in bytes.
const MAX_JTI: usize = 128;

/// Whatever else a header says changes what the rest means, or brings a key: it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: PublicKeyId,
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
    jti: String,
}

/// An assertion that is well formed; who signed it is still to be looked at.
#[derive(Debug)]
pub struct Assertion {
    /// Who it says that it is of.
    pub account: ServiceAccountName,
    /// The key that it says it is signed with.
    pub key: PublicKeyId,
    /// Its name, which no other has of the same key: visible ASCII characters.
    pub jti: String,
    alg: String,
    issued: i64,
    not_before: i64,
    expires: i64,
    signed: String,
    signature: Vec<u8>,
}

impl Assertion {
    /// Reads one; `None` when it is not well formed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_ASSERTION {
            return None;
        }
        let mut parts = text.split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let Header { alg, kid: key, typ } = object(header)?;
        if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return None;
        }
        let Claims { iss, sub, aud, iat, nbf, exp, jti } = object(claims)?;
        let named = (1..=MAX_JTI).contains(&jti.len()) && jti.bytes().all(|byte| byte.is_ascii_graphic());
        if iss != sub || aud != AUDIENCE || !named {
            return None;
        }
        Some(Self {
            account: iss.parse().ok()?,
            key,
            jti,
            alg,
            issued: iat,
            not_before: nbf.unwrap_or(iat),
            expires: exp,
            signed: format!("{header}.{claims}"),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether it is good at a moment, by its own word.
    #[must_use]
    pub fn is_current(&self, now: Timestamp) -> bool {
        let now = now.micros().div_euclid(1_000_000);
        let life = self.expires.checked_sub(self.issued);
        life.is_some_and(|life| (1..=MAX_LIFE).contains(&life))
            && self.issued <= now.saturating_add(SKEW)
            && self.not_before <= now.saturating_add(SKEW)
            && now < self.expires.saturating_add(SKEW)
    }

    /// Whether it is signed with this key, in the way that the key is for.
    #[must_use]
    pub fn is_signed_with(&self, key: &PublicKey) -> bool {
        self.alg == key.algorithm().as_str() && key.verifies(self.signed.as_bytes(), &self.signature)
    }

    /// From when on it is refused for its age.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        let end = Timestamp::from_micros(self.expires.saturating_mul(1_000_000));
        end.after(Duration::from_secs(SKEW.unsigned_abs()))
    }
}

/// An object in Base64: a list with its values would be read as one too, so it is refused. What stands twice is refused.
fn object<T: DeserializeOwned>(text: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    if json.first() == Some(&b'{') { serde_json::from_slice(&json).ok() } else { None }
}
