//! Use cases of teams.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, listing::Paging};
use crate::{
    domain::{
        change::Change,
        names::{Slug, TeamName, TenantName},
        permission::Permission,
        teams::Team,
    },
    store::{self, Inserted, listing::Listing},
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

/// A team under its name.
#[derive(Debug)]
pub struct NamedTeam {
    /// The name.
    pub name: TeamName,
    /// The team.
    pub team: Team,
}

impl NamedTeam {
    fn new(tenant: &Slug, team: Team) -> Self {
        Self { name: TeamName { tenant: tenant.clone(), team: team.slug.clone() }, team }
    }
}

/// The team with this name, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &TeamName) -> Result<Team, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::teams::by_slug(&mut work.tx, work.tenant.id, name.team.as_str()).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
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
    let named = NamedTeam::new(&work.tenant.slug, team);
    if store::teams::insert(&mut work.tx, &named.team).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name.to_string()));
    }
    work.emit(Change::Team(named.team.clone()));
    let revision = work.commit(Audit::new("teams.create", &named.name, None, Some(&named.team))).await?;
    Ok(Changed { record: named, revision })
}

/// Reads a team.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetTeam) -> Result<NamedTeam, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    let team = find(&mut work, &asked.name).await?;
    Ok(NamedTeam { name: asked.name, team })
}

/// Lists the teams of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListTeams) -> Result<Listed<NamedTeam>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("teams of {}", work.tenant.id), &asked.listing)?;
    let rows = store::teams::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let listed = paging.end(rows);
    Ok(listed.map(|team| NamedTeam::new(&work.tenant.slug, team)))
}
