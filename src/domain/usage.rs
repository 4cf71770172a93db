//! Usage as it is asked for: spans of time, and what it is added up by. UTC, in whole hours since 1970.

use super::{
    time::Timestamp,
    window::{Period, Window},
};

/// Microseconds of an hour.
pub const HOUR_MICROS: i64 = 3_600_000_000;
/// Hours of a day.
pub const DAY: i64 = 24;
/// The longest range, in hours: five years.
pub const LONGEST: i64 = 5 * 366 * DAY;
/// The longest range by the hour, in hours.
pub const LONGEST_BY_HOUR: i64 = 31 * DAY;
/// The last hour that can be asked for: of the year 9955.
pub const LAST_HOUR: i64 = 70_000_000;

/// The hour that a time is in, counted since 1970.
#[must_use]
pub const fn hour(at: Timestamp) -> i64 {
    at.micros().div_euclid(HOUR_MICROS)
}

/// When an hour begins.
#[must_use]
pub const fn time_of(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour.saturating_mul(HOUR_MICROS))
}

/// The first hour of the calendar month that an hour is in.
#[must_use]
pub fn month(hour: i64) -> i64 {
    i64::from(Window::Month.period(time_of(hour)).0)
}

/// How long the spans are that usage is added up over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Calendar months.
    Month,
    /// All of it.
    Total,
}

impl Granularity {
    /// When the span ends that begins at `start`, with a range that ends at `end`. Hours.
    #[must_use]
    pub fn end(self, start: i64, end: i64) -> i64 {
        let whole = match self {
            Self::Hour => start + 1,
            Self::Day => start - start.rem_euclid(DAY) + DAY,
            Self::Month => after_month(start),
            Self::Total => end,
        };
        whole.min(end)
    }
}

/// The first hour after the month that an hour is in.
#[must_use]
pub fn after_month(hour: i64) -> i64 {
    let end = u32::try_from(month(hour)).ok().and_then(|first| Window::Month.end(Period(first)));
    end.map_or(i64::MAX, self::hour)
}

/// What usage is added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grouping {
    /// By workspace.
    Workspace,
    /// By project.
    Project,
    /// By each team of the owner.
    Team,
    /// By owner of the credential.
    Owner,
    /// By key.
    Key,
    /// By provider.
    Provider,
    /// By model.
    Model,
}

impl Grouping {
    /// All of them, in the order that rows are in.
    pub const ALL: [Self; 7] =
        [Self::Workspace, Self::Project, Self::Team, Self::Owner, Self::Key, Self::Provider, Self::Model];
}

/// In which order sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By time.
    Time,
    /// The latest first.
    TimeDown,
    /// By what was spent.
    Spend,
    /// The most first.
    SpendDown,
}

/// Sums of so many `hours` each, from the hour `low` until before `high`; for the span that begins at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where the span begins.
    pub start: i64,
    /// 1 or 24.
    pub hours: i64,
    /// The first hour.
    pub low: i64,
    /// The hour after the last.
    pub high: i64,
}

/// The sums that a range is put together from: whole days by the day, what is left at its ends by the hour.
#[must_use]
pub fn parts(granularity: Granularity, low: i64, high: i64) -> Vec<Part> {
    let mut parts = Vec::new();
    if granularity == Granularity::Hour {
        parts.push(Part { start: low, hours: 1, low, high });
        return parts;
    }
    let mut start = low;
    while start < high {
        // Days are told apart by the sums themselves: a range of them is one span here.
        let end = if granularity == Granularity::Month { after_month(start).min(high) } else { high };
        let first = start + (-start).rem_euclid(DAY);
        let last = end - end.rem_euclid(DAY);
        let pieces = if first < last {
            [(1, start, first), (DAY, first, last), (1, last, end)]
        } else {
            [(1, start, end), (DAY, end, end), (1, end, end)]
        };
        let there = pieces.into_iter().filter(|(_, low, high)| low < high);
        parts.extend(there.map(|(hours, low, high)| Part { start, hours, low, high }));
        start = end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-01T00:00:00Z.
    const FEBRUARY: i64 = 474_096;

    #[test]
    fn a_range_is_put_together_from_whole_days_and_hours_each_once() {
        for granularity in [Granularity::Hour, Granularity::Day, Granularity::Month, Granularity::Total] {
            for low in FEBRUARY - 30..FEBRUARY + 30 {
                for length in [1, 2, 23, 24, 25, 47, 48, 49, 700, 1500] {
                    let high = low + length;
                    let parts = parts(granularity, low, high);
                    let mut at = low;
                    for part in &parts {
                        assert_eq!(part.low, at, "{granularity:?} {low} {high}");
                        assert!(part.high > part.low && part.start <= part.low, "{part:?}");
                        assert!(part.hours == 1 || part.low % 24 == 0 && part.high % 24 == 0, "{part:?}");
                        at = part.high;
                    }
                    assert_eq!(at, high);
                    let by_hour: i64 =
                        parts.iter().filter(|part| part.hours == 1).map(|part| part.high - part.low).sum();
                    let ends = if granularity == Granularity::Month { 92 } else { 46 };
                    assert!(granularity == Granularity::Hour || by_hour <= ends, "{granularity:?} {low} {high}");
                }
            }
        }
    }

    #[test]
    fn a_span_ends_on_the_clock_and_the_calendar_or_with_the_range() {
        let end = FEBRUARY + 5000;
        assert_eq!(Granularity::Hour.end(FEBRUARY, end), FEBRUARY + 1);
        assert_eq!(Granularity::Day.end(FEBRUARY + 3, end), FEBRUARY + 24);
        assert_eq!(Granularity::Month.end(FEBRUARY + 3, end), FEBRUARY + 29 * 24);
        assert_eq!(Granularity::Month.end(FEBRUARY + 3, FEBRUARY + 9), FEBRUARY + 9);
        assert_eq!(Granularity::Total.end(FEBRUARY, end), end);
        assert_eq!(month(FEBRUARY + 28 * 24), FEBRUARY);
    }
}
