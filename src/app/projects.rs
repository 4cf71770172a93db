//! Use cases of projects.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, budgets,
    caller::Caller,
    context::{Audit, undeleted},
    listing::Paging,
};
use crate::{
    domain::{
        bindings::Scope,
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        change::Change,
        lifecycle::Edit,
        names::{ProjectName, Slug, WorkspaceName},
        permission::Permission,
        policies::BudgetTerms,
        projects::Project,
        tenants::Lifecycle,
    },
    store::{self, Inserted, listing::Listing},
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
    /// The budget that it begins with; `None`: what the workspace lays down.
    pub budget: Option<BudgetTerms>,
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
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a project to be changed as a whole.
#[derive(Debug)]
pub struct EditProject {
    /// Which.
    pub name: ProjectName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// What is to be done.
    pub edit: Edit,
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

/// The project with this name, for something to be made for it.
pub(super) async fn find_open(work: &mut Work<'_>, name: &ProjectName) -> Result<Project, AppError> {
    work.own(&name.tenant, name)?;
    let workspace = work.open_workspace(&name.workspace, name).await?;
    let project = work.project(&workspace, &name.project, name).await?;
    undeleted(project.deleted, name)?;
    Ok(project)
}

/// What goes on record for a new project.
#[derive(serde::Serialize)]
struct ProjectWithBudget<'a> {
    #[serde(flatten)]
    project: &'a Project,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<&'a Budget>,
}

/// Creates a project, with the budget that it begins with.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateProject) -> Result<Changed<NamedProject>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.open_workspace(&asked.parent.workspace, &asked.parent).await?;
    let scope = work.workspace_scope(&workspace);
    work.require(Permission::ProjectsWrite, scope)?;
    if asked.budget.is_some() {
        work.require(Permission::BudgetsWrite, scope)?;
    }
    if work.is_replay() {
        let project = work.project(&workspace, &asked.slug, &asked.slug).await?;
        return Ok(Changed { record: NamedProject::new(&asked.parent, project), revision: work.unchanged().await? });
    }
    let terms = asked.budget.or(workspace.policies.project_budget);
    if terms.is_none() && workspace.policies.project_budget_required {
        return Err(AppError::State(format!("{} has no project without a budget: give it one", asked.parent)));
    }
    let project = Project {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        workspace: workspace.id,
        slug: asked.slug,
        display_name: asked.display_name,
        state: Lifecycle::Active,
        deleted: None,
        created: work.now,
        version: 1,
    };
    let named = NamedProject::new(&asked.parent, project);
    if store::projects::insert(&mut work.tx, &named.project).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name.to_string()));
    }
    work.emit(Change::Project(named.project.clone()));
    let budget = match terms {
        Some(terms) => Some(begin_with(&mut work, &named.project, terms).await?),
        None => None,
    };
    let record = ProjectWithBudget { project: &named.project, budget: budget.as_ref() };
    let revision = work.commit(Audit::new("projects.create", &named.name, None, Some(&record))).await?;
    Ok(Changed { record: named, revision })
}

/// Makes the budget that a project begins with.
async fn begin_with(work: &mut Work<'_>, project: &Project, terms: BudgetTerms) -> Result<Budget, AppError> {
    let BudgetTerms { unit, window, limit, hard } = terms;
    let budget = Budget {
        id: work.app().new_id(work.now)?,
        tenant: project.tenant,
        scope: BudgetScope::Project(project.id),
        unit,
        window,
        limit,
        hard,
        credit: false,
        turns: Vec::new(),
        on_expiry: OnExpiry::default(),
        course: Course::default(),
        display_name: project.display_name.clone(),
        created: work.now,
        version: 1,
    };
    budgets::add(work, &budget).await?;
    Ok(budget)
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
    let paging = Paging::begin(&app, &format!("projects of {}", workspace.id), &asked.listing)?;
    let rows = store::projects::list(&mut work.tx, workspace.id, &asked.listing, paging.after()).await?;
    Ok(paging.end(rows).map(|project| NamedProject::new(&asked.parent, project)))
}

/// Changes a project as a whole: its name for people, whether it is in use, whether it is there.
pub async fn edit(app: Arc<App>, caller: Caller, asked: EditProject) -> Result<Changed<NamedProject>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let workspace = work.open_workspace(&asked.name.workspace, &asked.name).await?;
    let before = work.project(&workspace, &asked.name.project, &asked.name).await?;
    work.require(Permission::ProjectsWrite, Scope::Project(before.tenant, before.workspace, before.id))?;
    let Some(after) = work.edited(&asked.name, &before, asked.version, &asked.edit)? else {
        return Ok(Changed {
            record: NamedProject { name: asked.name, project: before },
            revision: work.unchanged().await?,
        });
    };
    store::projects::update(&mut work.tx, &after).await?;
    work.emit(Change::Project(after.clone()));
    let action = format!("projects.{}", asked.edit.verb());
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedProject { name: asked.name, project: after }, revision })
}
