//! Users: the people of a tenant.

use serde::{Deserialize, Serialize};

use super::{
    id::{TeamId, TenantId, UserId},
    time::Timestamp,
};

/// Most teams that a user can be in.
pub const MAX_TEAMS: usize = 16;

/// Where a user stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// Asked to join, has not yet accepted.
    Invited,
    /// May act.
    Active,
    /// May not act; their keys and tokens are refused.
    Suspended,
}

impl UserState {
    /// The word for it in the database, which lists by it go by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A person in a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Identity.
    pub id: UserId,
    /// The tenant they belong to.
    pub tenant: TenantId,
    /// Address as written; unique in the tenant when case-folded.
    pub email: String,
    /// Name for people.
    pub display_name: String,
    /// Where they stand.
    pub state: UserState,
    /// Their teams; at most [`MAX_TEAMS`].
    pub teams: Vec<TeamId>,
    /// When they were created.
    pub created: Timestamp,
    /// When they joined; `None` for who is invited.
    pub joined: Option<Timestamp>,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// What is left of somebody who was removed, or was invited and did not come: keys and charges of theirs refer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FormerUser {
    /// Identity.
    pub id: UserId,
    /// The tenant they belonged to.
    pub tenant: TenantId,
    /// When they were removed.
    pub removed: Timestamp,
}

/// The form of an address that is unique in a tenant.
#[must_use]
pub fn fold_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Whether the text can be an address: one `@` with something on both sides, no spaces or control characters, at most
/// 254 bytes (RFC 5321). Whether it is one, only a mail to it can tell.
#[must_use]
pub fn is_email(text: &str) -> bool {
    text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains('@')
        })
}
