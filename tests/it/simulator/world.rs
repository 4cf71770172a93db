//! What there is beside servers and sidecars: time, chance, the network, the store's tables and the feed, faults, and an
//! administrator who takes rights away and gives them back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tollreeve::{
    domain::{
        budgets::Budget,
        change::{Change, FeedEvent},
        id::BootId,
        users::UserState,
    },
    engine::timing::Timing,
};

use super::{
    cast,
    checks::Checks,
    machine::{Machine, Rate},
    saboteurs::Saboteur,
    server::Run,
};
use crate::harness::{model_tables::Tables, random::Random};

/// Everything that a schedule plays with.
pub struct World {
    pub start: Instant,
    pub saboteur: Saboteur,
    pub timing: Timing,
    pub random: Mutex<Random>,
    pub tables: Mutex<Tables>,
    pub feed: Mutex<Vec<FeedEvent>>,
    pub budgets: Mutex<Vec<Budget>>,
    pub checks: Mutex<Checks>,
    pub counts: Mutex<BTreeMap<&'static str, u64>>,
    pub sites: Vec<Site>,
    pub sidecars: usize,
    /// The faults are over.
    pub calm: AtomicBool,
    pub slow: AtomicBool,
    /// Holds that sidecars still have something to say of.
    pub open: AtomicUsize,
    boots: AtomicUsize,
    broken: Mutex<Option<String>>,
}

/// A place for a server.
pub struct Site {
    pub machine: Arc<Machine>,
    /// Whoever starts here proves that whoever ran here is dead.
    pub identity: String,
    /// It does not reach the store.
    pub cut: AtomicBool,
    pub run: Mutex<Option<Arc<Run>>>,
}

pub fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).expect("a span"))
}

impl World {
    pub fn new(mut random: Random, saboteur: Saboteur) -> Arc<Self> {
        let stale = if random.once_in(3) { 2 } else { 0 };
        let timing = Timing::new(Duration::from_secs(20), Duration::from_secs(stale));
        let timing = Timing { longest: Duration::from_secs(10), ..timing };
        let sites = (0..random.within(2, 4)).map(|n| {
            let rate = Rate(random.within(-10_000, 10_000));
            let (up, ahead) = (Duration::from_secs(random.next() % 100_000), random.within(-400_000, 400_000));
            Site {
                machine: Machine::new(rate, up, ahead),
                identity: if n % 2 == 0 { format!("site-{n}") } else { String::new() },
                cut: AtomicBool::new(false),
                run: Mutex::default(),
            }
        });
        let sites = sites.collect();
        let mut tables = Tables { flaw: saboteur.flaw(), ..Tables::default() };
        let budgets = cast::budgets(&mut random);
        budgets.iter().for_each(|budget| tables.set_cap(budget.id, budget.cap()));
        Arc::new(Self {
            start: Instant::now(),
            saboteur,
            timing,
            random: Mutex::new(random),
            tables: Mutex::new(tables),
            feed: Mutex::new(vec![FeedEvent { revision: 1, changes: cast::everything(&budgets) }]),
            budgets: Mutex::new(budgets),
            checks: Mutex::default(),
            counts: Mutex::default(),
            sites,
            sidecars: 3,
            calm: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            boots: AtomicUsize::new(1),
            broken: Mutex::default(),
        })
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn within(&self, least: i64, most: i64) -> i64 {
        self.random.lock().within(least, most)
    }

    pub fn once_in(&self, n: u64) -> bool {
        self.random.lock().once_in(n)
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub fn next_boot(&self) -> BootId {
        BootId::from_bits(1_000 + self.boots.fetch_add(1, Ordering::Relaxed) as u128)
    }

    /// A promise is not kept.
    pub fn broke(&self, what: impl FnOnce() -> String) {
        let mut broken = self.broken.lock();
        if broken.is_none() {
            *broken = Some(format!("after {:?}: {}", self.elapsed(), what()));
        }
    }

    pub fn broken(&self) -> Option<String> {
        self.broken.lock().clone()
    }

    /// How long a message between a sidecar and a server is on its way; `None`: for ever.
    pub fn travel(&self) -> Option<Duration> {
        let mut random = self.random.lock();
        let calm = self.is_calm();
        Some(match random.within(0, 99) {
            0..3 if !calm => return None,
            3..5 if !calm => ms(random.within(300, 20_000)),
            5..15 => ms(random.within(0, 300)),
            _ => ms(random.within(0, 60)),
        })
    }

    /// Commits a change and its event; gives its revision.
    fn change(&self, change: Change) -> i64 {
        let mut feed = self.feed.lock();
        if let Change::Budget(budget) = &change {
            self.tables.lock().set_cap(budget.id, budget.cap());
        }
        let revision = feed.last().map_or(0, |event| event.revision) + 1;
        feed.push(FeedEvent { revision, changes: vec![change] });
        revision
    }

    pub fn suspend(&self, user: u128, state: UserState) -> i64 {
        self.change(Change::User(cast::user(user, state)))
    }

    /// Gives a budget another limit.
    pub fn limit(&self, at: usize, limit: i64) -> i64 {
        let budget = {
            let mut budgets = self.budgets.lock();
            budgets[at].limit = limit;
            budgets[at].version += 1;
            budgets[at].clone()
        };
        let before = self.tables.lock().cap(budget.id);
        self.checks.lock().changing(budget.id, before, self.elapsed());
        self.change(Change::Budget(budget))
    }

    /// Waits until a change is acknowledged; gives whether it was.
    async fn acknowledged(&self, revision: i64) -> bool {
        let (since, line) = (self.elapsed(), self.tables.lock().line);
        let barrier = self.saboteur != Saboteur::NoBarrier;
        while barrier && !self.tables.lock().in_force(revision) && self.elapsed() < since + ms(20_000) {
            sleep(ms(20)).await;
        }
        let tables = self.tables.lock();
        line == tables.line && (!barrier || tables.in_force(revision))
    }

    /// Takes users' rights away and gives them back, lowers limits and raises them.
    pub async fn administer(self: Arc<Self>) {
        while !self.is_calm() {
            sleep(ms(self.within(500, 8_000))).await;
            if self.once_in(3) {
                self.change_a_limit().await;
                continue;
            }
            let user = *self.random.lock().pick(&cast::USERS);
            let revision = self.suspend(user, UserState::Suspended);
            if self.acknowledged(revision).await {
                self.count("revocations in force");
                self.checks.lock().bar(user);
                // If it is forgotten meanwhile, so is what is certain.
                sleep(ms(self.within(100, 6_000))).await;
            }
            self.checks.lock().unbar(user);
            self.suspend(user, UserState::Active);
        }
    }

    async fn change_a_limit(&self) {
        let at = usize::try_from(self.within(0, self.budgets.lock().len() as i64 - 1)).expect("an index");
        let before = self.budgets.lock()[at].limit;
        let most = if self.once_in(2) { before } else { before + 8_000 };
        let limit = self.within(before / 2, most);
        let revision = self.limit(at, limit);
        if limit < before && self.acknowledged(revision).await {
            self.count("lowered limits in force");
            let budget = self.budgets.lock()[at].id;
            self.checks.lock().lowered(budget, limit);
        }
    }

    /// A standby that is behind takes the store's place, at some moment of the schedule.
    pub async fn fail_over(self: Arc<Self>, at: Duration) {
        sleep(at).await;
        let copy = (self.tables.lock().clone(), self.feed.lock().len(), self.budgets.lock().clone());
        sleep(ms(self.within(0, 3_000))).await;
        if self.is_calm() {
            return;
        }
        self.count("failovers");
        let (older, events, budgets) = copy;
        let mut tables = self.tables.lock();
        let before = tables.clone();
        tables.fall_back(older);
        self.checks.lock().forgotten(&before, &tables);
        drop(tables);
        self.feed.lock().truncate(events);
        *self.budgets.lock() = budgets;
    }

    /// Lets things go wrong until the calm, then heals them.
    pub async fn trouble(self: Arc<Self>, until: Duration) {
        while self.elapsed() < until && self.broken().is_none() {
            sleep(ms(self.within(200, 5_000))).await;
            let at = usize::try_from(self.within(0, self.sites.len() as i64 - 1)).expect("an index");
            let most = *self.random.lock().pick(&[500, 3_000, 8_000, 8_000, 40_000]);
            let span = ms(self.within(100, most));
            let kind = self.within(0, 9);
            let world = Arc::clone(&self);
            match kind {
                0..2 => drop(tokio::spawn(async move { world.pause(at, span).await })),
                2..4 => drop(tokio::spawn(async move { world.freeze(at, span).await })),
                4 => self.crash(at),
                5..8 => drop(tokio::spawn(async move { world.cut(at, span).await })),
                8 => drop(tokio::spawn(async move { world.slow_down(span).await })),
                _ => {
                    // Cut off, and then frozen or stopped for a moment: what tells others least.
                    tokio::spawn(Arc::clone(&world).cut(at, span.max(ms(5_000))));
                    let moment = ms(self.within(200, 6_000));
                    tokio::spawn(async move { world.freeze(at, moment).await });
                }
            }
        }
        self.calm.store(true, Ordering::Relaxed);
        self.slow.store(false, Ordering::Relaxed);
        for site in &self.sites {
            site.cut.store(false, Ordering::Relaxed);
            site.machine.thaw();
            site.machine.pause(false);
        }
    }

    async fn pause(self: Arc<Self>, at: usize, span: Duration) {
        if self.is_calm() {
            return;
        }
        self.count("pauses");
        self.sites[at].machine.pause(true);
        sleep(span).await;
        self.sites[at].machine.pause(false);
    }

    /// What a frozen server cannot know without a sidecar's help it may do wrong for a moment: that much is conceded.
    async fn freeze(self: Arc<Self>, at: usize, span: Duration) {
        let site = &self.sites[at];
        let Some(run) = site.run.lock().clone() else { return };
        if !run.knows(self.sidecars) || self.is_calm() {
            return;
        }
        self.count("freezes");
        run.forget();
        site.machine.freeze();
        sleep(span).await;
        site.machine.thaw();
    }

    fn crash(&self, at: usize) {
        if let Some(run) = self.sites[at].run.lock().clone() {
            self.count("crashes");
            run.end();
        }
    }

    async fn cut(self: Arc<Self>, at: usize, span: Duration) {
        if self.is_calm() {
            return;
        }
        self.count("partitions");
        self.sites[at].cut.store(true, Ordering::Relaxed);
        sleep(span).await;
        self.sites[at].cut.store(false, Ordering::Relaxed);
    }

    async fn slow_down(self: Arc<Self>, span: Duration) {
        if self.is_calm() {
            return;
        }
        self.count("slow stores");
        self.slow.store(true, Ordering::Relaxed);
        sleep(span).await;
        self.slow.store(false, Ordering::Relaxed);
    }
}
