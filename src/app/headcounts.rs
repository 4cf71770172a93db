//! Use cases of counts: how many people a tenant has, and what there is of its teams.

use std::sync::Arc;

use super::{App, AppError, caller::Caller};
use crate::{
    domain::{names::TenantName, permission::Permission, usage},
    store::{
        self,
        headcounts::{OfTeams, OfUsers},
        usage_counts::Used,
    },
};

/// Asks how many users a tenant has.
#[derive(Debug)]
pub struct SummarizeUsers {
    /// Which tenant.
    pub parent: TenantName,
}

/// Asks what there is of the teams of a tenant.
#[derive(Debug)]
pub struct SummarizeTeams {
    /// Which tenant.
    pub parent: TenantName,
}

/// What there is of teams.
#[derive(Debug)]
pub struct TeamCounts {
    /// Teams, and who is in them.
    pub counts: OfTeams,
    /// Spent this month under their monthly limits, in nanos; `None` for who may not see budgets.
    pub spent: Option<i64>,
    /// Used this month by who was in a team; `None` for who may not see that.
    pub used: Option<Used>,
}

/// Counts users.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn users(app: Arc<App>, caller: Caller, asked: SummarizeUsers) -> Result<OfUsers, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersRead, work.scope())?;
    Ok(store::headcounts::of_users(&mut work.tx, work.tenant.id, work.now).await?)
}

/// Counts teams, their members, and what was spent.
pub async fn teams(app: Arc<App>, caller: Caller, asked: SummarizeTeams) -> Result<TeamCounts, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    let tenant = work.tenant.id;
    let counts = store::headcounts::of_teams(&mut work.tx, tenant).await?;
    let spent = match work.require(Permission::BudgetsRead, work.scope()) {
        Ok(()) => Some(store::headcounts::spent_of_teams(&mut work.tx, tenant, work.now).await?),
        Err(_) => None,
    };
    let used = match work.require(Permission::UsageRead, work.scope()) {
        Ok(()) => {
            let month = usage::month(usage::hour(work.now));
            Some(store::usage_counts::of_members(&mut work.tx, tenant, month).await?)
        }
        Err(_) => None,
    };
    Ok(TeamCounts { counts, spent, used })
}
