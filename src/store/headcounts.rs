//! Counts of users and teams.

use super::{Result, Tx, parse};
use crate::domain::{
    calendar::{Calendar, Clock},
    id::TenantId,
    role::Role,
    time::Timestamp,
    window::{Period, Window},
};

/// How many users a tenant has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OfUsers {
    /// All of them.
    pub total: i64,
    /// Those who may act.
    pub active: i64,
    /// Those who have not yet accepted.
    pub invited: i64,
    /// Those who may not act.
    pub suspended: i64,
    /// Those who are bound to the role admin on the whole tenant.
    pub admins: i64,
    /// Those who are bound to the role owner on the whole tenant.
    pub owners: i64,
}

/// How many teams a tenant has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OfTeams {
    /// Teams.
    pub teams: i64,
    /// Users who are in at least one.
    pub members: i64,
}

/// Counts the users of a tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn of_users(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<OfUsers> {
    let mut counts = OfUsers::default();
    let by_state = "SELECT state, COUNT(*) FROM users
             WHERE tenant_id = $1 GROUP BY state";
    for (state, count) in fetch_all!(tx, (String, i64), by_state, tenant.to_string())? {
        counts.total += count;
        match state.as_str() {
            "active" => counts.active = count,
            "invited" => counts.invited = count,
            _ => counts.suspended = count,
        }
    }
    for (role, count) in [(Role::Admin, &mut counts.admins), (Role::Owner, &mut counts.owners)] {
        // Ids of users begin with their kind, and the character after `_` is a backtick.
        let bound = "SELECT COUNT(*) FROM bindings
             WHERE tenant_id = $1 AND role = $2 AND member >= 'user_' AND member < 'user`'
               AND scope_tenant = $1 AND scope_workspace IS NULL AND (expires IS NULL OR expires > $3)";
        (*count,) = fetch_one!(tx, (i64,), bound, tenant.to_string(), role.id(), now.micros())?;
    }
    Ok(counts)
}

/// Counts the teams of a tenant, and who is in one.
pub async fn of_teams(tx: &mut Tx, tenant: TenantId) -> Result<OfTeams> {
    let sql = "SELECT (SELECT COUNT(*) FROM teams WHERE tenant_id = $1),
         (SELECT COUNT(DISTINCT user_id) FROM team_members WHERE tenant_id = $1)";
    let (teams, members) = fetch_one!(tx, (i64, i64), sql, tenant.to_string())?;
    Ok(OfTeams { teams, members })
}

/// What was spent in the month that runs, by each budget's own calendar, under the hard monthly budgets in dollars on teams, in nanos. Dollars and billionths are added up
/// apart, so that no sum is more than the database can count; one past the largest amount stays there.
pub async fn spent_of_teams(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<i64> {
    let calendars = "SELECT DISTINCT calendar FROM budgets
         WHERE tenant_id = $1 AND scope_kind = 'team' AND unit = 'usd' AND span = 'month' AND hard AND NOT credit AND NOT deleted";
    let mut spent = 0i64;
    for (calendar,) in fetch_all!(tx, (String,), calendars, tenant.to_string())? {
        let Clock { zone, anchor } = parse(&calendar, "calendar of a budget")?;
        let month = Calendar { window: Window::Month, zone, anchor }.period(now);
        spent = spent.saturating_add(spent_of_month(tx, tenant, calendar, month).await?);
    }
    Ok(spent)
}

async fn spent_of_month(tx: &mut Tx, tenant: TenantId, calendar: String, month: Period) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(amount / 1000000000), 0) AS BIGINT),
             CAST(COALESCE(SUM(amount % 1000000000), 0) AS BIGINT)
         FROM (
             SELECT id FROM budgets WHERE tenant_id = $1 AND scope_kind = 'team' AND unit = 'usd' AND span = 'month'
                 AND hard AND NOT credit AND NOT deleted AND calendar = $3
         ) AS limits JOIN (
             SELECT budget_id, settled AS amount FROM budget_periods WHERE period = $2
             UNION ALL SELECT budget_id, overrun FROM budget_periods WHERE period = $2
             UNION ALL SELECT budget_id, spent FROM slices WHERE period = $2 AND state < 3
         ) AS entries ON budget_id = id";
    let (dollars, billionths) = fetch_one!(tx, (i64, i64), sql, tenant.to_string(), i64::from(month.0), calendar)?;
    Ok(dollars.saturating_mul(1_000_000_000).saturating_add(billionths))
}
