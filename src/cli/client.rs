//! A connection to a server, for the commands that are clients like any other.

use std::{
    error::Error,
    fmt::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use tonic::{
    Code, Request, Status, TimeoutExpired,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

use super::login::{self, LoginFile};
use crate::pb::tollreeve::v1::{
    access_service_client::AccessServiceClient, audit_service_client::AuditServiceClient,
    budget_service_client::BudgetServiceClient, credit_service_client::CreditServiceClient,
    gate_service_client::GateServiceClient, identity_service_client::IdentityServiceClient,
    key_service_client::KeyServiceClient, price_service_client::PriceServiceClient,
    session_service_client::SessionServiceClient, usage_service_client::UsageServiceClient,
};

/// Where a server listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";
/// Where a server that was started for development leaves its operator's token.
const OPERATOR_TOKEN_FILE: &str = "tollreeve-data/operator.token";
/// Every call ends by then, on both sides.
const DEADLINE: &str = "10S";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which server to ask, and as whom.
#[derive(clap::Args, Clone)]
pub struct ServerArgs {
    /// Server to ask.
    #[arg(long, env = "TOLLREEVE_SERVER", default_value = DEFAULT_SERVER, value_name = "URL", global = true)]
    pub server: String,
    /// How to know the server, and how to be known to it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// As whom.
    #[command(flatten)]
    pub token: TokenArgs,
    /// As whom, without a token.
    #[command(flatten)]
    pub login: LoginFile,
}

impl ServerArgs {
    /// Connects.
    ///
    /// # Errors
    /// When there is no token, or no server at the address.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        if self.token.is_given(&self.tls) {
            let token = self.token.read(&self.tls)?;
            return Connection::open(&self.server, &self.tls, token.as_deref()).await;
        }
        let token = match login::token(&self.login, &self.server, &self.tls).await? {
            Some(token) => Some(token),
            None => self.token.read(&self.tls)?,
        };
        Connection::open(&self.server, &self.tls, token.as_deref()).await
    }
}

/// How to know a server that speaks TLS, and how to be known to it.
#[derive(clap::Args, Clone, Default)]
#[expect(clippy::struct_field_names, reason = "the flags are called so")]
pub struct TlsArgs {
    /// PEM file with the authority of the server's certificate; for `https://` addresses. Default: the system's authorities.
    #[arg(long, env = "TOLLREEVE_CA_FILE", value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// PEM file with a certificate to show to the server: without a bearer token, who it names is who calls.
    #[arg(long, env = "TOLLREEVE_CERT_FILE", value_name = "FILE", requires = "key_file", global = true)]
    cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    #[arg(long, env = "TOLLREEVE_KEY_FILE", value_name = "FILE", requires = "cert_file", global = true)]
    key_file: Option<PathBuf>,
}

impl TlsArgs {
    /// What to expect and what to show.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn config(&self) -> anyhow::Result<ClientTlsConfig> {
        let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
        let config = match &self.ca_file {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        Ok(match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => config.identity(Identity::from_pem(read(cert)?, read(key)?)),
            _ => config,
        })
    }
}

/// The caller's bearer token.
#[derive(clap::Args, Clone)]
pub struct TokenArgs {
    /// Bearer token; better kept in the environment, where other users of the machine do not see it.
    #[arg(long, env = "TOLLREEVE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// File with the bearer token. Without any token: that of `tollreeve login` to the same server, else the operator's,
    /// ./tollreeve-data/operator.token, if it is there.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Whether the command line or the environment say who calls.
    const fn is_given(&self, tls: &TlsArgs) -> bool {
        self.token.is_some() || self.token_file.is_some() || tls.cert_file.is_some()
    }

    /// The token: from the file that was named, else the one given; else none when a certificate says who calls, and else the
    /// operator's.
    ///
    /// # Errors
    /// When there is none, or the file cannot be read.
    pub fn read(&self, tls: &TlsArgs) -> anyhow::Result<Option<String>> {
        let file = match (&self.token_file, &self.token) {
            (Some(file), _) => file.clone(),
            (None, Some(token)) => return Ok(Some(token.trim().to_owned())),
            (None, None) if tls.cert_file.is_some() => return Ok(None),
            (None, None) => PathBuf::from(OPERATOR_TOKEN_FILE),
        };
        let text = std::fs::read_to_string(&file).map_err(|error| NoToken { file, error })?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// There is no token to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "no bearer token: cannot read `{}`: {error}\n  hint: set TOLLREEVE_TOKEN or give --token-file; on the server's machine, \
     `tollreeve operator-token` makes one of the operator; people sign in by `tollreeve login`", file.display()
)]
pub struct NoToken {
    pub(super) file: PathBuf,
    pub(super) error: std::io::Error,
}

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
#[error("no server answers at {server}; `tollreeve start-dev` starts one: {cause}{}", causes(cause))]
pub struct NoServer {
    server: String,
    cause: tonic::transport::Error,
}

/// What lies behind an error, nearest first: a certificate that is not trusted is deep down.
fn causes(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

/// A channel that signs every request.
pub type Authorized = InterceptedService<Channel, Caller>;

/// Puts the caller's token and a deadline on every request.
#[derive(Clone)]
pub struct Caller {
    authorization: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        metadata.insert("grpc-timeout", MetadataValue::from_static(DEADLINE));
        Ok(request)
    }
}

/// An open connection to a server, on behalf of one caller. Copies share it.
#[derive(Clone)]
pub struct Connection {
    channel: Authorized,
}

impl Connection {
    /// Connects to `server`, `https://HOST:PORT`, `http://HOST:PORT` or `HOST:PORT`, with a bearer token.
    ///
    /// # Errors
    /// When the address, the token or a file for TLS is malformed, or nobody answers.
    pub async fn open(server: &str, tls: &TlsArgs, token: Option<&str>) -> anyhow::Result<Self> {
        let address = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let authorization = token.map(|token| format!("Bearer {token}").parse()).transpose();
        let authorization = authorization.map_err(|_| anyhow::anyhow!("the bearer token has forbidden characters"))?;
        let secure = address.starts_with("https://");
        let mut endpoint = Endpoint::from_shared(address)
            .with_context(|| format!("`{server}` is not the address of a server, such as {DEFAULT_SERVER}"))?;
        if secure {
            endpoint = endpoint.tls_config(tls.config()?).context("the files for TLS cannot be used")?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|cause| NoServer { server: server.to_owned(), cause })?;
        Ok(Self { channel: InterceptedService::new(channel, Caller { authorization }) })
    }

    /// Decisions and charges.
    #[must_use]
    pub fn gate(&self) -> GateServiceClient<Authorized> {
        GateServiceClient::new(self.channel.clone())
    }

    /// Tenants and what lives in them.
    #[must_use]
    pub fn identity(&self) -> IdentityServiceClient<Authorized> {
        IdentityServiceClient::new(self.channel.clone())
    }

    /// Roles and who has them.
    #[must_use]
    pub fn access(&self) -> AccessServiceClient<Authorized> {
        AccessServiceClient::new(self.channel.clone())
    }

    /// Signing in, sessions and passwords.
    #[must_use]
    pub fn sessions(&self) -> SessionServiceClient<Authorized> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// API keys.
    #[must_use]
    pub fn keys(&self) -> KeyServiceClient<Authorized> {
        KeyServiceClient::new(self.channel.clone())
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::new(self.channel.clone())
    }

    /// What was used.
    #[must_use]
    pub fn usage(&self) -> UsageServiceClient<Authorized> {
        UsageServiceClient::new(self.channel.clone())
    }

    /// Prices.
    #[must_use]
    pub fn prices(&self) -> PriceServiceClient<Authorized> {
        PriceServiceClient::new(self.channel.clone())
    }

    /// Budgets and sums of charges.
    #[must_use]
    pub fn budgets(&self) -> BudgetServiceClient<Authorized> {
        BudgetServiceClient::new(self.channel.clone())
    }

    /// Credit.
    #[must_use]
    pub fn credits(&self) -> CreditServiceClient<Authorized> {
        CreditServiceClient::new(self.channel.clone())
    }
}

/// A fresh idempotency key, ordered by time.
#[must_use]
pub fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Whether the call's deadline passed. tonic's own client says CANCELLED then; the specification, `DEADLINE_EXCEEDED`.
#[must_use]
pub fn deadline_passed(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded
        || status.code() == Code::Cancelled && sources(status).any(<dyn Error>::is::<TimeoutExpired>)
}

/// Whether the same call, with the same ids, may well succeed a little later: the server is away, busy, or was lost
/// on the way.
#[must_use]
pub fn worth_retrying(status: &Status) -> bool {
    // A status with a cause was made on this side, because no answer came.
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        || deadline_passed(status)
        || status.source().is_some()
}

/// What went wrong, for people: the server's message, the fields at fault, and what to do about it.
#[must_use]
pub fn explain(status: &Status) -> String {
    explain_with(status, None)
}

fn explain_with(status: &Status, advice: Option<&str>) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.trim_start_matches("ERROR_REASON_"));
    let name = reason.map_or_else(|| format!("{:?}", status.code()), str::to_owned);
    let mut lines = vec![match sources(status).last() {
        Some(_) if deadline_passed(status) => "no answer in time (DEADLINE_PASSED)".to_owned(),
        Some(cause) => format!("no answer from the server ({name}): {cause}"),
        None => format!("{} ({name})", status.message()),
    }];
    let violations = details.bad_request().map_or(&[][..], |request| &request.field_violations);
    let violations = violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description));
    // A message about a single field often says the same.
    lines.extend(violations.filter(|violation| violation != status.message()));
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        lines.push(format!("it may be tried again in {} ms", delay.as_millis()));
    }
    lines.extend(advice.or_else(|| hint(status, reason)).map(|hint| format!("hint: {hint}")));
    lines.join("\n  ")
}

/// A call that failed.
#[derive(Debug)]
pub struct CallError {
    /// What was tried.
    pub what: String,
    /// What came of it.
    pub status: Status,
    /// What to do about it, when more is known than the status says.
    pub advice: Option<String>,
}

impl Error for CallError {}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, status, advice } = self;
        write!(f, "{what}: {}", explain_with(status, advice.as_deref()))
    }
}

impl CallError {
    /// The exit code of a command that ends so, by the kind of failure; as in sysexits.h, where that has one.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.status.code() {
            _ if deadline_passed(&self.status) => EX_TEMPFAIL,
            // No answer came.
            _ if self.status.source().is_some() => EX_UNAVAILABLE,
            Code::InvalidArgument | Code::OutOfRange => EX_DATAERR,
            Code::NotFound => EX_NOINPUT,
            Code::Unavailable => EX_UNAVAILABLE,
            Code::AlreadyExists | Code::FailedPrecondition => EX_CANTCREAT,
            Code::Aborted | Code::ResourceExhausted | Code::Cancelled | Code::DeadlineExceeded => EX_TEMPFAIL,
            Code::PermissionDenied | Code::Unauthenticated => EX_NOPERM,
            _ => EX_SOFTWARE,
        }
    }
}

/// The request is malformed.
const EX_DATAERR: u8 = 65;
/// What was named is not there.
pub const EX_NOINPUT: u8 = 66;
/// No server, or it cannot serve now.
pub const EX_UNAVAILABLE: u8 = 69;
/// A defect, or a server of another version.
const EX_SOFTWARE: u8 = 70;
/// What is there stands in the way.
const EX_CANTCREAT: u8 = 73;
/// The same may work a little later, or after another look.
const EX_TEMPFAIL: u8 = 75;
/// No token, or one that does not suffice.
pub const EX_NOPERM: u8 = 77;

/// Turns a status into an error that says what was tried: `.map_err(failed("cannot create the tenant"))`.
pub fn failed(what: impl Into<String>) -> impl FnOnce(Status) -> anyhow::Error {
    let what = what.into();
    move |status| CallError { what, status, advice: None }.into()
}

/// What to do about it, where that is plain.
fn hint(status: &Status, reason: Option<&str>) -> Option<&'static str> {
    if deadline_passed(status) {
        return Some("it may have been done all the same; with the same id it can be repeated safely");
    }
    Some(match reason.unwrap_or_default() {
        "TOKEN_INVALID" => {
            "give a valid token in TOLLREEVE_TOKEN or with --token-file; `tollreeve operator-token` makes one of the operator, \
             people sign in by `tollreeve login`"
        }
        "PERMISSION_MISSING" => "use the token of a caller that holds the permission",
        "RESOURCE_NOT_FOUND" => "check the name; what a caller may not see is answered in the same way",
        "IDEMPOTENCY_CONFLICT" => "the id was used for something else before: take a new one",
        "ETAG_MISMATCH" => "somebody else changed it: read it again, then retry",
        "HOLD_TOKEN_INVALID" => "copy the whole token, and charge as the caller it was given to",
        "STORAGE_UNAVAILABLE" | "OVERLOADED" | "DRAINING" | "REVISION_AHEAD" => "nothing was done; try again shortly",
        "OUTCOME_UNKNOWN" => "it may have been done: look, or repeat it with the same id",
        "INTERNAL" => "a defect of the server; its log has the detail",
        _ => match status.code() {
            Code::Unavailable => "is the server running? `tollreeve start-dev` starts one",
            Code::Unimplemented => "the server is of another version than this program",
            _ => return None,
        },
    })
}

/// The causes of a status that was made on this side, nearest first.
fn sources<'a>(status: &'a Status) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(status.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn with_reason(code: Code, reason: &str) -> Status {
        Status::with_error_details(code, "told", ErrorDetails::with_error_info(reason, "tollreeve", HashMap::new()))
    }

    #[test]
    fn an_expired_deadline_is_told_as_such_although_the_client_calls_it_cancelled() {
        let expired = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(expired.code(), Code::Cancelled);
        assert!(deadline_passed(&expired) && worth_retrying(&expired));
        assert!(explain(&expired).starts_with("no answer in time (DEADLINE_PASSED)\n  hint: "));
        let cancelled = Status::cancelled("the caller went away");
        assert!(!deadline_passed(&cancelled) && !worth_retrying(&cancelled));
    }

    #[test]
    fn a_status_is_told_with_its_reason_the_fields_at_fault_and_a_hint() {
        let mut details = ErrorDetails::with_error_info("FIELD_INVALID", "tollreeve", HashMap::new());
        details.add_bad_request_violation("estimate.input_tokens", "must be 0 to 1000000000");
        let status = Status::with_error_details(Code::InvalidArgument, "the request is malformed", details);
        assert_eq!(
            explain(&status),
            "the request is malformed (FIELD_INVALID)\n  estimate.input_tokens: must be 0 to 1000000000"
        );
        let missing = explain(&with_reason(Code::PermissionDenied, "ERROR_REASON_PERMISSION_MISSING"));
        assert_eq!(missing, "told (PERMISSION_MISSING)\n  hint: use the token of a caller that holds the permission");
        assert_eq!(explain(&Status::aborted("told")), "told (Aborted)");
    }

    #[test]
    fn only_what_may_pass_is_worth_another_try() {
        assert!(worth_retrying(&with_reason(Code::Unavailable, "STORAGE_UNAVAILABLE")));
        assert!(worth_retrying(&with_reason(Code::ResourceExhausted, "OVERLOADED")));
        assert!(worth_retrying(&Status::from_error("broken pipe".into())), "no answer came");
        assert!(!worth_retrying(&with_reason(Code::Internal, "INTERNAL")));
        assert!(!worth_retrying(&with_reason(Code::AlreadyExists, "IDEMPOTENCY_CONFLICT")));
    }
}
