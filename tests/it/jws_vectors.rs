//! Signatures that others have collected, with what is wrong with those that are: what checks ID tokens, assertions and our
//! own tokens takes those that are good, and no other.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollreeve::{
    domain::{assertions::Assertion, public_keys::PublicKey, signing_keys::SigningKey, time::Timestamp},
    engine::{
        id_tokens::{IssuerKeys, signed},
        tokens::TokenKeys,
    },
};

use crate::harness::assertions::{ED25519_HEAD, P256_HEAD, part, pem};

const JWS: &str = include_str!("data/jws.txt");
const ED25519: &str = include_str!("data/ed25519.txt");
/// The order of the group of Ed25519, the lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const NOW: Timestamp = Timestamp::from_micros(1_773_145_200_000_000);

/// The lines of a file that say something, in their fields.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn keys(jwk: &Value) -> IssuerKeys {
    IssuerKeys::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set")
}

/// The key as programs register it, if it is of a kind that they may have.
fn registered(jwk: &Value) -> Option<PublicKey> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("Base64");
    let der = match jwk["crv"].as_str() {
        Some("P-256") => [P256_HEAD, &[4], &bytes("x"), &bytes("y")].concat(),
        Some("Ed25519") => [ED25519_HEAD, &bytes("x")].concat(),
        _ => return None,
    };
    Some(pem(&der).parse().expect("a key"))
}

/// Whether a text of three parts is signed with a key in the way that the key is for: as an assertion's is looked at.
fn is_signed(text: &str, key: &PublicKey) -> bool {
    let Some((message, signature)) = text.rsplit_once('.') else { return false };
    let header = message.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header: Value = header.and_then(|header| serde_json::from_slice(&header).ok()).unwrap_or_default();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    header["alg"] == key.algorithm().as_str() && key.verifies(message.as_bytes(), &signature)
}

#[test]
fn of_signatures_that_are_known_the_good_ones_are_taken_and_no_other() {
    let (mut jwk, mut counts) = (Value::Null, [0; 3]);
    let tokens = TokenKeys::default();
    for line in lines(JWS) {
        let [verdict, what, text] = line[..] else { panic!("{line:?}") };
        if verdict == "key" {
            jwk = serde_json::from_str(text).expect("a key");
            if let Some(key) = registered(&jwk).filter(|key| key.bytes().len() == 32) {
                tokens.put(SigningKey::new(key.bytes().try_into().expect("32 bytes"), NOW)).expect("a key");
            }
            continue;
        }
        let taken = signed(text, &keys(&jwk));
        let header = text.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
        let header: Value = header.and_then(|header| serde_json::from_slice(&header).ok()).unwrap_or_default();
        let ours = ["EdDSA", "ES256", "RS256"].iter().any(|alg| header["alg"] == *alg);
        let good = verdict == "good" && ours;
        assert_eq!(taken.is_ok(), good, "{what}: {text}");
        if let Ok(said) = taken {
            assert_eq!(Some(part(said).as_str()), text.split('.').nth(1), "{what}");
        }
        if let Some(key) = registered(&jwk) {
            // What an assertion's header may say, and for what a key is, is another matter.
            let only_its_use = what.contains("wrong") || what.contains("JWK within");
            assert!(is_signed(text, &key) == good || only_its_use, "{what}: {text}");
        }
        assert!(Assertion::parse(text).is_none(), "{what}: {text}");
        assert_eq!(tokens.verify(text, NOW), None, "{what}: {text}");
        counts[usize::from(good)] += 1;
        counts[2] += usize::from(verdict == "good" && !ours);
    }
    assert_eq!(counts, [100, 6, 10], "all of them");
}

#[test]
fn of_signatures_of_ed25519_the_good_ones_are_taken_and_no_other() {
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits")).collect()
    };
    let mut all = lines(ED25519);
    let point = bytes(all.next().expect("a key")[1]);
    let key = PublicKey::ed25519(point.clone().try_into().expect("32 bytes"));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": part(&point)});
    let mut counts = [0; 2];
    for line in all {
        let [verdict, what, message, signature] = line[..] else { panic!("{line:?}") };
        let signature = bytes(signature);
        assert_eq!(key.verifies(&bytes(message), &signature), verdict == "good", "{what}");
        // Under a message of ours it is worth nothing, whatever its halves are.
        let text = format!("{}.{}.{}", part(r#"{"alg":"EdDSA"}"#), part("{}"), part(&signature));
        assert!(signed(&text, &keys(&jwk)).is_err() && !is_signed(&text, &key), "{what}");
        counts[usize::from(verdict == "good")] += 1;
    }
    assert_eq!(counts, [44, 9], "all of them");
}

#[test]
fn whatever_is_wrong_with_a_token_of_ours_it_is_refused() {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let sign = |header: &Value, claims: &Value| {
        let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        format!("{message}.{}", part(pair.sign(message.as_bytes())))
    };
    let (tokens, seconds) = (TokenKeys::default(), NOW.micros() / 1_000_000);
    let key = SigningKey::new(pair.public_key().as_ref().try_into().expect("32 bytes"), NOW);
    tokens.put(key.clone()).expect("a key");
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid});
    let claims = json!({"iss": "tollreeve", "aud": "tollreeve", "sub": "user_00000000000000000000000001",
        "iat": seconds, "nbf": seconds, "exp": seconds + 60});
    let changed = |of: &Value, name: &str, value: Option<Value>| {
        let mut changed = of.clone();
        let fields = changed.as_object_mut().expect("an object");
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
        changed
    };
    for (name, value) in [
        ("aud", json!("front-end")),
        ("aud", json!(["tollreeve", "front-end"])),
        ("iss", json!("https://accounts.example")),
        ("sub", json!("team_00000000000000000000000001")),
        ("sub", json!("user_")),
        ("nbf", json!(seconds + 1)),
        ("exp", json!(seconds)),
        ("exp", json!("soon")),
        ("sid", json!("user_00000000000000000000000001")),
        ("sid", json!("")),
    ] {
        let token = sign(&header, &changed(&claims, name, Some(value.clone())));
        assert_eq!(tokens.verify(&token, NOW), None, "{name} {value}");
    }
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp"] {
        assert_eq!(tokens.verify(&sign(&header, &changed(&claims, name, None)), NOW), None, "no {name}");
    }
    for (name, value) in [
        ("typ", Some(json!("JWT"))),
        ("typ", Some(json!("at+JWT"))),
        ("typ", None),
        ("alg", Some(json!("HS256"))),
        ("alg", Some(json!("none"))),
        ("kid", Some(json!("another"))),
    ] {
        let token = sign(&changed(&header, name, value.clone()), &claims);
        assert_eq!(tokens.verify(&token, NOW), None, "{name} {value:?}");
    }
    assert!(tokens.verify(&sign(&header, &claims), NOW).is_some(), "a good one");
}

/// A signature whose second half is more by the order of the group: the same number, in another guise.
fn in_another_guise(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("Base64");
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
    format!("{message}.{}", part(signature))
}

#[test]
fn one_token_has_one_signature() {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let sign = |header: Value, claims: Value| {
        let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        format!("{message}.{}", part(pair.sign(message.as_bytes())))
    };
    let seconds = NOW.micros() / 1_000_000;
    let point = pair.public_key().as_ref();
    // Ours.
    let (tokens, key) = (TokenKeys::default(), SigningKey::new(point.try_into().expect("32 bytes"), NOW));
    tokens.put(key.clone()).expect("a key");
    let claims = json!({"iss": "tollreeve", "aud": "tollreeve", "sub": "user_00000000000000000000000001",
        "iat": seconds, "nbf": seconds, "exp": seconds + 60});
    let token = sign(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}), claims);
    assert_eq!(tokens.verify(&in_another_guise(&token), NOW), None);
    assert!(tokens.verify(&token, NOW).is_some(), "a good one");
    // An issuer's.
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": part(point)});
    let token = sign(json!({"alg": "EdDSA"}), json!({}));
    assert!(signed(&in_another_guise(&token), &keys(&jwk)).is_err() && signed(&token, &keys(&jwk)).is_ok());
    // A program's.
    let account = "tenants/acme/serviceAccounts/edge";
    let claims = json!({"iss": account, "sub": account, "aud": "tollreeve", "iat": seconds, "exp": seconds + 60,
        "jti": "once"});
    let token = sign(json!({"alg": "EdDSA", "kid": "pk_00000000000000000000000001"}), claims);
    let taken = |token: &str| Assertion::parse(token).is_some_and(|it| it.is_signed_with(&key.public_key));
    assert!(!taken(&in_another_guise(&token)) && taken(&token));
}
