//! Where counting is hardest: sums past the largest number, ids that come again after years, clocks that are wrong.

use std::time::Duration;

use tollreeve::{
    domain::money::MAX_AMOUNT,
    pb::tollreeve::v1::{self as pb, ChargeStatus},
};
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{assert_invalid, assert_refused},
    eventually,
    random::Random,
    server::Env,
    world::{World, account_token, codes, on_hold, on_key, unique},
};

both!(
    sums_past_the_largest_amount_stop_there_and_every_charge_is_on_record,
    a_charge_id_is_known_for_good,
    a_request_id_is_known_until_its_hold_has_ended,
    a_sidecar_whose_clock_is_wrong_loses_no_charge_and_counts_none_twice,
);

async fn sums_past_the_largest_amount_stop_there_and_every_charge_is_on_record(env: &mut Env) {
    let world = World::new(env).await;
    let hard = world.dollars(&world.tenant, MAX_AMOUNT).await;
    let narrow = world.dollars(&world.project, 1_000).await;
    let soft = pb::Budget {
        scope: world.workspace.clone(),
        unit: pb::Unit::UsdNanos.into(),
        window: pb::Window::Total.into(),
        limit: MAX_AMOUNT,
        hard: Some(false),
        ..pb::Budget::default()
    };
    let soft = world.create_budget(soft).await;
    for round in 0..4 {
        let charged = world.charge(on_key(&world.key, MAX_AMOUNT)).await;
        assert_eq!((charged.status(), charged.charged_nanos), (ChargeStatus::AppliedOverrun, MAX_AMOUNT));
        // The first finds the wide budget whole.
        let most = if round == 0 { MAX_AMOUNT - 1_000 } else { MAX_AMOUNT };
        assert_eq!(charged.overrun_nanos, most, "the budget that it goes past most tells");
    }
    for budget in [&hard, &narrow, &soft] {
        let state = world.state(budget).await;
        assert!(state.spent >= MAX_AMOUNT && state.held == 0, "{state:?}");
        assert_eq!(state.remaining, 0);
    }
    // Past the largest amount there is, a soft budget refuses as well: there is nothing more to count with.
    let refused = world.authorize(world.ask_for(MAX_AMOUNT)).await;
    assert_eq!(codes(&refused), [pb::DenialCode::BudgetExhausted; 3]);
    let sums = pb::SummarizeChargesRequest { parent: world.tenant.clone(), ..Default::default() };
    let sums = world.operator.budgets().summarize_charges(sums).await.expect("sums").into_inner().sums;
    assert_eq!((sums[0].charges, sums[0].cost_nanos), (4, i64::MAX));
    world.set_limit(&narrow, MAX_AMOUNT).await;
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [pb::DenialCode::BudgetExhausted; 3]);
    assert_invalid(world.try_charge(on_key(&world.key, MAX_AMOUNT + 1)).await, "cost_nanos");
    assert_invalid(world.try_charge(on_key(&world.key, i64::MAX)).await, "cost_nanos");
    assert_eq!(env.books().await.charges().await.len(), 4);
}

async fn a_charge_id_is_known_for_good(env: &mut Env) {
    let own = env.another().await;
    let world = World::new(&own).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let asked = on_key(&world.key, 100);
    let first = world.charge(asked.clone()).await;
    // Years later, by a server that has just started.
    own.clock.advance(Duration::from_hours(5 * 365 * 24));
    let own = own.restart().await;
    let sidecar = own.operator.with_token(Some(&account_token(&own.operator, &world.account).await));
    let world = World { sidecar, operator: own.operator.clone(), ..world };
    let again = world.charge(asked.clone()).await;
    assert_eq!((again.status(), again.ledger_seq), (ChargeStatus::Replayed, first.ledger_seq));
    let other = pb::ChargeRequest { cost_nanos: Some(101), ..asked };
    assert_refused(world.try_charge(other).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    assert_eq!(world.state(&budget).await.spent, 100);
    own.end().await;
}

async fn a_request_id_is_known_until_its_hold_has_ended(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let asked = pb::AuthorizeRequest { request_id: "one".into(), ..world.ask_for(300) };
    let other = pb::AuthorizeRequest { request_id: "one".into(), ..world.ask_for(301) };
    let hold = world.hold(asked.clone()).await;
    // The last moment of the hold, its grace included.
    env.clock.advance(Duration::from_secs(2 * 60 + 120) - Duration::from_micros(1));
    env.sweep().await;
    assert_eq!(world.hold(asked.clone()).await.token, hold.token);
    assert_refused(world.try_authorize(other.clone()).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    assert_eq!(world.state(&budget).await.held, 300);
    // And after it.
    env.clock.advance(Duration::from_secs(2));
    env.sweep().await;
    let another = world.hold(other).await;
    assert_ne!(another.token, hold.token);
    assert_refused(world.try_authorize(asked).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    assert_eq!(world.state(&budget).await.held, 301);
}

/// What a sidecar's clock may show, whatever has happened to it.
fn nonsense(random: &mut Random, last: i64) -> i64 {
    match random.within(0, 5) {
        0 => 0,
        1 => i64::MAX,
        2 => last,
        3 => last / 2,
        4 => last.saturating_add(random.within(1, 7_200_000_000_000)),
        _ => random.within(0, i64::MAX - 1),
    }
}

/// The answer to a call that may have been taken for one that was kept on its way: then it is sent again, as the sidecar
/// does that notices, under the name of another run.
async fn insist<T>(stamp: &mut pb::Sidecar, call: impl AsyncFn(pb::Sidecar) -> Result<T, Status>) -> T {
    eventually("a server that minds no clock", async || match call(stamp.clone()).await {
        Ok(answer) => Some(answer),
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            stamp.instance = unique("edge");
            None
        }
    })
    .await
}

async fn a_sidecar_whose_clock_is_wrong_loses_no_charge_and_counts_none_twice(env: &mut Env) {
    let mut random = Random::fresh("a_sidecar_whose_clock_is_wrong");
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 100_000).await;
    let mut stamp = pb::Sidecar { instance: unique("edge"), monotonic_ns: 1_000_000_000 };
    for _ in 0..40 {
        stamp.monotonic_ns = nonsense(&mut random, stamp.monotonic_ns);
        let asked = pb::AuthorizeRequest { request_id: unique("request"), ..world.ask_for(100) };
        let ask =
            async |stamp| world.try_authorize(pb::AuthorizeRequest { sidecar: Some(stamp), ..asked.clone() }).await;
        let hold = insist(&mut stamp, ask).await.hold.expect("there is room");
        stamp.monotonic_ns = nonsense(&mut random, stamp.monotonic_ns);
        // What it says of the hold's age is as wrong as its clock.
        let hold_age = Some(prost_types::Duration { seconds: random.within(0, 4_000_000), nanos: 0 });
        let asked = pb::ChargeRequest { hold_age, ..on_hold(&hold, 70) };
        let charge = async |stamp| world.try_charge(pb::ChargeRequest { sidecar: Some(stamp), ..asked.clone() }).await;
        let charged = insist(&mut stamp, charge).await;
        assert_eq!((charged.charged_nanos, charged.overrun_nanos), (70, 0), "{charged:?}");
        assert_eq!(insist(&mut stamp, charge).await.status(), ChargeStatus::Replayed);
    }
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (40 * 70, 0));
    // Another sidecar's calls are answered as if nothing had happened.
    let right = Some(pb::Sidecar { instance: unique("edge"), monotonic_ns: 5 });
    let hold = world.hold(pb::AuthorizeRequest { sidecar: right.clone(), ..world.ask_for(100) }).await;
    let charged = world.charge(pb::ChargeRequest { sidecar: right, ..on_hold(&hold, 30) }).await;
    assert_eq!(charged.status(), ChargeStatus::Applied);
    let backwards = Some(pb::Sidecar { instance: "edge".into(), monotonic_ns: -1 });
    let asked = pb::AuthorizeRequest { sidecar: backwards.clone(), ..world.ask() };
    assert_invalid(world.try_authorize(asked).await, "sidecar.monotonic_ns");
    let asked = pb::ChargeRequest { sidecar: backwards, ..on_key(&world.key, 1) };
    assert_invalid(world.try_charge(asked).await, "sidecar.monotonic_ns");
}
