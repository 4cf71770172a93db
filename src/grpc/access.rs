//! `AccessService`.

use tonic::Request;

use super::services::{Answer, Management};
use crate::{
    app::{access, bindings, reviews},
    pb::tollreeve::v1::{access_service_server::AccessService, *},
};

#[tonic::async_trait]
impl AccessService for Management {
    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Answer<ListRolesResponse> {
        self.run(request, bindings::list_roles).await
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
