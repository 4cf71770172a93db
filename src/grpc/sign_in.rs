//! `SignInService`, and what its messages mean.

use std::time::Duration;

use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        assertions::{self, ExchangeAssertion, TOKEN},
        service_accounts::IssuedToken,
    },
    pb::tollreeve::v1::{self as pb, sign_in_service_server::SignInService},
};

/// Shortest that a token may be valid, in seconds.
const MIN_TTL: i64 = 60;

#[tonic::async_trait]
impl SignInService for Management {
    async fn exchange_assertion(
        &self,
        request: Request<pb::ExchangeAssertionRequest>,
    ) -> Answer<pb::ExchangeAssertionResponse> {
        self.run_public(request, assertions::exchange).await
    }
}

impl TryFrom<pb::ExchangeAssertionRequest> for ExchangeAssertion {
    type Error = FieldError;

    fn try_from(request: pb::ExchangeAssertionRequest) -> Result<Self, FieldError> {
        if request.assertion.is_empty() {
            return Err(invalid("assertion", "is required"));
        }
        let most = i64::try_from(TOKEN.as_secs()).unwrap_or(i64::MAX);
        let seconds = match request.ttl_seconds {
            0 => most,
            asked => parse::within("ttl_seconds", asked, MIN_TTL, most)?,
        };
        Ok(Self { assertion: request.assertion, ttl: Duration::from_secs(seconds.unsigned_abs()) })
    }
}

impl From<IssuedToken> for pb::ExchangeAssertionResponse {
    fn from(issued: IssuedToken) -> Self {
        Self { access_token: issued.token, expire_time: Some(parse::to_wire(issued.expires)) }
    }
}
