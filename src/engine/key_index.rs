//! Finds a key's row by what it is looked up by, among a million and more, with one look at memory before the row.
//!
//! A bucket is one cache line of eight entries: half of a hash, and the index of a row. A look-up compares hashes within
//! one line and the next, and goes on to another bucket only when both are full. Growing needs the hashes alone, not the rows.

use std::hash::{BuildHasher, Hash};

use hashbrown::DefaultHashBuilder;

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

    /// Looks at where a key would be found, so that memory brings it.
    pub fn touch(&self, key: impl Hash) {
        let (part, hash) = self.place(key);
        let buckets = self.parts.get(part).and_then(|part| part.buckets.get(part.home(hash)..));
        for bucket in buckets.unwrap_or_default().iter().take(2) {
            std::hint::black_box(bucket.rows[0]);
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
    /// The bucket that a hash belongs to: the same share of the buckets lies before it as of all hashes.
    fn home(&self, hash: u32) -> usize {
        (hash as usize * self.buckets.len()) >> 32
    }

    /// Two buckets are always looked at: that there is no such key is not to take longer than that there is.
    fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let (before, from_home) = self.buckets.split_at(self.home(hash));
        let (mut found, mut has_room) = (None, false);
        // A part is never full, so a bucket with a free place comes.
        for (bucket, is_further) in
            from_home.iter().chain(before).zip([false].into_iter().chain(std::iter::repeat(true)))
        {
            let mut same = Bucket::mask(&bucket.hashes, hash);
            while same != 0 {
                let row = bucket.rows[same.trailing_zeros() as usize % WIDTH];
                if row < GONE && is(row) {
                    found = Some(row);
                }
                same &= same - 1;
            }
            has_room |= Bucket::mask(&bucket.rows, FREE) != 0;
            if is_further & (has_room | found.is_some()) {
                return found;
            }
        }
        found
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
        let home = self.home(hash);
        let (before, from_home) = self.buckets.split_at_mut(home);
        for bucket in from_home.iter_mut().chain(before) {
            if let Some(place) = bucket.rows.iter().position(|row| *row >= GONE) {
                self.len += usize::from(bucket.rows[place] == FREE);
                bucket.hashes[place] = hash;
                bucket.rows[place] = row;
                return;
            }
        }
    }

    fn remove(&mut self, hash: u32, row: u32) {
        let home = self.home(hash);
        let (before, from_home) = self.buckets.split_at_mut(home);
        for bucket in from_home.iter_mut().chain(before) {
            if let Some(place) = (0..WIDTH).find(|place| (bucket.hashes[*place], bucket.rows[*place]) == (hash, row)) {
                bucket.rows[place] = GONE;
                return;
            }
            if Bucket::mask(&bucket.rows, FREE) != 0 {
                return;
            }
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
