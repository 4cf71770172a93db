//! What messages of service accounts mean.

use std::time::Duration;

use super::parse::{self, FieldError};
use crate::{
    app::service_accounts::{
        CreateServiceAccount, CreateToken, GetServiceAccount, IssuedToken, ListServiceAccounts, NamedServiceAccount,
        SetServiceAccountState,
    },
    domain::{
        listing::{Field, Kind, WORDS},
        tenants::Lifecycle,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of service accounts can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&["ACTIVE", "SUSPENDED"]), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// How long a token is valid, in seconds: when the caller does not say, and the bounds.
const DEFAULT_TTL: i64 = 3600;
const MIN_TTL: i64 = 60;
const MAX_TTL: i64 = 86_400;

impl From<NamedServiceAccount> for pb::ServiceAccount {
    fn from(named: NamedServiceAccount) -> Self {
        Self {
            name: named.name.to_string(),
            display_name: named.account.display_name,
            state: pb::Lifecycle::from(named.account.state).into(),
            create_time: Some(parse::to_wire(named.account.created)),
            etag: parse::etag(named.account.version),
        }
    }
}

impl TryFrom<pb::CreateServiceAccountRequest> for CreateServiceAccount {
    type Error = FieldError;

    fn try_from(request: pb::CreateServiceAccountRequest) -> Result<Self, FieldError> {
        let slug = parse::required("service_account_id", &request.service_account_id)?;
        let account = request.service_account.unwrap_or_default();
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("service_account.display_name", account.display_name, &slug)?,
            slug,
        })
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
    SuspendServiceAccountRequest => SetServiceAccountState { state: Lifecycle::Suspended };
    ReactivateServiceAccountRequest => SetServiceAccountState { state: Lifecycle::Active };
}

asks_for_listing! {
    ListServiceAccountsRequest => ListServiceAccounts by FIELDS;
}

answers_one! {
    NamedServiceAccount as service_account: read GetServiceAccountResponse;
    changed CreateServiceAccountResponse, SuspendServiceAccountResponse, ReactivateServiceAccountResponse;
}

answers_page!(NamedServiceAccount as service_accounts: ListServiceAccountsResponse);
