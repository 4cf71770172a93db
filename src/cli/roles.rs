//! `tollreeve roles`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    message, names,
    session::{Session, SessionArgs, called},
    show,
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `roles`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the roles.
    List,
    /// Show a role and what it may do.
    Get {
        /// `reader`.
        name: String,
    },
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let roles = called!(session, "list", "the roles", access.list_roles(pb::ListRolesRequest::default()))?;
    match args.verb {
        Verb::List => session.table(&roles, "roles", &[("NAME", "name"), ("FOR", "description")]),
        Verb::Get { name } => {
            let name = names::role(&name);
            let role = roles.roles.into_iter().find(|role| role.name == name);
            let role =
                role.ok_or_else(|| names::NotThere(format!("there is no {name}; see `tollreeve roles list`")))?;
            session.print(&role, |role| show::pairs(session.paint(), &message::lines(role)))
        }
    }
}
