//! Nothing lost, nothing doubled, although the server is killed again and again in the middle of its work.

use tollreeve::pb::tollreeve::v1::{self as pb, ChargeStatus};

use crate::harness::{
    kill::Scene,
    postgres,
    random::Random,
    world::{World, on_hold, on_key},
};

/// Set: how many times the server is killed on each database.
const ROUNDS: &str = "TOLLREEVE_TEST_KILL_ROUNDS";

mod a_server_that_is_killed_loses_and_doubles_no_charge {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        killed_again_and_again(None).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        if let Some(cluster) = postgres::shared().await {
            killed_again_and_again(Some(cluster.database().await)).await;
        }
    }
}

/// How many calls are under way at once.
const CALLERS: i64 = 16;
/// The limit: some of what is charged passes it.
const LIMIT: i64 = 400_000;

/// A charge that was sent, and whether somebody said that it is on record.
struct Sent {
    asked: pb::ChargeRequest,
    acknowledged: bool,
}

/// One caller until the server is gone: calls, holds, charges.
async fn call_until_gone(world: World, mut random: Random) -> Vec<Sent> {
    let mut sent = Vec::new();
    loop {
        let asked = pb::AuthorizeRequest {
            hold_ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..world.ask_for(random.within(1, 90))
        };
        let hold = match world.try_authorize(asked).await {
            Ok(answer) => answer.hold,
            Err(_) => return sent,
        };
        let cost = random.within(0, 100);
        let asked = hold.map_or_else(|| on_key(&world.key, cost), |hold| on_hold(&hold, cost));
        let answer = world.try_charge(asked.clone()).await;
        let acknowledged = answer.is_ok();
        sent.push(Sent { asked, acknowledged });
        if !acknowledged {
            return sent;
        }
    }
}

/// One round: calls until some charges are acknowledged, then `kill -9` in the middle of the others.
async fn round(scene: &Scene, random: &mut Random, earlier: &mut Vec<Sent>) {
    let (process, world) = scene.serve(&["--hold-grace-seconds", "1"]).await;
    // What the last server left unanswered is sent again.
    for sent in earlier.iter_mut().filter(|sent| !sent.acknowledged) {
        let answer = world.charge(sent.asked.clone()).await;
        assert_eq!(answer.charged_nanos, sent.asked.cost_nanos(), "{:?}", answer.status());
        sent.acknowledged = true;
    }
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(call_until_gone(world.clone(), random.fork()))).collect();
    // The moment of death: when a part of the charges to come is under way.
    for _ in 0..random.within(1, 12) {
        world.charge(on_key(&world.key, 0)).await;
    }
    process.kill().await;
    for caller in callers {
        earlier.extend(caller.await.expect("no panic"));
    }
}

async fn killed_again_and_again(database_url: Option<String>) {
    let in_ci = if std::env::var_os("CI").is_some() { 50 } else { 40 };
    let rounds = std::env::var(ROUNDS).ok().map_or(in_ci, |rounds| rounds.parse().expect("a number"));
    let mut random = Random::fresh("a_server_that_is_killed_loses_and_doubles_no_charge");
    let make = async |world: &World| {
        world.budget(&world.team, pb::Unit::Requests, pb::Window::Total, 1_000_000).await;
        [world.dollars(&world.tenant, LIMIT).await, world.dollars(&world.project, LIMIT * 3 / 4).await]
    };
    let (scene, budgets) = Scene::set(database_url, make).await;
    let mut sent = Vec::new();
    for _ in 0..rounds {
        round(&scene, &mut random, &mut sent).await;
        scene.books().await.check().await;
    }
    let (process, world) = scene.serve(&[]).await;
    for sent in &sent {
        let answer = world.charge(sent.asked.clone()).await;
        assert!(!sent.acknowledged || answer.status() == ChargeStatus::Replayed, "lost: {:?}", sent.asked);
    }
    let books = scene.books().await;
    books.check().await;
    let recorded = books.charges().await;
    let ids: Vec<&str> = recorded.iter().map(|charge| charge.id.as_str()).collect();
    for sent in &sent {
        assert_eq!(ids.iter().filter(|id| **id == sent.asked.charge_id).count(), 1, "once");
    }
    let expected: i64 = sent.iter().map(|sent| sent.asked.cost_nanos()).sum();
    assert_eq!(recorded.iter().map(|charge| charge.cost).sum::<i64>(), expected, "lost or doubled");
    assert!(sent.len() > usize::try_from(rounds).expect("small"), "there was something to lose");
    for budget in &budgets {
        assert_eq!(books.spent(budget).await, expected, "{budget}");
        assert_eq!(world.state(budget).await.spent, expected, "what the server says, too");
    }
    println!("{rounds} kills, {} charges", recorded.len());
    process.kill().await;
}
