//! The system's clocks: the one place that reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::domain::time::{Clock, Timestamp};

/// Goes on while the machine sleeps, where the system has such a clock.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is broken; the first instant is as good an answer as any.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn uptime(&self) -> Duration {
        let up = clock_gettime(CLOCK);
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Duration::from_secs(part(up.tv_sec)) + Duration::from_nanos(part(up.tv_nsec))
    }
}

/// The clock that only goes forward, for spans: it knows no date, and nobody can set it.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}
