//! Refuses calls when too many are under way, so that those under way end in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{BoxFuture, is_public};
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
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_public(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let Some(place) = self.layer.enter(request.uri().path()) else {
            return Box::pin(async { Ok(status::overloaded().into_http()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            answer
        })
    }
}
