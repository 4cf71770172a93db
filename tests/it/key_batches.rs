//! Many keys are made at once, all of them or none, and decisions know every one when the answer comes.

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, fields},
    clock::START,
    server::Env,
    world::{World, codes, create_user, unique},
};

both!(
    many_keys_are_made_all_or_none_and_work_at_once,
    a_lost_answer_with_many_secrets_is_had_again,
    keys_by_the_thousand_are_known_to_decisions_when_the_answer_comes,
);

fn key(world: &World, display_name: &str) -> pb::Key {
    pb::Key { owner: world.user.clone(), display_name: display_name.into(), ..pb::Key::default() }
}

fn request(world: &World, keys: Vec<pb::Key>) -> pb::BatchCreateKeysRequest {
    pb::BatchCreateKeysRequest { parent: world.workspace.clone(), keys, ..Default::default() }
}

async fn make(client: &Client, asked: pb::BatchCreateKeysRequest) -> Result<Vec<pb::CreatedKey>, Status> {
    client.keys().batch_create_keys(asked).await.map(|answer| answer.into_inner().keys)
}

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
    codes(&world.authorize(asked).await)
}

async fn count(world: &World) -> usize {
    let list = pb::ListKeysRequest { parent: world.workspace.clone(), page_size: 1000, ..Default::default() };
    world.operator.keys().list_keys(list).await.expect("a list").into_inner().keys.len()
}

async fn many_keys_are_made_all_or_none_and_work_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let list = Some(pb::Allowlist { models: vec!["other*".into()], ..pb::Allowlist::default() });
    let three = vec![key(&world, "a"), pb::Key { allowlist: list, ..key(&world, "b") }, key(&world, "c")];
    let made = make(&env.operator, request(&world, three.clone())).await.expect("made");
    let names: Vec<&str> =
        made.iter().filter_map(|one| one.key.as_ref()).map(|key| key.display_name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(refusal(&world, &made[0].secret).await, []);
    assert_eq!(refusal(&world, &made[1].secret).await, [DenialCode::ModelNotAllowed]);
    assert_eq!(refusal(&world, &made[2].secret).await, []);
    let before = count(&world).await;
    let past = Some(prost_types::Timestamp { seconds: START.micros() / 1_000_000 - 1, nanos: 0 });
    let stranger = format!("{}/users/user_{}", world.tenant, "0".repeat(26));
    for (bad, code, field) in [
        (pb::Key { expire_time: past, ..key(&world, "d") }, Code::InvalidArgument, Some("keys[3].expire_time")),
        (pb::Key { owner: "nonsense".into(), ..key(&world, "d") }, Code::InvalidArgument, Some("keys[3].owner")),
        (pb::Key { owner: stranger, ..key(&world, "d") }, Code::NotFound, None),
    ] {
        let all = three.iter().cloned().chain([bad]).collect();
        let refused = make(&env.operator, request(&world, all)).await.expect_err("not all");
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(refused.message().starts_with("keys[3]"), "{refused:?}");
        assert_eq!(fields(&refused).first().map(String::as_str), field);
    }
    for count in [0, 1001] {
        let refused = make(&env.operator, request(&world, vec![key(&world, "e"); count])).await.expect_err("too many");
        assert_eq!(fields(&refused), ["keys"]);
    }
    let only = pb::BatchCreateKeysRequest { validate_only: true, ..request(&world, three) };
    assert!(make(&env.operator, only).await.expect("could be").iter().all(|one| one.secret.is_empty()));
    assert_eq!(count(&world).await, before, "none of them was made");
    // Whoever may make a key of their own alone may make many of them, and none of somebody else's.
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    make(&own, request(&world, vec![key(&world, "f"), key(&world, "g")])).await.expect("their own");
    let other = create_user(&env.operator, &world.tenant, "o@example.com", "roles/developer", &[]).await;
    let theirs = vec![key(&world, "h"), pb::Key { owner: other, ..key(&world, "i") }];
    let refused = make(&own, request(&world, theirs)).await.expect_err("not theirs");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(count(&world).await, before + 2);
}

async fn a_lost_answer_with_many_secrets_is_had_again(env: &mut Env) {
    let world = World::new(env).await;
    let asked = pb::BatchCreateKeysRequest {
        request_id: unique("many"),
        ..request(&world, vec![key(&world, "same"), key(&world, "same")])
    };
    let made = make(&env.operator, asked.clone()).await.expect("made");
    assert_ne!(made[0].secret, made[1].secret);
    let before = count(&world).await;
    assert_eq!(make(&env.operator, asked.clone()).await.expect("again"), made);
    assert_eq!(count(&world).await, before);
    let other = pb::BatchCreateKeysRequest { keys: vec![key(&world, "same")], ..asked };
    assert_eq!(make(&env.operator, other).await.expect_err("another body").code(), Code::AlreadyExists);
}

async fn keys_by_the_thousand_are_known_to_decisions_when_the_answer_comes(env: &mut Env) {
    let world = World::new(env).await;
    let (before, app) = (env.server.app().gate.key_count(), env.server.app());
    for turn in 0..3 {
        let keys = (0..1000).map(|n| key(&world, &format!("{turn} {n}"))).collect();
        let made = make(&env.operator, request(&world, keys)).await.expect("made");
        for one in [&made[0], &made[999]] {
            assert_eq!(refusal(&world, &one.secret).await, []);
        }
        assert_eq!(app.gate.key_count(), before + (turn + 1) * 1000);
    }
}
