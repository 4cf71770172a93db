//! Rows of identity providers, and whom they know.

use super::{Inserted, Result, Tx, parse};
use crate::domain::{
    id::{IdentityProviderId, TenantId, UserId},
    identity_providers::IdentityProvider,
    time::Timestamp,
};

type Row = (String, String, String, String, String, String, i64);

fn provider((id, tenant, slug, display_name, issuer, audience, created): Row) -> Result<IdentityProvider> {
    Ok(IdentityProvider {
        id: parse(&id, "identity provider's id")?,
        tenant: parse(&tenant, "identity provider's tenant")?,
        slug: parse(&slug, "identity provider's slug")?,
        display_name,
        issuer: parse(&issuer, "identity provider's issuer")?,
        audience,
        created: Timestamp::from_micros(created),
    })
}

/// Adds an identity provider, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, provider: &IdentityProvider) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO identity_providers (id, tenant_id, slug, display_name, issuer, audience, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, slug) DO NOTHING",
        provider.id.to_string(),
        provider.tenant.to_string(),
        provider.slug.as_str(),
        &provider.display_name,
        provider.issuer.as_str(),
        &provider.audience,
        provider.created.micros()
    )?;
    Ok(rows.into())
}

/// Takes an identity provider away, and what it knows.
pub async fn delete(tx: &mut Tx, id: IdentityProviderId) -> Result<()> {
    execute!(tx, "DELETE FROM external_identities WHERE provider_id = $1", id.to_string())?;
    execute!(tx, "DELETE FROM identity_providers WHERE id = $1", id.to_string())?;
    Ok(())
}

/// The tenant's identity provider with this slug.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<IdentityProvider>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, issuer, audience, created FROM identity_providers
         WHERE tenant_id = $1 AND slug = $2",
        tenant.to_string(),
        slug
    )?;
    row.map(provider).transpose()
}

/// The tenant's identity providers, oldest first.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<IdentityProvider>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, issuer, audience, created FROM identity_providers
         WHERE tenant_id = $1 ORDER BY id",
        tenant.to_string()
    )?;
    rows.into_iter().map(provider).collect()
}

/// The user whom a provider knows by a subject.
pub async fn user_of(tx: &mut Tx, provider: IdentityProviderId, subject: &str) -> Result<Option<UserId>> {
    let row = fetch_optional!(
        tx,
        (String,),
        "SELECT user_id FROM external_identities WHERE provider_id = $1 AND subject = $2",
        provider.to_string(),
        subject
    )?;
    row.map(|(user,)| parse(&user, "external identity's user")).transpose()
}

/// Notes by which subject a provider knows a user, unless it knows the user, or the subject, otherwise.
pub async fn link(
    tx: &mut Tx,
    provider: &IdentityProvider,
    subject: &str,
    user: UserId,
    now: Timestamp,
) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO external_identities (provider_id, subject, tenant_id, user_id, created)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        provider.id.to_string(),
        subject,
        provider.tenant.to_string(),
        user.to_string(),
        now.micros()
    )?;
    Ok(rows.into())
}
