//! SPIFFE ids: what the certificate of a program says that it is (SPIFFE-ID, sections 2.1 to 2.4).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::names::NameError;

/// Longest id, in bytes.
const MAX_ID: usize = 2048;
/// Longest trust domain, in bytes.
const MAX_DOMAIN: usize = 255;

/// A trust domain, `prod.example`: whoever signs for it says what its programs are.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct TrustDomain(String);

/// `spiffe://prod.example/ns/edge/sidecar`: a trust domain and a path in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is of this trust domain, letter by letter.
    #[must_use]
    pub fn is_of(&self, domain: &TrustDomain) -> bool {
        parts(&self.0).is_some_and(|(mine, _)| mine == domain.0)
    }
}

fn parts(id: &str) -> Option<(&str, &str)> {
    id.strip_prefix("spiffe://")?.split_once('/')
}

fn is_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=MAX_DOMAIN).contains(&text.len()) && text.bytes().all(plain)
}

fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !["", ".", ".."].contains(&text) && text.bytes().all(plain)
}

impl FromStr for TrustDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_domain(text) { Ok(Self(text.to_owned())) } else { Err(NameError("prod.example")) }
    }
}

impl FromStr for SpiffeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() <= MAX_ID
            && parts(text).is_some_and(|(domain, path)| is_domain(domain) && path.split('/').all(is_segment));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError("spiffe://prod.example/edge")) }
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_trust_domain_and_a_path_and_nothing_else() {
        for good in ["spiffe://prod.example/edge", "spiffe://a-b_c.9/ns/Edge/sa/side.car_1-2"] {
            assert_eq!(good.parse::<SpiffeId>().map(String::from).as_deref(), Ok(good));
        }
        let bad = [
            "",
            "spiffe://",
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe:///edge",
            "SPIFFE://prod.example/edge",
            "https://prod.example/edge",
            "spiffe://Prod.example/edge",
            "spiffe://prod.example:443/edge",
            "spiffe://user@prod.example/edge",
            "spiffe://prod.example/edge/",
            "spiffe://prod.example//edge",
            "spiffe://prod.example/./edge",
            "spiffe://prod.example/a/../edge",
            "spiffe://prod.example/edge?x=1",
            "spiffe://prod.example/edge#x",
            "spiffe://prod.example/%65dge",
            "spiffe://prod.example/\u{e9}",
            "spiffe://prod.example/edge\0",
        ];
        for bad in bad {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
        assert!(format!("spiffe://prod.example/{}", "x".repeat(2048)).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn a_trust_domain_is_compared_as_a_whole() {
        let id: SpiffeId = "spiffe://prod.example/edge".parse().expect("an id");
        let is_of = |domain: &str| id.is_of(&domain.parse().expect("a domain"));
        assert!(is_of("prod.example"));
        for other in ["prod.exampl", "example", "xprod.example", "prod.example.com", "prod-example"] {
            assert!(!is_of(other), "{other}");
        }
    }
}
