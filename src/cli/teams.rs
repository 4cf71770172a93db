//! `tollreeve teams`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Back, Doomed},
    names::{self, TEAM, USER},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, called, listed},
    users,
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `teams`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the teams of the tenant, and how much of their limits is used.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a team.
    Get {
        /// Which, `core`.
        name: String,
    },
    /// Make a team.
    Create {
        /// The id, 2 to 63 of `a-z 0-9 -`; never changes.
        name: String,
        /// Its name for people. Default: the id.
        #[arg(long, default_value = "")]
        display_name: String,
        /// What it does.
        #[arg(long, default_value = "")]
        description: String,
        /// Most that its members may spend together in a month, in billionths of a US dollar. Default: no limit.
        #[arg(long, value_name = "NANOS")]
        monthly_limit_nanos: Option<i64>,
    },
    /// Change a team.
    Update(Facts),
    /// Delete a team for good: its members leave it, its roles and budgets end.
    Delete(Doomed),
    /// List who is in a team: `--filter "role = roles/admin state = ACTIVE"`.
    Members {
        /// Which, `core`.
        name: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Put users into a team.
    AddMembers(Members),
    /// Take users out of a team.
    RemoveMembers(Members),
}

/// What can change of a team.
#[derive(clap::Args)]
#[group(required = true, multiple = true, args = ["display_name", "description", "monthly_limit_nanos", "no_monthly_limit"])]
struct Facts {
    /// Which, `core`.
    name: String,
    /// Its name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// What it does.
    #[arg(long)]
    description: Option<String>,
    /// Most that its members may spend together in a month, in billionths of a US dollar.
    #[arg(long, value_name = "NANOS", conflicts_with = "no_monthly_limit")]
    monthly_limit_nanos: Option<i64>,
    /// They may spend what they want to.
    #[arg(long)]
    no_monthly_limit: bool,
    /// What its etag must be.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// A team, and who joins or leaves it.
#[derive(clap::Args)]
struct Members {
    /// Which, `core`.
    name: String,
    /// Who, `user_...`.
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("DISPLAY NAME", "display_name"),
    ("MEMBERS", "member_count"),
    ("MONTHLY LIMIT", "monthly_limit_nanos"),
    ("SPENT", "spending.spent_nanos"),
    ("USED %", "spending.used_percent"),
    ("LEVEL", "spending.level"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(TEAM, name);
    match args.verb {
        // What is deleted is gone: there is nothing deleted to show.
        Verb::List { list: ListArgs { pages, filter, order_by, show_deleted: _ } } => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListTeamsRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
            let list = listed!(session, pages, &parent, identity.list_teams(request), teams);
            session.table(&list, "teams", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetTeamRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_team(request))?, "team")
        }
        Verb::Create { name, display_name, description, monthly_limit_nanos } => {
            let name = full(&name)?;
            let (parent, team_id) = names::split(&name);
            let team = pb::Team { display_name, description, monthly_limit_nanos, ..pb::Team::default() };
            let request = pb::CreateTeamRequest { parent, team_id, team: Some(team) };
            let answer = called!(session, "create", &name, identity.create_team(request))?;
            session.changed(&answer, "team", "created", false)
        }
        Verb::Update(facts) => update(&session, facts).await,
        Verb::Delete(Doomed { record: Back { name, etag, change }, sure }) => {
            let name = full(&name)?;
            let ChangeArgs { validate_only, request_id } = change;
            if !validate_only {
                sure.ask(&format!("delete {name}, and end its roles and budgets"), true)?;
            }
            let request = pb::DeleteTeamRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "delete", &name, identity.delete_team(request))?;
            session.changed(&answer, "team", "deleted", validate_only)
        }
        Verb::Members { name, list } => members(&session, full(&name)?, list).await,
        Verb::AddMembers(Members { name, users, change: ChangeArgs { validate_only, request_id } }) => {
            let (name, users) = (full(&name)?, people(&session, &users)?);
            let request = pb::AddTeamMembersRequest { name: name.clone(), users, request_id, validate_only };
            let answer = called!(session, "add members to", &name, identity.add_team_members(request))?;
            session.changed(&answer, "team", "changed", validate_only)
        }
        Verb::RemoveMembers(Members { name, users, change: ChangeArgs { validate_only, request_id } }) => {
            let (name, users) = (full(&name)?, people(&session, &users)?);
            let request = pb::RemoveTeamMembersRequest { name: name.clone(), users, request_id, validate_only };
            let answer = called!(session, "remove members of", &name, identity.remove_team_members(request))?;
            session.changed(&answer, "team", "changed", validate_only)
        }
    }
}

async fn members(session: &Session, parent: String, list: ListArgs) -> anyhow::Result<ExitCode> {
    // Who is removed is gone: there is nothing deleted to show.
    let ListArgs { pages, filter, order_by, show_deleted: _ } = list;
    let request = pb::ListTeamMembersRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
    let list = listed!(session, pages, &parent, identity.list_team_members(request), members);
    session.table(&list, "members", &users::COLUMNS)
}

fn people(session: &Session, users: &[String]) -> anyhow::Result<Vec<String>> {
    Ok(users.iter().map(|user| session.names.full(USER, user)).collect::<Result<_, _>>()?)
}

/// A mask says what is to be changed: no limit is a value as well.
async fn update(session: &Session, facts: Facts) -> anyhow::Result<ExitCode> {
    let Facts { name, display_name, description, monthly_limit_nanos, no_monthly_limit, etag, change } = facts;
    let ChangeArgs { validate_only, request_id } = change;
    let name = session.names.full(TEAM, &name)?;
    let fields = [
        ("display_name", display_name.is_some()),
        ("description", description.is_some()),
        ("monthly_limit_nanos", no_monthly_limit || monthly_limit_nanos.is_some()),
    ];
    let paths = fields.iter().filter(|(_, given)| *given).map(|(field, _)| (*field).to_owned()).collect();
    let team = pb::Team {
        name: name.clone(),
        display_name: display_name.unwrap_or_default(),
        description: description.unwrap_or_default(),
        monthly_limit_nanos,
        etag,
        ..pb::Team::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = pb::UpdateTeamRequest { team: Some(team), update_mask, request_id, validate_only };
    let answer = called!(session, "change", &name, identity.update_team(request))?;
    session.changed(&answer, "team", "changed", validate_only)
}
