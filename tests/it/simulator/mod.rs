//! The engines of several servers, driven through one schedule after the other: clocks that disagree, processes and
//! machines that stop and go on, servers that die, a store that is slow, cut off or keeps its answers, a network that loses
//! and delays. Everything is drawn from a seed, in one thread and in simulated time: the same seed is the same run.
//!
//! That it would find something is shown by saboteurs: worlds with something wrong in them, each of which must be found out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;
use tollreeve::{
    domain::{time::Clock as _, users::UserState, window::Period},
    engine::{
        answer::Answer,
        error::GateError,
        question::{Mode, Question},
    },
};

mod cast;
mod checks;
mod machine;
mod saboteurs;
mod server;
mod sidecar;
mod store;
mod world;

use saboteurs::Saboteur;
use sidecar::{Call, Sidecar};
use world::{World, ms};

use crate::harness::{
    model_tables::{Phase, Slice},
    random::Random,
};

/// Set: how many schedules are run.
const SCHEDULES: &str = "TOLLREEVE_TEST_SCHEDULES";
/// The seed of the first schedule, unless another is given: the same ones each time notice what a change breaks.
const FIRST: u64 = 200_000;
/// Within so many schedules each saboteur is to be found.
const SOON: u64 = 10_000;

type Counts = BTreeMap<&'static str, u64>;

/// Runs a schedule; gives what happened in it, and the promise that was not kept.
fn run(seed: u64, saboteur: Saboteur) -> (Counts, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut random = Random::of(seed);
        let until = ms(random.within(60_000, 120_000));
        let world = World::new(random, saboteur);
        for at in 0..world.sites.len() {
            tokio::spawn(server::supervise(Arc::clone(&world), at));
        }
        let administrator = tokio::spawn(Arc::clone(&world).administer());
        for index in 0..world.sidecars {
            tokio::spawn(Sidecar::new(&world, index).live());
        }
        if world.once_in(3) {
            let at = ms(world.within(5_000, 50_000));
            tokio::spawn(Arc::clone(&world).fail_over(at));
        }
        Arc::clone(&world).trouble(until).await;
        administrator.await.expect("the administrator stops");
        if world.broken().is_none() {
            aftermath(&world).await;
        }
        let counts = world.counts.lock().clone();
        (counts, world.broken())
    })
}

/// After everything is healed and has had its time, nothing is held, nothing is lost, and the rest can be had.
async fn aftermath(world: &Arc<World>) {
    // Nothing is on its way any more then.
    sleep(Duration::from_secs(21)).await;
    let deadline = world.elapsed() + Duration::from_secs(150);
    while let Err(what) = settled(world) {
        if world.elapsed() > deadline {
            let servers = world.tables.lock().servers.clone();
            return world.broke(|| format!("long after everything was healed: {what}: {servers:?}"));
        }
        sleep(ms(1_000)).await;
    }
    if let Err(what) = world.checks.lock().everything_is_written(&world.tables.lock()) {
        world.broke(|| what);
    }
    the_rest_can_be_had(world).await;
    let runs: Vec<_> = world.sites.iter().filter_map(|site| site.run.lock().clone()).collect();
    for run in runs {
        let retired = run.gate.retire().await;
        if retired.is_err() {
            world.broke(|| format!("a server cannot stop in order: {retired:?}"));
        }
    }
    let tables = world.tables.lock();
    if tables.books.values().any(|book| book.allocated != book.settled) {
        let open: Vec<_> = tables.slices.iter().filter(|slice| slice.phase != Phase::Closed).collect();
        world.broke(|| format!("what nobody holds is set aside: {open:?}"));
    }
}

fn settled(world: &World) -> Result<(), String> {
    for site in &world.sites {
        match &*site.run.lock() {
            Some(run) if run.gate.hold_count() > 0 => return Err(format!("{} holds", run.gate.hold_count())),
            Some(run) if !world.tables.lock().is_live(run.boot) => return Err("a server was taken for dead".into()),
            Some(_) => {}
            None => return Err("a server does not start".into()),
        }
    }
    if world.tables.lock().servers.values().any(|server| server.doubtful) {
        return Err("somebody is in doubt".into());
    }
    let open = world.open.load(Ordering::Relaxed);
    if open > 0 {
        return Err(format!("{open} holds are not charged"));
    }
    let runs: Vec<_> = world.sites.iter().filter_map(|site| site.run.lock().as_ref().map(|run| run.boot)).collect();
    let gone = |slice: &Slice| slice.phase == Phase::Live && !runs.contains(&slice.boot);
    match world.tables.lock().slices.iter().find(|slice| slice.phase == Phase::Closing || gone(slice)) {
        Some(slice) => Err(format!("not folded: {slice:?}")),
        None => Ok(()),
    }
}

/// With a higher limit, and something set aside at every server, some server admits a call for all that is left.
async fn the_rest_can_be_had(world: &Arc<World>) {
    for user in cast::USERS {
        world.suspend(user, UserState::Active);
    }
    let tenant = world.budgets.lock()[0].clone();
    let spent = || world.tables.lock().books(tenant.id, Period(0)).spent;
    let revision = world.limit(0, tenant.limit.max(spent()) + 10_000);
    let mut asked = 0;
    let mut ask = async |at: usize, cost: i64| {
        let run = world.sites[at].run.lock().clone().ok_or(GateError::Draining)?;
        asked += 1;
        let call = Call { user: cast::USERS[2], cost, ttl: 2, id: format!("rest-{asked}") };
        let question = Question { min_revision: revision, ..call.question(None, Mode::CheckOnly) };
        let tell = |answer: &Answer<'_>| answer.denials.is_empty();
        run.gate.authorize(cast::CALLER, &question, run.machine.now(), tell).await
    };
    let mut all_have_some = true;
    for at in 0..world.sites.len() {
        // Each has seen the limit before long.
        while ask(at, 20).await.is_err_and(|error| matches!(error, GateError::RevisionAhead { .. })) {
            sleep(ms(500)).await;
        }
        all_have_some &= ask(at, 20).await == Ok(true);
    }
    let rest = tenant.limit.max(spent()) + 10_000 - spent();
    for _ in 0..6 {
        let at = usize::try_from(world.within(0, world.sites.len() as i64 - 1)).expect("an index");
        if all_have_some && ask(at, rest).await == Ok(true) {
            return world.count("all the rest had");
        }
        sleep(ms(500)).await;
    }
    world.broke(|| format!("{rest} are left and cannot be had: {:?}", world.tables.lock().books));
}

/// Runs schedules on two threads until `enough` says so; gives what happened in all of them.
fn run_many(first: u64, count: u64, saboteur: Saboteur) -> (Counts, Option<(u64, u64, String)>) {
    let (next, all) = (AtomicU64::new(0), Mutex::new(Counts::new()));
    let found: Mutex<Option<(u64, u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while found.lock().is_none() {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= count {
                        return;
                    }
                    let seed = first.wrapping_add(turn);
                    let (counts, broken) = run(seed, saboteur);
                    let mut all = all.lock();
                    counts.into_iter().for_each(|(what, count)| *all.entry(what).or_default() += count);
                    if let Some(what) = broken {
                        let mut found = found.lock();
                        if found.as_ref().is_none_or(|(earlier, ..)| *earlier > turn) {
                            *found = Some((turn, seed, what));
                        }
                    }
                }
            });
        }
    });
    (all.into_inner(), found.into_inner())
}

/// How many schedules somebody has asked for.
fn asked_for() -> Option<u64> {
    std::env::var(SCHEDULES).ok().map(|text| text.parse().expect("a number of schedules"))
}

/// The seed that was given.
fn given() -> Option<u64> {
    std::env::var_os("TOLLREEVE_TEST_SEED").map(|_| Random::fresh("simulator").seed())
}

/// What must have happened, or the schedules prove nothing.
const KINDS: [&str; 24] = [
    "admissions",
    "all the rest had",
    "answers lost",
    "answers that came too late",
    "charges",
    "charges elsewhere",
    "crashes",
    "denials",
    "expiries",
    "failovers",
    "folds",
    "freezes",
    "holds extended",
    "late charges",
    "lowered limits in force",
    "nothing was forgotten",
    "overruns",
    "partitions",
    "pauses",
    "put back what was forgotten",
    "recalls",
    "returns",
    "revocations in force",
    "steps down",
];

#[test]
fn schedules_keep_every_promise() {
    let first = given();
    // A seed alone is a schedule to be seen again.
    let count = asked_for().unwrap_or(if first.is_some() { 1 } else { 40 });
    let (counts, broken) = run_many(first.unwrap_or(FIRST), count, Saboteur::None);
    println!("{count} schedules from {}: {counts:?}", first.unwrap_or(FIRST));
    if let Some((_, seed, what)) = broken {
        panic!("TOLLREEVE_TEST_SEED={seed}: {what}");
    }
    if count >= 40 {
        KINDS.iter().for_each(|kind| assert!(counts.contains_key(kind), "there were no {kind}"));
    }
}

#[test]
fn every_saboteur_is_caught() {
    let first = given().unwrap_or(FIRST);
    let mut survived = Vec::new();
    for saboteur in saboteurs::ALL {
        match run_many(first.wrapping_add(saboteur.begin()), SOON, saboteur).1 {
            Some((turn, seed, what)) => {
                let what: String = what.chars().take(200).collect();
                println!("{saboteur:?}: {} schedules, seed {seed}: {what}", turn + 1);
                assert_eq!(run(seed, Saboteur::None).1, None, "not the saboteur's doing: TOLLREEVE_TEST_SEED={seed}");
            }
            None => survived.push(saboteur),
        }
    }
    assert!(survived.is_empty(), "not caught: {survived:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let seed = Random::fresh("the_same_seed_is_the_same_run").seed();
    assert_eq!(run(seed, Saboteur::None), run(seed, Saboteur::None));
}
