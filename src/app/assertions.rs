//! Programs sign in: an assertion that they signed with their own key is exchanged for an access token (RFC 7523).

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{App, AppError, caller::Origin, context::Audit, service_accounts::IssuedToken};
use crate::{
    domain::{
        assertions::Assertion,
        bindings::Principal,
        id::{PublicKeyId, TenantId},
        service_account_keys::ServiceAccountKey,
        service_accounts::ServiceAccount,
        time::Timestamp,
        tokens::Basis,
    },
    store::{self, Inserted, Tx},
};

/// Longest that a token is good which was given for an assertion.
pub const TOKEN: Duration = Duration::from_hours(1);

/// Asks for an access token.
pub struct ExchangeAssertion {
    /// What the program signed.
    pub assertion: String,
    /// How long the token is to be good; at most [`TOKEN`].
    pub ttl: Duration,
}

/// What goes on record for a token: never the token.
#[derive(Serialize)]
struct Exchanged {
    key: PublicKeyId,
    jti: String,
    expires: Timestamp,
}

/// Takes an assertion once, and gives a token that rests on the key it is signed with. Nothing is locked before the signature
/// is known to be good: anybody may ask. What was read then is read again under the lock.
///
/// # Errors
/// [`AppError::NotSignedIn`], whatever is wrong with the assertion.
pub async fn exchange(app: Arc<App>, origin: Origin, asked: ExchangeAssertion) -> Result<IssuedToken, AppError> {
    let assertion = Assertion::parse(&asked.assertion).ok_or(AppError::NotSignedIn)?;
    let mut tx = app.db.read().await?;
    let tenant = store::tenants::by_slug(&mut tx, assertion.account.tenant.as_str()).await?;
    let tenant = tenant.ok_or(AppError::NotSignedIn)?.id;
    tx.wall(&[tenant]).await?;
    let (account, key) = find(&mut tx, tenant, &assertion).await?.ok_or(AppError::NotSignedIn)?;
    tx.rollback().await?;
    if !assertion.is_current(app.clock.now()) || !assertion.is_signed_with(&key.public_key) {
        return Err(AppError::NotSignedIn);
    }
    let principal = Principal::ServiceAccount(account.id);
    let caller = origin.proven(principal, None, account.tenant, assertion.account.to_string());
    let mut work = match app.own(&caller, &assertion.account.tenant).await {
        Err(AppError::NotFound(_)) => return Err(AppError::NotSignedIn),
        begun => begun?,
    };
    let found = find(&mut work.tx, tenant, &assertion).await?;
    let still = found.is_some_and(|(_, found)| found == key && found.is_good(work.now));
    if !still || !work.tenant.in_use() || !assertion.is_current(work.now) {
        return Err(AppError::NotSignedIn);
    }
    let once =
        store::assertions::insert(&mut work.tx, work.tenant.id, key.id, &assertion.jti, assertion.ends()).await?;
    if once == Inserted::Exists {
        return Err(AppError::NotSignedIn);
    }
    let ttl = asked.ttl.min(key.expires.map_or(TOKEN, |end| end.since(work.now))).min(TOKEN);
    let issued = app.tokens.issue(principal, Some(Basis::PublicKey(key.id)), work.now, ttl);
    let (token, expires) = issued.map_err(|error| AppError::State(error.to_string()))?;
    let record = Exchanged { key: key.id, jti: assertion.jti, expires };
    work.commit(Audit::new("serviceAccounts.exchangeAssertion", &assertion.account, None, Some(&record))).await?;
    Ok(IssuedToken { token, expires })
}

/// The account that an assertion speaks of, when it may act, and the key, when it is that account's.
async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    assertion: &Assertion,
) -> Result<Option<(ServiceAccount, ServiceAccountKey)>, AppError> {
    let slug = assertion.account.service_account.as_str();
    let account = store::service_accounts::by_slug(tx, tenant, slug).await?;
    let Some(account) = account.filter(ServiceAccount::in_use) else { return Ok(None) };
    let key = store::service_account_keys::of(tx, account.id, assertion.key).await?;
    Ok(key.map(|key| (account, key)))
}
