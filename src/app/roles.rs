//! Use cases of roles: those that every tenant has, and the tenants' own.

use std::sync::Arc;

use super::{App, AppError, Changed, Work, caller::Caller, context::Audit};
use crate::{
    domain::{
        bindings::Scope,
        change::Change,
        names::{CustomRoleName, RoleName, Slug, TenantName},
        permission::{Permission, PermissionSet},
        role::Role,
        roles::{CustomRole, MAX_PER_TENANT, RoleRef},
    },
    store::{self, Inserted},
};

/// Asks for the catalogue of permissions.
#[derive(Debug)]
pub struct ListPermissions;

/// Asks for the roles.
#[derive(Debug)]
pub struct ListRoles {
    /// The tenant whose own are listed after those that every tenant has; `None`: only the latter.
    pub parent: Option<TenantName>,
}

/// Asks for a role.
#[derive(Debug)]
pub struct GetRole {
    /// Which.
    pub name: RoleName,
}

/// Asks for a new role.
#[derive(Debug)]
pub struct CreateRole {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// What it may do.
    pub permissions: PermissionSet,
}

/// Asks for a role to be changed.
#[derive(Debug)]
pub struct UpdateRole {
    /// Which.
    pub name: CustomRoleName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// Another name for people.
    pub display_name: Option<String>,
    /// Another description.
    pub description: Option<String>,
    /// Other permissions.
    pub permissions: Option<PermissionSet>,
}

/// Asks for a role to be deleted.
#[derive(Debug)]
pub struct DeleteRole {
    /// Which.
    pub name: CustomRoleName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// A role under its name.
#[derive(Debug, Clone)]
pub enum NamedRole {
    /// One that every tenant has.
    BuiltIn(Role),
    /// A tenant's own, and its name.
    Custom(CustomRoleName, CustomRole),
}

/// A role is gone; the revision at which decisions see it.
#[derive(Debug)]
pub struct RoleDeleted(pub i64);

impl NamedRole {
    /// What a binding to it refers to.
    #[must_use]
    pub const fn role(&self) -> RoleRef {
        match self {
            Self::BuiltIn(role) => RoleRef::BuiltIn(*role),
            Self::Custom(_, role) => RoleRef::Custom(role.id),
        }
    }

    /// What it may do.
    #[must_use]
    pub const fn permissions(&self) -> PermissionSet {
        match self {
            Self::BuiltIn(role) => role.permissions(),
            Self::Custom(_, role) => role.permissions,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> RoleName {
        match self {
            Self::BuiltIn(role) => RoleName::BuiltIn(*role),
            Self::Custom(name, _) => RoleName::Custom(name.clone()),
        }
    }
}

/// The role with this name: one that every tenant has, or one of the tenant at work.
pub(super) async fn find(work: &mut Work<'_>, name: &RoleName) -> Result<NamedRole, AppError> {
    match name {
        RoleName::BuiltIn(role) => Ok(NamedRole::BuiltIn(*role)),
        RoleName::Custom(name) => Ok(NamedRole::Custom(name.clone(), find_custom(work, name).await?)),
    }
}

async fn find_custom(work: &mut Work<'_>, name: &CustomRoleName) -> Result<CustomRole, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::roles::by_slug(&mut work.tx, work.tenant.id, name.role.as_str()).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// The roles of the tenant at work, those that every tenant has first.
pub(super) async fn all(work: &mut Work<'_>) -> Result<Vec<NamedRole>, AppError> {
    let own = store::roles::of_tenant(&mut work.tx, work.tenant.id).await?;
    let tenant = work.tenant.slug.clone();
    let named =
        |role: CustomRole| NamedRole::Custom(CustomRoleName { tenant: tenant.clone(), role: role.slug.clone() }, role);
    Ok(built_in().chain(own.into_iter().map(named)).collect())
}

fn built_in() -> impl Iterator<Item = NamedRole> {
    Role::ALL.iter().copied().map(NamedRole::BuiltIn)
}

/// Lists the catalogue: the same for everybody.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn list_permissions(_: Arc<App>, _: Caller, _: ListPermissions) -> Result<&'static [Permission], AppError> {
    Ok(Permission::ALL)
}

/// Lists the roles: those that every tenant has, for everybody, and a tenant's own.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListRoles) -> Result<Vec<NamedRole>, AppError> {
    let Some(parent) = asked.parent else { return Ok(built_in().collect()) };
    let mut work = app.read(&caller, &parent.tenant, &parent).await?;
    work.require(Permission::RolesRead, work.scope())?;
    all(&mut work).await
}

/// Reads a role.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetRole) -> Result<NamedRole, AppError> {
    let name = match asked.name {
        RoleName::BuiltIn(role) => return Ok(NamedRole::BuiltIn(role)),
        RoleName::Custom(name) => name,
    };
    let mut work = app.read(&caller, &name.tenant, &name).await?;
    work.require(Permission::RolesRead, work.scope())?;
    let role = find_custom(&mut work, &name).await?;
    Ok(NamedRole::Custom(name, role))
}

/// Creates a role. Nobody makes one that may do more than they may themselves, on the whole tenant and for good: others can
/// be bound to it.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateRole) -> Result<Changed<NamedRole>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    work.require_all(asked.permissions, work.scope(), None)?;
    let name = CustomRoleName { tenant: asked.parent.tenant, role: asked.slug };
    if work.is_replay() {
        let role = find_custom(&mut work, &name).await?;
        return Ok(Changed { record: NamedRole::Custom(name, role), revision: work.unchanged().await? });
    }
    if store::roles::of_tenant(&mut work.tx, work.tenant.id).await?.len() >= MAX_PER_TENANT {
        return Err(AppError::State(format!(
            "there are {MAX_PER_TENANT} roles of the tenant's own, which is the most"
        )));
    }
    let role = CustomRole {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: name.role.clone(),
        display_name: asked.display_name,
        description: asked.description,
        permissions: asked.permissions,
        created: work.now,
        version: 1,
    };
    if store::roles::insert(&mut work.tx, &role).await? == Inserted::Exists {
        return Err(AppError::Exists(name.to_string()));
    }
    work.emit(Change::Role(role.clone()));
    let revision = work.commit(Audit::new("roles.create", &name, None, Some(&role))).await?;
    Ok(Changed { record: NamedRole::Custom(name, role), revision })
}

/// Changes a role, at once for everybody who is bound to it. To widen it is to give to all of them, to narrow it to take
/// from all of them: both only by somebody who holds what the role gives, before and after.
pub async fn update(app: Arc<App>, caller: Caller, asked: UpdateRole) -> Result<Changed<NamedRole>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    let before = find_custom(&mut work, &asked.name).await?;
    let permissions = asked.permissions.unwrap_or(before.permissions);
    require_change(&mut work, &before, permissions).await?;
    let mut after = CustomRole {
        display_name: asked.display_name.unwrap_or_else(|| before.display_name.clone()),
        description: asked.description.unwrap_or_else(|| before.description.clone()),
        permissions,
        ..before.clone()
    };
    if work.is_replay() {
        return Ok(Changed { record: NamedRole::Custom(asked.name, before), revision: work.unchanged().await? });
    }
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if after == before {
        return Ok(Changed { record: NamedRole::Custom(asked.name, before), revision: work.unchanged().await? });
    }
    after.version += 1;
    store::roles::update(&mut work.tx, &after).await?;
    work.emit(Change::Role(after.clone()));
    let revision = work.commit(Audit::new("roles.update", &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedRole::Custom(asked.name, after), revision })
}

/// Insists that the caller may make a role give `after` instead of what it gives.
async fn require_change(work: &mut Work<'_>, role: &CustomRole, after: PermissionSet) -> Result<(), AppError> {
    let (added, removed) = (after.without(role.permissions), role.permissions.without(after));
    if added.is_empty() && removed.is_empty() {
        return Ok(());
    }
    // What is bound in a tenant lies in it; only the system tenant's roles can be bound on the platform too.
    let mut scopes = vec![work.scope()];
    let bound = store::bindings::of_custom_role(&mut work.tx, role).await?;
    if bound.iter().any(|binding| binding.scope == Scope::Platform && binding.in_force(work.now)) {
        scopes.push(Scope::Platform);
    }
    for scope in scopes {
        work.require_all(role.permissions, scope, Some(work.now))?;
        work.require_all(added, scope, None)?;
    }
    Ok(())
}

/// Deletes a role that nobody is bound to and no template gives. Bindings that have ended go with it.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteRole) -> Result<RoleDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    if work.is_replay() {
        return Ok(RoleDeleted(work.unchanged().await?));
    }
    let role = find_custom(&mut work, &asked.name).await?;
    if asked.version.is_some_and(|version| version != role.version) {
        return Err(AppError::Etag);
    }
    let (bound, ended): (Vec<_>, Vec<_>) = store::bindings::of_custom_role(&mut work.tx, &role)
        .await?
        .into_iter()
        .partition(|binding| binding.in_force(work.now));
    let templates = store::role_templates::of_tenant(&mut work.tx, work.tenant.id).await?;
    let templates = templates.iter().filter(|template| template.role == RoleRef::Custom(role.id)).count();
    if !bound.is_empty() || templates > 0 {
        return Err(AppError::RoleInUse { role: asked.name.to_string(), bindings: bound.len(), templates });
    }
    for binding in ended {
        store::bindings::delete(&mut work.tx, binding.id).await?;
        work.emit(Change::BindingDeleted(binding.id));
    }
    store::roles::delete(&mut work.tx, role.id).await?;
    work.emit(Change::RoleDeleted(role.id));
    Ok(RoleDeleted(work.commit(Audit::new("roles.delete", &asked.name, Some(&role), None)).await?))
}
