//! What every service has in common: how a call reaches its use case.

use std::{future::Future, sync::Arc};

use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

use super::{layers::authn::Authenticated, parse::FieldError, status};
use crate::app::{App, AppError, caller::Caller};

/// What a handler answers.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Most characters of a header that are kept in the audit log.
const MAX_HEADER: usize = 256;

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
        let caller = caller_of(&request)?;
        let asked = C::try_from(request.into_inner())?;
        let work = use_case(Arc::clone(&self.app), caller, asked);
        match self.runtime.spawn(work).await {
            Ok(Ok(answer)) => Ok(Response::new(R::from(answer))),
            Ok(Err(error)) => Err(status::of_app(&error)),
            Err(panicked) => Err(status::internal(&panicked)),
        }
    }
}

/// The caller that the authentication layer found, and where the call came from.
fn caller_of<M>(request: &Request<M>) -> Result<Caller, Status> {
    let who = request.extensions().get::<Authenticated>().ok_or_else(status::unauthenticated)?;
    let header = |name: &str| {
        let text = request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.chars().take(MAX_HEADER).collect::<String>()
    };
    Ok(Caller {
        principal: who.principal,
        tenant: who.tenant,
        name: who.name.to_string(),
        source: request.remote_addr().map(|addr| addr.to_string()).unwrap_or_default(),
        user_agent: header("user-agent"),
        request_id: header("x-request-id"),
    })
}
