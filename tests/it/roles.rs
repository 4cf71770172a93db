//! Roles: the catalogue of permissions, and the tenants' own roles.

use std::time::Duration;

use prost_types::FieldMask;
use tollreeve::{
    domain::{permission::Permission, time::Clock as _},
    pb::tollreeve::v1::{self as pb, DenialCode},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{World, account_token, bind, codes, create_account, create_role, create_template, create_user, unique},
};

both!(
    a_role_of_the_tenants_own_gives_what_it_says_from_its_acknowledgement_on,
    nobody_makes_a_role_that_may_do_more_than_they_may,
    to_widen_a_role_is_to_give_to_everybody_bound_to_it,
    a_role_in_use_stays,
    a_role_is_deleted_or_bound_and_never_both,
    an_update_changes_what_the_mask_names_and_what_nobody_changed_since,
    an_answer_about_access_speaks_of_the_tenants_own_roles,
);

once!(
    every_permission_is_documented,
    roles_that_cannot_be_are_named,
    what_is_bound_on_the_platform_is_widened_by_those_who_run_it,
);

/// A user with a role on the tenant, as a caller.
async fn caller(env: &Env, world: &World, role: &str) -> (String, Client) {
    let email = format!("{}@example.com", unique("caller"));
    let user = create_user(&env.operator, &world.tenant, &email, role, &[]).await;
    let client = env.operator.with_token(Some(&env.user_token(&user)));
    (user, client)
}

fn texts(permissions: &[&str]) -> Vec<String> {
    permissions.iter().map(|permission| (*permission).to_owned()).collect()
}

/// Gives a role other permissions.
async fn change(client: &Client, name: &str, permissions: &[&str]) -> Result<pb::Role, Status> {
    let role = pb::Role { name: name.into(), permissions: texts(permissions), ..pb::Role::default() };
    let request = pb::UpdateRoleRequest { role: Some(role), ..pb::UpdateRoleRequest::default() };
    Ok(client.access().update_role(request).await?.into_inner().role.expect("a role"))
}

async fn create(client: &Client, tenant: &str, id: &str, permissions: &[&str]) -> Result<pb::Role, Status> {
    let request = pb::CreateRoleRequest {
        parent: tenant.into(),
        role_id: id.into(),
        role: Some(pb::Role { permissions: texts(permissions), ..pb::Role::default() }),
        ..pb::CreateRoleRequest::default()
    };
    Ok(client.access().create_role(request).await?.into_inner().role.expect("a role"))
}

async fn delete(client: &Client, name: &str) -> Result<(), Status> {
    let request = pb::DeleteRoleRequest { name: name.into(), ..pb::DeleteRoleRequest::default() };
    client.access().delete_role(request).await.map(|_| ())
}

/// Binds a role, until a time or for good.
async fn give(
    client: &Client,
    (role, member, scope): (&str, &str, &str),
    expire_time: Option<prost_types::Timestamp>,
) -> Result<pb::Binding, Status> {
    let binding = pb::Binding {
        role: role.into(),
        member: member.into(),
        scope: scope.into(),
        expire_time,
        ..pb::Binding::default()
    };
    let parent = member.split('/').take(2).collect::<Vec<_>>().join("/");
    let request = pb::CreateBindingRequest { parent, binding: Some(binding) };
    Ok(client.access().create_binding(request).await?.into_inner().binding.expect("a binding"))
}

fn forbidden<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_refused(answer, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn every_permission_is_documented(env: &mut Env) {
    let world = World::new(env).await;
    let listed = world.sidecar.access().list_permissions(pb::ListPermissionsRequest {}).await.expect("the catalogue");
    let listed = listed.into_inner().permissions;
    let names: Vec<&str> = listed.iter().map(|permission| permission.name.as_str()).collect();
    assert_eq!(names, Permission::ALL.iter().map(|permission| permission.as_str()).collect::<Vec<_>>());
    assert!(listed.iter().all(|permission| permission.description.len() > 8 && permission.description.ends_with('.')));
    // What every tenant has, everybody may read; the tenant's own, who may.
    let roles = world.sidecar.access().list_roles(pb::ListRolesRequest::default()).await.expect("a list");
    let roles = roles.into_inner().roles;
    assert_eq!((roles.len(), roles[0].name.as_str(), roles[0].display_name.as_str()), (9, "roles/owner", "Owner"));
    let get = pb::GetRoleRequest { name: "roles/billing_manager".into() };
    assert!(world.sidecar.access().get_role(get).await.expect("a role").into_inner().role.expect("it").etag.is_empty());
    let own = create_role(&env.operator, &world.tenant, "reviewer", &["logs:read"]).await;
    let list = pb::ListRolesRequest { parent: world.tenant.clone() };
    forbidden(world.sidecar.access().list_roles(list.clone()).await);
    forbidden(world.sidecar.access().get_role(pb::GetRoleRequest { name: own.clone() }).await);
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let listed = owner.access().list_roles(list).await.expect("a list").into_inner().roles;
    assert_eq!((listed.len(), listed[9].name.as_str(), listed[9].permissions.len()), (10, own.as_str(), 1));
}

async fn a_role_of_the_tenants_own_gives_what_it_says_from_its_acknowledgement_on(env: &mut Env) {
    // A server of its own: this test stops it.
    let env = env.another().await;
    let mut world = World::new(&env).await;
    let role = create_role(&env.operator, &world.tenant, "caller", &["models:invoke", "keys:read"]).await;
    let (user, own) = caller(&env, &world, "roles/billing_manager").await;
    let key = pb::Key { owner: user.clone(), ..pb::Key::default() };
    let key = crate::harness::world::create_key(&env.operator, &world.workspace, key).await;
    let may = async |world: &World, own: &Client| {
        let answer = world.authorize(world.ask_with(&key.secret)).await;
        let list = pb::ListKeysRequest { parent: world.workspace.clone(), ..Default::default() };
        (codes(&answer), own.keys().list_keys(list).await.is_ok())
    };
    let nothing = (vec![DenialCode::PermissionDenied], false);
    assert_eq!(may(&world, &own).await, nothing);
    give(&env.operator, (&role, &user, &world.workspace), None).await.expect("bound");
    assert_eq!(may(&world, &own).await, (vec![], true));
    let answer = world.authorize(world.ask_with(&key.secret)).await;
    assert_eq!(answer.principal.expect("known").roles, ["roles/billing_manager", role.as_str()]);
    // By a team as well.
    give(&env.operator, (&role, &world.team, &world.workspace), None).await.expect("bound");
    change(&env.operator, &role, &["models:invoke"]).await.expect("narrowed");
    assert_eq!(may(&world, &own).await, (vec![], false));
    change(&env.operator, &role, &["keys:read"]).await.expect("changed");
    assert_eq!(may(&world, &own).await, (vec![DenialCode::PermissionDenied], true));
    change(&env.operator, &role, &["keys:read", "models:invoke"]).await.expect("widened");
    assert_eq!(may(&world, &own).await, (vec![], true));
    // And after a restart, from the snapshot.
    let token = env.user_token(&user);
    let env = env.restart().await;
    world.operator = env.operator.clone();
    world.sidecar = env.operator.with_token(Some(&account_token(&env.operator, &world.account).await));
    let own = env.operator.with_token(Some(&token));
    assert_eq!(may(&world, &own).await, (vec![], true));
    change(&env.operator, &role, &["logs:read"]).await.expect("narrowed");
    assert_eq!(may(&world, &own).await, nothing);
    env.end().await;
}

/// What somebody holds who runs people and roles, and nothing else.
const PEOPLE: &[&str] = &[
    "roles:read",
    "roles:write",
    "bindings:read",
    "bindings:write",
    "users:write",
    "users:read",
    "teams:read",
    "tenants:read",
    "models:invoke",
];

async fn nobody_makes_a_role_that_may_do_more_than_they_may(env: &mut Env) {
    let world = World::new(env).await;
    let people = create_role(&env.operator, &world.tenant, "people", PEOPLE).await;
    let (me, mine) = caller(env, &world, &people).await;
    let tenant = world.tenant.as_str();
    create(&mine, tenant, "less", &["models:invoke", "roles:read"]).await.expect("what they hold");
    forbidden(create(&mine, tenant, "more", &["models:invoke", "keys:write"]).await);
    // A role that somebody else made, by every road.
    let strong = create_role(&env.operator, tenant, "strong", &["models:invoke", "keys:write"]).await;
    let template = create_template(&env.operator, tenant, "strong", &strong).await;
    for scope in [tenant, &world.workspace, &world.project] {
        forbidden(give(&mine, (&strong, &me, scope), None).await);
    }
    let join = async |role: &str, template: &str, teams: Vec<String>| {
        let user = pb::User { email: format!("{}@example.com", unique("twin")), teams, ..pb::User::default() };
        let (role, template) = (role.to_owned(), template.to_owned());
        let request = pb::CreateUserRequest { parent: tenant.to_owned(), user: Some(user), role, template };
        mine.identity().create_user(request).await.map(|_| ())
    };
    join(&people, "", vec![]).await.expect("what they hold");
    forbidden(join(&strong, "", vec![]).await);
    forbidden(join("", &template, vec![]).await);
    give(&env.operator, (&strong, &world.team, &world.project), None).await.expect("bound");
    forbidden(join(&people, "", vec![world.team.clone()]).await);
    let apply = pb::ApplyRoleTemplateRequest { name: template, principal: me.clone(), ..Default::default() };
    forbidden(mine.access().apply_role_template(apply).await);
    let make = |role: &str| pb::CreateRoleTemplateRequest {
        parent: tenant.to_owned(),
        role_template_id: unique("mine"),
        role_template: Some(pb::RoleTemplate { role: role.to_owned(), ..pb::RoleTemplate::default() }),
        ..pb::CreateRoleTemplateRequest::default()
    };
    forbidden(mine.access().create_role_template(make(&strong)).await);
    let weak = mine.access().create_role_template(make(&people)).await.expect("what they hold").into_inner();
    let weak = pb::RoleTemplate { role: strong.clone(), ..weak.role_template.expect("it") };
    let update = pb::UpdateRoleTemplateRequest { role_template: Some(weak), ..Default::default() };
    forbidden(mine.access().update_role_template(update).await);
    // What the platform alone holds, an owner cannot give; the platform can.
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    forbidden(create(&owner, tenant, "platform", &["tenants:create"]).await);
    let (_, admin) = caller(env, &world, "roles/admin").await;
    forbidden(create(&admin, tenant, "billing", &["billing:write"]).await);
    create(&owner, tenant, "billing", &["billing:write"]).await.expect("an owner may");
    create(&env.operator, tenant, "platform", &["tenants:suspend"]).await.expect("an operator may");
    forbidden(give(&owner, (&format!("{tenant}/roles/platform"), &me, tenant), None).await);
}

async fn to_widen_a_role_is_to_give_to_everybody_bound_to_it(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.tenant.as_str();
    let people = create_role(&env.operator, tenant, "people", PEOPLE).await;
    let (me, mine) = caller(env, &world, &people).await;
    let wider = [PEOPLE, &["keys:write"]].concat();
    forbidden(change(&mine, &people, &wider).await);
    // Nor somebody else's, nor by taking from those who hold more.
    let strong = create_role(&env.operator, tenant, "strong", &["models:invoke", "keys:write"]).await;
    forbidden(change(&mine, &strong, &["models:invoke"]).await);
    forbidden(change(&mine, &strong, &["models:invoke", "keys:write", "roles:read"]).await);
    let renamed = pb::Role { name: strong.clone(), display_name: "Strong".into(), ..pb::Role::default() };
    let rename = pb::UpdateRoleRequest { role: Some(renamed), ..Default::default() };
    mine.access().update_role(rename).await.expect("a name gives nothing");
    let weak = create(&mine, tenant, "weak", &["models:invoke"]).await.expect("what they hold").name;
    change(&mine, &weak, &["models:invoke", "roles:read"]).await.expect("what they hold");
    // Whoever holds something for a while gives nothing for good.
    let (guest, guests) = caller(env, &world, "roles/reader").await;
    let ends = env.clock.now().after(Duration::from_secs(60)).micros() / 1_000_000;
    let ends = Some(prost_types::Timestamp { seconds: ends, nanos: 0 });
    give(&env.operator, (&people, &guest, tenant), ends).await.expect("bound");
    forbidden(create(&guests, tenant, "mine", &["users:write"]).await);
    forbidden(change(&guests, &weak, &["models:invoke", "roles:read", "users:write"]).await);
    change(&guests, &weak, &["models:invoke"]).await.expect("they may take for as long as they may");
    forbidden(give(&guests, (&people, &world.user, tenant), None).await);
    let template = create_template(&env.operator, tenant, "people", &people).await;
    let apply = pb::ApplyRoleTemplateRequest { name: template.clone(), principal: guest.clone(), ..Default::default() };
    forbidden(guests.access().apply_role_template(apply).await);
    let twin = pb::User { email: "twin@example.com".into(), ..pb::User::default() };
    let twin = pb::CreateUserRequest { parent: tenant.to_owned(), user: Some(twin), template, ..Default::default() };
    forbidden(guests.identity().create_user(twin).await);
    give(&guests, (&people, &world.user, tenant), ends).await.expect("for as long as theirs");
    // What somebody holds in one workspace they give there and nowhere else.
    let (local, locals) = caller(env, &world, "roles/reader").await;
    give(&env.operator, (&people, &local, &world.workspace), None).await.expect("bound");
    forbidden(create(&locals, tenant, "mine", &["models:invoke"]).await);
    forbidden(change(&locals, &weak, &["models:invoke", "roles:read"]).await);
    forbidden(give(&locals, (&people, &local, tenant), None).await);
    give(&locals, (&people, &me, &world.project), None).await.expect("below where they hold it");
    // Whoever was demoted first loses, also by the role itself.
    change(&env.operator, &people, &["tenants:read"]).await.expect("narrowed");
    forbidden(create(&mine, tenant, "late", &["models:invoke"]).await);
}

async fn a_role_in_use_stays(env: &mut Env) {
    let world = World::new(env).await;
    let role = create_role(&env.operator, &world.tenant, "reviewer", &["logs:read"]).await;
    let template = create_template(&env.operator, &world.tenant, "reviewer", &role).await;
    let in_use = async |bindings: &str, templates: &str| {
        let status = delete(&env.operator, &role).await.expect_err("in use");
        let info = status.get_error_details().error_info().cloned().expect("why");
        assert_eq!((status.code(), info.reason.as_str()), (Code::FailedPrecondition, "ROLE_IN_USE"));
        assert_eq!((info.metadata["bindings"].as_str(), info.metadata["templates"].as_str()), (bindings, templates));
        assert_eq!(info.metadata["role"], role);
    };
    let binding = give(&env.operator, (&role, &world.team, &world.project), None).await.expect("bound");
    in_use("1", "1").await;
    let request = pb::DeleteRoleTemplateRequest { name: template, ..Default::default() };
    env.operator.access().delete_role_template(request).await.expect("deleted");
    in_use("1", "0").await;
    let unbind = pb::DeleteBindingRequest { name: binding.name };
    env.operator.access().delete_binding(unbind).await.expect("taken away");
    // One that ends: until it does.
    let ends = env.clock.now().after(Duration::from_secs(60)).micros() / 1_000_000;
    let ends = Some(prost_types::Timestamp { seconds: ends, nanos: 0 });
    let ending = give(&env.operator, (&role, &world.user, &world.project), ends).await.expect("bound");
    in_use("1", "0").await;
    env.clock.advance(Duration::from_secs(60));
    let stale = pb::DeleteRoleRequest { name: role.clone(), etag: "v9".into(), ..Default::default() };
    assert_refused(env.operator.access().delete_role(stale).await, Code::Aborted, "ETAG_MISMATCH");
    delete(&env.operator, &role).await.expect("nobody is bound to it");
    let gone = env.operator.access().get_binding(pb::GetBindingRequest { name: ending.name }).await;
    assert_refused(gone, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_refused(delete(&env.operator, &role).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let late = give(&env.operator, (&role, &world.user, &world.project), None).await;
    assert_refused(late, Code::NotFound, "RESOURCE_NOT_FOUND");
    // Another one of that id is another one.
    create(&env.operator, &world.tenant, "reviewer", &["keys:read"]).await.expect("a new role");
    let ask = pb::ListEffectivePermissionsRequest { resource: world.project.clone(), principal: world.user.clone() };
    let held = env.operator.access().list_effective_permissions(ask).await.expect("a list").into_inner();
    assert!(held.permissions.iter().all(|held| held.permission != "keys:read"));
}

async fn a_role_is_deleted_or_bound_and_never_both(env: &mut Env) {
    let world = World::new(env).await;
    for _ in 0..12 {
        let role = create_role(&env.operator, &world.tenant, &unique("role"), &["logs:read"]).await;
        let bound = give(&env.operator, (&role, &world.user, &world.project), None);
        let (bound, deleted) = tokio::join!(bound, delete(&env.operator, &role));
        match (bound, deleted) {
            (Ok(_), refused) => assert_refused(refused, Code::FailedPrecondition, "ROLE_IN_USE"),
            (refused, Ok(())) => assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND"),
            neither => panic!("one of them is first: {neither:?}"),
        }
    }
    let books = env.books().await;
    let lost =
        "SELECT COUNT(*) FROM bindings WHERE role LIKE 'role!_%' ESCAPE '!' AND role NOT IN (SELECT id FROM roles)";
    let lost: Vec<(i64,)> = books.rows(lost).await;
    assert_eq!(lost, [(0,)]);
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: texts(paths) })
}

async fn an_update_changes_what_the_mask_names_and_what_nobody_changed_since(env: &mut Env) {
    let world = World::new(env).await;
    let name = create_role(&env.operator, &world.tenant, "reviewer", &["logs:read"]).await;
    let update = async |role: pb::Role, update_mask, request_id: &str, validate_only| {
        let role = Some(pb::Role { name: name.clone(), ..role });
        let request = pb::UpdateRoleRequest { role, update_mask, request_id: request_id.to_owned(), validate_only };
        Ok::<_, Status>(env.operator.access().update_role(request).await?.into_inner().role.expect("a role"))
    };
    let wanted = || pb::Role {
        display_name: "Reviewer".into(),
        description: "Reads".into(),
        permissions: texts(&["keys:read", "logs:read", "keys:read"]),
        ..pb::Role::default()
    };
    let one = update(wanted(), mask(&["description"]), "", false).await.expect("changed");
    assert_eq!((one.display_name.as_str(), one.description.as_str(), one.permissions.len()), ("reviewer", "Reads", 1));
    let all = update(wanted(), mask(&["*"]), "once", false).await.expect("changed");
    assert_eq!((all.display_name.as_str(), all.permissions), ("Reviewer", texts(&["logs:read", "keys:read"])));
    for path in ["name", "etag", "create_time", "nonsense", "permissions.x", "", "*.x"] {
        assert_invalid(update(wanted(), mask(&["description", path]), "", false).await, "update_mask");
    }
    assert_invalid(update(pb::Role::default(), mask(&["permissions"]), "", false).await, "role.permissions");
    let again = update(wanted(), mask(&["*"]), "once", false).await.expect("the same");
    assert_eq!(again.etag, all.etag);
    let other = update(pb::Role { description: "x".into(), ..wanted() }, mask(&["*"]), "once", false).await;
    assert_refused(other, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    let etag = |etag: &str| pb::Role { etag: etag.into(), display_name: unique("Name"), ..pb::Role::default() };
    assert_refused(update(etag(&one.etag), None, "", false).await, Code::Aborted, "ETAG_MISMATCH");
    update(etag(&all.etag), None, "", true).await.expect("it could be done");
    // Of two who have read the same, one changes it.
    let (first, second) =
        tokio::join!(update(etag(&all.etag), None, "", false), update(etag(&all.etag), None, "", false));
    let late = if first.is_ok() { second } else { first };
    assert_refused(late, Code::Aborted, "ETAG_MISMATCH");
    let again = create(&env.operator, &world.tenant, "reviewer", &["logs:read"]).await;
    assert_refused(again, Code::AlreadyExists, "RESOURCE_EXISTS");
}

async fn an_answer_about_access_speaks_of_the_tenants_own_roles(env: &mut Env) {
    let world = World::new(env).await;
    let rotator = create_role(&env.operator, &world.tenant, "rotator", &["keys:rotate"]).await;
    let giver = create_role(&env.operator, &world.tenant, "giver", &["keys:rotate", "bindings:write"]).await;
    let (granter, granters) = caller(env, &world, &giver).await;
    let ask = async || {
        let question = pb::AccessQuestion {
            resource: world.workspace.clone(),
            permission: "keys:rotate".into(),
            principal: world.user.clone(),
        };
        let request = pb::CheckAccessRequest { question: Some(question) };
        env.operator.access().check_access(request).await.expect("an answer").into_inner().answer.expect("an answer")
    };
    let answer = ask().await;
    assert!(!answer.allowed);
    assert_eq!(answer.roles, [rotator.clone(), giver, "roles/admin".into(), "roles/owner".into()]);
    assert_eq!(answer.granters, [world.owner.clone(), granter]);
    give(&granters, (&rotator, &world.user, &world.workspace), None).await.expect("whoever is named can");
    let answer = ask().await;
    assert!(answer.allowed && answer.grants[0].role == rotator, "{answer:?}");
    assert!(answer.explanation.contains(&rotator));
}

async fn roles_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let (tenant, long) = (world.tenant.as_str(), "x".repeat(10_000));
    for id in ["", "x", "Admin", "admin", "owner", "billing-manager", "аdmin", "a\u{200b}b", "ab\n", "a_b", &long] {
        assert_invalid(create(&env.operator, tenant, id, &["logs:read"]).await, "role_id");
    }
    for permission in ["", "logs", "logs:Read", "lоgs:read", "logs:read ", "*", "logs:*", "logs:read\0", &long] {
        let refused = create(&env.operator, tenant, "reviewer", &["keys:read", permission]).await;
        assert_invalid(refused, "role.permissions[1]");
    }
    assert_invalid(create(&env.operator, tenant, "reviewer", &[]).await, "role.permissions");
    assert_invalid(create(&env.operator, tenant, "reviewer", &["logs:read"; 1000]).await, "role.permissions");
    let described = async |display_name: &str, description: &str| {
        let (display_name, description) = (display_name.to_owned(), description.to_owned());
        let role = pb::Role { display_name, description, permissions: texts(&["logs:read"]), ..pb::Role::default() };
        let (parent, role_id) = (tenant.to_owned(), unique("role"));
        let request = pb::CreateRoleRequest { parent, role_id, role: Some(role), ..Default::default() };
        env.operator.access().create_role(request).await
    };
    for bad in [long.as_str(), "a\0", "a\u{7f}", "a\nb", "ad\u{200b}min", "a\u{202e}b", "\u{feff}a"] {
        assert_invalid(described(bad, "").await, "role.display_name");
        assert_invalid(described("", bad).await, "role.description");
    }
    // A name for people is a text like any other: what it looks like gives nothing.
    let looks = described("Аdmin", "").await.expect("a role").into_inner().role.expect("a role");
    assert_eq!((looks.display_name.as_str(), looks.permissions.len()), ("Аdmin", 1));
    for role in ["roles/nobody", "roles/", "admin", "tenants/acme/roles/Admin", "roles/аdmin", "tenants/acme/roles/x/y"]
    {
        assert_invalid(give(&env.operator, (role, &world.user, tenant), None).await, "binding.role");
    }
    // What every tenant has, nobody changes.
    assert_invalid(change(&env.operator, "roles/reader", &["logs:read"]).await, "role.name");
    assert_invalid(delete(&env.operator, "roles/reader").await, "name");
    for n in 0..99 {
        create_role(&env.operator, tenant, &format!("role-{n}"), &["logs:read"]).await;
    }
    let refused = create(&env.operator, tenant, "one-too-many", &["logs:read"]).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn what_is_bound_on_the_platform_is_widened_by_those_who_run_it(env: &mut Env) {
    World::new(env).await;
    let system = "tenants/system";
    let support = create_role(&env.operator, system, "support", &["tenants:read"]).await;
    let helper = create_account(&env.operator, system, "helper", None).await;
    let chief = create_account(&env.operator, system, "chief", Some("roles/owner")).await;
    let chief = env.operator.with_token(Some(&account_token(&env.operator, &chief).await));
    change(&chief, &support, &["tenants:read", "users:read"]).await.expect("nobody is bound to it on the platform");
    change(&env.operator, &support, &["tenants:read"]).await.expect("back");
    bind(&env.operator, system, &support, &helper, "platform").await;
    let helper = env.operator.with_token(Some(&account_token(&env.operator, &helper).await));
    let get = |name: &str| pb::GetTenantRequest { name: name.into() };
    helper.identity().get_tenant(get("tenants/acme")).await.expect("on the platform, so in every tenant");
    // An owner of the system tenant holds this there, and not in every tenant.
    forbidden(change(&chief, &support, &["tenants:read", "users:read"]).await);
    change(&env.operator, &support, &["users:read"]).await.expect("an operator may");
    forbidden(helper.identity().get_tenant(get("tenants/acme")).await);
}
