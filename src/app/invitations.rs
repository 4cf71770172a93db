//! Use cases of invitations: asking somebody to join, again, or not any more. How they join is in [`super::joining`].
//!
//! Somebody who is invited is a user in the state `invited` from the beginning: their address is taken, and they can do
//! nothing. What they are invited to is given when they accept, by the authority that whoever invited has then. Until then
//! a seat of the role is kept for them, for as long as the link is good.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work,
    caller::Caller,
    context::{Audit, random},
    listing::Paging,
    mail::{self, Mail},
    promises::{self, Promise},
    removals,
};
use crate::{
    domain::{
        change::Change,
        invitations::{self, Invitation, InvitationState, LIFETIME, SECRET_BYTES},
        key_secret::KeyHash,
        mail::Draft,
        names::{InvitationName, TenantName},
        permission::Permission,
        users::{User, UserState},
    },
    store::{self, Inserted, listing::Listing},
};

/// The page of the front end that links lead to.
const PAGE: &str = "accept-invitation";
/// What the key for secrets is derived for.
const PURPOSE: &str = "invitations";
/// Longest name for people, in characters.
const MAX_NAME: usize = 128;

/// Asks for somebody to be invited.
#[derive(Debug)]
pub struct CreateInvitation {
    /// Where.
    pub parent: TenantName,
    /// To what.
    pub promise: Promise,
}

/// Asks for many to be invited.
#[derive(Debug)]
pub struct BatchCreateInvitations {
    /// Where.
    pub parent: TenantName,
    /// Each to what.
    pub promises: Vec<Promise>,
}

/// Asks for an invitation.
#[derive(Debug)]
pub struct GetInvitation {
    /// Which.
    pub name: InvitationName,
}

/// Asks for the pending invitations of a tenant.
#[derive(Debug)]
pub struct ListInvitations {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for another link.
#[derive(Debug)]
pub struct ResendInvitation {
    /// Of which invitation.
    pub name: InvitationName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// Asks for an invitation to be taken back.
#[derive(Debug)]
pub struct CancelInvitation {
    /// Which.
    pub name: InvitationName,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// An invitation under its name.
#[derive(Debug)]
pub struct NamedInvitation {
    /// The name.
    pub name: InvitationName,
    /// Name of the role.
    pub role: String,
    /// Names of the teams.
    pub teams: Vec<String>,
    /// Name of the workspace; empty without one.
    pub workspace: String,
    /// Name of whoever invites; empty when it is an operator of the platform.
    pub inviter: String,
    /// Whether its link has ended.
    pub expired: bool,
    /// The link, for the one answer that shows it; empty in any other.
    pub link: String,
    /// The invitation.
    pub invitation: Invitation,
}

/// Many invitations, made in one change.
#[derive(Debug)]
pub struct NamedInvitations(pub Vec<NamedInvitation>);

/// What goes on record for many.
#[derive(serde::Serialize)]
struct Many<'a> {
    invitations: Vec<&'a Invitation>,
}

/// Invitations under their names, each with the link that may be shown of it.
async fn named(work: &mut Work<'_>, all: Vec<(Invitation, String)>) -> Result<Vec<NamedInvitation>, AppError> {
    let mut ids = Vec::new();
    for (one, _) in &all {
        ids.push(one.role.to_string());
        ids.push(one.inviter.to_string());
        ids.extend(one.workspace.map(|id| id.to_string()));
        ids.extend(one.teams.iter().map(ToString::to_string));
    }
    let names = store::names::names(&mut work.tx, ids).await?;
    let (tenant, slug, now) = (work.tenant.id, &work.tenant.slug, work.now);
    let named = |(invitation, link): (Invitation, String)| NamedInvitation {
        name: InvitationName { tenant: slug.clone(), invitation: invitation.id },
        role: names.role(invitation.role),
        teams: invitation.teams.iter().map(|id| names.of(id)).collect(),
        workspace: invitation.workspace.map(|id| names.of(id)).unwrap_or_default(),
        // Those of another tenant are nobody's business.
        inviter: if invitation.inviter_tenant == tenant { names.of(invitation.inviter) } else { String::new() },
        expired: invitation.expires <= now,
        link,
        invitation,
    };
    Ok(all.into_iter().map(named).collect())
}

async fn named_one(work: &mut Work<'_>, one: Invitation, link: String) -> Result<NamedInvitation, AppError> {
    let lost = || AppError::State("an invitation has no name".to_owned());
    named(work, vec![(one, link)]).await?.pop().ok_or_else(lost)
}

/// The invitation with this name, if its tenant is the one at work.
async fn find(work: &mut Work<'_>, name: &InvitationName) -> Result<Invitation, AppError> {
    work.own(&name.tenant, name)?;
    let found = store::invitations::by_id(&mut work.tx, work.tenant.id, name.invitation).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// What is stored of a secret; `None` when the text is none.
pub(super) fn hash_of(app: &App, secret: &str) -> Option<KeyHash> {
    invitations::hash(&app.peppers().derive(PURPOSE), secret)
}

/// What may be stored of a secret that was made under another pepper.
pub(super) fn hashes_of(app: &App, secret: &str) -> Vec<KeyHash> {
    let peppers = app.peppers();
    let keys = std::iter::once(peppers.derive(PURPOSE)).chain(peppers.derive_others(PURPOSE));
    keys.filter_map(|key| invitations::hash(&key, secret)).collect()
}

/// Makes the user, the invitation and the mail. Gives the link, if it may be shown.
async fn invite(work: &mut Work<'_>, promise: &Promise) -> Result<(Invitation, String), AppError> {
    let invitation = promises::promised(work, promise).await?;
    promises::require(work, &invitation).await?;
    let user = User {
        id: invitation.user,
        tenant: invitation.tenant,
        email: invitation.email.clone(),
        display_name: local_part(&invitation.email),
        state: UserState::Invited,
        teams: Vec::new(),
        created: work.now,
        joined: None,
        version: 1,
    };
    if store::users::insert(&mut work.tx, &user).await? == Inserted::Exists {
        return Err(AppError::Exists(format!("a user of {} with the address {}", work.tenant.name(), user.email)));
    }
    work.emit(Change::User(user));
    let (secret, hash) = new_secret(work.app())?;
    store::invitations::insert(&mut work.tx, &invitation, &hash).await?;
    let link = send(work, &invitation, &secret).await?;
    Ok((invitation, link))
}

/// What comes before the `@` of an address, as a name for people.
pub(super) fn local_part(email: &str) -> String {
    email.split('@').next().unwrap_or_default().chars().take(MAX_NAME).collect()
}

fn new_secret(app: &App) -> Result<(String, KeyHash), AppError> {
    let secret = invitations::secret(&random::<SECRET_BYTES>()?);
    let hash = hash_of(app, &secret).ok_or_else(|| AppError::State("a secret cannot be hashed".to_owned()))?;
    Ok((secret, hash))
}

/// Puts the mail with the link into the outbox. Gives the link where it is shown to the caller, and it is more than a trial.
async fn send(work: &mut Work<'_>, invitation: &Invitation, secret: &str) -> Result<String, AppError> {
    let link = work.app().post.link(PAGE, secret);
    let until: String = invitation.expires.to_string().replace('T', " ").chars().take(16).collect();
    let branding = &work.tenant.branding;
    let name = if branding.display_name.is_empty() { &work.tenant.display_name } else { &branding.display_name };
    let letter = Draft {
        branding,
        tenant: &work.tenant.display_name,
        subject: &format!("You are invited to {name}"),
        before: &[&format!("Somebody at {name} has invited you to join them.")],
        link: Some(("Accept the invitation", &link)),
        after: &[
            &format!("The link is good until {until} UTC, and once."),
            "If you do not know what this is about, leave it: nothing happens.",
        ],
    }
    .write();
    mail::post(work, Mail { about: &invitation.id.to_string(), to: &invitation.email, letter }).await?;
    let shown = work.app().post.shows_links && !work.caller().intent.validate_only;
    Ok(if shown { link } else { String::new() })
}

/// Invites somebody. Nobody invites to what they could not give.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(
    app: Arc<App>,
    caller: Caller,
    asked: CreateInvitation,
) -> Result<Changed<NamedInvitation>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    if work.is_replay() {
        let invitation = made_before(&mut work, &asked.promise).await?;
        let record = named_one(&mut work, invitation, String::new()).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let (invitation, link) = invite(&mut work, &asked.promise).await?;
    let record = named_one(&mut work, invitation, link).await?;
    let audit = Audit::new("invitations.create", &record.name, None, Some(&record.invitation));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Invites many: all of them or none, in their order.
pub async fn batch_create(
    app: Arc<App>,
    caller: Caller,
    asked: BatchCreateInvitations,
) -> Result<Changed<NamedInvitations>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    let mut all = Vec::with_capacity(asked.promises.len());
    for (place, promise) in asked.promises.iter().enumerate() {
        let made = if work.is_replay() {
            made_before(&mut work, promise).await.map(|invitation| (invitation, String::new()))
        } else {
            invite(&mut work, promise).await
        };
        all.push(made.map_err(|error| AppError::Item("invitations", place, Box::new(error)))?);
    }
    let record = NamedInvitations(named(&mut work, all).await?);
    if work.is_replay() {
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let many = Many { invitations: record.0.iter().map(|one| &one.invitation).collect() };
    let audit = Audit::new("invitations.batchCreate", &asked.parent, None, Some(&many));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// What an earlier request of the same id made.
async fn made_before(work: &mut Work<'_>, promise: &Promise) -> Result<Invitation, AppError> {
    let found = store::invitations::last_of(&mut work.tx, work.tenant.id, &promise.email).await?;
    found.ok_or_else(|| AppError::NotFound(format!("the invitation of {}", promise.email)))
}

/// Reads an invitation, however it stands.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetInvitation) -> Result<NamedInvitation, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersRead, work.scope())?;
    let invitation = find(&mut work, &asked.name).await?;
    named_one(&mut work, invitation, String::new()).await
}

/// Lists the pending invitations of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListInvitations) -> Result<Listed<NamedInvitation>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsersRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("invitations of {}", work.tenant.id), &asked.listing)?;
    let rows = store::invitations::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let Listed { records, next } = paging.end(rows);
    let records = records.into_iter().map(|invitation| (invitation, String::new())).collect();
    Ok(Listed { records: named(&mut work, records).await?, next })
}

/// Sends another link: the earlier one is dead. It is the caller who invites from now on.
pub async fn resend(
    app: Arc<App>,
    caller: Caller,
    asked: ResendInvitation,
) -> Result<Changed<NamedInvitation>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if work.is_replay() {
        let record = named_one(&mut work, before, String::new()).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    if asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if before.state != InvitationState::Pending {
        return Err(AppError::State(format!("{} is not pending any more", asked.name)));
    }
    let after = Invitation {
        inviter: caller.principal,
        inviter_tenant: caller.tenant,
        expires: work.now.after(LIFETIME),
        version: before.version + 1,
        ..before.clone()
    };
    promises::require(&mut work, &after).await?;
    let (secret, hash) = new_secret(&app)?;
    store::invitations::update(&mut work.tx, &after, Some(&hash)).await?;
    mail::withdraw(&mut work, &after.id.to_string()).await?;
    let link = send(&mut work, &after, &secret).await?;
    let record = named_one(&mut work, after, link).await?;
    let audit = Audit::new("invitations.resend", &asked.name, Some(&before), Some(&record.invitation));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Takes an invitation back.
pub async fn cancel(
    app: Arc<App>,
    caller: Caller,
    asked: CancelInvitation,
) -> Result<Changed<NamedInvitation>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::UsersWrite, work.scope())?;
    let before = find(&mut work, &asked.name).await?;
    if !work.is_replay() && asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if work.is_replay() || before.state == InvitationState::Cancelled {
        let record = named_one(&mut work, before, String::new()).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    if before.state != InvitationState::Pending {
        return Err(AppError::State(format!("{} is not pending any more", asked.name)));
    }
    let after = end(&mut work, &before, InvitationState::Cancelled).await?;
    let record = named_one(&mut work, after, String::new()).await?;
    let audit = Audit::new("invitations.cancel", &asked.name, Some(&before), Some(&record.invitation));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}

/// Ends an invitation that nobody accepts any more: its link is dead, its mail stays here, and the user is gone with whatever
/// they were given meanwhile.
pub(super) async fn end(
    work: &mut Work<'_>,
    before: &Invitation,
    state: InvitationState,
) -> Result<Invitation, AppError> {
    let after = Invitation { state, version: before.version + 1, ..before.clone() };
    store::invitations::update(&mut work.tx, &after, None).await?;
    mail::withdraw(work, &after.id.to_string()).await?;
    let found = store::users::by_id(&mut work.tx, before.user).await?;
    if let Some(user) = found.filter(|user| user.state == UserState::Invited) {
        removals::erase(work, &user).await?;
    }
    Ok(after)
}
