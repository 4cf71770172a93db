//! A caller of the server: a channel and a bearer token.

use tollreeve::pb::tollreeve::v1::{
    access_service_client::AccessServiceClient, audit_service_client::AuditServiceClient,
    budget_service_client::BudgetServiceClient, credit_service_client::CreditServiceClient,
    gate_service_client::GateServiceClient, identity_service_client::IdentityServiceClient,
    key_service_client::KeyServiceClient, price_service_client::PriceServiceClient,
    session_service_client::SessionServiceClient, sign_in_service_client::SignInServiceClient,
    usage_service_client::UsageServiceClient,
};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

use super::authority::Pair;

/// Adds the bearer token, when there is one.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// A channel with a token.
pub type Authed = InterceptedService<Channel, Bearer>;

/// A caller of the server.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub bearer: Bearer,
}

impl Client {
    /// A caller with a connection of their own, made when it is first needed and again when it breaks.
    pub fn new(addr: std::net::SocketAddr, token: Option<&str>) -> Self {
        let channel = Endpoint::from_shared(format!("http://{addr}")).expect("an address").connect_lazy();
        Self { channel, bearer: Bearer(None) }.with_token(token)
    }

    /// A caller with a TLS connection of their own, who trusts an authority and may have a certificate.
    pub fn secured(addr: std::net::SocketAddr, authority: &str, own: Option<&Pair>, token: Option<&str>) -> Self {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        if let Some(own) = own {
            tls = tls.identity(Identity::from_pem(&own.certificate, &own.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{addr}")).expect("an address");
        let channel = endpoint.tls_config(tls).expect("good settings").connect_lazy();
        Self { channel, bearer: Bearer(None) }.with_token(token)
    }

    /// Somebody else on the same connection.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        let bearer = token.map(|token| format!("Bearer {token}").parse().expect("a header"));
        Self { channel: self.channel.clone(), bearer: Bearer(bearer) }
    }

    /// The channel with the token, for services that are called by their paths.
    pub fn raw(&self) -> Authed {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    pub fn gate(&self) -> GateServiceClient<Authed> {
        GateServiceClient::new(self.raw())
    }

    pub fn identity(&self) -> IdentityServiceClient<Authed> {
        IdentityServiceClient::new(self.raw())
    }

    pub fn access(&self) -> AccessServiceClient<Authed> {
        AccessServiceClient::new(self.raw())
    }

    pub fn keys(&self) -> KeyServiceClient<Authed> {
        KeyServiceClient::new(self.raw())
    }

    pub fn budgets(&self) -> BudgetServiceClient<Authed> {
        BudgetServiceClient::new(self.raw())
    }

    pub fn credits(&self) -> CreditServiceClient<Authed> {
        CreditServiceClient::new(self.raw())
    }

    pub fn prices(&self) -> PriceServiceClient<Authed> {
        PriceServiceClient::new(self.raw()).max_encoding_message_size(16 * 1024 * 1024)
    }

    pub fn sessions(&self) -> SessionServiceClient<Authed> {
        SessionServiceClient::new(self.raw())
    }

    pub fn sign_in(&self) -> SignInServiceClient<Authed> {
        SignInServiceClient::new(self.raw())
    }

    pub fn usage(&self) -> UsageServiceClient<Authed> {
        UsageServiceClient::new(self.raw())
    }

    pub fn audit(&self) -> AuditServiceClient<Authed> {
        AuditServiceClient::new(self.raw())
    }
}

/// The stable reason of an error.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// The fields that an error names.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// Insists on an error with this code and reason.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, why: &str) {
    let status = answer.expect_err("it was to be refused");
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
}

/// Insists that a field was at fault.
#[track_caller]
pub fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.expect_err("it was to be refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    assert_eq!(fields(&status), [field], "{status:?}");
}
