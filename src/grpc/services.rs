//! What every service has in common: how a call reaches its use case.

use std::{future::Future, sync::Arc};

use prost::Message;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

use super::{
    layers::authn::{Authenticated, Peer},
    parse::{FieldError, invalid},
    status,
};
use crate::{
    app::{
        App, AppError,
        caller::{Caller, Intent, Origin},
    },
    domain::key_secret::KeyHash,
};

/// What a handler answers.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Most characters of a header that are kept in the audit log.
const MAX_HEADER: usize = 256;

/// Longest id of a request, in characters.
const MAX_REQUEST_ID: usize = 64;

/// A message that says how it is to be taken.
pub(super) trait Intended {
    /// Id under which it is to be carried out once; empty without one.
    fn request_id(&self) -> &str;
    /// Only look whether it could be carried out.
    fn validate_only(&self) -> bool;
}

/// A service of the management plane.
#[derive(Clone)]
pub struct Management {
    app: Arc<App>,
    runtime: Handle,
}

impl Management {
    /// A service over `app` whose use cases run on `runtime`.
    #[must_use]
    pub const fn new(app: Arc<App>, runtime: Handle) -> Self {
        Self { app, runtime }
    }

    /// Runs a use case for an authenticated call.
    ///
    /// It runs as a task of its own: when the client goes away, tonic drops the handler, and a transaction must not be
    /// dropped in the middle of it.
    pub(super) async fn run<M, C, O, R, F, Fut>(&self, request: Request<M>, use_case: F) -> Answer<R>
    where
        C: TryFrom<M, Error = FieldError>,
        F: FnOnce(Arc<App>, Caller, C) -> Fut,
        Fut: Future<Output = Result<O, AppError>> + Send + 'static,
        O: Send + 'static,
        R: From<O>,
    {
        let caller = caller_of(&self.app, &request)?;
        self.run_as(caller, request.into_inner(), use_case).await
    }

    /// Runs a use case that anybody may ask for.
    pub(super) async fn run_public<M, C, O, R, F, Fut>(&self, request: Request<M>, use_case: F) -> Answer<R>
    where
        C: TryFrom<M, Error = FieldError>,
        F: FnOnce(Arc<App>, Origin, C) -> Fut,
        Fut: Future<Output = Result<O, AppError>> + Send + 'static,
        O: Send + 'static,
        R: From<O>,
    {
        self.run_as(origin_of(&request), request.into_inner(), use_case).await
    }

    /// Runs a use case for a call that says how it is to be taken.
    pub(super) async fn run_intended<M, C, O, R, F, Fut>(&self, request: Request<M>, use_case: F) -> Answer<R>
    where
        M: Intended + Message,
        C: TryFrom<M, Error = FieldError>,
        F: FnOnce(Arc<App>, Caller, C) -> Fut,
        Fut: Future<Output = Result<O, AppError>> + Send + 'static,
        O: Send + 'static,
        R: From<O>,
    {
        let caller = caller_of(&self.app, &request)?;
        let message = request.into_inner();
        let intent = intent(&message)?;
        self.run_as(Caller { intent, ..caller }, message, use_case).await
    }

    async fn run_as<M, W, C, O, R, F, Fut>(&self, caller: W, message: M, use_case: F) -> Answer<R>
    where
        C: TryFrom<M, Error = FieldError>,
        F: FnOnce(Arc<App>, W, C) -> Fut,
        Fut: Future<Output = Result<O, AppError>> + Send + 'static,
        O: Send + 'static,
        R: From<O>,
    {
        let asked = C::try_from(message)?;
        let work = use_case(Arc::clone(&self.app), caller, asked);
        match self.runtime.spawn(work).await {
            Ok(Ok(answer)) => Ok(Response::new(R::from(answer))),
            Ok(Err(error)) => Err(status::of_app(&error)),
            Err(panicked) => Err(status::internal(&panicked)),
        }
    }
}

/// How a message is to be taken. Its fingerprint is of its kind and of the whole of it.
fn intent<M: Intended + Message>(message: &M) -> Result<Intent, FieldError> {
    let once = message.request_id().to_owned();
    if once.len() > MAX_REQUEST_ID || !once.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("request_id", format!("must be at most {MAX_REQUEST_ID} visible ASCII characters")));
    }
    // The message's own name: where its type lies may change with a version.
    let kind = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
    let mut hash = Sha256::new_with_prefix(kind);
    hash.update(message.encode_to_vec());
    let fingerprint = KeyHash(hash.finalize().into()).to_hex();
    Ok(Intent { once, fingerprint, validate_only: message.validate_only() })
}

/// The caller that the authentication layer found, and where the call came from.
fn caller_of<M>(app: &App, request: &Request<M>) -> Result<Caller, Status> {
    let who = request.extensions().get::<Authenticated>().ok_or_else(status::unauthenticated)?.0;
    let (tenant, name) = app.gate.active(who.principal).ok_or_else(status::unauthenticated)?;
    Ok(origin_of(request).proven(who.principal, who.basis, tenant, name.to_string()))
}

/// Where a call came from.
fn origin_of<M>(request: &Request<M>) -> Origin {
    let header = |name: &str| {
        let text = request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.chars().take(MAX_HEADER).collect::<String>()
    };
    let address = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    // The second field of W3C trace context.
    let trace_id = header("traceparent").split('-').nth(1).filter(|id| is_trace(id)).unwrap_or_default().to_owned();
    Origin { address, user_agent: header("user-agent"), request_id: header("x-request-id"), trace_id }
}

/// Whether a text is the id of a trace.
fn is_trace(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
