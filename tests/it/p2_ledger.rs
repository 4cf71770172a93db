//! Nothing lost, nothing doubled: a charge that was acknowledged is on record once, whatever happens to the server.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1::{self as pb, ChargeStatus, charge_request::Subject, charge_result};
use tonic::Code;

use crate::harness::{
    both,
    client::assert_refused,
    once,
    server::Env,
    world::{COST, MODEL, NewKey, PROVIDER, World, account_token, codes, on_hold, on_key, unique},
};

both!(
    the_same_charge_again_is_a_replay_and_counts_once,
    a_charge_id_with_another_body_is_refused,
    a_charge_of_an_ended_hold_is_recorded_as_late,
    a_charge_beyond_its_hold_takes_what_is_left_and_the_rest_is_an_overrun,
    a_call_that_goes_on_settles_in_parts_and_keeps_its_hold_alive,
    a_call_that_was_never_sent_gives_everything_back,
    usage_without_a_hold_is_charged_to_a_key_or_its_name,
    a_batch_records_what_is_good_and_names_what_is_not,
    a_large_batch_tells_what_is_new_from_what_is_known,
    the_same_charge_sent_many_times_at_once_counts_once,
    a_hold_of_an_earlier_run_gives_each_nano_once,
    what_crosses_a_threshold_is_told_once,
    charges_of_keys_and_people_that_are_gone_are_facts_all_the_same,
);

once!(a_charge_is_priced_by_what_served_it, a_hold_token_that_is_not_whole_or_not_ones_own_is_refused);

async fn the_same_charge_again_is_a_replay_and_counts_once(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let hold = world.hold(world.ask()).await;
    let asked = on_hold(&hold, 250);
    let first = world.charge(asked.clone()).await;
    assert_eq!((first.status(), first.charged_nanos, first.released_nanos), (ChargeStatus::Applied, 250, 50));
    // A retry is older than the first try; that alone makes it no other charge.
    let age = prost_types::Duration { seconds: 20, nanos: 0 };
    let retries = [asked.clone(), pb::ChargeRequest { hold_age: Some(age), ..asked }];
    for retry in retries {
        let again = world.charge(retry).await;
        assert_eq!(again.status(), ChargeStatus::Replayed);
        assert_eq!((again.charged_nanos, again.released_nanos, again.ledger_seq), (250, 50, first.ledger_seq));
    }
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (250, 0));
    let loose = on_key(&world.key, 10);
    assert_eq!(world.charge(loose.clone()).await.status(), ChargeStatus::Applied);
    assert_eq!(world.charge(loose).await.status(), ChargeStatus::Replayed);
    assert_eq!(world.state(&budget).await.spent, 260);
    assert_eq!(env.books().await.charges().await.len(), 2);
}

async fn a_charge_id_with_another_body_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let hold = world.hold(world.ask()).await;
    let other = world.hold(world.ask()).await;
    let asked = on_hold(&hold, 250);
    world.charge(asked.clone()).await;
    let bodies = [
        pb::ChargeRequest { cost_nanos: Some(251), ..asked.clone() },
        pb::ChargeRequest { outcome: pb::Outcome::Cancelled.into(), ..asked.clone() },
        pb::ChargeRequest { charge_id: asked.charge_id.clone(), ..on_hold(&other, 250) },
        pb::ChargeRequest { charge_id: asked.charge_id.clone(), ..on_key(&world.key, 250) },
    ];
    for body in bodies {
        assert_refused(world.try_charge(body).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    }
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (250, COST), "the other hold is untouched");
    world.charge(on_hold(&other, COST)).await;
    // Another tenant's ids are its own.
    let elsewhere = World::named(env, "globex").await;
    let same = pb::ChargeRequest { charge_id: asked.charge_id, ..on_key(&elsewhere.key, 1) };
    assert_eq!(elsewhere.charge(same).await.status(), ChargeStatus::Applied);
}

async fn a_charge_of_an_ended_hold_is_recorded_as_late(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000).await;
    let hold = world.hold(world.ask_for(600)).await;
    // Its end and the grace for charges on their way.
    env.clock.advance(Duration::from_secs(120 + 60));
    env.sweep().await;
    let punctual = world.hold(world.ask_for(400)).await;
    world.charge(on_hold(&punctual, 400)).await;
    env.clock.advance(Duration::from_secs(62));
    env.sweep().await;
    assert_eq!(world.state(&budget).await.held, 0);
    let late = world.charge(on_hold(&hold, 500)).await;
    assert_eq!((late.status(), late.charged_nanos, late.released_nanos), (ChargeStatus::AppliedLate, 500, 0));
    // Late and without room: what does not fit is an overrun, and the fact stands.
    let gone = world.hold(world.ask_for(100)).await;
    env.clock.advance(Duration::from_mins(10));
    env.sweep().await;
    let late = world.charge(on_hold(&gone, 150)).await;
    assert_eq!((late.status(), late.overrun_nanos), (ChargeStatus::AppliedOverrun, 50));
    assert_eq!(world.state(&budget).await.spent, 1_050);
    let charges = env.books().await.charges().await;
    assert_eq!(charges.iter().map(|charge| charge.late).collect::<Vec<_>>(), [false, true, true]);
    // By the sidecar's own clock, too.
    world.set_limit(&budget, 10_000).await;
    let hold = world.hold(world.ask()).await;
    let hold_age = Some(prost_types::Duration { seconds: 120 + 120, nanos: 0 });
    let late = world.charge(pb::ChargeRequest { hold_age, ..on_hold(&hold, 1) }).await;
    assert_eq!(late.status(), ChargeStatus::AppliedLate);
}

async fn a_charge_beyond_its_hold_takes_what_is_left_and_the_rest_is_an_overrun(env: &mut Env) {
    let world = World::new(env).await;
    let wide = world.dollars(&world.tenant, 100_000).await;
    let narrow = world.dollars(&world.project, 1_000).await;
    let hold = world.hold(world.ask_for(200)).await;
    let charged = world.charge(on_hold(&hold, 300)).await;
    assert_eq!((charged.status(), charged.charged_nanos), (ChargeStatus::Applied, 300), "there was room beside it");
    let hold = world.hold(world.ask_for(500)).await;
    let charged = world.charge(on_hold(&hold, 1_200)).await;
    assert_eq!(charged.status(), ChargeStatus::AppliedOverrun);
    // Whatever a grant that is under way at this moment has set aside is still there for it.
    assert_eq!(charged.overrun_nanos, 500, "{charged:?}");
    assert_eq!(world.state(&wide).await.spent, 1_500);
    let state = world.state(&narrow).await;
    assert_eq!((state.spent, state.held, state.remaining), (1_500, 0, 0));
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [pb::DenialCode::BudgetExhausted]);
    // What is held by others is not taken.
    world.set_limit(&narrow, 1_000_000).await;
    let narrow = world.dollars(&world.user, 1_000).await;
    let others = world.hold(world.ask_for(900)).await;
    let hold = world.hold(world.ask_for(100)).await;
    assert_eq!(world.charge(on_hold(&hold, 150)).await.overrun_nanos, 50);
    let settled = world.charge(on_hold(&others, 900)).await;
    assert_eq!((settled.status(), settled.overrun_nanos), (ChargeStatus::Applied, 0));
    assert_eq!(world.state(&narrow).await.spent, 1_050);
}

async fn a_call_that_goes_on_settles_in_parts_and_keeps_its_hold_alive(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000).await;
    let hold = world.hold(world.ask_for(900)).await;
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let part = |token: &pb::Hold, cost, extend_hold| pb::ChargeRequest {
        r#final: Some(false),
        extend_hold,
        ..on_hold(token, cost)
    };
    let answer = world.charge(part(&hold, 200, None)).await;
    assert_eq!((answer.status(), answer.released_nanos, answer.hold_token.len()), (ChargeStatus::Applied, 0, 0));
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (200, 700));
    env.clock.advance(Duration::from_secs(100));
    let answer = world.charge(part(&hold, 100, span(600))).await;
    let longer = pb::Hold { token: answer.hold_token, ..hold.clone() };
    assert_eq!(answer.hold_expires_at.map(|at| at.seconds), Some(1_773_145_200 + 700));
    // Past the first end and its grace, the hold lives.
    env.clock.advance(Duration::from_secs(500));
    env.sweep().await;
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (300, 600));
    let answer = world.charge(on_hold(&longer, 400)).await;
    assert_eq!((answer.status(), answer.released_nanos), (ChargeStatus::Applied, 200));
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (700, 0));
    // A second end finds nothing of the hold left, and is a fact all the same.
    let answer = world.charge(on_hold(&longer, 50)).await;
    assert_eq!(world.state(&budget).await.spent, 750);
    assert_eq!((answer.charged_nanos, answer.overrun_nanos), (50, 0));
}

async fn a_hold_of_an_earlier_run_gives_each_nano_once(env: &mut Env) {
    // A server of its own: this test stops it.
    let own = env.another().await;
    let world = World::new(&own).await;
    let budget = world.dollars(&world.tenant, 2_000).await;
    let part = |hold: &pb::Hold, cost| pb::ChargeRequest { r#final: Some(false), ..on_hold(hold, cost) };
    let begun = world.hold(world.ask_for(500)).await;
    let ended = world.hold(world.ask_for(500)).await;
    let untouched = world.hold(world.ask_for(500)).await;
    let at_once = world.hold(world.ask_for(500)).await;
    world.charge(part(&begun, 300)).await;
    world.charge(on_hold(&ended, 100)).await;
    let own = own.restart().await;
    let sidecar = own.operator.with_token(Some(&account_token(&own.operator, &world.account).await));
    let world = World { sidecar, operator: own.operator.clone(), ..world };
    // Nothing is left but what is held.
    world.hold(world.ask_for(400)).await;
    let answer = world.charge(on_hold(&ended, 50)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::AppliedOverrun, 50), "it was settled before");
    let answer = world.charge(on_hold(&begun, 500)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::AppliedOverrun, 300), "200 of it were left");
    // Both at once, in either order.
    let charges = vec![part(&at_once, 400), part(&at_once, 70)];
    let batch =
        world.sidecar.gate().charge_batch(pb::ChargeBatchRequest { charges }).await.expect("charged").into_inner();
    let answers = batch.results.into_iter().map(|result| match result.result {
        Some(charge_result::Result::Response(answer)) => (answer.status(), answer.released_nanos),
        other => panic!("{other:?}"),
    });
    assert_eq!(answers.collect::<Vec<_>>(), [(ChargeStatus::Applied, 0), (ChargeStatus::Applied, 0)]);
    let answer = world.charge(on_hold(&at_once, 0)).await;
    assert_eq!((answer.status(), answer.released_nanos), (ChargeStatus::Applied, 30));
    let answer = world.charge(on_hold(&untouched, 500)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0), "nobody took its room");
    assert_eq!(own.books().await.spent(&budget).await, 300 + 100 + 50 + 500 + 470 + 500);
    own.end().await;
}

async fn a_call_that_was_never_sent_gives_everything_back(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, COST).await;
    let requests = world.budget(&world.tenant, pb::Unit::Requests, pb::Window::Day, 1).await;
    for _ in 0..3 {
        let hold = world.hold(world.ask()).await;
        let outcome = pb::Outcome::NotDispatched.into();
        let asked = pb::ChargeRequest { outcome, cost_nanos: None, ..on_hold(&hold, 0) };
        let answer = world.charge(asked).await;
        assert_eq!((answer.status(), answer.charged_nanos), (ChargeStatus::Applied, 0));
        assert_eq!(answer.released_nanos, COST);
    }
    for budget in [budget, requests] {
        let state = world.state(&budget).await;
        assert_eq!((state.spent, state.held), (0, 0));
    }
}

async fn usage_without_a_hold_is_charged_to_a_key_or_its_name(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.project, 1_000).await;
    let user = world.dollars(&format!("{}/endUsers/mia", world.tenant), 1_000).await;
    let usage = pb::Usage { input_tokens: 10, output_tokens: 5, ..pb::Usage::default() };
    let priced = pb::ChargeRequest {
        cost_nanos: None,
        usage: Some(usage),
        served_provider: PROVIDER.into(),
        served_model: MODEL.into(),
        end_user: "mia".into(),
        ..on_key(&world.key, 0)
    };
    let by_name = pb::ChargeRequest {
        charge_id: unique("charge"),
        subject: Some(Subject::Key(world.key.name.clone())),
        ..priced.clone()
    };
    for asked in [priced, by_name] {
        let answer = world.charge(asked).await;
        assert_eq!((answer.status(), answer.charged_nanos), (ChargeStatus::Applied, 20));
    }
    assert_eq!(world.state(&budget).await.spent, 40);
    assert_eq!(world.state(&user).await.spent, 40);
    let unknown = pb::ChargeRequest { project: "nothing".into(), ..on_key(&world.key, 1) };
    assert_refused(world.try_charge(unknown).await, Code::InvalidArgument, "FIELD_INVALID");
    let stranger = NewKey { name: String::new(), secret: "prod_tr_nothing".into() };
    assert_refused(world.try_charge(on_key(&stranger, 1)).await, Code::NotFound, "RESOURCE_NOT_FOUND");
}

async fn a_batch_records_what_is_good_and_names_what_is_not(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let hold = world.hold(world.ask()).await;
    let replayed = on_key(&world.key, 7);
    world.charge(replayed.clone()).await;
    let conflicting = pb::ChargeRequest { cost_nanos: Some(8), charge_id: unique("charge"), ..replayed.clone() };
    world.charge(conflicting.clone()).await;
    let charges = vec![
        on_hold(&hold, 100),
        pb::ChargeRequest { cost_nanos: Some(-1), ..on_key(&world.key, 0) },
        replayed,
        pb::ChargeRequest { cost_nanos: Some(9), ..conflicting },
        pb::ChargeRequest { subject: Some(Subject::HoldToken(vec![1, 2, 3].into())), ..on_key(&world.key, 1) },
        on_key(&world.key, 11),
    ];
    let answer = world.sidecar.gate().charge_batch(pb::ChargeBatchRequest { charges }).await.expect("an answer");
    let results: Vec<String> = answer
        .into_inner()
        .results
        .into_iter()
        .map(|result| match result.result.expect("a result") {
            charge_result::Result::Response(answer) => answer.status().as_str_name().to_owned(),
            charge_result::Result::Error(error) => format!("{} {} {}", error.code, error.reason, error.field),
        })
        .collect();
    let expected = [
        "CHARGE_STATUS_APPLIED",
        "3 FIELD_INVALID cost_nanos",
        "CHARGE_STATUS_REPLAYED",
        "6 IDEMPOTENCY_CONFLICT ",
        "3 HOLD_TOKEN_INVALID hold_token",
        "CHARGE_STATUS_APPLIED",
    ];
    assert_eq!(results, expected);
    assert_eq!(world.state(&budget).await.spent, 100 + 7 + 8 + 11);
    let twice = vec![on_key(&world.key, 1); 2];
    let refused = world.sidecar.gate().charge_batch(pb::ChargeBatchRequest { charges: twice }).await;
    assert_eq!(refused.expect_err("ids must differ").code(), Code::InvalidArgument);
    let none = world.sidecar.gate().charge_batch(pb::ChargeBatchRequest { charges: vec![] }).await;
    assert_eq!(none.expect_err("at least one").code(), Code::InvalidArgument);
}

async fn a_large_batch_tells_what_is_new_from_what_is_known(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let send = async |charges: Vec<pb::ChargeRequest>| {
        let request = pb::ChargeBatchRequest { charges };
        let answer = world.sidecar.gate().charge_batch(request).await.expect("an answer").into_inner();
        let charged = |result: pb::ChargeResult| match result.result {
            Some(charge_result::Result::Response(answer)) => answer,
            other => panic!("{other:?}"),
        };
        answer.results.into_iter().map(charged).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..300).map(|cost| on_key(&world.key, cost)).collect();
    let known: Vec<_> = all.iter().step_by(19).cloned().collect();
    send(known).await;
    let first = send(all.clone()).await;
    for (i, answer) in first.iter().enumerate() {
        let status = if i % 19 == 0 { ChargeStatus::Replayed } else { ChargeStatus::Applied };
        assert_eq!((answer.status(), answer.charged_nanos), (status, i64::try_from(i).expect("small")));
    }
    // The ledger finds each under the position that was told.
    let again = send(all).await;
    assert!(again.iter().all(|answer| answer.status() == ChargeStatus::Replayed));
    let positions = |answers: &[pb::ChargeResponse]| answers.iter().map(|answer| answer.ledger_seq).collect::<Vec<_>>();
    assert_eq!(positions(&first), positions(&again));
    assert_eq!(world.state(&budget).await.spent, (0..300).sum::<i64>());
}

async fn the_same_charge_sent_many_times_at_once_counts_once(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    for _ in 0..10 {
        let hold = world.hold(world.ask()).await;
        let asked = on_hold(&hold, 100);
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let (world, asked) = (world.clone(), asked.clone());
                tokio::spawn(async move { world.charge(asked).await.status() })
            })
            .collect();
        let mut applied = 0;
        for call in calls {
            match call.await.expect("no panic") {
                ChargeStatus::Replayed => {}
                ChargeStatus::Applied => applied += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(applied, 1);
    }
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (1_000, 0));
}

async fn what_crosses_a_threshold_is_told_once(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000).await;
    let mut told = Vec::new();
    for cost in [690, 10, 190, 10, 100, 50] {
        let answer = world.charge(on_key(&world.key, cost)).await;
        assert!(answer.thresholds_crossed.iter().all(|crossing| crossing.budget == budget));
        told.push(answer.thresholds_crossed.iter().map(|crossing| crossing.percent).collect::<Vec<_>>());
    }
    assert_eq!(told, [vec![], vec![70], vec![], vec![90], vec![100], vec![]]);
}

async fn charges_of_keys_and_people_that_are_gone_are_facts_all_the_same(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let holds = [world.hold(world.ask()).await, world.hold(world.ask()).await];
    let revoke = pb::RevokeKeyRequest { name: world.key.name.clone(), reason: String::new() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
    let suspend = pb::SuspendUserRequest { name: world.user.clone() };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    world.set_limit(&budget, 0).await;
    assert_eq!(world.charge(on_hold(&holds[0], 100)).await.charged_nanos, 100);
    env.operator
        .budgets()
        .delete_budget(pb::DeleteBudgetRequest { name: budget.clone(), ..Default::default() })
        .await
        .expect("deleted");
    assert_eq!(world.charge(on_hold(&holds[1], 100)).await.charged_nanos, 100);
    assert_eq!(world.charge(on_key(&world.key, 1)).await.charged_nanos, 1);
    assert_eq!(env.books().await.spent(&budget).await, 200);
}

async fn a_charge_is_priced_by_what_served_it(env: &mut Env) {
    let world = World::new(env).await;
    let price = pb::Price {
        provider: PROVIDER.into(),
        model: "tiny".into(),
        input_nanos_per_million: 1,
        output_nanos_per_million: 1,
        cached_input_nanos_per_million: Some(0),
        request_nanos_per_million: 5_000_000,
        ..pb::Price::default()
    };
    let request = pb::ImportPricesRequest { prices: vec![price], ..Default::default() };
    env.operator.prices().import_prices(request).await.expect("prices");
    let usage = pb::Usage {
        input_tokens: 10,
        cached_input_tokens: 100,
        output_tokens: 5,
        reasoning_tokens: 4,
        ..pb::Usage::default()
    };
    let asked =
        |hold: &pb::Hold| pb::ChargeRequest { cost_nanos: None, usage: Some(usage.clone()), ..on_hold(hold, 0) };
    let hold = world.hold(world.ask()).await;
    assert_eq!(world.charge(asked(&hold)).await.charged_nanos, 10 + 100 + 2 * 5, "the hold's model");
    let hold = world.hold(world.ask()).await;
    let tiny = pb::ChargeRequest { served_model: "tiny".into(), ..asked(&hold) };
    assert_eq!(world.charge(tiny).await.charged_nanos, 5 + 1, "another one, rounded up once");
    // A price that changed meanwhile does not change what was agreed.
    let hold = world.hold(world.ask()).await;
    let dearer = pb::Price {
        provider: PROVIDER.into(),
        model: MODEL.into(),
        input_nanos_per_million: 9_000_000,
        ..pb::Price::default()
    };
    let request = pb::ImportPricesRequest { prices: vec![dearer], ..Default::default() };
    env.operator.prices().import_prices(request).await.expect("prices");
    assert_eq!(world.charge(asked(&hold)).await.charged_nanos, 120);
    let hold = world.hold(world.ask()).await;
    assert_eq!(world.charge(asked(&hold)).await.charged_nanos, 9 * 110);
}

async fn a_hold_token_that_is_not_whole_or_not_ones_own_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, COST).await;
    let hold = world.hold(world.ask()).await;
    let whole = hold.token.to_vec();
    let with =
        |token: Vec<u8>| pb::ChargeRequest { subject: Some(Subject::HoldToken(token.into())), ..on_hold(&hold, 1) };
    let mut bad: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|cut| whole[..cut].to_vec()).collect();
    for at in (0..whole.len()).step_by(5) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        bad.push(flipped);
    }
    bad.push([whole.clone(), vec![0]].concat());
    for token in bad {
        assert_refused(world.try_charge(with(token)).await, Code::InvalidArgument, "HOLD_TOKEN_INVALID");
    }
    let other = World::named(env, "globex").await;
    assert_refused(other.try_charge(with(whole)).await, Code::InvalidArgument, "HOLD_TOKEN_INVALID");
    assert_eq!(world.state(&budget).await.held, COST);
    assert_eq!(world.charge(on_hold(&hold, COST)).await.status(), ChargeStatus::Applied);
}
