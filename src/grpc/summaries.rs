//! What messages of sums over charges mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::summaries::SummarizeCharges,
    domain::{names::MAX_END_USER, time::Timestamp},
    pb::tollreeve::v1 as pb,
    store::summaries::{Filter, Grouping, Sum},
};

fn grouping(number: i32) -> Result<Grouping, FieldError> {
    match pb::ChargeGrouping::try_from(number) {
        Ok(pb::ChargeGrouping::Unspecified) => Ok(Grouping::Nothing),
        Ok(pb::ChargeGrouping::Project) => Ok(Grouping::Project),
        Ok(pb::ChargeGrouping::Key) => Ok(Grouping::Key),
        Ok(pb::ChargeGrouping::Model) => Ok(Grouping::Model),
        Ok(pb::ChargeGrouping::Workspace) => Ok(Grouping::Workspace),
        Err(_) => Err(invalid("grouping", "is not a grouping")),
    }
}

/// A bound in time; `missing` when the caller does not give one.
fn bound(field: &str, time: Option<prost_types::Timestamp>, missing: i64) -> Result<Timestamp, FieldError> {
    time.map_or(Ok(Timestamp::from_micros(missing)), |time| parse::timestamp(field, &time))
}

impl TryFrom<pb::SummarizeChargesRequest> for SummarizeCharges {
    type Error = FieldError;

    fn try_from(request: pb::SummarizeChargesRequest) -> Result<Self, FieldError> {
        let filter = Filter {
            end_user: parse::bounded("end_user", request.end_user, MAX_END_USER)?,
            start: bound("start_time", request.start_time, i64::MIN)?,
            end: bound("end_time", request.end_time, i64::MAX)?,
        };
        if filter.end < filter.start {
            return Err(invalid("end_time", "must not be before start_time"));
        }
        Ok(Self { parent: parse::required("parent", &request.parent)?, grouping: grouping(request.grouping)?, filter })
    }
}

impl From<Sum> for pb::ChargeSum {
    fn from(sum: Sum) -> Self {
        Self {
            group: sum.group,
            charges: sum.charges,
            requests: sum.requests,
            input_tokens: sum.input_tokens,
            output_tokens: sum.output_tokens,
            cost_nanos: sum.cost_nanos,
        }
    }
}

impl From<Vec<Sum>> for pb::SummarizeChargesResponse {
    fn from(sums: Vec<Sum>) -> Self {
        Self { sums: sums.into_iter().map(Into::into).collect() }
    }
}
