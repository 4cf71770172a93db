//! What messages of identity providers mean, and of who signs in by them.

use super::{
    parse::{self, FieldError, invalid},
    sessions::secret,
};
use crate::{
    app::{
        id_tokens::SignInWithIdToken,
        identity_providers::{
            CreateIdentityProvider, DeleteIdentityProvider, GetIdentityProvider, IdentityProviderDeleted,
            ListIdentityProviders, NamedIdentityProvider,
        },
    },
    engine::id_tokens::MAX_TOKEN,
    pb::tollreeve::v1 as pb,
};

/// Longest audience and longest nonce, in characters.
const MAX_TEXT: usize = 255;

impl TryFrom<pb::SignInWithIdTokenRequest> for SignInWithIdToken {
    type Error = FieldError;

    fn try_from(request: pb::SignInWithIdTokenRequest) -> Result<Self, FieldError> {
        let token = secret("id_token", request.id_token, MAX_TOKEN)?;
        let nonce = parse::bounded("nonce", request.nonce, MAX_TEXT)?;
        Ok(Self { provider: parse::required("identity_provider", &request.identity_provider)?, token, nonce })
    }
}

impl TryFrom<pb::CreateIdentityProviderRequest> for CreateIdentityProvider {
    type Error = FieldError;

    fn try_from(request: pb::CreateIdentityProviderRequest) -> Result<Self, FieldError> {
        let slug = parse::required("identity_provider_id", &request.identity_provider_id)?;
        let provider = parse::present("identity_provider", request.identity_provider)?;
        let audience = parse::bounded("identity_provider.audience", provider.audience, MAX_TEXT)?;
        if audience.is_empty() {
            return Err(invalid("identity_provider.audience", "is required"));
        }
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("identity_provider.display_name", provider.display_name, &slug)?,
            issuer: parse::required("identity_provider.issuer", &provider.issuer)?,
            audience,
            slug,
        })
    }
}

impl TryFrom<pb::ListIdentityProvidersRequest> for ListIdentityProviders {
    type Error = FieldError;

    fn try_from(request: pb::ListIdentityProvidersRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

asks_by_name! {
    GetIdentityProviderRequest => GetIdentityProvider;
    DeleteIdentityProviderRequest => DeleteIdentityProvider;
}

impl From<NamedIdentityProvider> for pb::IdentityProvider {
    fn from(NamedIdentityProvider { name, provider }: NamedIdentityProvider) -> Self {
        Self {
            name: name.to_string(),
            display_name: provider.display_name,
            issuer: provider.issuer.into(),
            audience: provider.audience,
            create_time: Some(parse::to_wire(provider.created)),
        }
    }
}

answers_one! {
    NamedIdentityProvider as identity_provider: read GetIdentityProviderResponse;
    changed CreateIdentityProviderResponse;
}

impl From<Vec<NamedIdentityProvider>> for pb::ListIdentityProvidersResponse {
    fn from(all: Vec<NamedIdentityProvider>) -> Self {
        Self { identity_providers: all.into_iter().map(Into::into).collect() }
    }
}

impl From<IdentityProviderDeleted> for pb::DeleteIdentityProviderResponse {
    fn from(IdentityProviderDeleted(revision): IdentityProviderDeleted) -> Self {
        Self { revision }
    }
}
