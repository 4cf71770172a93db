//! `tollreeve bindings`: who holds which role where.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    names::BINDING,
    session::{PageArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `bindings`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the bindings of the tenant's members.
    List(PageArgs),
    /// Show a binding.
    Get {
        /// `bind_...`.
        name: String,
    },
    /// Give somebody a role.
    Create {
        /// The role, `developer`. Without it: the default role of the workspace.
        #[arg(long, default_value = "", hide_default_value = true)]
        role: String,
        /// To whom: `users/user_...`, `teams/core` or `serviceAccounts/edge`.
        #[arg(long)]
        member: String,
        /// On what: a workspace, `prod`, or a project, `prod/search`. Default: the tenant.
        #[arg(long)]
        on: Option<String>,
        #[command(flatten)]
        until: Until,
    },
    /// Take a role away, at once.
    Delete {
        /// `bind_...`.
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

/// When it ends.
#[derive(clap::Args, Clone)]
pub struct Until {
    /// When it ends, `2027-01-31T12:00:00Z`. Default: never.
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

impl Until {
    /// As messages have it.
    #[must_use]
    pub fn time(&self) -> Option<prost_types::Timestamp> {
        self.until.map(|at| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
    }
}

/// What lists of bindings show.
pub const COLUMNS: [(&str, &str); 5] =
    [("NAME", "name"), ("ROLE", "role"), ("MEMBER", "member"), ("ON", "scope"), ("UNTIL", "expire_time")];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::List(pages) => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListBindingsRequest { parent: parent.clone(), ..Default::default() };
            let list = listed!(session, pages, &parent, access.list_bindings(request), bindings);
            session.table(&list, "bindings", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = session.names.full(BINDING, &name)?;
            let request = pb::GetBindingRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, access.get_binding(request))?, "binding")
        }
        Verb::Create { role, member, on, until } => {
            let scope = session.names.scope(on.as_deref())?;
            let member = session.names.member(&member)?;
            create(&session, &role, member, scope, until, "bound").await
        }
        Verb::Delete { name, sure } => {
            let name = session.names.full(BINDING, &name)?;
            sure.ask(&format!("take away {name}"), false)?;
            let request = pb::DeleteBindingRequest { name: name.clone() };
            let answer = called!(session, "delete", &name, access.delete_binding(request))?;
            session.changed(&answer, "", format!("deleted {name}"), false)
        }
    }
}

/// Binds a role, to a member on a scope, both by their full names.
///
/// # Errors
/// When the server refuses.
pub async fn create(
    session: &Session,
    role: &str,
    member: String,
    scope: String,
    until: Until,
    done: &str,
) -> anyhow::Result<ExitCode> {
    let expire_time = until.time();
    let parent = member.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
    let role = session.names.role(role)?;
    let verb = format!("bind {} on", if role.is_empty() { "the default role" } else { &role });
    let binding = pb::Binding { role, member, scope: scope.clone(), expire_time, ..Default::default() };
    let request = pb::CreateBindingRequest { parent, binding: Some(binding) };
    let answer = called!(session, &verb, &scope, access.create_binding(request))?;
    session.changed(&answer, "binding", done, false)
}

/// The bindings in the tenant of `name` that are wanted.
///
/// # Errors
/// When the server refuses.
pub async fn of(
    session: &Session,
    name: &str,
    wanted: impl Fn(&pb::Binding) -> bool,
) -> anyhow::Result<pb::ListBindingsResponse> {
    let parent = name.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
    let request = pb::ListBindingsRequest { parent: parent.clone(), ..Default::default() };
    let pages = PageArgs::whole();
    let mut list = listed!(session, pages, &parent, access.list_bindings(request), bindings);
    list.bindings.retain(wanted);
    Ok(list)
}
