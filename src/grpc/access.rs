//! `AccessService`.

use tonic::Request;

use super::services::{Answer, Management};
use crate::{
    app::bindings,
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
}
