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
        signing_keys::{self, GetJwks, Jwks},
    },
    domain::signing_keys::SigningKey,
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

    async fn get_jwks(&self, request: Request<pb::GetJwksRequest>) -> Answer<pb::GetJwksResponse> {
        self.run_public(request, signing_keys::jwks).await
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

impl TryFrom<pb::GetJwksRequest> for GetJwks {
    type Error = FieldError;

    fn try_from(_: pb::GetJwksRequest) -> Result<Self, FieldError> {
        Ok(Self)
    }
}

impl From<SigningKey> for pb::Jwk {
    fn from(key: SigningKey) -> Self {
        let (kty, crv, r#use) = ("OKP".to_owned(), "Ed25519".to_owned(), "sig".to_owned());
        Self { kty, crv, r#use, alg: key.public_key.algorithm().as_str().to_owned(), x: key.x(), kid: key.kid }
    }
}

impl From<Jwks> for pb::GetJwksResponse {
    fn from(jwks: Jwks) -> Self {
        Self { keys: jwks.0.into_iter().map(Into::into).collect() }
    }
}
