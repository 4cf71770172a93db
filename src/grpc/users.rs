//! What messages of users mean.

use std::collections::HashSet;

use super::parse::{self, FieldError, invalid};
use crate::{
    app::{
        Changed,
        users::{
            CreateUser, CreateUsers, GetUser, Gift, ListUsers, NamedUser, NewUser, SetUserState, SetUserStates,
            UpdateUser,
        },
    },
    domain::{
        listing::{Field, Kind, WORDS},
        names::{RoleName, TeamName, UserName},
        role::Role,
        users::{MAX_TEAMS, UserState, fold_email, is_email},
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of users can be asked by.
pub(super) const FIELDS: &[Field] = &[
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "email", kind: Kind::Email, sorts: true },
    Field { name: "state", kind: Kind::Choice(&["INVITED", "ACTIVE", "SUSPENDED"]), sorts: true },
    Field { name: "role", kind: Kind::Name, sorts: false },
    Field { name: "team", kind: Kind::Name, sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    Field { name: "last_use_time", kind: Kind::Order, sorts: true },
    WORDS,
];

/// Longest name for people, in characters.
const MAX_NAME: usize = 128;
/// Most users of one call.
const MAX_AT_ONCE: usize = 1000;
/// Fields of a user that never change, or only by other calls.
const FIXED: &[&str] = &[
    "name",
    "email",
    "state",
    "create_time",
    "etag",
    "last_use_time",
    "roles",
    "key_count",
    "month_requests",
    "join_time",
];

impl From<UserState> for pb::UserState {
    fn from(state: UserState) -> Self {
        match state {
            UserState::Invited => Self::Invited,
            UserState::Active => Self::Active,
            UserState::Suspended => Self::Suspended,
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
            roles: named.roles,
            key_count: named.keys,
            join_time: named.user.joined.map(parse::to_wire),
            month_requests: named.used.map(|used| used.requests),
        }
    }
}

/// What a new user is given: a role, or what a template says.
pub(super) fn gift(at: &str, role: &str, template: &str) -> Result<Gift, FieldError> {
    match (role, template) {
        ("", "") => Ok(Gift::Role(RoleName::BuiltIn(Role::Member))),
        (_, "") => parse::required(&format!("{at}role"), role).map(Gift::Role),
        ("", _) => parse::required(&format!("{at}template"), template).map(Gift::Template),
        _ => Err(invalid(format!("{at}template"), "gives a role: leave `role` empty")),
    }
}

/// Names of users, at least one and each once.
pub(super) fn each_once(field: &str, names: &[String]) -> Result<Vec<UserName>, FieldError> {
    some(field, names.len())?;
    let mut seen = HashSet::new();
    let name = |(i, text): (usize, &String)| {
        let field = format!("{field}[{i}]");
        let name: UserName = parse::required(&field, text)?;
        if seen.insert(name.user) { Ok(name) } else { Err(invalid(field, "is there already")) }
    };
    names.iter().enumerate().map(name).collect()
}

fn some(field: &str, many: usize) -> Result<(), FieldError> {
    match many {
        0 => Err(invalid(field, "is required")),
        1..=MAX_AT_ONCE => Ok(()),
        _ => Err(invalid(field, format!("must be at most {MAX_AT_ONCE}"))),
    }
}

/// Names of teams, as many as a user can be in.
pub(super) fn teams(field: &str, names: &[String]) -> Result<Vec<TeamName>, FieldError> {
    if names.len() > MAX_TEAMS {
        return Err(invalid(field, format!("must be at most {MAX_TEAMS}")));
    }
    names.iter().enumerate().map(|(i, name)| parse::required(&format!("{field}[{i}]"), name)).collect()
}

/// Who is to be a user. `at` is where in the request that stands: empty, or `users[0].`.
fn new_user(at: &str, user: Option<pb::User>, role: &str, template: &str) -> Result<NewUser, FieldError> {
    let field = |name: &str| format!("{at}{name}");
    let user = parse::present(&field("user"), user)?;
    if user.email.is_empty() {
        return Err(invalid(field("user.email"), "is required"));
    }
    if !is_email(&user.email) {
        return Err(invalid(field("user.email"), "is not an address of at most 254 characters"));
    }
    let local_part: String = user.email.split('@').next().unwrap_or_default().chars().take(MAX_NAME).collect();
    Ok(NewUser {
        display_name: parse::display_name(&field("user.display_name"), user.display_name, &local_part)?,
        teams: teams(&field("user.teams"), &user.teams)?,
        gift: gift(at, role, template)?,
        email: user.email,
    })
}

impl TryFrom<pb::CreateUserRequest> for CreateUser {
    type Error = FieldError;

    fn try_from(request: pb::CreateUserRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        Ok(Self { parent, user: new_user("", request.user, &request.role, &request.template)? })
    }
}

impl TryFrom<pb::BatchCreateUsersRequest> for CreateUsers {
    type Error = FieldError;

    fn try_from(request: pb::BatchCreateUsersRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        some("users", request.users.len())?;
        let mut seen = HashSet::new();
        let user = |(i, new): (usize, pb::NewUser)| {
            let user = new_user(&format!("users[{i}]."), new.user, &new.role, &new.template)?;
            if seen.insert(fold_email(&user.email)) {
                Ok(user)
            } else {
                Err(invalid(format!("users[{i}].user.email"), "is there already"))
            }
        };
        Ok(Self { parent, users: request.users.into_iter().enumerate().map(user).collect::<Result<_, _>>()? })
    }
}

macro_rules! asks_for_states {
    ($($message:ident: $state:ident;)+) => {$(
        impl TryFrom<pb::$message> for SetUserStates {
            type Error = FieldError;

            fn try_from(request: pb::$message) -> Result<Self, FieldError> {
                let parent = parse::required("parent", &request.parent)?;
                Ok(Self { parent, names: each_once("names", &request.names)?, state: UserState::$state })
            }
        }
    )+};
}

asks_for_states! {
    BatchSuspendUsersRequest: Suspended;
    BatchReactivateUsersRequest: Active;
}

impl TryFrom<pb::UpdateUserRequest> for UpdateUser {
    type Error = FieldError;

    fn try_from(request: pb::UpdateUserRequest) -> Result<Self, FieldError> {
        let user = parse::present("user", request.user)?;
        let name: UserName = parse::required("user.name", &user.name)?;
        let set = [("display_name", !user.display_name.is_empty()), ("teams", !user.teams.is_empty())];
        let [renamed, moved] = parse::masked(request.update_mask, set, FIXED)?;
        if renamed && user.display_name.is_empty() {
            return Err(invalid("user.display_name", "is required"));
        }
        let display_name = parse::bounded("user.display_name", user.display_name, MAX_NAME)?;
        let teams = teams("user.teams", &user.teams)?;
        Ok(Self {
            version: parse::version(&user.etag),
            display_name: renamed.then_some(display_name),
            teams: moved.then_some(teams),
            name,
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
    changed CreateUserResponse, SuspendUserResponse, ReactivateUserResponse, UpdateUserResponse,
        ChangeUserRoleResponse;
}

macro_rules! answers_many {
    ($($answer:ident),+) => {$(
        impl From<Changed<Vec<NamedUser>>> for pb::$answer {
            fn from(changed: Changed<Vec<NamedUser>>) -> Self {
                Self { users: changed.record.into_iter().map(Into::into).collect(), revision: changed.revision }
            }
        }
    )+};
}

answers_many!(BatchCreateUsersResponse, BatchSuspendUsersResponse, BatchReactivateUsersResponse);

intended!(UpdateUserRequest, BatchCreateUsersRequest, BatchSuspendUsersRequest, BatchReactivateUsersRequest);

answers_page!(NamedUser as users: ListUsersResponse);
