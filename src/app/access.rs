//! Use cases of access: who may do what, and why.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    App, AppError, Work,
    bindings::{self, NamedBinding},
    caller::Caller,
    projects,
    roles::{self, NamedRole},
    service_accounts, users,
};
use crate::{
    domain::{
        bindings::{Binding, Held, Principal, Scope},
        names::{PrincipalName, RoleName, ScopeName, Slug, TenantName},
        permission::{Permission, PermissionSet},
        role::Role,
        users::UserState,
    },
    store,
};

/// Most granters that an answer names.
const MAX_GRANTERS: usize = 10;
/// Most bindings of a role that are looked at for granters.
const LOOKED_AT: i64 = 100;

/// Whether somebody may do something somewhere.
#[derive(Debug)]
pub struct Question {
    /// Where.
    pub resource: ScopeName,
    /// What.
    pub permission: Permission,
    /// Who; `None`: the caller.
    pub principal: Option<PrincipalName>,
}

/// Asks questions of one tenant.
#[derive(Debug)]
pub struct CheckAccess {
    /// The tenant.
    pub parent: TenantName,
    /// The questions.
    pub questions: Vec<Question>,
}

/// Asks for all that somebody may do on a resource.
#[derive(Debug)]
pub struct ListEffectivePermissions {
    /// Where.
    pub resource: ScopeName,
    /// Who; `None`: the caller.
    pub principal: Option<PrincipalName>,
}

/// Why somebody may not do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// No binding gives it.
    PermissionMissing,
    /// They may not act at all.
    PrincipalNotActive,
    /// Nobody of their tenant may.
    TenantNotInUse,
}

/// Whether somebody may do something, and why.
#[derive(Debug)]
pub struct Answer {
    /// Who was asked about.
    pub who: String,
    /// What was asked.
    pub question: Question,
    /// Why not; `None` when it is allowed.
    pub obstacle: Option<Obstacle>,
    /// The bindings that give the permission.
    pub grants: Vec<NamedBinding>,
    /// Names of roles that would give it, when none does; fewest permissions first.
    pub roles: Vec<RoleName>,
    /// Names of those who could bind one of these roles there.
    pub granters: Vec<String>,
}

/// All that somebody may do on a resource, and by which bindings.
#[derive(Debug)]
pub struct Effective {
    /// Each permission with what gives it.
    pub permissions: Vec<(Permission, Vec<NamedBinding>)>,
    /// Why none of it is allowed.
    pub obstacle: Option<Obstacle>,
}

/// Somebody who is asked about, on a resource.
struct Asked {
    name: String,
    scope: Scope,
    obstacle: Option<Obstacle>,
    /// Their bindings that reach the resource, and what each gives.
    held: Vec<(NamedBinding, PermissionSet)>,
}

/// Answers questions, all of them of one state.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn check(app: Arc<App>, caller: Caller, asked: CheckAccess) -> Result<Vec<Answer>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    let mut answers = Vec::with_capacity(asked.questions.len());
    for question in asked.questions {
        answers.push(answer(&mut work, question).await?);
    }
    Ok(answers)
}

/// Lists all that somebody may do on a resource.
pub async fn list_permissions(
    app: Arc<App>,
    caller: Caller,
    asked: ListEffectivePermissions,
) -> Result<Effective, AppError> {
    let mut work = app.read(&caller, asked.resource.tenant(), &asked.resource).await?;
    let about = find(&mut work, &asked.resource, asked.principal.as_ref()).await?;
    let all = about.held.iter().fold(PermissionSet::NONE, |all, (_, permissions)| all.with(*permissions));
    let grants = |permission: Permission| giving(permission, &about.held);
    let permissions = all.iter().map(|permission| (permission, grants(permission))).collect();
    Ok(Effective { permissions, obstacle: about.obstacle })
}

/// The bindings that give a permission.
fn giving(permission: Permission, held: &[(NamedBinding, PermissionSet)]) -> Vec<NamedBinding> {
    let gives = held.iter().filter(|(_, permissions)| permissions.has(permission));
    gives.map(|(binding, _)| binding.clone()).collect()
}

async fn answer(work: &mut Work<'_>, question: Question) -> Result<Answer, AppError> {
    let about = find(work, &question.resource, question.principal.as_ref()).await?;
    let grants = giving(question.permission, &about.held);
    let missing = grants.is_empty();
    let obstacle = about.obstacle.or(missing.then_some(Obstacle::PermissionMissing));
    let (roles, granters) =
        if missing { ways(work, question.permission, about.scope).await? } else { Default::default() };
    Ok(Answer { who: about.name, question, obstacle, grants, roles, granters })
}

/// Somebody and what they hold on a resource, if the caller may ask about them there.
async fn find(work: &mut Work<'_>, resource: &ScopeName, principal: Option<&PrincipalName>) -> Result<Asked, AppError> {
    let scope = scope(work, resource).await?;
    let own = work.caller().name.clone();
    let (name, principal, active) = match principal.filter(|name| name.to_string() != own) {
        // Whoever calls is active, and so is their tenant.
        None => (own, work.caller().principal, true),
        Some(name) => {
            work.require(Permission::BindingsRead, scope)?;
            let (principal, active) = find_principal(work, name).await?;
            (name.to_string(), principal, active)
        }
    };
    let in_use = work.tenant.in_use() || principal == work.caller().principal;
    let obstacle = match (in_use, active) {
        (false, _) => Some(Obstacle::TenantNotInUse),
        (true, false) => Some(Obstacle::PrincipalNotActive),
        (true, true) => None,
    };
    let mut held = store::bindings::held(&mut work.tx, principal, work.now).await?;
    held.retain(|held| held.binding.scope.covers(scope));
    let reaching: Vec<Binding> = held.iter().map(|held| held.binding).collect();
    let names = bindings::names(work, &reaching).await?;
    // Bindings lie in the tenant of their member, which for a caller from elsewhere is another than that at work.
    let tenant: Slug = match name.parse::<PrincipalName>() {
        Ok(name) => name.tenant().clone(),
        Err(_) => work.tenant.slug.clone(),
    };
    let named = |held: Held| (NamedBinding::new(&tenant, &names, held.binding), held.permissions);
    let held = held.into_iter().map(named).collect();
    Ok(Asked { name, scope, obstacle, held })
}

/// Somebody of the tenant at work, and whether they may act.
pub(super) async fn find_principal(work: &mut Work<'_>, name: &PrincipalName) -> Result<(Principal, bool), AppError> {
    Ok(match name {
        PrincipalName::User(name) => {
            let user = users::find(work, name).await?;
            (Principal::User(user.id), user.state == UserState::Active)
        }
        PrincipalName::ServiceAccount(name) => {
            let account = service_accounts::find(work, name).await?;
            (Principal::ServiceAccount(account.id), account.in_use())
        }
    })
}

/// A resource of the tenant at work, in use or not.
async fn scope(work: &mut Work<'_>, resource: &ScopeName) -> Result<Scope, AppError> {
    work.own(resource.tenant(), resource)?;
    Ok(match resource {
        ScopeName::Tenant(_) => work.scope(),
        ScopeName::Workspace(name) => {
            let workspace = work.workspace(&name.workspace, name).await?;
            work.workspace_scope(&workspace)
        }
        ScopeName::Project(name) => {
            let project = projects::find(work, name).await?;
            Scope::Project(project.tenant, project.workspace, project.id)
        }
    })
}

/// The roles that the tenant can give and that hold a permission, fewest permissions first; and those who could bind one of
/// them on a scope, by a role of theirs that lets them bind and holds all that it gives.
async fn ways(
    work: &mut Work<'_>,
    permission: Permission,
    scope: Scope,
) -> Result<(Vec<RoleName>, Vec<String>), AppError> {
    let all = roles::all(work).await?;
    let gives = |role: &&NamedRole| role.role() != Role::Operator.into() && role.permissions().has(permission);
    let mut giving: Vec<&NamedRole> = all.iter().filter(gives).collect();
    giving.sort_by_key(|role| role.permissions().iter().count());
    let suffices = |held: &&NamedRole| {
        let all = held.permissions();
        all.has(Permission::BindingsWrite) && giving.iter().any(|role| role.permissions().without(all).is_empty())
    };
    let mut found = Vec::new();
    for role in all.iter().filter(suffices) {
        let of_role = store::bindings::of_role(&mut work.tx, work.tenant.id, role.role(), LOOKED_AT).await?;
        found.extend(of_role.into_iter().filter(|binding| binding.scope.covers(scope)));
    }
    let names = bindings::names(work, &found).await?;
    let mut seen = BTreeSet::new();
    let granters = found.iter().map(|binding| names.of(binding.member)).filter(|name| seen.insert(name.clone()));
    Ok((giving.into_iter().map(NamedRole::name).collect(), granters.take(MAX_GRANTERS).collect()))
}
