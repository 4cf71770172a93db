//! Three servers as processes on one PostgreSQL, under load through all of them, while everything goes wrong that can:
//! kills, pauses, broken and hanging connections, crashes of the database. Then the books.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::timeout;
use tollreeve::{
    pb::tollreeve::v1::{self as pb, ChargeStatus, DenialCode},
    runtime::{Server, clock::SystemClock},
};

use crate::harness::{
    at_last,
    books::Books,
    client::{Client, reason},
    eventually,
    postgres::Cluster,
    process::Process,
    proxy::Proxy,
    random::Random,
    server::options,
    world::{World, account_token, codes, import_prices, on_hold, on_key},
};

/// Set: how many rounds of faults.
const ROUNDS: &str = "TOLLREEVE_TEST_KILL_ROUNDS";
const SERVERS: usize = 3;
const SIDECARS: usize = 12;
/// Seconds that a hold lives.
const TTL: i64 = 2;
/// How much the limit grows with each round: less than what is asked for.
const ALLOWANCE: i64 = 8_000;
/// How long a sidecar waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    /// For longer than the others wait.
    Paused,
    Cut,
    /// Until the others have taken it for dead.
    Refused,
    /// Until the others have taken it for dead.
    Hanging,
    /// For less than that.
    HangingForAMoment,
    /// What happens to the database happens to all.
    DatabaseCrashed,
}

const FAULTS: [Fault; 7] = [
    Fault::Paused,
    Fault::Hanging,
    Fault::Refused,
    Fault::Killed,
    Fault::DatabaseCrashed,
    Fault::Cut,
    Fault::HangingForAMoment,
];

/// A server, its folder, and its wire to the database.
struct Seat {
    folder: TempDir,
    proxy: Proxy,
    process: Option<Process>,
}

/// What sidecars and watchers share.
struct Shared {
    /// The world through each server that runs.
    worlds: RwLock<Vec<World>>,
    budget: String,
    limit: AtomicI64,
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Charges of nothing, beside those of the sidecars.
    probes: AtomicUsize,
    /// Secrets of keys whose revocation was acknowledged.
    revoked: Mutex<Vec<String>>,
}

impl Shared {
    fn any(&self, random: &mut Random) -> World {
        random.pick(&self.worlds.read()).clone()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What has become of a charge.
struct Sent {
    asked: pb::ChargeRequest,
    status: ChargeStatus,
    overrun: i64,
}

struct Scene {
    database: String,
    cluster: Cluster,
    keys: TempDir,
    seats: Vec<Seat>,
    shared: Arc<Shared>,
}

impl Scene {
    async fn set(cluster: Cluster) -> Self {
        let url = cluster.database().await;
        let keys = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let mut options = options(keys.path(), Some(&url));
        options.keys_dir = Some(keys.path().to_owned());
        let config = options.validate().expect("good settings");
        let server = Server::start(&config, Arc::new(SystemClock)).await.expect("starts");
        let token = server.operator_token(Duration::from_hours(1)).expect("a token");
        let operator = Client::new(server.addr(), Some(&token));
        import_prices(&operator).await;
        let world = World::made_by(&operator, "acme").await;
        let sidecar = operator.with_token(Some(&account_token(&operator, &world.account).await));
        let world = World { sidecar, ..world };
        let budget = world.dollars(&world.tenant, ALLOWANCE).await;
        world.budget(&world.team, pb::Unit::Requests, pb::Window::Hour, 1_000_000).await;
        server.stop().await.expect("stops");
        let shared = Shared {
            worlds: RwLock::new(vec![world; SERVERS]),
            budget,
            limit: AtomicI64::new(ALLOWANCE),
            stop: AtomicBool::new(false),
            acknowledged: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            revoked: Mutex::default(),
        };
        let name = url.split('/').nth(3).and_then(|rest| rest.split('?').next()).expect("a name").to_owned();
        let mut scene = Self { database: name, cluster, keys, seats: Vec::new(), shared: Arc::new(shared) };
        for n in 0..SERVERS {
            let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
            let proxy = Proxy::to(scene.cluster.socket()).await;
            scene.seats.push(Seat { folder, proxy, process: None });
            scene.serve(n).await;
        }
        scene
    }

    async fn serve(&mut self, n: usize) {
        let keys = self.keys.path().to_str().expect("a path");
        let more = ["--max-stale-seconds", "2", "--hold-grace-seconds", "17", "--keys-dir", keys];
        let seat = &mut self.seats[n];
        let process = Process::serve(seat.folder.path(), Some(&seat.proxy.url(&self.database)), &more).await;
        let mut worlds = self.shared.worlds.write();
        worlds[n] = worlds[n].through(process.addr);
        seat.process = Some(process);
    }

    fn process(&self, n: usize) -> &Process {
        self.seats[n].process.as_ref().expect("it runs")
    }

    /// A row of a statement, past every server; `None` while the database does not answer.
    async fn ask(&self, sql: &'static str, n: usize) -> Option<i64> {
        let id = self.seats[n].process.as_ref().map(|process| format!("% {} %", process.id()));
        let mut connection = PgConnection::connect(&self.cluster.url(&self.database)).await.ok()?;
        let query = sqlx::query_as::<_, (i64,)>(sql).bind(id.unwrap_or_default());
        let answer = timeout(PATIENCE, query.fetch_one(&mut connection)).await.ok()?.ok()?;
        let _ = connection.close().await;
        Some(answer.0)
    }

    /// Whether a server has a place among the others.
    async fn is_live(&self, n: usize) -> Option<bool> {
        let sql = "SELECT COUNT(*) FROM replicas WHERE state = 1 AND process LIKE $1";
        Some(self.ask(sql, n).await? > 0)
    }

    async fn until_taken_for_dead(&self, n: usize) {
        at_last("the others take it for dead", async || self.is_live(n).await.filter(|live| !live)).await;
    }

    /// Waits until all servers are there again, and charges are acknowledged again.
    async fn until_well(&self) {
        at_last("all have a place", async || {
            for n in 0..SERVERS {
                self.is_live(n).await.filter(|live| *live)?;
            }
            let sql = "SELECT COUNT(*) FROM replicas WHERE state = 1 AND $1 <> ''";
            (self.ask(sql, 0).await? == 3).then_some(())
        })
        .await;
        for world in self.worlds() {
            let asked = on_key(&world.key, 0);
            let recorded = async || timeout(PATIENCE, world.try_charge(asked.clone())).await.ok()?.ok();
            eventually("each records charges", recorded).await;
            self.shared.probes.fetch_add(1, Ordering::SeqCst);
            let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..brief(world.ask_for(0)) };
            let decided = async || timeout(PATIENCE, world.try_authorize(asked.clone())).await.ok()?.ok();
            eventually("each decides", decided).await;
        }
        let before = self.shared.acknowledged.load(Ordering::SeqCst);
        eventually("charges are recorded", async || {
            (self.shared.acknowledged.load(Ordering::SeqCst) > before + 20).then_some(())
        })
        .await;
    }

    fn worlds(&self) -> Vec<World> {
        self.shared.worlds.read().clone()
    }

    async fn suffer(&mut self, fault: Fault, n: usize) {
        match fault {
            Fault::Killed => {
                let process = self.seats[n].process.take().expect("it runs");
                process.kill().await;
                self.serve(n).await;
            }
            Fault::Paused => {
                self.process(n).pause();
                self.until_taken_for_dead(n).await;
                self.process(n).resume();
            }
            Fault::Cut => self.seats[n].proxy.cut(),
            Fault::Refused => {
                self.seats[n].proxy.refuse();
                self.until_taken_for_dead(n).await;
                self.seats[n].proxy.heal();
            }
            Fault::Hanging => {
                self.seats[n].proxy.hang();
                self.until_taken_for_dead(n).await;
                self.seats[n].proxy.heal();
            }
            Fault::HangingForAMoment => {
                self.seats[n].proxy.hang();
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                self.seats[n].proxy.heal();
            }
            Fault::DatabaseCrashed => {
                self.cluster.crash().await;
                self.cluster.resume(&[]).await;
            }
        }
    }

    /// What comes with a round: more money.
    async fn raise(&self) {
        let limit = self.shared.limit.fetch_add(ALLOWANCE, Ordering::SeqCst) + ALLOWANCE;
        eventually("the limit is raised", async || {
            for world in self.worlds() {
                let request = pb::UpdateBudgetRequest {
                    name: self.shared.budget.clone(),
                    limit: Some(limit),
                    ..Default::default()
                };
                let answer = timeout(PATIENCE, world.operator.budgets().update_budget(request)).await;
                if matches!(answer, Ok(Ok(_))) {
                    return Some(());
                }
            }
            None
        })
        .await;
    }
}

/// With a hold that is soon over.
fn brief(asked: pb::AuthorizeRequest) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { hold_ttl: Some(prost_types::Duration { seconds: TTL, nanos: 0 }), ..asked }
}

/// A sidecar: calls through whoever answers, and sends each charge until it is acknowledged.
async fn sidecar(shared: Arc<Shared>, mut random: Random) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !shared.stopped() {
        let world = shared.any(&mut random);
        let begun = Instant::now();
        let asked = brief(world.ask_for(random.within(1, 90)));
        let Ok(Ok(answer)) = timeout(PATIENCE, world.try_authorize(asked.clone())).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(hold) = answer.hold else {
            assert_eq!(codes(&answer), [DenialCode::BudgetExhausted]);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        for told in &answer.budgets {
            assert!(told.spent + told.held <= told.limit, "{told:?}");
        }
        let held = hold.amounts[0].amount;
        let mut left = held;
        if random.once_in(3) {
            let cost = random.within(0, left);
            left -= cost;
            let part = pb::ChargeRequest { r#final: Some(false), ..on_hold(&hold, cost) };
            sent.push(until_acknowledged(&shared, &mut random, part, begun).await);
        }
        let last = on_hold(&hold, random.within(0, left));
        sent.push(until_acknowledged(&shared, &mut random, last, begun).await);
    }
    sent
}

async fn until_acknowledged(shared: &Shared, random: &mut Random, asked: pb::ChargeRequest, begun: Instant) -> Sent {
    loop {
        let world = shared.any(random);
        let age = begun.elapsed();
        let hold_age = Some(prost_types::Duration {
            seconds: i64::try_from(age.as_secs()).expect("short"),
            nanos: i32::try_from(age.subsec_nanos()).expect("less than a second"),
        });
        let answer = timeout(PATIENCE, world.try_charge(pb::ChargeRequest { hold_age, ..asked.clone() })).await;
        match answer {
            Ok(Ok(answer)) => {
                assert_eq!(answer.charged_nanos, asked.cost_nanos());
                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                if random.once_in(5) {
                    // The answer was lost, as far as the sidecar knows.
                    let again = timeout(PATIENCE, shared.any(random).try_charge(asked.clone())).await;
                    if let Ok(Ok(again)) = again {
                        assert_eq!(again.status(), ChargeStatus::Replayed, "an acknowledged charge is on record");
                    }
                }
                return Sent { asked, status: answer.status(), overrun: answer.overrun_nanos };
            }
            Ok(Err(status)) => {
                // Of the transport, or of a server that cannot tell.
                let transient = reason(&status).is_empty() || status.code() == tonic::Code::Unavailable;
                assert!(transient, "{status:?}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes keys and revokes them: once that is acknowledged, no server allows one of them.
async fn revoke(shared: Arc<Shared>, mut random: Random) -> usize {
    let mut count = 0;
    while !shared.stopped() {
        let world = shared.any(&mut random);
        let key = pb::Key { owner: world.user.clone(), ..pb::Key::default() };
        let request = pb::CreateKeyRequest { parent: world.workspace.clone(), key: Some(key), ..Default::default() };
        let Ok(Ok(made)) = timeout(PATIENCE, world.operator.keys().create_key(request)).await else { continue };
        let made = made.into_inner();
        let name = made.key.expect("a key").name;
        let world = shared.any(&mut random);
        let request = pb::RevokeKeyRequest { name, reason: String::new() };
        let Ok(Ok(_)) = timeout(4 * PATIENCE, world.operator.keys().revoke_key(request)).await else { continue };
        shared.revoked.lock().push(made.secret.clone());
        count += 1;
        let worlds = shared.worlds.read().clone();
        let older = random.pick(&shared.revoked.lock()).clone();
        for secret in [&made.secret, &older] {
            let calls = worlds.iter().map(|world| async {
                let asked =
                    pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..brief(world.ask_with(secret)) };
                if let Ok(Ok(answer)) = timeout(PATIENCE, world.try_authorize(asked)).await {
                    // Beside it perhaps that there is no money left.
                    assert!(codes(&answer).contains(&DenialCode::KeyRevoked), "after the acknowledgement: {answer:?}");
                }
            });
            futures_util::future::join_all(calls).await;
        }
    }
    count
}

/// Reads the books past every server, as long as the database answers.
async fn watch(url: String, shared: Arc<Shared>) -> usize {
    let mut looks = 0;
    while !shared.stopped() {
        let Ok(mut connection) = PgConnection::connect(&url).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let sql = "SELECT
                (SELECT COUNT(*) FROM budget_periods WHERE allocated > ceiling OR allocated < settled OR ceiling > $1 AND cap <= $1),
                (SELECT COUNT(*) FROM slices WHERE spent > granted),
                (SELECT COUNT(*) FROM charges WHERE NOT late AND overrun_nanos > 0)";
        while let Ok((periods, slices, overruns)) =
            sqlx::query_as::<_, (i64, i64, i64)>(sql).bind(1_000_000_000_i64).fetch_one(&mut connection).await
        {
            assert_eq!((periods, slices, overruns), (0, 0, 0), "the books, while charges are written");
            looks += 1;
            if shared.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_to_which_everything_happens_lose_and_double_nothing_and_keep_the_limit() {
    let rounds = std::env::var(ROUNDS).ok().map_or(1, |rounds| rounds.parse().expect("a number"));
    let Some(cluster) = Cluster::start(&[]).await else { return };
    let mut random = Random::fresh("three_servers_to_which_everything_happens");
    let mut scene = Scene::set(cluster).await;
    let shared = Arc::clone(&scene.shared);
    let sidecars: Vec<_> = (0..SIDECARS).map(|_| tokio::spawn(sidecar(Arc::clone(&shared), random.fork()))).collect();
    let revoker = tokio::spawn(revoke(Arc::clone(&shared), random.fork()));
    let watcher = tokio::spawn(watch(scene.cluster.url(&scene.database), Arc::clone(&shared)));
    let began = Instant::now();
    for round in 0..rounds {
        let mut faults = FAULTS.to_vec();
        while !faults.is_empty() {
            let fault = faults.swap_remove(usize::try_from(random.next() % faults.len() as u64).expect("small"));
            let n = usize::try_from(random.next() % SERVERS as u64).expect("small");
            println!("{:?}: round {round}: {fault:?} {n}", began.elapsed());
            scene.raise().await;
            scene.until_well().await;
            scene.suffer(fault, n).await;
        }
    }
    scene.raise().await;
    scene.until_well().await;
    shared.stop.store(true, Ordering::SeqCst);
    let mut sent = Vec::new();
    for sidecar in sidecars {
        sent.extend(sidecar.await.expect("no panic"));
    }
    let revoked = revoker.await.expect("no revoked key is allowed");
    let looks = watcher.await.expect("the books are in order all the time");
    println!("{:?}: {} charges, {revoked} revocations, {looks} looks", began.elapsed(), sent.len());
    scene.settle(&sent).await;
    println!("{:?}: at the end", began.elapsed());
}

impl Scene {
    /// Insists that everything is on record once, and that nothing stays set aside.
    async fn settle(mut self, sent: &[Sent]) {
        let url = self.cluster.url(&self.database);
        let config = options(self.keys.path(), Some(&url)).validate().expect("good settings");
        let books = Books::open(&config.database).await;
        books.check().await;
        let recorded = books.charges().await;
        for sent in sent {
            let mut own = recorded.iter().filter(|charge| charge.id == sent.asked.charge_id);
            let charge = own.next().unwrap_or_else(|| panic!("lost: {:?}", sent.asked));
            assert!(own.next().is_none() && charge.cost == sent.asked.cost_nanos(), "doubled: {charge:?}");
            assert!(charge.late || charge.lines.iter().all(|line| line.overrun == 0), "punctual, and past the limit");
            assert!(sent.overrun == 0 || charge.late, "{:?} without a reason", sent.status);
        }
        assert_eq!(recorded.len(), sent.len() + self.shared.probes.load(Ordering::SeqCst), "nothing that nobody sent");
        let spent = books.spent(&self.shared.budget).await;
        assert_eq!(spent, sent.iter().map(|sent| sent.asked.cost_nanos()).sum::<i64>());
        let overrun: i64 = books.periods().await.values().map(|book| book.overrun).sum();
        let limit = self.shared.limit.load(Ordering::SeqCst);
        println!("{} late, {overrun} past the limit", recorded.iter().filter(|charge| charge.late).count());
        assert!(spent - overrun <= limit);
        at_last("what dead servers had is given back", async || {
            (self.ask("SELECT COUNT(*) FROM slices WHERE state = 2 AND $1 <> ''", 0).await? == 0).then_some(())
        })
        .await;
        let all = self.shared.limit.load(Ordering::SeqCst) - (spent - overrun) - overrun;
        if all > 0 {
            for world in self.worlds() {
                let hold = eventually("all the rest is there for whoever asks", async || {
                    let asked = brief(world.ask_for(all));
                    world.try_authorize(asked).await.ok()?.hold
                })
                .await;
                assert_eq!(world.charge(on_hold(&hold, 0)).await.status(), ChargeStatus::Applied);
            }
        }
        books.check().await;
        books.close().await;
        for seat in &mut self.seats {
            seat.process.take().expect("it runs").kill().await;
        }
    }
}
