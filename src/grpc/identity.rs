//! `IdentityService`.

use tonic::{Request, Response, Status};

use super::services::Management;
use crate::{
    app::{tenants, workspaces},
    pb::tollreeve::v1::{identity_service_server::IdentityService, *},
};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl IdentityService for Management {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Answer<CreateTenantResponse> {
        self.run(request, tenants::create).await
    }

    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Answer<GetTenantResponse> {
        self.run(request, tenants::get).await
    }

    async fn list_tenants(&self, request: Request<ListTenantsRequest>) -> Answer<ListTenantsResponse> {
        self.run(request, tenants::list).await
    }

    async fn suspend_tenant(&self, request: Request<SuspendTenantRequest>) -> Answer<SuspendTenantResponse> {
        self.run(request, tenants::set_state).await
    }

    async fn reactivate_tenant(&self, request: Request<ReactivateTenantRequest>) -> Answer<ReactivateTenantResponse> {
        self.run(request, tenants::set_state).await
    }

    async fn create_workspace(&self, request: Request<CreateWorkspaceRequest>) -> Answer<CreateWorkspaceResponse> {
        self.run(request, workspaces::create).await
    }

    async fn get_workspace(&self, request: Request<GetWorkspaceRequest>) -> Answer<GetWorkspaceResponse> {
        self.run(request, workspaces::get).await
    }

    async fn list_workspaces(&self, request: Request<ListWorkspacesRequest>) -> Answer<ListWorkspacesResponse> {
        self.run(request, workspaces::list).await
    }

    async fn suspend_workspace(&self, request: Request<SuspendWorkspaceRequest>) -> Answer<SuspendWorkspaceResponse> {
        self.run(request, workspaces::set_state).await
    }

    async fn reactivate_workspace(
        &self,
        request: Request<ReactivateWorkspaceRequest>,
    ) -> Answer<ReactivateWorkspaceResponse> {
        self.run(request, workspaces::set_state).await
    }
}
