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
    /// Lets somebody try now. `known`: they have signed in from there before. A try counts as a failure until it is known to be
    /// none: however many come at once, no more are heard than one after the other would be.
    ///
    /// # Errors
    /// [`AppError::Throttled`].
    pub fn admit(&self, account: &Account, from: IpAddr, known: bool, now: Duration) -> Result<(), AppError> {
        let (mut this, place) = (self.0.lock(), network(from));
        let here = this.here.wait(&(account.clone(), place), HERE, now);
        let others = [this.place.wait(&place, PLACE, now), this.account.wait(account, ACCOUNT, now)];
        let others = others.into_iter().flatten().filter(|_| !known);
        if let Some(wait) = here.into_iter().chain(others).max() {
            return Err(AppError::Throttled(wait));
        }
        this.here.fail((account.clone(), place), now);
        this.place.fail(place, now);
        this.account.fail(account.clone(), now);
        Ok(())
    }

    /// A try that was let in has failed. Gives how many have since the last one that is on record, when this one is to be.
    pub fn fail(&self, account: &Account, now: Duration) -> Option<u64> {
        let mut this = self.0.lock();
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

    /// A try that was let in has come to nothing, for a reason that tells nobody anything.
    pub fn take_back(&self, account: &Account, from: IpAddr) {
        let (mut this, place) = (self.0.lock(), network(from));
        this.here.take_back(&(account.clone(), place));
        this.place.take_back(&place);
        this.account.take_back(account);
    }

    /// It was them.
    pub fn succeed(&self, account: &Account, from: IpAddr) {
        self.take_back(account, from);
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
        }
        assert!(
            matches!(tries.admit(&account, at(1), true, now), Err(AppError::Throttled(_))),
            "five at once, or in turn"
        );
        tries.take_back(&account, at(1));
        assert!(tries.admit(&account, at(1), false, now).is_ok());
        assert!(tries.admit(&account, at(2), false, now).is_ok(), "from elsewhere");
        // From everywhere at once.
        let heard = (100..200).filter(|n| tries.admit(&account, at(*n), false, now).is_ok()).count();
        assert_eq!(heard, 50 - 6);
        let Err(AppError::Throttled(wait)) = tries.admit(&account, at(2), false, now) else { panic!("let through") };
        assert!(wait <= Duration::from_secs(4), "{wait:?}");
        assert!(tries.admit(&account, at(2), true, now).is_ok(), "where they have signed in before");
        assert!(tries.admit(&account, at(3), false, now + 2 * wait).is_ok());
        tries.succeed(&account, at(1));
        assert!(tries.admit(&account, at(1), true, now).is_ok());
    }

    #[test]
    fn failures_are_on_record_once_a_minute_with_how_many_there_were() {
        let tries = SignIns::default();
        let account = ("acme".to_owned(), "mia@acme.example".to_owned());
        let told: Vec<_> = (0..150).map(|s| tries.fail(&account, Duration::from_secs(s))).collect();
        let told: Vec<_> = told.into_iter().flatten().collect();
        assert_eq!(told, [1, 60, 60]);
    }
}
