//! Invitations: who is asked to join, to what, and the secret that lets them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use serde::{Deserialize, Serialize};

use super::{
    bindings::{Principal, Scope},
    id::{InvitationId, RoleTemplateId, TeamId, TenantId, UserId, WorkspaceId},
    key_secret::KeyHash,
    keyed::keyed,
    names::Slug,
    roles::RoleRef,
    time::Timestamp,
};

/// How long a link is good.
pub const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Most invitations at once.
pub const MAX_AT_ONCE: usize = 1000;
/// Random bytes of a secret: 256 bits.
pub const SECRET_BYTES: usize = 32;
/// What the text of a secret begins with.
const MARK: &str = "inv_";

/// Where an invitation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    /// Not yet accepted; perhaps too old to be.
    Pending,
    /// Accepted.
    Accepted,
    /// Taken back.
    Cancelled,
    /// Whoever invited could not give any more what they had promised.
    Void,
}

/// A role template that gives the role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FromTemplate {
    /// Identity.
    pub id: RoleTemplateId,
    /// Its id in names.
    pub slug: Slug,
}

/// An invitation. Its secret is no part of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Identity.
    pub id: InvitationId,
    /// To which tenant.
    pub tenant: TenantId,
    /// The user that whoever accepts it becomes.
    pub user: UserId,
    /// Address that it goes to.
    pub email: String,
    /// The role that is given.
    pub role: RoleRef,
    /// The role template that gives it, and what else it says.
    pub template: Option<FromTemplate>,
    /// The workspace that the role is given on; `None`: the whole tenant.
    pub workspace: Option<WorkspaceId>,
    /// Their teams.
    pub teams: Vec<TeamId>,
    /// Who invites.
    pub inviter: Principal,
    /// The tenant that whoever invites belongs to.
    pub inviter_tenant: TenantId,
    /// Where it stands.
    pub state: InvitationState,
    /// When it was made.
    pub created: Timestamp,
    /// When its link ends.
    pub expires: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Invitation {
    /// What the role is given on.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.workspace.map_or(Scope::Tenant(self.tenant), |workspace| Scope::Workspace(self.tenant, workspace))
    }

    /// Whether it can be accepted.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == InvitationState::Pending && self.expires > now
    }
}

/// The text of a secret.
#[must_use]
pub fn secret(random: &[u8; SECRET_BYTES]) -> String {
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(random))
}

/// What is stored of a secret: HMAC-SHA-256 under a key that is not in the database. `None` when the text is no secret.
#[must_use]
pub fn hash(key: &[u8; 32], secret: &str) -> Option<KeyHash> {
    let bytes = URL_SAFE_NO_PAD.decode(secret.strip_prefix(MARK)?).ok()?;
    let bytes: [u8; SECRET_BYTES] = bytes.try_into().ok()?;
    let mut mac = keyed(key);
    mac.update(&bytes);
    Some(KeyHash(mac.finalize().into_bytes().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_hashes_under_its_key_and_what_is_none_does_not() {
        let text = secret(&[7; SECRET_BYTES]);
        assert_eq!(text.len(), 4 + 43);
        let stored = hash(&[1; 32], &text).expect("a secret");
        assert!(hash(&[1; 32], &text).is_some_and(|again| again.is(&stored)));
        assert!(hash(&[2; 32], &text).is_some_and(|other| !other.is(&stored)));
        for bad in ["", "inv_", &text[4..], &text[..46], &format!("{text}A"), &text.replace("inv_", "key_"), "inv_é"] {
            assert!(hash(&[1; 32], bad).is_none(), "{bad}");
        }
    }
}
