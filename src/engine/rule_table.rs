//! The rules of keys: keys of the same allowlist share them.
//!
//! They lie in chunks of memory, each in whole cache lines, where the key's row says: a decision that needs them waits for no
//! pointer on the way, and its processor can ask for several of their lines at once.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;

use super::ahead::ask_for;
use crate::domain::rules::Rules;

/// A cache line.
const LINE: usize = 64;
/// Lines of a chunk: a mebibyte. No rules are longer.
const CHUNK: usize = 16_384;
/// Before the rules: how many keys have them, and how many bytes they have.
const HEAD: usize = 8;
/// Lines that most rules do not go beyond: so many are asked for at once.
const USUAL: usize = 4;

/// Every set of rules, by where it is.
#[derive(Default)]
pub struct RuleTable {
    chunks: Chunks,
    /// Where those are that are in use, by what they say.
    index: HashTable<u32>,
    /// Places that are free, by how many lines they have.
    free: HashMap<usize, Vec<u32>>,
    hasher: RandomState,
}

impl RuleTable {
    /// The rules at a place that [`Self::take`] gave.
    #[must_use]
    pub fn at(&self, at: u32) -> Option<Rules<'_>> {
        Some(Rules::read(self.chunks.made_at(at)?))
    }

    /// Asks memory for the rules at a place.
    pub fn touch(&self, at: u32) {
        for line in self.chunks.lines_at(at).unwrap_or_default().iter().take(USUAL) {
            ask_for(line);
        }
    }

    /// Where these rules are, for one more key.
    pub fn take(&mut self, made: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(made);
        if let Some(at) = self.index.find(hash, |at| self.chunks.made_at(*at) == Some(made)).copied() {
            self.chunks.count(at, |keys| keys.saturating_add(1));
            return at;
        }
        let lines = lines_of(made);
        let free = self.free.get_mut(&lines.len()).and_then(Vec::pop);
        let at = self.chunks.put(free, lines);
        let Self { index, chunks, hasher, .. } = self;
        index.insert_unique(hash, at, |at| hasher.hash_one(chunks.made_at(*at).unwrap_or_default()));
        at
    }

    /// A key has them no more.
    pub fn give_back(&mut self, at: u32) {
        if self.chunks.count(at, |keys| keys.saturating_sub(1)) != Some(0) {
            return;
        }
        let made = self.chunks.made_at(at).unwrap_or_default();
        let (hash, lines) = (self.hasher.hash_one(made), (HEAD + made.len()).div_ceil(LINE));
        if let Ok(found) = self.index.find_entry(hash, |known| *known == at) {
            found.remove();
            self.free.entry(lines).or_default().push(at);
        }
    }

    /// How many different ones are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

/// Rules for one key, as they lie in a chunk.
fn lines_of(made: &[u8]) -> Vec<[u8; LINE]> {
    let len = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let mut bytes = [&1u32.to_le_bytes(), &len.to_le_bytes(), made].concat();
    bytes.resize(bytes.len().next_multiple_of(LINE), 0);
    bytes.as_chunks().0.to_vec()
}

#[derive(Default)]
struct Chunks(Vec<Vec<[u8; LINE]>>);

impl Chunks {
    fn lines_at(&self, at: u32) -> Option<&[[u8; LINE]]> {
        self.0.get(at as usize / CHUNK)?.get(at as usize % CHUNK..)
    }

    fn made_at(&self, at: u32) -> Option<&[u8]> {
        let bytes = self.lines_at(at)?.as_flattened();
        let [_, _, _, _, len @ ..] = *bytes.first_chunk::<HEAD>()?;
        bytes.get(HEAD..HEAD + u32::from_le_bytes(len) as usize)
    }

    /// Puts lines into a place that is free, or behind all others; says where.
    fn put(&mut self, free: Option<u32>, lines: Vec<[u8; LINE]>) -> u32 {
        if let Some(at) = free {
            let chunk = self.0.get_mut(at as usize / CHUNK);
            let place = chunk.and_then(|chunk| chunk.get_mut(at as usize % CHUNK..));
            place.into_iter().flatten().zip(lines).for_each(|(to, from)| *to = from);
            return at;
        }
        if self.0.last().is_none_or(|chunk| chunk.len() + lines.len() > CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.0.len() - 1) * CHUNK;
        let Some(chunk) = self.0.last_mut() else { return u32::MAX };
        let at = u32::try_from(before + chunk.len()).unwrap_or(u32::MAX);
        chunk.extend(lines);
        at
    }

    /// Changes how many keys have the rules at a place; says how many.
    fn count(&mut self, at: u32, change: impl Fn(u32) -> u32) -> Option<u32> {
        let line = self.0.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)?;
        let keys = line.first_chunk_mut()?;
        let count = change(u32::from_le_bytes(*keys));
        *keys = count.to_le_bytes();
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::Allowlist;

    fn rules(model: usize, letters: usize) -> Vec<u8> {
        let models =
            (0..letters).step_by(1000).map(|n| format!("{model:0many$}", many = 1000.min(letters - n))).collect();
        let list = Allowlist { models, ..Allowlist::default() };
        Rules::of(&list).expect("restricted")
    }

    #[test]
    fn keys_of_one_list_share_its_rules_and_the_place_of_the_last_is_taken_again() {
        let mut table = RuleTable::default();
        let rules = |n| rules(n, 20);
        let places: Vec<u32> = (0..1_000).map(|n| table.take(&rules(n % 100))).collect();
        assert_eq!(table.len(), 100);
        for (n, at) in places.iter().enumerate() {
            assert_eq!((*at, table.chunks.made_at(*at)), (places[n % 100], Some(&*rules(n % 100))));
        }
        let lines = table.chunks.0[0].len();
        places[100..].iter().for_each(|at| table.give_back(*at));
        assert_eq!(table.len(), 100);
        places[..50].iter().for_each(|at| table.give_back(*at));
        assert_eq!(table.len(), 50);
        let other = table.take(&rules(7_000));
        assert!(places[..50].contains(&other) && table.chunks.made_at(other) == Some(&*rules(7_000)));
        assert_eq!((table.chunks.0[0].len(), table.chunks.made_at(places[99])), (lines, Some(&*rules(99))));
        // What was given back is made anew.
        assert_eq!(table.take(&rules(0)), table.take(&rules(0)));
        assert_eq!(table.len(), 52);
    }

    #[test]
    fn rules_of_any_length_are_read_as_they_were_put_in() {
        let mut table = RuleTable::default();
        let lengths: Vec<usize> = (1..300).chain([10_000, 400_000, 500_000, 600_000]).collect();
        let places: Vec<u32> = lengths.iter().map(|letters| table.take(&rules(7, *letters))).collect();
        for (letters, at) in lengths.iter().zip(&places) {
            assert_eq!(table.chunks.made_at(*at), Some(&*rules(7, *letters)), "{letters}");
            assert!(table.at(*at).is_some_and(|rules| rules.admits_model(&format!(
                "{:0many$}",
                7,
                many = 1000.min(*letters)
            ))));
            table.touch(*at);
        }
        assert!(table.chunks.0.len() > 1 && table.chunks.0.iter().all(|chunk| chunk.len() <= CHUNK));
        assert!(table.at(u32::MAX).is_none());
    }
}
