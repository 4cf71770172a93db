//! What messages of counts mean.

use super::parse::{self, FieldError};
use crate::{
    app::headcounts::{SummarizeTeams, SummarizeUsers, TeamCounts},
    pb::tollreeve::v1 as pb,
    store::headcounts::OfUsers,
};

impl TryFrom<pb::SummarizeUsersRequest> for SummarizeUsers {
    type Error = FieldError;

    fn try_from(request: pb::SummarizeUsersRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

impl TryFrom<pb::SummarizeTeamsRequest> for SummarizeTeams {
    type Error = FieldError;

    fn try_from(request: pb::SummarizeTeamsRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

impl From<OfUsers> for pb::SummarizeUsersResponse {
    fn from(counts: OfUsers) -> Self {
        let OfUsers { total, active, invited, suspended, admins, owners } = counts;
        Self { total, active, invited, suspended, admins, owners }
    }
}

impl From<TeamCounts> for pb::SummarizeTeamsResponse {
    fn from(TeamCounts { counts, spent, used }: TeamCounts) -> Self {
        Self {
            teams: counts.teams,
            members: counts.members,
            month_spent_nanos: spent,
            month_requests: used.map(|used| used.requests),
            month_cost_nanos: used.map(|used| used.cost),
        }
    }
}
