//! Bearer tokens of callers: JWTs signed with Ed25519 (RFC 7519, RFC 8037), made and checked here.
//!
//! A signature check costs more than a whole decision, so a good token is remembered until it ends. Whether its bearer
//! may still act is asked of the state on every call, and so is whether what the token rests on has ended: suspending
//! somebody needs no list of tokens.

use std::time::Duration;

use hashbrown::HashMap;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::apply::ApplyError;
use crate::domain::{bindings::Principal, change::Change, signing_keys::SigningKey, time::Timestamp, tokens::Basis};

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

/// How long a key has to be there before tokens are signed with it, while there is another: every server that may answer
/// knows it by then.
const SETTLED: Duration = Duration::from_secs(5);

/// Signs and checks bearer tokens, with keys that follow each other.
pub struct TokenKeys {
    ring: RwLock<Vec<Known>>,
    validation: Validation,
    remembered: Mutex<HashMap<Box<str>, (Verified, i64)>>,
}

/// A key of the ring; the oldest is the first.
struct Known {
    key: SigningKey,
    verifying: DecodingKey,
    /// The private key, where this server has it.
    signing: Option<EncodingKey>,
}

/// A token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// A key file is not the key that it should be.
    #[error("the token key cannot be used: {0}")]
    Unusable(#[from] jsonwebtoken::errors::Error),
    /// Every private key that this server has is of a key that has retired.
    #[error("this server has no private key that tokens may be signed with")]
    None,
}

impl Default for TokenKeys {
    /// Without a key: nothing can be signed, and nothing is taken.
    fn default() -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub", "nbf"]);
        // Time is checked here against the caller's clock reading, never against another clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { ring: RwLock::default(), validation, remembered: Mutex::default() }
    }
}

impl TokenKeys {
    /// Takes in what changes tell of keys.
    ///
    /// # Errors
    /// [`ApplyError`] for a key that is none.
    pub fn take_in(&self, changes: &[Change]) -> Result<(), ApplyError> {
        for change in changes {
            if let Change::SigningKey(key) = change {
                self.put(key.clone())?;
            }
        }
        Ok(())
    }

    /// Takes in a key, or when it retires. From then on its tokens are checked so, those that are remembered as well.
    ///
    /// # Errors
    /// [`ApplyError`] when it is not of Ed25519.
    pub fn put(&self, key: SigningKey) -> Result<(), ApplyError> {
        if key.public_key.bytes().len() != 32 {
            return Err(ApplyError(format!("kind of signing key {}", key.kid)));
        }
        let mut ring = self.ring.write();
        if let Some(known) = ring.iter_mut().find(|known| known.key.kid == key.kid) {
            known.key = key;
            // Nobody remembers one meanwhile: that is done with the ring in hand.
            self.remembered.lock().clear();
            return Ok(());
        }
        let verifying = DecodingKey::from_ed_der(key.public_key.bytes());
        ring.push(Known { key, verifying, signing: None });
        ring.sort_by(|a, b| (a.key.created, &a.key.kid).cmp(&(b.key.created, &b.key.kid)));
        Ok(())
    }

    /// Takes in the private half of a key, as PKCS#8.
    ///
    /// # Errors
    /// [`TokenKeyError`] when it is not of a known key of this name.
    pub fn equip(&self, kid: &str, pkcs8: &[u8]) -> Result<(), TokenKeyError> {
        let signing = EncodingKey::from_ed_der(pkcs8);
        let mut ring = self.ring.write();
        let known = ring.iter_mut().find(|known| known.key.kid == kid).ok_or(TokenKeyError::None)?;
        let nobody = Principal::User(crate::domain::id::UserId::from_bits(0));
        let probe = sign(&signing, kid, &claims(nobody, None, 0, 1))?;
        check(&probe, &known.verifying, &self.validation)?;
        known.signing = Some(signing);
        Ok(())
    }

    /// The keys that have not retired whose private halves are not here.
    #[must_use]
    pub fn unequipped(&self, now: Timestamp) -> Vec<SigningKey> {
        let ring = self.ring.read();
        let lacking = ring.iter().filter(|known| known.signing.is_none() && known.key.is_good(now));
        lacking.map(|known| known.key.clone()).collect()
    }

    /// The keys that have not retired, the oldest first.
    #[must_use]
    pub fn good(&self, now: Timestamp) -> Vec<SigningKey> {
        self.ring.read().iter().map(|known| &known.key).filter(|key| key.is_good(now)).cloned().collect()
    }

    /// Whether tokens can be made.
    #[must_use]
    pub fn can_sign(&self, now: Timestamp) -> bool {
        self.ring.read().iter().any(|known| known.signing.is_some() && known.key.is_good(now))
    }

    /// Makes a token for somebody, which may rest on something; gives it and when it ends. It ends no later than its key.
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
        let ring = self.ring.read();
        let able = || ring.iter().rev().filter(|known| known.signing.is_some() && known.key.is_good(now));
        let settled = able().find(|known| known.key.created.after(SETTLED) <= now);
        let known = settled.or_else(|| able().next()).ok_or(TokenKeyError::None)?;
        let signing = known.signing.as_ref().ok_or(TokenKeyError::None)?;
        let end = known.key.retires.map_or(i64::MAX, seconds);
        let exp = seconds(now).saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)).min(end);
        let token = sign(signing, &known.key.kid, &claims(principal, basis, seconds(now), exp))?;
        Ok((token, Timestamp::from_micros(exp.saturating_mul(1_000_000))))
    }

    /// Whose token it is and what it rests on, if it is good at `now`. Whether that has ended is still to be asked.
    #[must_use]
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let now = seconds(now);
        if let Some((verified, exp)) = self.remembered.lock().get(token) {
            return (now < *exp).then_some(*verified);
        }
        if token.len() > MAX_TOKEN {
            return None;
        }
        let kid = jsonwebtoken::decode_header(token).ok()?.kid;
        // To the end, so that no key retires before what it signed is remembered.
        let ring = self.ring.read();
        let known = match kid {
            Some(kid) => ring.iter().find(|known| known.key.kid == kid)?,
            // From before keys had names.
            None => ring.first()?,
        };
        let claims = check(token, &known.verifying, &self.validation).ok()?;
        let basis = claims.sid.as_deref().map(str::parse).transpose().ok()?;
        let verified = Verified { principal: parse_subject(&claims.sub)?, basis };
        let exp = claims.exp.min(known.key.retires.map_or(i64::MAX, seconds));
        if !(claims.nbf..exp).contains(&now) {
            return None;
        }
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, exp)| now < *exp);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(token.into(), (verified, exp));
        Some(verified)
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.micros().div_euclid(1_000_000)
}

fn claims(principal: Principal, basis: Option<Basis>, now: i64, exp: i64) -> Claims {
    let sub = match principal {
        Principal::User(id) => id.to_string(),
        Principal::ServiceAccount(id) => id.to_string(),
    };
    let sid = basis.map(|basis| basis.to_string());
    Claims { iss: ISSUER.into(), aud: AUDIENCE.into(), sub, iat: now, nbf: now, exp, sid }
}

fn sign(key: &EncodingKey, kid: &str, claims: &Claims) -> Result<String, TokenKeyError> {
    let (typ, kid) = (Some(TYPE.into()), Some(kid.to_owned()));
    Ok(jsonwebtoken::encode(&Header { typ, kid, ..Header::new(Algorithm::EdDSA) }, claims, key)?)
}

fn check(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, TokenKeyError> {
    let data = jsonwebtoken::decode::<Claims>(token, key, validation)?;
    if data.header.typ.as_deref() != Some(TYPE) {
        return Err(jsonwebtoken::errors::Error::from(jsonwebtoken::errors::ErrorKind::InvalidToken).into());
    }
    Ok(data.claims)
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

    /// Adds a key with its private half; gives its name.
    fn add(keys: &TokenKeys, created: Timestamp) -> SigningKey {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let key = SigningKey::new(pair.public_key().as_ref().try_into().expect("32 bytes"), created);
        keys.put(key.clone()).expect("a key");
        keys.equip(&key.kid, pair.to_pkcs8v1().expect("encodes").as_ref()).expect("its private half");
        key
    }

    fn keys() -> TokenKeys {
        let keys = TokenKeys::default();
        add(&keys, Timestamp::default());
        keys
    }

    fn kid(token: &str) -> Option<String> {
        jsonwebtoken::decode_header(token).expect("a header").kid
    }

    #[test]
    fn tokens_are_signed_with_the_newest_key_that_all_know_and_taken_while_theirs_has_not_retired() {
        let (keys, edge) = (keys(), Principal::ServiceAccount(ServiceAccountId::from_bits(5)));
        let issue = |now: Timestamp| keys.issue(edge, None, now, Duration::from_hours(1)).expect("signs").0;
        let first = keys.good(NOW).remove(0);
        let old = issue(NOW);
        let second = add(&keys, NOW);
        assert_eq!(kid(&issue(NOW)).as_ref(), Some(&first.kid));
        let later = NOW.after(SETTLED);
        let new = issue(later);
        assert_eq!(kid(&new).as_ref(), Some(&second.kid));
        assert!([&old, &new].iter().all(|token| keys.verify(token, later) == Some(edge.into())));
        let retires = later.after(Duration::from_secs(7));
        keys.put(SigningKey { retires: Some(retires), ..first }).expect("retires");
        assert_eq!(keys.verify(&old, retires.before(Duration::from_secs(1))), Some(edge.into()));
        assert_eq!((keys.verify(&old, retires), keys.verify(&new, retires)), (None, Some(edge.into())));
        assert_eq!(keys.good(retires).len(), 1);
        // At once, and from memory.
        keys.put(SigningKey { retires: Some(later), ..second }).expect("retires");
        assert_eq!(keys.verify(&new, later), None);
        assert!(matches!(keys.issue(edge, None, retires, SETTLED), Err(TokenKeyError::None)));
    }

    #[test]
    fn a_token_ends_with_the_key_it_is_signed_with_and_a_private_key_is_of_its_name() {
        let (keys, edge) = (keys(), Principal::ServiceAccount(ServiceAccountId::from_bits(5)));
        let first = keys.good(NOW).remove(0);
        let retires = Some(NOW.after(Duration::from_secs(9)));
        keys.put(SigningKey { retires, ..first.clone() }).expect("retires");
        let (_, ends) = keys.issue(edge, None, NOW, Duration::from_hours(1)).expect("signs");
        assert_eq!(Some(ends), retires);
        let stranger = Ed25519KeyPair::generate().expect("a key").to_pkcs8v1().expect("encodes");
        assert!(keys.equip(&first.kid, stranger.as_ref()).is_err());
        assert!(keys.equip("nobody", stranger.as_ref()).is_err());
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
        assert_eq!(self::keys().verify(&token, NOW), None);
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
