//! Use cases of public keys of service accounts.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Work,
    assertions::TOKEN,
    caller::Caller,
    context::Audit,
    service_accounts::{find, find_open, require_all_of},
    tokens,
};
use crate::{
    domain::{
        names::{ServiceAccountKeyName, ServiceAccountName},
        permission::Permission,
        public_keys::PublicKey,
        service_account_keys::{MAX_PER_ACCOUNT, ServiceAccountKey},
        time::Timestamp,
        tokens::Basis,
    },
    store,
};

/// Asks for a key to be added to a service account.
#[derive(Debug)]
pub struct AddServiceAccountKey {
    /// To which.
    pub parent: ServiceAccountName,
    /// Its name for people.
    pub display_name: String,
    /// The key.
    pub public_key: PublicKey,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
}

/// Asks for the keys of a service account.
#[derive(Debug)]
pub struct ListServiceAccountKeys {
    /// Of which.
    pub parent: ServiceAccountName,
}

/// Asks for a key of a service account to be deleted.
#[derive(Debug)]
pub struct DeleteServiceAccountKey {
    /// Which.
    pub name: ServiceAccountKeyName,
}

/// A key under its name.
#[derive(Debug)]
pub struct NamedKey {
    /// The name.
    pub name: ServiceAccountKeyName,
    /// The key.
    pub key: ServiceAccountKey,
}

/// The keys of one account.
#[derive(Debug)]
pub struct KeysListed(pub Vec<NamedKey>);

/// A key is gone; the revision at which decisions see it.
#[derive(Debug)]
pub struct KeyDeleted(pub i64);

impl NamedKey {
    fn new(account: &ServiceAccountName, key: ServiceAccountKey) -> Self {
        let ServiceAccountName { tenant, service_account } = account.clone();
        Self { name: ServiceAccountKeyName { tenant, service_account, public_key: key.id }, key }
    }
}

/// Adds a key. Whoever has the private one acts as the account from then on: that is a token for as long as the key is good,
/// so the caller must be allowed to issue tokens, and hold everything that the account holds, for as long.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn add(app: Arc<App>, caller: Caller, asked: AddServiceAccountKey) -> Result<Changed<NamedKey>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::ServiceAccountsWrite, work.scope())?;
    work.require(Permission::ServiceAccountsImpersonate, work.scope())?;
    let account = find_open(&mut work, &asked.parent).await?;
    let until = asked.expires.unwrap_or(Timestamp::from_micros(i64::MAX));
    require_all_of(&mut work, &account, until).await?;
    let there = store::service_account_keys::all_of(&mut work.tx, account.id).await?;
    if work.is_replay() {
        // The same request made one of these, unless it has been deleted since.
        let made = there.into_iter().rev().find(|key| key.public_key == asked.public_key);
        let made = made.ok_or_else(|| AppError::NotFound("the key that this request added".to_owned()))?;
        return Ok(Changed { record: NamedKey::new(&asked.parent, made), revision: work.unchanged().await? });
    }
    if until <= work.now {
        return Err(AppError::invalid("service_account_key.expire_time", "must lie in the future"));
    }
    if there.len() >= MAX_PER_ACCOUNT {
        return Err(AppError::State(format!("{} has {MAX_PER_ACCOUNT} public keys, which is the most", asked.parent)));
    }
    let key = ServiceAccountKey {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        account: account.id,
        display_name: asked.display_name,
        public_key: asked.public_key,
        expires: asked.expires,
        created: work.now,
    };
    store::service_account_keys::insert(&mut work.tx, &key).await?;
    let named = NamedKey::new(&asked.parent, key);
    let revision = work.commit(Audit::new("serviceAccountKeys.add", &named.name, None, Some(&named.key))).await?;
    Ok(Changed { record: named, revision })
}

/// Lists the keys of a service account: there are few.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListServiceAccountKeys) -> Result<KeysListed, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::ServiceAccountsRead, work.scope())?;
    let account = find(&mut work, &asked.parent).await?;
    let keys = store::service_account_keys::all_of(&mut work.tx, account.id).await?;
    Ok(KeysListed(keys.into_iter().map(|key| NamedKey::new(&asked.parent, key)).collect()))
}

/// Deletes a key: nobody signs in with it any more, and the tokens that were given for it are refused.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteServiceAccountKey) -> Result<KeyDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsWrite, work.scope())?;
    if work.is_replay() {
        return Ok(KeyDeleted(work.unchanged().await?));
    }
    let key = find_key(&mut work, &asked.name).await?;
    store::service_account_keys::delete(&mut work.tx, key.id).await?;
    let until = work.now.after(TOKEN);
    tokens::end(&mut work, Basis::PublicKey(key.id), until).await?;
    let audit = Audit::new("serviceAccountKeys.delete", &asked.name, Some(&key), None);
    Ok(KeyDeleted(work.commit(audit).await?))
}

/// The key with this name, if its tenant is the one at work.
async fn find_key(work: &mut Work<'_>, name: &ServiceAccountKeyName) -> Result<ServiceAccountKey, AppError> {
    let unknown = || AppError::NotFound(name.to_string());
    let ServiceAccountKeyName { tenant, service_account, public_key } = name.clone();
    work.own(&tenant, name)?;
    let account = store::service_accounts::by_slug(&mut work.tx, work.tenant.id, service_account.as_str()).await?;
    let account = account.ok_or_else(unknown)?;
    store::service_account_keys::of(&mut work.tx, account.id, public_key).await?.ok_or_else(unknown)
}
