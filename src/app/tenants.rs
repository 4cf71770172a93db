//! Use cases of tenants.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, caller::Caller, context::Audit};
use crate::{
    domain::{
        bindings::Scope,
        change::Change,
        names::{Slug, TenantName},
        permission::Permission,
        tenants::{Lifecycle, Tenant},
    },
    store::{self, Page},
};

/// Asks for a new tenant.
#[derive(Debug)]
pub struct CreateTenant {
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
}

/// Asks for a tenant.
#[derive(Debug)]
pub struct GetTenant {
    /// Which.
    pub name: TenantName,
}

/// Asks for the tenants that the caller may see.
#[derive(Debug)]
pub struct ListTenants {
    /// Which page.
    pub page: Page,
}

/// Asks for a tenant to be suspended or reactivated.
#[derive(Debug)]
pub struct SetTenantState {
    /// Which.
    pub name: TenantName,
    /// The state it is to be in.
    pub state: Lifecycle,
}

/// Creates a tenant.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateTenant) -> Result<Changed<Tenant>, AppError> {
    let now = app.clock.now();
    let tenant = Tenant {
        id: app.new_id(now)?,
        slug: asked.slug,
        display_name: asked.display_name,
        state: Lifecycle::Active,
        created: now,
        version: 1,
    };
    let mut work = app.found(&caller, tenant.clone(), Permission::TenantsCreate).await?;
    work.emit(Change::Tenant(tenant.clone()));
    let revision = work.commit(Audit::new("tenants.create", &tenant.name(), None, Some(&tenant))).await?;
    Ok(Changed { record: tenant, revision })
}

/// Reads a tenant.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetTenant) -> Result<Tenant, AppError> {
    let work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TenantsRead, work.scope())?;
    Ok(work.tenant)
}

/// Lists the tenants that the caller may read: all of them for the platform, their own for everybody else.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListTenants) -> Result<Listed<Tenant>, AppError> {
    let (mut tx, authority) = app.authority(&caller).await?;
    if authority.on(Scope::Platform).has(Permission::TenantsRead) {
        return Ok(Listed::new(store::tenants::list(&mut tx, &asked.page).await?, &asked.page, |t| t.id.to_string()));
    }
    let own = store::tenants::by_id(&mut tx, caller.tenant).await?;
    let readable = own.filter(|tenant| authority.on(Scope::Tenant(tenant.id)).has(Permission::TenantsRead));
    let records = readable.into_iter().filter(|tenant| tenant.id.to_string() > asked.page.after).collect();
    Ok(Listed::new(records, &asked.page, |tenant: &Tenant| tenant.id.to_string()))
}

/// Suspends or reactivates a tenant.
pub async fn set_state(app: Arc<App>, caller: Caller, asked: SetTenantState) -> Result<Changed<Tenant>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TenantsSuspend, work.scope())?;
    let before = work.tenant.clone();
    if before.state == asked.state {
        return Ok(Changed { record: before, revision: work.unchanged() });
    }
    if before.slug.as_str() == Tenant::SYSTEM {
        return Err(AppError::State("the system tenant cannot be suspended: nobody could reactivate it".to_owned()));
    }
    let after = Tenant { state: asked.state, version: before.version + 1, ..before.clone() };
    store::tenants::update(&mut work.tx, &after).await?;
    work.emit(Change::Tenant(after.clone()));
    let action = match asked.state {
        Lifecycle::Suspended => "tenants.suspend",
        Lifecycle::Active => "tenants.reactivate",
    };
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: after, revision })
}
