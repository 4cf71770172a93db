//! When to look what of a budget's limit is spent, and what is on record of that.
//!
//! What is spent of a period lies in its row and in slices that several servers charge; nobody adds that up at a charge.
//! Instead each part has an amount that it is *watched* for, and whoever charges it marks it as due in the same statement when
//! it reaches that. Together the parts may grow by less than is missing until the next threshold, so that none is reached
//! while nothing is due. Whoever looks at what is due adds up, and shares out again what is missing.
//!
//! Half of the first threshold is for the period's own row, and the other half for slices: the first gets a half of that, the
//! next a sixth, a twelfth and so on, which is never more than all of it.

use super::{
    Result, StoreError, Tx, in_time, parse,
    slices::{self, At},
};
use crate::domain::{
    alerts::Spent,
    id::{BudgetId, TenantId},
    money::MAX_AMOUNT,
    time::Timestamp,
    window::Period,
};

/// Periods that have something due after one of them, in order; at most `limit`.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn due(tx: &mut Tx, after: Option<(BudgetId, Period)>, limit: i64) -> Result<Vec<(BudgetId, Period)>> {
    let (budget, period) =
        after.map_or((String::new(), -1i64), |(budget, period)| (budget.to_string(), period.0.into()));
    let rows = fetch_all!(
        tx,
        (String, i64),
        "SELECT budget_id, period FROM slices WHERE due AND (budget_id, period) > ($1, $2)
         UNION SELECT budget_id, period FROM budget_periods WHERE due AND (budget_id, period) > ($1, $2)
         ORDER BY budget_id, period LIMIT $3",
        budget,
        period,
        limit
    )?;
    let at = |(budget, period): (String, i64)| {
        let period = u32::try_from(period).map(Period).map_err(|_| StoreError::Corrupt("period".into()))?;
        Ok((parse(&budget, "period's budget")?, period))
    };
    rows.into_iter().map(at).collect()
}

/// What is spent of a period and on record of it, and how many slices of it are open. Nobody charges it until the commit.
/// `None` for one that is not there.
pub async fn lock(tx: &mut Tx, at: At) -> Result<Option<(Spent, i64)>> {
    let (budget, period) = (at.0.to_string(), i64::from(at.1.0));
    if slices::lock_period(tx, &budget, period).await?.is_none() {
        return Ok(None);
    }
    if let Tx::Postgres(tx) = tx {
        // Those that are closed are due no more often than they are: nothing else of them changes.
        let sql =
            "SELECT 1 FROM slices WHERE budget_id = $1 AND period = $2 AND (state < 3 OR due) ORDER BY id FOR UPDATE";
        in_time(sqlx::query(sql).bind(&budget).bind(period).execute(&mut **tx)).await?;
    }
    let (settled, overrun, in_slices, open) = fetch_one!(
        tx,
        (i64, i64, i64, i64),
        "SELECT settled, overrun,
             CAST((SELECT COALESCE(SUM(spent), 0) FROM slices
                   WHERE slices.budget_id = $1 AND slices.period = $2 AND state < 3) AS BIGINT),
             (SELECT COUNT(*) FROM slices WHERE slices.budget_id = $1 AND slices.period = $2 AND state < 3)
         FROM budget_periods WHERE budget_id = $1 AND period = $2",
        &budget,
        period
    )?;
    let sql = "SELECT percent FROM budget_alerts WHERE budget_id = $1 AND period = $2 ORDER BY percent";
    let told = fetch_all!(tx, (i64,), sql, &budget, period)?;
    let told = told.into_iter().filter_map(|(percent,)| u16::try_from(percent).ok()).collect();
    let total = settled.saturating_add(overrun).saturating_add(in_slices);
    Ok(Some((Spent { total, overrun, told }, open)))
}

/// Watches a period and its slices, so many of which are `open`, for what is `missing`; for nothing without it. Nothing of it
/// is due then. It must be locked.
pub async fn watch(tx: &mut Tx, at: At, open: i64, missing: Option<i64>) -> Result<()> {
    let (budget, period) = (at.0.to_string(), i64::from(at.1.0));
    // One share for those that come.
    let share = missing.map(|missing| missing / (open + 2));
    execute!(
        tx,
        "UPDATE slices SET watch = CASE WHEN state < 3 THEN COALESCE(spent + $3, $4) ELSE watch END, due = FALSE
         WHERE budget_id = $1 AND period = $2 AND (state < 3 OR due)",
        &budget,
        period,
        share,
        MAX_AMOUNT
    )?;
    execute!(
        tx,
        "UPDATE budget_periods SET watch = COALESCE(settled + overrun + $3, $4), due = FALSE
         WHERE budget_id = $1 AND period = $2",
        &budget,
        period,
        share,
        MAX_AMOUNT
    )?;
    Ok(())
}

/// Puts on record that a threshold of a period was reached, which was not told: see [`Spent::told`]. The period must be locked.
pub async fn insert(tx: &mut Tx, tenant: TenantId, at: At, percent: u16, now: Timestamp) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO budget_alerts (tenant_id, budget_id, period, percent, created) VALUES ($1, $2, $3, $4, $5)",
        tenant.to_string(),
        at.0.to_string(),
        i64::from(at.1.0),
        i64::from(percent),
        now.micros()
    )?;
    Ok(())
}
