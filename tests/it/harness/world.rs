//! A small world: a tenant with a workspace, a project, a team, a person, a sidecar and a key.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tollreeve::pb::tollreeve::v1::{self as pb, authorize_request::Credential, charge_request::Subject};
use tonic::Status;

use super::{
    client::{Client, reason},
    server::Env,
};

/// A model that the price list knows: an input token costs 1 nano, an output token 2.
pub const MODEL: &str = "gpt-4o";
pub const PROVIDER: &str = "azure";
/// What [`World::ask`] estimates: 100 tokens in, 100 out.
pub const COST: i64 = 300;

/// An API key: its resource name, and the whole of it.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub secret: String,
}

/// A tenant and those who live in it.
#[derive(Clone)]
pub struct World {
    pub tenant: String,
    pub workspace: String,
    pub project: String,
    pub team: String,
    /// Owns the tenant.
    pub owner: String,
    /// A developer in the team, who owns the key.
    pub user: String,
    /// The sidecar's service account.
    pub account: String,
    pub key: NewKey,
    pub operator: Client,
    pub sidecar: Client,
}

/// Waits as a sidecar does before it sends the same again, while the server says that it cannot reach the database: a busy
/// disk lets a real one stand still for seconds.
async fn before_another_try(turn: u32, status: Status) {
    let again = ["STORAGE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&&*reason(&status));
    assert!(turn < 600 && again, "{status:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// A text that no other call of the process gives.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    /// Makes the tenant `acme`, and prices.
    pub async fn new(env: &Env) -> Self {
        import_prices(&env.operator).await;
        Self::named(env, "acme").await
    }

    /// Makes a tenant.
    pub async fn named(env: &Env, slug: &str) -> Self {
        Self::made_by(&env.operator, slug).await
    }

    /// Makes a tenant over a connection.
    pub async fn made_by(operator: &Client, slug: &str) -> Self {
        let tenant = format!("tenants/{slug}");
        let mut identity = operator.identity();
        let request = pb::CreateTenantRequest {
            tenant_id: slug.into(),
            tenant: Some(pb::Tenant::default()),
            ..pb::CreateTenantRequest::default()
        };
        identity.create_tenant(request).await.expect("a tenant");
        let workspace = create_workspace(operator, &tenant, "prod", "production").await;
        let project = create_project(operator, &workspace, "search").await;
        let request =
            pb::CreateTeamRequest { parent: tenant.clone(), team_id: "core".into(), team: Some(pb::Team::default()) };
        identity.create_team(request).await.expect("a team");
        let team = format!("{tenant}/teams/core");
        let owner = create_user(operator, &tenant, "olivia@example.com", "roles/owner", &[]).await;
        let user = create_user(operator, &tenant, "dev@example.com", "roles/developer", &[&team]).await;
        let account = create_account(operator, &tenant, "edge", Some("roles/sidecar")).await;
        let key = pb::Key { owner: user.clone(), project: project.clone(), ..pb::Key::default() };
        let key = create_key(operator, &workspace, key).await;
        let sidecar = operator.with_token(Some(&account_token(operator, &account).await));
        let operator = operator.clone();
        Self { tenant, workspace, project, team, owner, user, account, key, operator, sidecar }
    }

    /// The same world through another server.
    pub fn through(&self, addr: std::net::SocketAddr) -> Self {
        let way = Client::new(addr, None);
        let operator = Client { bearer: self.operator.bearer.clone(), ..way.clone() };
        let sidecar = Client { bearer: self.sidecar.bearer.clone(), ..way };
        Self { operator, sidecar, ..self.clone() }
    }

    /// Asks for a call with the key: 100 tokens in, 100 out, [`COST`] nanos, held.
    pub fn ask(&self) -> pb::AuthorizeRequest {
        self.ask_with(&self.key.secret)
    }

    /// Asks for a call with another key.
    pub fn ask_with(&self, secret: &str) -> pb::AuthorizeRequest {
        pb::AuthorizeRequest {
            credential: Some(Credential::ApiKey(secret.to_owned())),
            target: Some(pb::Target { provider: PROVIDER.into(), model: MODEL.into(), ..pb::Target::default() }),
            estimate: Some(pb::Estimate { input_tokens: 100, max_output_tokens: 100, ..pb::Estimate::default() }),
            ..pb::AuthorizeRequest::default()
        }
    }

    /// Asks for a call that costs this much.
    pub fn ask_for(&self, cost: i64) -> pb::AuthorizeRequest {
        let estimate = pb::Estimate { cost_nanos: Some(cost), ..pb::Estimate::default() };
        pb::AuthorizeRequest { estimate: Some(estimate), ..self.ask() }
    }

    pub async fn try_authorize(&self, asked: pb::AuthorizeRequest) -> Result<pb::AuthorizeResponse, Status> {
        self.sidecar.gate().authorize(asked).await.map(tonic::Response::into_inner)
    }

    pub async fn authorize(&self, asked: pb::AuthorizeRequest) -> pb::AuthorizeResponse {
        let mut turn = 0;
        loop {
            match self.try_authorize(asked.clone()).await {
                Ok(answer) => return answer,
                Err(status) => before_another_try(turn, status).await,
            }
            turn += 1;
        }
    }

    /// The hold of a call that must be allowed.
    pub async fn hold(&self, asked: pb::AuthorizeRequest) -> pb::Hold {
        let answer = self.authorize(asked).await;
        assert_eq!(answer.decision(), pb::Decision::Allow, "{:?}", answer.denials);
        answer.hold.expect("a hold")
    }

    pub async fn try_charge(&self, asked: pb::ChargeRequest) -> Result<pb::ChargeResponse, Status> {
        self.sidecar.gate().charge(asked).await.map(tonic::Response::into_inner)
    }

    pub async fn charge(&self, asked: pb::ChargeRequest) -> pb::ChargeResponse {
        let mut turn = 0;
        loop {
            match self.try_charge(asked.clone()).await {
                Ok(answer) => return answer,
                Err(status) => before_another_try(turn, status).await,
            }
            turn += 1;
        }
    }

    /// Makes a hard budget of the tenant's.
    pub async fn budget(&self, scope: &str, unit: pb::Unit, window: pb::Window, limit: i64) -> String {
        let budget = pb::Budget {
            scope: scope.into(),
            unit: unit.into(),
            window: window.into(),
            limit,
            ..pb::Budget::default()
        };
        self.create_budget(budget).await
    }

    /// Makes a hard budget in dollars, without end.
    pub async fn dollars(&self, scope: &str, limit: i64) -> String {
        self.budget(scope, pb::Unit::UsdNanos, pb::Window::Total, limit).await
    }

    pub async fn create_budget(&self, budget: pb::Budget) -> String {
        let request =
            pb::CreateBudgetRequest { parent: self.tenant.clone(), budget: Some(budget), ..Default::default() };
        let answer = self.operator.budgets().create_budget(request).await.expect("a budget").into_inner();
        answer.budget.expect("a budget").name
    }

    pub async fn set_limit(&self, budget: &str, limit: i64) {
        let request = pb::UpdateBudgetRequest { name: budget.into(), limit: Some(limit), ..Default::default() };
        self.operator.budgets().update_budget(request).await.expect("another limit");
    }

    /// Where a budget stands.
    pub async fn state(&self, budget: &str) -> pb::BudgetState {
        let request = pb::GetBudgetRequest { name: budget.into() };
        let answer = self.operator.budgets().get_budget(request).await.expect("the budget").into_inner();
        answer.budget.and_then(|budget| budget.state).expect("where it stands")
    }

    /// Adds to the workspace's credit.
    pub async fn try_credit(&self, entry: pb::CreditEntry) -> Result<pb::CreditEntry, Status> {
        let (parent, entry) = (self.workspace.clone(), Some(entry));
        let request = pb::CreateCreditEntryRequest { parent, entry, ..Default::default() };
        let answer = self.operator.credits().create_credit_entry(request).await?.into_inner();
        Ok(answer.entry.expect("an entry"))
    }

    /// Adds to the workspace's credit, under a new reference.
    pub async fn credit(&self, amount: i64, expires: Option<i64>) -> pb::CreditEntry {
        let expire_time = expires.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let entry = pb::CreditEntry { expire_time, ..credit(amount, &unique("invoice")) };
        self.try_credit(entry).await.expect("credit")
    }

    /// Where the workspace's credit stands.
    pub async fn credit_stands(&self) -> pb::Credit {
        let request = pb::GetCreditRequest { name: self.workspace.clone() };
        let answer = self.operator.credits().get_credit(request).await.expect("the credit").into_inner();
        answer.credit.expect("the credit")
    }

    /// A further key of the person's.
    pub async fn another_key(&self, key: pb::Key) -> NewKey {
        create_key(&self.operator, &self.workspace, pb::Key { owner: self.user.clone(), ..key }).await
    }
}

/// An entry of credit: a grant, or what takes back.
pub fn credit(amount_nanos: i64, reference: &str) -> pb::CreditEntry {
    let kind = if amount_nanos < 0 { pb::CreditEntryKind::Adjustment } else { pb::CreditEntryKind::Grant };
    pb::CreditEntry { kind: kind.into(), amount_nanos, reference: reference.into(), ..pb::CreditEntry::default() }
}

/// A charge on a hold.
pub fn on_hold(hold: &pb::Hold, cost: i64) -> pb::ChargeRequest {
    pb::ChargeRequest {
        charge_id: unique("charge"),
        subject: Some(Subject::HoldToken(hold.token.clone())),
        cost_nanos: Some(cost),
        ..pb::ChargeRequest::default()
    }
}

/// A charge on a key.
pub fn on_key(key: &NewKey, cost: i64) -> pb::ChargeRequest {
    pb::ChargeRequest {
        charge_id: unique("charge"),
        subject: Some(Subject::ApiKey(key.secret.clone())),
        cost_nanos: Some(cost),
        ..pb::ChargeRequest::default()
    }
}

/// The codes of a refusal, in order.
pub fn codes(answer: &pb::AuthorizeResponse) -> Vec<pb::DenialCode> {
    let mut codes: Vec<_> = answer.denials.iter().map(pb::Denial::code).collect();
    codes.sort_unstable();
    codes
}

pub async fn import_prices(operator: &Client) {
    let price = pb::Price {
        provider: PROVIDER.into(),
        model: MODEL.into(),
        input_nanos_per_million: 1_000_000,
        output_nanos_per_million: 2_000_000,
        ..pb::Price::default()
    };
    let request = pb::ImportPricesRequest { prices: vec![price], ..Default::default() };
    operator.prices().import_prices(request).await.expect("prices");
}

pub async fn create_workspace(operator: &Client, tenant: &str, id: &str, environment: &str) -> String {
    let workspace = pb::Workspace { environment: environment.into(), ..pb::Workspace::default() };
    let request = pb::CreateWorkspaceRequest {
        parent: tenant.into(),
        workspace_id: id.into(),
        workspace: Some(workspace),
        ..pb::CreateWorkspaceRequest::default()
    };
    operator.identity().create_workspace(request).await.expect("a workspace");
    format!("{tenant}/workspaces/{id}")
}

pub async fn create_project(operator: &Client, workspace: &str, id: &str) -> String {
    let project = Some(pb::Project::default());
    let request = pb::CreateProjectRequest {
        parent: workspace.into(),
        project_id: id.into(),
        project,
        ..pb::CreateProjectRequest::default()
    };
    operator.identity().create_project(request).await.expect("a project");
    format!("{workspace}/projects/{id}")
}

pub async fn create_user(operator: &Client, tenant: &str, email: &str, role: &str, teams: &[&str]) -> String {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    let user = pb::User { email: email.into(), teams, ..pb::User::default() };
    let request =
        pb::CreateUserRequest { parent: tenant.into(), user: Some(user), role: role.into(), ..Default::default() };
    let answer = operator.identity().create_user(request).await.expect("a user").into_inner();
    answer.user.expect("a user").name
}

/// Somebody new is invited, as a member.
pub async fn invite(operator: &Client, tenant: &str) -> pb::Invitation {
    let email = format!("{}@example.com", unique("invited"));
    let invitation = pb::Invitation { email, ..pb::Invitation::default() };
    let request = pb::CreateInvitationRequest {
        parent: tenant.into(),
        invitation: Some(invitation),
        ..pb::CreateInvitationRequest::default()
    };
    let answer = operator.identity().create_invitation(request).await.expect("an invitation").into_inner();
    answer.invitation.expect("an invitation")
}

/// The secret in the link that a server shows which sends no mails.
pub fn token_of(invitation: &pb::Invitation) -> String {
    let (_, token) = invitation.activation_link.split_once("#token=").expect("a link");
    token.to_owned()
}

/// A service account, with a role on the whole tenant.
pub async fn create_account(operator: &Client, tenant: &str, id: &str, role: Option<&str>) -> String {
    let request = pb::CreateServiceAccountRequest {
        parent: tenant.into(),
        service_account_id: id.into(),
        service_account: Some(pb::ServiceAccount::default()),
    };
    operator.identity().create_service_account(request).await.expect("a service account");
    let name = format!("{tenant}/serviceAccounts/{id}");
    if let Some(role) = role {
        bind(operator, tenant, role, &name, tenant).await;
    }
    name
}

/// Gives a role; gives the binding's name.
pub async fn bind(operator: &Client, tenant: &str, role: &str, member: &str, scope: &str) -> String {
    let binding =
        pb::Binding { role: role.into(), member: member.into(), scope: scope.into(), ..pb::Binding::default() };
    let request = pb::CreateBindingRequest { parent: tenant.into(), binding: Some(binding) };
    let answer = operator.access().create_binding(request).await.expect("a binding").into_inner();
    answer.binding.expect("a binding").name
}

/// A role of the tenant's own.
pub async fn create_role(operator: &Client, tenant: &str, id: &str, permissions: &[&str]) -> String {
    let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    let request = pb::CreateRoleRequest {
        parent: tenant.into(),
        role_id: id.into(),
        role: Some(pb::Role { permissions, ..pb::Role::default() }),
        ..pb::CreateRoleRequest::default()
    };
    operator.access().create_role(request).await.expect("a role").into_inner().role.expect("a role").name
}

/// A role template that gives a role and nothing else.
pub async fn create_template(operator: &Client, tenant: &str, id: &str, role: &str) -> String {
    let request = pb::CreateRoleTemplateRequest {
        parent: tenant.into(),
        role_template_id: id.into(),
        role_template: Some(pb::RoleTemplate { role: role.into(), ..pb::RoleTemplate::default() }),
        ..pb::CreateRoleTemplateRequest::default()
    };
    let answer = operator.access().create_role_template(request).await.expect("a role template");
    answer.into_inner().role_template.expect("a role template").name
}

/// A token of a service account; good for a day.
pub async fn account_token(operator: &Client, account: &str) -> String {
    let request = pb::CreateServiceAccountTokenRequest { name: account.into(), ttl_seconds: 86_400 };
    let answer = operator.identity().create_service_account_token(request).await.expect("a token");
    answer.into_inner().access_token
}

pub async fn create_key(operator: &Client, workspace: &str, key: pb::Key) -> NewKey {
    let request = pb::CreateKeyRequest { parent: workspace.into(), key: Some(key), ..Default::default() };
    let answer = operator.keys().create_key(request).await.expect("a key").into_inner();
    NewKey { name: answer.key.expect("a key").name, secret: answer.secret }
}
