//! A ledger in memory, written down once more and as plainly as possible, which now and then fails as a database does.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tollreeve::{
    domain::{
        id::{BudgetId, TenantId},
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{
            Batch, Beat, Books, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Peer, Posted, PostedLine,
            Recorded,
        },
        places::Placed,
    },
};

/// What is left to be granted of a budget's period, and what is settled in it.
#[derive(Clone, Copy, Debug, Default)]
struct Book {
    ceiling: i64,
    allocated: i64,
    settled: i64,
    overrun: i64,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    state: SliceState,
    budget: BudgetId,
    period: Period,
    promised: i64,
    open: bool,
}

#[derive(Default)]
struct Tables {
    caps: HashMap<BudgetId, i64>,
    books: HashMap<(BudgetId, Period), Book>,
    slices: Vec<Slice>,
    charges: HashMap<(TenantId, String), (String, Recorded)>,
}

/// A ledger in memory.
#[derive(Clone, Default)]
pub struct ModelJournal {
    tables: std::sync::Arc<Mutex<Tables>>,
    /// Every so many transactions fail; 0 for none.
    failing: std::sync::Arc<AtomicU64>,
    count: std::sync::Arc<AtomicU64>,
}

impl ModelJournal {
    /// Every so many transactions fail from now on: some before they are done, some after; 0 for none.
    pub fn fail_every(&self, nth: u64) {
        self.failing.store(nth, Ordering::Relaxed);
    }

    /// Gives a budget a cap, in every period that there is.
    pub fn set_cap(&self, budget: BudgetId, cap: i64) {
        let mut tables = self.tables.lock();
        tables.caps.insert(budget, cap);
        for (_, book) in tables.books.iter_mut().filter(|((id, _), _)| *id == budget) {
            book.ceiling = cap.max(book.allocated);
        }
    }

    /// Insists that everything adds up.
    pub fn check(&self) {
        let tables = self.tables.lock();
        for (at, book) in &tables.books {
            let open = tables.slices.iter().filter(|slice| slice.open && (slice.budget, slice.period) == *at);
            let granted: i64 = open.map(|slice| slice.state.granted).sum();
            assert_eq!(book.allocated, granted + book.settled, "{book:?}");
            assert!(book.allocated <= book.ceiling, "{book:?}");
        }
        assert!(tables.slices.iter().all(|slice| slice.state.spent <= slice.state.granted));
    }

    /// One transaction, which may fail: before it begins, or when its answer is on the way.
    fn transaction<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> Result<T, JournalError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let failing = self.failing.load(Ordering::Relaxed);
        let fails = failing > 0 && count.is_multiple_of(failing);
        if fails && (count / failing).is_multiple_of(2) {
            return Err(JournalError::Unavailable("the model is away".into()));
        }
        let done = work(&mut self.tables.lock());
        if fails { Err(JournalError::InDoubt("the model's answer is lost".into())) } else { Ok(done) }
    }
}

impl Tables {
    fn book(&mut self, budget: BudgetId, period: Period) -> Option<&mut Book> {
        let cap = *self.caps.get(&budget)?;
        Some(self.books.entry((budget, period)).or_insert(Book { ceiling: cap, ..Book::default() }))
    }

    fn allocate(&mut self, budget: BudgetId, period: Period, by: i64) {
        let cap = self.caps.get(&budget).copied().unwrap_or_default();
        if let Some(book) = self.books.get_mut(&(budget, period)) {
            book.allocated += by;
            book.ceiling = cap.max(book.allocated);
        }
    }

    fn grant(&mut self, ask: &GrantAsk) -> Option<Granted> {
        let book = *self.book(ask.budget, ask.period)?;
        let room = (book.ceiling - book.allocated).max(0);
        let take = room.min(ask.need.max(ask.want.min(room / 2)));
        self.allocate(ask.budget, ask.period, take);
        let of = |slice: &Slice| (slice.budget, slice.period) == (ask.budget, ask.period) && slice.open;
        let at = self.slices.iter().position(of).unwrap_or_else(|| {
            let id = i64::try_from(self.slices.len()).expect("few") + 1;
            let state = SliceState { id, ..SliceState::default() };
            let (budget, period, promised) = (ask.budget, ask.period, 0);
            self.slices.push(Slice { state, budget, period, promised, open: true });
            self.slices.len() - 1
        });
        let slice = &mut self.slices[at];
        slice.state.granted += take;
        slice.state.ver += 1;
        slice.promised = slice.promised.max(ask.promised);
        Some(Granted {
            slice: slice.state,
            promised: slice.promised,
            headroom: room - take,
            spent_elsewhere: book.settled + book.overrun,
            ..Granted::default()
        })
    }

    fn charge(&mut self, entry: &Entry) -> Posted {
        let id = (entry.tenant, entry.charge_id.clone());
        if let Some((hash, recorded)) = self.charges.get(&id) {
            return if *hash == entry.body_hash { Posted::Replayed(recorded.clone()) } else { Posted::Conflict };
        }
        let mut lines = Vec::new();
        for posting in &entry.postings {
            let mut line = PostedLine::default();
            let mut beyond = posting.beyond;
            let slice = self.slices.iter_mut().find(|slice| slice.state.id == posting.slice && slice.open);
            match slice.filter(|slice| slice.state.spent + posting.in_slice <= slice.state.granted) {
                Some(slice) if posting.in_slice > 0 => {
                    slice.state.spent += posting.in_slice;
                    slice.state.ver += 1;
                    line.in_slice = posting.in_slice;
                }
                _ => beyond += posting.in_slice,
            }
            let Some(book) = self.book(posting.budget, posting.period) else { continue };
            line.direct = beyond.min((book.ceiling - book.allocated).max(0));
            line.overrun = beyond - line.direct;
            book.allocated += line.direct;
            book.settled += line.direct;
            book.overrun += line.overrun;
            lines.push(line);
        }
        let seq = i64::try_from(self.charges.len()).expect("few") + 1;
        let recorded = Recorded {
            seq,
            at: entry.recorded,
            cost: entry.cost,
            released: entry.released,
            overrun: 0,
            lines: lines.clone(),
        };
        self.charges.insert(id, (entry.body_hash.clone(), recorded));
        Posted::New { seq, lines, released: entry.released }
    }

    fn shrink(&mut self, id: i64, by: i64) -> Option<SliceState> {
        let slice = self.slices.iter_mut().find(|slice| slice.state.id == id && slice.open)?;
        if slice.state.granted - by >= slice.state.spent {
            slice.state.granted -= by;
            slice.state.ver += 1;
            let Slice { budget, period, .. } = *slice;
            self.allocate(budget, period, -by);
        }
        self.slices.iter().map(|slice| slice.state).find(|state| state.id == id)
    }

    fn fold(&mut self, id: i64) -> Option<Folded> {
        let slice = self.slices.iter_mut().find(|slice| slice.state.id == id && slice.open)?;
        slice.open = false;
        let Slice { state, budget, period, .. } = *slice;
        let freed = state.granted - state.spent;
        self.book(budget, period)?.settled += state.spent;
        self.allocate(budget, period, -freed);
        Some(Folded { budget, period, freed })
    }
}

impl Journal for ModelJournal {
    async fn grant(&self, asks: &[GrantAsk]) -> Result<Vec<Option<Granted>>, JournalError> {
        self.transaction(|tables| asks.iter().map(|ask| tables.grant(ask)).collect())
    }

    async fn charge(&self, entries: &[&Entry]) -> Result<Batch, JournalError> {
        self.transaction(|tables| {
            let posted = entries.iter().map(|entry| tables.charge(entry)).collect();
            let touched = |slice: &&Slice| {
                entries.iter().flat_map(|entry| &entry.postings).any(|posting| posting.slice == slice.state.id)
            };
            let slices = tables.slices.iter().filter(touched).map(|slice| slice.state).collect();
            Batch { posted, slices }
        })
    }

    async fn locate(&self, slices: &[i64]) -> Result<Vec<Placed>, JournalError> {
        let tables = self.tables.lock();
        let found = tables.slices.iter().filter(|slice| slices.contains(&slice.state.id));
        let placed = |slice: &Slice| Placed { slice: slice.state.id, budget: slice.budget, period: slice.period };
        Ok(found.map(placed).collect())
    }

    async fn fold(&self, slices: &[i64]) -> Result<Vec<Folded>, JournalError> {
        self.transaction(|tables| slices.iter().filter_map(|slice| tables.fold(*slice)).collect())
    }

    async fn books(&self, budget: BudgetId, period: Period) -> Result<Books, JournalError> {
        let tables = self.tables.lock();
        let book = tables.books.get(&(budget, period)).copied().unwrap_or_default();
        let open = tables.slices.iter().filter(|slice| slice.open && (slice.budget, slice.period) == (budget, period));
        let spent: i64 = open.map(|slice| slice.state.spent).sum();
        let reserved = book.allocated - book.settled - spent;
        Ok(Books { spent: book.settled + book.overrun + spent, reserved })
    }

    async fn beat(&self, _: i64) -> Result<Beat, JournalError> {
        Ok(Beat::default())
    }

    async fn expire(&self, _: &Peer) -> Result<(), JournalError> {
        Ok(())
    }

    async fn extend(&self, _: &Extension) -> Result<bool, JournalError> {
        Ok(false)
    }

    async fn read(&self, slices: &[i64]) -> Result<Vec<SliceState>, JournalError> {
        let tables = self.tables.lock();
        Ok(tables.slices.iter().map(|slice| slice.state).filter(|state| slices.contains(&state.id)).collect())
    }

    async fn give_back(&self, room: &[(i64, i64)]) -> Result<Vec<SliceState>, JournalError> {
        self.transaction(|tables| room.iter().filter_map(|(slice, by)| tables.shrink(*slice, *by)).collect())
    }

    async fn retire(&self, _: &[(i64, i64)]) -> Result<(), JournalError> {
        Ok(())
    }
}
