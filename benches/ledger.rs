//! How many charges a second become durable: through the group commit, against one transaction for each charge, on the
//! same database.
//!
//! That ratio is the disk's as much as ours: one transaction for each charge waits for the disk and nothing else, a group
//! hardly does. The bars were set where an `fdatasync` takes 3.2 ms. On a faster disk everything is measured once more with
//! each `fdatasync` slowed down to that, and held to the bars there.

#![expect(clippy::cast_precision_loss, reason = "these are ratios of measurements")]

#[path = "harness/cluster.rs"]
mod cluster;
#[path = "harness/machine.rs"]
mod machine;
#[path = "harness/report.rs"]
mod report;
#[path = "harness/scene.rs"]
mod scene;
#[path = "harness/seed.rs"]
mod seed;
#[path = "harness/slow_disk.rs"]
mod slow_disk;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::Cluster;
use report::{Report, show, size};
use scene::{MODEL, PROVIDER, Scene};
use tollreeve::{
    app::feed::Follower,
    domain::{
        change::Change,
        id::Id,
        key_secret::Pepper,
        meters::Metered,
        peppers::Peppers,
        permission::Permission,
        prices::Usage,
        time::{Clock, Timestamp},
    },
    engine::{
        Gate, GateParts,
        answer::{Answer, HoldView},
        charge::{ChargeAsk, ChargeStatus, ChargeSubject},
        hold_token::HoldKey,
        journal::{Entry, GrantAsk, Journal, Outcome, Posting},
        lease::Lease,
        question::{Credential, Mode, Question},
        timing::Timing,
    },
    runtime::clock::SystemClock,
    store::{Db, connect::Settings, ledger::Ledger, replicas::Member},
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an `fdatasync` took where the bars were set.
const REFERENCE: Duration = Duration::from_micros(3200);
/// Callers that charge at once.
const CALLERS: usize = 4096;
const KEYS: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut report = Report::new("Durable charges: in groups, against one transaction each");
    let fsync = runtime.block_on(async {
        let folder = tempfile::tempdir_in(place).expect("a folder");
        let fsync = machine::fsync(folder.path());
        report.note("fdatasync of 4 KiB appended", show(fsync));
        let settings = Settings::Sqlite { folder: folder.path().to_owned() };
        measure(&settings, "SQLite", 100.0, fsync, &mut report).await;
        match Cluster::start(place).await {
            Some(cluster) => {
                let settings = Settings::Postgres { url: cluster.url().into() };
                measure(&settings, "PostgreSQL", 50.0, fsync, &mut report).await;
            }
            None => report.note("PostgreSQL", "is not installed"),
        }
        fsync
    });
    report.print();
    if is_slow_enough(fsync) {
        return;
    }
    match slow_disk::once_more(place, REFERENCE.saturating_sub(fsync)) {
        Some(mut again) => assert!(again.status().expect("this program runs again").success()),
        None => println!("  not measured where the bars were set: there is no C compiler"),
    }
}

/// Whether the disk is as slow as where the bars were set, or nearly.
fn is_slow_enough(fsync: Duration) -> bool {
    fsync >= REFERENCE * 3 / 4
}

async fn measure(settings: &Settings, name: &str, bar: f64, fsync: Duration, report: &mut Report) {
    let seconds = Duration::from_millis(size("BENCH_MILLIS", 5000, 300) as u64);
    let (db, _claim) = Db::open(settings).await.expect("opens");
    let scene = Scene::new(KEYS, KEYS, Peppers::first(Pepper::new(&[1; 32])));
    seed::write(&db, &scene, KEYS).await;
    let journal = joined(&db, 7).await;
    let single = one_by_one(&journal, &scene, seconds / 2).await;
    let grouped = in_groups(&db, std::slice::from_ref(&journal), &scene, 0, seconds).await;
    let after = one_by_one(&journal, &scene, seconds / 2).await;
    if matches!(settings, Settings::Postgres { .. }) {
        let three = [journal, joined(&db, 8).await, joined(&db, 9).await];
        let own = in_groups(&db, &three, &scene, 0, seconds).await;
        let again = in_groups(&db, &three[..1], &scene, 0, seconds).await;
        let elsewhere = in_groups(&db, &three, &scene, 1, seconds).await;
        report.note(format!("{name}, in groups, three servers on the same budgets"), format!("{own:.0} /s"));
        report.hold("  against one server", own / f64::midpoint(grouped, again), "", 0.9..);
        report.note("  each charge at another server than its hold", format!("{elsewhere:.0} /s"));
        report.hold("  against at its own", elsewhere / own, "", 0.3..);
    }
    db.close().await;
    let single = f64::midpoint(single, after);
    report.note(format!("{name}, one transaction each"), format!("{single:.0} /s"));
    report.note(format!("{name}, in groups"), format!("{grouped:.0} /s"));
    if is_slow_enough(fsync) {
        report.hold(format!("{name}, in groups against one transaction each"), grouped / single, " times", bar..);
    } else {
        report
            .note(format!("{name}, in groups against one transaction each"), format!("{:.0} times", grouped / single));
    }
}

/// The ledger, for one server more.
async fn joined(db: &Db, boot: u128) -> Ledger {
    let boot = Id::from_bits(boot);
    let journal = Ledger::new(db.clone(), boot, Arc::new(SystemClock));
    let (identity, process) = (String::new(), String::new());
    let member = Member { boot, started: SystemClock.now(), identity, process, answers_for: Duration::from_mins(1) };
    journal.join(&member, |_| false).await.expect("joins");
    journal
}

/// Charges a second with one transaction each, two at a time: all wait for the same row, so more would not help.
async fn one_by_one(journal: &Ledger, scene: &Scene, span: Duration) -> f64 {
    let Some(Change::Budget(budget)) = scene.budgets().into_iter().next() else { panic!("a scene has budgets") };
    let (budget, period) = (budget.id, budget.window.period(SystemClock.now()));
    let ask = GrantAsk { budget, period, need: 1_000_000, want: 0, promised: 60, recall: false };
    let granted = journal.grant(&[ask]).await.expect("granted")[0].expect("room");
    let posting = Posting {
        budget,
        period,
        slice: granted.slice.id,
        in_slice: 1,
        of_hold: 0,
        usd: true,
        beyond: 0,
        held: 0,
        known: Some(0),
    };
    let began = Instant::now();
    let one = async || {
        let mut done = 0u32;
        while began.elapsed() < span {
            let entry = entry(scene, posting);
            let batch = journal.charge(&[&entry]).await.expect("written");
            assert_eq!(batch.posted.len(), 1);
            done += 1;
        }
        done
    };
    let (left, right) = tokio::join!(one(), one());
    f64::from(left + right) / began.elapsed().as_secs_f64()
}

/// A charge against one budget.
fn entry(scene: &Scene, posting: Posting) -> Entry {
    let (key, _) = scene.key(0);
    let now = SystemClock.now();
    Entry {
        tenant: key.tenant,
        charge_id: charge_id(now),
        body_hash: "0123456789abcdef0123456789abcdef".to_owned(),
        workspace: Some(key.workspace),
        project: key.project,
        key: Some(key.id),
        owner: key.owner,
        teams: Vec::new(),
        caller: scene.caller,
        end_user: String::new(),
        provider: PROVIDER.to_owned(),
        model: MODEL.to_owned(),
        price: 1,
        outcome: Outcome::Success,
        late: false,
        usage: Usage { input: 374, output: 44, requests: 1, ..Usage::default() },
        metered: Metered::default(),
        cost: 1_375_000,
        released: 0,
        hold: None,
        occurred: now,
        recorded: now,
        labels: String::new(),
        postings: vec![posting],
    }
}

/// As good clients make them: sorted by time.
fn charge_id(now: Timestamp) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:012x}-{:010x}", now.micros() / 1000, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Charges a second through the gates of servers: each is held first, by one server, and waits until it is durable, at the
/// one `apart` further.
async fn in_groups(db: &Db, journals: &[Ledger], scene: &Scene, apart: usize, span: Duration) -> f64 {
    let (mut gates, mut tasks) = (Vec::new(), Vec::new());
    for (n, journal) in journals.iter().enumerate() {
        let (gate, queues) = Gate::new(GateParts {
            journal: journal.clone(),
            peppers: Peppers::first(Pepper::new(&[1; 32])),
            hold_key: HoldKey::new(&[2; 32]),
            boot: Id::from_bits(7 + n as u128),
            timing: Timing::new(Duration::from_mins(1), Duration::ZERO),
            lease: Lease::for_good(),
            meter: Arc::new(()),
            clock: Arc::new(SystemClock),
        });
        let follower = Follower::load(db.clone(), Arc::clone(&gate), Arc::default(), SystemClock.now());
        let (_follower, _feed) = follower.await.expect("loads");
        tasks.push(tokio::spawn(gate.run_grants(queues.grants)));
        tasks.push(tokio::spawn(gate.run_charges(queues.charges)));
        gates.push(gate);
    }
    let keys: Arc<[String]> = (0..KEYS).map(|n| scene.key(n).1.expose().to_owned()).collect();
    let (caller, began) = (scene.caller, Instant::now());
    let warm = span / 4;
    let callers = (0..CALLERS).map(|number| {
        let (holds, charges) = (&gates[number % gates.len()], &gates[(number + apart) % gates.len()]);
        let (holds, charges, keys) = (Arc::clone(holds), Arc::clone(charges), Arc::clone(&keys));
        tokio::spawn(async move {
            let mut done = 0u64;
            while began.elapsed() < warm + span {
                let key = &keys[number % keys.len()];
                let now = SystemClock.now();
                let token = |answer: &Answer<'_>| answer.hold.as_ref().map(HoldView::token);
                let token = holds.authorize(caller, &question(key), now, token).await.expect("decides");
                let asked = charge(token.expect("allowed"), charge_id(now));
                let charged = charges.charge(caller, asked, SystemClock.now()).await.expect("charged");
                assert_eq!(charged.status, ChargeStatus::Applied);
                done += u64::from(began.elapsed() > warm);
            }
            done
        })
    });
    let mut done = 0;
    for caller in callers.collect::<Vec<_>>() {
        done += caller.await.expect("a caller");
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    done as f64 / (began.elapsed().as_secs_f64() - warm.as_secs_f64())
}

fn question(key: &str) -> Question<'_> {
    Question {
        stamp: None,
        request_id: "",
        credential: Credential::ApiKey(key),
        client_ip: None,
        origin: "",
        permission: Permission::ModelsInvoke,
        provider: PROVIDER,
        model: MODEL,
        endpoint: "",
        environment: "",
        project: "",
        end_user: "",
        estimate: Usage { input: 374, output: 256, requests: 1, ..Usage::default() },
        metered: Metered::default(),
        cost: None,
        mode: Mode::Hold,
        ttl: Duration::from_mins(1),
        min_revision: 0,
    }
}

fn charge(token: Vec<u8>, charge_id: String) -> ChargeAsk {
    ChargeAsk {
        stamp: None,
        charge_id,
        body_hash: "0123456789abcdef0123456789abcdef".to_owned(),
        subject: ChargeSubject::Hold(token),
        outcome: Outcome::Success,
        usage: Usage { input: 374, output: 44, requests: 1, ..Usage::default() },
        metered: Metered::default(),
        tier: None,
        cost: None,
        served_provider: String::new(),
        served_model: String::new(),
        last: true,
        extend: None,
        occurred: None,
        hold_age: None,
        project: String::new(),
        end_user: String::new(),
        labels: String::new(),
    }
}
