//! Finds out who calls, and whether they may act at all: the bearer token's owner, or without a token the service account
//! that the connection's certificate names.
//!
//! With both, the token says who acts, and the certificate who carries it: a service passes its users' tokens on. But the
//! token of a program is for that program alone. So over a connection whose certificate names a service account, the token
//! of another one is refused: whoever stole it needs the key of its owner as well.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answered, answered, is_public};
use crate::{
    domain::{bindings::Principal, spiffe::SpiffeId, time::Clock},
    engine::{
        Gate,
        tokens::{TokenKeys, Verified},
    },
    grpc::status,
};

/// Who is at the other end of a connection, as the handlers find it among a request's extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The network address.
    pub address: Option<SocketAddr>,
    /// What its certificate says that it is.
    pub spiffe: Option<Arc<SpiffeId>>,
}

/// An authenticated caller, as the handlers find it among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Authenticated(pub Verified);

/// Authenticates calls.
pub struct AuthnLayer<J> {
    gate: Arc<Gate<J>>,
    tokens: Arc<TokenKeys>,
    clock: Arc<dyn Clock>,
}

impl<J> AuthnLayer<J> {
    /// Authenticates by tokens of `tokens`, and by certificates, of those who are active in the state of `gate`.
    #[must_use]
    pub const fn new(gate: Arc<Gate<J>>, tokens: Arc<TokenKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { gate, tokens, clock }
    }

    fn authenticate(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Option<Authenticated> {
        let now = self.clock.now();
        let spiffe = peer.and_then(|peer| peer.spiffe.as_deref());
        let Some(value) = headers.get(AUTHORIZATION) else {
            let account = Verified::from(self.gate.named_by(spiffe?)?);
            return self.gate.acts(account, now).then_some(Authenticated(account));
        };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let verified = self.tokens.verify(token.trim(), now)?;
        if let (Some(spiffe), Principal::ServiceAccount(_)) = (spiffe, verified.principal)
            && self.gate.named_by(spiffe).is_some_and(|account| account != verified.principal)
        {
            return None;
        }
        self.gate.acts(verified, now).then_some(Authenticated(verified))
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
            match self.layer.authenticate(request.headers(), request.extensions().get()) {
                Some(caller) => {
                    request.extensions_mut().insert(caller);
                }
                None => return Either::Right(answered(status::unauthenticated())),
            }
        }
        Either::Left(self.inner.call(request))
    }
}
