//! Who may do what, and why.

use std::time::Duration;

use tollreeve::{
    domain::time::Clock as _,
    pb::tollreeve::v1::{self as pb, AccessObstacle, DenialCode},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{World, account_token, bind, codes, create_account, create_user},
};

both!(
    an_answer_names_the_bindings_that_allow,
    an_answer_says_what_is_missing_and_who_could_give_it,
    whoever_may_not_act_is_told_apart_from_whoever_holds_nothing,
    a_list_of_permissions_is_what_the_single_answers_say,
    a_role_ends_at_its_moment_everywhere,
    nobody_gives_a_role_for_longer_than_they_hold_it,
    to_put_somebody_into_a_team_is_to_give_them_its_roles,
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
    assert_eq!(at(&world.tenant, "keys:rotate").await.1, std::slice::from_ref(&world.owner));
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
    // A developer holds all that a member does, but cannot bind.
    let asked = question(&world.tenant, "models:invoke", &world.account);
    let answer = ask(&env.operator, asked).await.expect("an answer");
    assert_eq!((answer.roles[0].as_str(), &answer.granters), ("roles/member", &vec![world.owner.clone()]));
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

/// Asks for a role that ends after `seconds`; 0: never.
async fn bind_for(
    env: &Env,
    client: &Client,
    (role, member, scope): (&str, &str, &str),
    seconds: u64,
) -> Result<pb::Binding, Status> {
    let ends = env.clock.now().after(Duration::from_secs(seconds)).micros();
    let binding = pb::Binding {
        role: role.into(),
        member: member.into(),
        scope: scope.into(),
        expire_time: (seconds > 0).then_some(prost_types::Timestamp { seconds: ends / 1_000_000, nanos: 0 }),
        ..pb::Binding::default()
    };
    let parent = scope.split('/').take(2).collect::<Vec<_>>().join("/");
    let request = pb::CreateBindingRequest { parent, binding: Some(binding) };
    Ok(client.access().create_binding(request).await?.into_inner().binding.expect("a binding"))
}

async fn a_role_ends_at_its_moment_everywhere(env: &mut Env) {
    let world = World::new(env).await;
    let guest = create_user(&env.operator, &world.tenant, "guest@example.com", "roles/reader", &[]).await;
    let key = pb::Key { owner: guest.clone(), ..pb::Key::default() };
    let key = crate::harness::world::create_key(&env.operator, &world.workspace, key).await;
    let member = ("roles/admin", guest.as_str(), world.workspace.as_str());
    let caller = env.operator.with_token(Some(&env.user_token(&guest)));
    let works = async || {
        let decided = codes(&world.authorize(world.ask_with(&key.secret)).await);
        let asked = ask(&caller, question(&world.workspace, "keys:rotate", "")).await.expect("an answer").allowed;
        let list = pb::ListKeysRequest { parent: world.workspace.clone(), ..Default::default() };
        let listed = caller.keys().list_keys(list).await.is_ok();
        assert!((decided.is_empty(), asked, listed) == (listed, listed, listed), "{decided:?} {asked} {listed}");
        if !listed {
            assert_eq!(decided, [DenialCode::PermissionDenied]);
        }
        listed
    };
    assert!(!works().await);
    let first = bind_for(env, &env.operator, member, 60).await.expect("bound");
    assert!(first.expire_time.is_some() && works().await);
    assert_eq!(bind_for(env, &env.operator, member, 60).await.expect("the same"), first);
    let other = bind_for(env, &env.operator, member, 61).await;
    assert_refused(other, Code::AlreadyExists, "RESOURCE_EXISTS");
    env.clock.advance(Duration::from_micros(59_999_999));
    assert!(works().await, "until its last moment");
    env.clock.advance(Duration::from_micros(1));
    assert!(!works().await, "and not a moment longer");
    // It can be given again, for good, and the old one is gone.
    let again = bind_for(env, &env.operator, member, 0).await.expect("bound again");
    assert!(again.name != first.name && works().await);
    let gone = env.operator.access().get_binding(pb::GetBindingRequest { name: first.name }).await;
    assert_refused(gone, Code::NotFound, "RESOURCE_NOT_FOUND");
    env.clock.advance(Duration::from_secs(600));
    assert!(works().await);
    let mut past = again.clone();
    past.expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let past = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(past) };
    assert_invalid(env.operator.access().create_binding(past).await, "binding.expire_time");
    // Who owns for a while is not the owner that a tenant must keep.
    let heir = create_user(&env.operator, &world.tenant, "heir@example.com", "roles/reader", &[]).await;
    bind_for(env, &env.operator, ("roles/owner", &heir, &world.tenant), 60).await.expect("bound");
    let suspend = pb::SuspendUserRequest { name: world.owner.clone() };
    let refused = env.operator.identity().suspend_user(suspend).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn nobody_gives_a_role_for_longer_than_they_hold_it(env: &mut Env) {
    let world = World::new(env).await;
    let guest = create_user(&env.operator, &world.tenant, "guest@example.com", "roles/reader", &[]).await;
    bind_for(env, &env.operator, ("roles/admin", &guest, &world.tenant), 3_600).await.expect("bound");
    let guest_admin = env.operator.with_token(Some(&env.user_token(&guest)));
    for seconds in [0, 3_601] {
        let refused = bind_for(env, &guest_admin, ("roles/developer", &guest, &world.workspace), seconds).await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    }
    bind_for(env, &guest_admin, ("roles/developer", &guest, &world.workspace), 3_600).await.expect("as long as theirs");
    // A new user holds their role for good.
    let user = pb::User { email: "twin@example.com".into(), ..pb::User::default() };
    let request = pb::CreateUserRequest {
        parent: world.tenant.clone(),
        user: Some(user),
        role: "roles/admin".into(),
        ..Default::default()
    };
    let refused = guest_admin.identity().create_user(request).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nor does a token outlive what its maker holds.
    let account = create_account(&env.operator, &world.tenant, "robot", Some("roles/admin")).await;
    let token = |ttl_seconds| pb::CreateServiceAccountTokenRequest { name: account.clone(), ttl_seconds };
    guest_admin.identity().create_service_account_token(token(3_600)).await.expect("as long as theirs");
    let refused = guest_admin.identity().create_service_account_token(token(3_601)).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    account_token(&env.operator, &account).await;
}

async fn to_put_somebody_into_a_team_is_to_give_them_its_roles(env: &mut Env) {
    let world = World::new(env).await;
    let admin = create_user(&env.operator, &world.tenant, "ada@example.com", "roles/admin", &[]).await;
    let admin = env.operator.with_token(Some(&env.user_token(&admin)));
    let join = async |email: &str| {
        let user = pb::User { email: email.into(), teams: vec![world.team.clone()], ..pb::User::default() };
        let request = pb::CreateUserRequest { parent: world.tenant.clone(), user: Some(user), ..Default::default() };
        admin.identity().create_user(request).await.map(|_| ())
    };
    join("one@example.com").await.expect("a team without roles");
    bind(&env.operator, &world.tenant, "roles/developer", &world.team, &world.workspace).await;
    join("two@example.com").await.expect("a team with a role that admins can give");
    bind(&env.operator, &world.tenant, "roles/owner", &world.team, &world.tenant).await;
    assert_refused(join("three@example.com").await, Code::PermissionDenied, "PERMISSION_MISSING");
}
