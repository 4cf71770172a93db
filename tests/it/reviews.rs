//! Access reviews: who has what, and for how long it has gone unused.

use std::{collections::BTreeSet, time::Duration};

use tollreeve::{
    app::reviews::write_down_uses,
    domain::{
        key_secret::{KeySecret, RANDOM_BYTES},
        time::Clock as _,
    },
    pb::tollreeve::v1::{self as pb, AccessKind, DenialCode},
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
    a_use_is_noted_to_the_second_and_outlives_an_orderly_stop,
    a_review_lists_what_has_gone_unused_for_longest_first,
    pages_of_a_review_show_everything_once,
    a_purged_tenant_leaves_no_trace_of_who_was_used,
);

once!(a_review_asks_for_the_permission_of_each_kind, questions_that_cannot_be_are_refused);

const DAY: Duration = Duration::from_secs(86_400);

async fn write_down(env: &Env) {
    write_down_uses(env.server.app()).await.expect("written");
}

fn now(env: &Env) -> i64 {
    env.clock.now().micros().div_euclid(1_000_000)
}

async fn review(client: &Client, request: &pb::ReviewAccessRequest) -> Result<pb::ReviewAccessResponse, Status> {
    Ok(client.access().review_access(request.clone()).await?.into_inner())
}

fn of(world: &World, kinds: &[AccessKind]) -> pb::ReviewAccessRequest {
    let kinds = kinds.iter().map(|kind| (*kind).into()).collect();
    pb::ReviewAccessRequest { parent: world.tenant.clone(), kinds, ..Default::default() }
}

/// A well-formed key with the same public id.
fn with_another_secret(key: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let id = key.split('_').nth(2).expect("a public id");
    let mut random = [0; RANDOM_BYTES];
    for (byte, digit) in random.iter_mut().zip(id.bytes()) {
        *byte = DIGITS.iter().position(|known| *known == digit).and_then(|at| at.try_into().ok()).expect("a digit");
    }
    let other = KeySecret::generate("prod", &random).expect("a key").expose().to_owned();
    assert!(other != key && other.contains(id));
    other
}

/// The same world with a sidecar whose token is good for another day.
async fn renewed(world: World) -> World {
    let token = account_token(&world.operator, &world.account).await;
    World { sidecar: world.operator.with_token(Some(&token)), ..world }
}

async fn last_uses(env: &Env, world: &World) -> (Option<i64>, Option<i64>) {
    let user = pb::GetUserRequest { name: world.user.clone() };
    let user = env.operator.identity().get_user(user).await.expect("a user").into_inner().user.expect("a user");
    let key = pb::GetKeyRequest { name: world.key.name.clone() };
    let key = env.operator.keys().get_key(key).await.expect("a key").into_inner().key.expect("a key");
    (user.last_use_time.map(|at| at.seconds), key.last_use_time.map(|at| at.seconds))
}

async fn a_use_is_noted_to_the_second_and_outlives_an_orderly_stop(env: &mut Env) {
    let world = World::new(env).await;
    write_down(env).await;
    assert_eq!(last_uses(env, &world).await, (None, None));
    env.clock.advance(Duration::from_millis(90_500));
    let called = now(env);
    world.hold(world.ask()).await;
    assert_eq!(last_uses(env, &world).await, (None, None), "not yet written down");
    env.clock.advance(Duration::from_secs(3_000));
    write_down(env).await;
    assert_eq!(last_uses(env, &world).await, (Some(called), Some(called)), "the owner is used by their key");
    // A management call uses whoever calls and nothing else. Refused, it is a use as well.
    env.clock.advance(Duration::from_secs(7));
    let managed = now(env);
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let suspend = pb::SuspendTenantRequest { name: world.tenant.clone() };
    assert_refused(user.identity().suspend_tenant(suspend).await, Code::PermissionDenied, "PERMISSION_MISSING");
    write_down(env).await;
    assert_eq!(last_uses(env, &world).await, (Some(managed), Some(called)));
    // Written down again it stays what it is.
    env.clock.advance(DAY);
    write_down(env).await;
    assert_eq!(last_uses(env, &world).await, (Some(managed), Some(called)));
    let world = renewed(world).await;
    // A wrong secret is no use of the key.
    let wrong = with_another_secret(&world.key.secret);
    assert_eq!(codes(&world.authorize(world.ask_with(&wrong)).await), [DenialCode::KeyNotFound]);
    write_down(env).await;
    assert_eq!(last_uses(env, &world).await, (Some(managed), Some(called)));
    // A key that is changed keeps what is noted of it; and a stop writes down what is left.
    world.hold(world.ask()).await;
    let again = now(env);
    env.operator.keys().disable_key(pb::DisableKeyRequest { name: world.key.name.clone() }).await.expect("disabled");
    env.clock.advance(Duration::from_secs(5));
    let fresh = env.another().await;
    let env = std::mem::replace(env, fresh).restart().await;
    assert_eq!(last_uses(&env, &World { operator: env.operator.clone(), ..world }).await, (Some(again), Some(again)));
    env.end().await;
}

async fn a_review_lists_what_has_gone_unused_for_longest_first(env: &mut Env) {
    let world = World::new(env).await;
    let start = now(env);
    let team = bind(&env.operator, &world.tenant, "roles/analyst", &world.team, &world.workspace).await;
    env.clock.advance(10 * DAY);
    let world = renewed(world).await;
    world.hold(world.ask()).await;
    write_down(env).await;
    env.clock.advance(20 * DAY);
    let late = create_user(&env.operator, &world.tenant, "late@example.com", "roles/reader", &[]).await;
    env.clock.advance(DAY);
    let all = review(&env.operator, &of(&world, &[])).await.expect("a review").records;
    let find = |name: &str| all.iter().find(|record| record.name == name).expect(name);
    let owner = find(&world.owner);
    assert_eq!((owner.kind(), owner.title.as_str(), owner.active), (AccessKind::User, "olivia@example.com", true));
    assert_eq!((owner.last_use_time, owner.create_time.map(|at| at.seconds)), (None, Some(start)));
    let days = |span: &Option<prost_types::Duration>| span.as_ref().map(|span| span.seconds / 86_400);
    assert_eq!((days(&owner.unused_for), days(&owner.age)), (Some(31), Some(31)));
    let user = find(&world.user);
    assert_eq!(user.last_use_time.map(|at| at.seconds), Some(start + 10 * 86_400));
    assert_eq!((days(&user.unused_for), days(&user.age)), (Some(21), Some(31)));
    let key = find(&world.key.name);
    assert_eq!((key.kind(), &key.member, &key.scope), (AccessKind::Key, &world.user, &world.workspace));
    assert_eq!(days(&key.unused_for), Some(21));
    let account = find(&world.account);
    assert_eq!((account.kind(), days(&account.unused_for)), (AccessKind::ServiceAccount, Some(21)));
    let team = find(&team);
    assert_eq!((team.kind(), &team.member, &team.scope), (AccessKind::Binding, &world.team, &world.workspace));
    assert_eq!((team.role.as_str(), days(&team.unused_for)), ("roles/analyst", Some(21)), "by a member of the team");
    let idle: Vec<i64> = all.iter().filter_map(|record| record.unused_for.map(|span| span.seconds)).collect();
    assert!(idle.is_sorted_by(|a, b| a >= b) && idle.len() == all.len(), "{idle:?}");
    // Only what has been unused for long; never used counts from when it was made.
    let stale = pb::ReviewAccessRequest {
        unused_for: Some(prost_types::Duration { seconds: 30 * 86_400, nanos: 0 }),
        ..of(&world, &[AccessKind::User, AccessKind::Binding])
    };
    let stale = review(&env.operator, &stale).await.expect("a review").records;
    let names: BTreeSet<&str> = stale.iter().map(|record| record.name.as_str()).collect();
    assert!(names.contains(&*world.owner) && !names.contains(&*world.user) && !names.contains(&*late), "{names:?}");
    assert_eq!(stale.len(), 2, "the owner and their role: {stale:?}");
    // A binding that was made after its member was last seen has never been used.
    let new = bind(&env.operator, &world.tenant, "roles/reader", &world.user, &world.project).await;
    let youngest =
        pb::ReviewAccessRequest { order_by: "create_time desc".into(), ..of(&world, &[AccessKind::Binding]) };
    let first = review(&env.operator, &youngest).await.expect("a review").records.swap_remove(0);
    assert_eq!((first.name, first.last_use_time), (new, None));
    // A revoked key is no access.
    let revoke = pb::RevokeKeyRequest { name: world.key.name.clone(), reason: String::new() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
    assert_eq!(review(&env.operator, &of(&world, &[AccessKind::Key])).await.expect("a review").records, []);
}

async fn pages_of_a_review_show_everything_once(env: &mut Env) {
    let world = World::new(env).await;
    for n in 0..9 {
        env.clock.advance(Duration::from_secs(n % 2));
        create_user(&env.operator, &world.tenant, &format!("u{n}@example.com"), "roles/reader", &[]).await;
    }
    World::named(env, "globex").await;
    for order_by in ["", "last_use_time desc", "create_time", "create_time desc"] {
        let whole = pb::ReviewAccessRequest { order_by: order_by.into(), ..of(&world, &[]) };
        let all: Vec<String> =
            review(&env.operator, &whole).await.expect("all").records.into_iter().map(|r| r.name).collect();
        assert!(all.len() > 20 && all.iter().all(|name| name.starts_with("tenants/acme/")), "{all:?}");
        let mut request = pb::ReviewAccessRequest { page_size: 4, ..whole };
        let mut seen = Vec::new();
        loop {
            let page = review(&env.operator, &request).await.expect("a page");
            seen.extend(page.records.into_iter().map(|record| record.name));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen, all, "{order_by}");
        let other = pb::ReviewAccessRequest { kinds: vec![AccessKind::User.into()], ..request };
        assert_invalid(review(&env.operator, &other).await, "page_token");
    }
}

async fn a_purged_tenant_leaves_no_trace_of_who_was_used(env: &mut Env) {
    let world = World::new(env).await;
    world.hold(world.ask()).await;
    write_down(env).await;
    world.hold(world.ask()).await;
    let name = || world.tenant.clone();
    let mut identity = env.operator.identity();
    identity.delete_tenant(pb::DeleteTenantRequest { name: name(), ..Default::default() }).await.expect("deleted");
    identity.purge_tenant(pb::PurgeTenantRequest { name: name(), ..Default::default() }).await.expect("purged");
    write_down(env).await;
    let mut tx = env.server.app().db.read().await.expect("a transaction");
    let ids = [&world.user, &world.key.name].map(|name| name.rsplit('/').next().unwrap_or_default().to_owned());
    let uses = tollreeve::store::last_used::of(&mut tx, ids.clone().into_iter()).await.expect("read");
    assert!(ids.iter().all(|id| uses.of(id).is_none()));
}

async fn a_review_asks_for_the_permission_of_each_kind(env: &mut Env) {
    let world = World::new(env).await;
    let reader = env.operator.with_token(Some(&env.user_token(&world.user)));
    for kind in [AccessKind::User, AccessKind::ServiceAccount, AccessKind::Key, AccessKind::Binding] {
        review(&env.operator, &of(&world, &[kind])).await.expect("the operator may");
        assert_refused(review(&reader, &of(&world, &[kind])).await, Code::PermissionDenied, "PERMISSION_MISSING");
    }
    let admin = create_account(&env.operator, &world.tenant, "auditor", Some("roles/admin")).await;
    let admin = env.operator.with_token(Some(&account_token(&env.operator, &admin).await));
    review(&admin, &of(&world, &[])).await.expect("an admin may");
    let other = World::named(env, "globex").await;
    assert_refused(review(&admin, &of(&other, &[])).await, Code::NotFound, "RESOURCE_NOT_FOUND");
}

async fn questions_that_cannot_be_are_refused(env: &mut Env) {
    let world = World::new(env).await;
    let good = of(&world, &[]);
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (bad, field) in [
        (pb::ReviewAccessRequest { parent: String::new(), ..good.clone() }, "parent"),
        (pb::ReviewAccessRequest { kinds: vec![1, 9], ..good.clone() }, "kinds[1]"),
        (pb::ReviewAccessRequest { kinds: vec![0], ..good.clone() }, "kinds[0]"),
        (pb::ReviewAccessRequest { unused_for: span(-1), ..good.clone() }, "unused_for"),
        (pb::ReviewAccessRequest { order_by: "age".into(), ..good.clone() }, "order_by"),
        (pb::ReviewAccessRequest { page_size: -1, ..good.clone() }, "page_size"),
        (pb::ReviewAccessRequest { page_token: "bm9uc2Vuc2U".into(), ..good.clone() }, "page_token"),
    ] {
        assert_invalid(review(&env.operator, &bad).await, field);
    }
    let forever = pb::ReviewAccessRequest { unused_for: span(i64::MAX), ..good };
    assert_eq!(review(&env.operator, &forever).await.expect("nothing is that old").records, []);
}
