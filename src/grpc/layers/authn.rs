//! Finds out who calls: the bearer token's owner, if they may act at all.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answered, answered, is_public};
use crate::{
    domain::{bindings::Principal, time::Clock},
    engine::{Gate, tokens::TokenKeys},
    grpc::status,
};

/// An authenticated caller, as the handlers find it among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Authenticated(pub Principal);

/// Authenticates calls.
pub struct AuthnLayer<J> {
    gate: Arc<Gate<J>>,
    tokens: Arc<TokenKeys>,
    clock: Arc<dyn Clock>,
}

impl<J> AuthnLayer<J> {
    /// Authenticates by tokens of `tokens` whose owners are active in the state of `gate`.
    #[must_use]
    pub const fn new(gate: Arc<Gate<J>>, tokens: Arc<TokenKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { gate, tokens, clock }
    }

    fn authenticate(&self, headers: &HeaderMap) -> Option<Authenticated> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let now = self.clock.now();
        let principal = self.tokens.verify(token.trim(), now)?;
        self.gate.acts(principal, now).then_some(Authenticated(principal))
    }
}

impl<J> Clone for AuthnLayer<J> {
    fn clone(&self) -> Self {
        Self { gate: Arc::clone(&self.gate), tokens: Arc::clone(&self.tokens), clock: Arc::clone(&self.clock) }
    }
}

impl<J, S> Layer<S> for AuthnLayer<J> {
    type Service = Authn<J, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authn { layer: self.clone(), inner }
    }
}

/// See [`AuthnLayer`].
pub struct Authn<J, S> {
    layer: AuthnLayer<J>,
    inner: S,
}

impl<J, S: Clone> Clone for Authn<J, S> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), inner: self.inner.clone() }
    }
}

impl<J, B, S> Service<Request<B>> for Authn<J, S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Answered<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !is_public(request.uri().path()) {
            match self.layer.authenticate(request.headers()) {
                Some(caller) => {
                    request.extensions_mut().insert(caller);
                }
                None => return Either::Right(answered(status::unauthenticated())),
            }
        }
        Either::Left(self.inner.call(request))
    }
}
