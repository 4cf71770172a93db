//! Many transactions of the ledger at once, as several servers on one database write them.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tollreeve::{
    domain::{id::BudgetId, time::Clock as _, window::Period},
    engine::journal::{Entry, GrantAsk, Journal as _, Posting},
    store::{Tx, ledger::Ledger},
};

use crate::harness::{
    both,
    ledger::{entry_with, joined},
    random::Random,
    server::Env,
    world::World,
};

both!(transactions_at_once_never_wait_in_a_circle_and_the_books_agree);

const BUDGETS: usize = 6;
const ROUNDS: usize = 80;

/// What the writers know of each other's work.
#[derive(Default)]
struct Known {
    slices: Vec<(i64, BudgetId)>,
    ids: Vec<String>,
}

async fn transactions_at_once_never_wait_in_a_circle_and_the_books_agree(env: &mut Env) {
    let mut random = Random::fresh("transactions_at_once");
    let world = World::new(env).await;
    let mut budgets: Vec<BudgetId> = Vec::new();
    for _ in 0..BUDGETS {
        let name = world.dollars(&world.tenant, 4000).await;
        budgets.push(name.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a budget's name"));
    }
    let (db, now) = (env.server.app().db.clone(), env.clock.now());
    let mut ledgers = Vec::new();
    for boot in 1..=2 {
        ledgers.push(joined(&db, boot).await);
    }
    // As if each of them, and the server itself, were still there.
    match db.begin_ledger().await.expect("begins") {
        Tx::Sqlite(mut tx) => {
            sqlx::query("UPDATE replicas SET state = 1").execute(&mut *tx).await.expect("written");
            tx.commit().await.expect("committed");
        }
        Tx::Postgres(mut tx) => {
            sqlx::query("UPDATE replicas SET state = 1").execute(&mut *tx).await.expect("written");
            tx.commit().await.expect("committed");
        }
    }
    let known = Arc::new(Mutex::new(Known::default()));
    let writers = (0..6).map(|n| {
        let (ledger, budgets, known) = (ledgers[n % 2].clone(), budgets.clone(), Arc::clone(&known));
        tokio::spawn(write(ledger, budgets, known, random.fork(), now))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("every transaction comes to its end");
    }
    assert!(env.books().await.charges().await.len() > ROUNDS);
}

async fn write(
    ledger: Ledger,
    budgets: Vec<BudgetId>,
    known: Arc<Mutex<Known>>,
    mut random: Random,
    now: tollreeve::domain::time::Timestamp,
) {
    for _ in 0..ROUNDS {
        match random.within(0, 20) {
            0..6 => {
                let ask = |budget: &BudgetId, random: &mut Random| GrantAsk {
                    budget: *budget,
                    period: Period(0),
                    need: random.within(0, 60),
                    want: random.within(0, 200),
                    promised: 60,
                    recall: false,
                };
                let asks: Vec<GrantAsk> =
                    some(&budgets, &mut random).iter().map(|budget| ask(budget, &mut random)).collect();
                let granted = ledger.grant(&asks).await.expect("granted");
                let slices =
                    granted.iter().zip(&asks).map(|(granted, ask)| (granted.expect("room").slice.id, ask.budget));
                known.lock().slices.extend(slices);
            }
            6 => {
                let slices = known.lock().slices.clone();
                let some: Vec<i64> = some(&slices, &mut random).iter().map(|(slice, _)| *slice).collect();
                ledger.fold(&some).await.expect("folded");
            }
            _ => {
                let entries: Vec<Entry> = {
                    let mut known = known.lock();
                    let count = random.within(1, 8);
                    (0..count).map(|_| entry(&mut known, &mut random, now)).collect()
                };
                let mut ids = BTreeSet::new();
                let batch: Vec<&Entry> = entries.iter().filter(|entry| ids.insert(&entry.charge_id)).collect();
                let written = ledger.charge(&batch).await.expect("written");
                assert_eq!(written.posted.len(), batch.len());
            }
        }
    }
}

/// Some of these, in any order, each at most once.
fn some<T: Copy>(all: &[T], random: &mut Random) -> Vec<T> {
    let mut some: Vec<(u64, T)> = all.iter().map(|one| (random.next(), *one)).collect();
    some.sort_unstable_by_key(|(place, _)| *place);
    some.truncate(usize::try_from(random.within(1, 6)).expect("few"));
    some.into_iter().map(|(_, one)| one).collect()
}

/// A charge of any slices, its own server's or another's, or one that was sent before.
fn entry(known: &mut Known, random: &mut Random, now: tollreeve::domain::time::Timestamp) -> Entry {
    let mut budgets = BTreeSet::new();
    let mut slices = some(&known.slices, random);
    slices.retain(|(_, budget)| budgets.insert(*budget));
    let posting = |(slice, budget): (i64, BudgetId), random: &mut Random| Posting {
        budget,
        period: Period(0),
        slice,
        in_slice: random.within(0, 30),
        usd: true,
        beyond: if random.once_in(8) { random.within(1, 30) } else { 0 },
        of_hold: 0,
        held: 0,
        known: None,
    };
    let charge_id = if random.once_in(6) && !known.ids.is_empty() {
        random.pick(&known.ids).clone()
    } else {
        known.ids.push(format!("{:016x}", random.next()));
        known.ids[known.ids.len() - 1].clone()
    };
    let postings = slices.into_iter().map(|slice| posting(slice, random)).collect();
    Entry { charge_id, occurred: now, recorded: now, ..entry_with(postings) }
}
