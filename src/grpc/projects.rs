//! What messages of projects mean.

use super::{
    parse::{self, FieldError},
    policies::terms,
    tenants::{STATES, standing},
};
use crate::{
    app::projects::{CreateProject, EditProject, GetProject, ListProjects, NamedProject},
    domain::{
        lifecycle::{Edit, Update},
        listing::{Field, Kind, WORDS},
        names::ProjectName,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of projects can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&STATES), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];
/// Fields of a project that never change, or only by other calls.
const FIXED: &[&str] = &["name", "state", "create_time", "etag", "delete_time"];

impl From<NamedProject> for pb::Project {
    fn from(named: NamedProject) -> Self {
        Self {
            name: named.name.to_string(),
            display_name: named.project.display_name,
            create_time: Some(parse::to_wire(named.project.created)),
            etag: parse::etag(named.project.version),
            state: standing(named.project.state, named.project.deleted),
            delete_time: named.project.deleted.map(parse::to_wire),
        }
    }
}

impl TryFrom<pb::CreateProjectRequest> for CreateProject {
    type Error = FieldError;

    fn try_from(request: pb::CreateProjectRequest) -> Result<Self, FieldError> {
        let slug = parse::required("project_id", &request.project_id)?;
        let project = request.project.unwrap_or_default();
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("project.display_name", project.display_name, &slug)?,
            budget: request.budget.map(|budget| terms("budget", budget)).transpose()?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateProjectRequest> for EditProject {
    type Error = FieldError;

    fn try_from(request: pb::UpdateProjectRequest) -> Result<Self, FieldError> {
        let project = parse::present("project", request.project)?;
        let name: ProjectName = parse::required("project.name", &project.name)?;
        let set = [("display_name", !project.display_name.is_empty())];
        let [renamed] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name = parse::display_name("project.display_name", project.display_name, &name.project)?;
        let edit =
            Edit::Update(Box::new(Update { display_name: renamed.then_some(display_name), ..Update::default() }));
        Ok(Self { version: parse::version(&project.etag), edit, name })
    }
}

asks_by_name! {
    GetProjectRequest => GetProject;
}

asks_for_edit! {
    EditProject {
        SuspendProjectRequest => Edit::Suspend;
        ReactivateProjectRequest => Edit::Reactivate;
    }
    with etag {
        DeleteProjectRequest => Edit::Delete;
        UndeleteProjectRequest => Edit::Undelete;
    }
}

intended!(CreateProjectRequest, UpdateProjectRequest, DeleteProjectRequest, UndeleteProjectRequest);

asks_for_listing! {
    ListProjectsRequest => ListProjects by FIELDS, show_deleted;
}

answers_one! {
    NamedProject as project: read GetProjectResponse;
    changed CreateProjectResponse, UpdateProjectResponse, SuspendProjectResponse, ReactivateProjectResponse,
        DeleteProjectResponse, UndeleteProjectResponse;
}

answers_page!(NamedProject as projects: ListProjectsResponse);
