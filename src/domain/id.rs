//! Typed identifiers: time-ordered (`UUIDv7`), printed with a prefix that tells the kind.

use std::{fmt, hash::Hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Serialize, de, ser};

use super::time::Timestamp;

/// Crockford's alphabet, lower case: sorts as the numbers do and has no letters that look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in groups of five.
const DIGITS: usize = 26;
/// What each byte counts as a digit; 255 when it is none. A snapshot reads millions of ids.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0u8;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// What an [`Id`] names.
pub trait Kind: Copy + Eq + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// Printed before the underscore.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $kind {}
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// A tenant.
    TenantKind TenantId "ten";
    /// A workspace.
    WorkspaceKind WorkspaceId "ws";
    /// A project.
    ProjectKind ProjectId "proj";
    /// A team.
    TeamKind TeamId "team";
    /// A user.
    UserKind UserId "user";
    /// A service account.
    ServiceAccountKind ServiceAccountId "sa";
    /// A binding of a role.
    BindingKind BindingId "bind";
    /// A tenant's own role.
    RoleKind RoleId "role";
    /// A role template.
    RoleTemplateKind RoleTemplateId "tmpl";
    /// An API key.
    KeyKind KeyId "key";
    /// A budget.
    BudgetKind BudgetId "bud";
    /// An invitation.
    InvitationKind InvitationId "inv";
    /// A mail on its way.
    MailKind MailId "mail";
    /// A session of a user.
    SessionKind SessionId "ses";
    /// A public key of a service account.
    PublicKeyKind PublicKeyId "pk";
    /// An identity provider of a tenant.
    IdentityProviderKind IdentityProviderId "idp";
    /// One run of a server process; a slice belongs to one.
    BootKind BootId "boot";
}

/// An identifier of a `K`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K: Kind> {
    bits: u128,
    kind: PhantomData<K>,
}

impl<K: Kind> Id<K> {
    /// Makes an identifier from the time and 10 random bytes, as RFC 9562 section 5.7 lays it out.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Self::from_bits(uuid.as_u128())
    }

    /// The smallest identifier of this millisecond, and the smallest of the next one: whatever is made in it lies between.
    #[must_use]
    pub fn within(moment: Timestamp) -> (Self, Self) {
        let millis = u64::try_from(moment.micros().div_euclid(1000)).map_or(0, u128::from);
        let first = |millis: u128| Self::from_bits(millis.min((1 << 48) - 1) << 80);
        (first(millis), first(millis + 1))
    }

    /// The identifier with these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self { bits, kind: PhantomData }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.bits
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; DIGITS];
        // In halves of 65 bits: ids are written by the thousand, and 64 bits are shifted faster than 128.
        let (high, low) = text.split_at_mut(DIGITS / 2);
        put_digits(high, (self.bits >> 65) as u64);
        put_digits(low, self.bits as u64);
        low[0] = ALPHABET[((self.bits >> 60) & 31) as usize];
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        // The alphabet is ASCII, so this cannot fail; an empty text would still be no panic.
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Writes the last digits of a number.
fn put_digits(text: &mut [u8], mut rest: u64) {
    for digit in text.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an identifier of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier that starts with `{0}_`")]
pub struct IdError(pub &'static str);

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError(K::PREFIX);
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(bad)?;
        // The first digit carries only three bits: above 7 it would not fit.
        if digits.len() != DIGITS || digits.as_bytes()[0] > b'7' {
            return Err(bad);
        }
        let mut bits = 0u128;
        for byte in digits.bytes() {
            let value = VALUES[usize::from(byte)];
            if value > 31 {
                return Err(bad);
            }
            bits = (bits << 5) | u128::from(value);
        }
        Ok(Self::from_bits(bits))
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_and_parses_to_itself_and_sorts_by_time() {
        for bits in [0, 1, u128::MAX, 1 << 64, 1 << 65, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            assert_eq!(KeyId::from_bits(bits).to_string().parse(), Ok(KeyId::from_bits(bits)));
        }
        let early = KeyId::new(Timestamp::from_micros(1_000_000), [255; 10]);
        let late = KeyId::new(Timestamp::from_micros(2_000_000), [0; 10]);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_of_another_kind_or_a_broken_one_is_refused() {
        let key = KeyId::new(Timestamp::from_micros(1), [1; 10]).to_string();
        assert!(key.parse::<UserId>().is_err());
        for bad in ["", "key_", "key_8zzzzzzzzzzzzzzzzzzzzzzzzz", "key_0000000000000000000000000u"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
