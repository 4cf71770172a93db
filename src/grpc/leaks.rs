//! What messages of reported keys mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::leaks::{LeakReported, ReportLeakedKey},
    pb::tollreeve::v1 as pb,
};

/// Longest description of where a key was found, in characters.
const MAX_FOUND: usize = 1024;

impl TryFrom<pb::ReportLeakedKeyRequest> for ReportLeakedKey {
    type Error = FieldError;

    fn try_from(request: pb::ReportLeakedKeyRequest) -> Result<Self, FieldError> {
        if request.secret.is_empty() {
            return Err(invalid("secret", "is required"));
        }
        Ok(Self { secret: request.secret.into(), found: parse::bounded("found", request.found, MAX_FOUND)? })
    }
}

impl From<LeakReported> for pb::ReportLeakedKeyResponse {
    fn from(reported: LeakReported) -> Self {
        Self { revision: reported.revision }
    }
}
