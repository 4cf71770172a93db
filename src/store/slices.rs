//! Rows of periods and slices, and the order in which they are locked.
//!
//! Several transactions write at once: a server's grants beside its charges, and other servers'. So that none waits for
//! one that waits for it, all lock in one order: charges by tenant and id, then periods by budget and number, then slices
//! by id. (`SQLite` has one writer; there the order is of no account.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Result, StoreError, Tx, credit_pools, dialect, in_time, parse};
use crate::{
    domain::{id::BudgetId, money::MAX_AMOUNT, window::Period},
    engine::{
        accounts::SliceState,
        journal::{Books, Declared, Folded, Orphan},
        places::Placed,
    },
};

/// Marks a slice of another server.
const FOREIGN: i64 = -1;
/// Slices that are as well given back row by row.
const FEW: usize = 4;

/// A budget in one of its periods.
pub(super) type At = (BudgetId, Period);

/// A period's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeriodBook {
    pub(super) ceiling: i64,
    pub(super) allocated: i64,
    pub(super) settled: i64,
    pub(super) overrun: i64,
}

impl PeriodBook {
    /// What is left to be granted, or spent without a slice.
    pub(super) fn room(self) -> i64 {
        (self.ceiling - self.allocated).max(0)
    }
}

/// Opens periods under the limits that their budgets have in the database, unless they are open, and keeps others from
/// changing them until the commit. Those of budgets that are gone are left out.
pub(super) async fn lock_periods(tx: &mut Tx, all: &BTreeSet<At>) -> Result<BTreeMap<At, PeriodBook>> {
    let mut books = BTreeMap::new();
    for (budget, period) in all {
        let (id, number) = (budget.to_string(), i64::from(period.0));
        execute!(
            tx,
            "INSERT INTO budget_periods (budget_id, period, cap, ceiling, allocated, settled, overrun, watch)
             SELECT id, $2, CASE WHEN hard AND NOT paused THEN amount ELSE $3 END,
                 CASE WHEN hard AND NOT paused THEN amount ELSE $3 END, 0, 0, 0,
                 -- Half of the first threshold, or less: the other half is for slices.
                 amount / 200 * CAST(trim(substr(thresholds, 1, 2)) AS BIGINT)
             FROM budgets WHERE id = $1 AND turns = ''
             ON CONFLICT (budget_id, period) DO NOTHING",
            &id,
            number,
            MAX_AMOUNT
        )?;
        let mut row = lock_period(tx, &id, number).await?;
        if row.is_none() {
            // Of credit that expires: what is left of it has to be worked out.
            credit_pools::open(tx, *budget, *period).await?;
            row = lock_period(tx, &id, number).await?;
        }
        let book = |(ceiling, allocated, settled, overrun)| PeriodBook { ceiling, allocated, settled, overrun };
        books.extend(row.map(|row| ((*budget, *period), book(row))));
    }
    Ok(books)
}

/// Keeps others from changing a period, if it is open: its ceiling, and what is allocated, settled and an overrun.
pub(super) async fn lock_period(tx: &mut Tx, budget: &str, period: i64) -> Result<Option<(i64, i64, i64, i64)>> {
    let sql = "UPDATE budget_periods SET allocated = allocated WHERE budget_id = $1 AND period = $2
               RETURNING ceiling, allocated, settled, overrun";
    Ok(fetch_optional!(tx, (i64, i64, i64, i64), sql, budget, period)?)
}

/// Keeps others from changing slices until the commit. To be called when every period that is needed is locked.
pub(super) async fn lock(tx: &mut Tx, ids: &[i64]) -> Result<()> {
    if let Tx::Postgres(tx) = tx {
        let sql = "SELECT 1 FROM slices WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
        in_time(sqlx::query(sql).bind(ids).execute(&mut **tx)).await?;
    }
    Ok(())
}

/// What servers other than its own have charged to a slice.
pub(super) async fn taken_by_others(tx: &mut Tx, id: i64) -> Result<i64> {
    let row = fetch_optional!(tx, (i64,), "SELECT taken_by_others FROM slices WHERE id = $1", id)?;
    Ok(row.map_or(0, |(taken,)| taken))
}

/// As [`lock`], those that a server has in these periods.
pub(super) async fn lock_own(tx: &mut Tx, boot: &str, periods: &BTreeSet<At>) -> Result<()> {
    if let Tx::Postgres(tx) = tx {
        let budgets: Vec<String> = periods.iter().map(|(budget, _)| budget.to_string()).collect();
        let sql = "SELECT 1 FROM slices WHERE boot_id = $1 AND budget_id = ANY ($2) ORDER BY id FOR UPDATE";
        in_time(sqlx::query(sql).bind(boot).bind(budgets).execute(&mut **tx)).await?;
    }
    Ok(())
}

/// Takes room out of a period's limit. Whoever takes more than there is fails at the table's own condition.
pub(super) async fn take(tx: &mut Tx, (budget, period): At, room: i64) -> Result<()> {
    execute!(
        tx,
        "UPDATE budget_periods SET allocated = allocated + $3 WHERE budget_id = $1 AND period = $2",
        budget.to_string(),
        i64::from(period.0),
        room
    )?;
    Ok(())
}

/// Gives room back to a period's limit, and lets the ceiling follow a lowered limit down as far as it can.
pub(super) async fn free(tx: &mut Tx, (budget, period): At, room: i64) -> Result<()> {
    execute!(
        tx,
        "UPDATE budget_periods SET allocated = allocated - $3,
             ceiling = CASE WHEN allocated - $3 > cap THEN allocated - $3 ELSE cap END
         WHERE budget_id = $1 AND period = $2",
        budget.to_string(),
        i64::from(period.0),
        room
    )?;
    Ok(())
}

/// Records what has no slice to go to: as far as the limit has room, and past that as an overrun. Gives both.
pub(super) async fn settle(tx: &mut Tx, at: At, book: &mut PeriodBook, amount: i64) -> Result<(i64, i64)> {
    let direct = amount.min(book.room());
    let overrun = amount - direct;
    book.allocated += direct;
    execute!(
        tx,
        "UPDATE budget_periods SET allocated = allocated + $3, settled = settled + $3,
             overrun = CASE WHEN overrun > $5 - $4 THEN $5 ELSE overrun + $4 END,
             due = due OR (overrun = 0 AND $4 > 0) OR settled + $3 >= watch - overrun - $4
         WHERE budget_id = $1 AND period = $2",
        at.0.to_string(),
        i64::from(at.1.0),
        direct,
        overrun,
        MAX_AMOUNT
    )?;
    Ok((direct, overrun))
}

/// Which of a server's slices are open.
pub(super) async fn open(tx: &mut Tx, boot: &str) -> Result<Vec<Placed>> {
    let sql = "SELECT id, budget_id, period FROM slices WHERE boot_id = $1 AND state < 3 ORDER BY id";
    fetch_all!(tx, (i64, String, i64), sql, boot)?.into_iter().map(placed).collect()
}

/// Slices of servers that no longer answer.
pub(super) async fn closing(tx: &mut Tx) -> Result<Vec<Orphan>> {
    // In the words of the index too: SQLite does not see that one follows from the other.
    let sql = "SELECT id, promised FROM slices WHERE state = 2 AND state < 3 ORDER BY id";
    let rows = fetch_all!(tx, (i64, i64), sql)?;
    Ok(rows.into_iter().map(|(slice, promised)| Orphan { slice, promised }).collect())
}

/// Where a slice belongs, whoever's it is and whether it is open or not.
pub(super) async fn locate(tx: &mut Tx, id: i64) -> Result<Option<Placed>> {
    let sql = "SELECT id, budget_id, period FROM slices WHERE id = $1";
    fetch_optional!(tx, (i64, String, i64), sql, id)?.map(placed).transpose()
}

/// Adds to what a server's slice of a period has set aside, and gives the slice and the longest hold promised on it.
/// `None`: the slice is closed. The period must be locked.
pub(super) async fn add(
    tx: &mut Tx,
    (budget, period): At,
    boot: &str,
    amount: i64,
    promised: i64,
) -> Result<Option<(SliceState, i64)>> {
    let row = fetch_optional!(
        tx,
        (i64, i64, i64, i64, i64),
        "INSERT INTO slices (budget_id, period, boot_id, granted, spent, ver, promised, state, watch)
         SELECT $1, $2, $3, $4, 0, 1, $5, 1, (watch - settled - overrun) / ((others + 1) * (others + 2))
         FROM budget_periods CROSS JOIN (SELECT COUNT(*) AS others FROM slices WHERE budget_id = $1 AND period = $2) AS there
         WHERE budget_id = $1 AND period = $2
         ON CONFLICT (budget_id, period, boot_id) DO UPDATE SET granted = slices.granted + $4, ver = slices.ver + 1,
             promised = CASE WHEN slices.promised < $5 THEN $5 ELSE slices.promised END
         WHERE slices.state = 1
         RETURNING id, granted, spent, ver, promised",
        budget.to_string(),
        i64::from(period.0),
        boot,
        amount,
        promised
    )?;
    Ok(row.map(|(id, granted, spent, ver, promised)| (SliceState { id, granted, spent, ver }, promised)))
}

/// Opens a server's closed slice of a period again, with nothing left in it: the period has come back, because a clock was
/// set back. The period must be locked.
pub(super) async fn reopen(tx: &mut Tx, (budget, period): At, boot: &str) -> Result<()> {
    let row = fetch_optional!(
        tx,
        (i64,),
        "UPDATE slices SET state = 1, granted = spent, ver = ver + 1, watch = 0, due = TRUE
         WHERE budget_id = $1 AND period = $2 AND boot_id = $3 AND state = 3 RETURNING spent",
        budget.to_string(),
        i64::from(period.0),
        boot
    )?;
    if let Some((spent,)) = row {
        execute!(
            tx,
            "UPDATE budget_periods SET settled = settled - $3 WHERE budget_id = $1 AND period = $2",
            budget.to_string(),
            i64::from(period.0),
            spent
        )?;
    }
    Ok(())
}

/// A slice as it stands.
pub(super) async fn read(tx: &mut Tx, id: i64) -> Result<Option<SliceState>> {
    let row = fetch_optional!(tx, (i64, i64, i64), "SELECT granted, spent, ver FROM slices WHERE id = $1", id)?;
    Ok(row.map(|(granted, spent, ver)| SliceState { id, granted, spent, ver }))
}

/// Raises the longest hold that is promised on slices. `false`, and nothing done: one of them is no longer a live server's.
pub(super) async fn promise(tx: &mut Tx, ids: &[i64], seconds: i64) -> Result<bool> {
    lock(tx, ids).await?;
    for id in ids {
        let raised = execute!(
            tx,
            "UPDATE slices SET promised = CASE WHEN promised < $2 THEN $2 ELSE promised END WHERE id = $1 AND state = 1",
            id,
            seconds
        )?;
        if raised == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is to be added to a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    /// How much.
    pub(super) amount: i64,
    /// With a slice of this server, what it knows that others took out of it: when they took more, nothing is added. `None`
    /// with a slice of somebody else.
    pub(super) known: Option<i64>,
}

/// Adds amounts to slices that are open and have room; gives those that it was added to.
pub(super) async fn charge(tx: &mut Tx, sums: &BTreeMap<i64, Sum>) -> Result<Vec<SliceState>> {
    if sums.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = String::with_capacity(sums.len() * 24);
    for (slice, Sum { amount, known }) in sums {
        let comma = if rows.is_empty() { "[" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(rows, "{comma}[{slice},{amount},{}]", known.unwrap_or(FOREIGN));
    }
    rows.push(']');
    if let Tx::Sqlite(tx) = tx
        && sums.len() > FEW
    {
        let (after,): (String,) =
            sqlx::query_as(dialect::SLICES_AFTER_SQLITE).bind(&*rows).fetch_one(&mut **tx).await?;
        let after: Vec<(i64, i64, i64, i64)> =
            serde_json::from_str(&after).map_err(|_| StoreError::Corrupt("slice".into()))?;
        // Nobody else writes meanwhile.
        if after.len() == sums.len() {
            sqlx::query(dialect::ADD_TO_SLICES_SQLITE).bind(rows).execute(&mut **tx).await?;
            return Ok(after.into_iter().map(slice_of).collect());
        }
    }
    let sql = dialect::ADD_TO_SLICES.text(tx);
    let changed = fetch_all!(tx, (i64, i64, i64, i64), sql, rows)?;
    Ok(changed.into_iter().map(slice_of).collect())
}

fn slice_of((id, granted, spent, ver): (i64, i64, i64, i64)) -> SliceState {
    SliceState { id, granted, spent, ver }
}

/// Takes back what [`charge`] added to `changed`, and empties it.
pub(super) async fn uncharge(tx: &mut Tx, sums: &BTreeMap<i64, Sum>, changed: &mut Vec<SliceState>) -> Result<()> {
    for slice in changed.drain(..) {
        let Some(Sum { amount, known }) = sums.get(&slice.id) else { continue };
        execute!(
            tx,
            "UPDATE slices SET spent = spent - $2, taken_by_others = taken_by_others - $3, ver = ver + 1 WHERE id = $1",
            slice.id,
            amount,
            if known.is_none() { *amount } else { 0 }
        )?;
    }
    Ok(())
}

/// Sets aside again what a server says that it had, in a slice that the database may have forgotten, past the limit if it
/// must be. Its period must be locked.
pub(super) async fn declare(tx: &mut Tx, boot: &str, known: &Declared) -> Result<()> {
    let Tx::Postgres(tx) = tx else { return Ok(()) };
    let Declared { state, budget, period, promised } = known;
    let (budget, period) = (budget.to_string(), i64::from(period.0));
    let sql = "INSERT INTO slices (id, budget_id, period, boot_id, granted, spent, ver, promised, state)
               OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, 0, 0, $5, $6, 1) ON CONFLICT DO NOTHING";
    let new = sqlx::query(sql).bind(state.id).bind(&budget).bind(period).bind(boot).bind(state.ver).bind(promised);
    in_time(new.execute(&mut **tx)).await?;
    let sql = "SELECT granted FROM slices WHERE id = $1 AND boot_id = $2 AND state < 3";
    let row: Option<(i64,)> = in_time(sqlx::query_as(sql).bind(state.id).bind(boot).fetch_optional(&mut **tx)).await?;
    let Some((granted,)) = row else {
        tracing::error!(
            slice = state.id,
            "what was set aside cannot be set aside again: it is closed, or somebody else's"
        );
        return Ok(());
    };
    let missing = (state.granted - granted).max(0);
    let sql = "UPDATE slices SET granted = granted + $2, ver = GREATEST(ver, $3) + 1, promised = GREATEST(promised, $4)
               WHERE id = $1";
    in_time(sqlx::query(sql).bind(state.id).bind(missing).bind(state.ver).bind(promised).execute(&mut **tx)).await?;
    let sql = "UPDATE budget_periods SET allocated = allocated + $3, ceiling = GREATEST(ceiling, allocated + $3)
               WHERE budget_id = $1 AND period = $2";
    in_time(sqlx::query(sql).bind(budget).bind(period).bind(missing).execute(&mut **tx)).await?;
    Ok(())
}

/// A server gives no holds any more: its slices wait to be folded, and what others told it is of no use.
pub(super) async fn close(tx: &mut Tx, boot: &str) -> Result<()> {
    let own: Vec<i64> = open(tx, boot).await?.iter().map(|slice| slice.slice).collect();
    lock(tx, &own).await?;
    execute!(tx, "UPDATE slices SET state = 2, ver = ver + 1 WHERE boot_id = $1 AND state = 1", boot)?;
    execute!(tx, "DELETE FROM replica_mail WHERE boot_id = $1", boot)?;
    Ok(())
}

/// Takes so much out of a server's slice that it has not spent; gives the slice. `None`, and nothing done: it is not open,
/// or has spent more than was thought. Its period must be locked.
pub(super) async fn shrink(tx: &mut Tx, at: At, boot: &str, slice: i64, by: i64) -> Result<Option<SliceState>> {
    let row = fetch_optional!(
        tx,
        (i64, i64, i64, i64),
        "UPDATE slices SET granted = granted - $3, ver = ver + 1
         WHERE id = $1 AND boot_id = $2 AND state = 1 AND granted - $3 >= spent
         RETURNING id, granted, spent, ver",
        slice,
        boot,
        by
    )?;
    if row.is_some() {
        free(tx, at, by).await?;
    }
    Ok(row.map(slice_of))
}

/// Closes a slice, if it is open, and gives back what it has not spent. Its period must be locked.
pub(super) async fn fold(tx: &mut Tx, slice: i64) -> Result<Option<Folded>> {
    let Some((budget, period, granted, spent, watch)) = fetch_optional!(
        tx,
        (String, i64, i64, i64, i64),
        "UPDATE slices SET state = 3, ver = ver + 1 WHERE id = $1 AND state < 3
         RETURNING budget_id, period, granted, spent, watch",
        slice
    )?
    else {
        return Ok(None);
    };
    let freed = granted - spent;
    // What the slice was watched for, the period is from now on.
    execute!(
        tx,
        "UPDATE budget_periods SET settled = settled + $3, watch = CASE WHEN watch > $5 - $4 THEN $5 ELSE watch + $4 END
         WHERE budget_id = $1 AND period = $2",
        &budget,
        period,
        spent,
        watch,
        MAX_AMOUNT
    )?;
    let at = (parse(&budget, "slice's budget")?, period_of(period)?);
    free(tx, at, freed).await?;
    Ok(Some(Folded { budget: at.0, period: at.1, freed }))
}

/// Where a budget stands in a period.
pub(super) async fn books(tx: &mut Tx, (budget, period): At) -> Result<Books> {
    let row = fetch_optional!(
        tx,
        (i64, i64, i64, i64),
        "SELECT allocated, settled, overrun,
             CAST((SELECT COALESCE(SUM(spent), 0) FROM slices
                   WHERE slices.budget_id = $1 AND slices.period = $2 AND slices.state < 3) AS BIGINT)
         FROM budget_periods WHERE budget_id = $1 AND period = $2",
        budget.to_string(),
        i64::from(period.0)
    )?;
    Ok(row.map_or_else(Books::default, |(allocated, settled, overrun, open)| Books {
        spent: settled.saturating_add(overrun).saturating_add(open),
        reserved: allocated - settled - open,
    }))
}

/// Gives the open periods of a budget a new cap, and lets somebody look what is spent of it. What is allocated already stays:
/// the ceiling follows it down.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn set_cap(tx: &mut Tx, budget: BudgetId, cap: i64) -> Result<()> {
    if let Tx::Postgres(tx) = tx {
        let sql = "SELECT 1 FROM budget_periods WHERE budget_id = $1 ORDER BY period FOR UPDATE";
        in_time(sqlx::query(sql).bind(budget.to_string()).execute(&mut **tx)).await?;
    }
    execute!(
        tx,
        "UPDATE budget_periods SET cap = $2, ceiling = CASE WHEN allocated > $2 THEN allocated ELSE $2 END, due = TRUE
         WHERE budget_id = $1",
        budget.to_string(),
        cap
    )?;
    Ok(())
}

fn placed((slice, budget, period): (i64, String, i64)) -> Result<Placed> {
    Ok(Placed { slice, budget: parse(&budget, "slice's budget")?, period: period_of(period)? })
}

fn period_of(period: i64) -> Result<Period> {
    u32::try_from(period).map(Period).map_err(|_| StoreError::Corrupt("period".into()))
}
