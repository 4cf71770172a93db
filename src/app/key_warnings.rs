//! Warnings that keys are due for other secrets: by mail, and in the audit log.
//!
//! The row of a key says when the next warning is; whoever gives it moves that on in the same transaction, so that each is
//! given once, however many servers look. One that was missed because nobody looked is not made up for when a later one is true.

use serde_json::json;

use super::{
    App, AppError, Work,
    caller::Origin,
    context::Audit,
    mail::{self, Mail},
};
use crate::{
    domain::{
        bindings::Principal,
        id::{KeyId, TenantId},
        key_schedule::{Schedule, Warning},
        keys::{Key, KeyState},
        mail::Draft,
        users::UserState,
    },
    store,
};

/// Keys that are looked for at once.
const DUE: i64 = 100;
/// Most people who are warned of one key.
const MAX_TOLD: i64 = 50;

/// Gives every warning whose time has come.
///
/// # Errors
/// [`AppError`].
pub async fn warn_due(app: &App) -> Result<(), AppError> {
    loop {
        let now = app.clock.now();
        let mut tx = app.db.read().await?;
        let due = store::key_warnings::due(&mut tx, now, DUE).await?;
        drop(tx);
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = app.db.begin().await?;
        store::key_warnings::drop_ended(&mut tx, now).await?;
        tx.commit().await?;
        let last = i64::try_from(due.len()).unwrap_or(DUE) < DUE;
        let mut given = false;
        for (key, tenant) in due {
            given |= warn(app, key, tenant).await?;
        }
        if last || !given {
            return Ok(());
        }
    }
}

/// Gives the warning that is due of a key; whether there was one to give.
async fn warn(app: &App, key: KeyId, tenant: TenantId) -> Result<bool, AppError> {
    let mut tx = app.db.begin().await?;
    let Some(tenant) = store::tenants::by_id(&mut tx, tenant).await? else { return Ok(false) };
    let caller = Origin::default().server(tenant.id);
    let mut work = app.enter(&caller, tx, &tenant.slug, &key, true).await?;
    let found = store::keys::by_id(&mut work.tx, key).await?;
    let works = |key: &Key| key.state != KeyState::Revoked && !key.has_expired(work.now);
    let Some(key) = found.filter(works) else { return Ok(false) };
    let Some(schedule) = key.secrets.schedule else { return Ok(false) };
    let Some(warning) = schedule.latest(work.now) else { return Ok(false) };
    // Another server may have been faster.
    if !store::key_warnings::set_next(&mut work.tx, &key, work.now, schedule.next(work.now)).await? {
        return Ok(false);
    }
    let name = store::names::names(&mut work.tx, vec![key.id.to_string()]).await?.of(key.id);
    tell(&mut work, &key, &name, &schedule, warning).await?;
    let Schedule { due, deadline } = schedule;
    let said =
        json!({ "warning": warning.says, "generation": key.secrets.generation, "due": due, "deadline": deadline });
    match work.commit(Audit::new("keys.warnRotation", &name, None, Some(&said))).await {
        // No decision goes by it.
        Ok(_) | Err(AppError::NotYetInForce { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Mails whoever owns the key; of a service account, those who administer the workspace, or else the tenant. Nobody of what is
/// deleted.
async fn tell(
    work: &mut Work<'_>,
    key: &Key,
    name: &str,
    schedule: &Schedule,
    warning: Warning,
) -> Result<(), AppError> {
    let workspace = store::workspaces::by_id(&mut work.tx, key.workspace).await?;
    if work.tenant.deleted.is_some() || workspace.is_none_or(|workspace| workspace.deleted.is_some()) {
        return Ok(());
    }
    let told = told(work, key).await?;
    let until = |time: crate::domain::time::Timestamp| -> String {
        time.to_string().replace('T', " ").chars().take(16).collect()
    };
    let (due, deadline) = (until(schedule.due), until(schedule.deadline));
    let (subject, stands) = if warning.says == "overdue" {
        ("An API key is refused until it is rotated", format!("It has been refused since {deadline} UTC."))
    } else {
        let stands =
            format!("It is due for another secret at {due} UTC, and refused from {deadline} UTC on without one.");
        ("An API key has to be rotated", stands)
    };
    let letter = Draft {
        branding: &work.tenant.branding,
        tenant: &work.tenant.display_name,
        subject,
        before: &[
            &format!("The rotation of the API key \"{}\" is {}.", key.display_name, warning.says),
            &stands,
            &format!("Its name: {name}"),
        ],
        link: None,
        after: &["Whoever rotates it is shown the new secret, once: whatever uses the key needs it."],
    }
    .write();
    for address in &told {
        mail::post(work, Mail { about: &key.id.to_string(), to: address, letter: letter.clone() }).await?;
    }
    Ok(())
}

async fn told(work: &mut Work<'_>, key: &Key) -> Result<Vec<String>, AppError> {
    let (tenant, now) = (work.tenant.id, work.now);
    if let Principal::User(owner) = key.owner {
        let owner = store::users::by_id(&mut work.tx, owner).await?;
        return Ok(owner
            .into_iter()
            .filter(|owner| owner.state == UserState::Active)
            .map(|owner| owner.email)
            .collect());
    }
    let own = store::users::in_charge_of(&mut work.tx, tenant, Some(key.workspace), now, MAX_TOLD).await?;
    if own.is_empty() { Ok(store::users::in_charge(&mut work.tx, tenant, now, MAX_TOLD).await?) } else { Ok(own) }
}
