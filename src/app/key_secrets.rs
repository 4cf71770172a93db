//! New secrets of API keys: how they are drawn, and how one is shown again whose showing was lost.
//!
//! A secret is not stored. One that is asked for under a request id is computed from who asks, the id and the whole of the
//! request, under a key that is derived from the pepper: the same caller gets the same one by the same request, and nobody
//! else can compute it, the database at hand or not. It is looked for by the public id that comes out with it. Without a
//! request id it is random, and shown once.

use super::{
    AppError, Work,
    context::random,
    keys::{KeyCreated, named},
};
use crate::{
    domain::{
        id::KeyId,
        key_secret::{KeySecret, Pepper, Presented, RANDOM_BYTES},
        keys::{Key, SHOWN_AGAIN},
        peppers::SecretHash,
        workspaces::Workspace,
    },
    store,
};

/// A new secret that fits the workspace, and what is stored of it.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn draw(work: &Work<'_>, workspace: &Workspace) -> Result<(KeySecret, SecretHash), AppError> {
    draw_one(work, workspace, "")
}

/// As [`draw`], for one of many that a request makes: each has a place of its own.
pub(super) fn draw_one(
    work: &Work<'_>,
    workspace: &Workspace,
    place: &str,
) -> Result<(KeySecret, SecretHash), AppError> {
    let peppers = work.app().peppers();
    let secret = drawn(work, workspace, peppers.current(), place)?;
    let hash = Presented::parse(secret.expose()).map(|presented| peppers.hash(&presented));
    hash.map(|hash| (secret, hash)).ok_or_else(broken)
}

fn broken() -> AppError {
    AppError::State("the new secret does not read as one: is the system's randomness broken?".to_owned())
}

/// A secret; the same one for the same request under the same pepper, if the request has an id.
fn drawn(work: &Work<'_>, workspace: &Workspace, pepper: &Pepper, place: &str) -> Result<KeySecret, AppError> {
    let caller = work.caller();
    let who = caller.principal.to_string();
    // The bytes do not suffice once in 10^20 secrets; then the next ones do.
    for turn in 0u8..=u8::MAX {
        let bytes: [u8; RANDOM_BYTES] = if caller.intent.once.is_empty() {
            random()?
        } else {
            let turn = turn.to_string();
            let parts = [&*who, &*caller.intent.once, &*caller.intent.fingerprint, &*turn, place];
            // Of one alone as it always was.
            pepper.repeatable(if place.is_empty() { &parts[..4] } else { &parts })
        };
        if let Some(secret) = KeySecret::generate(&workspace.key_prefix(), &bytes) {
            return Ok(secret);
        }
    }
    Err(broken())
}

/// The secret of the same request and the key that it is the newest of, whichever pepper was in use when it was made.
async fn made(
    work: &mut Work<'_>,
    workspace: &Workspace,
    (secret, place): (KeySecret, &str),
) -> Result<Option<(KeySecret, Key)>, AppError> {
    if let Some(key) = store::keys::by_public_id(&mut work.tx, &secret.public_id).await? {
        return Ok(Some((secret, key)));
    }
    let peppers = work.app().peppers();
    for pepper in peppers.all().skip(1) {
        let secret = drawn(work, workspace, pepper, place)?;
        if let Some(key) = store::keys::by_public_id(&mut work.tx, &secret.public_id).await? {
            return Ok(Some((secret, key)));
        }
    }
    Ok(None)
}

/// What was answered when the same was asked for before: the key, of this id if it is known, whose newest secret this is.
///
/// # Errors
/// [`AppError::State`] when it is no key's newest secret any more, or was made too long ago.
pub(super) async fn shown_again(
    mut work: Work<'_>,
    workspace: Workspace,
    id: Option<KeyId>,
    secret: KeySecret,
) -> Result<KeyCreated, AppError> {
    let (secret, key) = again(&mut work, &workspace, id, (secret, "")).await?;
    let record = named(&mut work, &workspace, key).await?;
    Ok(KeyCreated { record, secret: Some(secret), revision: work.unchanged().await? })
}

/// The secret that the same request made before, and the key, of this id if it is known, whose newest secret it is.
///
/// # Errors
/// As [`shown_again`].
pub(super) async fn again(
    work: &mut Work<'_>,
    workspace: &Workspace,
    id: Option<KeyId>,
    secret: (KeySecret, &str),
) -> Result<(KeySecret, Key), AppError> {
    let found = made(work, workspace, secret).await?;
    let found = found.filter(|(_, key)| key.workspace == workspace.id && key.deleted.is_none());
    let found = found.filter(|(_, key)| id.is_none_or(|id| key.id == id));
    let past = || AppError::State("the secret that this request made cannot be shown again: rotate the key".to_owned());
    found.filter(|(_, key)| work.now < key.secret_made().after(SHOWN_AGAIN)).ok_or_else(past)
}
