//! A server: the real engine, run after run on one machine.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tollreeve::{
    domain::{change::FeedEvent, id::BootId, key_secret::Pepper, peppers::Peppers, time::Clock as _},
    engine::{Gate, GateParts, error::GateError, hold_token::HoldKey, keeper::Keeper, lease::Lease},
};

use super::{
    machine::Machine,
    saboteurs::Saboteur,
    store::Line,
    world::{World, ms},
};

/// One run of a server.
pub struct Run {
    pub boot: BootId,
    pub gate: Arc<Gate<Line>>,
    pub machine: Arc<Machine>,
    pub world: Arc<World>,
    line: Arc<Line>,
    closing: Arc<Mutex<Vec<i64>>>,
    tasks: Mutex<JoinSet<()>>,
    over: Notify,
    ended: AtomicBool,
    /// Sidecars whose clocks it knows.
    contacts: Mutex<BTreeSet<usize>>,
    frozen: AtomicBool,
}

pub fn hold_key() -> HoldKey {
    HoldKey::new(&[2; 32])
}

/// Runs servers on a site, one after the other.
pub async fn supervise(world: Arc<World>, at: usize) {
    let site = &world.sites[at];
    loop {
        let boot = world.next_boot();
        let started = site.machine.run(start(Arc::clone(&world), at, boot)).await;
        if let Some(run) = started {
            *site.run.lock() = Some(Arc::clone(&run));
            run.over.notified().await;
            *site.run.lock() = None;
            run.end();
        }
        let most = if world.is_calm() { 1_000 } else { 8_000 };
        sleep(ms(world.within(500, most))).await;
    }
}

async fn start(world: Arc<World>, at: usize, boot: BootId) -> Option<Arc<Run>> {
    let machine = Arc::clone(&world.sites[at].machine);
    let journal = Line::new(&world, at, boot);
    let closing = Arc::clone(&journal.closing);
    let (gate, queues) = Gate::new(GateParts {
        journal,
        peppers: Peppers::first(Pepper::new(&[1; 32])),
        hold_key: hold_key(),
        boot,
        timing: world.timing,
        lease: Lease::of(world.timing.answers_for()),
        clock: Arc::clone(&machine) as _,
        meter: Arc::new(()),
    });
    let line = Arc::new(Line::new(&world, at, boot));
    let first = world.feed.lock()[0].changes.clone();
    gate.load(first).expect("fits together");
    gate.loaded(1);
    let run = Arc::new(Run {
        boot,
        gate,
        machine,
        world: Arc::clone(&world),
        line,
        closing,
        tasks: Mutex::default(),
        over: Notify::new(),
        ended: AtomicBool::new(false),
        contacts: Mutex::default(),
        frozen: AtomicBool::new(false),
    });
    run.catch_up().await.ok()?;
    let (identity, answers_for) = (world.sites[at].identity.clone(), world.timing.answers_for());
    run.line
        .call(move |world| {
            world.commit(|tables| tables.join(boot, &identity, answers_for));
            world.count("joins");
            Ok(())
        })
        .await
        .ok()?;
    run.catch_up().await.ok()?;
    let mut keeper = Keeper::new(Arc::clone(&run.gate));
    keeper.turn().await.ok()?;
    run.spawn(run.gate.run_grants(queues.grants));
    run.spawn(run.gate.run_charges(queues.charges));
    run.spawn(Arc::clone(&run).keep(keeper));
    run.spawn(Arc::clone(&run).follow());
    run.spawn(Arc::clone(&run).sweep());
    Some(run)
}

impl Run {
    /// Something that the server does while it runs.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                self.world.broke(|| "a task of a server panicked".to_owned());
            }
        }
        if !self.ended.load(Ordering::Relaxed) {
            tasks.spawn(self.machine.run(work));
        }
    }

    /// Ends it where it stands.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.tasks.lock().abort_all();
        self.over.notify_one();
    }

    /// A sidecar's call with a stamp was seen.
    pub fn met(&self, sidecar: usize) {
        self.contacts.lock().insert(sidecar);
    }

    pub fn knows(&self, sidecars: usize) -> bool {
        !self.frozen.load(Ordering::Relaxed) && self.contacts.lock().len() == sidecars
    }

    /// A sidecar whose clock has jumped is not believed a second time: what happens then is conceded.
    pub fn forget(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    async fn catch_up(&self) -> Result<(), ()> {
        let have = usize::try_from(self.gate.revision()).expect("few");
        let after = move |feed: &[FeedEvent]| feed.get(have..).unwrap_or_default().to_vec();
        let events = self.line.call(move |world| Ok(after(&world.feed.lock()))).await.map_err(drop)?;
        for event in events {
            // One that does not fit: another has its number, and what this server saw was forgotten.
            self.gate.apply(event).map_err(drop)?;
        }
        Ok(())
    }

    async fn follow(self: Arc<Self>) {
        loop {
            let had = self.gate.revision();
            if self.catch_up().await.is_ok() && self.gate.revision() > had {
                self.gate.wake();
            }
            self.machine.sleep(ms(self.world.within(50, 1_000))).await;
        }
    }

    async fn sweep(self: Arc<Self>) {
        loop {
            self.machine.sleep(ms(1_000)).await;
            // What was not done is due again.
            let _ = self.gate.sweep(self.machine.now()).await;
        }
    }

    async fn keep(self: Arc<Self>, mut keeper: Keeper<Line>) {
        loop {
            match keeper.turn().await {
                Ok(()) => self.sabotage().await,
                Err(GateError::Draining) => {
                    self.world.count("steps down");
                    return self.over.notify_one();
                }
                Err(_) => {}
            }
            tokio::select! {
                biased;
                () = self.gate.woken() => {}
                () = self.machine.sleep(self.world.timing.beat) => {}
            }
        }
    }

    async fn sabotage(&self) {
        match self.world.saboteur {
            Saboteur::LeaseFromReply => {
                let now = self.machine.now();
                self.gate.lease().renew(self.machine.reading(now));
            }
            Saboteur::FoldsAtOnce => {
                let closing = self.closing.lock().clone();
                if !closing.is_empty() {
                    let _ = self.gate.fold_orphans(&closing).await;
                }
            }
            _ => {}
        }
    }
}
