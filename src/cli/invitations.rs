//! `tollreeve invitations`.

use std::{
    fs,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    login,
    names::{self, INVITATION, TEAM, UsageError, WORKSPACE},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::{domain::invitations::MAX_AT_ONCE, pb::tollreeve::v1 as pb};

/// Flags of `invitations`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the invitations that nobody has accepted yet.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an invitation, however it stands.
    Get {
        /// Which: its address, while nobody has accepted it, or `inv_...`.
        name: String,
    },
    /// Invite people: each gets a mail with a link.
    Create(Guests),
    /// Send another link: the earlier one is dead.
    Resend(Which),
    /// Take an invitation back.
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        sure: Sure,
    },
    /// Accept an invitation: whoever has its secret becomes a user of the tenant. Needs no token.
    Accept(Guest),
}

/// Who is to be invited, and to what.
#[derive(clap::Args)]
#[group(required = true, multiple = true, args = ["emails", "file"])]
struct Guests {
    /// Their addresses.
    #[arg(value_name = "EMAIL")]
    emails: Vec<String>,
    /// File with further addresses, one a line; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Their role, `developer`, or one of the tenant's own. Default: `member`.
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "template")]
    role: String,
    /// Instead of a role: a role template, `engineer`.
    #[arg(long, default_value = "", hide_default_value = true)]
    template: String,
    /// A team that they join, `core`; may be given more than once.
    #[arg(long = "team", value_name = "TEAM")]
    teams: Vec<String>,
    /// What the role is given on, `prod`. Default: the whole tenant.
    #[arg(long)]
    workspace: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// An invitation that nobody has accepted yet.
#[derive(clap::Args)]
struct Which {
    /// Which: its address, or `inv_...`.
    name: String,
    /// What its etag must be.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Who accepts.
#[derive(clap::Args)]
struct Guest {
    /// File with the link, or with its secret: what comes after `#token=`. Default: it is asked for on a terminal, and read
    /// from standard input elsewhere.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Your name for people. Default: your address up to the `@`.
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    /// File with the password to sign in by from then on, `-` for standard input. Default: none yet.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

const COLUMNS: [(&str, &str); 6] = [
    ("NAME", "name"),
    ("EMAIL", "email"),
    ("ROLE", "role"),
    ("WORKSPACE", "workspace"),
    ("STATE", "state"),
    ("UNTIL", "expire_time"),
];
/// Where a server sends no mails.
const LINKS: [(&str, &str); 3] = [("NAME", "name"), ("EMAIL", "email"), ("LINK", "activation_link")];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let verb = match args.verb {
        // Whoever is invited has no token.
        Verb::Accept(guest) => return accept(&Session::open_for_anybody(args.session).await?, guest).await,
        verb => verb,
    };
    let session = Session::open(args.session).await?;
    match verb {
        // What is taken back is not pending: there is nothing deleted to show.
        Verb::List { list: ListArgs { pages, filter, order_by, show_deleted: _ } } => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListInvitationsRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
            let list = listed!(session, pages, &parent, identity.list_invitations(request), invitations);
            session.table(&list, "invitations", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = find(&session, &name).await?;
            let request = pb::GetInvitationRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_invitation(request))?, "invitation")
        }
        Verb::Resend(Which { name, etag, change: ChangeArgs { validate_only, request_id } }) => {
            let name = find(&session, &name).await?;
            let request = pb::ResendInvitationRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "send again", &name, identity.resend_invitation(request))?;
            let link = answer.invitation.as_ref().is_some_and(|one| !one.activation_link.is_empty());
            session.changed(&answer, "invitation", sent("sent again", link, validate_only), validate_only)
        }
        Verb::Cancel { which: Which { name, etag, change: ChangeArgs { validate_only, request_id } }, sure } => {
            let name = find(&session, &name).await?;
            if !validate_only {
                sure.ask(&format!("take back {name}"), false)?;
            }
            let request = pb::CancelInvitationRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "take back", &name, identity.cancel_invitation(request))?;
            let done = if validate_only { "taken back" } else { "taken back: its link is dead" };
            session.changed(&answer, "invitation", done, validate_only)
        }
        Verb::Create(guests) => create(&session, guests).await,
        Verb::Accept(guest) => accept(&session, guest).await,
    }
}

/// The full name of an invitation: one that is given by its address is looked for among those that are pending.
async fn find(session: &Session, text: &str) -> anyhow::Result<String> {
    if !text.contains('@') {
        return Ok(session.names.full(INVITATION, text)?);
    }
    let parent = session.names.tenant(None)?;
    let filter = format!("email = \"{}\"", text.replace(['"', '\\'], ""));
    let request = pb::ListInvitationsRequest { parent: parent.clone(), filter, ..Default::default() };
    let found = called!(session, "look for an invitation to", &parent, identity.list_invitations(request))?.invitations;
    let missing = || names::NotThere(format!("{parent} has no pending invitation of {text}"));
    Ok(found.into_iter().next().ok_or_else(missing)?.name)
}

/// What was done with an invitation, and how its link gets to whoever is invited.
fn sent(done: &str, link: bool, validate_only: bool) -> String {
    match (validate_only, link) {
        (true, _) => done.to_owned(),
        (_, true) => {
            format!("{done}: this server sends no mails, so bring them the activation link, which is not shown again")
        }
        (_, false) => format!("{done}: the link goes to them by mail"),
    }
}

/// The addresses of the command line, and those of the file.
fn addresses(emails: Vec<String>, file: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    match file {
        Some(path) if path == Path::new("-") => drop(std::io::stdin().read_to_string(&mut text)?),
        Some(path) => text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        None => {}
    }
    let lines = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
    let all: Vec<String> = emails.into_iter().chain(lines).collect();
    if all.is_empty() { Err(UsageError("there is no address in the file".to_owned()).into()) } else { Ok(all) }
}

/// Invites one as one, and more than one all or none, as far as one call can take them.
async fn create(session: &Session, guests: Guests) -> anyhow::Result<ExitCode> {
    let Guests { emails, file, role, template, teams, workspace, change } = guests;
    let ChangeArgs { validate_only, request_id } = change;
    let emails = addresses(emails, file.as_deref())?;
    let parent = session.names.tenant(None)?;
    let is_short = !template.is_empty() && !template.contains('/');
    let promise = pb::Invitation {
        role: session.names.role(&role)?,
        template: if is_short { format!("{parent}/roleTemplates/{template}") } else { template },
        teams: teams.iter().map(|team| session.names.full(TEAM, team)).collect::<Result<_, _>>()?,
        workspace: workspace.map(|name| session.names.full(WORKSPACE, &name)).transpose()?.unwrap_or_default(),
        ..pb::Invitation::default()
    };
    let to = |email: &String| pb::Invitation { email: email.clone(), ..promise.clone() };
    if let [email] = emails.as_slice() {
        let invitation = Some(to(email));
        let request = pb::CreateInvitationRequest { parent: parent.clone(), invitation, request_id, validate_only };
        let answer = called!(session, "invite somebody to", &parent, identity.create_invitation(request))?;
        let link = answer.invitation.as_ref().is_some_and(|one| !one.activation_link.is_empty());
        return session.changed(&answer, "invitation", sent("invited", link, validate_only), validate_only);
    }
    let ids = ChangeArgs { validate_only, request_id };
    create_many(session, &parent, emails.iter().map(to).collect(), &ids).await
}

/// Invites many, as many at once as a call takes. Each part is carried out once: when one is refused, the same command with
/// the same id goes on there.
async fn create_many(
    session: &Session,
    parent: &str,
    all: Vec<pb::Invitation>,
    ChangeArgs { validate_only, request_id }: &ChangeArgs,
) -> anyhow::Result<ExitCode> {
    let (count, parent, validate_only) = (all.len(), parent.to_owned(), *validate_only);
    let mut done = pb::BatchCreateInvitationsResponse::default();
    for (n, part) in all.chunks(MAX_AT_ONCE).enumerate() {
        let from = n * MAX_AT_ONCE;
        let request = pb::BatchCreateInvitationsRequest {
            parent: parent.clone(),
            invitations: part.to_vec(),
            request_id: if n == 0 { request_id.clone() } else { format!("{request_id}-{n}") },
            validate_only,
        };
        let what = format!("invite addresses {} to {} of {count} to", from + 1, from + part.len());
        match called!(session, &what, &parent, identity.batch_create_invitations(request)) {
            Ok(answer) => {
                done.invitations.extend(answer.invitations);
                done.revision = answer.revision;
            }
            Err(refused) if n > 0 && !validate_only => {
                // Their links are told now or never.
                told(session, &done, validate_only)?;
                eprintln!("{from} of {count} are invited; the same with --request-id {request_id} goes on after them");
                return Err(refused);
            }
            Err(refused) => return Err(refused),
        }
    }
    told(session, &done, validate_only)
}

/// Says who was invited.
fn told(session: &Session, all: &pb::BatchCreateInvitationsResponse, validate_only: bool) -> anyhow::Result<ExitCode> {
    let count = all.invitations.len();
    let link = all.invitations.iter().any(|one| !one.activation_link.is_empty());
    let done = if validate_only {
        format!("{count} would be invited; nothing was changed")
    } else {
        sent(&format!("{count} invited"), link, false)
    };
    session.changed_all(all, "invitations", if link { &LINKS } else { &COLUMNS }, &done)
}

async fn accept(session: &Session, guest: Guest) -> anyhow::Result<ExitCode> {
    let Guest { secret_file, display_name, password_file } = guest;
    let piped = || (!std::io::stdin().is_terminal()).then(|| PathBuf::from("-"));
    let secret_file = secret_file.or_else(piped);
    if secret_file.as_deref().is_some_and(|file| file == Path::new("-")) && secret_file == password_file {
        return Err(UsageError("standard input has one of the two: give a file for the other".to_owned()).into());
    }
    let secret = login::password("Secret of the invitation: ", secret_file.as_deref())?;
    let password = match password_file.as_deref() {
        Some(file) => login::password("", Some(file))?,
        None => String::new(),
    };
    let done = if password.is_empty() {
        "joined: a password is still to be set"
    } else {
        "joined: `tollreeve login` signs you in"
    };
    let token = secret.rsplit_once("#token=").map_or(secret.as_str(), |(_, token)| token).trim().to_owned();
    let request = pb::AcceptInvitationRequest { token, display_name, password };
    let answer = called!(session, "accept", "the invitation", identity.accept_invitation(request))?;
    session.changed(&answer, "user", done, false)
}
