//! What goes on record for a change.

use serde::Serialize;

use super::{AppError, caller::Caller};
use crate::{
    domain::{change::Change, time::Timestamp},
    engine::error::GateError,
    store::{self, Tx, audit::AuditEvent, requests::Done},
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

    /// The event, at its place in the log.
    pub(super) fn event(self, caller: &Caller, seq: i64, at: Timestamp, revision: i64) -> AuditEvent {
        AuditEvent {
            seq,
            at,
            actor: caller.name.clone(),
            action: self.action,
            resource: self.resource,
            before: self.before,
            after: self.after,
            source: caller.address.map(|address| address.to_string()).unwrap_or_default(),
            user_agent: caller.user_agent.clone(),
            request_id: caller.request_id.clone(),
            reason: self.reason,
            revision,
        }
    }

    /// With the caller's reason.
    #[must_use]
    pub fn because(mut self, reason: String) -> Self {
        self.reason = reason;
        self
    }
}
