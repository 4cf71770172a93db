//! Tells that thresholds of budgets are reached, and that something went past a limit: in the audit log, and by mail.
//!
//! Charges mark what has to be looked at ([`crate::store::alerts`]). Whoever looks puts what there is to tell on record with its
//! event in one transaction, once for each budget, period and threshold, however many servers look and whenever one dies.

use serde::Serialize;

use super::{
    App, AppError, Work,
    budgets::{self, NamedBudget},
    caller::Origin,
    context::Audit,
    mail::{self, Mail},
};
use crate::{
    domain::{
        alerts::{News, Spent},
        bindings::Principal,
        budgets::{Budget, BudgetScope},
        id::{BudgetId, UserId, WorkspaceId},
        mail::Draft,
        money::Unit,
        names::BudgetScopeName,
        time::Timestamp,
        users::UserState,
        window::Period,
    },
    store,
};

/// Periods that are looked for at once.
const DUE: i64 = 100;
/// Most people of each kind who are told of one budget.
const MAX_TOLD: i64 = 50;

/// What goes on record.
#[derive(Serialize)]
struct Reached<'a> {
    /// What the budget limits.
    scope: &'a str,
    /// When the period ends; missing for all time.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<Timestamp>,
    unit: Unit,
    limit: i64,
    spent: i64,
    /// What went past the limit, as far as it was known.
    overrun: i64,
    /// Which threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u16>,
}

/// Looks at all that is due, and tells what there is to tell.
///
/// # Errors
/// [`AppError`] when it cannot be found out what is due.
pub async fn tell_due(app: &App) -> Result<(), AppError> {
    let mut after = None;
    loop {
        let mut tx = app.db.read().await?;
        let due = store::alerts::due(&mut tx, after, DUE).await?;
        drop(tx);
        for at in &due {
            if let Err(error) = look(app, *at).await {
                tracing::warn!(%error, budget = %at.0, "what is spent of a budget waits to be told");
            }
        }
        after = due.last().copied();
        if i64::try_from(due.len()).unwrap_or(DUE) < DUE {
            return Ok(());
        }
    }
}

/// Looks at a period, without the tenant's audit log at first: mostly there is nothing to tell.
async fn look(app: &App, at: (BudgetId, Period)) -> Result<(), AppError> {
    let mut tx = app.db.begin().await?;
    let Some((spent, open)) = store::alerts::lock(&mut tx, at).await? else { return Ok(()) };
    // Not before it is locked: who changes the limit waits, and marks it as due after this.
    let Some(budget) = store::budgets::by_id(&mut tx, at.0).await? else {
        store::alerts::watch(&mut tx, at, open, None).await?;
        return Ok(tx.commit().await?);
    };
    let news = news(&budget, at.1, &spent, app.clock.now());
    if news.is_empty() {
        store::alerts::watch(&mut tx, at, open, news.missing).await?;
        return Ok(tx.commit().await?);
    }
    tx.rollback().await?;
    tell(app, at, &budget).await
}

fn news(budget: &Budget, period: Period, spent: &Spent, now: Timestamp) -> News {
    News::of(budget, spent, budget.turns.is_empty() || budget.period(now) == period)
}

/// Puts on record what there is to tell of a period, and mails whom it concerns.
async fn tell(app: &App, at: (BudgetId, Period), budget: &Budget) -> Result<(), AppError> {
    let mut tx = app.db.begin().await?;
    let Some(tenant) = store::tenants::by_id(&mut tx, budget.tenant).await? else { return Ok(()) };
    let caller = Origin::default().server(tenant.id);
    let mut work = app.enter(&caller, tx, &tenant.slug, &budget.id, true).await?;
    let Some((spent, open)) = store::alerts::lock(&mut work.tx, at).await? else { return Ok(()) };
    let Some(budget) = store::budgets::by_id(&mut work.tx, at.0).await? else { return Ok(()) };
    let news = news(&budget, at.1, &spent, work.now);
    store::alerts::watch(&mut work.tx, at, open, news.missing).await?;
    for percent in news.percents() {
        store::alerts::insert(&mut work.tx, tenant.id, at, percent, work.now).await?;
    }
    let on = budgets::named(&mut work, budget).await?;
    let mut audits = audits(&on, at.1, &spent, &news);
    // Another server may have been faster.
    let Some(last) = audits.pop() else { return Ok(()) };
    mail_all(&mut work, &on, at.1, &spent, &news).await?;
    for audit in audits {
        work.also(audit);
    }
    match work.commit(last).await {
        // No decision goes by it.
        Ok(_) | Err(AppError::NotYetInForce { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn audits(on: &NamedBudget, period: Period, spent: &Spent, news: &News) -> Vec<Audit> {
    let Budget { unit, limit, .. } = on.budget;
    let record = |percent| Reached {
        scope: &on.scope,
        ends: on.budget.calendar().end(period),
        unit,
        limit,
        spent: spent.total,
        overrun: spent.overrun,
        percent,
    };
    let reached = news
        .reached
        .iter()
        .map(|percent| Audit::new("budgets.reachThreshold", &on.name, None, Some(&record(Some(*percent)))));
    let overrun = news.overrun.then(|| Audit::new("budgets.overrun", &on.name, None, Some(&record(None))));
    reached.chain(overrun).collect()
}

/// Whether a period has ended so long ago that the one after it has, too: what was spent in it is no news to anybody.
fn is_long_over(budget: &Budget, period: Period, now: Timestamp) -> bool {
    let calendar = budget.calendar();
    let next = calendar.end(period).and_then(|ends| calendar.run(ends).ends);
    next.is_some_and(|ends| ends <= now)
}

/// Mails whom a budget concerns. Nobody of what is deleted.
async fn mail_all(
    work: &mut Work<'_>,
    on: &NamedBudget,
    period: Period,
    spent: &Spent,
    news: &News,
) -> Result<(), AppError> {
    let budget = &on.budget;
    if work.tenant.deleted.is_some() || is_long_over(budget, period, work.now) {
        return Ok(());
    }
    let title = if budget.display_name.is_empty() { on.scope.as_str() } else { budget.display_name.as_str() };
    let show = |amount| budget.unit.show(amount);
    let subject = match news.reached.last() {
        Some(percent) => format!("{percent} % of the budget \"{title}\" is spent"),
        None => format!("The budget \"{title}\" was overrun"),
    };
    let stands = format!("{} of {} is spent.", show(spent.total), show(budget.limit));
    let ends = budget.calendar().end(period).map_or_else(String::new, |ends| {
        format!("It begins anew at {} UTC.", ends.to_string().replace('T', " ").chars().take(16).collect::<String>())
    });
    let past = format!("{} of that went past the limit.", show(spent.overrun));
    let (limits, name) = (format!("It limits {}", on.scope), format!("Its name: {}", on.name));
    let lines: Vec<&str> = [
        Some(stands.as_str()),
        (spent.overrun > 0).then_some(past.as_str()),
        (!ends.is_empty()).then_some(ends.as_str()),
        Some(limits.as_str()),
        Some(name.as_str()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let after = if budget.binds() {
        "Calls that do not fit the budget any more are refused."
    } else {
        "The budget refuses nothing: it only counts."
    };
    let letter = Draft {
        branding: &work.tenant.branding,
        tenant: &work.tenant.display_name,
        subject: &subject,
        before: &lines,
        link: None,
        after: &[after],
    }
    .write();
    for address in &told(work, on).await? {
        mail::post(work, Mail { about: &budget.id.to_string(), to: address, letter: letter.clone() }).await?;
    }
    Ok(())
}

/// Who owns or administers the tenant or pays for it; of what lies in a workspace the same there; and whose the budget is.
async fn told(work: &mut Work<'_>, on: &NamedBudget) -> Result<Vec<String>, AppError> {
    let (tenant, now) = (work.tenant.id, work.now);
    let (workspace, person) = concerned(work, on).await?;
    let mut told = store::users::concerned_by_budgets(&mut work.tx, tenant, None, now, MAX_TOLD).await?;
    if workspace.is_some() {
        told.extend(store::users::concerned_by_budgets(&mut work.tx, tenant, workspace, now, MAX_TOLD).await?);
    }
    if let Some(person) = person
        && let Some(person) = store::users::by_id(&mut work.tx, person).await?
        && person.state == UserState::Active
    {
        told.push(person.email);
    }
    told.sort_unstable();
    told.dedup();
    Ok(told)
}

/// The workspace that a budget lies in, and whose it is.
async fn concerned(work: &mut Work<'_>, on: &NamedBudget) -> Result<(Option<WorkspaceId>, Option<UserId>), AppError> {
    Ok(match &on.budget.scope {
        BudgetScope::Workspace(workspace) => (Some(*workspace), None),
        BudgetScope::Project(_) => match on.scope.parse() {
            Ok(BudgetScopeName::Project(name)) => (Some(work.workspace(&name.workspace, &on.scope).await?.id), None),
            _ => (None, None),
        },
        BudgetScope::Key(key) => match store::keys::by_id(&mut work.tx, *key).await? {
            Some(key) => {
                let owner = if let Principal::User(owner) = key.owner { Some(owner) } else { None };
                (Some(key.workspace), owner)
            }
            None => (None, None),
        },
        BudgetScope::User(user) => (None, Some(*user)),
        BudgetScope::Tenant | BudgetScope::Team(_) | BudgetScope::ServiceAccount(_) | BudgetScope::EndUser(_) => {
            (None, None)
        }
    })
}
