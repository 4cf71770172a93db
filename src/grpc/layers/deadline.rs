//! Ends a call when its caller's deadline has passed.
//!
//! tonic's own timeout answers CANCELLED; a caller expects `DEADLINE_EXCEEDED`. What a handler has handed to a task of its
//! own (a change, a charge) goes on to its end.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{BoxFuture, answered};
use crate::grpc::status;

/// Longest that any call may take, whatever its caller allows.
const LONGEST: Duration = Duration::from_mins(1);

/// Holds calls to their deadlines.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// See [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<B, S> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(left) = timeout(request.headers()) else { return Either::Left(self.inner.call(request)) };
        if left.is_zero() {
            return Either::Right(Box::pin(answered(status::deadline())));
        }
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            match tokio::time::timeout(left.min(LONGEST), answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(status::deadline().into_http()),
            }
        }))
    }
}

/// What the caller allows, as the gRPC protocol writes it: up to 8 digits and a unit. A value that cannot be read counts
/// as none.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_reads_as_the_protocol_writes_it() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("a header"));
            timeout(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for bad in ["", "m", "1", "-1S", "123456789S", "1x", "é"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
