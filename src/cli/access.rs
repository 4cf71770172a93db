//! `tollreeve access`: who may do what, and why.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    bindings, message,
    session::{Session, SessionArgs, called},
    show::{self, Colour},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `access`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Ask whether somebody may do something. Exits with 0 when they may, with 2 when they may not.
    Check {
        /// `keys:rotate`.
        permission: String,
        #[command(flatten)]
        about: About,
    },
    /// Tell why somebody may or may not do something, or all that they may do.
    Explain {
        /// `keys:rotate`. Without it: everything that they may do.
        permission: Option<String>,
        #[command(flatten)]
        about: About,
    },
    /// List who can reach something, and by which roles.
    List {
        /// A workspace, `prod`, or a project, `prod/search`. Default: the tenant.
        on: Option<String>,
    },
}

/// Where, and who.
#[derive(clap::Args)]
struct About {
    /// On what: a workspace, `prod`, or a project, `prod/search`. Default: the tenant.
    #[arg(long)]
    on: Option<String>,
    /// Who: `users/user_...` or `serviceAccounts/edge`. Default: you.
    #[arg(long = "for", value_name = "WHO")]
    principal: Option<String>,
}

impl About {
    /// The full names of both; whoever calls has none.
    fn names(&self, session: &Session) -> anyhow::Result<(String, String)> {
        let principal = self.principal.as_deref().map(|who| session.names.member(who)).transpose()?;
        Ok((session.names.scope(self.on.as_deref())?, principal.unwrap_or_default()))
    }
}

/// Exit code of a check that says no, as of a refused call.
const NO: u8 = 2;

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::Check { permission, about } => {
            let answer = ask(&session, permission, &about).await?;
            let found = answer.answer.clone().unwrap_or_default();
            session.print(&answer, |_| verdict(&session, &found))?;
            Ok(if found.allowed { ExitCode::SUCCESS } else { ExitCode::from(NO) })
        }
        Verb::Explain { permission: Some(permission), about } => {
            let answer = ask(&session, permission, &about).await?;
            let found = answer.answer.clone().unwrap_or_default();
            session.print(&answer, |_| explanation(&session, &found))
        }
        Verb::Explain { permission: None, about } => everything(&session, &about).await,
        Verb::List { on } => reached(&session, &session.names.scope(on.as_deref())?).await,
    }
}

async fn ask(session: &Session, permission: String, about: &About) -> anyhow::Result<pb::CheckAccessResponse> {
    let (resource, principal) = about.names(session)?;
    let question = pb::AccessQuestion { resource: resource.clone(), permission, principal };
    let request = pb::CheckAccessRequest { question: Some(question) };
    called!(session, "ask about", &resource, access.check_access(request))
}

fn verdict(session: &Session, answer: &pb::AccessAnswer) -> String {
    let word = if answer.allowed {
        session.paint().paint(Colour::Green, "yes")
    } else {
        session.paint().paint(Colour::Red, "no")
    };
    format!("{word}  {}", answer.explanation)
}

/// The verdict, what gives it, and what would.
fn explanation(session: &Session, answer: &pb::AccessAnswer) -> String {
    let mut parts = vec![verdict(session, answer)];
    if !answer.grants.is_empty() {
        let rows = answer.grants.iter().map(|grant| grant_cells(grant).to_vec()).collect();
        parts.push(show::table(&["BINDING", "ROLE", "MEMBER", "ON"], rows));
    }
    let lines = [("roles that would", answer.roles.join(", ")), ("who could give one", answer.granters.join("\n"))];
    let lines = lines.into_iter().filter(|(_, text)| !text.is_empty());
    parts.push(show::pairs(session.paint(), &lines.map(|(name, text)| (name.to_owned(), text)).collect::<Vec<_>>()));
    parts.join("\n")
}

fn grant_cells(grant: &pb::AccessGrant) -> [String; 4] {
    [&grant.binding, &grant.role, &grant.member, &grant.scope].map(Clone::clone)
}

/// All that somebody may do.
async fn everything(session: &Session, about: &About) -> anyhow::Result<ExitCode> {
    let (resource, principal) = about.names(session)?;
    let request = pb::ListEffectivePermissionsRequest { resource: resource.clone(), principal };
    let answer = called!(session, "ask about", &resource, access.list_effective_permissions(request))?;
    session.print(&answer, |described| {
        let row = |permission: &pb::EffectivePermission| {
            let by =
                permission.grants.iter().map(|grant| format!("{} of {} on {}", grant.role, grant.member, grant.scope));
            vec![permission.permission.clone(), by.collect::<Vec<_>>().join("\n")]
        };
        let table = show::table(&["PERMISSION", "BY"], answer.permissions.iter().map(row).collect());
        match message::cell(described, "obstacle").as_str() {
            "-" => table,
            obstacle => {
                format!("{}\n{table}", session.paint().paint(Colour::Red, &format!("none of it now: {obstacle}")))
            }
        }
    })
}

/// Everybody whose role holds on a resource: it is bound there, or further up.
async fn reached(session: &Session, resource: &str) -> anyhow::Result<ExitCode> {
    let list = bindings::of(session, resource, |binding| {
        resource.strip_prefix(&*binding.scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
    .await?;
    session.table(
        &list,
        "bindings",
        &[("WHO", "member"), ("ROLE", "role"), ("ON", "scope"), ("UNTIL", "expire_time"), ("BINDING", "name")],
    )
}
