//! Revoked means revoked: when a restricting change has been acknowledged, no call that starts later is allowed by the
//! old state.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::reason,
    server::Env,
    world::{World, account_token, bind, create_account},
};

both!(
    a_disabled_key_is_refused_by_the_first_call_after_it,
    a_revoked_key_is_refused_by_the_first_call_after_it,
    a_suspended_user_is_refused_by_the_first_call_after_it,
    a_suspended_workspace_is_refused_by_the_first_call_after_it,
    a_suspended_tenant_is_refused_by_the_first_call_after_it,
    a_suspended_sidecar_is_refused_by_the_first_call_after_it,
    a_deleted_binding_gives_nothing_to_the_first_call_after_it,
    a_lowered_limit_refuses_the_first_call_after_it,
);

/// How often each restriction is made and taken back.
const ROUNDS: usize = 40;
/// Callers beside the one that looks.
const TRAFFIC: usize = 4;

type Answer = Result<pb::AuthorizeResponse, Status>;

fn allowed(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.decision() == pb::Decision::Allow)
}

/// Makes a restriction and takes it back, again and again, while others ask all the time: no call that begins after the
/// acknowledgement is allowed, and the first one after the way back is.
async fn restricted(world: &World, off: impl AsyncFn(usize), on: impl AsyncFn(usize)) {
    let check = || pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask() };
    let closed = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let traffic: Vec<_> = (0..TRAFFIC)
        .map(|_| {
            let (world, asked) = (world.clone(), check());
            let (closed, stop, calls) = (Arc::clone(&closed), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let before = closed.load(Ordering::SeqCst);
                    let answer = world.try_authorize(asked.clone()).await;
                    let after = closed.load(Ordering::SeqCst);
                    assert!(!(before && after && allowed(&answer)), "allowed after the acknowledgement");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..ROUNDS {
        assert!(
            allowed(&world.try_authorize(check()).await),
            "round {round}: allowed as long as nothing is restricted"
        );
        off(round).await;
        closed.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let answer = world.try_authorize(check()).await;
            assert!(!allowed(&answer), "round {round}: {answer:?}");
        }
        closed.store(false, Ordering::SeqCst);
        on(round).await;
    }
    stop.store(true, Ordering::SeqCst);
    for caller in traffic {
        caller.await.expect("no call was allowed after the acknowledgement");
    }
    assert!(calls.load(Ordering::SeqCst) > 0);
}

async fn a_disabled_key_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = || world.key.name.clone();
    let off = async |_| {
        env.operator.keys().disable_key(pb::DisableKeyRequest { name: name() }).await.expect("disabled");
    };
    let on = async |_| {
        env.operator.keys().enable_key(pb::EnableKeyRequest { name: name() }).await.expect("enabled");
    };
    restricted(&world, off, on).await;
}

async fn a_revoked_key_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let asked = |secret: &str| pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
    for round in 0..ROUNDS {
        let key = world.another_key(pb::Key::default()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let traffic: Vec<_> = (0..TRAFFIC)
            .map(|_| {
                let (world, asked, stop) = (world.clone(), asked(&key.secret), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut refused = false;
                    while !stop.load(Ordering::SeqCst) {
                        let allowed = allowed(&world.try_authorize(asked.clone()).await);
                        assert!(!(refused && allowed), "what was refused once stays refused");
                        refused = !allowed;
                    }
                })
            })
            .collect();
        assert!(allowed(&world.try_authorize(asked(&key.secret)).await), "round {round}: a new key works at once");
        let request = pb::RevokeKeyRequest { name: key.name.clone(), reason: String::new() };
        env.operator.keys().revoke_key(request).await.expect("revoked");
        assert!(!allowed(&world.try_authorize(asked(&key.secret)).await), "round {round}");
        stop.store(true, Ordering::SeqCst);
        for caller in traffic {
            caller.await.expect("what was refused once stays refused");
        }
    }
}

async fn a_suspended_user_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = || world.user.clone();
    let off = async |_| {
        env.operator.identity().suspend_user(pb::SuspendUserRequest { name: name() }).await.expect("suspended");
    };
    let on = async |_| {
        env.operator.identity().reactivate_user(pb::ReactivateUserRequest { name: name() }).await.expect("back");
    };
    restricted(&world, off, on).await;
    // Nor may they act themselves.
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    own.access().list_roles(pb::ListRolesRequest::default()).await.expect("may ask");
    off(0).await;
    let refused = own.access().list_roles(pb::ListRolesRequest::default()).await.expect_err("suspended");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));
}

async fn a_suspended_workspace_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = || world.workspace.clone();
    let off = async |_| {
        let request = pb::SuspendWorkspaceRequest { name: name() };
        env.operator.identity().suspend_workspace(request).await.expect("suspended");
    };
    let on = async |_| {
        let request = pb::ReactivateWorkspaceRequest { name: name() };
        env.operator.identity().reactivate_workspace(request).await.expect("back");
    };
    restricted(&world, off, on).await;
}

async fn a_suspended_tenant_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = || world.tenant.clone();
    let off = async |_| {
        env.operator.identity().suspend_tenant(pb::SuspendTenantRequest { name: name() }).await.expect("suspended");
    };
    let on = async |_| {
        env.operator.identity().reactivate_tenant(pb::ReactivateTenantRequest { name: name() }).await.expect("back");
    };
    restricted(&world, off, on).await;
}

async fn a_suspended_sidecar_is_refused_by_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = || world.account.clone();
    let off = async |_| {
        let request = pb::SuspendServiceAccountRequest { name: name() };
        env.operator.identity().suspend_service_account(request).await.expect("suspended");
        let refused = world.try_authorize(world.ask()).await.expect_err("its token is good for nothing");
        assert_eq!(refused.code(), Code::Unauthenticated);
    };
    let on = async |_| {
        let request = pb::ReactivateServiceAccountRequest { name: name() };
        env.operator.identity().reactivate_service_account(request).await.expect("back");
    };
    restricted(&world, off, on).await;
}

async fn a_deleted_binding_gives_nothing_to_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let bound = create_account(&env.operator, &world.tenant, "bound", None).await;
    let token = account_token(&env.operator, &bound).await;
    let world = World { sidecar: env.operator.with_token(Some(&token)), ..world };
    let give = async || bind(&env.operator, &world.tenant, "roles/sidecar", &bound, &world.workspace).await;
    let name = parking_lot::Mutex::new(give().await);
    let off = async |_| {
        let request = pb::DeleteBindingRequest { name: name.lock().clone() };
        env.operator.access().delete_binding(request).await.expect("deleted");
    };
    let on = async |_| {
        let given = give().await;
        *name.lock() = given;
    };
    restricted(&world, off, on).await;
}

async fn a_lowered_limit_refuses_the_first_call_after_it(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let off = async |round: usize| world.set_limit(&budget, i64::try_from(round).expect("small") % 3).await;
    let on = async |_| world.set_limit(&budget, 1_000_000).await;
    restricted(&world, off, on).await;
}
