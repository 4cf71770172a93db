//! Use case of many keys that are revoked at once.

use std::sync::Arc;

use super::{
    App, AppError, Work,
    caller::Caller,
    context::Audit,
    keys::{put, redacted, resolve},
};
use crate::{
    domain::{
        keys::{Key, KeyState},
        names::{KeyName, WorkspaceName},
        permission::Permission,
    },
    store::{self, listing::Listing},
};

/// Asks for every key to be revoked that a filter chooses, the first of them.
#[derive(Debug)]
pub struct BulkRevokeKeys {
    /// Of which workspace.
    pub parent: WorkspaceName,
    /// Which, and how many at most.
    pub listing: Listing,
    /// Why, for the audit log.
    pub reason: String,
}

/// Which keys were revoked, or would have been.
#[derive(Debug)]
pub struct KeysRevoked {
    /// Their names.
    pub names: Vec<KeyName>,
    /// How many are left.
    pub left: i64,
    /// The revision at which decisions see it.
    pub revision: i64,
}

/// Revokes the first keys that a filter chooses, in a deleted workspace too. Each has an event of its own in the audit log.
///
/// # Errors
/// [`AppError`].
pub async fn revoke(app: Arc<App>, caller: Caller, mut asked: BulkRevokeKeys) -> Result<KeysRevoked, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::KeysRevoke, work.workspace_scope(&workspace))?;
    resolve(&mut work, &mut asked.listing.terms).await?;
    let (keys, count) = store::keys::revocable(&mut work.tx, workspace.id, &asked.listing).await?;
    if work.is_replay() || keys.is_empty() {
        return Ok(KeysRevoked { names: Vec::new(), left: count, revision: work.unchanged().await? });
    }
    let left = count - i64::try_from(keys.len()).unwrap_or(count);
    let name = |key: &Key| {
        let WorkspaceName { tenant, workspace } = asked.parent.clone();
        KeyName { tenant, workspace, key: key.id }
    };
    let names: Vec<KeyName> = keys.iter().map(name).collect();
    let mut audit = None;
    for (key, name) in keys.into_iter().zip(&names) {
        if let Some(audit) = audit.take() {
            work.also(audit);
        }
        audit = Some(revoked(&mut work, key, name, &asked.reason).await?);
    }
    let revision = match audit {
        Some(audit) => work.commit(audit).await?,
        None => work.unchanged().await?,
    };
    Ok(KeysRevoked { names, left, revision })
}

async fn revoked(work: &mut Work<'_>, before: Key, name: &KeyName, reason: &str) -> Result<Audit, AppError> {
    let after = Key { state: KeyState::Revoked, version: before.version + 1, ..before.clone() };
    // What is only to be checked is not written first.
    if !work.caller().intent.validate_only {
        put(work, after.clone()).await?;
    }
    let audit = Audit::new("keys.bulkRevoke", name, Some(&redacted(&before)), Some(&redacted(&after)));
    Ok(audit.because(reason.to_owned()))
}
