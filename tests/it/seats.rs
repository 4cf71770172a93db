//! Seats: how many may hold a role in a workspace.

use std::time::Duration;

use tollreeve::{
    domain::time::Clock as _,
    pb::tollreeve::v1::{self as pb},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{World, bind, create_account, create_role, create_template, create_user, create_workspace, unique},
};

both!(
    a_workspace_has_five_admins_and_three_billing_managers,
    of_many_who_want_the_last_seat_one_gets_it,
    a_team_takes_a_seat_for_each_of_its_members,
    seats_are_set_for_a_tenant_and_for_a_workspace,
);

once!(a_seat_is_free_when_a_role_ends, seats_that_cannot_be_are_named);

/// A role that a user of their own is to be given on a scope.
async fn seat(env: &Env, world: &World, role: &str, scope: &str) -> Result<String, Status> {
    let email = format!("{}@example.com", unique("sitter"));
    let user = create_user(&env.operator, &world.tenant, &email, "roles/reader", &[]).await;
    give(&env.operator, role, &user, scope).await.map(|()| user)
}

async fn give(client: &Client, role: &str, member: &str, scope: &str) -> Result<(), Status> {
    let binding =
        pb::Binding { role: role.into(), member: member.into(), scope: scope.into(), ..pb::Binding::default() };
    let parent = member.split('/').take(2).collect::<Vec<_>>().join("/");
    let request = pb::CreateBindingRequest { parent, binding: Some(binding) };
    client.access().create_binding(request).await.map(|_| ())
}

/// Insists that it was refused for want of seats: of which role, where, how many there are, and how many are taken.
#[track_caller]
fn assert_full<T: std::fmt::Debug>(answer: Result<T, Status>, role: &str, scope: &str, seats: &str, taken: &str) {
    let status = answer.expect_err("there is no seat");
    let info = status.get_error_details().error_info().cloned().expect("why");
    assert_eq!((status.code(), info.reason.as_str()), (Code::FailedPrecondition, "SEATS_TAKEN"), "{status:?}");
    let told = ["role", "scope", "seats", "taken"].map(|key| info.metadata[key].as_str());
    assert_eq!(told, [role, scope, seats, taken]);
}

async fn set(client: &Client, name: &str, limits: &[(&str, i64)]) -> Result<pb::Seats, Status> {
    let limit = |(role, seats): &(&str, i64)| pb::SeatLimit { role: (*role).to_owned(), seats: *seats };
    let limits = limits.iter().map(limit).collect();
    let request = pb::UpdateSeatsRequest { name: name.into(), limits, ..pb::UpdateSeatsRequest::default() };
    Ok(client.access().update_seats(request).await?.into_inner().seats.expect("seats"))
}

async fn counts(client: &Client, name: &str) -> Vec<(String, i64, i64)> {
    let request = pb::GetSeatsRequest { name: name.into() };
    let seats = client.access().get_seats(request).await.expect("seats").into_inner().seats.expect("seats");
    seats.counts.into_iter().map(|count| (count.role, count.seats, count.taken)).collect()
}

fn counted(role: &str, seats: i64, taken: i64) -> (String, i64, i64) {
    (role.to_owned(), seats, taken)
}

async fn a_workspace_has_five_admins_and_three_billing_managers(env: &mut Env) {
    let world = World::new(env).await;
    let other = create_workspace(&env.operator, &world.tenant, "lab", "development").await;
    let (admin, billing) = ("roles/admin", "roles/billing_manager");
    for _ in 0..3 {
        seat(env, &world, billing, &world.workspace).await.expect("a seat");
        seat(env, &world, admin, &world.workspace).await.expect("a seat");
    }
    assert_full(seat(env, &world, billing, &world.workspace).await, billing, &world.workspace, "3", "3");
    seat(env, &world, billing, &other).await.expect("each workspace has its own");
    // Whoever holds a role on the whole tenant holds it in every workspace.
    seat(env, &world, admin, &world.tenant).await.expect("a seat");
    let everywhere = seat(env, &world, admin, &world.tenant).await.expect("a seat");
    assert_full(seat(env, &world, admin, &world.workspace).await, admin, &world.workspace, "5", "5");
    assert_full(seat(env, &world, admin, &world.tenant).await, admin, &world.workspace, "5", "5");
    let new = pb::User { email: "late@example.com".into(), ..pb::User::default() };
    let new = pb::CreateUserRequest {
        parent: world.tenant.clone(),
        user: Some(new),
        role: admin.into(),
        ..pb::CreateUserRequest::default()
    };
    assert_full(env.operator.identity().create_user(new).await, admin, &world.workspace, "5", "5");
    // Whoever has a seat there takes no other one.
    give(&env.operator, admin, &everywhere, &world.workspace).await.expect("they hold it there already");
    assert_eq!(counts(&env.operator, &world.workspace).await, [counted(admin, 5, 5), counted(billing, 3, 3)]);
    assert_eq!(counts(&env.operator, &other).await, [counted(admin, 5, 2), counted(billing, 3, 1)]);
    assert_eq!(counts(&env.operator, &world.tenant).await, [counted(admin, 5, 2), counted(billing, 3, 0)]);
    // On a project they take none, and of other roles there are as many as anybody wants.
    seat(env, &world, admin, &world.project).await.expect("no seat is needed");
    for _ in 0..6 {
        seat(env, &world, "roles/developer", &world.workspace).await.expect("as many as anybody wants");
    }
}

async fn of_many_who_want_the_last_seat_one_gets_it(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.tenant.as_str();
    let role = create_role(&env.operator, tenant, "pilot", &["models:invoke"]).await;
    let template = create_template(&env.operator, tenant, "pilot", &role).await;
    for round in 1..=4 {
        set(&env.operator, tenant, &[(&role, round)]).await.expect("set");
        let calls: Vec<_> = (0..9)
            .map(|n| {
                let (client, tenant, role, template) =
                    (env.operator.clone(), tenant.to_owned(), role.clone(), template.clone());
                let (workspace, project) = (world.workspace.clone(), world.tenant.clone());
                tokio::spawn(async move {
                    let email = format!("{}@example.com", unique("pilot"));
                    if n % 3 == 0 {
                        let user = pb::User { email, ..pb::User::default() };
                        let request =
                            pb::CreateUserRequest { parent: tenant, user: Some(user), role, ..Default::default() };
                        return client.identity().create_user(request).await.map(|_| ());
                    }
                    let user = create_user(&client, &tenant, &email, "roles/reader", &[]).await;
                    if n % 3 == 1 {
                        return give(&client, &role, &user, if n == 1 { &workspace } else { &project }).await;
                    }
                    let apply = pb::ApplyRoleTemplateRequest { name: template, principal: user, ..Default::default() };
                    client.access().apply_role_template(apply).await.map(|_| ())
                })
            })
            .collect();
        let mut seated = 0;
        for call in calls {
            match call.await.expect("no panic") {
                Ok(()) => seated += 1,
                refused => assert_refused(refused, Code::FailedPrecondition, "SEATS_TAKEN"),
            }
        }
        assert_eq!(seated, 1, "round {round}");
        assert_eq!(counts(&env.operator, &world.workspace).await[2], counted(&role, round, round));
    }
}

async fn a_team_takes_a_seat_for_each_of_its_members(env: &mut Env) {
    let world = World::new(env).await;
    let (admin, team) = ("roles/admin", world.team.as_str());
    for n in 0..4 {
        create_user(&env.operator, &world.tenant, &format!("m{n}@example.com"), "roles/reader", &[team]).await;
    }
    // The team has five members, the world's own user among them, who is admin already.
    give(&env.operator, admin, &world.user, &world.workspace).await.expect("a seat");
    set(&env.operator, &world.workspace, &[(admin, 4)]).await.expect("set");
    assert_full(give(&env.operator, admin, team, &world.workspace).await, admin, &world.workspace, "4", "1");
    set(&env.operator, &world.workspace, &[(admin, 5)]).await.expect("set");
    give(&env.operator, admin, team, &world.workspace).await.expect("as many seats as members");
    assert_eq!(counts(&env.operator, &world.workspace).await[0], counted(admin, 5, 5));
    // To join the team is to take a seat.
    let user = pb::User { email: "m5@example.com".into(), teams: vec![team.into()], ..pb::User::default() };
    let join = pb::CreateUserRequest { parent: world.tenant.clone(), user: Some(user), ..Default::default() };
    let refused = env.operator.identity().create_user(join.clone()).await;
    assert_full(refused, admin, &world.workspace, "5", "5");
    set(&env.operator, &world.workspace, &[(admin, 6)]).await.expect("set");
    env.operator.identity().create_user(join).await.expect("a seat");
}

async fn seats_are_set_for_a_tenant_and_for_a_workspace(env: &mut Env) {
    let world = World::new(env).await;
    let other = create_workspace(&env.operator, &world.tenant, "lab", "development").await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let pilot = create_role(&env.operator, &world.tenant, "pilot", &["models:invoke"]).await;
    let (admin, billing) = ("roles/admin", "roles/billing_manager");
    set(&owner, &world.tenant, &[(&pilot, 1), (admin, 2)]).await.expect("set");
    let own = set(&owner, &world.workspace, &[(&pilot, 2)]).await.expect("set");
    assert_eq!((own.limits.len(), own.etag.as_str()), (1, "v1"));
    let here = [counted(admin, 2, 0), counted(billing, 3, 0), counted(&pilot, 2, 0)];
    assert_eq!(counts(&owner, &world.workspace).await, here);
    for _ in 0..2 {
        seat(env, &world, &pilot, &world.workspace).await.expect("a seat");
    }
    assert_full(seat(env, &world, &pilot, &world.workspace).await, &pilot, &world.workspace, "2", "2");
    seat(env, &world, &pilot, &other).await.expect("a seat");
    assert_full(seat(env, &world, &pilot, &other).await, &pilot, &other, "1", "1");
    // Fewer than are taken: nobody loses the role, and nobody else gets it.
    set(&owner, &world.workspace, &[(&pilot, 0)]).await.expect("set");
    assert_eq!(counts(&owner, &world.workspace).await[2], counted(&pilot, 0, 2));
    assert_full(seat(env, &world, &pilot, &world.workspace).await, &pilot, &world.workspace, "0", "2");
    // What is no longer named is as the tenant has it; and a role that is gone has no seats.
    let request = |etag: &str, validate_only| pb::UpdateSeatsRequest {
        name: world.workspace.clone(),
        etag: etag.into(),
        validate_only,
        ..pb::UpdateSeatsRequest::default()
    };
    let mut access = owner.access();
    assert_refused(access.update_seats(request("v1", false)).await, Code::Aborted, "ETAG_MISMATCH");
    access.update_seats(request("v2", true)).await.expect("it could be done");
    let after = access.update_seats(request("v2", false)).await.expect("set").into_inner().seats.expect("seats");
    assert_eq!((after.etag.as_str(), after.limits.len(), after.counts[2].seats), ("v3", 0, 1));
    let unused = create_role(&env.operator, &world.tenant, "unused", &["models:invoke"]).await;
    set(&owner, &other, &[(&unused, 4)]).await.expect("set");
    let delete = pb::DeleteRoleRequest { name: unused, ..Default::default() };
    access.delete_role(delete).await.expect("deleted");
    assert_eq!(counts(&owner, &other).await.len(), 3);
    // Whoever runs a workspace reads them, and does not lift what the tenant holds it to.
    let local = seat(env, &world, admin, &world.workspace).await.expect("a seat");
    let local = env.operator.with_token(Some(&env.user_token(&local)));
    assert_eq!(counts(&local, &world.workspace).await[0], counted(admin, 2, 1));
    let refused = set(&local, &world.workspace, &[(admin, 100)]).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn a_seat_is_free_when_a_role_ends(env: &mut Env) {
    let world = World::new(env).await;
    set(&env.operator, &world.workspace, &[("roles/analyst", 1)]).await.expect("set");
    let robot = create_account(&env.operator, &world.tenant, "robot", None).await;
    let ends = env.clock.now().after(Duration::from_secs(60)).micros() / 1_000_000;
    let binding = pb::Binding {
        role: "roles/analyst".into(),
        member: robot.clone(),
        scope: world.workspace.clone(),
        expire_time: Some(prost_types::Timestamp { seconds: ends, nanos: 0 }),
        ..pb::Binding::default()
    };
    let request = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(binding) };
    env.operator.access().create_binding(request).await.expect("a seat");
    let late = seat(env, &world, "roles/analyst", &world.workspace).await;
    assert_full(late, "roles/analyst", &world.workspace, "1", "1");
    env.clock.advance(Duration::from_secs(60));
    let next = seat(env, &world, "roles/analyst", &world.workspace).await.expect("a seat");
    assert_full(
        give(&env.operator, "roles/analyst", &robot, &world.workspace).await,
        "roles/analyst",
        &world.workspace,
        "1",
        "1",
    );
    // Suspended, they keep it: they would come back to it.
    let suspend = pb::SuspendUserRequest { name: next };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    assert_eq!(counts(&env.operator, &world.workspace).await[1], counted("roles/analyst", 1, 1));
    bind(&env.operator, &world.tenant, "roles/analyst", &robot, &world.project).await;
}

async fn seats_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let (workspace, long) = (world.workspace.as_str(), "x".repeat(10_000));
    for seats in [-1, i64::MIN, 1_000_001, i64::MAX] {
        assert_invalid(set(&env.operator, workspace, &[("roles/admin", seats)]).await, "limits[0].seats");
    }
    for role in ["", "admin", "roles/Admin", "roles/аdmin", "tenants/acme/roles/x\0", &long] {
        assert_invalid(set(&env.operator, workspace, &[("roles/admin", 1), (role, 1)]).await, "limits[1].role");
    }
    let twice = set(&env.operator, workspace, &[("roles/admin", 1), ("roles/admin", 2)]).await;
    assert_invalid(twice, "limits");
    assert_invalid(set(&env.operator, workspace, &[("roles/admin", 1); 129]).await, "limits");
    let unknown = format!("{}/roles/nobody", world.tenant);
    assert_refused(set(&env.operator, workspace, &[(&unknown, 1)]).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let foreign = World::named(env, "globex").await;
    let theirs = create_role(&env.operator, &foreign.tenant, "pilot", &["models:invoke"]).await;
    assert_refused(set(&env.operator, workspace, &[(&theirs, 1)]).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    for name in [world.project.as_str(), "tenants/acme/workspaces/Prod", &long] {
        assert_invalid(set(&env.operator, name, &[]).await, "name");
    }
    let most = set(&env.operator, workspace, &[("roles/admin", 1_000_000)]).await.expect("the most");
    assert_eq!(most.limits[0].seats, 1_000_000);
}
