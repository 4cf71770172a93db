//! `AccessService`.

use tonic::Request;

use super::services::{Answer, Management};
use crate::{
    app::{access, bindings, reviews, role_templates, roles, seats},
    pb::tollreeve::v1::{access_service_server::AccessService, *},
};

#[tonic::async_trait]
impl AccessService for Management {
    async fn list_permissions(&self, request: Request<ListPermissionsRequest>) -> Answer<ListPermissionsResponse> {
        self.run(request, roles::list_permissions).await
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Answer<ListRolesResponse> {
        self.run(request, roles::list).await
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Answer<GetRoleResponse> {
        self.run(request, roles::get).await
    }

    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Answer<CreateRoleResponse> {
        self.run_intended(request, roles::create).await
    }

    async fn update_role(&self, request: Request<UpdateRoleRequest>) -> Answer<UpdateRoleResponse> {
        self.run_intended(request, roles::update).await
    }

    async fn delete_role(&self, request: Request<DeleteRoleRequest>) -> Answer<DeleteRoleResponse> {
        self.run_intended(request, roles::delete).await
    }

    async fn create_role_template(
        &self,
        request: Request<CreateRoleTemplateRequest>,
    ) -> Answer<CreateRoleTemplateResponse> {
        self.run_intended(request, role_templates::create).await
    }

    async fn get_role_template(&self, request: Request<GetRoleTemplateRequest>) -> Answer<GetRoleTemplateResponse> {
        self.run(request, role_templates::get).await
    }

    async fn list_role_templates(
        &self,
        request: Request<ListRoleTemplatesRequest>,
    ) -> Answer<ListRoleTemplatesResponse> {
        self.run(request, role_templates::list).await
    }

    async fn update_role_template(
        &self,
        request: Request<UpdateRoleTemplateRequest>,
    ) -> Answer<UpdateRoleTemplateResponse> {
        self.run_intended(request, role_templates::update).await
    }

    async fn delete_role_template(
        &self,
        request: Request<DeleteRoleTemplateRequest>,
    ) -> Answer<DeleteRoleTemplateResponse> {
        self.run_intended(request, role_templates::delete).await
    }

    async fn apply_role_template(
        &self,
        request: Request<ApplyRoleTemplateRequest>,
    ) -> Answer<ApplyRoleTemplateResponse> {
        self.run_intended(request, role_templates::apply).await
    }

    async fn get_seats(&self, request: Request<GetSeatsRequest>) -> Answer<GetSeatsResponse> {
        self.run(request, seats::get).await
    }

    async fn update_seats(&self, request: Request<UpdateSeatsRequest>) -> Answer<UpdateSeatsResponse> {
        self.run_intended(request, seats::update).await
    }

    async fn create_binding(&self, request: Request<CreateBindingRequest>) -> Answer<CreateBindingResponse> {
        self.run(request, bindings::create).await
    }

    async fn list_bindings(&self, request: Request<ListBindingsRequest>) -> Answer<ListBindingsResponse> {
        self.run(request, bindings::list).await
    }

    async fn delete_binding(&self, request: Request<DeleteBindingRequest>) -> Answer<DeleteBindingResponse> {
        self.run(request, bindings::delete).await
    }

    async fn get_binding(&self, request: Request<GetBindingRequest>) -> Answer<GetBindingResponse> {
        self.run(request, bindings::get).await
    }

    async fn check_access(&self, request: Request<CheckAccessRequest>) -> Answer<CheckAccessResponse> {
        self.run(request, access::check).await
    }

    async fn batch_check_access(&self, request: Request<BatchCheckAccessRequest>) -> Answer<BatchCheckAccessResponse> {
        self.run(request, access::check).await
    }

    async fn list_effective_permissions(
        &self,
        request: Request<ListEffectivePermissionsRequest>,
    ) -> Answer<ListEffectivePermissionsResponse> {
        self.run(request, access::list_permissions).await
    }

    async fn review_access(&self, request: Request<ReviewAccessRequest>) -> Answer<ReviewAccessResponse> {
        self.run(request, reviews::review).await
    }
}
