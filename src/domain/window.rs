//! The spans of time over which budgets count, and the periods they divide time into by universal time. In other zones and
//! from other days: [`super::calendar`].

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

pub(super) const HOUR_MICROS: i64 = 3_600_000_000;
/// The last hour of the year 9955: later times count as this one.
pub(super) const LAST_HOUR: u32 = 70_000_000;

/// The span over which a budget counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// Seven calendar days.
    Week,
    /// A calendar month.
    Month,
    /// All time.
    Total,
}

/// One run of a window, named by its beginning: hours since 1970, or minutes where the calendar is of another zone than UTC.
/// Windows of different lengths that begin together share the number: it means something only beside its budget. All time
/// is period 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Period(pub u32);

impl Period {
    const fn days_back(self, days: u32) -> Self {
        Self(self.0.saturating_sub(24 * days))
    }
}

impl Window {
    /// The period that `at` falls in. Times before 1970 fall in the first one, times after the year 9955 in the last.
    #[must_use]
    pub fn period(self, at: Timestamp) -> Period {
        let hour = u32::try_from(at.micros().div_euclid(HOUR_MICROS).clamp(0, LAST_HOUR.into())).unwrap_or_default();
        match self {
            Self::Hour => Period(hour),
            Self::Day => Period(hour - hour % 24),
            // 1970 began on a Thursday.
            Self::Week => Period(hour - hour % 24).days_back((hour / 24 + 3) % 7),
            Self::Month => {
                let date = civil(hour).first_of_month();
                Period(hours_of(date).unwrap_or(hour - hour % 24))
            }
            Self::Total => Period(0),
        }
    }

    /// When the period ends; `None` for all time.
    #[must_use]
    pub fn end(self, period: Period) -> Option<Timestamp> {
        let hours = match self {
            Self::Hour => period.0.saturating_add(1),
            Self::Day => period.0.saturating_add(24),
            Self::Week => period.0.saturating_add(24 * (7 - (period.0 / 24 + 3) % 7)),
            Self::Month => {
                let next = civil(period.0).last_of_month().tomorrow().ok()?;
                hours_of(next)?
            }
            Self::Total => return None,
        };
        Some(Timestamp::from_micros(i64::from(hours) * HOUR_MICROS))
    }
}

fn civil(hour: u32) -> jiff::civil::Date {
    jiff::Timestamp::from_second(i64::from(hour) * 3600)
        .map_or(jiff::civil::Date::MAX, |time| time.to_zoned(jiff::tz::TimeZone::UTC).date())
}

fn hours_of(date: jiff::civil::Date) -> Option<u32> {
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u32::try_from(midnight.timestamp().as_second() / 3600).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect("a time").as_microsecond())
    }

    #[test]
    fn a_period_begins_and_ends_on_the_clock_and_the_calendar() {
        let time = at("2024-02-29T13:45:10Z");
        for (window, start, end) in [
            (Window::Hour, "2024-02-29T13:00:00Z", "2024-02-29T14:00:00Z"),
            (Window::Day, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Window::Week, "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"),
            (Window::Month, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ] {
            let period = window.period(time);
            assert_eq!(i64::from(period.0) * HOUR_MICROS, at(start).micros());
            assert_eq!(window.end(period), Some(at(end)));
            assert_eq!(window.period(at(end)), window.period(at(end).after(std::time::Duration::from_secs(1))));
            assert_ne!(window.period(at(end)), period);
        }
        assert_eq!(Window::Total.end(Window::Total.period(time)), None);
    }

    #[test]
    fn no_time_is_too_strange_for_a_period() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month, Window::Total] {
                let period = window.period(Timestamp::from_micros(micros));
                let _ = window.end(period);
            }
        }
    }
}
