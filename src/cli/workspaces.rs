//! `tollreeve workspaces`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    bindings,
    lifecycle::{Life, live},
    names::{self, TEAM, UsageError, WORKSPACE},
    policies::PolicyArgs,
    session::{ChangeArgs, ListArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `workspaces`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the workspaces of the tenant that you may see.
    List(ListArgs),
    /// Show a workspace.
    Get {
        /// `prod`.
        name: String,
    },
    /// Make a workspace.
    Create {
        /// Its id: 2 to 63 of `a-z 0-9 -`. Never changes.
        name: String,
        /// `development`, `staging`, `production`, or a name of your own; the keys' first part tells it. Never changes.
        #[arg(long)]
        environment: String,
        /// Its name for people. Default: the id.
        #[arg(long, default_value = "")]
        display_name: String,
        #[command(flatten)]
        policies: PolicyArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a workspace, or what it lays down.
    Update {
        /// `prod`.
        name: String,
        /// Its name for people.
        #[arg(long)]
        display_name: Option<String>,
        #[command(flatten)]
        policies: PolicyArgs,
        /// What its etag must be.
        #[arg(long, default_value = "")]
        etag: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    #[command(flatten)]
    Life(Life),
    /// Share a workspace with a team: bind a role to it there, read-only unless you say otherwise.
    Share {
        /// `prod`.
        name: String,
        /// The team, `core`.
        #[arg(long, value_name = "TEAM")]
        with: String,
        /// What the team's members may do there.
        #[arg(long, default_value = "reader")]
        role: String,
        #[command(flatten)]
        until: bindings::Until,
    },
    /// End the sharing of a workspace with a team, at once.
    Unshare {
        /// `prod`.
        name: String,
        /// The team, `core`.
        #[arg(long, value_name = "TEAM")]
        with: String,
        /// Only this role. Default: every role that the team was given on the workspace itself.
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        sure: Sure,
    },
}

const COLUMNS: [(&str, &str); 6] = [
    ("NAME", "name"),
    ("DISPLAY NAME", "display_name"),
    ("ENVIRONMENT", "environment"),
    ("KEYS", "key_prefix"),
    ("STATE", "state"),
    ("CREATED", "create_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(WORKSPACE, name);
    match args.verb {
        Verb::List(ListArgs { pages, filter, order_by, show_deleted }) => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListWorkspacesRequest {
                parent: parent.clone(),
                filter,
                order_by,
                show_deleted,
                ..Default::default()
            };
            let list = listed!(session, pages, &parent, identity.list_workspaces(request), workspaces);
            session.table(&list, "workspaces", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetWorkspaceRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_workspace(request))?, "workspace")
        }
        Verb::Create { name, environment, display_name, policies, change } => {
            let name = full(&name)?;
            let policies = Some(policies.message(&session.names)?.0);
            let workspace = pb::Workspace { display_name, environment, policies, ..pb::Workspace::default() };
            create(&session, &name, workspace, change).await
        }
        Verb::Update { name, display_name, policies, etag, change } => {
            let name = full(&name)?;
            update(&session, name, display_name, &policies, etag, change).await
        }
        Verb::Life(life) => live!(
            session,
            life,
            "workspace",
            full,
            suspend_workspace(SuspendWorkspaceRequest),
            reactivate_workspace(ReactivateWorkspaceRequest),
            delete_workspace(DeleteWorkspaceRequest),
            undelete_workspace(UndeleteWorkspaceRequest)
        ),
        Verb::Share { name, with, role, until } => {
            let (name, team) = (full(&name)?, session.names.full(TEAM, &with)?);
            bindings::create(&session, &role, team, name, until, "shared").await
        }
        Verb::Unshare { name, with, role, sure } => {
            let (name, team) = (full(&name)?, session.names.full(TEAM, &with)?);
            let role = role.as_deref().map(|role| session.names.role(role)).transpose()?;
            sure.ask(&format!("take {name} away from {team}"), false)?;
            unshare(&session, &name, &team, role.as_deref()).await
        }
    }
}

async fn create(
    session: &Session,
    name: &str,
    workspace: pb::Workspace,
    ChangeArgs { validate_only, request_id }: ChangeArgs,
) -> anyhow::Result<ExitCode> {
    let (parent, workspace_id) = names::split(name);
    let workspace = Some(workspace);
    let request = pb::CreateWorkspaceRequest { parent, workspace_id, workspace, request_id, validate_only };
    let answer = called!(session, "create", name, identity.create_workspace(request))?;
    session.changed(&answer, "workspace", "created", validate_only)
}

/// Changes what is given, and nothing else.
async fn update(
    session: &Session,
    name: String,
    display_name: Option<String>,
    policies: &PolicyArgs,
    etag: String,
    ChangeArgs { validate_only, request_id }: ChangeArgs,
) -> anyhow::Result<ExitCode> {
    let (policies, mut paths) = policies.message(&session.names)?;
    paths.extend(display_name.as_ref().map(|_| "display_name".to_owned()));
    if paths.is_empty() {
        return Err(UsageError("nothing to change is given; see --help".to_owned()).into());
    }
    let display_name = display_name.unwrap_or_default();
    let workspace =
        pb::Workspace { name: name.clone(), display_name, policies: Some(policies), etag, ..pb::Workspace::default() };
    let request = pb::UpdateWorkspaceRequest {
        workspace: Some(workspace),
        update_mask: Some(prost_types::FieldMask { paths }),
        request_id,
        validate_only,
    };
    let answer = called!(session, "change", &name, identity.update_workspace(request))?;
    session.changed(&answer, "workspace", "changed", validate_only)
}

/// Takes from a team the roles that it was given on the workspace itself.
async fn unshare(session: &Session, workspace: &str, team: &str, role: Option<&str>) -> anyhow::Result<ExitCode> {
    let held = bindings::of(session, workspace, |binding| {
        binding.scope == workspace && binding.member == team && role.is_none_or(|role| binding.role == role)
    })
    .await?;
    if held.bindings.is_empty() {
        return Err(
            names::NotThere(format!("{workspace} is not shared with {team}; see `tollreeve access list`")).into()
        );
    }
    for binding in &held.bindings {
        let request = pb::DeleteBindingRequest { name: binding.name.clone() };
        called!(session, "unshare", workspace, access.delete_binding(request))?;
    }
    session.table(&held, "bindings", &bindings::COLUMNS)
}
