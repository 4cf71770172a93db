//! The demo: a small company with teams, projects, budgets and keys, made by calls that anybody could make.

use anyhow::Context as _;
use tonic::Code;

use super::{
    client::{Connection, failed},
    prices,
};
use crate::pb::tollreeve::v1 as pb;

/// The demo's tenant.
pub const TENANT: &str = "tenants/demo";
/// The workspace in which the demo's traffic runs.
pub const PRODUCTION: &str = "tenants/demo/workspaces/production";
/// The environment of [`PRODUCTION`].
pub const ENVIRONMENT: &str = "production";
/// The project whose budget is so small that almost any call is refused.
pub const STRICT_PROJECT: &str = "intern-experiments";
const DEVELOPMENT: &str = "tenants/demo/workspaces/development";
const SIDECARS: &str = "tenants/demo/serviceAccounts/edge";
/// The longest that the server gives a token for.
const TOKEN_SECONDS: i64 = 86_400;
const PRICES: &str = include_str!("../../deploy/sample/prices.json");

/// A team of the demo, the person in it, and the project they work on.
struct Team {
    id: &'static str,
    description: &'static str,
    person: &'static str,
    email: &'static str,
    project: &'static str,
}

const TEAMS: [Team; 3] = [
    Team {
        id: "search",
        description: "Finds things",
        person: "Sam Search",
        email: "sam@demo.example",
        project: "search-assistant",
    },
    Team {
        id: "support",
        description: "Answers customers",
        person: "Uma Support",
        email: "uma@demo.example",
        project: "support-bot",
    },
    Team {
        id: "research",
        description: "Tries what nobody tried",
        person: "Rob Research",
        email: "rob@demo.example",
        project: "research-lab",
    },
];

/// Every budget of the demo: scope below the tenant, unit, window, limit, hard, name.
const BUDGETS: [(&str, pb::Unit, pb::Window, i64, bool, &str); 11] = {
    use pb::{
        Unit::{Requests, UsdNanos},
        Window::{Day, Month},
    };
    const DOLLAR: i64 = crate::domain::money::Nanos::DOLLAR.0;
    [
        ("", UsdNanos, Month, 100 * DOLLAR, true, "Company, a month"),
        ("/workspaces/production", Requests, Day, 100_000, true, "Production calls, a day"),
        ("/workspaces/development", UsdNanos, Day, DOLLAR, true, "Development, a day"),
        ("/teams/search", UsdNanos, Month, 50 * DOLLAR, true, "Search, a month"),
        ("/teams/support", UsdNanos, Month, 24 * DOLLAR, true, "Support, a month"),
        ("/teams/research", UsdNanos, Month, 12 * DOLLAR, true, "Research, a month"),
        ("/teams/research", UsdNanos, Month, 10 * DOLLAR, false, "Research, a month (warning)"),
        (
            "/workspaces/production/projects/search-assistant",
            UsdNanos,
            Day,
            40 * DOLLAR,
            true,
            "Search assistant, a day",
        ),
        ("/workspaces/production/projects/support-bot", UsdNanos, Month, 50 * DOLLAR, true, "Support bot, a month"),
        (
            "/workspaces/production/projects/research-lab",
            UsdNanos,
            Day,
            5 * DOLLAR,
            false,
            "Research lab, a day (warning)",
        ),
        ("/workspaces/production/projects/intern-experiments", UsdNanos, Day, DOLLAR / 100, true, "Interns, a day"),
    ]
};

/// What is shown once, when the demo is made.
pub struct Demo {
    /// An API key of the search team in production, whole.
    pub api_key: String,
    /// An API key in development, whole.
    pub development_key: String,
    /// A sidecar's bearer token; valid for a day.
    pub sidecar_token: String,
}

/// Makes the demo, with the operator's token. `None` when the tenant is there already: then nothing is changed.
///
/// # Errors
/// When the server refuses a step; what was made before it stays.
pub async fn seed(connection: &Connection) -> anyhow::Result<Option<Demo>> {
    match connection.identity().get_tenant(pb::GetTenantRequest { name: TENANT.into() }).await {
        Ok(_) => return Ok(None),
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(failed("cannot look for the demo tenant")(status)),
    }
    prices::import(connection, PRICES.to_owned()).await?;
    create_places(connection).await?;
    create_people(connection).await?;
    create_sidecars(connection).await?;
    for (scope, unit, window, limit, hard, name) in BUDGETS {
        let budget = pb::Budget {
            scope: format!("{TENANT}{scope}"),
            unit: unit.into(),
            window: window.into(),
            limit,
            hard: Some(hard),
            display_name: name.into(),
            ..pb::Budget::default()
        };
        let request = pb::CreateBudgetRequest { parent: TENANT.into(), budget: Some(budget), ..Default::default() };
        connection
            .budgets()
            .create_budget(request)
            .await
            .map_err(failed(format!("cannot create the budget `{name}`")))?;
    }
    let owners = owners(connection).await?;
    let search = create_key(connection, PRODUCTION, &owners[0], TEAMS[0].project, "Search assistant").await?;
    let sandbox = create_key(connection, DEVELOPMENT, &owners[2], "sandbox", "Sandbox").await?;
    Ok(Some(Demo {
        api_key: search.secret,
        development_key: sandbox.secret,
        sidecar_token: sidecar_token(connection).await?,
    }))
}

/// The tenant, its workspaces and their projects.
async fn create_places(connection: &Connection) -> anyhow::Result<()> {
    let mut identity = connection.identity();
    let tenant = pb::Tenant { display_name: "Demo Inc.".into(), ..pb::Tenant::default() };
    let request = pb::CreateTenantRequest {
        tenant_id: "demo".into(),
        tenant: Some(tenant),
        ..pb::CreateTenantRequest::default()
    };
    identity.create_tenant(request).await.map_err(failed("cannot create the demo tenant"))?;
    for (id, name) in [("production", "Production"), ("development", "Development")] {
        let workspace = pb::Workspace { display_name: name.into(), environment: id.into(), ..pb::Workspace::default() };
        let request = pb::CreateWorkspaceRequest {
            parent: TENANT.into(),
            workspace_id: id.into(),
            workspace: Some(workspace),
            ..pb::CreateWorkspaceRequest::default()
        };
        identity.create_workspace(request).await.map_err(failed(format!("cannot create the workspace `{id}`")))?;
    }
    let projects = TEAMS.iter().map(|team| (PRODUCTION, team.project));
    for (parent, id) in projects.chain([(PRODUCTION, STRICT_PROJECT), (DEVELOPMENT, "sandbox")]) {
        let project = pb::Project { display_name: id.replace('-', " "), ..pb::Project::default() };
        let request = pb::CreateProjectRequest {
            parent: parent.into(),
            project_id: id.into(),
            project: Some(project),
            ..pb::CreateProjectRequest::default()
        };
        identity.create_project(request).await.map_err(failed(format!("cannot create the project `{id}`")))?;
    }
    Ok(())
}

/// The owner, and the teams with a developer in each.
async fn create_people(connection: &Connection) -> anyhow::Result<()> {
    for team in &TEAMS {
        let request = pb::CreateTeamRequest {
            parent: TENANT.into(),
            team_id: team.id.into(),
            team: Some(pb::Team {
                display_name: team.id.into(),
                description: team.description.into(),
                ..pb::Team::default()
            }),
        };
        let created = connection.identity().create_team(request).await;
        created.map_err(failed(format!("cannot create the team `{}`", team.id)))?;
    }
    let developers = TEAMS.iter().map(|team| (team.email, team.person, "roles/developer", vec![team_name(team)]));
    for (email, name, role, teams) in
        [("olivia@demo.example", "Olivia Owner", "roles/owner", vec![])].into_iter().chain(developers)
    {
        let user = pb::User { email: email.into(), display_name: name.into(), teams, ..pb::User::default() };
        let request =
            pb::CreateUserRequest { parent: TENANT.into(), user: Some(user), role: role.into(), ..Default::default() };
        connection
            .identity()
            .create_user(request)
            .await
            .map_err(failed(format!("cannot create the user `{email}`")))?;
    }
    Ok(())
}

/// The service account that the sidecars run as.
async fn create_sidecars(connection: &Connection) -> anyhow::Result<()> {
    let request = pb::CreateServiceAccountRequest {
        parent: TENANT.into(),
        service_account_id: "edge".into(),
        service_account: Some(pb::ServiceAccount {
            display_name: "Sidecars at the edge".into(),
            ..pb::ServiceAccount::default()
        }),
    };
    let created = connection.identity().create_service_account(request).await;
    created.map_err(failed("cannot create the service account `edge`"))?;
    let binding = pb::Binding {
        role: "roles/sidecar".into(),
        member: SIDECARS.into(),
        scope: TENANT.into(),
        ..pb::Binding::default()
    };
    let request = pb::CreateBindingRequest { parent: TENANT.into(), binding: Some(binding) };
    connection.access().create_binding(request).await.map_err(failed("cannot bind `roles/sidecar` to `edge`"))?;
    Ok(())
}

/// A fresh bearer token for a sidecar of the demo; valid for a day.
///
/// # Errors
/// When the server refuses.
pub async fn sidecar_token(connection: &Connection) -> anyhow::Result<String> {
    let request = pb::CreateServiceAccountTokenRequest { name: SIDECARS.into(), ttl_seconds: TOKEN_SECONDS };
    let answer = connection.identity().create_service_account_token(request).await;
    Ok(answer.map_err(failed("cannot get a token for a sidecar"))?.into_inner().access_token)
}

/// API keys and sidecars of the demo, for one run.
pub struct Fleet {
    /// The keys, spread over teams and projects.
    pub keys: Vec<FleetKey>,
    /// One bearer token for each sidecar.
    pub sidecar_tokens: Vec<String>,
}

/// An API key of a [`Fleet`].
pub struct FleetKey {
    /// Resource name.
    pub name: String,
    /// The whole key.
    pub secret: String,
    /// Id of its owner's team.
    pub team: &'static str,
    /// Id of the project that its calls are tagged with.
    pub project: &'static str,
}

/// Where the `n`th key of a fleet belongs, as team and project: the teams in turn, and now and then an intern.
#[must_use]
pub fn place(n: usize) -> (&'static str, &'static str) {
    let team = &TEAMS[n % TEAMS.len()];
    (team.id, if n % 12 == 11 { STRICT_PROJECT } else { team.project })
}

/// Creates `keys` API keys over the demo's teams and projects, and tokens for `sidecars` sidecars.
///
/// # Errors
/// When the server refuses, or the demo is not whole.
pub async fn create_fleet(connection: &Connection, keys: usize, sidecars: usize) -> anyhow::Result<Fleet> {
    let owners = owners(connection).await?;
    let mut fleet = Fleet { keys: Vec::with_capacity(keys), sidecar_tokens: Vec::with_capacity(sidecars) };
    for n in 0..keys {
        let (team, project) = place(n);
        let owner = &owners[n % TEAMS.len()];
        let NewKey { name, secret } =
            create_key(connection, PRODUCTION, owner, project, &format!("Fleet {}", n + 1)).await?;
        fleet.keys.push(FleetKey { name, secret, team, project });
    }
    for _ in 0..sidecars {
        fleet.sidecar_tokens.push(sidecar_token(connection).await?);
    }
    Ok(fleet)
}

/// Revokes keys by name: nobody has a fleet's secrets once its run is over.
///
/// # Errors
/// When the server refuses; the keys before that one are revoked.
pub async fn revoke(connection: &Connection, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let request = pb::RevokeKeyRequest { name: name.clone(), reason: "the run is over".into() };
        connection.keys().revoke_key(request).await.map_err(failed(format!("cannot revoke `{name}`")))?;
    }
    Ok(())
}

fn team_name(team: &Team) -> String {
    format!("{TENANT}/teams/{}", team.id)
}

/// The resource name of the person in each of [`TEAMS`].
async fn owners(connection: &Connection) -> anyhow::Result<[String; TEAMS.len()]> {
    let request = pb::ListUsersRequest { parent: TENANT.into(), page_size: 1000, ..Default::default() };
    let users = connection.identity().list_users(request).await.map_err(failed("cannot list the demo's users"))?;
    let users = users.into_inner().users;
    let mut names = <[String; TEAMS.len()]>::default();
    for (name, team) in names.iter_mut().zip(&TEAMS) {
        let user = users.iter().find(|user| user.email.eq_ignore_ascii_case(team.email));
        name.clone_from(&user.with_context(|| format!("the demo is not whole: {TENANT} has no {}", team.email))?.name);
    }
    Ok(names)
}

/// A key that was just made.
struct NewKey {
    name: String,
    secret: String,
}

async fn create_key(
    connection: &Connection,
    workspace: &str,
    owner: &str,
    project: &str,
    display_name: &str,
) -> anyhow::Result<NewKey> {
    let key = pb::Key {
        display_name: display_name.into(),
        owner: owner.into(),
        project: format!("{workspace}/projects/{project}"),
        ..pb::Key::default()
    };
    let request = pb::CreateKeyRequest { parent: workspace.into(), key: Some(key), ..Default::default() };
    let answer = connection.keys().create_key(request).await;
    let answer = answer.map_err(failed(format!("cannot create the key `{display_name}`")))?.into_inner();
    let name = answer.key.map(|key| key.name).unwrap_or_default();
    Ok(NewKey { name, secret: answer.secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_the_usual_size_has_keys_in_every_team_and_every_project() {
        let places: std::collections::BTreeSet<_> = (0..24).map(place).collect();
        for team in &TEAMS {
            assert!(places.contains(&(team.id, team.project)), "{}", team.id);
        }
        assert!(places.iter().any(|(_, project)| *project == STRICT_PROJECT));
    }
}
