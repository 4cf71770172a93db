//! Asks the ledger for room, on behalf of whoever waits: asks that wait together are one transaction.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};

use super::{
    Gate,
    accounts::Account,
    error::GateError,
    journal::{GrantAsk, Journal, JournalError},
};
use crate::domain::{id::BudgetId, time::Timestamp, window::Period};

/// Most asks that wait.
const QUEUE: usize = 16_384;
/// Most asks in one transaction.
const BATCH: usize = 512;

/// Room that a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Index of the budget.
    pub at: u32,
    /// What to ask the ledger.
    pub ask: GrantAsk,
    /// Others were asked to give back what they do not use, and have not done so yet.
    pub recalling: bool,
}

struct Waiting {
    wants: Vec<Want>,
    /// Nobody waits for a grant in the background.
    done: Option<oneshot::Sender<Result<(), JournalError>>>,
}

/// Where asks wait.
pub struct Grants {
    queue: mpsc::Sender<Waiting>,
    /// Held from when the ledger is asked until memory knows what it gave.
    asking: Mutex<()>,
}

/// The other end of the queue; see [`run`].
pub struct GrantQueue(mpsc::Receiver<Waiting>);

impl Grants {
    /// A queue and its end.
    #[must_use]
    pub fn new() -> (Self, GrantQueue) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, asking: Mutex::new(()) }, GrantQueue(receiver))
    }

    /// Waits until the ledger has been asked. That the room is then there is not certain: look again.
    ///
    /// # Errors
    /// [`GateError::Overloaded`], [`GateError::Unavailable`], [`GateError::Draining`].
    pub async fn obtain(&self, wants: Vec<Want>) -> Result<(), GateError> {
        let (done, answer) = oneshot::channel();
        self.queue.try_send(Waiting { wants, done: Some(done) }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => GateError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => GateError::Draining,
        })?;
        Ok(answer.await.map_err(|_| GateError::Draining)??)
    }

    /// Waits until memory knows of everything that the ledger gave, and keeps it from giving more.
    pub(super) async fn pause(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Asks in the background, if there is room in the queue; whoever needs it will otherwise ask.
    pub fn top_up(&self, at: u32, budget: BudgetId, account: &Account, now: Timestamp) {
        let want = account.want(1, now);
        let ask =
            GrantAsk { budget, period: account.period, need: 0, want, promised: account.promised(), recall: false };
        let _ = self.queue.try_send(Waiting { wants: vec![Want { at, ask, recalling: false }], done: None });
    }
}

impl From<JournalError> for GateError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Superseded => Self::Draining,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Answers asks until every sender is gone.
pub async fn run<J: Journal>(gate: Arc<Gate<J>>, mut queue: GrantQueue) {
    let mut waiting = Vec::new();
    while queue.0.recv_many(&mut waiting, BATCH).await > 0 {
        let mut merged: BTreeMap<(u32, Period), GrantAsk> = BTreeMap::new();
        for want in waiting.iter().flat_map(|waiting| &waiting.wants) {
            merged
                .entry((want.at, want.ask.period))
                .and_modify(|ask| {
                    // Each of those who wait needs room of its own.
                    ask.need = ask.need.saturating_add(want.ask.need);
                    ask.want = ask.want.max(want.ask.want);
                    ask.promised = ask.promised.max(want.ask.promised);
                    ask.recall |= want.ask.recall;
                })
                .or_insert(want.ask);
        }
        let asks: Vec<GrantAsk> = merged.values().copied().collect();
        let asking = gate.grants.asking.lock().await;
        let began = gate.clock.uptime();
        let asked_in = *gate.era.lock();
        let mut outcome = gate.journal.grant(&asks).await;
        gate.meter.granted(asks.len(), gate.clock.uptime().saturating_sub(began));
        {
            let era = gate.era.lock();
            if *era != asked_in {
                outcome = Err(JournalError::InDoubt("it may have been forgotten since".to_owned()));
            }
            gate.take_grants(&merged, &outcome);
        }
        drop(asking);
        let outcome = outcome.map(|_| ());
        for done in waiting.drain(..).filter_map(|waiting| waiting.done) {
            // Whoever asked may have gone away; the room stays for the next.
            let _ = done.send(outcome.clone());
        }
    }
}

impl<J: Journal> Gate<J> {
    fn take_grants(
        &self,
        merged: &BTreeMap<(u32, Period), GrantAsk>,
        outcome: &Result<Vec<Option<super::accounts::Granted>>, JournalError>,
    ) {
        let now = self.clock.now();
        let state = self.read();
        for (i, ((at, period), ask)) in merged.iter().enumerate() {
            let row = state.budgets.at(*at);
            let mut accounts = row.accounts.lock();
            let account = row.of(&mut accounts, *period, now);
            match outcome {
                Ok(answers) => {
                    if let Some(Some(answer)) = answers.get(i) {
                        account.granted(answer, ask.want, ask.recall, now);
                        self.places.put(answer.slice.id, ask.budget, *period);
                    }
                }
                Err(_) => account.not_granted(now),
            }
        }
    }
}
