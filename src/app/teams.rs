//! Use cases of teams, and of what each may spend in a month.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{
    App, AppError, Changed, Listed, Work, bindings, budgets, caller::Caller, context::Audit, listing::Paging,
    usage::OfMonth,
};
use crate::{
    domain::{
        bindings::{Held, Member},
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        change::Change,
        id::TeamId,
        money::Unit,
        names::{BudgetName, Slug, TeamName, TenantName},
        permission::Permission,
        teams::Team,
        time::Timestamp,
        window::Window,
    },
    engine::Standing,
    store::{
        self, Inserted,
        listing::Listing,
        usage_counts::{Counted, Used},
    },
};

/// Asks for a new team.
#[derive(Debug)]
pub struct CreateTeam {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
    /// What it does.
    pub description: String,
    /// Most that it may spend in a month, in nanos; `None`: as much as it wants to.
    pub limit: Option<i64>,
}

/// Asks for a team.
#[derive(Debug)]
pub struct GetTeam {
    /// Which.
    pub name: TeamName,
}

/// Asks for the teams of a tenant.
#[derive(Debug)]
pub struct ListTeams {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a team to be changed; `None`: as it is.
#[derive(Debug)]
pub struct UpdateTeam {
    /// Which.
    pub name: TeamName,
    /// Its name for people.
    pub display_name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Most that it may spend in a month, in nanos, or no limit.
    pub limit: Option<Option<i64>>,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for a team to be deleted.
#[derive(Debug)]
pub struct DeleteTeam {
    /// Which.
    pub name: TeamName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// A team under its name.
#[derive(Debug)]
pub struct NamedTeam {
    /// The name.
    pub name: TeamName,
    /// The team.
    pub team: Team,
    /// How many users are in it.
    pub members: i64,
    /// What was used this month by who was in it; `None` for who may not see that.
    pub used: Option<Used>,
    /// What it may spend in a month; `None` without a limit, and for who may not see budgets.
    pub limit: Option<MonthlyLimit>,
}

/// What a team may spend in a month.
#[derive(Debug)]
pub struct MonthlyLimit {
    /// Name of the budget that holds it.
    pub name: BudgetName,
    /// The budget.
    pub budget: Budget,
    /// Where it stands; `None` when the ledger could not say.
    pub standing: Option<Standing>,
}

/// A team is gone; the revision at which decisions see it.
#[derive(Debug)]
pub struct TeamDeleted(pub i64);

/// What goes on record for a team.
#[derive(Serialize)]
struct Limited<'a> {
    #[serde(flatten)]
    team: &'a Team,
    #[serde(skip_serializing_if = "Option::is_none")]
    monthly_limit_nanos: Option<i64>,
}

/// The team with this name, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &TeamName) -> Result<Team, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::teams::by_slug(&mut work.tx, work.tenant.id, name.team.as_str()).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Teams under their names, with what is told of them but for where their limits stand.
async fn named_all(work: &mut Work<'_>, teams: Vec<Team>) -> Result<Vec<NamedTeam>, AppError> {
    let ids: Vec<String> = teams.iter().map(|team| team.id.to_string()).collect();
    let members = store::teams::member_counts(&mut work.tx, ids.clone()).await?;
    let used = OfMonth::read(work, work.scope(), Counted::Teams, &ids).await?;
    let mut limits: HashMap<TeamId, Budget> = HashMap::new();
    if work.require(Permission::BudgetsRead, work.scope()).is_ok() {
        for budget in store::budgets::monthly_of_teams(&mut work.tx, work.tenant.id, ids).await? {
            let BudgetScope::Team(team) = budget.scope else { continue };
            // The smallest is the one that binds.
            if limits.get(&team).is_none_or(|known| budget.limit < known.limit) {
                limits.insert(team, budget);
            }
        }
    }
    let tenant = &work.tenant.slug;
    let limit = |budget: Budget| MonthlyLimit {
        name: BudgetName { tenant: tenant.clone(), budget: budget.id },
        budget,
        standing: None,
    };
    let named = |team: Team| NamedTeam {
        name: TeamName { tenant: tenant.clone(), team: team.slug.clone() },
        members: members.get(&team.id.to_string()).copied().unwrap_or_default(),
        used: used.of(team.id),
        limit: limits.remove(&team.id).map(limit),
        team,
    };
    Ok(teams.into_iter().map(named).collect())
}

async fn named(work: &mut Work<'_>, team: Team) -> Result<NamedTeam, AppError> {
    let missing = AppError::State(format!("{} is not among the teams that were asked for", team.id));
    named_all(work, vec![team]).await?.pop().ok_or(missing)
}

/// With where the limits stand, if the ledger says. It may read the database as well: no transaction may be open.
async fn standing(app: &App, now: Timestamp, mut teams: Vec<NamedTeam>) -> Vec<NamedTeam> {
    for limit in teams.iter_mut().filter_map(|team| team.limit.as_mut()) {
        limit.standing = app.gate.standing(&limit.budget, now).await.ok();
    }
    teams
}

/// Commits a change of a team, and tells what it is then.
pub(super) async fn commit(mut work: Work<'_>, team: Team, audit: Audit) -> Result<Changed<NamedTeam>, AppError> {
    let (app, now) = (work.app(), work.now);
    let mut record = named(&mut work, team).await?;
    let revision = work.commit(audit).await?;
    if let Some(limit) = &mut record.limit {
        limit.standing = app.gate.standing(&limit.budget, now).await.ok();
    }
    Ok(Changed { record, revision })
}

/// Ends without a change, with the team as it is.
pub(super) async fn unchanged(mut work: Work<'_>, team: Team) -> Result<Changed<NamedTeam>, AppError> {
    let (app, now) = (work.app(), work.now);
    let mut record = named(&mut work, team).await?;
    let revision = work.unchanged().await?;
    if let Some(limit) = &mut record.limit {
        limit.standing = app.gate.standing(&limit.budget, now).await.ok();
    }
    Ok(Changed { record, revision })
}

/// Creates a team.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateTeam) -> Result<Changed<NamedTeam>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::TeamsWrite, work.scope())?;
    let team = Team {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: asked.slug,
        display_name: asked.display_name,
        description: asked.description,
        created: work.now,
        version: 1,
    };
    let name = TeamName { tenant: work.tenant.slug.clone(), team: team.slug.clone() };
    if store::teams::insert(&mut work.tx, &team).await? == Inserted::Exists {
        return Err(AppError::Exists(name.to_string()));
    }
    work.emit(Change::Team(team.clone()));
    if let Some(limit) = asked.limit {
        set_limit(&mut work, &team, Some(limit)).await?;
    }
    let audit =
        Audit::new("teams.create", &name, None, Some(&Limited { team: &team, monthly_limit_nanos: asked.limit }));
    commit(work, team, audit).await
}

/// Gives a team its monthly limit: the hard budget on it in dollars a month, and no other of the kind. Gives the limit before,
/// the smallest if there were several.
async fn set_limit(work: &mut Work<'_>, team: &Team, limit: Option<i64>) -> Result<Option<i64>, AppError> {
    work.require(Permission::BudgetsWrite, work.scope())?;
    let ids = vec![team.id.to_string()];
    let known = store::budgets::monthly_of_teams(&mut work.tx, work.tenant.id, ids).await?;
    let before = known.iter().map(|budget| budget.limit).min();
    let mut kept = false;
    for budget in &known {
        match limit {
            Some(limit) if !kept => {
                kept = true;
                if budget.limit != limit {
                    budgets::limit(work, budget, limit).await?;
                }
            }
            _ => end(work, budget).await?,
        }
    }
    if let Some(limit) = limit.filter(|_| !kept) {
        let budget = Budget {
            id: work.app().new_id(work.now)?,
            tenant: team.tenant,
            scope: BudgetScope::Team(team.id),
            unit: Unit::Usd,
            window: Window::Month,
            limit,
            hard: true,
            credit: false,
            turns: Vec::new(),
            on_expiry: OnExpiry::default(),
            course: Course::default(),
            display_name: team.display_name.clone(),
            created: work.now,
            version: 1,
        };
        budgets::add(work, &budget).await?;
    }
    Ok(before)
}

async fn end(work: &mut Work<'_>, budget: &Budget) -> Result<(), AppError> {
    store::budgets::delete(&mut work.tx, budget.id).await?;
    work.emit(Change::BudgetDeleted(budget.id));
    Ok(())
}

/// Reads a team.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetTeam) -> Result<NamedTeam, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    let team = find(&mut work, &asked.name).await?;
    let named = named_all(&mut work, vec![team]).await?;
    let now = work.now;
    drop(work);
    standing(&app, now, named).await.pop().ok_or_else(|| AppError::NotFound(asked.name.to_string()))
}

/// Lists the teams of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListTeams) -> Result<Listed<NamedTeam>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("teams of {}", work.tenant.id), &asked.listing)?;
    let rows = store::teams::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let Listed { records, next } = paging.end(rows);
    let named = named_all(&mut work, records).await?;
    let now = work.now;
    drop(work);
    Ok(Listed { records: standing(&app, now, named).await, next })
}

/// Changes a team, and what it may spend in a month.
pub async fn update(app: Arc<App>, caller: Caller, asked: UpdateTeam) -> Result<Changed<NamedTeam>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TeamsWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if work.is_replay() {
        return unchanged(work, before).await;
    }
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    let mut after = Team {
        display_name: asked.display_name.unwrap_or_else(|| before.display_name.clone()),
        description: asked.description.unwrap_or_else(|| before.description.clone()),
        ..before.clone()
    };
    let limits = match asked.limit {
        Some(limit) => Some((set_limit(&mut work, &after, limit).await?, limit)).filter(|(was, is)| was != is),
        None => None,
    };
    if after == before && limits.is_none() {
        return unchanged(work, before).await;
    }
    after.version += 1;
    store::teams::update(&mut work.tx, &after).await?;
    work.emit(Change::Team(after.clone()));
    let (was, is) = limits.unwrap_or_default();
    let audit = Audit::new(
        "teams.update",
        &asked.name,
        Some(&Limited { team: &before, monthly_limit_nanos: was }),
        Some(&Limited { team: &after, monthly_limit_nanos: is }),
    );
    commit(work, after, audit).await
}

/// Deletes a team: its members leave it, and its bindings and budgets end.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteTeam) -> Result<TeamDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TeamsWrite, work.scope())?;
    if work.is_replay() {
        return Ok(TeamDeleted(work.unchanged().await?));
    }
    let team = find(&mut work, &asked.name).await?;
    if asked.version.is_some_and(|version| version != team.version) {
        return Err(AppError::Etag);
    }
    bindings::require_leaving(&mut work, team.id).await?;
    for Held { binding, .. } in store::bindings::of_member(&mut work.tx, Member::Team(team.id)).await? {
        bindings::take(&mut work, binding.id).await?;
    }
    for budget in store::budgets::of_scope(&mut work.tx, work.tenant.id, &BudgetScope::Team(team.id)).await? {
        work.require(Permission::BudgetsWrite, work.scope())?;
        end(&mut work, &budget).await?;
    }
    store::teams::delete(&mut work.tx, &team).await?;
    work.emit(Change::TeamDeleted(team.id));
    Ok(TeamDeleted(work.commit(Audit::new("teams.delete", &asked.name, Some(&team), None)).await?))
}
