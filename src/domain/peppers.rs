//! Peppers: the keys under which secrets are hashed, one following another. What is stored of a secret says which.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    id::KeyId,
    key_secret::{KeyHash, Pepper, Presented, PublicId},
    time::Timestamp,
};

/// Which pepper: 1 for the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PepperVersion(u8);

impl PepperVersion {
    /// The first: whatever does not say which is of it.
    pub const FIRST: Self = Self(1);
    /// The last that there can be: six bits of a key's row hold it.
    pub const LAST: Self = Self(63);

    /// From its number, 1 to 63.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (Self::FIRST.0..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The one after it; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for PepperVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is stored of a secret, and under which pepper it was hashed. As text, 64 hexadecimal digits; of a later version than
/// the first, its number and `:` before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecretHash {
    /// The hash.
    pub hash: KeyHash,
    /// The pepper.
    pub pepper: PepperVersion,
}

impl KeyHash {
    /// The hash, made under a pepper.
    #[must_use]
    pub const fn under(self, pepper: PepperVersion) -> SecretHash {
        SecretHash { hash: self, pepper }
    }
}

impl SecretHash {
    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, digits) = text.split_once(':').unwrap_or(("1", text));
        let pepper = PepperVersion::new(number.parse().ok()?)?;
        Some(KeyHash::from_hex(digits)?.under(pepper))
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.hash.to_hex();
        if self.pepper == PepperVersion::FIRST {
            serializer.serialize_str(&digits)
        } else {
            serializer.collect_str(&format_args!("{}:{digits}", self.pepper))
        }
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not the hash of a secret"))
    }
}

/// A secret that is stored under another pepper than before. Nothing else of its key changes with that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rehashed {
    /// Of which key.
    pub key: KeyId,
    /// What the secret is looked up by.
    pub public_id: PublicId,
    /// What was stored of it; where something else is by now, that stays.
    pub old: SecretHash,
    /// What is stored of it.
    pub new: SecretHash,
}

/// A pepper that the database knows of: not what it is, but how to tell it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownPepper {
    /// Which.
    pub version: PepperVersion,
    /// SHA-256 of it, in hexadecimal digits.
    pub fingerprint: String,
    /// From when on new secrets are hashed under it.
    pub since: Timestamp,
}

/// The peppers that are at hand.
#[derive(Clone, Debug)]
pub struct Peppers {
    /// Under which new secrets are hashed.
    in_use: (PepperVersion, Pepper),
    /// The others, newest first.
    others: Vec<(PepperVersion, Pepper)>,
}

impl Peppers {
    /// The first one alone.
    #[must_use]
    pub const fn first(pepper: Pepper) -> Self {
        Self { in_use: (PepperVersion::FIRST, pepper), others: Vec::new() }
    }

    /// With one of them in use; `None` when that is not among them.
    #[must_use]
    pub fn new(mut all: Vec<(PepperVersion, Pepper)>, in_use: PepperVersion) -> Option<Self> {
        all.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let at = all.iter().position(|(version, _)| *version == in_use)?;
        Some(Self { in_use: all.remove(at), others: all })
    }

    /// Under which new secrets are hashed.
    #[must_use]
    pub const fn in_use(&self) -> PepperVersion {
        self.in_use.0
    }

    /// Whether this one is at hand.
    #[must_use]
    pub fn has(&self, version: PepperVersion) -> bool {
        self.get(version).is_some()
    }

    /// Which there are: the one in use first.
    pub fn versions(&self) -> impl Iterator<Item = PepperVersion> {
        std::iter::once(&self.in_use).chain(&self.others).map(|(version, _)| *version)
    }

    fn get(&self, version: PepperVersion) -> Option<&Pepper> {
        std::iter::once(&self.in_use).chain(&self.others).find(|(known, _)| *known == version).map(|(_, pepper)| pepper)
    }

    /// Hashes a presented key under the one in use.
    #[must_use]
    pub fn hash(&self, key: &Presented<'_>) -> SecretHash {
        self.in_use.1.hash(key).under(self.in_use.0)
    }

    /// A presented key as `stored` would be if it were that: hashed under the same pepper. `offered` is what [`Self::hash`] gave.
    /// `None` when that pepper is not at hand.
    #[must_use]
    pub fn hash_as(&self, stored: SecretHash, key: &Presented<'_>, offered: SecretHash) -> Option<KeyHash> {
        if stored.pepper == offered.pepper {
            return Some(offered.hash);
        }
        self.get(stored.pepper).map(|pepper| pepper.hash(key))
    }

    /// A key for another purpose than hashing secrets, derived from the one in use.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.in_use.1.derive(purpose)
    }

    /// The keys for that purpose that were in use before, or may be elsewhere: what was made under them is still good.
    pub fn derive_others(&self, purpose: &str) -> impl Iterator<Item = [u8; 32]> {
        self.others.iter().map(move |(_, pepper)| pepper.derive(purpose))
    }

    /// Every one, that in use first.
    pub fn all(&self) -> impl Iterator<Item = &Pepper> {
        std::iter::once(&self.in_use).chain(&self.others).map(|(_, pepper)| pepper)
    }

    /// The one in use.
    #[must_use]
    pub const fn current(&self) -> &Pepper {
        &self.in_use.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key_secret::{KeySecret, RANDOM_BYTES};

    fn version(number: u8) -> PepperVersion {
        PepperVersion::new(number).expect("a version")
    }

    #[test]
    fn a_secret_is_checked_under_the_pepper_that_it_was_hashed_under() {
        let random: [u8; RANDOM_BYTES] = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap_or(0));
        let secret = KeySecret::generate("prod", &random).expect("enough digits");
        let key = Presented::parse(secret.expose()).expect("well-formed");
        let all = |numbers: &[u8]| numbers.iter().map(|n| (version(*n), Pepper::new(&[*n; 32]))).collect::<Vec<_>>();
        let old = Peppers::new(all(&[1]), version(1)).expect("there").hash(&key);
        let both = Peppers::new(all(&[1, 2]), version(2)).expect("there");
        let offered = both.hash(&key);
        assert_eq!((old.pepper, offered.pepper), (version(1), version(2)));
        assert!(both.hash_as(old, &key, offered).is_some_and(|hash| hash.is(&old.hash)));
        assert!(both.hash_as(offered, &key, offered).is_some_and(|hash| hash.is(&offered.hash)));
        let new = Peppers::new(all(&[2]), version(2)).expect("there");
        assert_eq!(new.hash_as(old, &key, new.hash(&key)), None, "the old one is gone");
        assert!(Peppers::new(all(&[1]), version(2)).is_none());
        assert_eq!(both.versions().collect::<Vec<_>>(), [version(2), version(1)]);
    }

    #[test]
    fn what_is_stored_reads_back_and_what_does_not_say_its_pepper_is_of_the_first() {
        let hash = KeyHash([7; 32]);
        for number in [1, 2, 63] {
            let stored = hash.under(version(number));
            let text = serde_json::to_string(&stored).expect("text");
            assert_eq!(text.contains(':'), number > 1, "{text}");
            assert_eq!(serde_json::from_str::<SecretHash>(&text).expect("reads"), stored);
        }
        for bad in [format!("64:{}", hash.to_hex()), format!("0:{}", hash.to_hex()), "2:07".to_owned()] {
            assert!(serde_json::from_value::<SecretHash>(bad.clone().into()).is_err(), "{bad}");
        }
        assert_eq!((PepperVersion::LAST.next(), version(1).next()), (None, Some(version(2))));
    }
}
