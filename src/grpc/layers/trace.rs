//! A span for each call that is traced: those whose caller says so, and a share of the others.
//!
//! Whether a call is traced is decided before its span is made: a span that is thrown away costs more than a decision.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::{Instrument, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::is_public;

/// Traces calls.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    ratio: Option<f64>,
    calls: Arc<AtomicU64>,
}

impl TraceLayer {
    /// Traces this share of the calls whose callers do not say; `None` traces nothing at all.
    #[must_use]
    pub fn new(ratio: Option<f64>) -> Self {
        Self { ratio, calls: Arc::default() }
    }

    fn is_traced(&self, headers: &HeaderMap) -> bool {
        let Some(ratio) = self.ratio else { return false };
        match headers.get("traceparent").and_then(|value| value.to_str().ok()) {
            // The last field of W3C trace context is the flags; bit 0 says "sampled".
            Some(parent) => parent.ends_with("01"),
            None => self.is_next(ratio),
        }
    }

    /// Picks calls at even distances, so that the share is right without a random number for each.
    #[expect(clippy::cast_precision_loss, reason = "past 2^53 calls the share may be off by one call")]
    fn is_next(&self, ratio: f64) -> bool {
        let count = self.calls.fetch_add(1, Ordering::Relaxed);
        ((count + 1) as f64 * ratio).floor() > (count as f64 * ratio).floor()
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { layer: self.clone(), inner }
    }
}

/// See [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct Trace<S> {
    layer: TraceLayer,
    inner: S,
}

impl<B, S> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Instrumented<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if is_public(path) || !self.layer.is_traced(request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        let name = path.trim_start_matches('/').to_owned();
        let span = tracing::info_span!("rpc", otel.name = name, otel.kind = "server", rpc.system = "grpc");
        // Fails only without a tracer, and then there is nothing to trace.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(request.headers())));
        Either::Right(self.inner.call(request).instrument(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(layer: &TraceLayer, parent: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert("traceparent", parent.parse().expect("a header"));
        }
        layer.is_traced(&headers)
    }

    #[test]
    fn a_caller_decides_for_its_own_calls_and_a_share_of_the_rest_is_traced() {
        let layer = TraceLayer::new(Some(0.25));
        assert!(traced(&layer, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")));
        assert!(!traced(&layer, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")));
        assert_eq!((0..400).filter(|_| traced(&layer, None)).count(), 100);
        assert!(!traced(&TraceLayer::new(None), Some("00-x-y-01")));
    }
}
