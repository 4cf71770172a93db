//! The pools of credit in the ledger: their periods, and the limits of those.
//!
//! A pool's periods end when credit expires. A new one is opened by whoever needs it first, mostly a server that wants
//! something set aside: under all that is left then, if what is set aside in older periods is spent. Nothing more is ever
//! allocated in those: their cap is zero, and the ceiling follows what servers give back.
//!
//! Whoever changes what a pool's limits rest on has locked, in this order, its periods and its row among the budgets: so none
//! is opened meanwhile under a limit that is no longer true.

use super::{Result, Tx, credits, in_time};
use crate::domain::{
    credits::{Pool, Spending},
    id::BudgetId,
    money::MAX_AMOUNT,
    window::Period,
};

/// What is on record of a pool.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn read(tx: &mut Tx, budget: BudgetId) -> Result<Pool> {
    let id = budget.to_string();
    let row = fetch_optional!(tx, (String,), "SELECT scope_ref FROM budgets WHERE id = $1", &id)?;
    let entries = match row {
        Some((workspace,)) => credits::all(tx, &workspace).await?,
        None => Vec::new(),
    };
    let rows = fetch_all!(
        tx,
        (i64, i64, i64, i64, i64, i64, i64),
        "SELECT period, cap, allocated, settled, overrun,
             CAST((SELECT COALESCE(SUM(spent), 0) FROM slices WHERE slices.budget_id = budget_periods.budget_id
                 AND slices.period = budget_periods.period AND state < 3) AS BIGINT),
             (SELECT COUNT(*) FROM slices WHERE slices.budget_id = budget_periods.budget_id
                 AND slices.period = budget_periods.period AND state < 3)
         FROM budget_periods WHERE budget_id = $1 ORDER BY period",
        &id
    )?;
    let spending = |(period, cap, allocated, settled, overrun, in_slices, slices)| Spending {
        period: Period(u32::try_from(period).unwrap_or(u32::MAX)),
        cap,
        spent: i64::saturating_add(settled, overrun).saturating_add(in_slices),
        reserved: allocated - settled - in_slices,
        open: slices > 0,
    };
    Ok(Pool { entries, periods: rows.into_iter().map(spending).collect() })
}

/// What is on record of a pool; nobody opens a period of it, changes its limits or sets anything of it aside until the commit.
pub async fn lock(tx: &mut Tx, budget: BudgetId) -> Result<Pool> {
    if let Tx::Postgres(tx) = tx {
        let id = budget.to_string();
        let periods = "SELECT 1 FROM budget_periods WHERE budget_id = $1 ORDER BY period FOR UPDATE";
        let pool = "SELECT 1 FROM budgets WHERE id = $1 FOR NO KEY UPDATE";
        // The periods again: one may have been opened while this waited.
        for sql in [periods, pool, periods] {
            in_time(sqlx::query(sql).bind(&id).execute(&mut **tx)).await?;
        }
    }
    read(tx, budget).await
}

/// Sets the limit of the period that runs, if it is open, and closes the older ones. The pool must be locked.
pub async fn set_limits(tx: &mut Tx, budget: BudgetId, current: Period, limit: i64) -> Result<()> {
    execute!(
        tx,
        "UPDATE budget_periods SET cap = CASE WHEN period = $2 THEN $3 ELSE 0 END,
             ceiling = CASE WHEN period < $2 OR allocated > $3 THEN allocated ELSE $3 END,
             due = due OR period = $2
         WHERE budget_id = $1 AND period <= $2",
        budget.to_string(),
        i64::from(current.0),
        limit
    )?;
    Ok(())
}

/// Opens a period of a pool, unless it is open, or the budget is no pool.
pub(super) async fn open(tx: &mut Tx, budget: BudgetId, period: Period) -> Result<()> {
    let sql = "SELECT id FROM budgets WHERE id = $1 AND credit";
    if fetch_optional!(tx, (String,), sql, budget.to_string())?.is_none() {
        return Ok(());
    }
    let pool = lock(tx, budget).await?;
    if pool.periods.iter().any(|known| known.period == period) {
        return Ok(());
    }
    let newest = pool.periods.iter().all(|known| known.period < period);
    // What comes late for a period that never was has nothing to draw on there.
    let limit = if newest { limit(pool.standing(period).limit) } else { 0 };
    execute!(
        tx,
        "INSERT INTO budget_periods (budget_id, period, cap, ceiling, allocated, settled, overrun)
         VALUES ($1, $2, $3, $3, 0, 0, 0)",
        budget.to_string(),
        i64::from(period.0),
        limit
    )?;
    if newest { set_limits(tx, budget, period, limit).await } else { Ok(()) }
}

/// A limit as the ledger has it.
#[must_use]
pub fn limit(exact: i128) -> i64 {
    i64::try_from(exact.clamp(0, MAX_AMOUNT.into())).unwrap_or(MAX_AMOUNT)
}
