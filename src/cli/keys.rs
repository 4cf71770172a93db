//! `tollreeve keys`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Subcommand;

use super::{
    bindings::Until,
    client, key_reviews,
    leaks::{self, CheckArgs},
    lifecycle::{Back, Doomed},
    names::{KEY, PROJECT, UsageError, WORKSPACE},
    session::{ChangeArgs, ListArgs, Session, SessionArgs, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Flags of `keys`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Ask(Ask),
    /// Find keys in files, without a server.
    Check(CheckArgs),
}

#[derive(Subcommand)]
enum Ask {
    /// List the keys of a workspace, or of the tenant: `--filter "owner = tenants/acme/users/user_... state = ACTIVE"`.
    List {
        /// The workspace, `prod`; every one of the tenant without.
        workspace: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a key, never its secret.
    Get {
        /// `prod/key_...`: workspace and key.
        name: String,
    },
    /// Make a key, and show its secret, once.
    Create(Box<Newcomer>),
    /// Change what a key is called and what it may be used for.
    Update(Box<Facts>),
    /// Give a key a new secret, and show it, once. The one that it has works on for a while.
    Rotate(Rotation),
    /// Give a key a new secret, and show it, once. What it had ends at once: for a key that is lost.
    Regenerate(Renewal),
    /// End the older of a key's two secrets before its time.
    Retire(Back),
    /// Switch a key off until it is enabled again.
    Disable {
        /// `prod/key_...`: workspace and key.
        name: String,
    },
    /// Switch a disabled key on.
    Enable {
        /// `prod/key_...`: workspace and key.
        name: String,
    },
    /// End a key for good, with every secret that it has.
    Revoke {
        /// `prod/key_...`: workspace and key.
        name: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Delete a key that is revoked or has expired.
    Delete(Doomed),
    /// Revoke every key of a workspace that a filter chooses.
    RevokeAll(Leak),
    /// List the keys that break the workspace's key policy, or another one.
    Review(Box<key_reviews::Review>),
    /// Let the keys that break the workspace's key policy end at a time.
    RetireBreaking(Box<key_reviews::Retirement>),
}

/// What a key may be used for.
#[derive(clap::Args)]
struct Lists {
    /// An address or range of addresses that it may be used from; may be given more than once, as all of these.
    #[arg(long = "cidr", value_name = "RANGE")]
    cidrs: Vec<String>,
    /// A host that calls may come from, `*.example.com`.
    #[arg(long = "origin", value_name = "HOST")]
    origins: Vec<String>,
    /// A model that it may call, `gpt-4*`.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// An endpoint that it may call, `/v1/chat/*`.
    #[arg(long = "endpoint", value_name = "PATH")]
    endpoints: Vec<String>,
    /// A permission of its owner that it gives, `models:invoke`.
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
}

impl Lists {
    /// As messages have it; `None` when nothing is restricted.
    fn allowlist(self) -> Option<pb::Allowlist> {
        let Self { cidrs, origins, models, endpoints, permissions } = self;
        let list = pb::Allowlist { cidrs, origins, models, endpoints, permissions };
        (list != pb::Allowlist::default()).then_some(list)
    }
}

/// How a secret is shown.
#[derive(clap::Args)]
struct Shown {
    /// Show nothing but a line of an env file: `NAME=prod_tr_...`.
    #[arg(long, value_name = "NAME", conflicts_with = "validate_only")]
    env_file_line: Option<String>,
}

#[derive(clap::Args)]
struct Newcomer {
    /// The workspace, `prod`.
    workspace: String,
    /// Whose it is: `users/user_...` or `serviceAccounts/edge`.
    #[arg(long)]
    owner: String,
    /// Its name for people. Default: `key`.
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    /// What it is for.
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// A tag, `team=core`; may be given more than once.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Project that its calls are tagged with, `search`.
    #[arg(long, default_value = "", hide_default_value = true)]
    project: String,
    #[command(flatten)]
    until: Until,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    change: ChangeArgs,
}

/// What can change of a key.
#[derive(clap::Args)]
struct Facts {
    /// `prod/key_...`: workspace and key.
    name: String,
    /// Its name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// What it is for; `""` for nothing.
    #[arg(long)]
    description: Option<String>,
    /// Its tags, all of them, `team=core`; may be given more than once.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, conflicts_with = "no_labels")]
    labels: Vec<(String, String)>,
    /// It has no tags any more.
    #[arg(long)]
    no_labels: bool,
    /// Project that its calls are tagged with, `search`; `""` for none.
    #[arg(long)]
    project: Option<String>,
    #[command(flatten)]
    until: Until,
    /// It never ends.
    #[arg(long, conflicts_with = "until")]
    forever: bool,
    /// It may be used for everything. With one of the lists: for that alone, and the other lists are open.
    #[arg(long, conflicts_with_all = ["cidrs", "origins", "models", "endpoints", "permissions"])]
    no_allowlist: bool,
    #[command(flatten)]
    lists: Lists,
    /// What its etag must be.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(clap::Args)]
struct Rotation {
    #[command(flatten)]
    record: Back,
    /// How long the secret that it has works on, in seconds, up to 604800; 0 ends it at once. Default: a day.
    #[arg(long, value_name = "SECONDS")]
    overlap_seconds: Option<i64>,
    /// End the older of two secrets at once.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(clap::Args)]
struct Renewal {
    #[command(flatten)]
    record: Back,
    #[command(flatten)]
    shown: Shown,
}

/// Which keys are to be revoked.
#[derive(clap::Args)]
struct Leak {
    /// The workspace, `prod`.
    workspace: String,
    /// Which, as in lists: `owner = tenants/acme/users/user_...`; `"state != REVOKED"` for all.
    #[arg(long)]
    filter: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    sure: Sure,
}

const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("DISPLAY NAME", "display_name"),
    ("OWNER", "owner"),
    ("HINT", "hint"),
    ("STATE", "state"),
    ("UNTIL", "expire_time"),
    ("LAST USED", "last_use_time"),
];

/// `team=core`.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Ask(asked) => ask(&Session::open(args.session).await?, asked).await,
        Verb::Check(check) => leaks::check(args.session, check).await,
    }
}

async fn ask(session: &Session, asked: Ask) -> anyhow::Result<ExitCode> {
    let full = |name: &str| session.names.full(KEY, name);
    match asked {
        Ask::List { workspace, list } => list_all(session, workspace.as_deref(), list).await,
        Ask::Get { name } => {
            let name = full(&name)?;
            let request = pb::GetKeyRequest { name: name.clone() };
            session.record(&called!(session, "read", &name, keys.get_key(request))?, "key")
        }
        Ask::Create(newcomer) => create(session, *newcomer).await,
        Ask::Update(facts) => update(session, *facts).await,
        Ask::Rotate(rotation) => rotate(session, rotation).await,
        Ask::Regenerate(Renewal { record, shown }) => {
            rotate(session, Rotation { record, overlap_seconds: Some(0), replace: true, shown }).await
        }
        Ask::Retire(Back { name, etag, change: ChangeArgs { validate_only, request_id } }) => {
            let name = full(&name)?;
            let request = pb::RetireKeySecretRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "end a secret of", &name, keys.retire_key_secret(request))?;
            session.changed(&answer, "key", "retired", validate_only)
        }
        Ask::Disable { name } => {
            let name = full(&name)?;
            let request = pb::DisableKeyRequest { name: name.clone() };
            let answer = called!(session, "disable", &name, keys.disable_key(request))?;
            session.changed(&answer, "key", "disabled", false)
        }
        Ask::Enable { name } => {
            let name = full(&name)?;
            let request = pb::EnableKeyRequest { name: name.clone() };
            let answer = called!(session, "enable", &name, keys.enable_key(request))?;
            session.changed(&answer, "key", "enabled", false)
        }
        Ask::Revoke { name, reason, sure } => {
            let name = full(&name)?;
            sure.ask(&format!("revoke {name}"), true)?;
            let request = pb::RevokeKeyRequest { name: name.clone(), reason };
            let answer = called!(session, "revoke", &name, keys.revoke_key(request))?;
            session.changed(&answer, "key", "revoked", false)
        }
        Ask::Delete(Doomed { record: Back { name, etag, change }, sure }) => {
            let name = full(&name)?;
            let ChangeArgs { validate_only, request_id } = change;
            if !validate_only {
                sure.ask(&format!("delete {name}"), true)?;
            }
            let request = pb::DeleteKeyRequest { name: name.clone(), etag, request_id, validate_only };
            let answer = called!(session, "delete", &name, keys.delete_key(request))?;
            session.changed(&answer, "", format!("deleted {name}"), validate_only)
        }
        Ask::RevokeAll(leak) => revoke_all(session, leak).await,
        Ask::Review(review) => key_reviews::review(session, *review).await,
        Ask::RetireBreaking(asked) => key_reviews::retire(session, *asked).await,
    }
}

async fn list_all(session: &Session, workspace: Option<&str>, list: ListArgs) -> anyhow::Result<ExitCode> {
    // What is deleted is gone: there is nothing deleted to show.
    let ListArgs { pages, filter, order_by, show_deleted: _ } = list;
    let parent = match workspace {
        Some(workspace) => session.names.full(WORKSPACE, workspace)?,
        None => session.names.tenant(None)?,
    };
    let request = pb::ListKeysRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
    let list = listed!(session, pages, &parent, keys.list_keys(request), keys);
    session.table(&list, "keys", &COLUMNS)
}

/// The full name of a project of a workspace, by its id alone or as elsewhere; empty for none.
fn project(session: &Session, workspace: &str, text: &str) -> Result<String, UsageError> {
    match text {
        "" => Ok(String::new()),
        id if !id.contains('/') => Ok(format!("{workspace}/projects/{id}")),
        name => session.names.full(PROJECT, name),
    }
}

async fn create(session: &Session, newcomer: Newcomer) -> anyhow::Result<ExitCode> {
    let ChangeArgs { validate_only, request_id } = newcomer.change;
    let parent = session.names.full(WORKSPACE, &newcomer.workspace)?;
    let key = pb::Key {
        owner: session.names.member(&newcomer.owner)?,
        display_name: newcomer.display_name,
        description: newcomer.description,
        labels: newcomer.labels.into_iter().collect(),
        project: project(session, &parent, &newcomer.project)?,
        expire_time: newcomer.until.time(),
        allowlist: newcomer.lists.allowlist(),
        ..pb::Key::default()
    };
    let request = pb::CreateKeyRequest { parent: parent.clone(), key: Some(key), request_id, validate_only };
    let answer = called!(session, "create a key in", &parent, keys.create_key(request))?;
    let env_line = newcomer.shown.line(&answer.secret);
    show(session, &answer, &answer.secret, env_line, "created", validate_only)
}

impl Shown {
    fn line(self, secret: &str) -> Option<String> {
        self.env_file_line.map(|name| format!("{name}={secret}"))
    }
}

/// Prints a key and its secret, or nothing but the line of an env file.
fn show<M: prost::Message>(
    session: &Session,
    answer: &M,
    secret: &str,
    env_line: Option<String>,
    done: &str,
    validate_only: bool,
) -> anyhow::Result<ExitCode> {
    if let Some(line) = env_line {
        return session.print(answer, |_| line);
    }
    if validate_only {
        return session.changed(answer, "key", done, true);
    }
    session.changed(answer, "key", format!("{done}; this is shown once:\n{secret}"), false)
}

/// A mask says what is to be changed: nothing is a value as well.
async fn update(session: &Session, facts: Facts) -> anyhow::Result<ExitCode> {
    let ChangeArgs { validate_only, request_id } = facts.change;
    let name = session.names.full(KEY, &facts.name)?;
    let workspace = name.split("/keys/").next().unwrap_or_default().to_owned();
    let (expire_time, allowlist) = (facts.until.time(), facts.lists.allowlist());
    let labels: BTreeMap<String, String> = facts.labels.into_iter().collect();
    let fields = [
        ("display_name", facts.display_name.is_some()),
        ("description", facts.description.is_some()),
        ("labels", facts.no_labels || !labels.is_empty()),
        ("project", facts.project.is_some()),
        ("expire_time", facts.forever || expire_time.is_some()),
        ("allowlist", facts.no_allowlist || allowlist.is_some()),
    ];
    let paths: Vec<String> = fields.iter().filter(|(_, given)| *given).map(|(field, _)| (*field).to_owned()).collect();
    if paths.is_empty() {
        return Err(UsageError("say what is to be changed, for example --display-name; see --help".to_owned()).into());
    }
    let key = pb::Key {
        name: name.clone(),
        display_name: facts.display_name.unwrap_or_default(),
        description: facts.description.unwrap_or_default(),
        labels,
        project: project(session, &workspace, &facts.project.unwrap_or_default())?,
        expire_time,
        allowlist,
        etag: facts.etag,
        ..pb::Key::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = pb::UpdateKeyRequest { key: Some(key), update_mask, request_id, validate_only };
    let answer = called!(session, "change", &name, keys.update_key(request))?;
    session.changed(&answer, "key", "changed", validate_only)
}

async fn rotate(session: &Session, rotation: Rotation) -> anyhow::Result<ExitCode> {
    let Rotation { record, overlap_seconds, replace, shown } = rotation;
    let Back { name, etag, change: ChangeArgs { validate_only, request_id } } = record;
    let name = session.names.full(KEY, &name)?;
    let overlap = overlap_seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    let request = pb::RotateKeyRequest { name: name.clone(), overlap, replace, etag, request_id, validate_only };
    let answer = called!(session, "rotate", &name, keys.rotate_key(request))?;
    show(session, &answer, &answer.secret, shown.line(&answer.secret), "rotated", validate_only)
}

/// Asks again until none is left: one call takes a thousand.
async fn revoke_all(session: &Session, leak: Leak) -> anyhow::Result<ExitCode> {
    let Leak { workspace, filter, reason, change: ChangeArgs { validate_only, mut request_id }, sure } = leak;
    let parent = session.names.full(WORKSPACE, &workspace)?;
    if !validate_only {
        sure.ask(&format!("revoke every key of {parent} where {filter}"), true)?;
    }
    let mut all = pb::BulkRevokeKeysResponse::default();
    loop {
        let (parent, filter, reason) = (parent.clone(), filter.clone(), reason.clone());
        let asked = pb::BulkRevokeKeysRequest { parent: parent.clone(), filter, reason, request_id, validate_only };
        let answer = called!(session, "revoke keys of", &parent, keys.bulk_revoke_keys(asked))?;
        let done = answer.left_count == 0 || answer.names.is_empty();
        all.revoked_count += answer.revoked_count;
        all.names.extend(answer.names);
        (all.left_count, all.revision) = (answer.left_count, answer.revision);
        if done || validate_only {
            break;
        }
        request_id = client::fresh_id();
    }
    let count = if validate_only { all.revoked_count + all.left_count } else { all.revoked_count };
    let done = format!("revoked: {count} {}", if count == 1 { "key" } else { "keys" });
    session.changed(&all, "", done, validate_only)
}
