//! What messages of teams mean.

use super::parse::{self, FieldError};
use crate::{
    app::teams::{CreateTeam, DeleteTeam, GetTeam, ListTeams, MonthlyLimit, NamedTeam, TeamDeleted, UpdateTeam},
    domain::{
        budgets::{Level, used_percent},
        listing::{Field, Kind, WORDS},
        money::MAX_AMOUNT,
        names::TeamName,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of teams can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// Fields of a team that never change, or only by other calls.
const FIXED: &[&str] =
    &["name", "create_time", "etag", "member_count", "spending", "month_requests", "month_cost_nanos"];

/// Longest description of a team, in characters.
const MAX_DESCRIPTION: usize = 1024;

impl From<NamedTeam> for pb::Team {
    fn from(named: NamedTeam) -> Self {
        Self {
            name: named.name.to_string(),
            display_name: named.team.display_name,
            description: named.team.description,
            create_time: Some(parse::to_wire(named.team.created)),
            etag: parse::etag(named.team.version),
            member_count: named.members,
            month_requests: named.used.map(|used| used.requests),
            month_cost_nanos: named.used.map(|used| used.cost),
            monthly_limit_nanos: named.limit.as_ref().map(|limit| limit.budget.limit),
            spending: named.limit.as_ref().and_then(spending),
        }
    }
}

/// What is spent of a limit, if that is known.
fn spending(limit: &MonthlyLimit) -> Option<pb::TeamSpending> {
    let standing = limit.standing.as_ref()?;
    let used = used_percent(limit.budget.limit, standing.spent);
    let level = match limit.budget.course.thresholds.level(used) {
        Level::Ok => pb::SpendLevel::Ok,
        Level::Warning => pb::SpendLevel::Warning,
        Level::Critical => pb::SpendLevel::Critical,
    };
    Some(pb::TeamSpending {
        budget: limit.name.to_string(),
        spent_nanos: standing.spent,
        held_nanos: standing.held,
        used_percent: used,
        level: level.into(),
        reset_time: standing.resets_at.map(parse::to_wire),
    })
}

fn limit(limit: Option<i64>) -> Result<Option<i64>, FieldError> {
    limit.map(|limit| parse::within("team.monthly_limit_nanos", limit, 0, MAX_AMOUNT)).transpose()
}

impl TryFrom<pb::CreateTeamRequest> for CreateTeam {
    type Error = FieldError;

    fn try_from(request: pb::CreateTeamRequest) -> Result<Self, FieldError> {
        let slug = parse::required("team_id", &request.team_id)?;
        let team = request.team.unwrap_or_default();
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("team.display_name", team.display_name, &slug)?,
            description: parse::bounded("team.description", team.description, MAX_DESCRIPTION)?,
            limit: limit(team.monthly_limit_nanos)?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateTeamRequest> for UpdateTeam {
    type Error = FieldError;

    fn try_from(request: pb::UpdateTeamRequest) -> Result<Self, FieldError> {
        let team = parse::present("team", request.team)?;
        let name: TeamName = parse::required("team.name", &team.name)?;
        let set = [
            ("display_name", !team.display_name.is_empty()),
            ("description", !team.description.is_empty()),
            ("monthly_limit_nanos", team.monthly_limit_nanos.is_some()),
        ];
        let [renamed, described, limited] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name = parse::display_name("team.display_name", team.display_name, &name.team)?;
        let description = parse::bounded("team.description", team.description, MAX_DESCRIPTION)?;
        let limit = limit(team.monthly_limit_nanos)?;
        Ok(Self {
            version: parse::version(&team.etag),
            display_name: renamed.then_some(display_name),
            description: described.then_some(description),
            limit: limited.then_some(limit),
            name,
        })
    }
}

impl TryFrom<pb::DeleteTeamRequest> for DeleteTeam {
    type Error = FieldError;

    fn try_from(request: pb::DeleteTeamRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl From<TeamDeleted> for pb::DeleteTeamResponse {
    fn from(TeamDeleted(revision): TeamDeleted) -> Self {
        Self { revision }
    }
}

intended!(UpdateTeamRequest, DeleteTeamRequest);

asks_by_name! {
    GetTeamRequest => GetTeam;
}

asks_for_listing! {
    ListTeamsRequest => ListTeams by FIELDS;
}

answers_one! {
    NamedTeam as team: read GetTeamResponse;
    changed CreateTeamResponse, UpdateTeamResponse, AddTeamMembersResponse, RemoveTeamMembersResponse;
}

answers_page!(NamedTeam as teams: ListTeamsResponse);
