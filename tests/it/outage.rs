//! The database goes away and comes back: what can be decided is decided, what cannot be recorded is not acknowledged.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tollreeve::pb::tollreeve::v1::{self as pb, ChargeStatus};
use tonic::{Code, Status};

use crate::harness::{
    at_last,
    books::Books,
    client::{Client, assert_refused, reason},
    eventually,
    postgres::{self, Cluster},
    process::{self, Process, run},
    proxy::Proxy,
    server::{Env, options},
    world::{COST, World, account_token, import_prices, on_hold, on_key, unique},
};

async fn project(world: &World) -> Result<(), Status> {
    let project = Some(pb::Project::default());
    let request = pb::CreateProjectRequest {
        parent: world.workspace.clone(),
        project_id: unique("project"),
        project,
        ..pb::CreateProjectRequest::default()
    };
    world.operator.identity().create_project(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_postgres_stops_charges_and_changes_but_no_warm_decision() {
    let Some(mut cluster) = Cluster::start(&[]).await else { return };
    let env = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&env).await;
    let budget = world.dollars(&world.tenant, 1_000_000_000).await;
    for orderly in [true, false] {
        let mut holds = Vec::new();
        for _ in 0..20 {
            holds.push(world.hold(world.ask()).await);
        }
        let end_user = unique("user");
        world.dollars(&format!("{}/endUsers/{end_user}", world.tenant), 1_000).await;
        let spent = world.state(&budget).await.spent;
        if orderly {
            cluster.stop().await
        } else {
            cluster.crash().await
        }
        let mut refused = Vec::new();
        for hold in holds.drain(..4) {
            let asked = on_hold(&hold, 100);
            assert_refused(world.try_charge(asked.clone()).await, Code::Unavailable, "STORAGE_UNAVAILABLE");
            refused.push(asked);
        }
        assert_refused(project(&world).await, Code::Unavailable, "STORAGE_UNAVAILABLE");
        for _ in 0..20 {
            holds.push(world.hold(world.ask()).await);
        }
        let cold = pb::AuthorizeRequest { end_user: end_user.clone(), ..world.ask() };
        assert_refused(world.try_authorize(cold.clone()).await, Code::Unavailable, "STORAGE_UNAVAILABLE");
        cluster.resume(&[]).await;
        for asked in refused {
            let answer =
                eventually("charges are recorded again", async || world.try_charge(asked.clone()).await.ok()).await;
            let known = [ChargeStatus::Applied, ChargeStatus::Replayed].contains(&answer.status());
            assert!(known && answer.charged_nanos == 100, "{answer:?}");
        }
        eventually("changes are made again", async || project(&world).await.ok()).await;
        for hold in holds {
            assert_eq!(world.charge(on_hold(&hold, 100)).await.status(), ChargeStatus::Applied);
        }
        let hold = world.hold(cold).await;
        world.charge(on_hold(&hold, 0)).await;
        let state = world.state(&budget).await;
        assert_eq!((state.spent, state.held), (spent + 40 * 100, 0));
    }
    env.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_under_way_when_postgres_crashes_are_recorded_once_or_not_acknowledged() {
    let Some(mut cluster) = Cluster::start(&[]).await else { return };
    let env = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&env).await;
    let budget = world.dollars(&world.tenant, 1_000_000_000).await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                loop {
                    let asked = on_key(&world.key, 7);
                    let answer = world.try_charge(asked.clone()).await;
                    let gone = answer.is_err();
                    if let Err(status) = &answer {
                        // The second: its commit was under way, and nobody knows.
                        let told = ["STORAGE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&&*reason(status));
                        assert!(told, "{status:?}");
                    }
                    sent.push((asked, answer.is_ok()));
                    if gone {
                        return sent;
                    }
                }
            })
        })
        .collect();
    // Some charges of its own, so that the others are in full swing.
    for _ in 0..20 {
        world.charge(on_key(&world.key, 0)).await;
    }
    cluster.crash().await;
    cluster.resume(&[]).await;
    world.charge_until_recorded().await;
    cluster.crash().await;
    let mut sent = Vec::new();
    for caller in callers {
        sent.extend(caller.await.expect("no panic"));
    }
    cluster.resume(&[]).await;
    for (asked, acknowledged) in &sent {
        let answer = eventually("an answer", async || world.try_charge(asked.clone()).await.ok()).await;
        assert!(!acknowledged || answer.status() == ChargeStatus::Replayed, "lost: {asked:?}");
    }
    let total = 7 * i64::try_from(sent.len()).expect("few");
    assert_eq!(world.state(&budget).await.spent, total);
    env.end().await;
}

/// Callers that charge all the time, until told to stop; each gives what was recorded.
fn traffic(world: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<i64>> {
    async fn call(world: World, stop: Arc<AtomicBool>) -> i64 {
        let mut recorded = 0;
        while !stop.load(Ordering::SeqCst) {
            let asked = on_key(&world.key, 7);
            while world.try_charge(asked.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            recorded += 7;
        }
        recorded
    }
    (0..8).map(|_| tokio::spawn(call(world.clone(), Arc::clone(stop)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_other_end_is_gone_without_a_word_are_given_up() {
    let Some(cluster) = postgres::shared().await else { return };
    let url = cluster.database().await;
    let proxy = Proxy::to(cluster.socket()).await;
    let name = url.split(['/', '?']).nth(3).expect("a database");
    let env = Env::start(Some(&proxy.url(name))).await;
    let world = World::new(&env).await;
    let budget = world.dollars(&world.tenant, 1_000_000_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers = traffic(&world, &stop);
    for _ in 0..3 {
        // At a moment that has nothing to do with where the charges under way stand.
        at_last("changes are made", async || project(&world).await.ok()).await;
        proxy.lose();
        let asked = on_key(&world.key, 0);
        at_last("charges are recorded", async || world.try_charge(asked.clone()).await.ok()).await;
        at_last("calls are decided", async || world.try_authorize(world.ask()).await.ok()).await;
    }
    at_last("changes are made", async || project(&world).await.ok()).await;
    stop.store(true, Ordering::SeqCst);
    let mut recorded = 0;
    for caller in callers {
        recorded += caller.await.expect("no panic");
    }
    assert_eq!(world.state(&budget).await.spent, recorded);
    env.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_and_changes_use_the_same_few_connections_again() {
    let Some(cluster) = postgres::shared().await else { return };
    let env = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&env).await;
    for _ in 0..100 {
        world.charge(on_key(&world.key, 7)).await;
        project(&world).await.expect("made");
    }
    let books = env.books().await;
    let sql = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
    let (sessions,) = books.rows::<(i64,)>(sql).await[0];
    assert!(sessions < 40, "{sessions} connections were made");
    books.close().await;
    env.end().await;
}

impl World {
    /// Sends a charge of nothing until it is recorded.
    async fn charge_until_recorded(&self) {
        let asked = on_key(&self.key, 0);
        eventually("charges are recorded again", async || self.try_charge(asked.clone()).await.ok()).await;
    }
}

/// Sets how large a file of a process may grow: what it then cannot write is as on a disk that is full.
async fn largest_file(process: &Process, bytes: &str) {
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={}", process.id())).arg(format!("--fsize={bytes}:unlimited"));
    assert!(run(command).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_charges_and_changes_until_there_is_room_again() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        println!("skipped: prlimit is not installed");
        return;
    }
    let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
    let serve = process::program(folder.path(), None, &[]);
    let mut shell = Command::new("sh");
    // Without the trap the system would end the process with a signal.
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
    let process = Process::start(shell).await.expect("starts");
    let mut ask = process::command(&["operator-token", "--data-dir"]);
    ask.arg(folder.path());
    let token = String::from_utf8_lossy(&run(ask).await.stdout).trim().to_owned();
    let operator = Client::new(process.addr, Some(&token));
    import_prices(&operator).await;
    let world = World::made_by(&operator, "acme").await;
    let sidecar = operator.with_token(Some(&account_token(&operator, &world.account).await));
    let world = World { sidecar, ..world };
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let hold = world.hold(world.ask()).await;
    let other = world.hold(world.ask()).await;
    for _ in 0..3 {
        largest_file(&process, "4096").await;
        let asked = on_hold(&hold, 0);
        assert_refused(world.try_charge(asked.clone()).await, Code::Unavailable, "STORAGE_UNAVAILABLE");
        assert_refused(project(&world).await, Code::Unavailable, "STORAGE_UNAVAILABLE");
        let warm = world.hold(world.ask()).await;
        assert_eq!(world.state(&budget).await.held, 3 * COST);
        largest_file(&process, "unlimited").await;
        let unused = pb::ChargeRequest { r#final: Some(false), ..asked };
        world.charge(unused).await;
        world.charge(on_hold(&warm, 100)).await;
        project(&world).await.expect("a change");
    }
    world.charge(on_hold(&other, 100)).await;
    world.charge(on_hold(&hold, 100)).await;
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (500, 0));
    let books = Books::open(&options(folder.path(), None).validate().expect("good settings").database).await;
    books.check().await;
    process.kill().await;
}
