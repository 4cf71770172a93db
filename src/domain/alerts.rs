//! What is to be told of a budget's period: thresholds that what is spent has reached, and that something went past the limit.

use super::budgets::{Budget, amount_at, crossings};

/// Stands among the percentages that are on record for what went past the limit.
pub const OVERRUN: u16 = 0;

/// What has become of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Everything that was charged to it, what went past the limit too.
    pub total: i64,
    /// What went past the limit.
    pub overrun: i64,
    /// What is on record of it: percentages, and [`OVERRUN`].
    pub told: Vec<u16>,
}

/// What is to be told, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Thresholds that are reached and not on record, ascending.
    pub reached: Vec<u16>,
    /// Whether something went past the limit, and that is not on record.
    pub overrun: bool,
    /// How much is missing until the next threshold is reached; `None` without one.
    pub missing: Option<i64>,
}

impl News {
    /// Of a period of a budget; of a credit pool's that is over (`counts`) no threshold is told, for its limit was another.
    #[must_use]
    pub fn of(budget: &Budget, spent: &Spent, counts: bool) -> Self {
        let thresholds = budget.course.thresholds;
        let is_new = |percent: &u16| counts && !spent.told.contains(percent);
        let reached: Vec<u16> = crossings(thresholds, budget.limit, 0, spent.total).filter(is_new).collect();
        let ahead = thresholds.iter().filter(is_new).filter(|percent| budget.limit > 0 && !reached.contains(percent));
        let next = ahead.map(|percent| amount_at(budget.limit, percent)).min();
        Self {
            reached,
            overrun: spent.overrun > 0 && !spent.told.contains(&OVERRUN),
            missing: next.map(|next| next.saturating_sub(spent.total)),
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.reached.is_empty() && !self.overrun
    }

    /// All that is to be put on record.
    pub fn percents(&self) -> impl Iterator<Item = u16> {
        self.reached.iter().copied().chain(self.overrun.then_some(OVERRUN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        budgets::{BudgetScope, Course, OnExpiry},
        id::Id,
        money::Unit,
        time::Timestamp,
        window::Window,
    };

    fn budget(limit: i64) -> Budget {
        Budget {
            id: Id::from_bits(1),
            tenant: Id::from_bits(2),
            scope: BudgetScope::Tenant,
            unit: Unit::Usd,
            window: Window::Month,
            limit,
            hard: true,
            credit: false,
            on_expiry: OnExpiry::Release,
            course: Course::default(),
            turns: Vec::new(),
            display_name: String::new(),
            created: Timestamp::from_micros(0),
            version: 1,
        }
    }

    #[test]
    fn a_threshold_is_news_when_it_is_reached_and_not_on_record() {
        let of = |limit, total, overrun, told: &[u16]| {
            News::of(&budget(limit), &Spent { total, overrun, told: told.to_vec() }, true)
        };
        let news = |reached: &[u16], overrun, missing| News { reached: reached.to_vec(), overrun, missing };
        assert_eq!(of(1000, 699, 0, &[]), news(&[], false, Some(1)));
        assert_eq!(of(1000, 700, 0, &[]), news(&[70], false, Some(200)));
        assert_eq!(of(1000, 950, 0, &[70]), news(&[90], false, Some(50)));
        assert_eq!(of(1000, 1200, 200, &[70]), news(&[90, 100], true, None));
        assert_eq!(of(1000, 1200, 200, &[0, 70, 90, 100]), news(&[], false, None));
        // A higher limit: what is on record is not told again.
        assert_eq!(of(2000, 1200, 0, &[70]), news(&[], false, Some(600)));
        assert_eq!(of(0, 5, 5, &[]), news(&[], true, None));
        let past = News::of(&budget(10), &Spent { total: 10, overrun: 0, told: Vec::new() }, false);
        assert_eq!(past, news(&[], false, None));
        assert_eq!(of(10, 10, 1, &[]).percents().collect::<Vec<_>>(), [70, 90, 100, OVERRUN]);
    }
}
