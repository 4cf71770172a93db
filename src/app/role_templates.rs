//! Use cases of role templates: what somebody of a kind is given when they join.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Work, access,
    bindings::{self, AskedScope, Given, NamedBinding},
    budgets::{self, NamedBudget},
    caller::Caller,
    context::Audit,
    roles,
};
use crate::{
    domain::{
        bindings::{Binding, Principal, Scope},
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        calendar::Calendar,
        key_policies::KeyPolicy,
        names::{PrincipalName, RoleName, RoleTemplateName, Slug, TenantName},
        permission::{Permission, PermissionSet},
        role_templates::{BudgetPreset, MAX_PER_TENANT, RoleTemplate},
    },
    store::{self, Inserted, names::Names},
};

/// Asks for a new role template.
#[derive(Debug)]
pub struct CreateRoleTemplate {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
    /// Whom it is for.
    pub description: String,
    /// The role.
    pub role: RoleName,
    /// What each may spend.
    pub budget: Option<BudgetPreset>,
    /// What each may do about keys of their own.
    pub key_policy: Option<KeyPolicy>,
}

/// Asks for a role template.
#[derive(Debug)]
pub struct GetRoleTemplate {
    /// Which.
    pub name: RoleTemplateName,
}

/// Asks for the role templates of a tenant.
#[derive(Debug)]
pub struct ListRoleTemplates {
    /// Of which tenant.
    pub parent: TenantName,
}

/// Asks for a role template to be changed. What it gave stays as it was given.
#[derive(Debug)]
pub struct UpdateRoleTemplate {
    /// Which.
    pub name: RoleTemplateName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// Another name for people.
    pub display_name: Option<String>,
    /// Another description.
    pub description: Option<String>,
    /// Another role.
    pub role: Option<RoleName>,
    /// Another budget, or none.
    pub budget: Option<Option<BudgetPreset>>,
    /// Another key policy, or none.
    pub key_policy: Option<Option<KeyPolicy>>,
}

/// Asks for a role template to be deleted.
#[derive(Debug)]
pub struct DeleteRoleTemplate {
    /// Which.
    pub name: RoleTemplateName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for what a role template says to be given to somebody.
#[derive(Debug)]
pub struct ApplyRoleTemplate {
    /// Which.
    pub name: RoleTemplateName,
    /// To whom.
    pub principal: PrincipalName,
    /// On what its role is bound; `None`: on the whole tenant.
    pub scope: Option<AskedScope>,
}

/// A role template under its name.
#[derive(Debug)]
pub struct NamedTemplate {
    /// The name.
    pub name: RoleTemplateName,
    /// Name of its role.
    pub role: String,
    /// The role template.
    pub template: RoleTemplate,
}

/// A role template is gone; the revision at which nobody finds it.
#[derive(Debug)]
pub struct RoleTemplateDeleted(pub i64);

/// What somebody has by a role template.
#[derive(Debug)]
pub struct Application {
    /// The binding of its role.
    pub binding: Option<NamedBinding>,
    /// The budget that it gives.
    pub budget: Option<NamedBudget>,
    /// What it says about keys.
    pub key_policy: Option<KeyPolicy>,
}

/// What somebody has of what a role template gives.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Has {
    binding: Option<Binding>,
    budget: Option<Budget>,
    key_policy: Option<KeyPolicy>,
}

/// What a role template gave, for the audit log.
#[derive(Debug, serde::Serialize)]
pub(super) struct Applied {
    template: String,
    #[serde(skip)]
    before: Has,
    #[serde(flatten)]
    after: Has,
}

impl NamedTemplate {
    fn new(tenant: &Slug, names: &Names, template: RoleTemplate) -> Self {
        let name = RoleTemplateName { tenant: tenant.clone(), template: template.slug.clone() };
        Self { name, role: names.role(template.role), template }
    }
}

async fn named(work: &mut Work<'_>, template: RoleTemplate) -> Result<NamedTemplate, AppError> {
    let names = store::names::names(&mut work.tx, vec![template.role.to_string()]).await?;
    Ok(NamedTemplate::new(&work.tenant.slug, &names, template))
}

pub(super) async fn find(work: &mut Work<'_>, name: &RoleTemplateName) -> Result<RoleTemplate, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::role_templates::by_slug(&mut work.tx, work.tenant.id, name.template.as_str()).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Insists that the caller could give what a template gives: others apply it who may give more, and trust it.
fn require(work: &Work<'_>, role: PermissionSet, budget: bool, key_policy: bool) -> Result<(), AppError> {
    work.require_all(role, work.scope(), None)?;
    if budget {
        work.require(Permission::BudgetsWrite, work.scope())?;
    }
    if key_policy {
        work.require(Permission::KeysWrite, work.scope())?;
    }
    Ok(())
}

/// Creates a role template.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(
    app: Arc<App>,
    caller: Caller,
    asked: CreateRoleTemplate,
) -> Result<Changed<NamedTemplate>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    let name = RoleTemplateName { tenant: asked.parent.tenant, template: asked.slug };
    if work.is_replay() {
        let template = find(&mut work, &name).await?;
        let record = named(&mut work, template).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let role = roles::find(&mut work, &asked.role).await?;
    require(&work, role.permissions(), asked.budget.is_some(), asked.key_policy.is_some())?;
    if store::role_templates::of_tenant(&mut work.tx, work.tenant.id).await?.len() >= MAX_PER_TENANT {
        return Err(AppError::State(format!("there are {MAX_PER_TENANT} role templates, which is the most")));
    }
    let template = RoleTemplate {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: name.template.clone(),
        display_name: asked.display_name,
        description: asked.description,
        role: role.role(),
        budget: asked.budget,
        key_policy: asked.key_policy,
        created: work.now,
        version: 1,
    };
    if store::role_templates::insert(&mut work.tx, &template).await? == Inserted::Exists {
        return Err(AppError::Exists(name.to_string()));
    }
    let record = named(&mut work, template).await?;
    let revision = work.commit(Audit::new("roleTemplates.create", &name, None, Some(&record.template))).await?;
    Ok(Changed { record, revision })
}

/// Reads a role template.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetRoleTemplate) -> Result<NamedTemplate, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::RolesRead, work.scope())?;
    let template = find(&mut work, &asked.name).await?;
    named(&mut work, template).await
}

/// Lists the role templates of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListRoleTemplates) -> Result<Vec<NamedTemplate>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::RolesRead, work.scope())?;
    let all = store::role_templates::of_tenant(&mut work.tx, work.tenant.id).await?;
    let names = store::names::names(&mut work.tx, all.iter().map(|one| one.role.to_string()).collect()).await?;
    Ok(all.into_iter().map(|template| NamedTemplate::new(&work.tenant.slug, &names, template)).collect())
}

/// Changes a role template. Whoever changes it could give what it gives, before and after.
pub async fn update(
    app: Arc<App>,
    caller: Caller,
    asked: UpdateRoleTemplate,
) -> Result<Changed<NamedTemplate>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    let role = match &asked.role {
        Some(name) => roles::find(&mut work, name).await?.role(),
        None => before.role,
    };
    let mut after = RoleTemplate {
        display_name: asked.display_name.unwrap_or_else(|| before.display_name.clone()),
        description: asked.description.unwrap_or_else(|| before.description.clone()),
        role,
        budget: asked.budget.unwrap_or(before.budget),
        key_policy: asked.key_policy.unwrap_or_else(|| before.key_policy.clone()),
        ..before.clone()
    };
    for template in [&before, &after] {
        let permissions = store::roles::permissions(&mut work.tx, template.role).await?;
        require(&work, permissions, template.budget.is_some(), template.key_policy.is_some())?;
    }
    let replayed = work.is_replay();
    if !replayed && asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if replayed || after == before {
        let record = named(&mut work, before).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    after.version += 1;
    store::role_templates::update(&mut work.tx, &after).await?;
    let record = named(&mut work, after).await?;
    let audit = Audit::new("roleTemplates.update", &asked.name, Some(&before), Some(&record.template));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Deletes a role template. What it gave stays.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteRoleTemplate) -> Result<RoleTemplateDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::RolesWrite, work.scope())?;
    if work.is_replay() {
        return Ok(RoleTemplateDeleted(work.unchanged().await?));
    }
    let template = find(&mut work, &asked.name).await?;
    if asked.version.is_some_and(|version| version != template.version) {
        return Err(AppError::Etag);
    }
    store::role_templates::delete(&mut work.tx, template.id).await?;
    let audit = Audit::new("roleTemplates.delete", &asked.name, Some(&template), None);
    Ok(RoleTemplateDeleted(work.commit(audit).await?))
}

/// Gives somebody what a role template says: all of it or nothing. What they have of it already changes nothing.
pub async fn apply(app: Arc<App>, caller: Caller, asked: ApplyRoleTemplate) -> Result<Changed<Application>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let scope = match &asked.scope {
        Some(scope) => bindings::find_scope(&mut work, scope).await?,
        None => work.scope(),
    };
    work.require(Permission::BindingsWrite, scope)?;
    let (principal, _) = access::find_principal(&mut work, &asked.principal).await?;
    let Applied { template, before, after } = give(&mut work, &asked.name, principal, scope).await?;
    let changed = before != after;
    if changed && work.is_replay() {
        return Err(AppError::State(format!("{} no longer has what they were given then", asked.principal)));
    }
    let record = application(&mut work, &after).await?;
    let revision = if changed {
        let audit = Audit::new("roleTemplates.apply", &asked.principal, Some(&before), Some(&after));
        work.commit(audit.because(template)).await?
    } else {
        work.unchanged().await?
    };
    Ok(Changed { record, revision })
}

async fn application(work: &mut Work<'_>, has: &Has) -> Result<Application, AppError> {
    let names = bindings::names(work, has.binding.as_slice()).await?;
    let tenant = work.tenant.slug.clone();
    let budget = match has.budget.clone() {
        Some(budget) => Some(budgets::named(work, budget).await?),
        None => None,
    };
    let binding = has.binding.map(|binding| NamedBinding::new(&tenant, &names, binding));
    Ok(Application { binding, budget, key_policy: has.key_policy.clone() })
}

/// Gives somebody what a role template says, with the caller's permissions for each part of it: its role on a scope, its
/// budget, its key policy.
pub(super) async fn give(
    work: &mut Work<'_>,
    name: &RoleTemplateName,
    principal: Principal,
    scope: Scope,
) -> Result<Applied, AppError> {
    let template = find(work, name).await?;
    let permissions = store::roles::permissions(&mut work.tx, template.role).await?;
    work.require_all(permissions, scope, None)?;
    let binding = Binding {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        role: template.role,
        member: principal.into(),
        scope,
        created: work.now,
        expires: None,
    };
    let (mut before, mut after) = (Has::default(), Has::default());
    let given = bindings::give(work, &binding).await?;
    after.binding = Some(*given.binding());
    if let Given::Before(_) = given {
        before.binding = after.binding;
    }
    if let Some(preset) = template.budget {
        (before.budget, after.budget) = set_budget(work, &template.display_name, preset, principal).await?;
    }
    if let Some(policy) = template.key_policy {
        work.require(Permission::KeysWrite, work.scope())?;
        before.key_policy = store::role_templates::key_policy(&mut work.tx, principal).await?;
        if before.key_policy.as_ref() != Some(&policy) {
            store::role_templates::set_key_policy(&mut work.tx, work.tenant.id, principal, &policy).await?;
        }
        after.key_policy = Some(policy);
    }
    Ok(Applied { template: name.to_string(), before, after })
}

/// Gives somebody a budget of their own: the one that they have of this kind gets its limit. The budget before and after.
async fn set_budget(
    work: &mut Work<'_>,
    display_name: &str,
    preset: BudgetPreset,
    principal: Principal,
) -> Result<(Option<Budget>, Option<Budget>), AppError> {
    work.require(Permission::BudgetsWrite, work.scope())?;
    let scope = match principal {
        Principal::User(id) => BudgetScope::User(id),
        Principal::ServiceAccount(id) => BudgetScope::ServiceAccount(id),
    };
    let BudgetPreset { limit, unit, window, hard } = preset;
    let known = store::budgets::of_scope(&mut work.tx, work.tenant.id, &scope).await?;
    let same = known.into_iter().find(|b| (b.unit, b.calendar(), b.hard) == (unit, Calendar::utc(window), hard));
    match same {
        Some(budget) if budget.limit == limit => Ok((Some(budget.clone()), Some(budget))),
        Some(budget) => {
            let after = budgets::limit(work, &budget, limit).await?;
            Ok((Some(budget), Some(after)))
        }
        None => {
            let budget = Budget {
                id: work.app().new_id(work.now)?,
                tenant: work.tenant.id,
                scope,
                unit,
                window,
                limit,
                hard,
                credit: false,
                turns: Vec::new(),
                on_expiry: OnExpiry::default(),
                course: Course::default(),
                display_name: display_name.to_owned(),
                created: work.now,
                version: 1,
            };
            budgets::add(work, &budget).await?;
            Ok((None, Some(budget)))
        }
    }
}
