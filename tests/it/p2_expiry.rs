//! Holds that nobody charges: free again where a budget says so, spent where it says that; and what comes too late counts
//! for no more than it exceeds that.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1::{self as pb, ChargeStatus, charge_result};

use crate::harness::{
    both,
    client::assert_invalid,
    eventually,
    kill::Scene,
    once,
    postgres::{self, Cluster},
    server::Env,
    world::{World, account_token, on_hold, on_key},
};

both!(
    a_hold_that_nobody_charges_is_free_on_one_budget_and_spent_on_another,
    what_is_left_of_a_hold_that_was_settled_in_parts_is_charged_at_its_end,
    a_late_charge_counts_for_what_exceeds_what_the_end_of_its_hold_charged,
    late_charges_in_parts_use_what_the_end_of_their_hold_charged_once,
    a_late_charge_at_the_next_run_counts_for_no_more,
    what_a_budget_says_when_a_hold_ends_decides,
);

once!(a_charge_id_of_the_servers_own_is_refused);

/// A hard budget in dollars that charges in full.
async fn full(world: &World, scope: &str, limit: i64) -> String {
    let budget = pb::Budget {
        scope: scope.into(),
        unit: pb::Unit::UsdNanos.into(),
        window: pb::Window::Total.into(),
        limit,
        on_expiry: pb::OnExpiry::ChargeFull.into(),
        ..pb::Budget::default()
    };
    world.create_budget(budget).await
}

fn part(hold: &pb::Hold, cost: i64) -> pb::ChargeRequest {
    pb::ChargeRequest { r#final: Some(false), ..on_hold(hold, cost) }
}

/// Lets every hold end.
async fn end_holds(env: &Env) {
    env.clock.advance(Duration::from_secs(120 + 122));
    env.sweep().await;
}

/// Spent and held.
async fn stands(world: &World, budget: &str) -> (i64, i64) {
    let state = world.state(budget).await;
    (state.spent, state.held)
}

async fn a_hold_that_nobody_charges_is_free_on_one_budget_and_spent_on_another(env: &mut Env) {
    let world = World::new(env).await;
    let spent = full(&world, &world.tenant, 1_000).await;
    let free = world.dollars(&world.project, 1_000).await;
    let requests = pb::Budget {
        scope: world.team.clone(),
        unit: pb::Unit::Requests.into(),
        window: pb::Window::Day.into(),
        limit: 10,
        on_expiry: pb::OnExpiry::ChargeFull.into(),
        ..pb::Budget::default()
    };
    let requests = world.create_budget(requests).await;
    let hold = world.hold(world.ask_for(600)).await;
    world.charge(on_hold(&world.hold(world.ask_for(100)).await, 100)).await;
    env.clock.advance(Duration::from_secs(120 + 118));
    env.sweep().await;
    assert_eq!(stands(&world, &spent).await, (100, 600), "the grace is not over");
    for _ in 0..3 {
        env.clock.advance(Duration::from_secs(4));
        env.sweep().await;
        assert_eq!(stands(&world, &spent).await, (700, 0));
        assert_eq!(stands(&world, &free).await, (100, 0));
        assert_eq!(stands(&world, &requests).await, (2, 0));
    }
    let books = env.books().await;
    let rows: Vec<(String, String, i64, i64)> =
        books.rows("SELECT charge_id, outcome, cost_nanos, requests FROM charges ORDER BY seq").await;
    assert_eq!(rows.len(), 2);
    assert!(rows[1].0.starts_with("expired-hold:"), "{rows:?}");
    assert_eq!((&*rows[1].1, rows[1].2, rows[1].3), ("expired", 600, 0));
    // Whose it was.
    let whose: Vec<(String, String, String, String, String, String)> =
        books.rows("SELECT tenant_id, workspace_id, project_id, key_id, owner, caller FROM charges ORDER BY seq").await;
    assert_eq!(whose[0], whose[1]);
    assert!(!whose[1].2.is_empty() && !whose[1].3.is_empty());
    // Nothing else of it is left: the rest of the limit can be held, and no more.
    world.charge(on_hold(&world.hold(world.ask_for(300)).await, 300)).await;
    assert!(world.authorize(world.ask_for(1)).await.hold.is_none());
    assert_eq!(world.charge(on_hold(&hold, 600)).await.status(), ChargeStatus::AppliedLate, "and it is paid");
    assert_eq!(stands(&world, &spent).await, (1_000, 0));
}

async fn what_is_left_of_a_hold_that_was_settled_in_parts_is_charged_at_its_end(env: &mut Env) {
    let world = World::new(env).await;
    let spent = full(&world, &world.tenant, 2_000).await;
    let free = world.dollars(&world.project, 2_000).await;
    let within = world.hold(world.ask_for(600)).await;
    world.charge(part(&within, 150)).await;
    world.charge(part(&within, 100)).await;
    let past = world.hold(world.ask_for(600)).await;
    world.charge(part(&past, 700)).await;
    end_holds(env).await;
    assert_eq!(stands(&world, &spent).await, (600 + 700, 0));
    assert_eq!(stands(&world, &free).await, (250 + 700, 0));
    let costs: Vec<i64> = env.books().await.charges().await.iter().map(|charge| charge.cost).collect();
    assert_eq!(costs, [150, 100, 700, 350]);
    world.charge(on_hold(&within, 360)).await;
    assert_eq!(stands(&world, &spent).await, (610 + 700, 0), "10 more than the end had charged");
}

async fn a_late_charge_counts_for_what_exceeds_what_the_end_of_its_hold_charged(env: &mut Env) {
    let world = World::new(env).await;
    let spent = full(&world, &world.tenant, 10_000).await;
    let free = world.dollars(&world.project, 10_000).await;
    let (mut at_most, mut actual) = (0, 0);
    for cost in [0, 100, 600, 750] {
        let hold = world.hold(world.ask_for(600)).await;
        end_holds(env).await;
        let asked = on_hold(&hold, cost);
        let answer = world.charge(asked.clone()).await;
        assert_eq!((answer.status(), answer.charged_nanos, answer.overrun_nanos), (ChargeStatus::AppliedLate, cost, 0));
        (at_most, actual) = (at_most + cost.max(600), actual + cost);
        assert_eq!(stands(&world, &spent).await, (at_most, 0), "{cost}");
        assert_eq!(stands(&world, &free).await, (actual, 0), "{cost}");
        // Sent again it is the same, and no credit is left for another.
        assert_eq!(world.charge(asked).await.status(), ChargeStatus::Replayed);
        world.charge(on_hold(&hold, 600)).await;
        (at_most, actual) = (at_most + (cost + 600).max(600) - cost.max(600), actual + 600);
        assert_eq!(stands(&world, &spent).await, (at_most, 0), "{cost}");
    }
    // Without any room it is no overrun: it was paid before.
    let hold = world.hold(world.ask_for(10_000 - at_most)).await;
    end_holds(env).await;
    let answer = world.charge(on_hold(&hold, 10_000 - at_most)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::AppliedLate, 0));
    assert_eq!(world.charge(on_hold(&hold, 5)).await.overrun_nanos, 5);
    assert_eq!(stands(&world, &spent).await, (10_005, 0));
}

async fn late_charges_in_parts_use_what_the_end_of_their_hold_charged_once(env: &mut Env) {
    let world = World::new(env).await;
    let spent = full(&world, &world.tenant, 100_000).await;
    let free = world.dollars(&world.project, 100_000).await;
    let hold = world.hold(world.ask_for(600)).await;
    end_holds(env).await;
    for (cost, total) in [(250, 600), (250, 600), (250, 750), (50, 800)] {
        world.charge(part(&hold, cost)).await;
        assert_eq!(stands(&world, &spent).await, (total, 0));
    }
    // At once, in one commit or several.
    let hold = world.hold(world.ask_for(600)).await;
    end_holds(env).await;
    let charges = (0..8).map(|_| part(&hold, 100)).collect();
    let batch = world.sidecar.gate().charge_batch(pb::ChargeBatchRequest { charges }).await.expect("charged");
    for result in batch.into_inner().results {
        let Some(charge_result::Result::Response(answer)) = result.result else { panic!("{result:?}") };
        assert_eq!(answer.status(), ChargeStatus::AppliedLate);
    }
    assert_eq!(stands(&world, &spent).await, (800 + 800, 0));
    assert_eq!(stands(&world, &free).await, (800 + 800, 0));
}

async fn a_late_charge_at_the_next_run_counts_for_no_more(env: &mut Env) {
    // A server of its own: this test stops it.
    let own = env.another().await;
    let world = World::new(&own).await;
    let spent = full(&world, &world.tenant, 2_000).await;
    let ended = world.hold(world.ask_for(600)).await;
    end_holds(&own).await;
    // Not known after an orderly stop: it is released.
    let open = world.hold(world.ask_for(300)).await;
    let own = own.restart().await;
    let sidecar = own.operator.with_token(Some(&account_token(&own.operator, &world.account).await));
    let world = World { sidecar, operator: own.operator.clone(), ..world };
    world.charge(part(&ended, 500)).await;
    assert_eq!(own.books().await.spent(&spent).await, 600);
    world.charge(on_hold(&ended, 200)).await;
    assert_eq!(own.books().await.spent(&spent).await, 700);
    end_holds(&own).await;
    world.charge(on_hold(&open, 100)).await;
    assert_eq!(own.books().await.spent(&spent).await, 800);
    own.end().await;
}

async fn what_a_budget_says_when_a_hold_ends_decides(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 2_000).await;
    let update = async |on_expiry: pb::OnExpiry| {
        let request = pb::UpdateBudgetRequest {
            name: budget.clone(),
            limit: Some(2_000),
            on_expiry: on_expiry.into(),
            ..pb::UpdateBudgetRequest::default()
        };
        let answer = world.operator.budgets().update_budget(request).await.expect("changed").into_inner();
        answer.budget.expect("a budget")
    };
    assert_eq!(update(pb::OnExpiry::Unspecified).await.on_expiry(), pb::OnExpiry::Release);
    world.hold(world.ask_for(100)).await;
    let changed = update(pb::OnExpiry::ChargeFull).await;
    assert_eq!(changed.on_expiry(), pb::OnExpiry::ChargeFull);
    assert_eq!(update(pb::OnExpiry::Unspecified).await, changed, "what it was");
    end_holds(env).await;
    assert_eq!(stands(&world, &budget).await, (100, 0));
    world.hold(world.ask_for(100)).await;
    update(pb::OnExpiry::Release).await;
    end_holds(env).await;
    assert_eq!(stands(&world, &budget).await, (100, 0));
}

async fn a_charge_id_of_the_servers_own_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let asked = pb::ChargeRequest { charge_id: "expired-hold:1".into(), ..on_key(&world.key, 1) };
    assert_invalid(world.try_charge(asked).await, "charge_id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_charge_at_another_server_counts_for_no_more_whichever_comes_first() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    let second = first.beside().await;
    let there = world.through(second.server.addr());
    let spent = full(&world, &world.tenant, 100_000).await;
    let total = async |expected: i64| {
        let books = first.books().await;
        eventually("the hold has ended", async || {
            first.sweep().await;
            (books.spent(&spent).await == expected).then_some(())
        })
        .await;
        books.close().await;
    };
    let hold = world.hold(world.ask_for(600)).await;
    first.clock.advance(Duration::from_secs(242));
    total(600).await;
    for (cost, expected) in [(250, 600), (300, 600), (100, 650)] {
        there.charge(part(&hold, cost)).await;
        total(expected).await;
    }
    world.charge(on_hold(&hold, 50)).await;
    total(700).await;
    // What comes elsewhere before the end is known to it, also what was not taken out of the hold.
    let hold = world.hold(world.ask_for(600)).await;
    there.charge(part(&hold, 100)).await;
    first.clock.advance(Duration::from_secs(242));
    there.charge(part(&hold, 200)).await;
    total(700 + 600).await;
    there.charge(part(&hold, 400)).await;
    total(700 + 700).await;
    // At once: neither misses the other.
    for round in 1..=5 {
        let mut holds = Vec::new();
        for _ in 0..20 {
            holds.push(world.hold(world.ask_for(100)).await);
        }
        first.clock.advance(Duration::from_secs(242));
        let late = holds.iter().map(|hold| there.charge(part(hold, 70)));
        tokio::join!(first.sweep(), futures_util::future::join_all(late));
        total(1_400 + round * 2_000).await;
    }
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_hold_waits_for_a_database_that_is_away() {
    let Some(mut cluster) = Cluster::start(&[]).await else { return };
    let env = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&env).await;
    let spent = full(&world, &world.tenant, 1_000).await;
    let hold = world.hold(world.ask_for(600)).await;
    cluster.stop().await;
    env.clock.advance(Duration::from_secs(242));
    for _ in 0..3 {
        // It may not even be known whether this server may end anything.
        let _ = env.server.app().gate.sweep(tollreeve::domain::time::Clock::now(&*env.clock)).await;
    }
    cluster.resume(&[]).await;
    eventually("the hold has ended", async || {
        let _ = env.server.app().gate.sweep(tollreeve::domain::time::Clock::now(&*env.clock)).await;
        let state = world.state(&spent).await;
        assert_eq!(state.spent + state.held, 600, "nothing of it was free");
        (state.spent == 600).then_some(())
    })
    .await;
    assert_eq!(env.books().await.charges().await.len(), 1);
    world.charge(on_hold(&hold, 700)).await;
    assert_eq!(world.state(&spent).await.spent, 700);
    env.end().await;
}

mod a_server_that_is_killed_when_holds_end_charges_none_of_them_twice {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        killed_at_the_end(None).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        if let Some(cluster) = postgres::shared().await {
            killed_at_the_end(Some(cluster.database().await)).await;
        }
    }
}

async fn killed_at_the_end(url: Option<String>) {
    const HOLDS: i64 = 40;
    let make = async |world: &World| full(world, &world.tenant, 1_000_000).await;
    let (scene, spent) = Scene::set(url, make).await;
    let (process, living) = scene.serve(&["--hold-grace-seconds", "1"]).await;
    let mut holds = Vec::new();
    for n in 0..HOLDS {
        let ttl = prost_types::Duration { seconds: 1 + n % 3, nanos: 0 };
        let asked = pb::AuthorizeRequest { hold_ttl: Some(ttl), ..living.ask_for(100) };
        holds.push(living.hold(asked).await);
    }
    let books = scene.books().await;
    eventually("some have ended", async || (!books.charges().await.is_empty()).then_some(())).await;
    process.kill().await;
    let ended = i64::try_from(books.charges().await.len()).expect("few");
    assert_eq!(books.spent(&spent).await, ended * 100, "each once");
    let (process, living) = scene.serve(&["--hold-grace-seconds", "1"]).await;
    // All were charged late; those that had been charged at their end count for no more.
    for hold in &holds {
        living.charge(on_hold(hold, 70)).await;
    }
    assert_eq!(books.spent(&spent).await, ended * 100 + (HOLDS - ended) * 70);
    books.check().await;
    println!("{ended} of {HOLDS} had ended");
    process.kill().await;
}
