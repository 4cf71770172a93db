//! `tollreeve users`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Back, Doomed},
    names::{self, TEAM, USER},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `users`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the users of the tenant: `--filter "role = roles/admin state = ACTIVE"`.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a user.
    Get {
        /// Which: their address, or `user_...`.
        name: String,
    },
    /// Make a user, active at once.
    Create(Newcomer),
    /// Change a user's name for people, or their teams.
    Update(Facts),
    /// Give a user one role on the whole tenant, in place of all that they have there.
    Role(Promotion),
    /// Suspend a user: their keys and tokens are refused at once.
    Suspend {
        /// Which: their address, or `user_...`.
        name: String,
    },
    /// Reactivate a suspended user.
    Reactivate {
        /// Which: their address, or `user_...`.
        name: String,
    },
    /// Remove a user for good: refused at once, and their keys go the way that each workspace lays down.
    Delete(Doomed),
    /// Make an admin the owner of the tenant, and yourself, who own it, an admin.
    TransferOwnership(Heir),
}

/// Who is to be a user.
#[derive(clap::Args)]
struct Newcomer {
    /// Their address.
    email: String,
    /// Their name for people. Default: their address up to the `@`.
    #[arg(long, default_value = "")]
    display_name: String,
    /// Their role on the whole tenant, `developer`. Default: `member`.
    #[arg(long, default_value = "", conflicts_with = "template")]
    role: String,
    /// Instead of a role: a role template, `engineer`.
    #[arg(long, default_value = "")]
    template: String,
    /// A team of theirs, `core`; may be given more than once.
    #[arg(long = "team")]
    teams: Vec<String>,
}

/// What can change of a user.
#[derive(clap::Args)]
#[group(required = true, multiple = true, args = ["display_name", "teams", "no_teams"])]
struct Facts {
    /// Which: their address, or `user_...`.
    name: String,
    /// Their name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// Their teams, all of them; may be given more than once.
    #[arg(long = "team", conflicts_with = "no_teams")]
    teams: Vec<String>,
    /// They leave all of their teams.
    #[arg(long)]
    no_teams: bool,
    /// What their etag must be.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Whose role is to be which.
#[derive(clap::Args)]
struct Promotion {
    /// Whose: their address, or `user_...`.
    name: String,
    /// The role, `developer`, or one of the tenant's own.
    role: String,
    /// What their etag must be.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Who is to own the tenant.
#[derive(clap::Args)]
struct Heir {
    /// Who: their address, or `user_...`; an active admin.
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    sure: Sure,
}

/// What tables of users show.
pub(super) const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("EMAIL", "email"),
    ("DISPLAY NAME", "display_name"),
    ("STATE", "state"),
    ("ROLES", "roles"),
    ("KEYS", "key_count"),
    ("LAST USED", "last_use_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::List { list } => list_all(&session, list).await,
        Verb::Get { name } => {
            let name = find(&session, &name).await?;
            let request = pb::GetUserRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_user(request))?, "user")
        }
        Verb::Create(newcomer) => create(&session, newcomer).await,
        Verb::Update(facts) => update(&session, facts).await,
        Verb::Role(Promotion { name, role, etag, change: ChangeArgs { validate_only, request_id } }) => {
            let name = find(&session, &name).await?;
            let role = session.names.role(&role)?;
            let request = pb::ChangeUserRoleRequest { name: name.clone(), role, etag, request_id, validate_only };
            let answer = called!(session, "change the role of", &name, identity.change_user_role(request))?;
            session.changed(&answer, "user", "changed", validate_only)
        }
        Verb::Suspend { name } => {
            let name = find(&session, &name).await?;
            let request = pb::SuspendUserRequest { name: name.clone() };
            let answer = called!(session, "suspend", &name, identity.suspend_user(request))?;
            session.changed(&answer, "user", "suspended", false)
        }
        Verb::Reactivate { name } => {
            let name = find(&session, &name).await?;
            let request = pb::ReactivateUserRequest { name: name.clone() };
            let answer = called!(session, "reactivate", &name, identity.reactivate_user(request))?;
            session.changed(&answer, "user", "reactivated", false)
        }
        Verb::Delete(Doomed { record: Back { name, etag, change }, sure }) => {
            let name = find(&session, &name).await?;
            let ChangeArgs { validate_only, request_id } = change;
            if !validate_only {
                sure.ask(&format!("remove {name}"), true)?;
            }
            let request = pb::DeleteUserRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "remove", &name, identity.delete_user(request))?;
            session.changed(&answer, "removal", "removed", validate_only)
        }
        Verb::TransferOwnership(heir) => transfer(&session, heir).await,
    }
}

/// The full name of a user: who is given by their address is looked for.
async fn find(session: &Session, text: &str) -> anyhow::Result<String> {
    if !text.contains('@') {
        return Ok(session.names.full(USER, text)?);
    }
    let parent = session.names.tenant(None)?;
    let filter = format!("email = \"{}\"", text.replace(['"', '\\'], ""));
    let request = pb::ListUsersRequest { parent: parent.clone(), filter, ..Default::default() };
    let found = called!(session, "look for a user of", &parent, identity.list_users(request))?.users;
    let missing = || names::NotThere(format!("{parent} has no user with the address {text}"));
    Ok(found.into_iter().next().ok_or_else(missing)?.name)
}

async fn list_all(session: &Session, list: ListArgs) -> anyhow::Result<ExitCode> {
    // Who is removed is gone: there is nothing deleted to show.
    let ListArgs { pages, filter, order_by, show_deleted: _ } = list;
    let parent = session.names.tenant(None)?;
    let request = pb::ListUsersRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
    let list = listed!(session, pages, &parent, identity.list_users(request), users);
    session.table(&list, "users", &COLUMNS)
}

async fn create(session: &Session, newcomer: Newcomer) -> anyhow::Result<ExitCode> {
    let Newcomer { email, display_name, role, template, teams } = newcomer;
    let parent = session.names.tenant(None)?;
    let teams = teams.iter().map(|team| session.names.full(TEAM, team)).collect::<Result<_, _>>()?;
    let template = if template.is_empty() || template.contains('/') {
        template
    } else {
        format!("{parent}/roleTemplates/{template}")
    };
    let user = pb::User { email, display_name, teams, ..pb::User::default() };
    let role = session.names.role(&role)?;
    let request = pb::CreateUserRequest { parent: parent.clone(), user: Some(user), role, template };
    let answer = called!(session, "create a user of", &parent, identity.create_user(request))?;
    session.changed(&answer, "user", "created", false)
}

/// A mask says what is to be changed: no team is a value as well.
async fn update(session: &Session, facts: Facts) -> anyhow::Result<ExitCode> {
    let Facts { name, display_name, teams, no_teams, etag, change: ChangeArgs { validate_only, request_id } } = facts;
    let name = find(session, &name).await?;
    let fields = [("display_name", display_name.is_some()), ("teams", no_teams || !teams.is_empty())];
    let paths = fields.iter().filter(|(_, given)| *given).map(|(field, _)| (*field).to_owned()).collect();
    let user = pb::User {
        name: name.clone(),
        display_name: display_name.unwrap_or_default(),
        teams: teams.iter().map(|team| session.names.full(TEAM, team)).collect::<Result<_, _>>()?,
        etag,
        ..pb::User::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = pb::UpdateUserRequest { user: Some(user), update_mask, request_id, validate_only };
    let answer = called!(session, "change", &name, identity.update_user(request))?;
    session.changed(&answer, "user", "changed", validate_only)
}

async fn transfer(session: &Session, heir: Heir) -> anyhow::Result<ExitCode> {
    let Heir { name, change: ChangeArgs { validate_only, request_id }, sure } = heir;
    let new_owner = find(session, &name).await?;
    let (tenant, _) = names::split(&new_owner);
    if !validate_only {
        sure.ask(&format!("make {new_owner} the owner of {tenant}"), true)?;
    }
    let request = pb::TransferOwnershipRequest { name: tenant.clone(), new_owner, request_id, validate_only };
    let answer = called!(session, "transfer the ownership of", &tenant, identity.transfer_ownership(request))?;
    session.changed(&answer, "owner", "made the owner", validate_only)
}
