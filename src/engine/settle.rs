//! What becomes of a charge's hold: given back when nothing was recorded, ended or extended when it is durable.

use super::{Gate, charge::Prepared};
use crate::domain::time::Timestamp;

impl<J> Gate<J> {
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
        if let Some(hold) = &mut hold {
            hold.pending -= 1;
            hold.ending &= !prepared.ends_hold;
        }
        for taken in &prepared.taken {
            let line = hold.as_mut().and_then(|hold| {
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
    }

    /// Ends or extends the hold of a charge that is durable; gives the new token.
    pub(super) fn settle_hold(&self, prepared: &Prepared) -> Option<(Vec<u8>, Timestamp)> {
        let mut shard = prepared.hold.map(|at| (at, self.holds.shard_of(at)));
        if let Some((at, shard)) = &mut shard {
            if let Some(hold) = shard.get(*at) {
                hold.pending -= 1;
            }
            if prepared.ends_hold {
                shard.remove(*at);
            }
        }
        let (claims, expires) = &**prepared.extend.as_ref()?;
        if let Some((at, shard)) = &mut shard {
            shard.extend(*at, *expires);
        }
        Some((self.hold_key.sign(claims), *expires))
    }
}
