//! Rows of invitations, and of the users that come of them or do not.

use super::{
    Result, StoreError, Tx,
    listing::{List, Listing, Noun, Position},
    parse, text_of, users, value_of,
};
use crate::domain::{
    bindings::Principal,
    id::{InvitationId, InvitationKind, TenantId},
    invitations::{FromTemplate, Invitation},
    key_secret::KeyHash,
    roles::RoleRef,
    time::Timestamp,
    users::{User, fold_email},
};

pub(super) const NOUN: Noun = Noun::plain::<InvitationKind>("invitations");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, user_id, email, role, template_id, template, workspace_id, teams, inviter,
                inviter_tenant, state, created, expires, version FROM invitations ",
            $rest
        )
    };
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    Option<String>,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
);

fn invitation(row: Row) -> Result<Invitation> {
    let (
        id,
        tenant,
        user,
        email,
        role,
        template_id,
        template,
        workspace,
        teams,
        inviter,
        of,
        state,
        created,
        expires,
        n,
    ) = row;
    let template = if template_id.is_empty() {
        None
    } else {
        Some(FromTemplate { id: parse(&template_id, "role template id")?, slug: parse(&template, "template slug")? })
    };
    let inviter = super::bindings::principal_of(&inviter)?;
    Ok(Invitation {
        id: parse(&id, "invitation id")?,
        tenant: parse(&tenant, "invitation's tenant")?,
        user: parse(&user, "invitation's user")?,
        email,
        role: parse(&role, "role")?,
        template,
        workspace: workspace.map(|id| parse(&id, "workspace id")).transpose()?,
        teams: serde_json::from_str(&teams).map_err(|_| StoreError::Corrupt("teams of an invitation".into()))?,
        inviter: inviter.ok_or(StoreError::Corrupt("inviter".into()))?,
        inviter_tenant: parse(&of, "inviter's tenant")?,
        state: value_of(state, "invitation state")?,
        created: Timestamp::from_micros(created),
        expires: Timestamp::from_micros(expires),
        version: n,
    })
}

/// Adds an invitation, with what is stored of its secret.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, invitation: &Invitation, hash: &KeyHash) -> Result<()> {
    let template = invitation.template.as_ref();
    let teams = serde_json::to_string(&invitation.teams);
    execute!(
        tx,
        "INSERT INTO invitations (id, tenant_id, user_id, email, email_folded, role, template_id, template, workspace_id,
             teams, inviter, inviter_tenant, state, hash, created, expires, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        invitation.id.to_string(),
        invitation.tenant.to_string(),
        invitation.user.to_string(),
        &invitation.email,
        fold_email(&invitation.email),
        invitation.role.to_string(),
        template.map(|template| template.id.to_string()).unwrap_or_default(),
        template.map(|template| template.slug.as_str()).unwrap_or_default(),
        invitation.workspace.map(|id| id.to_string()),
        teams.map_err(|_| StoreError::Corrupt("teams of an invitation".into()))?,
        invitation.inviter.to_string(),
        invitation.inviter_tenant.to_string(),
        text_of(&invitation.state),
        hash.to_hex(),
        invitation.created.micros(),
        invitation.expires.micros(),
        invitation.version,
    )?;
    Ok(())
}

/// Writes what can change of an invitation, with what is stored of its secret now: an earlier one is worth nothing any more.
pub async fn update(tx: &mut Tx, invitation: &Invitation, hash: Option<&KeyHash>) -> Result<()> {
    execute!(
        tx,
        "UPDATE invitations SET inviter = $2, inviter_tenant = $3, state = $4, hash = $5, expires = $6, version = $7
         WHERE id = $1",
        invitation.id.to_string(),
        invitation.inviter.to_string(),
        invitation.inviter_tenant.to_string(),
        text_of(&invitation.state),
        hash.map(KeyHash::to_hex),
        invitation.expires.micros(),
        invitation.version,
    )?;
    Ok(())
}

/// The invitation with this id in the tenant.
pub async fn by_id(tx: &mut Tx, tenant: TenantId, id: InvitationId) -> Result<Option<Invitation>> {
    let row =
        fetch_optional!(tx, Row, select!("WHERE tenant_id = $1 AND id = $2"), tenant.to_string(), id.to_string())?;
    row.map(invitation).transpose()
}

/// The last invitation of an address in the tenant, however it stands.
pub async fn last_of(tx: &mut Tx, tenant: TenantId, email: &str) -> Result<Option<Invitation>> {
    let row = fetch_optional!(
        tx,
        Row,
        select!("WHERE tenant_id = $1 AND email_folded = $2 ORDER BY id DESC LIMIT 1"),
        tenant.to_string(),
        fold_email(email)
    )?;
    row.map(invitation).transpose()
}

/// The invitation with this secret, of whatever tenant.
pub async fn by_hash(tx: &mut Tx, hash: &KeyHash) -> Result<Option<Invitation>> {
    fetch_optional!(tx, Row, select!("WHERE hash = $1"), hash.to_hex())?.map(invitation).transpose()
}

/// A page of the pending invitations of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Invitation>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let select = select!("WHERE state = 'pending'");
    let list = List { noun: &NOUN, select, within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(invitation).collect()
}

/// For whom seats of a role are kept in a tenant: who is invited to it, and where. Not after the link has ended.
pub(super) async fn awaited(
    tx: &mut Tx,
    tenant: TenantId,
    role: RoleRef,
    now: Timestamp,
) -> Result<Vec<(Option<String>, Principal)>> {
    let rows = fetch_all!(
        tx,
        (Option<String>, String),
        "SELECT workspace_id, user_id FROM invitations
         WHERE tenant_id = $1 AND role = $2 AND state = 'pending' AND expires > $3",
        tenant.to_string(),
        role.to_string(),
        now.micros()
    )?;
    rows.into_iter().map(|(place, user)| Ok((place, Principal::User(parse(&user, "invitation's user")?)))).collect()
}

/// Makes of somebody who was invited one who is there, in their teams.
pub async fn admit(tx: &mut Tx, before: &User, after: &User) -> Result<()> {
    users::move_to_teams(tx, before, after).await?;
    users::update(tx, after).await
}
