//! Use cases of sessions: signing in and out.

use std::{net::IpAddr, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    App, AppError, Work,
    caller::{Caller, Origin},
    context::{Audit, random},
    id_tokens, tokens, users,
};
use crate::{
    domain::{
        bindings::Principal,
        id::UserId,
        identity_providers::IdentityProvider,
        names::{SessionName, Slug, TenantName, UserName},
        permission::Permission,
        sealed::Seal,
        sessions::{ACCESS, LIFE, MAX_SESSIONS, Newest, Presented, RefreshToken, Session},
        time::Timestamp,
        tokens::Basis,
        users::{User, fold_email},
    },
    store::{self, passwords::Password},
};

/// Asks to be signed in.
#[derive(Debug)]
pub struct SignIn {
    /// Where.
    pub tenant: TenantName,
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: SecretString,
}

/// Asks for a session to be carried on.
#[derive(Debug)]
pub struct Refresh {
    /// The token that was given last.
    pub token: SecretString,
}

/// Asks for the sessions of a user.
#[derive(Debug)]
pub struct ListSessions {
    /// Whose.
    pub parent: UserName,
}

/// Asks for a session to be ended.
#[derive(Debug)]
pub struct RevokeSession {
    /// Which.
    pub name: SessionName,
}

/// Asks for every session of a user to be ended.
#[derive(Debug)]
pub struct RevokeAllSessions {
    /// Whose.
    pub parent: UserName,
}

/// A session under its name.
#[derive(Debug)]
pub struct NamedSession {
    /// The name.
    pub name: SessionName,
    /// The session.
    pub session: Session,
}

/// The tokens of a session.
#[derive(Debug)]
pub struct SessionTokens {
    /// The session.
    pub session: NamedSession,
    /// The bearer token.
    pub access: SecretString,
    /// When it ends.
    pub access_expires: Timestamp,
    /// For the next ones.
    pub refresh: SecretString,
}

/// Sessions are over.
#[derive(Debug)]
pub struct SessionsEnded {
    /// Which.
    pub sessions: Vec<NamedSession>,
    /// The revision at which their tokens are refused.
    pub revision: i64,
}

impl NamedSession {
    fn new(tenant: &Slug, session: Session) -> Self {
        Self { name: SessionName { tenant: tenant.clone(), user: session.user, session: session.id }, session }
    }
}

fn refresh_seal(app: &App) -> Seal {
    let (peppers, purpose) = (app.peppers(), "refresh tokens");
    Seal::new(RefreshToken::PREFIX, peppers.derive(purpose)).or(peppers.derive_others(purpose))
}

/// The tokens that carry a session on.
pub(super) fn issue(app: &App, tenant: &Slug, session: Session, now: Timestamp) -> Result<SessionTokens, AppError> {
    let (user, basis) = (Principal::User(session.user), Some(Basis::Session(session.id)));
    let issued = app.tokens.issue(user, basis, now, ACCESS.min(session.expires().since(now)));
    let (access, access_expires) = issued.map_err(|error| AppError::State(error.to_string()))?;
    let refresh = session.token().text(&refresh_seal(app)).into();
    Ok(SessionTokens { session: NamedSession::new(tenant, session), access: access.into(), access_expires, refresh })
}

/// Somebody who may be who they say, and what they would have to know.
struct Candidate {
    user: Option<User>,
    password: Option<Password>,
    /// They have signed in from there before.
    known: bool,
}

impl Candidate {
    /// Looks for a user; where there is none, for as long.
    async fn find(app: &App, tenant: &Slug, email: &str, from: IpAddr) -> Result<Self, AppError> {
        let mut tx = app.db.read().await?;
        let tenant = store::tenants::by_slug(&mut tx, tenant.as_str()).await?;
        let mut user = None;
        if let Some(tenant) = &tenant {
            tx.wall(&[tenant.id]).await?;
            user = store::users::by_email(&mut tx, tenant.id, email).await?;
        }
        let id = user.as_ref().map_or(UserId::from_bits(0), |user| user.id);
        let password = store::passwords::get(&mut tx, id).await?;
        let known = store::sessions::knows_source(&mut tx, id, &from.to_string()).await?;
        Ok(Self { user, password, known })
    }
}

/// Signs a user in by their password.
///
/// # Errors
/// [`AppError::NotSignedIn`], whatever is wrong; [`AppError::Throttled`].
pub async fn sign_in(app: Arc<App>, from: Origin, asked: SignIn) -> Result<SessionTokens, AppError> {
    let tenant = asked.tenant.tenant;
    let account = (tenant.to_string(), fold_email(&asked.email));
    let address = from.ip();
    let candidate = Candidate::find(&app, &tenant, &asked.email, address).await?;
    app.sign_ins.admit(&account, address, candidate.known, app.clock.uptime())?;
    let hash = candidate.password.as_ref().map(|password| password.hash.clone());
    let is_right = app.hasher.is_right(asked.password, hash).await;
    if is_right.is_err() {
        app.sign_ins.take_back(&account, address);
    }
    let is_right = is_right?;
    if let (Some(user), Some(password), true) = (&candidate.user, &candidate.password, is_right) {
        let caller = from.user(user, &tenant);
        match begin(&app, &caller, &tenant, address, Proof::Password(password)).await {
            Err(AppError::NotSignedIn) => {}
            Ok(tokens) => {
                app.sign_ins.succeed(&account, address);
                return Ok(tokens);
            }
            Err(error) => {
                app.sign_ins.take_back(&account, address);
                return Err(error);
            }
        }
    }
    if let Some(count) = app.sign_ins.fail(&account, app.clock.uptime()) {
        // Beside the answer: it takes as long whether or not there is anything to be put on record.
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let caller = from.anonymous();
            let name = candidate.user.map(|user| UserName { tenant: tenant.clone(), user: user.id });
            if let Err(error) = record_failure(&app, &caller, &tenant, name, count).await {
                tracing::warn!(%error, "a sign-in that failed could not be put on record");
            }
        });
    }
    Err(AppError::NotSignedIn)
}

/// What goes on record for sign-ins that failed.
#[derive(Serialize)]
struct Failures {
    /// How many of this account since the last that is on record.
    failures: u64,
}

async fn record_failure(
    app: &App,
    caller: &Caller,
    tenant: &Slug,
    user: Option<UserName>,
    failures: u64,
) -> Result<(), AppError> {
    let work = match app.enter_freely(caller, tenant).await {
        // There is no such tenant to put it on record in.
        Err(AppError::NotFound(_)) => return Ok(()),
        work => work?,
    };
    let resource = user.map_or_else(|| work.tenant.name(), |user| user.to_string());
    work.commit(Audit::new("sessions.fail", &resource, None, Some(&Failures { failures }))).await?;
    Ok(())
}

/// By what somebody has shown who they are. It must be so still when the session begins.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    /// They know this password.
    Password(&'a Password),
    /// The provider says so, to whom they are this subject.
    IdToken(&'a IdentityProvider, &'a str),
}

/// What goes on record for a session that begins.
#[derive(Serialize)]
struct Begun<'a> {
    #[serde(flatten)]
    session: &'a Session,
    /// `password`, or the identity provider.
    by: &'a str,
}

/// Begins a session of the caller's.
pub(super) async fn begin(
    app: &App,
    caller: &Caller,
    tenant: &Slug,
    from: IpAddr,
    proof: Proof<'_>,
) -> Result<SessionTokens, AppError> {
    let mut work = app.own(caller, tenant).await?;
    let Principal::User(user) = caller.principal else { return Err(AppError::NotSignedIn) };
    let (holds, by) = match proof {
        Proof::Password(known) => {
            (store::passwords::get(&mut work.tx, user).await?.as_ref() == Some(known), "password")
        }
        Proof::IdToken(provider, subject) => {
            (id_tokens::link(&mut work, provider, subject, user).await?, provider.slug.as_str())
        }
    };
    if !holds {
        return Err(AppError::NotSignedIn);
    }
    let session = open(&mut work, user, from).await?;
    let name = NamedSession::new(tenant, session.clone()).name;
    let now = work.now;
    work.commit(Audit::new("sessions.signIn", &name, None, Some(&Begun { session: &session, by }))).await?;
    issue(app, tenant, session, now)
}

/// Adds a session of a user's, and ends the one that was carried on longest ago when they have too many.
pub(super) async fn open(work: &mut Work<'_>, user: UserId, from: IpAddr) -> Result<Session, AppError> {
    let now = work.now;
    store::sessions::forget(&mut work.tx, user, now.before(2 * LIFE)).await?;
    let mut others = live(work, user).await?;
    others.sort_by_key(|session| std::cmp::Reverse(session.refreshed));
    for session in others.drain(others.len().min(MAX_SESSIONS - 1)..) {
        end(work, &session).await?;
    }
    let session = Session {
        id: work.app().new_id(now)?,
        tenant: work.tenant.id,
        user,
        created: now,
        refreshed: now,
        ended: None,
        source: from.to_string(),
        user_agent: work.caller().user_agent.clone(),
        newest: Newest { generation: 0, nonce: random()?, before: [0; 16] },
    };
    store::sessions::insert(&mut work.tx, &session).await?;
    Ok(session)
}

/// Ends a session, and with it the tokens that rest on it.
async fn end(work: &mut Work<'_>, session: &Session) -> Result<Session, AppError> {
    let ended = Session { ended: Some(work.now), ..session.clone() };
    store::sessions::update(&mut work.tx, &ended).await?;
    let until = work.now.after(ACCESS);
    tokens::end(work, Basis::Session(session.id), until).await?;
    Ok(ended)
}

/// Ends every session of a user. Gives those that there were.
///
/// # Errors
/// Of the database.
pub(super) async fn end_all(work: &mut Work<'_>, user: UserId) -> Result<Vec<Session>, AppError> {
    let mut ended = Vec::new();
    for session in live(work, user).await? {
        ended.push(end(work, &session).await?);
    }
    Ok(ended)
}

/// The sessions of a user that live, newest first.
async fn live(work: &mut Work<'_>, user: UserId) -> Result<Vec<Session>, AppError> {
    let mut sessions = store::sessions::of_user(&mut work.tx, user).await?;
    sessions.retain(|session| session.lives(work.now));
    Ok(sessions)
}

/// Carries a session on.
///
/// # Errors
/// [`AppError::NotSignedIn`]. When the token was copied, the session is over then.
pub async fn refresh(app: Arc<App>, from: Origin, asked: Refresh) -> Result<SessionTokens, AppError> {
    let token = RefreshToken::parse(asked.token.expose_secret(), &refresh_seal(&app)).ok_or(AppError::NotSignedIn)?;
    let mut tx = app.db.begin().await?;
    let session = store::sessions::lock(&mut tx, token.session).await?.ok_or(AppError::NotSignedIn)?;
    let tenant = store::tenants::by_id(&mut tx, session.tenant).await?.ok_or(AppError::NotSignedIn)?;
    tx.wall(&[session.tenant]).await?;
    if !store::bindings::is_active(&mut tx, Principal::User(session.user)).await? {
        return Err(AppError::NotSignedIn);
    }
    let now = app.clock.now();
    match session.presented(&token, now) {
        Presented::Over => Err(AppError::NotSignedIn),
        Presented::Good => {
            let session = session.carried_on(&token, random()?, now);
            store::sessions::update(&mut tx, &session).await?;
            tx.commit().await?;
            issue(&app, &tenant.slug, session, now)
        }
        Presented::Copied => {
            tx.rollback().await?;
            let user = UserName { tenant: tenant.slug.clone(), user: session.user };
            let caller = from.anonymous();
            let mut work = app.enter_freely(&caller, &tenant.slug).await?;
            let why = format!("a refresh token of {user} was used that had been exchanged before: somebody has a copy");
            // Read again: it may have ended meanwhile.
            let locked = store::sessions::lock(&mut work.tx, session.id).await?;
            if let Some(before) = locked.filter(|session| session.lives(now)) {
                let after = end(&mut work, &before).await?;
                let name = NamedSession::new(&tenant.slug, after.clone()).name;
                work.commit(Audit::new("sessions.revoke", &name, Some(&before), Some(&after)).because(why)).await?;
            }
            Err(AppError::NotSignedIn)
        }
    }
}

/// Begins to change sessions of a user: one's own, or with the permission for others'.
async fn change<'a>(app: &'a App, caller: &'a Caller, user: &UserName) -> Result<Work<'a>, AppError> {
    if caller.principal == Principal::User(user.user) {
        let work = app.own(caller, &user.tenant).await?;
        return if work.tenant.id == caller.tenant { Ok(work) } else { Err(AppError::NotFound(user.to_string())) };
    }
    let mut work = app.change(caller, &user.tenant, user).await?;
    work.require(Permission::UsersSuspend, work.scope())?;
    users::find(&mut work, user).await?;
    Ok(work)
}

/// Lists the sessions of a user.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListSessions) -> Result<Vec<NamedSession>, AppError> {
    let user = asked.parent;
    let mut work = app.read_freely(&caller, &user.tenant, &user).await?;
    if caller.principal != Principal::User(user.user) || work.tenant.id != caller.tenant {
        work.must_be_seen(&user)?;
        work.require(Permission::UsersRead, work.scope())?;
        users::find(&mut work, &user).await?;
    }
    let sessions = live(&mut work, user.user).await?;
    Ok(sessions.into_iter().map(|session| NamedSession::new(&user.tenant, session)).collect())
}

/// Ends a session.
pub async fn revoke(app: Arc<App>, caller: Caller, asked: RevokeSession) -> Result<SessionsEnded, AppError> {
    let SessionName { tenant, user, session } = asked.name.clone();
    let mut work = change(&app, &caller, &UserName { tenant: tenant.clone(), user }).await?;
    let before = store::sessions::lock(&mut work.tx, session).await?;
    let before = before.filter(|session| (session.user, session.tenant) == (user, work.tenant.id));
    let before = before.ok_or_else(|| AppError::NotFound(asked.name.to_string()))?;
    if !before.lives(work.now) {
        let sessions = vec![NamedSession::new(&tenant, before)];
        return Ok(SessionsEnded { sessions, revision: work.unchanged().await? });
    }
    let after = end(&mut work, &before).await?;
    let revision = work.commit(Audit::new("sessions.revoke", &asked.name, Some(&before), Some(&after))).await?;
    Ok(SessionsEnded { sessions: vec![NamedSession::new(&tenant, after)], revision })
}

/// Ends every session of a user.
pub async fn revoke_all(app: Arc<App>, caller: Caller, asked: RevokeAllSessions) -> Result<SessionsEnded, AppError> {
    let mut work = change(&app, &caller, &asked.parent).await?;
    let before = live(&mut work, asked.parent.user).await?;
    let after = end_all(&mut work, asked.parent.user).await?;
    let revision = if after.is_empty() {
        work.unchanged().await?
    } else {
        work.commit(Audit::new("sessions.revokeAll", &asked.parent, Some(&before), Some(&after))).await?
    };
    let sessions = after.into_iter().map(|session| NamedSession::new(&asked.parent.tenant, session)).collect();
    Ok(SessionsEnded { sessions, revision })
}
