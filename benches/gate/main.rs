//! What a call of the gate costs over gRPC, against an empty service with messages of the same size.
//!
//! Servers run on one core and callers on the other, in turns within one run. What counts are the ratios.

#![expect(clippy::cast_precision_loss, reason = "these are ratios of measurements")]

mod http2;
#[path = "../harness/report.rs"]
mod report;
#[path = "../harness/scene.rs"]
mod scene;
#[path = "../harness/seed.rs"]
mod seed;
mod serve;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http2::{Connection, Target};
use prost::Message as _;
use report::{Report, percentile, show, size};
use scene::{MODEL, PROVIDER};
use serve::{Blob, EMPTY, Peer};
use tollreeve::pb::tollreeve::v1::{self as pb, authorize_request::Credential, charge_request::Subject};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AUTHORIZE: &str = "/tollreeve.v1.GateService/Authorize";
const CHARGE: &str = "/tollreeve.v1.GateService/Charge";
/// Connections, and calls under way on each.
const LOAD: (usize, usize) = (8, 32);
/// The same when calls wait for the disk.
const WAITING: (usize, usize) = (16, 256);

fn main() {
    if let Ok(what) = std::env::var(serve::SERVE) {
        return serve::serve(&what);
    }
    if serve::pinning() {
        let oneself = std::process::id().to_string();
        let _ = Command::new("taskset").args(["-cp", "1", &oneself]).output();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    runtime.block_on(compare(folder.path()));
}

async fn compare(folder: &Path) {
    let gate = Peer::start("gate", folder.to_str().expect("a path"));
    let keys = fs::read_to_string(folder.join("keys.txt")).expect("keys");
    let questions = Questions { keys: keys.lines().map(str::to_owned).collect(), count: Cell::new(0) };
    let (asked, answered) = questions.sizes(&gate).await;
    let threads = Peer::start("threads", &answered.to_string());
    let tokio = Peer::start("tokio", &answered.to_string());
    let mut sides = [
        Side::new(&gate, AUTHORIZE, &questions, asked),
        Side::new(&threads, EMPTY, &questions, asked),
        Side::new(&tokio, EMPTY, &questions, asked),
    ];
    let rounds = size("BENCH_ROUNDS", 6, 1);
    let span = Duration::from_millis(size("BENCH_MILLIS", 1000, 200) as u64);
    let charges = size("BENCH_CHARGES", 30_000, 500);
    let mut durable = Vec::new();
    // Until as many holds live as ever will: memory that a server takes for the first time is not what is measured.
    sides[0].load(span * 5).await;
    sides[0].forget();
    for _ in 0..rounds {
        for side in &mut sides {
            side.load(span).await;
            side.one_by_one(span / 4).await;
        }
        durable.push(charge(&gate, &questions, charges).await);
    }
    print(&mut sides, &mut durable, (asked, answered));
}

fn print(sides: &mut [Side<'_>; 3], charged: &mut [f64], (asked, answered): (usize, usize)) {
    let mut report = Report::new("Authorize over gRPC, against an empty service with messages of the same size");
    report.note("bytes of a request, of an answer", format!("{asked}, {answered}"));
    let names = ["Authorize", "empty, threads", "empty, tokio::main"];
    for (side, name) in sides.iter_mut().zip(names) {
        side.times.sort_unstable();
        let (cpu, c1) = (side.cpu_each() * 1e6, show(percentile(&side.times, 50)));
        report.note(name, format!("{:.0} /s, {cpu:.1} us of the server's CPU, alone {c1}", side.pace()));
    }
    let [gate, threads, tokio] = sides;
    let c1 = |side: &Side<'_>| percentile(&side.times, 50).as_secs_f64();
    report.hold("requests/s, against threads", gate.against(threads), "", 0.85..);
    report.hold("CPU of a call, against threads", gate.cpu_each() / threads.cpu_each(), "", ..=1.2);
    report.hold("one call alone, against threads", c1(gate) / c1(threads), "", ..=1.15);
    report.hold("requests/s, against tokio::main", gate.against(tokio), "", 1.0..);
    for (charged, empty) in charged.iter_mut().zip(&threads.paces) {
        *charged /= empty;
    }
    charged.sort_unstable_by(f64::total_cmp);
    report.hold("durable charges/s, against threads' empty calls/s", percentile(charged, 50), "", 0.4..);
    report.print();
}

/// What is asked of the gate.
struct Questions {
    keys: Vec<String>,
    count: Cell<usize>,
}

impl Questions {
    /// The next one, which nobody has asked before.
    fn next(&self, hold_seconds: i64) -> Vec<u8> {
        let n = self.count.get();
        self.count.set(n + 1);
        let question = pb::AuthorizeRequest {
            request_id: format!("{n:026}"),
            credential: Some(Credential::ApiKey(self.keys[n * 7919 % self.keys.len()].clone())),
            target: Some(pb::Target {
                provider: PROVIDER.into(),
                model: MODEL.into(),
                endpoint: "/v1/chat/completions".into(),
                environment: "production-0".into(),
                ..pb::Target::default()
            }),
            estimate: Some(pb::Estimate {
                requests: 1,
                input_tokens: 374,
                max_output_tokens: 256,
                ..pb::Estimate::default()
            }),
            hold_ttl: Some(prost_types::Duration { seconds: hold_seconds, nanos: 0 }),
            ..pb::AuthorizeRequest::default()
        };
        question.encode_to_vec()
    }

    /// The sizes of a question and of its answer, which is looked at. Opens every budget.
    async fn sizes(&self, gate: &Peer) -> (usize, usize) {
        let target = Target { addr: gate.addr, path: AUTHORIZE, token: gate.token.clone() };
        let mut connection = Connection::open(&target).await.expect("connects");
        let mut answer = Bytes::new();
        for _ in 0..self.keys.len() {
            let mut question = Some(self.next(1));
            let send = |message: &mut Vec<u8>| question.take().is_some_and(|question| message.write_all(&question));
            let far = Instant::now() + Duration::from_mins(1);
            connection.call(1, far, send, |body| answer = Bytes::copy_from_slice(body)).await.expect("answers");
            let read = pb::AuthorizeResponse::decode(answer.clone()).expect("an answer");
            assert_eq!(read.decision(), pb::Decision::Allow, "{:?}", read.denials);
            assert_eq!(read.budgets.len(), 5);
        }
        (self.next(1).len(), answer.len())
    }
}

/// Adds bytes and says that it did.
trait WriteAll {
    fn write_all(&mut self, bytes: &[u8]) -> bool;
}

impl WriteAll for Vec<u8> {
    fn write_all(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes);
        true
    }
}

/// One of the servers, and what was measured of it.
struct Side<'a> {
    peer: &'a Peer,
    target: Target,
    questions: &'a Questions,
    blob: Vec<u8>,
    /// Calls, seconds and processor seconds under load.
    loaded: (f64, f64, f64),
    /// Calls a second, round by round.
    paces: Vec<f64>,
    /// Times of calls alone.
    times: Vec<Duration>,
}

impl<'a> Side<'a> {
    fn new(peer: &'a Peer, path: &'static str, questions: &'a Questions, size: usize) -> Self {
        let target = Target { addr: peer.addr, path, token: peer.token.clone() };
        let blob = Blob::of_size(size).encode_to_vec();
        assert_eq!(blob.len(), size);
        Self { peer, target, questions, blob, loaded: (0.0, 0.0, 0.0), paces: Vec::new(), times: Vec::new() }
    }

    fn message(&self, message: &mut Vec<u8>) -> bool {
        // The empty service is asked something that cost as much to make: the caller's pace must not depend on whom it
        // calls.
        let question = self.questions.next(1);
        message.write_all(if self.target.path == EMPTY { &self.blob } else { &question })
    }

    async fn load(&mut self, span: Duration) {
        let mut connections = Vec::new();
        for _ in 0..LOAD.0 {
            connections.push(Connection::open(&self.target).await.expect("connects"));
        }
        for (span, counts) in [(span / 5, false), (span, true)] {
            let (began, cpu) = (Instant::now(), self.peer.cpu());
            let calls = connections
                .iter_mut()
                .map(|connection| connection.call(LOAD.1, began + span, |message| self.message(message), |_| ()));
            let calls: usize = join_all(calls).await.into_iter().map(|calls| calls.expect("answers")).sum();
            if counts {
                let (seconds, cpu) = (span.as_secs_f64(), self.peer.cpu() - cpu);
                self.paces.push(calls as f64 / seconds);
                let (all, all_seconds, all_cpu) = self.loaded;
                self.loaded = (all + calls as f64, all_seconds + seconds, all_cpu + cpu);
            }
        }
    }

    async fn one_by_one(&mut self, span: Duration) {
        let mut connection = Connection::open(&self.target).await.expect("connects");
        let began = Instant::now();
        let mut times = Vec::new();
        while began.elapsed() < span {
            times.extend(connection.time(100, |message| self.message(message)).await.expect("answers"));
        }
        self.times.extend(times);
    }

    /// Begins anew.
    fn forget(&mut self) {
        self.loaded = (0.0, 0.0, 0.0);
        self.paces.clear();
    }

    fn pace(&self) -> f64 {
        self.loaded.0 / self.loaded.1
    }

    fn cpu_each(&self) -> f64 {
        self.loaded.2 / self.loaded.0
    }

    /// The pace against another's, in the middle of the rounds.
    fn against(&self, other: &Side<'_>) -> f64 {
        let mut ratios: Vec<f64> = self.paces.iter().zip(&other.paces).map(|(one, other)| one / other).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        percentile(&ratios, 50)
    }
}

/// Holds many calls, then charges them all at once: how many charges a second became durable.
async fn charge(gate: &Peer, questions: &Questions, charges: usize) -> f64 {
    let tokens = RefCell::new(VecDeque::new());
    let ask = |path| Target { addr: gate.addr, path, token: gate.token.clone() };
    let far = Instant::now() + Duration::from_mins(1);
    let mut connection = Connection::open(&ask(AUTHORIZE)).await.expect("connects");
    let mut left = charges;
    let send = |message: &mut Vec<u8>| {
        left = left.saturating_sub(1);
        left > 0 && message.write_all(&questions.next(60))
    };
    let keep = |body: &[u8]| {
        let answer = pb::AuthorizeResponse::decode(Bytes::copy_from_slice(body)).expect("an answer");
        tokens.borrow_mut().push_back(charge_message(questions, answer));
    };
    connection.call(LOAD.1, far, send, keep).await.expect("answers");
    let total = tokens.borrow().len();
    let mut connections = Vec::new();
    for _ in 0..WAITING.0 {
        connections.push(Connection::open(&ask(CHARGE)).await.expect("connects"));
    }
    let send = |message: &mut Vec<u8>| {
        let charge = tokens.borrow_mut().pop_front();
        charge.is_some_and(|charge| message.write_all(&charge))
    };
    let began = Instant::now();
    let calls = connections.iter_mut().map(|connection| connection.call(WAITING.1, far, send, |_| ()));
    let done: usize = join_all(calls).await.into_iter().map(|calls| calls.expect("answers")).sum();
    assert_eq!(done, total);
    total as f64 / began.elapsed().as_secs_f64()
}

fn charge_message(questions: &Questions, answer: pb::AuthorizeResponse) -> Vec<u8> {
    let n = questions.count.get();
    questions.count.set(n + 1);
    let charge = pb::ChargeRequest {
        charge_id: format!("{n:026}"),
        subject: Some(Subject::HoldToken(answer.hold.expect("allowed").token)),
        usage: Some(pb::Usage { input_tokens: 374, output_tokens: 44, ..pb::Usage::default() }),
        ..pb::ChargeRequest::default()
    };
    charge.encode_to_vec()
}
