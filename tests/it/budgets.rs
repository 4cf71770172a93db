//! Budgets as people run them: by the clock of a zone, changed, paused, moved, and none that could match no call.

use tollreeve::{
    domain::time::{Clock as _, Timestamp},
    pb::tollreeve::v1::{self as pb, DenialCode, Unit, Window},
};
use tonic::Code;

use crate::harness::{
    both,
    client::{assert_invalid, reason},
    server::Env,
    world::{World, account_token, bind, codes, create_account, create_role, create_user, on_hold, on_key, unique},
};

both!(
    a_window_starts_again_when_it_does_by_the_clock_of_the_budgets_zone,
    what_cannot_be_of_a_calendar_or_a_threshold_is_named,
    a_charge_without_a_hold_counts_in_the_window_of_its_zone,
    a_paused_budget_refuses_nothing_and_counts_and_binds_again_when_it_is_resumed,
    a_budget_becomes_soft_or_hard_or_another_name_and_nothing_else_of_it_changes,
    of_two_changes_of_a_limit_one_with_a_stale_etag_is_refused_and_both_without_one_are_on_record,
    a_budgets_own_thresholds_are_told_of_by_the_charge_that_crosses_them,
    a_moved_budget_limits_the_new_scope_and_keeps_what_is_spent_and_held,
    a_budget_that_could_match_no_call_is_refused_and_says_why,
);

fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect("a time").as_microsecond())
}

/// A hard budget in nanos on the tenant.
fn dollars(world: &World, window: Window, limit: i64) -> pb::Budget {
    pb::Budget {
        scope: world.tenant.clone(),
        unit: Unit::UsdNanos.into(),
        window: window.into(),
        limit,
        ..pb::Budget::default()
    }
}

async fn get(world: &World, name: &str) -> pb::Budget {
    let request = pb::GetBudgetRequest { name: name.into() };
    world.operator.budgets().get_budget(request).await.expect("the budget").into_inner().budget.expect("a budget")
}

fn update(name: &str) -> pb::UpdateBudgetRequest {
    pb::UpdateBudgetRequest { name: name.into(), ..pb::UpdateBudgetRequest::default() }
}

async fn events(world: &World, filter: &str) -> usize {
    let request =
        pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter: filter.into(), ..Default::default() };
    world.operator.audit().list_audit_events(request).await.expect("events").into_inner().events.len()
}

async fn a_window_starts_again_when_it_does_by_the_clock_of_the_budgets_zone(env: &mut Env) {
    let mut world = World::new(env).await;
    let cases = [
        // A day of 23 hours, an hour that begins at half past, a week from Sunday, a month from the 31st.
        (Window::Day, "Europe/Berlin", 0, "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
        (Window::Hour, "Asia/Kolkata", 0, "2026-04-01T12:30:00Z", "2026-04-01T13:30:00Z"),
        (Window::Week, "America/New_York", 7, "2026-04-05T04:00:00Z", "2026-04-12T04:00:00Z"),
        (Window::Month, "asia/tokyo", 31, "2026-04-29T15:00:00Z", "2026-05-30T15:00:00Z"),
        (Window::Week, "", 0, "2026-05-04T00:00:00Z", "2026-05-11T00:00:00Z"),
    ];
    for (window, zone, anchor_day, end, next) in cases {
        let (end, next) = (at(end), at(next));
        env.clock.set(Timestamp::from_micros(end.micros() - 1));
        world.sidecar = env.operator.with_token(Some(&account_token(&env.operator, &world.account).await));
        let terms = dollars(&world, window, 1_000);
        let name = world.create_budget(pb::Budget { time_zone: zone.into(), anchor_day, ..terms }).await;
        let hold = world.hold(world.ask_for(1_000)).await;
        world.charge(on_hold(&hold, 900)).await;
        let refused = world.authorize(world.ask_for(101)).await;
        assert_eq!(codes(&refused), [DenialCode::BudgetExhausted], "{window:?} {zone}");
        let seconds = |at: Timestamp| Some(at.micros() / 1_000_000);
        assert_eq!(refused.denials[0].resets_at.map(|at| at.seconds), seconds(end), "{window:?} {zone}");
        let state = world.state(&name).await;
        assert_eq!((state.spent, state.resets_at.map(|at| at.seconds)), (900, seconds(end)), "{window:?} {zone}");
        env.clock.set(end);
        let state = world.state(&name).await;
        assert_eq!((state.spent, state.resets_at.map(|at| at.seconds)), (0, seconds(next)), "{window:?} {zone}");
        world.hold(world.ask_for(1_000)).await;
        let request = pb::DeleteBudgetRequest { name, ..pb::DeleteBudgetRequest::default() };
        env.operator.budgets().delete_budget(request).await.expect("deleted");
    }
}

async fn what_cannot_be_of_a_calendar_or_a_threshold_is_named(env: &mut Env) {
    let world = World::new(env).await;
    let mut budgets = env.operator.budgets();
    let month = || dollars(&world, Window::Month, 1);
    let named = |name: &str| pb::Budget { time_zone: name.into(), ..month() };
    let anchored = |window, anchor_day| pb::Budget { anchor_day, ..dollars(&world, window, 1) };
    let told = |thresholds: &[i32]| pb::Budget { thresholds: thresholds.to_vec(), ..month() };
    for (field, budget) in [
        ("budget.time_zone", named("Mars/Olympus")),
        ("budget.time_zone", named("+02:00")),
        ("budget.time_zone", named(&"x".repeat(100_000))),
        ("budget.anchor_day", anchored(Window::Month, 32)),
        ("budget.anchor_day", anchored(Window::Month, -1)),
        ("budget.anchor_day", anchored(Window::Week, 8)),
        ("budget.anchor_day", anchored(Window::Day, 2)),
        ("budget.anchor_day", anchored(Window::Total, i32::MAX)),
        ("budget.thresholds", told(&[0])),
        ("budget.thresholds", told(&[-1, 70])),
        ("budget.thresholds", told(&[1001])),
        ("budget.thresholds", told(&[70, 70])),
        ("budget.thresholds", told(&[1, 2, 3, 4, 5, 6, 7, 8, 9])),
    ] {
        let request =
            pb::CreateBudgetRequest { parent: world.tenant.clone(), budget: Some(budget), ..Default::default() };
        assert_invalid(budgets.create_budget(request).await, field);
    }
    let name = world.create_budget(month()).await;
    let kept = get(&world, &name).await;
    assert_eq!((kept.time_zone.as_str(), kept.anchor_day, kept.thresholds), ("UTC", 1, vec![70, 90, 100]));
    assert_invalid(
        budgets.update_budget(pb::UpdateBudgetRequest { thresholds: vec![2000], ..update(&name) }).await,
        "thresholds",
    );
    for (path, field) in [("limit", "limit"), ("time_zone", "update_mask"), ("name", "update_mask")] {
        let update_mask = Some(prost_types::FieldMask { paths: vec![path.into()] });
        assert_invalid(budgets.update_budget(pb::UpdateBudgetRequest { update_mask, ..update(&name) }).await, field);
    }
    // To look is to change nothing.
    let request = pb::CreateBudgetRequest {
        parent: world.tenant.clone(),
        budget: Some(month()),
        validate_only: true,
        ..Default::default()
    };
    budgets.create_budget(request).await.expect("could be");
    let request = pb::ListBudgetsRequest { parent: world.tenant.clone(), ..Default::default() };
    assert_eq!(budgets.list_budgets(request).await.expect("a list").into_inner().budgets.len(), 1);
}

async fn a_charge_without_a_hold_counts_in_the_window_of_its_zone(env: &mut Env) {
    let mut world = World::new(env).await;
    // Half past midnight in Kathmandu, and the day before in UTC.
    env.clock.set(at("2026-06-10T18:45:00Z"));
    world.sidecar = env.operator.with_token(Some(&account_token(&env.operator, &world.account).await));
    let terms = dollars(&world, Window::Day, 1_000);
    let name = world.create_budget(pb::Budget { time_zone: "Asia/Kathmandu".into(), ..terms }).await;
    let before = Some(prost_types::Timestamp { seconds: at("2026-06-10T18:14:59Z").micros() / 1_000_000, nanos: 0 });
    world.charge(pb::ChargeRequest { occurred_at: before, ..on_key(&world.key, 300) }).await;
    assert_eq!(world.state(&name).await.spent, 0, "that was yesterday");
    world.charge(on_key(&world.key, 200)).await;
    assert_eq!(world.state(&name).await.spent, 200);
}

async fn a_paused_budget_refuses_nothing_and_counts_and_binds_again_when_it_is_resumed(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.dollars(&world.tenant, 1_000).await;
    let held = world.hold(world.ask_for(600)).await;
    assert_eq!(codes(&world.authorize(world.ask_for(600)).await), [DenialCode::BudgetExhausted]);
    let mut budgets = env.operator.budgets();
    let pause = pb::PauseBudgetRequest { name: name.clone(), ..pb::PauseBudgetRequest::default() };
    let paused = budgets.pause_budget(pause.clone()).await.expect("paused").into_inner().budget.expect("a budget");
    assert!(paused.paused && paused.hard == Some(true) && !paused.state.expect("a state").hard);
    let beyond = world.hold(world.ask_for(5_000)).await;
    let charged = world.charge(on_hold(&beyond, 5_000)).await;
    assert_eq!((charged.status(), charged.overrun_nanos), (pb::ChargeStatus::Applied, 0));
    assert_eq!(world.state(&name).await.spent, 5_000, "it counts");
    let again = budgets.pause_budget(pause).await.expect("paused already").into_inner().budget.expect("a budget");
    assert_eq!(again.etag, paused.etag, "nothing changed");
    let resume = pb::ResumeBudgetRequest { name: name.clone(), etag: "v0".into(), ..Default::default() };
    assert_eq!(budgets.resume_budget(resume.clone()).await.expect_err("stale").code(), Code::Aborted);
    budgets.resume_budget(pb::ResumeBudgetRequest { etag: paused.etag, ..resume }).await.expect("resumed");
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [DenialCode::BudgetExhausted], "at once");
    // What was promised before stays promised.
    assert_eq!(world.charge(on_hold(&held, 600)).await.overrun_nanos, 0);
    world.set_limit(&name, 5_601).await;
    world.hold(world.ask_for(1)).await;
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [DenialCode::BudgetExhausted]);
    for action in ["budgets.pause", "budgets.resume"] {
        assert_eq!(events(&world, &format!("action = {action}")).await, 1, "{action}");
    }
}

async fn a_budget_becomes_soft_or_hard_or_another_name_and_nothing_else_of_it_changes(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.dollars(&world.tenant, 1_000).await;
    let mut budgets = env.operator.budgets();
    let before = get(&world, &name).await;
    let renamed = pb::UpdateBudgetRequest { display_name: Some("Launch".into()), ..update(&name) };
    budgets.update_budget(renamed).await.expect("renamed");
    let after = get(&world, &name).await;
    let expected = pb::Budget { display_name: "Launch".into(), etag: after.etag.clone(), ..before };
    assert_eq!(after, expected);
    let found = pb::ListBudgetsRequest { parent: world.tenant.clone(), filter: "launch".into(), ..Default::default() };
    assert_eq!(budgets.list_budgets(found).await.expect("a list").into_inner().budgets.len(), 1, "by its new name");
    budgets.update_budget(pb::UpdateBudgetRequest { hard: Some(false), ..update(&name) }).await.expect("soft");
    let hold = world.hold(world.ask_for(3_000)).await;
    let hard = pb::UpdateBudgetRequest { hard: Some(true), request_id: unique("once"), ..update(&name) };
    let first = budgets.update_budget(hard.clone()).await.expect("hard").into_inner();
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [DenialCode::BudgetExhausted], "at once");
    let again = budgets.update_budget(hard.clone()).await.expect("the same again").into_inner();
    assert_eq!(again.revision, first.revision, "once under one id");
    let other = pb::UpdateBudgetRequest { limit: Some(9), ..hard };
    assert_eq!(reason(&budgets.update_budget(other).await.expect_err("another")), "IDEMPOTENCY_CONFLICT");
    let looked = pb::UpdateBudgetRequest { limit: Some(0), validate_only: true, ..update(&name) };
    budgets.update_budget(looked).await.expect("could be");
    world.charge(on_hold(&hold, 400)).await;
    world.hold(world.ask_for(600)).await;
    assert_eq!(get(&world, &name).await.limit, 1_000);
}

async fn of_two_changes_of_a_limit_one_with_a_stale_etag_is_refused_and_both_without_one_are_on_record(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.dollars(&world.tenant, 1_000).await;
    let etag = get(&world, &name).await.etag;
    let change = |limit, etag: &str| {
        let request = pb::UpdateBudgetRequest { limit: Some(limit), etag: etag.into(), ..update(&name) };
        let mut budgets = world.operator.budgets();
        async move { budgets.update_budget(request).await }
    };
    let (one, other) = tokio::join!(change(1, &etag), change(2, &etag));
    assert_eq!([&one, &other].iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = one.err().or(other.err()).expect("one is refused");
    assert_eq!((refused.code(), &*reason(&refused)), (Code::Aborted, "ETAG_MISMATCH"));
    let (one, other) = tokio::join!(change(3, ""), change(4, ""));
    let [one, other] = [one, other].map(|answer| answer.expect("changed").into_inner());
    let last = if one.revision > other.revision { one } else { other };
    assert_eq!(get(&world, &name).await.limit, last.budget.expect("a budget").limit, "the last one stays");
    assert_eq!(events(&world, "action = budgets.update").await, 3);
}

async fn a_budgets_own_thresholds_are_told_of_by_the_charge_that_crosses_them(env: &mut Env) {
    let world = World::new(env).await;
    let terms = pb::Budget { hard: Some(false), ..dollars(&world, Window::Total, 1_000) };
    let name = world.create_budget(pb::Budget { thresholds: vec![200, 50], ..terms }).await;
    let told = async |cost| {
        let hold = world.hold(world.ask_for(cost)).await;
        let answer = world.charge(on_hold(&hold, cost)).await;
        answer.thresholds_crossed.into_iter().map(|crossed| crossed.percent).collect::<Vec<_>>()
    };
    assert_eq!(told(499).await, [] as [i32; 0]);
    assert_eq!(told(1).await, [50]);
    assert_eq!(told(600).await, [] as [i32; 0], "not the usual ones");
    let own = pb::UpdateBudgetRequest { thresholds: vec![130, 150], ..update(&name) };
    world.operator.budgets().update_budget(own).await.expect("changed");
    assert_eq!(told(900).await, [130, 150]);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["thresholds".into()] });
    let usual = pb::UpdateBudgetRequest { update_mask, ..update(&name) };
    world.operator.budgets().update_budget(usual).await.expect("changed");
    assert_eq!(get(&world, &name).await.thresholds, [70, 90, 100]);
}

async fn a_moved_budget_limits_the_new_scope_and_keeps_what_is_spent_and_held(env: &mut Env) {
    let world = World::new(env).await;
    let other = world.another_key(pb::Key::default()).await;
    let ask_with = |key: &crate::harness::world::NewKey, cost| pb::AuthorizeRequest {
        estimate: Some(pb::Estimate { cost_nanos: Some(cost), ..pb::Estimate::default() }),
        ..world.ask_with(&key.secret)
    };
    let name = world.dollars(&world.key.name, 1_000).await;
    let spent = world.hold(world.ask_for(300)).await;
    world.charge(on_hold(&spent, 300)).await;
    let held = world.hold(world.ask_for(400)).await;
    let mut budgets = env.operator.budgets();
    let to = pb::MoveBudgetRequest { name: name.clone(), scope: other.name.clone(), ..Default::default() };
    let moved = budgets.move_budget(to.clone()).await.expect("moved").into_inner().budget.expect("a budget");
    assert_eq!((moved.scope.as_str(), moved.state.expect("a state").spent), (other.name.as_str(), 300));
    world.hold(world.ask_for(100_000)).await;
    assert_eq!(codes(&world.authorize(ask_with(&other, 301)).await), [DenialCode::BudgetExhausted]);
    let charged = world.charge(on_hold(&held, 400)).await;
    assert_eq!(
        charged.balances.iter().map(|state| (&*state.scope, state.spent)).collect::<Vec<_>>(),
        [(&*other.name, 700)]
    );
    world.hold(ask_with(&other, 300)).await;
    assert_eq!(codes(&world.authorize(ask_with(&other, 1)).await), [DenialCode::BudgetExhausted]);
    // A permission on one of the two is not enough, and another tenant's scope does not exist.
    let manager = create_account(&env.operator, &world.tenant, "manager", None).await;
    let role = create_role(&env.operator, &world.tenant, "budgeter", &["budgets:write"]).await;
    bind(&env.operator, &world.tenant, &role, &manager, &world.workspace).await;
    let manager = env.operator.with_token(Some(&account_token(&env.operator, &manager).await));
    let wide = world.dollars(&world.tenant, 1_000_000).await;
    for (name, scope) in [(&name, &world.tenant), (&wide, &world.workspace)] {
        let request = pb::MoveBudgetRequest { name: name.clone(), scope: scope.clone(), ..Default::default() };
        assert_eq!(manager.budgets().move_budget(request).await.expect_err("may not").code(), Code::PermissionDenied);
    }
    let down = pb::MoveBudgetRequest { scope: world.project.clone(), validate_only: true, ..to.clone() };
    manager.budgets().move_budget(down).await.expect("may do that");
    let foreign = World::named(env, "globex").await;
    let there = pb::MoveBudgetRequest { scope: foreign.tenant.clone(), ..to.clone() };
    assert_eq!(budgets.move_budget(there).await.expect_err("foreign").code(), Code::NotFound);
    assert_eq!(events(&world, "action = budgets.move").await, 1);
    assert_eq!(get(&world, &name).await.scope, other.name);
}

async fn a_budget_that_could_match_no_call_is_refused_and_says_why(env: &mut Env) {
    let world = World::new(env).await;
    let live = world.dollars(&world.tenant, 1_000_000).await;
    let (mut identity, mut keys) = (env.operator.identity(), env.operator.keys());
    let now = env.clock.now().micros() / 1_000_000;
    let expire_time = Some(prost_types::Timestamp { seconds: now + 60, nanos: 0 });
    let brief = world.another_key(pb::Key { expire_time, ..pb::Key::default() }).await.name;
    let revoked = world.another_key(pb::Key::default()).await.name;
    keys.revoke_key(pb::RevokeKeyRequest { name: revoked.clone(), ..Default::default() }).await.expect("revoked");
    env.clock.advance(std::time::Duration::from_mins(2));
    let account = create_account(&env.operator, &world.tenant, "gone", None).await;
    let request = pb::DeleteServiceAccountRequest { name: account.clone(), ..Default::default() };
    identity.delete_service_account(request).await.expect("deleted");
    let user = create_user(&env.operator, &world.tenant, "gone@example.com", "roles/member", &[]).await;
    identity.delete_user(pb::DeleteUserRequest { name: user.clone(), ..Default::default() }).await.expect("removed");
    let project = world.project.clone();
    identity
        .delete_project(pb::DeleteProjectRequest { name: project.clone(), ..Default::default() })
        .await
        .expect("deleted");
    let team = world.team.clone();
    identity.delete_team(pb::DeleteTeamRequest { name: team.clone(), ..Default::default() }).await.expect("deleted");
    let mut budgets = env.operator.budgets();
    for (scope, code, why) in [
        (brief, Code::FailedPrecondition, "has expired"),
        (revoked, Code::FailedPrecondition, "is revoked"),
        (account, Code::FailedPrecondition, "is deleted"),
        (project, Code::FailedPrecondition, "is deleted"),
        (user, Code::NotFound, ""),
        (team, Code::NotFound, ""),
    ] {
        let budget = Some(pb::Budget { scope: scope.clone(), ..dollars(&world, Window::Day, 1) });
        let request = pb::CreateBudgetRequest { parent: world.tenant.clone(), budget, ..Default::default() };
        let refused = budgets.create_budget(request).await.expect_err("matches nothing");
        assert!(refused.code() == code && refused.message().contains(why), "{scope}: {refused:?}");
        let to = pb::MoveBudgetRequest { name: live.clone(), scope: scope.clone(), ..Default::default() };
        let refused = budgets.move_budget(to).await.expect_err("matches nothing");
        assert!(refused.code() == code && refused.message().contains(why), "{scope}: {refused:?}");
    }
}
