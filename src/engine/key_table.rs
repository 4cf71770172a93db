//! API keys in memory, a million and more: a compact row each, found by public id or by id.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::{ahead::ask_for, key_index::KeyIndex, last_use::LastUse, rule_table::RuleTable};
use crate::domain::{
    id::KeyId,
    key_secret::{KeyHash, PublicId},
    keys::{Allowlist, KeyState, Retiring, Secrets},
    peppers::{PepperVersion, Peppers, Rehashed, SecretHash},
    rules::Rules,
    time::Timestamp,
};

/// Rows are kept in chunks, so that growing never copies them all.
const CHUNK: usize = 4096;
/// Stands for "none" in a row.
pub const NO_INDEX: u32 = u32::MAX;

/// A budget limits the key.
const BUDGETED: u8 = 1;
/// The key was rotated: there is more to know of its secrets.
const ROTATED: u8 = 2;
/// How many bits of the marks those two are; the version of the pepper of its newest secret is in the others.
const FLAGS: u32 = 2;

/// What a decision needs of a key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    id: [u8; 16],
    /// What its newest secret hashes to.
    hash: KeyHash,
    /// What that is looked up by.
    pub public_id: PublicId,
    /// Index of its workspace.
    pub workspace: u32,
    /// Index of its owner; the top bit is set for a service account.
    pub owner: u32,
    /// Index of its project, or [`NO_INDEX`].
    pub project: u32,
    /// Where its allowlist is, or [`NO_INDEX`].
    pub rules: u32,
    /// When it ends, or must have been rotated: the earlier of both, in microseconds since 1970; `i64::MAX` for never.
    pub expires: i64,
    /// Where it stands.
    pub state: KeyState,
    /// [`BUDGETED`], [`ROTATED`] and the version of the pepper: a byte for all three.
    marks: u8,
    /// When a call was last made with it.
    pub last_use: LastUse,
}

impl KeyRow {
    /// A row.
    #[must_use]
    pub fn new(id: KeyId, secret: SecretHash, public_id: PublicId, state: KeyState) -> Self {
        Self {
            id: id.bits().to_le_bytes(),
            hash: secret.hash,
            public_id,
            workspace: NO_INDEX,
            owner: NO_INDEX,
            project: NO_INDEX,
            rules: NO_INDEX,
            expires: i64::MAX,
            state,
            marks: secret.pepper.number() << FLAGS,
            last_use: LastUse::default(),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        KeyId::from_bits(u128::from_le_bytes(self.id))
    }

    /// What is stored of its newest secret.
    #[must_use]
    pub fn secret(&self) -> SecretHash {
        // Nothing else is ever put in.
        self.hash.under(PepperVersion::new(self.marks >> FLAGS).unwrap_or(PepperVersion::FIRST))
    }

    fn rehash(&mut self, secret: SecretHash) {
        self.hash = secret.hash;
        self.marks = secret.pepper.number() << FLAGS | self.marks & (BUDGETED | ROTATED);
    }

    /// Whether a budget limits it.
    #[must_use]
    pub const fn is_budgeted(&self) -> bool {
        self.marks & BUDGETED != 0
    }

    fn mark(&mut self, mark: u8, set: bool) {
        self.marks = if set { self.marks | mark } else { self.marks & !mark };
    }
}

/// What there is to know of the secrets of a key that was rotated.
#[derive(Debug)]
struct Rotated {
    generation: u32,
    retiring: Option<Box<Retiring>>,
}

/// Which secret of a key a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretUsed {
    /// Which: 1 for the first.
    pub generation: u32,
    /// When it ends, because another one has taken its place.
    pub ends: Option<Timestamp>,
}

/// A secret that was looked up.
#[derive(Clone, Copy, Debug)]
pub struct SecretFound {
    /// Index of the key.
    pub at: u32,
    /// What is stored of it.
    pub hash: SecretHash,
    /// Which it is.
    pub used: SecretUsed,
}

/// Every key.
#[derive(Default)]
pub struct KeyTable {
    chunks: Vec<Vec<KeyRow>>,
    len: usize,
    by_public_id: KeyIndex,
    by_id: KeyIndex,
    rules: RuleTable,
    /// Of the keys that were rotated, by index: few are, at one time.
    rotated: HashMap<u32, Rotated>,
    /// When secrets end, soonest first, and of which key.
    ends: BTreeSet<(Timestamp, u32)>,
    /// The latest time at which secrets were ended: a clock that is set back brings none of them back.
    latest: Timestamp,
}

impl KeyTable {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The secret with this public id.
    #[must_use]
    pub fn by_public_id(&self, public_id: &PublicId) -> Option<SecretFound> {
        let at = self.index_of_secret(public_id)?;
        Some(self.secret(at, self.row(at), public_id))
    }

    /// What to compare a secret with, and whether that is stored under this public id. When nothing is, it is the secret of some
    /// key, always the same for the same id: what is done and looked at is the same. `None` while there are no keys.
    #[must_use]
    #[expect(clippy::needless_bitwise_bool, reason = "whether there is one is to be in no branch")]
    pub fn compared_with(&self, public_id: &PublicId) -> Option<(SecretFound, bool)> {
        let (mut at, is_only) = self.by_public_id.only(public_id, self.stand_in(public_id)?);
        let row = self.row(at);
        // It lies in two cache lines.
        ask_for(&row.id);
        ask_for(&row.marks);
        let mut is_known = self.has(at, row, public_id);
        if !is_only & !is_known
            && let Some(found) = self.index_of_secret(public_id)
        {
            (at, is_known) = (found, true);
        }
        Some((self.secret(at, self.row(at), public_id), is_known))
    }

    fn index_of_secret(&self, public_id: &PublicId) -> Option<u32> {
        self.by_public_id.find(public_id, |at| self.has(at, self.row(at), public_id))
    }

    /// Whether a key has a secret with this public id.
    fn has(&self, at: u32, row: &KeyRow, public_id: &PublicId) -> bool {
        (row.public_id == *public_id) | self.retiring(at, row).is_some_and(|old| old.public_id == *public_id)
    }

    /// Of a key's secrets, the one with this public id; the newest when none has it.
    fn secret(&self, at: u32, row: &KeyRow, public_id: &PublicId) -> SecretFound {
        match self.retiring(at, row).filter(|old| old.public_id == *public_id) {
            Some(old) => {
                let used = SecretUsed { generation: old.generation, ends: Some(old.ends) };
                SecretFound { at, hash: old.hash, used }
            }
            None => SecretFound { at, hash: row.secret(), used: self.newest(at, row) },
        }
    }

    /// Of a key's secrets, the newest.
    fn newest(&self, at: u32, row: &KeyRow) -> SecretUsed {
        let rotated = if row.marks & ROTATED == 0 { None } else { self.rotated.get(&at) };
        SecretUsed { generation: rotated.map_or(1, |rotated| rotated.generation), ends: None }
    }

    /// Of a key's secrets, the one before the newest.
    fn retiring(&self, at: u32, row: &KeyRow) -> Option<&Retiring> {
        if row.marks & ROTATED == 0 {
            return None;
        }
        self.rotated.get(&at)?.retiring.as_deref()
    }

    /// Whether a secret has ended that is still here.
    #[must_use]
    pub fn is_behind(&self, now: Timestamp) -> bool {
        self.ends.first().is_some_and(|(ends, _)| *ends <= now)
    }

    /// Drops the secrets that have ended, for good.
    pub fn end_secrets(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
        while let Some((_, at)) = self.ends.first().copied().filter(|(ends, _)| *ends <= now) {
            self.drop_retiring(at);
        }
    }

    fn drop_retiring(&mut self, at: u32) {
        if let Some(old) = self.rotated.get_mut(&at).and_then(|rotated| rotated.retiring.take()) {
            self.ends.remove(&(old.ends, at));
            self.by_public_id.remove(old.public_id, at);
        }
    }

    /// Takes in what is known of the secrets of a key whose row is there, with its newest secret, and can be found by that.
    fn put_secrets(&mut self, at: u32, secrets: Secrets) {
        self.drop_retiring(at);
        let Secrets { generation, retiring, .. } = secrets;
        let is_rotated = generation != 1 || retiring.is_some();
        self.row_mut(at).mark(ROTATED, is_rotated);
        if !is_rotated {
            self.rotated.remove(&at);
            return;
        }
        let retiring = retiring.filter(|old| old.ends > self.latest);
        if let Some(old) = &retiring {
            self.ends.insert((old.ends, at));
            self.by_public_id.insert(old.public_id, at);
        }
        self.rotated.insert(at, Rotated { generation, retiring });
    }

    /// Stores a secret under another pepper, if it is stored as it was.
    pub fn rehash(&mut self, rehashed: &Rehashed) {
        let Some(found) = self.by_public_id(&rehashed.public_id).filter(|found| found.hash == rehashed.old) else {
            return;
        };
        if self.row(found.at).public_id == rehashed.public_id {
            self.row_mut(found.at).rehash(rehashed.new);
        } else if let Some(old) = self.rotated.get_mut(&found.at).and_then(|rotated| rotated.retiring.as_mut()) {
            old.hash = rehashed.new;
        }
    }

    /// How many secrets no pepper at hand can check, of keys that are not revoked.
    #[must_use]
    pub fn unchecked(&self, peppers: &Peppers) -> usize {
        let lost = |secret: SecretHash| usize::from(!peppers.has(secret.pepper));
        let rows = self.chunks.iter().flatten().zip(0u32..).filter(|(row, _)| row.state != KeyState::Revoked);
        rows.map(|(row, at)| lost(row.secret()) + self.retiring(at, row).map_or(0, |old| lost(old.hash))).sum()
    }

    /// Some key, for the id of none: always the same for the same id.
    fn stand_in(&self, public_id: &PublicId) -> Option<u32> {
        let (digits, _) = public_id.as_bytes().split_first_chunk()?;
        // Spread by the golden ratio's bits, for digits are not; a division would take as long as a look at memory.
        let spread = u64::from_le_bytes(*digits).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let at = (spread * self.len as u64) >> 32;
        if self.len == 0 { None } else { u32::try_from(at).ok() }
    }

    /// Asks memory for where a public id would be found.
    pub fn touch(&self, public_id: &PublicId) {
        self.by_public_id.touch(public_id);
    }

    /// The key with this id.
    #[must_use]
    pub fn by_id(&self, id: KeyId) -> Option<&KeyRow> {
        Some(self.row(self.index_of(id)?))
    }

    /// What a key may be used for, if that is restricted.
    #[must_use]
    pub fn rules(&self, row: &KeyRow) -> Option<Rules<'_>> {
        self.rules.at(row.rules)
    }

    /// Asks memory for the rules of a key.
    pub fn touch_rules(&self, row: &KeyRow) {
        self.rules.touch(row.rules);
    }

    /// Puts a key in, or its new form in the place of the old.
    pub fn put(&mut self, mut row: KeyRow, allowlist: &Allowlist, secrets: Secrets) {
        let known = self.index_of(row.id());
        let old_rules = known.map_or(NO_INDEX, |at| self.row(at).rules);
        row.rules = Rules::of(allowlist).map_or(NO_INDEX, |made| self.rules.take(&made));
        self.rules.give_back(old_rules);
        let public_id = row.public_id;
        if let Some(at) = known {
            let old = self.row(at);
            let had = old.public_id;
            row.mark(BUDGETED, old.is_budgeted());
            row.last_use = old.last_use.clone();
            self.drop_retiring(at);
            *self.row_mut(at) = row;
            if had != public_id {
                self.by_public_id.remove(had, at);
                self.by_public_id.insert(public_id, at);
            }
            self.put_secrets(at, secrets);
            return;
        }
        let at = u32::try_from(self.len).unwrap_or(NO_INDEX);
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let id = row.id;
        if let Some(last) = self.chunks.last_mut() {
            last.push(row);
        }
        self.len += 1;
        self.by_public_id.insert(public_id, at);
        self.by_id.insert(id, at);
        if !secrets.is_first() {
            self.put_secrets(at, secrets);
        }
    }

    /// Notes whether a budget limits a key.
    pub fn set_budgeted(&mut self, id: KeyId, budgeted: bool) {
        if let Some(at) = self.index_of(id) {
            self.row_mut(at).mark(BUDGETED, budgeted);
        }
    }

    fn index_of(&self, id: KeyId) -> Option<u32> {
        let bytes = id.bits().to_le_bytes();
        self.by_id.find(bytes, |at| self.row(at).id == bytes)
    }

    /// The key at an index that this table gave.
    pub(super) fn row(&self, at: u32) -> &KeyRow {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    fn row_mut(&mut self, at: u32) -> &mut KeyRow {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public_id(number: usize) -> PublicId {
        PublicId::parse(&format!("{number:012}")).expect("a public id")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// Puts a key in whose newest secret is so many, and whose older one ends then.
    fn put(table: &mut KeyTable, generation: u32, ends: Option<i64>) {
        let number = |generation: u32| public_id(generation as usize);
        let hash = |generation: u32| KeyHash([u8::try_from(generation).expect("few"); 32]).under(PepperVersion::FIRST);
        let row = KeyRow::new(KeyId::from_bits(7), hash(generation), number(generation), KeyState::Active);
        let old = |ends| Retiring {
            public_id: number(generation - 1),
            hash: hash(generation - 1),
            generation: generation - 1,
            ends: at(ends),
        };
        let secrets = Secrets { generation, retiring: ends.map(|ends| Box::new(old(ends))), ..Secrets::default() };
        table.put(row, &Allowlist::default(), secrets);
    }

    fn found(table: &KeyTable, generation: usize) -> Option<(u32, u8, Option<Timestamp>)> {
        let found = table.by_public_id(&public_id(generation))?;
        assert_eq!(found.at, 0);
        Some((found.used.generation, found.hash.hash.0[0], found.used.ends))
    }

    #[test]
    fn both_secrets_of_a_key_are_found_until_the_older_ends() {
        let mut table = KeyTable::default();
        put(&mut table, 1, None);
        assert_eq!((found(&table, 1), found(&table, 2)), (Some((1, 1, None)), None));
        put(&mut table, 2, Some(50));
        assert_eq!(found(&table, 1), Some((1, 1, Some(at(50)))));
        assert_eq!(found(&table, 2), Some((2, 2, None)));
        assert!(!table.is_behind(at(49)) && table.is_behind(at(50)));
        table.end_secrets(at(50));
        assert_eq!((found(&table, 1), found(&table, 2)), (None, Some((2, 2, None))));
        assert!(!table.is_behind(at(1_000)));
    }

    #[test]
    fn a_secret_that_has_ended_does_not_come_back_when_the_clock_is_set_back() {
        let mut table = KeyTable::default();
        put(&mut table, 2, Some(50));
        table.end_secrets(at(60));
        // A change of the key that was made before its older secret was taken out of the books.
        put(&mut table, 2, Some(50));
        assert_eq!((found(&table, 1), found(&table, 2)), (None, Some((2, 2, None))));
        assert!(!table.is_behind(at(40)));
    }

    #[test]
    fn a_secret_that_was_replaced_or_ended_early_is_not_found() {
        let mut table = KeyTable::default();
        put(&mut table, 2, Some(50));
        put(&mut table, 3, Some(70));
        assert_eq!((found(&table, 1), found(&table, 2)), (None, Some((2, 2, Some(at(70))))));
        put(&mut table, 3, None);
        assert_eq!((found(&table, 2), found(&table, 3)), (None, Some((3, 3, None))));
        assert!(!table.is_behind(at(1_000)), "nothing is left to end");
        // Twice the same is the same as once.
        put(&mut table, 4, Some(90));
        put(&mut table, 4, Some(90));
        assert_eq!((found(&table, 3), found(&table, 4)), (Some((3, 3, Some(at(90)))), Some((4, 4, None))));
    }

    #[test]
    fn a_secret_is_stored_under_another_pepper_if_it_is_what_it_was() {
        let version = |number| PepperVersion::new(number).expect("a version");
        let mut table = KeyTable::default();
        put(&mut table, 2, Some(50));
        let pepper = |table: &KeyTable, generation| {
            let hash = table.by_public_id(&public_id(generation)).expect("found").hash;
            (hash.pepper.number(), hash.hash.0[0])
        };
        table.set_budgeted(KeyId::from_bits(7), true);
        for (generation, number) in [(1, 2), (2, 63)] {
            let old = table.by_public_id(&public_id(generation)).expect("found").hash;
            let new = KeyHash([40; 32]).under(version(number));
            let rehashed = Rehashed { key: KeyId::from_bits(7), public_id: public_id(generation), old, new };
            table.rehash(&Rehashed { old: KeyHash([9; 32]).under(version(1)), ..rehashed.clone() });
            table.rehash(&Rehashed { old: old.hash.under(version(3)), ..rehashed.clone() });
            assert_eq!(pepper(&table, generation), (1, old.hash.0[0]), "it was something else");
            table.rehash(&rehashed);
            assert_eq!(pepper(&table, generation), (number, 40));
        }
        let row = table.by_id(KeyId::from_bits(7)).expect("there");
        assert!(row.is_budgeted() && row.marks & ROTATED != 0);
        assert_eq!(found(&table, 1), Some((1, 40, Some(at(50)))));
    }
}
