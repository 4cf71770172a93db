//! What messages of tenants mean.

use super::{
    parse::{self, FieldError, invalid},
    services::Intended,
};
use crate::{
    app::tenants::{CreateTenant, EditTenant, GetTenant, ListTenants, PurgeTenant, TenantPurged},
    domain::{
        branding::{Branding, BrandingUpdate, is_color, is_https_url},
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
            branding: Some(tenant.branding.into()),
        }
    }
}

impl From<Branding> for pb::Branding {
    fn from(branding: Branding) -> Self {
        let Branding { display_name, logo_url, primary_color, support_contact } = branding;
        Self { display_name, logo_url, primary_color, support_contact }
    }
}

fn branding(branding: pb::Branding) -> Result<Branding, FieldError> {
    let pb::Branding { display_name, logo_url, primary_color, support_contact } = branding;
    let logo_url = parse::bounded("tenant.branding.logo_url", logo_url, 1024)?;
    if !logo_url.is_empty() && !is_https_url(&logo_url) {
        return Err(invalid("tenant.branding.logo_url", "must be a URL that begins with https://"));
    }
    if !primary_color.is_empty() && !is_color(&primary_color) {
        return Err(invalid("tenant.branding.primary_color", "must be like #1f4fd8"));
    }
    Ok(Branding {
        display_name: parse::bounded("tenant.branding.display_name", display_name, 128)?,
        support_contact: parse::bounded("tenant.branding.support_contact", support_contact, 256)?,
        logo_url,
        primary_color,
    })
}

impl TryFrom<pb::CreateTenantRequest> for CreateTenant {
    type Error = FieldError;

    fn try_from(request: pb::CreateTenantRequest) -> Result<Self, FieldError> {
        let slug = parse::required("tenant_id", &request.tenant_id)?;
        let tenant = request.tenant.unwrap_or_default();
        if tenant.branding.is_some_and(|branding| branding != pb::Branding::default()) {
            return Err(invalid("tenant.branding", "is given to a tenant that is there: by an update"));
        }
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
        let branding = branding(tenant.branding.unwrap_or_default())?;
        let set = [
            ("display_name", !tenant.display_name.is_empty()),
            ("branding.display_name", !branding.display_name.is_empty()),
            ("branding.logo_url", !branding.logo_url.is_empty()),
            ("branding.primary_color", !branding.primary_color.is_empty()),
            ("branding.support_contact", !branding.support_contact.is_empty()),
        ];
        let [renamed, known_as, logo, color, support] = parse::masked(request.update_mask, set, FIXED)?;
        let branding = BrandingUpdate {
            display_name: known_as.then_some(branding.display_name),
            logo_url: logo.then_some(branding.logo_url),
            primary_color: color.then_some(branding.primary_color),
            support_contact: support.then_some(branding.support_contact),
        };
        let display_name = parse::display_name("tenant.display_name", tenant.display_name, &name.tenant)?;
        let edit = Edit::Update(Box::new(Update {
            display_name: renamed.then_some(display_name),
            branding: Some(branding),
            ..Update::default()
        }));
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
