//! Whether this server may answer: only while others do not take it for dead.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use crate::domain::time::{Reading, Timestamp};

/// No sign of life that counts.
const NONE: u64 = u64::MAX;
/// None will ever count again.
const ENDED: u64 = u64::MAX - 1;

/// The right to answer, for a while after each sign of life.
#[derive(Debug)]
pub struct Lease {
    /// How long after a sign of life; `None` for good: nobody else can take the ledger over.
    span: Option<Duration>,
    /// When the last sign of life that was taken was sent, in nanoseconds of uptime; or [`NONE`], or [`ENDED`].
    uptime: AtomicU64,
    /// The same, by the time of day. Whoever reads a new one of the two and an old other one sees an older lease.
    now: AtomicI64,
    /// Signs of life that were sent until then do not count, in nanoseconds of uptime: this server has slept since.
    lost: AtomicU64,
}

impl Lease {
    /// For the one server of a ledger, as long as it runs.
    #[must_use]
    pub const fn for_good() -> Self {
        Self { span: None, uptime: AtomicU64::new(NONE), now: AtomicI64::new(0), lost: AtomicU64::new(0) }
    }

    /// For one server of many: not before the first sign of life.
    #[must_use]
    pub const fn of(span: Duration) -> Self {
        Self { span: Some(span), uptime: AtomicU64::new(NONE), now: AtomicI64::new(0), lost: AtomicU64::new(0) }
    }

    /// Whether there may be others.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.span.is_some()
    }

    /// A sign of life was taken. `sent` was read before it was sent: when it arrived nobody here can tell.
    pub fn renew(&self, sent: Reading) {
        let uptime = nanos(sent.uptime);
        if uptime <= self.lost.load(Ordering::Acquire) {
            return;
        }
        // One task gives signs of life; only the end of the lease, or its loss, comes from elsewhere.
        let later = |last| (last != ENDED && (last == NONE || last < uptime)).then_some(uptime);
        self.now.store(sent.now.micros(), Ordering::Release);
        let _ = self.uptime.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// The clocks have stood still until now: not before the next sign of life, and not by one that is on its way.
    pub fn lose(&self, uptime: Duration) {
        self.lost.fetch_max(nanos(uptime), Ordering::AcqRel);
        let open = |last| (last != ENDED).then_some(NONE);
        let _ = self.uptime.fetch_update(Ordering::AcqRel, Ordering::Acquire, open);
    }

    /// Others have taken this server for dead.
    pub fn end(&self) {
        self.uptime.store(ENDED, Ordering::Release);
    }

    /// The time since the last sign of life; `None` when there is none that counts.
    #[must_use]
    pub fn age(&self, at: Reading) -> Option<Duration> {
        let uptime = self.uptime.load(Ordering::Acquire);
        let now = Timestamp::from_micros(self.now.load(Ordering::Acquire));
        (uptime < ENDED).then(|| at.since(Reading { now, uptime: Duration::from_nanos(uptime) }))
    }

    /// Whether this server may answer at a moment. The clocks are read only when that matters.
    #[must_use]
    pub fn holds(&self, at: impl FnOnce() -> Reading) -> bool {
        self.span.is_none_or(|span| self.age(at()).is_some_and(|age| age < span))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).map_or(ENDED - 1, |nanos| nanos.min(ENDED - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: i64, uptime: u64) -> Reading {
        Reading { now: Timestamp::from_micros(now * 1_000_000), uptime: Duration::from_secs(uptime) }
    }

    #[test]
    fn a_lease_ends_when_either_clock_says_so_and_not_by_a_clock_set_back() {
        let lease = Lease::of(Duration::from_secs(3));
        assert!(!lease.holds(|| at(10, 10)));
        lease.renew(at(10, 10));
        assert!(lease.holds(|| at(12, 12)) && lease.holds(|| at(1, 12)));
        assert!(!lease.holds(|| at(13, 10)), "the machine has slept, and one clock with it");
        assert!(!lease.holds(|| at(10, 13)));
        lease.lose(Duration::from_secs(11));
        lease.renew(at(11, 11));
        assert!(!lease.holds(|| at(11, 11)), "it was sent before");
        lease.renew(at(12, 12));
        lease.end();
        lease.renew(at(13, 13));
        assert!(!lease.holds(|| at(13, 13)));
        assert!(Lease::for_good().holds(|| at(i64::MAX / 1_000_000, 99)));
    }
}
