//! `AuditService`, and what messages of the audit log mean.

use bytes::Bytes;
use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        audit::{self, GetAuditEvent, ListAuditEvents, NamedAuditEvent},
        audit_tree::{
            self, Consistency, Export, Exported, GetCheckpoint, GetConsistency, GetInclusion, Inclusion,
            ListCheckpoints, Verifiable,
        },
    },
    domain::{
        audit::{Detail, Field, Outcome},
        audit_tree::TreeHash,
        listing::{self, Kind},
    },
    pb::tollreeve::v1::{self as pb, audit_service_server::AuditService, *},
    store::audit_tree::Signed,
};

/// What lists of events can be asked by.
const FIELDS: &[listing::Field] = &[
    listing::Field { name: "actor", kind: Kind::Text, sorts: false },
    listing::Field { name: "action", kind: Kind::Text, sorts: false },
    listing::Field { name: "resource", kind: Kind::Text, sorts: false },
    listing::Field { name: "source", kind: Kind::Text, sorts: false },
    listing::Field { name: "outcome", kind: Kind::Choice(&["DONE", "REFUSED"]), sorts: false },
    listing::Field { name: "time", kind: Kind::Time, sorts: true },
];
/// The order of a list of events when none is asked for.
const NEWEST_FIRST: &str = "time desc";

#[tonic::async_trait]
impl AuditService for Management {
    async fn get_audit_event(&self, request: Request<GetAuditEventRequest>) -> Answer<GetAuditEventResponse> {
        self.run(request, audit::get).await
    }

    async fn list_audit_events(&self, request: Request<ListAuditEventsRequest>) -> Answer<ListAuditEventsResponse> {
        self.run(request, audit::list).await
    }

    async fn export_audit_events(
        &self,
        request: Request<ExportAuditEventsRequest>,
    ) -> Answer<ExportAuditEventsResponse> {
        self.run(request, audit_tree::export).await
    }

    async fn get_audit_checkpoint(
        &self,
        request: Request<GetAuditCheckpointRequest>,
    ) -> Answer<GetAuditCheckpointResponse> {
        self.run(request, audit_tree::checkpoint).await
    }

    async fn list_audit_checkpoints(
        &self,
        request: Request<ListAuditCheckpointsRequest>,
    ) -> Answer<ListAuditCheckpointsResponse> {
        self.run(request, audit_tree::checkpoints).await
    }

    async fn get_audit_inclusion_proof(
        &self,
        request: Request<GetAuditInclusionProofRequest>,
    ) -> Answer<GetAuditInclusionProofResponse> {
        self.run(request, audit_tree::prove_inclusion).await
    }

    async fn get_audit_consistency_proof(
        &self,
        request: Request<GetAuditConsistencyProofRequest>,
    ) -> Answer<GetAuditConsistencyProofResponse> {
        self.run(request, audit_tree::prove_consistency).await
    }
}

impl From<NamedAuditEvent> for pb::AuditEvent {
    fn from(named: NamedAuditEvent) -> Self {
        let event = &named.event;
        let says = |field| event.says(field).to_owned();
        let erased = |field: &Field| matches!(event.detail(*field), Detail::Erased(_));
        Self {
            name: named.name.to_string(),
            sequence: event.seq,
            time: Some(parse::to_wire(event.at)),
            actor: event.actor.clone(),
            action: event.action.clone(),
            resource: event.resource.clone(),
            before: says(Field::Before),
            after: says(Field::After),
            source: says(Field::Source),
            user_agent: says(Field::UserAgent),
            reason: says(Field::Reason),
            erased_fields: Field::ALL
                .iter()
                .filter(|field| erased(field))
                .map(|field| field.name().to_owned())
                .collect(),
            outcome: match event.outcome {
                Outcome::Done => pb::AuditOutcome::Done,
                Outcome::Refused => pb::AuditOutcome::Refused,
            }
            .into(),
            request_id: event.request_id.clone(),
            trace_id: event.trace_id.clone(),
            revision: event.revision,
        }
    }
}

asks_by_name! {
    GetAuditEventRequest => GetAuditEvent;
}

impl TryFrom<ListAuditEventsRequest> for ListAuditEvents {
    type Error = FieldError;

    fn try_from(request: ListAuditEventsRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let page = parse::page(request.page_size, &request.page_token)?;
        let order = if request.order_by.is_empty() { NEWEST_FIRST } else { &request.order_by };
        Ok(Self { parent, listing: parse::listing(page, &request.filter, order, false, FIELDS)? })
    }
}

answers_one! {
    NamedAuditEvent as event: read GetAuditEventResponse;
}

answers_page!(NamedAuditEvent as events: ListAuditEventsResponse);

/// A number of events.
fn count(field: &'static str, number: i64) -> Result<i64, FieldError> {
    if number < 0 { Err(invalid(field, "must not be negative")) } else { Ok(number) }
}

impl TryFrom<ExportAuditEventsRequest> for Export {
    type Error = FieldError;

    fn try_from(request: ExportAuditEventsRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let after = count("after_sequence", request.after_sequence)?;
        Ok(Self { parent, after, continued: request.continued })
    }
}

impl From<Exported> for ExportAuditEventsResponse {
    fn from(page: Exported) -> Self {
        Self { lines: page.lines, last_sequence: page.last, complete: page.complete }
    }
}

impl TryFrom<GetAuditCheckpointRequest> for GetCheckpoint {
    type Error = FieldError;

    fn try_from(request: GetAuditCheckpointRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        Ok(Self { parent, size: request.size.map(|size| count("size", size)).transpose()? })
    }
}

impl From<Signed> for AuditCheckpoint {
    fn from(signed: Signed) -> Self {
        Self { size: signed.size, time: Some(parse::to_wire(signed.at)), note: signed.note }
    }
}

impl From<Verifiable> for GetAuditCheckpointResponse {
    fn from(answer: Verifiable) -> Self {
        Self { checkpoint: Some(answer.checkpoint.into()), verifier_key: answer.verifier }
    }
}

impl TryFrom<ListAuditCheckpointsRequest> for ListCheckpoints {
    type Error = FieldError;

    fn try_from(request: ListAuditCheckpointsRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let page = parse::page(request.page_size, &request.page_token)?;
        Ok(Self { parent, listing: parse::listing(page, "", NEWEST_FIRST, false, FIELDS)? })
    }
}

answers_page!(Signed as checkpoints: ListAuditCheckpointsResponse);

impl TryFrom<GetAuditInclusionProofRequest> for GetInclusion {
    type Error = FieldError;

    fn try_from(request: GetAuditInclusionProofRequest) -> Result<Self, FieldError> {
        let name = parse::required("name", &request.name)?;
        Ok(Self { name, size: request.tree_size.map(|size| count("tree_size", size)).transpose()? })
    }
}

fn bytes(hashes: &[TreeHash]) -> Vec<Bytes> {
    hashes.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect()
}

impl From<Inclusion> for GetAuditInclusionProofResponse {
    fn from(proof: Inclusion) -> Self {
        Self { hashes: bytes(&proof.hashes), leaf: proof.leaf.into(), leaf_index: proof.index, tree_size: proof.size }
    }
}

impl TryFrom<GetAuditConsistencyProofRequest> for GetConsistency {
    type Error = FieldError;

    fn try_from(request: GetAuditConsistencyProofRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let old = count("old_size", request.old_size)?;
        Ok(Self { parent, old, new: request.new_size.map(|size| count("new_size", size)).transpose()? })
    }
}

impl From<Consistency> for GetAuditConsistencyProofResponse {
    fn from(proof: Consistency) -> Self {
        Self { new_size: proof.new, hashes: bytes(&proof.hashes) }
    }
}
