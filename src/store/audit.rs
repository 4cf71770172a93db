//! Rows of the audit log: dense per tenant, written in the transaction of the change they record.

use super::{
    Result, Tx,
    listing::{List, Listing, Noun, Position},
};
use crate::domain::{id::TenantId, listing::Sorted, time::Timestamp};

pub(super) const NOUN: Noun = Noun {
    name: "audit events",
    columns: &[("time", "at")],
    stays: false,
    id: "seq",
    prefix: "",
    worded_by_tenant: false,
};

/// One change on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    /// 1, 2, 3 and so on within the tenant.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Resource name of who did it.
    pub actor: String,
    /// What was done, `keys.revoke`.
    pub action: String,
    /// Resource name of what it was done to.
    pub resource: String,
    /// JSON of the resource before; empty for a creation.
    pub before: String,
    /// JSON of the resource after; empty for a deletion.
    pub after: String,
    /// Network address of the caller.
    pub source: String,
    /// User agent of the caller.
    pub user_agent: String,
    /// The caller's request id.
    pub request_id: String,
    /// Why, where the caller said it.
    pub reason: String,
    /// Revision of the change.
    pub revision: i64,
}

impl Sorted for AuditEvent {
    fn id(&self) -> String {
        self.seq.to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

type Row = (i64, i64, String, String, String, String, String, String, String, String, String, i64);

fn event(row: Row) -> AuditEvent {
    let (seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision) = row;
    let at = Timestamp::from_micros(at);
    AuditEvent { seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision }
}

/// Locks the tenant's log and takes its next position.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn next_seq(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (seq,) = fetch_one!(
        tx,
        (i64,),
        "INSERT INTO audit_heads (tenant_id, seq) VALUES ($1, 1)
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq + 1 RETURNING seq",
        tenant.to_string()
    )?;
    Ok(seq)
}

/// Writes an event at the position that it carries.
pub async fn insert(tx: &mut Tx, tenant: TenantId, event: &AuditEvent) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO audit_events (tenant_id, seq, at, actor, action, resource, before, after, source, user_agent,
             request_id, reason, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        tenant.to_string(),
        event.seq,
        event.at.micros(),
        &event.actor,
        &event.action,
        &event.resource,
        &event.before,
        &event.after,
        &event.source,
        &event.user_agent,
        &event.request_id,
        &event.reason,
        event.revision,
    )?;
    Ok(())
}

/// One event of a tenant.
pub async fn by_seq(tx: &mut Tx, tenant: TenantId, seq: i64) -> Result<Option<AuditEvent>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision
         FROM audit_events WHERE tenant_id = $1 AND seq = $2",
        tenant.to_string(),
        seq
    )?;
    Ok(row.map(event))
}

/// A page of the events of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<AuditEvent>> {
    let select =
        "SELECT seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision
         FROM audit_events WHERE TRUE";
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select, within, among: None, listing, after };
    Ok(list.fetch::<Row>(tx).await?.into_iter().map(event).collect())
}
