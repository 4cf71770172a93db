//! The role that somebody has on the whole tenant, and who owns it.

use std::collections::BTreeSet;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use super::people::{as_user, found, get, last_event, remove, roles, somebody, sorted};
use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    server::Env,
    world::{World, account_token, bind, codes, create_account, create_role},
};

both!(
    an_owner_is_removed_by_an_owner_only_and_never_the_last,
    a_role_on_the_whole_tenant_is_replaced_by_one,
    nobody_gives_or_takes_a_role_that_holds_more_than_they_do,
    ownership_goes_to_an_active_admin_and_the_owner_becomes_one,
    a_tenant_keeps_an_owner_whatever_happens_at_once,
);

async fn change_role(client: &Client, name: &str, role: &str) -> Result<pb::User, Status> {
    let request = pb::ChangeUserRoleRequest { name: name.into(), role: role.into(), ..Default::default() };
    Ok(client.identity().change_user_role(request).await?.into_inner().user.expect("a user"))
}

async fn transfer(client: &Client, tenant: &str, to: &str) -> Result<pb::TransferOwnershipResponse, Status> {
    let request = pb::TransferOwnershipRequest { name: tenant.into(), new_owner: to.into(), ..Default::default() };
    Ok(client.identity().transfer_ownership(request).await?.into_inner())
}

async fn an_owner_is_removed_by_an_owner_only_and_never_the_last(env: &mut Env) {
    let world = World::new(env).await;
    let (owner, admin) = (as_user(env, &world.owner), as_user(env, &somebody(&world, "roles/admin").await));
    assert_refused(remove(&owner, &world.owner).await, Code::FailedPrecondition, "STATE_CONFLICT");
    assert_refused(remove(&env.operator, &world.owner).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let second = somebody(&world, "roles/owner").await;
    assert_refused(remove(&admin, &second).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(remove(&as_user(env, &world.user), &second).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // Who cannot act keeps nobody in office.
    let suspend = pb::SuspendUserRequest { name: second.clone() };
    owner.identity().suspend_user(suspend).await.expect("suspended");
    assert_refused(remove(&owner, &world.owner).await, Code::FailedPrecondition, "STATE_CONFLICT");
    owner.identity().reactivate_user(pb::ReactivateUserRequest { name: second.clone() }).await.expect("back");
    remove(&as_user(env, &second), &world.owner).await.expect("there is another");
    assert_refused(remove(&env.operator, &second).await, Code::FailedPrecondition, "STATE_CONFLICT");
    // A service account that owns does not keep the tenant: a person does.
    create_account(&env.operator, &world.tenant, "robot", Some("roles/owner")).await;
    assert_refused(remove(&env.operator, &second).await, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_role_on_the_whole_tenant_is_replaced_by_one(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    bind(&env.operator, &world.tenant, "roles/analyst", &world.user, &world.tenant).await;
    bind(&env.operator, &world.tenant, "roles/developer", &world.user, &world.workspace).await;
    assert_eq!(sorted(roles(&owner, &world.user).await), ["roles/analyst", "roles/developer"]);
    let own = as_user(env, &world.user);
    let list = || pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    assert_refused(own.identity().list_users(list()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let before = get(&owner, &world.user).await.expect("a user").etag;
    let user = change_role(&owner, &world.user, "roles/admin").await.expect("changed");
    assert_eq!(user.roles, ["roles/admin"]);
    assert_ne!(user.etag, before);
    own.identity().list_users(list()).await.expect("at once");
    let event = last_event(env, &world).await;
    assert_eq!(event.action, "users.changeRole");
    assert!(event.before.contains("\"developer\"") && event.before.contains("\"analyst\""), "{event:?}");
    assert!(event.after.contains("[\"admin\"]"), "{event:?}");
    let same = change_role(&owner, &world.user, "roles/admin").await.expect("it is so already");
    assert_eq!(same.etag, user.etag);
    let stale = pb::ChangeUserRoleRequest {
        name: world.user.clone(),
        role: "roles/member".into(),
        etag: before,
        ..Default::default()
    };
    assert_refused(owner.identity().change_user_role(stale).await, Code::Aborted, "ETAG_MISMATCH");
    change_role(&owner, &world.user, "roles/reader").await.expect("demoted");
    assert_refused(own.identity().list_users(list()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let refused = world.authorize(world.ask()).await;
    assert_eq!(codes(&refused), [], "what they hold on the workspace stays");
    let custom = create_role(&env.operator, &world.tenant, "reviewer", &["models:invoke"]).await;
    assert_eq!(change_role(&owner, &world.user, &custom).await.expect("changed").roles, [custom.as_str()]);
    for (role, field) in [("", "role"), ("nonsense", "role"), ("roles/", "role")] {
        assert_invalid(change_role(&owner, &world.user, role).await, field);
    }
    let nowhere = format!("{}/roles/nowhere", world.tenant);
    assert_refused(change_role(&owner, &world.user, &nowhere).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    // The last owner stays one, whoever asks.
    for client in [&owner, &env.operator] {
        let refused = change_role(client, &world.owner, "roles/admin").await;
        assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    }
    assert_eq!(roles(&owner, &world.owner).await, ["roles/owner"]);
    // There are five seats for admins; who has one keeps it.
    for _ in 0..5 {
        somebody(&world, "roles/admin").await;
    }
    let refused = change_role(&owner, &world.user, "roles/admin").await;
    assert_refused(refused, Code::FailedPrecondition, "SEATS_TAKEN");
    assert_eq!(roles(&owner, &world.user).await, [custom], "all of it or nothing");
}

async fn nobody_gives_or_takes_a_role_that_holds_more_than_they_do(env: &mut Env) {
    let world = World::new(env).await;
    let admin_name = somebody(&world, "roles/admin").await;
    let admin = as_user(env, &admin_name);
    let second = somebody(&world, "roles/owner").await;
    let biller = somebody(&world, "roles/billing_manager").await;
    for (who, role) in [
        (&admin_name, "roles/owner"),
        (&world.user, "roles/owner"),
        (&world.user, "roles/operator"),
        (&world.user, "roles/billing_manager"),
        (&second, "roles/member"),
        (&biller, "roles/member"),
    ] {
        assert_refused(change_role(&admin, who, role).await, Code::PermissionDenied, "PERMISSION_MISSING");
    }
    let own = as_user(env, &world.user);
    let refused = change_role(&own, &world.user, "roles/reader").await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(roles(&admin, &second).await, ["roles/owner"]);
    change_role(&admin, &world.user, "roles/reader").await.expect("less than theirs");
    change_role(&as_user(env, &world.owner), &second, "roles/member").await.expect("by an owner");
    // A role that ends is replaced by one for good.
    change_role(&admin, &admin_name, "roles/member").await.expect("of one's own accord");
    let refused = change_role(&admin, &world.user, "roles/member").await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn ownership_goes_to_an_active_admin_and_the_owner_becomes_one(env: &mut Env) {
    let world = World::new(env).await;
    let owner = as_user(env, &world.owner);
    let heir = somebody(&world, "roles/admin").await;
    let idle = somebody(&world, "roles/admin").await;
    env.operator.identity().suspend_user(pb::SuspendUserRequest { name: idle.clone() }).await.expect("suspended");
    for to in [&world.user, &idle, &world.owner] {
        assert_refused(transfer(&owner, &world.tenant, to).await, Code::FailedPrecondition, "STATE_CONFLICT");
    }
    let admin = as_user(env, &heir);
    let refused = transfer(&admin, &world.tenant, &heir).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // The platform's operator holds the permission and owns nothing; nor does a program.
    assert_refused(transfer(&env.operator, &world.tenant, &heir).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let robot = create_account(&env.operator, &world.tenant, "robot", Some("roles/owner")).await;
    let token = account_token(&env.operator, &robot).await;
    let robot = env.operator.with_token(Some(&token));
    assert_refused(transfer(&robot, &world.tenant, &heir).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let request = pb::TransferOwnershipRequest {
        name: world.tenant.clone(),
        new_owner: heir.clone(),
        validate_only: true,
        request_id: "give".into(),
    };
    owner.identity().transfer_ownership(request.clone()).await.expect("it could be");
    assert_eq!(roles(&owner, &world.owner).await, ["roles/owner"]);
    let request = pb::TransferOwnershipRequest { validate_only: false, ..request };
    let answer = owner.identity().transfer_ownership(request.clone()).await.expect("given").into_inner();
    let told = |user: Option<pb::User>| user.map(|user| (user.name, user.roles)).expect("a user");
    assert_eq!(told(answer.owner), (heir.clone(), vec!["roles/owner".to_owned()]));
    assert_eq!(told(answer.former_owner), (world.owner.clone(), vec!["roles/admin".to_owned()]));
    assert_eq!(last_event(env, &world).await.action, "tenants.transferOwnership");
    let again = owner.identity().transfer_ownership(request).await.expect("the same request").into_inner();
    assert_eq!(again.revision, answer.revision);
    let refused = transfer(&owner, &world.tenant, &heir).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // Another tenant's admin is nobody here.
    let foreign = World::named(env, "globex").await;
    let theirs = somebody(&foreign, "roles/admin").await;
    let nobody = theirs.replace("globex", "nobody");
    for to in [&theirs, &nobody] {
        assert_refused(transfer(&admin, &world.tenant, to).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    transfer(&admin, &world.tenant, &world.owner).await.expect("the way back is the new owner's");
}

/// Two at once: how many of them were done.
async fn at_once<A, B>(
    first: impl Future<Output = Result<A, Status>>,
    second: impl Future<Output = Result<B, Status>>,
) -> usize {
    let (first, second) = tokio::join!(first, second);
    for refused in [first.as_ref().err(), second.as_ref().err()].into_iter().flatten() {
        let codes = [Code::FailedPrecondition, Code::PermissionDenied, Code::NotFound, Code::Unauthenticated];
        assert!(codes.contains(&refused.code()), "{refused:?}");
    }
    usize::from(first.is_ok()) + usize::from(second.is_ok())
}

async fn a_tenant_keeps_an_owner_whatever_happens_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let (mut one, mut done) = (world.owner.clone(), BTreeSet::new());
    for round in 0..24 {
        let two = somebody(&world, "roles/owner").await;
        let (first, second) = (as_user(env, &one), as_user(env, &two));
        let many = match round % 4 {
            0 => at_once(remove(&first, &one), remove(&second, &two)).await,
            1 => at_once(change_role(&first, &one, "roles/member"), change_role(&second, &two, "roles/member")).await,
            2 => at_once(remove(&first, &two), remove(&second, &one)).await,
            _ => {
                let suspend = pb::SuspendUserRequest { name: one.clone() };
                let mut identity = second.identity();
                at_once(identity.suspend_user(suspend), remove(&first, &two)).await
            }
        };
        assert_eq!(many, 1, "round {round}");
        let owners = found(&env.operator, &world.tenant, "role = roles/owner state = ACTIVE").await;
        assert_eq!(owners.len(), 1, "round {round}: {owners:?}");
        done.insert(owners[0] == one);
        one = owners[0].clone();
    }
    assert!(!done.is_empty());
    // Two admins who remove each other.
    for round in 0..12 {
        let (one, two) = (somebody(&world, "roles/admin").await, somebody(&world, "roles/admin").await);
        let (first, second) = (as_user(env, &one), as_user(env, &two));
        assert_eq!(at_once(remove(&first, &two), remove(&second, &one)).await, 1, "round {round}");
        let left = found(&env.operator, &world.tenant, "role = roles/admin").await;
        assert_eq!(left.len(), 1, "round {round}");
        remove(&env.operator, &left[0]).await.expect("for the next round");
    }
    // Two heirs of one owner.
    for round in 0..6 {
        let (a, b) = (somebody(&world, "roles/admin").await, somebody(&world, "roles/admin").await);
        let owner = as_user(env, &one);
        assert_eq!(at_once(transfer(&owner, &world.tenant, &a), transfer(&owner, &world.tenant, &b)).await, 1);
        let owners = found(&env.operator, &world.tenant, "role = roles/owner state = ACTIVE").await;
        assert_eq!(owners.len(), 1, "round {round}");
        one = owners[0].clone();
        for admin in found(&env.operator, &world.tenant, "role = roles/admin").await {
            remove(&env.operator, &admin).await.expect("for the next round");
        }
    }
}
