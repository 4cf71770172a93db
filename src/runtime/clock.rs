//! The system's clocks: the one place that reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::time::{Clock, Timestamp};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is broken; the first instant is as good an answer as any.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The clock that only goes forward, for spans: it knows no date, and nobody can set it.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}
