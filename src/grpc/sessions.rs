//! `SessionService`, and what its messages mean.

use secrecy::{ExposeSecret, SecretString};
use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        id_tokens, identity_providers,
        passwords::{
            self, ChangePassword, CreatePasswordReset, IssuedReset, PasswordSet, RequestReset, ResetPassword,
            ResetRequested,
        },
        sessions::{
            self, ListSessions, NamedSession, Refresh, RevokeAllSessions, RevokeSession, SessionTokens, SessionsEnded,
            SignIn,
        },
    },
    pb::tollreeve::v1::{self as pb, session_service_server::SessionService, *},
};

/// Longest password or token that is looked at, in bytes.
const MAX_SECRET: usize = 1024;

#[tonic::async_trait]
impl SessionService for Management {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Answer<SignInResponse> {
        self.run_public(request, sessions::sign_in).await
    }

    async fn sign_in_with_id_token(
        &self,
        request: Request<SignInWithIdTokenRequest>,
    ) -> Answer<SignInWithIdTokenResponse> {
        self.run_public(request, id_tokens::sign_in).await
    }

    async fn create_identity_provider(
        &self,
        request: Request<CreateIdentityProviderRequest>,
    ) -> Answer<CreateIdentityProviderResponse> {
        self.run(request, identity_providers::create).await
    }

    async fn get_identity_provider(
        &self,
        request: Request<GetIdentityProviderRequest>,
    ) -> Answer<GetIdentityProviderResponse> {
        self.run(request, identity_providers::get).await
    }

    async fn list_identity_providers(
        &self,
        request: Request<ListIdentityProvidersRequest>,
    ) -> Answer<ListIdentityProvidersResponse> {
        self.run(request, identity_providers::list).await
    }

    async fn delete_identity_provider(
        &self,
        request: Request<DeleteIdentityProviderRequest>,
    ) -> Answer<DeleteIdentityProviderResponse> {
        self.run(request, identity_providers::delete).await
    }

    async fn refresh_session(&self, request: Request<RefreshSessionRequest>) -> Answer<RefreshSessionResponse> {
        self.run_public(request, sessions::refresh).await
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        self.run(request, sessions::list).await
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Answer<RevokeSessionResponse> {
        self.run(request, sessions::revoke).await
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Answer<RevokeAllSessionsResponse> {
        self.run(request, sessions::revoke_all).await
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Answer<ChangePasswordResponse> {
        self.run(request, passwords::change).await
    }

    async fn create_password_reset(
        &self,
        request: Request<CreatePasswordResetRequest>,
    ) -> Answer<CreatePasswordResetResponse> {
        self.run(request, passwords::create_reset).await
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Answer<RequestPasswordResetResponse> {
        self.run_public(request, passwords::request_reset).await
    }

    async fn reset_password(&self, request: Request<ResetPasswordRequest>) -> Answer<ResetPasswordResponse> {
        self.run_public(request, passwords::reset).await
    }
}

/// A password or token, as it was sent.
pub(super) fn secret(field: &str, text: String, most: usize) -> Result<SecretString, FieldError> {
    match text.len() {
        0 => Err(invalid(field, "is required")),
        length if length <= most => Ok(text.into()),
        _ => Err(invalid(field, format!("must be at most {most} bytes"))),
    }
}

/// An address. Whether it can be one does not matter: then nobody has it.
fn address(email: String) -> Result<String, FieldError> {
    let email = parse::bounded("email", email, 254)?;
    if email.is_empty() { Err(invalid("email", "is required")) } else { Ok(email) }
}

impl TryFrom<RequestPasswordResetRequest> for RequestReset {
    type Error = FieldError;

    fn try_from(request: RequestPasswordResetRequest) -> Result<Self, FieldError> {
        Ok(Self { tenant: parse::required("tenant", &request.tenant)?, email: address(request.email)? })
    }
}

impl TryFrom<SignInRequest> for SignIn {
    type Error = FieldError;

    fn try_from(request: SignInRequest) -> Result<Self, FieldError> {
        let email = address(request.email)?;
        let (tenant, password) =
            (parse::required("tenant", &request.tenant)?, secret("password", request.password, MAX_SECRET)?);
        Ok(Self { tenant, email, password })
    }
}

impl TryFrom<RefreshSessionRequest> for Refresh {
    type Error = FieldError;

    fn try_from(request: RefreshSessionRequest) -> Result<Self, FieldError> {
        Ok(Self { token: secret("refresh_token", request.refresh_token, MAX_SECRET)? })
    }
}

impl TryFrom<ListSessionsRequest> for ListSessions {
    type Error = FieldError;

    fn try_from(request: ListSessionsRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

impl TryFrom<RevokeAllSessionsRequest> for RevokeAllSessions {
    type Error = FieldError;

    fn try_from(request: RevokeAllSessionsRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

asks_by_name! {
    RevokeSessionRequest => RevokeSession;
}

impl TryFrom<ChangePasswordRequest> for ChangePassword {
    type Error = FieldError;

    fn try_from(request: ChangePasswordRequest) -> Result<Self, FieldError> {
        let new = secret("new_password", request.new_password, MAX_SECRET)?;
        Ok(Self { password: secret("password", request.password, MAX_SECRET)?, new })
    }
}

impl TryFrom<CreatePasswordResetRequest> for CreatePasswordReset {
    type Error = FieldError;

    fn try_from(request: CreatePasswordResetRequest) -> Result<Self, FieldError> {
        Ok(Self { user: parse::required("user", &request.user)? })
    }
}

impl TryFrom<ResetPasswordRequest> for ResetPassword {
    type Error = FieldError;

    fn try_from(request: ResetPasswordRequest) -> Result<Self, FieldError> {
        let new = secret("new_password", request.new_password, MAX_SECRET)?;
        Ok(Self { token: secret("reset_token", request.reset_token, MAX_SECRET)?, new })
    }
}

impl From<NamedSession> for pb::Session {
    fn from(NamedSession { name, session }: NamedSession) -> Self {
        Self {
            name: name.to_string(),
            create_time: Some(parse::to_wire(session.created)),
            refresh_time: Some(parse::to_wire(session.refreshed)),
            expire_time: Some(parse::to_wire(session.expires())),
            source: session.source,
            user_agent: session.user_agent,
            end_time: session.ended.map(parse::to_wire),
        }
    }
}

impl From<SessionTokens> for pb::SessionTokens {
    fn from(tokens: SessionTokens) -> Self {
        Self {
            session: Some(tokens.session.into()),
            access_token: tokens.access.expose_secret().to_owned(),
            access_expire_time: Some(parse::to_wire(tokens.access_expires)),
            refresh_token: tokens.refresh.expose_secret().to_owned(),
        }
    }
}

/// Answers that carry the tokens of a session.
macro_rules! answers_tokens {
    ($($answer:ident),+) => {$(
        impl From<SessionTokens> for $answer {
            fn from(tokens: SessionTokens) -> Self {
                Self { tokens: Some(tokens.into()) }
            }
        }
    )+};
}

answers_tokens!(SignInResponse, SignInWithIdTokenResponse, RefreshSessionResponse, ChangePasswordResponse);

impl From<Vec<NamedSession>> for ListSessionsResponse {
    fn from(sessions: Vec<NamedSession>) -> Self {
        Self { sessions: sessions.into_iter().map(Into::into).collect() }
    }
}

impl From<SessionsEnded> for RevokeSessionResponse {
    fn from(ended: SessionsEnded) -> Self {
        Self { session: ended.sessions.into_iter().next().map(Into::into), revision: ended.revision }
    }
}

impl From<SessionsEnded> for RevokeAllSessionsResponse {
    fn from(ended: SessionsEnded) -> Self {
        Self { sessions: ended.sessions.into_iter().map(Into::into).collect(), revision: ended.revision }
    }
}

impl From<IssuedReset> for CreatePasswordResetResponse {
    fn from(issued: IssuedReset) -> Self {
        let reset_token = issued.token.expose_secret().to_owned();
        Self { reset_token, expire_time: Some(parse::to_wire(issued.expires)) }
    }
}

impl From<ResetRequested> for RequestPasswordResetResponse {
    fn from(ResetRequested: ResetRequested) -> Self {
        Self {}
    }
}

impl From<PasswordSet> for ResetPasswordResponse {
    fn from(PasswordSet: PasswordSet) -> Self {
        Self {}
    }
}
