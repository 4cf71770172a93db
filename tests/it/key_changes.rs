//! What can be changed of a key and by whom; how keys are found, deleted, and revoked by the hundred.

use std::{collections::BTreeMap, time::Duration};

use prost_types::FieldMask;
use tollreeve::{
    app::reviews::write_down_uses,
    pb::tollreeve::v1::{self as pb, DenialCode},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    clock::START,
    server::Env,
    world::{NewKey, World, codes, create_project, create_user, on_hold, unique},
};

both!(
    what_is_said_of_a_key_is_changed_field_by_field,
    what_cannot_be_said_of_a_key_is_told_by_its_field,
    an_owner_narrows_a_key_and_widens_it_within_their_policy,
    nobody_lets_a_key_do_more_than_they_may_themselves,
    what_has_ended_is_not_changed_any_more,
    a_key_is_deleted_when_it_has_ended_and_its_name_stays_on_record,
    keys_are_found_by_owner_by_last_use_and_by_what_their_secrets_begin_with,
    keys_are_revoked_by_a_filter_and_no_others,
    more_keys_than_one_call_takes_are_revoked_by_several,
);

async fn update(client: &Client, key: pb::Key, paths: &[&str]) -> Result<pb::Key, Status> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    let request = pb::UpdateKeyRequest { key: Some(key), update_mask, ..pb::UpdateKeyRequest::default() };
    Ok(client.keys().update_key(request).await?.into_inner().key.expect("the key"))
}

fn named(world: &World) -> pb::Key {
    pb::Key { name: world.key.name.clone(), ..pb::Key::default() }
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START.micros() / 1_000_000 + seconds, nanos: 0 })
}

fn models(models: &[&str]) -> Option<pb::Allowlist> {
    Some(pb::Allowlist { models: models.iter().map(|model| (*model).to_owned()).collect(), ..Default::default() })
}

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
    codes(&world.authorize(asked).await)
}

async fn list(client: &Client, world: &World, filter: &str) -> Vec<String> {
    let request = pb::ListKeysRequest { parent: world.workspace.clone(), filter: filter.into(), ..Default::default() };
    let answer = client.keys().list_keys(request).await.unwrap_or_else(|status| panic!("{filter}: {status:?}"));
    answer.into_inner().keys.into_iter().map(|key| key.name).collect()
}

async fn what_is_said_of_a_key_is_changed_field_by_field(env: &mut Env) {
    let world = World::new(env).await;
    let project = create_project(&env.operator, &world.workspace, "other").await;
    let labels = BTreeMap::from([("team".to_owned(), "core".to_owned()), ("tier".to_owned(), String::new())]);
    let all = pb::Key {
        display_name: "Renamed".into(),
        description: "What it is \"for\"".into(),
        labels: labels.clone(),
        project: project.clone(),
        expire_time: at(600),
        allowlist: models(&["gpt-4*"]),
        ..named(&world)
    };
    let changed = update(&env.operator, all.clone(), &[]).await.expect("changed");
    let got = env.operator.keys().get_key(pb::GetKeyRequest { name: world.key.name.clone() }).await.expect("the key");
    assert_eq!(got.into_inner().key.as_ref(), Some(&changed));
    assert_eq!((changed.display_name.as_str(), changed.description.as_str()), ("Renamed", "What it is \"for\""));
    assert_eq!((&changed.labels, &changed.project, changed.expire_time), (&labels, &project, at(600)));
    assert_eq!((&changed.allowlist, changed.etag.as_str()), (&models(&["gpt-4*"]), "v2"));
    // The whole record may be sent back: what never changes is as it was.
    assert_eq!(update(&env.operator, changed.clone(), &[]).await.expect("as it is"), changed);
    assert_eq!(list(&env.operator, &world, "renamed").await, [world.key.name.as_str()]);
    // A mask takes away.
    let bare = update(&env.operator, named(&world), &["*"]).await.expect("bare");
    assert_eq!((bare.description.as_str(), bare.labels.len(), bare.project.as_str()), ("", 0, ""));
    assert_eq!((bare.expire_time, bare.allowlist, bare.display_name.as_str()), (None, None, "key"));
    assert_eq!(list(&env.operator, &world, "renamed").await, Vec::<String>::new());
    // Decisions go by it at once.
    update(&env.operator, pb::Key { allowlist: models(&["other"]), ..named(&world) }, &[]).await.expect("narrowed");
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::ModelNotAllowed]);
    let stale = pb::Key { display_name: "Late".into(), etag: "v1".into(), ..named(&world) };
    assert_eq!(update(&env.operator, stale, &[]).await.expect_err("stale").code(), Code::Aborted);
    // A new key says all of it from the beginning.
    let request = pb::CreateKeyRequest {
        parent: world.workspace.clone(),
        key: Some(pb::Key { owner: world.user.clone(), name: String::new(), etag: String::new(), ..all }),
        ..pb::CreateKeyRequest::default()
    };
    let made = env.operator.keys().create_key(request).await.expect("a key").into_inner().key.expect("a key");
    assert_eq!((made.description.as_str(), made.labels, made.generation), ("What it is \"for\"", labels, 1));
}

async fn what_cannot_be_said_of_a_key_is_told_by_its_field(env: &mut Env) {
    let world = World::new(env).await;
    let label = |key: &str| BTreeMap::from([(key.to_owned(), "v".to_owned())]);
    for (field, key) in [
        ("key.description", pb::Key { description: "x".repeat(1001), ..named(&world) }),
        ("key.labels", pb::Key { labels: label("not a key"), ..named(&world) }),
        ("key.owner", pb::Key { owner: world.owner.clone(), ..named(&world) }),
        ("key.expire_time", pb::Key { expire_time: at(0), ..named(&world) }),
        (
            "key.allowlist.cidrs[0]",
            pb::Key {
                allowlist: Some(pb::Allowlist { cidrs: vec!["nonsense".into()], ..Default::default() }),
                ..named(&world)
            },
        ),
    ] {
        assert_invalid(update(&env.operator, key, &[]).await, field);
    }
    for path in ["owner", "state", "generation", "nonsense"] {
        assert_invalid(update(&env.operator, named(&world), &[path]).await, "update_mask");
    }
}

/// Gives the world's user a key policy: an hour at most, and for certain models.
async fn lay_down(env: &Env, world: &World) {
    let policy = pb::KeyPolicy {
        max_lifetime_seconds: 3_600,
        required_allowlists: vec![pb::AllowlistKind::Models.into()],
        ..pb::KeyPolicy::default()
    };
    let template =
        pb::RoleTemplate { role: "roles/developer".into(), key_policy: Some(policy), ..pb::RoleTemplate::default() };
    let create = pb::CreateRoleTemplateRequest {
        parent: world.tenant.clone(),
        role_template_id: "engineer".into(),
        role_template: Some(template),
        ..pb::CreateRoleTemplateRequest::default()
    };
    let made = env.operator.access().create_role_template(create).await.expect("a template").into_inner();
    let apply = pb::ApplyRoleTemplateRequest {
        name: made.role_template.expect("a template").name,
        principal: world.user.clone(),
        ..pb::ApplyRoleTemplateRequest::default()
    };
    env.operator.access().apply_role_template(apply).await.expect("applied");
}

async fn an_owner_narrows_a_key_and_widens_it_within_their_policy(env: &mut Env) {
    let world = World::new(env).await;
    lay_down(env, &world).await;
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let key = pb::Key { expire_time: at(600), allowlist: models(&["gpt-4o"]), ..named(&world) };
    update(&own, key, &[]).await.expect("narrowed");
    // Longer, as long as that is an hour from when it was made, whenever it is asked.
    let until = |seconds| pb::Key { expire_time: at(seconds), ..named(&world) };
    update(&own, until(1_200), &[]).await.expect("longer");
    env.clock.advance(Duration::from_secs(1_000));
    assert_invalid(update(&own, until(3_601), &[]).await, "key.expire_time");
    assert_invalid(update(&own, named(&world), &["expire_time"]).await, "key.expire_time");
    update(&own, until(3_600), &[]).await.expect("as long as may be");
    let wide = pb::Key { allowlist: models(&["gpt-4*"]), ..named(&world) };
    update(&own, wide, &[]).await.expect("wider, and still for certain models");
    assert_invalid(update(&own, named(&world), &["allowlist"]).await, "key.allowlist.models");
    // Who may write everybody's keys answers for what they write.
    update(&env.operator, until(86_400), &[]).await.expect("longer than the policy");
    // Without the permission to make keys, one's own is narrowed and no more.
    let binding = pb::ListBindingsRequest { parent: world.tenant.clone(), ..Default::default() };
    let all = env.operator.access().list_bindings(binding).await.expect("a list").into_inner().bindings;
    for binding in all.into_iter().filter(|binding| binding.member == world.user) {
        let request = pb::DeleteBindingRequest { name: binding.name };
        env.operator.access().delete_binding(request).await.expect("taken");
    }
    crate::harness::world::bind(&env.operator, &world.tenant, "roles/reader", &world.user, &world.tenant).await;
    update(&own, until(2_000), &[]).await.expect("sooner");
    update(&own, pb::Key { display_name: "Mine".into(), ..named(&world) }, &[]).await.expect("renamed");
    assert_eq!(update(&own, until(2_001), &[]).await.expect_err("later").code(), Code::PermissionDenied);
    assert_eq!(update(&own, named(&world), &["project"]).await.expect_err("moved").code(), Code::PermissionDenied);
}

async fn nobody_lets_a_key_do_more_than_they_may_themselves(env: &mut Env) {
    let world = World::new(env).await;
    let somebody = async |role: &str| {
        let user = create_user(&env.operator, &world.tenant, &format!("{}@example.com", unique("u")), role, &[]).await;
        env.operator.with_token(Some(&env.user_token(&user)))
    };
    let narrow = pb::Key { allowlist: models(&["gpt-4o"]), ..named(&world) };
    let other = somebody("roles/developer").await;
    assert_eq!(update(&other, narrow.clone(), &[]).await.expect_err("not theirs").code(), Code::PermissionDenied);
    let role = crate::harness::world::create_role(&env.operator, &world.tenant, "clerk", &["keys:write"]).await;
    let clerk = somebody(&role).await;
    update(&clerk, narrow, &[]).await.expect("narrowed");
    let wide = pb::Key { allowlist: models(&["gpt-4*"]), ..named(&world) };
    assert_eq!(update(&clerk, wide.clone(), &[]).await.expect_err("wider").code(), Code::PermissionDenied);
    update(&somebody("roles/owner").await, wide, &[]).await.expect("who holds all that it gives");
}

async fn what_has_ended_is_not_changed_any_more(env: &mut Env) {
    let world = World::new(env).await;
    update(&env.operator, pb::Key { expire_time: at(60), ..named(&world) }, &[]).await.expect("ends");
    env.clock.advance(Duration::from_secs(60));
    let longer = pb::Key { expire_time: at(3_600), ..named(&world) };
    assert_refused(update(&env.operator, longer, &[]).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let other = world.another_key(pb::Key::default()).await;
    let revoke = pb::RevokeKeyRequest { name: other.name.clone(), reason: String::new() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
    let renamed = pb::Key { name: other.name, display_name: "Gone".into(), ..pb::Key::default() };
    assert_refused(update(&env.operator, renamed, &[]).await, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_key_is_deleted_when_it_has_ended_and_its_name_stays_on_record(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.key.name.as_str();
    let hold = world.hold(world.ask()).await;
    let delete = |request_id: &str| pb::DeleteKeyRequest {
        name: name.into(),
        request_id: request_id.into(),
        ..pb::DeleteKeyRequest::default()
    };
    let mut keys = env.operator.keys();
    assert_refused(keys.delete_key(delete("")).await, Code::FailedPrecondition, "STATE_CONFLICT");
    keys.disable_key(pb::DisableKeyRequest { name: name.into() }).await.expect("disabled");
    assert_refused(keys.delete_key(delete("")).await, Code::FailedPrecondition, "STATE_CONFLICT");
    keys.revoke_key(pb::RevokeKeyRequest { name: name.into(), reason: String::new() }).await.expect("revoked");
    let other = create_user(&env.operator, &world.tenant, "other@example.com", "roles/developer", &[]).await;
    let other = env.operator.with_token(Some(&env.user_token(&other)));
    assert_eq!(other.keys().delete_key(delete("")).await.expect_err("not theirs").code(), Code::PermissionDenied);
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let gone = own.keys().delete_key(delete("once")).await.expect("deleted").into_inner().revision;
    assert_eq!(own.keys().delete_key(delete("once")).await.expect("the same").into_inner().revision, gone);
    assert_eq!(keys.delete_key(delete("")).await.expect_err("gone").code(), Code::NotFound);
    assert_eq!(keys.get_key(pb::GetKeyRequest { name: name.into() }).await.expect_err("gone").code(), Code::NotFound);
    assert_eq!(list(&env.operator, &world, "").await, Vec::<String>::new());
    assert_eq!(list(&env.operator, &world, "key").await, Vec::<String>::new());
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyRevoked]);
    // What it spent is its own, also what comes in late.
    world.charge(on_hold(&hold, 10)).await;
    let filter = format!("resource = {name}");
    let events = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    let events = env.operator.audit().list_audit_events(events).await.expect("a list").into_inner().events;
    let actions: Vec<&str> = events.iter().rev().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["keys.create", "keys.disable", "keys.revoke", "keys.delete"]);
    // One that has expired, and that no clock brings back.
    let other = world.another_key(pb::Key { expire_time: at(60), ..pb::Key::default() }).await;
    env.clock.advance(Duration::from_secs(60));
    let request = pb::DeleteKeyRequest { name: other.name, ..pb::DeleteKeyRequest::default() };
    keys.delete_key(request).await.expect("deleted");
    env.clock.set(START);
    assert_eq!(refusal(&world, &other.secret).await, [DenialCode::KeyRevoked]);
}

async fn keys_are_found_by_owner_by_last_use_and_by_what_their_secrets_begin_with(env: &mut Env) {
    let world = World::new(env).await;
    let theirs = pb::Key { owner: world.owner.clone(), display_name: "Zebra".into(), ..pb::Key::default() };
    let theirs = crate::harness::world::create_key(&env.operator, &world.workspace, theirs).await;
    let find = async |filter: &str| list(&env.operator, &world, filter).await;
    assert_eq!(find(&format!("owner = {}", world.owner)).await, [theirs.name.as_str()]);
    assert_eq!(find(&format!("owner = {}", world.user)).await, [world.key.name.as_str()]);
    assert_eq!(find(&format!("owner = {}", world.account)).await, Vec::<String>::new());
    let request = pb::ListKeysRequest {
        parent: world.workspace.clone(),
        filter: "owner = tenants/acme/users/nobody".into(),
        ..Default::default()
    };
    assert_invalid(env.operator.keys().list_keys(request).await, "filter");
    let public_id = theirs.secret.split('_').nth(2).expect("a public id");
    for word in [public_id, &public_id[..6], "zeb"] {
        assert_eq!(find(word).await, [theirs.name.as_str()], "{word}");
    }
    assert_eq!(find("last_use_time > 2020-01-01T00:00:00Z").await, Vec::<String>::new());
    assert_eq!(refusal(&world, &theirs.secret).await, []);
    write_down_uses(env.server.app()).await.expect("written");
    assert_eq!(find("last_use_time > 2020-01-01T00:00:00Z").await, [theirs.name.as_str()]);
    assert_eq!(find("last_use_time < 2026-03-10T12:20:00Z").await, Vec::<String>::new());
    assert_eq!(find("last_use_time < 2026-03-10T12:20:01Z state = ACTIVE").await, [theirs.name.as_str()]);
}

fn revoke(world: &World, filter: &str) -> pb::BulkRevokeKeysRequest {
    pb::BulkRevokeKeysRequest { parent: world.workspace.clone(), filter: filter.into(), ..Default::default() }
}

async fn keys_are_revoked_by_a_filter_and_no_others(env: &mut Env) {
    let world = World::new(env).await;
    let leaked = async |n: usize| {
        let name = if n.is_multiple_of(2) { "Leaked" } else { "Fine" };
        world.another_key(pb::Key { display_name: name.into(), ..pb::Key::default() }).await
    };
    let mut keys: Vec<NewKey> = Vec::new();
    for n in 0..8 {
        keys.push(leaked(n).await);
    }
    // What is made within a millisecond is in no order.
    let mut bad: Vec<String> = keys.iter().step_by(2).map(|key| key.name.clone()).collect();
    bad.sort();
    let request = pb::BulkRevokeKeysRequest {
        reason: "found in a log".into(),
        request_id: "once".into(),
        ..revoke(&world, "display_name = Leaked")
    };
    let only = pb::BulkRevokeKeysRequest { validate_only: true, request_id: String::new(), ..request.clone() };
    let tried = env.operator.keys().bulk_revoke_keys(only).await.expect("tried").into_inner();
    assert_eq!((tried.revoked_count, tried.left_count, &tried.names), (4, 0, &bad));
    assert_eq!(list(&env.operator, &world, "state = REVOKED").await, Vec::<String>::new());
    let done = env.operator.keys().bulk_revoke_keys(request.clone()).await.expect("revoked").into_inner();
    assert_eq!((done.revoked_count, done.left_count, &done.names), (4, 0, &bad));
    for (n, key) in keys.iter().enumerate() {
        let expected = if n.is_multiple_of(2) { vec![DenialCode::KeyRevoked] } else { vec![] };
        assert_eq!(refusal(&world, &key.secret).await, expected, "key {n}");
    }
    assert_eq!(refusal(&world, &world.key.secret).await, []);
    let filter = "action = keys.bulkRevoke".to_owned();
    let events = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    let events = env.operator.audit().list_audit_events(events).await.expect("a list").into_inner().events;
    let on_record: Vec<&str> = events.iter().rev().map(|event| event.resource.as_str()).collect();
    assert_eq!(on_record, bad, "an event for each");
    assert!(events.iter().all(|event| event.reason == "found in a log" && event.revision == done.revision));
    // Repeated, it revokes nothing that has come since.
    let late = leaked(0).await;
    let again = env.operator.keys().bulk_revoke_keys(request).await.expect("the same").into_inner();
    assert_eq!((again.revoked_count, again.left_count, again.revision), (0, 1, done.revision));
    assert_eq!(refusal(&world, &late.secret).await, []);
    // By whose they are, and by a word; and never without saying which.
    let filter = format!("owner = {} fine", world.user);
    let done = env.operator.keys().bulk_revoke_keys(revoke(&world, &filter)).await.expect("revoked").into_inner();
    assert_eq!(done.revoked_count, 4);
    assert_invalid(env.operator.keys().bulk_revoke_keys(revoke(&world, " ")).await, "filter");
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let refused = own.keys().bulk_revoke_keys(revoke(&world, "state = ACTIVE")).await.expect_err("not one's own alone");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

async fn more_keys_than_one_call_takes_are_revoked_by_several(env: &mut Env) {
    let world = World::new(env).await;
    for _ in 0..1_001 {
        world.another_key(pb::Key::default()).await;
    }
    let mut left = Vec::new();
    loop {
        let answer = env.operator.keys().bulk_revoke_keys(revoke(&world, "state = ACTIVE")).await.expect("revoked");
        let answer = answer.into_inner();
        assert_eq!(usize::try_from(answer.revoked_count), Ok(answer.names.len()));
        left.push((answer.revoked_count, answer.left_count));
        if answer.left_count == 0 {
            break;
        }
    }
    assert_eq!(left, [(1_000, 2), (2, 0)]);
    assert_eq!(refusal(&world, &world.key.secret).await, [DenialCode::KeyRevoked]);
}
