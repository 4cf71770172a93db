//! Use cases of projects.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, Work, caller::Caller, context::Audit};
use crate::{
    domain::{
        bindings::Scope,
        change::Change,
        names::{ProjectName, Slug, WorkspaceName},
        permission::Permission,
        projects::Project,
    },
    store::{self, Inserted, Page},
};

/// Asks for a new project.
#[derive(Debug)]
pub struct CreateProject {
    /// Where.
    pub parent: WorkspaceName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
}

/// Asks for a project.
#[derive(Debug)]
pub struct GetProject {
    /// Which.
    pub name: ProjectName,
}

/// Asks for the projects of a workspace.
#[derive(Debug)]
pub struct ListProjects {
    /// Of which workspace.
    pub parent: WorkspaceName,
    /// Which page.
    pub page: Page,
}

/// A project under its name.
#[derive(Debug)]
pub struct NamedProject {
    /// The name.
    pub name: ProjectName,
    /// The project.
    pub project: Project,
}

impl NamedProject {
    fn new(parent: &WorkspaceName, project: Project) -> Self {
        let name = ProjectName {
            tenant: parent.tenant.clone(),
            workspace: parent.workspace.clone(),
            project: project.slug.clone(),
        };
        Self { name, project }
    }
}

/// The project with this name, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &ProjectName) -> Result<Project, AppError> {
    work.own(&name.tenant, name)?;
    let workspace = work.workspace(&name.workspace, name).await?;
    work.project(&workspace, &name.project, name).await
}

/// Creates a project.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateProject) -> Result<Changed<NamedProject>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::ProjectsWrite, work.workspace_scope(&workspace))?;
    let project = Project {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        workspace: workspace.id,
        slug: asked.slug,
        display_name: asked.display_name,
        created: work.now,
        version: 1,
    };
    let named = NamedProject::new(&asked.parent, project);
    if store::projects::insert(&mut work.tx, &named.project).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name.to_string()));
    }
    work.emit(Change::Project(named.project.clone()));
    let revision = work.commit(Audit::new("projects.create", &named.name, None, Some(&named.project))).await?;
    Ok(Changed { record: named, revision })
}

/// Reads a project.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetProject) -> Result<NamedProject, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    let project = find(&mut work, &asked.name).await?;
    work.require(Permission::ProjectsRead, Scope::Project(project.tenant, project.workspace, project.id))?;
    Ok(NamedProject { name: asked.name, project })
}

/// Lists the projects of a workspace.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListProjects) -> Result<Listed<NamedProject>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::ProjectsRead, work.workspace_scope(&workspace))?;
    let rows = store::projects::list(&mut work.tx, workspace.id, &asked.page).await?;
    let listed = Listed::new(rows, &asked.page, |project| project.id.to_string());
    Ok(listed.map(|project| NamedProject::new(&asked.parent, project)))
}
