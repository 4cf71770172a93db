//! What messages of workspaces mean.

use super::parse::{self, FieldError};
use crate::{
    app::{
        Changed, Listed,
        workspaces::{CreateWorkspace, GetWorkspace, ListWorkspaces, NamedWorkspace, SetWorkspaceState},
    },
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

impl TryFrom<pb::GetWorkspaceRequest> for GetWorkspace {
    type Error = FieldError;

    fn try_from(request: pb::GetWorkspaceRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)? })
    }
}

impl TryFrom<pb::ListWorkspacesRequest> for ListWorkspaces {
    type Error = FieldError;

    fn try_from(request: pb::ListWorkspacesRequest) -> Result<Self, FieldError> {
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            page: parse::page(request.page_size, &request.page_token)?,
        })
    }
}

impl TryFrom<pb::SuspendWorkspaceRequest> for SetWorkspaceState {
    type Error = FieldError;

    fn try_from(request: pb::SuspendWorkspaceRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, state: Lifecycle::Suspended })
    }
}

impl TryFrom<pb::ReactivateWorkspaceRequest> for SetWorkspaceState {
    type Error = FieldError;

    fn try_from(request: pb::ReactivateWorkspaceRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, state: Lifecycle::Active })
    }
}

impl From<Changed<NamedWorkspace>> for pb::CreateWorkspaceResponse {
    fn from(changed: Changed<NamedWorkspace>) -> Self {
        Self { workspace: Some(changed.record.into()), revision: changed.revision }
    }
}

impl From<NamedWorkspace> for pb::GetWorkspaceResponse {
    fn from(named: NamedWorkspace) -> Self {
        Self { workspace: Some(named.into()) }
    }
}

impl From<Listed<NamedWorkspace>> for pb::ListWorkspacesResponse {
    fn from(listed: Listed<NamedWorkspace>) -> Self {
        Self {
            workspaces: listed.records.into_iter().map(Into::into).collect(),
            next_page_token: parse::page_token(&listed.next),
        }
    }
}

impl From<Changed<NamedWorkspace>> for pb::SuspendWorkspaceResponse {
    fn from(changed: Changed<NamedWorkspace>) -> Self {
        Self { workspace: Some(changed.record.into()), revision: changed.revision }
    }
}

impl From<Changed<NamedWorkspace>> for pb::ReactivateWorkspaceResponse {
    fn from(changed: Changed<NamedWorkspace>) -> Self {
        Self { workspace: Some(changed.record.into()), revision: changed.revision }
    }
}
