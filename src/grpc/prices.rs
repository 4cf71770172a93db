//! `PriceService`, and what messages of prices mean.

use std::collections::{HashMap, HashSet};

use tonic::Request;

use super::{
    meters,
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::prices::{
        self, GetPriceVersion, ImportPriceFile, ImportPrices, ListPriceVersions, ListPrices, NamedVersion,
        PriceFileImported, PricesChanged, RollBackPrices, VersionRead,
    },
    domain::{
        money::MAX_AMOUNT,
        names::{PriceVersionName, TenantName},
        price_file::{self, Note, NoteKind},
        price_versions::PriceChange,
        prices::{MAX_COUNT, MAX_MODEL, MAX_PROVIDER, MAX_RATES, Price, Rate},
        time::Timestamp,
    },
    pb::tollreeve::v1::{self as pb, price_service_server::PriceService, *},
};

/// Most prices in a call.
const MAX_PRICES: usize = 1000;
/// Longest price file, in bytes.
const MAX_FILE: usize = 12 * 1024 * 1024;
/// Most notes about a file that are told.
const MAX_NOTES: usize = 10_000;

#[tonic::async_trait]
impl PriceService for Management {
    async fn import_prices(&self, request: Request<ImportPricesRequest>) -> Answer<ImportPricesResponse> {
        self.run(request, prices::import).await
    }

    async fn import_price_file(&self, request: Request<ImportPriceFileRequest>) -> Answer<ImportPriceFileResponse> {
        self.run(request, prices::import_file).await
    }

    async fn list_prices(&self, request: Request<ListPricesRequest>) -> Answer<ListPricesResponse> {
        self.run(request, prices::list).await
    }

    async fn list_price_versions(
        &self,
        request: Request<ListPriceVersionsRequest>,
    ) -> Answer<ListPriceVersionsResponse> {
        self.run(request, prices::versions).await
    }

    async fn get_price_version(&self, request: Request<GetPriceVersionRequest>) -> Answer<GetPriceVersionResponse> {
        self.run(request, prices::get).await
    }

    async fn roll_back_prices(&self, request: Request<RollBackPricesRequest>) -> Answer<RollBackPricesResponse> {
        self.run(request, prices::roll_back).await
    }
}

impl From<Price> for pb::Price {
    fn from(price: Price) -> Self {
        Self {
            provider: price.provider,
            model: price.model,
            input_nanos_per_million: price.input,
            output_nanos_per_million: price.output,
            cached_input_nanos_per_million: price.cached_input,
            cache_write_nanos_per_million: price.cache_write,
            request_nanos_per_million: price.request,
            rates: price.rates.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Rate> for pb::Rate {
    fn from(rate: Rate) -> Self {
        Self {
            meter: pb::Meter::from(rate.meter).into(),
            service_tier: pb::ServiceTier::from(rate.tier).into(),
            above_input_tokens: rate.above,
            nanos_per_million: rate.nanos,
        }
    }
}

/// Reads one price, at its place in the message.
fn price(at: &str, price: pb::Price) -> Result<Price, FieldError> {
    let field = |name: &str| format!("{at}.{name}");
    let text = |name: &str, text: String, most: usize| {
        if text.is_empty() {
            Err(invalid(field(name), "is required"))
        } else {
            parse::bounded(&field(name), text, most)
        }
    };
    let nanos = |name: &str, amount: i64| parse::within(&field(name), amount, 0, MAX_AMOUNT);
    let optional = |name: &str, amount: Option<i64>| amount.map(|amount| nanos(name, amount)).transpose();
    let read = Price {
        id: 0,
        provider: text("provider", price.provider, MAX_PROVIDER)?,
        model: text("model", price.model, MAX_MODEL)?,
        input: nanos("input_nanos_per_million", price.input_nanos_per_million)?,
        output: nanos("output_nanos_per_million", price.output_nanos_per_million)?,
        cached_input: optional("cached_input_nanos_per_million", price.cached_input_nanos_per_million)?,
        cache_write: optional("cache_write_nanos_per_million", price.cache_write_nanos_per_million)?,
        request: nanos("request_nanos_per_million", price.request_nanos_per_million)?,
        ..Price::default()
    };
    Ok(read.with_rates(rates(&field("rates"), &price.rates)?))
}

fn rates(field: &str, given: &[pb::Rate]) -> Result<Vec<Rate>, FieldError> {
    if given.len() > MAX_RATES {
        return Err(invalid(field, format!("must be at most {MAX_RATES}")));
    }
    let mut seen = HashSet::new();
    let mut rates = Vec::with_capacity(given.len());
    for (i, rate) in given.iter().enumerate() {
        let of = |name: &str| format!("{field}[{i}].{name}");
        let read = Rate {
            meter: meters::meter(&of("meter"), rate.meter)?,
            tier: meters::tier(&of("service_tier"), rate.service_tier)?.unwrap_or_default(),
            above: parse::within(&of("above_input_tokens"), rate.above_input_tokens, 0, MAX_COUNT)?,
            nanos: parse::within(&of("nanos_per_million"), rate.nanos_per_million, 0, MAX_AMOUNT)?,
        };
        if read.is_plain() {
            return Err(invalid(of("meter"), "has a field of its own in the price"));
        }
        if !seen.insert((read.meter, read.tier, read.above)) {
            return Err(invalid(format!("{field}[{i}]"), "is for the same as another before it"));
        }
        rates.push(read);
    }
    Ok(rates)
}

impl TryFrom<ImportPricesRequest> for ImportPrices {
    type Error = FieldError;

    fn try_from(request: ImportPricesRequest) -> Result<Self, FieldError> {
        if !(1..=MAX_PRICES).contains(&request.prices.len()) {
            return Err(invalid("prices", format!("must be 1 to {MAX_PRICES}")));
        }
        let read = |(i, given)| price(&format!("prices[{i}]"), given);
        let prices: Vec<Price> = request.prices.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let mut places = HashMap::new();
        for (i, price) in prices.iter().enumerate() {
            if let Some(first) = places.insert((&price.provider, &price.model), i) {
                return Err(invalid(format!("prices[{i}]"), format!("is for the same model as prices[{first}]")));
            }
        }
        drop(places);
        Ok(Self { parent: parent(&request.parent)?, effective: effective(request.effective_time)?, prices })
    }
}

impl TryFrom<ImportPriceFileRequest> for ImportPriceFile {
    type Error = FieldError;

    fn try_from(request: ImportPriceFileRequest) -> Result<Self, FieldError> {
        if request.content.is_empty() || request.content.len() > MAX_FILE {
            return Err(invalid("content", format!("must have 1 to {MAX_FILE} bytes")));
        }
        let text = std::str::from_utf8(&request.content).map_err(|error| invalid("content", error))?;
        let file = price_file::parse(text).map_err(|error| invalid("content", error))?;
        let effective = effective(request.effective_time)?;
        Ok(Self { parent: parent(&request.parent)?, effective, file, validate_only: request.validate_only })
    }
}

/// The tenant whose own prices are spoken of, if it is not about those of all.
fn parent(name: &str) -> Result<Option<TenantName>, FieldError> {
    if name.is_empty() { Ok(None) } else { parse::required("parent", name).map(Some) }
}

/// When something is to take effect; whether that is in the past, the use case says.
fn effective(time: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, FieldError> {
    time.map(|time| parse::timestamp("effective_time", &time)).transpose()
}

impl From<PricesChanged> for ImportPricesResponse {
    fn from(imported: PricesChanged) -> Self {
        let version = version_name(imported.version.as_ref());
        Self { changed: count(imported.changed), revision: imported.revision, version }
    }
}

impl From<PricesChanged> for RollBackPricesResponse {
    fn from(changed: PricesChanged) -> Self {
        let version = version_name(changed.version.as_ref());
        Self { changed: count(changed.changed), revision: changed.revision, version }
    }
}

fn version_name(name: Option<&PriceVersionName>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

/// A number of prices or notes of one message.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl From<PriceFileImported> for ImportPriceFileResponse {
    fn from(PriceFileImported { imported, file }: PriceFileImported) -> Self {
        Self {
            changed: count(imported.changed),
            revision: imported.revision,
            prices: count(file.prices.len()),
            total_notes: count(file.notes.len()),
            version: version_name(imported.version.as_ref()),
            notes: file.notes.into_iter().take(MAX_NOTES).map(Into::into).collect(),
        }
    }
}

impl From<Note> for PriceFileNote {
    fn from(note: Note) -> Self {
        let kind = match note.kind {
            NoteKind::Broken => PriceFileNoteKind::Broken,
            NoteKind::Unpriced => PriceFileNoteKind::Unpriced,
            NoteKind::Ignored => PriceFileNoteKind::Ignored,
            NoteKind::Rounded => PriceFileNoteKind::Rounded,
        };
        Self { entry: note.name, line: count(note.line), field: note.field, kind: kind.into(), reason: note.reason }
    }
}

impl TryFrom<ListPricesRequest> for ListPrices {
    type Error = FieldError;

    fn try_from(request: ListPricesRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        Ok(Self { parent: parent(&request.parent)?, at: effective(request.effective_time)?, page })
    }
}

impl TryFrom<ListPriceVersionsRequest> for ListPriceVersions {
    type Error = FieldError;

    fn try_from(request: ListPriceVersionsRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        Ok(Self { parent: parent(&request.parent)?, page })
    }
}

impl TryFrom<GetPriceVersionRequest> for GetPriceVersion {
    type Error = FieldError;

    fn try_from(request: GetPriceVersionRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        Ok(Self { name: parse::required("name", &request.name)?, page })
    }
}

impl TryFrom<RollBackPricesRequest> for RollBackPrices {
    type Error = FieldError;

    fn try_from(request: RollBackPricesRequest) -> Result<Self, FieldError> {
        Ok(Self {
            name: parse::required("name", &request.name)?,
            effective: effective(request.effective_time)?,
            validate_only: request.validate_only,
        })
    }
}

impl From<NamedVersion> for pb::PriceVersion {
    fn from(NamedVersion { name, version, event }: NamedVersion) -> Self {
        let restored = version.restores.map(|number| PriceVersionName { number, ..name.clone() });
        Self {
            name: name.to_string(),
            effective_time: Some(parse::to_wire(version.effective)),
            create_time: Some(parse::to_wire(version.created)),
            actor: version.actor,
            audit_event: event.map(|event| event.to_string()).unwrap_or_default(),
            restored_version: version_name(restored.as_ref()),
            set_count: version.sets,
            removed_count: version.removals,
        }
    }
}

impl From<PriceChange> for pb::PriceChange {
    fn from(PriceChange { before, after }: PriceChange) -> Self {
        Self { before: before.map(Into::into), after: after.map(Into::into) }
    }
}

impl From<VersionRead> for GetPriceVersionResponse {
    fn from(VersionRead { version, changes }: VersionRead) -> Self {
        Self {
            version: Some(version.into()),
            changes: changes.records.into_iter().map(Into::into).collect(),
            next_page_token: parse::page_token(&changes.next),
        }
    }
}

answers_page!(Price as prices: ListPricesResponse);
answers_page!(NamedVersion as versions: ListPriceVersionsResponse);
