//! Use cases of the rotation of keys: a key gets another secret, and the one that it had ends.

use std::{sync::Arc, time::Duration};

use super::{
    App, AppError, Changed, Work,
    caller::{Caller, Origin},
    context::{Audit, undeleted},
    key_changes::require_alive,
    key_secrets,
    keys::{KeyCreated, NamedKey, find, named, put, redacted, require_given},
};
use crate::{
    domain::{
        bindings::{Principal, Scope},
        id::{KeyId, TenantId},
        keys::Key,
        names::KeyName,
        permission::Permission,
        time::Timestamp,
    },
    store,
};

/// Keys whose older secrets are looked for at once.
const DUE: i64 = 100;

/// Asks for a new secret.
#[derive(Debug)]
pub struct RotateKey {
    /// Of which key.
    pub name: KeyName,
    /// How long the one that it has works beside it.
    pub overlap: Duration,
    /// Whether the older of two ends for it.
    pub replace: bool,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for the older of two secrets to be ended.
#[derive(Debug)]
pub struct RetireKeySecret {
    /// Of which key.
    pub name: KeyName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// Gives a key a new secret. Who sees it can do what the key lets its owner do. One whose rotation is overdue works again then.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn rotate(app: Arc<App>, caller: Caller, asked: RotateKey) -> Result<KeyCreated, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let (workspace, before) = find(&mut work, &asked.name).await?;
    let scope = work.workspace_scope(&workspace);
    require_rotation(&mut work, scope, &before).await?;
    undeleted(workspace.deleted, &format_args!("{}/workspaces/{}", work.tenant.name(), workspace.slug))?;
    let (secret, hash) = key_secrets::draw(&work, &workspace)?;
    if work.is_replay() {
        return key_secrets::shown_again(work, workspace, Some(before.id), secret).await;
    }
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    require_alive(&work, &asked.name, &before)?;
    if let Some(old) = before.retiring(work.now).filter(|_| !asked.replace) {
        let (name, ends) = (&asked.name, old.ends);
        return Err(AppError::State(format!("{name} has two secrets until {ends}: retire the older, or replace it")));
    }
    if let Principal::User(id) = before.owner
        && store::users::by_id(&mut work.tx, id).await?.is_none()
    {
        return Err(AppError::State("its owner was removed: enable it first, and own it then".to_owned()));
    }
    let schedule = workspace.policies.keys.schedule(work.now);
    let after = before.rotated((secret.public_id, hash), schedule, work.now, work.now.after(asked.overlap));
    let record = written(&mut work, &before, after.clone()).await?;
    let audit = Audit::new("keys.rotate", &asked.name, Some(&record), Some(&redacted(&after)));
    let record = named(&mut work, &workspace, after).await?;
    let revision = work.commit(audit).await?;
    let secret = (!caller.intent.validate_only).then_some(secret);
    Ok(KeyCreated { record, secret, revision })
}

/// Writes a key with other secrets; gives the record of what it was.
async fn written(work: &mut Work<'_>, before: &Key, after: Key) -> Result<serde_json::Value, AppError> {
    store::keys::put_words(&mut work.tx, &after).await?;
    put(work, after).await?;
    Ok(redacted(before))
}

/// Insists that the caller may see a secret of a key: of one's own as of one that they create; of somebody else's, when they
/// hold what it gives.
async fn require_rotation(work: &mut Work<'_>, scope: Scope, key: &Key) -> Result<(), AppError> {
    if key.owner == work.caller().principal {
        return work.require(Permission::KeysCreate, scope);
    }
    work.require(Permission::KeysRotate, scope)?;
    require_given(work, key.owner, scope, (key.expires, &key.allowlist)).await
}

/// Ends the older of a key's two secrets before its time.
pub async fn retire_secret(
    app: Arc<App>,
    caller: Caller,
    asked: RetireKeySecret,
) -> Result<Changed<NamedKey>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let (workspace, before) = find(&mut work, &asked.name).await?;
    if before.owner != caller.principal {
        work.require(Permission::KeysRotate, work.workspace_scope(&workspace))?;
    }
    undeleted(workspace.deleted, &format_args!("{}/workspaces/{}", work.tenant.name(), workspace.slug))?;
    if !work.is_replay() && asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if work.is_replay() || before.secrets.retiring.is_none() {
        let record = named(&mut work, &workspace, before).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let after = before.retired();
    let record = written(&mut work, &before, after.clone()).await?;
    let audit = Audit::new("keys.retireSecret", &asked.name, Some(&record), Some(&redacted(&after)));
    let record = named(&mut work, &workspace, after).await?;
    Ok(Changed { record, revision: work.commit(audit).await? })
}

/// Takes the secrets out of the books whose time has passed. No decision takes one from its last moment on, whether this has
/// been done or not; once it has, no server that starts later has to be told the time to know.
pub async fn retire_due(app: &App) -> Result<(), AppError> {
    retire_until(app, app.clock.now()).await
}

/// Notes what time it is, as long as a secret is to end: so that whoever starts later knows it, whatever the clock shows then.
pub async fn note_time(app: &App) -> Result<(), AppError> {
    let mut tx = app.db.read().await?;
    let waits = store::keys::has_retiring(&mut tx).await?;
    tx.rollback().await?;
    if waits {
        let mut tx = app.db.begin().await?;
        store::keyring::note_time(&mut tx, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Takes out of the books, at the start, what had ended before the clock was set back: some server noted a later time than it
/// shows, and may have gone on for as long as there is between two notes.
pub async fn retire_past(app: &App, between: Duration) -> Result<(), AppError> {
    let mut tx = app.db.read().await?;
    let noted = store::keyring::noted_time(&mut tx).await?;
    tx.rollback().await?;
    let now = app.clock.now();
    if let Some(noted) = noted.filter(|noted| *noted > now) {
        tracing::warn!(%noted, %now, "the clock was set back: secrets of keys that had ended stay ended");
        retire_until(app, noted.after(between)).await?;
        let mut tx = app.db.begin().await?;
        // The time that is noted may be one that never was.
        store::keyring::set_time(&mut tx, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn retire_until(app: &App, moment: Timestamp) -> Result<(), AppError> {
    loop {
        let mut tx = app.db.read().await?;
        let due = store::keys::due(&mut tx, moment, DUE).await?;
        drop(tx);
        let last = i64::try_from(due.len()).unwrap_or(DUE) < DUE;
        for (key, tenant) in due {
            retire(app, key, tenant, moment).await?;
        }
        if last {
            return Ok(());
        }
    }
}

async fn retire(app: &App, key: KeyId, tenant: TenantId, moment: Timestamp) -> Result<(), AppError> {
    let mut tx = app.db.begin().await?;
    let Some(tenant) = store::tenants::by_id(&mut tx, tenant).await? else { return Ok(()) };
    let caller = Origin::default().server(tenant.id);
    let mut work = app.enter(&caller, tx, &tenant.slug, &key, true).await?;
    // Another server may have been faster.
    let found = store::keys::by_id(&mut work.tx, key).await?;
    let due = |key: &Key| key.secrets.retiring.as_ref().is_some_and(|old| old.ends <= moment);
    let Some(before) = found.filter(due) else { return Ok(()) };
    let after = before.retired();
    let record = written(&mut work, &before, after.clone()).await?;
    let name = store::names::names(&mut work.tx, vec![key.to_string()]).await?.of(key);
    let audit = Audit::new("keys.retireSecret", &name, Some(&record), Some(&redacted(&after)));
    match work.commit(audit).await {
        // Decisions go by the time, wherever they are made.
        Ok(_) | Err(AppError::NotYetInForce { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
