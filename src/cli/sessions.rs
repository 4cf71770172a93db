//! `tollreeve sessions` and `tollreeve password`.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{
    login::password,
    names::USER,
    session::{Session, SessionArgs, Sure, called},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `sessions`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the sessions of a user that live.
    List {
        /// Whose, `user_...`.
        user: String,
    },
    /// End a session at once.
    Revoke {
        /// Which, `tenants/acme/users/user_.../sessions/ses_...`.
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// End every session of a user at once.
    RevokeAll {
        /// Whose, `user_...`.
        user: String,
        #[command(flatten)]
        sure: Sure,
    },
}

const COLUMNS: [(&str, &str); 5] =
    [("NAME", "name"), ("SINCE", "create_time"), ("USED", "refresh_time"), ("ENDS", "expire_time"), ("FROM", "source")];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::List { user } => {
            let parent = session.names.full(USER, &user)?;
            let request = pb::ListSessionsRequest { parent: parent.clone() };
            let list = called!(session, "list the sessions of", &parent, sessions.list_sessions(request))?;
            session.table(&list, "sessions", &COLUMNS)
        }
        Verb::Revoke { name, sure } => {
            sure.ask(&format!("end {name}"), false)?;
            let request = pb::RevokeSessionRequest { name: name.clone() };
            let answer = called!(session, "end", &name, sessions.revoke_session(request))?;
            session.changed(&answer, "session", "ended", false)
        }
        Verb::RevokeAll { user, sure } => {
            let parent = session.names.full(USER, &user)?;
            sure.ask(&format!("end every session of {parent}"), false)?;
            let request = pb::RevokeAllSessionsRequest { parent: parent.clone() };
            let answer = called!(session, "end the sessions of", &parent, sessions.revoke_all_sessions(request))?;
            session.table(&answer, "sessions", &COLUMNS)
        }
    }
}

/// Flags of `password`.
#[derive(clap::Args)]
pub struct PasswordArgs {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: PasswordVerb,
}

#[derive(Subcommand)]
enum PasswordVerb {
    /// Make a token by which a user can set their password, and print it alone: it cannot be shown again.
    CreateReset {
        /// Who, `user_...`.
        user: String,
    },
    /// Set a password by such a token; it is asked for twice, on a terminal.
    Reset {
        /// The token, `tr_reset_...`.
        token: String,
        /// File with the new password, `-` for standard input.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
}

/// Does what was asked of passwords.
///
/// # Errors
/// When it could not be done.
pub async fn run_password(args: PasswordArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        PasswordVerb::CreateReset { user } => {
            let session = Session::open(args.session).await?;
            let user = session.names.full(USER, &user)?;
            let request = pb::CreatePasswordResetRequest { user: user.clone() };
            let what = "make a reset for the password of";
            let answer = called!(session, what, &user, sessions.create_password_reset(request))?;
            session.print(&answer, |_| answer.reset_token.clone())
        }
        PasswordVerb::Reset { token, new_password_file } => {
            let session = Session::open_for_anybody(args.session).await?;
            let new_password = password("New password: ", new_password_file.as_deref())?;
            if new_password_file.is_none() && password("The same again: ", None)? != new_password {
                anyhow::bail!("the two are not the same; nothing was changed");
            }
            let request = pb::ResetPasswordRequest { reset_token: token, new_password };
            let answer = called!(session, "set", "the password", sessions.reset_password(request))?;
            session.print(&answer, |_| "the password is set; every session has ended".to_owned())
        }
    }
}
