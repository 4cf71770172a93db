//! Teams: what is said of them, who is in them, and what they may spend in a month.

use prost_types::FieldMask;
use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    server::Env,
    world::{World, bind, codes, create_role, create_user, on_hold, unique},
};

both!(
    a_team_is_changed_by_what_the_mask_names,
    a_monthly_limit_is_a_hard_budget_that_comes_and_goes_with_it,
    a_team_shows_its_members_and_how_much_of_its_limit_is_used,
    members_join_and_leave_together_or_not_at_all,
    members_are_listed_as_users_are,
    a_deleted_team_leaves_nothing_to_its_members,
    teams_are_counted_with_their_members_and_what_they_spent,
);

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn update(client: &Client, team: pb::Team, update_mask: Option<FieldMask>) -> Result<pb::Team, Status> {
    let request = pb::UpdateTeamRequest { team: Some(team), update_mask, ..Default::default() };
    Ok(client.identity().update_team(request).await?.into_inner().team.expect("a team"))
}

pub async fn create(client: &Client, tenant: &str, id: &str, limit: Option<i64>) -> Result<pb::Team, Status> {
    let team = pb::Team { monthly_limit_nanos: limit, ..pb::Team::default() };
    let request = pb::CreateTeamRequest { parent: tenant.into(), team_id: id.into(), team: Some(team) };
    Ok(client.identity().create_team(request).await?.into_inner().team.expect("a team"))
}

async fn get(client: &Client, name: &str) -> pb::Team {
    let request = pb::GetTeamRequest { name: name.into() };
    client.identity().get_team(request).await.expect("a team").into_inner().team.expect("a team")
}

async fn join(client: &Client, name: &str, users: &[&String]) -> Result<pb::Team, Status> {
    let users = users.iter().map(|user| (*user).clone()).collect();
    let request = pb::AddTeamMembersRequest { name: name.into(), users, ..Default::default() };
    Ok(client.identity().add_team_members(request).await?.into_inner().team.expect("a team"))
}

async fn leave(client: &Client, name: &str, users: &[&String]) -> Result<pb::Team, Status> {
    let users = users.iter().map(|user| (*user).clone()).collect();
    let request = pb::RemoveTeamMembersRequest { name: name.into(), users, ..Default::default() };
    Ok(client.identity().remove_team_members(request).await?.into_inner().team.expect("a team"))
}

async fn delete(client: &Client, name: &str) -> Result<i64, Status> {
    let request = pb::DeleteTeamRequest { name: name.into(), ..Default::default() };
    Ok(client.identity().delete_team(request).await?.into_inner().revision)
}

/// The budgets on a team.
async fn budgets(world: &World, team: &str) -> Vec<(pb::Unit, pb::Window, i64, Option<bool>)> {
    let request = pb::ListBudgetsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let budgets = world.operator.budgets().list_budgets(request).await.expect("a list").into_inner().budgets;
    let on = budgets.into_iter().filter(|budget| budget.scope == team);
    on.map(|budget| (budget.unit(), budget.window(), budget.limit, budget.hard)).collect()
}

async fn somebody(world: &World, role: &str) -> String {
    create_user(&world.operator, &world.tenant, &format!("{}@example.com", unique("user")), role, &[]).await
}

fn as_user(env: &Env, name: &str) -> Client {
    env.operator.with_token(Some(&env.user_token(name)))
}

async fn a_team_is_changed_by_what_the_mask_names(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let team = |display_name: &str, description: &str| pb::Team {
        name: world.team.clone(),
        display_name: display_name.into(),
        description: description.into(),
        ..pb::Team::default()
    };
    let told = |team: pb::Team| (team.display_name, team.description);
    let changed = update(&admin, team("The Core", "Builds."), None).await.expect("changed");
    assert_eq!(told(changed.clone()), ("The Core".into(), "Builds.".into()));
    let one = update(&admin, team("", ""), mask(&["description"])).await.expect("changed");
    assert_eq!(told(one), ("The Core".into(), String::new()));
    let initial = update(&admin, team("", ""), mask(&["display_name"])).await.expect("changed");
    assert_eq!(initial.display_name, "core", "named and empty: what it was at the beginning");
    let stale = pb::Team { etag: changed.etag, ..team("Late", "") };
    assert_refused(update(&admin, stale, None).await, Code::Aborted, "ETAG_MISMATCH");
    for path in ["name", "member_count", "spending", "create_time", "nonsense", ""] {
        assert_invalid(update(&admin, team("x", ""), mask(&["display_name", path])).await, "update_mask");
    }
    assert_invalid(update(&admin, team(&"x".repeat(129), ""), None).await, "team.display_name");
    assert_invalid(update(&admin, team("", &"x".repeat(1025)), None).await, "team.description");
    let nobody = pb::Team { name: format!("{}/teams/nobody", world.tenant), ..team("x", "") };
    assert_refused(update(&admin, nobody, None).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let refused = update(&as_user(env, &world.user), team("Ours", ""), None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn a_monthly_limit_is_a_hard_budget_that_comes_and_goes_with_it(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let limited = create(&admin, &world.tenant, "spenders", Some(5_000)).await.expect("a team");
    assert_eq!(limited.monthly_limit_nanos, Some(5_000));
    let month = |limit| (pb::Unit::UsdNanos, pb::Window::Month, limit, Some(true));
    assert_eq!(budgets(&world, &limited.name).await, [month(5_000)]);
    let set =
        |limit: Option<i64>| pb::Team { name: world.team.clone(), monthly_limit_nanos: limit, ..pb::Team::default() };
    assert_eq!(get(&admin, &world.team).await.monthly_limit_nanos, None);
    update(&admin, set(Some(299)), None).await.expect("limited");
    assert_eq!(budgets(&world, &world.team).await, [month(299)]);
    let refused = world.authorize(world.ask()).await;
    assert_eq!(codes(&refused), [DenialCode::BudgetExhausted], "a member's call is beyond it");
    let team = update(&admin, set(Some(300)), None).await.expect("another limit");
    assert_eq!(budgets(&world, &world.team).await, [month(300)], "the same budget");
    world.hold(world.ask()).await;
    let same = update(&admin, set(Some(300)), None).await.expect("it is so already");
    assert_eq!(same.etag, team.etag);
    // One that was made by itself is the same limit, and the smallest binds.
    world.budget(&world.team, pb::Unit::UsdNanos, pb::Window::Month, 100).await;
    assert_eq!(get(&admin, &world.team).await.monthly_limit_nanos, Some(100));
    update(&admin, set(Some(1_000)), mask(&["monthly_limit_nanos"])).await.expect("one limit");
    assert_eq!(budgets(&world, &world.team).await, [month(1_000)]);
    // Other budgets of the team are not touched.
    world.budget(&world.team, pb::Unit::Tokens, pb::Window::Day, 7_000).await;
    let none = update(&admin, set(None), mask(&["monthly_limit_nanos"])).await.expect("unlimited");
    assert_eq!((none.monthly_limit_nanos, none.spending), (None, None));
    assert_eq!(budgets(&world, &world.team).await, [(pb::Unit::Tokens, pb::Window::Day, 7_000, Some(true))]);
    for bad in [-1, i64::MIN, i64::MAX] {
        assert_invalid(update(&admin, set(Some(bad)), None).await, "team.monthly_limit_nanos");
        let refused = create(&admin, &world.tenant, &unique("bad"), Some(bad)).await;
        assert_invalid(refused, "team.monthly_limit_nanos");
    }
    // Who may write teams and no budgets sets no limit and lifts none.
    let role = create_role(&env.operator, &world.tenant, "lead", &["teams:read", "teams:write"]);
    let role = role.await;
    let lead = as_user(env, &somebody(&world, &role).await);
    let refused = update(&lead, set(Some(1)), None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(delete(&lead, &limited.name).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let refused = create(&lead, &world.tenant, "rich", Some(1)).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(get(&lead, &limited.name).await.monthly_limit_nanos, None, "nor sees it");
    create(&lead, &world.tenant, "plain", None).await.expect("a team without one");
}

async fn a_team_shows_its_members_and_how_much_of_its_limit_is_used(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let set = pb::Team { name: world.team.clone(), monthly_limit_nanos: Some(1_000), ..pb::Team::default() };
    update(&owner, set, None).await.expect("limited");
    let mut spent = 0;
    for (cost, percent, level) in [
        (0, 0, pb::SpendLevel::Ok),
        (699, 69, pb::SpendLevel::Ok),
        (1, 70, pb::SpendLevel::Warning),
        (199, 89, pb::SpendLevel::Warning),
        (1, 90, pb::SpendLevel::Critical),
        (100, 100, pb::SpendLevel::Critical),
    ] {
        if cost > 0 {
            let hold = world.hold(world.ask_for(cost)).await;
            world.charge(pb::ChargeRequest { r#final: Some(true), ..on_hold(&hold, cost) }).await;
            spent += cost;
        }
        let request = pb::ListTeamsRequest { parent: world.tenant.clone(), ..Default::default() };
        let team = owner.identity().list_teams(request).await.expect("a list").into_inner().teams.remove(0);
        let spending = team.spending.clone().expect("what is spent");
        assert_eq!((spending.spent_nanos, spending.used_percent, spending.level()), (spent, percent, level));
        assert_eq!(team.member_count, 1);
        assert_eq!(get(&owner, &world.team).await, team);
        // The first of April.
        assert_eq!(spending.reset_time.map(|at| at.seconds), Some(1_775_001_600));
    }
    let held = world.try_authorize(world.ask_for(1)).await.expect("an answer");
    assert_eq!(codes(&held), [DenialCode::BudgetExhausted]);
}

async fn members_join_and_leave_together_or_not_at_all(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let [a, b] = [somebody(&world, "roles/member").await, somebody(&world, "roles/member").await];
    assert_eq!(join(&admin, &world.team, &[&a, &b, &world.user]).await.expect("they join").member_count, 3);
    let before = get(&admin, &world.team).await;
    assert_eq!(join(&admin, &world.team, &[&a, &b]).await.expect("they are in it"), before);
    let books = env.books().await;
    let events =
        async || books.rows::<(i64,)>("SELECT COUNT(*) FROM audit_events WHERE action LIKE 'teams.%Members'").await;
    assert_eq!(events().await, [(1,)]);
    assert_eq!(leave(&admin, &world.team, &[&b]).await.expect("they leave").member_count, 2);
    assert_eq!(leave(&admin, &world.team, &[&b]).await.expect("they have left").member_count, 2);
    assert_eq!(events().await, [(2,)]);
    // All of them or none.
    let nobody = format!("{}/users/{}", world.tenant, "user_00000000000000000000000000");
    assert!(join(&admin, &world.team, &[&b, &nobody]).await.is_err());
    assert_eq!(get(&admin, &world.team).await.member_count, 2);
    assert_invalid(join(&admin, &world.team, &[]).await, "users");
    assert_invalid(join(&admin, &world.team, &[&a, &a]).await, "users[1]");
    assert_invalid(leave(&admin, &world.team, &[&"nonsense".to_owned()]).await, "users[0]");
    let many: Vec<String> = vec![a.clone(); 1001];
    assert_invalid(join(&admin, &world.team, &many.iter().collect::<Vec<_>>()).await, "users");
    // To be in it is to have its roles.
    bind(&env.operator, &world.tenant, "roles/owner", &world.team, &world.tenant).await;
    assert_refused(join(&admin, &world.team, &[&b]).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(leave(&admin, &world.team, &[&a]).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(delete(&admin, &world.team).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let owner = as_user(env, &world.owner);
    join(&owner, &world.team, &[&b]).await.expect("who holds it gives it");
    let list = || pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    as_user(env, &b).identity().list_users(list()).await.expect("at once");
    leave(&owner, &world.team, &[&b]).await.expect("who holds it takes it");
    let refused = as_user(env, &b).identity().list_users(list()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nobody is in more than sixteen.
    for n in 0..16 {
        let team = create(&owner, &world.tenant, &format!("team-{n}"), None).await.expect("a team").name;
        join(&owner, &team, &[&b]).await.expect("they join");
    }
    assert_refused(join(&owner, &world.team, &[&b]).await, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn members_are_listed_as_users_are(env: &mut Env) {
    let world = World::new(env).await;
    let (operator, team) =
        (&env.operator, &create(&env.operator, &world.tenant, "ops", None).await.expect("a team").name);
    let list = async |filter: &str, order_by: &str| {
        let (filter, order_by) = (filter.into(), order_by.into());
        let request = pb::ListTeamMembersRequest { parent: team.clone(), filter, order_by, ..Default::default() };
        operator.identity().list_team_members(request).await.map(|answer| answer.into_inner().members)
    };
    let names = |members: Vec<pb::User>| members.into_iter().map(|user| user.name).collect::<Vec<_>>();
    assert_eq!(list("", "").await.expect("a list"), []);
    let mut all = Vec::new();
    for (email, role) in
        [("zoe@a.example", "roles/admin"), ("ann@a.example", "roles/reader"), ("mia@b.example", "roles/reader")]
    {
        // The order of creation is by the millisecond.
        env.clock.advance(std::time::Duration::from_millis(1));
        all.push(create_user(operator, &world.tenant, email, role, &[]).await);
    }
    let [zoe, ann, mia] = [&all[0], &all[1], &all[2]];
    join(operator, team, &[zoe, ann, mia]).await.expect("joined");
    operator.identity().suspend_user(pb::SuspendUserRequest { name: mia.clone() }).await.expect("suspended");
    let members = list("", "").await.expect("a list");
    let get = pb::GetUserRequest { name: zoe.clone() };
    let user = operator.identity().get_user(get).await.expect("a user").into_inner().user.expect("a user");
    assert_eq!((members.len(), &members[0]), (3, &user), "as it is shown alone");
    assert_eq!((user.roles, user.state), (vec!["roles/admin".to_owned()], pb::UserState::Active.into()));
    for (filter, order, wanted) in [
        ("", "", vec![zoe, ann, mia]),
        ("", "create_time desc", vec![mia, ann, zoe]),
        ("", "email", vec![ann, mia, zoe]),
        ("state = ACTIVE", "email", vec![ann, zoe]),
        ("role = roles/reader", "", vec![ann, mia]),
        ("role = roles/reader AND state = SUSPENDED", "", vec![mia]),
        ("a.example", "", vec![zoe, ann]),
        ("dev", "", vec![]),
        (&format!("team = {}", world.team), "", vec![]),
    ] {
        let found = names(list(filter, order).await.expect("a list"));
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{filter} {order}");
    }
    assert_invalid(list("role = boss", "").await, "filter");
    assert_invalid(list("", "role").await, "order_by");
    // Page by page; the token is good for this team only.
    let page = async |team: &str, page_token: &str| {
        let (parent, page_token) = (team.to_owned(), page_token.to_owned());
        let request = pb::ListTeamMembersRequest { parent, page_size: 2, page_token, ..Default::default() };
        operator.identity().list_team_members(request).await.map(tonic::Response::into_inner)
    };
    let first = page(team, "").await.expect("a page");
    assert_eq!(names(first.members), [zoe.clone(), ann.clone()]);
    assert_eq!(names(page(team, &first.next_page_token).await.expect("a page").members), std::slice::from_ref(mia));
    assert_invalid(page(&world.team, &first.next_page_token).await, "page_token");
    leave(operator, team, &[ann]).await.expect("left");
    assert_eq!(names(list("", "").await.expect("a list")), [zoe.clone(), mia.clone()]);
    // To see who they are takes both permissions.
    let reader = env.operator.with_token(Some(&env.user_token(&world.user)));
    let request = pb::ListTeamMembersRequest { parent: team.clone(), ..Default::default() };
    let refused = reader.identity().list_team_members(request).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn a_deleted_team_leaves_nothing_to_its_members(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let other = create(&owner, &world.tenant, "other", None).await.expect("a team").name;
    let reader = somebody(&world, "roles/reader").await;
    for team in [&other, &world.team] {
        join(&owner, team, &[&reader, &world.user]).await.expect("they join");
    }
    bind(&env.operator, &world.tenant, "roles/admin", &world.team, &world.tenant).await;
    let set = pb::Team { name: world.team.clone(), monthly_limit_nanos: Some(1), ..pb::Team::default() };
    update(&owner, set, None).await.expect("limited");
    assert_eq!(codes(&world.authorize(world.ask()).await), [DenialCode::BudgetExhausted]);
    let own = as_user(env, &reader);
    let list = || pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    own.identity().list_users(list()).await.expect("by the team");
    let request = pb::DeleteTeamRequest { name: world.team.clone(), request_id: "gone".into(), ..Default::default() };
    let stale = pb::DeleteTeamRequest { etag: "v0".into(), request_id: String::new(), ..request.clone() };
    assert_refused(owner.identity().delete_team(stale).await, Code::Aborted, "ETAG_MISMATCH");
    let first = owner.identity().delete_team(request.clone()).await.expect("deleted").into_inner();
    assert_refused(own.identity().list_users(list()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let allowed = world.authorize(world.ask()).await;
    assert_eq!(codes(&allowed), [], "nor is there a limit");
    assert_eq!(allowed.principal.expect("who").teams, [other.as_str()], "of two teams, one is left");
    assert_eq!(owner.identity().delete_team(request).await.expect("the same request").into_inner(), first);
    assert_refused(delete(&owner, &world.team).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    for name in [&reader, &world.user] {
        let request = pb::GetUserRequest { name: name.clone() };
        let user = owner.identity().get_user(request).await.expect("a user").into_inner().user.expect("a user");
        assert_eq!(user.teams, [other.as_str()]);
    }
    assert_eq!(budgets(&world, &world.team).await, []);
    let next = create(&owner, &world.tenant, "core", None).await.expect("its id is free");
    assert_eq!((next.member_count, next.monthly_limit_nanos), (0, None));
    delete(&owner, &other).await.expect("deleted");
    let request = pb::GetUserRequest { name: reader };
    let user = owner.identity().get_user(request).await.expect("a user").into_inner().user.expect("a user");
    assert_eq!(user.teams, Vec::<String>::new(), "the only one of its");
}

async fn teams_are_counted_with_their_members_and_what_they_spent(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let other = create(&owner, &world.tenant, "other", Some(10_000)).await.expect("a team").name;
    let reader = somebody(&world, "roles/reader").await;
    join(&owner, &other, &[&reader, &world.user]).await.expect("they join");
    create(&owner, &world.tenant, "empty", Some(5)).await.expect("a team");
    let foreign = World::named(env, "globex").await;
    let set = pb::Team { name: foreign.team.clone(), monthly_limit_nanos: Some(10_000), ..pb::Team::default() };
    update(&env.operator, set, None).await.expect("limited");
    for world in [&world, &foreign] {
        let hold = world.hold(world.ask_for(300)).await;
        world.charge(on_hold(&hold, 250)).await;
    }
    let request = pb::SummarizeTeamsRequest { parent: world.tenant.clone() };
    let counts = owner.identity().summarize_teams(request.clone()).await.expect("counts").into_inner();
    let spent = Some(250);
    let expected = pb::SummarizeTeamsResponse {
        teams: 3,
        members: 2,
        month_spent_nanos: spent,
        month_requests: Some(1),
        month_cost_nanos: spent,
    };
    assert_eq!(counts, expected);
    let counts = as_user(env, &reader).identity().summarize_teams(request).await.expect("counts").into_inner();
    assert_eq!(counts.month_spent_nanos, None, "who may not see budgets sees no sum of them");
}
