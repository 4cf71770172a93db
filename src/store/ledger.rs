//! The ledger in the database: grants, charges, folds. See [`crate::engine::journal`] for what each means.
//!
//! Invariants, also checked by the tables themselves: for every budget and period, allocated = granted of open slices +
//! settled, and is at most the ceiling; a slice's spent is at most its granted. A transaction first makes sure that this
//! server has not been replaced, so that what a replaced one still believes cannot do harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    Db, Result, StoreError, Tx, charges, prices,
    replicas::{self, Member, Pulse, Standing},
    slices::{self, PeriodBook},
    statements, usage,
    writing::{Writing, is_of_slice, leave_out_what_was_taken, sums_of},
};
use crate::{
    domain::{
        id::{BootId, BudgetId},
        price_versions::DatedPrice,
        time::Clock,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{
            Batch, Beat, Books, Confirmed, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Known, Mail,
            Peer, Posted,
        },
        places::Placed,
    },
};

/// The ledger, as one server uses it.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) db: Db,
    pub(super) boot: BootId,
    /// Where transactions run that an RPC waits for: its own future may be dropped in the middle.
    runtime: Handle,
    /// Mail that was taken in, to be thrown away.
    read: Arc<Mutex<Vec<i64>>>,
    /// How many signs of life the database had taken down at the last one.
    pub(super) last: Arc<AtomicI64>,
    /// What is added up by.
    pub(super) series: usage::Known,
    clock: statements::TimeOf,
}

/// Why a transaction of the ledger came to nothing.
pub(super) enum Failure {
    Store(StoreError),
    Superseded,
    /// The database has forgotten something, and not everything is back.
    Forgotten,
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
            Failure::Store(error @ StoreError::InDoubt(_)) => Self::InDoubt(error.to_string()),
            Failure::Store(error) => Self::Unavailable(error.to_string()),
            Failure::Superseded => Self::Superseded,
            Failure::Forgotten => Self::Unavailable(
                "the database has forgotten what it had committed; the servers are putting it back".to_owned(),
            ),
        }
    }
}

impl Ledger {
    /// The ledger, for a run of a server. Nothing may be granted to it before [`Ledger::join`].
    #[must_use]
    pub fn new(db: Db, boot: BootId, clock: Arc<dyn Clock>) -> Self {
        let (runtime, series) = (Handle::current(), usage::Known::default());
        Self { db, boot, runtime, read: Arc::default(), last: Arc::default(), series, clock: statements::TimeOf(clock) }
    }

    /// Joins the servers of the ledger. `gone` says of a process whether it has ended for certain.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn join(&self, member: &Member, gone: impl Fn(&str) -> bool) -> Result<()> {
        let mut tx = self.db.begin_ledger().await?;
        replicas::join(&mut tx, member, gone).await?;
        tx.commit().await
    }

    /// Begins a transaction, unless others have taken this server for dead, or the database may have forgotten something that
    /// is not back yet.
    pub(super) async fn begin(&self) -> std::result::Result<Tx, Failure> {
        self.begin_if(false, |standing| standing.is_settled).await
    }

    /// As [`Ledger::begin`], and nobody takes it for dead until the commit.
    async fn begin_as_member(&self) -> std::result::Result<Tx, Failure> {
        self.begin_if(true, |standing| standing.is_settled).await
    }

    /// As [`Ledger::begin_as_member`], to set room aside: only when it is certain what others have set aside.
    async fn begin_to_grant(&self) -> std::result::Result<Tx, Failure> {
        self.begin_if(true, |standing| standing.is_settled && !standing.is_doubted).await
    }

    async fn begin_if(&self, keep: bool, may: impl Fn(&Standing) -> bool) -> std::result::Result<Tx, Failure> {
        let mut tx = self.db.begin_ledger().await?;
        match replicas::standing(&mut tx, self.boot, keep).await? {
            Some(standing) if !may(&standing) => Err(Failure::Forgotten),
            Some(standing) if standing.is_live => Ok(tx),
            Some(_) => Err(Failure::Superseded),
            // Rows of servers stay: one that is gone was forgotten.
            None => Err(Failure::Forgotten),
        }
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
        let mut tx = self.begin_to_grant().await?;
        let live = replicas::count(&mut tx).await?.max(1);
        let periods = asks.iter().map(|ask| (ask.budget, ask.period)).collect();
        let mut books = slices::lock_periods(&mut tx, &periods).await?;
        slices::lock_own(&mut tx, &self.boot.to_string(), &periods).await?;
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            answers.push(match books.get_mut(&(ask.budget, ask.period)) {
                Some(book) => Some(self.grant_one(&mut tx, ask, book, live).await?),
                None => None,
            });
        }
        tx.commit().await?;
        Ok(answers)
    }

    async fn grant_one(
        &self,
        tx: &mut Tx,
        ask: &GrantAsk,
        book: &mut PeriodBook,
        live: i64,
    ) -> std::result::Result<Granted, Failure> {
        let (budget, period) = (ask.budget.to_string(), i64::from(ask.period.0));
        let room = book.room();
        // The less is left, the less each takes beyond what somebody waits for.
        let take = room.min(ask.need.max(ask.want.min(room / (2 * live))));
        slices::take(tx, (ask.budget, ask.period), take).await?;
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
        let lacks = (take < ask.need || ask.recall) && others_granted > others_spent;
        let recalled = lacks && replicas::recall(tx, at, slice.id).await?;
        Ok(Granted {
            slice,
            promised,
            headroom: room - take,
            shared: live > 1 || others_granted > others_spent,
            recalled,
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
        let Some((batch, fresh)) = self.write(&mut tx, entries, locked).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        tx.commit().await?;
        self.series.learn(fresh);
        Ok(Some(batch))
    }

    /// As [`Ledger::charge_batch`], within a transaction.
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        entries: &[&Entry],
        locked: bool,
    ) -> std::result::Result<Option<(Batch, usage::Fresh)>, Failure> {
        let moved = statements::out_of_closed_months(tx, entries, self.clock.0.now()).await?;
        let moved: Option<Vec<&Entry>> = moved.as_ref().map(|moved| moved.iter().collect());
        let entries = moved.as_deref().unwrap_or(entries);
        let inserted = charges::insert(tx, entries).await?;
        let numbered = entries.iter().zip(&inserted);
        let mut writing: Vec<Option<Writing<'_>>> =
            numbered.map(|(entry, seq)| seq.map(|seq| Writing::new(entry, seq))).collect();
        let postings = || writing.iter().flatten().flat_map(|one| &one.entry.postings);
        let unsure = postings().filter(|posting| locked || posting.beyond > 0);
        let of_ends = || writing.iter().flatten().filter(|one| one.is_of_end()).flat_map(|one| &one.entry.postings);
        let periods: BTreeSet<_> = unsure.chain(of_ends()).map(|posting| (posting.budget, posting.period)).collect();
        let of_end = writing.iter().flatten().any(Writing::is_of_end);
        let strange = of_end || postings().any(|posting| posting.known.is_none());
        let of_slices: BTreeSet<i64> =
            postings().filter(|posting| is_of_slice(posting)).map(|posting| posting.slice).collect();
        let mut books = slices::lock_periods(tx, &periods).await?;
        if strange || locked {
            // What others took of a hold is known when they can take no more.
            slices::lock(tx, &of_slices.iter().copied().collect::<Vec<_>>()).await?;
            let mut taken = BTreeMap::new();
            for slice in of_slices.into_iter().filter(|_| locked) {
                taken.insert(slice, slices::taken_by_others(tx, slice).await?);
            }
            leave_out_what_was_taken(tx, &mut writing, &taken).await?;
            let rest = writing.iter().flatten().flat_map(|one| &*one.postings).filter(|posting| posting.beyond > 0);
            if !locked && rest.into_iter().any(|posting| !periods.contains(&(posting.budget, posting.period))) {
                return Ok(None);
            }
        }
        let sums = sums_of(writing.iter().flatten().flat_map(|one| &*one.postings));
        let mut changed = slices::charge(tx, &sums).await?;
        let full = changed.len() == sums.len();
        if !full && !locked {
            return Ok(None);
        }
        if !full {
            // One by one, each where it fits.
            slices::uncharge(tx, &sums, &mut changed).await?;
        }
        let mut posted = Vec::with_capacity(entries.len());
        for (entry, one) in entries.iter().zip(&writing) {
            posted.push(match one {
                Some(one) => one.settle(tx, full, &mut books, &mut changed).await?,
                None => charges::earlier(tx, entry).await?,
            });
        }
        self.tell_owners(tx, &writing, &posted).await?;
        // Whoever asks again because an answer was lost does not know what became of the slices.
        let replayed = entries.iter().zip(&posted).filter(|(_, posted)| matches!(posted, Posted::Replayed(_)));
        for posting in replayed.flat_map(|(entry, _)| &entry.postings).filter(|posting| is_of_slice(posting)) {
            if changed.iter().all(|slice| slice.id != posting.slice) {
                changed.extend(slices::read(tx, posting.slice).await?);
            }
        }
        let new = writing.iter().flatten().map(|one| (one.entry, one.cost()));
        let fresh = usage::add(tx, &self.series, self.boot, new).await?;
        Ok(Some((Batch { posted, slices: changed }, fresh)))
    }

    /// Tells the servers whose holds were charged what was taken of them.
    async fn tell_owners(&self, tx: &mut Tx, writing: &[Option<Writing<'_>>], posted: &[Posted]) -> Result<()> {
        let mut messages = Vec::new();
        for (one, posted) in writing.iter().zip(posted) {
            let (Some(one), Posted::New { lines, .. }) = (one, posted) else { continue };
            let Some(hold) = one.entry.hold.filter(|hold| hold.run != self.boot) else { continue };
            let elsewhere = one.postings.iter().zip(lines).filter(|(posting, _)| posting.known.is_none());
            let lines: Vec<(i64, i64)> = elsewhere.map(|(posting, line)| (posting.slice, line.in_slice)).collect();
            if !lines.is_empty() {
                let mail = Mail::Taken { hold: hold.hold, issued: hold.issued, ends: hold.ends, lines };
                messages.push((hold.run, mail));
            }
        }
        if messages.is_empty() { Ok(()) } else { replicas::tell(tx, &messages).await }
    }

    /// Locks slices and their periods in order.
    async fn lock_with_periods(tx: &mut Tx, ids: &[i64]) -> std::result::Result<Vec<Placed>, Failure> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(slices::locate(tx, *id).await?);
        }
        slices::lock_periods(tx, &found.iter().map(|slice| (slice.budget, slice.period)).collect()).await?;
        slices::lock(tx, ids).await?;
        Ok(found)
    }

    async fn fold_all(&self, ids: &[i64]) -> std::result::Result<Vec<Folded>, Failure> {
        let mut tx = self.begin().await?;
        let mut folded = Vec::new();
        for slice in Self::lock_with_periods(&mut tx, ids).await? {
            folded.extend(slices::fold(&mut tx, slice.slice).await?);
        }
        tx.commit().await?;
        Ok(folded)
    }

    async fn retire_all(&self, held: &[(i64, i64)]) -> std::result::Result<(), Failure> {
        // Whoever takes this server for dead at this moment locks it before its slices: so must this.
        let mut tx = self.begin_as_member().await?;
        let held: BTreeMap<i64, i64> = held.iter().copied().collect();
        let own: Vec<i64> = slices::open(&mut tx, &self.boot.to_string()).await?.iter().map(|s| s.slice).collect();
        for Placed { slice, budget, period } in Self::lock_with_periods(&mut tx, &own).await? {
            let held = held.get(&slice).copied().unwrap_or_default();
            let Some(state) = slices::read(&mut tx, slice).await? else { continue };
            let unused = (state.granted - state.spent - held).max(0);
            slices::free(&mut tx, (budget, period), unused).await?;
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
        Ok(tx.commit().await?)
    }

    async fn beat_once(&self, applied: i64) -> std::result::Result<Beat, Failure> {
        let mut tx = self.db.begin_pulse().await?;
        let mut beat = Beat::default();
        let read = self.read.lock().clone();
        let (mut new, mut last) = (Vec::new(), 0);
        if matches!(tx, Tx::Postgres(_)) {
            let seq = match replicas::beat(&mut tx, self.boot, applied, self.last.load(Ordering::Acquire)).await? {
                Pulse::Taken(seq) => seq,
                Pulse::Dead => return Err(Failure::Superseded),
                Pulse::Forgotten => {
                    let peers = replicas::peers(&mut tx, self.boot).await?;
                    tx.commit().await?;
                    return Ok(Beat { in_doubt: true, peers, ..Beat::default() });
                }
            };
            beat.doubtful = replicas::doubtful(&mut tx).await?;
            let (mail, slices) = replicas::mail(&mut tx, self.boot, &read).await?;
            (new, beat.mail) = mail.into_iter().unzip();
            beat.slices = slices;
            beat.peers = replicas::peers(&mut tx, self.boot).await?;
            last = seq;
        }
        beat.closing = slices::closing(&mut tx).await?;
        tx.commit().await?;
        self.last.fetch_max(last, Ordering::AcqRel);
        *self.read.lock() = new;
        Ok(beat)
    }

    async fn expire_one(&self, peer: &Peer) -> std::result::Result<(), Failure> {
        // Also when somebody has not said what was forgotten: it may be this one.
        let mut tx = self.begin_if(false, |_| true).await?;
        replicas::expire(&mut tx, &peer.boot.to_string(), Some(peer.seq)).await?;
        Ok(tx.commit().await?)
    }

    async fn extend_one(&self, extension: &Extension) -> std::result::Result<bool, Failure> {
        let mut tx = self.begin().await?;
        let Extension { run, hold, issued, seconds, .. } = *extension;
        if !slices::promise(&mut tx, &extension.slices, seconds).await? {
            return Ok(false);
        }
        replicas::tell(&mut tx, &[(run, Mail::Extended { hold, issued, seconds })]).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn read_all(&self, ids: &[i64]) -> std::result::Result<Vec<SliceState>, Failure> {
        let mut tx = self.begin().await?;
        // Waits for whoever is charging them.
        slices::lock(&mut tx, ids).await?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(slices::read(&mut tx, *id).await?);
        }
        Ok(found)
    }

    async fn give_back_all(&self, room: &[(i64, i64)]) -> std::result::Result<Vec<SliceState>, Failure> {
        let mut tx = self.begin_as_member().await?;
        let room: BTreeMap<i64, i64> = room.iter().copied().collect();
        let ids: Vec<i64> = room.keys().copied().collect();
        let mut found = Vec::with_capacity(ids.len());
        let boot = self.boot.to_string();
        for Placed { slice, budget, period } in Self::lock_with_periods(&mut tx, &ids).await? {
            let by = room.get(&slice).copied().unwrap_or_default();
            match slices::shrink(&mut tx, (budget, period), &boot, slice, by).await? {
                Some(state) => found.push(state),
                None => found.extend(slices::read(&mut tx, slice).await?),
            }
        }
        tx.commit().await?;
        Ok(found)
    }
}

impl Journal for Ledger {
    async fn grant(&self, asks: &[GrantAsk]) -> std::result::Result<Vec<Option<Granted>>, JournalError> {
        Ok(self.grant_all(asks).await?)
    }

    async fn charge(&self, entries: &[&Entry]) -> std::result::Result<Batch, JournalError> {
        Ok(self.charge_all(entries).await?)
    }

    async fn locate(&self, slices: &[i64]) -> std::result::Result<Vec<Placed>, JournalError> {
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

    async fn price(&self, id: i64) -> std::result::Result<Option<DatedPrice>, JournalError> {
        let db = self.db.clone();
        self.apart(async move { prices::by_id(&mut db.read().await?, id).await }).await
    }

    async fn fold(&self, slices: &[i64]) -> std::result::Result<Vec<Folded>, JournalError> {
        Ok(self.fold_all(slices).await?)
    }

    async fn books(&self, budget: BudgetId, period: Period) -> std::result::Result<Books, JournalError> {
        let db = self.db.clone();
        self.apart(async move { slices::books(&mut db.read().await?, (budget, period)).await }).await
    }

    async fn beat(&self, applied: i64) -> std::result::Result<Beat, JournalError> {
        Ok(self.beat_once(applied).await?)
    }

    async fn confirm(&self, known: &Known) -> std::result::Result<Confirmed, JournalError> {
        Ok(self.confirm_all(known).await?)
    }

    async fn end_doubt(&self, boot: BootId) -> std::result::Result<(), JournalError> {
        Ok(self.end_doubt_of(boot).await?)
    }

    async fn expire(&self, peer: &Peer) -> std::result::Result<(), JournalError> {
        Ok(self.expire_one(peer).await?)
    }

    async fn extend(&self, extension: &Extension) -> std::result::Result<bool, JournalError> {
        Ok(self.extend_one(extension).await?)
    }

    async fn read(&self, slices: &[i64]) -> std::result::Result<Vec<SliceState>, JournalError> {
        Ok(self.read_all(slices).await?)
    }

    async fn give_back(&self, room: &[(i64, i64)]) -> std::result::Result<Vec<SliceState>, JournalError> {
        Ok(self.give_back_all(room).await?)
    }

    async fn retire(&self, held: &[(i64, i64)]) -> std::result::Result<(), JournalError> {
        Ok(self.retire_all(held).await?)
    }
}
