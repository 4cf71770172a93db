//! Use cases of bindings, and of the roles that they give.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, listing::Paging, projects, service_accounts,
    teams, users,
};
use crate::{
    domain::{
        bindings::{Binding, Member, Principal, Scope},
        change::Change,
        id::TeamId,
        names::{BindingName, MemberName, PLATFORM, ScopeName, Slug, TenantName},
        permission::Permission,
        role::Role,
        tenants::Tenant,
        time::Timestamp,
    },
    store::{self, listing::Listing, names::Names},
};

/// Asks for the roles.
#[derive(Debug)]
pub struct ListRoles;

/// What a role is to be given on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedScope {
    /// Every tenant; only members of the system tenant can be given a role there.
    Platform,
    /// Something within the tenant.
    Within(ScopeName),
}

/// Asks for a binding.
#[derive(Debug)]
pub struct CreateBinding {
    /// The tenant of the member.
    pub parent: TenantName,
    /// The role.
    pub role: Role,
    /// To whom.
    pub member: MemberName,
    /// On what.
    pub scope: AskedScope,
    /// When it ends; `None`: never.
    pub expires: Option<Timestamp>,
}

/// Asks for the bindings of a tenant.
#[derive(Debug)]
pub struct ListBindings {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a binding that there is.
#[derive(Debug)]
pub struct GetBinding {
    /// Which.
    pub name: BindingName,
}

/// Asks for a binding to be deleted.
#[derive(Debug)]
pub struct DeleteBinding {
    /// Which.
    pub name: BindingName,
}

/// A binding under its name.
#[derive(Debug, Clone)]
pub struct NamedBinding {
    /// The name.
    pub name: BindingName,
    /// Name of the member.
    pub member: String,
    /// Name of the scope.
    pub scope: String,
    /// The binding.
    pub binding: Binding,
}

/// A binding is gone; the revision at which decisions see it.
#[derive(Debug)]
pub struct BindingDeleted(pub i64);

impl NamedBinding {
    pub(super) fn new(tenant: &Slug, names: &Names, binding: Binding) -> Self {
        Self {
            name: BindingName { tenant: tenant.clone(), binding: binding.id },
            member: names.of(binding.member),
            scope: scope_id(binding.scope).map_or_else(|| PLATFORM.to_owned(), |id| names.of(id)),
            binding,
        }
    }
}

/// Id of the record that the scope is; `None` for the platform.
fn scope_id(scope: Scope) -> Option<String> {
    match scope {
        Scope::Platform => None,
        Scope::Tenant(id) => Some(id.to_string()),
        Scope::Workspace(_, id) => Some(id.to_string()),
        Scope::Project(_, _, id) => Some(id.to_string()),
    }
}

pub(super) async fn names(work: &mut Work<'_>, bindings: &[Binding]) -> Result<Names, AppError> {
    let ids = bindings.iter().flat_map(|b| [Some(b.member.to_string()), scope_id(b.scope)]).flatten().collect();
    Ok(store::names::names(&mut work.tx, ids).await?)
}

async fn find_member(work: &mut Work<'_>, name: &MemberName) -> Result<Member, AppError> {
    Ok(match name {
        MemberName::User(name) => Member::User(users::find(work, name).await?.id),
        MemberName::Team(name) => Member::Team(teams::find(work, name).await?.id),
        MemberName::ServiceAccount(name) => Member::ServiceAccount(service_accounts::find(work, name).await?.id),
    })
}

async fn find_scope(work: &mut Work<'_>, asked: &AskedScope) -> Result<Scope, AppError> {
    let name = match asked {
        AskedScope::Platform if work.tenant.slug.as_str() == Tenant::SYSTEM => return Ok(Scope::Platform),
        AskedScope::Platform => {
            return Err(AppError::invalid(
                "binding.scope",
                "only members of tenants/system can be bound on the platform",
            ));
        }
        AskedScope::Within(name) => name,
    };
    work.own(name.tenant(), name)?;
    Ok(match name {
        ScopeName::Tenant(_) => work.scope(),
        ScopeName::Workspace(name) => {
            let workspace = work.open_workspace(&name.workspace, name).await?;
            work.workspace_scope(&workspace)
        }
        ScopeName::Project(name) => {
            let project = projects::find_open(work, name).await?;
            Scope::Project(project.tenant, project.workspace, project.id)
        }
    })
}

/// The binding with this name, if its tenant is the one at work.
async fn find(work: &mut Work<'_>, name: &BindingName) -> Result<Binding, AppError> {
    let found = store::bindings::by_id(&mut work.tx, name.binding).await?;
    found.filter(|binding| binding.tenant == work.tenant.id).ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Reads a binding.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetBinding) -> Result<NamedBinding, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::BindingsRead, work.scope())?;
    let binding = find(&mut work, &asked.name).await?;
    let names = names(&mut work, &[binding]).await?;
    Ok(NamedBinding::new(&asked.name.tenant, &names, binding))
}

/// Lists the roles: the same for everybody.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn list_roles(_: Arc<App>, _: Caller, _: ListRoles) -> Result<Vec<Role>, AppError> {
    Ok(Role::ALL.to_vec())
}

/// Binds a role. Nobody gives away what they do not hold themselves. The same binding again changes nothing.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateBinding) -> Result<Changed<NamedBinding>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let scope = find_scope(&mut work, &asked.scope).await?;
    work.require(Permission::BindingsWrite, scope)?;
    work.require_all(asked.role.permissions(), scope, asked.expires)?;
    if asked.expires.is_some_and(|expires| expires <= work.now) {
        return Err(AppError::invalid("binding.expire_time", "must be in the future"));
    }
    let binding = Binding {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        role: asked.role,
        member: find_member(&mut work, &asked.member).await?,
        scope,
        created: work.now,
        expires: asked.expires,
    };
    let names = names(&mut work, &[binding]).await?;
    let tenant = work.tenant.slug.clone();
    if let Some(same) = store::bindings::same(&mut work.tx, &binding).await? {
        let record = NamedBinding::new(&tenant, &names, same);
        if same.in_force(work.now) {
            return if same.expires == binding.expires {
                Ok(Changed { record, revision: work.unchanged() })
            } else {
                Err(AppError::Exists(format!("{}, which ends at another time,", record.name)))
            };
        }
        store::bindings::delete(&mut work.tx, same.id).await?;
        work.emit(Change::BindingDeleted(same.id));
    }
    // The tenant's log is locked: nobody else binds the same in the meantime.
    let _ = store::bindings::insert(&mut work.tx, &binding).await?;
    work.emit(Change::Binding(binding));
    let record = NamedBinding::new(&tenant, &names, binding);
    let revision = work.commit(Audit::new("bindings.create", &record.name, None, Some(&binding))).await?;
    Ok(Changed { record, revision })
}

/// Lists the bindings of a tenant's members.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListBindings) -> Result<Listed<NamedBinding>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::BindingsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("bindings of {}", work.tenant.id), &asked.listing)?;
    let rows = store::bindings::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let names = names(&mut work, &rows).await?;
    let listed = paging.end(rows);
    Ok(listed.map(|binding| NamedBinding::new(&work.tenant.slug, &names, binding)))
}

/// Takes a role away. The last owner of a tenant and the last operator of the platform keep theirs.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteBinding) -> Result<BindingDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let binding = find(&mut work, &asked.name).await?;
    work.require(Permission::BindingsWrite, binding.scope)?;
    work.require_all(binding.role.permissions(), binding.scope, Some(work.now))?;
    let member = match binding.member {
        Member::User(id) => Some(Principal::User(id)),
        Member::ServiceAccount(id) => Some(Principal::ServiceAccount(id)),
        Member::Team(_) => None,
    };
    match (binding.role, binding.scope, member) {
        // What ends by itself keeps nobody in office.
        _ if binding.expires.is_some() => {}
        (Role::Owner, Scope::Tenant(_), Some(member)) => keep_an_owner(&mut work, member).await?,
        (Role::Operator, Scope::Platform, Some(member)) => keep_an_operator(&mut work, member).await?,
        _ => {}
    }
    store::bindings::delete(&mut work.tx, binding.id).await?;
    work.emit(Change::BindingDeleted(binding.id));
    let revision = work.commit(Audit::new("bindings.delete", &asked.name, Some(&binding), None)).await?;
    Ok(BindingDeleted(revision))
}

/// Insists that the caller may give all that being in a team gives: to put somebody into it is to give them its roles.
pub(super) async fn require_team(work: &mut Work<'_>, team: TeamId) -> Result<(), AppError> {
    for held in store::bindings::of_team(&mut work.tx, team).await? {
        if held.in_force(work.now) {
            work.require_all(held.role.permissions(), held.scope, held.expires)?;
        }
    }
    Ok(())
}

/// Refuses to put somebody out of action who is the last to own the tenant or to run the platform.
pub(super) async fn keep_somebody(work: &mut Work<'_>, leaver: Principal) -> Result<(), AppError> {
    keep_an_owner(work, leaver).await?;
    keep_an_operator(work, leaver).await
}

async fn keep_an_owner(work: &mut Work<'_>, leaver: Principal) -> Result<(), AppError> {
    let owners = store::bindings::owners(&mut work.tx, work.tenant.id).await?;
    if owners == [leaver] {
        return Err(AppError::State(format!("tenants/{} would be without an active owner", work.tenant.slug)));
    }
    Ok(())
}

async fn keep_an_operator(work: &mut Work<'_>, leaver: Principal) -> Result<(), AppError> {
    // Only members of the system tenant run the platform, and its log is locked: nobody else leaves at the same time.
    if work.tenant.slug.as_str() == Tenant::SYSTEM
        && store::bindings::operators(&mut work.tx, work.tenant.id).await? == [leaver]
    {
        return Err(AppError::State("the platform would be without an active operator".to_owned()));
    }
    Ok(())
}
