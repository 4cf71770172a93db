//! Who may do what, and why.

use tollreeve::pb::tollreeve::v1::{self as pb, AccessObstacle};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{World, bind, create_user},
};

both!(
    an_answer_names_the_bindings_that_allow,
    an_answer_says_what_is_missing_and_who_could_give_it,
    whoever_may_not_act_is_told_apart_from_whoever_holds_nothing,
    a_list_of_permissions_is_what_the_single_answers_say,
);

once!(others_are_asked_about_only_by_those_who_see_bindings, questions_that_cannot_be_are_named);

fn question(resource: &str, permission: &str, principal: &str) -> pb::AccessQuestion {
    pb::AccessQuestion { resource: resource.into(), permission: permission.into(), principal: principal.into() }
}

async fn ask(client: &Client, question: pb::AccessQuestion) -> Result<pb::AccessAnswer, Status> {
    let request = pb::CheckAccessRequest { question: Some(question) };
    Ok(client.access().check_access(request).await?.into_inner().answer.expect("an answer"))
}

async fn an_answer_names_the_bindings_that_allow(env: &mut Env) {
    let world = World::new(env).await;
    let own = bind(&env.operator, &world.tenant, "roles/analyst", &world.user, &world.workspace).await;
    let teams = bind(&env.operator, &world.tenant, "roles/admin", &world.team, &world.project).await;
    let at = |resource: &str, permission: &str| ask(&env.operator, question(resource, permission, &world.user));
    let grants = |answer: &pb::AccessAnswer| {
        answer
            .grants
            .iter()
            .map(|g| (g.binding.clone(), g.role.clone(), g.member.clone(), g.scope.clone()))
            .collect::<Vec<_>>()
    };
    let answer = at(&world.workspace, "usage:read").await.expect("an answer");
    assert!(answer.allowed && answer.obstacle() == AccessObstacle::Unspecified);
    assert_eq!(grants(&answer), [(own, "roles/analyst".into(), world.user.clone(), world.workspace.clone())]);
    assert!(answer.roles.is_empty() && answer.granters.is_empty());
    assert_eq!(
        answer.explanation,
        format!("{0} may usage:read on {1}: {0} holds roles/analyst on {1}", world.user, world.workspace)
    );
    // By a team, and only where the team's role reaches.
    let answer = at(&world.project, "keys:rotate").await.expect("an answer");
    assert_eq!(grants(&answer), [(teams, "roles/admin".into(), world.team.clone(), world.project.clone())]);
    assert!(!at(&world.workspace, "keys:rotate").await.expect("an answer").allowed);
    // What somebody holds from elsewhere counts as well: the operator's role is on the platform.
    let operator = ask(&env.operator, question(&world.tenant, "tenants:create", "")).await.expect("an answer");
    assert!(operator.allowed && operator.grants[0].scope == "platform", "{operator:?}");
    // And the answer is what happens.
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    for (permission, allowed) in [("projects:read", true), ("projects:write", false)] {
        let answer = ask(&user, question(&world.workspace, permission, "")).await.expect("an answer");
        assert_eq!(answer.allowed, allowed);
        let create = pb::CreateProjectRequest {
            parent: world.workspace.clone(),
            project_id: "mine".into(),
            ..Default::default()
        };
        let list = pb::ListProjectsRequest { parent: world.workspace.clone(), ..Default::default() };
        let done = match permission {
            "projects:read" => user.identity().list_projects(list).await.map(|_| ()),
            _ => user.identity().create_project(create).await.map(|_| ()),
        };
        assert_eq!(done.is_ok(), allowed);
    }
    let binding = pb::GetBindingRequest { name: answer_binding(&user, &world).await };
    let read = env.operator.access().get_binding(binding).await.expect("it").into_inner().binding.expect("it");
    assert_eq!((read.role.as_str(), read.member.as_str()), ("roles/developer", world.user.as_str()));
}

/// The binding by which a developer may call models.
async fn answer_binding(user: &Client, world: &World) -> String {
    let answer = ask(user, question(&world.tenant, "models:invoke", &world.user)).await.expect("an answer");
    answer.grants[0].binding.clone()
}

async fn an_answer_says_what_is_missing_and_who_could_give_it(env: &mut Env) {
    let world = World::new(env).await;
    let admin = create_user(&env.operator, &world.tenant, "ada@example.com", "roles/member", &[]).await;
    bind(&env.operator, &world.tenant, "roles/admin", &admin, &world.workspace).await;
    let at = async |resource: &str, permission: &str| {
        let answer = ask(&env.operator, question(resource, permission, &world.user)).await.expect("an answer");
        assert!(!answer.allowed && answer.obstacle() == AccessObstacle::PermissionMissing && answer.grants.is_empty());
        (answer.roles, answer.granters, answer.explanation)
    };
    let (roles, granters, explanation) = at(&world.workspace, "keys:rotate").await;
    assert_eq!(roles, ["roles/admin", "roles/owner"]);
    assert_eq!(granters, [world.owner.clone(), admin.clone()]);
    assert_eq!(
        explanation,
        format!(
            "{} lacks keys:rotate on {}; {} could bind roles/admin there",
            world.user, world.workspace, world.owner
        )
    );
    // An admin of the workspace cannot give it on the whole tenant, and no admin can give what only an owner holds.
    assert_eq!(at(&world.tenant, "keys:rotate").await.1, [world.owner.clone()]);
    let (roles, granters, _) = at(&world.workspace, "ownership:transfer").await;
    assert_eq!((roles, granters), (vec!["roles/owner".to_owned()], vec![world.owner.clone()]));
    let (roles, granters, explanation) = at(&world.tenant, "tenants:create").await;
    assert!(roles.is_empty() && granters.is_empty() && explanation.contains("no role that a tenant can give"));
    // Whoever is named can, and nobody else.
    for (giver, can) in [(&admin, true), (&world.user, false)] {
        let giver = env.operator.with_token(Some(&env.user_token(giver)));
        let binding = pb::Binding {
            role: "roles/admin".into(),
            member: world.user.clone(),
            scope: world.workspace.clone(),
            ..pb::Binding::default()
        };
        let request = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(binding) };
        assert_eq!(giver.access().create_binding(request).await.is_ok(), can);
        if can {
            let now = ask(&env.operator, question(&world.workspace, "keys:rotate", &world.user)).await;
            let now = now.expect("an answer");
            assert!(now.allowed);
            let name = now.grants[0].binding.clone();
            env.operator.access().delete_binding(pb::DeleteBindingRequest { name }).await.expect("taken away");
        }
    }
}

async fn whoever_may_not_act_is_told_apart_from_whoever_holds_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let obstacle = async |principal: &str| {
        let answer = ask(&env.operator, question(&world.tenant, "models:invoke", principal)).await.expect("an answer");
        (answer.obstacle(), answer.grants.len(), answer.explanation)
    };
    assert_eq!(obstacle(&world.user).await.0, AccessObstacle::Unspecified);
    assert_eq!(obstacle(&world.account).await.0, AccessObstacle::PermissionMissing);
    let suspend = pb::SuspendUserRequest { name: world.user.clone() };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    assert_eq!(
        obstacle(&world.user).await,
        (AccessObstacle::PrincipalNotActive, 1, format!("{} is not active", world.user))
    );
    let delete = pb::DeleteTenantRequest { name: world.tenant.clone(), ..Default::default() };
    env.operator.identity().delete_tenant(delete).await.expect("deleted");
    assert_eq!(obstacle(&world.owner).await.0, AccessObstacle::TenantNotInUse);
}

async fn a_list_of_permissions_is_what_the_single_answers_say(env: &mut Env) {
    let world = World::new(env).await;
    bind(&env.operator, &world.tenant, "roles/analyst", &world.team, &world.workspace).await;
    let catalogue: Vec<String> =
        tollreeve::domain::permission::Permission::ALL.iter().map(ToString::to_string).collect();
    let request =
        pb::ListEffectivePermissionsRequest { resource: world.workspace.clone(), principal: world.user.clone() };
    let listed = env.operator.access().list_effective_permissions(request).await.expect("a list").into_inner();
    assert_eq!(listed.obstacle(), AccessObstacle::Unspecified);
    let questions = catalogue.iter().map(|p| question(&world.workspace, p, &world.user)).collect();
    let batch = pb::BatchCheckAccessRequest { parent: world.tenant.clone(), questions };
    let answers = env.operator.access().batch_check_access(batch).await.expect("answers").into_inner().answers;
    assert_eq!(answers.len(), catalogue.len());
    let singly: Vec<pb::EffectivePermission> = catalogue
        .into_iter()
        .zip(answers)
        .filter(|(_, answer)| answer.allowed)
        .map(|(permission, answer)| pb::EffectivePermission { permission, grants: answer.grants })
        .collect();
    assert_eq!(listed.permissions, singly);
    let twice = singly.iter().find(|p| p.permission == "budgets:read").expect("held");
    assert_eq!(twice.grants.len(), 2, "by their own role and by their team's");
}

async fn others_are_asked_about_only_by_those_who_see_bindings(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let refused = ask(&user, question(&world.workspace, "keys:rotate", &world.owner)).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    ask(&user, question(&world.workspace, "keys:rotate", &world.user)).await.expect("about oneself");
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    ask(&owner, question(&world.workspace, "keys:rotate", &world.user)).await.expect("about others");
    for (resource, principal) in
        [(&world.tenant, &other.user), (&other.tenant, &world.owner), (&other.tenant, &other.user)]
    {
        let refused = ask(&owner, question(resource, "keys:rotate", principal)).await;
        assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    // One question of many that may not be asked: none is answered.
    let questions = vec![question(&world.tenant, "keys:read", ""), question(&other.tenant, "keys:read", "")];
    let batch = pb::BatchCheckAccessRequest { parent: world.tenant.clone(), questions };
    assert_refused(owner.access().batch_check_access(batch).await, Code::NotFound, "RESOURCE_NOT_FOUND");
}

async fn questions_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let good = || question(&world.tenant, "keys:read", "");
    let bad = [
        ("question.resource", pb::AccessQuestion { resource: world.user.clone(), ..good() }),
        ("question.resource", pb::AccessQuestion { resource: String::new(), ..good() }),
        ("question.permission", pb::AccessQuestion { permission: "keys".into(), ..good() }),
        ("question.permission", pb::AccessQuestion { permission: String::new(), ..good() }),
        ("question.principal", pb::AccessQuestion { principal: world.team.clone(), ..good() }),
    ];
    for (field, question) in bad {
        assert_invalid(ask(&env.operator, question).await, field);
    }
    for (count, field) in [(0, "questions"), (101, "questions")] {
        let questions = vec![good(); count];
        let batch = pb::BatchCheckAccessRequest { parent: world.tenant.clone(), questions };
        assert_invalid(env.operator.access().batch_check_access(batch).await, field);
    }
    let list = pb::ListEffectivePermissionsRequest { resource: "x".into(), principal: String::new() };
    assert_invalid(env.operator.access().list_effective_permissions(list).await, "resource");
}
