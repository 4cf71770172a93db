//! Every change is on record: exactly one event for each, none for what was not done, without a gap and without a secret.

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Code;

use crate::harness::{
    books::Books,
    both,
    calls::{Place, caller_of, calls, every_call},
    client::{Client, assert_invalid},
    ids::number_of,
    raw::{call, rpcs},
    server::Env,
    wire::{flag, set},
    world::{NewKey, World, account_token, create_user, unique},
};

both!(
    every_changing_rpc_leaves_exactly_one_event,
    what_is_refused_leaves_no_event,
    what_is_only_tried_and_what_is_repeated_leaves_no_event,
    what_changes_nothing_leaves_no_event,
    no_secret_is_in_the_log,
    an_event_says_who_did_what_when_and_why,
    changes_made_at_once_are_numbered_without_a_gap,
);

/// Tenant, number, action, everything in one text, the record before and after.
type Event = (String, i64, String, String, String, String);

async fn events(books: &Books) -> Vec<Event> {
    books
        .rows(
            "SELECT tenant_id, seq, action,
                 actor || ' ' || resource || ' ' || before || ' ' || after || ' ' || reason || ' ' || user_agent,
                 before, after
             FROM audit_events ORDER BY tenant_id, seq",
        )
        .await
}

fn assert_dense(events: &[Event]) {
    let mut expected = ("", 0);
    for (tenant, seq, ..) in events {
        expected = (tenant.as_str(), if expected.0 == tenant { expected.1 + 1 } else { 1 });
        assert_eq!((tenant.as_str(), *seq), expected);
    }
}

/// A good call of every RPC that changes a record. Charges are records of their own and not changes of one.
async fn changing(world: &World) -> Vec<(String, Vec<u8>)> {
    let changes = |path: &String| rpcs().iter().any(|rpc| rpc.path == *path && rpc.changes());
    let all = every_call(world).await;
    all.into_iter().filter(|(path, _)| changes(path) && !path.contains("GateService")).collect()
}

async fn every_changing_rpc_leaves_exactly_one_event(env: &mut Env) {
    let world = World::new(env).await;
    let books = env.books().await;
    let changes = changing(&world).await;
    let mut before = events(&books).await;
    for (path, body) in changes {
        let caller = caller_of(env, &world, &path);
        call(&caller, &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        let after = events(&books).await;
        assert_eq!(after.len(), before.len() + 1, "{path}");
        let rpc = path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let new = after.iter().find(|event| !before.contains(event)).expect("a new event");
        // `changeRole` tells of `ChangeUserRole`.
        let verb = new.2.rsplit('.').next().unwrap_or_default();
        let (first, object) = verb.split_at(verb.find(char::is_uppercase).unwrap_or(verb.len()));
        let tells = rpc.strip_prefix(first).is_some_and(|rest| rest.contains(&object.to_lowercase()));
        assert!(tells, "{path} is on record as {}", new.2);
        assert_tells(&path, &new.4, &new.5);
        before = after;
    }
    assert_dense(&before);
}

/// Insists that an event has the record before and after: of what is new only after, of what is gone only before.
fn assert_tells(path: &str, before: &str, after: &str) {
    let rpc = path.rsplit('/').next().unwrap_or_default();
    let record = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok().filter(|json| !json.is_string());
    let (was, is) = (record(before), record(after));
    let new = rpc.starts_with("Create") || rpc == "AddServiceAccountKey" || rpc.starts_with("BatchCreate");
    // Prices may all be new.
    let perhaps_new = ["ImportPrices", "ImportPriceFile"].contains(&rpc);
    // What is deleted softly is still there.
    let gone = rpc.starts_with("Purge")
        || [
            "DeleteBinding",
            "DeleteBudget",
            "DeleteRole",
            "DeleteRoleTemplate",
            "DeleteIdentityProvider",
            "DeleteServiceAccountKey",
            "DeleteTeam",
        ]
        .contains(&rpc);
    assert_eq!(is.is_none(), gone, "{path} is on record with {after:?} after it");
    assert!(was.is_none() == new || perhaps_new, "{path} is on record with {before:?} before it");
    assert!(was != is, "{path} is on record with the same before and after");
    let id = |json: &Option<serde_json::Value>| json.as_ref().and_then(|json| json.get("id")).cloned();
    assert!(was.is_none() || is.is_none() || id(&was) == id(&is), "{path}: before and after are of one record");
}

async fn what_is_only_tried_and_what_is_repeated_leaves_no_event(env: &mut Env) {
    let world = World::new(env).await;
    let books = env.books().await;
    let changes = changing(&world).await;
    let mut before = events(&books).await;
    let (mut tried, mut repeated) = (0, 0);
    for (path, body) in changes {
        let mut body = body;
        let caller = caller_of(env, &world, &path);
        if let Some(number) = number_of(&path, "validate_only") {
            let only = call(&caller, &path, flag(&body, number)).await;
            only.unwrap_or_else(|status| panic!("{path}, tried: {status:?}"));
            assert_eq!(events(&books).await, before, "{path} was only tried");
            tried += 1;
        }
        if let Some(number) = number_of(&path, "request_id") {
            body = set(&body, &[number], &unique("request"));
            call(&caller, &path, body.clone()).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
            before = events(&books).await;
            repeated += 1;
        }
        let again = call(&caller, &path, body).await;
        if number_of(&path, "request_id").is_some() {
            again.unwrap_or_else(|status| panic!("{path}, again: {status:?}"));
            assert_eq!(events(&books).await, before, "{path} was only repeated");
        }
        before = events(&books).await;
    }
    assert!(tried >= 24 && repeated >= 23, "{tried} can be tried, {repeated} repeated");
}

async fn what_is_refused_leaves_no_event(env: &mut Env) {
    let world = World::new(env).await;
    let books = env.books().await;
    let mut changes = changing(&world).await;
    changes.retain(|(path, _)| rpcs().iter().any(|rpc| rpc.path == *path && !rpc.is_personal()));
    let reader = create_user(&env.operator, &world.tenant, "reader@example.com", "roles/reader", &[]).await;
    let reader = env.operator.with_token(Some(&env.user_token(&reader)));
    let stranger = World::named(env, "globex").await;
    let stranger = env.operator.with_token(Some(&env.user_token(&stranger.owner)));
    let nobody = env.operator.with_token(None);
    let before = events(&books).await;
    let callers: [(&Client, &[Code]); 3] = [
        (&nobody, &[Code::Unauthenticated]),
        (&reader, &[Code::PermissionDenied]),
        (&stranger, &[Code::NotFound, Code::PermissionDenied]),
    ];
    for (caller, expected) in callers {
        for (path, body) in &changes {
            let refused = call(caller, path, body.clone()).await.expect_err(path);
            // What is purged is another tenant, which none of them can see.
            let unseen = path.ends_with("PurgeTenant") && refused.code() == Code::NotFound;
            assert!(expected.contains(&refused.code()) || unseen, "{path}: {refused:?}");
        }
    }
    for (path, _) in &changes {
        let refused = call(&env.operator, path, Vec::new()).await.expect_err(path);
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
    }
    assert_eq!(events(&books).await, before);
    let nowhere = Place::of(&world).await.moved_to("tenants/nowhere");
    let before_that = events(&books).await;
    for (path, body) in calls(&nowhere) {
        let refused = call(&env.operator, &path, body).await.expect_err(&path);
        assert_eq!(refused.code(), Code::NotFound, "{path}");
    }
    assert_eq!(events(&books).await, before_that);
}

async fn what_changes_nothing_leaves_no_event(env: &mut Env) {
    let world = World::new(env).await;
    let books = env.books().await;
    let place = Place::of(&world).await;
    let before = events(&books).await;
    let repeated =
        ["EnableKey", "ReactivateUser", "ReactivateServiceAccount", "ReactivateWorkspace", "ReactivateTenant"];
    let repeated =
        [&repeated[..], &["ReactivateProject", "UndeleteTenant", "UndeleteWorkspace", "UndeleteProject"]].concat();
    for (path, body) in calls(&place) {
        let reads = rpcs().iter().any(|rpc| rpc.path == path && !rpc.changes());
        if reads || repeated.iter().any(|rpc| path.ends_with(rpc)) {
            call(&env.operator, &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        }
    }
    let mut budgets = env.operator.budgets();
    let same = pb::UpdateBudgetRequest { name: place.budget.clone(), limit: Some(1_000_000), ..Default::default() };
    budgets.update_budget(same).await.expect("the same limit");
    let stale = pb::UpdateBudgetRequest { name: place.budget, limit: Some(5), etag: "v0".into(), ..Default::default() };
    assert_eq!(budgets.update_budget(stale).await.expect_err("stale").code(), Code::Aborted);
    assert_eq!(events(&books).await, before);
    let exists = pb::CreateTenantRequest {
        tenant_id: "acme".into(),
        tenant: Some(pb::Tenant::default()),
        ..pb::CreateTenantRequest::default()
    };
    let refused = env.operator.identity().create_tenant(exists).await.expect_err("exists");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let long = pb::RevokeKeyRequest { name: world.key.name.clone(), reason: "x".repeat(1025) };
    assert_invalid(env.operator.keys().revoke_key(long).await, "reason");
    assert_eq!(events(&books).await, before);
}

async fn no_secret_is_in_the_log(env: &mut Env) {
    let world = World::new(env).await;
    let NewKey { secret, name } = world.another_key(pb::Key::default()).await;
    let rotate = pb::RotateKeyRequest { name: name.clone(), ..pb::RotateKeyRequest::default() };
    let rotated = env.operator.keys().rotate_key(rotate).await.expect("rotated").into_inner().secret;
    let token = account_token(&env.operator, &world.account).await;
    for (path, body) in changing(&world).await {
        call(&caller_of(env, &world, &path), &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
    }
    let revoke = pb::RevokeKeyRequest { name, reason: String::new() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
    let books = env.books().await;
    let mut hashes: Vec<(String,)> = books.rows("SELECT hash FROM api_keys").await;
    assert!(hashes.len() > 1);
    let old: Vec<(String,)> = books.rows("SELECT secrets FROM api_keys WHERE secrets LIKE '%retiring%'").await;
    assert_eq!(old.len(), 1);
    let old: serde_json::Value = serde_json::from_str(&old[0].0).expect("JSON");
    hashes.push((old["retiring"]["hash"].as_str().expect("a hash").to_owned(),));
    let signature = token.rsplit('.').next().unwrap_or_default().to_owned();
    // The tail of a key is the secret; what comes before it is shown in lists.
    let tail = |secret: &str| secret[secret.len() - 38..].to_owned();
    let tails = [tail(&secret), tail(&rotated)];
    let secrets: Vec<String> =
        [secret, token, signature].into_iter().chain(tails).chain(hashes.into_iter().map(|h| h.0)).collect();
    let log = events(&books).await;
    assert!(
        log.iter().any(|event| event.2 == "keys.create") && log.iter().any(|event| event.2.contains("createToken"))
    );
    for (_, seq, action, text, ..) in log {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "event {seq}, {action}: {text}");
        }
    }
}

async fn an_event_says_who_did_what_when_and_why(env: &mut Env) {
    let world = World::new(env).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let mut request =
        tonic::Request::new(pb::RevokeKeyRequest { name: world.key.name.clone(), reason: "leaked".into() });
    request.metadata_mut().insert("x-request-id", "call-17".parse().expect("a header"));
    let revision = owner.keys().revoke_key(request).await.expect("revoked").into_inner().revision;
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 1, ..Default::default() };
    let page = owner.audit().list_audit_events(list).await.expect("a page").into_inner();
    let event = &page.events[0];
    assert_eq!((event.actor.as_str(), event.action.as_str()), (world.owner.as_str(), "keys.revoke"));
    assert_eq!((event.resource.as_str(), event.reason.as_str()), (world.key.name.as_str(), "leaked"));
    assert_eq!((event.request_id.as_str(), event.revision), ("call-17", revision));
    assert_eq!(event.time.map(|at| at.seconds), Some(1_773_145_200));
    assert!(event.before.contains("\"active\"") && event.after.contains("\"revoked\""), "{event:?}");
    assert!(event.user_agent.contains("tonic") && event.source.starts_with("127.0.0.1:"), "{event:?}");
    let get = pb::GetAuditEventRequest { name: event.name.clone() };
    let read = owner.audit().get_audit_event(get).await.expect("the event").into_inner();
    assert_eq!(read.event.as_ref(), Some(event));
    // Page by page, newest first, down to the first.
    let (mut seen, mut token) = (vec![event.sequence], page.next_page_token);
    while !token.is_empty() {
        let list = pb::ListAuditEventsRequest {
            parent: world.tenant.clone(),
            page_size: 3,
            page_token: token,
            ..Default::default()
        };
        let page = owner.audit().list_audit_events(list).await.expect("a page").into_inner();
        seen.extend(page.events.iter().map(|event| event.sequence));
        token = page.next_page_token;
    }
    assert_eq!(seen, (1..=event.sequence).rev().collect::<Vec<_>>());
}

async fn changes_made_at_once_are_numbered_without_a_gap(env: &mut Env) {
    let worlds = [World::new(env).await, World::named(env, "globex").await];
    let calls: Vec<_> = (0..64)
        .map(|n: usize| {
            let world = worlds[n % 2].clone();
            tokio::spawn(async move {
                let project = Some(pb::Project::default());
                // Every fourth is there already and changes nothing.
                let project_id = if n % 8 < 2 { "search".to_owned() } else { unique("project") };
                let request = pb::CreateProjectRequest {
                    parent: world.workspace.clone(),
                    project_id,
                    project,
                    ..pb::CreateProjectRequest::default()
                };
                world.operator.identity().create_project(request).await.is_ok()
            })
        })
        .collect();
    let books = env.books().await;
    let mut made = 0;
    for call in calls {
        made += usize::from(call.await.expect("no panic"));
    }
    assert_eq!(made, 48);
    let events = events(&books).await;
    assert_dense(&events);
    assert_eq!(events.iter().filter(|event| event.2 == "projects.create").count(), 48 + 2);
    let revisions: Vec<(i64,)> = books.rows("SELECT revision FROM feed_events ORDER BY revision").await;
    assert!(revisions.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "revisions are dense");
}
