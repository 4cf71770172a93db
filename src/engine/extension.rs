//! Lets holds of calls that go on live longer: what is to be promised first, here or at the server that made the hold.

use std::time::Duration;

use super::{
    Gate,
    charge::ChargeAsk,
    error::GateError,
    grants::Want,
    hold_token::{HoldClaims, OwnClaims},
    holds::HoldRef,
    journal::{Extension, GrantAsk, Journal},
};
use crate::domain::time::Timestamp;

impl<J: Journal> Gate<J> {
    /// Lets a hold of another server live longer, if that server is there and the hold has not ended.
    pub(super) async fn extend_elsewhere(
        &self,
        claims: &OwnClaims,
        asked: &ChargeAsk,
        span: Duration,
        now: Timestamp,
    ) -> Result<bool, GateError> {
        let over = match asked.hold_age {
            Some(age) => age > claims.expires.since(claims.issued),
            None => now > claims.expires,
        };
        if claims.boot == self.boot || over {
            return Ok(false);
        }
        let extension = Extension {
            run: claims.boot,
            hold: claims.hold,
            issued: claims.issued,
            // A second more than is promised to the sidecar, for what is less than a second.
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX).saturating_add(1),
            slices: claims.lines.iter().map(|(slice, _)| *slice).collect(),
        };
        let asked_in = *self.era.lock();
        let extended = self.journal.extend(&extension).await?;
        if *self.era.lock() == asked_in {
            return Ok(extended);
        }
        Err(GateError::Unavailable("the ledger may have forgotten it: send it again".to_owned()))
    }

    /// Makes sure that the ledger knows of a hold that will live for `span` from now, before it is given.
    pub(super) async fn promise(&self, hold: HoldRef, span: Duration, now: Timestamp) -> Result<(), GateError> {
        let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let lines = self.holds.shard_of(hold).get(hold).map(|hold| hold.lines.clone()).unwrap_or_default();
        let wants: Vec<Want> = {
            let state = self.read();
            let unpromised = lines.iter().filter_map(|line| {
                let row = state.budgets.at(line.budget);
                let mut accounts = row.accounts.lock();
                let account = accounts.find(line.period).filter(|account| account.promised() < seconds)?;
                let ask = GrantAsk {
                    budget: row.budget.id,
                    period: line.period,
                    need: 0,
                    want: account.want(1, now),
                    promised: seconds,
                    recall: false,
                };
                Some(Want { at: line.budget, ask, recalling: false })
            });
            unpromised.collect()
        };
        if wants.is_empty() { Ok(()) } else { self.grants.obtain(wants).await }
    }
}

/// The hold with its new end, when it is to live longer, and when memory lets it go.
///
/// What the clocks of two servers show may differ by anything. So its new age is told by the sidecar's clock, if that has
/// said something, and memory counts from now: the sidecar asked before, however long that was on its way.
pub(super) fn extended(asked: &ChargeAsk, claims: OwnClaims, now: Timestamp) -> Option<Box<(OwnClaims, Timestamp)>> {
    let span = asked.extend.filter(|_| !asked.last)?;
    let end = asked.hold_age.map_or(now, |age| claims.issued.after(age)).after(span).max(claims.expires);
    Some(Box::new((HoldClaims { expires: end, ..claims }, now.after(span))))
}
