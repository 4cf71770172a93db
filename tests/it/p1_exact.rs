//! Exact: what is admitted under a hard budget never exceeds its limit, on every level at once or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tollreeve::{
    domain::time::Timestamp,
    pb::tollreeve::v1::{self as pb, DenialCode as Code, Unit, Window},
};

use crate::harness::{
    both, once,
    random::Random,
    server::Env,
    world::{COST, World, account_token, codes, credit as entry, on_hold, on_key},
};

both!(
    sixty_four_holders_at_once_use_a_hard_budget_up_and_never_pass_it,
    sixty_four_holders_who_give_back_never_pass_a_hard_budget,
    a_call_is_held_on_five_levels_or_on_none,
    holders_of_five_levels_at_once_hold_the_same_on_each,
    a_lowered_limit_binds_the_next_call,
    a_raised_limit_takes_effect_at_once,
    a_credit_pool_gives_what_was_paid_in_and_no_more,
    a_window_that_is_over_starts_again_at_zero,
    a_charge_counts_in_the_window_in_which_its_hold_was_taken,
    a_clamped_call_gets_what_is_left_of_the_narrowest_budget,
    a_restart_keeps_what_is_spent_and_forgets_no_hold,
);

once!(a_budget_on_an_end_user_binds_their_calls_and_nobody_elses, a_budget_of_nothing_refuses_all_but_what_is_free);

/// Looks at a budget until told to stop: in memory and in the database.
async fn watch(env: &Env, world: World, budget: String, limit: i64, stop: Arc<AtomicBool>) -> usize {
    let books = env.books().await;
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let state = world.state(&budget).await;
        assert!(state.spent + state.held <= limit, "{state:?}");
        for ((_, period), book) in books.periods().await {
            assert!(book.allocated <= limit && book.overrun == 0, "{period}: {book:?}");
        }
        looks += 1;
    }
    books.close().await;
    looks
}

async fn sixty_four_holders_at_once_use_a_hard_budget_up_and_never_pass_it(env: &mut Env) {
    const LIMIT: i64 = 6_400;
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, LIMIT).await;
    let stop = Arc::new(AtomicBool::new(false));
    let holders = (0..64).map(|n| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut admitted = 0;
            loop {
                let answer = world.authorize(world.ask_for(10)).await;
                let Some(hold) = answer.hold else {
                    assert_eq!(codes(&answer), [Code::BudgetExhausted]);
                    return admitted;
                };
                admitted += 10;
                if n % 2 == 0 {
                    let answer = world.charge(on_hold(&hold, 10)).await;
                    assert_eq!((answer.status(), answer.overrun_nanos), (pb::ChargeStatus::Applied, 0));
                }
            }
        })
    });
    let holders: Vec<_> = holders.collect();
    let all = async {
        let mut admitted = 0;
        for holder in holders {
            admitted += holder.await.expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        admitted
    };
    let (admitted, looks) = tokio::join!(all, watch(env, world.clone(), budget.clone(), LIMIT, Arc::clone(&stop)));
    assert!(looks > 0);
    assert_eq!(admitted, LIMIT, "everything that there was, and nothing more");
    let state = world.state(&budget).await;
    assert_eq!((state.spent + state.held, state.remaining), (LIMIT, 0));
    assert_eq!(env.books().await.spent(&budget).await, state.spent);
}

async fn sixty_four_holders_who_give_back_never_pass_a_hard_budget(env: &mut Env) {
    const LIMIT: i64 = 5_000;
    let mut random = Random::fresh("sixty_four_holders_who_give_back_never_pass_a_hard_budget");
    let world = World::new(env).await;
    let budget = world.dollars(&world.project, LIMIT).await;
    let stop = Arc::new(AtomicBool::new(false));
    let holders = (0..64).map(|_| {
        let (world, mut random) = (world.clone(), random.fork());
        tokio::spawn(async move {
            let mut spent = 0;
            for _ in 0..20 {
                let asked = random.within(1, 400);
                let Some(hold) = world.authorize(world.ask_for(asked)).await.hold else { continue };
                let cost = random.within(0, asked / 4);
                let answer = world.charge(on_hold(&hold, cost)).await;
                assert_eq!((answer.status(), answer.released_nanos), (pb::ChargeStatus::Applied, asked - cost));
                spent += cost;
            }
            spent
        })
    });
    let holders: Vec<_> = holders.collect();
    let all = async {
        let mut spent = 0;
        for holder in holders {
            spent += holder.await.expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        spent
    };
    let (spent, _) = tokio::join!(all, watch(env, world.clone(), budget.clone(), LIMIT, Arc::clone(&stop)));
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (spent, 0));
    assert!(spent <= LIMIT);
    if spent < LIMIT {
        world.hold(world.ask_for(LIMIT - spent)).await;
    }
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::BudgetExhausted]);
}

/// A budget on each of five levels, with these limits.
async fn five(world: &World, limits: [i64; 5]) -> Vec<String> {
    let scopes = [&world.tenant, &world.workspace, &world.project, &world.team, &world.key.name];
    let mut budgets = Vec::new();
    for (scope, limit) in scopes.into_iter().zip(limits) {
        budgets.push(world.dollars(scope, limit).await);
    }
    budgets
}

async fn a_call_is_held_on_five_levels_or_on_none(env: &mut Env) {
    let world = World::new(env).await;
    let budgets = five(&world, [10_000; 5]).await;
    let hold = world.hold(world.ask()).await;
    let held: Vec<&str> = hold.amounts.iter().map(|held| held.budget.as_str()).collect();
    assert_eq!(held, budgets);
    world.charge(on_hold(&hold, 100)).await;
    for short in &budgets {
        world.set_limit(short, 100 + COST - 1).await;
        let answer = world.authorize(world.ask()).await;
        assert_eq!(codes(&answer), [Code::BudgetExhausted]);
        assert_eq!(&answer.denials[0].budget, short);
        for budget in &budgets {
            let state = world.state(budget).await;
            assert_eq!((state.spent, state.held), (100, 0), "nothing stays held on {budget}");
        }
        world.set_limit(short, 10_000).await;
    }
    world.set_limit(&budgets[1], 0).await;
    world.set_limit(&budgets[4], 0).await;
    let answer = world.authorize(world.ask()).await;
    let refusing: Vec<&str> = answer.denials.iter().map(|denial| denial.budget.as_str()).collect();
    assert_eq!(refusing, [budgets[1].as_str(), budgets[4].as_str()], "all that refuse, not only the first");
}

async fn holders_of_five_levels_at_once_hold_the_same_on_each(env: &mut Env) {
    let world = World::new(env).await;
    let budgets = five(&world, [9_000, 7_000, 5_000, 3_000, 4_000]).await;
    let holders = (0..64).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut held = 0;
            while world.authorize(world.ask_for(10)).await.hold.is_some() {
                held += 10;
            }
            held
        })
    });
    let holders: Vec<_> = holders.collect();
    let mut held = 0;
    for holder in holders {
        held += holder.await.expect("no panic");
    }
    assert_eq!(held, 3_000, "the narrowest decides");
    for budget in &budgets {
        assert_eq!(world.state(budget).await.held, 3_000, "{budget}");
    }
}

async fn a_lowered_limit_binds_the_next_call(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let hold = world.hold(world.ask_for(1_000)).await;
    for limit in [500_000, 2_000, 1_000, 999, 0] {
        world.set_limit(&budget, limit).await;
        let left = (limit - 1_000).max(0);
        assert_eq!(codes(&world.authorize(world.ask_for(left + 1)).await), [Code::BudgetExhausted], "{limit}");
        if left > 0 {
            let kept = world.hold(world.ask_for(left)).await;
            world.charge(on_hold(&kept, 0)).await;
        }
        let state = world.state(&budget).await;
        assert_eq!((state.limit, state.held, state.remaining), (limit, 1_000, left));
    }
    // What is held already stays good: a charge on it is no overrun of the hold.
    let charged = world.charge(on_hold(&hold, 1_000)).await;
    assert_eq!((charged.status(), charged.charged_nanos), (pb::ChargeStatus::Applied, 1_000));
    assert_eq!(world.state(&budget).await.spent, 1_000);
}

async fn a_raised_limit_takes_effect_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 0).await;
    let mut held = 0;
    for limit in [1, 10, 1_000, 1_001, 4_000_000_000_000_000_000] {
        assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::BudgetExhausted]);
        world.set_limit(&budget, limit).await;
        world.hold(world.ask_for(limit - held)).await;
        held = limit;
    }
    world.set_limit(&budget, 5).await;
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::BudgetExhausted]);
}

async fn a_credit_pool_gives_what_was_paid_in_and_no_more(env: &mut Env) {
    let world = World::new(env).await;
    world.hold(world.ask_for(1_000_000)).await;
    let credit = async |amount_nanos, reference: &str| {
        world.try_credit(entry(amount_nanos, reference)).await?;
        Ok::<_, tonic::Status>(world.credit_stands().await)
    };
    let stands = credit(1_000, "invoice 1").await.expect("credit");
    assert_eq!((stands.granted_nanos, stands.remaining_nanos), (1_000, 1_000));
    let hold = world.hold(world.ask_for(700)).await;
    assert_eq!(codes(&world.authorize(world.ask_for(301)).await), [Code::CreditExhausted]);
    credit(1_000, "invoice 1").await.expect("the same entry again");
    assert_eq!(codes(&world.authorize(world.ask_for(301)).await), [Code::CreditExhausted], "counted once");
    credit(1, "invoice 2").await.expect("credit");
    world.hold(world.ask_for(301)).await;
    world.charge(on_hold(&hold, 100)).await;
    let stands = credit(-600, "refund").await.expect("taken back");
    assert_eq!(
        (stands.granted_nanos, stands.spent_nanos, stands.held_nanos, stands.remaining_nanos),
        (401, 100, 301, 0)
    );
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::CreditExhausted]);
    let refused = credit(-402, "refund 2").await.expect_err("nobody takes back more than was granted");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let other = credit(5, "refund").await.expect_err("a reference is used once");
    assert_eq!(other.code(), tonic::Code::AlreadyExists);
}

/// The last instant before a point in time, and that point.
fn around(seconds: i64) -> [Timestamp; 2] {
    let end = seconds * 1_000_000;
    [Timestamp::from_micros(end - 1), Timestamp::from_micros(end)]
}

async fn a_window_that_is_over_starts_again_at_zero(env: &mut Env) {
    let mut world = World::new(env).await;
    // 2026-03-10 13:00, 2026-03-11 00:00, 2026-04-01 00:00.
    for (window, end) in [(Window::Hour, 1_773_147_600), (Window::Day, 1_773_187_200), (Window::Month, 1_775_001_600)] {
        let [before, after] = around(end);
        env.clock.set(before);
        world.sidecar = env.operator.with_token(Some(&account_token(&env.operator, &world.account).await));
        let budget = world.budget(&world.tenant, Unit::UsdNanos, window, 1_000).await;
        let hold = world.hold(world.ask_for(1_000)).await;
        world.charge(on_hold(&hold, 900)).await;
        let answer = world.authorize(world.ask_for(101)).await;
        assert_eq!(codes(&answer), [Code::BudgetExhausted], "{window:?}");
        assert_eq!(answer.denials[0].resets_at.map(|at| at.seconds), Some(end), "{window:?}");
        env.clock.set(after);
        let state = world.state(&budget).await;
        assert_eq!((state.spent, state.held), (0, 0), "{window:?}");
        world.hold(world.ask_for(1_000)).await;
        assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::BudgetExhausted], "{window:?}");
        let request = pb::DeleteBudgetRequest { name: budget, ..Default::default() };
        env.operator.budgets().delete_budget(request).await.expect("deleted");
    }
}

async fn a_charge_counts_in_the_window_in_which_its_hold_was_taken(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.budget(&world.tenant, Unit::UsdNanos, Window::Hour, 1_000).await;
    let [before, after] = around(1_773_147_600);
    env.clock.set(before);
    let hold = world.hold(world.ask_for(800)).await;
    let other = world.hold(world.ask_for(200)).await;
    env.clock.set(after);
    world.hold(world.ask_for(1_000)).await;
    let charged = world.charge(on_hold(&hold, 700)).await;
    assert_eq!((charged.status(), charged.overrun_nanos), (pb::ChargeStatus::Applied, 0));
    assert_eq!(world.state(&budget).await.spent, 0, "nothing of it in the new window");
    // The window closes when nothing of it is held any more.
    world.charge(on_hold(&other, 200)).await;
    env.clock.advance(Duration::from_secs(1));
    env.sweep().await;
    let periods: Vec<_> = env.books().await.periods().await.into_values().collect();
    assert_eq!((periods[0].settled, periods[0].allocated), (900, 900));
}

async fn a_clamped_call_gets_what_is_left_of_the_narrowest_budget(env: &mut Env) {
    let world = World::new(env).await;
    let clamp = || pb::AuthorizeRequest { mode: pb::HoldMode::Clamp.into(), ..world.ask() };
    world.dollars(&world.tenant, 100 + 2 * 60).await;
    let tokens = world.budget(&world.project, Unit::Tokens, Window::Total, 1_000).await;
    let answer = world.authorize(clamp()).await;
    let hold = answer.hold.expect("a hold");
    assert_eq!(hold.granted_output_tokens, 60);
    assert_eq!(hold.amounts.iter().map(|held| held.amount).collect::<Vec<_>>(), [220, 160]);
    let warned: Vec<_> = answer.warnings.iter().map(pb::Warning::code).collect();
    assert_eq!(warned, [pb::WarningCode::Clamped]);
    assert_eq!(codes(&world.authorize(clamp()).await), [Code::BudgetExhausted], "not one token is left");
    world.charge(on_hold(&hold, 0)).await;
    world.set_limit(&tokens, 100 + 25).await;
    assert_eq!(world.hold(clamp()).await.granted_output_tokens, 25);
}

async fn a_restart_keeps_what_is_spent_and_forgets_no_hold(env: &mut Env) {
    // A server of its own: this test stops it.
    let own = env.another().await;
    let world = World::new(&own).await;
    let budget = world.dollars(&world.tenant, 1_000).await;
    let spent = world.hold(world.ask_for(300)).await;
    world.charge(on_hold(&spent, 250)).await;
    let hold = world.hold(world.ask_for(500)).await;
    let own = own.restart().await;
    let sidecar = own.operator.with_token(Some(&account_token(&own.operator, &world.account).await));
    let world = World { sidecar, operator: own.operator.clone(), ..world };
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (250, 500), "a hold is money set aside, whoever knows of it");
    assert_eq!(codes(&world.authorize(world.ask_for(251)).await), [Code::BudgetExhausted]);
    world.hold(world.ask_for(250)).await;
    let charged = world.charge(on_hold(&hold, 400)).await;
    assert_eq!((charged.status(), charged.overrun_nanos), (pb::ChargeStatus::Applied, 0));
    assert_eq!(own.books().await.spent(&budget).await, 650);
    own.end().await;
}

async fn a_budget_on_an_end_user_binds_their_calls_and_nobody_elses(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&format!("{}/endUsers/mia", world.tenant), COST).await;
    let ask = |end_user: &str| pb::AuthorizeRequest { end_user: end_user.into(), ..world.ask() };
    world.hold(ask("mia")).await;
    assert_eq!(codes(&world.authorize(ask("mia")).await), [Code::BudgetExhausted]);
    for other in ["", "Mia", "noah"] {
        world.hold(ask(other)).await;
    }
}

async fn a_budget_of_nothing_refuses_all_but_what_is_free(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.key.name, 0).await;
    assert_eq!(codes(&world.authorize(world.ask_for(1)).await), [Code::BudgetExhausted]);
    world.hold(world.ask_for(0)).await;
    let charged = world.charge(on_key(&world.key, 5)).await;
    assert_eq!((charged.status(), charged.overrun_nanos), (pb::ChargeStatus::AppliedOverrun, 5));
}
