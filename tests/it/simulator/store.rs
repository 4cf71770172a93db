//! The way to the store: slow now and then, cut off now and then, and sometimes it keeps the answer to itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::sleep};
use tollreeve::{
    domain::{
        id::{BootId, BudgetId},
        price_versions::DatedPrice,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{
            Batch, Beat, Books, Confirmed, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Known, Mail,
            Peer, Posted,
        },
        places::Placed,
    },
};

use super::{
    saboteurs::Saboteur,
    world::{World, ms},
};
use crate::harness::model_tables::Tables;

type Outcome<T> = Result<T, JournalError>;

/// The ledger, as one server reaches it.
pub struct Line {
    world: Arc<World>,
    site: usize,
    boot: BootId,
    read: Mutex<Vec<i64>>,
    /// How many signs of life were taken down.
    last: AtomicI64,
    /// Slices of the dead, as of the last sign of life.
    pub closing: Arc<Mutex<Vec<i64>>>,
}

/// How a call goes.
struct Course {
    before: Duration,
    after: Duration,
    begins: bool,
    answers: bool,
}

impl World {
    fn course(&self) -> Course {
        let slow = self.slow.load(Ordering::Relaxed);
        let calm = self.is_calm();
        let mut random = self.random.lock();
        let most = if slow || (!calm && random.once_in(60)) { 2_500 } else { 15 };
        Course {
            before: ms(random.within(0, most)),
            after: ms(random.within(0, most)),
            begins: calm || !random.once_in(60),
            answers: calm || !random.once_in(60),
        }
    }

    /// One transaction, and whether all still adds up after it.
    pub fn commit<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock();
        let done = work(&mut tables);
        let mut checks = self.checks.lock();
        let adds_up = tables.check().and_then(|()| checks.within_limits(&tables));
        if let Err(what) = adds_up.and_then(|()| checks.holds_stand(&tables, self.elapsed())) {
            self.broke(|| what);
        }
        done
    }

    /// Tells servers that there may be something new. Whoever does not hear it finds out later.
    pub fn ring(self: &Arc<Self>) {
        for site in 0..self.sites.len() {
            let (world, delay) = (Arc::clone(self), ms(self.within(0, 20)));
            tokio::spawn(async move {
                sleep(delay).await;
                let run = world.sites[site].run.lock().clone();
                if let Some(run) = run.filter(|_| !world.sites[site].cut.load(Ordering::Relaxed)) {
                    run.gate.wake();
                }
            });
        }
    }

    fn note(&self, boot: BootId, entries: &[Entry], batch: &Batch) {
        for (entry, posted) in entries.iter().zip(&batch.posted) {
            if let Err(what) = self.checks.lock().written(entry, posted, self.elapsed()) {
                self.broke(|| what);
            }
            match posted {
                Posted::New { lines, .. } => {
                    self.count("charges");
                    if entry.hold.is_some_and(|hold| hold.run != boot) {
                        self.count("charges elsewhere");
                    }
                    if entry.late {
                        self.count("late charges");
                    }
                    if lines.iter().any(|line| line.overrun > 0) {
                        self.count("overruns");
                    }
                }
                Posted::Replayed(_) => self.count("replays"),
                Posted::Conflict => self.broke(|| "a charge in conflict with itself".to_owned()),
            }
        }
    }
}

impl Line {
    pub fn new(world: &Arc<World>, site: usize, boot: BootId) -> Self {
        let (read, last, closing) = (Mutex::default(), AtomicI64::new(0), Arc::default());
        Self { world: Arc::clone(world), site, boot, read, last, closing }
    }

    fn is_cut(&self) -> bool {
        self.world.sites[self.site].cut.load(Ordering::Relaxed)
    }

    /// One call. What has been sent goes on without whoever sent it.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&World) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let away = || Err(JournalError::Unavailable("the store cannot be reached".into()));
        let Course { before, after, begins, answers } = self.world.course();
        if self.is_cut() || !begins {
            sleep(ms(self.world.within(1, 3_000))).await;
            return away();
        }
        let (reply, answer) = oneshot::channel();
        let (world, site) = (Arc::clone(&self.world), self.site);
        tokio::spawn(async move {
            sleep(before).await;
            let cut = || world.sites[site].cut.load(Ordering::Relaxed);
            if cut() && world.once_in(2) {
                return;
            }
            let done = work(&world);
            sleep(after).await;
            if answers && !cut() {
                let _ = reply.send(done);
            }
        });
        match answer.await {
            Ok(done) => done,
            Err(_) => {
                sleep(ms(self.world.within(1, 4_000))).await;
                self.world.count("answers lost");
                Err(JournalError::InDoubt("the answer is lost".into()))
            }
        }
    }

    /// Written when it is too late to matter to whoever was told that it is.
    fn write_later(&self, entries: Vec<Entry>) -> Outcome<Batch> {
        let entry_refs: Vec<&Entry> = entries.iter().collect();
        let mut copy = self.world.tables.lock().clone();
        let batch = copy.charge(self.boot, &entry_refs)?;
        let (world, site, boot) = (Arc::clone(&self.world), self.site, self.boot);
        tokio::spawn(async move {
            sleep(ms(world.within(1, 2_000))).await;
            if !world.sites[site].cut.load(Ordering::Relaxed) {
                let entry_refs: Vec<&Entry> = entries.iter().collect();
                let written = world.commit(|tables| tables.charge(boot, &entry_refs));
                written.iter().for_each(|batch| world.note(boot, &entries, batch));
            }
        });
        Ok(batch)
    }
}

impl Journal for Line {
    async fn grant(&self, asks: &[GrantAsk]) -> Outcome<Vec<Option<Granted>>> {
        let (boot, asks) = (self.boot, asks.to_vec());
        let bell = Arc::clone(&self.world);
        self.call(move |world| {
            let granted = world.commit(|tables| tables.grant(boot, &asks))?;
            world.count("grants");
            if granted.iter().flatten().any(|granted| granted.recalled) {
                world.count("recalls");
                bell.ring();
            }
            Ok(granted)
        })
        .await
    }

    async fn charge(&self, entries: &[&Entry]) -> Outcome<Batch> {
        let (boot, entries) = (self.boot, entries.iter().map(|entry| (*entry).clone()).collect::<Vec<_>>());
        if self.world.saboteur == Saboteur::AcknowledgesEarly {
            return self.write_later(entries);
        }
        self.call(move |world| {
            let entry_refs: Vec<&Entry> = entries.iter().collect();
            let batch = world.tables.lock().charge(boot, &entry_refs)?;
            world.note(boot, &entries, &batch);
            world.commit(|_| ());
            Ok(batch)
        })
        .await
    }

    async fn locate(&self, slices: &[i64]) -> Outcome<Vec<Placed>> {
        let slices = slices.to_vec();
        self.call(move |world| Ok(world.tables.lock().locate(&slices))).await
    }

    async fn price(&self, _: i64) -> Outcome<Option<DatedPrice>> {
        Ok(None)
    }

    async fn fold(&self, slices: &[i64]) -> Outcome<Vec<Folded>> {
        let (boot, slices) = (self.boot, slices.to_vec());
        self.call(move |world| {
            let folded = world.commit(|tables| tables.fold(boot, &slices))?;
            folded.iter().for_each(|_| world.count("folds"));
            Ok(folded)
        })
        .await
    }

    async fn books(&self, budget: BudgetId, period: Period) -> Outcome<Books> {
        self.call(move |world| Ok(world.tables.lock().books(budget, period))).await
    }

    async fn beat(&self, applied: i64) -> Outcome<Beat> {
        let (boot, read) = (self.boot, self.read.lock().clone());
        let beat = self.call(move |world| {
            let mut tables = world.tables.lock();
            let (beat, new) = tables.beat(boot, applied, &read)?;
            Ok((beat, new, tables.servers.get(&boot).map_or(0, |server| server.seq)))
        });
        let (mut beat, new, seq) = beat.await?;
        if beat.in_doubt {
            return Ok(beat);
        }
        self.last.fetch_max(seq, Ordering::Relaxed);
        *self.read.lock() = new;
        for mail in &beat.mail {
            self.world.count(match mail {
                Mail::Recall { .. } => "recalls taken in",
                Mail::Taken { .. } => "takings taken in",
                Mail::Extended { .. } => "extensions taken in",
            });
        }
        *self.closing.lock() = beat.closing.iter().map(|orphan| orphan.slice).collect();
        if self.world.saboteur == Saboteur::ShortWait {
            beat.peers.iter_mut().for_each(|peer| peer.answers_for /= 2);
        }
        Ok(beat)
    }

    async fn confirm(&self, known: &Known) -> Outcome<Confirmed> {
        let (boot, mut known, last) = (self.boot, known.clone(), self.last.load(Ordering::Relaxed));
        if self.world.saboteur == Saboteur::KeepsNoCharges {
            known.charges.clear();
        }
        self.call(move |world| {
            let mut tables = world.tables.lock();
            let confirmed = tables.confirm(boot, last, &known);
            world.count(match confirmed {
                Confirmed::Intact => "nothing was forgotten",
                Confirmed::Waiting => "waits for others to put things back",
                Confirmed::Over => "put back what was forgotten",
            });
            world.checks.lock().confirmed(boot, confirmed, &tables);
            drop(tables);
            world.commit(|_| ());
            Ok(confirmed)
        })
        .await
    }

    async fn end_doubt(&self, of: BootId) -> Outcome<()> {
        let boot = self.boot;
        self.call(move |world| world.commit(|tables| tables.end_doubt(boot, of))).await
    }

    async fn expire(&self, peer: &Peer) -> Outcome<()> {
        let (boot, peer) = (self.boot, *peer);
        self.call(move |world| {
            let was = world.tables.lock().is_live(peer.boot);
            world.commit(|tables| tables.expire(boot, &peer))?;
            if was && !world.tables.lock().is_live(peer.boot) {
                world.count("expiries");
            }
            Ok(())
        })
        .await
    }

    async fn extend(&self, extension: &Extension) -> Outcome<bool> {
        let (boot, extension) = (self.boot, extension.clone());
        self.call(move |world| world.commit(|tables| tables.extend(boot, &extension))).await
    }

    async fn read(&self, slices: &[i64]) -> Outcome<Vec<SliceState>> {
        let (boot, slices) = (self.boot, slices.to_vec());
        let silent = self.world.saboteur == Saboteur::FreesFromMemory;
        self.call(move |world| if silent { Ok(Vec::new()) } else { world.tables.lock().read(boot, &slices) }).await
    }

    async fn give_back(&self, room: &[(i64, i64)]) -> Outcome<Vec<SliceState>> {
        let (boot, room) = (self.boot, room.to_vec());
        self.call(move |world| {
            let states = world.commit(|tables| tables.give_back(boot, &room))?;
            world.count("returns");
            Ok(states)
        })
        .await
    }

    async fn retire(&self, held: &[(i64, i64)]) -> Outcome<()> {
        let (boot, held) = (self.boot, held.to_vec());
        self.call(move |world| world.commit(|tables| tables.retire(boot, &held))).await
    }
}
