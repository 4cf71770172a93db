//! Use cases of users.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, bindings,
    caller::Caller,
    context::Audit,
    listing::Paging,
    role_templates::{self, Applied},
    roles::{self, NamedRole},
    sessions, teams,
    usage::OfMonth,
};
use crate::{
    domain::{
        bindings::{Binding, Member, Principal},
        change::Change,
        id::{TeamId, UserId},
        listing::{Field, Kind, Term, Value},
        names::{RoleName, RoleTemplateName, TeamName, TenantName, UserName},
        permission::Permission,
        roles::RoleRef,
        time::Timestamp,
        users::{User, UserState},
    },
    store::{
        self, Inserted,
        listing::Listing,
        usage_counts::{Counted, Used},
    },
};

/// Asks for a new user, who is active at once.
#[derive(Debug)]
pub struct CreateUser {
    /// Where.
    pub parent: TenantName,
    /// Who.
    pub user: NewUser,
}

/// Asks for new users: all of them or none.
#[derive(Debug)]
pub struct CreateUsers {
    /// Where.
    pub parent: TenantName,
    /// Who.
    pub users: Vec<NewUser>,
}

/// Who is to be a user.
#[derive(Debug)]
pub struct NewUser {
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

/// Asks for another name of a user, or for other teams.
#[derive(Debug)]
pub struct UpdateUser {
    /// Which.
    pub name: UserName,
    /// Their name for people; `None`: as it is.
    pub display_name: Option<String>,
    /// Their teams, all of them; `None`: as they are.
    pub teams: Option<Vec<TeamName>>,
    /// The version that they must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for a user to be suspended or reactivated.
#[derive(Debug)]
pub struct SetUserState {
    /// Which.
    pub name: UserName,
    /// The state they are to be in: active or suspended.
    pub state: UserState,
}

/// Asks for users to be suspended or reactivated: all of them or none.
#[derive(Debug)]
pub struct SetUserStates {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, each once.
    pub names: Vec<UserName>,
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
    /// Names of the roles that they are bound to on the whole tenant by themselves.
    pub roles: Vec<String>,
    /// How many keys they have that are neither revoked nor at their end.
    pub keys: i64,
    /// When they last called, or a call was made as theirs.
    pub last_used: Option<Timestamp>,
    /// What they used this month; `None` for who may not see that.
    pub used: Option<Used>,
    /// The user.
    pub user: User,
}

/// The user with this name, if their tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &UserName) -> Result<User, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::users::by_id(&mut work.tx, name.user).await?;
    found.filter(|user| user.tenant == work.tenant.id).ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Users under their names, with what is told of them.
pub(super) async fn named_all(work: &mut Work<'_>, users: Vec<User>) -> Result<Vec<NamedUser>, AppError> {
    let ids: Vec<String> = users.iter().map(|user| user.id.to_string()).collect();
    let mut roles = store::bindings::roles_on_tenant(&mut work.tx, work.tenant.id, ids.clone(), work.now).await?;
    let keys = store::keys::counts(&mut work.tx, ids.clone(), work.now).await?;
    let used = OfMonth::read(work, work.scope(), Counted::Owners, &ids).await?;
    let uses = store::last_used::of(&mut work.tx, ids.into_iter()).await?;
    let own = roles.values().flatten().filter(|role| matches!(role, RoleRef::Custom(_))).map(ToString::to_string);
    let named = users.iter().flat_map(|user| &user.teams).map(ToString::to_string).chain(own).collect();
    let names = store::names::names(&mut work.tx, named).await?;
    let named = |user: User| NamedUser {
        name: UserName { tenant: work.tenant.slug.clone(), user: user.id },
        teams: user.teams.iter().map(|id| names.of(id)).collect(),
        roles: roles.remove(&user.id.to_string()).into_iter().flatten().map(|role| names.role(role)).collect(),
        keys: keys.get(&user.id.to_string()).copied().unwrap_or_default(),
        last_used: uses.of(user.id),
        used: used.of(user.id),
        user,
    };
    Ok(users.into_iter().map(named).collect())
}

pub(super) async fn named(work: &mut Work<'_>, user: User) -> Result<NamedUser, AppError> {
    let id = user.id;
    let missing = || AppError::State(format!("{id} is not among the users that were asked for"));
    named_all(work, vec![user]).await?.pop().ok_or_else(missing)
}

/// Ends without a change, with the user as they are.
pub(super) async fn unchanged(mut work: Work<'_>, user: User) -> Result<Changed<NamedUser>, AppError> {
    let record = named(&mut work, user).await?;
    Ok(Changed { record, revision: work.unchanged().await? })
}

/// The teams with these names, each once.
async fn team_ids(work: &mut Work<'_>, names: &[TeamName]) -> Result<Vec<TeamId>, AppError> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let team = teams::find(work, name).await?;
        if !ids.contains(&team.id) {
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
    let (user, given) = add(&mut work, asked.user).await?;
    let named = named(&mut work, user).await?;
    let audit = Audit::new("users.create", &named.name, None, Some(&Added { user: &named.user, given }));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// Creates users, all of them or none.
pub async fn create_many(
    app: Arc<App>,
    caller: Caller,
    asked: CreateUsers,
) -> Result<Changed<Vec<NamedUser>>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    if work.is_replay() {
        let mut users = Vec::with_capacity(asked.users.len());
        for NewUser { email, .. } in asked.users {
            let found = store::users::by_email(&mut work.tx, work.tenant.id, &email).await?;
            users.push(found.ok_or_else(|| AppError::State(format!("{email} was removed since")))?);
        }
        let record = named_all(&mut work, users).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let (mut users, mut given) = (Vec::with_capacity(asked.users.len()), Vec::new());
    for new in asked.users {
        let (user, gift) = add(&mut work, new).await?;
        users.push(user);
        given.push(gift);
    }
    let record = named_all(&mut work, users).await?;
    let added = record.iter().zip(given).map(|(named, given)| Added { user: &named.user, given });
    let audit = Audit::new("users.batchCreate", &asked.parent, None, Some(&added.collect::<Vec<_>>()));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Adds a user and gives them what they are to have.
async fn add(work: &mut Work<'_>, new: NewUser) -> Result<(User, GivenUser), AppError> {
    let id = work.app().new_id(work.now)?;
    let teams = team_ids(work, &new.teams).await?;
    for team in &teams {
        bindings::require_joining(work, *team, &[Principal::User(id)]).await?;
    }
    let user = User {
        id,
        tenant: work.tenant.id,
        email: new.email,
        display_name: new.display_name,
        state: UserState::Active,
        teams,
        created: work.now,
        joined: Some(work.now),
        version: 1,
    };
    if store::users::insert(&mut work.tx, &user).await? == Inserted::Exists {
        return Err(AppError::Exists(format!("a user of {} with the address {}", work.tenant.name(), user.email)));
    }
    work.emit(Change::User(user.clone()));
    let given = give(work, &new.gift, user.id).await?;
    Ok((user, given))
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
    Ok(GivenUser::Role { role: give_role(work, &role, user).await?.role })
}

/// Gives somebody a role on the whole tenant, for good.
pub(super) async fn give_role(work: &mut Work<'_>, role: &NamedRole, user: UserId) -> Result<Binding, AppError> {
    let scope = work.scope();
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
    Ok(*bindings::give(work, &binding).await?.binding())
}

/// What goes on record for a new user.
#[derive(serde::Serialize)]
struct Added<'a> {
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
    let list = format!("users of {}", work.tenant.id);
    page(&mut work, &list, asked.listing, None).await
}

/// A page of the users of the tenant at work, or of those in one of its teams. `list` is whose they are, for page tokens.
pub(super) async fn page(
    work: &mut Work<'_>,
    list: &str,
    mut listing: Listing,
    team: Option<TeamId>,
) -> Result<Listed<NamedUser>, AppError> {
    resolve(work, &mut listing.terms).await?;
    listing.terms.extend(team.map(|team| Term::IsIn(team.to_string())));
    let paging = Paging::begin(work.app(), list, &listing)?;
    let rows = store::users::list(&mut work.tx, work.tenant.id, &listing, paging.after()).await?;
    let Listed { records, next } = paging.end(rows);
    let users = records.into_iter().map(|listed| listed.user).collect();
    Ok(Listed { records: named_all(work, users).await?, next })
}

/// Finds what the terms of a filter name: roles and teams.
async fn resolve(work: &mut Work<'_>, terms: &mut [Term]) -> Result<(), AppError> {
    for term in terms {
        let Term::Compares(Field { name, kind: Kind::Name, .. }, _, Value::Text(text)) = &*term else { continue };
        let unknown = || AppError::invalid("filter", format!("there is no {name} `{text:.128}` in the tenant"));
        let missing = |error| if matches!(error, AppError::NotFound(_)) { unknown() } else { error };
        *term = if *name == "team" {
            let team: TeamName = text.parse().map_err(|_| unknown())?;
            Term::IsIn(teams::find(work, &team).await.map_err(missing)?.id.to_string())
        } else {
            let role: RoleName = text.parse().map_err(|_| unknown())?;
            Term::Holds(roles::find(work, &role).await.map_err(missing)?.role().to_string(), work.now)
        };
    }
    Ok(())
}

/// Changes a user's name for people and their teams. To put somebody into a team is to give its roles, to take them out to
/// take those.
pub async fn update(app: Arc<App>, caller: Caller, asked: UpdateUser) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    let mut after = before.clone();
    if let Some(names) = &asked.teams {
        after.teams = team_ids(&mut work, names).await?;
    }
    if work.is_replay() {
        return unchanged(work, before).await;
    }
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    for joined in after.teams.iter().filter(|team| !before.teams.contains(team)) {
        bindings::require_joining(&mut work, *joined, &[Principal::User(before.id)]).await?;
    }
    for left in before.teams.iter().filter(|team| !after.teams.contains(team)) {
        bindings::require_leaving(&mut work, *left).await?;
    }
    if let Some(name) = asked.display_name {
        after.display_name = name;
    }
    if after == before {
        return unchanged(work, before).await;
    }
    after.version += 1;
    store::users::move_to_teams(&mut work.tx, &before, &after).await?;
    work.emit(Change::User(after.clone()));
    let record = named(&mut work, after).await?;
    let revision = work.commit(Audit::new("users.update", &asked.name, Some(&before), Some(&record.user))).await?;
    Ok(Changed { record, revision })
}

/// Suspends or reactivates a user. Somebody who owns the tenant, or runs the platform, stays.
pub async fn set_state(app: Arc<App>, caller: Caller, asked: SetUserState) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersSuspend, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if before.state == asked.state {
        return unchanged(work, before).await;
    }
    let action = if asked.state == UserState::Suspended { "users.suspend" } else { "users.reactivate" };
    let after = put_into(&mut work, &before, asked.state).await?;
    let record = named(&mut work, after).await?;
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&record.user))).await?;
    Ok(Changed { record, revision })
}

/// Suspends or reactivates users, all of them or none. Those who stand so already stay so.
pub async fn set_states(
    app: Arc<App>,
    caller: Caller,
    asked: SetUserStates,
) -> Result<Changed<Vec<NamedUser>>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersSuspend, work.scope())?;
    let (mut before, mut after, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for name in &asked.names {
        let user = find(&mut work, name).await?;
        if user.state == asked.state || work.is_replay() {
            all.push(user);
            continue;
        }
        let changed = put_into(&mut work, &user, asked.state).await?;
        all.push(changed.clone());
        after.push(changed);
        before.push(user);
    }
    let record = named_all(&mut work, all).await?;
    let action = if asked.state == UserState::Suspended { "users.batchSuspend" } else { "users.batchReactivate" };
    let revision = if after.is_empty() {
        work.unchanged().await?
    } else {
        work.commit(Audit::new(action, &asked.parent, Some(&before), Some(&after))).await?
    };
    Ok(Changed { record, revision })
}

/// Puts a user into another state: not somebody who is invited, for only they can accept.
async fn put_into(work: &mut Work<'_>, before: &User, state: UserState) -> Result<User, AppError> {
    if before.state == UserState::Invited {
        let name = UserName { tenant: work.tenant.slug.clone(), user: before.id };
        let why = "is invited: only they can accept, and the invitation can be cancelled";
        return Err(AppError::State(format!("{name} {why}")));
    }
    if state == UserState::Suspended {
        bindings::keep_somebody(work, Principal::User(before.id)).await?;
        sessions::end_all(work, before.id).await?;
    }
    let after = User { state, version: before.version + 1, ..before.clone() };
    store::users::update(&mut work.tx, &after).await?;
    work.emit(Change::User(after.clone()));
    Ok(after)
}
