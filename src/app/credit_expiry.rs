//! What becomes of credit at its end.
//!
//! Nothing has to run for credit to expire: when its moment comes, decisions go on in another period of the pool, by the clock
//! and by what the pool's record says, and that is opened under what is left then ([`crate::store::credit_pools`]). This makes
//! the record follow: at once the pool's limit falls to what is left if everything is spent that servers have set aside in
//! older periods; and when nothing is set aside in those any more, what is left of the entry is written down as expired. Each
//! is a transaction under the tenant's lock that looks at all there is, so that it may be done at any time, by several servers,
//! and again.

use super::{App, AppError, caller::Origin, context::Audit, credits};
use crate::{
    domain::{
        budgets::{Budget, BudgetScope},
        credits::{Entry, EntryKind, Pool},
        id::{BudgetId, TenantId, WorkspaceId},
        time::Timestamp,
        window::Period,
    },
    store::{self, Tx, credit_pools},
};

/// Pools that are looked for at once.
const DUE: i64 = 100;

/// What goes on record when credit has expired.
#[derive(serde::Serialize)]
struct Expired<'a> {
    #[serde(flatten)]
    pool: &'a Budget,
    /// What was written down.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    expired: &'a [Entry],
}

/// Puts every pool in order of which something has expired.
///
/// # Errors
/// [`AppError`].
pub async fn settle_due(app: &App) -> Result<(), AppError> {
    let mut tx = app.db.read().await?;
    let due = store::credits::due(&mut tx, app.clock.now(), DUE).await?;
    drop(tx);
    for (pool, tenant) in due {
        settle(app, pool, tenant).await?;
    }
    Ok(())
}

/// Puts a pool in order, if there is anything to do.
async fn settle(app: &App, budget: BudgetId, tenant: TenantId) -> Result<(), AppError> {
    let mut tx = app.db.begin().await?;
    let Some(tenant) = store::tenants::by_id(&mut tx, tenant).await? else { return Ok(()) };
    let caller = Origin::default().server(tenant.id);
    let mut work = app.enter(&caller, tx, &tenant.slug, &budget, true).await?;
    let Some(before) = store::budgets::by_id(&mut work.tx, budget).await? else { return Ok(()) };
    let BudgetScope::Workspace(workspace) = before.scope else { return Ok(()) };
    let mut pool = credit_pools::lock(&mut work.tx, budget).await?;
    let current = pool.newest(before.period(work.now));
    let ended = end(&mut work.tx, (workspace, &before), &mut pool, current, work.now).await?;
    let limit = credit_pools::limit(pool.standing(current).limit);
    let turns = before.turns.iter().copied().filter(|turn| *turn >= current).collect();
    let after = credits::put(&mut work, &before, current, limit, turns).await?;
    if after.is_none() && ended.is_empty() {
        return Ok(());
    }
    let after = after.unwrap_or_else(|| before.clone());
    let name = store::names::names(&mut work.tx, vec![workspace.to_string()]).await?.of(workspace);
    let (was, is) = (Expired { pool: &before, expired: &[] }, Expired { pool: &after, expired: &ended });
    match work.commit(Audit::new("credits.expire", &name, Some(&was), Some(&is))).await {
        // Decisions go by the clock, and by what the ledger lets them have.
        Ok(_) | Err(AppError::NotYetInForce { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes down what is left of the entries whose moment has passed, when all that was decided before it is settled; gives what
/// was written, zeros for entries of which nothing was left.
async fn end(
    tx: &mut Tx,
    (workspace, budget): (WorkspaceId, &Budget),
    pool: &mut Pool,
    current: Period,
    now: Timestamp,
) -> Result<Vec<Entry>, AppError> {
    let mut lots = pool.standing(current).lots;
    lots.retain(|lot| lot.gone && !lot.ended && lot.turn.is_some_and(|turn| pool.is_settled_before(turn)));
    lots.sort_by_key(|lot| (lot.turn, lot.seq));
    let mut written = Vec::new();
    for lot in lots {
        let rest = Entry {
            seq: pool.entries.last().map_or(1, |last| last.seq + 1),
            kind: EntryKind::Expiry,
            amount: -credit_pools::limit(lot.left),
            reference: format!("expiry/{}", lot.seq),
            note: String::new(),
            expires: None,
            actor: "server".to_owned(),
            created: now,
            period: current,
            mark: pool.spent_in(current),
            of_entry: lot.seq,
            ended: false,
        };
        if rest.amount < 0 {
            store::credits::insert(tx, workspace, budget, &rest).await?;
            pool.entries.push(rest.clone());
        }
        store::credits::end(tx, workspace, lot.seq).await?;
        pool.entries.iter_mut().filter(|entry| entry.seq == lot.seq).for_each(|entry| entry.ended = true);
        written.push(rest);
    }
    Ok(written)
}
