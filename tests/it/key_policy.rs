//! What a workspace lays down of its keys: what is made keeps to it, what is there is told of and left alone.

use std::{collections::HashSet, time::Duration};

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    clock::START,
    server::Env,
    world::{World, codes, create_key, create_user, create_workspace, unique},
};

both!(
    a_key_keeps_to_the_policy_of_its_workspace_whoever_makes_it,
    a_key_is_made_wider_as_far_as_the_policy_allows,
    keys_of_ones_own_are_made_by_writers_only_where_the_policy_says_so,
    an_owner_has_as_many_keys_in_a_workspace_as_the_policy_allows,
    a_key_that_changes_hands_needs_room_too,
    a_key_policy_is_changed_field_by_field_on_record,
    keys_that_break_a_policy_are_listed_with_each_field_that_does,
    keys_that_break_the_policy_end_at_a_time_that_is_set,
    more_keys_than_a_call_looks_at_end_call_by_call_each_once,
);

/// Lays down a key policy, all of it.
pub async fn lay_down(client: &Client, workspace: &str, keys: pb::WorkspaceKeyPolicy) -> Result<(), Status> {
    change(client, workspace, keys, &["policies.keys"]).await.map(|_| ())
}

async fn change(
    client: &Client,
    workspace: &str,
    keys: pb::WorkspaceKeyPolicy,
    mask: &[&str],
) -> Result<pb::WorkspaceKeyPolicy, Status> {
    let policies = Some(pb::WorkspacePolicies { keys: Some(keys), ..Default::default() });
    let workspace = pb::Workspace { name: workspace.into(), policies, ..Default::default() };
    let update_mask = prost_types::FieldMask { paths: mask.iter().map(|path| (*path).to_owned()).collect() };
    let update_mask = (!mask.is_empty()).then_some(update_mask);
    let request = pb::UpdateWorkspaceRequest { workspace: Some(workspace), update_mask, ..Default::default() };
    let answer = client.identity().update_workspace(request).await?.into_inner();
    Ok(answer.workspace.and_then(|workspace| workspace.policies).and_then(|all| all.keys).unwrap_or_default())
}

pub fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START.micros() / 1_000_000 + seconds, nanos: 0 })
}

async fn create(client: &Client, workspace: &str, key: &pb::Key) -> Result<pb::Key, Status> {
    let request = pb::CreateKeyRequest { parent: workspace.into(), key: Some(key.clone()), ..Default::default() };
    Ok(client.keys().create_key(request).await?.into_inner().key.expect("a key"))
}

/// Ids that are made in the same millisecond are in no order.
fn later(env: &Env) {
    env.clock.advance(Duration::from_millis(1));
}

async fn update(client: &Client, key: pb::Key, mask: &[&str]) -> Result<pb::Key, Status> {
    let update_mask = Some(prost_types::FieldMask { paths: mask.iter().map(|path| (*path).to_owned()).collect() });
    let request = pb::UpdateKeyRequest { key: Some(key), update_mask, ..Default::default() };
    Ok(client.keys().update_key(request).await?.into_inner().key.expect("a key"))
}

/// An hour at most, certain models, and calls of models alone.
fn strict() -> pb::WorkspaceKeyPolicy {
    pb::WorkspaceKeyPolicy {
        max_lifetime_seconds: 3_600,
        required_allowlists: vec![pb::AllowlistKind::Models.into()],
        allowed_permissions: vec!["models:invoke".into()],
        ..Default::default()
    }
}

/// A key that keeps to [`strict`].
fn good(owner: &str) -> pb::Key {
    let (models, permissions) = (vec!["gpt-4*".into()], vec!["models:invoke".into()]);
    let allowlist = Some(pb::Allowlist { models, permissions, ..Default::default() });
    pb::Key { owner: owner.into(), expire_time: at(3_600), allowlist, ..Default::default() }
}

fn with(key: &pb::Key, change: impl Fn(&mut pb::Allowlist)) -> pb::Key {
    let mut key = key.clone();
    change(key.allowlist.get_or_insert_default());
    key
}

async fn a_key_keeps_to_the_policy_of_its_workspace_whoever_makes_it(env: &mut Env) {
    let world = World::new(env).await;
    lay_down(&env.operator, &world.workspace, strict()).await.expect("laid down");
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let fit = good(&world.user);
    for client in [&env.operator, &own] {
        for (bad, field) in [
            (pb::Key { expire_time: None, ..fit.clone() }, "key.expire_time"),
            (pb::Key { expire_time: at(3_601), ..fit.clone() }, "key.expire_time"),
            (with(&fit, |list| list.models.clear()), "key.allowlist.models"),
            (with(&fit, |list| list.permissions.clear()), "key.allowlist.permissions"),
            (with(&fit, |list| list.permissions.push("logs:read".into())), "key.allowlist.permissions"),
        ] {
            assert_invalid(create(client, &world.workspace, &bad).await, field);
        }
        create(client, &world.workspace, &fit).await.expect("a key that fits");
    }
    // Elsewhere it does not hold.
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    create(&own, &other, &pb::Key { owner: world.user.clone(), ..Default::default() }).await.expect("a key");
}

async fn a_key_is_made_wider_as_far_as_the_policy_allows(env: &mut Env) {
    let world = World::new(env).await;
    let own = env.operator.with_token(Some(&env.user_token(&world.user)));
    let short = pb::Key { expire_time: at(60), ..good(&world.user) };
    let key = create(&env.operator, &world.workspace, &short).await.expect("a key");
    lay_down(&env.operator, &world.workspace, strict()).await.expect("laid down");
    for client in [&env.operator, &own] {
        let longer = |seconds| pb::Key { name: key.name.clone(), expire_time: at(seconds), ..Default::default() };
        assert_invalid(update(client, longer(3_601), &["expire_time"]).await, "key.expire_time");
        update(client, longer(3_600), &["expire_time"]).await.expect("as long as it may live");
        let all = pb::Key { name: key.name.clone(), ..Default::default() };
        assert_invalid(update(client, all, &["allowlist"]).await, "key.allowlist.models");
        update(client, longer(60), &["expire_time"]).await.expect("shorter again");
    }
    // What was there before is left alone, and can still be renamed, narrowed and rotated.
    let there = |change: pb::Key| pb::Key { name: world.key.name.clone(), ..change };
    let named = there(pb::Key { display_name: "Old".into(), ..Default::default() });
    update(&own, named, &["display_name"]).await.expect("renamed");
    let ends = there(pb::Key { expire_time: at(86_400), ..Default::default() });
    update(&own, ends, &["expire_time"]).await.expect("narrowed, if not enough");
    let rotate = pb::RotateKeyRequest { name: world.key.name.clone(), ..Default::default() };
    own.keys().rotate_key(rotate).await.expect("rotated");
}

async fn keys_of_ones_own_are_made_by_writers_only_where_the_policy_says_so(env: &mut Env) {
    let world = World::new(env).await;
    let policy = pb::WorkspaceKeyPolicy { creators: pb::KeyCreators::Writers.into(), ..Default::default() };
    lay_down(&env.operator, &world.workspace, policy).await.expect("laid down");
    let somebody = async |role: &str| {
        let user = create_user(&env.operator, &world.tenant, &format!("{}@example.com", unique("u")), role, &[]).await;
        (env.operator.with_token(Some(&env.user_token(&user))), pb::Key { owner: user, ..Default::default() })
    };
    let (developer, theirs) = somebody("roles/developer").await;
    let refused = create(&developer, &world.workspace, &theirs).await.expect_err("not by themselves");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let (owner, of_owner) = somebody("roles/owner").await;
    create(&owner, &world.workspace, &of_owner).await.expect("a writer may");
    let made = create(&owner, &world.workspace, &theirs).await.expect("and makes one for the developer");
    let rotate = pb::RotateKeyRequest { name: made.name.clone(), ..Default::default() };
    developer.keys().rotate_key(rotate).await.expect("who rotates what is theirs");
    let ends = pb::Key { name: made.name, expire_time: at(60), ..Default::default() };
    update(&developer, ends.clone(), &["expire_time"]).await.expect("and may narrow it");
    let longer = pb::Key { expire_time: at(120), ..ends };
    let refused = update(&developer, longer, &["expire_time"]).await.expect_err("and not make it wider");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

async fn an_owner_has_as_many_keys_in_a_workspace_as_the_policy_allows(env: &mut Env) {
    let world = World::new(env).await;
    let two = pb::WorkspaceKeyPolicy { max_keys: 2, ..Default::default() };
    lay_down(&env.operator, &world.workspace, two).await.expect("laid down");
    let key = pb::Key { owner: world.user.clone(), ..Default::default() };
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    create(&env.operator, &other, &key).await.expect("elsewhere there is no limit");
    let second = create(&env.operator, &world.workspace, &key).await.expect("the second");
    let third = create(&env.operator, &world.workspace, &key).await;
    assert_refused(third, Code::FailedPrecondition, "KEYS_TAKEN");
    let name = || second.name.clone();
    env.operator.keys().disable_key(pb::DisableKeyRequest { name: name() }).await.expect("disabled");
    let third = create(&env.operator, &world.workspace, &key).await;
    assert_refused(third, Code::FailedPrecondition, "KEYS_TAKEN");
    env.operator.keys().revoke_key(pb::RevokeKeyRequest { name: name(), reason: String::new() }).await.expect("gone");
    create(&env.operator, &world.workspace, &pb::Key { expire_time: at(60), ..key.clone() }).await.expect("a place");
    let third = create(&env.operator, &world.workspace, &key).await;
    assert_refused(third, Code::FailedPrecondition, "KEYS_TAKEN");
    create(&env.operator, &world.workspace, &pb::Key { owner: world.account.clone(), ..key.clone() })
        .await
        .expect("somebody else has places of their own");
    env.clock.advance(Duration::from_secs(60));
    create(&env.operator, &world.workspace, &key).await.expect("one has come to its end");
}

async fn a_key_that_changes_hands_needs_room_too(env: &mut Env) {
    let world = World::new(env).await;
    let policies = |number| pb::WorkspacePolicies {
        keys_on_removal: pb::KeysOnRemoval::Reassign.into(),
        keys: Some(pb::WorkspaceKeyPolicy { max_keys: number, ..Default::default() }),
        ..Default::default()
    };
    let lay_down = async |number| {
        let workspace =
            pb::Workspace { name: world.workspace.clone(), policies: Some(policies(number)), ..Default::default() };
        let request = pb::UpdateWorkspaceRequest { workspace: Some(workspace), ..Default::default() };
        env.operator.identity().update_workspace(request).await.expect("laid down");
    };
    lay_down(2).await;
    let somebody = async |role: &str| {
        create_user(&env.operator, &world.tenant, &format!("{}@example.com", unique("u")), role, &[]).await
    };
    let (admin, leaver) = (somebody("roles/admin").await, somebody("roles/developer").await);
    let heir = env.operator.with_token(Some(&env.user_token(&admin)));
    create_key(&env.operator, &world.workspace, pb::Key { owner: admin.clone(), ..Default::default() }).await;
    let first = create_key(&env.operator, &world.workspace, pb::Key { owner: leaver.clone(), ..Default::default() });
    let first = first.await;
    later(env);
    let second = create_key(&env.operator, &world.workspace, pb::Key { owner: leaver.clone(), ..Default::default() });
    let second = second.await;
    let request = pb::DeleteUserRequest { name: leaver, ..Default::default() };
    let removal = heir.identity().delete_user(request).await.expect("removed").into_inner().removal.expect("told");
    assert_eq!((removal.reassigned_keys, removal.disabled_keys), (1, 1), "there is room for one");
    let refusal = async |secret: &str| {
        let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
        codes(&world.authorize(asked).await)
    };
    assert_eq!(refusal(&first.secret).await, []);
    assert!(refusal(&second.secret).await.contains(&DenialCode::KeyDisabled));
    let enable = || pb::EnableKeyRequest { name: second.name.clone() };
    assert_refused(heir.keys().enable_key(enable()).await, Code::FailedPrecondition, "KEYS_TAKEN");
    lay_down(3).await;
    let key = heir.keys().enable_key(enable()).await.expect("enabled").into_inner().key.expect("a key");
    assert_eq!((key.owner, refusal(&second.secret).await), (admin, vec![]));
}

async fn a_key_policy_is_changed_field_by_field_on_record(env: &mut Env) {
    let world = World::new(env).await;
    let workspace = world.workspace.as_str();
    let full = pb::WorkspaceKeyPolicy {
        creators: pb::KeyCreators::Writers.into(),
        max_keys: 7,
        rotation_interval_seconds: 86_400,
        rotation_grace_seconds: 60,
        ..strict()
    };
    assert_eq!(change(&env.operator, workspace, full.clone(), &[]).await.expect("what is set"), full);
    let none = pb::WorkspaceKeyPolicy::default;
    let less = change(&env.operator, workspace, none(), &["policies.keys.max_keys"]).await.expect("one field");
    assert_eq!(less, pb::WorkspaceKeyPolicy { max_keys: 0, ..full.clone() });
    let more = pb::WorkspaceKeyPolicy { rotation_interval_seconds: 172_800, ..none() };
    let more = change(&env.operator, workspace, more, &[]).await.expect("what is set");
    assert_eq!(more, pb::WorkspaceKeyPolicy { rotation_interval_seconds: 172_800, ..less });
    assert_eq!(change(&env.operator, workspace, none(), &["policies"]).await.expect("nothing"), none());
    for (bad, field) in [
        (pb::WorkspaceKeyPolicy { creators: 9, ..none() }, "creators"),
        (pb::WorkspaceKeyPolicy { max_keys: -1, ..none() }, "max_keys"),
        (pb::WorkspaceKeyPolicy { max_lifetime_seconds: i64::MAX, ..none() }, "max_lifetime_seconds"),
        (pb::WorkspaceKeyPolicy { required_allowlists: vec![1, 9], ..none() }, "required_allowlists[1]"),
        (pb::WorkspaceKeyPolicy { allowed_permissions: vec!["a:b".into()], ..none() }, "allowed_permissions[0]"),
        (pb::WorkspaceKeyPolicy { rotation_interval_seconds: 86_399, ..none() }, "rotation_interval_seconds"),
        (pb::WorkspaceKeyPolicy { rotation_grace_seconds: -1, ..none() }, "rotation_grace_seconds"),
    ] {
        let refused = change(&env.operator, workspace, bad, &["policies.keys"]).await;
        assert_invalid(refused, &format!("workspace.policies.keys.{field}"));
    }
    let refused = change(&env.operator, workspace, none(), &["policies.keys.max"]).await;
    assert_invalid(refused, "update_mask");
    let filter = format!("resource = {workspace} action = workspaces.update");
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    let events = env.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events;
    assert_eq!(events.len(), 4);
    assert!(events.iter().any(|event| event.after.contains("\"most_keys\":7")), "{events:?}");
    // As of the other policies.
    let member = create_user(&env.operator, &world.tenant, "m@example.com", "roles/developer", &[]).await;
    let member = env.operator.with_token(Some(&env.user_token(&member)));
    let refused = change(&member, workspace, full, &["policies.keys"]).await.expect_err("not theirs");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

type Found = Vec<(String, Vec<String>)>;

async fn review(client: &Client, request: &pb::ReviewKeysRequest) -> Result<Found, Status> {
    let (mut request, mut found) = (request.clone(), Vec::new());
    loop {
        let page = client.keys().review_keys(request.clone()).await?.into_inner();
        found.extend(page.keys.into_iter().map(|broken| (broken.key.expect("a key").name, broken.fields)));
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

fn fields(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

async fn keys_that_break_a_policy_are_listed_with_each_field_that_does(env: &mut Env) {
    let world = World::new(env).await;
    later(env);
    let fit = create(&env.operator, &world.workspace, &good(&world.user)).await.expect("a key");
    let over = with(&good(&world.user), |list| list.permissions.push("logs:read".into()));
    later(env);
    let over = create(&env.operator, &world.workspace, &over).await.expect("a key");
    let short = pb::Key { expire_time: at(10), owner: world.user.clone(), ..Default::default() };
    create(&env.operator, &world.workspace, &short).await.expect("a key that ends soon");
    let gone = create(&env.operator, &world.workspace, &pb::Key { expire_time: None, ..short }).await.expect("a key");
    let revoke = pb::RevokeKeyRequest { name: gone.name, reason: String::new() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
    env.clock.advance(Duration::from_secs(10));
    let asked = pb::ReviewKeysRequest { parent: world.workspace.clone(), ..Default::default() };
    assert_eq!(review(&env.operator, &asked).await.expect("none"), []);
    // Tried before it is laid down; a page at a time is the same.
    let old = (world.key.name.clone(), fields(&["expire_time", "allowlist.models", "allowlist.permissions"]));
    let broken = [old.clone(), (over.name.clone(), fields(&["allowlist.permissions"]))];
    for page_size in [0, 1] {
        let tried = pb::ReviewKeysRequest { policy: Some(strict()), page_size, ..asked.clone() };
        assert_eq!(review(&env.operator, &tried).await.expect("a list"), broken);
    }
    lay_down(&env.operator, &world.workspace, strict()).await.expect("laid down");
    assert_eq!(review(&env.operator, &asked).await.expect("a list"), broken);
    // Numbers: those that came last are too many; and secrets that are good for longer than they may be.
    let one = pb::WorkspaceKeyPolicy { max_keys: 1, ..Default::default() };
    let tried = pb::ReviewKeysRequest { policy: Some(one), ..asked.clone() };
    let owner = [(fit.name.clone(), fields(&["owner"])), (over.name.clone(), fields(&["owner"]))];
    assert_eq!(review(&env.operator, &tried).await.expect("a list"), owner);
    let rotating = pb::WorkspaceKeyPolicy { rotation_interval_seconds: 86_400, ..Default::default() };
    lay_down(&env.operator, &world.workspace, rotating).await.expect("laid down");
    let rotate = pb::RotateKeyRequest { name: over.name.clone(), ..Default::default() };
    env.operator.keys().rotate_key(rotate).await.expect("rotated");
    let due = [(old.0, fields(&["rotation_due_time"])), (fit.name.clone(), fields(&["rotation_due_time"]))];
    assert_eq!(review(&env.operator, &asked).await.expect("a list"), due);
    // A token is good for the same question only, and the list for who may read keys.
    let first = pb::ReviewKeysRequest { page_size: 1, ..asked.clone() };
    let token = env.operator.keys().review_keys(first).await.expect("a page").into_inner().next_page_token;
    let other = pb::ReviewKeysRequest { page_token: token, policy: Some(strict()), ..asked.clone() };
    assert_invalid(review(&env.operator, &other).await, "page_token");
    let bad = pb::WorkspaceKeyPolicy { max_keys: -1, ..Default::default() };
    let bad = pb::ReviewKeysRequest { policy: Some(bad), ..asked.clone() };
    assert_invalid(review(&env.operator, &bad).await, "policy.max_keys");
    let member = create_user(&env.operator, &world.tenant, "m@example.com", "roles/member", &[]).await;
    let member = env.operator.with_token(Some(&env.user_token(&member)));
    assert_eq!(review(&member, &asked).await.expect_err("not theirs").code(), Code::PermissionDenied);
}

async fn keys_that_break_the_policy_end_at_a_time_that_is_set(env: &mut Env) {
    let world = World::new(env).await;
    later(env);
    let fit = create(&env.operator, &world.workspace, &good(&world.user)).await.expect("a key");
    let soon = pb::Key { owner: world.user.clone(), expire_time: at(60), ..Default::default() };
    let soon = create(&env.operator, &world.workspace, &soon).await.expect("a key that ends sooner");
    later(env);
    let late = world.another_key(pb::Key { expire_time: at(9_000), ..Default::default() }).await;
    lay_down(&env.operator, &world.workspace, strict()).await.expect("laid down");
    let asked = pb::RetireKeysRequest {
        parent: world.workspace.clone(),
        expire_time: at(600),
        reason: "stricter".into(),
        request_id: unique("retire"),
        ..Default::default()
    };
    let retire = async |request: &pb::RetireKeysRequest| {
        env.operator.keys().retire_keys(request.clone()).await.map(tonic::Response::into_inner)
    };
    assert_invalid(retire(&pb::RetireKeysRequest { expire_time: at(0), ..asked.clone() }).await, "expire_time");
    assert_invalid(retire(&pb::RetireKeysRequest { expire_time: None, ..asked.clone() }).await, "expire_time");
    let only = pb::RetireKeysRequest { validate_only: true, request_id: String::new(), ..asked.clone() };
    let names = vec![world.key.name.clone(), late.name.clone()];
    assert_eq!(retire(&only).await.expect("it could be").names, names);
    let ends = async |name: &str| {
        let request = pb::GetKeyRequest { name: name.into() };
        let key = env.operator.keys().get_key(request).await.expect("a key").into_inner().key.expect("a key");
        key.expire_time
    };
    assert_eq!(ends(&world.key.name).await, None, "only tried");
    let answer = retire(&asked).await.expect("set");
    let told = (answer.retired_count, &answer.names, answer.left_count, answer.next_page_token.as_str());
    assert_eq!(told, (2, &names, 0, ""));
    let again = retire(&asked).await.expect("done before");
    assert_eq!((again.retired_count, again.left_count, again.revision), (0, 0, answer.revision));
    let other = pb::RetireKeysRequest { request_id: String::new(), ..asked.clone() };
    assert_eq!(retire(&other).await.expect("nothing is left to do").retired_count, 0);
    let all = (ends(&world.key.name).await, ends(&late.name).await, ends(&soon.name).await, ends(&fit.name).await);
    assert_eq!(all, (at(600), at(600), at(60), at(3_600)));
    let filter = "action = keys.retire".to_owned();
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    let events = env.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events;
    let mut of: Vec<_> = events.iter().map(|event| (event.resource.clone(), event.reason.as_str())).collect();
    of.sort_by_key(|(name, _)| names.iter().position(|known| known == name));
    assert_eq!(of, names.iter().map(|name| (name.clone(), "stricter")).collect::<Vec<_>>());
    env.clock.advance(Duration::from_secs(599));
    assert_eq!(codes(&world.authorize(world.ask()).await), []);
    env.clock.advance(Duration::from_secs(1));
    assert_eq!(codes(&world.authorize(world.ask()).await), [DenialCode::KeyExpired]);
}

async fn more_keys_than_a_call_looks_at_end_call_by_call_each_once(env: &mut Env) {
    let world = World::new(env).await;
    for many in [1000, 300] {
        later(env);
        let keys = vec![pb::Key { owner: world.user.clone(), ..Default::default() }; many];
        let batch = pb::BatchCreateKeysRequest { parent: world.workspace.clone(), keys, ..Default::default() };
        env.operator.keys().batch_create_keys(batch).await.expect("made");
    }
    lay_down(&env.operator, &world.workspace, strict()).await.expect("laid down");
    let retire = async |expire_time, page_token: &str| {
        let parent = world.workspace.clone();
        let asked = pb::RetireKeysRequest { parent, expire_time, page_token: page_token.into(), ..Default::default() };
        env.operator.keys().retire_keys(asked).await.map(tonic::Response::into_inner)
    };
    let first = retire(at(600), "").await.expect("set");
    assert_eq!((first.retired_count, first.names.len(), first.left_count), (1000, 1000, 301));
    assert_invalid(retire(at(601), &first.next_page_token).await, "page_token");
    let second = retire(at(600), &first.next_page_token).await.expect("set");
    let told = (second.retired_count, second.left_count, second.next_page_token.as_str());
    assert_eq!(told, (301, 0, ""));
    let all: HashSet<&String> = first.names.iter().chain(&second.names).collect();
    assert_eq!((all.len(), first.names.contains(&world.key.name)), (1301, true));
    let asked = pb::ListKeysRequest {
        parent: world.workspace.clone(),
        filter: "expire_time <= 2100-01-01T00:00:00Z".into(),
        page_size: 1000,
        ..Default::default()
    };
    let page = env.operator.keys().list_keys(asked.clone()).await.expect("a list").into_inner();
    let asked = pb::ListKeysRequest { page_token: page.next_page_token, ..asked };
    let rest = env.operator.keys().list_keys(asked).await.expect("a list").into_inner();
    let ends: Vec<_> = page.keys.iter().chain(&rest.keys).map(|key| key.expire_time).collect();
    assert_eq!(ends, vec![at(600); 1301]);
}
