//! Use cases of bindings.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, listing::Paging, projects, roles, seats,
    service_accounts, teams, users,
};
use crate::{
    domain::{
        bindings::{Binding, Held, Member, Principal, Scope},
        change::Change,
        id::{BindingId, TeamId},
        names::{BindingName, MemberName, PLATFORM, RoleName, ScopeName, Slug, TenantName},
        permission::Permission,
        role::Role,
        roles::RoleRef,
        tenants::Tenant,
        time::Timestamp,
    },
    store::{self, listing::Listing, names::Names},
};

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
    /// The role; `None`: the default of the workspace that is the scope.
    pub role: Option<RoleName>,
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
    /// Name of the role.
    pub role: String,
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
            role: names.role(binding.role),
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

/// Id of a role that is the tenant's own; the others go by their names.
fn own_role(role: RoleRef) -> Option<String> {
    matches!(role, RoleRef::Custom(_)).then(|| role.to_string())
}

pub(super) async fn names(work: &mut Work<'_>, bindings: &[Binding]) -> Result<Names, AppError> {
    let ids = bindings
        .iter()
        .flat_map(|b| [Some(b.member.to_string()), scope_id(b.scope), own_role(b.role)])
        .flatten()
        .collect();
    Ok(store::names::names(&mut work.tx, ids).await?)
}

async fn find_member(work: &mut Work<'_>, name: &MemberName) -> Result<Member, AppError> {
    Ok(match name {
        MemberName::User(name) => Member::User(users::find(work, name).await?.id),
        MemberName::Team(name) => Member::Team(teams::find(work, name).await?.id),
        MemberName::ServiceAccount(name) => Member::ServiceAccount(service_accounts::find_open(work, name).await?.id),
    })
}

pub(super) async fn find_scope(work: &mut Work<'_>, asked: &AskedScope) -> Result<Scope, AppError> {
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

/// The role of a binding that names none: what the workspace lays down.
async fn default_role(work: &mut Work<'_>, scope: Scope) -> Result<Role, AppError> {
    let workspace = match scope {
        Scope::Workspace(_, id) => store::workspaces::by_id(&mut work.tx, id).await?,
        _ => None,
    };
    let laid_down = workspace.and_then(|workspace| workspace.policies.default_role);
    laid_down.ok_or_else(|| AppError::invalid("binding.role", "is required where no workspace has a default"))
}

/// The binding with this name, if its tenant is the one at work.
async fn find(work: &mut Work<'_>, name: &BindingName) -> Result<Binding, AppError> {
    let found = store::bindings::by_id(&mut work.tx, name.binding).await?;
    found.filter(|binding| binding.tenant == work.tenant.id).ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Reads a binding.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetBinding) -> Result<NamedBinding, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::BindingsRead, work.scope())?;
    let binding = find(&mut work, &asked.name).await?;
    let names = names(&mut work, &[binding]).await?;
    Ok(NamedBinding::new(&asked.name.tenant, &names, binding))
}

/// Binds a role. Nobody gives away what they do not hold themselves. The same binding again changes nothing.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateBinding) -> Result<Changed<NamedBinding>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let scope = find_scope(&mut work, &asked.scope).await?;
    work.require(Permission::BindingsWrite, scope)?;
    let role = match &asked.role {
        Some(name) => roles::find(&mut work, name).await?,
        None => roles::NamedRole::BuiltIn(default_role(&mut work, scope).await?),
    };
    work.require_all(role.permissions(), scope, asked.expires)?;
    if asked.expires.is_some_and(|expires| expires <= work.now) {
        return Err(AppError::invalid("binding.expire_time", "must be in the future"));
    }
    let binding = Binding {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        role: role.role(),
        member: find_member(&mut work, &asked.member).await?,
        scope,
        created: work.now,
        expires: asked.expires,
    };
    let given = give(&mut work, &binding).await?;
    let binding = *given.binding();
    let names = names(&mut work, &[binding]).await?;
    let record = NamedBinding::new(&work.tenant.slug, &names, binding);
    if let Given::Before(_) = given {
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let revision = work.commit(Audit::new("bindings.create", &record.name, None, Some(&binding))).await?;
    Ok(Changed { record, revision })
}

/// What came of giving a role.
pub(super) enum Given {
    /// It is given now.
    Now(Binding),
    /// It was given before, just so.
    Before(Binding),
}

impl Given {
    /// The binding that gives it.
    pub(super) const fn binding(&self) -> &Binding {
        match self {
            Self::Now(binding) | Self::Before(binding) => binding,
        }
    }
}

/// Gives a role that the caller may give, if there is a seat for whoever gets it.
pub(super) async fn give(work: &mut Work<'_>, binding: &Binding) -> Result<Given, AppError> {
    if let Some(same) = store::bindings::same(&mut work.tx, binding).await? {
        if same.in_force(work.now) {
            return if same.expires == binding.expires {
                Ok(Given::Before(same))
            } else {
                let name = BindingName { tenant: work.tenant.slug.clone(), binding: same.id };
                Err(AppError::Exists(format!("{name}, which ends at another time,")))
            };
        }
        take(work, same.id).await?;
    }
    let newcomers = seats::behind(work, binding.member).await?;
    seats::take(work, binding.role, binding.scope, &newcomers).await?;
    // The tenant's log is locked: nobody else binds the same in the meantime.
    let _ = store::bindings::insert(&mut work.tx, binding).await?;
    work.emit(Change::Binding(*binding));
    Ok(Given::Now(*binding))
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
    let permissions = store::roles::permissions(&mut work.tx, binding.role).await?;
    work.require_all(permissions, binding.scope, Some(work.now))?;
    let member = match binding.member {
        Member::User(id) => Some(Principal::User(id)),
        Member::ServiceAccount(id) => Some(Principal::ServiceAccount(id)),
        Member::Team(_) => None,
    };
    match (binding.role, binding.scope, member) {
        // What ends by itself keeps nobody in office.
        _ if binding.expires.is_some() => {}
        (RoleRef::BuiltIn(Role::Owner), Scope::Tenant(_), Some(member)) => keep_an_owner(&mut work, member).await?,
        (RoleRef::BuiltIn(Role::Operator), Scope::Platform, Some(member)) => {
            keep_an_operator(&mut work, member).await?;
        }
        _ => {}
    }
    take(&mut work, binding.id).await?;
    let revision = work.commit(Audit::new("bindings.delete", &asked.name, Some(&binding), None)).await?;
    Ok(BindingDeleted(revision))
}

/// Insists that the caller may give all that being in a team gives, and that there are seats for it: to put somebody into it
/// is to give them its roles.
pub(super) async fn require_joining(
    work: &mut Work<'_>,
    team: TeamId,
    newcomers: &[Principal],
) -> Result<(), AppError> {
    for Held { binding, permissions } in store::bindings::of_member(&mut work.tx, Member::Team(team)).await? {
        if binding.in_force(work.now) {
            work.require_all(permissions, binding.scope, binding.expires)?;
            seats::take(work, binding.role, binding.scope, newcomers).await?;
        }
    }
    Ok(())
}

/// Insists that the caller holds all that being in a team gives: to take somebody out of it is to take its roles from them.
pub(super) async fn require_leaving(work: &mut Work<'_>, team: TeamId) -> Result<(), AppError> {
    for Held { binding, permissions } in store::bindings::of_member(&mut work.tx, Member::Team(team)).await? {
        if binding.in_force(work.now) {
            work.require_all(permissions, binding.scope, Some(work.now))?;
        }
    }
    Ok(())
}

/// Takes a binding away, as the caller was found to be allowed to.
pub(super) async fn take(work: &mut Work<'_>, id: BindingId) -> Result<(), AppError> {
    store::bindings::delete(&mut work.tx, id).await?;
    work.emit(Change::BindingDeleted(id));
    Ok(())
}

/// Refuses to put somebody out of action who is the last to own the tenant or to run the platform.
pub(super) async fn keep_somebody(work: &mut Work<'_>, leaver: Principal) -> Result<(), AppError> {
    keep_an_owner(work, leaver).await?;
    keep_an_operator(work, leaver).await
}

pub(super) async fn keep_an_owner(work: &mut Work<'_>, leaver: Principal) -> Result<(), AppError> {
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
