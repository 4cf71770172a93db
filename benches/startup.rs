//! How long a server takes to start with a million keys, and how much memory each of them takes.
//!
//! The database is written first, in bulk. Each start is a process of its own, this program again, so that nothing but
//! the start is measured.

#![expect(clippy::cast_precision_loss, reason = "these are ratios of measurements")]

#[path = "harness/report.rs"]
mod report;
#[path = "harness/scene.rs"]
mod scene;
#[path = "harness/seed.rs"]
mod seed;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use report::{Report, percentile, show, size};
use scene::Scene;
use tokio::runtime::Runtime;
use tollreeve::{
    config::{Config, Options},
    domain::time::Clock as _,
    runtime::{Server, clock::SystemClock, keyring::Keyring},
    store::Db,
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Asks this program to start a server on a folder and say what that took.
const START: &str = "BENCH_START_ON";
const STARTS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Ok(folder) = std::env::var(START) {
        runtime.block_on(start(Path::new(&folder)));
        return;
    }
    let keys = size("BENCH_KEYS", 1_000_000, 2000);
    let mut report = Report::new("A start");
    report.note("keys", keys.to_string());
    let (times, each) = starts(&runtime, keys, |scene| scene);
    report.note("the fastest of three starts", show(times[0]));
    report.hold("until ready, the middle one", percentile(&times, 50).as_secs_f64(), " s", ..=3.0);
    report.hold("resident memory for each key", each, " bytes", ..=200.0);
    let (times, each) = starts(&runtime, keys, Scene::with_allowlists);
    report.note("until ready, each key with ten allowlist entries of its own", show(percentile(&times, 50)));
    report.note("resident memory for each of those", format!("{each:.0} bytes"));
    report.print();
}

/// The times that starts take with so many keys, in order, and the bytes for each key.
fn starts(runtime: &Runtime, keys: usize, changed: impl FnOnce(Scene) -> Scene) -> (Vec<Duration>, f64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    runtime.block_on(write(&config(folder.path()), keys, changed));
    let (mut times, mut sizes): (Vec<Duration>, Vec<i64>) = (0..STARTS).map(|_| start_elsewhere(folder.path())).unzip();
    times.sort_unstable();
    // How much of what it needed on the way the allocator has given back by then differs from start to start.
    sizes.sort_unstable();
    (times, percentile(&sizes, 50) as f64 / keys as f64)
}

fn config(folder: &Path) -> Config {
    let options =
        Options { listen: Some(([127, 0, 0, 1], 0).into()), data_dir: Some(folder.to_owned()), ..Options::default() };
    options.validate().expect("good settings")
}

async fn write(config: &Config, keys: usize, changed: impl FnOnce(Scene) -> Scene) {
    let (db, _exclusive) = Db::open(&config.database).await.expect("opens");
    let keyring = Keyring::open(&db, config, SystemClock.now()).await.expect("key files");
    // Few tenants: it is keys that are counted.
    let scene = changed(Scene::new(keys, 10_000, keyring.peppers));
    seed::write(&db, &scene, keys).await;
    db.close().await;
}

fn start_elsewhere(folder: &Path) -> (Duration, i64) {
    let program = std::env::current_exe().expect("oneself");
    let output = Command::new(program).env(START, folder).output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut next =
        || numbers.next().and_then(Result::ok).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (Duration::from_micros(next()), next().cast_signed())
}

/// Starts a server and prints how many microseconds and how many more bytes that took.
async fn start(folder: &Path) {
    let config = config(folder);
    let before = resident();
    let began = Instant::now();
    let server = Server::start(&config, Arc::new(SystemClock)).await.expect("starts");
    println!("{} {}", began.elapsed().as_micros(), resident() - before);
    server.stop().await.expect("stops");
}

/// Bytes of this process that are in memory.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse::<i64>().expect("a number") * 1024
}
