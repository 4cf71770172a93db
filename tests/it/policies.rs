//! What a workspace lays down holds for what is made in it.

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::{
    harness::{
        both,
        client::{Client, assert_invalid, assert_refused},
        server::Env,
        world::{World, account_token, bind, codes, create_account, create_key, token_of},
    },
    invitations::{self, to},
    teams,
};

both!(
    policies_are_laid_down_read_and_changed_field_by_field_on_record,
    a_new_project_begins_with_the_budget_that_the_workspace_lays_down,
    a_binding_without_a_role_gives_the_default_of_its_workspace,
    an_invitation_without_role_and_teams_gives_what_its_workspace_lays_down,
    teams_that_a_workspace_invites_into_are_looked_for_when_they_are_named_and_when_they_are_needed,
    an_environment_is_checked_and_stays,
);

fn terms(limit: i64) -> pb::BudgetTerms {
    pb::BudgetTerms { unit: pb::Unit::UsdNanos.into(), window: pb::Window::Month.into(), limit, hard: None }
}

fn spending(project_budget: Option<pb::BudgetTerms>, project_budget_required: bool) -> pb::WorkspacePolicies {
    let spending = Some(pb::SpendingPolicy { project_budget, project_budget_required, ..Default::default() });
    pb::WorkspacePolicies { spending, ..Default::default() }
}

async fn lay_down(
    client: &Client,
    name: &str,
    policies: pb::WorkspacePolicies,
    mask: &[&str],
) -> Result<pb::WorkspacePolicies, Status> {
    let workspace = pb::Workspace { name: name.into(), policies: Some(policies), ..Default::default() };
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!mask.is_empty()).then_some(prost_types::FieldMask { paths });
    let request = pb::UpdateWorkspaceRequest { workspace: Some(workspace), update_mask, ..Default::default() };
    let answer = client.identity().update_workspace(request).await?.into_inner();
    Ok(answer.workspace.expect("a workspace").policies.expect("policies"))
}

async fn create(client: &Client, workspace: &str, id: &str, budget: Option<pb::BudgetTerms>) -> Result<i64, Status> {
    let request =
        pb::CreateProjectRequest { parent: workspace.into(), project_id: id.into(), budget, ..Default::default() };
    Ok(client.identity().create_project(request).await?.into_inner().revision)
}

async fn budgets(world: &World, project: &str) -> Vec<(pb::Unit, pb::Window, i64, bool)> {
    let request = pb::ListBudgetsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let budgets = world.operator.budgets().list_budgets(request).await.expect("a list").into_inner().budgets;
    let scope = format!("{}/projects/{project}", world.workspace);
    let on = budgets.into_iter().filter(|budget| budget.scope == scope);
    on.map(|budget| (budget.unit(), budget.window(), budget.limit, budget.hard.unwrap_or_default())).collect()
}

async fn last_event(env: &Env, world: &World) -> pb::AuditEvent {
    let request = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let mut events = env.operator.audit().list_audit_events(request).await.expect("a list").into_inner().events;
    events.sort_by_key(|event| event.name.rsplit('/').next().and_then(|seq| seq.parse::<i64>().ok()));
    events.pop().expect("an event")
}

async fn policies_are_laid_down_read_and_changed_field_by_field_on_record(env: &mut Env) {
    let world = World::new(env).await;
    let get = async || {
        let request = pb::GetWorkspaceRequest { name: world.workspace.clone() };
        let workspace =
            env.operator.identity().get_workspace(request).await.expect("it is there").into_inner().workspace;
        workspace.expect("a workspace").policies.expect("policies")
    };
    let fresh = get().await;
    assert_eq!(fresh.keys_on_removal(), pb::KeysOnRemoval::Revoke);
    assert_eq!((fresh.default_role.as_str(), fresh.spending), ("", Some(pb::SpendingPolicy::default())));
    let all = pb::WorkspacePolicies {
        default_role: "roles/member".into(),
        keys_on_removal: pb::KeysOnRemoval::KeepDisabled.into(),
        ..spending(Some(terms(5)), true)
    };
    let after = lay_down(&env.operator, &world.workspace, all.clone(), &[]).await.expect("laid down");
    assert_eq!(
        after.spending.expect("spending").project_budget,
        Some(pb::BudgetTerms { hard: Some(true), ..terms(5) })
    );
    assert_eq!(get().await, after);
    let event = last_event(env, &world).await;
    assert_eq!(event.action, "workspaces.update");
    assert!(
        !event.before.contains("keep_disabled") && event.after.contains("\"keys_on_removal\":\"keep_disabled\""),
        "{event:?}"
    );
    // Only what the mask names; a message for all that is in it.
    let none = pb::WorkspacePolicies::default();
    let after = lay_down(&env.operator, &world.workspace, none.clone(), &["policies.spending.project_budget"]).await;
    let after = after.expect("changed");
    assert_eq!(after.spending, spending(None, true).spending);
    assert_eq!(after.default_role, "roles/member");
    let after = lay_down(&env.operator, &world.workspace, none.clone(), &["policies.spending"]).await.expect("changed");
    assert_eq!((after.spending, after.default_role.as_str()), (Some(pb::SpendingPolicy::default()), "roles/member"));
    assert_eq!(lay_down(&env.operator, &world.workspace, none.clone(), &["policies"]).await.expect("changed"), fresh);
    for (bad, field) in [
        (spending(Some(terms(-1)), false), "workspace.policies.spending.project_budget.limit"),
        (
            spending(Some(pb::BudgetTerms { unit: 0, ..terms(1) }), false),
            "workspace.policies.spending.project_budget.unit",
        ),
        (
            spending(Some(pb::BudgetTerms { window: 99, ..terms(1) }), false),
            "workspace.policies.spending.project_budget.window",
        ),
        (
            pb::WorkspacePolicies { default_role: "roles/tsar".into(), ..none.clone() },
            "workspace.policies.default_role",
        ),
        (pb::WorkspacePolicies { keys_on_removal: 9, ..none.clone() }, "workspace.policies.keys_on_removal"),
    ] {
        assert_invalid(lay_down(&env.operator, &world.workspace, bad, &["policies"]).await, field);
    }
    for path in ["policies.key", "policies.spendin", "policies.spending.", "environment"] {
        assert_invalid(lay_down(&env.operator, &world.workspace, none.clone(), &[path]).await, "update_mask");
    }
    assert_eq!(get().await, fresh);
    let developer = env.operator.with_token(Some(&env.user_token(&world.user)));
    assert_refused(
        lay_down(&developer, &world.workspace, all, &[]).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
}

async fn a_new_project_begins_with_the_budget_that_the_workspace_lays_down(env: &mut Env) {
    let world = World::new(env).await;
    create(&env.operator, &world.workspace, "free", None).await.expect("no policy yet");
    assert_eq!(budgets(&world, "free").await, []);
    lay_down(&env.operator, &world.workspace, spending(None, true), &["policies.spending"]).await.expect("laid down");
    let refused = create(&env.operator, &world.workspace, "lost", None).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let request = pb::GetProjectRequest { name: format!("{}/projects/lost", world.workspace) };
    assert_refused(env.operator.identity().get_project(request).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let usd = |limit, hard| (pb::Unit::UsdNanos, pb::Window::Month, limit, hard);
    create(&env.operator, &world.workspace, "own", Some(terms(7))).await.expect("it has one of its own");
    assert_eq!(budgets(&world, "own").await, [usd(7, true)]);
    lay_down(&env.operator, &world.workspace, spending(Some(terms(500)), true), &["policies.spending"])
        .await
        .expect("laid down");
    create(&env.operator, &world.workspace, "usual", None).await.expect("with the usual budget");
    assert_eq!(budgets(&world, "usual").await, [usd(500, true)]);
    let event = last_event(env, &world).await;
    assert_eq!(event.action, "projects.create");
    assert!(event.after.contains("\"budget\":{") && event.after.contains("\"limit\":500"), "{event:?}");
    // It binds the first call that is tagged with the project: a call costs 300.
    let key = pb::Key {
        project: format!("{}/projects/usual", world.workspace),
        owner: world.user.clone(),
        ..Default::default()
    };
    let key = create_key(&env.operator, &world.workspace, key).await;
    world.hold(world.ask_with(&key.secret)).await;
    assert_eq!(codes(&world.authorize(world.ask_with(&key.secret)).await), [DenialCode::BudgetExhausted]);
    // Nothing is made when it is only looked at.
    let request = pb::CreateProjectRequest {
        parent: world.workspace.clone(),
        project_id: "dry".into(),
        validate_only: true,
        ..Default::default()
    };
    env.operator.identity().create_project(request).await.expect("it could be");
    assert_eq!(budgets(&world, "dry").await, []);
    assert_invalid(create(&env.operator, &world.workspace, "bad", Some(terms(-5))).await, "budget.limit");
    assert_eq!(budgets(&world, "free").await, [], "what was there keeps what it had");
}

async fn a_binding_without_a_role_gives_the_default_of_its_workspace(env: &mut Env) {
    let world = World::new(env).await;
    let ask = async |client: &Client, scope: &str| {
        let binding = pb::Binding { member: world.user.clone(), scope: scope.into(), ..Default::default() };
        let request = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(binding) };
        let answer = client.access().create_binding(request).await?.into_inner();
        Ok::<_, Status>(answer.binding.expect("a binding").role)
    };
    assert_invalid(ask(&env.operator, &world.workspace).await, "binding.role");
    let policies = pb::WorkspacePolicies { default_role: "roles/analyst".into(), ..Default::default() };
    lay_down(&env.operator, &world.workspace, policies, &[]).await.expect("laid down");
    assert_eq!(ask(&env.operator, &world.workspace).await.expect("bound"), "roles/analyst");
    for elsewhere in [&world.tenant, &world.project] {
        assert_invalid(ask(&env.operator, elsewhere).await, "binding.role");
    }
    // Whoever binds must hold it all the same.
    let policies = pb::WorkspacePolicies { default_role: "roles/owner".into(), ..Default::default() };
    lay_down(&env.operator, &world.workspace, policies, &[]).await.expect("laid down");
    let admin = create_account(&env.operator, &world.tenant, "admin", Some("roles/admin")).await;
    let admin = env.operator.with_token(Some(&account_token(&env.operator, &admin).await));
    assert_refused(ask(&admin, &world.workspace).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    assert_eq!(ask(&owner, &world.workspace).await.expect("an owner holds it"), "roles/owner");
}

fn inviting(default_role: &str, teams: &[&String]) -> pb::WorkspacePolicies {
    let invitation_teams = teams.iter().map(|team| (*team).clone()).collect();
    pb::WorkspacePolicies { default_role: default_role.into(), invitation_teams, ..Default::default() }
}

async fn an_invitation_without_role_and_teams_gives_what_its_workspace_lays_down(env: &mut Env) {
    let world = World::new(env).await;
    let ops = teams::create(&env.operator, &world.tenant, "ops", None).await.expect("a team").name;
    let mut number = 0;
    let mut invite = async |client: &Client, role: &str, teams: &[&String], workspace: &str| {
        number += 1;
        let teams = teams.iter().map(|team| (*team).clone()).collect();
        let (role, workspace) = (role.into(), workspace.into());
        let invitation = pb::Invitation { role, teams, workspace, ..to(&format!("n{number}@example.com")) };
        invitations::create(client, &world.tenant, invitation).await
    };
    let given = |made: pb::Invitation| (made.role, made.teams);
    let both =
        |role: &str, teams: &[&String]| (role.to_owned(), teams.iter().map(|team| (*team).clone()).collect::<Vec<_>>());
    let here = world.workspace.as_str();
    assert_eq!(given(invite(&env.operator, "", &[], here).await.expect("invited")), both("roles/member", &[]));
    lay_down(&env.operator, here, inviting("roles/analyst", &[&world.team, &ops]), &[]).await.expect("laid down");
    let made = invite(&env.operator, "", &[], here).await.expect("invited");
    assert_eq!(given(made.clone()), both("roles/analyst", &[&world.team, &ops]));
    let joined = invitations::accept(&env.operator, &token_of(&made)).await.expect("accepted");
    assert_eq!(joined.teams, [world.team.clone(), ops.clone()]);
    let list = pb::ListBindingsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let bindings = env.operator.access().list_bindings(list).await.expect("a list").into_inner().bindings;
    let theirs: Vec<_> = bindings.iter().filter(|one| one.member == joined.name).collect();
    assert_eq!(theirs.len(), 1);
    assert_eq!((theirs[0].role.as_str(), theirs[0].scope.as_str()), ("roles/analyst", here));
    // What is named counts, each by itself.
    let made = invite(&env.operator, "roles/reader", &[], here).await.expect("invited");
    assert_eq!(given(made), both("roles/reader", &[&world.team, &ops]));
    let made = invite(&env.operator, "", &[&ops], here).await.expect("invited");
    assert_eq!(given(made), both("roles/analyst", &[&ops]));
    // On the whole tenant, nothing is laid down.
    assert_eq!(given(invite(&env.operator, "", &[], "").await.expect("invited")), both("roles/member", &[]));
    // Whoever invites must hold it all the same.
    let admin = create_account(&env.operator, &world.tenant, "admin", Some("roles/admin")).await;
    let admin = env.operator.with_token(Some(&account_token(&env.operator, &admin).await));
    invite(&admin, "", &[], here).await.expect("an admin holds that");
    lay_down(&env.operator, here, inviting("roles/owner", &[]), &["policies.default_role"]).await.expect("laid down");
    assert_refused(invite(&admin, "", &[], here).await, Code::PermissionDenied, "PERMISSION_MISSING");
    invite(&admin, "roles/analyst", &[], here).await.expect("they name another");
    bind(&env.operator, &world.tenant, "roles/owner", &ops, &world.tenant).await;
    assert_refused(invite(&admin, "roles/analyst", &[], here).await, Code::PermissionDenied, "PERMISSION_MISSING");
    invite(&admin, "roles/analyst", &[&world.team], here).await.expect("they name another");
}

async fn teams_that_a_workspace_invites_into_are_looked_for_when_they_are_named_and_when_they_are_needed(
    env: &mut Env,
) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let ops = teams::create(&env.operator, &world.tenant, "ops", None).await.expect("a team").name;
    let here = world.workspace.as_str();
    let mask = &["policies.invitation_teams"];
    for nobody in [&world.team.replace("core", "nobody"), &other.team] {
        let refused = lay_down(&env.operator, here, inviting("", &[nobody]), mask).await;
        assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    let refused = lay_down(&env.operator, here, inviting("", &[&ops, &"ops".to_owned()]), mask).await;
    assert_invalid(refused, "workspace.policies.invitation_teams[1]");
    let refused = lay_down(&env.operator, here, inviting("", &[&ops; 17]), mask).await;
    assert_invalid(refused, "workspace.policies.invitation_teams");
    let after = lay_down(&env.operator, here, inviting("", &[&ops]), mask).await.expect("laid down");
    assert_eq!(after.invitation_teams, std::slice::from_ref(&ops));
    let event = last_event(env, &world).await;
    assert!(event.after.contains("\"invitation_teams\":[\"tenants/acme/teams/ops\"]"), "{event:?}");
    // What else is changed leaves them alone, and so does what is there no more.
    let request = pb::DeleteTeamRequest { name: ops.clone(), ..Default::default() };
    env.operator.identity().delete_team(request).await.expect("deleted");
    let after = lay_down(&env.operator, here, inviting("roles/reader", &[]), &["policies.default_role"]).await;
    assert_eq!(after.expect("changed").invitation_teams, std::slice::from_ref(&ops));
    let invite = async |email: &str, teams: Vec<String>| {
        let invitation = pb::Invitation { workspace: here.into(), teams, ..to(email) };
        invitations::create(&env.operator, &world.tenant, invitation).await
    };
    let refused = invite("a@example.com", vec![]).await.expect_err("it is gone");
    assert!(refused.message().contains(&format!("{here} invites into {ops}")), "{refused:?}");
    assert_refused(Err::<(), _>(refused), Code::FailedPrecondition, "STATE_CONFLICT");
    invite("a@example.com", vec![world.team.clone()]).await.expect("another one is named");
    lay_down(&env.operator, here, inviting("", &[]), mask).await.expect("none any more");
    let made = invite("b@example.com", vec![]).await.expect("invited");
    assert_eq!((made.teams.as_slice(), made.role.as_str()), (&[][..], "roles/reader"));
}

async fn an_environment_is_checked_and_stays(env: &mut Env) {
    let world = World::new(env).await;
    let create = async |id: &str, environment: &str| {
        let request = pb::CreateWorkspaceRequest {
            parent: world.tenant.clone(),
            workspace_id: id.into(),
            workspace: Some(pb::Workspace { environment: environment.into(), ..Default::default() }),
            ..Default::default()
        };
        Ok::<_, Status>(env.operator.identity().create_workspace(request).await?.into_inner().workspace.expect("one"))
    };
    for bad in ["", "Production", "red team", "x", "-red", "red-", "prod", "stg", "d-ev", "größe"] {
        assert_invalid(create("bad", bad).await, "workspace.environment");
    }
    for (n, (environment, prefix)) in [
        ("development", "dev"),
        ("staging", "stg"),
        ("production", "prod"),
        ("red-team-7-east", "redteam7"),
        ("qa", "qa"),
    ]
    .into_iter()
    .enumerate()
    {
        let made = create(&format!("ws-{n}"), environment).await.expect(environment);
        assert_eq!((made.environment.as_str(), made.key_prefix.as_str()), (environment, prefix));
        let key = pb::Key { owner: world.user.clone(), ..Default::default() };
        let key = create_key(&env.operator, &made.name, key).await;
        assert!(key.secret.starts_with(&format!("{prefix}_tr_")), "{}", key.name);
    }
    let workspace =
        pb::Workspace { name: world.workspace.clone(), environment: "staging".into(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["environment".into()] });
    let request = pb::UpdateWorkspaceRequest { workspace: Some(workspace), update_mask, ..Default::default() };
    assert_invalid(env.operator.identity().update_workspace(request).await, "update_mask");
}
