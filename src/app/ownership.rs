//! Use cases of the role that somebody has on the whole tenant, and of who owns it.

use std::sync::Arc;

use serde::Serialize;

use super::{
    App, AppError, Changed, Work, bindings,
    caller::Caller,
    context::Audit,
    roles::{self, NamedRole},
    users::{self, NamedUser},
};
use crate::{
    domain::{
        bindings::{Binding, Held, Member, Principal},
        change::Change,
        id::UserId,
        names::{RoleName, TenantName, UserName},
        permission::Permission,
        role::Role,
        roles::RoleRef,
        users::{User, UserState},
    },
    store,
};

/// Asks for another role of somebody on the whole tenant.
#[derive(Debug)]
pub struct ChangeRole {
    /// Whose.
    pub name: UserName,
    /// The role.
    pub role: RoleName,
    /// The version that they must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for another owner in place of the caller.
#[derive(Debug)]
pub struct TransferOwnership {
    /// Of which tenant.
    pub name: TenantName,
    /// Who is to own it.
    pub new_owner: UserName,
}

/// A tenant has another owner.
#[derive(Debug)]
pub struct Transferred {
    /// Who owns it now.
    pub owner: NamedUser,
    /// Who did.
    pub former: NamedUser,
    /// The revision at which decisions see it.
    pub revision: i64,
}

/// What goes on record when somebody's role changes.
#[derive(Serialize)]
struct WithRoles<'a> {
    #[serde(flatten)]
    user: &'a User,
    roles: Vec<RoleRef>,
}

/// What goes on record when a tenant has another owner.
#[derive(Serialize)]
struct Owned {
    owner: UserId,
    admin: UserId,
}

/// The bindings of a user on the whole tenant, those that have ended among them.
async fn on_tenant(work: &mut Work<'_>, user: UserId) -> Result<Vec<Held>, AppError> {
    let mut held = store::bindings::of_member(&mut work.tx, Member::User(user)).await?;
    held.retain(|held| held.binding.scope == work.scope());
    Ok(held)
}

/// Gives somebody one role on the whole tenant in place of those that they have there. Nobody gives, nor takes, what they do
/// not hold themselves.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn change_role(app: Arc<App>, caller: Caller, asked: ChangeRole) -> Result<Changed<NamedUser>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let before = users::find(&mut work, &asked.name).await?;
    let role = roles::find(&mut work, &asked.role).await?;
    if work.is_replay() {
        // Whoever gave up what it needs may ask again.
        return users::unchanged(work, before).await;
    }
    work.require(Permission::BindingsWrite, work.scope())?;
    work.require_all(role.permissions(), work.scope(), None)?;
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    let held = on_tenant(&mut work, before.id).await?;
    let stays = |binding: &Binding| binding.role == role.role() && binding.expires.is_none();
    if held.len() == 1 && held.iter().all(|held| stays(&held.binding)) {
        return users::unchanged(work, before).await;
    }
    let now = work.now;
    let in_force = held.iter().filter(|held| held.binding.in_force(now));
    let roles = in_force.map(|held| held.binding.role).collect();
    for Held { binding, permissions } in held.iter().filter(|held| !stays(&held.binding)) {
        if binding.in_force(work.now) {
            work.require_all(*permissions, binding.scope, Some(work.now))?;
        }
        if binding.role == RoleRef::BuiltIn(Role::Owner) && binding.expires.is_none() {
            bindings::keep_an_owner(&mut work, Principal::User(before.id)).await?;
        }
        bindings::take(&mut work, binding.id).await?;
    }
    let after = give(&mut work, &before, &role).await?;
    let was = WithRoles { user: &before, roles };
    let is = WithRoles { user: &after, roles: vec![role.role()] };
    let audit = Audit::new("users.changeRole", &asked.name, Some(&was), Some(&is));
    let record = users::named(&mut work, after).await?;
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Gives a role, if there is a seat, and the user their next version: their role is part of what is told of them.
async fn give(work: &mut Work<'_>, user: &User, role: &NamedRole) -> Result<User, AppError> {
    users::give_role(work, role, user.id).await?;
    let after = User { version: user.version + 1, ..user.clone() };
    store::users::update(&mut work.tx, &after).await?;
    work.emit(Change::User(after.clone()));
    Ok(after)
}

/// Makes an admin the owner, and the owner an admin.
pub async fn transfer(app: Arc<App>, caller: Caller, asked: TransferOwnership) -> Result<Transferred, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    if !work.is_replay() {
        work.require(Permission::OwnershipTransfer, work.scope())?;
    }
    let new = users::find(&mut work, &asked.new_owner).await?;
    let former = match caller.principal {
        Principal::User(id) => store::users::by_id(&mut work.tx, id).await?,
        Principal::ServiceAccount(_) => None,
    };
    let only = || AppError::State(format!("only a user who owns {} by a role of their own transfers it", asked.name));
    let former = former.filter(|user| user.tenant == work.tenant.id).ok_or_else(only)?;
    if work.is_replay() {
        let (owner, former) = both(&mut work, new, former).await?;
        return Ok(Transferred { owner, former, revision: work.unchanged().await? });
    }
    let owns = bound(&mut work, former.id, Role::Owner).await?.ok_or_else(only)?;
    if new.id == former.id {
        return Err(AppError::State(format!("{} owns {} already", asked.new_owner, asked.name)));
    }
    let is_admin = bound(&mut work, new.id, Role::Admin).await?.filter(|_| new.state == UserState::Active);
    let no_admin = || AppError::State(format!("{} is not an active admin of {}", asked.new_owner, asked.name));
    let is_admin = is_admin.ok_or_else(no_admin)?;
    for binding in [owns, is_admin] {
        bindings::take(&mut work, binding.id).await?;
    }
    let audit = Audit::new(
        "tenants.transferOwnership",
        &asked.name,
        Some(&Owned { owner: former.id, admin: new.id }),
        Some(&Owned { owner: new.id, admin: former.id }),
    );
    let new = give(&mut work, &new, &NamedRole::BuiltIn(Role::Owner)).await?;
    let former = give(&mut work, &former, &NamedRole::BuiltIn(Role::Admin)).await?;
    let (owner, former) = both(&mut work, new, former).await?;
    let revision = work.commit(audit).await?;
    Ok(Transferred { owner, former, revision })
}

async fn both(work: &mut Work<'_>, new: User, former: User) -> Result<(NamedUser, NamedUser), AppError> {
    Ok((users::named(work, new).await?, users::named(work, former).await?))
}

/// The binding that gives somebody a role on the whole tenant now.
async fn bound(work: &mut Work<'_>, user: UserId, role: Role) -> Result<Option<Binding>, AppError> {
    let now = work.now;
    let held = on_tenant(work, user).await?.into_iter().map(|held| held.binding);
    Ok(held.into_iter().find(|binding| binding.role == role.into() && binding.in_force(now)))
}
