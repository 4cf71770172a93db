//! Use cases that change a key or delete it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    App, AppError, Changed, Work, access,
    caller::Caller,
    context::{Audit, undeleted},
    key_policies,
    keys::{NamedKey, find, find_project, named, put, redacted, require_given, require_policy},
};
use crate::{
    domain::{
        keys::{Allowlist, Key, KeyState},
        names::{KeyName, PrincipalName, ProjectName},
        permission::Permission,
        time::Timestamp,
        workspaces::Workspace,
    },
    store,
};

/// What is to be said of a key; `None`: as it is.
#[derive(Debug, Default)]
pub struct KeyUpdate {
    /// Another name for people.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Other tags, all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// Another project or none.
    pub project: Option<Option<ProjectName>>,
    /// Another end or none.
    pub expires: Option<Option<Timestamp>>,
    /// What else it may be used for.
    pub allowlist: Option<Allowlist>,
}

/// Asks for a key to be changed.
#[derive(Debug)]
pub struct UpdateKey {
    /// Which.
    pub name: KeyName,
    /// Whose it is; `None`: whoever's.
    pub owner: Option<PrincipalName>,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
    /// What is to be said of it.
    pub update: KeyUpdate,
}

/// Asks for a key to be deleted.
#[derive(Debug)]
pub struct DeleteKey {
    /// Which.
    pub name: KeyName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// A key is gone; the revision at which it is.
#[derive(Debug)]
pub struct KeyDeleted(pub i64);

/// Insists that a key can still be used for something.
pub(super) fn require_alive(work: &Work<'_>, name: &KeyName, key: &Key) -> Result<(), AppError> {
    match key.state {
        KeyState::Revoked => Err(AppError::State(format!("{name} is revoked, for good"))),
        _ if key.has_expired(work.now) => Err(AppError::State(format!("{name} has expired, for good"))),
        KeyState::Active | KeyState::Disabled => Ok(()),
    }
}

/// Changes a key. Its owner may narrow what it does; to widen it takes what it takes to create it so.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn update(app: Arc<App>, caller: Caller, asked: UpdateKey) -> Result<Changed<NamedKey>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let (workspace, before) = find(&mut work, &asked.name).await?;
    if before.owner != caller.principal {
        work.require(Permission::KeysWrite, work.workspace_scope(&workspace))?;
    }
    undeleted(workspace.deleted, &format_args!("{}/workspaces/{}", work.tenant.name(), workspace.slug))?;
    if work.is_replay() {
        return unchanged(work, &workspace, before).await;
    }
    require_owner(&mut work, &workspace, &before, asked.owner.as_ref()).await?;
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    require_alive(&work, &asked.name, &before)?;
    let after = updated(&mut work, &workspace, &before, asked.update).await?;
    if after == before {
        return unchanged(work, &workspace, before).await;
    }
    if after.expires != before.expires && after.has_expired(work.now) {
        return Err(AppError::invalid("key.expire_time", "must be in the future"));
    }
    if !after.is_within(&before) {
        require_wider(&mut work, &workspace, &after).await?;
    }
    let after = Key { version: before.version + 1, ..after };
    put(&mut work, after.clone()).await?;
    store::keys::put_words(&mut work.tx, &after).await?;
    let audit = Audit::new("keys.update", &asked.name, Some(&redacted(&before)), Some(&redacted(&after)));
    let record = named(&mut work, &workspace, after).await?;
    Ok(Changed { record, revision: work.commit(audit).await? })
}

async fn unchanged(mut work: Work<'_>, workspace: &Workspace, key: Key) -> Result<Changed<NamedKey>, AppError> {
    let record = named(&mut work, workspace, key).await?;
    Ok(Changed { record, revision: work.unchanged().await? })
}

/// Insists that whoever is named as the owner is the owner: that never changes.
async fn require_owner(
    work: &mut Work<'_>,
    workspace: &Workspace,
    key: &Key,
    asked: Option<&PrincipalName>,
) -> Result<(), AppError> {
    let Some(asked) = asked else { return Ok(()) };
    if named(work, workspace, key.clone()).await?.owner == asked.to_string() {
        return Ok(());
    }
    access::find_principal(work, asked).await?;
    Err(AppError::invalid("key.owner", "never changes"))
}

async fn updated(work: &mut Work<'_>, workspace: &Workspace, key: &Key, update: KeyUpdate) -> Result<Key, AppError> {
    let project = match update.project {
        Some(name) => find_project(work, &workspace.slug, name.as_ref()).await?,
        None => key.project,
    };
    Ok(Key {
        display_name: update.display_name.unwrap_or_else(|| key.display_name.clone()),
        description: update.description.unwrap_or_else(|| key.description.clone()),
        labels: update.labels.unwrap_or_else(|| key.labels.clone()),
        project,
        expires: update.expires.unwrap_or(key.expires),
        allowlist: update.allowlist.unwrap_or_else(|| key.allowlist.clone()),
        ..key.clone()
    })
}

/// Insists on what it takes to create a key such as this one has become.
async fn require_wider(work: &mut Work<'_>, workspace: &Workspace, key: &Key) -> Result<(), AppError> {
    let (scope, terms) = (work.workspace_scope(workspace), (key.expires, &key.allowlist));
    if key.owner == work.caller().principal {
        work.require(workspace.policies.keys.creates(), scope)?;
        require_policy(work, key.owner, key.created, terms).await?;
    } else {
        require_given(work, key.owner, scope, terms).await?;
    }
    key_policies::require_terms(workspace, key.created, terms)
}

/// Deletes a key that has ended. What is said of it elsewhere stays, and so does its row, without being seen.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteKey) -> Result<KeyDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    if work.is_replay() {
        return Ok(KeyDeleted(work.unchanged().await?));
    }
    let (workspace, before) = find(&mut work, &asked.name).await?;
    if before.owner != caller.principal {
        work.require(Permission::KeysRevoke, work.workspace_scope(&workspace))?;
    }
    undeleted(workspace.deleted, &format_args!("{}/workspaces/{}", work.tenant.name(), workspace.slug))?;
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if require_alive(&work, &asked.name, &before).is_ok() {
        return Err(AppError::State(format!("{} still works, or can work again: revoke it first", asked.name)));
    }
    // Revoked, whatever the clock says later.
    let (deleted, version) = (Some(work.now), before.version + 1);
    let after = Key { state: KeyState::Revoked, deleted, version, ..before.clone() };
    put(&mut work, after.clone()).await?;
    store::keys::put_words(&mut work.tx, &after).await?;
    let audit = Audit::new("keys.delete", &asked.name, Some(&redacted(&before)), Some(&redacted(&after)));
    Ok(KeyDeleted(work.commit(audit).await?))
}
