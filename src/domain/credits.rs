//! Credit: the entries of a workspace's pool, and what became of each.
//!
//! A pool is a hard budget whose periods end when credit expires. What is spent in a period draws on the entries that there
//! are in it, the one that expires soonest first, so that at the end of the period it is known what is left of those that
//! expire then. What calls have on hold at that moment stays in the period in which they were decided, and so comes out of
//! those entries first, whenever it is charged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{listing::Sorted, time::Timestamp, window::Period};

/// Most moments ahead at which credit of a pool expires.
pub const MAX_TURNS: usize = 500;

const HOUR_MICROS: i64 = 3_600_000_000;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Was paid for.
    Purchase,
    /// Was given.
    Grant,
    /// Puts something right; may take back.
    Adjustment,
    /// What was left of an entry at its end.
    Expiry,
}

/// One entry; but for `ended` it never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// 1, 2, 3 and so on in the workspace.
    pub seq: i64,
    /// What it is.
    pub kind: EntryKind,
    /// Billionths of a US dollar; negative takes credit away.
    pub amount: i64,
    /// Invoice or ticket; unique in the workspace.
    pub reference: String,
    /// For people.
    pub note: String,
    /// When what is left of it is gone; `None` for never. A whole hour.
    pub expires: Option<Timestamp>,
    /// Resource name of who made it.
    pub actor: String,
    /// When it was made.
    pub created: Timestamp,
    /// The pool's period in which it was made.
    pub period: Period,
    /// What had been spent in that period by then.
    pub mark: i64,
    /// Of an expiry: the entry of which it is the rest; 0 for none.
    pub of_entry: i64,
    /// Whether its end is on record.
    pub ended: bool,
}

impl Entry {
    /// The period that begins when it expires.
    #[must_use]
    pub fn turn(&self) -> Option<Period> {
        self.expires.map(turn_at)
    }
}

impl Sorted for Entry {
    fn id(&self) -> String {
        self.seq.to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

/// The period that begins at a whole hour.
#[must_use]
pub fn turn_at(moment: Timestamp) -> Period {
    Period(u32::try_from(moment.micros().div_euclid(HOUR_MICROS)).unwrap_or_default())
}

/// When a period begins.
#[must_use]
pub fn start_of(period: Period) -> Timestamp {
    Timestamp::from_micros(i64::from(period.0) * HOUR_MICROS)
}

/// Whether a moment is a whole hour.
#[must_use]
pub fn is_whole_hour(moment: Timestamp) -> bool {
    moment.micros().rem_euclid(HOUR_MICROS) == 0
}

/// What the ledger says of a period of the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spending {
    /// Which.
    pub period: Period,
    /// Most that may be allocated in it.
    pub cap: i64,
    /// Charged, overruns among it.
    pub spent: i64,
    /// Set aside by servers and not charged: what calls hold, and what is not held yet.
    pub reserved: i64,
    /// Whether servers have something of it set aside, or may have.
    pub open: bool,
}

/// All that is on record of a pool.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Its entries, by number.
    pub entries: Vec<Entry>,
    /// Its periods, oldest first.
    pub periods: Vec<Spending>,
}

/// What is left of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lot {
    /// The entry's number.
    pub seq: i64,
    /// The period that begins when it expires; `None` for never.
    pub turn: Option<Period>,
    /// What nobody has spent of it, at its end or now.
    pub left: i128,
    /// Whether its moment has passed.
    pub gone: bool,
    /// Whether its end is on record.
    pub ended: bool,
}

/// Where a pool stands in a period.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Most that may be spent and held in the period; below zero when more was spent before than there was.
    pub limit: i128,
    /// The sum of all entries but expiries.
    pub granted: i128,
    /// Charged in this period and before.
    pub spent: i128,
    /// Set aside in periods before and not charged.
    pub reserved_before: i128,
    /// Charged in this period.
    pub spent_now: i128,
    /// Gone, and on record.
    pub expired: i128,
    /// Gone, and not on record yet: what no call may still take.
    pub expiring: i128,
    /// What is left of each entry above zero, in the order of the entries.
    pub lots: Vec<Lot>,
}

/// Entries that are drawn on, on their way through the periods.
#[derive(Default)]
struct Draw {
    lots: Vec<Lot>,
    /// Spent past all entries: those that come later pay for it.
    owed: i128,
}

impl Draw {
    fn add(&mut self, entry: &Entry, expired: i128) {
        let amount = i128::from(entry.amount);
        if amount < 0 {
            return self.take(-amount);
        }
        // What is on record as expired of it can have been spent by nobody.
        let left = amount - expired;
        let paid = self.owed.min(left.max(0));
        self.owed -= paid;
        let lot = Lot { seq: entry.seq, turn: entry.turn(), left: left - paid, gone: false, ended: entry.ended };
        self.lots.push(lot);
    }

    fn take(&mut self, mut amount: i128) {
        let mut order: Vec<usize> = (0..self.lots.len()).filter(|at| !self.lots[*at].gone).collect();
        order.sort_by_key(|at| (self.lots[*at].turn.is_none(), self.lots[*at].turn, self.lots[*at].seq));
        for at in order {
            let taken = amount.min(self.lots[at].left.max(0));
            self.lots[at].left -= taken;
            amount -= taken;
        }
        self.owed += amount;
    }

    /// The entries whose moment is this one or an earlier one are gone.
    fn turn(&mut self, now: Period) {
        for lot in &mut self.lots {
            lot.gone |= lot.turn.is_some_and(|turn| turn <= now);
        }
    }
}

impl Pool {
    /// Where the pool stands in `current`, if all that is set aside in the periods before it is spent.
    #[must_use]
    pub fn standing(&self, current: Period) -> Standing {
        let expired: BTreeMap<i64, i128> =
            self.entries.iter().filter(|entry| entry.of_entry != 0).fold(BTreeMap::new(), |mut sums, entry| {
                *sums.entry(entry.of_entry).or_default() -= i128::from(entry.amount);
                sums
            });
        let mut spent: BTreeMap<Period, i128> = BTreeMap::new();
        for period in self.periods.iter().filter(|period| period.period <= current) {
            let reserved = if period.period < current { period.reserved } else { 0 };
            spent.insert(period.period, i128::from(period.spent) + i128::from(reserved));
        }
        // Periods in which nothing was spent have no row: entries expire in them all the same.
        let made = self.entries.iter().map(|entry| entry.period);
        let turns = self.entries.iter().filter_map(Entry::turn);
        for period in made.chain(turns).chain([current]).filter(|period| *period <= current) {
            spent.entry(period).or_default();
        }
        let mut draw = Draw::default();
        for (period, total) in &spent {
            draw.turn(*period);
            let mut drawn = 0;
            for entry in self.entries.iter().filter(|entry| entry.period == *period && entry.of_entry == 0) {
                let before = i128::from(entry.mark).clamp(drawn, (*total).max(drawn));
                draw.take(before - drawn);
                drawn = before;
                draw.add(entry, expired.get(&entry.seq).copied().unwrap_or_default());
            }
            draw.take((total - drawn).max(0));
        }
        let before = spent.iter().filter(|(period, _)| **period < current).map(|(_, sum)| sum).sum::<i128>();
        let spent_now = spent.get(&current).copied().unwrap_or_default();
        let granted = self.sum(|entry| entry.of_entry == 0);
        let expired: i128 = expired.values().sum();
        let expiring = draw.lots.iter().filter(|lot| lot.gone && !lot.ended).map(|lot| lot.left).sum::<i128>();
        let older = self.periods.iter().filter(|period| period.period < current);
        let reserved_before = older.map(|period| i128::from(period.reserved)).sum::<i128>();
        Standing {
            limit: granted - expired - expiring - before,
            granted,
            spent: before + spent_now - reserved_before,
            reserved_before,
            spent_now,
            expired,
            expiring,
            lots: draw.lots,
        }
    }

    fn sum(&self, which: impl Fn(&Entry) -> bool) -> i128 {
        self.entries.iter().filter(|entry| which(entry)).map(|entry| i128::from(entry.amount)).sum()
    }

    /// The period that runs, by a clock that says `by_clock`: another server's may be ahead.
    #[must_use]
    pub fn newest(&self, by_clock: Period) -> Period {
        let known = self.periods.iter().map(|known| known.period);
        known.chain(self.entries.iter().map(|entry| entry.period)).fold(by_clock, Period::max)
    }

    /// What has been charged in a period.
    #[must_use]
    pub fn spent_in(&self, period: Period) -> i64 {
        self.periods.iter().find(|known| known.period == period).map_or(0, |known| known.spent)
    }

    /// Whether what was spent before a period is final, but for charges that come after the end of their holds.
    #[must_use]
    pub fn is_settled_before(&self, period: Period) -> bool {
        self.periods.iter().all(|known| known.period >= period || !known.open)
    }
}

impl Standing {
    /// When something expires next, and how much of it there is now.
    #[must_use]
    pub fn next_expiry(&self) -> Option<(Timestamp, i128)> {
        let ahead = || self.lots.iter().filter(|lot| !lot.gone && lot.left > 0);
        let next = ahead().filter_map(|lot| lot.turn).min()?;
        let amount = ahead().filter(|lot| lot.turn == Some(next)).map(|lot| lot.left).sum();
        Some((start_of(next), amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: i64, amount: i64, turn: Option<u32>, period: u32, mark: i64) -> Entry {
        Entry {
            seq,
            kind: EntryKind::Grant,
            amount,
            reference: seq.to_string(),
            note: String::new(),
            expires: turn.map(|turn| start_of(Period(turn))),
            actor: String::new(),
            created: Timestamp::from_micros(seq),
            period: Period(period),
            mark,
            of_entry: 0,
            ended: false,
        }
    }

    fn expiry(seq: i64, of_entry: i64, amount: i64) -> Entry {
        Entry { kind: EntryKind::Expiry, of_entry, ..entry(seq, -amount, None, 0, 0) }
    }

    fn spending(period: u32, spent: i64, reserved: i64) -> Spending {
        Spending { period: Period(period), cap: 0, spent, reserved, open: reserved > 0 }
    }

    fn left(pool: &Pool, at: u32) -> Vec<i128> {
        pool.standing(Period(at)).lots.iter().map(|lot| lot.left).collect()
    }

    #[test]
    fn spending_draws_on_what_expires_soonest_and_of_several_on_the_oldest() {
        let entries = vec![entry(1, 10, None, 0, 0), entry(2, 10, Some(9), 0, 0), entry(3, 10, Some(5), 0, 0)];
        let entries = [entries, vec![entry(4, 10, Some(5), 0, 0)]].concat();
        for (spent, expected) in
            [(0, [10, 10, 10, 10]), (4, [10, 10, 6, 10]), (15, [10, 10, 0, 5]), (31, [9, 0, 0, 0]), (45, [0, 0, 0, 0])]
        {
            let pool = Pool { entries: entries.clone(), periods: vec![spending(0, spent, 0)] };
            assert_eq!(left(&pool, 0), expected, "{spent}");
            assert_eq!(pool.standing(Period(0)).limit, 40);
        }
    }

    #[test]
    fn what_was_spent_before_an_entry_was_made_does_not_draw_on_it() {
        let entries = vec![entry(1, 10, None, 0, 0), entry(2, 10, Some(5), 0, 4)];
        assert_eq!(left(&Pool { entries, periods: vec![spending(0, 6, 0)] }, 0), [6, 8]);
    }

    #[test]
    fn at_its_moment_the_rest_of_an_entry_is_gone_but_for_what_is_held() {
        let entries = vec![entry(1, 10, Some(5), 0, 0), entry(2, 20, None, 0, 0)];
        let pool = |periods| Pool { entries: entries.clone(), periods };
        let standing = pool(vec![spending(0, 3, 0)]).standing(Period(5));
        assert_eq!((standing.limit, standing.expiring, standing.spent), (20, 7, 3));
        // Held: it comes out of what expires first, and past that out of what stays.
        let standing = pool(vec![spending(0, 3, 4)]).standing(Period(5));
        assert_eq!((standing.limit, standing.expiring, standing.reserved_before), (20, 3, 4));
        let standing = pool(vec![spending(0, 3, 9)]).standing(Period(5));
        assert_eq!((standing.limit, standing.expiring), (18, 0));
        // A moment that nobody was there for.
        assert_eq!(pool(vec![]).standing(Period(7)).limit, 20);
    }

    #[test]
    fn what_is_on_record_as_expired_nobody_spends_and_late_charges_draw_on_what_stays() {
        let mut ended = entry(1, 10, Some(5), 0, 0);
        ended.ended = true;
        let entries = vec![ended, entry(2, 20, None, 0, 0), expiry(3, 1, 7)];
        let pool = |spent| Pool { entries: entries.clone(), periods: vec![spending(0, spent, 0)] };
        let standing = pool(3).standing(Period(5));
        assert_eq!((standing.limit, standing.expired, standing.expiring), (20, 7, 0));
        assert_eq!(pool(5).standing(Period(5)).limit, 18);
    }

    #[test]
    fn what_was_spent_past_everything_is_paid_by_what_comes() {
        let entries = vec![entry(1, 10, None, 0, 0), entry(2, 20, Some(5), 0, 14)];
        let pool = Pool { entries, periods: vec![spending(0, 14, 0)] };
        assert_eq!(left(&pool, 0), [0, 16]);
        assert_eq!(pool.standing(Period(5)).limit, 0);
    }

    #[test]
    fn the_limit_less_what_is_spent_is_what_is_left_whatever_happens() {
        // A fixed stream of numbers: small ones, so that everything meets.
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            i64::try_from(state % below).unwrap_or_default()
        };
        for round in 0..3000 {
            let mut pool = Pool::default();
            let mut now = 0;
            for seq in 1..=12 {
                if random(3) == 0 {
                    now += u32::try_from(random(4)).unwrap_or_default();
                }
                let current = Period(now);
                if pool.periods.last().is_none_or(|last| last.period < current) {
                    pool.periods.push(spending(now, 0, 0));
                }
                let last = pool.periods.last_mut().expect("a period");
                last.spent += random(9);
                let turn = (random(3) > 0).then(|| now + 1 + u32::try_from(random(6)).unwrap_or_default());
                let amount = if random(5) == 0 { -1 - random(5) } else { 1 + random(20) };
                let mark = last.spent;
                pool.entries.push(entry(seq, amount, turn.filter(|_| amount > 0), now, mark));
                pool.periods.last_mut().expect("a period").spent += random(9);
                let standing = pool.standing(current);
                let left: i128 = standing.lots.iter().filter(|lot| !lot.gone).map(|lot| lot.left).sum();
                let owed = left - (standing.limit - standing.spent_now);
                assert!(owed >= 0 && (owed == 0 || left == 0), "round {round}: {pool:?} {standing:?}");
                assert_eq!(
                    standing.granted - standing.spent - standing.expired - standing.expiring,
                    standing.limit - standing.spent_now,
                    "round {round}"
                );
            }
        }
    }
}
