//! Holds in memory: found by their own reference, by the request that made them, and by when they end.
//!
//! A reference names a slot and its generation, so that finding a hold costs one index and a settled one is never taken
//! for another. Ends are kept in a wheel of seconds: putting in, taking out and extending cost the same at any number.
//! What the wheel says of a hold that was settled or extended is passed over when its second comes: until then it costs
//! eight bytes.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::{price_book::HeldPrice, state::Place};
use crate::domain::{time::Timestamp, window::Period};

const SHARDS: usize = 64;
/// Seconds of the wheel: more than the longest hold and its grace together.
const WHEEL: i64 = 2048;

/// Most holds that a server keeps; past that it refuses, rather than run out of memory.
pub const MAX_HOLDS: usize = 8_000_000;

/// An amount held on one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Index of the budget in the state.
    pub budget: u32,
    /// The period that it was taken in.
    pub period: Period,
    /// The slice that it came out of.
    pub slice: i64,
    /// What was held at first, in the budget's unit.
    pub held: i64,
    /// What of it still is. Below zero while others took of what charges on their way here have taken out.
    pub amount: i64,
}

/// The amounts of a hold, budget by budget.
pub type Lines = SmallVec<[Line; 6]>;

/// Whose call a hold is for, by index: rows are never taken out of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// Where the call is.
    pub place: Place,
    /// The owner of the credential, packed.
    pub owner: u32,
    /// The sidecar, packed.
    pub caller: u32,
    /// The key; [`super::key_table::NO_INDEX`] for an access token.
    pub key: u32,
}

/// A hold.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Fingerprint of the request's caller and id; 0 for a request without one.
    pub request: u128,
    /// Fingerprint of the request's body.
    pub body: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends for its caller.
    pub expires: Timestamp,
    /// The price it was made with.
    pub price: HeldPrice,
    /// Output tokens that it covers.
    pub granted_output: i64,
    /// Whose call it is for.
    pub whose: Whose,
    /// What is held.
    pub lines: Lines,
    /// Charges on their way that have taken amounts from it.
    pub pending: u32,
    /// A charge on its way will end it.
    pub ending: bool,
    /// A charge at another server has ended it; it stays for those on their way here.
    pub over: bool,
}

/// Refers to a hold, or to one that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct HoldRef(pub u64);

impl HoldRef {
    fn new(shard: usize, slot: u32, generation: u32) -> Self {
        Self(((shard as u64) << 58) | (u64::from(slot) << 32) | u64::from(generation))
    }

    const fn shard(self) -> usize {
        (self.0 >> 58) as usize
    }

    const fn slot(self) -> usize {
        ((self.0 >> 32) & 0x03ff_ffff) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// Every hold of this server.
pub struct Holds {
    shards: Vec<Mutex<Shard>>,
    hasher: DefaultHashBuilder,
    grace_secs: i64,
}

/// A part of the holds, locked.
pub struct Shard {
    index: usize,
    grace_secs: i64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots by the fingerprints of their requests, which spread well enough to be their own hashes.
    by_request: HashTable<u32>,
    /// Slot and generation of what ends in a second.
    wheel: Vec<Vec<(u32, u32)>>,
    /// The last second that was swept.
    swept: i64,
    count: usize,
}

struct Slot {
    generation: u32,
    /// When it leaves.
    second: i64,
    hold: Option<Hold>,
}

const fn hash_of(request: u128) -> u64 {
    (request >> 64) as u64
}

impl Holds {
    /// None yet. A hold stays for `grace_secs` after its end, for charges that are on their way.
    #[must_use]
    pub fn new(grace_secs: i64, now: Timestamp) -> Self {
        let shard = |index| {
            Mutex::new(Shard {
                index,
                grace_secs,
                slots: Vec::new(),
                free: Vec::new(),
                by_request: HashTable::new(),
                wheel: Vec::new(),
                swept: second_of(now),
                count: 0,
            })
        };
        Self { shards: (0..SHARDS).map(shard).collect(), hasher: DefaultHashBuilder::default(), grace_secs }
    }

    /// Seconds that a hold stays after its end.
    #[must_use]
    pub const fn grace_secs(&self) -> i64 {
        self.grace_secs
    }

    /// A fingerprint of something, not guessable from outside.
    pub fn fingerprint(&self, of: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// Locks the part that the holds of a request belong to.
    ///
    /// Lock order: a part of the holds first, then accounts.
    pub fn shard_of_request(&self, request: u128) -> MutexGuard<'_, Shard> {
        self.shards[(request % SHARDS as u128) as usize].lock()
    }

    /// Locks the part that a hold belongs to.
    pub fn shard_of(&self, hold: HoldRef) -> MutexGuard<'_, Shard> {
        self.shards[hold.shard() % SHARDS].lock()
    }

    /// Takes out every hold whose end and grace have passed.
    pub fn expire(&self, now: Timestamp, mut each: impl FnMut(HoldRef, Hold)) {
        for shard in &self.shards {
            shard.lock().expire(now, &mut each);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().count).sum()
    }
}

fn second_of(time: Timestamp) -> i64 {
    time.micros().div_euclid(1_000_000)
}

fn bucket_of(second: i64) -> usize {
    usize::try_from(second.rem_euclid(WHEEL)).unwrap_or_default()
}

impl Shard {
    /// The hold that a request made, if it lives; none for 0.
    #[must_use]
    pub fn by_request(&self, request: u128) -> Option<(HoldRef, &Hold)> {
        let made = |slot: &u32| self.slots[*slot as usize].hold.as_ref().is_some_and(|hold| hold.request == request);
        let slot = *self.by_request.find(hash_of(request), made).filter(|_| request != 0)?;
        let entry = &self.slots[slot as usize];
        Some((HoldRef::new(self.index, slot, entry.generation), entry.hold.as_ref()?))
    }

    /// The hold, if it lives.
    pub fn get(&mut self, at: HoldRef) -> Option<&mut Hold> {
        let entry = self.slots.get_mut(at.slot()).filter(|entry| entry.generation == at.generation())?;
        entry.hold.as_mut()
    }

    /// Whether there is room for one more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count >= MAX_HOLDS / SHARDS
    }

    /// Puts a hold in.
    pub fn insert(&mut self, hold: Hold) -> HoldRef {
        let (request, second) = (hold.request, self.leaves_at(hold.expires));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, second: 0, hold: None });
            // `is_full` keeps the number of slots far below 2^26.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[slot as usize].hold = Some(hold);
        self.count += 1;
        if request != 0 {
            let slots = &self.slots;
            let rehash = |slot: &u32| slots[*slot as usize].hold.as_ref().map_or(0, |hold| hash_of(hold.request));
            self.by_request.insert_unique(hash_of(request), slot, rehash);
        }
        self.leave(slot, second);
        HoldRef::new(self.index, slot, self.slots[slot as usize].generation)
    }

    /// Takes a hold out.
    pub fn remove(&mut self, at: HoldRef) -> Option<Hold> {
        self.get(at)?;
        // The generation is checked above, and slots are numbered in 26 bits.
        self.take(u32::try_from(at.slot()).unwrap_or(u32::MAX))
    }

    /// Lets a hold end later. Never earlier.
    pub fn extend(&mut self, at: HoldRef, expires: Timestamp) {
        let second = self.leaves_at(expires);
        if let Some(hold) = self.get(at).filter(|hold| hold.expires < expires) {
            hold.expires = expires;
            self.leave(u32::try_from(at.slot()).unwrap_or(u32::MAX), second);
        }
    }

    fn leaves_at(&self, expires: Timestamp) -> i64 {
        (second_of(expires) + 1 + self.grace_secs).max(self.swept + 1)
    }

    /// Notes when what a slot holds leaves; what was noted before no longer counts.
    fn leave(&mut self, slot: u32, second: i64) {
        let entry = &mut self.slots[slot as usize];
        entry.second = second;
        // Made with the first hold: three megabytes over all parts.
        self.wheel.resize(bucket_of(-1) + 1, Vec::new());
        self.wheel[bucket_of(second)].push((slot, entry.generation));
    }

    fn take(&mut self, slot: u32) -> Option<Hold> {
        let entry = &mut self.slots[slot as usize];
        let hold = entry.hold.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.count -= 1;
        if hold.request != 0
            && let Ok(known) = self.by_request.find_entry(hash_of(hold.request), |at| *at == slot)
        {
            known.remove();
        }
        Some(hold)
    }

    fn expire(&mut self, now: Timestamp, each: &mut impl FnMut(HoldRef, Hold)) {
        let until = second_of(now);
        if self.wheel.is_empty() {
            self.swept = self.swept.max(until);
            return;
        }
        // After a long pause one turn of the wheel sees everything.
        for second in self.swept.max(until - WHEEL) + 1..=until {
            for (slot, generation) in std::mem::take(&mut self.wheel[bucket_of(second)]) {
                let entry = &self.slots[slot as usize];
                let is_current = entry.generation == generation && bucket_of(entry.second) == bucket_of(second);
                let Some(hold) = entry.hold.as_ref().filter(|_| is_current) else { continue };
                if entry.second > until {
                    // Of a later turn of the wheel.
                    self.wheel[bucket_of(second)].push((slot, generation));
                } else if hold.pending > 0 {
                    // A charge on its way still decides what becomes of it: look again a second later.
                    self.leave(slot, until + 1);
                } else if let Some(hold) = self.take(slot) {
                    each(HoldRef::new(self.index, slot, generation), hold);
                }
            }
        }
        self.swept = self.swept.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(request: u128, expires_secs: i64) -> Hold {
        Hold {
            request,
            body: 0,
            issued: Timestamp::default(),
            expires: Timestamp::from_micros(expires_secs * 1_000_000),
            price: HeldPrice::Unknown,
            granted_output: 0,
            whose: Whose { place: Place { tenant: 0, workspace: 0, project: 0 }, owner: 0, caller: 0, key: 0 },
            lines: Lines::new(),
            pending: 0,
            ending: false,
            over: false,
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn expired(holds: &Holds, secs: i64) -> Vec<u128> {
        let mut gone = Vec::new();
        holds.expire(at(secs), |_, hold| gone.push(hold.request));
        gone.sort_unstable();
        gone
    }

    #[test]
    fn a_hold_leaves_when_its_end_and_grace_have_passed_and_not_before() {
        let holds = Holds::new(10, at(100));
        for request in 1..=5 {
            holds.shard_of_request(request).insert(hold(request, 100 + i64::try_from(request).unwrap_or(0)));
        }
        assert_eq!(expired(&holds, 111), []);
        assert_eq!(expired(&holds, 112), [1]);
        assert_eq!(expired(&holds, 5000), [2, 3, 4, 5]);
        assert_eq!(holds.count(), 0);
    }

    #[test]
    fn an_extended_hold_stays_and_a_settled_one_is_not_found_again() {
        let holds = Holds::new(0, at(100));
        let (a, b) = (holds.shard_of_request(1).insert(hold(1, 110)), holds.shard_of_request(2).insert(hold(2, 110)));
        holds.shard_of(a).extend(a, at(500));
        assert!(holds.shard_of(b).remove(b).is_some());
        assert!(holds.shard_of(b).remove(b).is_none());
        let c = holds.shard_of_request(2).insert(hold(2, 110));
        assert_ne!(b, c, "the slot is used again under another generation");
        assert_eq!(expired(&holds, 200), [2]);
        assert!(holds.shard_of(a).get(a).is_some());
        assert_eq!(expired(&holds, 501), [1]);
    }

    #[test]
    fn a_hold_with_a_charge_on_its_way_waits_for_it() {
        let holds = Holds::new(0, at(100));
        let a = holds.shard_of_request(1).insert(Hold { pending: 1, ..hold(1, 101) });
        assert_eq!(expired(&holds, 5000), []);
        holds.shard_of(a).get(a).expect("alive").pending = 0;
        assert_eq!(expired(&holds, 5002), [1]);
    }
}
