//! Use cases of workspaces.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, caller::Caller, context::Audit};
use crate::{
    domain::{
        change::Change,
        names::{Slug, TenantName, WorkspaceName},
        permission::Permission,
        tenants::{Lifecycle, Tenant},
        workspaces::Workspace,
    },
    store::{self, Inserted, Page},
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
    /// Which page.
    pub page: Page,
}

/// Asks for a workspace to be suspended or reactivated.
#[derive(Debug)]
pub struct SetWorkspaceState {
    /// Which.
    pub name: WorkspaceName,
    /// The state it is to be in.
    pub state: Lifecycle,
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
    let workspace = Workspace {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: asked.slug,
        display_name: asked.display_name,
        environment: asked.environment,
        state: Lifecycle::Active,
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

/// Reads a workspace.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetWorkspace) -> Result<NamedWorkspace, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    let workspace = work.workspace(&asked.name.workspace, &asked.name).await?;
    work.require(Permission::WorkspacesRead, work.workspace_scope(&workspace))?;
    Ok(NamedWorkspace { tenant: work.tenant, workspace })
}

/// Lists the workspaces of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListWorkspaces) -> Result<Listed<NamedWorkspace>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::WorkspacesRead, work.scope())?;
    let rows = store::workspaces::list(&mut work.tx, work.tenant.id, &asked.page).await?;
    let listed = Listed::new(rows, &asked.page, |workspace| workspace.id.to_string());
    Ok(listed.map(|workspace| NamedWorkspace { tenant: work.tenant.clone(), workspace }))
}

/// Suspends or reactivates a workspace.
pub async fn set_state(
    app: Arc<App>,
    caller: Caller,
    asked: SetWorkspaceState,
) -> Result<Changed<NamedWorkspace>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let before = work.workspace(&asked.name.workspace, &asked.name).await?;
    work.require(Permission::WorkspacesWrite, work.workspace_scope(&before))?;
    let tenant = work.tenant.clone();
    if before.state == asked.state {
        return Ok(Changed { record: NamedWorkspace { tenant, workspace: before }, revision: work.unchanged() });
    }
    let after = Workspace { state: asked.state, version: before.version + 1, ..before.clone() };
    store::workspaces::update(&mut work.tx, &after).await?;
    work.emit(Change::Workspace(after.clone()));
    let action = match asked.state {
        Lifecycle::Suspended => "workspaces.suspend",
        Lifecycle::Active => "workspaces.reactivate",
    };
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedWorkspace { tenant, workspace: after }, revision })
}
