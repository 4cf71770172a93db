//! `tollreeve projects`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Life, live},
    names::{self, PROJECT, WORKSPACE},
    policies::{Terms, terms},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `projects`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the projects of a workspace.
    List {
        /// The workspace, `prod`.
        workspace: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a project.
    Get {
        /// `prod/search`: workspace and project.
        name: String,
    },
    /// Make a project.
    Create {
        /// `prod/search`: workspace and project. The id, 2 to 63 of `a-z 0-9 -`, never changes.
        name: String,
        /// Its name for people. Default: the id.
        #[arg(long, default_value = "")]
        display_name: String,
        /// Budget that it begins with, `25usd/month`. Default: what the workspace lays down.
        #[arg(long, value_parser = terms)]
        budget: Option<Terms>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a project.
    Update {
        /// `prod/search`: workspace and project.
        name: String,
        /// Its name for people.
        #[arg(long)]
        display_name: String,
        /// What its etag must be.
        #[arg(long, default_value = "")]
        etag: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    #[command(flatten)]
    Life(Life),
}

const COLUMNS: [(&str, &str); 4] =
    [("NAME", "name"), ("DISPLAY NAME", "display_name"), ("STATE", "state"), ("CREATED", "create_time")];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(PROJECT, name);
    match args.verb {
        Verb::List { workspace, list: ListArgs { pages, filter, order_by, show_deleted } } => {
            let parent = session.names.full(WORKSPACE, &workspace)?;
            let request = pb::ListProjectsRequest {
                parent: parent.clone(),
                filter,
                order_by,
                show_deleted,
                ..Default::default()
            };
            let list = listed!(session, pages, &parent, identity.list_projects(request), projects);
            session.table(&list, "projects", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetProjectRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_project(request))?, "project")
        }
        Verb::Create { name, display_name, budget, change: ChangeArgs { validate_only, request_id } } => {
            let name = full(&name)?;
            let (parent, project_id) = names::split(&name);
            let budget = budget.and_then(|terms| terms.0);
            let project = Some(pb::Project { display_name, ..pb::Project::default() });
            let request = pb::CreateProjectRequest { parent, project_id, project, request_id, validate_only, budget };
            let answer = called!(session, "create", &name, identity.create_project(request))?;
            session.changed(&answer, "project", "created", validate_only)
        }
        Verb::Update { name, display_name, etag, change: ChangeArgs { validate_only, request_id } } => {
            let name = full(&name)?;
            let project = Some(pb::Project { name: name.clone(), display_name, etag, ..pb::Project::default() });
            let request = pb::UpdateProjectRequest { project, update_mask: None, request_id, validate_only };
            let answer = called!(session, "change", &name, identity.update_project(request))?;
            session.changed(&answer, "project", "changed", validate_only)
        }
        Verb::Life(life) => live!(
            session,
            life,
            "project",
            full,
            suspend_project(SuspendProjectRequest),
            reactivate_project(ReactivateProjectRequest),
            delete_project(DeleteProjectRequest),
            undelete_project(UndeleteProjectRequest)
        ),
    }
}
