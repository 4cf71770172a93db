//! Signing in by a token in which an identity provider says who somebody is.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{
    App, AppError, Work,
    caller::Origin,
    sessions::{self, SessionTokens},
};
use crate::{
    domain::{
        id::UserId,
        identity_providers::IdentityProvider,
        names::IdentityProviderName,
        time::Timestamp,
        users::{User, UserState},
    },
    engine::id_tokens::{IdClaims, Refused, verify},
    store::{self, Inserted},
};

/// Asks to be signed in.
#[derive(Debug)]
pub struct SignInWithIdToken {
    /// Whose token it is.
    pub provider: IdentityProviderName,
    /// The token.
    pub token: SecretString,
    /// What it must say, for who has put it into their question; empty without one.
    pub nonce: String,
}

/// Signs a user in by an ID token.
///
/// # Errors
/// [`AppError::NotSignedIn`], whatever is wrong with it; [`AppError::State`] when the issuer cannot be asked for its keys.
pub async fn sign_in(app: Arc<App>, from: Origin, asked: SignInWithIdToken) -> Result<SessionTokens, AppError> {
    let slug = asked.provider.tenant.clone();
    let provider = provider(&app, &asked.provider).await?.ok_or(AppError::NotSignedIn)?;
    let now = app.clock.now();
    let claims = claims(&app, &provider, asked.token.expose_secret(), now).await?;
    if !asked.nonce.is_empty() && claims.nonce.as_deref() != Some(&asked.nonce) {
        return Err(AppError::NotSignedIn);
    }
    let user = whom(&app, &provider, &claims).await?.ok_or(AppError::NotSignedIn)?;
    let caller = from.user(&user, &slug);
    let proof = sessions::Proof::IdToken(&provider, &claims.subject);
    sessions::begin(&app, &caller, &slug, from.ip(), proof).await
}

async fn provider(app: &App, name: &IdentityProviderName) -> Result<Option<IdentityProvider>, AppError> {
    let mut tx = app.db.read().await?;
    let Some(tenant) = store::tenants::by_slug(&mut tx, name.tenant.as_str()).await? else { return Ok(None) };
    tx.wall(&[tenant.id]).await?;
    Ok(store::identity_providers::by_slug(&mut tx, tenant.id, name.identity_provider.as_str()).await?)
}

/// What a token says, by the keys that are known or, when it is signed with another, by those that there are now.
async fn claims(app: &App, provider: &IdentityProvider, token: &str, now: Timestamp) -> Result<IdClaims, AppError> {
    let IdentityProvider { issuer, audience, .. } = provider;
    for newer in [false, true] {
        let Some(keys) = app.issuers.keys(issuer, newer, app.clock.uptime()).await else {
            return Err(AppError::State(format!("{issuer} does not answer: its tokens cannot be checked now")));
        };
        match verify(token, &keys, issuer, audience, now) {
            Ok(claims) => return Ok(claims),
            Err(Refused::UnknownKey) if !newer => {}
            Err(_) => break,
        }
    }
    Err(AppError::NotSignedIn)
}

/// The user whom a token speaks of: whom the provider has spoken of by the same subject before, or else who has the address
/// that it knows to be theirs.
async fn whom(app: &App, provider: &IdentityProvider, claims: &IdClaims) -> Result<Option<User>, AppError> {
    let mut tx = app.db.read().await?;
    tx.wall(&[provider.tenant]).await?;
    let user = match store::identity_providers::user_of(&mut tx, provider.id, &claims.subject).await? {
        Some(id) => store::users::by_id(&mut tx, id).await?,
        None => match &claims.email {
            Some(email) => store::users::by_email(&mut tx, provider.tenant, email).await?,
            None => None,
        },
    };
    Ok(user.filter(|user| user.state == UserState::Active))
}

/// Notes by which subject a provider knows a user. Whether that is so: it may have known the one, or the other, otherwise, or be
/// gone by now.
///
/// # Errors
/// Of the database.
pub(super) async fn link(
    work: &mut Work<'_>,
    provider: &IdentityProvider,
    subject: &str,
    user: UserId,
) -> Result<bool, AppError> {
    let tx = &mut work.tx;
    if store::identity_providers::by_slug(tx, provider.tenant, provider.slug.as_str()).await?.as_ref() != Some(provider)
    {
        return Ok(false);
    }
    let linked = store::identity_providers::link(tx, provider, subject, user, work.now).await?;
    Ok(linked == Inserted::New || store::identity_providers::user_of(tx, provider.id, subject).await? == Some(user))
}
