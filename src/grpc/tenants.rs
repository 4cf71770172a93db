//! What messages of tenants mean.

use super::parse::{self, FieldError};
use crate::{
    app::{
        Changed, Listed,
        tenants::{CreateTenant, GetTenant, ListTenants, SetTenantState},
    },
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

impl TryFrom<pb::GetTenantRequest> for GetTenant {
    type Error = FieldError;

    fn try_from(request: pb::GetTenantRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)? })
    }
}

impl TryFrom<pb::ListTenantsRequest> for ListTenants {
    type Error = FieldError;

    fn try_from(request: pb::ListTenantsRequest) -> Result<Self, FieldError> {
        Ok(Self { page: parse::page(request.page_size, &request.page_token)? })
    }
}

impl TryFrom<pb::SuspendTenantRequest> for SetTenantState {
    type Error = FieldError;

    fn try_from(request: pb::SuspendTenantRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, state: Lifecycle::Suspended })
    }
}

impl TryFrom<pb::ReactivateTenantRequest> for SetTenantState {
    type Error = FieldError;

    fn try_from(request: pb::ReactivateTenantRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, state: Lifecycle::Active })
    }
}

impl From<Changed<Tenant>> for pb::CreateTenantResponse {
    fn from(changed: Changed<Tenant>) -> Self {
        Self { tenant: Some(changed.record.into()), revision: changed.revision }
    }
}

impl From<Tenant> for pb::GetTenantResponse {
    fn from(tenant: Tenant) -> Self {
        Self { tenant: Some(tenant.into()) }
    }
}

impl From<Listed<Tenant>> for pb::ListTenantsResponse {
    fn from(listed: Listed<Tenant>) -> Self {
        Self {
            tenants: listed.records.into_iter().map(Into::into).collect(),
            next_page_token: parse::page_token(&listed.next),
        }
    }
}

impl From<Changed<Tenant>> for pb::SuspendTenantResponse {
    fn from(changed: Changed<Tenant>) -> Self {
        Self { tenant: Some(changed.record.into()), revision: changed.revision }
    }
}

impl From<Changed<Tenant>> for pb::ReactivateTenantResponse {
    fn from(changed: Changed<Tenant>) -> Self {
        Self { tenant: Some(changed.record.into()), revision: changed.revision }
    }
}
