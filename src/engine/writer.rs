//! Group commit: one fsync serves every charge that waits for it.
//!
//! The next batch starts as soon as the last is durable, with whatever has queued meanwhile: no timer. The writer is a
//! task of its own, so that a caller who goes away loses nothing but the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::{
    runtime,
    sync::{Notify, mpsc, oneshot},
};

use super::{
    Gate,
    accounts::{Account, SliceState},
    answer::BudgetView,
    authorize::view,
    charge::{ChargeAnswer, ChargeStatus, Prepared},
    error::GateError,
    holds::HoldRef,
    journal::{Batch, Entry, Journal, JournalError, Posted, PostedLine, Posting, Recorded},
    price_book::AT_CEILING,
    recent::{as_recorded, as_written},
};
use crate::domain::{budgets::crossings, money::Unit, window::Period};

/// Most charges that wait.
const QUEUE: usize = 16_384;
/// Most charges in one commit.
const BATCH: usize = 1024;
/// Whoever waits for a charge whose outcome is in doubt is told so after this many ticks.
const PATIENCE: u32 = 10;
/// A second without any answer.
const TICK: Duration = Duration::from_secs(1);

/// Boxed, for it is large and changes hands often.
type Charge = Box<Prepared>;
type Answered = Result<ChargeAnswer, GateError>;
type Reply = oneshot::Sender<Answered>;

struct Waiting {
    prepared: Charge,
    desk: usize,
    reply: Reply,
}

/// Where the answers for the callers on one runtime are handed out. Each caller that is woken from another thread costs a
/// system call, and wakes its thread for this one answer; on their own runtime they are woken together for nothing.
struct Desk {
    runtime: runtime::Id,
    answers: mpsc::UnboundedSender<Vec<(Reply, Answered)>>,
    /// Rung at every tick, for those who wait for too long: one timer for all.
    ticks: Arc<Notify>,
}

impl Desk {
    fn open(on: &runtime::Handle) -> Self {
        let (answers, mut queue) = mpsc::unbounded_channel::<Vec<(Reply, Answered)>>();
        let ticks = Arc::new(Notify::new());
        let bell = Arc::clone(&ticks);
        on.spawn(async move {
            loop {
                match tokio::time::timeout(TICK, queue.recv()).await {
                    Ok(Some(answers)) => {
                        for (reply, answer) in answers {
                            // Whoever asked may have gone away: the charge stands all the same.
                            let _ = reply.send(answer);
                        }
                    }
                    Ok(None) => return,
                    Err(_) => bell.notify_waiters(),
                }
            }
        });
        Self { runtime: on.id(), answers, ticks }
    }
}

/// Where charges wait.
pub struct Charges {
    queue: mpsc::Sender<Waiting>,
    /// Taken in and not yet answered.
    pending: AtomicUsize,
    desks: Mutex<Vec<Desk>>,
    /// Rings when a charge has crossed a threshold or gone past a limit.
    crossed: Notify,
}

/// The other end of the queue; see [`run`].
pub struct ChargeQueue(mpsc::Receiver<Waiting>);

impl Charges {
    /// A queue and its end.
    #[must_use]
    pub fn new() -> (Self, ChargeQueue) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (
            Self { queue, pending: AtomicUsize::new(0), desks: Mutex::default(), crossed: Notify::new() },
            ChargeQueue(receiver),
        )
    }

    /// A place in the queue, to be taken before anything is prepared.
    fn reserve(&self) -> Result<mpsc::Permit<'_, Waiting>, GateError> {
        self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => GateError::Overloaded,
            mpsc::error::TrySendError::Closed(()) => GateError::Draining,
        })
    }

    /// The desk of the runtime that this runs on, and its bell.
    fn desk(&self) -> (usize, Arc<Notify>) {
        let runtime = runtime::Handle::current();
        let id = runtime.id();
        let mut desks = self.desks.lock();
        let known = desks.iter().position(|desk| desk.runtime == id);
        let at = known.unwrap_or(desks.len());
        if known.is_none() {
            desks.push(Desk::open(&runtime));
        } else if desks[at].answers.is_closed() {
            // Of an earlier runtime that had the same id.
            desks[at] = Desk::open(&runtime);
        }
        (at, Arc::clone(&desks[at].ticks))
    }

    /// Hands answers to the desks of those who wait for them.
    fn hand_over(&self, answers: impl Iterator<Item = ((usize, Reply), Answered)>) {
        let desks = self.desks.lock();
        let mut piles: Vec<Vec<_>> = desks.iter().map(|_| Vec::new()).collect();
        for ((desk, reply), answer) in answers {
            // Desks are never taken away, so that a number once given stays good.
            piles[desk].push((reply, answer));
        }
        for (desk, pile) in desks.iter().zip(piles).filter(|(_, pile)| !pile.is_empty()) {
            // A runtime that has ended has nobody left who waits.
            let _ = desk.answers.send(pile);
        }
    }

    /// Whether every charge that was taken in has been written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }
}

impl<J: Journal> Gate<J> {
    /// Prepares a charge and sends it on its way.
    pub(super) fn write(&self, prepare: impl FnOnce() -> Result<Prepared, GateError>) -> Result<UnderWay, GateError> {
        // What is prepared has taken something and must be written or undone: the place comes first.
        let place = self.charges.reserve()?;
        let prepared = Box::new(prepare()?);
        let (reply, answer) = oneshot::channel();
        let (desk, ticks) = self.charges.desk();
        self.charges.pending.fetch_add(1, Ordering::AcqRel);
        place.send(Waiting { prepared, desk, reply });
        Ok(UnderWay { answer, ticks })
    }

    /// Waits until a charge has crossed a threshold of a budget or gone past its limit, as far as is known here.
    pub async fn crossed(&self) {
        self.charges.crossed.notified().await;
    }
}

/// A charge that is on its way to the ledger.
pub(super) struct UnderWay {
    answer: oneshot::Receiver<Answered>,
    ticks: Arc<Notify>,
}

impl UnderWay {
    /// What has become of it, when it is durable.
    pub(super) async fn answer(mut self) -> Answered {
        for _ in 0..PATIENCE {
            tokio::select! {
                biased;
                outcome = &mut self.answer => return outcome.unwrap_or(Err(GateError::Draining)),
                () = self.ticks.notified() => {}
            }
        }
        Err(GateError::InDoubt("it is still on its way to the ledger"))
    }
}

/// Writes charges until every sender is gone.
pub async fn run<J: Journal>(gate: Arc<Gate<J>>, mut queue: ChargeQueue) {
    let mut waiting = Vec::with_capacity(BATCH);
    let mut deferred: Vec<Waiting> = Vec::new();
    loop {
        waiting.append(&mut deferred);
        if waiting.is_empty() {
            if queue.0.recv_many(&mut waiting, BATCH).await == 0 {
                return;
            }
        } else {
            // What those wait for may have come meanwhile.
            let room = BATCH.saturating_sub(waiting.len());
            waiting.extend(std::iter::from_fn(|| queue.0.try_recv().ok()).take(room));
        }
        defer(&mut waiting, &mut deferred);
        defer_short(&gate, &mut waiting, &mut deferred);
        if waiting.is_empty() {
            // One that is waited for is being put into the queue at this moment.
            tokio::task::yield_now().await;
            continue;
        }
        let (prepared, replies): (Vec<Charge>, Vec<(usize, Reply)>) =
            waiting.drain(..).map(|waiting| (waiting.prepared, (waiting.desk, waiting.reply))).unzip();
        let first = prepared.iter().map(|prepared| prepared.entry.recorded).min().unwrap_or_default();
        let (count, waited, began) = (prepared.len(), gate.clock.now().since(first), gate.clock.uptime());
        let answers = commit(&gate, prepared).await;
        gate.meter.charged(count, waited, gate.clock.uptime().saturating_sub(began));
        gate.charges.pending.fetch_sub(replies.len(), Ordering::AcqRel);
        gate.charges.hand_over(replies.into_iter().zip(answers));
    }
}

/// The same id twice in a batch: the second is answered from the ledger, so it waits for the next batch.
fn defer(waiting: &mut Vec<Waiting>, deferred: &mut Vec<Waiting>) {
    let mut ids = HashSet::with_capacity(waiting.len());
    let entries = waiting.iter().map(|waiting| &waiting.prepared.entry);
    let again: Vec<bool> = entries.map(|entry| !ids.insert((entry.tenant, &*entry.charge_id))).collect();
    drop(ids);
    if again.contains(&true) {
        let mut again = again.into_iter();
        deferred.extend(waiting.extract_if(.., |_| again.next().unwrap_or_default()));
    }
}

/// Charges whose holds had nothing left for them: perhaps because of another that is on its way, and will come to nothing or
/// was recorded elsewhere. They wait until all others of the hold are written, and are then written one by one.
fn defer_short<J: Journal>(gate: &Gate<J>, waiting: &mut Vec<Waiting>, deferred: &mut Vec<Waiting>) {
    let short = |waiting: &Waiting| {
        let lacks = |posting: &Posting| posting.beyond > 0 && posting.held > 0;
        waiting.prepared.hold.filter(|_| waiting.prepared.entry.postings.iter().any(lacks))
    };
    let mut counts: HashMap<HoldRef, u32> = HashMap::new();
    for hold in waiting.iter().chain(&*deferred).filter_map(short) {
        *counts.entry(hold).or_default() += 1;
    }
    let mut first = HashSet::new();
    deferred.extend(waiting.extract_if(.., |waiting| {
        short(waiting).is_some_and(|at| {
            let pending = gate.holds.shard_of(at).get(at).map_or(0, |hold| hold.pending);
            pending > counts.get(&at).copied().unwrap_or_default() || !first.insert(at)
        })
    }));
}

async fn commit<J: Journal>(gate: &Gate<J>, mut prepared: Vec<Charge>) -> Vec<Answered> {
    // What others of its hold have given back meanwhile.
    for prepared in &mut prepared {
        gate.take_again(prepared);
    }
    // What the ledger has just set aside may not be known here yet, and would count as spent by others: whatever goes past
    // what memory had is looked at again when memory knows all, and nothing is set aside until it is written.
    let mut known = None;
    if prepared.iter().flat_map(|prepared| &prepared.entry.postings).any(|posting| posting.beyond > 0) {
        known = Some(gate.grants.pause().await);
        for prepared in &mut prepared {
            gate.reserve_more(prepared);
        }
    }
    let entries: Vec<&Entry> = prepared.iter().map(|prepared| &prepared.entry).collect();
    let mut in_doubt = false;
    let mut pause = Duration::from_millis(20);
    let error = loop {
        let asked_in = *gate.era.lock();
        let outcome = gate.journal.charge(&entries).await;
        // An outage must not keep those waiting who want to hear of it.
        drop(known.take());
        match outcome {
            Ok(mut batch) => {
                let era = gate.era.lock();
                if *era == asked_in {
                    if in_doubt {
                        own(&prepared, &mut batch);
                    }
                    return settle(gate, prepared, batch);
                }
                drop(era);
                tracing::warn!(charges = entries.len(), "a commit may have been forgotten since; asking again");
                in_doubt = true;
            }
            Err(JournalError::InDoubt(why)) => {
                tracing::warn!(%why, charges = entries.len(), "the outcome of a commit is not known; asking again");
                in_doubt = true;
            }
            // Once in doubt, only the ledger's own word ends it: memory must not guess.
            Err(JournalError::Unavailable(why)) if in_doubt => tracing::warn!(%why, "still in doubt"),
            Err(error) => break error,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    };
    for prepared in prepared.iter().filter(|prepared| !gate.stays_due(prepared)) {
        gate.undo(prepared);
    }
    let error = GateError::from(error);
    prepared.iter().map(|_| Err(error.clone())).collect()
}

/// After a doubt, what the ledger calls a replay may be what this very batch wrote: it was taken in at the same moment. One
/// that was recorded before stays a replay.
fn own(prepared: &[Charge], batch: &mut Batch) {
    for (prepared, posted) in prepared.iter().zip(&mut batch.posted) {
        if let Posted::Replayed(recorded) = posted
            && recorded.at == prepared.entry.recorded
        {
            let Recorded { seq, released, .. } = *recorded;
            *posted = Posted::New { seq, lines: std::mem::take(&mut recorded.lines), released };
        }
    }
}

/// What of a batch has not yet been counted as somebody's, account by account.
type Rest = HashMap<(u32, Period), i64>;

fn settle<J: Journal>(gate: &Gate<J>, prepared: Vec<Charge>, batch: Batch) -> Vec<Answered> {
    let mut rest = Rest::new();
    let mut released = Rest::new();
    for (prepared, posted) in prepared.iter().zip(&batch.posted) {
        for (at, taken) in prepared.taken.iter().enumerate() {
            let account = (taken.budget, taken.period);
            let of_account: &mut i64 = released.entry(account).or_default();
            if let Posted::New { lines, .. } = posted {
                *of_account += taken.moved + taken.reserved;
                *rest.entry(account).or_default() += lines.get(at).map_or(0, |line| line.in_slice);
            }
        }
    }
    {
        let slices: HashMap<i64, SliceState> = batch.slices.iter().map(|slice| (slice.id, *slice)).collect();
        let state = gate.read();
        for ((budget, period), released) in released {
            let mut accounts = state.budgets.at(budget).accounts.lock();
            let Some(account) = accounts.find(period) else { continue };
            // In one step: whoever looks sees an amount as held or as spent, never as both.
            if let Some(slice) = slices.get(&account.slice) {
                account.adopt(*slice);
            }
            account.release(released);
        }
    }
    let mut written = Vec::new();
    let answers = prepared.into_iter().zip(batch.posted).map(|(prepared, posted)| match posted {
        Posted::New { seq, lines, released } => {
            let answer = applied(gate, &prepared, seq, &lines, &mut rest);
            if gate.lease.is_shared() {
                written.push(as_written(prepared.entry, &lines, released));
            }
            Ok(ChargeAnswer { released, ..answer })
        }
        Posted::Replayed(recorded) => {
            gate.undo(&prepared);
            // Whoever wrote it may not know that it is written, and this server is about to say so.
            if gate.lease.is_shared() {
                written.push(as_recorded(prepared.entry, &recorded));
            }
            Ok(replayed(&recorded))
        }
        Posted::Conflict => {
            gate.undo(&prepared);
            Err(GateError::IdempotencyConflict("charge_id"))
        }
    });
    let answers = answers.collect();
    if !written.is_empty() {
        gate.recent.keep(written.into_iter());
    }
    answers
}

fn replayed(recorded: &Recorded) -> ChargeAnswer {
    ChargeAnswer {
        status: ChargeStatus::Replayed,
        charged: recorded.cost,
        released: recorded.released,
        overrun: recorded.overrun,
        balances: Vec::new(),
        crossings: Vec::new(),
        seq: recorded.seq,
        at_ceiling: false,
        extended: None,
    }
}

fn applied<J: Journal>(
    gate: &Gate<J>,
    prepared: &Prepared,
    seq: i64,
    lines: &[PostedLine],
    rest: &mut Rest,
) -> ChargeAnswer {
    let mut overrun = 0;
    let mut any_overrun = false;
    let mut crossed = Vec::new();
    let mut balances = Vec::with_capacity(lines.len());
    {
        let state = gate.read();
        for ((taken, line), posting) in prepared.taken.iter().zip(lines).zip(&prepared.entry.postings) {
            let row = state.budgets.at(taken.budget);
            let mut accounts = row.accounts.lock();
            // What is charged of credit that has expired since says nothing of what is left of the rest.
            let counts = accounts.newest() == Some(taken.period) || row.budget.turns.is_empty();
            let Some(account) = accounts.find(taken.period) else { continue };
            let own = account.slice == posting.slice;
            let elsewhere = line.direct + if own { 0 } else { line.in_slice };
            count(account, elsewhere, line);
            let left = rest.entry((taken.budget, taken.period)).or_default();
            *left -= line.in_slice;
            let after = account.total_spent().saturating_sub(if own { *left } else { 0 });
            let before = after.saturating_sub(line.in_slice + line.direct + line.overrun);
            let crossings = crossings(row.thresholds(), row.terms.limit, before, after).filter(|_| counts);
            crossed.extend(crossings.map(|percent| (row.name.clone(), percent)));
            any_overrun |= line.overrun > 0;
            if row.terms.unit == Unit::Usd {
                overrun = overrun.max(line.overrun);
            }
            if !row.terms.deleted {
                // A charge of a hold elsewhere may have two parts on one budget: what the second leaves is what stands.
                balances.pop_if(|before: &mut BudgetView<Arc<str>>| Arc::ptr_eq(&before.name, &row.name));
                balances.push(view(row, account, Arc::clone));
            }
        }
    }
    if any_overrun || !crossed.is_empty() {
        gate.charges.crossed.notify_one();
    }
    let extended = gate.settle_hold(prepared);
    let status = match (any_overrun, prepared.entry.late) {
        (true, _) => ChargeStatus::AppliedOverrun,
        (false, true) => ChargeStatus::AppliedLate,
        (false, false) => ChargeStatus::Applied,
    };
    ChargeAnswer {
        status,
        charged: prepared.entry.cost,
        released: prepared.entry.released,
        overrun,
        balances,
        crossings: crossed,
        seq,
        at_ceiling: prepared.entry.price == AT_CEILING,
        extended,
    }
}

fn count(account: &mut Account, elsewhere: i64, line: &PostedLine) {
    account.settled_elsewhere(line.direct, line.overrun);
    if elsewhere > line.direct {
        account.settled_by_others(elsewhere - line.direct);
    }
}
