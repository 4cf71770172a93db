//! ID tokens of identity providers: whether one is good, and whom it speaks of (`OpenID` Connect Core 1.0, section 3.1.3.7;
//! RFC 8725).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::{Deserialize, Deserializer, de};

use crate::domain::{identity_providers::Issuer, time::Timestamp};

/// Longest token that is looked at.
pub const MAX_TOKEN: usize = 8192;
/// What is taken: signatures by keys that only the issuer has. Never a secret that others know, never none.
const ALGORITHMS: [(Algorithm, KeyAlgorithm); 4] = [
    (Algorithm::RS256, KeyAlgorithm::RS256),
    (Algorithm::PS256, KeyAlgorithm::PS256),
    (Algorithm::ES256, KeyAlgorithm::ES256),
    (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
];
/// What the clocks of issuers may be apart from ours, in seconds.
const SKEW: i64 = 30;
/// How old a token may be, in seconds, whatever it says of itself: somebody has just signed in.
const AGE: i64 = 600;

/// The public keys of an issuer.
pub struct IssuerKeys(JwkSet);

impl IssuerKeys {
    /// Reads a JWK set (RFC 7517). Keys of kinds that are not known are left out.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().map(Self)
    }

    /// The key that a token says that it is signed with; the only one, for a token that does not say.
    fn find(&self, header: &Header) -> Option<&Jwk> {
        match (&header.kid, self.0.keys.as_slice()) {
            (Some(kid), _) => self.0.find(kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// Whom a token speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdClaims {
    /// Who it is to the issuer, for good.
    pub subject: String,
    /// Their address, if the issuer knows that it is theirs.
    pub email: Option<String>,
    /// What the front end has put into its question.
    pub nonce: Option<String>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is signed with a key that is not among those that are known: the issuer may have new ones.
    UnknownKey,
    /// Anything else.
    Bad,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "one_or_many")]
    aud: Vec<String>,
    #[serde(default)]
    azp: Option<String>,
    exp: i64,
    iat: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    email: Option<String>,
    /// Some issuers write it as a text.
    #[serde(default)]
    email_verified: serde_json::Value,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(one) => Ok(vec![one]),
        many => serde_json::from_value(many).map_err(de::Error::custom),
    }
}

/// What a token says, whatever that is, if it is signed with one of these keys, in the way and for the use that the key is for.
///
/// # Errors
/// [`Refused`]; so for every function of this module.
pub fn signed(token: &str, keys: &IssuerKeys) -> Result<Vec<u8>, Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::Bad);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Bad)?;
    let brings_keys = header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some();
    let (_, named) = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == header.alg).ok_or(Refused::Bad)?;
    if brings_keys || header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Refused::Bad);
    }
    let key = keys.find(&header).ok_or(Refused::UnknownKey)?;
    let common = &key.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let for_this = common.key_algorithm.as_ref().is_none_or(|it| it == named);
    if !for_signatures || !for_this {
        return Err(Refused::Bad);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_| Refused::Bad)?;
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Bad)?;
    let (_, said) = message.rsplit_once('.').ok_or(Refused::Bad)?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, header.alg) {
        Ok(true) => URL_SAFE_NO_PAD.decode(said).map_err(|_| Refused::Bad),
        _ => Err(Refused::Bad),
    }
}

/// Whom a token speaks of, if it is good at `now` for those who are known to the issuer as `audience`.
pub fn verify(
    token: &str,
    keys: &IssuerKeys,
    issuer: &Issuer,
    audience: &str,
    now: Timestamp,
) -> Result<IdClaims, Refused> {
    let claims: Claims = serde_json::from_slice(&signed(token, keys)?).map_err(|_| Refused::Bad)?;
    let seconds = now.micros().div_euclid(1_000_000);
    let in_time = seconds < claims.exp.saturating_add(SKEW)
        && (seconds - AGE..=seconds + SKEW).contains(&claims.iat)
        && claims.nbf.is_none_or(|from| from <= seconds + SKEW);
    let for_us = claims.aud.iter().any(|aud| aud == audience)
        && (claims.aud.len() == 1 || claims.azp.is_some())
        && claims.azp.as_deref().is_none_or(|party| party == audience);
    if claims.iss != issuer.as_str() || !in_time || !for_us || !(1..=255).contains(&claims.sub.len()) {
        return Err(Refused::Bad);
    }
    let verified = claims.email_verified == true || claims.email_verified == "true";
    Ok(IdClaims { subject: claims.sub, email: claims.email.filter(|_| verified), nonce: claims.nonce })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_700_000_000;
    const ISSUER: &str = "https://accounts.example";

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new() -> Self {
            Self(Ed25519KeyPair::generate().expect("a key"))
        }

        fn jwk(&self, kid: &str) -> Value {
            let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x })
        }

        fn sign(&self, header: &Header, claims: &Value) -> String {
            let pkcs8 = self.0.to_pkcs8v1().expect("encodes");
            jsonwebtoken::encode(header, claims, &EncodingKey::from_ed_der(pkcs8.as_ref())).expect("signs")
        }
    }

    fn header(kid: &str) -> Header {
        Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) }
    }

    fn claims() -> Value {
        json!({ "iss": ISSUER, "sub": "248289761001", "aud": "front-end", "exp": NOW + 300, "iat": NOW - 5,
            "email": "mia@acme.example", "email_verified": true, "nonce": "n-0S6" })
    }

    fn keys(keys: &[Value]) -> IssuerKeys {
        IssuerKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
    }

    fn check(token: &str, keys: &IssuerKeys) -> Result<IdClaims, Refused> {
        verify(token, keys, &ISSUER.parse().expect("good"), "front-end", Timestamp::from_micros(NOW * 1_000_000))
    }

    #[test]
    fn a_good_token_tells_whom_it_speaks_of() {
        let signer = Signer::new();
        let known = keys(&[Signer::new().jwk("old"), signer.jwk("new")]);
        let expected = IdClaims {
            subject: "248289761001".into(),
            email: Some("mia@acme.example".into()),
            nonce: Some("n-0S6".into()),
        };
        assert_eq!(check(&signer.sign(&header("new"), &claims()), &known), Ok(expected));
        let with = |field: &str, value: Value| {
            let mut claims = claims();
            claims[field] = value;
            check(&signer.sign(&header("new"), &claims), &known)
        };
        assert_eq!(with("email_verified", json!("true")).map(|claims| claims.email.is_some()), Ok(true));
        for unproven in [json!(false), json!("false"), json!(1), Value::Null] {
            assert_eq!(with("email_verified", unproven).map(|claims| claims.email), Ok(None));
        }
        let mut both = claims();
        (both["aud"], both["azp"]) = (json!(["front-end", "other"]), json!("front-end"));
        assert!(check(&signer.sign(&header("new"), &both), &known).is_ok());
        let only = keys(&[signer.jwk("new")]);
        assert!(check(&signer.sign(&Header::new(Algorithm::EdDSA), &claims()), &only).is_ok(), "the only key there is");
    }

    #[test]
    fn whatever_is_wrong_with_a_token_it_is_refused() {
        let signer = Signer::new();
        let known = keys(&[signer.jwk("new"), Signer::new().jwk("other")]);
        let changes = [
            ("iss", json!("https://accounts.example/")),
            ("iss", json!(["https://accounts.example"])),
            ("sub", json!("")),
            ("sub", json!("x".repeat(256))),
            ("sub", json!(7)),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("aud", json!(["front-end", "other"])),
            ("azp", json!("other")),
            ("exp", json!(NOW - 30)),
            ("exp", json!("soon")),
            ("iat", json!(NOW - 601)),
            ("iat", json!(NOW + 31)),
            ("nbf", json!(NOW + 31)),
        ];
        for (field, value) in changes {
            let mut claims = claims();
            claims[field] = value.clone();
            assert_eq!(check(&signer.sign(&header("new"), &claims), &known), Err(Refused::Bad), "{field} {value}");
        }
        for missing in ["iss", "sub", "aud", "exp", "iat"] {
            let mut claims = claims();
            claims.as_object_mut().expect("an object").remove(missing);
            assert_eq!(check(&signer.sign(&header("new"), &claims), &known), Err(Refused::Bad), "no {missing}");
        }
        let good = signer.sign(&header("new"), &claims());
        let parts: Vec<&str> = good.split('.').collect();
        let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let twice = URL_SAFE_NO_PAD.encode(claims().to_string().replacen('{', "{\"sub\":\"somebody\",", 1));
        let forged = [
            String::new(),
            good[..good.len() - 1].to_owned(),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", encode(json!({ "alg": "none" })), parts[1], ""),
            format!("{}.{}.{}", encode(json!({ "alg": "HS256", "kid": "new" })), parts[1], parts[2]),
            format!("{}.{}.{}", encode(json!({ "alg": "RS256", "kid": "new" })), parts[1], parts[2]),
            format!("{}.{}.{}", parts[0], twice, parts[2]),
            format!("{good}.{}", parts[2]),
            "x".repeat(MAX_TOKEN + 1),
            signer.sign(&header("other"), &claims()),
            signer.sign(&Header { jku: Some("https://evil.example".into()), ..header("new") }, &claims()),
            signer.sign(&Header { x5u: Some("https://evil.example".into()), ..header("new") }, &claims()),
            signer.sign(&Header { x5c: Some(vec!["MIIB".into()]), ..header("new") }, &claims()),
            signer.sign(&Header { crit: Some(vec!["b64".into()]), ..header("new") }, &claims()),
        ];
        for token in forged {
            assert_eq!(check(&token, &known), Err(Refused::Bad), "{token}");
        }
        assert_eq!(check(&signer.sign(&header("newer"), &claims()), &known), Err(Refused::UnknownKey));
        let unnamed = signer.sign(&Header::new(Algorithm::EdDSA), &claims());
        assert_eq!(check(&unnamed, &known), Err(Refused::UnknownKey), "one of several");
        // RFC 8725, section 3.1: a public key is no secret.
        let secret = EncodingKey::from_secret(signer.0.public_key().as_ref());
        let header = Header { kid: Some("new".into()), ..Header::new(Algorithm::HS256) };
        let confused = jsonwebtoken::encode(&header, &claims(), &secret).expect("signs");
        assert_eq!(check(&confused, &known), Err(Refused::Bad));
    }

    #[test]
    fn keys_that_are_not_for_this_or_no_secret_of_the_issuers_check_nothing() {
        let signer = Signer::new();
        let good = signer.sign(&header("new"), &claims());
        assert!(check(&good, &keys(&[signer.jwk("new")])).is_ok());
        let mut for_encryption = signer.jwk("new");
        for_encryption["use"] = json!("enc");
        let mut for_another = signer.jwk("new");
        for_another["alg"] = json!("RS256");
        let mut to_wrap = signer.jwk("new");
        to_wrap["key_ops"] = json!(["wrapKey", "encrypt"]);
        let everybodys = json!({ "kty": "oct", "kid": "new", "k": "c2VjcmV0" });
        for key in [for_encryption, for_another, to_wrap, everybodys] {
            assert_eq!(check(&good, &keys(&[key])), Err(Refused::Bad));
        }
    }
}
