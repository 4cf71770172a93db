//! A key gets another secret: both work for a while, both are the same key, and whatever ends the key ends both.

use std::time::Duration;

use tollreeve::{
    app::key_rotation::{note_time, retire_due},
    pb::tollreeve::v1::{self as pb, DenialCode},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    clock::START,
    eventually,
    server::Env,
    world::{NewKey, World, codes, create_user, create_workspace, on_hold, on_key, unique},
};

both!(
    both_secrets_work_until_the_overlap_is_over_and_are_one_key,
    without_an_overlap_the_old_secret_ends_at_once,
    a_clock_that_is_set_back_does_not_bring_an_old_secret_back,
    an_old_secret_does_not_come_back_with_a_start_by_a_clock_that_was_set_back,
    what_ends_the_key_ends_both_of_its_secrets,
    a_key_has_two_secrets_at_most_unless_the_older_is_replaced_or_retired,
    the_end_of_a_secret_is_on_record_once_and_by_the_server,
    a_lost_answer_is_had_again_by_the_same_caller_and_request_only,
    what_was_shown_long_ago_or_is_not_the_newest_is_not_shown_again,
    who_may_rotate_a_key_is_who_could_have_made_it,
    both_secrets_are_known_after_a_restart,
);

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn asked(name: &str, overlap: i64) -> pb::RotateKeyRequest {
    pb::RotateKeyRequest { name: name.into(), overlap: seconds(overlap), ..pb::RotateKeyRequest::default() }
}

async fn rotate(client: &Client, request: pb::RotateKeyRequest) -> Result<pb::RotateKeyResponse, Status> {
    Ok(client.keys().rotate_key(request).await?.into_inner())
}

/// Rotates the world's key; gives the new secret.
async fn rotated(world: &World, overlap: i64) -> NewKey {
    let answer = rotate(&world.operator, asked(&world.key.name, overlap)).await.expect("rotated");
    NewKey { name: world.key.name.clone(), secret: answer.secret }
}

async fn check(world: &World, secret: &str) -> pb::AuthorizeResponse {
    world.authorize(pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) }).await
}

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    codes(&check(world, secret).await)
}

async fn read(client: &Client, name: &str) -> pb::Key {
    let answer = client.keys().get_key(pb::GetKeyRequest { name: name.into() }).await.expect("the key");
    answer.into_inner().key.expect("the key")
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START.micros() / 1_000_000 + seconds, nanos: 0 })
}

async fn both_secrets_work_until_the_overlap_is_over_and_are_one_key(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.create_budget(pb::Budget {
        scope: world.key.name.clone(),
        unit: pb::Unit::UsdNanos.into(),
        window: pb::Window::Total.into(),
        limit: 1_000_000,
        hard: Some(true),
        ..pb::Budget::default()
    });
    let budget = budget.await;
    let early = world.hold(world.ask()).await;
    let before = check(&world, &world.key.secret).await.key.expect("facts");
    assert_eq!((before.generation, before.retires_at), (1, None));
    let answer = rotate(&env.operator, asked(&world.key.name, 60)).await.expect("rotated");
    let (key, new) = (answer.key.expect("the key"), answer.secret);
    assert_eq!((key.name.as_str(), key.generation), (world.key.name.as_str(), 2));
    assert_eq!((key.retire_time, key.rotate_time, key.etag.as_str()), (at(60), at(0), "v2"));
    assert!(new.starts_with(key.hint.trim_end_matches('.')) && new != world.key.secret);
    env.clock.advance(Duration::from_secs(59));
    for (secret, generation, ends) in [(&world.key.secret, 1, at(60)), (&new, 2, None)] {
        let answer = check(&world, secret).await;
        assert_eq!(codes(&answer), []);
        let facts = answer.key.expect("facts");
        assert_eq!((facts.generation, facts.retires_at), (generation, ends));
        assert_eq!(answer.principal.expect("whose").key, world.key.name);
        let hold = world.hold(world.ask_with(secret)).await;
        world.charge(on_hold(&hold, 10)).await;
        world.charge(on_key(&NewKey { name: String::new(), secret: secret.clone() }, 1)).await;
    }
    assert_eq!(world.state(&budget).await.spent, 22, "one budget counts both");
    env.clock.advance(Duration::from_secs(1));
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &new).await, []);
    // What was held by the old secret is settled all the same.
    world.charge(on_hold(&early, 7)).await;
    assert_eq!(world.state(&budget).await.spent, 29);
    let long = pb::RotateKeyRequest { overlap: seconds(7 * 86_400 + 1), ..asked(&world.key.name, 0) };
    assert_invalid(env.operator.keys().rotate_key(long).await, "overlap");
}

async fn without_an_overlap_the_old_secret_ends_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let new = rotated(&world, 0).await;
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &new.secret).await, []);
    let key = read(&env.operator, &world.key.name).await;
    assert_eq!((key.generation, key.retire_time), (2, None));
    // Nothing stands in the way of the next one.
    let third = rotated(&world, 0).await;
    assert_eq!(refusal(&world, &new.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(check(&world, &third.secret).await.key.map(|facts| facts.generation), Some(3));
}

async fn a_clock_that_is_set_back_does_not_bring_an_old_secret_back(env: &mut Env) {
    let world = World::new(env).await;
    let new = rotated(&world, 60).await;
    env.clock.advance(Duration::from_secs(61));
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    env.clock.set(START);
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    // Nor does a change of the key, which carries what is in the books.
    let name = || world.key.name.clone();
    env.operator.keys().disable_key(pb::DisableKeyRequest { name: name() }).await.expect("disabled");
    env.operator.keys().enable_key(pb::EnableKeyRequest { name: name() }).await.expect("enabled");
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &new.secret).await, []);
}

async fn an_old_secret_does_not_come_back_with_a_start_by_a_clock_that_was_set_back(env: &mut Env) {
    let mine = std::mem::replace(env, env.another().await);
    let world = World::new(&mine).await;
    let new = rotated(&world, 60).await;
    mine.clock.advance(Duration::from_secs(57));
    note_time(mine.server.app()).await.expect("noted");
    mine.clock.advance(Duration::from_secs(3));
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    let clock = mine.clock.clone();
    let again = mine.restart_after(async |_| clock.set(START.after(Duration::from_secs(10)))).await;
    let world = world.through(again.server.addr());
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &new.secret).await, []);
    // One that is made by the clock as it is now works to its end.
    let third = pb::RotateKeyRequest { name: world.key.name.clone(), overlap: seconds(5), ..Default::default() };
    rotate(&again.operator, third).await.expect("rotated");
    assert_eq!(refusal(&world, &new.secret).await, []);
    again.clock.advance(Duration::from_secs(5));
    assert_eq!(refusal(&world, &new.secret).await, [DenialCode::KeyNotFound]);
    again.end().await;
}

async fn what_ends_the_key_ends_both_of_its_secrets(env: &mut Env) {
    let world = World::new(env).await;
    let new = rotated(&world, 3_600).await;
    let both = async || (refusal(&world, &world.key.secret).await, refusal(&world, &new.secret).await);
    let name = || world.key.name.clone();
    let mut keys = env.operator.keys();
    keys.disable_key(pb::DisableKeyRequest { name: name() }).await.expect("disabled");
    assert_eq!(both().await, (vec![DenialCode::KeyDisabled], vec![DenialCode::KeyDisabled]));
    keys.enable_key(pb::EnableKeyRequest { name: name() }).await.expect("enabled");
    assert_eq!(both().await, (vec![], vec![]));
    let ends = pb::Key { name: name(), expire_time: at(60), ..pb::Key::default() };
    let update = pb::UpdateKeyRequest { key: Some(ends), ..pb::UpdateKeyRequest::default() };
    keys.update_key(update).await.expect("ends sooner");
    env.clock.advance(Duration::from_secs(60));
    assert_eq!(both().await, (vec![DenialCode::KeyExpired], vec![DenialCode::KeyExpired]));
    let refused = rotate(&env.operator, pb::RotateKeyRequest { replace: true, ..asked(&name(), 0) }).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    env.clock.set(START);
    keys.revoke_key(pb::RevokeKeyRequest { name: name(), reason: String::new() }).await.expect("revoked");
    assert_eq!(both().await, (vec![DenialCode::KeyRevoked], vec![DenialCode::KeyRevoked]));
    let refused = rotate(&env.operator, pb::RotateKeyRequest { replace: true, ..asked(&name(), 0) }).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_key_has_two_secrets_at_most_unless_the_older_is_replaced_or_retired(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.key.name.as_str();
    let second = rotated(&world, 3_600).await;
    assert_refused(rotate(&env.operator, asked(name, 60)).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let replace = pb::RotateKeyRequest { replace: true, ..asked(name, 3_600) };
    let third = rotate(&env.operator, replace.clone()).await.expect("replaced").secret;
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!((refusal(&world, &second.secret).await, refusal(&world, &third).await), (vec![], vec![]));
    let stale = pb::RotateKeyRequest { etag: "v1".into(), ..replace };
    assert_eq!(rotate(&env.operator, stale).await.expect_err("stale").code(), Code::Aborted);
    let retire = pb::RetireKeySecretRequest { name: name.into(), ..pb::RetireKeySecretRequest::default() };
    let retired = env.operator.keys().retire_key_secret(retire.clone()).await.expect("retired").into_inner();
    let key = retired.key.expect("the key");
    assert_eq!((key.generation, key.retire_time), (3, None));
    assert_eq!(refusal(&world, &second.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &third).await, []);
    let again = env.operator.keys().retire_key_secret(retire).await.expect("nothing to do").into_inner();
    assert_eq!(again.key, Some(key));
    rotate(&env.operator, asked(name, 60)).await.expect("there is room again");
}

async fn the_end_of_a_secret_is_on_record_once_and_by_the_server(env: &mut Env) {
    let world = World::new(env).await;
    let new = rotated(&world, 60).await;
    let events = async || {
        let filter = format!("resource = {} action = keys.retireSecret", world.key.name);
        let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
        env.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events
    };
    retire_due(env.server.app()).await.expect("looks");
    assert_eq!((events().await.len(), read(&env.operator, &new.name).await.retire_time), (0, at(60)));
    env.clock.advance(Duration::from_secs(60));
    retire_due(env.server.app()).await.expect("retires");
    retire_due(env.server.app()).await.expect("looks");
    let events = events().await;
    assert_eq!(events.iter().map(|event| event.actor.as_str()).collect::<Vec<_>>(), ["server"]);
    let (before, after) = (&events[0].before, &events[0].after);
    assert!(before.contains("\"retiring\"") && !after.contains("\"retiring\""), "{before} {after}");
    assert!(!before.contains("hash"), "{before}");
    let key = read(&env.operator, &world.key.name).await;
    assert_eq!((key.generation, key.retire_time, key.etag.as_str()), (2, None, "v3"));
    assert_eq!(refusal(&world, &new.secret).await, []);
    // With the books as they are now, no clock brings it back, not even at a server that has just started.
    env.clock.set(START);
    let list = pb::ListKeysRequest { parent: world.workspace.clone(), ..pb::ListKeysRequest::default() };
    let found = async |word: &str| {
        let list = pb::ListKeysRequest { filter: word.into(), ..list.clone() };
        env.operator.keys().list_keys(list).await.expect("a list").into_inner().keys.len()
    };
    let public_id = |secret: &str| secret.split('_').nth(2).expect("a public id").to_owned();
    assert_eq!(found(&public_id(&new.secret)).await, 1);
    assert_eq!(found(&public_id(&world.key.secret)).await, 0);
}

async fn a_lost_answer_is_had_again_by_the_same_caller_and_request_only(env: &mut Env) {
    let world = World::new(env).await;
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let key = || pb::Key { owner: world.user.clone(), display_name: "Mine".into(), ..pb::Key::default() };
    let create = pb::CreateKeyRequest {
        parent: world.workspace.clone(),
        key: Some(key()),
        request_id: unique("create"),
        validate_only: false,
    };
    let made = own.keys().create_key(create.clone()).await.expect("a key").into_inner();
    let again = own.keys().create_key(create.clone()).await.expect("the same").into_inner();
    assert_eq!((&again.secret, &again.key, again.revision), (&made.secret, &made.key, made.revision));
    assert_eq!(refusal(&world, &again.secret).await, []);
    let other = pb::CreateKeyRequest { key: Some(pb::Key { display_name: "Other".into(), ..key() }), ..create.clone() };
    let refused = own.keys().create_key(other).await;
    assert_eq!(refused.expect_err("another body").code(), Code::AlreadyExists);
    // Somebody else's request of the same id is another one.
    let theirs = env.operator.keys().create_key(create.clone()).await.expect("a key").into_inner();
    assert_ne!(
        (theirs.secret, theirs.key.expect("a key").name),
        (made.secret.clone(), made.key.as_ref().expect("a key").name.clone())
    );
    let name = made.key.expect("a key").name;
    let only = pb::CreateKeyRequest { validate_only: true, request_id: unique("tried"), ..create };
    assert_eq!(own.keys().create_key(only).await.expect("it could be").into_inner().secret, "");
    let rotation = pb::RotateKeyRequest { request_id: unique("rotate"), ..asked(&name, 60) };
    let first = rotate(&own, rotation.clone()).await.expect("rotated");
    let second = rotate(&own, rotation.clone()).await.expect("the same");
    assert_eq!((&second.secret, &second.key, second.revision), (&first.secret, &first.key, first.revision));
    assert_ne!(first.secret, made.secret);
    let other = pb::RotateKeyRequest { overlap: seconds(61), ..rotation };
    assert_eq!(rotate(&own, other).await.expect_err("another body").code(), Code::AlreadyExists);
    let only = pb::RotateKeyRequest { replace: true, validate_only: true, ..asked(&name, 60) };
    assert_eq!(rotate(&own, only).await.expect("it could be").secret, "");
    assert_eq!((refusal(&world, &made.secret).await, refusal(&world, &first.secret).await), (vec![], vec![]));
}

async fn what_was_shown_long_ago_or_is_not_the_newest_is_not_shown_again(env: &mut Env) {
    let world = World::new(env).await;
    let create = |request_id: &str| pb::CreateKeyRequest {
        parent: world.workspace.clone(),
        key: Some(pb::Key { owner: world.user.clone(), ..pb::Key::default() }),
        request_id: request_id.into(),
        validate_only: false,
    };
    let made = env.operator.keys().create_key(create("one")).await.expect("a key").into_inner();
    let name = made.key.expect("a key").name;
    let rotation = pb::RotateKeyRequest { request_id: "two".into(), ..asked(&name, 60) };
    rotate(&env.operator, rotation.clone()).await.expect("rotated");
    let refused = env.operator.keys().create_key(create("one")).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    env.clock.advance(Duration::from_secs(86_399));
    rotate(&env.operator, rotation.clone()).await.expect("shown again");
    env.clock.advance(Duration::from_secs(1));
    assert_refused(rotate(&env.operator, rotation).await, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn who_may_rotate_a_key_is_who_could_have_made_it(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.key.name.as_str();
    let somebody = async |role: &str| {
        let user = create_user(&env.operator, &world.tenant, &format!("{}@example.com", unique("u")), role, &[]).await;
        env.operator.with_token(Some(&env.user_token(&user)))
    };
    let replace = || pb::RotateKeyRequest { replace: true, ..asked(name, 60) };
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    rotate(&own, replace()).await.expect("one's own");
    for role in ["roles/developer", "roles/reader", "roles/analyst"] {
        assert_eq!(rotate(&somebody(role).await, replace()).await.expect_err(role).code(), Code::PermissionDenied);
    }
    rotate(&somebody("roles/owner").await, replace()).await.expect("who holds all that the key gives");
    // Whoever has the permission alone lacks what the secret would give them.
    let role = crate::harness::world::create_role(&env.operator, &world.tenant, "rotator", &["keys:rotate"]).await;
    let rotator = somebody(&role).await;
    let refused = rotate(&rotator, replace()).await.expect_err("it gives more");
    assert_eq!(refused.code(), Code::PermissionDenied);
    // To end a secret gives nobody anything.
    let retire = pb::RetireKeySecretRequest { name: name.into(), ..pb::RetireKeySecretRequest::default() };
    rotator.keys().retire_key_secret(retire.clone()).await.expect("retired");
    let refused = somebody("roles/developer").await.keys().retire_key_secret(retire).await.expect_err("not theirs");
    assert_eq!(refused.code(), Code::PermissionDenied);
    // A key elsewhere is not found under the name of another workspace.
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    let moved = name.replacen(&world.workspace, &other, 1);
    assert_eq!(rotate(&env.operator, asked(&moved, 60)).await.expect_err("elsewhere").code(), Code::NotFound);
}

async fn both_secrets_are_known_after_a_restart(env: &mut Env) {
    let world = World::new(env).await;
    let new = rotated(&world, 60).await;
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    let again = world.through(old.server.addr());
    for (secret, generation) in [(&world.key.secret, 1), (&new.secret, 2)] {
        let answer = check(&again, secret).await;
        assert_eq!((codes(&answer), answer.key.map(|facts| facts.generation)), (vec![], Some(generation)));
    }
    old.clock.advance(Duration::from_secs(60));
    assert_eq!(refusal(&again, &world.key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&again, &new.secret).await, []);
    let fresh = std::mem::replace(env, old);
    fresh.end().await;
}

mod a_rotation_at_one_server_is_known_at_the_other {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        crate::harness::server::on_postgres(super::rotated_at_one).await;
    }
}

async fn rotated_at_one(env: &mut Env) {
    let world = World::new(env).await;
    let second = env.beside().await;
    let other = world.through(second.server.addr());
    let allowed = async |world: &World, secret: &str| {
        let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
        world.try_authorize(asked).await.is_ok_and(|answer| answer.decision() == pb::Decision::Allow)
    };
    eventually("the other serves", async || allowed(&other, &world.key.secret).await.then_some(())).await;
    let mut last = world.key.secret.clone();
    for round in 0..20 {
        // Acknowledged is known everywhere, by turns here and there.
        let operator = if round % 2 == 0 { &world.operator } else { &other.operator };
        let new = rotate(operator, asked(&world.key.name, 0)).await.expect("rotated").secret;
        for world in [&world, &other] {
            assert!(allowed(world, &new).await, "round {round}: the new one is known");
            assert!(!allowed(world, &last).await, "round {round}: the old one has ended");
        }
        last = new;
    }
    second.end().await;
}
