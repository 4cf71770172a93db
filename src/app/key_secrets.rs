//! New secrets of API keys: how they are drawn, and how one is shown again whose showing was lost.
//!
//! A secret is not stored. One that is asked for under a request id is computed from who asks, the id and the whole of the
//! request, under a key that is derived from the pepper: the same caller gets the same one by the same request, and nobody
//! else can compute it, the database at hand or not. It is looked for by the public id that comes out with it. Without a
//! request id it is random, and shown once.

use super::{
    App, AppError, Work,
    context::random,
    keys::{KeyCreated, named},
};
use crate::{
    domain::{
        id::KeyId,
        key_secret::{KeyHash, KeySecret, Presented, RANDOM_BYTES},
        keys::SHOWN_AGAIN,
        workspaces::Workspace,
    },
    store,
};

/// A new secret that fits the workspace, and what is stored of it.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn draw(work: &Work<'_>, workspace: &Workspace) -> Result<(KeySecret, KeyHash), AppError> {
    let (app, caller) = (work.app(), work.caller());
    let who = caller.principal.to_string();
    // The bytes do not suffice once in 10^20 secrets; then the next ones do.
    for turn in 0u8..=u8::MAX {
        let bytes: [u8; RANDOM_BYTES] = if caller.intent.once.is_empty() {
            random()?
        } else {
            app.pepper.repeatable(&[&who, &caller.intent.once, &caller.intent.fingerprint, &turn.to_string()])
        };
        if let Some(secret) = KeySecret::generate(&workspace.key_prefix(), &bytes)
            && let Some(hash) = hashed(app, &secret)
        {
            return Ok((secret, hash));
        }
    }
    Err(AppError::State("the new secret does not read as one: is the system's randomness broken?".to_owned()))
}

fn hashed(app: &App, secret: &KeySecret) -> Option<KeyHash> {
    Presented::parse(secret.expose()).map(|presented| app.pepper.hash(&presented))
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
    let found = store::keys::by_public_id(&mut work.tx, &secret.public_id).await?;
    let made = found.filter(|key| key.workspace == workspace.id && key.deleted.is_none());
    let made = made.filter(|key| id.is_none_or(|id| key.id == id));
    let past = || AppError::State("the secret that this request made cannot be shown again: rotate the key".to_owned());
    let key = made.filter(|key| work.now < key.secret_made().after(SHOWN_AGAIN)).ok_or_else(past)?;
    let record = named(&mut work, &workspace, key).await?;
    Ok(KeyCreated { record, secret: Some(secret), revision: work.unchanged().await? })
}
