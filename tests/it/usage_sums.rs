//! The sums of usage, which are written with the charges themselves: always what the charges come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tollreeve::{
    config::Config,
    domain::{
        bindings::Principal,
        id::{Id, TeamId},
        prices::Usage,
        time::Timestamp,
    },
    engine::journal::{Entry, Journal as _, Posted},
    store::{
        charge_log::{self, Filter},
        connect::Settings,
        ledger::Ledger,
        listing::Position,
    },
};

use crate::harness::{
    both,
    clock::START,
    ledger::{entry_with, joined},
    random::Random,
    server::Env,
};
use crate::start::execute;

both!(
    sums_of_usage_are_what_the_charges_of_several_servers_come_to,
    a_charge_that_was_there_before_the_sums_is_added_up_by_the_migration,
    what_is_rare_is_found_in_the_log_behind_ten_thousand_others,
);

const WRITERS: usize = 6;
const ROUNDS: usize = 25;

/// Requests and cost of each team in each hour, as the charges have it that were new.
type OfTeams = BTreeMap<(String, i64), (i64, i64)>;

async fn sums_of_usage_are_what_the_charges_of_several_servers_come_to(env: &mut Env) {
    let mut random = Random::fresh("sums_of_usage");
    let db = env.server.app().db.clone();
    let mut ledgers = Vec::new();
    // On PostgreSQL the first and the last share their rows.
    for boot in [1, 2, 65] {
        ledgers.push(joined(&db, boot).await);
    }
    // As if each of them, and the server itself, were still there.
    undone(&env.config, "UPDATE replicas SET state = 1").await;
    let (ids, teams) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(OfTeams::new())));
    let writers = (0..WRITERS).map(|n| {
        let ledger = ledgers[n % ledgers.len()].clone();
        tokio::spawn(write(ledger, Arc::clone(&ids), Arc::clone(&teams), random.fork()))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("every transaction comes to its end");
    }
    let books = env.books().await;
    books.check().await;
    let rows: Vec<(String, i64, i64, i64)> = books
        .rows(
            "SELECT team_id, start, CAST(SUM(requests) AS BIGINT), CAST(SUM(dollars) * 1000000000 + SUM(billionths) AS BIGINT)
             FROM usage_sums JOIN usage_series ON usage_series.tenant_id = usage_sums.tenant_id
                 AND usage_series.id = series
             WHERE level = 3 AND span = 1 GROUP BY team_id, start",
        )
        .await;
    let found: OfTeams =
        rows.into_iter().map(|(team, hour, requests, cost)| ((team, hour), (requests, cost))).collect();
    assert_eq!(found, *teams.lock());
    assert!(found.len() > 20, "{}", found.len());
    books.close().await;
}

/// Runs SQL past the server.
pub async fn undone(config: &Config, sql: &'static str) {
    let url = match &config.database {
        Settings::Postgres { url } => Some(url.expose_secret()),
        Settings::Sqlite { .. } => None,
    };
    execute(url, &config.data_dir, sql).await;
}

async fn write(ledger: Ledger, ids: Arc<Mutex<Vec<String>>>, teams: Arc<Mutex<OfTeams>>, mut random: Random) {
    for _ in 0..ROUNDS {
        let entries: Vec<Entry> = (0..random.within(1, 90)).map(|_| entry(&mut ids.lock(), &mut random)).collect();
        let mut seen = BTreeSet::new();
        let batch: Vec<&Entry> = entries.iter().filter(|entry| seen.insert(&entry.charge_id)).collect();
        let written = ledger.charge(&batch).await.expect("written");
        let mut teams = teams.lock();
        for (entry, posted) in batch.iter().zip(&written.posted) {
            if let Posted::New { .. } = posted {
                let hour = entry.recorded.micros() / 3_600_000_000;
                for team in &entry.teams {
                    let (requests, cost) = teams.entry((team.to_string(), hour)).or_default();
                    *requests += entry.usage.requests;
                    *cost += entry.cost;
                }
            }
        }
    }
}

/// A charge of anybody anywhere at some time of three days, or one whose id is taken.
fn entry(ids: &mut Vec<String>, random: &mut Random) -> Entry {
    let charge_id = if random.once_in(6) && !ids.is_empty() {
        random.pick(ids).clone()
    } else {
        ids.push(format!("{:016x}", random.next()));
        ids[ids.len() - 1].clone()
    };
    let some = |random: &mut Random| u128::try_from(random.within(1, 3)).expect("small");
    let owner = some(random);
    let teams: Vec<TeamId> =
        (1..=random.within(0, 2)).map(|n| Id::from_bits(u128::try_from(n).expect("small"))).collect();
    let minutes = u64::try_from(random.within(0, 3 * 24 * 60)).expect("small");
    let at = START.after(Duration::from_mins(minutes));
    let count = |random: &mut Random| random.within(0, 1_000_000_000_000);
    Entry {
        tenant: Id::from_bits(some(random)),
        body_hash: random.pick(&["a".to_owned(), "b".to_owned()]).clone(),
        workspace: Some(Id::from_bits(some(random))),
        project: random.once_in(2).then(|| Id::from_bits(some(random))),
        key: random.once_in(2).then(|| Id::from_bits(owner)),
        owner: Principal::User(Id::from_bits(owner)),
        teams,
        provider: "azure".into(),
        model: random.pick(&["gpt-4o".to_owned(), "o3".to_owned(), String::new()]).clone(),
        usage: Usage {
            input: count(random),
            cached_input: count(random),
            cache_write: count(random),
            output: count(random),
            reasoning: count(random),
            requests: random.within(0, 3),
        },
        cost: random.within(0, 3_000_000_000),
        charge_id,
        occurred: Timestamp::from_micros(0),
        recorded: at,
        ..entry_with(Vec::new())
    }
}

async fn a_charge_that_was_there_before_the_sums_is_added_up_by_the_migration(env: &mut Env) {
    let mut random = Random::fresh("before_the_sums");
    let ledger = joined(&env.server.app().db, 1).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let entries: Vec<Entry> = (0..50).map(|_| entry(&mut ids, &mut random)).collect();
        let mut seen = BTreeSet::new();
        let batch: Vec<&Entry> = entries.iter().filter(|entry| seen.insert(&entry.charge_id)).collect();
        ledger.charge(&batch).await.expect("written");
    }
    // On SQLite it has taken the server's place.
    undone(&env.config, "UPDATE replicas SET state = 1").await;
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh);
    let old = old
        .restart_after(async |config: &Config| {
            let undo = "DROP TABLE usage_series; DROP TABLE usage_sums; DROP INDEX charges_by_time;
                        DELETE FROM _sqlx_migrations WHERE version = 27;";
            undone(config, undo).await;
        })
        .await;
    let books = old.books().await;
    assert!(books.charges().await.len() > 100);
    books.check().await;
    // And on with it.
    let ledger = joined(&old.server.app().db, 7).await;
    let entries: Vec<Entry> = (0..50).map(|_| entry(&mut Vec::new(), &mut random)).collect();
    ledger.charge(&entries.iter().collect::<Vec<_>>()).await.expect("written");
    books.check().await;
    books.close().await;
    undone(&old.config, "UPDATE replicas SET state = 1").await;
    old.end().await;
}

async fn what_is_rare_is_found_in_the_log_behind_ten_thousand_others(env: &mut Env) {
    let db = env.server.app().db.clone();
    let ledger = joined(&db, 1).await;
    let (common, rare) = (Principal::User(Id::from_bits(1)), Principal::User(Id::from_bits(2)));
    let hour = Duration::from_hours(1);
    let entry = |n: i64, owner: Principal, at: Timestamp| Entry {
        charge_id: format!("charge-{n}"),
        owner,
        occurred: at,
        recorded: at,
        model: if owner == rare { "rare".into() } else { "common".into() },
        ..entry_with(Vec::new())
    };
    // Long ago, not so long ago with many at the same time, and many since.
    let old = [entry(1, rare, START.before(hour * 1000)), entry(2, rare, START), entry(3, rare, START)];
    ledger.charge(&old.iter().collect::<Vec<_>>()).await.expect("written");
    for batch in 0..11 {
        let at = if batch < 5 { START } else { START.after(hour * 5) };
        let entries: Vec<Entry> = (0..1000).map(|n| entry(1000 + batch * 1000 + n, common, at)).collect();
        ledger.charge(&entries.iter().collect::<Vec<_>>()).await.expect("written");
    }
    undone(&env.config, "UPDATE replicas SET state = 1").await;
    let tenant = Id::from_bits(1);
    let owner = Filter { owner: Some(rare), ..Filter::default() };
    let model = Filter { model: "rare".into(), ..Filter::default() };
    let recent = Filter { start: Some(START), ..owner.clone() };
    let before = Filter { end: Some(START), ..owner.clone() };
    for (filter, ids) in [(&owner, &[3, 2, 1][..]), (&model, &[3, 2, 1]), (&recent, &[3, 2]), (&before, &[1])] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let mut tx = db.read().await.expect("begins");
            let (mut rows, next) = charge_log::list(&mut tx, tenant, filter, after.as_ref(), 2).await.expect("a page");
            // As pages do it: one row more than is shown tells that there is more.
            let more = rows.len() == 2;
            rows.truncate(1);
            let last = rows.last().map(tollreeve::domain::listing::Sorted::id);
            found.extend(rows.into_iter().map(|row| row.charge_id));
            match next.or(last.filter(|_| more)) {
                Some(id) => after = Some(Position { id, key: String::new() }),
                None => break,
            }
        }
        assert_eq!(found, ids.iter().map(|id| format!("charge-{id}")).collect::<Vec<_>>(), "{filter:?}");
    }
}
