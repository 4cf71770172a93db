//! What nobody should send: the server names what is wrong with it, or at least goes on answering.

use std::time::Duration;

use prost::Message as _;
use tollreeve::{
    domain::{bindings::Principal, time::Clock as _},
    pb::tollreeve::v1::{self as pb, charge_request::Subject},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    calls::every_call,
    client::{Client, assert_invalid, assert_refused},
    eventually,
    http2::{Connection, framed},
    once,
    random::Random,
    raw::{call, rpcs, texts_of},
    server::Env,
    world::{COST, World, credit, on_hold},
};

both!(strange_texts_are_stored_nowhere_and_break_nothing, a_client_that_goes_away_in_the_middle_of_charges_loses_none,);

once!(
    a_caller_without_a_good_token_is_told_so_by_every_rpc,
    a_message_that_is_too_large_is_refused,
    random_bytes_break_nothing,
    a_deadline_that_has_passed_is_told_as_such,
    numbers_that_cannot_be_are_named,
    charges_that_cannot_be_are_named,
    a_path_that_nobody_serves_is_unimplemented,
);

/// The server is well: it answers as ever.
async fn assert_well(world: &World) {
    let hold = world.hold(world.ask()).await;
    world.charge(on_hold(&hold, 1)).await;
}

/// Insists that nothing broke: an error is one that the caller made.
#[track_caller]
fn assert_unbroken(path: &str, answer: Result<bytes::Bytes, Status>) {
    let Err(status) = answer else { return };
    // A body that is no message is INTERNAL by the library; the server's own defects say so in its words.
    let broken = [Code::Unknown, Code::Unavailable, Code::Cancelled, Code::DataLoss].contains(&status.code());
    assert!(!broken && !status.message().contains("its log says how"), "{path}: {status:?}");
}

async fn a_caller_without_a_good_token_is_told_so_by_every_rpc(env: &mut Env) {
    let world = World::new(env).await;
    let elsewhere = Env::start(None).await;
    let tokens = &env.server.app().tokens;
    let account = Principal::ServiceAccount(tollreeve::domain::id::Id::from_bits(7));
    let hour = Duration::from_hours(1);
    let of_nobody = tokens.issue(account, None, env.clock.now(), hour).expect("signs").0;
    let user = Principal::User(world.user.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id"));
    let ended = tokens.issue(user, None, env.clock.now(), Duration::from_mins(1)).expect("signs").0;
    let not_yet = tokens.issue(user, None, env.clock.now().after(hour), hour).expect("signs").0;
    let foreign = elsewhere.token(user);
    let good = env.token(user);
    let (head, tail) = good.split_at(good.len() - 10);
    let tampered = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    // Used while it is good, so that the server remembers it.
    env.operator
        .with_token(Some(&ended))
        .access()
        .list_roles(pb::ListRolesRequest::default())
        .await
        .expect("still good");
    env.clock.advance(Duration::from_mins(1));
    let long = "x".repeat(9_000);
    let bad = ["", "x", "a.b.c", &of_nobody, &ended, &not_yet, &foreign, &tampered, &long];
    for token in bad {
        let caller = env.operator.with_token(Some(token));
        let answer = caller.access().list_roles(pb::ListRolesRequest::default()).await;
        assert_refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
    }
    let nobody = env.operator.with_token(None);
    for (path, body) in every_call(&world).await {
        if rpcs().iter().any(|rpc| rpc.path == path && rpc.is_personal()) {
            call(&nobody, &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
            continue;
        }
        assert_refused(call(&nobody, &path, body).await, Code::Unauthenticated, "TOKEN_INVALID");
    }
    let mut basic = tonic::Request::new(pb::ListRolesRequest::default());
    basic.metadata_mut().insert("authorization", "Basic b3BlcmF0b3I6".parse().expect("a header"));
    assert_refused(nobody.access().list_roles(basic).await, Code::Unauthenticated, "TOKEN_INVALID");
    elsewhere.end().await;
}

async fn a_message_that_is_too_large_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let large = "x".repeat(3 * 1024 * 1024);
    // A whole price file is larger than any other message.
    let larger = large.repeat(5);
    for (path, body) in every_call(&world).await {
        let mut body = body;
        let large = if path.contains("PriceService") { &larger } else { &large };
        prost::encoding::string::encode(1, large, &mut body);
        let status = call(&env.operator, &path, body).await.expect_err(&path);
        let expected = [Code::OutOfRange, Code::ResourceExhausted].contains(&status.code());
        assert!(expected, "{path}: {status:?}");
    }
    let header = "x".repeat(64 * 1024);
    let mut request = tonic::Request::new(pb::ListRolesRequest::default());
    request.metadata_mut().insert("x-large", header.parse().expect("a header"));
    // On a connection of its own, which the server ends.
    let apart = Client { bearer: env.operator.bearer.clone(), ..Client::new(env.server.addr(), None) };
    apart.access().list_roles(request).await.expect_err("its headers are too large");
    assert_well(&world).await;
}

async fn strange_texts_are_stored_nowhere_and_break_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let long = "y".repeat(10_000);
    let strange = [long.as_str(), "\0", "a\nb", "\u{202e}\u{feff}", "'; DROP TABLE tenants; --", "../../etc", "💥"];
    for (path, body) in every_call(&world).await {
        for field in texts_of(&path) {
            for text in strange {
                // What is said of a message twice is put together, and of a text the last counts.
                let mut body = body.clone();
                field.append(text, &mut body);
                assert_unbroken(&format!("{path} {field:?} {text:.9}"), call(&env.operator, &path, body).await);
            }
        }
    }
    let books = env.books().await;
    let stored: Vec<(String,)> = books.rows("SELECT after || reason || resource FROM audit_events").await;
    assert!(stored.iter().all(|(text,)| !text.contains(&long[..2000])), "a text of 10,000 was stored");
    // Some of the texts are good ones, and what was done last may have been a deletion.
    let there = pb::UndeleteTenantRequest { name: world.tenant.clone(), ..pb::UndeleteTenantRequest::default() };
    env.operator.identity().undelete_tenant(there).await.expect("there");
    let there =
        pb::UndeleteWorkspaceRequest { name: world.workspace.clone(), ..pb::UndeleteWorkspaceRequest::default() };
    env.operator.identity().undelete_workspace(there).await.expect("there");
    let active = pb::ReactivateTenantRequest { name: world.tenant.clone() };
    env.operator.identity().reactivate_tenant(active).await.expect("active");
    let key = world.another_key(pb::Key::default()).await;
    world.hold(world.ask_with(&key.secret)).await;
}

async fn random_bytes_break_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let mut random = Random::fresh("random_bytes_break_nothing");
    for (path, good) in every_call(&world).await {
        for _ in 0..40 {
            let length = random.within(0, 200).unsigned_abs() as usize;
            let body = random.bytes(length);
            assert_unbroken(&path, call(&env.operator, &path, body).await);
            let mut body = good.clone();
            for _ in 0..random.within(1, 3) {
                if let Some(last) = body.len().checked_sub(1) {
                    let at = random.within(0, i64::try_from(last).expect("short")).unsigned_abs() as usize;
                    body[at] = random.bytes(1)[0];
                }
            }
            assert_unbroken(&path, call(&env.operator, &path, body).await);
        }
    }
    let frames = [vec![], vec![0, 0, 0, 0], vec![1, 0, 0, 0, 1, 9], vec![0, 255, 255, 255, 255, 1], random.bytes(64)];
    let bearer = format!("Bearer {}", env.token(Principal::User(tollreeve::domain::id::Id::from_bits(1))));
    for frame in frames {
        let mut connection = Connection::open(env.server.addr()).await;
        let headers = [("authorization", bearer.as_str())];
        let status = connection.status("/tollreeve.v1.GateService/Charge", &headers, frame.into()).await;
        assert_ne!(status, Some(0));
    }
    World::named(env, "after-all").await;
}

async fn a_deadline_that_has_passed_is_told_as_such(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000).await;
    let bearer = format!("Bearer {}", env.user_token(&world.owner));
    let mut connection = Connection::open(env.server.addr()).await;
    let passed = i32::from(Code::DeadlineExceeded);
    for (path, body) in every_call(&world).await {
        for timeout in ["0n", "0S", "1n"] {
            let headers = [("authorization", bearer.as_str()), ("grpc-timeout", timeout)];
            let status = connection.status(&path, &headers, framed(&body)).await;
            let in_time = timeout == "1n" && status != Some(passed);
            assert!(status == Some(passed) || in_time, "{path} {timeout}: {status:?}");
        }
    }
    // One that cannot be read counts as none. The owner's tenant may have been deleted in time.
    let bearer = format!("Bearer {}", env.server.operator_token(Duration::from_hours(1)).expect("a token"));
    let ask = pb::ListRolesRequest::default().encode_to_vec();
    for timeout in ["", "5", "-1S", "x", "123456789S", "99999999H"] {
        let headers = [("authorization", bearer.as_str()), ("grpc-timeout", timeout)];
        let status = connection.status("/tollreeve.v1.AccessService/ListRoles", &headers, framed(&ask)).await;
        assert_eq!(status, Some(0), "{timeout}");
    }
    assert!(world.state(&budget).await.spent <= 1_000);
}

/// A budget that can be, to be made one that cannot.
fn budget(world: &World, change: impl FnOnce(&mut pb::Budget)) -> pb::CreateBudgetRequest {
    let mut budget = pb::Budget {
        scope: world.tenant.clone(),
        unit: pb::Unit::Tokens.into(),
        window: pb::Window::Day.into(),
        limit: 1,
        ..pb::Budget::default()
    };
    change(&mut budget);
    pb::CreateBudgetRequest { parent: world.tenant.clone(), budget: Some(budget), ..Default::default() }
}

async fn numbers_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let mut budgets = env.operator.budgets();
    /// A field, and what is done to it.
    type Case = (&'static str, fn(&mut pb::Budget));
    let cases: [Case; 11] = [
        ("budget.limit", |b| b.limit = -1),
        ("budget.limit", |b| b.limit = i64::MAX),
        ("budget.limit", |b| b.limit = 4_000_000_000_000_000_001),
        ("budget.limit", |b| b.limit = i64::MIN),
        ("budget.unit", |b| b.unit = 0),
        ("budget.unit", |b| b.unit = 99),
        ("budget.unit", |b| b.unit = -1),
        ("budget.window", |b| b.window = 0),
        ("budget.window", |b| b.window = i32::MAX),
        ("budget.on_expiry", |b| b.on_expiry = 3),
        ("budget.display_name", |b| b.display_name = "x".repeat(129)),
    ];
    for (field, change) in cases {
        assert_invalid(budgets.create_budget(budget(&world, change)).await, field);
    }
    let name = world.dollars(&world.tenant, 1).await;
    for limit in [-1, i64::MAX, i64::MIN] {
        let request = pb::UpdateBudgetRequest { name: name.clone(), limit: Some(limit), ..Default::default() };
        assert_invalid(budgets.update_budget(request).await, "limit");
    }
    let request = pb::UpdateBudgetRequest { name: name.clone(), limit: Some(1), on_expiry: -1, ..Default::default() };
    assert_invalid(budgets.update_budget(request).await, "on_expiry");
    for amount_nanos in [0, i64::MIN, i64::MAX] {
        assert_invalid(world.try_credit(credit(amount_nanos, "r")).await, "entry.amount_nanos");
    }
    for (field, bad) in bad_credit() {
        assert_invalid(world.try_credit(bad).await, field);
    }
    for input in [-1, i64::MAX] {
        let price = pb::Price {
            provider: "p".into(),
            model: "m".into(),
            input_nanos_per_million: input,
            ..pb::Price::default()
        };
        let request = pb::ImportPricesRequest { prices: vec![price], ..Default::default() };
        assert_invalid(env.operator.prices().import_prices(request).await, "prices[0].input_nanos_per_million");
    }
    let list = |page_size, page_token: &str| pb::ListBudgetsRequest {
        parent: world.tenant.clone(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    };
    assert_invalid(budgets.list_budgets(list(-1, "")).await, "page_size");
    assert_invalid(budgets.list_budgets(list(0, "§")).await, "page_token");
    budgets.list_budgets(list(i32::MAX, "")).await.expect("a page is as large as it may be");
    for ttl_seconds in [-1, 59, 86_401, i64::MAX] {
        let request = pb::CreateServiceAccountTokenRequest { name: world.account.clone(), ttl_seconds };
        assert_invalid(env.operator.identity().create_service_account_token(request).await, "ttl_seconds");
    }
    let times = [(i64::MAX, 0), (i64::MIN, 0), (1_773_145_200, 0), (4_000_000_000, -1), (4_000_000_000, 1_000_000_000)];
    for (seconds, nanos) in times {
        let expire_time = Some(prost_types::Timestamp { seconds, nanos });
        let key = pb::Key { owner: world.user.clone(), expire_time, ..pb::Key::default() };
        let request = pb::CreateKeyRequest { parent: world.workspace.clone(), key: Some(key), ..Default::default() };
        assert_invalid(env.operator.keys().create_key(request).await, "key.expire_time");
    }
}

async fn charges_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let total = world.dollars(&world.tenant, COST).await;
    let hold = world.hold(world.ask()).await;
    let good = || on_hold(&hold, 1);
    let usage = |usage| pb::ChargeRequest { usage: Some(usage), ..good() };
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let labels = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect();
    let cases = [
        ("charge_id", pb::ChargeRequest { charge_id: String::new(), ..good() }),
        ("charge_id", pb::ChargeRequest { charge_id: "é".into(), ..good() }),
        ("subject", pb::ChargeRequest { subject: None, ..good() }),
        ("hold_token", pb::ChargeRequest { subject: Some(Subject::HoldToken(vec![0; 2049].into())), ..good() }),
        ("outcome", pb::ChargeRequest { outcome: 77, ..good() }),
        ("cost_nanos", pb::ChargeRequest { cost_nanos: Some(-1), ..good() }),
        ("cost_nanos", pb::ChargeRequest { cost_nanos: Some(i64::MAX), ..good() }),
        ("usage.input_tokens", usage(pb::Usage { input_tokens: -1, ..pb::Usage::default() })),
        ("usage.output_tokens", usage(pb::Usage { output_tokens: i64::MAX, ..pb::Usage::default() })),
        ("usage.requests", usage(pb::Usage { requests: Some(-1), ..pb::Usage::default() })),
        ("usage.reasoning_tokens", usage(pb::Usage { reasoning_tokens: 1, ..pb::Usage::default() })),
        ("usage", pb::ChargeRequest { outcome: pb::Outcome::NotDispatched.into(), ..good() }),
        ("extend_hold", pb::ChargeRequest { extend_hold: span(60), ..good() }),
        ("extend_hold", pb::ChargeRequest { extend_hold: span(901), r#final: Some(false), ..good() }),
        ("hold_age", pb::ChargeRequest { hold_age: span(-1), ..good() }),
        ("project", pb::ChargeRequest { project: "search".into(), ..good() }),
        ("end_user", pb::ChargeRequest { end_user: "mia".into(), ..good() }),
        ("labels", pb::ChargeRequest { labels: labels(17), ..good() }),
    ];
    for (field, asked) in cases {
        assert_invalid(world.try_charge(asked).await, field);
    }
    for seconds in [1_773_145_200 + 301, i64::MAX, -1] {
        let occurred_at = Some(prost_types::Timestamp { seconds, nanos: 0 });
        assert_invalid(world.try_charge(pb::ChargeRequest { occurred_at, ..good() }).await, "occurred_at");
    }
    let state = world.state(&total).await;
    assert_eq!((state.spent, state.held), (0, COST), "nothing of it was counted");
    let usage = pb::Usage { input_tokens: 1_000_000_000_000, output_tokens: 1_000_000_000_000, ..pb::Usage::default() };
    let most = pb::ChargeRequest { usage: Some(usage), cost_nanos: Some(4_000_000_000_000_000_000), ..good() };
    let answer = world.charge(most).await;
    assert_eq!(answer.charged_nanos, 4_000_000_000_000_000_000);
    assert_eq!(answer.status(), pb::ChargeStatus::AppliedOverrun);
}

async fn a_client_that_goes_away_in_the_middle_of_charges_loses_none(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let sidecar = world.account.clone();
    let token = crate::harness::world::account_token(&env.operator, &sidecar).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let books = env.books().await;
    let mut sent = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(env.server.addr()).await;
        let mut answers = Vec::new();
        for _ in 0..20 {
            let hold = world.hold(world.ask()).await;
            let asked = on_hold(&hold, 10);
            let body = framed(&asked.encode_to_vec());
            answers.push(connection.send("/tollreeve.v1.GateService/Charge", &headers, body).await);
            sent.push(asked);
        }
        // The server reads a connection in order: when it answers this, it has all that came before.
        let roles = framed(&pb::ListRolesRequest::default().encode_to_vec());
        assert_eq!(connection.status("/tollreeve.v1.AccessService/ListRoles", &headers, roles).await, Some(0));
        drop((answers, connection));
    }
    eventually("every charge is on record", async || {
        let recorded = books.charges().await;
        (recorded.len() == sent.len()).then_some(())
    })
    .await;
    eventually("every charge is counted", async || (world.state(&budget).await.held == 0).then_some(())).await;
    assert_eq!(world.state(&budget).await.spent, 2_000);
    for asked in sent {
        assert_eq!(world.charge(asked).await.status(), pb::ChargeStatus::Replayed);
    }
    books.close().await;
}

async fn a_path_that_nobody_serves_is_unimplemented(env: &mut Env) {
    let world = World::new(env).await;
    for path in ["/tollreeve.v1.GateService/Nothing", "/tollreeve.v2.GateService/Authorize", "/x/y"] {
        let status = call(&env.operator, path, Vec::new()).await.expect_err(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    assert_well(&world).await;
}

/// Entries of credit that cannot be, and the field at fault.
fn bad_credit() -> Vec<(&'static str, pb::CreditEntry)> {
    let good = || credit(5, "r");
    let until = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    // The clock of every test stands at 12:20.
    let (whole, soon) = (1_773_144_000 + 3600, 1_773_144_000);
    vec![
        ("entry.kind", pb::CreditEntry { kind: 0, ..good() }),
        ("entry.kind", pb::CreditEntry { kind: pb::CreditEntryKind::Expiry.into(), ..good() }),
        ("entry.kind", pb::CreditEntry { kind: 99, ..good() }),
        ("entry.amount_nanos", pb::CreditEntry { kind: pb::CreditEntryKind::Purchase.into(), ..credit(-5, "r") }),
        ("entry.reference", credit(5, "")),
        ("entry.reference", credit(5, "expiry/1")),
        ("entry.reference", credit(5, &"x".repeat(129))),
        ("entry.note", pb::CreditEntry { note: "x".repeat(513), ..good() }),
        ("entry.expire_time", pb::CreditEntry { expire_time: until(whole + 1), ..good() }),
        ("entry.expire_time", pb::CreditEntry { expire_time: until(soon), ..good() }),
        ("entry.expire_time", pb::CreditEntry { expire_time: until(whole), ..credit(-5, "r") }),
    ]
}
