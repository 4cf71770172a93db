//! What messages of service accounts mean.

use std::time::Duration;

use super::{
    parse::{self, FieldError, invalid},
    tenants::{STATES, standing},
};
use crate::{
    app::service_accounts::{
        CreateServiceAccount, CreateToken, EditServiceAccount, GetServiceAccount, IssuedToken, ListServiceAccounts,
        NamedServiceAccount,
    },
    domain::{
        lifecycle::{Edit, Update},
        listing::{Field, Kind, WORDS},
        names::ServiceAccountName,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of service accounts can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&STATES), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// Fields of a service account that never change, or only by other calls.
const FIXED: &[&str] = &["name", "state", "create_time", "etag", "delete_time"];

/// How long a token is valid, in seconds: when the caller does not say, and the bounds.
const DEFAULT_TTL: i64 = 3600;
const MIN_TTL: i64 = 60;
const MAX_TTL: i64 = 86_400;

impl From<NamedServiceAccount> for pb::ServiceAccount {
    fn from(named: NamedServiceAccount) -> Self {
        Self {
            name: named.name.to_string(),
            display_name: named.account.display_name,
            state: standing(named.account.state, named.account.deleted),
            create_time: Some(parse::to_wire(named.account.created)),
            etag: parse::etag(named.account.version),
            spiffe_id: named.account.spiffe_id.map(String::from).unwrap_or_default(),
            delete_time: named.account.deleted.map(parse::to_wire),
        }
    }
}

impl TryFrom<pb::CreateServiceAccountRequest> for CreateServiceAccount {
    type Error = FieldError;

    fn try_from(request: pb::CreateServiceAccountRequest) -> Result<Self, FieldError> {
        let slug = parse::required("service_account_id", &request.service_account_id)?;
        let account = request.service_account.unwrap_or_default();
        if !account.spiffe_id.is_empty() {
            return Err(invalid("service_account.spiffe_id", "is given to an account that is there: by an update"));
        }
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("service_account.display_name", account.display_name, &slug)?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateServiceAccountRequest> for EditServiceAccount {
    type Error = FieldError;

    fn try_from(request: pb::UpdateServiceAccountRequest) -> Result<Self, FieldError> {
        let account = parse::present("service_account", request.service_account)?;
        let name: ServiceAccountName = parse::required("service_account.name", &account.name)?;
        let set = [("display_name", !account.display_name.is_empty()), ("spiffe_id", !account.spiffe_id.is_empty())];
        let [renamed, certified] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name =
            parse::display_name("service_account.display_name", account.display_name, &name.service_account)?;
        let spiffe_id = match account.spiffe_id.as_str() {
            "" => None,
            id => Some(parse::required("service_account.spiffe_id", id)?),
        };
        let edit = Edit::Update(Box::new(Update {
            display_name: renamed.then_some(display_name),
            spiffe_id: certified.then_some(spiffe_id),
            ..Update::default()
        }));
        Ok(Self { version: parse::version(&account.etag), edit, name })
    }
}

impl TryFrom<pb::CreateServiceAccountTokenRequest> for CreateToken {
    type Error = FieldError;

    fn try_from(request: pb::CreateServiceAccountTokenRequest) -> Result<Self, FieldError> {
        let seconds = match request.ttl_seconds {
            0 => DEFAULT_TTL,
            asked => parse::within("ttl_seconds", asked, MIN_TTL, MAX_TTL)?,
        };
        Ok(Self { name: parse::required("name", &request.name)?, ttl: Duration::from_secs(seconds.unsigned_abs()) })
    }
}

impl From<IssuedToken> for pb::CreateServiceAccountTokenResponse {
    fn from(issued: IssuedToken) -> Self {
        Self { access_token: issued.token, expire_time: Some(parse::to_wire(issued.expires)) }
    }
}

asks_by_name! {
    GetServiceAccountRequest => GetServiceAccount;
}

asks_for_edit! {
    EditServiceAccount {
        SuspendServiceAccountRequest => Edit::Suspend;
        ReactivateServiceAccountRequest => Edit::Reactivate;
    }
    with etag {
        DeleteServiceAccountRequest => Edit::Delete;
        UndeleteServiceAccountRequest => Edit::Undelete;
    }
}

intended!(UpdateServiceAccountRequest, DeleteServiceAccountRequest, UndeleteServiceAccountRequest);

asks_for_listing! {
    ListServiceAccountsRequest => ListServiceAccounts by FIELDS, show_deleted;
}

answers_one! {
    NamedServiceAccount as service_account: read GetServiceAccountResponse;
    changed CreateServiceAccountResponse, UpdateServiceAccountResponse, SuspendServiceAccountResponse,
        ReactivateServiceAccountResponse, DeleteServiceAccountResponse, UndeleteServiceAccountResponse;
}

answers_page!(NamedServiceAccount as service_accounts: ListServiceAccountsResponse);
