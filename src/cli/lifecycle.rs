//! What can be done to a tenant, a workspace, a project or a service account as a whole: the same verbs for each.

use clap::Subcommand;

use super::session::{ChangeArgs, Sure};

/// The verbs.
#[derive(Subcommand)]
pub enum Life {
    /// Put it out of use: it, and everything below it, is refused at once.
    Suspend {
        /// Which.
        name: String,
    },
    /// Put it back in use.
    Reactivate {
        /// Which.
        name: String,
    },
    /// Delete it: refused at once, as everything below it; it can be brought back.
    Delete(Doomed),
    /// Bring back what was deleted, as it was.
    Undelete(Back),
}

/// What is to be deleted.
#[derive(clap::Args)]
pub struct Doomed {
    #[command(flatten)]
    pub(super) record: Back,
    #[command(flatten)]
    pub(super) sure: Sure,
}

/// A record, perhaps of a certain version.
#[derive(clap::Args)]
pub struct Back {
    /// Which.
    pub(super) name: String,
    /// What its etag must be.
    #[arg(long, default_value = "")]
    pub(super) etag: String,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

/// Does one of the verbs, by the calls that a noun has for them.
macro_rules! live {
    ($session:expr, $life:expr, $field:literal, $full:expr,
        $suspend:ident($suspends:ident), $reactivate:ident($reactivates:ident),
        $delete:ident($deletes:ident), $undelete:ident($undeletes:ident)) => {{
        use $crate::{
            cli::{
                lifecycle::{Back, Doomed, Life},
                session::{ChangeArgs, called},
            },
            pb::tollreeve::v1 as pb,
        };
        match $life {
            Life::Suspend { name } => {
                let name = $full(&name)?;
                let request = pb::$suspends { name: name.clone() };
                let answer = called!($session, "suspend", &name, identity.$suspend(request))?;
                $session.changed(&answer, $field, "suspended", false)
            }
            Life::Reactivate { name } => {
                let name = $full(&name)?;
                let request = pb::$reactivates { name: name.clone() };
                let answer = called!($session, "reactivate", &name, identity.$reactivate(request))?;
                $session.changed(&answer, $field, "reactivated", false)
            }
            Life::Delete(Doomed { record: Back { name, etag, change }, sure }) => {
                let name = $full(&name)?;
                let ChangeArgs { validate_only, request_id } = change;
                if !validate_only {
                    sure.ask(&format!("delete {name}, and refuse everything below it at once"), false)?;
                }
                let request = pb::$deletes { name: name.clone(), etag, request_id, validate_only };
                let answer = called!($session, "delete", &name, identity.$delete(request))?;
                $session.changed(&answer, $field, "deleted", validate_only)
            }
            Life::Undelete(Back { name, etag, change }) => {
                let name = $full(&name)?;
                let ChangeArgs { validate_only, request_id } = change;
                let request = pb::$undeletes { name: name.clone(), etag, request_id, validate_only };
                let answer = called!($session, "undelete", &name, identity.$undelete(request))?;
                $session.changed(&answer, $field, "brought back", validate_only)
            }
        }
    }};
}

pub(super) use live;
