//! `GateService`: what a sidecar asks on every model call.
//!
//! Nothing here waits for a database: a decision comes from memory, and what must be asked or written is done by tasks of
//! their own, so that a client that goes away drops nothing but the answer.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    gate_answers, gate_questions,
    gate_reply::AuthorizeReply,
    layers::authn::Authenticated,
    parse::{self, FieldError},
    status,
};
use crate::{
    domain::{bindings::Principal, time::Clock},
    engine::{Gate, answer::Answer, charge::ChargeAnswer, error::GateError, journal::Journal, tokens::TokenKeys},
    pb::tollreeve::v1 as pb,
};

/// The service as `build.rs` makes it for this server.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/gate/tollreeve.v1.rs"));
}

use generated::gate_service_server::GateService;

/// Most charges in a batch.
const MAX_BATCH: usize = 1000;

/// The gate, served.
pub struct GateServer<J> {
    gate: Arc<Gate<J>>,
    tokens: Arc<TokenKeys>,
    clock: Arc<dyn Clock>,
}

impl<J> GateServer<J> {
    /// A service over `gate`.
    #[must_use]
    pub const fn new(gate: Arc<Gate<J>>, tokens: Arc<TokenKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { gate, tokens, clock }
    }
}

fn sidecar<M>(request: &Request<M>) -> Result<Principal, Status> {
    request.extensions().get::<Authenticated>().map(|who| who.0.principal).ok_or_else(status::unauthenticated)
}

impl<J: Journal> GateServer<J> {
    /// Takes the charge in at once: what is kept of a call while it waits is only what waits for the answer.
    fn charge_one(
        &self,
        caller: Principal,
        request: pb::ChargeRequest,
    ) -> impl Future<Output = Result<pb::ChargeResponse, ChargeFailure>> + Send + '_ {
        let now = self.clock.now();
        let charge = gate_questions::charge(request, now).map(|asked| self.gate.charge(caller, asked, now));
        async move {
            let answer: ChargeAnswer = charge?.await?;
            Ok(gate_answers::charge(answer))
        }
    }
}

/// Why a charge was not recorded.
enum ChargeFailure {
    Field(FieldError),
    Gate(GateError),
}

impl From<FieldError> for ChargeFailure {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<GateError> for ChargeFailure {
    fn from(error: GateError) -> Self {
        Self::Gate(error)
    }
}

impl From<ChargeFailure> for Status {
    fn from(failure: ChargeFailure) -> Self {
        match failure {
            ChargeFailure::Field(error) => error.into(),
            ChargeFailure::Gate(error) => status::of_gate(&error),
        }
    }
}

#[tonic::async_trait]
impl<J: Journal> GateService for GateServer<J> {
    async fn authorize(&self, request: Request<pb::AuthorizeRequest>) -> Result<Response<AuthorizeReply>, Status> {
        let caller = sidecar(&request)?;
        let now = self.clock.now();
        let message = request.into_inner();
        let asked = gate_questions::authorize(&message, &self.tokens, now)?;
        let tell = |answer: &Answer<'_>| AuthorizeReply::of(answer, now);
        let answer = match self.gate.authorize_warm(caller, &asked, now, tell) {
            Ok(None) => self.gate.authorize(caller, &asked, now, tell).await,
            Ok(Some(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        answer.map(Response::new).map_err(|error| status::of_gate(&error))
    }

    async fn charge(&self, request: Request<pb::ChargeRequest>) -> Result<Response<pb::ChargeResponse>, Status> {
        let caller = sidecar(&request)?;
        let charged = self.charge_one(caller, request.into_inner());
        Ok(Response::new(charged.await?))
    }

    async fn charge_batch(
        &self,
        request: Request<pb::ChargeBatchRequest>,
    ) -> Result<Response<pb::ChargeBatchResponse>, Status> {
        let caller = sidecar(&request)?;
        let charges = request.into_inner().charges;
        if charges.is_empty() || charges.len() > MAX_BATCH {
            return Err(parse::invalid("charges", format!("must be 1 to {MAX_BATCH}")).into());
        }
        let mut ids = std::collections::HashSet::new();
        if let Some(i) = charges.iter().position(|charge| !ids.insert(charge.charge_id.clone())) {
            return Err(parse::invalid(format!("charges[{i}].charge_id"), "stands twice in the batch").into());
        }
        // All at once: they wait for the same commit.
        let all = charges.into_iter().map(|charge| self.charge_one(caller, charge));
        let results = futures_util::future::join_all(all).await;
        let results = results.into_iter().map(|result| pb::ChargeResult {
            result: Some(match result {
                Ok(response) => pb::charge_result::Result::Response(response),
                Err(failure) => pb::charge_result::Result::Error(status::charge_error(&failure.into())),
            }),
        });
        Ok(Response::new(pb::ChargeBatchResponse { results: results.collect() }))
    }
}
