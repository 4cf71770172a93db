//! Keys that were found where they should not be: whoever holds one can have it revoked.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{
    App, AppError, Work,
    caller::Origin,
    context::Audit,
    keys,
    mail::{self, Mail},
};
use crate::{
    domain::{
        bindings::Principal,
        key_secret::Presented,
        keys::{Key, KeyState},
        mail::Draft,
        names::KeyName,
        users::UserState,
    },
    store,
};

/// Most people who are told of a leak.
const MAX_TOLD: i64 = 50;

/// Reports a key that somebody has found.
pub struct ReportLeakedKey {
    /// The whole of it.
    pub secret: SecretString,
    /// Where it was found, for the audit log.
    pub found: String,
}

/// The key is revoked.
#[derive(Debug)]
pub struct LeakReported {
    /// The revision at which decisions refuse it.
    pub revision: i64,
}

/// Revokes a key by its secret, and tells its owner and those who run the tenant. The secret is all that it takes: whoever has
/// it could do worse with it.
///
/// # Errors
/// [`AppError::NotFound`] for the secret of no key here.
pub async fn report(app: Arc<App>, from: Origin, asked: ReportLeakedKey) -> Result<LeakReported, AppError> {
    let text = asked.secret.expose_secret();
    if Presented::parse(text).is_none() {
        return Err(AppError::invalid("secret", "is not a whole key: its shape or its checksum is wrong"));
    }
    let unknown = || AppError::NotFound("a key with this secret".to_owned());
    let id = app.gate.key_of(text).ok_or_else(unknown)?;
    let mut tx = app.db.read().await?;
    let key = store::keys::by_id(&mut tx, id).await?.ok_or_else(unknown)?;
    let tenant = store::tenants::by_id(&mut tx, key.tenant).await?.ok_or_else(unknown)?.slug;
    tx.rollback().await?;
    let caller = from.anonymous();
    let mut work = app.enter_freely(&caller, &tenant).await?;
    let before = store::keys::by_id(&mut work.tx, id).await?.ok_or_else(unknown)?;
    if before.state == KeyState::Revoked {
        return Ok(LeakReported { revision: work.unchanged().await? });
    }
    let workspace = store::workspaces::by_id(&mut work.tx, before.workspace).await?.ok_or_else(unknown)?;
    let name = KeyName { tenant, workspace: workspace.slug.clone(), key: id };
    let after = Key { state: KeyState::Revoked, version: before.version + 1, ..before.clone() };
    keys::put(&mut work, after.clone()).await?;
    tell(&mut work, &name, &before).await?;
    let audit = Audit::new("keys.reportLeak", &name, Some(&keys::redacted(&before)), Some(&keys::redacted(&after)));
    Ok(LeakReported { revision: work.commit(audit.because(asked.found)).await? })
}

/// Mails whoever owns the key, and whoever owns or administers the tenant.
async fn tell(work: &mut Work<'_>, name: &KeyName, key: &Key) -> Result<(), AppError> {
    let (tenant, now) = (work.tenant.id, work.now);
    let mut told = store::users::in_charge(&mut work.tx, tenant, now, MAX_TOLD).await?;
    if let Principal::User(owner) = key.owner
        && let Some(owner) = store::users::by_id(&mut work.tx, owner).await?
        && owner.state == UserState::Active
        && !told.contains(&owner.email)
    {
        told.push(owner.email);
    }
    let letter = Draft {
        branding: &work.tenant.branding,
        tenant: &work.tenant.display_name,
        subject: "An API key has leaked and is revoked",
        before: &[
            &format!("Somebody has found the secret of the key \"{}\" and reported it.", key.display_name),
            "It has been refused since then. Whatever still uses it needs a new key.",
            &format!("Its name: {name}"),
        ],
        link: None,
        after: &["The audit log says where it was found, if that was told: keys.reportLeak."],
    }
    .write();
    for address in &told {
        mail::post(work, Mail { about: &key.id.to_string(), to: address, letter: letter.clone() }).await?;
    }
    Ok(())
}
