//! The accounts of a budget, one for each of its periods that still matters.

use smallvec::SmallVec;

use super::{accounts::Account, state::BudgetRow};
use crate::domain::{budgets::Thresholds, calendar::Calendar, time::Timestamp, window::Period};

/// The accounts of a budget: the period that runs, and older ones that calls still hold something of.
///
/// Nearly always one, and then it lies beside the budget: a decision looks at many budgets that it has not seen lately.
#[derive(Clone, Debug, Default)]
pub struct Accounts(SmallVec<[Account; 1]>);

impl Accounts {
    /// The account of the period that runs now, made cold when there is none.
    pub fn current(&mut self, calendar: impl FnOnce() -> Calendar, now: Timestamp) -> &mut Account {
        // The common case needs no calendar: the newest account's period has not ended.
        let runs = |account: &Account| now < account.ends;
        let at = match self.0.last() {
            Some(last) if runs(last) => self.0.len() - 1,
            _ => {
                let run = calendar().run(now);
                self.0.push(Account::cold(run.period, run.ends, now));
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    /// The account of a period, made cold when there is none.
    pub fn of(&mut self, calendar: impl FnOnce() -> Calendar, period: Period, now: Timestamp) -> &mut Account {
        let at = if let Some(at) = self.0.iter().position(|account| account.period == period) {
            at
        } else {
            // The newest stays last: `current` looks only there.
            let at = self.0.iter().position(|account| account.period > period).unwrap_or(self.0.len());
            let mut account = Account::cold(period, calendar().end(period), now);
            if at < self.0.len() {
                // Of a credit pool, whose window does not say when its periods end: this one has.
                account.ends = account.ends.min(now);
            }
            self.0.insert(at, account);
            at
        };
        &mut self.0[at]
    }

    /// Moves a credit pool on to the period that begins at `start`, because credit expires: its window has no periods.
    pub fn turn(&mut self, period: Period, start: Timestamp) {
        for older in self.0.iter_mut().filter(|account| account.period < period) {
            older.ends = older.ends.min(start);
        }
        if self.0.iter().all(|account| account.period < period) {
            self.0.push(Account::cold(period, None, start));
        }
    }

    /// The newest period that there is an account of.
    #[must_use]
    pub fn newest(&self) -> Option<Period> {
        self.0.last().map(|account| account.period)
    }

    /// The account of a period, if there is one.
    pub fn find(&mut self, period: Period) -> Option<&mut Account> {
        self.0.iter_mut().find(|account| account.period == period)
    }

    /// Every account.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Account> {
        self.0.iter_mut()
    }

    /// Puts back an account that was taken out.
    pub fn put_back(&mut self, account: Account) {
        let at = self.0.iter().position(|other| other.period > account.period).unwrap_or(self.0.len());
        self.0.insert(at, account);
    }

    /// Takes out the accounts that are done with.
    pub fn take_done(&mut self, now: Timestamp) -> Vec<Account> {
        let done = self.0.iter().filter(|account| account.is_done(now)).cloned().collect();
        self.0.retain(|account| !account.is_done(now));
        done
    }
}

impl BudgetRow {
    /// The account of the period that runs now. As long as the one that is known has not ended, nothing is asked of the
    /// calendar, and nothing read of the record, which lies elsewhere.
    pub fn current<'a>(&self, accounts: &'a mut Accounts, now: Timestamp) -> &'a mut Account {
        accounts.current(|| self.budget.calendar(), now)
    }

    /// The account of a period.
    pub fn of<'a>(&self, accounts: &'a mut Accounts, period: Period, now: Timestamp) -> &'a mut Account {
        accounts.of(|| self.budget.calendar(), period, now)
    }

    /// What of the limit is told of when it is spent.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        if self.terms.usual { Thresholds::default() } else { self.budget.course.thresholds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::Window;

    #[test]
    fn a_pool_moves_on_when_credit_expires_and_what_came_before_ends() {
        let at = Timestamp::from_micros;
        let all_time = || Calendar::utc(Window::Total);
        let mut accounts = Accounts::default();
        assert_eq!(accounts.current(all_time, at(0)).period, Period(0));
        accounts.turn(Period(2), at(7_200_000_000));
        assert_eq!(accounts.current(all_time, at(7_200_000_000)).period, Period(2));
        assert_eq!(accounts.take_done(at(7_199_999_999)).len(), 0);
        // Twice is once; and what another server did in an older one does not come back as the current one.
        accounts.turn(Period(2), at(7_200_000_000));
        accounts.of(all_time, Period(1), at(7_200_000_001));
        assert_eq!(accounts.current(all_time, at(9_000_000_000)).period, Period(2));
        assert_eq!(accounts.take_done(at(9_000_000_000)).len(), 2);
        assert_eq!(accounts.newest(), Some(Period(2)));
    }

    #[test]
    fn the_newest_period_stays_current_when_an_older_one_is_touched() {
        let mut accounts = Accounts::default();
        let now = Timestamp::from_micros(7_200_000_000);
        let hours = || Calendar::utc(Window::Hour);
        assert_eq!(accounts.current(hours, now).period, Period(2));
        accounts.of(hours, Period(1), now);
        assert_eq!(accounts.current(hours, now).period, Period(2));
        accounts.current(|| unreachable!("the calendar is asked when the period has ended"), now);
        assert_eq!(accounts.take_done(now).len(), 1);
    }
}
