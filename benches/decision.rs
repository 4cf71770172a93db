//! How long a decision takes in process, with a thousand keys and with a million.
//!
//! Each decision is a whole one: the key is parsed and its secret checked, and five hard budgets are held, all or none. The
//! hold's token is made by whoever sends the answer on; what that adds is told beside. Keys are chosen at random. Holds
//! end by their time, between measurements.

#[path = "harness/report.rs"]
mod report;
#[path = "harness/scene.rs"]
mod scene;

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::AtomicI64, atomic::Ordering},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use report::{Report, percentile, show, size};
use scene::{MODEL, PROVIDER, Random, Scene};
use sha2::Sha256;
use tokio::runtime::Runtime;
use tollreeve::{
    domain::{
        bindings::Principal,
        change::Change,
        id::{BootId, BudgetId, SessionId},
        key_secret::{KeyHash, KeySecret, Pepper, RANDOM_BYTES},
        keys::Key,
        meters::Metered,
        peppers::{PepperVersion, Peppers},
        permission::Permission,
        price_versions::DatedPrice,
        prices::Usage,
        signing_keys::SigningKey,
        time::{Clock, Timestamp},
        tokens::Basis,
        window::Period,
    },
    engine::{
        Gate, GateParts,
        accounts::{Granted, SliceState},
        answer::{Answer, HoldView},
        hold_token::HoldKey,
        journal::{
            Batch, Beat, Books, Confirmed, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Known, Peer,
        },
        lease::Lease,
        places::Placed,
        question::{Credential, Mode, Question},
        timing::Timing,
        tokens::{TokenKeys, Verified},
    },
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Noon, so that no day ends within the run.
const NOON: i64 = 1_767_268_800_000_000;
/// Time between two decisions, in microseconds: holds of a second are then ten thousand at once.
const STEP: i64 = 100;
/// A second, in decisions.
const SECOND: usize = 10_000;
/// Keys that are asked for, in turn.
const CHOSEN: usize = 100_000;
/// Sessions that have ended within the time for which their tokens were good.
const ENDED: usize = 10_000;
/// Tokens that are checked.
const TOKENS: usize = 10_000;
/// Bindings that a tenant has beside those of the people with keys.
const BINDINGS: usize = 10_000;

fn main() {
    let mut report = Report::new("A decision in process: five hard budgets held, all or none");
    let most = size("BENCH_KEYS", 1_000_000, 1000);
    let decisions = size("BENCH_DECISIONS", 500_000, 2000);
    for keys in [1000, 100_000, 1_000_000].into_iter().filter(|keys| *keys <= most) {
        let held = |answer: &Answer<'_>| answer.hold.as_ref().map_or(0, |hold| hold.amounts().count());
        let times = decide(&mut Bench::new(keys, 0), keys, decisions, held);
        let (median, tail) = (percentile(&times, 50), percentile(&times, 99));
        report.hold(format!("{keys} keys, median"), micros(median), " us", ..=2.0);
        report.note(format!("{keys} keys, 99 of 100 within"), show(tail));
        if keys == 1000 {
            let bound = percentile(&decide(&mut Bench::new(keys, BINDINGS), keys, decisions, held), 50);
            let what = format!("{keys} keys, with {BINDINGS} further bindings in the tenant, against without");
            report.hold(what, ratio(bound, median), "", ..=1.1);
        }
        if keys == most {
            let sealed = |answer: &Answer<'_>| {
                black_box(answer.hold.as_ref().map(HoldView::token));
                held(answer)
            };
            let sealed = percentile(&decide(&mut Bench::new(keys, 0), keys, decisions, sealed), 50);
            report.note(format!("{keys} keys, median, with the hold's token made"), show(sealed));
            let yardstick = hmac_time(decisions / 5) + look_up_time(keys, decisions);
            report.note("an HMAC-SHA-256 of 300 bytes and a look-up among as many", show(yardstick));
            report.note("a decision costs as much as so many of these", format!("{:.2}", ratio(median, yardstick)));
            let listed = percentile(&decide(&mut Bench::listed(keys), keys, decisions, held), 50);
            report.hold(format!("{keys} keys, each with ten allowlist entries, median"), micros(listed), " us", ..=2.0);
        }
    }
    sessions(&mut report, decisions);
    guessing(&mut report, most, decisions / 5);
    report.note("of these figures, the clock's own", show(clock_time()));
    report.print();
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// The times of decisions on random keys, in order; `tell` is what is made of each answer, and says how much is held.
fn decide(
    bench: &mut Bench,
    keys: usize,
    decisions: usize,
    tell: impl Fn(&Answer<'_>) -> usize + Copy + Send + Sync,
) -> Vec<Duration> {
    let mut random = Random::new(9);
    let texts: Vec<String> =
        (0..CHOSEN.min(decisions)).map(|_| bench.scene.key(below(&mut random, keys)).1.expose().to_owned()).collect();
    // The first round opens the budgets.
    for text in &texts {
        let _ = bench.decide(Credential::ApiKey(text), tell);
    }
    let ask = |text: &String| bench.decide(Credential::ApiKey(text), tell);
    let mut times: Vec<Duration> = texts.iter().cycle().take(decisions).map(ask).collect();
    times.sort_unstable();
    times
}

/// What it costs a call that its token rests on a session: those that have ended are looked through on every one, once the
/// signature of the token is known. Decisions with and without one take turns.
fn sessions(report: &mut Report, decisions: usize) {
    let mut bench = Bench::new(1000, 0);
    let session = |n: usize| Basis::Session(SessionId::from_bits((n as u128) << 32 | 7));
    let until = Timestamp::from_micros(i64::MAX / 2);
    let ended = (0..ENDED).map(|n| Change::BasisEnded { basis: session(TOKENS + n), until }).collect();
    bench.gate.load(ended).expect("loads");
    let held = |answer: &Answer<'_>| answer.hold.as_ref().map_or(0, |hold| hold.amounts().count());
    let users: Vec<Principal> = (0..50).map(|n| bench.scene.key(n).0.owner).collect();
    let mut times = [Vec::with_capacity(decisions), Vec::with_capacity(decisions)];
    for n in 0..decisions + TOKENS {
        for with in [n % 2, 1 - n % 2] {
            let who = Verified { principal: users[n % 50], basis: (with == 1).then(|| session(n % TOKENS)) };
            let took = bench.decide(Credential::Token(Some(who)), held);
            // The first round opens the budgets.
            if n >= TOKENS {
                times[with].push(took);
            }
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    let [without, with] = times.map(|times| percentile(&times, 50));
    report.note("by a user's token, three budgets held, median", show(without));
    // What the clock can tell apart is a few per cent of either.
    report.hold("by a token that rests on a session, against one that does not", ratio(with, without), "", ..=1.05);
    let (fresh, known) = token_times(&users, session);
    report.note("the check of a token's signature", show(fresh));
    report.note("the look-up of a token whose signature is known", show(known));
    report.hold(
        "what the session adds, against the check of a signature",
        ratio(with.saturating_sub(without), fresh),
        "",
        ..=0.02,
    );
}

/// Whether somebody who guesses learns by the time that it takes whether there is a key with an id: Welch's t between the
/// refusals of unknown ids and of wrong secrets, in random order. What was interrupted counts for neither.
fn guessing(report: &mut Report, keys: usize, guesses: usize) {
    let bench = Bench::new(keys, 0);
    // Of other seeds than the keys have.
    let mut random = Random::new(1 << 40);
    let mut unknown = || loop {
        let mut bytes = [0; RANDOM_BYTES];
        bytes.fill_with(|| random.next().to_le_bytes()[3]);
        if let Some(secret) = KeySecret::generate("prod", &bytes) {
            break secret.expose().to_owned();
        }
    };
    let mut texts = Vec::with_capacity(2 * guesses);
    let mut chosen = Random::new(1 << 41);
    for _ in 0..guesses {
        let (key, secret) = bench.scene.key(below(&mut chosen, keys));
        // Its secret is another one from now on.
        let key = Key { hash: KeyHash([9; 32]).under(PepperVersion::FIRST), ..key };
        bench.gate.load(vec![Change::Key(Box::new(key))]).expect("loads");
        texts.extend([(chosen.next(), false, secret.expose().to_owned()), (chosen.next(), true, unknown())]);
    }
    texts.sort_unstable();
    forget_all();
    let times: Vec<(bool, Duration)> = texts
        .iter()
        .map(|(_, is_unknown, text)| {
            let began = Instant::now();
            let found = black_box(bench.gate.key_of(black_box(text)));
            let took = began.elapsed();
            assert!(found.is_none());
            (*is_unknown, took)
        })
        .collect();
    let mut all: Vec<Duration> = times.iter().map(|(_, took)| *took).collect();
    all.sort_unstable();
    let longest = percentile(&all, 95);
    let of = |kind: bool| {
        let times = times.iter().filter(|(is_unknown, took)| *is_unknown == kind && *took < longest);
        Sample::of(times.map(|(_, took)| took.as_secs_f64() * 1e9))
    };
    let (unknown, wrong) = (of(true), of(false));
    report.note(format!("{keys} keys, an unknown id refused, on average"), format!("{:.1} ns", unknown.mean));
    report.note("the same, a wrong secret", format!("{:.1} ns", wrong.mean));
    let t = (unknown.mean - wrong.mean) / (unknown.error + wrong.error).sqrt();
    report.hold(format!("Welch's t between the two, of {guesses} each"), t.abs(), "", ..=4.5);
}

/// Lets the processor forget what it has looked at lately: the keys that were given other secrets are not to be at hand.
fn forget_all() {
    let other = black_box(vec![1u8; 256 << 20]);
    black_box(other.iter().step_by(64).fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
}

/// What is known of many measurements.
struct Sample {
    mean: f64,
    /// The square of the error of the mean.
    error: f64,
}

impl Sample {
    /// Of some figures (Welford's method).
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for figure in figures {
            count += 1.0;
            let before = figure - mean;
            mean += before / count;
            squares += before * (figure - mean);
        }
        Self { mean, error: squares / (count - 1.0) / count }
    }
}

/// The middle times of checking a token that was never seen, and one that was.
fn token_times(users: &[Principal], session: impl Fn(usize) -> Basis) -> (Duration, Duration) {
    let (keys, now) = (TokenKeys::default(), Timestamp::from_micros(NOON));
    let pair = Ed25519KeyPair::generate().expect("a key");
    let key = SigningKey::new(pair.public_key().as_ref().try_into().expect("32 bytes"), now);
    keys.put(key.clone()).expect("a key");
    keys.equip(&key.kid, pair.to_pkcs8v1().expect("encodes").as_ref()).expect("its private half");
    let issue =
        |n: usize| keys.issue(users[n % users.len()], Some(session(n)), now, Duration::from_mins(5)).expect("signs").0;
    let tokens: Vec<String> = (0..TOKENS).map(issue).collect();
    let check = || middle(TOKENS, |n| assert!(black_box(keys.verify(&tokens[n], now)).is_some()));
    (check(), check())
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.next() % end as u64).expect("below a size")
}

fn load(gate: &Gate<Generous>, scene: &Scene, keys: usize) {
    gate.load(scene.places()).expect("loads");
    let numbers: Vec<usize> = (0..keys).collect();
    for chunk in numbers.chunks(8192) {
        gate.load(chunk.iter().map(|n| Change::Key(Box::new(scene.key(*n).0))).collect()).expect("loads");
    }
    gate.load(scene.budgets()).expect("loads");
}

struct Bench {
    gate: Arc<Gate<Generous>>,
    scene: Scene,
    runtime: Runtime,
    now: i64,
    count: usize,
}

impl Bench {
    /// A gate that knows customers with so many keys, and so many further bindings in the first tenant.
    fn new(keys: usize, bindings: usize) -> Self {
        Self::of(keys, bindings, |scene| scene)
    }

    /// A gate that knows customers with so many keys, each with an allowlist of its own.
    fn listed(keys: usize) -> Self {
        Self::of(keys, 0, Scene::with_allowlists)
    }

    fn of(keys: usize, bindings: usize, changed: impl FnOnce(Scene) -> Scene) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let peppers = Peppers::first(Pepper::new(&[1; 32]));
        let scene = changed(Scene::new(keys, keys.min(1000), peppers.clone()));
        let (gate, queues) = Gate::new(GateParts {
            journal: Generous::default(),
            peppers,
            hold_key: HoldKey::new(&[2; 32]),
            boot: BootId::from_bits(7),
            timing: Timing::new(Duration::ZERO, Duration::ZERO),
            lease: Lease::for_good(),
            meter: Arc::new(()),
            clock: Arc::new(Noon),
        });
        load(&gate, &scene, keys);
        if bindings > 0 {
            gate.load(scene.bindings(bindings)).expect("loads");
        }
        runtime.spawn(gate.run_grants(queues.grants));
        Self { gate, scene, runtime, now: NOON, count: 0 }
    }

    /// One decision, and how long it took.
    fn decide(
        &mut self,
        credential: Credential<'_>,
        tell: impl Fn(&Answer<'_>) -> usize + Copy + Send + Sync,
    ) -> Duration {
        self.now += STEP;
        self.count += 1;
        let now = Timestamp::from_micros(self.now);
        if self.count.is_multiple_of(SECOND) {
            self.runtime.block_on(self.gate.sweep(now)).expect("sweeps");
        }
        let request = format!("{:032x}", self.count);
        let caller = self.scene.caller;
        // A token is of no workspace and no project.
        let budgets = if matches!(credential, Credential::Token(_)) { 3 } else { 5 };
        let asked = question(credential, &request);
        let began = Instant::now();
        let answer = self.gate.authorize_warm(caller, &asked, now, tell).expect("decides");
        let took = began.elapsed();
        let held = answer.unwrap_or_else(|| {
            // A budget that is asked for the first time.
            self.runtime.block_on(self.gate.authorize(caller, &asked, now, tell)).expect("decides")
        });
        assert_eq!(held, budgets);
        took
    }
}

fn question<'a>(credential: Credential<'a>, request: &'a str) -> Question<'a> {
    Question {
        stamp: None,
        request_id: request,
        credential,
        client_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        origin: "app.example.com",
        permission: Permission::ModelsInvoke,
        provider: PROVIDER,
        model: MODEL,
        endpoint: "/v1/chat/completions",
        environment: "production-0",
        project: "",
        end_user: "",
        estimate: Usage { input: 374, output: 256, requests: 1, ..Usage::default() },
        metered: Metered::default(),
        cost: None,
        mode: Mode::Hold,
        ttl: Duration::from_secs(1),
        min_revision: 0,
    }
}

/// The middle time of an HMAC, over as much as a hold's token has.
fn hmac_time(rounds: usize) -> Duration {
    let keyed = Hmac::<Sha256>::new_from_slice(&[1; 32]).expect("a key");
    let mut message = [0u8; 300];
    middle(rounds, |round| {
        message[round % 300] ^= 1;
        let mut mac = keyed.clone();
        mac.update(black_box(&message));
        black_box(mac.finalize());
    })
}

/// The middle time of a look-up among so many.
fn look_up_time(entries: usize, rounds: usize) -> Duration {
    let mut random = Random::new(5);
    let keys: Vec<u64> = (0..entries).map(|_| random.next()).collect();
    let map: hashbrown::HashMap<u64, [u64; 11]> = keys.iter().map(|key| (*key, [*key; 11])).collect();
    let chosen: Vec<u64> = (0..rounds).map(|_| keys[below(&mut random, entries)]).collect();
    middle(rounds, |round| {
        black_box(map.get(&chosen[round]).map(|entry| entry[3]));
    })
}

/// The middle time of doing nothing.
fn clock_time() -> Duration {
    middle(10_000, |_| ())
}

fn middle(rounds: usize, mut work: impl FnMut(usize)) -> Duration {
    let mut once = |round| {
        let began = Instant::now();
        work(round);
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..rounds).map(&mut once).collect();
    times.sort_unstable();
    percentile(&times, 50)
}

/// It is always noon.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOON)
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

/// A ledger that grants at once, and so much that nobody asks again.
#[derive(Default)]
struct Generous {
    grants: AtomicI64,
}

impl Journal for Generous {
    async fn grant(&self, asks: &[GrantAsk]) -> Result<Vec<Option<Granted>>, JournalError> {
        let grant = |ask: &GrantAsk| {
            let id = self.grants.fetch_add(1, Ordering::Relaxed) + 1;
            let slice = SliceState { id, granted: 1_000_000_000_000_000, spent: 0, ver: id };
            Some(Granted { slice, promised: ask.promised, headroom: 0, ..Granted::default() })
        };
        Ok(asks.iter().map(grant).collect())
    }

    async fn charge(&self, _: &[&Entry]) -> Result<Batch, JournalError> {
        Ok(Batch::default())
    }

    async fn locate(&self, _: &[i64]) -> Result<Vec<Placed>, JournalError> {
        Ok(Vec::new())
    }

    async fn price(&self, _: i64) -> Result<Option<DatedPrice>, JournalError> {
        Ok(None)
    }

    async fn fold(&self, _: &[i64]) -> Result<Vec<Folded>, JournalError> {
        Ok(Vec::new())
    }

    async fn books(&self, _: BudgetId, _: Period) -> Result<Books, JournalError> {
        Ok(Books::default())
    }

    async fn beat(&self, _: i64) -> Result<Beat, JournalError> {
        Ok(Beat::default())
    }

    async fn confirm(&self, _: &Known) -> Result<Confirmed, JournalError> {
        Ok(Confirmed::Intact)
    }

    async fn end_doubt(&self, _: BootId) -> Result<(), JournalError> {
        Ok(())
    }

    async fn expire(&self, _: &Peer) -> Result<(), JournalError> {
        Ok(())
    }

    async fn extend(&self, _: &Extension) -> Result<bool, JournalError> {
        Ok(false)
    }

    async fn read(&self, _: &[i64]) -> Result<Vec<SliceState>, JournalError> {
        Ok(Vec::new())
    }

    async fn give_back(&self, _: &[(i64, i64)]) -> Result<Vec<SliceState>, JournalError> {
        Ok(Vec::new())
    }

    async fn retire(&self, _: &[(i64, i64)]) -> Result<(), JournalError> {
        Ok(())
    }
}
