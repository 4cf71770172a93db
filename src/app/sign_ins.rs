//! Who may try to sign in, and how failures are counted: see [`crate::domain::throttle`].

use std::{collections::HashMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;

use super::AppError;
use crate::domain::throttle::{Pace, Throttle, network};

/// Somebody at one place: who mistypes, and who guesses one account's password.
const HERE: Pace = Pace { free: 5, longest: Duration::from_mins(15) };
/// One place, whoever is tried: a building behind one address mistypes more often.
const PLACE: Pace = Pace { free: 50, longest: Duration::from_mins(15) };
/// One account from everywhere. Bounded low: it is not its owner who tries.
const ACCOUNT: Pace = Pace { free: 50, longest: Duration::from_secs(4) };
/// Mails to one account by which a password can be set.
const MAILS: Pace = Pace { free: 3, longest: Duration::from_mins(15) };
/// Failures of one account are on record once in so long.
const RECORD: Duration = Duration::from_mins(1);
/// Most accounts whose failures are counted for the record.
const MAX: usize = 65_536;

/// An account as it is tried: a tenant and an address, whether or not there are such.
pub type Account = (String, String);

/// What is known of tries.
#[derive(Default)]
pub struct SignIns(Mutex<Known>);

#[derive(Default)]
struct Known {
    here: Throttle<(Account, IpAddr)>,
    place: Throttle<IpAddr>,
    account: Throttle<Account>,
    mails: Throttle<Account>,
    /// When failures were last on record, and how many there were since.
    recorded: HashMap<Account, (Duration, u64)>,
}

impl SignIns {
    /// Whether somebody may try now. `known`: they have signed in from there before.
    ///
    /// # Errors
    /// [`AppError::Throttled`].
    pub fn admit(&self, account: &Account, from: IpAddr, known: bool, now: Duration) -> Result<(), AppError> {
        let (this, place) = (self.0.lock(), network(from));
        let here = this.here.wait(&(account.clone(), place), HERE, now);
        let others = [this.place.wait(&place, PLACE, now), this.account.wait(account, ACCOUNT, now)];
        let others = others.into_iter().flatten().filter(|_| !known);
        here.into_iter().chain(others).max().map_or(Ok(()), |wait| Err(AppError::Throttled(wait)))
    }

    /// Notes a failure. Gives how many there were since the last one that is on record, when this one is to be.
    pub fn fail(&self, account: &Account, from: IpAddr, now: Duration) -> Option<u64> {
        let (mut this, place) = (self.0.lock(), network(from));
        this.here.fail((account.clone(), place), now);
        this.place.fail(place, now);
        this.account.fail(account.clone(), now);
        if this.recorded.len() >= MAX {
            this.recorded.retain(|_, (last, _)| now.saturating_sub(*last) < RECORD);
        }
        let is_full = this.recorded.len() >= MAX;
        match this.recorded.get_mut(account) {
            Some((last, count)) if now.saturating_sub(*last) < RECORD => {
                *count += 1;
                None
            }
            Some((last, count)) => {
                *last = now;
                Some(std::mem::take(count) + 1)
            }
            None if is_full => None,
            None => {
                this.recorded.insert(account.clone(), (now, 0));
                Some(1)
            }
        }
    }

    /// Whether an account, be there one or not, may be sent another mail now. Then it counts.
    pub fn may_mail(&self, account: Account, now: Duration) -> bool {
        let mut this = self.0.lock();
        let may = this.mails.wait(&account, MAILS, now).is_none();
        if may {
            this.mails.fail(account, now);
        }
        may
    }

    /// It was them.
    pub fn succeed(&self, account: &Account, from: IpAddr) {
        self.0.lock().here.succeed(&(account.clone(), network(from)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slow_and_keeps_nobody_out() {
        let tries = SignIns::default();
        let account = ("acme".to_owned(), "mia@acme.example".to_owned());
        let at = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let now = Duration::from_secs(10_000);
        for _ in 0..5 {
            assert!(tries.admit(&account, at(1), false, now).is_ok());
            tries.fail(&account, at(1), now);
        }
        assert!(matches!(tries.admit(&account, at(1), true, now), Err(AppError::Throttled(_))));
        assert!(tries.admit(&account, at(2), false, now).is_ok(), "from elsewhere");
        // From everywhere at once.
        for n in 100..200 {
            tries.fail(&account, at(n), now);
        }
        let Err(AppError::Throttled(wait)) = tries.admit(&account, at(2), false, now) else { panic!("let through") };
        assert!(wait <= Duration::from_secs(4), "{wait:?}");
        assert!(tries.admit(&account, at(2), true, now).is_ok(), "where they have signed in before");
        assert!(tries.admit(&account, at(2), false, now + wait).is_ok());
        tries.succeed(&account, at(1));
        assert!(tries.admit(&account, at(1), true, now).is_ok());
    }

    #[test]
    fn failures_are_on_record_once_a_minute_with_how_many_there_were() {
        let tries = SignIns::default();
        let account = ("acme".to_owned(), "mia@acme.example".to_owned());
        let from = IpAddr::from([192, 0, 2, 1]);
        let told: Vec<_> = (0..150).map(|s| tries.fail(&account, from, Duration::from_secs(s))).collect();
        let told: Vec<_> = told.into_iter().flatten().collect();
        assert_eq!(told, [1, 60, 60]);
    }
}
