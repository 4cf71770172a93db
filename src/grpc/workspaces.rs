//! What messages of workspaces mean.

use super::parse::{self, FieldError};
use crate::{
    app::workspaces::{CreateWorkspace, GetWorkspace, ListWorkspaces, NamedWorkspace, SetWorkspaceState},
    domain::tenants::Lifecycle,
    pb::tollreeve::v1 as pb,
};

impl From<NamedWorkspace> for pb::Workspace {
    fn from(named: NamedWorkspace) -> Self {
        Self {
            name: named.name().to_string(),
            key_prefix: named.workspace.key_prefix(),
            display_name: named.workspace.display_name,
            environment: named.workspace.environment.to_string(),
            state: pb::Lifecycle::from(named.workspace.state).into(),
            create_time: Some(parse::to_wire(named.workspace.created)),
            etag: parse::etag(named.workspace.version),
        }
    }
}

impl TryFrom<pb::CreateWorkspaceRequest> for CreateWorkspace {
    type Error = FieldError;

    fn try_from(request: pb::CreateWorkspaceRequest) -> Result<Self, FieldError> {
        let slug = parse::required("workspace_id", &request.workspace_id)?;
        let workspace = parse::present("workspace", request.workspace)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("workspace.display_name", workspace.display_name, &slug)?,
            environment: parse::required("workspace.environment", &workspace.environment)?,
            slug,
        })
    }
}

asks_by_name! {
    GetWorkspaceRequest => GetWorkspace;
    SuspendWorkspaceRequest => SetWorkspaceState { state: Lifecycle::Suspended };
    ReactivateWorkspaceRequest => SetWorkspaceState { state: Lifecycle::Active };
}

asks_for_page! {
    ListWorkspacesRequest => ListWorkspaces;
}

answers_one! {
    NamedWorkspace as workspace: read GetWorkspaceResponse;
    changed CreateWorkspaceResponse, SuspendWorkspaceResponse, ReactivateWorkspaceResponse;
}

answers_page!(NamedWorkspace as workspaces: ListWorkspacesResponse);
