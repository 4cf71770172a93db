//! `UsageService`, and what messages of usage mean.

use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::statements,
    app::usage::{self, ListCharges, NamedCharge, Only, QueryUsage, UsageRow},
    domain::{
        listing,
        time::Timestamp,
        usage::{Granularity, Grouping, HOUR_MICROS, LAST_HOUR, Order, hour},
    },
    engine::journal::Outcome,
    pb::tollreeve::v1::{self as pb, usage_service_server::UsageService, *},
    store::{Page, listing::Listing},
};

/// Longest name of a provider, in characters.
const MAX_PROVIDER: usize = 64;
/// Longest name of a model, in characters.
const MAX_MODEL: usize = 256;

#[tonic::async_trait]
impl UsageService for Management {
    async fn query_usage(&self, request: Request<QueryUsageRequest>) -> Answer<QueryUsageResponse> {
        self.run(request, usage::query).await
    }

    async fn list_charges(&self, request: Request<ListChargesRequest>) -> Answer<ListChargesResponse> {
        self.run(request, usage::list_charges).await
    }

    async fn close_statement(&self, request: Request<CloseStatementRequest>) -> Answer<CloseStatementResponse> {
        self.run_intended(request, statements::close).await
    }

    async fn get_statement(&self, request: Request<GetStatementRequest>) -> Answer<GetStatementResponse> {
        self.run(request, statements::get).await
    }

    async fn list_statements(&self, request: Request<ListStatementsRequest>) -> Answer<ListStatementsResponse> {
        self.run(request, statements::list).await
    }

    async fn list_statement_lines(
        &self,
        request: Request<ListStatementLinesRequest>,
    ) -> Answer<ListStatementLinesResponse> {
        self.run(request, statements::list_lines).await
    }
}

/// A name that need not be there.
pub(super) fn named<T>(field: &str, text: &str) -> Result<Option<T>, FieldError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    (!text.is_empty()).then(|| parse::required(field, text)).transpose()
}

/// A whole hour.
fn whole_hour(field: &str, time: Option<prost_types::Timestamp>) -> Result<Option<i64>, FieldError> {
    let Some(time) = time else { return Ok(None) };
    let time = parse::timestamp(field, &time)?;
    if time.micros().rem_euclid(HOUR_MICROS) != 0 || !(0..=LAST_HOUR).contains(&hour(time)) {
        return Err(invalid(field, "must be a whole hour from 1970 on"));
    }
    Ok(Some(hour(time)))
}

fn granularity(number: i32) -> Result<Granularity, FieldError> {
    match UsageGranularity::try_from(number) {
        Ok(UsageGranularity::Unspecified | UsageGranularity::Total) => Ok(Granularity::Total),
        Ok(UsageGranularity::Hour) => Ok(Granularity::Hour),
        Ok(UsageGranularity::Day) => Ok(Granularity::Day),
        Ok(UsageGranularity::Month) => Ok(Granularity::Month),
        Err(_) => Err(invalid("granularity", "is not a granularity of this version")),
    }
}

/// Each grouping once, in the order of all.
fn groups(numbers: &[i32]) -> Result<Vec<Grouping>, FieldError> {
    let grouping = |number: &i32| match UsageGrouping::try_from(*number) {
        Ok(UsageGrouping::Workspace) => Ok(Grouping::Workspace),
        Ok(UsageGrouping::Project) => Ok(Grouping::Project),
        Ok(UsageGrouping::Team) => Ok(Grouping::Team),
        Ok(UsageGrouping::Owner) => Ok(Grouping::Owner),
        Ok(UsageGrouping::Key) => Ok(Grouping::Key),
        Ok(UsageGrouping::Provider) => Ok(Grouping::Provider),
        Ok(UsageGrouping::Model) => Ok(Grouping::Model),
        Ok(UsageGrouping::Unspecified) | Err(_) => Err(invalid("group_by", "is not a grouping of this version")),
    };
    let mut groups = numbers.iter().map(grouping).collect::<Result<Vec<_>, _>>()?;
    groups.sort_unstable();
    groups.dedup();
    if groups.len() == numbers.len() { Ok(groups) } else { Err(invalid("group_by", "has the same grouping twice")) }
}

fn order(text: &str) -> Result<Order, FieldError> {
    match text {
        "" | "time" => Ok(Order::Time),
        "time desc" => Ok(Order::TimeDown),
        "spend" => Ok(Order::Spend),
        "spend desc" => Ok(Order::SpendDown),
        _ => Err(invalid("order_by", "must be `time` or `spend`, perhaps with ` desc`")),
    }
}

/// A page of what was asked, which has no terms.
pub(super) fn listing(page: Page, asked: String) -> Listing {
    Listing { page, terms: Vec::new(), order: listing::CREATION, show_deleted: false, asked }
}

impl TryFrom<QueryUsageRequest> for QueryUsage {
    type Error = FieldError;

    fn try_from(request: QueryUsageRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        // The parent is part of the list's own name.
        let whole = QueryUsageRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            start: whole_hour("start_time", request.start_time)?,
            end: whole_hour("end_time", request.end_time)?,
            granularity: granularity(request.granularity)?,
            groups: groups(&request.group_by)?,
            only: Only {
                workspace: named("workspace", &request.workspace)?,
                project: named("project", &request.project)?,
                team: named("team", &request.team)?,
                owner: named("owner", &request.owner)?,
                key: named("key", &request.key)?,
                provider: parse::bounded("provider", request.provider, MAX_PROVIDER)?,
                model: parse::bounded("model", request.model, MAX_MODEL)?,
            },
            order: order(&request.order_by)?,
            listing: listing(page, format!("{whole:?}")),
        })
    }
}

impl TryFrom<ListChargesRequest> for ListCharges {
    type Error = FieldError;

    fn try_from(request: ListChargesRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        let whole = ListChargesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let time = |field, time: Option<prost_types::Timestamp>| -> Result<Option<Timestamp>, FieldError> {
            time.map(|time| parse::timestamp(field, &time)).transpose()
        };
        let (start, end) = (time("start_time", request.start_time)?, time("end_time", request.end_time)?);
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(invalid("end_time", "must not be before start_time"));
        }
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            start,
            end,
            only: Only {
                project: named("project", &request.project)?,
                owner: named("owner", &request.owner)?,
                key: named("key", &request.key)?,
                model: parse::bounded("model", request.model, MAX_MODEL)?,
                ..Only::default()
            },
            listing: listing(page, format!("{whole:?}")),
        })
    }
}

impl From<UsageRow> for pb::UsageRow {
    fn from(row: UsageRow) -> Self {
        let UsageRow { start, end, sum } = row;
        let [workspace, project, team, owner, key, provider, model] = sum.groups;
        let [input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens] = sum.tokens;
        Self {
            start_time: Some(parse::to_wire(start)),
            end_time: Some(parse::to_wire(end)),
            workspace,
            project,
            team,
            owner,
            key,
            provider,
            model,
            charges: sum.charges,
            requests: sum.requests,
            input_tokens,
            cached_input_tokens,
            cache_write_tokens,
            output_tokens,
            reasoning_tokens,
            cost_nanos: sum.cost,
        }
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Success => pb::Outcome::Success,
        Outcome::ProviderError => pb::Outcome::ProviderError,
        Outcome::Cancelled => pb::Outcome::Cancelled,
        Outcome::NotDispatched => pb::Outcome::NotDispatched,
        Outcome::Expired => pb::Outcome::Unspecified,
    }
}

impl From<NamedCharge> for pb::RecordedCharge {
    fn from(NamedCharge(charge): NamedCharge) -> Self {
        let usage = pb::Usage {
            input_tokens: charge.usage.input,
            cached_input_tokens: charge.usage.cached_input,
            cache_write_tokens: charge.usage.cache_write,
            output_tokens: charge.usage.output,
            reasoning_tokens: charge.usage.reasoning,
            requests: Some(charge.usage.requests),
            service_tier: pb::ServiceTier::from(charge.metered.tier).into(),
            quantities: charge.metered.quantities.into_iter().map(Into::into).collect(),
        };
        Self {
            charge_id: charge.charge_id,
            ledger_seq: charge.seq,
            record_time: Some(parse::to_wire(charge.recorded)),
            occur_time: Some(parse::to_wire(charge.occurred)),
            workspace: charge.workspace,
            project: charge.project,
            key: charge.key,
            owner: charge.owner,
            end_user: charge.end_user,
            provider: charge.provider,
            model: charge.model,
            outcome: outcome(charge.outcome).into(),
            usage: Some(usage),
            cost_nanos: charge.cost,
            late: charge.late,
            expired: charge.outcome == Outcome::Expired,
            price_version: charge.price_version,
            at_ceiling: charge.at_ceiling,
        }
    }
}

answers_page!(UsageRow as rows: QueryUsageResponse);
answers_page!(NamedCharge as charges: ListChargesResponse);
