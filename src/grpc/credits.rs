//! What messages of credit mean.

use super::parse::{self, FieldError, invalid};
use crate::{app::credits::GrantCredit, domain::money::MAX_AMOUNT, pb::tollreeve::v1 as pb};

/// Longest reference, in characters.
const MAX_REFERENCE: usize = 128;

impl TryFrom<pb::GrantCreditRequest> for GrantCredit {
    type Error = FieldError;

    fn try_from(request: pb::GrantCreditRequest) -> Result<Self, FieldError> {
        if request.amount_nanos == 0 {
            return Err(invalid("amount_nanos", "is required, and must not be zero"));
        }
        if request.reference.is_empty() {
            return Err(invalid("reference", "is required"));
        }
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            amount: parse::within("amount_nanos", request.amount_nanos, -MAX_AMOUNT, MAX_AMOUNT)?,
            reference: parse::bounded("reference", request.reference, MAX_REFERENCE)?,
        })
    }
}
