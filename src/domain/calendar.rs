//! Calendars: the periods into which a budget's window divides time, by the clock of a time zone and from an anchor.
//!
//! A period begins at a moment and ends where the next one begins, whatever the clocks there show in between: so periods
//! never overlap and leave nothing out, also where hours occur twice, or midnight, or a whole day, never. What a calendar
//! gives is a sequence of moments, each the first at which the clock shows the beginning of an hour, a day, a week or a month;
//! the period of a moment is the last that began by then.

use std::{fmt, str::FromStr};

use jiff::{
    Span,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::{
    time::Timestamp,
    window::{LAST_HOUR, Period, Window},
    zone::{UnknownZone, Zone},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// How often the clock is asked for the beginning of an hour: once more for each change of the clock on the way.
const MAX_CHANGES: usize = 8;

/// How a window divides time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// The span of a period.
    pub window: Window,
    /// By whose clock.
    pub zone: Zone,
    /// The day on which a period begins: of the month, 1 to 31, or the last where there is none such; or of the week, 1 for
    /// Monday to 7 for Sunday. 1 for windows without days to begin on.
    pub anchor: u8,
}

/// A period and its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The period.
    pub period: Period,
    /// When the next one begins; `None` for all time.
    pub ends: Option<Timestamp>,
}

impl Calendar {
    /// That of a window by universal time, from the first of the month and from Monday.
    #[must_use]
    pub const fn utc(window: Window) -> Self {
        Self { window, zone: Zone::UTC, anchor: 1 }
    }

    /// The largest anchor that a window can have.
    #[must_use]
    pub const fn last_anchor(window: Window) -> u8 {
        match window {
            Window::Week => 7,
            Window::Month => 31,
            Window::Hour | Window::Day | Window::Total => 1,
        }
    }

    /// The period that `at` falls in. Times before 1970 fall in the first one, times after the year 9955 in the last.
    #[must_use]
    pub fn run(self, at: Timestamp) -> Run {
        if self.is_plain() {
            let period = self.window.period(at);
            return Run { period, ends: self.window.end(period) };
        }
        let at = at.micros().div_euclid(1_000_000).clamp(0, i64::from(LAST_HOUR) * HOUR);
        let (start, end) = self.around(at);
        let period = Period(u32::try_from((start.max(0)) / self.grain()).unwrap_or(u32::MAX));
        Run { period, ends: Some(Timestamp::from_micros(end.saturating_mul(1_000_000))) }
    }

    /// See [`Calendar::run`].
    #[must_use]
    pub fn period(self, at: Timestamp) -> Period {
        if self.is_plain() { self.window.period(at) } else { self.run(at).period }
    }

    /// When a period ends; `None` for all time.
    #[must_use]
    pub fn end(self, period: Period) -> Option<Timestamp> {
        if self.is_plain() {
            return self.window.end(period);
        }
        // No two periods begin in one grain of time.
        let last = (i64::from(period.0) + 1) * self.grain() - 1;
        self.run(Timestamp::from_micros(last.saturating_mul(1_000_000))).ends
    }

    /// Whether hours since 1970 tell everything: these calendars there always were, and their periods keep their numbers.
    fn is_plain(self) -> bool {
        self.window == Window::Total || (self.zone == Zone::UTC && self.anchor <= 1)
    }

    /// What a period's number counts, in seconds: zones begin their hours at other minutes than UTC does.
    fn grain(self) -> i64 {
        if self.zone == Zone::UTC { HOUR } else { MINUTE }
    }

    /// The beginnings of the period that runs at a moment and of the next one, in seconds since 1970.
    fn around(self, at: i64) -> (i64, i64) {
        let zone = self.zone.rules();
        if self.window == Window::Hour {
            return (hour_before(&zone, at), hour_after(&zone, at));
        }
        let today =
            Offset::from_seconds(offset(&zone, at)).map_or(Date::MAX, |there| there.to_datetime(moment(at)).date());
        let (mut start, mut end) = (i64::MIN, i64::MAX);
        for date in self.candidates(today) {
            let begins = first_moment(&zone, date);
            if begins <= at {
                start = start.max(begins);
            } else {
                end = end.min(begins);
            }
        }
        (start, end)
    }

    /// The days around one on which periods begin: enough of them, although the clock may have been set by a day.
    fn candidates(self, today: Date) -> Vec<Date> {
        let days = |from: Date, many: i64| from.checked_add(Span::new().days(many)).unwrap_or(Date::MAX);
        match self.window {
            Window::Week => {
                let first = i64::from(self.anchor) - 1;
                let since = (i64::from(today.weekday().to_monday_zero_offset()) - first).rem_euclid(7);
                (-1..=2).map(|week| days(today, week * 7 - since)).collect()
            }
            Window::Month => {
                let of = |month: i64| {
                    let first = today.first_of_month().checked_add(Span::new().months(month)).unwrap_or(Date::MAX);
                    let day = i64::from(self.anchor).min(i64::from(first.days_in_month()));
                    days(first, day - 1)
                };
                (-2..=2).map(of).collect()
            }
            Window::Hour | Window::Day | Window::Total => (-2..=3).map(|day| days(today, day)).collect(),
        }
    }
}

fn moment(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
}

/// How far a zone's clock is ahead, in seconds.
fn offset(zone: &TimeZone, at: i64) -> i32 {
    zone.to_offset(moment(at)).seconds()
}

/// The first moment at which a zone's clock shows a date, or a later one where it shows none of it.
fn first_moment(zone: &TimeZone, date: Date) -> i64 {
    let midnight = DateTime::from_parts(date, Time::midnight());
    let as_utc = Offset::UTC.to_timestamp(midnight).unwrap_or(jiff::Timestamp::MAX).as_second();
    match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => as_utc - i64::from(offset.seconds()),
        AmbiguousOffset::Fold { before, .. } => as_utc - i64::from(before.seconds()),
        AmbiguousOffset::Gap { before, after } => {
            let earlier = as_utc - i64::from(after.seconds());
            let change = zone.following(moment(earlier)).next();
            change.map_or(as_utc - i64::from(before.seconds()), |change| change.timestamp().as_second())
        }
    }
}

/// The last moment up to `at` at which a zone's clock showed a full hour.
fn hour_before(zone: &TimeZone, mut at: i64) -> i64 {
    for _ in 0..MAX_CHANGES {
        let full = at - (at + i64::from(offset(zone, at))).rem_euclid(HOUR);
        match zone.preceding(moment(at + 1)).next().map(|change| change.timestamp().as_second()) {
            // The clock was set in between: what it shows now says nothing of then.
            Some(change) if change > full && change <= at => at = change - 1,
            _ => return full,
        }
    }
    at
}

/// The first moment after `at` at which a zone's clock shows a full hour.
fn hour_after(zone: &TimeZone, mut at: i64) -> i64 {
    for _ in 0..MAX_CHANGES {
        let full = at + HOUR - (at + i64::from(offset(zone, at))).rem_euclid(HOUR);
        match zone.following(moment(at)).next().map(|change| change.timestamp().as_second()) {
            Some(change) if change <= full => {
                if (change + i64::from(offset(zone, change))).rem_euclid(HOUR) == 0 {
                    return change;
                }
                at = change;
            }
            _ => return full,
        }
    }
    at + HOUR
}

/// The zone and the anchor, as they are stored.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.zone, self.anchor)
    }
}

/// A zone and an anchor, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// See [`Calendar::zone`].
    pub zone: Zone,
    /// See [`Calendar::anchor`].
    pub anchor: u8,
}

impl FromStr for Clock {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let (zone, anchor) = text.rsplit_once('@').ok_or(UnknownZone)?;
        Ok(Self { zone: zone.parse()?, anchor: anchor.parse().map_err(|_| UnknownZone)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::window::HOUR_MICROS;

    const WINDOWS: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect("a time").as_microsecond())
    }

    fn calendar(window: Window, zone: &str, anchor: u8) -> Calendar {
        Calendar { window, zone: zone.parse().expect("a zone"), anchor }
    }

    /// The ends of the periods from one on.
    fn ends(calendar: Calendar, from: &str, many: usize) -> Vec<String> {
        let mut now = at(from);
        let mut next = || {
            now = calendar.run(now).ends.expect("an end");
            now.to_string()
        };
        (0..many).map(|_| next()).collect()
    }

    #[test]
    fn a_month_from_the_31st_begins_on_the_last_day_where_there_is_none_such() {
        let utc = calendar(Window::Month, "UTC", 31);
        let expected = ["2023-01-31T00:00:00Z", "2023-02-28T00:00:00Z", "2023-03-31T00:00:00Z", "2023-04-30T00:00:00Z"];
        assert_eq!(ends(utc, "2023-01-15T12:00:00Z", 4), expected);
        assert_eq!(ends(utc, "2024-02-01T00:00:00Z", 1), ["2024-02-29T00:00:00Z"]);
        let berlin = calendar(Window::Month, "Europe/Berlin", 31);
        let expected = ["2023-02-27T23:00:00Z", "2023-03-30T22:00:00Z", "2023-04-29T22:00:00Z"];
        assert_eq!(ends(berlin, "2023-02-01T00:00:00Z", 3), expected);
    }

    #[test]
    fn a_week_begins_on_its_day_and_at_midnight_there() {
        assert_eq!(
            ends(Calendar::utc(Window::Week), "2026-11-28T12:00:00Z", 2),
            ["2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"]
        );
        let sunday = calendar(Window::Week, "Asia/Kathmandu", 7);
        assert_eq!(ends(sunday, "2026-11-28T12:00:00Z", 2), ["2026-11-28T18:15:00Z", "2026-12-05T18:15:00Z"]);
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let day = |zone, from, many| ends(calendar(Window::Day, zone, 1), from, many);
        // 23 hours, then 25.
        assert_eq!(day("Europe/Berlin", "2026-03-28T12:00:00Z", 2), ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
        assert_eq!(day("Europe/Berlin", "2026-10-24T12:00:00Z", 2), ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]);
        // The day begins at one o'clock: there is no midnight.
        assert_eq!(
            day("America/Sao_Paulo", "2018-11-03T12:00:00Z", 2),
            ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]
        );
        // Midnight occurs twice.
        assert_eq!(day("America/Havana", "2024-11-02T12:00:00Z", 2), ["2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"]);
        // There is no 30 December.
        assert_eq!(day("Pacific/Apia", "2011-12-29T12:00:00Z", 2), ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
        // The clock goes back to the day before, one minute after midnight.
        assert_eq!(
            day("America/Goose_Bay", "2010-11-06T12:00:00Z", 2),
            ["2010-11-07T03:00:00Z", "2010-11-08T04:00:00Z"]
        );
    }

    #[test]
    fn an_hour_begins_when_the_clock_there_shows_a_full_one() {
        let hours = |zone, from, many| ends(calendar(Window::Hour, zone, 1), from, many);
        assert_eq!(hours("Asia/Kolkata", "2026-05-01T12:00:00Z", 2), ["2026-05-01T12:30:00Z", "2026-05-01T13:30:00Z"]);
        // Two o'clock occurs twice, and is two hours.
        let expected = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(hours("Europe/Berlin", "2026-10-24T23:30:00Z", 3), expected);
        // Half an hour occurs twice: that hour is one and a half.
        let expected = ["2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"];
        assert_eq!(hours("Australia/Lord_Howe", "2026-04-04T13:30:00Z", 3), expected);
    }

    #[test]
    fn no_time_is_too_strange_and_what_is_stored_is_read_back() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            for window in WINDOWS {
                let calendar = calendar(window, "Pacific/Kiritimati", Calendar::last_anchor(window));
                let run = calendar.run(Timestamp::from_micros(micros));
                let _ = calendar.end(run.period);
                let Calendar { zone, anchor, .. } = calendar;
                assert_eq!(calendar.to_string().parse(), Ok(Clock { zone, anchor }));
            }
        }
        assert!("UTC".parse::<Clock>().is_err());
        assert_eq!(HOUR * 1_000_000, HOUR_MICROS);
    }
}
