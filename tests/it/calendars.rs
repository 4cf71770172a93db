//! Periods of budgets in every time zone that there is.

use jiff::tz::TimeZone;
use tollreeve::domain::{calendar::Calendar, time::Timestamp, window::Window, zone::Zone};

use crate::harness::random::Random;

const WINDOWS: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];
/// 1972, before which clocks were set by seconds, and 2100.
const YEARS: (i64, i64) = (63_072_000, 4_102_444_800);

/// Moments within two hours of some at which clocks were set, and others.
fn moments(zone: Zone, random: &mut Random) -> Vec<i64> {
    let (from, to) = YEARS;
    let rules = TimeZone::get(zone.as_str()).expect("the zone");
    let start = jiff::Timestamp::from_second(from).expect("a time");
    let changes = rules.following(start).map(|change| change.timestamp().as_second());
    let mut moments: Vec<i64> = changes.take_while(|change| *change < to).filter(|_| random.once_in(16)).collect();
    moments.extend((0..4).map(|_| random.within(from, to)));
    moments.iter().map(|moment| moment + random.within(-7_200, 7_200)).collect()
}

#[test]
fn periods_follow_each_other_without_overlap_or_gap_and_their_numbers_grow() {
    let mut random = Random::fresh("calendars");
    for zone in Zone::all() {
        for second in moments(zone, &mut random) {
            let window = *random.pick(&WINDOWS);
            let last = i64::from(Calendar::last_anchor(window));
            let anchor = u8::try_from(random.within(1, last)).expect("a day");
            let calendar = Calendar { window, zone, anchor };
            let mut now = Timestamp::from_micros(second * 1_000_000 + 7);
            for _ in 0..3 {
                let what = format!("{calendar:?} at {now}");
                let run = calendar.run(now);
                let ends = run.ends.expect("an end");
                assert!(now < ends, "{what}");
                let last = Timestamp::from_micros(ends.micros() - 1);
                assert_eq!(calendar.run(last), run, "until its end: {what}");
                assert_eq!(calendar.end(run.period), Some(ends), "the end by the number: {what}");
                let next = calendar.run(ends);
                assert!(next.period > run.period, "numbers grow: {what}");
                assert_eq!(calendar.period(ends), next.period, "{what}");
                now = ends;
            }
        }
    }
}
