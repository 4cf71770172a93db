//! `CreditService`, and what messages of credit mean.

use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::credits::{self, CreateCreditEntry, GetCredit, ListCreditEntries, NamedCredit, NamedEntry},
    domain::{
        credits::{EntryKind, is_whole_hour},
        listing::{Field, Kind},
        money::MAX_AMOUNT,
    },
    pb::tollreeve::v1::{self as pb, credit_service_server::CreditService, *},
};

/// What lists of entries can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "kind", kind: Kind::Choice(&["PURCHASE", "GRANT", "ADJUSTMENT", "EXPIRY"]), sorts: false },
    Field { name: "reference", kind: Kind::Text, sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
];

/// Longest reference, in characters.
const MAX_REFERENCE: usize = 128;
/// Longest note, in characters.
const MAX_NOTE: usize = 512;
/// What references of the server's own begin with.
const OWN: &str = "expiry/";

#[tonic::async_trait]
impl CreditService for Management {
    async fn create_credit_entry(
        &self,
        request: Request<CreateCreditEntryRequest>,
    ) -> Answer<CreateCreditEntryResponse> {
        self.run_intended(request, credits::create).await
    }

    async fn list_credit_entries(
        &self,
        request: Request<ListCreditEntriesRequest>,
    ) -> Answer<ListCreditEntriesResponse> {
        self.run(request, credits::list).await
    }

    async fn get_credit(&self, request: Request<GetCreditRequest>) -> Answer<GetCreditResponse> {
        self.run(request, credits::get).await
    }
}

impl From<EntryKind> for pb::CreditEntryKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Purchase => Self::Purchase,
            EntryKind::Grant => Self::Grant,
            EntryKind::Adjustment => Self::Adjustment,
            EntryKind::Expiry => Self::Expiry,
        }
    }
}

fn kind(field: &str, number: i32) -> Result<EntryKind, FieldError> {
    match pb::CreditEntryKind::try_from(number) {
        Ok(pb::CreditEntryKind::Purchase) => Ok(EntryKind::Purchase),
        Ok(pb::CreditEntryKind::Grant) => Ok(EntryKind::Grant),
        Ok(pb::CreditEntryKind::Adjustment) => Ok(EntryKind::Adjustment),
        Ok(pb::CreditEntryKind::Expiry) => Err(invalid(field, "is made by the server alone")),
        Ok(pb::CreditEntryKind::Unspecified) => Err(invalid(field, "is required")),
        Err(_) => Err(invalid(field, "is not one of this version")),
    }
}

impl TryFrom<CreateCreditEntryRequest> for CreateCreditEntry {
    type Error = FieldError;

    fn try_from(request: CreateCreditEntryRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        let entry = parse::present("entry", request.entry)?;
        let kind = kind("entry.kind", entry.kind)?;
        let amount = parse::within("entry.amount_nanos", entry.amount_nanos, -MAX_AMOUNT, MAX_AMOUNT)?;
        if amount == 0 || (amount < 0 && kind != EntryKind::Adjustment) {
            return Err(invalid("entry.amount_nanos", "must be above zero; of an adjustment it may be below"));
        }
        if entry.reference.is_empty() || entry.reference.starts_with(OWN) {
            return Err(invalid("entry.reference", format!("is required, and must not begin with `{OWN}`")));
        }
        let expires = entry.expire_time.map(|time| parse::timestamp("entry.expire_time", &time)).transpose()?;
        if expires.is_some_and(|at| amount < 0 || !is_whole_hour(at)) {
            return Err(invalid("entry.expire_time", "must be a whole hour, and only of what is above zero"));
        }
        Ok(Self {
            parent,
            kind,
            amount,
            reference: parse::bounded("entry.reference", entry.reference, MAX_REFERENCE)?,
            note: parse::bounded("entry.note", entry.note, MAX_NOTE)?,
            expires,
        })
    }
}

impl From<NamedEntry> for pb::CreditEntry {
    fn from(named: NamedEntry) -> Self {
        let (name, of_entry) = (named.name(named.entry.seq), named.entry.of_entry);
        let expired_entry = if of_entry == 0 { String::new() } else { named.name(of_entry).to_string() };
        let entry = named.entry;
        Self {
            name: name.to_string(),
            kind: pb::CreditEntryKind::from(entry.kind).into(),
            amount_nanos: entry.amount,
            reference: entry.reference,
            note: entry.note,
            expire_time: entry.expires.map(parse::to_wire),
            actor: entry.actor,
            create_time: Some(parse::to_wire(entry.created)),
            expired_entry,
        }
    }
}

/// What fits of an exact sum.
fn nanos(exact: i128) -> i64 {
    i64::try_from(exact.clamp(i64::MIN.into(), i64::MAX.into())).unwrap_or_default()
}

impl From<NamedCredit> for pb::Credit {
    fn from(NamedCredit { workspace, credit }: NamedCredit) -> Self {
        Self {
            workspace: workspace.to_string(),
            budget: credit.budget.map(|name| name.to_string()).unwrap_or_default(),
            granted_nanos: nanos(credit.granted),
            spent_nanos: nanos(credit.spent),
            held_nanos: nanos(credit.held),
            expired_nanos: nanos(credit.expired),
            expiring_nanos: nanos(credit.expiring),
            remaining_nanos: nanos(credit.remaining),
            next_expire_time: credit.next.map(|(at, _)| parse::to_wire(at)),
            next_expire_nanos: credit.next.map_or(0, |(_, amount)| nanos(amount)),
        }
    }
}

asks_by_name! {
    GetCreditRequest => GetCredit;
}

asks_for_listing! {
    ListCreditEntriesRequest => ListCreditEntries by FIELDS;
}

intended!(CreateCreditEntryRequest);

answers_one! {
    NamedCredit as credit: read GetCreditResponse;
}

impl From<crate::app::Changed<NamedEntry>> for CreateCreditEntryResponse {
    fn from(changed: crate::app::Changed<NamedEntry>) -> Self {
        Self { entry: Some(changed.record.into()), revision: changed.revision }
    }
}

answers_page!(NamedEntry as entries: ListCreditEntriesResponse);
