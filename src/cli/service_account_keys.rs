//! `tollreeve service-accounts keys`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    bindings::Until,
    names::{PUBLIC_KEY, SERVICE_ACCOUNT},
    session::{ChangeArgs, Session, Sure, called},
};
use crate::pb::tollreeve::v1 as pb;

/// What can be done with public keys.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// List the public keys of a service account.
    List {
        /// Of which, `edge`.
        account: String,
    },
    /// Add a public key: who has the private one signs in as the account.
    Add {
        /// To which, `edge`.
        account: String,
        /// The file with the public key: PEM, of Ed25519 or P-256.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// Its name for people. Default: the algorithm.
        #[arg(long, default_value = "", hide_default_value = true)]
        display_name: String,
        #[command(flatten)]
        until: Until,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete a public key: nobody signs in with it any more, and its tokens are refused at once.
    Delete {
        /// Which, `edge/pk_...`.
        name: String,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        sure: Sure,
    },
}

const COLUMNS: [(&str, &str); 5] = [
    ("NAME", "name"),
    ("DISPLAY NAME", "display_name"),
    ("ALGORITHM", "algorithm"),
    ("UNTIL", "expire_time"),
    ("CREATED", "create_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub(super) async fn run(session: &Session, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List { account } => {
            let parent = session.names.full(SERVICE_ACCOUNT, &account)?;
            let request = pb::ListServiceAccountKeysRequest { parent: parent.clone() };
            let list = called!(session, "list the keys of", &parent, identity.list_service_account_keys(request))?;
            session.table(&list, "service_account_keys", &COLUMNS)
        }
        Verb::Add { account, key_file, display_name, until, change } => {
            let parent = session.names.full(SERVICE_ACCOUNT, &account)?;
            let public_key_pem =
                fs::read_to_string(&key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
            let expire_time = until.time();
            let key = pb::ServiceAccountKey { display_name, public_key_pem, expire_time, ..Default::default() };
            let ChangeArgs { validate_only, request_id } = change;
            let request = pb::AddServiceAccountKeyRequest {
                parent: parent.clone(),
                service_account_key: Some(key),
                request_id,
                validate_only,
            };
            let answer = called!(session, "add a key to", &parent, identity.add_service_account_key(request))?;
            session.changed(&answer, "service_account_key", "added", validate_only)
        }
        Verb::Delete { name, change: ChangeArgs { validate_only, request_id }, sure } => {
            let name = session.names.full(PUBLIC_KEY, &name)?;
            if !validate_only {
                sure.ask(&format!("delete {name}"), false)?;
            }
            let request = pb::DeleteServiceAccountKeyRequest { name: name.clone(), request_id, validate_only };
            let answer = called!(session, "delete", &name, identity.delete_service_account_key(request))?;
            session.changed(&answer, "", format!("deleted {name}"), validate_only)
        }
    }
}
