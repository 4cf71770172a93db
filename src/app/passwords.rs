//! Use cases of passwords: changed by whoever knows it, reset by whoever was given a token for that.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    App, AppError, Work,
    caller::{Caller, Origin},
    context::Audit,
    mail::{self, Mail},
    sessions::{self, SessionTokens},
    users,
};
use crate::{
    domain::{
        bindings::Principal,
        id::UserId,
        mail::Draft,
        names::{Slug, TenantName, UserName},
        passwords::objection,
        permission::Permission,
        sealed::Seal,
        sessions::{PasswordReset, Session},
        time::Timestamp,
        users::{UserState, fold_email},
    },
    store::{self, passwords::Password},
};

/// Asks for the caller's password to be changed.
#[derive(Debug)]
pub struct ChangePassword {
    /// The one they have.
    pub password: SecretString,
    /// The one they want.
    pub new: SecretString,
}

/// Asks for a token by which a user can set a password.
#[derive(Debug)]
pub struct CreatePasswordReset {
    /// Who.
    pub user: UserName,
}

/// Asks for a mail with such a token.
#[derive(Debug)]
pub struct RequestReset {
    /// Where.
    pub tenant: TenantName,
    /// Their address.
    pub email: String,
}

/// A mail was asked for; whether there is anybody to send it to is not told.
#[derive(Debug)]
pub struct ResetRequested;

/// Asks for a password to be set by such a token.
#[derive(Debug)]
pub struct ResetPassword {
    /// The token.
    pub token: SecretString,
    /// The password.
    pub new: SecretString,
}

/// A token by which a user can set a password.
#[derive(Debug)]
pub struct IssuedReset {
    /// The token.
    pub token: SecretString,
    /// When it ends.
    pub expires: Timestamp,
}

/// A password is set.
#[derive(Debug)]
pub struct PasswordSet;

/// The page of the front end that such a link leads to.
const PAGE: &str = "reset-password";

fn reset_seal(app: &App) -> Seal {
    let (peppers, purpose) = (app.peppers(), "password resets");
    Seal::new(PasswordReset::PREFIX, peppers.derive(purpose)).or(peppers.derive_others(purpose))
}

/// What goes on record for a password: never the password.
#[derive(Serialize)]
pub(super) struct PasswordRecord {
    changed: Timestamp,
    /// The sessions that ended with the one before.
    ended: Vec<Session>,
}

/// Gives a user a password, and ends their sessions.
pub(super) async fn set(work: &mut Work<'_>, user: UserId, hash: String) -> Result<PasswordRecord, AppError> {
    let password = Password { hash, changed: work.now };
    store::passwords::set(&mut work.tx, work.tenant.id, user, &password).await?;
    Ok(PasswordRecord { changed: work.now, ended: sessions::end_all(work, user).await? })
}

/// Insists that a text can be the password of whoever has this address.
///
/// # Errors
/// [`AppError::Invalid`] with the field.
pub(super) fn refuse_weak(field: &'static str, password: &SecretString, email: &str) -> Result<(), AppError> {
    let why = objection(password.expose_secret(), email);
    why.map_or(Ok(()), |why| Err(AppError::invalid(field, why)))
}

/// Changes the caller's password.
pub async fn change(app: Arc<App>, caller: Caller, asked: ChangePassword) -> Result<SessionTokens, AppError> {
    let Principal::User(id) = caller.principal else {
        return Err(AppError::State("only users have passwords".to_owned()));
    };
    let mut tx = app.db.read().await?;
    tx.wall(&[caller.tenant]).await?;
    let missing = || AppError::State("there is no password to be changed: ask for one to be reset".to_owned());
    let user = store::users::by_id(&mut tx, id).await?.ok_or_else(missing)?;
    let password = store::passwords::get(&mut tx, id).await?.ok_or_else(missing)?;
    let tenant = store::tenants::by_id(&mut tx, caller.tenant).await?.ok_or_else(missing)?.slug;
    tx.rollback().await?;
    refuse_weak("new_password", &asked.new, &user.email)?;
    let (account, address) = ((tenant.to_string(), fold_email(&user.email)), caller.origin().ip());
    app.sign_ins.admit(&account, address, true, app.clock.uptime())?;
    let is_right = app.hasher.is_right(asked.password, Some(password.hash.clone())).await;
    if !matches!(is_right, Ok(false)) {
        app.sign_ins.take_back(&account, address);
    }
    if !is_right? {
        return Err(AppError::NotSignedIn);
    }
    let hash = app.hasher.hash(asked.new).await?;
    let mut work = app.own(&caller, &tenant).await?;
    if store::passwords::get(&mut work.tx, id).await?.as_ref() != Some(&password) {
        return Err(AppError::NotSignedIn);
    }
    let record = set(&mut work, id, hash).await?;
    let session = sessions::open(&mut work, id, address).await?;
    let now = work.now;
    work.commit(Audit::new("passwords.change", &caller.name, None, Some(&record))).await?;
    sessions::issue(&app, &tenant, session, now)
}

/// What goes on record for a token by which a password can be set: never the token.
#[derive(Serialize)]
struct ResetRecord {
    expires: Timestamp,
}

/// Makes a token by which a user can set a password.
pub async fn create_reset(app: Arc<App>, caller: Caller, asked: CreatePasswordReset) -> Result<IssuedReset, AppError> {
    let mut work = app.change(&caller, &asked.user.tenant, &asked.user).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    let user = users::find(&mut work, &asked.user).await?;
    // They may be given more tomorrow: what they hold then, whoever has the token has too, but only until its end.
    let expires = work.now.after(PasswordReset::LIFE);
    let held = store::bindings::authority(&mut work.tx, Principal::User(user.id), work.now).await?;
    if let Some(missing) = held.beyond(work.authority(), Timestamp::from_micros(i64::MAX)) {
        return Err(AppError::Forbidden(missing));
    }
    let changed = store::passwords::get(&mut work.tx, user.id).await?.map(|password| password.changed);
    let token = PasswordReset { user: user.id, expires }.text(&reset_seal(&app), changed).into();
    work.commit(Audit::new("passwordResets.create", &asked.user, None, Some(&ResetRecord { expires }))).await?;
    Ok(IssuedReset { token, expires })
}

/// Mails a user a link by which they can set their password, if there is such a user. Beside the answer, so that it takes as
/// long where there is none.
///
/// # Errors
/// [`AppError::State`] where no mails are sent.
pub async fn request_reset(app: Arc<App>, from: Origin, asked: RequestReset) -> Result<ResetRequested, AppError> {
    if !app.post.sends {
        return Err(AppError::State("this server sends no mails: ask whoever runs the tenant for a reset".to_owned()));
    }
    let tenant = asked.tenant.tenant;
    if app.sign_ins.may_mail((tenant.to_string(), fold_email(&asked.email)), app.clock.uptime()) {
        tokio::spawn(async move {
            if let Err(error) = mail_reset(&app, &from, &tenant, &asked.email).await {
                tracing::warn!(%error, "a reset of a password could not be mailed");
            }
        });
    }
    Ok(ResetRequested)
}

async fn mail_reset(app: &App, from: &Origin, tenant: &Slug, email: &str) -> Result<(), AppError> {
    let caller = from.anonymous();
    let mut work = match app.enter_freely(&caller, tenant).await {
        Err(AppError::NotFound(_)) => return Ok(()),
        work => work?,
    };
    let tenant_id = work.tenant.id;
    let found = store::users::by_email(&mut work.tx, tenant_id, email).await?;
    let Some(user) = found.filter(|user| user.state == UserState::Active && work.tenant.in_use()) else {
        return Ok(());
    };
    let changed = store::passwords::get(&mut work.tx, user.id).await?.map(|password| password.changed);
    let expires = work.now.after(PasswordReset::LIFE);
    let token = PasswordReset { user: user.id, expires }.text(&reset_seal(app), changed);
    let letter = Draft {
        branding: &work.tenant.branding,
        tenant: &work.tenant.display_name,
        subject: "Choose a password",
        before: &["Somebody, you perhaps, has asked for another password for this address."],
        link: Some(("Choose a password", &app.post.link(PAGE, &token))),
        after: &["The link is good for an hour, and once.", "If it was not you, leave it: nothing happens."],
    }
    .write();
    mail::post(&mut work, Mail { about: &user.id.to_string(), to: &user.email, letter }).await?;
    let name = UserName { tenant: tenant.clone(), user: user.id };
    work.commit(Audit::new("passwordResets.request", &name, None, Some(&ResetRecord { expires }))).await?;
    Ok(())
}

/// Sets a password by a token that says who may.
///
/// # Errors
/// [`AppError::NotSignedIn`] for a token that is not good any more.
pub async fn reset(app: Arc<App>, from: Origin, asked: ResetPassword) -> Result<PasswordSet, AppError> {
    let seal = reset_seal(&app);
    let (reset, unproven) = PasswordReset::read(asked.token.expose_secret(), &seal).ok_or(AppError::NotSignedIn)?;
    let mut tx = app.db.read().await?;
    let user = store::users::by_id(&mut tx, reset.user).await?.ok_or(AppError::NotSignedIn)?;
    let tenant = store::tenants::by_id(&mut tx, user.tenant).await?.ok_or(AppError::NotSignedIn)?.slug;
    let before = store::passwords::get(&mut tx, user.id).await?;
    tx.rollback().await?;
    let changed = before.as_ref().map(|password| password.changed);
    if !reset.is_good(&unproven, &seal, changed, app.clock.now()) {
        return Err(AppError::NotSignedIn);
    }
    refuse_weak("new_password", &asked.new, &user.email)?;
    let hash = app.hasher.hash(asked.new).await?;
    let caller = from.user(&user, &tenant);
    let mut work = app.own(&caller, &tenant).await?;
    // Somebody may have been faster.
    if store::passwords::get(&mut work.tx, user.id).await? != before {
        return Err(AppError::NotSignedIn);
    }
    let record = set(&mut work, user.id, hash).await?;
    work.commit(Audit::new("passwords.reset", &caller.name, None, Some(&record))).await?;
    Ok(PasswordSet)
}
