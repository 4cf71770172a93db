//! Whether this server's clocks have stood still while those of the sidecars went on, as when a machine is frozen and
//! thawed: each call says what the sidecar's clock shows, and the least that calls ever took tells how far the two are apart.

use std::{hash::BuildHasher, time::Duration};

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

/// What a sidecar's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Names one run of the sidecar.
    pub instance: &'a str,
    /// Its clock, which nobody sets.
    pub monotonic: Duration,
}

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first stamp of this sidecar: how long it was on its way nobody can tell.
    New,
    /// Nothing worth knowing.
    Fine,
    /// This server's clocks have stood still.
    Still,
    /// The call has been on its way for so long.
    Late(Duration),
}

const SHARDS: usize = 16;
/// Most sidecars that are remembered in a part; past that all of them are forgotten, and learned anew.
const MAX: usize = 8192;
/// What calls may differ in how long they take, beside what the clocks drift apart.
const JITTER: i128 = 250_000_000;
/// Two clocks drift apart by at most one part in so many, each from the true time.
const DRIFT: i128 = 50;

/// A clock that has jumped more often than [`JUMPS`] times, not one of them longer than this ago, says nothing any more: the
/// server has asked each time, and can do no more than ask.
const DISBELIEF: Duration = Duration::from_mins(10);
/// What was kept on its way together may come in any order, and looks like so many jumps: within this they are one.
const OCCASION: Duration = Duration::from_secs(1);
const JUMPS: u32 = 8;

/// How long a base is built before the one before it is forgotten: what the clocks may have drifted apart since stays small.
const SPAN: Duration = Duration::from_secs(30);

/// How far a sidecar's clock was ahead of this server's, when it was furthest: lately, and in the span before.
#[derive(Clone, Copy)]
struct Base {
    ahead: i128,
    since: Duration,
    before: i128,
    before_since: Duration,
}

impl Base {
    const fn new(ahead: i128, since: Duration) -> Self {
        Self { ahead, since, before: ahead, before_since: since }
    }

    /// The furthest of both spans, and since when it can have been so.
    fn furthest(&mut self, now: Duration) -> (i128, Duration) {
        let furthest = (self.ahead.max(self.before), self.before_since);
        if now.saturating_sub(self.since) >= SPAN {
            *self = Self { ahead: i128::MIN, since: now, before: self.ahead, before_since: self.since };
        }
        furthest
    }
}

/// What is known of the clocks of sidecars.
pub struct Witness {
    bases: [Mutex<HashMap<u64, Base>>; SHARDS],
    /// Whose clocks have jumped, when last, and how often.
    jumped: Mutex<HashMap<u64, (Duration, u32)>>,
    hasher: DefaultHashBuilder,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            bases: std::array::from_fn(|_| Mutex::default()),
            jumped: Mutex::default(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Witness {
    /// Takes in what a sidecar's clock showed when it sent a call that is here now.
    #[must_use]
    pub fn see(&self, stamp: Stamp<'_>, now: Duration) -> Seen {
        let name = self.hasher.hash_one(stamp.instance);
        let ahead = nanos(stamp.monotonic) - nanos(now);
        let mut bases = self.bases[usize::from(name.to_le_bytes()[0]) % SHARDS].lock();
        let Some(base) = bases.get_mut(&name) else {
            if bases.len() >= MAX {
                bases.clear();
            }
            bases.insert(name, Base::new(ahead, now));
            return Seen::New;
        };
        let (furthest, since) = base.furthest(now);
        let drift = nanos(now.saturating_sub(since)) / DRIFT;
        if ahead - furthest > JITTER + drift {
            *base = Base::new(ahead, now);
            return if self.is_believed(name, now) { Seen::Still } else { Seen::Fine };
        }
        base.ahead = base.ahead.max(ahead);
        match u64::try_from(furthest - ahead - drift) {
            Ok(late) => Seen::Late(Duration::from_nanos(late)),
            Err(_) => Seen::Fine,
        }
    }

    /// Whether a jump of a sidecar's clock says something of this server's: not when that sidecar's has jumped too often.
    fn is_believed(&self, name: u64, now: Duration) -> bool {
        let mut jumped = self.jumped.lock();
        jumped.retain(|_, (last, _)| now.saturating_sub(*last) < DISBELIEF);
        if jumped.len() >= MAX {
            return false;
        }
        let (last, times) = jumped.entry(name).or_insert((now, 1));
        if now.saturating_sub(*last) >= OCCASION {
            (*last, *times) = (now, *times + 1);
        }
        *times <= JUMPS
    }

    /// Forgets what is known: after this server's clocks have stood still nothing of it is true.
    pub fn forget(&self) {
        self.bases.iter().for_each(|bases| bases.lock().clear());
    }
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_clock_that_stood_still_and_a_call_that_was_kept_are_noticed() {
        let witness = Witness::default();
        let see = |sidecar, here| witness.see(Stamp { instance: "edge-1", monotonic: ms(sidecar) }, ms(here));
        assert_eq!(see(50_000, 1_000), Seen::New);
        assert_eq!(see(51_000, 2_100), Seen::Late(ms(100 - 1_100 / 50)));
        assert_eq!(see(52_000, 2_900), Seen::Fine, "a call that took less than any before");
        assert_eq!(see(60_000, 30_900), Seen::Late(ms(20_000 - 29_900 / 50)));
        assert_eq!(see(92_000, 33_000), Seen::Still);
        witness.forget();
        assert_eq!(see(93_000, 34_000), Seen::New);
        let mut jumps = 1;
        while see(93_000 + jumps * 100_000, 34_000 + jumps * 1_000) == Seen::Still {
            jumps += 1;
        }
        assert_eq!(jumps, u64::from(JUMPS), "a clock that jumps again and again says nothing of ours");
        let other = Stamp { instance: "edge-2", monotonic: ms(1_000) };
        assert_eq!(witness.see(other, ms(50_000)), Seen::New);
        assert_eq!(witness.see(Stamp { monotonic: ms(3_000), ..other }, ms(50_100)), Seen::Still);
    }

    #[test]
    fn clocks_that_drift_apart_are_no_clocks_that_stand_still() {
        let witness = Witness::default();
        for second in 0..1_000 {
            let stamp = Stamp { instance: "edge-1", monotonic: ms(second * 1_010) };
            assert_ne!(witness.see(stamp, ms(second * 990)), Seen::Still);
        }
    }
}
