//! A clock that stands still until a test moves it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use tollreeve::{
    domain::time::{Clock, Reading, Timestamp},
    runtime::clock::SystemClock,
};

/// When every test begins: 2026-03-10T12:20:00Z, in the middle of an hour, a day and a month.
pub const START: Timestamp = Timestamp::from_micros(1_773_145_200_000_000);

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct MockClock(AtomicI64);

impl MockClock {
    pub fn new() -> Self {
        Self(AtomicI64::new(START.micros()))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }

    /// Moves to a point in time.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.micros(), Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    /// Goes on as the real one does: what servers promise each other is not what a test plays with.
    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }

    fn reading(&self, _: Timestamp) -> Reading {
        Reading { now: START, uptime: self.uptime() }
    }
}
