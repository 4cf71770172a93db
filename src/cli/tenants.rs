//! `tollreeve tenants`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Life, live},
    names,
    session::{ChangeArgs, ListArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `tenants`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the tenants that you may see.
    List(ListArgs),
    /// Show a tenant.
    Get {
        /// `acme`.
        name: String,
    },
    /// Make a tenant.
    Create {
        /// Its id: 2 to 63 of `a-z 0-9 -`. Never changes.
        name: String,
        /// Its name for people. Default: the id.
        #[arg(long, default_value = "")]
        display_name: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a tenant.
    Update {
        /// `acme`.
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
    /// End a deleted tenant for good.
    Purge {
        /// `acme`.
        name: String,
        /// What its etag must be.
        #[arg(long, default_value = "")]
        etag: String,
        /// Check everything and change nothing.
        #[arg(long)]
        validate_only: bool,
        #[command(flatten)]
        sure: Sure,
    },
}

const COLUMNS: [(&str, &str); 4] =
    [("NAME", "name"), ("DISPLAY NAME", "display_name"), ("STATE", "state"), ("CREATED", "create_time")];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::List(ListArgs { pages, filter, order_by, show_deleted }) => {
            let request = pb::ListTenantsRequest { filter, order_by, show_deleted, ..Default::default() };
            let list = listed!(session, pages, "the tenants", identity.list_tenants(request), tenants);
            session.table(&list, "tenants", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = names::tenant(&name);
            let request = pb::GetTenantRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_tenant(request))?, "tenant")
        }
        Verb::Create { name, display_name, change: ChangeArgs { validate_only, request_id } } => {
            let name = names::tenant(&name);
            let tenant = Some(pb::Tenant { display_name, ..pb::Tenant::default() });
            let (_, tenant_id) = names::split(&name);
            let request = pb::CreateTenantRequest { tenant_id, tenant, request_id, validate_only };
            let answer = called!(session, "create", &name, identity.create_tenant(request))?;
            session.changed(&answer, "tenant", "created", validate_only)
        }
        Verb::Update { name, display_name, etag, change: ChangeArgs { validate_only, request_id } } => {
            let name = names::tenant(&name);
            let tenant = Some(pb::Tenant { name: name.clone(), display_name, etag, ..pb::Tenant::default() });
            let request = pb::UpdateTenantRequest { tenant, update_mask: None, request_id, validate_only };
            let answer = called!(session, "change", &name, identity.update_tenant(request))?;
            session.changed(&answer, "tenant", "changed", validate_only)
        }
        Verb::Life(life) => live!(
            session,
            life,
            "tenant",
            |name: &str| anyhow::Ok(names::tenant(name)),
            suspend_tenant(SuspendTenantRequest),
            reactivate_tenant(ReactivateTenantRequest),
            delete_tenant(DeleteTenantRequest),
            undelete_tenant(UndeleteTenantRequest)
        ),
        Verb::Purge { name, etag, validate_only, sure } => {
            let name = names::tenant(&name);
            if !validate_only {
                sure.ask(&format!("purge {name}, for good"), true)?;
            }
            let request = pb::PurgeTenantRequest { name: name.clone(), etag, validate_only };
            let answer = called!(session, "purge", &name, identity.purge_tenant(request))?;
            session.changed(&answer, "", "purged", validate_only)
        }
    }
}
