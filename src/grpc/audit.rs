//! `AuditService`, and what messages of the audit log mean.

use tonic::Request;

use super::{
    parse,
    services::{Answer, Management},
};
use crate::{
    app::audit::{self, GetAuditEvent, ListAuditEvents, NamedAuditEvent},
    pb::tollreeve::v1::{self as pb, audit_service_server::AuditService, *},
};

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

asks_for_page! {
    ListAuditEventsRequest => ListAuditEvents;
}

answers_one! {
    NamedAuditEvent as event: read GetAuditEventResponse;
}

answers_page!(NamedAuditEvent as events: ListAuditEventsResponse);
