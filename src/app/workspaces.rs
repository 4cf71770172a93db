//! Use cases of workspaces.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, listing::Paging, teams};
use crate::{
    domain::{
        change::Change,
        lifecycle::Edit,
        names::{Slug, TeamName, TenantName, WorkspaceName},
        permission::Permission,
        policies::{Policies, PolicyUpdate},
        tenants::{Lifecycle, Tenant},
        workspaces::Workspace,
    },
    store::{self, Inserted, listing::Listing},
};

/// Asks for a new workspace.
#[derive(Debug)]
pub struct CreateWorkspace {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
    /// Its environment.
    pub environment: Slug,
    /// Its policies.
    pub policies: Policies,
}

/// Asks for a workspace.
#[derive(Debug)]
pub struct GetWorkspace {
    /// Which.
    pub name: WorkspaceName,
}

/// Asks for the workspaces of a tenant.
#[derive(Debug)]
pub struct ListWorkspaces {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a workspace to be changed as a whole.
#[derive(Debug)]
pub struct EditWorkspace {
    /// Which.
    pub name: WorkspaceName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// What is to be done.
    pub edit: Edit,
}

/// A workspace and the tenant that its name begins with.
#[derive(Debug)]
pub struct NamedWorkspace {
    /// The tenant.
    pub tenant: Tenant,
    /// The workspace.
    pub workspace: Workspace,
}

impl NamedWorkspace {
    /// The workspace's name.
    #[must_use]
    pub fn name(&self) -> WorkspaceName {
        WorkspaceName { tenant: self.tenant.slug.clone(), workspace: self.workspace.slug.clone() }
    }
}

/// Creates a workspace.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(
    app: Arc<App>,
    caller: Caller,
    asked: CreateWorkspace,
) -> Result<Changed<NamedWorkspace>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::WorkspacesWrite, work.scope())?;
    if asked.policies.project_budget.is_some() || asked.policies.unknown_model_ceiling.is_some() {
        work.require(Permission::BudgetsWrite, work.scope())?;
    }
    if work.is_replay() {
        let name = WorkspaceName { tenant: asked.parent.tenant, workspace: asked.slug };
        let workspace = work.workspace(&name.workspace, &name).await?;
        return Ok(Changed {
            record: NamedWorkspace { tenant: work.tenant.clone(), workspace },
            revision: work.unchanged().await?,
        });
    }
    require_teams(&mut work, &asked.policies.invitation_teams).await?;
    let workspace = Workspace {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: asked.slug,
        display_name: asked.display_name,
        environment: asked.environment,
        policies: asked.policies,
        state: Lifecycle::Active,
        deleted: None,
        created: work.now,
        version: 1,
    };
    let named = NamedWorkspace { tenant: work.tenant.clone(), workspace };
    if store::workspaces::insert(&mut work.tx, &named.workspace).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name().to_string()));
    }
    work.emit(Change::Workspace(named.workspace.clone()));
    let audit = Audit::new("workspaces.create", &named.name(), None, Some(&named.workspace));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// Insists that teams are there when a workspace names them. They may go later: whoever needs them looks again.
async fn require_teams(work: &mut Work<'_>, names: &[TeamName]) -> Result<(), AppError> {
    for name in names {
        teams::find(work, name).await?;
    }
    Ok(())
}

/// Reads a workspace.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetWorkspace) -> Result<NamedWorkspace, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    let workspace = work.workspace(&asked.name.workspace, &asked.name).await?;
    work.require(Permission::WorkspacesRead, work.workspace_scope(&workspace))?;
    Ok(NamedWorkspace { tenant: work.tenant, workspace })
}

/// Lists the workspaces of a tenant that the caller may read.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListWorkspaces) -> Result<Listed<NamedWorkspace>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    let tenant = work.tenant.id;
    // Whoever may not read all of them may read those that were shared with them.
    let shared = work.authority().workspaces(tenant, Permission::WorkspacesRead);
    let only = match work.require(Permission::WorkspacesRead, work.scope()) {
        Ok(()) => None,
        Err(refused) if shared.is_empty() => return Err(refused),
        Err(_) => Some(shared),
    };
    let paging = Paging::begin(&app, &format!("workspaces of {tenant}"), &asked.listing)?;
    let rows = store::workspaces::list(&mut work.tx, tenant, only, &asked.listing, paging.after()).await?;
    Ok(paging.end(rows).map(|workspace| NamedWorkspace { tenant: work.tenant.clone(), workspace }))
}

/// Changes a workspace as a whole: its name for people, whether it is in use, whether it is there.
pub async fn edit(app: Arc<App>, caller: Caller, asked: EditWorkspace) -> Result<Changed<NamedWorkspace>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let before = work.workspace(&asked.name.workspace, &asked.name).await?;
    let scope = work.workspace_scope(&before);
    work.require(Permission::WorkspacesWrite, scope)?;
    if let Edit::Update(update) = &asked.edit
        && update.policies.as_ref().is_some_and(PolicyUpdate::is_about_money)
    {
        // Whoever lays budgets down makes them.
        work.require(Permission::BudgetsWrite, scope)?;
    }
    let tenant = work.tenant.clone();
    let Some(after) = work.edited(&asked.name, &before, asked.version, &asked.edit)? else {
        return Ok(Changed { record: NamedWorkspace { tenant, workspace: before }, revision: work.unchanged().await? });
    };
    if after.policies.invitation_teams != before.policies.invitation_teams {
        require_teams(&mut work, &after.policies.invitation_teams).await?;
    }
    store::workspaces::update(&mut work.tx, &after).await?;
    work.emit(Change::Workspace(after.clone()));
    let action = format!("workspaces.{}", asked.edit.verb());
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedWorkspace { tenant, workspace: after }, revision })
}
