//! Use cases of users.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, bindings,
    caller::Caller,
    context::Audit,
    listing::Paging,
    role_templates::{self, Applied},
    roles, sessions, teams,
};
use crate::{
    domain::{
        bindings::{Binding, Member, Principal},
        change::Change,
        id::{TeamId, UserId},
        names::{RoleName, RoleTemplateName, Slug, TeamName, TenantName, UserName},
        permission::Permission,
        roles::RoleRef,
        time::Timestamp,
        users::{User, UserState},
    },
    store::{self, Inserted, last_used::LastUses, listing::Listing, names::Names},
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
    /// What they are given on the whole tenant.
    pub gift: Gift,
}

/// What a new user is given on the whole tenant.
#[derive(Debug)]
pub enum Gift {
    /// A role.
    Role(RoleName),
    /// What a role template says.
    Template(RoleTemplateName),
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
    /// When they last called, or a call was made as theirs.
    pub last_used: Option<Timestamp>,
    /// The user.
    pub user: User,
}

impl NamedUser {
    fn new(tenant: &Slug, names: &Names, uses: &LastUses, user: User) -> Self {
        let teams = user.teams.iter().map(|id| names.of(id)).collect();
        let name = UserName { tenant: tenant.clone(), user: user.id };
        Self { name, teams, last_used: uses.of(user.id), user }
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
    let uses = store::last_used::of(&mut work.tx, [user.id.to_string()].into_iter()).await?;
    Ok(NamedUser::new(&work.tenant.slug, &names, &uses, user))
}

/// The teams with these names, each once, for somebody to be put into.
async fn team_ids(work: &mut Work<'_>, names: &[TeamName], newcomer: UserId) -> Result<Vec<TeamId>, AppError> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let team = teams::find(work, name).await?;
        if !ids.contains(&team.id) {
            bindings::require_team(work, team.id, newcomer).await?;
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
    let id = app.new_id(work.now)?;
    let user = User {
        id,
        tenant: work.tenant.id,
        email: asked.email,
        display_name: asked.display_name,
        state: UserState::Active,
        teams: team_ids(&mut work, &asked.teams, id).await?,
        created: work.now,
        version: 1,
    };
    if store::users::insert(&mut work.tx, &user).await? == Inserted::Exists {
        return Err(AppError::Exists(format!("a user of {} with the address {}", asked.parent, user.email)));
    }
    work.emit(Change::User(user.clone()));
    let given = give(&mut work, &asked.gift, user.id).await?;
    let named = named(&mut work, user).await?;
    let audit = Audit::new("users.create", &named.name, None, Some(&NewUser { user: &named.user, given }));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// Gives a new user what they are to have on the whole tenant.
async fn give(work: &mut Work<'_>, gift: &Gift, user: UserId) -> Result<GivenUser, AppError> {
    let scope = work.scope();
    let name = match gift {
        Gift::Template(name) => {
            let applied = role_templates::give(work, name, Principal::User(user), scope).await?;
            return Ok(GivenUser::Template { given: Box::new(applied) });
        }
        Gift::Role(name) => name,
    };
    let role = roles::find(work, name).await?;
    work.require_all(role.permissions(), scope, None)?;
    let binding = Binding {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        role: role.role(),
        member: Member::User(user),
        scope,
        created: work.now,
        expires: None,
    };
    bindings::give(work, &binding).await?;
    Ok(GivenUser::Role { role: binding.role })
}

/// What goes on record for a new user.
#[derive(serde::Serialize)]
struct NewUser<'a> {
    #[serde(flatten)]
    user: &'a User,
    #[serde(flatten)]
    given: GivenUser,
}

/// What a new user was given.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum GivenUser {
    Role { role: RoleRef },
    Template { given: Box<Applied> },
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
    let uses = store::last_used::of(&mut work.tx, rows.iter().map(|user| user.id.to_string())).await?;
    let listed = paging.end(rows);
    Ok(listed.map(|user| NamedUser::new(&work.tenant.slug, &names, &uses, user)))
}

/// Suspends or reactivates a user. Somebody who owns the tenant, or runs the platform, stays.
pub async fn set_state(app: Arc<App>, caller: Caller, asked: SetUserState) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersSuspend, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if before.state == asked.state {
        let record = named(&mut work, before).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let action = match (before.state, asked.state) {
        (UserState::Invited, UserState::Active) => {
            return Err(AppError::State(format!("{} is invited, not suspended: only they can accept", asked.name)));
        }
        (_, UserState::Suspended) => {
            bindings::keep_somebody(&mut work, Principal::User(before.id)).await?;
            sessions::end_all(&mut work, before.id).await?;
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
