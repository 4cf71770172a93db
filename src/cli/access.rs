//! `tollreeve access`: who may do what, and why.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::{
    bindings, message,
    session::{PageArgs, Session, SessionArgs, called, listed},
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
    /// Review who has what in the tenant, and for how long it has gone unused.
    Review(Review),
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

/// What to review.
#[derive(clap::Args)]
struct Review {
    /// Only this kind; may be repeated.
    #[arg(long = "kind", value_enum)]
    kinds: Vec<Kind>,
    /// Only what has not been used for so long: `90d`, `12h`, `30m`.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    unused_for: Option<u64>,
    /// In which order: `last_use_time` (the default: unused for longest first) or `create_time`, also `"create_time desc"`.
    #[arg(long, default_value = "", value_name = "FIELD")]
    order_by: String,
    #[command(flatten)]
    pages: PageArgs,
}

/// What gives access.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// People.
    User,
    /// Programs.
    ServiceAccount,
    /// API keys.
    Key,
    /// Roles given to somebody.
    Binding,
}

/// Seconds in `90d`.
fn span(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number of days, hours or minutes: `90d`, `12h`, `30m`".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(wrong)
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
        Verb::Review(asked) => review(&session, asked).await,
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

async fn review(session: &Session, asked: Review) -> anyhow::Result<ExitCode> {
    let parent = session.names.tenant(None)?;
    let kind = |kind: Kind| match kind {
        Kind::User => pb::AccessKind::User,
        Kind::ServiceAccount => pb::AccessKind::ServiceAccount,
        Kind::Key => pb::AccessKind::Key,
        Kind::Binding => pb::AccessKind::Binding,
    };
    let span = |seconds| prost_types::Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 };
    let request = pb::ReviewAccessRequest {
        parent: parent.clone(),
        kinds: asked.kinds.into_iter().map(|named| kind(named).into()).collect(),
        unused_for: asked.unused_for.map(span),
        order_by: asked.order_by,
        ..Default::default()
    };
    let list = listed!(session, asked.pages, &parent, access.review_access(request), records);
    let columns = [
        ("KIND", "kind"),
        ("NAME", "name"),
        ("TITLE", "title"),
        ("MEMBER", "member"),
        ("ROLE", "role"),
        ("ON", "scope"),
        ("LAST USED", "last_use_time"),
        ("UNUSED FOR", "unused_for"),
        ("AGE", "age"),
    ];
    session.table(&list, "records", &columns)
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
