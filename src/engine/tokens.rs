//! Bearer tokens of callers: JWTs signed with Ed25519 (RFC 7519, RFC 8037), made and checked here.
//!
//! A signature check costs more than a whole decision, so a good token is remembered until it ends. Whether its bearer
//! may still act is asked of the state on every call, and so is whether what the token rests on has ended: suspending
//! somebody needs no list of tokens.

use std::time::Duration;

use hashbrown::HashMap;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::{bindings::Principal, time::Timestamp, tokens::Basis};

const ISSUER: &str = "tollreeve";
const AUDIENCE: &str = "tollreeve";
/// RFC 9068 section 2.1.
const TYPE: &str = "at+jwt";
/// Longest token that is looked at; RFC 8725 asks for a limit before parsing.
const MAX_TOKEN: usize = 8192;
/// Most tokens that are remembered.
const REMEMBERED: usize = 65_536;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// What it rests on, where that can end before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

/// Whose a good token is, and what it rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Whose.
    pub principal: Principal,
    /// What it rests on; the bearer may act only while that has not ended.
    pub basis: Option<Basis>,
}

impl From<Principal> for Verified {
    /// Somebody who acts by nothing that could end before they do.
    fn from(principal: Principal) -> Self {
        Self { principal, basis: None }
    }
}

/// Signs and checks bearer tokens.
pub struct TokenKeys {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    remembered: Mutex<HashMap<Box<str>, (Verified, i64)>>,
}

/// A key file is not an Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("the token key cannot be used: {0}")]
pub struct TokenKeyError(#[from] jsonwebtoken::errors::Error);

impl TokenKeys {
    /// From an Ed25519 key: PKCS#8 of the private one and the 32 bytes of the public one.
    ///
    /// # Errors
    /// [`TokenKeyError`] when the two do not make a pair.
    pub fn new(pkcs8: &[u8], public: &[u8]) -> Result<Self, TokenKeyError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub", "nbf"]);
        // Time is checked here against the caller's clock reading, never against another clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let keys = Self {
            signing: EncodingKey::from_ed_der(pkcs8),
            verifying: DecodingKey::from_ed_der(public),
            validation,
            remembered: Mutex::default(),
        };
        let nobody = Principal::User(crate::domain::id::UserId::from_bits(0));
        let (probe, _) = keys.issue(nobody, None, Timestamp::default(), Duration::from_mins(1))?;
        keys.check(&probe).map(|_| keys)
    }

    /// Makes a token for somebody, which may rest on something; gives it and when it ends.
    ///
    /// # Errors
    /// When signing fails.
    pub fn issue(
        &self,
        principal: Principal,
        basis: Option<Basis>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<(String, Timestamp), TokenKeyError> {
        let sub = match principal {
            Principal::User(id) => id.to_string(),
            Principal::ServiceAccount(id) => id.to_string(),
        };
        let seconds = now.micros().div_euclid(1_000_000);
        let exp = seconds.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let sid = basis.map(|basis| basis.to_string());
        let claims = Claims { iss: ISSUER.into(), aud: AUDIENCE.into(), sub, iat: seconds, nbf: seconds, exp, sid };
        let header = Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing)?;
        Ok((token, Timestamp::from_micros(exp.saturating_mul(1_000_000))))
    }

    /// Whose token it is and what it rests on, if it is good at `now`. Whether that has ended is still to be asked.
    #[must_use]
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let seconds = now.micros().div_euclid(1_000_000);
        if let Some((verified, exp)) = self.remembered.lock().get(token) {
            return (seconds < *exp).then_some(*verified);
        }
        if token.len() > MAX_TOKEN {
            return None;
        }
        let claims = self.check(token).ok()?;
        let basis = claims.sid.as_deref().map(str::parse).transpose().ok()?;
        let verified = Verified { principal: parse_subject(&claims.sub)?, basis };
        if !(claims.nbf..claims.exp).contains(&seconds) {
            return None;
        }
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, exp)| seconds < *exp);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(token.into(), (verified, claims.exp));
        Some(verified)
    }

    fn check(&self, token: &str) -> Result<Claims, TokenKeyError> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation)?;
        if data.header.typ.as_deref() != Some(TYPE) {
            return Err(jsonwebtoken::errors::ErrorKind::InvalidToken)
                .map_err(|kind| TokenKeyError(jsonwebtoken::errors::Error::from(kind)));
        }
        Ok(data.claims)
    }
}

fn parse_subject(sub: &str) -> Option<Principal> {
    match sub.split_once('_')?.0 {
        "user" => sub.parse().ok().map(Principal::User),
        "sa" => sub.parse().ok().map(Principal::ServiceAccount),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::domain::id::ServiceAccountId;

    fn keys() -> TokenKeys {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let pkcs8 = pair.to_pkcs8v1().expect("encodes");
        TokenKeys::new(pkcs8.as_ref(), pair.public_key().as_ref()).expect("a pair")
    }

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_token_is_good_until_it_ends_and_only_under_its_own_key() {
        let keys = keys();
        let edge = Principal::ServiceAccount(ServiceAccountId::from_bits(5));
        let (token, ends) = keys.issue(edge, None, NOW, Duration::from_mins(1)).expect("signs");
        for _ in 0..2 {
            assert_eq!(keys.verify(&token, NOW), Some(edge.into()), "the second time from memory");
            assert_eq!(keys.verify(&token, ends), None);
        }
        assert_eq!(super::tests::keys().verify(&token, NOW), None);
        assert_eq!(keys.verify(&token[..token.len() - 1], NOW), None);
    }

    #[test]
    fn a_token_says_what_it_rests_on() {
        let keys = keys();
        let edge = Principal::ServiceAccount(ServiceAccountId::from_bits(5));
        let basis = Some(Basis::PublicKey(crate::domain::id::PublicKeyId::from_bits(9)));
        let (token, _) = keys.issue(edge, basis, NOW, Duration::from_mins(1)).expect("signs");
        for _ in 0..2 {
            assert_eq!(
                keys.verify(&token, NOW),
                Some(Verified { principal: edge, basis }),
                "the second time from memory"
            );
        }
    }

    #[test]
    fn a_token_without_a_signature_or_of_another_type_is_refused() {
        let keys = keys();
        let edge = Principal::ServiceAccount(ServiceAccountId::from_bits(5));
        let (token, _) = keys.issue(edge, None, NOW, Duration::from_mins(1)).expect("signs");
        let body = token.split('.').nth(1).expect("three parts");
        // {"alg":"none","typ":"at+jwt"}
        assert_eq!(keys.verify(&format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}."), NOW), None);
        assert_eq!(keys.verify("", NOW), None);
        assert_eq!(keys.verify(&"a".repeat(9000), NOW), None);
    }
}
