//! Use cases of people who leave: what becomes of their roles, their budgets and their keys.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use serde::Serialize;

use super::{App, AppError, Work, bindings, caller::Caller, context::Audit, key_policies, keys, users};
use crate::{
    domain::{
        bindings::{Authority, Held, Member, Principal, Scope},
        budgets::BudgetScope,
        change::Change,
        id::{BindingId, BudgetId, KeyId, UserId, WorkspaceId},
        keys::{Allowlist, Key, KeyState},
        names::{TenantName, UserName},
        permission::Permission,
        policies::KeysOnRemoval,
        role::Role,
        roles::RoleRef,
        users::{FormerUser, User, UserState},
        workspaces::Workspace,
    },
    store,
};

/// Asks for a user to be removed.
#[derive(Debug)]
pub struct DeleteUser {
    /// Which.
    pub name: UserName,
    /// The version that they must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for users to be removed: all of them or none.
#[derive(Debug)]
pub struct DeleteUsers {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, each once.
    pub names: Vec<UserName>,
}

/// Somebody was removed.
#[derive(Debug)]
pub struct Removed {
    /// Who.
    pub name: UserName,
    /// What became of what was theirs; nothing when that was told before under the same request id.
    pub removal: Removal,
}

/// Users were removed; the revision at which decisions see it.
#[derive(Debug)]
pub struct UsersDeleted {
    /// Who, in the order in which they were asked for.
    pub removed: Vec<Removed>,
    /// The revision.
    pub revision: i64,
}

/// What became of what was somebody's; on record as it is.
#[derive(Debug, Default, Serialize)]
pub struct Removal {
    /// Who they were.
    pub id: Option<UserId>,
    /// Keys that ended.
    pub revoked_keys: Vec<KeyId>,
    /// Keys that work on as those of whoever removed them.
    pub reassigned_keys: Vec<KeyId>,
    /// Keys that are kept, and do not work.
    pub disabled_keys: Vec<KeyId>,
    /// Roles that ended.
    pub ended_bindings: Vec<BindingId>,
    /// Budgets that ended.
    pub ended_budgets: Vec<BudgetId>,
}

/// Removes a user: their access ends at once, and their address is free.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteUser) -> Result<UsersDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    // Whoever removed themselves holds nothing any more when they ask again.
    if work.is_replay() {
        return replayed(work, vec![asked.name]).await;
    }
    work.require(Permission::UsersDelete, work.scope())?;
    let user = users::find(&mut work, &asked.name).await?;
    if asked.version.is_some_and(|version| version != user.version) {
        return Err(AppError::Etag);
    }
    let removal = remove(&mut work, &user).await?;
    let after = serde_json::to_value(&removal).unwrap_or_default();
    let before = serde_json::to_value(&user).unwrap_or_default();
    let revision = work.commit(Audit::new("users.delete", &asked.name, Some(&before), Some(&after))).await?;
    Ok(UsersDeleted { removed: vec![Removed { name: asked.name, removal }], revision })
}

/// Removes users, all of them or none.
pub async fn delete_many(app: Arc<App>, caller: Caller, asked: DeleteUsers) -> Result<UsersDeleted, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    if work.is_replay() {
        return replayed(work, asked.names).await;
    }
    work.require(Permission::UsersDelete, work.scope())?;
    let (mut before, mut removed) = (Vec::new(), Vec::new());
    for name in asked.names {
        let user = users::find(&mut work, &name).await?;
        removed.push(Removed { name, removal: remove(&mut work, &user).await? });
        before.push(user);
    }
    let before = serde_json::to_value(&before).unwrap_or_default();
    let after: Vec<&Removal> = removed.iter().map(|one| &one.removal).collect();
    let after = serde_json::to_value(&after).unwrap_or_default();
    let revision = work.commit(Audit::new("users.batchDelete", &asked.parent, Some(&before), Some(&after))).await?;
    Ok(UsersDeleted { removed, revision })
}

async fn replayed(work: Work<'_>, names: Vec<UserName>) -> Result<UsersDeleted, AppError> {
    let removed = names.into_iter().map(|name| Removed { name, removal: Removal::default() }).collect();
    Ok(UsersDeleted { removed, revision: work.unchanged().await? })
}

/// Removes somebody whom the caller may remove. Who owns the tenant is removed by an owner only, and not the last of them.
async fn remove(work: &mut Work<'_>, user: &User) -> Result<Removal, AppError> {
    let principal = Principal::User(user.id);
    if user.state == UserState::Invited {
        let name = UserName { tenant: work.tenant.slug.clone(), user: user.id };
        return Err(AppError::State(format!("{name} is invited: cancel the invitation")));
    }
    bindings::keep_somebody(work, principal).await?;
    for Held { binding, permissions } in store::bindings::of_member(&mut work.tx, Member::User(user.id)).await? {
        let guarded = [RoleRef::BuiltIn(Role::Owner), RoleRef::BuiltIn(Role::Operator)].contains(&binding.role);
        if guarded && binding.in_force(work.now) {
            work.require_all(permissions, binding.scope, Some(work.now))?;
        }
    }
    erase(work, user).await
}

/// Ends what somebody has, and leaves of them the id that others refer to.
pub(super) async fn erase(work: &mut Work<'_>, user: &User) -> Result<Removal, AppError> {
    let principal = Principal::User(user.id);
    let mut removal = Removal { id: Some(user.id), ..Removal::default() };
    // What their keys could do, before that ends.
    let authority = store::bindings::authority(&mut work.tx, principal, work.now).await?;
    for Held { binding, .. } in store::bindings::of_member(&mut work.tx, Member::User(user.id)).await? {
        bindings::take(work, binding.id).await?;
        removal.ended_bindings.push(binding.id);
    }
    leave_keys(work, principal, &authority, &mut removal).await?;
    for budget in store::budgets::of_scope(&mut work.tx, work.tenant.id, &BudgetScope::User(user.id)).await? {
        store::budgets::delete(&mut work.tx, budget.id).await?;
        work.emit(Change::BudgetDeleted(budget.id));
        removal.ended_budgets.push(budget.id);
    }
    store::users::delete(&mut work.tx, user, work.now).await?;
    work.emit(Change::UserDeleted(FormerUser { id: user.id, tenant: user.tenant, removed: work.now }));
    Ok(removal)
}

/// Does with somebody's keys what each workspace lays down.
async fn leave_keys(
    work: &mut Work<'_>,
    leaver: Principal,
    authority: &Authority,
    removal: &mut Removal,
) -> Result<(), AppError> {
    let mut workspaces: HashMap<WorkspaceId, Option<Workspace>> = HashMap::new();
    let heir = (work.caller().tenant == work.tenant.id).then_some(work.caller().principal);
    for key in store::keys::of_owner(&mut work.tx, leaver).await? {
        let workspace = match workspaces.entry(key.workspace) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(store::workspaces::by_id(&mut work.tx, key.workspace).await?),
        };
        let policy = workspace.as_ref().map(|workspace| workspace.policies.keys_on_removal).unwrap_or_default();
        let mut heir = heir.filter(|heir| *heir != leaver && policy == KeysOnRemoval::Reassign);
        if let (Some(workspace), Some(_)) = (workspace, heir)
            && !key_policies::may_take_over(work, workspace).await?
        {
            heir = None;
        }
        let scope = Scope::Workspace(key.tenant, key.workspace);
        let after = match (policy, heir) {
            (KeysOnRemoval::Revoke, _) => {
                removal.revoked_keys.push(key.id);
                Key { state: KeyState::Revoked, ..key }
            }
            (KeysOnRemoval::Reassign, Some(heir)) => {
                removal.reassigned_keys.push(key.id);
                Key { owner: heir, ..narrowed(key, authority, scope) }
            }
            // Nobody is there to take it over: whoever removed themselves, is of elsewhere, or has no room for it.
            (KeysOnRemoval::Reassign | KeysOnRemoval::KeepDisabled, _) => {
                removal.disabled_keys.push(key.id);
                Key { state: KeyState::Disabled, ..narrowed(key, authority, scope) }
            }
        };
        keys::put(work, Key { version: after.version + 1, ..after }).await?;
    }
    Ok(())
}

/// The key, good for no more than its owner let it do: whoever has its secret gains nothing by another owner.
fn narrowed(key: Key, authority: &Authority, scope: Scope) -> Key {
    let permissions = Some(key.allowlist.narrowed(authority.reaching(scope)));
    Key { allowlist: Allowlist { permissions, ..key.allowlist }, ..key }
}
