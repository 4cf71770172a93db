//! The token of a hold: what a charge needs to know of it, authenticated, so that any server can settle it.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use smallvec::SmallVec;

use super::{holds::HoldRef, price_book::HeldPrice};
use crate::domain::{
    bindings::Principal,
    id::{BootId, KeyId, ProjectId, ServiceAccountId, UserId, WorkspaceId},
    keyed::keyed,
    meters::Tier,
    prices::Ceiling,
    time::Timestamp,
    varint,
};

const VERSION: u8 = 1;
/// Half of SHA-256: 128 bits, as RFC 2104 section 5 allows.
const MAC_LEN: usize = 16;
/// Longest token that is looked at.
pub const MAX_TOKEN: usize = 2048;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldClaims<'a> {
    /// The run of the server that made the hold.
    pub boot: BootId,
    /// The hold within that run.
    pub hold: HoldRef,
    /// The sidecar that it was given to.
    pub caller: Principal,
    /// Whose call it is.
    pub owner: Principal,
    /// The key it was made with; all zero for an access token.
    pub key: KeyId,
    /// The workspace; all zero without one.
    pub workspace: WorkspaceId,
    /// The project; all zero without one.
    pub project: ProjectId,
    /// The price it was made with.
    pub price: HeldPrice,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What was held in dollars, in nanos; for what a charge gives back.
    pub usd: i64,
    /// Provider that was asked for.
    pub provider: Cow<'a, str>,
    /// Model that was asked for.
    pub model: Cow<'a, str>,
    /// The end client's own user.
    pub end_user: Cow<'a, str>,
    /// Slice and amount, budget by budget.
    pub lines: SmallVec<[(i64, i64); 6]>,
    /// The tier of service that was asked for.
    pub tier: Tier,
}

/// What a token says that was read.
pub type OwnClaims = HoldClaims<'static>;

/// Signs and checks tokens.
#[derive(Clone)]
pub struct HoldKey(Hmac<Sha256>);

impl HoldKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(keyed(bytes))
    }

    /// Makes the token.
    #[must_use]
    pub fn sign(&self, claims: &HoldClaims<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(320);
        out.push(VERSION);
        out.extend_from_slice(&claims.boot.bits().to_le_bytes());
        out.extend_from_slice(&claims.hold.0.to_le_bytes());
        put_principal(&mut out, claims.caller);
        put_principal(&mut out, claims.owner);
        out.extend_from_slice(&claims.key.bits().to_le_bytes());
        out.extend_from_slice(&claims.workspace.bits().to_le_bytes());
        out.extend_from_slice(&claims.project.bits().to_le_bytes());
        let listed = claims.price.number().max(0);
        for number in [listed, claims.issued.micros(), claims.expires.micros(), claims.usd] {
            varint::put(&mut out, number.cast_unsigned());
        }
        for text in [&claims.provider, &claims.model, &claims.end_user] {
            varint::put(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        varint::put(&mut out, claims.lines.len() as u64);
        for (slice, amount) in &claims.lines {
            varint::put(&mut out, slice.cast_unsigned());
            varint::put(&mut out, amount.cast_unsigned());
        }
        // At the end, and only when it is another: so older tokens are good.
        let ceiling = if let HeldPrice::Ceiling(ceiling) = claims.price { Some(ceiling) } else { None };
        if claims.tier != Tier::Standard || ceiling.is_some() {
            out.push(claims.tier as u8);
        }
        for number in ceiling.into_iter().flat_map(|Ceiling { input, output }| [input, output]) {
            varint::put(&mut out, number.cast_unsigned());
        }
        let mut mac = self.0.clone();
        mac.update(&out);
        out.extend_from_slice(&mac.finalize().into_bytes()[..MAC_LEN]);
        out
    }

    /// Reads a token. `None` when it is not one of ours, whole and unchanged.
    #[must_use]
    pub fn verify(&self, token: &[u8]) -> Option<OwnClaims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (body, tag) = token.split_at_checked(token.len().checked_sub(MAC_LEN)?)?;
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_truncated_left(tag).ok()?;
        Reader(body).claims()
    }
}

fn put_principal(out: &mut Vec<u8>, principal: Principal) {
    let (kind, bits) = match principal {
        Principal::User(id) => (0, id.bits()),
        Principal::ServiceAccount(id) => (1, id.bits()),
    };
    out.push(kind);
    out.extend_from_slice(&bits.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn claims(mut self) -> Option<OwnClaims> {
        if self.byte()? != VERSION {
            return None;
        }
        let mut claims = HoldClaims {
            boot: BootId::from_bits(self.bits()?),
            hold: HoldRef(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            caller: self.principal()?,
            owner: self.principal()?,
            key: KeyId::from_bits(self.bits()?),
            workspace: WorkspaceId::from_bits(self.bits()?),
            project: ProjectId::from_bits(self.bits()?),
            price: match self.varint()? {
                0 => HeldPrice::Unknown,
                id => HeldPrice::Listed(id),
            },
            issued: Timestamp::from_micros(self.varint()?),
            expires: Timestamp::from_micros(self.varint()?),
            usd: self.varint()?,
            provider: self.text()?,
            model: self.text()?,
            end_user: self.text()?,
            lines: {
                let count = self.varint()?;
                (0..count).map(|_| Some((self.varint()?, self.varint()?))).collect::<Option<_>>()?
            },
            tier: if self.0.is_empty() { Tier::Standard } else { Tier::of_number(self.byte()?)? },
        };
        if !self.0.is_empty() {
            claims.price = HeldPrice::Ceiling(Ceiling { input: self.varint()?, output: self.varint()? });
        }
        self.0.is_empty().then_some(claims)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn bits(&mut self) -> Option<u128> {
        Some(u128::from_le_bytes(self.take(16)?.try_into().ok()?))
    }

    fn principal(&mut self) -> Option<Principal> {
        match self.byte()? {
            0 => Some(Principal::User(UserId::from_bits(self.bits()?))),
            1 => Some(Principal::ServiceAccount(ServiceAccountId::from_bits(self.bits()?))),
            _ => None,
        }
    }

    fn varint(&mut self) -> Option<i64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return i64::try_from(number).ok();
            }
        }
        None
    }

    fn text(&mut self) -> Option<Cow<'static, str>> {
        let len = usize::try_from(self.varint()?).ok()?;
        Some(std::str::from_utf8(self.take(len)?).ok()?.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> OwnClaims {
        HoldClaims {
            boot: BootId::from_bits(7),
            hold: HoldRef(u64::MAX),
            caller: Principal::ServiceAccount(ServiceAccountId::from_bits(8)),
            owner: Principal::User(UserId::from_bits(9)),
            key: KeyId::from_bits(u128::MAX),
            workspace: WorkspaceId::from_bits(3),
            project: ProjectId::from_bits(0),
            price: HeldPrice::Listed(70_000),
            issued: Timestamp::from_micros(1),
            expires: Timestamp::from_micros(i64::MAX),
            usd: 5,
            provider: "".into(),
            model: "gpt-4o".into(),
            end_user: "é".into(),
            lines: [(1, 128), (i64::MAX, 0)].into_iter().collect(),
            tier: Tier::Flex,
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let key = HoldKey::new(&[1; 32]);
        assert_eq!(key.verify(&key.sign(&claims())), Some(claims()));
        let standard = HoldClaims { tier: Tier::Standard, ..claims() };
        assert_eq!(key.verify(&key.sign(&standard)), Some(standard));
        for (input, output, tier) in [(0, 0, Tier::Standard), (i64::MAX, 1, Tier::Flex)] {
            let price = HeldPrice::Ceiling(Ceiling { input, output });
            let at_ceiling = HoldClaims { price, tier, ..claims() };
            assert_eq!(key.verify(&key.sign(&at_ceiling)), Some(at_ceiling));
        }
        let unknown = HoldClaims { price: HeldPrice::Unknown, ..claims() };
        assert_eq!(key.verify(&key.sign(&unknown)), Some(unknown));
        assert_eq!(HoldKey::new(&[2; 32]).verify(&key.sign(&claims())), None);
    }

    #[test]
    fn a_token_with_any_bit_changed_or_any_end_cut_off_is_refused() {
        let key = HoldKey::new(&[1; 32]);
        let token = key.sign(&claims());
        for at in 0..token.len() {
            assert_eq!(key.verify(&token[..at]), None);
            let mut forged = token.clone();
            forged[at] ^= 1;
            assert_eq!(key.verify(&forged), None);
        }
    }
}
