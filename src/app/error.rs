//! Why a use case could not do what it was asked. Nothing was changed, unless the variant says so.

use std::time::Duration;

use crate::{domain::permission::Permission, engine::error::GateError, store::StoreError};

/// An error of a use case.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such resource, or the caller may not know of it: one answer for both. Carries the name as asked.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// The caller is known here but lacks the permission.
    #[error("this needs the permission {0}")]
    Forbidden(Permission),
    /// A field's value cannot be: its name and why.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the request names it.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The state of things does not allow it.
    #[error("{0}")]
    State(String),
    /// As many hold a role in a workspace as may.
    #[error("{place} has {seats} seats for {role}, and {taken} are taken")]
    SeatsTaken {
        /// Name of the role.
        role: String,
        /// Name of the workspace, or of the tenant.
        place: String,
        /// How many there are.
        seats: i64,
        /// How many are taken.
        taken: i64,
    },
    /// Somebody has as many keys in a workspace as its key policy lets them have.
    #[error("{owner} has {limit} keys in {workspace}, the most by its key policy")]
    KeysTaken {
        /// Name of whoever is to own another one.
        owner: String,
        /// Name of the workspace.
        workspace: String,
        /// How many they may have.
        limit: i64,
    },
    /// Somebody is bound to a role, or a template gives it.
    #[error("{role} is in use: {bindings} bindings and {templates} role templates give it")]
    RoleInUse {
        /// Name of the role.
        role: String,
        /// How many bindings give it.
        bindings: usize,
        /// How many role templates give it.
        templates: usize,
    },
    /// A link of an invitation that is good for nothing; why is nobody's business.
    #[error("this invitation cannot be accepted: ask for another one")]
    Invitation,
    /// One of many could not be done, so that none was: of which list, its place, counted from 0, and why.
    #[error("{0}[{1}]: {2}")]
    Item(&'static str, usize, Box<Self>),
    /// It is not shown who calls: a password or token is wrong, or they may not sign in. One answer for all of it.
    #[error("the address, the password or the token is not right")]
    NotSignedIn,
    /// Too many tries have failed: how long to wait.
    #[error("too many tries have failed: wait for {} s", .0.as_secs_f64().ceil())]
    Throttled(Duration),
    /// The etag is not the current one.
    #[error("the resource has changed since it was read")]
    Etag,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is durable, but not every server could take it into its decisions in time: they will, or stop deciding.
    #[error("the change is made, at revision {revision}, but a server that may be answering does not see it yet")]
    NotYetInForce {
        /// The revision of the change.
        revision: i64,
        /// The runs of the servers that had not seen it; none when that could not be seen, or it is this one.
        behind: Vec<String>,
    },
    /// The engine.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl AppError {
    /// A field whose value cannot be.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }
}
