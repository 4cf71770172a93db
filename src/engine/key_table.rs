//! API keys in memory, a million and more: a compact row each, found by public id or by id.

use super::{key_index::KeyIndex, last_use::LastUse};
use crate::domain::{
    id::KeyId,
    key_secret::{KeyHash, PublicId},
    keys::{Allowlist, KeyState},
};

/// Rows are kept in chunks, so that growing never copies them all.
const CHUNK: usize = 4096;
/// Stands for "none" in a row.
pub const NO_INDEX: u32 = u32::MAX;

/// What a decision needs of a key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    id: [u8; 16],
    /// What its secret hashes to.
    pub hash: KeyHash,
    /// What it is looked up by.
    pub public_id: PublicId,
    /// Index of its workspace.
    pub workspace: u32,
    /// Index of its owner; the top bit is set for a service account.
    pub owner: u32,
    /// Index of its project, or [`NO_INDEX`].
    pub project: u32,
    /// Index of its allowlist, or [`NO_INDEX`].
    pub rules: u32,
    /// When it ends, in microseconds since 1970; `i64::MAX` for never.
    pub expires: i64,
    /// Where it stands.
    pub state: KeyState,
    /// Whether a budget limits it.
    pub budgeted: bool,
    /// When a call was last made with it.
    pub last_use: LastUse,
}

impl KeyRow {
    /// A row.
    #[must_use]
    pub fn new(id: KeyId, hash: KeyHash, public_id: PublicId, state: KeyState) -> Self {
        Self {
            id: id.bits().to_le_bytes(),
            hash,
            public_id,
            workspace: NO_INDEX,
            owner: NO_INDEX,
            project: NO_INDEX,
            rules: NO_INDEX,
            expires: i64::MAX,
            state,
            budgeted: false,
            last_use: LastUse::default(),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        KeyId::from_bits(u128::from_le_bytes(self.id))
    }
}

/// Every key.
#[derive(Default)]
pub struct KeyTable {
    chunks: Vec<Vec<KeyRow>>,
    len: usize,
    by_public_id: KeyIndex,
    by_id: KeyIndex,
    rules: Vec<Allowlist>,
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

    /// The index of the key with this public id.
    #[must_use]
    pub fn by_public_id(&self, public_id: &PublicId) -> Option<u32> {
        self.by_public_id.find(public_id, |at| self.row(at).public_id == *public_id)
    }

    /// Looks at where a public id would be found, so that memory brings it.
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
    pub fn rules(&self, row: &KeyRow) -> Option<&Allowlist> {
        self.rules.get(row.rules as usize)
    }

    /// Puts a key in, or its new form in the place of the old.
    pub fn put(&mut self, mut row: KeyRow, allowlist: Allowlist) {
        let known = self.index_of(row.id());
        let old_rules = known.map_or(NO_INDEX, |at| self.row(at).rules);
        row.rules = match (allowlist.is_open(), old_rules) {
            (true, _) => NO_INDEX,
            (false, NO_INDEX) => {
                self.rules.push(allowlist);
                u32::try_from(self.rules.len() - 1).unwrap_or(NO_INDEX)
            }
            (false, at) => {
                self.rules[at as usize] = allowlist;
                at
            }
        };
        if let Some(at) = known {
            row.budgeted = self.row(at).budgeted;
            row.last_use = self.row(at).last_use.clone();
            *self.row_mut(at) = row;
            return;
        }
        let at = u32::try_from(self.len).unwrap_or(NO_INDEX);
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let (public_id, id) = (row.public_id, row.id);
        if let Some(last) = self.chunks.last_mut() {
            last.push(row);
        }
        self.len += 1;
        self.by_public_id.insert(public_id, at);
        self.by_id.insert(id, at);
    }

    /// Notes whether a budget limits a key.
    pub fn set_budgeted(&mut self, id: KeyId, budgeted: bool) {
        if let Some(at) = self.index_of(id) {
            self.row_mut(at).budgeted = budgeted;
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
