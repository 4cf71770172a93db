//! The accounts of a budget, one for each of its periods that still matters.

use smallvec::SmallVec;

use super::accounts::Account;
use crate::domain::{
    time::Timestamp,
    window::{Period, Window},
};

/// The accounts of a budget: the period that runs, and older ones that calls still hold something of.
///
/// Nearly always one, and then it lies beside the budget: a decision looks at many budgets that it has not seen lately.
#[derive(Clone, Debug, Default)]
pub struct Accounts(SmallVec<[Account; 1]>);

impl Accounts {
    /// The account of the period that runs now, made cold when there is none.
    pub fn current(&mut self, window: Window, now: Timestamp) -> &mut Account {
        // The common case needs no calendar: the newest account's period has not ended.
        let runs = |account: &Account| now < account.ends;
        let at = match self.0.last() {
            Some(last) if runs(last) => self.0.len() - 1,
            _ => {
                self.0.push(Account::cold(window, window.period(now), now));
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    /// The account of a period, made cold when there is none.
    pub fn of(&mut self, window: Window, period: Period, now: Timestamp) -> &mut Account {
        let at = if let Some(at) = self.0.iter().position(|account| account.period == period) {
            at
        } else {
            // The newest stays last: `current` looks only there.
            let at = self.0.iter().position(|account| account.period > period).unwrap_or(self.0.len());
            let mut account = Account::cold(window, period, now);
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
            self.0.push(Account::cold(Window::Total, period, start));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_moves_on_when_credit_expires_and_what_came_before_ends() {
        let at = Timestamp::from_micros;
        let mut accounts = Accounts::default();
        assert_eq!(accounts.current(Window::Total, at(0)).period, Period(0));
        accounts.turn(Period(2), at(7_200_000_000));
        assert_eq!(accounts.current(Window::Total, at(7_200_000_000)).period, Period(2));
        assert_eq!(accounts.take_done(at(7_199_999_999)).len(), 0);
        // Twice is once; and what another server did in an older one does not come back as the current one.
        accounts.turn(Period(2), at(7_200_000_000));
        accounts.of(Window::Total, Period(1), at(7_200_000_001));
        assert_eq!(accounts.current(Window::Total, at(9_000_000_000)).period, Period(2));
        assert_eq!(accounts.take_done(at(9_000_000_000)).len(), 2);
        assert_eq!(accounts.newest(), Some(Period(2)));
    }

    #[test]
    fn the_newest_period_stays_current_when_an_older_one_is_touched() {
        let mut accounts = Accounts::default();
        let now = Timestamp::from_micros(7_200_000_000);
        assert_eq!(accounts.current(Window::Hour, now).period, Period(2));
        accounts.of(Window::Hour, Period(1), now);
        assert_eq!(accounts.current(Window::Hour, now).period, Period(2));
        assert_eq!(accounts.take_done(now).len(), 1);
    }
}
