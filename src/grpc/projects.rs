//! What messages of projects mean.

use super::parse::{self, FieldError};
use crate::{
    app::projects::{CreateProject, GetProject, ListProjects, NamedProject},
    pb::tollreeve::v1 as pb,
};

impl From<NamedProject> for pb::Project {
    fn from(named: NamedProject) -> Self {
        Self {
            name: named.name.to_string(),
            display_name: named.project.display_name,
            create_time: Some(parse::to_wire(named.project.created)),
            etag: parse::etag(named.project.version),
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
            slug,
        })
    }
}

asks_by_name! {
    GetProjectRequest => GetProject;
}

asks_for_page! {
    ListProjectsRequest => ListProjects;
}

answers_one! {
    NamedProject as project: read GetProjectResponse;
    changed CreateProjectResponse;
}

answers_page!(NamedProject as projects: ListProjectsResponse);
