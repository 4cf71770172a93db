//! When the secret of an API key is due for another one, and when its owner is warned of that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// How long before a rotation is due somebody is warned of it, and in what words.
const BEFORE: [(Duration, &str); 3] = [
    (Duration::from_hours(14 * 24), "due in 14 days"),
    (Duration::from_hours(7 * 24), "due in 7 days"),
    (Duration::from_hours(24), "due in 1 day"),
];

/// When a secret is due for another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// From when on it ought to have been rotated.
    pub due: Timestamp,
    /// From when on its key is refused until it is.
    pub deadline: Timestamp,
}

/// A moment at which somebody is warned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning {
    /// When.
    pub at: Timestamp,
    /// What is so then: `due in 7 days`, `due`, `overdue`.
    pub says: &'static str,
}

impl Schedule {
    /// Every warning, the first one first.
    fn warnings(&self) -> [Warning; 5] {
        let [fortnight, week, day] = BEFORE.map(|(span, says)| Warning { at: self.due.before(span), says });
        [fortnight, week, day, Warning { at: self.due, says: "due" }, Warning { at: self.deadline, says: "overdue" }]
    }

    /// When the next warning is that is later than then.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.warnings().into_iter().map(|warning| warning.at).find(|at| *at > after)
    }

    /// The latest of the warnings whose time has come: one that was missed is not made up for when a later one is true.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Option<Warning> {
        self.warnings().into_iter().rev().find(|warning| warning.at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_micros(day * 86_400_000_000)
    }

    #[test]
    fn warnings_follow_each_other_and_the_latest_is_the_true_one() {
        let schedule = Schedule { due: day(90), deadline: day(97) };
        let (mut at, mut seen) = (day(0), Vec::new());
        while let Some(next) = schedule.next(at) {
            let warning = schedule.latest(next).expect("one");
            assert_eq!(warning.at, next);
            assert_ne!(schedule.latest(Timestamp::from_micros(next.micros() - 1)), Some(warning));
            seen.push((next, warning.says));
            at = next;
        }
        let words = ["due in 14 days", "due in 7 days", "due in 1 day", "due", "overdue"];
        assert_eq!(seen, [76, 83, 89, 90, 97].map(day).into_iter().zip(words).collect::<Vec<_>>());
        assert_eq!(schedule.latest(day(84)).map(|warning| warning.says), Some("due in 7 days"));
        assert_eq!(schedule.latest(day(75)), None);
        // What lies before the secret was made is no warning; and without a grace there is one less.
        let short = Schedule { due: day(3), deadline: day(3) };
        assert_eq!((short.next(day(0)), short.next(day(2)), short.next(day(3))), (Some(day(2)), Some(day(3)), None));
        assert_eq!(short.latest(day(3)).map(|warning| warning.says), Some("overdue"));
    }
}
