//! A database that forgets what it had committed: an older copy of the ledger takes its place under two servers. Both put
//! back what they know, and whoever comes after them goes on from there.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tollreeve::{
    config::Config,
    pb::tollreeve::v1::{self as pb, ChargeStatus, DenialCode},
    runtime::Ended,
    store::connect::Settings,
};
use tonic::Code;

use crate::harness::{
    eventually, postgres,
    server::Env,
    world::{World, codes, on_hold},
};

/// The tables of the ledger, in an order in which each refers only to earlier ones.
const TABLES: [&str; 5] = ["replicas", "budget_periods", "slices", "charges", "replica_mail"];
const LIMIT: i64 = 100_000;

async fn run(connection: &mut PgConnection, statements: impl Iterator<Item = String>) {
    let mut tx = connection.begin().await.expect("begins");
    for sql in statements {
        tx.execute(AssertSqlSafe(sql)).await.expect("runs");
    }
    tx.commit().await.expect("commits");
}

/// Keeps a copy of the ledger, and waits until every server has given signs of life that are not in it.
async fn copy(connection: &mut PgConnection) {
    run(connection, TABLES.iter().map(|table| format!("CREATE TABLE copy_of_{table} AS TABLE {table}"))).await;
    eventually("signs of life that will be forgotten", async || {
        let sql = "SELECT bool_and(own.seq > copied.seq + 1) FROM replicas AS own
                   JOIN copy_of_replicas AS copied ON own.boot_id = copied.boot_id WHERE own.state = 1";
        let (all,): (bool,) = sqlx::query_as(sql).fetch_one(&mut *connection).await.expect("read");
        all.then_some(())
    })
    .await;
}

/// Puts the copy in the ledger's place.
async fn fall_back(connection: &mut PgConnection) {
    let lock = format!("LOCK TABLE {}", TABLES.join(", "));
    let clear = TABLES.iter().rev().map(|table| format!("DELETE FROM {table}"));
    let fill = TABLES.iter().map(|table| format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_of_{table}"));
    run(connection, std::iter::once(lock).chain(clear).chain(fill)).await;
}

fn long(asked: pb::AuthorizeRequest) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { hold_ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }), ..asked }
}

fn url(config: &Config) -> String {
    let Settings::Postgres { url } = &config.database else { panic!("on PostgreSQL") };
    url.expose_secret().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_has_forgotten_the_servers_put_back() {
    let Some(cluster) = postgres::shared().await else { return };
    let mut first = Env::start(Some(&cluster.database().await)).await;
    let mut second = first.beside().await;
    let world = World::new(&first).await;
    let there = world.through(second.server.addr());
    let budget = world.dollars(&world.tenant, LIMIT).await;
    let later = world.dollars(&world.workspace, LIMIT).await;
    let mut connection = PgConnection::connect(&url(&first.config)).await.expect("connects");
    let early = world.hold(long(world.ask_for(400))).await;
    let before = on_hold(&world.hold(long(world.ask_for(10))).await, 10);
    world.charge(before.clone()).await;

    copy(&mut connection).await;
    let settled = on_hold(&early, 300);
    assert_eq!(there.charge(settled.clone()).await.status(), ChargeStatus::Applied);
    // Its slices are younger than the copy.
    let open = there.hold(long(there.ask_for(5_000))).await;
    let own = on_hold(&world.hold(long(world.ask_for(70))).await, 70);
    assert_eq!(world.charge(own.clone()).await.status(), ChargeStatus::Applied);
    fall_back(&mut connection).await;

    for env in [&mut first, &mut second] {
        assert_eq!(env.server.ended().await, Ended::TakenForDead, "what it believes is not what is on record");
    }
    let third = first.beside().await;
    let world = world.through(third.server.addr());
    for charge in [before, settled, own] {
        assert_eq!(world.charge(charge).await.status(), ChargeStatus::Replayed, "it was acknowledged");
    }
    let state = world.state(&budget).await;
    assert_eq!(state.spent, 380);
    // The hold is still set aside, and nothing that is can be held again.
    let answer = world.authorize(long(world.ask_for(LIMIT - 380 - 5_000 + 1))).await;
    assert_eq!(codes(&answer), [DenialCode::BudgetExhausted; 2]);
    let answer = world.charge(on_hold(&open, 5_000)).await;
    assert_eq!((answer.status(), answer.overrun_nanos), (ChargeStatus::Applied, 0));
    for budget in [&budget, &later] {
        assert_eq!(world.state(budget).await.spent, 5_380);
    }
    let books = third.books().await;
    books.check().await;
    books.close().await;
    for env in [first, second] {
        env.server.stop().await.expect_err("others have its place");
    }
    third.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_until_every_live_server_has_said_what_was_forgotten() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    world.dollars(&world.tenant, LIMIT).await;
    let hold = world.hold(long(world.ask_for(400))).await;
    let mut connection = PgConnection::connect(&url(&first.config)).await.expect("connects");
    // A server of which nobody knows whether it lives, on an earlier line of history.
    let sql = "INSERT INTO replicas (boot_id, started, state, seq, answers_for) VALUES ('boot_000000000000000000000000zz', 0, 1, 1, 1000000)";
    connection.execute(sql).await.expect("written");
    let error = world.try_charge(on_hold(&hold, 1)).await.expect_err("nobody knows what the other had set aside");
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    // It is taken for dead when it has given no sign of life for long enough; then charges are written again, and nothing
    // is set aside until no hold that it may have given can live.
    eventually("the silent server is taken for dead", async || {
        first.clock.advance(Duration::from_secs(1));
        world.try_charge(on_hold(&hold, 1)).await.ok()
    })
    .await;
    let (doubtful,): (bool,) =
        sqlx::query_as("SELECT doubtful FROM replicas WHERE boot_id = 'boot_000000000000000000000000zz'")
            .fetch_one(&mut connection)
            .await
            .expect("read");
    assert!(doubtful);
    first.end().await;
}
