//! `tollreeve service-accounts`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    lifecycle::{Life, live},
    names::{self, SERVICE_ACCOUNT},
    service_account_keys,
    session::{ChangeArgs, ListArgs, Session, SessionArgs, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `service-accounts`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the service accounts of the tenant.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a service account.
    Get {
        /// Which, `edge`.
        name: String,
    },
    /// Make a service account; it holds nothing until a role is bound to it.
    Create {
        /// The id, 2 to 63 of `a-z 0-9 -`; never changes.
        name: String,
        /// Its name for people. Default: the id.
        #[arg(long, default_value = "")]
        display_name: String,
    },
    /// Change a service account.
    Update(Facts),
    /// Issue a bearer token, and print it alone: it cannot be shown again.
    Token {
        /// Which, `edge`.
        name: String,
        /// How long the token is good, in seconds; 60 to 86400.
        #[arg(long, default_value_t = 3600)]
        ttl_seconds: i64,
    },
    /// Public keys, with whose private ones programs sign in as an account.
    Keys {
        #[command(subcommand)]
        verb: service_account_keys::Verb,
    },
    #[command(flatten)]
    Life(Life),
}

/// What can change of a service account.
#[derive(clap::Args)]
struct Facts {
    /// Which, `edge`.
    name: String,
    /// Its name for people.
    #[arg(long, required_unless_present = "spiffe_id")]
    display_name: Option<String>,
    /// The SPIFFE id of the certificates whose bearers act as it, `spiffe://prod.example/edge`; empty for none.
    #[arg(long)]
    spiffe_id: Option<String>,
    /// What its etag must be.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

const COLUMNS: [(&str, &str); 5] = [
    ("NAME", "name"),
    ("DISPLAY NAME", "display_name"),
    ("STATE", "state"),
    ("SPIFFE ID", "spiffe_id"),
    ("CREATED", "create_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::open(args.session).await?;
    let full = |name: &str| session.names.full(SERVICE_ACCOUNT, name);
    match args.verb {
        Verb::List { list: ListArgs { pages, filter, order_by, show_deleted } } => {
            let parent = session.names.tenant(None)?;
            let request = pb::ListServiceAccountsRequest {
                parent: parent.clone(),
                filter,
                order_by,
                show_deleted,
                ..Default::default()
            };
            let list = listed!(session, pages, &parent, identity.list_service_accounts(request), service_accounts);
            session.table(&list, "service_accounts", &COLUMNS)
        }
        Verb::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetServiceAccountRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, identity.get_service_account(request))?, "service_account")
        }
        Verb::Create { name, display_name } => {
            let name = full(&name)?;
            let (parent, service_account_id) = names::split(&name);
            let service_account = Some(pb::ServiceAccount { display_name, ..pb::ServiceAccount::default() });
            let request = pb::CreateServiceAccountRequest { parent, service_account_id, service_account };
            let answer = called!(session, "create", &name, identity.create_service_account(request))?;
            session.changed(&answer, "service_account", "created", false)
        }
        Verb::Update(facts) => update(&session, facts).await,
        Verb::Token { name, ttl_seconds } => {
            let name = full(&name)?;
            let request = pb::CreateServiceAccountTokenRequest { name: name.clone(), ttl_seconds };
            let what = "issue a token for";
            let answer = called!(session, what, &name, identity.create_service_account_token(request))?;
            session.print(&answer, |_| answer.access_token.clone())
        }
        Verb::Keys { verb } => service_account_keys::run(&session, verb).await,
        Verb::Life(life) => live!(
            session,
            life,
            "service_account",
            full,
            suspend_service_account(SuspendServiceAccountRequest),
            reactivate_service_account(ReactivateServiceAccountRequest),
            delete_service_account(DeleteServiceAccountRequest),
            undelete_service_account(UndeleteServiceAccountRequest)
        ),
    }
}

/// A mask says what is to be changed: no SPIFFE id is a value as well.
async fn update(session: &Session, facts: Facts) -> anyhow::Result<ExitCode> {
    let Facts { name, display_name, spiffe_id, etag, change: ChangeArgs { validate_only, request_id } } = facts;
    let name = session.names.full(SERVICE_ACCOUNT, &name)?;
    let fields = [("display_name", display_name.is_some()), ("spiffe_id", spiffe_id.is_some())];
    let paths = fields.iter().filter(|(_, given)| *given).map(|(field, _)| (*field).to_owned()).collect();
    let account = pb::ServiceAccount {
        name: name.clone(),
        display_name: display_name.unwrap_or_default(),
        spiffe_id: spiffe_id.unwrap_or_default(),
        etag,
        ..pb::ServiceAccount::default()
    };
    let request = pb::UpdateServiceAccountRequest {
        service_account: Some(account),
        update_mask: Some(prost_types::FieldMask { paths }),
        request_id,
        validate_only,
    };
    let answer = called!(session, "change", &name, identity.update_service_account(request))?;
    session.changed(&answer, "service_account", "changed", validate_only)
}
