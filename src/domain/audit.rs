//! Events of the audit log, and what of them the log's tree commits to.
//!
//! A leaf of the tree ([`AuditEvent::leaf`]) is what must not change: whose log, the place in it, when, who, what, to what, with
//! what outcome. What may hold personal data ([`Field`]) stands beside it, and the leaf has of each a commitment: a hash under
//! a salt that is kept with the value. Whoever has both can check the value; when both are erased, the leaf and every proof
//! stand, and nobody can find the value by trying.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    audit_tree::{TreeHash, leaf_hash},
    id::TenantId,
    time::Timestamp,
};

/// Begins every leaf, so that none can be taken for something else that is hashed.
const MARK: &[u8] = b"tollreeve audit event 1";

/// What of an event can be erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// JSON of the resource before; empty for a creation.
    Before,
    /// JSON of the resource after; empty for a deletion.
    After,
    /// Network address of the caller, with the port.
    Source,
    /// User agent of the caller.
    UserAgent,
    /// Why, where the caller said it.
    Reason,
}

impl Field {
    /// All of them, in the order in which a leaf has them.
    pub const ALL: [Self; 5] = [Self::Before, Self::After, Self::Source, Self::UserAgent, Self::Reason];

    /// What it is called, in commitments and exports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Source => "source",
            Self::UserAgent => "user_agent",
            Self::Reason => "reason",
        }
    }
}

/// Bytes of a salt.
pub const SALT: usize = 16;

/// A field of an event that can be erased.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Detail {
    /// It was empty from the beginning; there is nothing to commit to.
    #[default]
    Empty,
    /// What it says.
    Kept {
        /// The text; not empty.
        value: String,
        /// Random bytes of its own, in hexadecimal digits.
        salt: String,
    },
    /// It said something that has been erased.
    Erased(TreeHash),
}

impl Detail {
    /// A field as it is put on record.
    #[must_use]
    pub fn new(value: String, salt: [u8; SALT]) -> Self {
        if value.is_empty() {
            return Self::Empty;
        }
        let digits = |mut text: String, byte: &u8| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        };
        Self::Kept { value, salt: salt.iter().fold(String::with_capacity(2 * SALT), digits) }
    }

    /// What it says; empty when it never said anything, or no longer does.
    #[must_use]
    pub fn value(&self) -> &str {
        if let Self::Kept { value, .. } = self { value } else { "" }
    }

    /// What the leaf has of it; `None` for what was empty from the beginning.
    #[must_use]
    pub fn commitment(&self, field: Field) -> Option<TreeHash> {
        match self {
            Self::Empty => None,
            Self::Erased(commitment) => Some(*commitment),
            Self::Kept { value, salt } => {
                // A key may have any length (RFC 2104, section 3).
                let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).ok()?;
                mac.update(field.name().as_bytes());
                mac.update(&[0]);
                mac.update(value.as_bytes());
                Some(TreeHash(mac.finalize().into_bytes().into()))
            }
        }
    }
}

/// Something on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    /// 1, 2, 3 and so on within the tenant.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Resource name of who did it.
    pub actor: String,
    /// What was done, `keys.revoke`.
    pub action: String,
    /// Resource name of what it was done to.
    pub resource: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The caller's request id.
    pub request_id: String,
    /// The trace that the request was part of, 32 hexadecimal digits (W3C Trace Context); empty without one.
    pub trace_id: String,
    /// Revision of the change; that of the last one where nothing was changed.
    pub revision: i64,
    /// What can be erased, in the order of [`Field::ALL`].
    pub details: [Detail; Field::ALL.len()],
}

/// What came of what was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Outcome {
    /// It was done.
    #[default]
    Done,
    /// It was refused: whoever tried may not, or could not show who they are.
    Refused,
}

impl Outcome {
    /// How it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }

    /// From how it is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Done, Self::Refused].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl AuditEvent {
    /// A field that can be erased.
    #[must_use]
    pub fn detail(&self, field: Field) -> &Detail {
        &self.details[field as usize]
    }

    /// What a field says.
    #[must_use]
    pub fn says(&self, field: Field) -> &str {
        self.detail(field).value()
    }

    /// What the tree commits to: the mark, the tenant's id, the number, the time in microseconds since 1970, the revision (each of
    /// these three in eight bytes, the highest first), actor, action, resource, outcome, request id, trace id, and of each field
    /// that can be erased, in the order of [`Field::ALL`], its commitment, or nothing where it was empty. Before the mark and each
    /// text or commitment stands its length in four bytes, the highest first.
    #[must_use]
    pub fn leaf(&self, tenant: TenantId) -> Vec<u8> {
        let mut leaf = Vec::with_capacity(512);
        let put = |leaf: &mut Vec<u8>, part: &[u8]| {
            leaf.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            leaf.extend(part);
        };
        put(&mut leaf, MARK);
        put(&mut leaf, tenant.to_string().as_bytes());
        for number in [self.seq, self.at.micros(), self.revision] {
            leaf.extend(number.to_be_bytes());
        }
        let texts =
            [&self.actor, &self.action, &self.resource, self.outcome.as_str(), &self.request_id, &self.trace_id];
        for text in texts {
            put(&mut leaf, text.as_bytes());
        }
        for (field, detail) in Field::ALL.into_iter().zip(&self.details) {
            let commitment = detail.commitment(field);
            put(&mut leaf, commitment.as_ref().map_or(&[], |hash| &hash.0));
        }
        leaf
    }

    /// The hash of its leaf.
    #[must_use]
    pub fn hash(&self, tenant: TenantId) -> TreeHash {
        leaf_hash(&self.leaf(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent {
        let text = |text: &str| text.to_owned();
        AuditEvent {
            seq: 7,
            at: Timestamp::from_micros(1_700_000_000_000_000),
            actor: text("tenants/acme/users/usr_1"),
            action: text("keys.revoke"),
            resource: text("tenants/acme/workspaces/main/keys/key_1"),
            outcome: Outcome::Done,
            request_id: text("r-1"),
            trace_id: String::new(),
            revision: 41,
            details: ["{}", "{\"a\":1}", "192.0.2.7:99", "", "lost"].map(|value| Detail::new(text(value), [3; SALT])),
        }
    }

    const TENANT: TenantId = TenantId::from_bits(5);

    #[test]
    fn whatever_is_changed_the_leaf_is_another_one() {
        type Change = fn(&mut AuditEvent);
        let changes: [Change; 17] = [
            |e| e.seq += 1,
            |e| e.at = Timestamp::from_micros(e.at.micros() + 1),
            |e| e.actor.push('x'),
            |e| e.action.push('x'),
            |e| e.resource.push('x'),
            |e| e.outcome = Outcome::Refused,
            |e| e.request_id.push('x'),
            |e| e.trace_id.push('0'),
            |e| e.revision -= 1,
            |e| e.details[0] = Detail::Empty,
            |e| e.details[3] = Detail::new("curl".to_owned(), [0; SALT]),
            |e| e.details[4] = Detail::new("lost".to_owned(), [4; SALT]),
            |e| e.details[4] = Detail::new("stolen".to_owned(), [3; SALT]),
            |e| e.details.swap(0, 1),
            // What ends a text and begins the next.
            |e| {
                e.actor.push('k');
                e.action.remove(0);
            },
            |e| std::mem::swap(&mut e.request_id, &mut e.trace_id),
            |e| e.details[2] = Detail::Erased(TreeHash([0; 32])),
        ];
        let before = event().hash(TENANT);
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = event();
            change(&mut changed);
            assert_ne!(changed.hash(TENANT), before, "change {number}");
        }
        assert_ne!(event().hash(TenantId::from_bits(6)), before);
    }

    #[test]
    fn a_field_that_is_erased_leaves_the_leaf_as_it_was() {
        let mut erased = event();
        for (field, detail) in Field::ALL.into_iter().zip(&mut erased.details) {
            *detail = detail.commitment(field).map_or(Detail::Empty, Detail::Erased);
        }
        assert_eq!(erased.leaf(TENANT), event().leaf(TENANT));
        assert!(Field::ALL.iter().all(|field| erased.says(*field).is_empty()));
    }

    #[test]
    fn the_leaf_is_what_the_contract_says() {
        let leaf = event().leaf(TENANT);
        let text =
            |text: &str| [&u32::try_from(text.len()).expect("short").to_be_bytes()[..], text.as_bytes()].concat();
        let begin = [
            text("tollreeve audit event 1"),
            text(&TENANT.to_string()),
            7i64.to_be_bytes().to_vec(),
            1_700_000_000_000_000i64.to_be_bytes().to_vec(),
            41i64.to_be_bytes().to_vec(),
            text("tenants/acme/users/usr_1"),
            text("keys.revoke"),
            text("tenants/acme/workspaces/main/keys/key_1"),
            text("done"),
            text("r-1"),
            text(""),
        ];
        assert!(leaf.starts_with(&begin.concat()));
        // Four commitments of 32 bytes, and one that there is not.
        assert_eq!(leaf.len(), begin.concat().len() + 5 * 4 + 4 * 32);
    }
}
