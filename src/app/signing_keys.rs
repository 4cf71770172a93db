//! Use cases of the keys that tokens are signed with.

use std::{sync::Arc, time::Duration};

use super::{
    App, AppError,
    caller::Origin,
    record::{self, Audit},
};
use crate::{
    domain::{change::Change, signing_keys::SigningKey, tenants::Tenant, time::Timestamp},
    store::{self, Db, Tx},
};

/// Longest that a token is good, and a while in which servers go over to a new key.
const LAST_TOKEN: Duration = Duration::from_mins(24 * 60 + 10);

/// Asks for the public keys.
#[derive(Debug)]
pub struct GetJwks;

/// The keys that tokens may be signed with.
#[derive(Debug)]
pub struct Jwks(pub Vec<SigningKey>);

/// Gives the keys that tokens may be signed with, to anybody.
///
/// # Errors
/// Never.
pub async fn jwks(app: Arc<App>, _: Origin, _: GetJwks) -> Result<Jwks, AppError> {
    Ok(Jwks(app.tokens.good(app.clock.now())))
}

/// Puts a new key in the place of the others: these retire at once, or when the last token has ended that they may have
/// signed. Gives the revision at which that is so. The private half must be where the servers find it by then.
///
/// # Errors
/// Of the database; [`AppError::State`] when it has never been started.
pub async fn rotate(db: &Db, key: &SigningKey, now: Timestamp, at_once: bool) -> Result<i64, AppError> {
    let mut tx = db.begin().await?;
    let system = store::tenants::by_slug(&mut tx, Tenant::SYSTEM).await?;
    let unknown = || AppError::State("start a server on this database first".to_owned());
    let system = system.ok_or_else(unknown)?;
    let head = store::audit::lock(&mut tx, system.id).await?;
    let last = if at_once { now } else { now.after(LAST_TOKEN) };
    let known = store::signing_keys::all(&mut tx).await?;
    // Later than every other, whatever the clocks say: the newest signs.
    let newest = known.last().ok_or_else(unknown)?.created.after(Duration::from_micros(1));
    let key = &SigningKey { created: newest.max(key.created), ..key.clone() };
    let mut changes = retire(&mut tx, known, last).await?;
    let before = serde_json::json!(changes);
    let _ = store::signing_keys::insert(&mut tx, key).await?;
    changes.push(Change::SigningKey(key.clone()));
    let revision = store::feed::append(&mut tx, &changes).await?;
    let because = if at_once { "the keys before it retire at once" } else { "" }.to_owned();
    let after = serde_json::json!(key);
    let audit = Audit::new("signingKeys.rotate", &system.name(), Some(&before), Some(&after)).because(because);
    record::put(&mut tx, (system.id, head), &Origin::command(), (now, revision), [audit]).await?;
    tx.commit().await?;
    Ok(revision)
}

/// Writes down when keys retire that would be good for longer; gives the changes.
async fn retire(tx: &mut Tx, known: Vec<SigningKey>, last: Timestamp) -> Result<Vec<Change>, AppError> {
    let mut changes = Vec::new();
    for key in known {
        if key.is_good(last) {
            let key = SigningKey { retires: Some(last), ..key };
            store::signing_keys::update(tx, &key).await?;
            changes.push(Change::SigningKey(key));
        }
    }
    Ok(changes)
}
