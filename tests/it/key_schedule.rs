//! Keys that are due to be rotated: refused from their deadline on until they are, and told of before, once each.

use std::time::Duration;

use tollreeve::{
    app::key_warnings::warn_due,
    pb::tollreeve::v1::{self as pb, DenialCode},
};
use tonic::Code;

use super::{
    key_policy::{at, lay_down},
    mail::sending,
};
use crate::harness::{
    both,
    client::assert_refused,
    server::Env,
    smtp::Smtp,
    world::{NewKey, World, account_token, bind, codes, create_key, create_user},
};

both!(
    a_key_is_refused_from_its_deadline_on_until_it_is_rotated,
    an_older_secret_works_no_longer_than_it_would_have,
    a_key_that_ends_before_its_deadline_has_ended,
    a_policy_of_rotation_holds_for_the_secrets_that_are_made_under_it,
    each_warning_is_given_once_to_the_owner_and_on_record,
    of_a_service_accounts_key_those_are_warned_who_administer_the_workspace,
    what_was_missed_is_not_made_up_for_and_what_has_ended_is_not_warned_of,
);

const DAY: i64 = 86_400;

/// A world whose keys are due every 30 days and refused 2 days later, and a key in it.
async fn rotating(env: &Env) -> (World, NewKey) {
    let world = World::new(env).await;
    let policy = every_30_days();
    lay_down(&world.operator, &world.workspace, policy).await.expect("laid down");
    let key = world.another_key(pb::Key { display_name: "Build".into(), ..Default::default() }).await;
    (world, key)
}

fn every_30_days() -> pb::WorkspaceKeyPolicy {
    pb::WorkspaceKeyPolicy {
        rotation_interval_seconds: 30 * DAY,
        rotation_grace_seconds: 2 * DAY,
        ..Default::default()
    }
}

async fn read(world: &World, name: &str) -> pb::Key {
    let answer = world.operator.keys().get_key(pb::GetKeyRequest { name: name.into() }).await.expect("the key");
    answer.into_inner().key.expect("the key")
}

async fn check(world: &World, secret: &str) -> pb::AuthorizeResponse {
    // A token lasts for a day, and these tests for months.
    let token = account_token(&world.operator, &world.account).await;
    let world = World { sidecar: world.operator.with_token(Some(&token)), ..world.clone() };
    world.authorize(pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) }).await
}

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    codes(&check(world, secret).await)
}

async fn rotate(world: &World, name: &str, seconds: i64) -> pb::RotateKeyResponse {
    let overlap = Some(prost_types::Duration { seconds, nanos: 0 });
    let request = pb::RotateKeyRequest { name: name.into(), overlap, ..Default::default() };
    world.operator.keys().rotate_key(request).await.expect("rotated").into_inner()
}

fn days(days: i64) -> Duration {
    Duration::from_secs(u64::try_from(days * DAY).expect("later"))
}

async fn a_key_is_refused_from_its_deadline_on_until_it_is_rotated(env: &mut Env) {
    let (world, key) = rotating(env).await;
    let times = async || {
        let key = read(&world, &key.name).await;
        (key.rotation_due_time, key.rotation_deadline_time)
    };
    assert_eq!(times().await, (at(30 * DAY), at(32 * DAY)));
    assert_eq!(check(&world, &key.secret).await.key.expect("facts").expires_at, at(32 * DAY));
    env.clock.advance(days(32) - Duration::from_micros(1));
    assert_eq!(refusal(&world, &key.secret).await, [], "it works until the last moment of its grace");
    env.clock.advance(Duration::from_micros(1));
    assert_eq!(refusal(&world, &key.secret).await, [DenialCode::KeyExpired]);
    // It has not ended: it is listed as what it is, cannot be deleted, and is changed without coming back.
    let delete = pb::DeleteKeyRequest { name: key.name.clone(), ..Default::default() };
    assert_refused(world.operator.keys().delete_key(delete).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let named = pb::Key { name: key.name.clone(), display_name: "Late".into(), ..Default::default() };
    let update = pb::UpdateKeyRequest { key: Some(named), ..Default::default() };
    world.operator.keys().update_key(update).await.expect("renamed");
    let list = pb::ListKeysRequest {
        parent: world.workspace.clone(),
        filter: "rotation_due_time < 2100-01-01T00:00:00Z".into(),
        ..Default::default()
    };
    let due = world.operator.keys().list_keys(list).await.expect("a list").into_inner().keys;
    assert_eq!(due.iter().map(|due| due.name.as_str()).collect::<Vec<_>>(), [key.name.as_str()]);
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    let world = world.through(old.server.addr());
    assert_eq!(refusal(&world, &key.secret).await, [DenialCode::KeyExpired], "after a restart too");
    // The new secret works, the old one does not with it.
    let answer = rotate(&world, &key.name, DAY).await;
    assert_eq!(refusal(&world, &answer.secret).await, []);
    assert_eq!(refusal(&world, &key.secret).await, [DenialCode::KeyNotFound]);
    let rotated = answer.key.expect("the key");
    assert_eq!((rotated.retire_time, rotated.generation), (None, 2));
    assert_eq!((rotated.rotation_due_time, rotated.rotation_deadline_time), (at(62 * DAY), at(64 * DAY)));
    let fresh = std::mem::replace(env, old);
    fresh.end().await;
}

async fn an_older_secret_works_no_longer_than_it_would_have(env: &mut Env) {
    let (world, key) = rotating(env).await;
    env.clock.advance(days(31));
    let answer = rotate(&world, &key.name, 7 * DAY).await;
    assert_eq!(answer.key.expect("the key").retire_time, at(32 * DAY));
    env.clock.advance(days(1));
    assert_eq!(refusal(&world, &key.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &answer.secret).await, []);
}

async fn a_key_that_ends_before_its_deadline_has_ended(env: &mut Env) {
    let (world, _) = rotating(env).await;
    let key = world.another_key(pb::Key { expire_time: at(31 * DAY), ..Default::default() }).await;
    assert_eq!(check(&world, &key.secret).await.key.expect("facts").expires_at, at(31 * DAY));
    env.clock.advance(days(31));
    assert_eq!(refusal(&world, &key.secret).await, [DenialCode::KeyExpired]);
    let request = pb::RotateKeyRequest { name: key.name.clone(), ..Default::default() };
    let refused = world.operator.keys().rotate_key(request).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    assert!(warnings(&world, &key.name).await.iter().all(|said| !said.0.contains("overdue")));
}

async fn a_policy_of_rotation_holds_for_the_secrets_that_are_made_under_it(env: &mut Env) {
    let (world, key) = rotating(env).await;
    assert_eq!(read(&world, &world.key.name).await.rotation_due_time, None, "it was there before");
    rotate(&world, &world.key.name, 0).await;
    assert_eq!(read(&world, &world.key.name).await.rotation_due_time, at(30 * DAY));
    lay_down(&world.operator, &world.workspace, pb::WorkspaceKeyPolicy::default()).await.expect("taken back");
    assert_eq!(read(&world, &key.name).await.rotation_due_time, at(30 * DAY), "until it has another secret");
    rotate(&world, &key.name, 0).await;
    assert_eq!(read(&world, &key.name).await.rotation_due_time, None);
    env.clock.advance(days(400));
    warn_due(env.server.app()).await.expect("looks");
    assert_eq!(warnings(&world, &key.name).await, []);
}

/// What was said on record of the rotation of a key, oldest first, and by whom.
async fn warnings(world: &World, name: &str) -> Vec<(String, String)> {
    let filter = format!("resource = {name} action = keys.warnRotation");
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    let mut events = world.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events;
    events.sort_by_key(|event| event.name.rsplit('/').next().and_then(|seq| seq.parse::<i64>().ok()));
    let said = |event: &pb::AuditEvent| {
        let record: serde_json::Value = serde_json::from_str(&event.after).expect("a record");
        (record["warning"].as_str().expect("a warning").to_owned(), event.actor.clone())
    };
    events.iter().map(said).collect()
}

async fn each_warning_is_given_once_to_the_owner_and_on_record(env: &mut Env) {
    let smtp = Smtp::start().await;
    let own = sending(env, &smtp).await;
    let (world, key) = rotating(&own).await;
    // From the 1st day on to the 33rd, twice a day; a change of the key in between starts nothing anew.
    for half in 2..66 {
        own.clock.set(crate::harness::clock::START.after(Duration::from_secs(half * 43_200)));
        warn_due(own.server.app()).await.expect("warns");
        if half == 50 {
            let named = pb::Key { name: key.name.clone(), display_name: "Built".into(), ..Default::default() };
            let update = pb::UpdateKeyRequest { key: Some(named), ..Default::default() };
            world.operator.keys().update_key(update).await.expect("renamed");
        }
    }
    let said = warnings(&world, &key.name).await;
    let words = ["due in 14 days", "due in 7 days", "due in 1 day", "due", "overdue"];
    assert_eq!(said, words.map(|word| (word.to_owned(), "server".to_owned())));
    let mails = smtp.taken(5).await;
    assert!(mails.iter().all(|mail| mail.to == "dev@example.com"), "{mails:?}");
    for mail in &mails {
        assert!(mail.data.contains(&key.name[..20]) && !mail.data.contains("_tr_"), "{}", mail.data);
    }
    // Another secret, other warnings.
    rotate(&world, &key.name, 0).await;
    own.clock.advance(days(29));
    warn_due(own.server.app()).await.expect("warns");
    assert_eq!(warnings(&world, &key.name).await.len(), 6);
    assert_eq!(smtp.taken(6).await.len(), 6);
    own.end().await;
}

async fn of_a_service_accounts_key_those_are_warned_who_administer_the_workspace(env: &mut Env) {
    let smtp = Smtp::start().await;
    let own = sending(env, &smtp).await;
    let (world, key) = rotating(&own).await;
    let revoke = pb::RevokeKeyRequest { name: key.name.clone(), reason: String::new() };
    world.operator.keys().revoke_key(revoke).await.expect("revoked: nobody is told of it");
    let theirs = pb::Key { owner: world.account.clone(), ..Default::default() };
    create_key(&world.operator, &world.workspace, theirs).await;
    // Nobody administers the workspace alone: who owns the tenant is told.
    own.clock.advance(days(16));
    warn_due(own.server.app()).await.expect("warns");
    assert_eq!(smtp.taken(1).await[0].to, "olivia@example.com");
    let wes = create_user(&world.operator, &world.tenant, "wes@example.com", "roles/member", &[]).await;
    bind(&world.operator, &world.tenant, "roles/admin", &wes, &world.workspace).await;
    own.clock.advance(days(7));
    warn_due(own.server.app()).await.expect("warns");
    assert_eq!(smtp.taken(2).await[1].to, "wes@example.com");
    own.clock.advance(days(40));
    warn_due(own.server.app()).await.expect("warns");
    assert_eq!(smtp.taken(3).await.len(), 3);
    own.end().await;
}

async fn what_was_missed_is_not_made_up_for_and_what_has_ended_is_not_warned_of(env: &mut Env) {
    let (world, key) = rotating(env).await;
    let ends = world.another_key(pb::Key { expire_time: at(20 * DAY), ..Default::default() }).await;
    env.clock.advance(days(29));
    for _ in 0..3 {
        warn_due(env.server.app()).await.expect("warns");
    }
    let said: Vec<String> = warnings(&world, &key.name).await.into_iter().map(|(word, _)| word).collect();
    assert_eq!(said, ["due in 1 day"]);
    assert_eq!(warnings(&world, &ends.name).await, []);
}

mod two_servers_give_each_warning_once_between_them {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        crate::harness::server::on_postgres(super::warned_by_two).await;
    }
}

async fn warned_by_two(env: &mut Env) {
    let (world, key) = rotating(env).await;
    let second = env.beside().await;
    let others: Vec<NewKey> = {
        let mut keys = vec![key];
        for _ in 0..9 {
            keys.push(world.another_key(pb::Key::default()).await);
        }
        keys
    };
    for (advance, given) in [(16, 1), (7, 2), (6, 3), (1, 4), (2, 5)] {
        env.clock.advance(days(advance));
        second.clock.set(tollreeve::domain::time::Clock::now(&*env.clock));
        let (one, other) = tokio::join!(warn_due(env.server.app()), warn_due(second.server.app()));
        one.expect("warns");
        other.expect("warns");
        for key in &others {
            assert_eq!(warnings(&world, &key.name).await.len(), given, "{}", key.name);
        }
    }
    second.end().await;
}
