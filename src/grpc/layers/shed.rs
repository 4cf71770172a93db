//! Refuses calls when too many are under way, so that those under way end in time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answered, answered, is_public};
use crate::grpc::status;

/// Most calls of each class that are under way at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the gate: each waits for memory or for one commit.
    pub gate: usize,
    /// Of the management plane: each is a transaction.
    pub management: usize,
}

/// Counts calls and refuses what is too much.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    limits: Limits,
    under_way: Arc<[AtomicUsize; 2]>,
}

impl ShedLayer {
    /// With these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, under_way: Arc::default() }
    }

    fn enter(&self, path: &str) -> Option<Place> {
        let (class, limit) = if path.starts_with("/tollreeve.v1.GateService/") {
            (0, self.limits.gate)
        } else {
            (1, self.limits.management)
        };
        let before = self.under_way[class].fetch_add(1, Ordering::Relaxed);
        // Made first, so that it is given back in any case.
        let place = Place { under_way: Arc::clone(&self.under_way), class };
        (before < limit).then_some(place)
    }
}

/// A call under way.
struct Place {
    under_way: Arc<[AtomicUsize; 2]>,
    class: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way[self.class].fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A call that counts for as long as it lives.
    pub struct Counted<F> {
        #[pin]
        call: F,
        place: Option<Place>,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().call.poll(cx)
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { layer: self.clone(), inner }
    }
}

/// See [`ShedLayer`].
#[derive(Clone, Debug)]
pub struct Shed<S> {
    layer: ShedLayer,
    inner: S,
}

impl<B, S> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Counted<S::Future>, Answered<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let place = if is_public(request.uri().path()) {
            None
        } else if let Some(place) = self.layer.enter(request.uri().path()) {
            Some(place)
        } else {
            return Either::Right(answered(status::overloaded()));
        };
        Either::Left(Counted { call: self.inner.call(request), place })
    }
}
