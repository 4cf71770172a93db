//! `tollreeve roles`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    names::{self, ROLE},
    session::{ChangeArgs, Session, SessionArgs, Sure, called},
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
    /// List the built-in roles and the tenant's own.
    List,
    /// Show a role and what it may do.
    Get {
        /// `reader`, or one of the tenant's own, `reviewer`.
        name: String,
    },
    /// List every permission that a role can be made of.
    Permissions,
    /// Make a role of the tenant's own.
    Create {
        /// The id, 2 to 63 of `a-z 0-9 -`; never changes.
        name: String,
        #[command(flatten)]
        facts: Facts,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a role of the tenant's own: at once for everybody who is bound to it.
    Update {
        /// Which.
        name: String,
        #[command(flatten)]
        facts: Facts,
        /// What its etag must be.
        #[arg(long, default_value = "")]
        etag: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete a role of the tenant's own that nobody is bound to, for good.
    Delete {
        /// Which.
        name: String,
        /// What its etag must be.
        #[arg(long, default_value = "")]
        etag: String,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// What a role is.
#[derive(clap::Args)]
struct Facts {
    /// Its name for people.
    #[arg(long, default_value = "")]
    display_name: String,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    /// All that it may do, `keys:read,logs:read`; see `tollreeve roles permissions`.
    #[arg(long, value_delimiter = ',', value_name = "PERMISSION")]
    permissions: Vec<String>,
}

impl Facts {
    fn of(self, name: String, etag: String) -> pb::Role {
        let Self { display_name, description, permissions } = self;
        pb::Role { name, display_name, description, permissions, etag, ..pb::Role::default() }
    }
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(ROLE, name);
    match args.verb {
        Verb::List => {
            let roles = all(&session).await?;
            session.table(&roles, "roles", &[("NAME", "name"), ("FOR", "description")])
        }
        Verb::Get { name } => {
            let name = session.names.role(&name)?;
            let request = pb::GetRoleRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, access.get_role(request))?, "role")
        }
        Verb::Permissions => {
            let request = pb::ListPermissionsRequest::default();
            let permissions = called!(session, "list", "the permissions", access.list_permissions(request))?;
            session.table(&permissions, "permissions", &[("NAME", "name"), ("ALLOWS TO", "description")])
        }
        Verb::Create { name, facts, change: ChangeArgs { validate_only, request_id } } => {
            let name = full(&name)?;
            let (parent, role_id) = names::split(&name);
            let role = Some(facts.of(String::new(), String::new()));
            let request = pb::CreateRoleRequest { parent, role_id, role, request_id, validate_only };
            let answer = called!(session, "create", &name, access.create_role(request))?;
            session.changed(&answer, "role", "created", validate_only)
        }
        Verb::Update { name, facts, etag, change: ChangeArgs { validate_only, request_id } } => {
            let name = full(&name)?;
            let role = Some(facts.of(name.clone(), etag));
            let request = pb::UpdateRoleRequest { role, update_mask: None, request_id, validate_only };
            let answer = called!(session, "change", &name, access.update_role(request))?;
            session.changed(&answer, "role", "changed", validate_only)
        }
        Verb::Delete { name, etag, sure, change: ChangeArgs { validate_only, request_id } } => {
            let name = full(&name)?;
            sure.ask(&format!("delete {name} for good"), false)?;
            let request = pb::DeleteRoleRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "delete", &name, access.delete_role(request))?;
            session.changed(&answer, "", format!("deleted {name}"), validate_only)
        }
    }
}

/// The built-in roles, and those of the tenant when it is known which.
async fn all(session: &Session) -> anyhow::Result<pb::ListRolesResponse> {
    let parent = session.names.tenant(None).unwrap_or_default();
    called!(session, "list", "the roles", access.list_roles(pb::ListRolesRequest { parent }))
}
