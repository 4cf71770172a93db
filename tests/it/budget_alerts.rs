//! What of a budget is spent is told: once for each threshold and period, on record and by mail, at one server and at several.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tollreeve::{
    app::alerts::tell_due,
    pb::tollreeve::v1::{self as pb, Unit, Window},
    store::connect::Settings,
};

use super::mail::{rows, sending};
use crate::harness::{
    both,
    client::assert_refused,
    eventually,
    kill::Scene,
    postgres,
    random::Random,
    server::{Env, on_postgres},
    smtp::Smtp,
    world::{World, bind, create_user, on_hold, on_key, unique},
};
use crate::start::execute;

both!(
    each_threshold_and_what_goes_past_the_limit_are_told_once,
    a_threshold_is_seen_at_the_very_charge_that_reaches_it,
    a_lowered_limit_and_another_threshold_are_told_and_a_raised_limit_repeats_nothing,
    those_are_mailed_whom_a_budget_concerns,
    what_no_server_told_is_told_by_the_next_one_and_mailed_as_long_as_it_is_news,
    a_budget_is_created_once_under_an_id_for_the_request,
    a_teams_level_goes_by_the_thresholds_of_its_own_budget,
);

/// What is on record of budgets, oldest first: percentages, 0 for what went past the limit, and what was spent.
async fn told(world: &World, budget: &str) -> Vec<(i64, i64)> {
    let filter = format!("resource = {budget} actor = server");
    let list =
        pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, page_size: 1000, ..Default::default() };
    let mut events = world.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events;
    events.sort_by_key(|event| event.name.rsplit('/').next().and_then(|seq| seq.parse::<i64>().ok()));
    let said = |event: &pb::AuditEvent| {
        let record: serde_json::Value = serde_json::from_str(&event.after).expect("a record");
        let percent = match event.action.as_str() {
            "budgets.reachThreshold" => record["percent"].as_i64().expect("a percentage"),
            "budgets.overrun" => 0,
            other => panic!("{other}"),
        };
        (percent, record["spent"].as_i64().expect("an amount"))
    };
    events.iter().map(said).collect()
}

fn percents(told: &[(i64, i64)]) -> Vec<i64> {
    told.iter().map(|(percent, _)| *percent).collect()
}

async fn look(env: &Env) {
    tell_due(env.server.app()).await.expect("looks");
}

async fn each_threshold_and_what_goes_past_the_limit_are_told_once(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.budget(&world.workspace, Unit::UsdNanos, Window::Month, 1000).await;
    world.charge(on_key(&world.key, 699)).await;
    look(env).await;
    assert_eq!(told(&world, &budget).await, []);
    assert_eq!(world.charge(on_key(&world.key, 1)).await.thresholds_crossed.len(), 1);
    look(env).await;
    assert_eq!(told(&world, &budget).await, [(70, 700)]);
    world.charge(on_key(&world.key, 500)).await;
    look(env).await;
    assert_eq!(told(&world, &budget).await, [(70, 700), (90, 1200), (100, 1200), (0, 1200)]);
    world.charge(on_key(&world.key, 500)).await;
    look(env).await;
    assert_eq!(told(&world, &budget).await.len(), 4);
    // Another period, another story.
    env.clock.advance(Duration::from_hours(24 * 40));
    let world = World { sidecar: world.operator.clone(), ..world };
    world.charge(on_key(&world.key, 950)).await;
    look(env).await;
    assert_eq!(percents(&told(&world, &budget).await), [70, 90, 100, 0, 70, 90]);
}

async fn a_threshold_is_seen_at_the_very_charge_that_reaches_it(env: &mut Env) {
    let mut random = Random::fresh("a_threshold_is_seen_at_the_very_charge_that_reaches_it");
    let mut world = World::new(env).await;
    let limit = 1_000_000;
    let thresholds = vec![10, 35, 50, 70, 95, 100, 120];
    let budget = pb::Budget {
        scope: world.tenant.clone(),
        unit: Unit::UsdNanos.into(),
        window: Window::Total.into(),
        limit,
        thresholds: thresholds.clone(),
        ..pb::Budget::default()
    };
    let budget = world.create_budget(budget).await;
    let mut spent = 0;
    for turn in 0..60 {
        // Out of a slice, or without one.
        let cost = random.within(0, 2 * limit / 50);
        let answer = world.authorize(world.ask_for(cost)).await;
        let charge = answer.hold.map_or_else(|| on_key(&world.key, cost), |hold| on_hold(&hold, cost));
        world.charge(charge).await;
        spent += cost;
        look(env).await;
        let reached = thresholds.iter().map(|percent| i64::from(*percent));
        let mut expected: Vec<i64> = reached.filter(|percent| spent * 100 >= limit * percent).collect();
        let mut told = percents(&told(&world, &budget).await);
        told.retain(|percent| *percent != 0);
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "{spent} after {turn}");
        if random.once_in(12) {
            let fresh = env.another().await;
            let old = std::mem::replace(env, fresh).restart().await;
            world = world.through(old.server.addr());
            std::mem::replace(env, old).end().await;
        }
    }
}

async fn a_lowered_limit_and_another_threshold_are_told_and_a_raised_limit_repeats_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    world.charge(on_key(&world.key, 600)).await;
    look(env).await;
    assert_eq!(told(&world, &budget).await, []);
    world.set_limit(&budget, 800).await;
    look(env).await;
    assert_eq!(told(&world, &budget).await, [(70, 600)]);
    let update = pb::UpdateBudgetRequest { name: budget.clone(), thresholds: vec![50, 70, 75], ..Default::default() };
    world.operator.budgets().update_budget(update).await.expect("changed");
    look(env).await;
    assert_eq!(percents(&told(&world, &budget).await), [70, 50, 75]);
    world.set_limit(&budget, 10_000).await;
    world.charge(on_key(&world.key, 9_000)).await;
    look(env).await;
    assert_eq!(percents(&told(&world, &budget).await), [70, 50, 75]);
    // A budget that refuses nothing tells as well.
    let soft =
        pb::UpdateBudgetRequest { name: budget.clone(), hard: Some(false), limit: Some(9_000), ..Default::default() };
    world.operator.budgets().update_budget(soft).await.expect("changed");
    let hundred = pb::UpdateBudgetRequest { name: budget.clone(), thresholds: vec![100], ..Default::default() };
    world.operator.budgets().update_budget(hundred).await.expect("changed");
    look(env).await;
    assert_eq!(percents(&told(&world, &budget).await), [70, 50, 75, 100]);
}

async fn those_are_mailed_whom_a_budget_concerns(env: &mut Env) {
    let smtp = Smtp::start().await;
    let own = sending(env, &smtp).await;
    let world = World::new(&own).await;
    let person = async |email: &str, role: &str, scope: &str| {
        let name = create_user(&world.operator, &world.tenant, email, "roles/member", &[]).await;
        bind(&world.operator, &world.tenant, role, &name, scope).await;
    };
    person("bill@example.com", "roles/billing_manager", &world.tenant).await;
    person("wes@example.com", "roles/admin", &world.workspace).await;
    person("nobody@example.com", "roles/developer", &world.workspace).await;
    let everybody = ["bill@example.com", "olivia@example.com"];
    for (scope, others) in [
        (&world.tenant, vec![]),
        (&world.project, vec!["wes@example.com"]),
        (&world.key.name, vec!["dev@example.com", "wes@example.com"]),
        (&world.user, vec!["dev@example.com"]),
    ] {
        let before = smtp.mails().len();
        let budget = world.dollars(scope, 1000).await;
        world.charge(on_key(&world.key, 950)).await;
        look(&own).await;
        let mut expected = [&everybody[..], &others].concat();
        expected.sort_unstable();
        let mut mails = smtp.taken(before + expected.len()).await.split_off(before);
        mails.sort_by_key(|mail| mail.to.clone());
        assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), expected, "{scope}");
        // One mail for all that was reached at once.
        assert!(mails.iter().all(|mail| mail.data.contains("90 % of the budget")), "{mails:?}");
        let delete = pb::DeleteBudgetRequest { name: budget, ..Default::default() };
        world.operator.budgets().delete_budget(delete).await.expect("deleted");
    }
    assert_eq!(smtp.mails().len(), 12);
    own.end().await;
}

/// As if the server had died before it told anything.
const UNTOLD: &str = "DELETE FROM budget_alerts; UPDATE budget_periods SET due = TRUE";

async fn what_no_server_told_is_told_by_the_next_one_and_mailed_as_long_as_it_is_news(env: &mut Env) {
    let smtp = Smtp::start().await;
    let mut own = sending(env, &smtp).await;
    // A sidecar's token lasts for a day.
    let world = World::new(&own).await;
    let mut world = World { sidecar: world.operator.clone(), ..world };
    let budget = world.budget(&world.tenant, Unit::UsdNanos, Window::Day, 1000).await;
    world.charge(on_key(&world.key, 950)).await;
    look(&own).await;
    for (days, mails, events) in [(1, 2, 4), (1, 2, 6)] {
        assert_eq!(smtp.taken(mails.min(events / 2 - 1)).await.len(), mails.min(events / 2 - 1));
        own.clock.advance(Duration::from_hours(days * 24));
        own = own
            .restart_after(async |config| {
                let url = match &config.database {
                    Settings::Postgres { url } => Some(url.expose_secret().to_owned()),
                    Settings::Sqlite { .. } => None,
                };
                execute(url.as_deref(), &config.data_dir, UNTOLD).await;
            })
            .await;
        world = world.through(own.server.addr());
        look(&own).await;
        assert_eq!(percents(&told(&world, &budget).await).len(), events);
        assert_eq!(smtp.taken(mails).await.len(), mails, "{events}");
    }
    assert_eq!(rows(&own).await.len(), 2, "none is on its way");
    own.end().await;
}

async fn a_budget_is_created_once_under_an_id_for_the_request(env: &mut Env) {
    let world = World::new(env).await;
    let create = async |limit| {
        let budget = pb::Budget {
            scope: world.tenant.clone(),
            unit: Unit::Requests.into(),
            window: Window::Day.into(),
            limit,
            ..pb::Budget::default()
        };
        let request = pb::CreateBudgetRequest {
            parent: world.tenant.clone(),
            budget: Some(budget),
            request_id: "once".into(),
            ..Default::default()
        };
        world.operator.budgets().create_budget(request).await.map(tonic::Response::into_inner)
    };
    let first = create(7).await.expect("a budget");
    assert_eq!(create(7).await.expect("the same"), first);
    assert_refused(create(8).await, tonic::Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    let list = pb::ListBudgetsRequest { parent: world.tenant.clone(), ..Default::default() };
    let budgets = world.operator.budgets().list_budgets(list).await.expect("a list").into_inner().budgets;
    assert_eq!(budgets.len(), 1);
}

async fn a_teams_level_goes_by_the_thresholds_of_its_own_budget(env: &mut Env) {
    let world = World::new(env).await;
    let budget = pb::Budget {
        scope: world.team.clone(),
        unit: Unit::UsdNanos.into(),
        window: Window::Month.into(),
        limit: 1000,
        thresholds: vec![20, 40],
        ..pb::Budget::default()
    };
    world.create_budget(budget).await;
    let level = async || {
        let request = pb::GetTeamRequest { name: world.team.clone() };
        let team = world.operator.identity().get_team(request).await.expect("the team").into_inner().team;
        team.expect("the team").spending.expect("what is spent").level()
    };
    for (cost, expected) in [
        (199, pb::SpendLevel::Ok),
        (1, pb::SpendLevel::Warning),
        (199, pb::SpendLevel::Warning),
        (1, pb::SpendLevel::Critical),
    ] {
        world.charge(on_key(&world.key, cost)).await;
        assert_eq!(level().await, expected);
    }
}

mod several_servers_tell_each_threshold_once_between_them {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        crate::harness::server::on_postgres(super::told_by_three).await;
    }
}

async fn told_by_three(env: &mut Env) {
    let mut random = Random::fresh("several_servers_tell_each_threshold_once_between_them");
    let world = World::new(env).await;
    let limit = 1_000_000;
    let budget = world.dollars(&world.tenant, limit).await;
    let (second, third) = (env.beside().await, env.beside().await);
    let worlds = [world.clone(), world.through(second.server.addr()), world.through(third.server.addr())];
    let mut spent = 0;
    while spent < limit * 99 / 100 {
        // None of them sees more than a part of it.
        let (at, cost) = (random.pick(&worlds), random.within(0, limit / 30).min(limit - spent));
        let hold = at.hold(at.ask_for(cost)).await;
        at.charge(on_hold(&hold, cost)).await;
        spent += cost;
        let (one, two, three) =
            tokio::join!(tell_due(env.server.app()), tell_due(second.server.app()), tell_due(third.server.app()));
        one.and(two).and(three).expect("looks");
        let expected: Vec<i64> = [70, 90, 100].into_iter().filter(|percent| spent * 100 >= limit * percent).collect();
        assert_eq!(percents(&told(&world, &budget).await), expected, "{spent}");
    }
    third.end().await;
    second.end().await;
}

mod a_server_that_is_killed_leaves_no_threshold_untold_and_tells_none_twice {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        killed_before_it_told(None).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        if let Some(cluster) = postgres::shared().await {
            killed_before_it_told(Some(cluster.database().await)).await;
        }
    }
}

async fn killed_before_it_told(database_url: Option<String>) {
    let make = async |world: &World| {
        let mut budgets = Vec::new();
        for _ in 0..8 {
            let key = world.another_key(pb::Key { display_name: unique("key"), ..pb::Key::default() }).await;
            budgets.push((world.dollars(&key.name, 1000).await, key));
        }
        budgets
    };
    let (scene, budgets) = Scene::set(database_url, make).await;
    for (_, key) in &budgets {
        let (process, world) = scene.serve(&[]).await;
        world.charge(on_key(key, 950)).await;
        // Before it told, after it did, or in between.
        process.kill().await;
    }
    let (process, world) = scene.serve(&[]).await;
    for (budget, _) in &budgets {
        let all = async || Some(percents(&told(&world, budget).await)).filter(|told| told.len() >= 2);
        assert_eq!(eventually("what was reached is told", all).await, [70, 90]);
    }
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crossing_that_no_server_sees_alone_is_told_without_being_asked_for() {
    on_postgres(async |env: &mut Env| {
        let world = World::new(env).await;
        let budget = world.dollars(&world.tenant, 1000).await;
        let second = env.beside().await;
        for at in [&world, &world.through(second.server.addr())] {
            let hold = at.hold(at.ask_for(400)).await;
            at.charge(on_hold(&hold, 400)).await;
        }
        let some = async || Some(told(&world, &budget).await).filter(|told| !told.is_empty());
        assert_eq!(eventually("it is told", some).await, [(70, 800)]);
        second.end().await;
    })
    .await;
}
