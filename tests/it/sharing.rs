//! Sharing a workspace with a team is a binding of a role to the team there, and nothing else.

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_refused},
    server::Env,
    world::{NewKey, World, bind, codes, create_key, create_user, create_workspace},
};

both!(
    a_member_of_a_team_that_a_workspace_is_shared_with_sees_that_workspace_only,
    what_was_shared_is_refused_by_the_first_call_after_it_is_unshared,
);

/// Somebody who holds nothing but by their team.
struct Guest {
    client: Client,
    name: String,
    team: String,
}

impl Guest {
    async fn new(env: &Env, world: &World) -> Self {
        let team = pb::CreateTeamRequest {
            parent: world.tenant.clone(),
            team_id: "partners".into(),
            team: Some(pb::Team::default()),
        };
        env.operator.identity().create_team(team).await.expect("a team");
        let team = format!("{}/teams/partners", world.tenant);
        let name = create_user(&env.operator, &world.tenant, "pat@example.com", "roles/member", &[&team]).await;
        let list = pb::ListBindingsRequest { parent: world.tenant.clone(), ..Default::default() };
        let bindings = env.operator.access().list_bindings(list).await.expect("a list").into_inner().bindings;
        let own = bindings.into_iter().find(|binding| binding.member == name).expect("a role");
        unbind(&env.operator, &own.name).await;
        Self { client: env.operator.with_token(Some(&env.user_token(&name))), name, team }
    }

    async fn get(&self, workspace: &str) -> Result<String, Status> {
        let request = pb::GetWorkspaceRequest { name: workspace.into() };
        let answer = self.client.identity().get_workspace(request).await?.into_inner();
        Ok(answer.workspace.expect("a workspace").name)
    }

    /// The names of the workspaces that they are shown, sorted: those of one moment are in no order.
    async fn workspaces(&self, filter: &str, page_size: i32) -> Result<Vec<String>, Status> {
        let mut request = pb::ListWorkspacesRequest { filter: filter.into(), page_size, ..Default::default() };
        request.parent = self.team.split("/teams").next().unwrap_or_default().to_owned();
        let mut names = Vec::new();
        loop {
            let answer = self.client.identity().list_workspaces(request.clone()).await?.into_inner();
            names.extend(answer.workspaces.into_iter().map(|workspace| workspace.name));
            if answer.next_page_token.is_empty() {
                names.sort();
                return Ok(names);
            }
            request.page_token = answer.next_page_token;
        }
    }

    async fn key(&self, env: &Env, workspace: &str) -> NewKey {
        create_key(&env.operator, workspace, pb::Key { owner: self.name.clone(), ..Default::default() }).await
    }
}

async fn unbind(operator: &Client, binding: &str) {
    let request = pb::DeleteBindingRequest { name: binding.into() };
    operator.access().delete_binding(request).await.expect("it goes");
}

async fn a_member_of_a_team_that_a_workspace_is_shared_with_sees_that_workspace_only(env: &mut Env) {
    let world = World::new(env).await;
    let guest = Guest::new(env, &world).await;
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    let third = create_workspace(&env.operator, &world.tenant, "third", "staging").await;
    assert_refused(guest.get(&world.workspace).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_refused(guest.workspaces("", 0).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    bind(&env.operator, &world.tenant, "roles/reader", &guest.team, &world.workspace).await;
    assert_eq!(guest.get(&world.workspace).await.expect("it is shared"), world.workspace);
    assert_refused(guest.get(&other).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(guest.workspaces("", 0).await.expect("a list"), std::slice::from_ref(&world.workspace));
    assert_eq!(guest.workspaces("environment = staging", 0).await.expect("a list"), Vec::<String>::new());
    bind(&env.operator, &world.tenant, "roles/reader", &guest.name, &third).await;
    assert_eq!(guest.workspaces("", 1).await.expect("a list"), [world.workspace.clone(), third]);
    // Read-only.
    let mut identity = guest.client.identity();
    let list = pb::ListProjectsRequest { parent: world.workspace.clone(), ..Default::default() };
    assert_eq!(identity.list_projects(list.clone()).await.expect("a list").into_inner().projects.len(), 1);
    let list = pb::ListProjectsRequest { parent: other.clone(), ..list };
    assert_refused(identity.list_projects(list).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let suspend = pb::SuspendWorkspaceRequest { name: world.workspace.clone() };
    assert_refused(identity.suspend_workspace(suspend).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let users = pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    assert_refused(identity.list_users(users).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let key = pb::Key { owner: guest.name.clone(), ..Default::default() };
    let create = pb::CreateKeyRequest { parent: world.workspace.clone(), key: Some(key), ..Default::default() };
    assert_refused(guest.client.keys().create_key(create).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // A project-level role shows no workspace.
    let (project, lone) = (world.project.clone(), "lone@example.com");
    let lone = create_user(&env.operator, &world.tenant, lone, "roles/sidecar", &[]).await;
    bind(&env.operator, &world.tenant, "roles/reader", &lone, &project).await;
    let lone = Guest { client: env.operator.with_token(Some(&env.user_token(&lone))), name: lone, team: guest.team };
    assert_refused(lone.workspaces("", 0).await, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn what_was_shared_is_refused_by_the_first_call_after_it_is_unshared(env: &mut Env) {
    let world = World::new(env).await;
    let guest = Guest::new(env, &world).await;
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    let (here, there) = (guest.key(env, &world.workspace).await, guest.key(env, &other).await);
    let denied = async |key: &NewKey| codes(&world.authorize(world.ask_with(&key.secret)).await);
    let reader = bind(&env.operator, &world.tenant, "roles/reader", &guest.team, &world.workspace).await;
    assert_eq!(denied(&here).await, [DenialCode::PermissionDenied], "to read is not to call models");
    for _ in 0..20 {
        let member = bind(&env.operator, &world.tenant, "roles/member", &guest.team, &world.workspace).await;
        assert_eq!(denied(&here).await, []);
        assert_eq!(denied(&there).await, [DenialCode::PermissionDenied], "only where it is shared");
        unbind(&env.operator, &member).await;
        assert_eq!(denied(&here).await, [DenialCode::PermissionDenied]);
    }
    guest.get(&world.workspace).await.expect("to read is left");
    unbind(&env.operator, &reader).await;
    assert_refused(guest.get(&world.workspace).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_refused(guest.workspaces("", 0).await, Code::NotFound, "RESOURCE_NOT_FOUND");
}
