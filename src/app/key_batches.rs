//! Use cases of many API keys at once: all of them or none.

use std::sync::Arc;

use super::{
    App, AppError, Work,
    caller::Caller,
    context::Audit,
    key_secrets,
    keys::{CreateKey, NamedKey, make, name_all, redacted, require_create},
};
use crate::domain::{key_secret::KeySecret, keys::Key, names::WorkspaceName, workspaces::Workspace};

/// Asks for new keys of one workspace.
#[derive(Debug)]
pub struct BatchCreateKeys {
    /// Where.
    pub parent: WorkspaceName,
    /// Which, each in that workspace.
    pub keys: Vec<CreateKey>,
}

/// Keys with new secrets, and the revision at which decisions see them.
pub struct KeysCreated {
    /// The keys, in the order in which they were asked for; the secrets are for the one answer that shows them, and there are none
    /// when nothing was to be changed.
    pub keys: Vec<(NamedKey, Option<KeySecret>)>,
    /// The revision.
    pub revision: i64,
}

/// Creates keys, each as one alone would be. Each has an event of its own in the audit log.
///
/// # Errors
/// [`AppError::Item`] with the first that cannot be; as for one.
pub async fn create(app: Arc<App>, caller: Caller, asked: BatchCreateKeys) -> Result<KeysCreated, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.open_workspace(&asked.parent.workspace, &asked.parent).await?;
    let scope = work.workspace_scope(&workspace);
    let (mut keys, mut secrets) = (Vec::new(), Vec::new());
    for (place, key) in asked.keys.into_iter().enumerate() {
        let made = one(&mut work, &workspace, key, place).await;
        let (secret, key) = made.map_err(|error| AppError::Item("keys", place, Box::new(error)))?;
        keys.push(key);
        secrets.push((!caller.intent.validate_only).then_some(secret));
    }
    let records: Vec<serde_json::Value> = keys.iter().map(redacted).collect();
    let named = name_all(&mut work, scope, vec![workspace], keys).await?;
    let audits = named.iter().zip(&records);
    let mut audits: Vec<Audit> =
        audits.map(|(key, record)| Audit::new("keys.batchCreate", &key.name, None, Some(record))).collect();
    let last = audits.pop();
    let revision = match last {
        Some(last) if !work.is_replay() => {
            for audit in audits {
                work.also(audit);
            }
            work.commit(last).await?
        }
        _ => work.unchanged().await?,
    };
    Ok(KeysCreated { keys: named.into_iter().zip(secrets).collect(), revision })
}

/// Makes one of them; or finds the one that the same request made before.
async fn one(
    work: &mut Work<'_>,
    workspace: &Workspace,
    asked: CreateKey,
    place: usize,
) -> Result<(KeySecret, Key), AppError> {
    let owner = require_create(work, workspace, &asked).await?;
    let place = place.to_string();
    let (secret, hash) = key_secrets::draw_one(work, workspace, &place)?;
    if work.is_replay() {
        return key_secrets::again(work, workspace, None, (secret, &place)).await;
    }
    let key = make(work, workspace, owner, asked, (secret.public_id, hash)).await?;
    Ok((secret, key))
}
