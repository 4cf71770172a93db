//! Use cases of tenants.

use std::sync::Arc;

use super::{App, AppError, Changed, Listed, caller::Caller, context::Audit, listing::Paging};
use crate::{
    domain::{
        bindings::Scope,
        branding::Branding,
        change::Change,
        lifecycle::Edit,
        names::{Slug, SlugError, TenantName},
        permission::Permission,
        tenants::{Lifecycle, Tenant},
    },
    store::{self, listing::Listing},
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
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a tenant to be changed as a whole.
#[derive(Debug)]
pub struct EditTenant {
    /// Which.
    pub name: TenantName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// What is to be done.
    pub edit: Edit,
}

/// Asks for a deleted tenant to be ended for good.
#[derive(Debug)]
pub struct PurgeTenant {
    /// Which.
    pub name: TenantName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// A tenant is gone; the revision at which decisions see it.
#[derive(Debug)]
pub struct TenantPurged(pub i64);

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
        branding: Branding::default(),
        state: Lifecycle::Active,
        deleted: None,
        created: now,
        version: 1,
    };
    let mut work = app.found(&caller, tenant, Permission::TenantsCreate).await?;
    let tenant = work.tenant.clone();
    if work.is_replay() {
        return Ok(Changed { record: tenant, revision: work.unchanged().await? });
    }
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
    let reads = |scope| authority.on(scope).has(Permission::TenantsRead);
    let only = (!reads(Scope::Platform)).then_some(caller.tenant);
    let list = only.map_or_else(|| "tenants".to_owned(), |id| format!("tenants of {id}"));
    let paging = Paging::begin(&app, &list, &asked.listing)?;
    if let Some(own) = only {
        if !reads(Scope::Tenant(own)) {
            return Ok(paging.end(Vec::new()));
        }
        tx.wall(&[own]).await?;
    }
    Ok(paging.end(store::tenants::list(&mut tx, only, &asked.listing, paging.after()).await?))
}

/// Changes a tenant as a whole: its name for people, whether it is in use, whether it is there.
pub async fn edit(app: Arc<App>, caller: Caller, asked: EditTenant) -> Result<Changed<Tenant>, AppError> {
    let mut work = app.lock(&caller, &asked.name.tenant, &asked.name).await?;
    let permission = match asked.edit {
        Edit::Update(_) => Permission::SettingsWrite,
        Edit::Suspend | Edit::Reactivate => Permission::TenantsSuspend,
        Edit::Delete | Edit::Undelete => Permission::TenantsDelete,
    };
    work.require(permission, work.scope())?;
    let before = work.tenant.clone();
    let Some(after) = work.edited(&asked.name, &before, asked.version, &asked.edit)? else {
        return Ok(Changed { record: before, revision: work.unchanged().await? });
    };
    if before.slug.as_str() == Tenant::SYSTEM && !after.in_use() {
        return Err(AppError::State("the system tenant stays in use: nobody could bring it back".to_owned()));
    }
    store::tenants::update(&mut work.tx, &after).await?;
    work.emit(Change::Tenant(after.clone()));
    let action = format!("tenants.{}", asked.edit.verb());
    let revision = work.commit(Audit::new(action, &asked.name, Some(&before), Some(&after))).await?;
    Ok(Changed { record: after, revision })
}

/// Ends a deleted tenant for good. What is left of it is what charges and the audit log refer to.
pub async fn purge(app: Arc<App>, caller: Caller, asked: PurgeTenant) -> Result<TenantPurged, AppError> {
    let mut work = app.lock(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::TenantsDelete, work.scope())?;
    let before = work.tenant.clone();
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if before.deleted.is_none() {
        return Err(AppError::State(format!("{} is not deleted: only what is can be purged", asked.name)));
    }
    let slug: Slug = format!("purged-{}", before.id.to_string().trim_start_matches("ten_"))
        .parse()
        .map_err(|error: SlugError| AppError::State(error.to_string()))?;
    let after = Tenant {
        display_name: slug.to_string(),
        slug,
        branding: Branding::default(),
        version: before.version + 1,
        ..before.clone()
    };
    store::tenants::purge(&mut work.tx, &after).await?;
    work.emit(Change::Tenant(after));
    Ok(TenantPurged(work.commit(Audit::new("tenants.purge", &asked.name, Some(&before), None)).await?))
}
