//! `AuditService`, and what messages of the audit log mean.

use tonic::Request;

use super::{
    parse::{self, FieldError},
    services::{Answer, Management},
};
use crate::{
    app::audit::{self, GetAuditEvent, ListAuditEvents, NamedAuditEvent},
    domain::listing::{Field, Kind},
    pb::tollreeve::v1::{self as pb, audit_service_server::AuditService, *},
};

/// What lists of events can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "actor", kind: Kind::Text, sorts: false },
    Field { name: "action", kind: Kind::Text, sorts: false },
    Field { name: "resource", kind: Kind::Text, sorts: false },
    Field { name: "time", kind: Kind::Time, sorts: true },
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
}

impl From<NamedAuditEvent> for pb::AuditEvent {
    fn from(named: NamedAuditEvent) -> Self {
        let event = named.event;
        Self {
            name: named.name.to_string(),
            sequence: event.seq,
            time: Some(parse::to_wire(event.at)),
            actor: event.actor,
            action: event.action,
            resource: event.resource,
            before: event.before,
            after: event.after,
            source: event.source,
            user_agent: event.user_agent,
            request_id: event.request_id,
            revision: event.revision,
            reason: event.reason,
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
