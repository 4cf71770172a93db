//! `IdentityService`.

use tonic::Request;

use super::services::{Answer, Management};
use crate::{
    app::{
        headcounts, invitations, joining, memberships, ownership, projects, removals, service_account_keys,
        service_accounts, teams, tenants, users, workspaces,
    },
    pb::tollreeve::v1::{identity_service_server::IdentityService, *},
};

#[tonic::async_trait]
impl IdentityService for Management {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Answer<CreateTenantResponse> {
        self.run_intended(request, tenants::create).await
    }

    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Answer<GetTenantResponse> {
        self.run(request, tenants::get).await
    }

    async fn list_tenants(&self, request: Request<ListTenantsRequest>) -> Answer<ListTenantsResponse> {
        self.run(request, tenants::list).await
    }

    async fn update_tenant(&self, request: Request<UpdateTenantRequest>) -> Answer<UpdateTenantResponse> {
        self.run_intended(request, tenants::edit).await
    }

    async fn delete_tenant(&self, request: Request<DeleteTenantRequest>) -> Answer<DeleteTenantResponse> {
        self.run_intended(request, tenants::edit).await
    }

    async fn undelete_tenant(&self, request: Request<UndeleteTenantRequest>) -> Answer<UndeleteTenantResponse> {
        self.run_intended(request, tenants::edit).await
    }

    async fn purge_tenant(&self, request: Request<PurgeTenantRequest>) -> Answer<PurgeTenantResponse> {
        self.run_intended(request, tenants::purge).await
    }

    async fn suspend_tenant(&self, request: Request<SuspendTenantRequest>) -> Answer<SuspendTenantResponse> {
        self.run(request, tenants::edit).await
    }

    async fn reactivate_tenant(&self, request: Request<ReactivateTenantRequest>) -> Answer<ReactivateTenantResponse> {
        self.run(request, tenants::edit).await
    }

    async fn create_workspace(&self, request: Request<CreateWorkspaceRequest>) -> Answer<CreateWorkspaceResponse> {
        self.run_intended(request, workspaces::create).await
    }

    async fn get_workspace(&self, request: Request<GetWorkspaceRequest>) -> Answer<GetWorkspaceResponse> {
        self.run(request, workspaces::get).await
    }

    async fn list_workspaces(&self, request: Request<ListWorkspacesRequest>) -> Answer<ListWorkspacesResponse> {
        self.run(request, workspaces::list).await
    }

    async fn update_workspace(&self, request: Request<UpdateWorkspaceRequest>) -> Answer<UpdateWorkspaceResponse> {
        self.run_intended(request, workspaces::edit).await
    }

    async fn delete_workspace(&self, request: Request<DeleteWorkspaceRequest>) -> Answer<DeleteWorkspaceResponse> {
        self.run_intended(request, workspaces::edit).await
    }

    async fn undelete_workspace(
        &self,
        request: Request<UndeleteWorkspaceRequest>,
    ) -> Answer<UndeleteWorkspaceResponse> {
        self.run_intended(request, workspaces::edit).await
    }

    async fn suspend_workspace(&self, request: Request<SuspendWorkspaceRequest>) -> Answer<SuspendWorkspaceResponse> {
        self.run(request, workspaces::edit).await
    }

    async fn reactivate_workspace(
        &self,
        request: Request<ReactivateWorkspaceRequest>,
    ) -> Answer<ReactivateWorkspaceResponse> {
        self.run(request, workspaces::edit).await
    }

    async fn create_project(&self, request: Request<CreateProjectRequest>) -> Answer<CreateProjectResponse> {
        self.run_intended(request, projects::create).await
    }

    async fn get_project(&self, request: Request<GetProjectRequest>) -> Answer<GetProjectResponse> {
        self.run(request, projects::get).await
    }

    async fn list_projects(&self, request: Request<ListProjectsRequest>) -> Answer<ListProjectsResponse> {
        self.run(request, projects::list).await
    }

    async fn update_project(&self, request: Request<UpdateProjectRequest>) -> Answer<UpdateProjectResponse> {
        self.run_intended(request, projects::edit).await
    }

    async fn suspend_project(&self, request: Request<SuspendProjectRequest>) -> Answer<SuspendProjectResponse> {
        self.run(request, projects::edit).await
    }

    async fn reactivate_project(
        &self,
        request: Request<ReactivateProjectRequest>,
    ) -> Answer<ReactivateProjectResponse> {
        self.run(request, projects::edit).await
    }

    async fn delete_project(&self, request: Request<DeleteProjectRequest>) -> Answer<DeleteProjectResponse> {
        self.run_intended(request, projects::edit).await
    }

    async fn undelete_project(&self, request: Request<UndeleteProjectRequest>) -> Answer<UndeleteProjectResponse> {
        self.run_intended(request, projects::edit).await
    }

    async fn create_team(&self, request: Request<CreateTeamRequest>) -> Answer<CreateTeamResponse> {
        self.run(request, teams::create).await
    }

    async fn get_team(&self, request: Request<GetTeamRequest>) -> Answer<GetTeamResponse> {
        self.run(request, teams::get).await
    }

    async fn list_teams(&self, request: Request<ListTeamsRequest>) -> Answer<ListTeamsResponse> {
        self.run(request, teams::list).await
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Answer<CreateUserResponse> {
        self.run(request, users::create).await
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Answer<GetUserResponse> {
        self.run(request, users::get).await
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Answer<ListUsersResponse> {
        self.run(request, users::list).await
    }

    async fn suspend_user(&self, request: Request<SuspendUserRequest>) -> Answer<SuspendUserResponse> {
        self.run(request, users::set_state).await
    }

    async fn reactivate_user(&self, request: Request<ReactivateUserRequest>) -> Answer<ReactivateUserResponse> {
        self.run(request, users::set_state).await
    }

    async fn create_invitation(&self, request: Request<CreateInvitationRequest>) -> Answer<CreateInvitationResponse> {
        self.run_intended(request, invitations::create).await
    }

    async fn batch_create_invitations(
        &self,
        request: Request<BatchCreateInvitationsRequest>,
    ) -> Answer<BatchCreateInvitationsResponse> {
        self.run_intended(request, invitations::batch_create).await
    }

    async fn get_invitation(&self, request: Request<GetInvitationRequest>) -> Answer<GetInvitationResponse> {
        self.run(request, invitations::get).await
    }

    async fn list_invitations(&self, request: Request<ListInvitationsRequest>) -> Answer<ListInvitationsResponse> {
        self.run(request, invitations::list).await
    }

    async fn resend_invitation(&self, request: Request<ResendInvitationRequest>) -> Answer<ResendInvitationResponse> {
        self.run_intended(request, invitations::resend).await
    }

    async fn cancel_invitation(&self, request: Request<CancelInvitationRequest>) -> Answer<CancelInvitationResponse> {
        self.run_intended(request, invitations::cancel).await
    }

    async fn accept_invitation(&self, request: Request<AcceptInvitationRequest>) -> Answer<AcceptInvitationResponse> {
        self.run_public(request, joining::accept).await
    }

    async fn transfer_ownership(
        &self,
        request: Request<TransferOwnershipRequest>,
    ) -> Answer<TransferOwnershipResponse> {
        self.run_intended(request, ownership::transfer).await
    }

    async fn update_team(&self, request: Request<UpdateTeamRequest>) -> Answer<UpdateTeamResponse> {
        self.run_intended(request, teams::update).await
    }

    async fn delete_team(&self, request: Request<DeleteTeamRequest>) -> Answer<DeleteTeamResponse> {
        self.run_intended(request, teams::delete).await
    }

    async fn add_team_members(&self, request: Request<AddTeamMembersRequest>) -> Answer<AddTeamMembersResponse> {
        self.run_intended(request, memberships::change).await
    }

    async fn remove_team_members(
        &self,
        request: Request<RemoveTeamMembersRequest>,
    ) -> Answer<RemoveTeamMembersResponse> {
        self.run_intended(request, memberships::change).await
    }

    async fn list_team_members(&self, request: Request<ListTeamMembersRequest>) -> Answer<ListTeamMembersResponse> {
        self.run(request, memberships::list).await
    }

    async fn summarize_teams(&self, request: Request<SummarizeTeamsRequest>) -> Answer<SummarizeTeamsResponse> {
        self.run(request, headcounts::teams).await
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Answer<UpdateUserResponse> {
        self.run_intended(request, users::update).await
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Answer<DeleteUserResponse> {
        self.run_intended(request, removals::delete).await
    }

    async fn change_user_role(&self, request: Request<ChangeUserRoleRequest>) -> Answer<ChangeUserRoleResponse> {
        self.run_intended(request, ownership::change_role).await
    }

    async fn batch_create_users(&self, request: Request<BatchCreateUsersRequest>) -> Answer<BatchCreateUsersResponse> {
        self.run_intended(request, users::create_many).await
    }

    async fn batch_delete_users(&self, request: Request<BatchDeleteUsersRequest>) -> Answer<BatchDeleteUsersResponse> {
        self.run_intended(request, removals::delete_many).await
    }

    async fn batch_suspend_users(
        &self,
        request: Request<BatchSuspendUsersRequest>,
    ) -> Answer<BatchSuspendUsersResponse> {
        self.run_intended(request, users::set_states).await
    }

    async fn batch_reactivate_users(
        &self,
        request: Request<BatchReactivateUsersRequest>,
    ) -> Answer<BatchReactivateUsersResponse> {
        self.run_intended(request, users::set_states).await
    }

    async fn summarize_users(&self, request: Request<SummarizeUsersRequest>) -> Answer<SummarizeUsersResponse> {
        self.run(request, headcounts::users).await
    }

    async fn create_service_account(
        &self,
        request: Request<CreateServiceAccountRequest>,
    ) -> Answer<CreateServiceAccountResponse> {
        self.run(request, service_accounts::create).await
    }

    async fn get_service_account(
        &self,
        request: Request<GetServiceAccountRequest>,
    ) -> Answer<GetServiceAccountResponse> {
        self.run(request, service_accounts::get).await
    }

    async fn list_service_accounts(
        &self,
        request: Request<ListServiceAccountsRequest>,
    ) -> Answer<ListServiceAccountsResponse> {
        self.run(request, service_accounts::list).await
    }

    async fn suspend_service_account(
        &self,
        request: Request<SuspendServiceAccountRequest>,
    ) -> Answer<SuspendServiceAccountResponse> {
        self.run(request, service_accounts::edit).await
    }

    async fn reactivate_service_account(
        &self,
        request: Request<ReactivateServiceAccountRequest>,
    ) -> Answer<ReactivateServiceAccountResponse> {
        self.run(request, service_accounts::edit).await
    }

    async fn create_service_account_token(
        &self,
        request: Request<CreateServiceAccountTokenRequest>,
    ) -> Answer<CreateServiceAccountTokenResponse> {
        self.run(request, service_accounts::create_token).await
    }

    async fn update_service_account(
        &self,
        request: Request<UpdateServiceAccountRequest>,
    ) -> Answer<UpdateServiceAccountResponse> {
        self.run_intended(request, service_accounts::edit).await
    }

    async fn delete_service_account(
        &self,
        request: Request<DeleteServiceAccountRequest>,
    ) -> Answer<DeleteServiceAccountResponse> {
        self.run_intended(request, service_accounts::edit).await
    }

    async fn undelete_service_account(
        &self,
        request: Request<UndeleteServiceAccountRequest>,
    ) -> Answer<UndeleteServiceAccountResponse> {
        self.run_intended(request, service_accounts::edit).await
    }
    async fn add_service_account_key(
        &self,
        request: Request<AddServiceAccountKeyRequest>,
    ) -> Answer<AddServiceAccountKeyResponse> {
        self.run_intended(request, service_account_keys::add).await
    }

    async fn list_service_account_keys(
        &self,
        request: Request<ListServiceAccountKeysRequest>,
    ) -> Answer<ListServiceAccountKeysResponse> {
        self.run(request, service_account_keys::list).await
    }

    async fn delete_service_account_key(
        &self,
        request: Request<DeleteServiceAccountKeyRequest>,
    ) -> Answer<DeleteServiceAccountKeyResponse> {
        self.run_intended(request, service_account_keys::delete).await
    }
}
