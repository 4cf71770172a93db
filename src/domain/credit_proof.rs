//! Whether what is on record of a pool fits its entries and what calls were charged.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    budgets::Budget,
    credits::{Pool, start_of},
    money::MAX_AMOUNT,
    time::Timestamp,
    window::Period,
};

/// Something on record that does not fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Misfit {
    /// What.
    pub what: String,
    /// What is on record, in billionths of a US dollar; of entries, how many.
    pub found: i128,
    /// What should be.
    pub expected: i128,
}

/// What was found out about a pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Proof {
    /// The workspace.
    pub workspace: String,
    /// Entries of the pool.
    pub entries: usize,
    /// What is left by the entries and the charges, what is held not taken off.
    pub balance: i128,
    /// Whether credit has just expired, and calls that were decided before still run: the limit is then less than it will be.
    pub settling: bool,
    /// What does not fit.
    pub misfits: Vec<Misfit>,
}

/// Works a pool out anew. `charged` is what the postings of all charges come to, by period.
#[must_use]
pub fn prove(
    workspace: String,
    budget: &Budget,
    pool: &Pool,
    charged: &BTreeMap<Period, i128>,
    now: Timestamp,
) -> Proof {
    let mut misfits = Vec::new();
    let mut compare = |what: String, found: i128, expected: i128| {
        if found != expected {
            misfits.push(Misfit { what, found, expected });
        }
    };
    let last = pool.entries.last().map_or(0, |entry| entry.seq);
    compare("the entries by number".into(), count(pool.entries.len()), last.into());
    // By the charges alone from here on.
    let mut proven = pool.clone();
    for period in &mut proven.periods {
        let sum = charged.get(&period.period).copied().unwrap_or_default();
        // What one period has over every limit stops at the largest amount there is.
        if sum <= MAX_AMOUNT.into() {
            compare(format!("what was charged {}", since(period.period)), period.spent.into(), sum);
        }
        period.spent = i64::try_from(sum).unwrap_or(i64::MAX);
    }
    let unknown = |period: &&Period| proven.periods.iter().all(|known| known.period != **period);
    for period in charged.keys().filter(unknown) {
        compare(format!("what was charged {}", since(*period)), 0, charged[period]);
    }
    let current = pool.newest(budget.period(now));
    let stands = proven.standing(current);
    for lot in stands.lots.iter().filter(|lot| lot.ended) {
        let expired = pool.entries.iter().filter(|entry| entry.of_entry == lot.seq);
        let expired: i128 = expired.map(|entry| -i128::from(entry.amount)).sum();
        compare(format!("what expired of entry {}", lot.seq), expired, expired + lot.left);
    }
    let settling = !pool.is_settled_before(current) || stands.lots.iter().any(|lot| lot.gone && !lot.ended);
    if !settling {
        let limit = stands.limit.clamp(0, MAX_AMOUNT.into());
        compare("the pool's limit".into(), budget.limit.into(), limit);
        for period in pool.periods.iter().filter(|period| period.period == current) {
            compare("the limit in the ledger".into(), period.cap.into(), limit);
        }
    }
    let balance = stands.granted - stands.expired - stands.expiring - stands.spent;
    Proof { workspace, entries: pool.entries.len(), balance, settling, misfits }
}

fn since(period: Period) -> String {
    if period == Period(0) { "before credit first expired".to_owned() } else { format!("from {} on", start_of(period)) }
}

fn count(many: usize) -> i128 {
    i128::try_from(many).unwrap_or(i128::MAX)
}
