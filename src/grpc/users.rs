//! What messages of users mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::users::{CreateUser, GetUser, Gift, ListUsers, NamedUser, SetUserState},
    domain::{
        listing::{Field, Kind, WORDS},
        names::{RoleName, TeamName},
        role::Role,
        users::{MAX_TEAMS, UserState, is_email},
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of users can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "email", kind: Kind::Email, sorts: true },
    Field { name: "state", kind: Kind::Choice(&["INVITED", "ACTIVE", "SUSPENDED"]), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// Longest name for people, in characters.
const MAX_NAME: usize = 128;

impl From<UserState> for pb::UserState {
    fn from(state: UserState) -> Self {
        match state {
            UserState::Invited => Self::Invited,
            UserState::Active => Self::Active,
            UserState::Suspended => Self::Suspended,
            // Nobody finds them.
            UserState::Forgotten => Self::Unspecified,
        }
    }
}

impl From<NamedUser> for pb::User {
    fn from(named: NamedUser) -> Self {
        Self {
            name: named.name.to_string(),
            email: named.user.email,
            display_name: named.user.display_name,
            state: pb::UserState::from(named.user.state).into(),
            teams: named.teams,
            create_time: Some(parse::to_wire(named.user.created)),
            etag: parse::etag(named.user.version),
            last_use_time: named.last_used.map(parse::to_wire),
        }
    }
}

/// What a new user is given: a role, or what a template says; each with the field that it is in.
pub(super) fn gift(role: (&str, &str), template: (&str, &str)) -> Result<Gift, FieldError> {
    match (role.1, template.1) {
        ("", "") => Ok(Gift::Role(RoleName::BuiltIn(Role::Member))),
        (name, "") => parse::required(role.0, name).map(Gift::Role),
        ("", name) => parse::required(template.0, name).map(Gift::Template),
        _ => Err(invalid(template.0, "gives a role: leave `role` empty")),
    }
}

impl TryFrom<pb::CreateUserRequest> for CreateUser {
    type Error = FieldError;

    fn try_from(request: pb::CreateUserRequest) -> Result<Self, FieldError> {
        let user = parse::present("user", request.user)?;
        if user.email.is_empty() {
            return Err(invalid("user.email", "is required"));
        }
        if !is_email(&user.email) {
            return Err(invalid("user.email", "is not an address of at most 254 characters"));
        }
        if user.teams.len() > MAX_TEAMS {
            return Err(invalid("user.teams", format!("must be at most {MAX_TEAMS}")));
        }
        let team = |(i, name): (usize, &String)| parse::required::<TeamName>(&format!("user.teams[{i}]"), name);
        let local_part: String = user.email.split('@').next().unwrap_or_default().chars().take(MAX_NAME).collect();
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("user.display_name", user.display_name, &local_part)?,
            teams: user.teams.iter().enumerate().map(team).collect::<Result<_, _>>()?,
            gift: gift(("role", &request.role), ("template", &request.template))?,
            email: user.email,
        })
    }
}

asks_by_name! {
    GetUserRequest => GetUser;
    SuspendUserRequest => SetUserState { state: UserState::Suspended };
    ReactivateUserRequest => SetUserState { state: UserState::Active };
}

asks_for_listing! {
    ListUsersRequest => ListUsers by FIELDS;
}

answers_one! {
    NamedUser as user: read GetUserResponse;
    changed CreateUserResponse, SuspendUserResponse, ReactivateUserResponse;
}

answers_page!(NamedUser as users: ListUsersResponse);
