//! Use cases of credit: a workspace's pool is a hard budget over all time, whose limit is the sum of its entries.

use std::sync::Arc;

use super::{App, AppError, Changed, Work, budgets, budgets::NamedBudget, caller::Caller, context::Audit};
use crate::{
    domain::{
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        money::{MAX_AMOUNT, Nanos, Unit},
        names::WorkspaceName,
        permission::Permission,
        window::Window,
        workspaces::Workspace,
    },
    engine::error::GateError,
    store::{self, credits::CreditEntry},
};

/// Asks for an entry.
#[derive(Debug)]
pub struct GrantCredit {
    /// To which workspace's pool.
    pub parent: WorkspaceName,
    /// Billionths of a US dollar; negative takes credit back. Not zero.
    pub amount: i64,
    /// Invoice or ticket; the same again is the same entry.
    pub reference: String,
}

/// What goes on record for an entry.
#[derive(serde::Serialize)]
struct CreditRecord<'a> {
    #[serde(flatten)]
    pool: &'a Budget,
    reference: &'a str,
    amount: i64,
}

/// Adds an entry to a workspace's pool; the first one opens it.
///
/// # Errors
/// [`AppError`].
pub async fn grant(app: Arc<App>, caller: Caller, asked: GrantCredit) -> Result<Changed<NamedBudget>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.open_workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::CreditsWrite, work.workspace_scope(&workspace))?;
    let before = store::budgets::credit_pool(&mut work.tx, workspace.id).await?;
    let known = store::credits::amount(&mut work.tx, workspace.id, &asked.reference).await?;
    if let (Some(amount), Some(pool)) = (known, &before) {
        if amount != asked.amount {
            return Err(GateError::IdempotencyConflict("reference").into());
        }
        let on = budgets::named(&mut work, pool.clone()).await?;
        return budgets::unchanged(work, on).await;
    }
    let pool = match &before {
        Some(pool) => budgets::limit(&mut work, pool, sum(pool.limit, asked.amount)?).await?,
        None => open(&mut work, &workspace, sum(0, asked.amount)?).await?,
    };
    let entry = CreditEntry {
        workspace: workspace.id,
        reference: asked.reference,
        budget: pool.id,
        amount: asked.amount,
        actor: caller.name.clone(),
        created: work.now,
    };
    store::credits::insert(&mut work.tx, &entry).await?;
    let on = budgets::named(&mut work, pool).await?;
    let record = |pool| CreditRecord { pool, reference: &entry.reference, amount: entry.amount };
    let before = before.as_ref().map(record);
    let audit = Audit::new("credits.grant", &asked.parent, before.as_ref(), Some(&record(&on.budget)));
    budgets::commit(work, on, audit).await
}

/// Opens the pool of a workspace.
async fn open(work: &mut Work<'_>, workspace: &Workspace, limit: i64) -> Result<Budget, AppError> {
    let pool = Budget {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        scope: BudgetScope::Workspace(workspace.id),
        unit: Unit::Usd,
        window: Window::Total,
        limit,
        hard: true,
        credit: true,
        on_expiry: OnExpiry::default(),
        course: Course::default(),
        display_name: "Credit".to_owned(),
        created: work.now,
        version: 1,
    };
    budgets::add(work, &pool).await?;
    Ok(pool)
}

/// What the entries sum up to; nobody takes back more than was granted.
fn sum(granted: i64, amount: i64) -> Result<i64, AppError> {
    match granted.checked_add(amount) {
        Some(sum) if sum > MAX_AMOUNT => Err(AppError::State(format!("credit is at most {}", Nanos(MAX_AMOUNT)))),
        Some(sum) if sum >= 0 => Ok(sum),
        _ => Err(AppError::State(format!("{} was granted, so {} cannot be taken back", Nanos(granted), Nanos(amount)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_sums_up_between_nothing_and_the_largest_amount() {
        assert_eq!(sum(5, -5).ok(), Some(0));
        assert_eq!(sum(0, MAX_AMOUNT).ok(), Some(MAX_AMOUNT));
        for (granted, amount) in [(5, -6), (MAX_AMOUNT, 1), (0, i64::MIN), (MAX_AMOUNT, i64::MAX)] {
            assert!(sum(granted, amount).is_err(), "{granted} {amount}");
        }
    }
}
