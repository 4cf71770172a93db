//! What becomes of a charge's hold: given back when nothing was recorded, ended or extended when it is durable.

use std::time::Duration;

use super::{
    Gate,
    charge::{ChargeAsk, Prepared},
    error::GateError,
    hold_token::OwnClaims,
    holds::Line,
    journal::Journal,
    witness::Stamp,
};
use crate::domain::time::Timestamp;

impl<J: Journal> Gate<J> {
    /// Takes in what a charge's sidecar says of its clock. The stamp stays only if it tells that the charge was not kept on
    /// its way: one that was may no longer be in time, whatever it says of itself.
    pub(super) fn hear(
        &self,
        asked: &mut ChargeAsk,
        claims: Option<&OwnClaims>,
        now: Timestamp,
    ) -> Result<(), GateError> {
        if !self.lease.is_shared() {
            return Ok(());
        }
        let stamp = asked.stamp.as_ref().map(|(instance, monotonic)| Stamp { instance, monotonic: *monotonic });
        let prompt = self.witnessed(stamp, self.clock.uptime())?;
        if !prompt && asked.stamp.take().is_some() && asked.hold_age.is_some() && self.is_over(claims, now) {
            return Err(GateError::Unavailable("this server does not know its sidecar yet: send it again".to_owned()));
        }
        Ok(())
    }
}

impl<J> Gate<J> {
    /// Whether the time of another run's hold has passed, by this server's clock. What the clocks of two servers show may
    /// differ by anything: a sidecar knows better, if it can be told how long its word was on its way.
    pub(super) fn is_over(&self, claims: Option<&OwnClaims>, now: Timestamp) -> bool {
        let grace = Duration::from_secs(u64::try_from(self.holds.grace_secs()).unwrap_or_default());
        claims.is_some_and(|claims| claims.boot != self.boot && now > claims.expires.after(grace))
    }

    /// Takes out of a charge's hold what another has given back to it: the same charge, sent before, that came to nothing.
    pub(super) fn take_again(&self, prepared: &mut Prepared) {
        if prepared.entry.postings.iter().all(|posting| posting.beyond == 0) {
            return;
        }
        let Some(at) = prepared.hold else { return };
        let mut shard = self.holds.shard_of(at);
        let Some(hold) = shard.get(at) else { return };
        let entry = &mut prepared.entry;
        let ends_now = entry.hold.is_some_and(|hold| hold.ends) && !hold.ending;
        prepared.ends_hold |= ends_now;
        hold.ending |= ends_now;
        for (taken, posting) in prepared.taken.iter_mut().zip(&mut entry.postings) {
            let of_posting = |line: &&mut Line| (line.budget, line.slice) == (taken.budget, posting.slice);
            let Some(line) = hold.lines.iter_mut().find(of_posting) else { continue };
            let moved = if ends_now { line.amount } else { posting.beyond.min(line.amount) }.max(0);
            let charged = posting.beyond.min(moved);
            line.amount -= moved;
            taken.moved += moved;
            posting.in_slice += charged;
            posting.of_hold += charged;
            posting.beyond -= charged;
            if ends_now && posting.usd {
                entry.released = entry.released.max(moved - entry.cost);
            }
        }
    }

    /// Takes what a charge still needs out of what its slices have free by now.
    pub(super) fn reserve_more(&self, prepared: &mut Prepared) {
        let state = self.read();
        for (taken, posting) in prepared.taken.iter_mut().zip(&mut prepared.entry.postings) {
            let mut accounts = state.budgets.at(taken.budget).accounts.lock();
            let Some(account) = accounts.find(taken.period) else { continue };
            // What another server has set aside is not ours to add to.
            if posting.beyond > 0 && posting.known.is_some() && (posting.slice == 0 || posting.slice == account.slice) {
                let more = account.hold_up_to(posting.beyond);
                if more > 0 {
                    posting.slice = account.slice;
                    posting.known = Some(account.taken_by_others);
                }
                posting.in_slice += more;
                posting.beyond -= more;
                taken.reserved += more;
            }
        }
    }

    /// Gives back what a charge took that was not recorded.
    pub(super) fn undo(&self, prepared: &Prepared) {
        let state = self.read();
        let mut shard = prepared.hold.map(|hold| self.holds.shard_of(hold));
        let mut hold = match (&mut shard, prepared.hold) {
            (Some(shard), Some(at)) => shard.get(at),
            _ => None,
        };
        let mut gone = false;
        if let Some(hold) = &mut hold {
            hold.pending -= 1;
            hold.ending &= !prepared.ends_hold;
            gone = hold.over;
        }
        for taken in &prepared.taken {
            let line = hold.as_mut().filter(|_| !gone).and_then(|hold| {
                hold.lines.iter_mut().find(|line| line.budget == taken.budget && line.period == taken.period)
            });
            let back_to_hold = line.is_some();
            if let Some(line) = line {
                line.amount += taken.moved;
            }
            let mut accounts = state.budgets.at(taken.budget).accounts.lock();
            if let Some(account) = accounts.find(taken.period) {
                account.release(taken.reserved + if back_to_hold { 0 } else { taken.moved });
            }
        }
        if let (true, Some(0), Some(shard), Some(at)) = (gone, hold.map(|hold| hold.pending), shard, prepared.hold) {
            drop(shard);
            self.holds.shard_of(at).remove(at);
        }
    }

    /// Ends or extends the hold of a charge that is durable; gives the new token.
    pub(super) fn settle_hold(&self, prepared: &Prepared) -> Option<(Vec<u8>, Timestamp)> {
        let mut shard = prepared.hold.map(|at| (at, self.holds.shard_of(at)));
        if let Some((at, shard)) = &mut shard {
            let mut gone = prepared.ends_hold;
            if let Some(hold) = shard.get(*at) {
                hold.pending -= 1;
                gone |= hold.over && hold.pending == 0;
            }
            if let Some(ended) = gone.then(|| shard.remove(*at)).flatten() {
                // What a charge that came to nothing has given back to it since this one was taken in; or what others took of
                // what this one had taken out, which is not to be given back twice.
                let state = self.read();
                for line in &ended.lines {
                    if let Some(account) = state.budgets.at(line.budget).accounts.lock().find(line.period) {
                        account.release(line.amount);
                    }
                }
            }
        }
        let (claims, until) = &**prepared.extend.as_ref()?;
        if let Some((at, shard)) = &mut shard {
            shard.extend(*at, *until);
        }
        Some((self.hold_key.sign(claims), claims.expires))
    }
}
