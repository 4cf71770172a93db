//! The end of holds that nobody has charged to their end: what they still hold is free again, or counts as spent, as each
//! budget says.
//!
//! What counts as spent is a charge like any other, written by the same task: of each hold once, for its id is the hold's.
//! Invariant: nothing of such a hold is free before its charge is durable.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::{
    Gate,
    charge::{Prepared, Taken},
    error::GateError,
    holds::{Hold, HoldRef, Line},
    journal::{Entry, HoldUse, Journal, Outcome, Posting, dollars},
    key_table::NO_INDEX,
    price_book::HeldPrice,
    state::{BudgetRow, State},
};
use crate::domain::{budgets::OnExpiry, meters::Metered, money::Unit, prices::Usage, time::Timestamp};

/// What the ids of such charges begin with, and no client's do.
pub const RESERVED: &str = "expired-hold:";
/// Most that are on their way at once: the queue is there for others too.
const AT_ONCE: usize = 1024;

/// A hold whose time has passed.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    at: HoldRef,
    hold: Hold,
}

/// Holds whose time has passed.
#[derive(Default)]
pub(super) struct Expiry {
    /// Until it is known what others took of them, and durable what they are charged.
    due: Mutex<Vec<Ended>>,
    /// One at a time: what is due is done when whoever came second is.
    ending: tokio::sync::Mutex<()>,
}

impl Expiry {
    /// How many holds are not done with, at least.
    pub(super) fn count(&self) -> usize {
        self.due.lock().len() + usize::from(self.ending.try_lock().is_err())
    }
}

/// Whether what is left of a hold on a budget is charged to it.
fn is_charged(row: &BudgetRow, line: &Line) -> bool {
    line.amount > 0 && row.terms.on_expiry == OnExpiry::ChargeFull && !row.terms.deleted
}

impl<J: Journal> Gate<J> {
    /// Ends the holds whose time has passed. What others took of one is not free: the ledger is asked before memory gives
    /// anything back.
    pub(super) async fn end_holds(&self, now: Timestamp) -> Result<(), GateError> {
        let _alone = self.expiry.ending.lock().await;
        self.holds.expire(now, |at, hold| self.expiry.due.lock().push(Ended { at, hold }));
        let ended = std::mem::take(&mut *self.expiry.due.lock());
        if ended.is_empty() {
            return Ok(());
        }
        if self.lease.is_shared() {
            // Whoever lets a hold live longer elsewhere tells it by mail, before its end: that must have been read.
            let here = self.clock.reading(self.clock.now());
            if self.lease.age(here).is_none_or(|age| age > self.timing.grace / 2) {
                self.expiry.due.lock().extend(ended);
                return Ok(());
            }
            let slices: BTreeSet<i64> =
                ended.iter().flat_map(|ended| &ended.hold.lines).map(|line| line.slice).collect();
            match self.journal.read(&Vec::from_iter(slices)).await {
                Ok(slices) => self.adopt(&slices),
                Err(error) => {
                    self.expiry.due.lock().extend(ended);
                    return Err(error.into());
                }
            }
        }
        let charged = self.release(ended);
        self.charge_in_full(charged, now).await
    }

    /// Gives back what holds still hold; gives those of which something is to be charged, whole.
    fn release(&self, ended: Vec<Ended>) -> Vec<Ended> {
        let state = self.read();
        let is_charged = |line: &Line| is_charged(state.budgets.at(line.budget), line);
        let (charged, free): (Vec<_>, Vec<_>) =
            ended.into_iter().partition(|ended| ended.hold.lines.iter().any(is_charged));
        for line in free.iter().flat_map(|ended| &ended.hold.lines) {
            if let Some(account) = state.budgets.at(line.budget).accounts.lock().find(line.period) {
                account.release(line.amount);
            }
        }
        charged
    }

    /// Charges what holds still hold; what cannot be written now is due again.
    async fn charge_in_full(&self, charged: Vec<Ended>, now: Timestamp) -> Result<(), GateError> {
        let mut outcome = Ok(());
        for some in charged.chunks(AT_ONCE) {
            let mut on_their_way = Vec::with_capacity(some.len());
            for ended in some {
                match self.write(|| Ok(self.prepare_end(ended, now))) {
                    Ok(one) => on_their_way.push(one),
                    Err(error) => {
                        self.expiry.due.lock().push(ended.clone());
                        outcome = Err(error);
                    }
                }
            }
            for one in on_their_way {
                // One that is on its way for long stays so: it is not due again before its outcome is known.
                if let Err(error) = one.answer().await {
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn prepare_end(&self, ended: &Ended, now: Timestamp) -> Prepared {
        let state = self.read();
        let mut entry = end_of(&state, ended, now);
        let HoldUse { hold, issued, .. } =
            *entry.hold.insert(HoldUse { run: self.boot, hold: ended.at, issued: ended.hold.issued, ends: true });
        // The random half of the run's id, as charges have it.
        let run = self.boot.bits() & u128::from(u64::MAX);
        entry.charge_id = format!("{RESERVED}{run:016x}{:016x}{:016x}", hold.0, issued.micros());
        let (charged, free): (Vec<&Line>, Vec<&Line>) =
            ended.hold.lines.iter().partition(|line| is_charged(state.budgets.at(line.budget), line));
        for line in &charged {
            let row = state.budgets.at(line.budget);
            let known = row.accounts.lock().find(line.period).map_or(0, |account| account.taken_by_others);
            entry.postings.push(Posting {
                budget: row.budget.id,
                period: line.period,
                slice: line.slice,
                in_slice: line.amount,
                of_hold: line.amount,
                usd: row.terms.unit == Unit::Usd,
                beyond: 0,
                held: line.held,
                known: Some(known),
            });
        }
        entry.cost = dollars(&entry.postings);
        let is_usd = |line: &&&Line| state.budgets.at(line.budget).terms.unit == Unit::Usd;
        let held = free.iter().filter(is_usd).map(|line| line.amount).max().unwrap_or_default();
        entry.released = (held - entry.cost).max(0);
        // As the postings stand, and behind them what is given back.
        let taken = charged.into_iter().chain(free).map(|line| Taken {
            budget: line.budget,
            period: line.period,
            moved: line.amount,
            reserved: 0,
        });
        Prepared {
            taken: taken.collect(),
            entry,
            hold: None,
            ends_hold: false,
            extend: None,
            ended: Some(Box::new(ended.clone())),
        }
    }
}

impl<J> Gate<J> {
    /// Whether a charge that was not written is the end of a hold, which then is due again.
    pub(super) fn stays_due(&self, prepared: &Prepared) -> bool {
        self.expiry.due.lock().extend(prepared.ended.as_deref().cloned());
        prepared.ended.is_some()
    }
}

/// The charge of a hold that nobody has charged, but for its amounts and the hold itself.
fn end_of(state: &State, Ended { hold, .. }: &Ended, now: Timestamp) -> Entry {
    let whose = &hold.whose;
    let known = |at: u32| (at != NO_INDEX).then_some(at);
    let price = if let HeldPrice::Listed(id) = hold.price { state.prices.get(id) } else { None };
    Entry {
        tenant: state.tenants.at(whose.place.tenant).id,
        charge_id: String::new(),
        body_hash: String::new(),
        workspace: known(whose.place.workspace).map(|at| state.workspaces.at(at).id),
        project: known(whose.place.project).map(|at| state.projects.at(at).id),
        key: known(whose.key).map(|at| state.keys.row(at).id()),
        owner: state.actor(whose.owner).principal(),
        teams: state.teams_of(state.actor(whose.owner)),
        caller: state.actor(whose.caller).principal(),
        end_user: String::new(),
        provider: price.map(|price| price.provider.clone()).unwrap_or_default(),
        model: price.map(|price| price.model.clone()).unwrap_or_default(),
        price: hold.price.number(),
        outcome: Outcome::Expired,
        late: false,
        usage: Usage::default(),
        metered: Metered::default(),
        cost: 0,
        released: 0,
        hold: None,
        occurred: hold.expires,
        recorded: now,
        labels: String::new(),
        postings: Vec::new(),
    }
}
