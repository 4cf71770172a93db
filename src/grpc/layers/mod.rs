//! What every call passes before its handler, outermost first: [`shed`] refuses when there is too much to do, [`trace`]
//! records those calls that are traced, [`deadline`] ends what nobody waits for any more, [`authn`] finds out who calls.
//!
//! Shedding comes first because it costs least; a trace shows a deadline that passed; the deadline covers the rest.

pub mod authn;
pub mod deadline;
pub mod shed;
pub mod trace;

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
};

use http::Response;
use tonic::{Status, body::Body};

/// A future of any type.
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// The future of a call that is answered without its handler.
type Answered<E> = Ready<Result<Response<Body>, E>>;

/// Answers a call without its handler.
fn answered<E>(status: Status) -> Answered<E> {
    ready(Ok(status.into_http()))
}

/// Calls that need no token: who makes them has none yet and shows something else, or checks those of others.
const PUBLIC: [&str; 9] = [
    "/tollreeve.v1.SessionService/SignIn",
    "/tollreeve.v1.SessionService/SignInWithIdToken",
    "/tollreeve.v1.SessionService/RefreshSession",
    "/tollreeve.v1.SessionService/RequestPasswordReset",
    "/tollreeve.v1.SessionService/ResetPassword",
    "/tollreeve.v1.SignInService/ExchangeAssertion",
    "/tollreeve.v1.SignInService/GetJwks",
    "/tollreeve.v1.IdentityService/AcceptInvitation",
    "/tollreeve.v1.KeyService/ReportLeakedKey",
];

/// Whether anybody may make a call: to health and reflection, those by which one signs in, and the public keys.
#[must_use]
pub fn is_public(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.") || PUBLIC.contains(&path)
}
