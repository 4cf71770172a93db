//! What messages of who is in a team mean.

use super::{
    parse::{self, FieldError},
    users::{FIELDS, each_once},
};
use crate::{
    app::{
        memberships::{ChangeMembers, ListMembers},
        users::NamedUser,
    },
    pb::tollreeve::v1 as pb,
};

macro_rules! asks_for_members {
    ($($message:ident: $joining:literal;)+) => {$(
        impl TryFrom<pb::$message> for ChangeMembers {
            type Error = FieldError;

            fn try_from(request: pb::$message) -> Result<Self, FieldError> {
                let name = parse::required("name", &request.name)?;
                Ok(Self { name, users: each_once("users", &request.users)?, joining: $joining })
            }
        }
    )+};
}

asks_for_members! {
    AddTeamMembersRequest: true;
    RemoveTeamMembersRequest: false;
}

intended!(AddTeamMembersRequest, RemoveTeamMembersRequest);

asks_for_listing! {
    ListTeamMembersRequest => ListMembers by FIELDS;
}

answers_page!(NamedUser as members: ListTeamMembersResponse);
