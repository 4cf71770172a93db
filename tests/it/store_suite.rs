//! One random sequence of calls on the ledger, by several servers: the databases answer as the model does.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use parking_lot::Mutex;
use tollreeve::{
    domain::{
        id::{BootId, BudgetId, Id},
        time::Timestamp,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        holds::HoldRef,
        journal::{
            Batch, Beat, Entry, GrantAsk, HoldUse, Journal, JournalError, Mail, Outcome, Posted, Posting, Recorded,
            dollars,
        },
    },
    store::{Db, Tx},
};

use crate::harness::{
    both,
    clock::START,
    ledger::{entry_with, joined},
    model_journal::ModelJournal,
    model_tables::Tables,
    random::Random,
    server::Env,
    world::World,
};

both!(the_databases_answer_as_the_model_does);

const STEPS: usize = 500;

/// A hold that charges may be of.
#[derive(Clone)]
struct Held {
    run: usize,
    hold: HoldRef,
    issued: Timestamp,
    lines: Vec<(i64, BudgetId, i64)>,
}

/// The ids of slices in the model and in a database.
#[derive(Default)]
struct Ids(BTreeMap<i64, i64>);

impl Ids {
    fn there(&self, model: i64) -> i64 {
        self.0.get(&model).copied().unwrap_or(model)
    }

    fn here(&self, database: i64) -> i64 {
        self.0.iter().find(|(_, there)| **there == database).map_or(-database, |(here, _)| *here)
    }

    /// What both must say: the version of a row is its own affair, so long as it grows.
    fn slices(&self, states: &[SliceState]) -> Vec<SliceState> {
        let mut states: Vec<SliceState> =
            states.iter().map(|state| SliceState { id: self.here(state.id), ver: 0, ..*state }).collect();
        states.sort_by_key(|state| state.id);
        states
    }

    fn beat(&self, beat: Beat) -> impl PartialEq + Debug + use<> {
        let mail = beat.mail.into_iter().map(|mail| match mail {
            Mail::Recall { slice } => format!("recall {}", self.here(slice)),
            Mail::Extended { hold, issued, seconds } => format!("{hold:?} {issued} for {seconds} s"),
            Mail::Taken { hold, issued, ends, lines } => {
                let lines: Vec<_> = lines.into_iter().map(|(slice, amount)| (self.here(slice), amount)).collect();
                format!("{hold:?} {issued} {ends} {lines:?}")
            }
        });
        let mut mail: Vec<String> = mail.collect();
        mail.sort();
        let mut peers: Vec<(BootId, i64)> = beat.peers.iter().map(|peer| (peer.boot, peer.seq)).collect();
        peers.sort();
        let mut closing: Vec<(i64, i64)> =
            beat.closing.iter().map(|orphan| (self.here(orphan.slice), orphan.promised)).collect();
        closing.sort_unstable();
        (mail, self.slices(&beat.slices), peers, closing)
    }
}

fn posted(posted: Vec<Posted>) -> Vec<Posted> {
    let plain = |posted| match posted {
        Posted::New { lines, released, .. } => Posted::New { seq: 0, lines, released },
        Posted::Replayed(mut recorded) => {
            // Slices have other numbers there.
            recorded.places.iter_mut().for_each(|place| place.slice = i64::from(place.slice != 0));
            Posted::Replayed(Recorded { seq: 0, ..recorded })
        }
        Posted::Conflict => Posted::Conflict,
    };
    posted.into_iter().map(plain).collect()
}

/// Both ledgers, and the chance that plays with them.
struct Suite<J> {
    random: Random,
    tables: Arc<Mutex<Tables>>,
    models: Vec<ModelJournal>,
    real: Vec<J>,
    ids: Ids,
    budgets: Vec<BudgetId>,
    holds: Vec<Held>,
    charges: Vec<Entry>,
}

fn boot(at: usize) -> BootId {
    Id::from_bits(501 + at as u128)
}

async fn the_databases_answer_as_the_model_does(env: &mut Env) {
    let mut random = Random::fresh("the_databases_answer_as_the_model_does");
    let world = World::new(env).await;
    let db = env.server.app().db.clone();
    let shared = matches!(db, Db::Postgres { .. });
    let tables = Arc::new(Mutex::new(Tables::default()));
    let mut budgets: Vec<BudgetId> = Vec::new();
    for _ in 0..3 {
        let limit = random.within(1, 3) * 1_000_000_000;
        let name = world.dollars(&world.tenant, limit).await;
        let id = name.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a budget's name");
        tables.lock().set_cap(id, limit);
        budgets.push(id);
    }
    // The server that the budgets were made with is not one of those that play, and stops in order when all is done.
    set_states(&db, "UPDATE replicas SET state = 3").await;
    let (mut models, mut real) = (Vec::new(), Vec::new());
    for at in 0..if shared { 3 } else { 1 } {
        models.push(ModelJournal::joined(Arc::clone(&tables), boot(at)));
        real.push(joined(&db, boot(at).bits()).await);
    }
    let (ids, holds, charges) = (Ids::default(), Vec::new(), Vec::new());
    let mut suite = Suite { random, tables, models, real, ids, budgets, holds, charges };
    for step in 0..STEPS {
        suite.step(step).await;
    }
    suite.compare_books().await;
    set_states(&db, "UPDATE replicas SET state = 1").await;
}

async fn set_states(db: &Db, sql: &'static str) {
    match db.begin_ledger().await.expect("begins") {
        Tx::Sqlite(mut tx) => {
            sqlx::query(sql).execute(&mut *tx).await.expect("written");
            tx.commit().await.expect("commits");
        }
        Tx::Postgres(mut tx) => {
            sqlx::query(sql).execute(&mut *tx).await.expect("written");
            tx.commit().await.expect("commits");
        }
    }
}

impl<J: Journal> Suite<J> {
    fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.random.within(0, of as i64 - 1)).expect("an index")
    }

    fn some_slices(&mut self) -> Vec<i64> {
        let all = self.tables.lock().slices.len() as i64;
        let count = self.random.within(1, 3);
        let mut some: Vec<i64> = (0..count).map(|_| self.random.within(1, all.max(1))).collect();
        some.sort_unstable();
        some.dedup();
        some.retain(|id| *id <= all);
        some
    }

    async fn step(&mut self, step: usize) {
        let at = self.index(self.models.len());
        match self.random.within(0, 99) {
            0..25 => self.grant(at).await,
            25..75 => self.charge(at, step).await,
            75..85 => self.beat(at).await,
            85..90 => {
                let some = self.some_slices();
                let there: Vec<i64> = some.iter().map(|id| self.ids.there(*id)).collect();
                let (model, real) = (self.models[at].read(&some).await, self.real[at].read(&there).await);
                let here = real.map(|states| self.ids.slices(&states));
                let of_model = Ids::of_model(&self.tables);
                assert_eq!(here, model.map(|states| of_model.slices(&states)));
            }
            90..97 => self.give_back(at).await,
            _ if step > STEPS / 2 => self.fold(at).await,
            _ => {}
        }
        self.tables.lock().check().expect("the model adds up");
    }

    async fn grant(&mut self, at: usize) {
        let count = self.random.within(1, 3) as usize;
        let asks: Vec<GrantAsk> = self.budgets.clone()[..count].iter().map(|budget| self.ask(*budget)).collect();
        let (model, real) = (self.models[at].grant(&asks).await, self.real[at].grant(&asks).await);
        if let (Ok(model), Ok(real)) = (&model, &real) {
            for (model, real) in model.iter().zip(real) {
                let (model, real) = (model.expect("a budget"), real.expect("a budget"));
                self.ids.0.insert(model.slice.id, real.slice.id);
            }
        }
        let plain = |ids: &Ids, granted: Vec<Option<Granted>>| -> Vec<Option<Granted>> {
            let plain = |granted: Granted| Granted { slice: ids.slices(&[granted.slice])[0], ..granted };
            granted.into_iter().map(|granted| granted.map(plain)).collect()
        };
        let model = model.map(|granted| plain(&Ids::of_model(&self.tables), granted));
        assert_eq!(real.map(|granted| plain(&self.ids, granted)), model, "{asks:?}");
    }

    fn ask(&mut self, budget: BudgetId) -> GrantAsk {
        let need = if self.random.once_in(3) { self.random.within(0, 900_000_000) } else { 0 };
        let want = self.random.within(0, 600_000_000).max(need);
        GrantAsk {
            budget,
            period: Period(0),
            need,
            want,
            promised: self.random.within(1, 120),
            recall: self.random.once_in(4),
        }
    }

    /// A hold on some slices of a server: of those that act, or of one that is not there.
    fn hold(&mut self) -> Held {
        if self.holds.is_empty() || self.random.once_in(4) {
            let run = self.index(3);
            let own = boot(run);
            let slices: Vec<(i64, BudgetId)> = {
                let tables = self.tables.lock();
                let known = |slice: &&crate::harness::model_tables::Slice| slice.boot == own;
                tables.slices.iter().filter(known).map(|slice| (slice.state.id, slice.at.0)).collect()
            };
            let lines = slices.into_iter().map(|(id, budget)| (id, budget, self.random.within(0, 50_000_000)));
            let lines = lines.collect();
            let hold = HoldRef(self.random.next() >> 1);
            self.holds.push(Held { run, hold, issued: START, lines });
        }
        let at = self.index(self.holds.len());
        self.holds[at].clone()
    }

    fn entry(&mut self, at: usize, step: usize, n: i64) -> Entry {
        if !self.charges.is_empty() && self.random.once_in(6) {
            let earlier = self.index(self.charges.len());
            let mut entry = self.charges[earlier].clone();
            if self.random.once_in(4) {
                entry.body_hash = "another".into();
            }
            return entry;
        }
        let held = self.hold();
        let own = held.run == at;
        if own && self.random.once_in(5) {
            let end = self.end_of(&held);
            // Where nothing is to be charged, none is written.
            if !end.postings.is_empty() {
                self.charges.push(end.clone());
                return end;
            }
        }
        let amount = self.random.within(0, 70_000_000);
        let ends = self.random.once_in(3);
        let late = self.random.once_in(4);
        let postings = held.lines.iter().map(|(slice, budget, line)| {
            let known = self.tables.lock().slices[*slice as usize - 1].taken_by_others;
            let known = if self.random.once_in(5) { self.random.within(0, known) } else { known };
            let in_slice = if late { 0 } else { amount.min(*line) };
            Posting {
                budget: *budget,
                period: Period(0),
                slice: *slice,
                in_slice,
                of_hold: in_slice,
                usd: true,
                beyond: amount - in_slice,
                held: *line,
                known: own.then_some(known),
            }
        });
        let mut postings: Vec<Posting> = postings.collect();
        if late && self.random.once_in(2) {
            postings = self.after_end(&held, at, amount);
        }
        let use_of = HoldUse { run: boot(held.run), hold: held.hold, issued: held.issued, ends };
        let entry = Entry {
            charge_id: format!("charge-{step}-{n}"),
            late,
            cost: amount,
            released: if ends {
                held.lines.iter().map(|line| line.2).max().unwrap_or(0).max(amount) - amount
            } else {
                0
            },
            hold: Some(use_of),
            ..entry_with(postings)
        };
        self.charges.push(entry.clone());
        entry
    }

    /// The end of a hold of this server, with some of what it may have left. Under one id, whenever it comes.
    fn end_of(&mut self, held: &Held) -> Entry {
        let mut postings = Vec::new();
        for (slice, budget, line) in &held.lines {
            let known = self.tables.lock().slices[*slice as usize - 1].taken_by_others;
            let known = if self.random.once_in(5) { self.random.within(0, known) } else { known };
            let left = if self.random.once_in(2) { *line } else { self.random.within(0, *line) };
            if left > 0 && !self.random.once_in(4) {
                postings.push(Posting {
                    budget: *budget,
                    period: Period(0),
                    slice: *slice,
                    in_slice: left,
                    of_hold: left,
                    usd: true,
                    beyond: 0,
                    held: *line,
                    known: Some(known),
                });
            }
        }
        let use_of = HoldUse { run: boot(held.run), hold: held.hold, issued: held.issued, ends: true };
        Entry {
            charge_id: format!("end-{:?}", held.hold),
            outcome: Outcome::Expired,
            cost: dollars(&postings),
            released: self.random.within(0, 50_000_000),
            hold: Some(use_of),
            ..entry_with(postings)
        }
    }

    /// A charge that comes after its hold has ended, as far as its server knows: out of what that has free, and past it.
    fn after_end(&mut self, held: &Held, at: usize, amount: i64) -> Vec<Posting> {
        let mut postings = Vec::new();
        for (_, budget, _) in &held.lines {
            let own = {
                let tables = self.tables.lock();
                let own = tables.slices.iter().find(|slice| slice.boot == boot(at) && slice.at.0 == *budget);
                own.map(|slice| (slice.state, slice.taken_by_others))
            };
            let (state, known) = own.unwrap_or_default();
            let in_slice = self.random.within(0, amount).min(state.granted - state.spent);
            postings.push(Posting {
                budget: *budget,
                period: Period(0),
                slice: state.id,
                in_slice,
                of_hold: 0,
                usd: true,
                beyond: amount - in_slice,
                held: 0,
                known: Some(known),
            });
        }
        postings
    }

    async fn charge(&mut self, at: usize, step: usize) {
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..self.random.within(1, 4) {
            let entry = self.entry(at, step, n);
            if entries.iter().all(|other| other.charge_id != entry.charge_id) {
                entries.push(entry);
            }
        }
        let mut there = entries.clone();
        for posting in there.iter_mut().flat_map(|entry| &mut entry.postings) {
            posting.slice = self.ids.there(posting.slice);
        }
        let model = self.models[at].charge(&entries.iter().collect::<Vec<_>>()).await;
        let real = self.real[at].charge(&there.iter().collect::<Vec<_>>()).await;
        let plain = |ids: &Ids, batch: Batch| (posted(batch.posted), ids.slices(&batch.slices));
        let model = model.map(|batch| plain(&Ids::of_model(&self.tables), batch));
        assert_eq!(real.map(|batch| plain(&self.ids, batch)), model, "{entries:#?}");
    }

    async fn beat(&mut self, at: usize) {
        let (mut model, mut real) = (self.models[at].beat(3).await, self.real[at].beat(3).await);
        if self.models.len() == 1 {
            // Nobody else is there, and nothing is said.
            for beat in [&mut model, &mut real] {
                beat.iter_mut()
                    .for_each(|beat| *beat = Beat { closing: std::mem::take(&mut beat.closing), ..Beat::default() });
            }
        }
        let peer = model.as_ref().ok().and_then(|beat| beat.peers.first().copied());
        let of_model = Ids::of_model(&self.tables);
        assert_eq!(real.map(|beat| self.ids.beat(beat)), model.map(|beat| of_model.beat(beat)));
        // One of them dies late, and none twice.
        if let Some(peer) = peer.filter(|_| self.charges.len() > 2 * STEPS / 3) {
            let old = tollreeve::engine::journal::Peer { seq: peer.seq - i64::from(self.random.once_in(2)), ..peer };
            assert_eq!(self.real[at].expire(&old).await, self.models[at].expire(&old).await);
        }
    }

    async fn give_back(&mut self, at: usize) {
        let room: Vec<(i64, i64)> =
            self.some_slices().into_iter().map(|id| (id, self.random.within(0, 100_000_000))).collect();
        let there: Vec<(i64, i64)> = room.iter().map(|(id, by)| (self.ids.there(*id), *by)).collect();
        let (model, real) = (self.models[at].give_back(&room).await, self.real[at].give_back(&there).await);
        let of_model = Ids::of_model(&self.tables);
        assert_eq!(
            real.map(|states| self.ids.slices(&states)),
            model.map(|states| of_model.slices(&states)),
            "{room:?}"
        );
    }

    async fn fold(&mut self, at: usize) {
        let some = self.some_slices();
        let there: Vec<i64> = some.iter().map(|id| self.ids.there(*id)).collect();
        let (model, real) = (self.models[at].fold(&some).await, self.real[at].fold(&there).await);
        let sorted = |folded: Result<Vec<tollreeve::engine::journal::Folded>, JournalError>| {
            folded.map(|mut folded| {
                folded.sort_by_key(|one| (one.budget, one.freed));
                folded
            })
        };
        assert_eq!(sorted(real), sorted(model), "{some:?}");
    }

    /// The books agree, also when all have stopped.
    async fn compare_books(&mut self) {
        for at in 0..self.models.len() {
            for budget in self.budgets.clone() {
                let (model, real) = (self.models[at].books(budget, Period(0)), self.real[at].books(budget, Period(0)));
                assert_eq!(real.await, model.await);
            }
            assert_eq!(self.real[at].retire(&[]).await, self.models[at].retire(&[]).await);
        }
        for budget in self.budgets.clone() {
            let (model, real) = (self.models[0].books(budget, Period(0)), self.real[0].books(budget, Period(0)));
            assert_eq!(real.await, model.await);
        }
    }
}

impl Ids {
    /// Each slice of the model by its own id.
    fn of_model(tables: &Mutex<Tables>) -> Self {
        Self(tables.lock().slices.iter().map(|slice| (slice.state.id, slice.state.id)).collect())
    }
}
