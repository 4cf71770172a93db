//! The hot path, in memory. Knows nothing of databases and of gRPC: a [`journal::Journal`] is all it needs.
//!
//! Reading order: [`state`] is what a decision reads, [`apply`] how it is built; [`accounts`] and [`holds`] are what a
//! decision writes; `authorize` decides, [`charge`] settles, [`expiry`] ends what nobody charged; [`grants`] and [`writer`] are the two tasks that talk to
//! the ledger, and [`keeper`] the one that keeps this server's place among others: [`timing`] and [`lease`] say how.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::{
    bindings::Principal,
    budgets::Budget,
    change::{Change, FeedEvent},
    id::{BootId, KeyId},
    peppers::Peppers,
    time::{Clock, Timestamp},
};

pub mod accounts;
pub mod aged;
mod ahead;
pub mod answer;
pub mod apply;
mod authorize;
pub mod charge;
pub mod ended_bases;
pub mod error;
pub mod expiry;
mod extension;
pub mod grants;
pub mod hold_token;
pub mod holds;
pub mod id_tokens;
pub mod journal;
pub mod keeper;
mod key_index;
pub mod key_table;
pub mod last_use;
pub mod lease;
pub mod meter;
pub mod periods;
pub mod places;
mod posting;
pub mod price_book;
pub mod question;
mod recent;
pub mod rule_table;
mod settle;
pub mod spiffe_ids;
pub mod state;
pub mod subject;
pub mod timing;
pub mod tokens;
pub mod witness;
pub mod writer;

use answer::{Answer, DecisionId};
use apply::ApplyError;
use authorize::{Look, Step};
use error::GateError;
use expiry::Expiry;
use grants::{GrantQueue, Grants};
use hold_token::HoldKey;
use holds::Holds;
use journal::Journal;
use keeper::Returning;
use lease::Lease;
use meter::Meter;
use places::Places;
use question::Question;
use recent::Recent;
use state::State;
use timing::{Timing, WORST_CHARGE};
use tokens::Verified;
use witness::{Seen, Stamp, Witness};
use writer::{ChargeQueue, Charges};

/// How often a decision asks the ledger for room that others keep taking away before it gives up.
const TRIES: usize = 16;
/// How often it looks whether others have given back what they do not use, before it takes them to need it.
const RECALL_TRIES: usize = 10;
/// How long it waits between two looks.
const RECALL_PAUSE: Duration = Duration::from_millis(15);

/// Decides model calls and settles them.
pub struct Gate<J> {
    state: ShardedLock<State>,
    holds: Holds,
    grants: Grants,
    charges: Charges,
    journal: J,
    /// As in the state, for whoever is not at a decision.
    peppers: Mutex<Arc<Peppers>>,
    hold_key: HoldKey,
    boot: BootId,
    clock: Arc<dyn Clock>,
    meter: Arc<dyn Meter>,
    decisions: AtomicU64,
    timing: Timing,
    lease: Lease,
    witness: Witness,
    places: Places,
    expiry: Expiry,
    returning: Mutex<Vec<Returning>>,
    recent: Recent,
    /// How often the ledger may have forgotten something. What it said before is worth nothing after: who takes an answer in
    /// keeps this locked meanwhile, and has looked before it asked.
    era: Mutex<u64>,
    wake: Notify,
}

/// What a gate is made of.
pub struct GateParts<J> {
    /// The durable ledger.
    pub journal: J,
    /// Hash the secrets of API keys.
    pub peppers: Peppers,
    /// Signs hold tokens.
    pub hold_key: HoldKey,
    /// This run of the server.
    pub boot: BootId,
    /// How long everything takes.
    pub timing: Timing,
    /// Whether this server may answer.
    pub lease: Lease,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Measures the tasks of the ledger.
    pub meter: Arc<dyn Meter>,
}

/// The two tasks that a gate needs beside it: see [`Gate::run_grants`] and [`Gate::run_charges`].
pub struct GateQueues {
    /// Asks for room.
    pub grants: GrantQueue,
    /// Charges to be written.
    pub charges: ChargeQueue,
}

/// Where a budget stands in the period that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Settled.
    pub spent: i64,
    /// Held, or set aside.
    pub held: i64,
    /// When the period ends.
    pub resets_at: Option<Timestamp>,
}

impl<J: Journal> Gate<J> {
    /// A gate that knows nothing yet.
    #[must_use]
    pub fn new(parts: GateParts<J>) -> (Arc<Self>, GateQueues) {
        let (grants, grant_queue) = Grants::new();
        let (charges, charge_queue) = Charges::new();
        let (now, peppers) = (parts.clock.now(), Arc::new(parts.peppers));
        let gate = Self {
            state: ShardedLock::new(State { peppers: Some(Arc::clone(&peppers)), ..State::default() }),
            peppers: peppers.into(),
            holds: Holds::new(i64::try_from(parts.timing.grace.as_secs()).unwrap_or(i64::MAX), now),
            grants,
            charges,
            journal: parts.journal,
            hold_key: parts.hold_key,
            boot: parts.boot,
            clock: parts.clock,
            meter: parts.meter,
            decisions: AtomicU64::new(0),
            timing: parts.timing,
            lease: parts.lease,
            witness: Witness::default(),
            places: Places::default(),
            expiry: Expiry::default(),
            returning: Mutex::default(),
            recent: Recent::default(),
            era: Mutex::default(),
            wake: Notify::new(),
        };
        (Arc::new(gate), GateQueues { grants: grant_queue, charges: charge_queue })
    }

    /// Decides a model call, and holds its cost; gives what `tell` makes of the answer.
    ///
    /// # Errors
    /// [`GateError`] when no decision could be made; nothing is held then.
    pub async fn authorize<R: Send>(
        &self,
        caller: Principal,
        asked: &Question<'_>,
        now: Timestamp,
        tell: impl Fn(&Answer<'_>) -> R + Send + Sync,
    ) -> Result<R, GateError> {
        let stale = self.may_answer(asked.stamp, now)?;
        let mut refused = None;
        for turn in 0..TRIES {
            let wants = {
                let state = self.read_at(now);
                match self.decide(&state, caller, asked, Look { now, stale, patient: turn < RECALL_TRIES }, &tell)? {
                    Step::Done(told) => return Ok(told),
                    Step::Cold(wants) => wants,
                }
            };
            // What is known may be enough to refuse, when the ledger is away.
            if let Some(refused) = refused {
                return Err(refused);
            }
            let recalling = wants.iter().any(|want| want.recalling);
            refused = self.grants.obtain(wants).await.err();
            if recalling && refused.is_none() {
                tokio::time::sleep(RECALL_PAUSE).await;
            }
            // It may have taken for ever.
            self.check_lease()?;
        }
        Err(refused.unwrap_or(GateError::Overloaded))
    }

    /// Decides from memory alone: `None` when the ledger would have to be asked first.
    ///
    /// # Errors
    /// As [`Gate::authorize`].
    pub fn authorize_warm<R>(
        &self,
        caller: Principal,
        asked: &Question<'_>,
        now: Timestamp,
        tell: impl Fn(&Answer<'_>) -> R,
    ) -> Result<Option<R>, GateError> {
        let stale = self.may_answer(asked.stamp, now)?;
        let state = self.read_at(now);
        match self.decide(&state, caller, asked, Look { now, stale, patient: true }, &tell)? {
            Step::Done(told) => Ok(Some(told)),
            Step::Cold(_) => Ok(None),
        }
    }

    /// Whether this server may answer a call, as far as its clocks, the others' and the sidecar's tell; and how old what it
    /// knows is, when it has not reached the database for longer than it should.
    fn may_answer(&self, stamp: Option<Stamp<'_>>, now: Timestamp) -> Result<Option<Duration>, GateError> {
        if !self.lease.is_shared() {
            return Ok(None);
        }
        let here = self.clock.reading(now);
        self.witnessed(stamp, here.uptime)?;
        self.check_lease()?;
        Ok(self.lease.age(here).filter(|age| *age >= self.timing.lease))
    }

    /// Whether this server may answer at this moment.
    fn check_lease(&self) -> Result<(), GateError> {
        if self.lease.holds(|| self.clock.reading(self.clock.now())) {
            return Ok(());
        }
        Err(GateError::Unavailable("this server has not reached its database for too long to decide".to_owned()))
    }

    /// Looks at what a sidecar's clock showed. Gives whether it tells that the call was not kept on its way.
    fn witnessed(&self, stamp: Option<Stamp<'_>>, uptime: Duration) -> Result<bool, GateError> {
        match stamp.map_or(Seen::New, |stamp| self.witness.see(stamp, uptime)) {
            Seen::Still => {
                tracing::warn!("the clocks of this server have stood still: it asks whether others took it for dead");
                self.lease.lose(uptime);
                self.witness.forget();
                self.wake.notify_one();
                Ok(false)
            }
            Seen::Late(by) if by > WORST_CHARGE => {
                Err(GateError::Unavailable("the call was on its way for too long: send it again".to_owned()))
            }
            Seen::New => Ok(false),
            Seen::Late(_) | Seen::Fine => Ok(true),
        }
    }

    /// Where a budget stands, from memory, or from the ledger when memory has not needed it yet.
    ///
    /// # Errors
    /// [`GateError::Unavailable`].
    pub async fn standing(&self, budget: &Budget, now: Timestamp) -> Result<Standing, GateError> {
        let period = budget.period(now);
        let resets_at = budget.calendar().run(now).ends;
        // What of this server's slice is not spent and not held is nobody's yet.
        let (warm, unused) = {
            let state = self.read();
            let row = state.budget(budget.id).map(|(_, row)| row);
            let mut accounts = row.map(|row| row.accounts.lock());
            match accounts.as_mut().and_then(|accounts| accounts.find(period)).filter(|account| account.slice != 0) {
                Some(account) if account.is_shared() => (None, account.available().max(0)),
                Some(account) => (Some((account.total_spent(), account.total_held())), 0),
                None => (None, 0),
            }
        };
        if let Some((spent, held)) = warm {
            return Ok(Standing { spent, held, resets_at });
        }
        let books = self.journal.books(budget.id, period).await?;
        Ok(Standing { spent: books.spent, held: (books.reserved - unused).max(0), resets_at })
    }

    /// Answers asks for room until the gate is dropped.
    pub fn run_grants(self: &Arc<Self>, queue: GrantQueue) -> impl Future<Output = ()> + Send + 'static {
        grants::run(Arc::clone(self), queue)
    }

    /// Writes charges until the gate is dropped.
    pub fn run_charges(self: &Arc<Self>, queue: ChargeQueue) -> impl Future<Output = ()> + Send + 'static {
        writer::run(Arc::clone(self), queue)
    }

    /// What is due now and then: ends holds whose time has passed, and closes the slices of periods that are over.
    ///
    /// # Errors
    /// Of the ledger; what was not done then is due again.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), GateError> {
        self.forget_bases(now);
        self.end_holds(now).await?;
        let mut done = Vec::new();
        {
            let state = self.read_at(now);
            for row in state.budgets.iter() {
                done.extend(row.accounts.lock().take_done(now).into_iter().map(|account| (row.budget.id, account)));
            }
        }
        let slices: Vec<i64> = done.iter().map(|(_, account)| account.slice).filter(|slice| *slice != 0).collect();
        if slices.is_empty() {
            return Ok(());
        }
        let folded = self.journal.fold(&slices).await;
        if folded.is_err() {
            let state = self.read();
            for (budget, account) in done {
                if let Some(row) = state.budgets.get(budget.bits()) {
                    row.accounts.lock().put_back(account);
                }
            }
        }
        folded?;
        Ok(())
    }

    /// Closes slices of servers that are gone, and takes back what they have not spent.
    ///
    /// # Errors
    /// Of the ledger.
    pub async fn fold_orphans(&self, slices: &[i64]) -> Result<(), GateError> {
        let folded = self.journal.fold(slices).await?;
        let state = self.read();
        for fold in folded {
            if let Some((_, row)) = state.budget(fold.budget)
                && let Some(account) = row.accounts.lock().find(fold.period)
            {
                account.folded(fold.freed);
            }
        }
        Ok(())
    }

    /// Gives back what this server has set aside and not held, for an orderly stop. Nothing may be decided after it.
    ///
    /// # Errors
    /// Of the ledger.
    pub async fn retire(&self) -> Result<(), GateError> {
        let held: Vec<(i64, i64)> = {
            let state = self.read();
            let mut held = HashMap::new();
            for row in state.budgets.iter() {
                for account in row.accounts.lock().iter_mut().filter(|account| account.slice != 0) {
                    held.insert(account.slice, account.held.max(0));
                }
            }
            held.into_iter().collect()
        };
        Ok(self.journal.retire(&held).await?)
    }
}

impl<J> Gate<J> {
    /// The name of a decision that is about to be told.
    fn next_decision(&self) -> DecisionId {
        let run = u64::try_from(self.boot.bits() & 0xffff_ffff_ffff_ffff).unwrap_or_default();
        DecisionId { run, count: self.decisions.fetch_add(1, Ordering::Relaxed) }
    }

    /// The key that a text is, be it in use or not.
    #[must_use]
    pub fn key_of(&self, text: &str) -> Option<KeyId> {
        let state = self.read();
        state.find_key(text).ok().map(|found| state.keys.row(found.at).id())
    }

    fn read(&self) -> ShardedLockReadGuard<'_, State> {
        // A panic while the lock was held for writing would leave a change half applied; changes do not panic, and a
        // server that refused everything from then on would be no better.
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The state as it is by now: without the bindings and the secrets that have ended, with the prices that count.
    fn read_at(&self, now: Timestamp) -> ShardedLockReadGuard<'_, State> {
        let state = self.read();
        if !state.is_behind(now) {
            return state;
        }
        drop(state);
        self.write_state().end(now);
        self.read()
    }

    fn write_state(&self) -> ShardedLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether this server may answer.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The last change that decisions see.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.read().revision
    }

    /// Takes a part of a snapshot in: records as they stand, in an order in which each refers only to earlier ones.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn load(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        let mut state = self.write_state();
        changes.into_iter().try_for_each(|change| state.apply(change))
    }

    /// Notes that everything up to a revision has been taken in.
    pub fn loaded(&self, revision: i64) {
        self.write_state().revision = revision;
    }

    /// Applies the next event of the feed; an earlier one is passed over.
    ///
    /// # Errors
    /// [`ApplyError`]; a gap is one: the state must be built again then.
    pub fn apply(&self, event: FeedEvent) -> Result<(), ApplyError> {
        let mut state = self.write_state();
        if event.revision <= state.revision {
            return Ok(());
        }
        if event.revision != state.revision + 1 {
            return Err(ApplyError(format!("revision: {} after {}", event.revision, state.revision)));
        }
        event.changes.into_iter().try_for_each(|change| state.apply(change))?;
        state.revision = event.revision;
        Ok(())
    }

    /// Whether somebody may act at all: known, active, in an active tenant, and by what has not ended. Notes that they do.
    #[must_use]
    pub fn acts(&self, who: Verified, now: Timestamp) -> bool {
        let state = self.read();
        let actor =
            state.find_actor(who.principal).filter(|actor| state.is_active(actor) && !state.ended.has(who.basis));
        actor.inspect(|actor| actor.last_use.note(now)).is_some()
    }

    /// Tenant and resource name of somebody who may act.
    #[must_use]
    pub fn active(&self, principal: Principal) -> Option<(crate::domain::id::TenantId, Arc<str>)> {
        let state = self.read();
        let actor = state.find_actor(principal).filter(|actor| state.is_active(actor))?;
        Some((state.tenants.at(actor.tenant).id, Arc::clone(&actor.name)))
    }

    /// How many holds live here.
    #[must_use]
    pub fn hold_count(&self) -> usize {
        self.holds.count() + self.expiry.count()
    }

    /// How many keys are known.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.read().keys.len()
    }

    /// Whether every charge that was taken in has been written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.charges.is_idle()
    }
}
