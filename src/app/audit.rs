//! Use cases of the audit log: it is only read.

use std::sync::Arc;

use super::{App, AppError, Listed, caller::Caller};
use crate::{
    domain::{
        names::{AuditEventName, Slug, TenantName},
        permission::Permission,
    },
    store::{self, Page, audit::AuditEvent},
};

/// Asks for an event.
#[derive(Debug)]
pub struct GetAuditEvent {
    /// Which.
    pub name: AuditEventName,
}

/// Asks for the events of a tenant, newest first.
#[derive(Debug)]
pub struct ListAuditEvents {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which page.
    pub page: Page,
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
    let before = match asked.page.after.as_str() {
        "" => i64::MAX,
        cursor => cursor.parse().map_err(|_| AppError::invalid("page_token", "is not one that this server gave"))?,
    };
    let rows = store::audit::list_before(&mut work.tx, work.tenant.id, before, asked.page.limit).await?;
    let listed = Listed::new(rows, &asked.page, |event| event.seq.to_string());
    Ok(listed.map(|event| NamedAuditEvent::new(&work.tenant.slug, event)))
}
