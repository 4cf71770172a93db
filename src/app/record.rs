//! What goes on record for a change.

use serde::Serialize;

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
        const GIVE: [&str; 14] = [
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
        ];
        let (noun, verb) = self.action.rsplit_once('.').unwrap_or_default();
        ["budgets", "prices"].contains(&noun) || !GIVE.contains(&verb)
    }

    /// With the caller's reason.
    #[must_use]
    pub fn because(mut self, reason: String) -> Self {
        self.reason = reason;
        self
    }
}
