//! Why no decision could be made, or a charge could not be recorded. A refusal is not an error.

use crate::domain::permission::Permission;

/// An error of the gate. Nothing was held and nothing was recorded, unless it is said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// A field's value cannot be: its name and why.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the request names it.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The hold token is forged, truncated or somebody else's.
    #[error("hold_token: {0}")]
    HoldToken(&'static str),
    /// There is no such key, or the caller may not know of it.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The caller lacks the permission.
    #[error("this needs the permission {0}")]
    Forbidden(Permission),
    /// The idempotency key was used before with another body.
    #[error("{0} was used before with another body")]
    IdempotencyConflict(&'static str),
    /// This server has not seen the revision that was asked for.
    #[error("this server is at revision {have}, not yet at {asked}")]
    RevisionAhead {
        /// The revision here.
        have: i64,
        /// The revision asked for.
        asked: i64,
    },
    /// The ledger cannot be reached or cannot write.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// A charge may be recorded, or may yet be: the same again tells.
    #[error("the charge may have been recorded: {0}")]
    InDoubt(&'static str),
    /// Too many charges wait to be written.
    #[error("too many calls wait for the ledger")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
}
