//! Two servers on one PostgreSQL database: what one promises and does holds at the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tollreeve::pb::tollreeve::v1::{self as pb, ChargeStatus, DenialCode, charge_request::Subject};
use tonic::{Code, Status};

use crate::harness::{
    client::{assert_refused, reason},
    eventually, postgres,
    random::Random,
    server::Env,
    world::{COST, World, account_token, codes, create_account, on_hold},
};

/// Makes a test of each function, on two servers of one database.
macro_rules! on_two {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::Pair::test(super::$name).await;
            }
        }
    )+};
}

on_two!(
    sixty_four_callers_of_two_servers_use_a_hard_budget_up_and_never_pass_it,
    callers_of_two_servers_who_give_back_never_pass_a_hard_budget,
    what_one_server_does_not_use_the_other_gets,
    a_hold_of_one_server_is_settled_by_the_other,
    a_hold_settled_in_parts_by_both_gives_each_nano_once,
    the_same_charge_at_both_counts_once_and_another_body_is_refused,
    a_hold_token_is_worth_the_same_at_both,
    what_one_revokes_the_other_refuses_from_the_acknowledgement_on,
    a_limit_that_one_lowers_binds_both_from_the_acknowledgement_on,
    a_server_that_leaves_in_order_gives_everything_back_at_once,
    what_a_dead_server_has_promised_stays_set_aside_for_its_holds,
);

/// Two servers, and the same world through each.
struct Pair {
    first: Env,
    second: Env,
    worlds: [World; 2],
}

impl Pair {
    async fn test(test: impl AsyncFnOnce(&mut Pair)) {
        let Some(cluster) = postgres::shared().await else { return };
        let first = Env::start(Some(&cluster.database().await)).await;
        let world = World::new(&first).await;
        let second = first.beside().await;
        let worlds = [world.clone(), world.through(second.server.addr())];
        let mut pair = Self { first, second, worlds };
        test(&mut pair).await;
        pair.first.end().await;
        pair.second.end().await;
    }

    /// The one that a number is dealt to.
    fn world(&self, n: usize) -> &World {
        &self.worlds[n % 2]
    }

    /// Asks again and again until a call is allowed; time passes meanwhile, as far as the servers see.
    async fn allowed(&self, n: usize, asked: pb::AuthorizeRequest) -> pb::Hold {
        self.allowed_by(self.world(n), asked).await
    }

    async fn allowed_by(&self, world: &World, asked: pb::AuthorizeRequest) -> pb::Hold {
        eventually("room that nobody uses is given to whoever asks", async || {
            let answer = world.authorize(asked.clone()).await;
            if answer.hold.is_none() {
                assert_eq!(codes(&answer), [DenialCode::BudgetExhausted]);
                self.first.clock.advance(Duration::from_secs(1));
            }
            answer.hold
        })
        .await
    }

    /// Holds all that is left through each, one after the other, and gives it back.
    async fn rest_is(&self, rest: i64) {
        for n in 0..2 {
            let hold = self.allowed(n, long(self.worlds[0].ask_for(rest))).await;
            for other in 0..2 {
                assert_eq!(
                    codes(&self.world(other).authorize(self.worlds[0].ask_for(1)).await),
                    [DenialCode::BudgetExhausted]
                );
            }
            self.world(n).charge(unsent(&hold)).await;
        }
    }
}

/// A call whose hold outlives what a test does with the clock.
fn long(asked: pb::AuthorizeRequest) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { hold_ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }), ..asked }
}

/// Gives all of a hold back.
fn unsent(hold: &pb::Hold) -> pb::ChargeRequest {
    pb::ChargeRequest { outcome: pb::Outcome::NotDispatched.into(), cost_nanos: None, ..on_hold(hold, 0) }
}

/// Looks at the books until told to stop.
async fn watch(env: &Env, limit: i64, stop: &AtomicBool) -> usize {
    let books = env.books().await;
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        for ((_, period), book) in books.periods().await {
            assert!(book.allocated <= limit && book.overrun == 0, "{period}: {book:?}");
        }
        looks += 1;
    }
    books.close().await;
    looks
}

async fn sixty_four_callers_of_two_servers_use_a_hard_budget_up_and_never_pass_it(pair: &mut Pair) {
    const LIMIT: i64 = 6_400;
    let budget = pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    let stop = AtomicBool::new(false);
    let admitted = Arc::new(AtomicI64::new(0));
    let callers = (0..64).map(|n| {
        let (world, clock, admitted) = (pair.world(n).clone(), Arc::clone(&pair.first.clock), Arc::clone(&admitted));
        tokio::spawn(async move {
            let mut last = None;
            while admitted.load(Ordering::SeqCst) < LIMIT {
                let answer = world.authorize(long(world.ask_for(10))).await;
                let Some(hold) = answer.hold else {
                    assert_eq!(codes(&answer), [DenialCode::BudgetExhausted]);
                    if n < 2 {
                        clock.advance(Duration::from_secs(1));
                    }
                    continue;
                };
                assert!(admitted.fetch_add(10, Ordering::SeqCst) < LIMIT, "more than there was");
                // One stays open as long as there is a next one.
                if let Some(earlier) = last.replace(hold) {
                    let answer = world.charge(on_hold(&earlier, 10)).await;
                    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0));
                }
            }
            last
        })
    });
    let callers: Vec<_> = callers.collect();
    let all = async {
        let mut open = Vec::new();
        for caller in callers {
            open.extend(caller.await.expect("no panic"));
        }
        stop.store(true, Ordering::Relaxed);
        open
    };
    let (open, looks) = tokio::join!(all, watch(&pair.first, LIMIT, &stop));
    assert!(looks > 0);
    assert_eq!(admitted.load(Ordering::SeqCst), LIMIT, "everything that there was, and nothing more");
    // By the other server than the one that made it, as often as not.
    for (n, hold) in open.iter().enumerate() {
        let answer = pair.world(n).charge(on_hold(hold, 10)).await;
        assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0));
    }
    for n in 0..2 {
        let state = pair.world(n).state(&budget).await;
        assert_eq!((state.spent, state.held, state.remaining), (LIMIT, 0, 0));
    }
}

async fn callers_of_two_servers_who_give_back_never_pass_a_hard_budget(pair: &mut Pair) {
    const LIMIT: i64 = 5_000;
    let mut random = Random::fresh("callers_of_two_servers_who_give_back_never_pass_a_hard_budget");
    pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    let stop = AtomicBool::new(false);
    let callers = (0..32).map(|_| {
        let (worlds, clock, mut random) = (pair.worlds.clone(), Arc::clone(&pair.first.clock), random.fork());
        tokio::spawn(async move {
            let mut spent = 0;
            for _ in 0..20 {
                let asked = random.within(1, 400);
                let Some(hold) = random.pick(&worlds).authorize(long(worlds[0].ask_for(asked))).await.hold else {
                    clock.advance(Duration::from_millis(200));
                    continue;
                };
                let cost = random.within(0, asked / 8);
                let answer = random.pick(&worlds).charge(on_hold(&hold, cost)).await;
                assert_eq!((answer.status(), answer.released_nanos), (ChargeStatus::Applied, asked - cost));
                spent += cost;
            }
            spent
        })
    });
    let callers: Vec<_> = callers.collect();
    let all = async {
        let mut spent = 0;
        for caller in callers {
            spent += caller.await.expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        spent
    };
    let (spent, _) = tokio::join!(all, watch(&pair.first, LIMIT, &stop));
    assert!(spent <= LIMIT);
    pair.rest_is(LIMIT - spent).await;
}

async fn what_one_server_does_not_use_the_other_gets(pair: &mut Pair) {
    const LIMIT: i64 = 1_000;
    pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    for round in 0..20 {
        // Whoever asks first has more set aside than it uses.
        let small = pair.allowed(round, long(pair.worlds[0].ask_for(1))).await;
        let rest = pair.allowed(round + 1, long(pair.worlds[0].ask_for(LIMIT - 1))).await;
        for n in 0..2 {
            assert_eq!(codes(&pair.world(n).authorize(pair.worlds[0].ask_for(1)).await), [DenialCode::BudgetExhausted]);
        }
        pair.world(round).charge(unsent(&small)).await;
        pair.world(round + 1).charge(unsent(&rest)).await;
    }
}

async fn a_hold_of_one_server_is_settled_by_the_other(pair: &mut Pair) {
    const LIMIT: i64 = 20 * COST;
    let budget = pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    let mut spent = 0;
    for round in 0..10 {
        let (one, other) = (pair.world(round), pair.world(round + 1));
        let hold = pair.allowed(round, long(one.ask())).await;
        let rest = pair.allowed(round, long(one.ask_for(LIMIT - spent - COST))).await;
        let asked = on_hold(&hold, 100);
        let answer = other.charge(asked.clone()).await;
        assert_eq!((answer.status(), answer.charged_nanos), (ChargeStatus::Applied, 100));
        assert_eq!((answer.released_nanos, answer.overrun_nanos), (COST - 100, 0));
        // Long before the hold's end, whoever made it may use what it gave back.
        let again = pair.allowed(round, long(one.ask_for(COST - 100))).await;
        assert_eq!(codes(&one.authorize(one.ask_for(1)).await), [DenialCode::BudgetExhausted]);
        for world in [one, other] {
            let replayed = world.charge(asked.clone()).await;
            assert_eq!((replayed.status(), replayed.ledger_seq), (ChargeStatus::Replayed, answer.ledger_seq));
        }
        spent += 100;
        one.charge(unsent(&rest)).await;
        other.charge(unsent(&again)).await;
        assert_eq!(one.state(&budget).await.spent, spent);
        assert_eq!(other.state(&budget).await.spent, spent);
    }
    pair.rest_is(LIMIT - spent).await;
}

async fn a_hold_settled_in_parts_by_both_gives_each_nano_once(pair: &mut Pair) {
    const LIMIT: i64 = 5_000;
    let mut random = Random::fresh("a_hold_settled_in_parts_by_both_gives_each_nano_once");
    pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    let mut spent = 0;
    for round in 0..40 {
        let held = random.within(10, 60);
        let hold = pair.allowed(round, long(pair.worlds[0].ask_for(held))).await;
        let mut left = held;
        for _ in 0..random.within(0, 4) {
            let cost = random.within(0, left);
            let part = pb::ChargeRequest { r#final: Some(false), ..on_hold(&hold, cost) };
            let answer = random.pick(&pair.worlds).charge(part).await;
            let told = (answer.status(), answer.charged_nanos, answer.released_nanos, answer.overrun_nanos);
            assert_eq!(told, (ChargeStatus::Applied, cost, 0, 0), "round {round}");
            left -= cost;
        }
        let cost = random.within(0, left);
        let answer = random.pick(&pair.worlds).charge(on_hold(&hold, cost)).await;
        let told = (answer.status(), answer.charged_nanos, answer.released_nanos, answer.overrun_nanos);
        assert_eq!(told, (ChargeStatus::Applied, cost, left - cost, 0), "round {round}: {left} of {held} were left");
        spent += held - left + cost;
    }
    pair.rest_is(LIMIT - spent).await;
}

async fn the_same_charge_at_both_counts_once_and_another_body_is_refused(pair: &mut Pair) {
    const LIMIT: i64 = 100_000;
    let budget = pair.worlds[0].dollars(&pair.worlds[0].tenant, LIMIT).await;
    let [first, second] = &pair.worlds;
    let mut spent = 0;
    for round in 0..50 {
        let hold = pair.allowed(round, long(first.ask())).await;
        let asked = on_hold(&hold, 7);
        let (here, there) = tokio::join!(first.charge(asked.clone()), second.charge(asked.clone()));
        let mut told = [here.status(), there.status()];
        told.sort_unstable();
        assert_eq!(told, [ChargeStatus::Applied, ChargeStatus::Replayed], "round {round}");
        assert_eq!(here.ledger_seq, there.ledger_seq);
        let hold = pair.allowed(round, long(first.ask())).await;
        let asked = on_hold(&hold, 11);
        let body = pb::ChargeRequest { cost_nanos: Some(13), ..asked.clone() };
        let (here, there) = tokio::join!(first.try_charge(asked.clone()), second.try_charge(body.clone()));
        let refused = match (here, there) {
            (Ok(applied), Err(status)) | (Err(status), Ok(applied)) => {
                assert_eq!((applied.status(), applied.overrun_nanos), (ChargeStatus::Applied, 0), "round {round}");
                spent += 7 + applied.charged_nanos;
                status
            }
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "IDEMPOTENCY_CONFLICT"));
    }
    assert_eq!(first.state(&budget).await.spent, spent);
    pair.rest_is(LIMIT - spent).await;
}

async fn a_hold_token_is_worth_the_same_at_both(pair: &mut Pair) {
    let [first, second] = &pair.worlds;
    let account = create_account(&first.operator, &first.tenant, "other", Some("roles/sidecar")).await;
    let token = account_token(&first.operator, &account).await;
    for round in 0..4 {
        let budget = first.dollars(&first.tenant, COST).await;
        let hold = pair.allowed(round, long(first.ask())).await;
        let whole = hold.token.to_vec();
        let with = |token: &[u8]| pb::ChargeRequest {
            subject: Some(Subject::HoldToken(token.to_vec().into())),
            ..on_hold(&hold, 1)
        };
        for world in [first, second] {
            let stranger = World { sidecar: world.operator.with_token(Some(&token)), ..world.clone() };
            assert_refused(stranger.try_charge(with(&whole)).await, Code::InvalidArgument, "HOLD_TOKEN_INVALID");
            for bad in [&whole[..0], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
                assert_refused(world.try_charge(with(bad)).await, Code::InvalidArgument, "HOLD_TOKEN_INVALID");
            }
            let mut flipped = whole.clone();
            flipped[round * 5] ^= 1;
            assert_refused(world.try_charge(with(&flipped)).await, Code::InvalidArgument, "HOLD_TOKEN_INVALID");
        }
        let all = pair.world(round / 2).charge(on_hold(&hold, COST)).await;
        assert_eq!((all.status(), all.released_nanos, all.overrun_nanos), (ChargeStatus::Applied, 0, 0));
        // The token again finds nothing left, wherever it is shown; the fact stands all the same.
        for world in [first, second] {
            let again = world.charge(on_hold(&hold, 50)).await;
            assert_eq!(
                (again.status(), again.overrun_nanos, again.released_nanos),
                (ChargeStatus::AppliedOverrun, 50, 0)
            );
        }
        first
            .operator
            .budgets()
            .delete_budget(pb::DeleteBudgetRequest { name: budget, ..Default::default() })
            .await
            .expect("deleted");
    }
    first.dollars(&first.tenant, 100 * COST).await;
    for round in 0..4 {
        let hold = pair.allowed(round, first.ask()).await;
        pair.first.clock.advance(Duration::from_secs(120 + 120 + 2));
        pair.first.sweep().await;
        pair.second.sweep().await;
        for world in [first, second] {
            let late = world.charge(on_hold(&hold, 20)).await;
            assert_eq!((late.status(), late.released_nanos, late.overrun_nanos), (ChargeStatus::AppliedLate, 0, 0));
        }
    }
    pair.rest_is(100 * COST - 4 * 40).await;
}

fn allowed(answer: &Result<pb::AuthorizeResponse, Status>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.decision() == pb::Decision::Allow)
}

async fn what_one_revokes_the_other_refuses_from_the_acknowledgement_on(pair: &mut Pair) {
    for round in 0..200 {
        let (one, other) = (pair.world(round), pair.world(round + 1));
        let key = other.another_key(pb::Key::default()).await;
        let asked = || pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..one.ask_with(&key.secret) };
        for world in [one, other] {
            eventually("a new key is known", async || allowed(&world.try_authorize(asked()).await).then_some(())).await;
        }
        let request = pb::RevokeKeyRequest { name: key.name.clone(), reason: String::new() };
        one.operator.keys().revoke_key(request).await.expect("revoked");
        let (there, here) = tokio::join!(other.try_authorize(asked()), one.try_authorize(asked()));
        assert!(!allowed(&there), "round {round}: {there:?}");
        assert!(!allowed(&here), "round {round}: {here:?}");
    }
}

async fn a_limit_that_one_lowers_binds_both_from_the_acknowledgement_on(pair: &mut Pair) {
    let budget = pair.worlds[0].dollars(&pair.worlds[0].tenant, 0).await;
    let mut sum = 0;
    for round in 0..20 {
        pair.world(round).set_limit(&budget, sum + 10_000).await;
        let lowered = Arc::new(AtomicBool::new(false));
        let admitted = Arc::new(AtomicI64::new(sum));
        let callers = (0..8).map(|n| {
            let (world, lowered, admitted) = (pair.world(n).clone(), Arc::clone(&lowered), Arc::clone(&admitted));
            tokio::spawn(async move {
                loop {
                    let before = lowered.load(Ordering::SeqCst);
                    let answer = world.authorize(long(world.ask_for(10))).await;
                    assert!(!(before && answer.hold.is_some()), "admitted after the acknowledgement: {answer:?}");
                    admitted.fetch_add(if answer.hold.is_some() { 10 } else { 0 }, Ordering::SeqCst);
                    if before {
                        return;
                    }
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        eventually("both admit calls", async || (admitted.load(Ordering::SeqCst) >= sum + 1_000).then_some(())).await;
        pair.world(round + 1).set_limit(&budget, sum + 500).await;
        lowered.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.await.expect("nothing is admitted after the acknowledgement");
        }
        sum = admitted.load(Ordering::SeqCst);
        // With a little more, all of that is admitted, through both, and nothing beyond it.
        pair.world(round).set_limit(&budget, sum + 1_000).await;
        pair.world(round + 1).set_limit(&budget, sum + 100).await;
        for n in 0..10 {
            pair.allowed(n, long(pair.worlds[0].ask_for(10))).await;
        }
        sum += 100;
        for n in 0..2 {
            assert_eq!(codes(&pair.world(n).authorize(pair.worlds[0].ask_for(1)).await), [DenialCode::BudgetExhausted]);
        }
    }
}

async fn a_server_that_leaves_in_order_gives_everything_back_at_once(pair: &mut Pair) {
    const LIMIT: i64 = 10_000;
    let second = pair.worlds[1].clone();
    let budget = second.dollars(&second.tenant, LIMIT).await;
    for round in 1..4 {
        let third = pair.first.beside().await;
        let world = second.through(third.server.addr());
        let hold = pair.allowed_by(&world, long(world.ask())).await;
        let settled = pair.allowed_by(&world, long(world.ask())).await;
        world.charge(on_hold(&settled, 0)).await;
        third.end().await;
        pair.first.clock.advance(Duration::from_secs(1));
        let rest = second.hold(long(second.ask_for(LIMIT - COST))).await;
        assert_eq!(codes(&second.authorize(second.ask_for(1)).await), [DenialCode::BudgetExhausted]);
        let answer = second.charge(on_hold(&hold, COST)).await;
        assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0));
        second.charge(unsent(&rest)).await;
        second.set_limit(&budget, LIMIT + round * COST).await;
    }
}

async fn what_a_dead_server_has_promised_stays_set_aside_for_its_holds(pair: &mut Pair) {
    const LIMIT: i64 = 10_000;
    let survivor = pair.worlds[0].clone();
    let budget = survivor.dollars(&survivor.tenant, LIMIT).await;
    pair.first.config.identity = "seat-3".to_owned();
    let dead = pair.first.beside().await;
    let world = survivor.through(dead.server.addr());
    let hold = pair.allowed_by(&world, long(world.ask_for(LIMIT))).await;
    // Where at most one runs at a time, the next is the proof that it is dead.
    let next = pair.first.beside().await;
    let books = pair.first.books().await;
    let signs = async || books.rows::<(i64,)>("SELECT MIN(seq) FROM replicas WHERE state = 1").await[0].0;
    let begun = signs().await;
    eventually("everybody looks at what it had", async || (signs().await > begun + 3).then_some(())).await;
    books.close().await;
    for n in 0..4 {
        pair.first.clock.advance(Duration::from_secs(1));
        assert_eq!(codes(&pair.world(n).authorize(survivor.ask_for(1)).await), [DenialCode::BudgetExhausted]);
    }
    let answer = pair.worlds[1].charge(on_hold(&hold, LIMIT)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0));
    assert_eq!(survivor.state(&budget).await.spent, LIMIT);
    dead.server.stop().await.expect_err("it has nothing to give back");
    next.end().await;
}
