//! How long everything takes at worst, on which the safety of many servers on one ledger stands.
//!
//! A server answers only while its last sign of life is fresh, by its own clocks. Others take it for dead when they have
//! not seen one for longer than that, by theirs; and what it had set aside stays so until every hold on it has ended. The
//! rates of the clocks may differ by [`DRIFT`]; what they show may differ by anything. (Gray and Cheriton, Leases, 1989.)

use std::time::Duration;

use super::question::MAX_HOLD;

/// Two clocks drift apart by at most one part in this many; kernels slew them by at most one in 2000.
const DRIFT: u32 = 100;
/// Longest that an answer is on its way: a sidecar drops an older one.
const REPLY: Duration = Duration::from_millis(250);
/// What observers wait beside: an answer that was decided just before the end reaches its sidecar or is dropped there.
const MARGIN: Duration = Duration::from_millis(750);
/// What a charge can take on its way at worst: subtracted from the grace, so that a charge that is punctual by the sidecar's
/// clock is punctual here.
pub const WORST_CHARGE: Duration = Duration::from_secs(15);

/// The spans that a server is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often it gives a sign of life.
    pub beat: Duration,
    /// How long one is fresh.
    pub lease: Duration,
    /// How much longer it answers from what it knows, when the database is away.
    pub stale: Duration,
    /// How long a hold stays after its end, for charges on their way.
    pub grace: Duration,
    /// Longest hold that is ever promised.
    pub longest: Duration,
}

impl Timing {
    /// The usual spans.
    #[must_use]
    pub const fn new(grace: Duration, stale: Duration) -> Self {
        Self { beat: Duration::from_millis(750), lease: Duration::from_secs(3), stale, grace, longest: MAX_HOLD }
    }

    /// How long a server answers after a sign of life.
    #[must_use]
    pub fn answers_for(&self) -> Duration {
        self.lease + self.stale
    }

    /// How long others wait for a sign of life of a server that answers for so long without one.
    #[must_use]
    pub fn dead_after(answers_for: Duration) -> Duration {
        by_any_clock(answers_for) + MARGIN
    }

    /// How long a slice stays set aside for holds of so many seconds whose server no longer answers.
    #[must_use]
    pub fn closes_after(&self, promised: i64) -> Duration {
        self.ends_after(Duration::from_secs(u64::try_from(promised).unwrap_or_default()))
    }

    /// How long it takes until no hold lives any more of a server that no longer answers, whatever it promised.
    #[must_use]
    pub fn doubted_for(&self) -> Duration {
        self.ends_after(self.longest)
    }

    fn ends_after(&self, hold: Duration) -> Duration {
        by_any_clock(hold + self.grace + REPLY) + MARGIN
    }
}

/// So long that every clock shows at least `span`, when this one shows the result.
fn by_any_clock(span: Duration) -> Duration {
    span * (DRIFT + 1) / (DRIFT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observer_with_a_fast_clock_outwaits_a_server_with_a_slow_one() {
        let timing = Timing::new(Duration::from_mins(2), Duration::from_mins(1));
        // What a clock that goes 1 % slow shows as the span takes so long; one that goes 1 % fast then shows that.
        let fast = |real: Duration| real * 101 / 100;
        let real = timing.answers_for() * 100 / 99;
        assert!(Timing::dead_after(timing.answers_for()) >= fast(real) + REPLY);
        let real = (Duration::from_mins(15) + timing.grace) * 100 / 99;
        assert!(timing.closes_after(900) >= fast(real) + REPLY);
    }
}
