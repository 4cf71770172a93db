//! How somebody who is invited joins: the one use case that anybody may ask for.
//!
//! What the link promises is given by the authority of whoever sent it, as it is now: they are the caller of the
//! transaction, and every rule that binds them binds here. When they could not give it any more, the invitation is void, on
//! record, and answered as a link that never was.

use std::sync::Arc;

use secrecy::SecretString;
use serde::Serialize;

use super::{
    App, AppError, Changed, Work, bindings,
    caller::{Caller, Origin},
    context::Audit,
    invitations::{self, hashes_of, local_part},
    passwords::{self, PasswordRecord},
    promises, role_templates,
    users::{self, NamedUser},
};
use crate::{
    domain::{
        bindings::{Binding, Member, Principal},
        change::Change,
        invitations::{Invitation, InvitationState},
        key_secret::KeyHash,
        names::{InvitationName, Slug, UserName},
        users::{MAX_TEAMS, User, UserState},
    },
    store,
};

/// Asks to join.
pub struct AcceptInvitation {
    /// The secret of the link; anything at all.
    pub token: String,
    /// What they want to be called; `None`: by their address.
    pub display_name: Option<String>,
    /// The password that they want; `None`: none yet.
    pub password: Option<SecretString>,
}

/// What goes on record for an invitation that is accepted.
#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(flatten)]
    invitation: &'a Invitation,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<PasswordRecord>,
}

/// Accepts an invitation. Of all who try at once, with the same link, one succeeds: the tenant's log is locked.
///
/// # Errors
/// [`AppError::Invitation`] for a link that is good for nothing, whyever; [`AppError::Invalid`] for a password that cannot be;
/// [`AppError::SeatsTaken`]; of the database.
pub async fn accept(app: Arc<App>, from: Origin, asked: AcceptInvitation) -> Result<Changed<NamedUser>, AppError> {
    let mut tx = app.db.read().await?;
    let mut found = None;
    for secret in hashes_of(&app, &asked.token) {
        if let Some(invitation) = store::invitations::by_hash(&mut tx, &secret).await? {
            found = Some((secret, invitation));
            break;
        }
    }
    let (secret, found) = found.ok_or(AppError::Invitation)?;
    let tenant = store::tenants::by_id(&mut tx, found.tenant).await?.ok_or(AppError::Invitation)?;
    tx.rollback().await?;
    if !found.is_open(app.clock.now()) || !tenant.in_use() {
        return Err(AppError::Invitation);
    }
    // Only who has a good link makes the server hash anything, and no transaction waits for that.
    let password = match asked.password {
        Some(password) => {
            passwords::refuse_weak("password", &password, &found.email)?;
            Some(app.hasher.hash(password).await?)
        }
        None => None,
    };
    // By what whoever invited may do; but it is done by who joins.
    let name = UserName { tenant: tenant.slug.clone(), user: found.user }.to_string();
    let caller = from.proven(found.inviter, None, found.inviter_tenant, name);
    let (mut work, before) = open(&app, &caller, &tenant.slug, &secret).await?;
    let joined = join(&mut work, &before, asked.display_name).await;
    let user = match joined {
        Ok(user) => user,
        Err(error @ (AppError::Forbidden(_) | AppError::NotFound(_) | AppError::State(_))) => {
            work.tx.rollback().await?;
            give_up(&app, &caller, &tenant.slug, &secret, &error).await?;
            return Err(AppError::Invitation);
        }
        Err(error) => return Err(error),
    };
    let after = Invitation { state: InvitationState::Accepted, version: before.version + 1, ..before.clone() };
    store::invitations::update(&mut work.tx, &after, None).await?;
    let password = match password {
        Some(hash) => Some(passwords::set(&mut work, user.id, hash).await?),
        None => None,
    };
    let record = users::named(&mut work, user).await?;
    let name = InvitationName { tenant: tenant.slug, invitation: after.id };
    let (before, after) = (Accepted { invitation: &before, password: None }, Accepted { invitation: &after, password });
    let revision = work.commit(Audit::new("invitations.accept", &name, Some(&before), Some(&after))).await?;
    Ok(Changed { record, revision })
}

/// Enters the tenant as whoever invited, and reads the invitation again under its lock: it may have been accepted, sent again
/// or cancelled meanwhile.
async fn open<'a>(
    app: &'a App,
    caller: &'a Caller,
    slug: &Slug,
    hash: &KeyHash,
) -> Result<(Work<'a>, Invitation), AppError> {
    let tx = app.db.begin().await?;
    let mut work = match app.enter(caller, tx, slug, &"", true).await {
        Err(AppError::NotFound(_)) => return Err(AppError::Invitation),
        entered => entered?,
    };
    let found = store::invitations::by_hash(&mut work.tx, hash).await?;
    // Sent again by somebody else, it would be theirs; but then it has another secret.
    let mine =
        |one: &Invitation| one.is_open(work.now) && one.tenant == work.tenant.id && one.inviter == caller.principal;
    match found.filter(mine) {
        Some(invitation) if work.tenant.in_use() => Ok((work, invitation)),
        _ => Err(AppError::Invitation),
    }
}

/// Gives what was promised.
async fn join(work: &mut Work<'_>, invitation: &Invitation, display_name: Option<String>) -> Result<User, AppError> {
    promises::require(work, invitation).await?;
    let found = store::users::by_id(&mut work.tx, invitation.user).await?;
    let before = found.filter(|user| user.tenant == work.tenant.id && user.state == UserState::Invited);
    let before = before.ok_or_else(|| AppError::NotFound(invitation.user.to_string()))?;
    // Beside those that somebody has put them into meanwhile, as far as there is room.
    let meanwhile = before.teams.iter().filter(|team| !invitation.teams.contains(team));
    let user = User {
        display_name: display_name.unwrap_or_else(|| local_part(&invitation.email)),
        state: UserState::Active,
        teams: invitation.teams.iter().chain(meanwhile).copied().take(MAX_TEAMS).collect(),
        joined: Some(work.now),
        version: before.version + 1,
        ..before.clone()
    };
    store::invitations::admit(&mut work.tx, &before, &user).await?;
    work.emit(Change::User(user.clone()));
    if let Some((name, _)) = promises::template(work, invitation).await? {
        role_templates::give(work, &name, Principal::User(user.id), invitation.scope()).await?;
        return Ok(user);
    }
    let binding = Binding {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        role: invitation.role,
        member: Member::User(user.id),
        scope: invitation.scope(),
        created: work.now,
        expires: None,
    };
    bindings::give(work, &binding).await?;
    Ok(user)
}

/// Ends an invitation whose sender cannot give any more what it promises.
async fn give_up(app: &App, caller: &Caller, slug: &Slug, hash: &KeyHash, why: &AppError) -> Result<(), AppError> {
    let (mut work, before) = open(app, caller, slug, hash).await?;
    let after = invitations::end(&mut work, &before, InvitationState::Void).await?;
    let name = InvitationName { tenant: slug.clone(), invitation: after.id };
    let audit = Audit::new("invitations.void", &name, Some(&before), Some(&after));
    work.commit(audit.because(format!("whoever invited cannot give this any more: {why}"))).await?;
    Ok(())
}
