//! Use cases of service accounts.

use std::{sync::Arc, time::Duration};

use super::{App, AppError, Changed, Listed, Work, bindings, caller::Caller, context::Audit, listing::Paging};
use crate::{
    domain::{
        bindings::Principal,
        change::Change,
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

/// Asks for a service account to be suspended or reactivated.
#[derive(Debug)]
pub struct SetServiceAccountState {
    /// Which.
    pub name: ServiceAccountName,
    /// The state it is to be in.
    pub state: Lifecycle,
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

/// Suspends or reactivates a service account. The last one that runs the platform stays.
pub async fn set_state(
    app: Arc<App>,
    caller: Caller,
    asked: SetServiceAccountState,
) -> Result<Changed<NamedServiceAccount>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if before.state == asked.state {
        let record = NamedServiceAccount { name: asked.name, account: before };
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let action = match asked.state {
        Lifecycle::Suspended => {
            bindings::keep_somebody(&mut work, Principal::ServiceAccount(before.id)).await?;
            "serviceAccounts.suspend"
        }
        Lifecycle::Active => "serviceAccounts.reactivate",
    };
    let after = ServiceAccount { state: asked.state, version: before.version + 1, ..before.clone() };
    store::service_accounts::update(&mut work.tx, &after).await?;
    work.emit(Change::ServiceAccount(after.clone()));
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: NamedServiceAccount { name: asked.name, account: after }, revision })
}

/// Issues a bearer token for a service account. Nobody becomes what they are not: the caller must hold everything that
/// the account holds. Leaves an audit event, which tells when the token ends, and changes nothing else.
pub async fn create_token(app: Arc<App>, caller: Caller, asked: CreateToken) -> Result<IssuedToken, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::ServiceAccountsImpersonate, work.scope())?;
    let account = find(&mut work, &asked.name).await?;
    let principal = Principal::ServiceAccount(account.id);
    let held = store::bindings::authority(&mut work.tx, principal, work.now).await?;
    if let Some(missing) = held.beyond(work.authority(), work.now.after(asked.ttl)) {
        return Err(AppError::Forbidden(missing));
    }
    if account.state != Lifecycle::Active {
        return Err(AppError::State(format!("{} is suspended", asked.name)));
    }
    let issued = app.tokens.issue(principal, work.now, asked.ttl);
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
