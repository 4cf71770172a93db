//! What messages of people who leave mean.

use super::{
    parse::{self, FieldError},
    users::each_once,
};
use crate::{
    app::removals::{DeleteUser, DeleteUsers, Removed, UsersDeleted},
    pb::tollreeve::v1 as pb,
};

fn count(keys: &[impl Sized]) -> i64 {
    i64::try_from(keys.len()).unwrap_or(i64::MAX)
}

impl From<Removed> for pb::UserRemoval {
    fn from(Removed { name, removal }: Removed) -> Self {
        Self {
            user: name.to_string(),
            revoked_keys: count(&removal.revoked_keys),
            reassigned_keys: count(&removal.reassigned_keys),
            disabled_keys: count(&removal.disabled_keys),
        }
    }
}

impl From<UsersDeleted> for pb::DeleteUserResponse {
    fn from(deleted: UsersDeleted) -> Self {
        Self { removal: deleted.removed.into_iter().next().map(Into::into), revision: deleted.revision }
    }
}

impl From<UsersDeleted> for pb::BatchDeleteUsersResponse {
    fn from(deleted: UsersDeleted) -> Self {
        Self { removals: deleted.removed.into_iter().map(Into::into).collect(), revision: deleted.revision }
    }
}

impl TryFrom<pb::DeleteUserRequest> for DeleteUser {
    type Error = FieldError;

    fn try_from(request: pb::DeleteUserRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::BatchDeleteUsersRequest> for DeleteUsers {
    type Error = FieldError;

    fn try_from(request: pb::BatchDeleteUsersRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        Ok(Self { parent, names: each_once("names", &request.names)? })
    }
}

intended!(DeleteUserRequest, BatchDeleteUsersRequest);
