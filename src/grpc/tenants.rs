//! What messages of tenants mean.

use super::{
    parse::{self, FieldError},
    services::Intended,
};
use crate::{
    app::tenants::{CreateTenant, EditTenant, GetTenant, ListTenants, PurgeTenant, TenantPurged},
    domain::{
        lifecycle::{Edit, Update},
        listing::{Field, Kind, WORDS},
        names::TenantName,
        tenants::{Lifecycle, Tenant},
        time::Timestamp,
    },
    pb::tollreeve::v1 as pb,
};

/// The states that lists can be filtered by.
pub(super) const STATES: [&str; 3] = ["ACTIVE", "SUSPENDED", "DELETED"];

/// What lists of tenants can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&STATES), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];
/// Fields of a tenant that never change, or only by other calls.
const FIXED: &[&str] = &["name", "state", "create_time", "etag", "delete_time"];

impl From<Lifecycle> for pb::Lifecycle {
    fn from(state: Lifecycle) -> Self {
        match state {
            Lifecycle::Active => Self::Active,
            Lifecycle::Suspended => Self::Suspended,
        }
    }
}

/// The state of a record that can be deleted.
pub(super) fn standing(state: Lifecycle, deleted: Option<Timestamp>) -> i32 {
    if deleted.is_some() { pb::Lifecycle::Deleted } else { state.into() }.into()
}

impl From<Tenant> for pb::Tenant {
    fn from(tenant: Tenant) -> Self {
        Self {
            name: tenant.name(),
            display_name: tenant.display_name,
            state: standing(tenant.state, tenant.deleted),
            create_time: Some(parse::to_wire(tenant.created)),
            etag: parse::etag(tenant.version),
            delete_time: tenant.deleted.map(parse::to_wire),
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
        let page = parse::page(request.page_size, &request.page_token)?;
        let listing = parse::listing(page, &request.filter, &request.order_by, request.show_deleted, FIELDS)?;
        Ok(Self { listing })
    }
}

impl TryFrom<pb::UpdateTenantRequest> for EditTenant {
    type Error = FieldError;

    fn try_from(request: pb::UpdateTenantRequest) -> Result<Self, FieldError> {
        let tenant = parse::present("tenant", request.tenant)?;
        let name: TenantName = parse::required("tenant.name", &tenant.name)?;
        let set = [("display_name", !tenant.display_name.is_empty())];
        let [renamed] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name = parse::display_name("tenant.display_name", tenant.display_name, &name.tenant)?;
        let edit = Edit::Update(Update { display_name: renamed.then_some(display_name), ..Update::default() });
        Ok(Self { version: parse::version(&tenant.etag), edit, name })
    }
}

impl TryFrom<pb::PurgeTenantRequest> for PurgeTenant {
    type Error = FieldError;

    fn try_from(request: pb::PurgeTenantRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl Intended for pb::PurgeTenantRequest {
    fn request_id(&self) -> &'static str {
        ""
    }

    fn validate_only(&self) -> bool {
        self.validate_only
    }
}

impl From<TenantPurged> for pb::PurgeTenantResponse {
    fn from(TenantPurged(revision): TenantPurged) -> Self {
        Self { revision }
    }
}

asks_by_name! {
    GetTenantRequest => GetTenant;
}

asks_for_edit! {
    EditTenant {
        SuspendTenantRequest => Edit::Suspend;
        ReactivateTenantRequest => Edit::Reactivate;
    }
    with etag {
        DeleteTenantRequest => Edit::Delete;
        UndeleteTenantRequest => Edit::Undelete;
    }
}

intended!(CreateTenantRequest, UpdateTenantRequest, DeleteTenantRequest, UndeleteTenantRequest);

answers_one! {
    Tenant as tenant: read GetTenantResponse;
    changed CreateTenantResponse, UpdateTenantResponse, SuspendTenantResponse, ReactivateTenantResponse,
        DeleteTenantResponse, UndeleteTenantResponse;
}

answers_page!(Tenant as tenants: ListTenantsResponse);
