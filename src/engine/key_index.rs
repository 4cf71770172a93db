//! Finds a key's row by what it is looked up by, among a million and more, with one look at memory before the row.
//!
//! A bucket is one cache line of eight entries: half of a hash, and the index of a row. An entry is in one of two buckets,
//! whichever had more room, and hardly ever elsewhere; a look-up asks memory for both at once, and always looks at both.
//! Growing needs the hashes alone, not the rows.

use std::{
    hash::{BuildHasher, Hash},
    hint::select_unpredictable,
};

use hashbrown::DefaultHashBuilder;

use super::ahead::ask_for;

/// The index is split, so that growing a part never holds a decision up for long.
const PARTS: usize = 64;
/// Entries of a bucket.
const WIDTH: usize = 8;
/// Of ten places, so many are taken before a part grows.
const FULL_IN_TEN: usize = 8;
/// The row of a place that is free.
const FREE: u32 = u32::MAX;
/// The row of a place whose entry was taken out: a look-up goes on after it, and another entry may take it.
const GONE: u32 = u32::MAX - 1;
/// No row.
const NONE: u32 = u32::MAX;

/// Entries by column: eight hashes are compared at once.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    hashes: [u32; WIDTH],
    rows: [u32; WIDTH],
}

const EMPTY: Bucket = Bucket { hashes: [0; WIDTH], rows: [FREE; WIDTH] };

impl Bucket {
    /// A bit for each entry that is as it should be. Without a branch, so that the processor need not wait for memory to
    /// go on.
    fn mask(column: &[u32; WIDTH], as_it_should_be: u32) -> u32 {
        (0..WIDTH).fold(0, |mask, i| mask | u32::from(column[i] == as_it_should_be) << i)
    }

    /// The rows of the entries with a hash.
    fn rows_of(&self, hash: u32) -> impl Iterator<Item = u32> {
        let entries = self.hashes.iter().zip(self.rows);
        entries.filter(move |(is, row)| **is == hash && *row < GONE).map(|(_, row)| row)
    }
}

/// An index of rows by something that is hashed.
#[derive(Default)]
pub struct KeyIndex {
    parts: Vec<Part>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Default)]
struct Part {
    buckets: Vec<Bucket>,
    len: usize,
}

impl KeyIndex {
    /// The row with this key; `is` tells whether a row that may be it is it.
    pub fn find(&self, key: impl Hash, is: impl Fn(u32) -> bool) -> Option<u32> {
        let (part, hash) = self.place(key);
        self.parts.get(part)?.find(hash, is)
    }

    /// The row that is the one with this key, if there is one; otherwise this other one, or one of the same hash. And whether that is
    /// so: false when two have the same hash. Which row it is is decided without a branch: a processor guesses where branches lead
    /// and looks there, so that one row would be there sooner than the other.
    pub fn only(&self, key: impl Hash, other: u32) -> (u32, bool) {
        let (part, hash) = self.place(key);
        let (found, is_only) = self.parts.get(part).map_or((NONE, true), |part| part.only(hash));
        (select_unpredictable(found == NONE, other, found), is_only)
    }

    /// Asks memory for where a key would be found.
    pub fn touch(&self, key: impl Hash) {
        let (part, hash) = self.place(key);
        if let Some(part) = self.parts.get(part) {
            part.homes(hash).into_iter().filter_map(|at| part.buckets.get(at)).for_each(ask_for);
        }
    }

    /// Puts a row in whose key is not there yet.
    pub fn insert(&mut self, key: impl Hash, row: u32) {
        let (part, hash) = self.place(key);
        if self.parts.is_empty() {
            self.parts = vec![Part::default(); PARTS];
        }
        self.parts[part].insert(hash, row);
    }

    /// Takes a row out that was put in under this key.
    pub fn remove(&mut self, key: impl Hash, row: u32) {
        let (part, hash) = self.place(key);
        if let Some(part) = self.parts.get_mut(part) {
            part.remove(hash, row);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves of the hash, for two uses")]
    fn place(&self, key: impl Hash) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        ((hash >> 32) as usize % PARTS, hash as u32)
    }
}

impl Part {
    /// The two buckets that an entry with this hash mostly is in, whichever had more room: of either, the same share of the buckets
    /// lies before it as of all numbers before the hash, or before what its halves are when they change places.
    fn homes(&self, hash: u32) -> [usize; 2] {
        [hash, hash.rotate_left(16)].map(|hash| (hash as usize * self.buckets.len()) >> 32)
    }

    /// The buckets that an entry with this hash may be in, by index: its two homes, and when both are full those after the second,
    /// up to one with a place that has always been free. That happens to one in many thousand, whether or not there is such an
    /// entry, so that looking for it does not take longer when there is.
    fn places(&self, hash: u32) -> impl Iterator<Item = usize> {
        let [home, other] = self.homes(hash);
        let further = (other + 1..self.buckets.len()).chain(0..other);
        let all = [home, other].into_iter().chain(further).take(if self.buckets.is_empty() { 0 } else { usize::MAX });
        let (mut looked, mut had_room) = (0, false);
        all.take_while(move |at| {
            let goes_on = looked < 2 || !had_room;
            if goes_on {
                looked += 1;
                had_room |= Bucket::mask(&self.buckets[*at].rows, FREE) != 0;
            }
            goes_on
        })
    }

    fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.places(hash).find_map(|at| self.buckets[at].rows_of(hash).find(|row| is(*row)))
    }

    /// The row with this hash, or [`NONE`]; and whether no other has it.
    #[expect(clippy::needless_bitwise_bool, reason = "whether there is one is to be in no branch")]
    fn only(&self, hash: u32) -> (u32, bool) {
        let (found, entries) = self.places(hash).fold((NONE, 0), |(found, entries), at| {
            let bucket = &self.buckets[at];
            let same = Bucket::mask(&bucket.hashes, hash);
            let row = bucket.rows[same.trailing_zeros() as usize % WIDTH];
            (select_unpredictable((same != 0) & (row < GONE), row, found), entries + same.count_ones())
        });
        (found, entries < 2)
    }

    fn insert(&mut self, hash: u32, row: u32) {
        if self.len * 10 >= self.buckets.len() * WIDTH * FULL_IN_TEN {
            // By a quarter: what is not needed is memory for every key.
            let more = vec![EMPTY; self.buckets.len() + self.buckets.len() / 4 + 1];
            self.len = 0;
            for Bucket { hashes, rows } in std::mem::replace(&mut self.buckets, more) {
                hashes.into_iter().zip(rows).filter(|(_, row)| *row < GONE).for_each(|(hash, row)| self.put(hash, row));
            }
        }
        self.put(hash, row);
    }

    /// Counts the places that are not free, those of entries that are gone among them: look-ups pass over these too.
    fn put(&mut self, hash: u32, row: u32) {
        let room = |at: usize| self.buckets[at].rows.iter().filter(|row| **row >= GONE).count();
        let [home, other] = self.homes(hash);
        let roomier = if room(other) > room(home) { other } else { home };
        // A part is never full, so there is one.
        let Some(at) = std::iter::once(roomier).chain(self.places(hash)).find(|at| room(*at) > 0) else { return };
        let bucket = &mut self.buckets[at];
        if let Some(place) = bucket.rows.iter().position(|row| *row >= GONE) {
            self.len += usize::from(bucket.rows[place] == FREE);
            bucket.hashes[place] = hash;
            bucket.rows[place] = row;
        }
    }

    fn remove(&mut self, hash: u32, row: u32) {
        let is = |bucket: &Bucket, place: usize| (bucket.hashes[place], bucket.rows[place]) == (hash, row);
        let place =
            self.places(hash).find_map(|at| Some((at, (0..WIDTH).find(|place| is(&self.buckets[at], *place))?)));
        if let Some((at, place)) = place {
            self.buckets[at].rows[place] = GONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_and_none_that_was_not_put_in_at_every_size() {
        let mut index = KeyIndex::default();
        for row in 0..50_000u32 {
            assert_eq!(index.find(row, |found| found == row), None);
            index.insert(row, row);
            let earlier = row / 2;
            assert_eq!(index.find(earlier, |found| found == earlier), Some(earlier));
        }
        assert!((0..50_000).all(|row| index.find(row, |found| found == row) == Some(row)));
    }

    #[test]
    fn what_is_taken_out_is_found_no_more_and_its_place_is_taken_again() {
        let mut part = Part::default();
        for row in 0..1_000 {
            part.insert(row % 7, row);
        }
        let places = part.buckets.len();
        for turn in 1..50 {
            // Whatever came after it in its bucket, or in the next, is still found.
            (0..1_000).for_each(|row| part.remove(row % 7, row + (turn - 1) * 1_000));
            assert!((0..7).all(|hash| part.find(hash, |_| true).is_none()), "turn {turn}");
            (0..1_000).for_each(|row| part.insert(row % 7, row + turn * 1_000));
            assert!((0..1_000).all(|row| part.find(row % 7, |found| found == row + turn * 1_000).is_some()));
        }
        part.remove(3, 49_003);
        assert!(part.find(3, |found| found == 49_003).is_none() && part.find(3, |found| found == 49_010).is_some());
        assert!(part.buckets.len() <= places * 2, "{} of {places}", part.buckets.len());
    }

    #[test]
    fn rows_of_one_hash_are_told_apart_by_what_they_are() {
        let mut part = Part::default();
        for row in 0..100 {
            part.insert(7, row);
        }
        assert!((0..100).all(|row| part.find(7, |found| found == row) == Some(row)));
        assert_eq!(part.find(7, |_| false), None);
        assert_eq!(part.find(8, |_| true), None);
    }
}
