//! The ledger in the database: grants, charges, folds. See [`crate::engine::journal`] for what each means.
//!
//! Invariants, also checked by the tables themselves: for every budget and period, allocated = granted of open slices +
//! settled, and is at most the ceiling; a slice's spent is at most its granted. A transaction first makes sure that this
//! server has not been replaced, so that what a replaced one still believes cannot do harm.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use tokio::runtime::Handle;

use super::{
    Db, Result, StoreError, Tx, charges,
    slices::{self, At, PeriodBook},
};
use crate::{
    domain::{
        id::{BootId, BudgetId},
        time::Timestamp,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{Batch, Books, Entry, Folded, GrantAsk, Journal, JournalError, Orphan, Posted, PostedLine, Posting},
    },
};

const LIVE: i64 = 1;
const CLOSING: i64 = 2;

/// The ledger, as one server uses it.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: Db,
    boot: BootId,
    /// Where transactions run that an RPC waits for: its own future may be dropped in the middle.
    runtime: Handle,
}

/// Why a transaction of the ledger came to nothing.
enum Failure {
    Store(StoreError),
    Superseded,
    /// The commit's answer was lost.
    Lost(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Failure> for JournalError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => Self::Unavailable(error.to_string()),
            Failure::Lost(error) => Self::InDoubt(error.to_string()),
            Failure::Superseded => Self::Superseded,
        }
    }
}

impl Ledger {
    /// Takes the ledger over for a new run of the server: every earlier run is over from here on, and its slices wait to
    /// be folded. Gives those.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn register(db: Db, boot: BootId, now: Timestamp) -> Result<(Self, Vec<Orphan>)> {
        let mut tx = db.begin_ledger().await?;
        execute!(&mut tx, "UPDATE replicas SET state = 2 WHERE state = 1")?;
        execute!(
            &mut tx,
            "INSERT INTO replicas (boot_id, started, state) VALUES ($1, $2, $3)",
            boot.to_string(),
            now.micros(),
            LIVE
        )?;
        execute!(&mut tx, "UPDATE slices SET state = $1, ver = ver + 1 WHERE state = $2", CLOSING, LIVE)?;
        let orphans = slices::open(&mut tx, None).await?;
        tx.commit().await?;
        Ok((Self { db, boot, runtime: Handle::current() }, orphans))
    }

    /// Begins a transaction, unless another server has taken over.
    async fn begin(&self) -> std::result::Result<Tx, Failure> {
        let mut tx = self.db.begin_ledger().await?;
        let live = fetch_optional!(
            &mut tx,
            (i64,),
            "SELECT state FROM replicas WHERE boot_id = $1 AND state = 1",
            self.boot.to_string()
        )?;
        if live.is_none() { Err(Failure::Superseded) } else { Ok(tx) }
    }

    /// Commits. On `SQLite` a commit that fails has not happened; over a network that is not known.
    async fn commit(tx: Tx) -> std::result::Result<(), Failure> {
        let embedded = matches!(tx, Tx::Sqlite(_));
        tx.commit().await.map_err(|error| if embedded { Failure::Store(error) } else { Failure::Lost(error) })
    }

    /// Runs something to its end, whatever becomes of whoever waits for it.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> std::result::Result<T, JournalError> {
        match self.runtime.spawn(work).await {
            Ok(outcome) => Ok(outcome.map_err(Failure::Store)?),
            Err(ended) => Err(JournalError::Unavailable(ended.to_string())),
        }
    }

    async fn grant_all(&self, asks: &[GrantAsk]) -> std::result::Result<Vec<Option<Granted>>, Failure> {
        let mut tx = self.begin().await?;
        let periods = asks.iter().map(|ask| (ask.budget, ask.period)).collect();
        let mut books = slices::lock_periods(&mut tx, &periods).await?;
        slices::lock_own(&mut tx, &self.boot.to_string(), &periods).await?;
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            answers.push(match books.get_mut(&(ask.budget, ask.period)) {
                Some(book) => Some(self.grant_one(&mut tx, ask, book).await?),
                None => None,
            });
        }
        Self::commit(tx).await?;
        Ok(answers)
    }

    async fn grant_one(
        &self,
        tx: &mut Tx,
        ask: &GrantAsk,
        book: &mut PeriodBook,
    ) -> std::result::Result<Granted, Failure> {
        let (budget, period) = (ask.budget.to_string(), i64::from(ask.period.0));
        let room = book.room();
        let take = room.min(ask.need.max(ask.want.min(room / 2)));
        slices::allocate(tx, (ask.budget, ask.period), take).await?;
        book.allocated += take;
        let at = (ask.budget, ask.period);
        let boot = self.boot.to_string();
        let mut added = slices::add(tx, at, &boot, take, ask.promised).await?;
        if added.is_none() {
            slices::reopen(tx, at, &boot).await?;
            added = slices::add(tx, at, &boot, take, ask.promised).await?;
        }
        let (slice, promised) = added.ok_or_else(|| StoreError::Corrupt("slice".into()))?;
        let (others_spent, others_granted) = fetch_one!(
            tx,
            (i64, i64),
            "SELECT CAST(COALESCE(SUM(spent), 0) AS BIGINT), CAST(COALESCE(SUM(granted), 0) AS BIGINT) FROM slices
             WHERE budget_id = $1 AND period = $2 AND state < 3 AND id <> $3",
            &budget,
            period,
            slice.id
        )?;
        Ok(Granted {
            slice,
            promised,
            headroom: room - take,
            spent_elsewhere: book.settled.saturating_add(book.overrun).saturating_add(others_spent),
            held_elsewhere: others_granted - others_spent,
        })
    }

    async fn charge_all(&self, entries: &[&Entry]) -> std::result::Result<Batch, Failure> {
        // When a slice turns out to be closed, or to have less left than was thought, periods are needed that were not
        // locked before the slices were: from the beginning then, with all of them.
        match self.charge_batch(entries, false).await? {
            Some(batch) => Ok(batch),
            None => Ok(self.charge_batch(entries, true).await?.unwrap_or_default()),
        }
    }

    /// Writes a batch. `None`, and nothing written: a slice has no room for what was meant for it, and not every period
    /// of the batch is `locked`.
    async fn charge_batch(&self, entries: &[&Entry], locked: bool) -> std::result::Result<Option<Batch>, Failure> {
        let mut tx = self.begin().await?;
        let inserted = charges::insert(&mut tx, entries).await?;
        let numbered = entries.iter().zip(&inserted);
        let mut writing: Vec<Option<Writing<'_>>> =
            numbered.map(|(entry, seq)| seq.map(|seq| Writing::new(entry, seq))).collect();
        let postings = || writing.iter().flatten().flat_map(|one| &one.entry.postings);
        let unsure = postings().filter(|posting| locked || posting.beyond > 0 || posting.held > 0);
        let periods = unsure.map(|posting| (posting.budget, posting.period)).collect();
        let strange = postings().any(|posting| posting.held > 0);
        let of_slices: BTreeSet<i64> = postings().filter(|p| p.in_slice > 0).map(|posting| posting.slice).collect();
        let mut books = slices::lock_periods(&mut tx, &periods).await?;
        if strange {
            // What others took of a hold is known when they can take no more.
            slices::lock_slices(&mut tx, &of_slices.into_iter().collect::<Vec<_>>()).await?;
            let mut pending: Vec<i64> = writing.iter().flatten().map(|one| one.seq).collect();
            for one in writing.iter_mut().flatten() {
                one.leave_out_what_was_taken(&mut tx, &pending).await?;
                pending.retain(|seq| *seq != one.seq);
            }
        }
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        let in_slices = writing.iter().flatten().flat_map(|one| &*one.postings).filter(|posting| posting.in_slice > 0);
        in_slices.for_each(|posting| *sums.entry(posting.slice).or_default() += posting.in_slice);
        let mut changed = slices::charge(&mut tx, &sums).await?;
        let full = changed.len() == sums.len();
        if !full && !locked {
            tx.rollback().await?;
            return Ok(None);
        }
        if !full {
            // One by one, each where it fits.
            slices::uncharge(&mut tx, &sums, &mut changed).await?;
        }
        let mut posted = Vec::with_capacity(entries.len());
        for (entry, one) in entries.iter().zip(&writing) {
            posted.push(match one {
                Some(one) => one.settle(&mut tx, full, &mut books, &mut changed).await?,
                None => charges::earlier(&mut tx, entry).await?,
            });
        }
        // Whoever asks again because an answer was lost does not know what became of the slices.
        let replayed = entries.iter().zip(&posted).filter(|(_, posted)| matches!(posted, Posted::Replayed(_)));
        for posting in replayed.flat_map(|(entry, _)| &entry.postings).filter(|posting| posting.in_slice > 0) {
            if changed.iter().all(|slice| slice.id != posting.slice) {
                changed.extend(slices::read(&mut tx, posting.slice).await?);
            }
        }
        Self::commit(tx).await?;
        Ok(Some(Batch { posted, slices: changed }))
    }

    /// Locks slices and their periods in order.
    async fn lock_with_periods(tx: &mut Tx, ids: &[i64]) -> std::result::Result<Vec<Orphan>, Failure> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(slices::locate(tx, *id).await?);
        }
        slices::lock_periods(tx, &found.iter().map(|slice| (slice.budget, slice.period)).collect()).await?;
        slices::lock_slices(tx, ids).await?;
        Ok(found)
    }

    async fn fold_all(&self, ids: &[i64]) -> std::result::Result<Vec<Folded>, Failure> {
        let mut tx = self.begin().await?;
        let mut folded = Vec::new();
        for slice in Self::lock_with_periods(&mut tx, ids).await? {
            folded.extend(slices::fold(&mut tx, slice.slice).await?);
        }
        Self::commit(tx).await?;
        Ok(folded)
    }

    async fn retire_all(&self, held: &[(i64, i64)]) -> std::result::Result<(), Failure> {
        let mut tx = self.begin().await?;
        let held: BTreeMap<i64, i64> = held.iter().copied().collect();
        let own: Vec<i64> =
            slices::open(&mut tx, Some(&self.boot.to_string())).await?.iter().map(|s| s.slice).collect();
        for Orphan { slice, budget, period, .. } in Self::lock_with_periods(&mut tx, &own).await? {
            let held = held.get(&slice).copied().unwrap_or_default();
            let Some(state) = slices::read(&mut tx, slice).await? else { continue };
            let unused = (state.granted - state.spent - held).max(0);
            slices::allocate(&mut tx, (budget, period), -unused).await?;
            execute!(
                &mut tx,
                "UPDATE slices SET granted = granted - $2, state = 2, ver = ver + 1 WHERE id = $1",
                slice,
                unused
            )?;
            if held == 0 {
                slices::fold(&mut tx, slice).await?;
            }
        }
        execute!(&mut tx, "UPDATE replicas SET state = 3 WHERE boot_id = $1", self.boot.to_string())?;
        Self::commit(tx).await
    }
}

impl Journal for Ledger {
    async fn grant(&self, asks: &[GrantAsk]) -> std::result::Result<Vec<Option<Granted>>, JournalError> {
        Ok(self.grant_all(asks).await?)
    }

    async fn charge(&self, entries: &[&Entry]) -> std::result::Result<Batch, JournalError> {
        Ok(self.charge_all(entries).await?)
    }

    async fn locate(&self, slices: &[i64]) -> std::result::Result<Vec<Orphan>, JournalError> {
        let (db, ids) = (self.db.clone(), slices.to_vec());
        self.apart(async move {
            let mut tx = db.read().await?;
            let mut found = Vec::new();
            for id in ids {
                found.extend(slices::locate(&mut tx, id).await?);
            }
            Ok(found)
        })
        .await
    }

    async fn fold(&self, slices: &[i64]) -> std::result::Result<Vec<Folded>, JournalError> {
        Ok(self.fold_all(slices).await?)
    }

    async fn books(&self, budget: BudgetId, period: Period) -> std::result::Result<Books, JournalError> {
        let db = self.db.clone();
        self.apart(async move {
            let mut tx = db.read().await?;
            slices::books(&mut tx, (budget, period)).await
        })
        .await
    }

    async fn retire(&self, held: &[(i64, i64)]) -> std::result::Result<(), JournalError> {
        Ok(self.retire_all(held).await?)
    }
}

/// A charge that is new, on its way into the ledger.
struct Writing<'e> {
    entry: &'e Entry,
    seq: i64,
    /// Where it goes: as the entry says, less what other charges took of its hold.
    postings: Cow<'e, [Posting]>,
    /// What its hold gives back, in nanos.
    released: i64,
}

impl<'e> Writing<'e> {
    fn new(entry: &'e Entry, seq: i64) -> Self {
        Self { entry, seq, postings: Cow::Borrowed(&entry.postings), released: entry.released }
    }

    /// What earlier charges took of a hold of another run cannot be taken out of its slice again.
    async fn leave_out_what_was_taken(&mut self, tx: &mut Tx, pending: &[i64]) -> Result<()> {
        let Some(hold) = self.entry.hold.filter(|_| self.postings.iter().any(|posting| posting.held > 0)) else {
            return Ok(());
        };
        let taken = charges::taken_of(tx, &hold, pending).await?;
        let mut left_usd = 0;
        for posting in self.postings.to_mut().iter_mut().filter(|posting| posting.held > 0) {
            let taken =
                taken.as_ref().map_or(posting.held, |taken| taken.get(&posting.slice).copied().unwrap_or_default());
            let left = (posting.held - taken).max(0);
            if posting.usd {
                left_usd = left_usd.max(left);
            }
            let moved = (posting.in_slice - left).max(0);
            posting.in_slice -= moved;
            posting.beyond += moved;
        }
        self.released = self.released.min((left_usd - self.entry.cost).max(0));
        Ok(())
    }

    /// Writes what goes beyond the slices: to what is left of the limit, and past that as an overrun. With slices that have
    /// turned out too small, writes what was meant for them too, as far as each has room.
    async fn settle(
        &self,
        tx: &mut Tx,
        full: bool,
        books: &mut BTreeMap<At, PeriodBook>,
        changed: &mut Vec<SliceState>,
    ) -> Result<Posted> {
        let as_thought = |posting: &Posting| PostedLine { in_slice: posting.in_slice, direct: 0, overrun: 0 };
        let mut lines: Vec<PostedLine> = self.postings.iter().map(as_thought).collect();
        let (seq, released) = (self.seq, self.released);
        if full && released == self.entry.released && self.postings.iter().all(|posting| posting.beyond == 0) {
            return Ok(Posted::New { seq, lines, released });
        }
        for (posting, line) in self.postings.iter().zip(&mut lines) {
            let mut beyond = posting.beyond;
            if !full && posting.in_slice > 0 {
                let one = BTreeMap::from([(posting.slice, posting.in_slice)]);
                if let Some(state) = slices::charge(tx, &one).await?.pop() {
                    changed.retain(|slice| slice.id != state.id);
                    changed.push(state);
                } else {
                    line.in_slice = 0;
                    beyond += posting.in_slice;
                }
            }
            if beyond > 0 {
                let at = (posting.budget, posting.period);
                (line.direct, line.overrun) = match books.get_mut(&at) {
                    Some(book) => slices::settle(tx, at, book, beyond).await?,
                    // The budget is gone: nothing has room.
                    None => (0, beyond),
                };
            }
        }
        charges::rewrite(tx, &self.postings, seq, &lines, released).await?;
        Ok(Posted::New { seq, lines, released })
    }
}
