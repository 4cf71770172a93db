//! A ledger in memory as one server uses it, which now and then fails as a database does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tollreeve::{
    domain::{
        id::{BootId, BudgetId, Id},
        price_versions::DatedPrice,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{
            Batch, Beat, Books, Confirmed, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Known, Peer,
        },
        places::Placed,
    },
};

use super::model_tables::Tables;

/// A ledger in memory.
#[derive(Clone)]
pub struct ModelJournal {
    pub tables: Arc<Mutex<Tables>>,
    boot: BootId,
    /// Mail that was taken in, to be thrown away.
    read: Arc<Mutex<Vec<i64>>>,
    /// Every so many transactions fail; 0 for none.
    failing: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
}

impl Default for ModelJournal {
    fn default() -> Self {
        Self::joined(Arc::default(), Id::from_bits(77))
    }
}

impl ModelJournal {
    /// For a server that joins here and now.
    pub fn joined(tables: Arc<Mutex<Tables>>, boot: BootId) -> Self {
        tables.lock().join(boot, "", Duration::from_mins(1));
        Self { tables, boot, read: Arc::default(), failing: Arc::default(), count: Arc::default() }
    }

    /// Every so many transactions fail from now on: some before they are done, some after; 0 for none.
    pub fn fail_every(&self, nth: u64) {
        self.failing.store(nth, Ordering::Relaxed);
    }

    /// Gives a budget a cap, in every period that there is.
    pub fn set_cap(&self, budget: BudgetId, cap: i64) {
        self.tables.lock().set_cap(budget, cap);
    }

    /// Insists that everything adds up.
    pub fn check(&self) {
        self.tables.lock().check().expect("the books agree");
    }

    /// One transaction, which may fail: before it begins, or when its answer is on the way.
    fn transaction<T>(&self, work: impl FnOnce(&mut Tables) -> Result<T, JournalError>) -> Result<T, JournalError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let failing = self.failing.load(Ordering::Relaxed);
        let fails = failing > 0 && count.is_multiple_of(failing);
        if fails && (count / failing).is_multiple_of(2) {
            return Err(JournalError::Unavailable("the model is away".into()));
        }
        let done = work(&mut self.tables.lock());
        if fails { Err(JournalError::InDoubt("the model's answer is lost".into())) } else { done }
    }
}

impl Journal for ModelJournal {
    async fn grant(&self, asks: &[GrantAsk]) -> Result<Vec<Option<Granted>>, JournalError> {
        self.transaction(|tables| tables.grant(self.boot, asks))
    }

    async fn charge(&self, entries: &[&Entry]) -> Result<Batch, JournalError> {
        self.transaction(|tables| tables.charge(self.boot, entries))
    }

    async fn locate(&self, slices: &[i64]) -> Result<Vec<Placed>, JournalError> {
        Ok(self.tables.lock().locate(slices))
    }

    async fn price(&self, _: i64) -> Result<Option<DatedPrice>, JournalError> {
        Ok(None)
    }

    async fn fold(&self, slices: &[i64]) -> Result<Vec<Folded>, JournalError> {
        self.transaction(|tables| tables.fold(self.boot, slices))
    }

    async fn books(&self, budget: BudgetId, period: Period) -> Result<Books, JournalError> {
        Ok(self.tables.lock().books(budget, period))
    }

    async fn beat(&self, applied: i64) -> Result<Beat, JournalError> {
        let mut read = self.read.lock();
        let (beat, new) = self.transaction(|tables| tables.beat(self.boot, applied, &read))?;
        *read = new;
        Ok(beat)
    }

    async fn confirm(&self, known: &Known) -> Result<Confirmed, JournalError> {
        self.transaction(|tables| Ok(tables.confirm(self.boot, 0, known)))
    }

    async fn end_doubt(&self, boot: BootId) -> Result<(), JournalError> {
        self.transaction(|tables| tables.end_doubt(self.boot, boot))
    }

    async fn expire(&self, peer: &Peer) -> Result<(), JournalError> {
        self.transaction(|tables| tables.expire(self.boot, peer))
    }

    async fn extend(&self, extension: &Extension) -> Result<bool, JournalError> {
        self.transaction(|tables| tables.extend(self.boot, extension))
    }

    async fn read(&self, slices: &[i64]) -> Result<Vec<SliceState>, JournalError> {
        self.tables.lock().read(self.boot, slices)
    }

    async fn give_back(&self, room: &[(i64, i64)]) -> Result<Vec<SliceState>, JournalError> {
        self.transaction(|tables| tables.give_back(self.boot, room))
    }

    async fn retire(&self, held: &[(i64, i64)]) -> Result<(), JournalError> {
        self.transaction(|tables| tables.retire(self.boot, held))
    }
}
