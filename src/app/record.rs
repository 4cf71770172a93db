//! What goes on record for a change.

use serde::Serialize;

use super::{AppError, caller::Caller, context::random};
use crate::{
    domain::{
        audit::{AuditEvent, Detail, Field, Outcome, SALT},
        audit_tree::Frontier,
        change::Change,
        id::TenantId,
        time::Timestamp,
    },
    engine::error::GateError,
    store::{self, Tx, audit::Head, requests::Done},
};

/// What takes effect with the commit.
#[derive(Default)]
pub(super) struct Pending {
    /// What the feed carries.
    pub(super) changes: Vec<Change>,
    /// Events of the audit log before the one that the commit is given.
    pub(super) also: Vec<Audit>,
}

/// The request, when it was carried out before under the caller's id for it.
pub(super) async fn replayed(tx: &mut Tx, caller: &Caller) -> Result<Option<Done>, AppError> {
    let intent = &caller.intent;
    if intent.once.is_empty() {
        return Ok(None);
    }
    match store::requests::find(tx, caller.principal, &intent.once).await? {
        Some(done) if done.fingerprint != intent.fingerprint => {
            Err(GateError::IdempotencyConflict("request_id").into())
        }
        known => Ok(known),
    }
}

/// What goes on record for a change.
pub struct Audit {
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) reason: String,
}

impl Audit {
    /// Something was done to a resource: `keys.revoke`, with the record before and after. Records never hold a secret.
    pub fn new<T: Serialize>(
        action: impl Into<String>,
        resource: &(impl ToString + ?Sized),
        before: Option<&T>,
        after: Option<&T>,
    ) -> Self {
        let json =
            |record: Option<&T>| record.map(|r| serde_json::to_string(r).unwrap_or_default()).unwrap_or_default();
        Self {
            action: action.into(),
            resource: resource.to_string(),
            before: json(before),
            after: json(after),
            reason: String::new(),
        }
    }

    /// Whether the change may take something away from somebody: all but those that are known not to.
    pub(super) fn restricts(&self) -> bool {
        const GIVE: [&str; 15] = [
            "create",
            "batchCreate",
            "undelete",
            "reactivate",
            "enable",
            "createToken",
            "grant",
            "add",
            "exchangeAssertion",
            "signIn",
            "fail",
            "resend",
            "accept",
            "request",
            "close",
        ];
        // They tell of what has happened.
        const TELL: [&str; 2] = ["budgets.reachThreshold", "budgets.overrun"];
        if TELL.contains(&&*self.action) {
            return false;
        }
        let (noun, verb) = self.action.rsplit_once('.').unwrap_or_default();
        ["budgets", "credits", "prices"].contains(&noun) || !GIVE.contains(&verb)
    }

    /// The event, which gets its place in the log with the commit.
    fn event(self, caller: &Caller, at: Timestamp, revision: i64) -> Result<AuditEvent, AppError> {
        let source = caller.address.map(|address| address.to_string()).unwrap_or_default();
        let salts: [u8; SALT * Field::ALL.len()] = random()?;
        let mut salts = salts.as_chunks::<SALT>().0.iter();
        let mut detail = |value| Detail::new(value, salts.next().copied().unwrap_or_default());
        let details = [self.before, self.after, source, caller.user_agent.clone(), self.reason].map(&mut detail);
        Ok(AuditEvent {
            seq: 0,
            at,
            actor: caller.name.clone(),
            action: self.action,
            resource: self.resource,
            outcome: Outcome::Done,
            request_id: caller.request_id.clone(),
            trace_id: caller.trace_id.clone(),
            revision,
            details,
        })
    }

    /// With the caller's reason.
    #[must_use]
    pub fn because(mut self, reason: String) -> Self {
        self.reason = reason;
        self
    }
}

/// Puts on record what a caller did in a tenant, in this order, at the end of its log. Gives the tree with it in.
pub(super) async fn put(
    tx: &mut Tx,
    (tenant, head): (TenantId, Head),
    caller: &Caller,
    (at, revision): (Timestamp, i64),
    done: impl IntoIterator<Item = Audit>,
) -> Result<Frontier, AppError> {
    let events = done.into_iter().map(|audit| audit.event(caller, at, revision)).collect::<Result<_, _>>()?;
    Ok(store::audit::append(tx, tenant, head, events).await?)
}
