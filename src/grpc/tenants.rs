//! What messages of tenants mean.

use super::parse::{self, FieldError};
use crate::{
    app::tenants::{CreateTenant, GetTenant, ListTenants, SetTenantState},
    domain::tenants::{Lifecycle, Tenant},
    pb::tollreeve::v1 as pb,
};

impl From<Lifecycle> for pb::Lifecycle {
    fn from(state: Lifecycle) -> Self {
        match state {
            Lifecycle::Active => Self::Active,
            Lifecycle::Suspended => Self::Suspended,
        }
    }
}

impl From<Tenant> for pb::Tenant {
    fn from(tenant: Tenant) -> Self {
        Self {
            name: tenant.name(),
            display_name: tenant.display_name,
            state: pb::Lifecycle::from(tenant.state).into(),
            create_time: Some(parse::to_wire(tenant.created)),
            etag: parse::etag(tenant.version),
        }
    }
}

impl TryFrom<pb::CreateTenantRequest> for CreateTenant {
    type Error = FieldError;

    fn try_from(request: pb::CreateTenantRequest) -> Result<Self, FieldError> {
        let slug = parse::required("tenant_id", &request.tenant_id)?;
        let tenant = request.tenant.unwrap_or_default();
        let display_name = parse::display_name("tenant.display_name", tenant.display_name, &slug)?;
        Ok(Self { slug, display_name })
    }
}

impl TryFrom<pb::ListTenantsRequest> for ListTenants {
    type Error = FieldError;

    fn try_from(request: pb::ListTenantsRequest) -> Result<Self, FieldError> {
        Ok(Self { page: parse::page(request.page_size, &request.page_token)? })
    }
}

asks_by_name! {
    GetTenantRequest => GetTenant;
    SuspendTenantRequest => SetTenantState { state: Lifecycle::Suspended };
    ReactivateTenantRequest => SetTenantState { state: Lifecycle::Active };
}

answers_one! {
    Tenant as tenant: read GetTenantResponse;
    changed CreateTenantResponse, SuspendTenantResponse, ReactivateTenantResponse;
}

answers_page!(Tenant as tenants: ListTenantsResponse);
