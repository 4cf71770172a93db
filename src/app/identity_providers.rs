//! Use cases of identity providers.

use std::sync::Arc;

use super::{App, AppError, Changed, Work, caller::Caller, context::Audit};
use crate::{
    domain::{
        identity_providers::{IdentityProvider, Issuer, MAX_PROVIDERS},
        names::{IdentityProviderName, Slug, TenantName},
        permission::Permission,
        role::Role,
    },
    store::{self, Inserted},
};

/// Asks for a new identity provider.
#[derive(Debug)]
pub struct CreateIdentityProvider {
    /// Where.
    pub parent: TenantName,
    /// Its id in names.
    pub slug: Slug,
    /// Its name for people.
    pub display_name: String,
    /// Who issues the tokens.
    pub issuer: Issuer,
    /// Whom they must be for.
    pub audience: String,
}

/// Asks for an identity provider.
#[derive(Debug)]
pub struct GetIdentityProvider {
    /// Which.
    pub name: IdentityProviderName,
}

/// Asks for the identity providers of a tenant.
#[derive(Debug)]
pub struct ListIdentityProviders {
    /// Of which tenant.
    pub parent: TenantName,
}

/// Asks for an identity provider to be deleted.
#[derive(Debug)]
pub struct DeleteIdentityProvider {
    /// Which.
    pub name: IdentityProviderName,
}

/// An identity provider under its name.
#[derive(Debug)]
pub struct NamedIdentityProvider {
    /// The name.
    pub name: IdentityProviderName,
    /// The provider.
    pub provider: IdentityProvider,
}

/// An identity provider is gone; the revision.
#[derive(Debug)]
pub struct IdentityProviderDeleted(pub i64);

impl NamedIdentityProvider {
    fn new(tenant: &Slug, provider: IdentityProvider) -> Self {
        let name = IdentityProviderName { tenant: tenant.clone(), identity_provider: provider.slug.clone() };
        Self { name, provider }
    }
}

/// The identity provider with this name, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &IdentityProviderName) -> Result<IdentityProvider, AppError> {
    work.own(&name.tenant, name)?;
    let slug = name.identity_provider.as_str();
    let found = store::identity_providers::by_slug(&mut work.tx, work.tenant.id, slug).await?;
    found.ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Insists that the caller may do all that an owner may: whoever says who somebody is could say that of anybody.
fn require_all_of_an_owner(work: &Work<'_>) -> Result<(), AppError> {
    work.require(Permission::SettingsWrite, work.scope())?;
    work.require_all(Role::Owner.permissions(), work.scope(), None)
}

/// Lets users of a tenant sign in by an issuer that the server is set up for.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(
    app: Arc<App>,
    caller: Caller,
    asked: CreateIdentityProvider,
) -> Result<Changed<NamedIdentityProvider>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    require_all_of_an_owner(&work)?;
    if !app.issuers.has(&asked.issuer) {
        let why = "is not one that this server is set up for: see the setting oidc_issuers";
        return Err(AppError::invalid("identity_provider.issuer", why));
    }
    if store::identity_providers::all(&mut work.tx, work.tenant.id).await?.len() >= MAX_PROVIDERS {
        return Err(AppError::State(format!("{} has {MAX_PROVIDERS} identity providers, the most", asked.parent)));
    }
    let provider = IdentityProvider {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        slug: asked.slug,
        display_name: asked.display_name,
        issuer: asked.issuer,
        audience: asked.audience,
        created: work.now,
    };
    let named = NamedIdentityProvider::new(&work.tenant.slug, provider);
    if store::identity_providers::insert(&mut work.tx, &named.provider).await? == Inserted::Exists {
        return Err(AppError::Exists(named.name.to_string()));
    }
    let audit = Audit::new("identityProviders.create", &named.name, None, Some(&named.provider));
    let revision = work.commit(audit).await?;
    Ok(Changed { record: named, revision })
}

/// Reads an identity provider.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetIdentityProvider) -> Result<NamedIdentityProvider, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::SettingsRead, work.scope())?;
    let provider = find(&mut work, &asked.name).await?;
    Ok(NamedIdentityProvider { name: asked.name, provider })
}

/// Lists the identity providers of a tenant.
pub async fn list(
    app: Arc<App>,
    caller: Caller,
    asked: ListIdentityProviders,
) -> Result<Vec<NamedIdentityProvider>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::SettingsRead, work.scope())?;
    let all = store::identity_providers::all(&mut work.tx, work.tenant.id).await?;
    Ok(all.into_iter().map(|provider| NamedIdentityProvider::new(&work.tenant.slug, provider)).collect())
}

/// Takes an identity provider away. Sessions that were begun by it go on.
pub async fn delete(
    app: Arc<App>,
    caller: Caller,
    asked: DeleteIdentityProvider,
) -> Result<IdentityProviderDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    require_all_of_an_owner(&work)?;
    let provider = find(&mut work, &asked.name).await?;
    store::identity_providers::delete(&mut work.tx, provider.id).await?;
    let audit = Audit::new("identityProviders.delete", &asked.name, Some(&provider), None);
    Ok(IdentityProviderDeleted(work.commit(audit).await?))
}
