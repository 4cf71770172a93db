//! Use cases of service accounts.

use std::{sync::Arc, time::Duration};

use super::{
    App, AppError, Changed, Listed, Work, bindings,
    caller::Caller,
    context::{Audit, undeleted},
    listing::Paging,
};
use crate::{
    domain::{
        bindings::{Principal, Scope},
        change::Change,
        lifecycle::Edit,
        names::{ServiceAccountName, Slug, TenantName},
        permission::Permission,
        service_accounts::ServiceAccount,
        tenants::Lifecycle,
        time::Timestamp,
    },
    store::{self, Inserted, listing::Listing},
};

/// Asks for a new service account.
#[derive(Debug)]
pub struct CreateServiceAccount {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
}

/// Asks for a service account.
#[derive(Debug)]
pub struct GetServiceAccount {
    /// Which.
    pub name: ServiceAccountName,
}

/// Asks for the service accounts of a tenant.
#[derive(Debug)]
pub struct ListServiceAccounts {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a service account to be changed as a whole.
#[derive(Debug)]
pub struct EditServiceAccount {
    /// Which.
    pub name: ServiceAccountName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// What is to be done.
    pub edit: Edit,
}

/// Asks for a bearer token.
#[derive(Debug)]
pub struct CreateToken {
    /// For which service account.
    pub name: ServiceAccountName,
    /// How long it is to be valid.
    pub ttl: Duration,
}

/// A bearer token; shown once and never stored.
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// A service account under its name.
#[derive(Debug)]
pub struct NamedServiceAccount {
    /// The name.
    pub name: ServiceAccountName,
    /// The service account.
    pub account: ServiceAccount,
}

impl NamedServiceAccount {
    fn new(tenant: &Slug, account: ServiceAccount) -> Self {
        Self { name: ServiceAccountName { tenant: tenant.clone(), service_account: account.slug.clone() }, account }
    }
}

/// The service account with this name, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &ServiceAccountName) -> Result<ServiceAccount, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::service_accounts::by_slug(&mut work.tx, work.tenant.id, name.service_account.as_str()).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// The service account with this name, for something to be made for it.
pub(super) async fn find_open(work: &mut Work<'_>, name: &ServiceAccountName) -> Result<ServiceAccount, AppError> {
    let account = find(work, name).await?;
    undeleted(account.deleted, name)?;
    Ok(account)
}

/// Creates a service account, which holds nothing yet.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(
    app: Arc<App>,
    caller: Caller,
    asked: CreateServiceAccount,
) -> Result<Changed<NamedServiceAccount>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::ServiceAccountsWrite, work.scope())?;
    let account = ServiceAccount {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: asked.slug,
        display_name: asked.display_name,
        state: Lifecycle::Active,
        deleted: None,
        spiffe_id: None,
        created: work.now,
        version: 1,
    };
    let named = NamedServiceAccount::new(&work.tenant.slug, account);
    if store::service_accounts::insert(&mut work.tx, &named.account).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name.to_string()));
    }
    work.emit(Change::ServiceAccount(named.account.clone()));
    let audit = Audit::new("serviceAccounts.create", &named.name, None, Some(&named.account));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// Reads a service account.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetServiceAccount) -> Result<NamedServiceAccount, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsRead, work.scope())?;
    let account = find(&mut work, &asked.name).await?;
    Ok(NamedServiceAccount { name: asked.name, account })
}

/// Lists the service accounts of a tenant.
pub async fn list(
    app: Arc<App>,
    caller: Caller,
    asked: ListServiceAccounts,
) -> Result<Listed<NamedServiceAccount>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::ServiceAccountsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("service accounts of {}", work.tenant.id), &asked.listing)?;
    let rows = store::service_accounts::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let listed = paging.end(rows);
    Ok(listed.map(|account| NamedServiceAccount::new(&work.tenant.slug, account)))
}

/// Changes a service account as a whole. The last one that runs the platform stays.
///
/// A SPIFFE id is of a trust domain, which is the whole server's: only who may write service accounts everywhere says which
/// account it names. And nobody makes a way to become what they are not.
pub async fn edit(
    app: Arc<App>,
    caller: Caller,
    asked: EditServiceAccount,
) -> Result<Changed<NamedServiceAccount>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    let Some(after) = work.edited(&asked.name, &before, asked.version, &asked.edit)? else {
        let record = NamedServiceAccount { name: asked.name, account: before };
        return Ok(Changed { record, revision: work.unchanged().await? });
    };
    if before.in_use() && !after.in_use() {
        bindings::keep_somebody(&mut work, Principal::ServiceAccount(before.id)).await?;
    }
    if after.spiffe_id != before.spiffe_id {
        if let Some(id) = &after.spiffe_id {
            work.require(Permission::ServiceAccountsWrite, Scope::Platform)?;
            require_all_of(&mut work, &after, Timestamp::from_micros(i64::MAX)).await?;
            if store::service_accounts::claim(&mut work.tx, &after).await? == Inserted::Exists {
                return Err(AppError::Exists(format!("a service account with the SPIFFE id {id}")));
            }
        } else {
            let _ = store::service_accounts::claim(&mut work.tx, &after).await?;
        }
    }
    store::service_accounts::update(&mut work.tx, &after).await?;
    work.emit(Change::ServiceAccount(after.clone()));
    let action = format!("serviceAccounts.{}", asked.edit.verb());
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedServiceAccount { name: asked.name, account: after }, revision })
}

/// Insists that the caller holds everything that an account holds, until then: who could make themselves a way to act as
/// the account would have it all.
pub(super) async fn require_all_of(
    work: &mut Work<'_>,
    account: &ServiceAccount,
    until: Timestamp,
) -> Result<(), AppError> {
    let held = store::bindings::authority(&mut work.tx, Principal::ServiceAccount(account.id), work.now).await?;
    held.beyond(work.authority(), until).map_or(Ok(()), |missing| Err(AppError::Forbidden(missing)))
}

/// Issues a bearer token for a service account. Nobody becomes what they are not: the caller must hold everything that
/// the account holds. Leaves an audit event, which tells when the token ends, and changes nothing else.
pub async fn create_token(app: Arc<App>, caller: Caller, asked: CreateToken) -> Result<IssuedToken, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsImpersonate, work.scope())?;
    let account = find(&mut work, &asked.name).await?;
    let principal = Principal::ServiceAccount(account.id);
    let until = work.now.after(asked.ttl);
    require_all_of(&mut work, &account, until).await?;
    if !account.in_use() {
        let why = if account.deleted.is_some() { "deleted" } else { "suspended" };
        return Err(AppError::State(format!("{} is {why}", asked.name)));
    }
    let issued = app.tokens.issue(principal, None, work.now, asked.ttl);
    let (token, expires) = issued.map_err(|error| AppError::State(error.to_string()))?;
    let audit = Audit::new("serviceAccounts.createToken", &asked.name, None, Some(&TokenRecord { expires }));
    work.commit(audit).await?;
    Ok(IssuedToken { token, expires })
}

/// What goes on record for a token: never the token.
#[derive(serde::Serialize)]
struct TokenRecord {
    expires: Timestamp,
}
