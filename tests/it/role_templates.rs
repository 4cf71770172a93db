//! Role templates: a role, and the limits that come with it.

use std::time::Duration;

use prost_types::FieldMask;
use tollreeve::{
    domain::time::Clock as _,
    pb::tollreeve::v1::{self as pb, AllowlistKind, DenialCode},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{COST, World, account_token, codes, create_account, create_key, create_role, create_user, unique},
};

both!(
    whoever_joins_by_a_template_gets_all_of_it_or_nothing,
    to_apply_a_template_again_changes_what_is_different,
    an_update_of_a_template_leaves_what_it_gave,
    a_key_policy_binds_those_who_make_keys_of_their_own,
    a_purged_tenant_leaves_nothing_of_its_roles,
);

once!(a_template_gives_what_the_caller_could_give_piece_by_piece, templates_that_cannot_be_are_named);

/// An engineer: developer, calls for a thousand nanos a day, two keys that last a day at most.
fn engineer() -> pb::RoleTemplate {
    let budget = pb::BudgetPreset {
        limit: 1_000,
        unit: pb::Unit::UsdNanos.into(),
        window: pb::Window::Day.into(),
        ..pb::BudgetPreset::default()
    };
    let key_policy = pb::KeyPolicy {
        max_keys: 2,
        max_lifetime_seconds: 86_400,
        required_allowlists: vec![AllowlistKind::Models.into()],
    };
    pb::RoleTemplate {
        role: "roles/developer".into(),
        budget: Some(budget),
        key_policy: Some(key_policy),
        ..pb::RoleTemplate::default()
    }
}

async fn create(
    client: &Client,
    tenant: &str,
    id: &str,
    template: pb::RoleTemplate,
) -> Result<pb::RoleTemplate, Status> {
    let request = pb::CreateRoleTemplateRequest {
        parent: tenant.into(),
        role_template_id: id.into(),
        role_template: Some(template),
        ..pb::CreateRoleTemplateRequest::default()
    };
    let answer = client.access().create_role_template(request).await?.into_inner();
    Ok(answer.role_template.expect("a role template"))
}

async fn update(client: &Client, template: pb::RoleTemplate, paths: &[&str]) -> Result<pb::RoleTemplate, Status> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    let request = pb::UpdateRoleTemplateRequest { role_template: Some(template), update_mask, ..Default::default() };
    let answer = client.access().update_role_template(request).await?.into_inner();
    Ok(answer.role_template.expect("a role template"))
}

async fn apply(
    client: &Client,
    name: &str,
    principal: &str,
    scope: &str,
) -> Result<pb::ApplyRoleTemplateResponse, Status> {
    let request = pb::ApplyRoleTemplateRequest {
        name: name.into(),
        principal: principal.into(),
        scope: scope.into(),
        ..pb::ApplyRoleTemplateRequest::default()
    };
    Ok(client.access().apply_role_template(request).await?.into_inner())
}

async fn join(client: &Client, tenant: &str, template: &str) -> Result<String, Status> {
    let user = pb::User { email: format!("{}@example.com", unique("new")), ..pb::User::default() };
    let request = pb::CreateUserRequest {
        parent: tenant.into(),
        user: Some(user),
        template: template.into(),
        ..pb::CreateUserRequest::default()
    };
    Ok(client.identity().create_user(request).await?.into_inner().user.expect("a user").name)
}

/// The newest event: action, resource, and the record after it.
async fn last_event(client: &Client, tenant: &str) -> pb::AuditEvent {
    let list = pb::ListAuditEventsRequest { parent: tenant.into(), page_size: 1, ..Default::default() };
    client.audit().list_audit_events(list).await.expect("a page").into_inner().events.remove(0)
}

async fn budgets_of(client: &Client, tenant: &str, scope: &str) -> Vec<pb::Budget> {
    let list = pb::ListBudgetsRequest { parent: tenant.into(), ..Default::default() };
    let all = client.budgets().list_budgets(list).await.expect("a list").into_inner().budgets;
    all.into_iter().filter(|budget| budget.scope == scope).collect()
}

/// A key of one's own that may call one model, and lasts an hour.
fn own_key(env: &Env, owner: &str) -> pb::Key {
    let ends = env.clock.now().after(Duration::from_hours(1)).micros() / 1_000_000;
    pb::Key {
        owner: owner.into(),
        expire_time: Some(prost_types::Timestamp { seconds: ends, nanos: 0 }),
        allowlist: Some(pb::Allowlist { models: vec!["gpt-4o".into()], ..pb::Allowlist::default() }),
        ..pb::Key::default()
    }
}

async fn make_key(client: &Client, workspace: &str, key: pb::Key) -> Result<String, Status> {
    let request = pb::CreateKeyRequest { parent: workspace.into(), key: Some(key), ..Default::default() };
    Ok(client.keys().create_key(request).await?.into_inner().key.expect("a key").name)
}

async fn whoever_joins_by_a_template_gets_all_of_it_or_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.tenant.as_str();
    let template = create(&env.operator, tenant, "engineer", engineer()).await.expect("a role template");
    assert_eq!((template.display_name.as_str(), template.role.as_str()), ("engineer", "roles/developer"));
    assert_eq!(template.budget.as_ref().and_then(|budget| budget.hard), Some(true));
    let before = last_event(&env.operator, tenant).await.sequence;
    let user = join(&env.operator, tenant, &template.name).await.expect("a user");
    let event = last_event(&env.operator, tenant).await;
    assert_eq!(
        (event.sequence, event.action.as_str(), event.resource.as_str()),
        (before + 1, "users.create", user.as_str())
    );
    for part in [template.name.as_str(), "\"developer\"", "\"limit\":1000", "\"most_keys\":2", "bind_", "bud_"] {
        assert!(event.after.contains(part), "{part} is on record: {}", event.after);
    }
    let own = env.operator.with_token(Some(&env.user_token(&user)));
    let key = create_key(&own, &world.workspace, own_key(env, &user)).await;
    assert!(codes(&world.authorize(world.ask_with(&key.secret)).await).is_empty());
    let dear = pb::AuthorizeRequest { estimate: world.ask_for(1_001 - COST).estimate, ..world.ask_with(&key.secret) };
    assert_eq!(codes(&world.authorize(dear).await), [DenialCode::BudgetExhausted]);
    assert_eq!(budgets_of(&env.operator, tenant, &user).await.len(), 1);
    // A program as well, in one workspace.
    let robot = create_account(&env.operator, tenant, "robot", None).await;
    let given = apply(&env.operator, &template.name, &robot, &world.workspace).await.expect("applied");
    let event = last_event(&env.operator, tenant).await;
    assert_eq!((event.action.as_str(), event.resource.as_str()), ("roleTemplates.apply", robot.as_str()));
    let binding = given.binding.expect("a binding");
    assert_eq!((binding.role.as_str(), binding.scope.as_str()), ("roles/developer", world.workspace.as_str()));
    assert_eq!((given.budget.expect("a budget").scope, given.key_policy), (robot.clone(), engineer().key_policy));
    // All or nothing: somebody with as many budgets as there can be, and a workspace without a seat.
    for _ in 0..16 {
        world.budget(&world.user, pb::Unit::Tokens, pb::Window::Total, 1).await;
    }
    let before = last_event(&env.operator, tenant).await.sequence;
    let refused = apply(&env.operator, &template.name, &world.user, &world.workspace).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let seats = pb::SeatLimit { role: "roles/developer".into(), seats: 0 };
    let seats = pb::UpdateSeatsRequest { name: tenant.into(), limits: vec![seats], ..Default::default() };
    env.operator.access().update_seats(seats).await.expect("set");
    assert_refused(join(&env.operator, tenant, &template.name).await, Code::FailedPrecondition, "SEATS_TAKEN");
    assert_eq!(last_event(&env.operator, tenant).await.sequence, before + 1);
    let list = pb::ListBindingsRequest { parent: tenant.into(), ..Default::default() };
    let bindings = env.operator.access().list_bindings(list).await.expect("a list").into_inner().bindings;
    let of_user = bindings.iter().filter(|binding| binding.member == world.user).count();
    assert_eq!(of_user, 1, "what they had before");
}

async fn to_apply_a_template_again_changes_what_is_different(env: &mut Env) {
    let world = World::new(env).await;
    let (tenant, user) = (world.tenant.as_str(), world.user.as_str());
    let template = create(&env.operator, tenant, "engineer", engineer()).await.expect("a role template");
    let soft = pb::BudgetPreset { hard: Some(false), ..engineer().budget.expect("one") };
    let first = apply(&env.operator, &template.name, user, "").await.expect("applied");
    let again = apply(&env.operator, &template.name, user, "").await.expect("the same");
    assert_eq!((&again.binding, again.revision), (&first.binding, first.revision), "nothing is different");
    let name = |given: &pb::ApplyRoleTemplateResponse| given.budget.as_ref().map(|one| (one.name.clone(), one.limit));
    assert_eq!(name(&again), name(&first));
    // Another limit: of the same budget, at once.
    let wider = pb::BudgetPreset { limit: 5_000, ..engineer().budget.expect("one") };
    let wider = pb::RoleTemplate { name: template.name.clone(), budget: Some(wider), ..pb::RoleTemplate::default() };
    update(&env.operator, wider, &[]).await.expect("changed");
    let third = apply(&env.operator, &template.name, user, "").await.expect("applied");
    assert_eq!(name(&third), name(&first).map(|(name, _)| (name, 5_000)));
    let event = last_event(&env.operator, tenant).await;
    assert!(event.before.contains("\"limit\":1000") && event.after.contains("\"limit\":5000"), "{event:?}");
    // Another kind of budget: a further one.
    let other = pb::RoleTemplate { name: template.name.clone(), budget: Some(soft), ..pb::RoleTemplate::default() };
    update(&env.operator, other, &["budget"]).await.expect("changed");
    let fourth = apply(&env.operator, &template.name, user, "").await.expect("applied");
    assert_ne!(name(&fourth).map(|it| it.0), name(&first).map(|it| it.0));
    // The same request is carried out once.
    let robot = create_account(&env.operator, tenant, "robot", None).await;
    let request = pb::ApplyRoleTemplateRequest {
        name: template.name.clone(),
        principal: robot.clone(),
        request_id: "once".into(),
        ..pb::ApplyRoleTemplateRequest::default()
    };
    let check = pb::ApplyRoleTemplateRequest { validate_only: true, request_id: String::new(), ..request.clone() };
    env.operator.access().apply_role_template(check).await.expect("it could be done");
    assert!(budgets_of(&env.operator, tenant, &robot).await.is_empty(), "nothing was done");
    let one = env.operator.access().apply_role_template(request.clone()).await.expect("applied").into_inner();
    let two = env.operator.access().apply_role_template(request.clone()).await.expect("once").into_inner();
    assert_eq!((one.binding, one.revision), (two.binding.clone(), two.revision));
    let unbind = pb::DeleteBindingRequest { name: two.binding.expect("it").name };
    env.operator.access().delete_binding(unbind).await.expect("taken away");
    let late = env.operator.access().apply_role_template(request).await;
    assert_refused(late, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn an_update_of_a_template_leaves_what_it_gave(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.tenant.as_str();
    let template = create(&env.operator, tenant, "engineer", engineer()).await.expect("a role template");
    let user = join(&env.operator, tenant, &template.name).await.expect("a user");
    let bare = || pb::RoleTemplate { name: template.name.clone(), ..pb::RoleTemplate::default() };
    for path in ["name", "etag", "create_time", "nonsense", "budget.limit", "", "*.x"] {
        assert_invalid(update(&env.operator, bare(), &["description", path]).await, "update_mask");
    }
    assert_invalid(update(&env.operator, bare(), &["role"]).await, "role_template.role");
    let without = update(&env.operator, bare(), &["budget", "key_policy"]).await.expect("changed");
    assert!(without.budget.is_none() && without.key_policy.is_none() && without.role == "roles/developer");
    let stale = pb::RoleTemplate { etag: template.etag.clone(), description: "x".into(), ..bare() };
    assert_refused(update(&env.operator, stale, &[]).await, Code::Aborted, "ETAG_MISMATCH");
    let list = pb::ListRoleTemplatesRequest { parent: tenant.into() };
    let listed = env.operator.access().list_role_templates(list).await.expect("a list").into_inner().role_templates;
    assert_eq!(listed, [without]);
    let delete = pb::DeleteRoleTemplateRequest { name: template.name.clone(), ..Default::default() };
    let stale = pb::DeleteRoleTemplateRequest { etag: template.etag.clone(), ..delete.clone() };
    assert_refused(env.operator.access().delete_role_template(stale).await, Code::Aborted, "ETAG_MISMATCH");
    env.operator.access().delete_role_template(delete).await.expect("deleted");
    assert_refused(join(&env.operator, tenant, &template.name).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    // What it gave stays.
    assert_eq!(budgets_of(&env.operator, tenant, &user).await[0].limit, 1_000);
    let own = env.operator.with_token(Some(&env.user_token(&user)));
    let endless = pb::Key { expire_time: None, ..own_key(env, &user) };
    assert_invalid(make_key(&own, &world.workspace, endless).await, "key.expire_time");
}

async fn a_key_policy_binds_those_who_make_keys_of_their_own(env: &mut Env) {
    let world = World::new(env).await;
    let template = create(&env.operator, &world.tenant, "engineer", engineer()).await.expect("a role template");
    let user = join(&env.operator, &world.tenant, &template.name).await.expect("a user");
    let own = env.operator.with_token(Some(&env.user_token(&user)));
    let good = || own_key(env, &user);
    let ends = env.clock.now().after(Duration::from_secs(86_401)).micros() / 1_000_000;
    let late = Some(prost_types::Timestamp { seconds: ends, nanos: 0 });
    assert_invalid(make_key(&own, &world.workspace, pb::Key { expire_time: late, ..good() }).await, "key.expire_time");
    let open = pb::Key { allowlist: None, ..good() };
    assert_invalid(make_key(&own, &world.workspace, open.clone()).await, "key.allowlist.models");
    let first = make_key(&own, &world.workspace, good()).await.expect("a key");
    make_key(&own, &world.workspace, good()).await.expect("a second one");
    let third = make_key(&own, &world.workspace, good()).await;
    assert_refused(third, Code::FailedPrecondition, "STATE_CONFLICT");
    // Who may make keys for others answers for them.
    make_key(&env.operator, &world.workspace, open).await.expect("an exception");
    let disable = pb::DisableKeyRequest { name: first.clone() };
    own.keys().disable_key(disable).await.expect("disabled");
    let third = make_key(&own, &world.workspace, good()).await;
    assert_refused(third, Code::FailedPrecondition, "STATE_CONFLICT");
    let revoke = pb::RevokeKeyRequest { name: first, reason: String::new() };
    own.keys().revoke_key(revoke).await.expect("revoked");
    let third = make_key(&own, &world.workspace, good()).await;
    assert_refused(third, Code::FailedPrecondition, "STATE_CONFLICT");
    env.clock.advance(Duration::from_hours(1));
    make_key(&own, &world.workspace, own_key(env, &user)).await.expect("the others are at their end");
    // Of two at once that would be one too many, one is made.
    let (one, two) = tokio::join!(
        make_key(&own, &world.workspace, own_key(env, &user)),
        make_key(&own, &world.workspace, own_key(env, &user))
    );
    let refused = if one.is_ok() { two } else { one };
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    // A template with an open policy lifts it.
    let open = pb::RoleTemplate { key_policy: Some(pb::KeyPolicy::default()), ..engineer() };
    let open = create(&env.operator, &world.tenant, "senior", open).await.expect("a role template");
    apply(&env.operator, &open.name, &user, "").await.expect("applied");
    make_key(&own, &world.workspace, pb::Key { owner: user.clone(), ..pb::Key::default() })
        .await
        .expect("as they like");
}

async fn a_template_gives_what_the_caller_could_give_piece_by_piece(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.tenant.as_str();
    let base = [
        "roles:write",
        "roles:read",
        "bindings:write",
        "bindings:read",
        "users:write",
        "models:invoke",
        "tenants:read",
    ];
    let role = create_role(&env.operator, tenant, "people", &base).await;
    let person = create_account(&env.operator, tenant, "person", Some(&role)).await;
    let person = env.operator.with_token(Some(&account_token(&env.operator, &person).await));
    let target = create_user(&env.operator, tenant, "target@example.com", "roles/reader", &[]).await;
    let bare = pb::RoleTemplate { role: role.clone(), ..pb::RoleTemplate::default() };
    let with_budget = pb::RoleTemplate { budget: engineer().budget, ..bare.clone() };
    let with_policy = pb::RoleTemplate { key_policy: engineer().key_policy, ..bare.clone() };
    let one = create(&person, tenant, "bare", bare).await.expect("what they hold");
    apply(&person, &one.name, &target, "").await.expect("what they hold");
    for (id, template) in [("budget", with_budget), ("policy", with_policy)] {
        let refused = create(&person, tenant, id, template.clone()).await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
        let widened = pb::RoleTemplate { name: one.name.clone(), ..template.clone() };
        let refused = update(&person, widened, &[]).await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
        let theirs = create(&env.operator, tenant, id, template).await.expect("an operator may");
        let refused = apply(&person, &theirs.name, &target, "").await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
        assert_refused(join(&person, tenant, &theirs.name).await, Code::PermissionDenied, "PERMISSION_MISSING");
    }
}

async fn templates_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let (tenant, long) = (world.tenant.as_str(), "x".repeat(10_000));
    for id in ["", "x", "Engineer", "еngineer", "a\u{202e}b", "a\n", &long] {
        assert_invalid(create(&env.operator, tenant, id, engineer()).await, "role_template_id");
    }
    let bad = async |template: pb::RoleTemplate, field: &str| {
        assert_invalid(create(&env.operator, tenant, "good", template).await, field);
    };
    bad(pb::RoleTemplate { display_name: long.clone(), ..engineer() }, "role_template.display_name").await;
    bad(pb::RoleTemplate { display_name: "a\0".into(), ..engineer() }, "role_template.display_name").await;
    bad(pb::RoleTemplate { description: long.clone(), ..engineer() }, "role_template.description").await;
    for role in ["", "developer", "roles/dеveloper", &long] {
        bad(pb::RoleTemplate { role: role.into(), ..engineer() }, "role_template.role").await;
    }
    let preset = engineer().budget.expect("one");
    let budgets = [
        ("limit", pb::BudgetPreset { limit: -1, ..preset }),
        ("limit", pb::BudgetPreset { limit: i64::MAX, ..preset }),
        ("unit", pb::BudgetPreset { unit: 0, ..preset }),
        ("window", pb::BudgetPreset { window: 99, ..preset }),
    ];
    for (field, budget) in budgets {
        let template = pb::RoleTemplate { budget: Some(budget), ..engineer() };
        bad(template, &format!("role_template.budget.{field}")).await;
    }
    let policies = [
        ("max_keys", pb::KeyPolicy { max_keys: -1, ..Default::default() }),
        ("max_lifetime_seconds", pb::KeyPolicy { max_lifetime_seconds: i64::MAX, ..Default::default() }),
        ("required_allowlists[0]", pb::KeyPolicy { required_allowlists: vec![0], ..Default::default() }),
        ("required_allowlists[1]", pb::KeyPolicy { required_allowlists: vec![1, 9], ..Default::default() }),
        ("required_allowlists", pb::KeyPolicy { required_allowlists: vec![1; 6], ..Default::default() }),
    ];
    for (field, policy) in policies {
        let template = pb::RoleTemplate { key_policy: Some(policy), ..engineer() };
        bad(template, &format!("role_template.key_policy.{field}")).await;
    }
    let template = create(&env.operator, tenant, "good", engineer()).await.expect("a role template").name;
    for principal in ["", "nobody", &world.team, &long] {
        assert_invalid(apply(&env.operator, &template, principal, "").await, "principal");
    }
    assert_invalid(apply(&env.operator, &template, &world.user, &world.user).await, "scope");
    let user = pb::User { email: "both@example.com".into(), ..pb::User::default() };
    let role = "roles/member".to_owned();
    let both = pb::CreateUserRequest { parent: tenant.into(), user: Some(user), role, template };
    assert_invalid(env.operator.identity().create_user(both).await, "template");
}

async fn a_purged_tenant_leaves_nothing_of_its_roles(env: &mut Env) {
    let world = World::new(env).await;
    let role = create_role(&env.operator, &world.tenant, "reviewer", &["models:invoke"]).await;
    let template = create(&env.operator, &world.tenant, "reviewer", pb::RoleTemplate { role, ..engineer() }).await;
    join(&env.operator, &world.tenant, &template.expect("a role template").name).await.expect("a user");
    let limits = vec![pb::SeatLimit { role: "roles/admin".into(), seats: 2 }];
    let seats = pb::UpdateSeatsRequest { name: world.workspace.clone(), limits, ..Default::default() };
    env.operator.access().update_seats(seats).await.expect("set");
    let books = env.books().await;
    let count = "SELECT (SELECT COUNT(*) FROM roles), (SELECT COUNT(*) FROM role_templates),
         (SELECT COUNT(*) FROM key_policies), (SELECT COUNT(*) FROM seats)";
    assert_eq!(books.rows::<(i64, i64, i64, i64)>(count).await, [(1, 1, 1, 1)]);
    let name = world.tenant.clone();
    let delete = pb::DeleteTenantRequest { name: name.clone(), ..Default::default() };
    env.operator.identity().delete_tenant(delete).await.expect("deleted");
    env.operator.identity().purge_tenant(pb::PurgeTenantRequest { name, ..Default::default() }).await.expect("purged");
    assert_eq!(books.rows::<(i64, i64, i64, i64)>(count).await, [(0, 0, 0, 0)]);
}
