//! What messages of teams mean.

use super::parse::{self, FieldError};
use crate::{
    app::teams::{CreateTeam, GetTeam, ListTeams, NamedTeam},
    domain::listing::{Field, Kind, WORDS},
    pb::tollreeve::v1 as pb,
};

/// What lists of teams can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

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
        }
    }
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
            slug,
        })
    }
}

asks_by_name! {
    GetTeamRequest => GetTeam;
}

asks_for_listing! {
    ListTeamsRequest => ListTeams by FIELDS;
}

answers_one! {
    NamedTeam as team: read GetTeamResponse;
    changed CreateTeamResponse;
}

answers_page!(NamedTeam as teams: ListTeamsResponse);
