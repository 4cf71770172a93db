//! The text of an API key: `prod_tr_<12: public id>_<32: secret><6: checksum>`.
//!
//! The prefix tells a person, a scanner and a log where a key comes from; the checksum (CRC-32 over all before it) lets
//! anybody drop a mistyped or random text without asking the server. The secret has 190 bits; only a keyed hash of it
//! is stored. Base62 throughout: a double click selects the whole key.

use std::fmt;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::keyed::keyed;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PUBLIC_ID_LEN: usize = 12;
const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;
pub(super) const MARK: &str = "_tr_";
/// `_tr_` + id + `_` + secret + checksum.
pub(super) const TAIL_LEN: usize = MARK.len() + PUBLIC_ID_LEN + 1 + SECRET_LEN + CHECKSUM_LEN;
/// Longest key prefix, in characters.
pub const MAX_PREFIX_LEN: usize = 8;
/// Random bytes that [`KeySecret::generate`] takes. One base62 digit needs 6 bits and rejects two of 64 values; this is
/// enough for both parts with a margin that fails once in 10^20 keys.
pub const RANDOM_BYTES: usize = 96;

/// The part of a key that is stored, shown and looked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId([u8; PUBLIC_ID_LEN]);

impl PublicId {
    /// The text: 12 base62 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only base62 digits get in, so this is always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_ID_LEN] {
        &self.0
    }

    /// From its text; `None` when it is not 12 base62 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; PUBLIC_ID_LEN] = text.as_bytes().try_into().ok()?;
        are_digits(&digits).then_some(Self(digits))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PublicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a key's public id"))
    }
}

/// A key as its holder presents it: well-formed, not yet known to be genuine.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// What to look up.
    pub public_id: PublicId,
    /// All but the checksum.
    body: &'a [u8],
}

impl<'a> Presented<'a> {
    /// Reads a key's text. `None` when its shape or checksum is wrong.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::parse_with(text, |_| ())
    }

    /// As [`Self::parse`]; `seen` is told early what will be looked up when all is well.
    pub fn parse_with(text: &'a str, seen: impl FnOnce(&PublicId)) -> Option<Self> {
        let text = text.as_bytes();
        let prefix_len = text.len().checked_sub(TAIL_LEN).filter(|len| (1..=MAX_PREFIX_LEN).contains(len))?;
        // Every part but the prefix has a length of its own, so its place is known.
        let (body, checksum) = text.split_at(text.len() - CHECKSUM_LEN);
        let (prefix, rest) = body.split_at(prefix_len);
        let (public_id, rest) = rest.strip_prefix(MARK.as_bytes())?.split_first_chunk::<PUBLIC_ID_LEN>()?;
        let secret = rest.strip_prefix(b"_")?;
        seen(&PublicId(*public_id));
        let is_well_formed = prefix.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
            && are_digits(public_id)
            && are_digits(secret)
            && *checksum == checksum_of(body);
        is_well_formed.then_some(Self { public_id: PublicId(*public_id), body })
    }
}

/// Whether all are base62 digits. Looks at each, so that the processor can look at many at once.
fn are_digits(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, b| all & b.is_ascii_alphanumeric())
}

/// A new key, whole; shown once and never stored.
pub struct KeySecret {
    /// The part that is stored and looked up.
    pub public_id: PublicId,
    text: SecretString,
}

impl KeySecret {
    /// Makes a key from random bytes. `None` in the one case of 10^20 in which they do not suffice: draw again.
    #[must_use]
    pub fn generate(prefix: &str, random: &[u8; RANDOM_BYTES]) -> Option<Self> {
        // Rejecting 62 and 63 keeps every digit equally likely.
        let mut digits = random.iter().map(|b| b & 63).filter(|v| *v < 62).map(|v| BASE62[v as usize]);
        let mut take = |n: usize| (0..n).map(|_| digits.next().map(char::from)).collect::<Option<String>>();
        let public_id = take(PUBLIC_ID_LEN)?;
        let secret = take(SECRET_LEN)?;
        let body = format!("{prefix}{MARK}{public_id}_{secret}");
        let checksum = checksum_of(body.as_bytes());
        let text = format!("{body}{}", std::str::from_utf8(&checksum).ok()?);
        Some(Self { public_id: PublicId::parse(&public_id)?, text: text.into() })
    }

    /// The whole key, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

/// CRC-32 of `body` in six base62 digits, most significant first.
fn checksum_of(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// What is stored of a secret: HMAC-SHA-256 under a pepper that is not in the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        text
    }

    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// The key under which secrets are hashed. A copy of the database without it authorizes nothing.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

impl Pepper {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(keyed(bytes))
    }

    /// A key for another purpose than hashing secrets: nothing that is hashed has a zero byte in it.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(b"\0");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Bytes for a new secret that are the same for the same parts, and as good as random to whoever has not the pepper.
    #[must_use]
    pub fn repeatable(&self, parts: &[&str]) -> [u8; RANDOM_BYTES] {
        let key = Self::new(&self.derive("secrets that are shown again"));
        let mut bytes = [0; RANDOM_BYTES];
        for (block, number) in bytes.chunks_mut(32).zip(0u8..) {
            let mut mac = key.0.clone();
            mac.update(&[number]);
            for part in parts {
                mac.update(&part.len().to_le_bytes());
                mac.update(part.as_bytes());
            }
            block.copy_from_slice(&mac.finalize().into_bytes()[..block.len()]);
        }
        bytes
    }

    /// Hashes a presented key, its prefix too: one that was made for development cannot be passed off as another, or another as
    /// it, by whoever has it.
    #[must_use]
    pub fn hash(&self, key: &Presented<'_>) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(key.body);
        KeyHash(mac.finalize().into_bytes().into())
    }
}

impl KeyHash {
    /// Whether it is the hash that was stored, in constant time.
    #[must_use]
    pub fn is(&self, stored: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &stored.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeySecret {
        let random = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap_or(0));
        KeySecret::generate("prod", &random).expect("enough digits")
    }

    #[test]
    fn a_generated_key_parses_and_verifies_under_its_pepper_only() {
        let key = key();
        let presented = Presented::parse(key.expose()).expect("well-formed");
        assert_eq!(presented.public_id, key.public_id);
        let pepper = Pepper::new(&[1; 32]);
        let stored = pepper.hash(&presented);
        assert!(pepper.hash(&presented).is(&stored));
        assert!(!Pepper::new(&[2; 32]).hash(&presented).is(&stored));
    }

    #[test]
    fn a_key_with_another_prefix_is_another_key() {
        let random = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap_or(0));
        let disguised = KeySecret::generate("dev", &random).expect("enough digits");
        let (one, other) = (key(), Presented::parse(disguised.expose()).expect("well-formed"));
        assert_eq!(one.public_id, other.public_id);
        let pepper = Pepper::new(&[1; 32]);
        let stored = pepper.hash(&Presented::parse(one.expose()).expect("well-formed"));
        assert!(!pepper.hash(&other).is(&stored));
    }

    #[test]
    fn repeatable_bytes_are_the_same_for_the_same_parts_under_the_same_pepper_only() {
        let pepper = Pepper::new(&[1; 32]);
        let bytes = pepper.repeatable(&["user_1", "request", "body"]);
        assert_eq!(bytes, pepper.repeatable(&["user_1", "request", "body"]));
        let all = [
            bytes,
            pepper.repeatable(&["user_2", "request", "body"]),
            pepper.repeatable(&["user_1", "reques", "tbody"]),
            pepper.repeatable(&["user_1", "request", "other"]),
            Pepper::new(&[2; 32]).repeatable(&["user_1", "request", "body"]),
        ];
        let blocks: std::collections::BTreeSet<&[u8]> = all.iter().flat_map(|bytes| bytes.chunks(32)).collect();
        assert_eq!(blocks.len(), 15, "no part of any is a part of another");
    }

    #[test]
    fn every_single_changed_character_is_caught_by_the_checksum() {
        let text = key().expose().to_owned();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(Presented::parse(&changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn no_text_is_too_strange_to_refuse() {
        for bad in ["", "_tr_", "prod_tr_", "é".repeat(40).as_str(), "x".repeat(10_000).as_str()] {
            assert!(Presented::parse(bad).is_none());
        }
    }
}
