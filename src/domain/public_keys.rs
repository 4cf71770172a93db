//! Public keys that signatures are checked with: of Ed25519 (RFC 8032) and of ECDSA on P-256 with SHA-256 (RFC 7518).

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Longest PEM text that is looked at, in bytes.
const MAX_PEM: usize = 2048;
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// What comes before the 32 bytes of an Ed25519 key (RFC 8410).
const ED25519_HEAD: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What comes before the point of a P-256 key (RFC 5480), which is not compressed.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// First bytes of the Ed25519 points of small order but for the two of order 8, whose other bytes are all zero or one: with
/// such a key a signature is good that nobody made.
const SMALL_ORDER: [(u8, u8); 5] = [(0x00, 0x00), (0x01, 0x00), (0xec, 0xff), (0xed, 0xff), (0xee, 0xff)];
/// The Ed25519 points of order 8, without their signs.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// How signatures by a key are made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Its name in a JWT (RFC 7518, RFC 8037).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PublicKey {
    algorithm: Algorithm,
    /// 32 bytes of an Ed25519 key; the point of a P-256 key, 65 bytes.
    bytes: Box<[u8]>,
}

/// The text is not a public key that can be used here, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublicKeyError(&'static str);

impl PublicKey {
    /// The Ed25519 key with these bytes.
    #[must_use]
    pub fn ed25519(bytes: [u8; 32]) -> Self {
        Self { algorithm: Algorithm::EdDsa, bytes: bytes.into() }
    }

    /// How signatures by it are made.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// 32 bytes of an Ed25519 key; the point of a P-256 key, 65 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a signature of a message is by this key. It has exactly 64 bytes.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let good = match self.algorithm {
            Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature),
            Algorithm::Es256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(message, signature)
            }
        };
        signature.len() == 64 && good.is_ok()
    }
}

fn is_of_small_order(bytes: &[u8; 32]) -> bool {
    let mut unsigned = *bytes;
    unsigned[31] &= 0x7f;
    let rest = |rest: u8| unsigned[1..31].iter().all(|byte| *byte == rest) && unsigned[31] == rest & 0x7f;
    SMALL_ORDER.iter().any(|(first, others)| unsigned[0] == *first && rest(*others)) || ORDER_8.contains(&unsigned)
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > MAX_PEM {
            return Err(PublicKeyError("is too long for a public key of Ed25519 or P-256"));
        }
        if text.contains("PRIVATE KEY") {
            return Err(PublicKeyError("holds a private key: keep it, and send the public one"));
        }
        let not_pem = PublicKeyError("must be one PEM block `PUBLIC KEY` (SubjectPublicKeyInfo)");
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(not_pem)?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| not_pem)?;
        if let Some(bytes) = der.strip_prefix(ED25519_HEAD).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            return if is_of_small_order(&bytes) {
                Err(PublicKeyError("is a point of small order, under which anybody can sign"))
            } else {
                Ok(Self::ed25519(bytes))
            };
        }
        let point = der.strip_prefix(P256_HEAD).filter(|point| point.len() == 65 && point[0] == 4);
        let point = point.ok_or(PublicKeyError("must be a key of Ed25519 or P-256, the point not compressed"))?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .map_err(|_| PublicKeyError("is not a point of the curve P-256"))?;
        Ok(Self { algorithm: Algorithm::Es256, bytes: point.into() })
    }
}

impl fmt::Display for PublicKey {
    /// As a PEM block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match self.algorithm {
            Algorithm::EdDsa => ED25519_HEAD,
            Algorithm::Es256 => P256_HEAD,
        };
        let body = STANDARD.encode([head, &self.bytes].concat());
        writeln!(f, "{BEGIN}")?;
        for line in body.as_bytes().chunks(64) {
            // Base64 is ASCII.
            writeln!(f, "{}", std::str::from_utf8(line).unwrap_or_default())?;
        }
        writeln!(f, "{END}")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.as_str(), STANDARD.encode(&self.bytes))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn a_key_prints_what_it_was_read_from() {
        let key = PublicKey::ed25519([9; 32]);
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(format!("  {}\r\n\n", key.to_string().replace('\n', "\r\n")).parse(), Ok(key));
    }

    #[test]
    fn what_is_no_point_of_its_curve_or_of_small_order_is_refused() {
        let of = |first: u8, rest: u8, last: u8| {
            let mut bytes = [rest; 32];
            (bytes[0], bytes[31]) = (first, last);
            bytes
        };
        let weak = [of(0, 0, 0), of(1, 0, 0x80), of(0xec, 0xff, 0x7f), of(0xed, 0xff, 0xff), of(0xee, 0xff, 0x7f)];
        for bytes in weak.iter().chain(&ORDER_8) {
            assert!(pem(&[ED25519_HEAD, bytes].concat()).parse::<PublicKey>().is_err(), "{bytes:x?}");
        }
        assert!(pem(&[ED25519_HEAD, &of(2, 0, 0)].concat()).parse::<PublicKey>().is_ok());
        for point in [[4u8; 65], [0; 65]] {
            assert!(pem(&[P256_HEAD, &point].concat()).parse::<PublicKey>().is_err(), "{point:x?}");
        }
        for bad in [ED25519_HEAD, &[][..], &[ED25519_HEAD, &[7; 33]].concat(), &[P256_HEAD, &[2; 33]].concat()] {
            assert!(pem(bad).parse::<PublicKey>().is_err(), "{bad:x?}");
        }
    }
}
