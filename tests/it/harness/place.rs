//! The names of one thing of each kind, with what a world lacks of them made.

use tollreeve::pb::tollreeve::v1 as pb;

use super::{
    assertions::Signer,
    world::{World, bind, create_key, create_role, create_template, create_user, create_workspace, invite, unique},
};

/// The names of one thing of each kind in a tenant.
#[derive(Clone, Debug)]
pub struct Place {
    pub tenant: String,
    pub workspace: String,
    pub project: String,
    pub team: String,
    pub user: String,
    pub session: String,
    pub identity_provider: String,
    pub account: String,
    pub public_key: String,
    pub binding: String,
    pub key: String,
    pub budget: String,
    pub role: String,
    pub template: String,
    pub invitation: String,
    pub event: String,
    /// An admin of the tenant.
    pub admin: String,
    /// Users who are to be removed: one by themselves, one with others.
    pub leaver: String,
    pub quitter: String,
    /// A team that is to be deleted.
    pub disbanded: String,
    /// Another tenant, deleted.
    pub doomed: String,
    /// A workspace with a key that breaks its policy.
    pub strict: String,
    /// A version of the tenant's own prices.
    pub price_version: String,
}

impl Place {
    /// What there is in a world, with what it lacks made.
    pub async fn of(world: &World) -> Self {
        let (tenant, scope) = (&world.tenant, &world.workspace);
        Self {
            tenant: tenant.clone(),
            workspace: world.workspace.clone(),
            project: world.project.clone(),
            team: world.team.clone(),
            user: world.user.clone(),
            session: sign_in_twice(world).await,
            identity_provider: create_provider(world).await,
            account: world.account.clone(),
            public_key: Signer::ed25519().register(&world.operator, &world.account).await,
            binding: bind(&world.operator, tenant, "roles/reader", &world.user, scope).await,
            key: world.key.name.clone(),
            budget: world.dollars(&world.workspace, 1_000_000).await,
            role: create_role(&world.operator, tenant, &unique("role"), &["models:invoke", "keys:read"]).await,
            template: create_template(&world.operator, tenant, &unique("template"), "roles/analyst").await,
            invitation: invite(&world.operator, tenant).await.name,
            event: format!("{tenant}/auditEvents/1"),
            admin: user(world, "roles/admin").await,
            leaver: user(world, "roles/member").await,
            quitter: user(world, "roles/member").await,
            disbanded: disbanded(world).await,
            doomed: doomed(world).await,
            strict: strict(world).await,
            price_version: own_price(world).await,
        }
    }

    /// The same names under another tenant's name: nothing of them exists there.
    pub fn moved_to(&self, tenant: &str) -> Self {
        let moved = |name: &str| name.replacen(&self.tenant, tenant, 1);
        Self {
            tenant: tenant.to_owned(),
            workspace: moved(&self.workspace),
            project: moved(&self.project),
            team: moved(&self.team),
            user: moved(&self.user),
            session: moved(&self.session),
            identity_provider: moved(&self.identity_provider),
            account: moved(&self.account),
            public_key: moved(&self.public_key),
            binding: moved(&self.binding),
            key: moved(&self.key),
            budget: moved(&self.budget),
            role: moved(&self.role),
            template: moved(&self.template),
            invitation: moved(&self.invitation),
            event: moved(&self.event),
            admin: moved(&self.admin),
            leaver: moved(&self.leaver),
            quitter: moved(&self.quitter),
            disbanded: moved(&self.disbanded),
            doomed: moved(&self.doomed),
            strict: moved(&self.strict),
            price_version: moved(&self.price_version),
        }
    }
}

/// A workspace with a key that breaks its policy, for it was there before.
async fn strict(world: &World) -> String {
    let name = create_workspace(&world.operator, &world.tenant, &unique("strict"), "staging").await;
    create_key(&world.operator, &name, pb::Key { owner: world.user.clone(), ..pb::Key::default() }).await;
    let keys = Some(pb::WorkspaceKeyPolicy { max_lifetime_seconds: 60, ..Default::default() });
    let policies = Some(pb::WorkspacePolicies { keys, ..Default::default() });
    let workspace = Some(pb::Workspace { name: name.clone(), policies, ..Default::default() });
    let request = pb::UpdateWorkspaceRequest { workspace, ..Default::default() };
    world.operator.identity().update_workspace(request).await.expect("laid down");
    name
}

/// A version of the tenant's own prices.
async fn own_price(world: &World) -> String {
    let price = pb::Price { provider: "p".into(), model: unique("model"), ..pb::Price::default() };
    let request = pb::ImportPricesRequest { prices: vec![price], parent: world.tenant.clone(), ..Default::default() };
    world.operator.prices().import_prices(request).await.expect("imported").into_inner().version
}

/// One of two sessions of the world's user, who gets a password for it.
async fn sign_in_twice(world: &World) -> String {
    const PASSWORD: &str = "correct horse battery";
    let request = pb::CreatePasswordResetRequest { user: world.user.clone() };
    let reset = world.operator.sessions().create_password_reset(request).await.expect("a reset").into_inner();
    let mut anybody = world.operator.with_token(None).sessions();
    let request = pb::ResetPasswordRequest { reset_token: reset.reset_token, new_password: PASSWORD.into() };
    anybody.reset_password(request).await.expect("a password");
    let request =
        pb::SignInRequest { tenant: world.tenant.clone(), email: "dev@example.com".into(), password: PASSWORD.into() };
    anybody.sign_in(request.clone()).await.expect("signed in");
    let tokens = anybody.sign_in(request).await.expect("signed in").into_inner().tokens.expect("tokens");
    tokens.session.expect("a session").name
}

/// An identity provider that can be named, and not be asked.
pub fn provider() -> pb::IdentityProvider {
    let (issuer, audience) = ("http://127.0.0.1:1/issuer".into(), "front-end".into());
    pb::IdentityProvider { issuer, audience, ..pb::IdentityProvider::default() }
}

async fn create_provider(world: &World) -> String {
    let request = pb::CreateIdentityProviderRequest {
        parent: world.tenant.clone(),
        identity_provider_id: unique("idp"),
        identity_provider: Some(provider()),
    };
    let answer = world.operator.sessions().create_identity_provider(request).await.expect("a provider").into_inner();
    answer.identity_provider.expect("a provider").name
}

/// A user with a role on the whole tenant.
async fn user(world: &World, role: &str) -> String {
    create_user(&world.operator, &world.tenant, &format!("{}@example.com", unique("extra")), role, &[]).await
}

async fn disbanded(world: &World) -> String {
    let team_id = unique("disbanded");
    let request = pb::CreateTeamRequest { parent: world.tenant.clone(), team_id: team_id.clone(), team: None };
    world.operator.identity().create_team(request).await.expect("a team");
    format!("{}/teams/{team_id}", world.tenant)
}

/// A tenant that is deleted, under a name that begins with the world's.
async fn doomed(world: &World) -> String {
    let tenant_id = unique(&format!("{}-doomed", world.tenant.trim_start_matches("tenants/")));
    let name = format!("tenants/{tenant_id}");
    let create = pb::CreateTenantRequest { tenant_id, ..pb::CreateTenantRequest::default() };
    let mut identity = world.operator.identity();
    identity.create_tenant(create).await.expect("a tenant");
    let delete = pb::DeleteTenantRequest { name: name.clone(), ..pb::DeleteTenantRequest::default() };
    identity.delete_tenant(delete).await.expect("it goes");
    name
}
