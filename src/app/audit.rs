//! Use cases of the audit log: it is only read.

use std::sync::Arc;

use super::{App, AppError, Listed, caller::Caller, listing::Paging};
use crate::{
    domain::{
        audit::AuditEvent,
        names::{AuditEventName, Slug, TenantName},
        permission::Permission,
    },
    store::{self, listing::Listing},
};

/// Asks for an event.
#[derive(Debug)]
pub struct GetAuditEvent {
    /// Which.
    pub name: AuditEventName,
}

/// Asks for the events of a tenant.
#[derive(Debug)]
pub struct ListAuditEvents {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// An event under its name.
#[derive(Debug)]
pub struct NamedAuditEvent {
    /// The name.
    pub name: AuditEventName,
    /// The event.
    pub event: AuditEvent,
}

impl NamedAuditEvent {
    fn new(tenant: &Slug, event: AuditEvent) -> Self {
        Self { name: AuditEventName { tenant: tenant.clone(), seq: event.seq }, event }
    }
}

/// Reads an event.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetAuditEvent) -> Result<NamedAuditEvent, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let found = store::audit::by_seq(&mut work.tx, work.tenant.id, asked.name.seq).await?;
    let event = found.ok_or_else(|| AppError::NotFound(asked.name.to_string()))?;
    Ok(NamedAuditEvent { name: asked.name, event })
}

/// Lists the events of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListAuditEvents) -> Result<Listed<NamedAuditEvent>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("audit events of {}", work.tenant.id), &asked.listing)?;
    let rows = store::audit::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    Ok(paging.end(rows).map(|event| NamedAuditEvent::new(&work.tenant.slug, event)))
}
