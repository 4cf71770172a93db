//! Use cases of usage: sums by time and by whom, and the log of charges.

use std::{collections::HashMap, fmt::Display, sync::Arc};

use super::{App, AppError, Listed, Work, access, caller::Caller, listing::Paging, projects, teams};
use crate::{
    domain::{
        bindings::{Principal, Scope},
        id::{KeyId, WorkspaceId},
        names::{KeyName, PlaceName, PrincipalName, ProjectName, TeamName, WorkspaceName},
        permission::Permission,
        time::Timestamp,
        usage::{self, Granularity, Grouping, LONGEST, LONGEST_BY_HOUR, Order},
    },
    store::{
        self,
        charge_log::{self, Logged},
        listing::Listing,
        names::Names,
        usage_counts::{Counted, Used},
        usage_queries::{Filter, Question, Sum},
    },
};

/// Asks for sums of usage.
#[derive(Debug)]
pub struct QueryUsage {
    /// Of which tenant or workspace.
    pub parent: PlaceName,
    /// From which hour on; `None`: from the beginning of the month of the last one.
    pub start: Option<i64>,
    /// Until before which hour; `None`: until the end of the one that runs.
    pub end: Option<i64>,
    /// Over which spans.
    pub granularity: Granularity,
    /// By what, in order, each once.
    pub groups: Vec<Grouping>,
    /// Which.
    pub only: Only,
    /// In which order.
    pub order: Order,
    /// Which page. Without terms.
    pub listing: Listing,
}

/// Which usage: by names, `None` and empty for all.
#[derive(Debug, Default)]
pub struct Only {
    /// In this workspace.
    pub workspace: Option<WorkspaceName>,
    /// In this project.
    pub project: Option<ProjectName>,
    /// Of those in this team.
    pub team: Option<TeamName>,
    /// Of this owner.
    pub owner: Option<PrincipalName>,
    /// With this key.
    pub key: Option<KeyName>,
    /// By this provider.
    pub provider: String,
    /// By this model.
    pub model: String,
}

/// A sum under the names of what it is of.
#[derive(Debug)]
pub struct UsageRow {
    /// When its span begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// What it is of, with names in place of ids.
    pub sum: Sum,
}

/// Asks for charges.
#[derive(Debug)]
pub struct ListCharges {
    /// Of which tenant or workspace.
    pub parent: PlaceName,
    /// Recorded at this time or later.
    pub start: Option<Timestamp>,
    /// Recorded before this time.
    pub end: Option<Timestamp>,
    /// Which.
    pub only: Only,
    /// Which page. Without terms.
    pub listing: Listing,
}

/// A charge, with names in place of ids.
#[derive(Debug)]
pub struct NamedCharge(pub Logged);

/// What records of a page used this month (UTC); nothing is told to who may not see everybody's usage.
pub(super) struct OfMonth(Option<HashMap<String, Used>>);

impl OfMonth {
    /// Looks it up, all in one.
    pub(super) async fn read(
        work: &mut Work<'_>,
        scope: Scope,
        counted: Counted,
        ids: &[String],
    ) -> Result<Self, AppError> {
        if work.require(Permission::UsageRead, scope).is_err() {
            return Ok(Self(None));
        }
        let month = usage::month(usage::hour(work.now));
        Ok(Self(Some(store::usage_counts::of_month(&mut work.tx, work.tenant.id, counted, ids, month).await?)))
    }

    /// What one of them used.
    pub(super) fn of(&self, id: impl Display) -> Option<Used> {
        self.0.as_ref().map(|all| all.get(&id.to_string()).copied().unwrap_or_default())
    }
}

/// Adds up usage.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn query(app: Arc<App>, caller: Caller, asked: QueryUsage) -> Result<Listed<UsageRow>, AppError> {
    let mut work = app.read(&caller, asked.parent.tenant(), &asked.parent).await?;
    let filter = allowed(&mut work, &asked.parent, &asked.only).await?;
    let by = |grouping| asked.groups.contains(&grouping);
    let of_callers = filter.owner.is_some() || filter.key.is_some() || by(Grouping::Owner) || by(Grouping::Key);
    if of_callers && by(Grouping::Team) {
        return Err(AppError::invalid("group_by", "TEAM does not go with owners and keys: ask for one team as `team`"));
    }
    let (low, high) = range(&asked, work.now)?;
    let list = format!("usage of {} {:?} {:?}", work.tenant.id, filter.workspace, filter.owner);
    let paging = Paging::begin(&app, &list, &asked.listing)?;
    let question = Question {
        tenant: work.tenant.id,
        filter: &filter,
        groups: &asked.groups,
        granularity: asked.granularity,
        parts: usage::parts(asked.granularity, low, high),
        order: asked.order,
        after: paging.after(),
        limit: asked.listing.page.limit,
    };
    let rows = store::usage_queries::sums(&mut work.tx, &question).await?;
    let listed = paging.end(rows);
    let ids = listed.records.iter().flat_map(|sum| sum.groups[..5].iter()).filter(|id| !id.is_empty()).cloned();
    let names = store::names::names(&mut work.tx, ids.collect()).await?;
    let tenant = work.tenant.name();
    Ok(listed.map(|mut sum| {
        sum.groups[..5].iter_mut().for_each(|id| *id = name_of(&names, &tenant, id));
        let (start, end) = (sum.start.max(low), asked.granularity.end(sum.start, high));
        UsageRow { start: usage::time_of(start), end: usage::time_of(end), sum }
    }))
}

/// Lists charges, newest first.
pub async fn list_charges(app: Arc<App>, caller: Caller, asked: ListCharges) -> Result<Listed<NamedCharge>, AppError> {
    let mut work = app.read(&caller, asked.parent.tenant(), &asked.parent).await?;
    let Filter { workspace, project, owner, key, model, .. } = allowed(&mut work, &asked.parent, &asked.only).await?;
    let list = format!("charges of {} {workspace:?} {owner:?}", work.tenant.id);
    let paging = Paging::begin(&app, &list, &asked.listing)?;
    let filter = charge_log::Filter { start: asked.start, end: asked.end, owner, workspace, project, key, model };
    let (tenant, limit) = (work.tenant.id, asked.listing.page.limit);
    let (rows, last) = charge_log::list(&mut work.tx, tenant, &filter, paging.after(), limit).await?;
    let mut listed = paging.end(rows);
    if let Some(last) = last {
        listed.next = paging.token(&last, "");
    }
    let ids = listed.records.iter().flat_map(|charge| ids_of(charge).map(Clone::clone));
    let names = store::names::names(&mut work.tx, ids.filter(|id| !id.is_empty()).collect()).await?;
    let tenant = work.tenant.name();
    Ok(listed.map(|charge| {
        let [workspace, project, key, owner] = ids_of(&charge).map(|id| name_of(&names, &tenant, id));
        let own = if charge.price_version.starts_with('/') { &*tenant } else { "" };
        let price_version = format!("{own}{}", charge.price_version);
        NamedCharge(Logged { workspace, project, key, owner, price_version, ..charge })
    }))
}

fn ids_of(charge: &Logged) -> [&String; 4] {
    [&charge.workspace, &charge.project, &charge.key, &charge.owner]
}

/// The name of what an id is of. What is gone for good has its id in its name.
pub(super) fn name_of(names: &Names, tenant: &str, id: &str) -> String {
    let known = names.of(id);
    let collection = match id.split('_').next() {
        _ if id.is_empty() || !known.is_empty() => return known,
        Some("team") => "teams",
        Some("user") => "users",
        Some("sa") => "serviceAccounts",
        Some("ws") => "workspaces",
        Some("proj") => "projects",
        _ => "keys",
    };
    format!("{tenant}/{collection}/{id}")
}

/// The hours that are asked for.
fn range(asked: &QueryUsage, now: Timestamp) -> Result<(i64, i64), AppError> {
    let high = asked.end.unwrap_or_else(|| usage::hour(now) + 1);
    let low = asked.start.unwrap_or_else(|| usage::month(high - 1));
    if low >= high {
        return Err(AppError::invalid("end_time", "must be after start_time"));
    }
    let (most, why) = match asked.granularity {
        Granularity::Hour => (LONGEST_BY_HOUR, "is more than 31 days after start_time, by the hour"),
        Granularity::Day | Granularity::Month | Granularity::Total => {
            (LONGEST, "is more than 5 years after start_time")
        }
    };
    if high - low > most { Err(AppError::invalid("end_time", why)) } else { Ok((low, high)) }
}

/// Finds what is asked for, as far as the caller may see it: everybody's usage, or their own.
async fn allowed(work: &mut Work<'_>, parent: &PlaceName, only: &Only) -> Result<Filter, AppError> {
    let (scope, within) = match parent {
        PlaceName::Tenant(_) => (work.scope(), None),
        PlaceName::Workspace(name) => {
            let workspace = work.workspace(&name.workspace, parent).await?;
            (work.workspace_scope(&workspace), Some(workspace.id))
        }
    };
    let own = work.require(Permission::UsageRead, scope);
    let myself = work.caller().principal;
    if own.is_err() {
        work.require(Permission::UsageReadOwn, scope).map_err(|_| AppError::Forbidden(Permission::UsageRead))?;
    }
    let mut filter = find(work, within, only).await?;
    if let Err(lacking) = own {
        if filter.owner.is_some_and(|owner| owner != myself) {
            return Err(lacking);
        }
        filter.owner = Some(myself);
    }
    Ok(filter)
}

/// Finds what is named, within a workspace if there is one.
async fn find(work: &mut Work<'_>, within: Option<WorkspaceId>, only: &Only) -> Result<Filter, AppError> {
    let mut filter =
        Filter { workspace: within, provider: only.provider.clone(), model: only.model.clone(), ..Filter::default() };
    let outside = |workspace: WorkspaceId| within.is_some_and(|within| within != workspace);
    if let Some(name) = &only.workspace {
        work.own(&name.tenant, name)?;
        let id = work.workspace(&name.workspace, name).await?.id;
        filter.workspace = Some(id);
        if outside(id) {
            return Err(AppError::NotFound(name.to_string()));
        }
    }
    if let Some(name) = &only.project {
        let project = projects::find(work, name).await?;
        filter.project = Some(project.id);
        if outside(project.workspace) {
            return Err(AppError::NotFound(name.to_string()));
        }
    }
    if let Some(name) = &only.key {
        let (workspace, key) = find_key(work, name).await?;
        filter.key = Some(key);
        if outside(workspace) {
            return Err(AppError::NotFound(name.to_string()));
        }
    }
    if let Some(name) = &only.team {
        filter.team = Some(teams::find(work, name).await?.id);
    }
    if let Some(name) = &only.owner {
        filter.owner = Some(find_owner(work, name).await?);
    }
    Ok(filter)
}

/// A key and its workspace, be it deleted.
async fn find_key(work: &mut Work<'_>, name: &KeyName) -> Result<(WorkspaceId, KeyId), AppError> {
    work.own(&name.tenant, name)?;
    let workspace = work.workspace(&name.workspace, name).await?;
    let found = store::keys::by_id(&mut work.tx, name.key).await?;
    let there = found.filter(|key| key.workspace == workspace.id);
    let key = there.ok_or_else(|| AppError::NotFound(name.to_string()))?;
    Ok((workspace.id, key.id))
}

/// Somebody, be they removed: what they used stays.
async fn find_owner(work: &mut Work<'_>, name: &PrincipalName) -> Result<Principal, AppError> {
    let found = access::find_principal(work, name).await;
    let (Err(AppError::NotFound(_)), PrincipalName::User(user)) = (&found, name) else { return Ok(found?.0) };
    work.own(&user.tenant, name)?;
    // Names of former users are found as those of all others.
    let names = store::names::names(&mut work.tx, vec![user.user.to_string()]).await?;
    if names.of(user.user) == name.to_string() { Ok(Principal::User(user.user)) } else { Ok(found?.0) }
}
