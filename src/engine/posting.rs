//! Where a charge goes on one budget: this server's slice, that of the server that made its hold, or beyond.

use super::{
    charge::{Prepared, Taken},
    journal::Posting,
    places::Placed,
    state::State,
};
use crate::domain::{money::Unit, time::Timestamp, window::Period};

/// What of a charge goes to one budget.
#[derive(Clone, Copy)]
pub(super) struct Amount {
    pub(super) charged: i64,
    /// Taken out of its hold here.
    pub(super) moved: i64,
    /// What the hold had set aside at first.
    pub(super) held: i64,
}

impl Amount {
    /// Without a hold, or after its end.
    pub(super) const fn alone(charged: i64) -> Self {
        Self { charged, moved: 0, held: 0 }
    }
}

/// Sends a part of a charge to this server's slice as far as it has room: what was moved out of the hold, then what is
/// left. The rest goes beyond.
pub(super) fn post(state: &State, index: u32, period: Period, amount: Amount, now: Timestamp, prepared: &mut Prepared) {
    let Amount { charged, moved, held } = amount;
    let row = state.budgets.at(index);
    let mut accounts = row.accounts.lock();
    let account = row.of(&mut accounts, period, now);
    let reserved = account.hold_up_to((charged - moved).max(0));
    let in_slice = charged.min(moved + reserved);
    prepared.taken.push(Taken { budget: index, period, moved, reserved });
    prepared.entry.postings.push(Posting {
        budget: row.budget.id,
        period,
        slice: account.slice,
        usd: row.terms.unit == Unit::Usd,
        in_slice,
        of_hold: charged.min(moved),
        beyond: charged - in_slice,
        held,
        known: Some(account.taken_by_others),
    });
}

/// Sends a part of a charge to the slice of another server, which has it set aside for the charge's hold. What is more than
/// that is this server's own affair.
pub(super) fn post_elsewhere(
    state: &State,
    index: u32,
    place: Placed,
    amount: i64,
    held: i64,
    now: Timestamp,
    prepared: &mut Prepared,
) {
    let row = state.budgets.at(index);
    // The account must be there when the charge is durable.
    row.of(&mut row.accounts.lock(), place.period, now);
    prepared.taken.push(Taken { budget: index, period: place.period, moved: 0, reserved: 0 });
    let in_slice = amount.min(held);
    prepared.entry.postings.push(Posting {
        budget: place.budget,
        period: place.period,
        slice: place.slice,
        usd: row.terms.unit == Unit::Usd,
        in_slice,
        of_hold: in_slice,
        beyond: 0,
        held,
        known: None,
    });
    if amount > in_slice {
        post(state, index, place.period, Amount::alone(amount - in_slice), now, prepared);
    }
}
