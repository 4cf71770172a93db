//! The ledger in the database: grants, charges, folds. See [`crate::engine::journal`] for what each means.
//!
//! Invariants, also checked by the tables themselves: for every budget and period, allocated = granted of open slices +
//! settled, and is at most the ceiling; a slice's spent is at most its granted. A transaction first makes sure that this
//! server has not been replaced, so that what a replaced one still believes cannot do harm.

use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::{Db, Result, StoreError, Tx, charges, parse};
use crate::{
    domain::{
        id::{BootId, BudgetId},
        money::MAX_AMOUNT,
        time::Timestamp,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{Batch, Books, Entry, Folded, GrantAsk, Journal, JournalError, Orphan, Posted, PostedLine},
    },
};

const LIVE: i64 = 1;
const CLOSING: i64 = 2;
const CLOSED: i64 = 3;

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
        let rows = fetch_all!(
            &mut tx,
            (i64, String, i64, i64),
            "SELECT id, budget_id, period, promised FROM slices WHERE state < $1 ORDER BY id",
            CLOSED
        )?;
        let orphans = rows.into_iter().map(orphan).collect::<Result<Vec<_>>>()?;
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
        let mut answers = vec![None; asks.len()];
        // In one order everywhere, so that two transactions never wait for each other.
        let mut order: Vec<usize> = (0..asks.len()).collect();
        order.sort_unstable_by_key(|i| (asks[*i].budget, asks[*i].period));
        for i in order {
            answers[i] = self.grant_one(&mut tx, &asks[i]).await?;
        }
        Self::commit(tx).await?;
        Ok(answers)
    }

    async fn grant_one(&self, tx: &mut Tx, ask: &GrantAsk) -> std::result::Result<Option<Granted>, Failure> {
        let (budget, period) = (ask.budget.to_string(), i64::from(ask.period.0));
        open_period(tx, &budget, period).await?;
        let Some(book) = lock_period(tx, &budget, period).await? else { return Ok(None) };
        let room = (book.ceiling - book.allocated).max(0);
        let take = room.min(ask.need.max(ask.want.min(room / 2)));
        allocate(tx, &budget, period, take).await?;
        let (id, granted, spent, ver, promised) = fetch_one!(
            tx,
            (i64, i64, i64, i64, i64),
            "INSERT INTO slices (budget_id, period, boot_id, granted, spent, ver, promised, state)
             VALUES ($1, $2, $3, $4, 0, 1, $5, 1)
             ON CONFLICT (budget_id, period, boot_id) DO UPDATE SET granted = slices.granted + $4, ver = slices.ver + 1,
                 promised = CASE WHEN slices.promised < $5 THEN $5 ELSE slices.promised END
             RETURNING id, granted, spent, ver, promised",
            &budget,
            period,
            self.boot.to_string(),
            take,
            ask.promised
        )?;
        let (others_spent, others_granted) = fetch_one!(
            tx,
            (i64, i64),
            "SELECT CAST(COALESCE(SUM(spent), 0) AS BIGINT), CAST(COALESCE(SUM(granted), 0) AS BIGINT) FROM slices
             WHERE budget_id = $1 AND period = $2 AND state < 3 AND id <> $3",
            &budget,
            period,
            id
        )?;
        Ok(Some(Granted {
            slice: SliceState { id, granted, spent, ver },
            promised,
            headroom: room - take,
            spent_elsewhere: book.settled.saturating_add(book.overrun).saturating_add(others_spent),
            held_elsewhere: others_granted - others_spent,
        }))
    }

    async fn charge_all(&self, entries: &[&Entry]) -> std::result::Result<Batch, Failure> {
        let mut tx = self.begin().await?;
        let inserted = charges::insert(&mut tx, entries).await?;
        let mut posted = Vec::with_capacity(entries.len());
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for (entry, seq) in entries.iter().zip(&inserted) {
            posted.push(match seq {
                Some(seq) => {
                    for posting in entry.postings.iter().filter(|posting| posting.in_slice > 0) {
                        *sums.entry(posting.slice).or_default() += posting.in_slice;
                    }
                    Posted::New { seq: *seq, lines: entry.postings.iter().map(expected).collect() }
                }
                None => charges::earlier(&mut tx, entry).await?,
            });
        }
        let mut slices = charges::add_to_slices(&mut tx, &sums).await?;
        let full = slices.len() == sums.len();
        if !full {
            // A slice has closed meanwhile, or has less left than was thought: one by one, each where it fits.
            slices.clear();
            charges::subtract_from_slices(&mut tx, &sums, &mut slices).await?;
        }
        for (entry, posted) in entries.iter().zip(&mut posted) {
            if let Posted::New { seq, lines } = posted
                && (!full || entry.postings.iter().any(|posting| posting.beyond > 0))
            {
                settle_beyond(&mut tx, entry, *seq, lines, full, &mut slices).await?;
            }
        }
        Self::commit(tx).await?;
        Ok(Batch { posted, slices })
    }

    async fn fold_all(&self, slices: &[i64]) -> std::result::Result<Vec<Folded>, Failure> {
        let mut tx = self.begin().await?;
        let mut folded = Vec::new();
        for slice in slices {
            folded.extend(fold_one(&mut tx, *slice).await?);
        }
        Self::commit(tx).await?;
        Ok(folded)
    }

    async fn retire_all(&self, held: &[(i64, i64)]) -> std::result::Result<(), Failure> {
        let mut tx = self.begin().await?;
        for (slice, held) in held {
            let Some((budget, period, granted, spent)) = fetch_optional!(
                &mut tx,
                (String, i64, i64, i64),
                "SELECT budget_id, period, granted, spent FROM slices WHERE id = $1 AND state = 1",
                *slice
            )?
            else {
                continue;
            };
            let unused = (granted - spent - held).max(0);
            lock_period(&mut tx, &budget, period).await?;
            allocate(&mut tx, &budget, period, -unused).await?;
            execute!(
                &mut tx,
                "UPDATE slices SET granted = granted - $2, state = 2, ver = ver + 1 WHERE id = $1",
                *slice,
                unused
            )?;
            if *held == 0 {
                fold_one(&mut tx, *slice).await?;
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
        let (db, slices) = (self.db.clone(), slices.to_vec());
        self.apart(async move {
            let mut tx = db.read().await?;
            let mut found = Vec::new();
            for slice in slices {
                let row = fetch_optional!(
                    &mut tx,
                    (i64, String, i64, i64),
                    "SELECT id, budget_id, period, promised FROM slices WHERE id = $1",
                    slice
                )?;
                found.extend(row.map(orphan).transpose()?);
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
            books(&mut tx, &budget.to_string(), i64::from(period.0)).await
        })
        .await
    }

    async fn retire(&self, held: &[(i64, i64)]) -> std::result::Result<(), JournalError> {
        Ok(self.retire_all(held).await?)
    }
}

struct PeriodBook {
    ceiling: i64,
    allocated: i64,
    settled: i64,
    overrun: i64,
}

/// Opens a budget's period under the limit that the budget has in the database, unless it is open.
async fn open_period(tx: &mut Tx, budget: &str, period: i64) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO budget_periods (budget_id, period, cap, ceiling, allocated, settled, overrun)
         SELECT id, $2, CASE WHEN hard THEN amount ELSE $3 END, CASE WHEN hard THEN amount ELSE $3 END, 0, 0, 0
         FROM budgets WHERE id = $1
         ON CONFLICT (budget_id, period) DO NOTHING",
        budget,
        period,
        MAX_AMOUNT
    )?;
    Ok(())
}

/// Reads a period and keeps others from changing it until the commit.
async fn lock_period(tx: &mut Tx, budget: &str, period: i64) -> Result<Option<PeriodBook>> {
    let row = fetch_optional!(
        tx,
        (i64, i64, i64, i64),
        "UPDATE budget_periods SET allocated = allocated WHERE budget_id = $1 AND period = $2
         RETURNING ceiling, allocated, settled, overrun",
        budget,
        period
    )?;
    Ok(row.map(|(ceiling, allocated, settled, overrun)| PeriodBook { ceiling, allocated, settled, overrun }))
}

/// Moves what is allocated, and lets the ceiling follow the cap down as far as it can.
async fn allocate(tx: &mut Tx, budget: &str, period: i64, by: i64) -> Result<()> {
    execute!(
        tx,
        "UPDATE budget_periods SET allocated = allocated + $3,
             ceiling = CASE WHEN allocated + $3 > cap THEN allocated + $3 ELSE cap END
         WHERE budget_id = $1 AND period = $2",
        budget,
        period,
        by
    )?;
    Ok(())
}

/// Closes a slice, if it is open, and gives back what it has not spent.
async fn fold_one(tx: &mut Tx, slice: i64) -> Result<Option<Folded>> {
    let Some((budget, period, granted, spent)) = fetch_optional!(
        tx,
        (String, i64, i64, i64),
        "UPDATE slices SET state = 3, ver = ver + 1 WHERE id = $1 AND state < 3
         RETURNING budget_id, period, granted, spent",
        slice
    )?
    else {
        return Ok(None);
    };
    let freed = granted - spent;
    execute!(
        tx,
        "UPDATE budget_periods SET settled = settled + $3 WHERE budget_id = $1 AND period = $2",
        &budget,
        period,
        spent
    )?;
    allocate(tx, &budget, period, -freed).await?;
    Ok(Some(Folded { budget: parse(&budget, "slice's budget")?, period: period_of(period)?, freed }))
}

/// How a posting is written when everything is as memory thinks.
fn expected(posting: &crate::engine::journal::Posting) -> PostedLine {
    PostedLine { in_slice: posting.in_slice, direct: 0, overrun: 0 }
}

/// Writes what goes beyond the slices: to what is left of the limit, and past that as an overrun. With slices that have
/// turned out too small, writes what was meant for them too, as far as each has room.
async fn settle_beyond(
    tx: &mut Tx,
    entry: &Entry,
    seq: i64,
    lines: &mut [PostedLine],
    full: bool,
    slices: &mut Vec<SliceState>,
) -> Result<()> {
    for (posting, line) in entry.postings.iter().zip(lines.iter_mut()) {
        let mut beyond = posting.beyond;
        if !full && posting.in_slice > 0 {
            let one = BTreeMap::from([(posting.slice, posting.in_slice)]);
            if let Some(state) = charges::add_to_slices(tx, &one).await?.pop() {
                slices.retain(|slice| slice.id != state.id);
                slices.push(state);
            } else {
                line.in_slice = 0;
                beyond += posting.in_slice;
            }
        }
        if beyond > 0 {
            let (budget, period) = (posting.budget.to_string(), i64::from(posting.period.0));
            open_period(tx, &budget, period).await?;
            let room = lock_period(tx, &budget, period).await?.map_or(0, |book| (book.ceiling - book.allocated).max(0));
            line.direct = beyond.min(room);
            line.overrun = beyond - line.direct;
            execute!(
                tx,
                "UPDATE budget_periods SET allocated = allocated + $3, settled = settled + $3,
                     overrun = CASE WHEN overrun > $5 - $4 THEN $5 ELSE overrun + $4 END
                 WHERE budget_id = $1 AND period = $2",
                budget,
                period,
                line.direct,
                line.overrun,
                MAX_AMOUNT
            )?;
        }
    }
    charges::rewrite(tx, entry, seq, lines).await
}

async fn books(tx: &mut Tx, budget: &str, period: i64) -> Result<Books> {
    let row = fetch_optional!(
        tx,
        (i64, i64, i64, i64),
        "SELECT allocated, settled, overrun,
             CAST((SELECT COALESCE(SUM(spent), 0) FROM slices
                   WHERE slices.budget_id = $1 AND slices.period = $2 AND slices.state < 3) AS BIGINT)
         FROM budget_periods WHERE budget_id = $1 AND period = $2",
        budget,
        period
    )?;
    Ok(row.map_or_else(Books::default, |(allocated, settled, overrun, open)| Books {
        spent: settled.saturating_add(overrun).saturating_add(open),
        reserved: allocated - settled - open,
    }))
}

/// Gives the open periods of a budget a new cap. What is allocated already stays: the ceiling follows it down.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn set_cap(tx: &mut Tx, budget: BudgetId, cap: i64) -> Result<()> {
    execute!(
        tx,
        "UPDATE budget_periods SET cap = $2, ceiling = CASE WHEN allocated > $2 THEN allocated ELSE $2 END
         WHERE budget_id = $1",
        budget.to_string(),
        cap
    )?;
    Ok(())
}

fn orphan((slice, budget, period, promised): (i64, String, i64, i64)) -> Result<Orphan> {
    Ok(Orphan { slice, budget: parse(&budget, "slice's budget")?, period: period_of(period)?, promised })
}

fn period_of(period: i64) -> Result<Period> {
    u32::try_from(period).map(Period).map_err(|_| StoreError::Corrupt("period".into()))
}
