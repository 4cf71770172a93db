//! What messages of access reviews mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::{
        Listed,
        reviews::{NamedReviewed, ReviewAccess},
    },
    domain::{
        listing::{Field, Kind as FieldKind},
        reviews::Kind,
    },
    pb::tollreeve::v1 as pb,
};

/// What reviews can be ordered by.
const FIELDS: &[Field] = &[
    Field { name: "last_use_time", kind: FieldKind::Order, sorts: true },
    Field { name: "create_time", kind: FieldKind::Order, sorts: true },
];

fn kind(field: &str, number: i32) -> Result<Kind, FieldError> {
    match pb::AccessKind::try_from(number) {
        Ok(pb::AccessKind::User) => Ok(Kind::User),
        Ok(pb::AccessKind::ServiceAccount) => Ok(Kind::ServiceAccount),
        Ok(pb::AccessKind::Key) => Ok(Kind::Key),
        Ok(pb::AccessKind::Binding) => Ok(Kind::Binding),
        Ok(pb::AccessKind::Unspecified) | Err(_) => Err(invalid(field, "is not a kind")),
    }
}

impl From<Kind> for pb::AccessKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::ServiceAccount => Self::ServiceAccount,
            Kind::Key => Self::Key,
            Kind::Binding => Self::Binding,
        }
    }
}

impl TryFrom<pb::ReviewAccessRequest> for ReviewAccess {
    type Error = FieldError;

    fn try_from(request: pb::ReviewAccessRequest) -> Result<Self, FieldError> {
        let named = request.kinds.iter().enumerate().map(|(i, number)| kind(&format!("kinds[{i}]"), *number));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        // Each once, in one order: page tokens hold for the same question.
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| named.is_empty() || named.contains(kind)).collect();
        let unused_for = request.unused_for.unwrap_or_default().try_into();
        let unused_for = unused_for.map_err(|_| invalid("unused_for", "must be a span of time, zero or more"))?;
        let page = parse::page(request.page_size, &request.page_token)?;
        let order_by = if request.order_by.is_empty() { "last_use_time" } else { &request.order_by };
        let mut listing = parse::listing(page, "", order_by, false, FIELDS)?;
        listing.asked = format!("{kinds:?} {unused_for:?} {}", listing.asked);
        Ok(Self { parent: parse::required("parent", &request.parent)?, kinds, unused_for, listing })
    }
}

impl From<NamedReviewed> for pb::ReviewedAccess {
    fn from(named: NamedReviewed) -> Self {
        let NamedReviewed { name, member, scope, role, now, record } = named;
        let idle = now.since(record.used.unwrap_or(record.created));
        let ended = record.expires.is_some_and(|expires| expires <= now);
        Self {
            name,
            kind: pb::AccessKind::from(record.kind).into(),
            title: record.title,
            member,
            role,
            scope,
            active: record.active && !ended,
            create_time: Some(parse::to_wire(record.created)),
            last_use_time: record.used.map(parse::to_wire),
            // Spans between two times that both have a message.
            unused_for: idle.try_into().ok(),
            age: now.since(record.created).try_into().ok(),
            expire_time: record.expires.map(parse::to_wire),
        }
    }
}

impl From<Listed<NamedReviewed>> for pb::ReviewAccessResponse {
    fn from(listed: Listed<NamedReviewed>) -> Self {
        Self {
            records: listed.records.into_iter().map(Into::into).collect(),
            next_page_token: parse::page_token(&listed.next),
        }
    }
}
