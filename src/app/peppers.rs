//! Use cases of the peppers: one follows another, and secrets are stored under the newest as they are used.

use super::{
    App, AppError,
    caller::Origin,
    record::{self, Audit},
};
use crate::{
    domain::{change::Change, peppers::KnownPepper, tenants::Tenant, time::Timestamp},
    store::{self, Db, Inserted},
};

/// Most secrets that are stored anew in one transaction.
const AT_ONCE: usize = 500;

/// Stores the secrets under the pepper in use that were used since the last time and are stored under an older one. Nobody can
/// see a difference, so that nothing of it is in the audit log.
///
/// # Errors
/// Of the database: what is not stored then, is at a later use.
pub async fn store_aged(app: &App) -> Result<(), AppError> {
    let aged = app.gate.take_aged();
    for some in aged.chunks(AT_ONCE) {
        let mut tx = app.db.begin().await?;
        let mut changes = Vec::new();
        for rehashed in some {
            if store::keys::rehash(&mut tx, rehashed).await? {
                changes.push(Change::KeyRehashed(rehashed.clone()));
            }
        }
        if changes.is_empty() {
            // Another server was faster.
            tx.rollback().await?;
            continue;
        }
        store::feed::append(&mut tx, &changes).await?;
        tx.commit().await?;
        app.feed.wake();
    }
    Ok(())
}

/// Lets a pepper follow the others: from `pepper.since` on new secrets are hashed under it. Every server must have it by then.
///
/// # Errors
/// Of the database; [`AppError::State`] when it has never been started, or the version is there already.
pub async fn rotate(db: &Db, pepper: &KnownPepper, now: Timestamp) -> Result<i64, AppError> {
    let mut tx = db.begin().await?;
    let system = store::tenants::by_slug(&mut tx, Tenant::SYSTEM).await?;
    let system = system.ok_or_else(|| AppError::State("start a server on this database first".to_owned()))?;
    let head = store::audit::lock(&mut tx, system.id).await?;
    if store::keyring::put_pepper(&mut tx, pepper).await? == Inserted::Exists {
        return Err(AppError::State(format!("somebody else has made version {} at the same time", pepper.version)));
    }
    let revision = store::feed::append(&mut tx, &[]).await?;
    let after = serde_json::json!({ "version": pepper.version.number(), "since": pepper.since });
    let audit = Audit::new("peppers.rotate", &system.name(), None, Some(&after));
    record::put(&mut tx, (system.id, head), &Origin::command(), (now, revision), [audit]).await?;
    tx.commit().await?;
    Ok(revision)
}
