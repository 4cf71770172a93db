//! Use cases of users.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, Work, bindings, caller::Caller, context::Audit, listing::Paging, teams};
use crate::{
    domain::{
        bindings::{Binding, Member, Principal},
        change::Change,
        id::TeamId,
        names::{Slug, TeamName, TenantName, UserName},
        permission::Permission,
        role::Role,
        users::{User, UserState},
    },
    store::{self, Inserted, listing::Listing, names::Names},
};

/// Asks for a new user, who is active at once.
#[derive(Debug)]
pub struct CreateUser {
    /// Where.
    pub parent: TenantName,
    /// Their address.
    pub email: String,
    /// Their name for people.
    pub display_name: String,
    /// Their teams.
    pub teams: Vec<TeamName>,
    /// Their role on the whole tenant.
    pub role: Role,
}

/// Asks for a user.
#[derive(Debug)]
pub struct GetUser {
    /// Which.
    pub name: UserName,
}

/// Asks for the users of a tenant.
#[derive(Debug)]
pub struct ListUsers {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a user to be suspended or reactivated.
#[derive(Debug)]
pub struct SetUserState {
    /// Which.
    pub name: UserName,
    /// The state they are to be in: active or suspended.
    pub state: UserState,
}

/// A user under their name.
#[derive(Debug)]
pub struct NamedUser {
    /// The name.
    pub name: UserName,
    /// Names of the user's teams.
    pub teams: Vec<String>,
    /// The user.
    pub user: User,
}

impl NamedUser {
    fn new(tenant: &Slug, names: &Names, user: User) -> Self {
        let teams = user.teams.iter().map(|id| names.of(id)).collect();
        Self { name: UserName { tenant: tenant.clone(), user: user.id }, teams, user }
    }
}

/// The user with this name, if their tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &UserName) -> Result<User, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::users::by_id(&mut work.tx, name.user).await?;
    found.filter(|user| user.tenant == work.tenant.id).ok_or_else(|| AppError::NotFound(name.to_string()))
}

async fn named(work: &mut Work<'_>, user: User) -> Result<NamedUser, AppError> {
    let names = store::names::names(&mut work.tx, user.teams.iter().map(ToString::to_string).collect()).await?;
    Ok(NamedUser::new(&work.tenant.slug, &names, user))
}

/// The teams with these names, each once, for somebody to be put into.
async fn team_ids(work: &mut Work<'_>, names: &[TeamName]) -> Result<Vec<TeamId>, AppError> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let team = teams::find(work, name).await?;
        if !ids.contains(&team.id) {
            bindings::require_team(work, team.id).await?;
            ids.push(team.id);
        }
    }
    Ok(ids)
}

/// Creates a user and gives them a role. Nobody gives away what they do not hold themselves.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateUser) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    work.require_all(asked.role.permissions(), work.scope(), None)?;
    let user = User {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        email: asked.email,
        display_name: asked.display_name,
        state: UserState::Active,
        teams: team_ids(&mut work, &asked.teams).await?,
        created: work.now,
        version: 1,
    };
    if store::users::insert(&mut work.tx, &user).await? == Inserted::Exists {
        return Err(AppError::Exists(format!("a user of {} with the address {}", asked.parent, user.email)));
    }
    let binding = Binding {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        role: asked.role,
        member: Member::User(user.id),
        scope: work.scope(),
        created: work.now,
        expires: None,
    };
    // The user is new, so nothing can be bound to them yet.
    let _ = store::bindings::insert(&mut work.tx, &binding).await?;
    work.emit(Change::User(user.clone()));
    work.emit(Change::Binding(binding));
    let named = named(&mut work, user).await?;
    let record = UserWithRole { user: &named.user, role: asked.role };
    let audit = Audit::new("users.create", &named.name, None, Some(&record));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// What goes on record for a new user.
#[derive(serde::Serialize)]
struct UserWithRole<'a> {
    #[serde(flatten)]
    user: &'a User,
    role: Role,
}

/// Reads a user.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetUser) -> Result<NamedUser, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersRead, work.scope())?;
    let user = find(&mut work, &asked.name).await?;
    named(&mut work, user).await
}

/// Lists the users of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListUsers) -> Result<Listed<NamedUser>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("users of {}", work.tenant.id), &asked.listing)?;
    let rows = store::users::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let teams = rows.iter().flat_map(|user| &user.teams).map(ToString::to_string).collect();
    let names = store::names::names(&mut work.tx, teams).await?;
    let listed = paging.end(rows);
    Ok(listed.map(|user| NamedUser::new(&work.tenant.slug, &names, user)))
}

/// Suspends or reactivates a user. Somebody who owns the tenant, or runs the platform, stays.
pub async fn set_state(app: Arc<App>, caller: Caller, asked: SetUserState) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersSuspend, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if before.state == asked.state {
        let record = named(&mut work, before).await?;
        return Ok(Changed { record, revision: work.unchanged() });
    }
    let action = match (before.state, asked.state) {
        (UserState::Invited, UserState::Active) => {
            return Err(AppError::State(format!("{} is invited, not suspended: only they can accept", asked.name)));
        }
        (_, UserState::Suspended) => {
            bindings::keep_somebody(&mut work, Principal::User(before.id)).await?;
            "users.suspend"
        }
        _ => "users.reactivate",
    };
    let after = User { state: asked.state, version: before.version + 1, ..before.clone() };
    store::users::update(&mut work.tx, &after).await?;
    work.emit(Change::User(after.clone()));
    let record = named(&mut work, after).await?;
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&record.user))).await?;
    Ok(Changed { record, revision })
}
