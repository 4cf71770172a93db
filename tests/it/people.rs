//! People: what is said of them, how they leave, many at once, and how they are found. What role they have is in `ownership`.

use prost_types::FieldMask;
use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    server::Env,
    world::{
        NewKey, World, bind, codes, create_account, create_key, create_user, create_workspace, invite, on_hold, unique,
    },
};

both!(
    a_user_is_changed_by_what_the_mask_names,
    to_put_somebody_into_a_team_or_take_them_out_is_to_give_or_take_its_roles,
    who_is_removed_is_refused_at_once_and_their_address_is_free,
    a_server_starts_again_with_keys_of_those_who_were_removed,
    keys_of_who_is_removed_go_the_way_that_each_workspace_lays_down,
    users_are_created_suspended_and_removed_together_or_not_at_all,
    users_are_reactivated_together_or_not_at_all,
    users_are_counted_and_found_by_role_team_and_address,
);

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn update(client: &Client, user: pb::User, update_mask: Option<FieldMask>) -> Result<pb::User, Status> {
    let request = pb::UpdateUserRequest { user: Some(user), update_mask, ..Default::default() };
    Ok(client.identity().update_user(request).await?.into_inner().user.expect("a user"))
}

pub async fn remove(client: &Client, name: &str) -> Result<pb::UserRemoval, Status> {
    let request = pb::DeleteUserRequest { name: name.into(), ..Default::default() };
    Ok(client.identity().delete_user(request).await?.into_inner().removal.expect("what became of it"))
}

pub async fn get(client: &Client, name: &str) -> Result<pb::User, Status> {
    let request = pb::GetUserRequest { name: name.into() };
    Ok(client.identity().get_user(request).await?.into_inner().user.expect("a user"))
}

pub async fn roles(client: &Client, name: &str) -> Vec<String> {
    get(client, name).await.expect("a user").roles
}

/// In the order of the alphabet: what was made in the same moment is in none.
pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

pub async fn found(client: &Client, tenant: &str, filter: &str) -> Vec<String> {
    let request = pb::ListUsersRequest { parent: tenant.into(), filter: filter.into(), ..Default::default() };
    let users = client.identity().list_users(request).await.expect("a list").into_inner().users;
    users.into_iter().map(|user| user.name).collect()
}

/// Somebody with a role on the whole tenant.
pub async fn somebody(world: &World, role: &str) -> String {
    create_user(&world.operator, &world.tenant, &format!("{}@example.com", unique("user")), role, &[]).await
}

pub fn as_user(env: &Env, name: &str) -> Client {
    env.operator.with_token(Some(&env.user_token(name)))
}

async fn create_team(world: &World, id: &str) -> String {
    let request = pb::CreateTeamRequest { parent: world.tenant.clone(), team_id: id.into(), team: None };
    world.operator.identity().create_team(request).await.expect("a team");
    format!("{}/teams/{id}", world.tenant)
}

pub async fn last_event(env: &Env, world: &World) -> pb::AuditEvent {
    let request = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 1, ..Default::default() };
    env.operator.audit().list_audit_events(request).await.expect("a list").into_inner().events.remove(0)
}

async fn a_user_is_changed_by_what_the_mask_names(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let user = |display_name: &str, teams: &[&str]| pb::User {
        name: world.user.clone(),
        display_name: display_name.into(),
        teams: teams.iter().map(|team| (*team).to_owned()).collect(),
        ..pb::User::default()
    };
    let other = create_team(&world, "other").await;
    let told = |user: pb::User| (user.display_name, user.teams);
    let both = vec![world.team.clone(), other.clone()];
    let all = [world.team.as_str(), &other, &other];
    let renamed = update(&owner, user("Dev", &all), None).await.expect("changed");
    assert_eq!(told(renamed), ("Dev".into(), both.clone()), "what is not empty, each team once");
    let same = update(&owner, user("", &[]), None).await.expect("nothing changes");
    assert_eq!(told(same.clone()), ("Dev".into(), both.clone()), "without a mask, what is empty stays");
    let one = update(&owner, user("Devi", &[]), mask(&["display_name"])).await.expect("changed");
    assert_eq!(told(one), ("Devi".into(), both));
    assert_eq!(found(&owner, &world.tenant, "devi").await, [world.user.as_str()], "found by the new name");
    let stale = pb::User { etag: same.etag.clone(), ..user("Late", &[]) };
    assert_refused(update(&owner, stale, None).await, Code::Aborted, "ETAG_MISMATCH");
    let none = update(&owner, user("", &[]), mask(&["teams"])).await.expect("changed");
    assert_eq!(told(none), ("Devi".into(), vec![]), "a mask can empty the teams");
    assert_eq!(found(&owner, &world.tenant, &format!("team = {other}")).await, Vec::<String>::new());
    for path in ["email", "state", "roles", "key_count", "name", "nonsense", ""] {
        assert_invalid(update(&owner, user("x", &[]), mask(&["display_name", path])).await, "update_mask");
    }
    assert_invalid(update(&owner, user("", &[]), mask(&["display_name"])).await, "user.display_name");
    assert_invalid(update(&owner, user(&"x".repeat(129), &[]), None).await, "user.display_name");
    assert_invalid(update(&owner, user("", &["nonsense"]), None).await, "user.teams[0]");
    assert_invalid(update(&owner, user("", &[other.as_str(); 17]), None).await, "user.teams");
    let nowhere = format!("{}/teams/nowhere", world.tenant);
    assert_refused(update(&owner, user("", &[&nowhere]), None).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let refused = update(&as_user(env, &world.user), user("Me", &[]), None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn to_put_somebody_into_a_team_or_take_them_out_is_to_give_or_take_its_roles(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let member = somebody(&world, "roles/member").await;
    let owners = create_team(&world, "owners").await;
    bind(&env.operator, &world.tenant, "roles/owner", &owners, &world.tenant).await;
    let join = |teams: &[&String]| pb::User {
        name: member.clone(),
        teams: teams.iter().map(|team| (*team).clone()).collect(),
        ..pb::User::default()
    };
    update(&admin, join(&[&world.team]), None).await.expect("it gives nothing");
    let refused = update(&admin, join(&[&world.team, &owners]), None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(get(&admin, &member).await.expect("a user").teams, [world.team.as_str()]);
    let owner = as_user(env, &world.owner);
    update(&owner, join(&[&owners]), None).await.expect("who holds it gives it");
    let own = as_user(env, &member);
    own.identity()
        .list_users(pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() })
        .await
        .expect("may");
    let refused = update(&admin, join(&[&world.team]), None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    update(&owner, join(&[]), mask(&["teams"])).await.expect("who holds it takes it");
    let list = pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    assert_refused(own.identity().list_users(list).await, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn who_is_removed_is_refused_at_once_and_their_address_is_free(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    world.dollars(&world.user, 1_000_000).await;
    bind(&env.operator, &world.tenant, "roles/reader", &world.user, &world.workspace).await;
    let hold = world.hold(world.ask()).await;
    let own = as_user(env, &world.user);
    own.access().list_roles(pb::ListRolesRequest::default()).await.expect("may ask");
    let request = pb::DeleteUserRequest { name: world.user.clone(), etag: "v9".into(), ..Default::default() };
    assert_refused(admin.identity().delete_user(request.clone()).await, Code::Aborted, "ETAG_MISMATCH");
    let request = pb::DeleteUserRequest { etag: String::new(), request_id: "leave".into(), ..request };
    let answer = admin.identity().delete_user(request.clone()).await.expect("removed").into_inner();
    let refused = world.authorize(world.ask()).await;
    assert!(codes(&refused).contains(&DenialCode::KeyRevoked), "{refused:?}");
    assert_eq!(answer.removal.expect("told").revoked_keys, 1, "the policy of a new workspace");
    let refused = own.access().list_roles(pb::ListRolesRequest::default()).await;
    assert_refused(refused, Code::Unauthenticated, "TOKEN_INVALID");
    let again = admin.identity().delete_user(request).await.expect("the same request").into_inner();
    assert_eq!(again.revision, answer.revision);
    assert_refused(remove(&admin, &world.user).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_refused(get(&admin, &world.user).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert!(!found(&admin, &world.tenant, "").await.contains(&world.user));
    assert_eq!(found(&admin, &world.tenant, "dev").await, Vec::<String>::new(), "nor by a word");
    // What was held is still settled: a charge is a fact.
    world.charge(on_hold(&hold, 7)).await;
    let event = last_event(env, &world).await;
    assert_eq!((event.action.as_str(), event.resource.as_str()), ("users.delete", world.user.as_str()));
    let (before, after) = (event.before, event.after);
    assert!(before.contains("dev@example.com") && after.contains("revoked_keys\":[\"key_"), "{before} {after}");
    assert!(after.contains("ended_bindings\":[\"bind_") && after.contains("ended_budgets\":[\"bud_"), "{after}");
    let books = env.books().await;
    let id = world.user.rsplit('/').next().expect("an id");
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM users WHERE id = '{id}') + (SELECT COUNT(*) FROM team_members WHERE user_id = '{id}')
             + (SELECT COUNT(*) FROM bindings WHERE member = '{id}') + (SELECT COUNT(*) FROM search_words WHERE record = '{id}')
             + (SELECT COUNT(*) FROM budgets WHERE scope_ref = '{id}' AND NOT deleted)"
    );
    let left: Vec<(i64,)> = books.rows(Box::leak(sql.into_boxed_str())).await;
    assert_eq!(left, [(0,)], "nothing of them is left but keys and what is on record");
    let next = create_user(&admin, &world.tenant, "DEV@example.com", "roles/member", &[]).await;
    assert_ne!(next, world.user);
}

async fn a_server_starts_again_with_keys_of_those_who_were_removed(env: &mut Env) {
    let own = env.another().await;
    let world = World::new(&own).await;
    lay_down(&own.operator, &world.workspace, pb::KeysOnRemoval::KeepDisabled).await;
    remove(&own.operator, &world.user).await.expect("removed");
    let request = pb::DeleteTeamRequest { name: world.team.clone(), ..Default::default() };
    own.operator.identity().delete_team(request).await.expect("deleted");
    let own = own.restart().await;
    let answer = own.operator.gate().authorize(world.ask()).await.expect("an answer").into_inner();
    assert!(codes(&answer).contains(&DenialCode::KeyDisabled), "{answer:?}");
    let get = pb::GetKeyRequest { name: world.key.name.clone() };
    let key = own.operator.keys().get_key(get).await.expect("a key").into_inner().key.expect("a key");
    assert_eq!(key.owner, world.user, "whose it was is still told");
    own.end().await;
}

async fn lay_down(client: &Client, workspace: &str, keys_on_removal: pb::KeysOnRemoval) {
    let policies = pb::WorkspacePolicies { keys_on_removal: keys_on_removal.into(), ..Default::default() };
    let workspace = pb::Workspace { name: workspace.into(), policies: Some(policies), ..Default::default() };
    let update_mask = mask(&["policies.keys_on_removal"]);
    let request = pb::UpdateWorkspaceRequest { workspace: Some(workspace), update_mask, ..Default::default() };
    client.identity().update_workspace(request).await.expect("laid down");
}

async fn keys_of_who_is_removed_go_the_way_that_each_workspace_lays_down(env: &mut Env) {
    let world = World::new(env).await;
    let admin_name = somebody(&world, "roles/admin").await;
    let admin = as_user(env, &admin_name);
    let leaver = somebody(&world, "roles/developer").await;
    let mut keys: Vec<NewKey> = Vec::new();
    for (id, policy) in [
        ("ends", pb::KeysOnRemoval::Revoke),
        ("goes-on", pb::KeysOnRemoval::Reassign),
        ("waits", pb::KeysOnRemoval::KeepDisabled),
    ] {
        let workspace = create_workspace(&env.operator, &world.tenant, id, "staging").await;
        lay_down(&env.operator, &workspace, policy).await;
        let key = pb::Key { owner: leaver.clone(), ..pb::Key::default() };
        keys.push(create_key(&env.operator, &workspace, key).await);
    }
    assert_eq!(get(&admin, &leaver).await.expect("a user").key_count, 3);
    let removal = remove(&admin, &leaver).await.expect("removed");
    let told = (removal.user, removal.revoked_keys, removal.reassigned_keys, removal.disabled_keys);
    assert_eq!(told, (leaver.clone(), 1, 1, 1));
    let ask = async |n: usize, permission: &str| {
        let asked = pb::AuthorizeRequest { permission: permission.into(), ..world.ask_with(&keys[n].secret) };
        codes(&world.authorize(asked).await)
    };
    assert!(ask(0, "").await.contains(&DenialCode::KeyRevoked));
    assert_eq!(ask(1, "").await, [], "it works on");
    assert_eq!(ask(1, "users:write").await, [DenialCode::PermissionDenied], "and does no more than it did");
    assert!(ask(2, "").await.contains(&DenialCode::KeyDisabled));
    assert_eq!(get(&admin, &admin_name).await.expect("a user").key_count, 1);
    // Nobody from elsewhere owns a key of the tenant; somebody of it does.
    let enable = || pb::EnableKeyRequest { name: keys[2].name.clone() };
    assert_refused(env.operator.keys().enable_key(enable()).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let key = admin.keys().enable_key(enable()).await.expect("enabled").into_inner().key.expect("a key");
    assert_eq!(key.owner, admin_name, "whoever enables it owns it");
    assert_eq!(ask(2, "").await, []);
    assert_eq!(ask(2, "users:write").await, [DenialCode::PermissionDenied]);
    // Removed from elsewhere, or by themselves: nobody is there to take it over.
    let workspace = format!("{}/workspaces/goes-on", world.tenant);
    for by_themselves in [false, true] {
        let leaver = somebody(&world, "roles/admin").await;
        let key = create_key(&env.operator, &workspace, pb::Key { owner: leaver.clone(), ..pb::Key::default() }).await;
        let remover = if by_themselves { as_user(env, &leaver) } else { env.operator.clone() };
        let request = pb::DeleteUserRequest { name: leaver, request_id: unique("leave"), ..Default::default() };
        let answer = remover.identity().delete_user(request).await.expect("removed").into_inner();
        assert_eq!(answer.removal.expect("told").disabled_keys, 1);
        let refused = world.authorize(world.ask_with(&key.secret)).await;
        assert!(codes(&refused).contains(&DenialCode::KeyDisabled), "{refused:?}");
    }
}

fn newcomer(email: &str, role: &str) -> pb::NewUser {
    let user = pb::User { email: email.into(), ..pb::User::default() };
    pb::NewUser { user: Some(user), role: role.into(), ..pb::NewUser::default() }
}

async fn users_are_created_suspended_and_removed_together_or_not_at_all(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let create = |users: Vec<pb::NewUser>| pb::BatchCreateUsersRequest {
        parent: world.tenant.clone(),
        users,
        request_id: unique("batch"),
        ..Default::default()
    };
    let many: Vec<_> = (0..1000).map(|n| newcomer(&format!("n{n}@big.example"), "roles/reader")).collect();
    let request = create(many);
    let answer = admin.identity().batch_create_users(request.clone()).await.expect("created").into_inner();
    assert_eq!(answer.users.len(), 1000);
    let in_order = |(n, user): (usize, &pb::User)| user.email == format!("n{n}@big.example");
    assert!(answer.users.iter().enumerate().all(in_order), "in the order in which they were asked for");
    assert!(answer.users.iter().all(|user| user.roles == ["roles/reader"]));
    let again = admin.identity().batch_create_users(request).await.expect("the same request").into_inner();
    assert_eq!(again, answer);
    // One that cannot be: none of them is.
    let taken = create(vec![newcomer("fresh@big.example", ""), newcomer("N7@big.example", "")]);
    assert_refused(admin.identity().batch_create_users(taken).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    let more = create(vec![newcomer("fresh@big.example", ""), newcomer("boss@big.example", "roles/owner")]);
    assert_refused(admin.identity().batch_create_users(more).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(found(&admin, &world.tenant, "email = fresh@big.example").await, Vec::<String>::new());
    let twice = create(vec![newcomer("a@big.example", ""), newcomer("A@Big.example", "")]);
    assert_invalid(admin.identity().batch_create_users(twice).await, "users[1].user.email");
    assert_invalid(admin.identity().batch_create_users(create(vec![])).await, "users");
    let too_many = create((0..1001).map(|n| newcomer(&format!("m{n}@big.example"), "")).collect());
    assert_invalid(admin.identity().batch_create_users(too_many).await, "users");
    assert_invalid(
        admin.identity().batch_create_users(create(vec![newcomer("nobody", "")])).await,
        "users[0].user.email",
    );
    let names: Vec<String> = answer.users.iter().map(|user| user.name.clone()).collect();
    let key = pb::Key { owner: names[3].clone(), ..pb::Key::default() };
    let key = create_key(&env.operator, &world.workspace, key).await;
    let suspend =
        |names: Vec<String>| pb::BatchSuspendUsersRequest { parent: world.tenant.clone(), names, ..Default::default() };
    let with_owner = suspend(vec![names[0].clone(), world.owner.clone()]);
    let refused = admin.identity().batch_suspend_users(with_owner).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    assert_eq!(get(&admin, &names[0]).await.expect("a user").state(), pb::UserState::Active);
    let answer = admin.identity().batch_suspend_users(suspend(names.clone())).await.expect("suspended").into_inner();
    assert!(answer.users.iter().all(|user| user.state() == pb::UserState::Suspended) && answer.users.len() == 1000);
    let refused = world.authorize(world.ask_with(&key.secret)).await;
    assert!(codes(&refused).contains(&DenialCode::UserSuspended), "{refused:?}");
    let delete =
        |names: Vec<String>| pb::BatchDeleteUsersRequest { parent: world.tenant.clone(), names, ..Default::default() };
    let twice = delete(vec![names[0].clone(), names[0].clone()]);
    assert_invalid(admin.identity().batch_delete_users(twice).await, "names[1]");
    let missing = delete(vec![names[0].clone(), world.user.replace("user_0", "user_7")]);
    admin.identity().batch_delete_users(missing).await.expect_err("one of them is nobody");
    let answer = admin.identity().batch_delete_users(delete(names.clone())).await.expect("removed").into_inner();
    let told: Vec<(String, i64)> = answer.removals.into_iter().map(|one| (one.user, one.revoked_keys)).collect();
    let wanted: Vec<(String, i64)> = names.into_iter().enumerate().map(|(n, name)| (name, i64::from(n == 3))).collect();
    assert_eq!(told, wanted);
    let refused = world.authorize(world.ask_with(&key.secret)).await;
    assert!(codes(&refused).contains(&DenialCode::KeyRevoked), "{refused:?}");
    assert_eq!(found(&admin, &world.tenant, "big.example").await, Vec::<String>::new());
}

async fn users_are_reactivated_together_or_not_at_all(env: &mut Env) {
    let world = World::new(env).await;
    let admin = as_user(env, &somebody(&world, "roles/admin").await);
    let [a, b] = [somebody(&world, "roles/reader").await, somebody(&world, "roles/reader").await];
    let names = vec![a.clone(), b.clone(), world.user.clone()];
    let suspend =
        pb::BatchSuspendUsersRequest { parent: world.tenant.clone(), names: names.clone(), ..Default::default() };
    admin.identity().batch_suspend_users(suspend.clone()).await.expect("suspended");
    let back = |names: Vec<String>| pb::BatchReactivateUsersRequest {
        parent: world.tenant.clone(),
        names,
        ..Default::default()
    };
    let state = async |name: &str| get(&admin, name).await.expect("a user").state();
    assert_invalid(admin.identity().batch_reactivate_users(back(vec![])).await, "names");
    assert_invalid(admin.identity().batch_reactivate_users(back(vec![a.clone(), a.clone()])).await, "names[1]");
    let nobody = back(vec![a.clone(), world.user.replace("user_0", "user_7")]);
    assert_refused(admin.identity().batch_reactivate_users(nobody).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_eq!(state(&a).await, pb::UserState::Suspended, "all or none");
    // Who is invited is none of those: only they can accept.
    let invited = invite(&env.operator, &world.tenant).await;
    let both = vec![a.clone(), invited.user.clone()];
    let refused = admin.identity().batch_reactivate_users(back(both.clone())).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let refused = pb::BatchSuspendUsersRequest { names: both, ..suspend };
    let refused = admin.identity().batch_suspend_users(refused).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    assert_eq!((state(&a).await, state(&invited.user).await), (pb::UserState::Suspended, pb::UserState::Invited));
    let dry = pb::BatchReactivateUsersRequest { validate_only: true, ..back(names.clone()) };
    let told = admin.identity().batch_reactivate_users(dry).await.expect("it could be").into_inner();
    assert!(told.users.iter().all(|user| user.state() == pb::UserState::Active));
    assert_eq!(state(&a).await, pb::UserState::Suspended, "nothing was changed");
    let request = pb::BatchReactivateUsersRequest { request_id: unique("back"), ..back(names.clone()) };
    let answer = admin.identity().batch_reactivate_users(request.clone()).await.expect("back").into_inner();
    assert_eq!(answer.users.iter().map(|user| user.name.clone()).collect::<Vec<_>>(), names);
    assert!(answer.users.iter().all(|user| user.state() == pb::UserState::Active));
    let event = last_event(env, &world).await;
    assert_eq!((event.action.as_str(), event.resource.as_str()), ("users.batchReactivate", world.tenant.as_str()));
    let allowed = world.authorize(world.ask()).await;
    assert_eq!(codes(&allowed), [], "their keys work again");
    let again = admin.identity().batch_reactivate_users(request).await.expect("the same request").into_inner();
    assert_eq!(again.revision, answer.revision);
    admin.identity().batch_reactivate_users(back(names)).await.expect("they are so already");
    assert_eq!(last_event(env, &world).await.name, event.name, "nothing was done");
}

async fn users_are_counted_and_found_by_role_team_and_address(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let [a, b] = [somebody(&world, "roles/admin").await, somebody(&world, "roles/admin").await];
    owner.identity().suspend_user(pb::SuspendUserRequest { name: b.clone() }).await.expect("suspended");
    create_account(&env.operator, &world.tenant, "robot", Some("roles/admin")).await;
    World::named(env, "globex").await;
    let request = pb::SummarizeUsersRequest { parent: world.tenant.clone() };
    let counts = owner.identity().summarize_users(request.clone()).await.expect("counts").into_inner();
    let wanted = pb::SummarizeUsersResponse { total: 4, active: 3, invited: 0, suspended: 1, admins: 2, owners: 1 };
    assert_eq!(counts, wanted);
    let refused = as_user(env, &world.user).identity().summarize_users(request).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    let find = async |filter: &str| found(&owner, &world.tenant, filter).await;
    assert_eq!(sorted(find("role = roles/admin").await), sorted(vec![a.clone(), b.clone()]));
    assert_eq!(find("role = roles/admin AND state = ACTIVE").await, [a.as_str()]);
    assert_eq!(find(&format!("team = {} role = roles/developer", world.team)).await, [world.user.as_str()]);
    assert_eq!(find("email = \"OLIVIA@Example.COM\"").await, [world.owner.as_str()], "in any case");
    // A role on a part of the tenant is none on the whole of it, nor is one that has ended.
    bind(&env.operator, &world.tenant, "roles/analyst", &a, &world.workspace).await;
    assert_eq!(find("role = roles/analyst").await, Vec::<String>::new());
    let binding = pb::Binding {
        role: "roles/analyst".into(),
        member: a.clone(),
        scope: world.tenant.clone(),
        expire_time: Some(prost_types::Timestamp { seconds: 1_773_145_200 + 60, nanos: 0 }),
        ..pb::Binding::default()
    };
    let request = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(binding) };
    env.operator.access().create_binding(request).await.expect("bound");
    assert_eq!(find("role = roles/analyst").await, [a.as_str()]);
    env.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(find("role = roles/analyst").await, Vec::<String>::new());
    assert_eq!(roles(&owner, &a).await, ["roles/admin"]);
    for filter in ["role = admin", "role = roles/nobody", "team = core", "team != tenants/acme/teams/core"] {
        let request =
            pb::ListUsersRequest { parent: world.tenant.clone(), filter: filter.into(), ..Default::default() };
        assert_invalid(owner.identity().list_users(request).await, "filter");
    }
}
