//! What messages of somebody's role on the whole tenant mean, and of its ownership.

use super::parse::{self, FieldError};
use crate::{
    app::ownership::{ChangeRole, TransferOwnership, Transferred},
    pb::tollreeve::v1 as pb,
};

impl TryFrom<pb::ChangeUserRoleRequest> for ChangeRole {
    type Error = FieldError;

    fn try_from(request: pb::ChangeUserRoleRequest) -> Result<Self, FieldError> {
        Ok(Self {
            name: parse::required("name", &request.name)?,
            role: parse::required("role", &request.role)?,
            version: parse::version(&request.etag),
        })
    }
}

impl TryFrom<pb::TransferOwnershipRequest> for TransferOwnership {
    type Error = FieldError;

    fn try_from(request: pb::TransferOwnershipRequest) -> Result<Self, FieldError> {
        Ok(Self {
            name: parse::required("name", &request.name)?,
            new_owner: parse::required("new_owner", &request.new_owner)?,
        })
    }
}

impl From<Transferred> for pb::TransferOwnershipResponse {
    fn from(Transferred { owner, former, revision }: Transferred) -> Self {
        Self { owner: Some(owner.into()), former_owner: Some(former.into()), revision }
    }
}

intended!(ChangeUserRoleRequest, TransferOwnershipRequest);
