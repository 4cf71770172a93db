//! Rows of closed statements and of their lines, and what keeps the sums of a closed month as they are.
//!
//! A charge counts in the month in which a server took it in. One that comes to be written only when that month is closed
//! (a server stood still, or the database had forgotten the charge) is recorded at that moment instead, and counts in the
//! month that runs: so the sums of a closed month are those of its statement for ever. Whoever writes such a charge and
//! whoever closes a statement wait for each other; whoever writes any other charge is asked for nothing. Clocks of servers must
//! differ by less than [`crate::domain::statements::GRACE`] for that.

use std::{fmt, sync::Arc};

use super::{Result, StoreError, Tx, in_time, usage_queries};
use crate::{
    domain::{
        id::TenantId,
        statements::{Closing, Line, Month, Statement, Totals},
        time::{Clock, Timestamp},
        usage::{Granularity, Grouping, Order, hour, parts},
    },
    engine::journal::Entry,
};

/// Lines that are read at once.
const LINES: i64 = 1000;

/// Tells the time.
#[derive(Clone)]
pub(super) struct TimeOf(pub(super) Arc<dyn Clock>);

impl fmt::Debug for TimeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.now().fmt(f)
    }
}

/// What places and teams used in a month, with ids in place of names, in order.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn sums(tx: &mut Tx, tenant: TenantId, month: Month) -> Result<Vec<Line>> {
    const PLACES: [Grouping; 4] = [Grouping::Workspace, Grouping::Project, Grouping::Provider, Grouping::Model];
    const TEAMS: [Grouping; 5] =
        [Grouping::Workspace, Grouping::Project, Grouping::Team, Grouping::Provider, Grouping::Model];
    let mut lines: Vec<Line> = Vec::new();
    for groups in [&PLACES[..], &TEAMS] {
        let mut after = None;
        loop {
            let question = usage_queries::Question {
                tenant,
                filter: &usage_queries::Filter::default(),
                groups,
                granularity: Granularity::Month,
                parts: parts(Granularity::Month, month.start(), month.end()),
                order: Order::Time,
                after: after.as_ref(),
                limit: LINES,
            };
            let rows = usage_queries::sums(tx, &question).await?;
            after = rows.last().map(usage_queries::place);
            let last = i64::try_from(rows.len()).unwrap_or(LINES) < LINES;
            for sum in rows {
                let number = i64::try_from(lines.len()).unwrap_or(i64::MAX).saturating_add(1);
                let totals =
                    Totals { charges: sum.charges, requests: sum.requests, tokens: sum.tokens, cost: sum.cost };
                let [workspace, project, team, _, _, provider, model] = sum.groups;
                lines.push(Line { number, team, workspace, project, provider, model, totals });
            }
            if last {
                break;
            }
        }
    }
    Ok(lines)
}

/// Waits for charges that are being written late, and lets those that come wait.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    if let Tx::Postgres(tx) = tx {
        let sql = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended('statements of ' || $1, 0))) AS locked";
        in_time(sqlx::query(sql).bind(tenant.to_string()).execute(&mut **tx)).await?;
    }
    Ok(())
}

/// The charges of a batch, where some were taken in during a month that is over and whose statement is closed: those as if
/// they had been taken in `now`. `None` when there are none.
pub(super) async fn out_of_closed_months(
    tx: &mut Tx,
    entries: &[&Entry],
    now: Timestamp,
) -> Result<Option<Vec<Entry>>> {
    let current = Month::of(hour(now));
    let month_of = |entry: &Entry| Month::of(hour(entry.recorded));
    // Comparing hours is all that this costs a batch.
    let late = entries.iter().filter(|entry| hour(entry.recorded) < current.start());
    let mut months: Vec<(TenantId, Month)> = late.map(|entry| (entry.tenant, month_of(entry))).collect();
    if months.is_empty() {
        return Ok(None);
    }
    months.sort_unstable();
    months.dedup();
    let mut closed = Vec::new();
    for (tenant, month) in months {
        if let Tx::Postgres(tx) = tx {
            let sql = "SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended('statements of ' || $1, 0)))
                 AS locked";
            in_time(sqlx::query(sql).bind(tenant.to_string()).execute(&mut **tx)).await?;
        }
        if find(tx, tenant, month).await?.is_some() {
            closed.push((tenant, month));
        }
    }
    let moved = |entry: &&Entry| {
        let is_closed = closed.contains(&(entry.tenant, month_of(entry)));
        Entry { recorded: if is_closed { now } else { entry.recorded }, ..(*entry).clone() }
    };
    Ok((!closed.is_empty()).then(|| entries.iter().map(moved).collect()))
}

type Row = (i64, i64, i64, String, i64, i64, i64, String, i64, String);

/// A query over whole statements.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT month, number, closed, actor, lines, charges, requests, tokens, cost, hash FROM statements ",
            $rest
        )
    };
}

fn statement(row: Row) -> Result<Statement> {
    let (month, number, closed, actor, lines, charges, requests, tokens, cost, hash) = row;
    let totals = Totals { charges, requests, tokens: tokens_of(&tokens)?, cost };
    let closing = Some(Closing { number, at: Timestamp::from_micros(closed), actor, hash });
    Ok(Statement { month: Month::of(month), lines, totals, closing })
}

fn tokens_of(text: &str) -> Result<[i64; 5]> {
    let numbers: Option<Vec<i64>> = text.split(' ').map(|number| number.parse().ok()).collect();
    let tokens = numbers.and_then(|numbers| numbers.try_into().ok());
    tokens.ok_or_else(|| StoreError::Corrupt("statement's tokens".into()))
}

fn tokens_text(tokens: [i64; 5]) -> String {
    tokens.map(|count| count.to_string()).join(" ")
}

/// The closed statement of a month, if it is closed.
pub async fn find(tx: &mut Tx, tenant: TenantId, month: Month) -> Result<Option<Statement>> {
    let sql = select!("WHERE tenant_id = $1 AND month = $2");
    fetch_optional!(tx, Row, sql, tenant.to_string(), month.start())?.map(statement).transpose()
}

/// Closed statements before a month, the newest first.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: i64, limit: i64) -> Result<Vec<Statement>> {
    let sql = select!("WHERE tenant_id = $1 AND month < $2 ORDER BY month DESC LIMIT $3");
    fetch_all!(tx, Row, sql, tenant.to_string(), before, limit)?.into_iter().map(statement).collect()
}

/// The number of the next statement of a tenant.
pub async fn next_number(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let sql = "SELECT COALESCE(MAX(number), 0) + 1 FROM statements WHERE tenant_id = $1";
    Ok(fetch_one!(tx, (i64,), sql, tenant.to_string())?.0)
}

/// Writes the closed statement of a month and its lines.
pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    (statement, closing): (&Statement, &Closing),
    lines: &[Line],
) -> Result<()> {
    let (id, month) = (tenant.to_string(), statement.month.start());
    for Line { number, team, workspace, project, provider, model, totals } in lines {
        execute!(
            tx,
            "INSERT INTO statement_lines (tenant_id, month, number, team, workspace, project, provider, model, charges,
                 requests, tokens, cost)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &id,
            month,
            number,
            team,
            workspace,
            project,
            provider,
            model,
            totals.charges,
            totals.requests,
            tokens_text(totals.tokens),
            totals.cost
        )?;
    }
    let totals = statement.totals;
    execute!(
        tx,
        "INSERT INTO statements (tenant_id, month, number, closed, actor, lines, charges, requests, tokens, cost, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &id,
        month,
        closing.number,
        closing.at.micros(),
        &closing.actor,
        statement.lines,
        totals.charges,
        totals.requests,
        tokens_text(totals.tokens),
        totals.cost,
        &closing.hash
    )?;
    Ok(())
}

type LineRow = (i64, String, String, String, String, String, i64, i64, String, i64);

/// Lines of a closed statement after a number, in order, at most `limit`; of a workspace and of a team where one is named.
pub async fn lines(
    tx: &mut Tx,
    tenant: TenantId,
    month: Month,
    (workspace, team): (&str, &str),
    (after, limit): (i64, i64),
) -> Result<Vec<Line>> {
    let rows = fetch_all!(
        tx,
        LineRow,
        "SELECT number, team, workspace, project, provider, model, charges, requests, tokens, cost FROM statement_lines
         WHERE tenant_id = $1 AND month = $2 AND number > $3 AND ($4 = '' OR workspace = $4) AND ($5 = '' OR team = $5)
         ORDER BY number LIMIT $6",
        tenant.to_string(),
        month.start(),
        after,
        workspace,
        team,
        limit
    )?;
    let line = |(number, team, workspace, project, provider, model, charges, requests, tokens, cost): LineRow| {
        let totals = Totals { charges, requests, tokens: tokens_of(&tokens)?, cost };
        Ok(Line { number, team, workspace, project, provider, model, totals })
    };
    rows.into_iter().map(line).collect()
}
