//! A database that forgets what it had committed: a standby that was behind, or an older copy of the ledger, takes its place
//! under two servers. Both put back what they know, and whoever comes after them goes on from there.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tollreeve::{
    config::Config,
    engine::journal::{Confirmed, Journal as _, Known},
    pb::tollreeve::v1::{self as pb, ChargeStatus, DenialCode},
    runtime::Ended,
    store::{Db, connect::Settings},
};
use tonic::Code;

use crate::harness::{
    eventually,
    ledger::joined,
    postgres::{self, Cluster},
    proxy::Proxy,
    server::Env,
    world::{World, codes, on_hold},
};

/// The tables of the ledger, in an order in which each refers only to earlier ones.
const TABLES: [&str; 7] =
    ["replicas", "budget_periods", "slices", "charges", "usage_series", "usage_sums", "replica_mail"];
const LIMIT: i64 = 100_000;

/// A database that will forget what it commits from a moment on.
trait Forgetful {
    async fn begin(&mut self);
    async fn forget(&mut self);
}

/// The tables of the ledger are put back to what they were.
struct OlderCopy(PgConnection);

impl OlderCopy {
    async fn run(&mut self, statements: impl Iterator<Item = String>) {
        let mut tx = self.0.begin().await.expect("begins");
        for sql in statements {
            tx.execute(AssertSqlSafe(sql)).await.expect("runs");
        }
        tx.commit().await.expect("commits");
    }
}

impl Forgetful for OlderCopy {
    /// Keeps a copy of the ledger, and waits until every server has given signs of life that are not in it.
    async fn begin(&mut self) {
        self.run(TABLES.iter().map(|table| format!("CREATE TABLE copy_of_{table} AS TABLE {table}"))).await;
        eventually("signs of life that will be forgotten", async || {
            let sql = "SELECT bool_and(own.seq > copied.seq + 1) FROM replicas AS own
                       JOIN copy_of_replicas AS copied ON own.boot_id = copied.boot_id WHERE own.state = 1";
            let (all,): (bool,) = sqlx::query_as(sql).fetch_one(&mut self.0).await.expect("read");
            all.then_some(())
        })
        .await;
    }

    async fn forget(&mut self) {
        let lock = format!("LOCK TABLE {}", TABLES.join(", "));
        let clear = TABLES.iter().rev().map(|table| format!("DELETE FROM {table}"));
        let fill =
            TABLES.iter().map(|table| format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_of_{table}"));
        self.run(std::iter::once(lock).chain(clear).chain(fill)).await;
    }
}

/// A standby that does not hear of the last commits is promoted.
struct Standby {
    primary: Cluster,
    standby: Cluster,
    wire: Proxy,
}

impl Forgetful for Standby {
    async fn begin(&mut self) {
        let mut primary = PgConnection::connect(&self.primary.url("postgres")).await.expect("connects");
        let mut standby = PgConnection::connect(&self.standby.url("postgres")).await.expect("connects");
        let now = "SELECT pg_current_wal_lsn()::TEXT";
        let (now,): (String,) = sqlx::query_as(now).fetch_one(&mut primary).await.expect("read");
        eventually("it knows all until now", async || {
            let knows = "SELECT pg_last_wal_replay_lsn() >= $1::PG_LSN";
            let (knows,): (bool,) = sqlx::query_as(knows).bind(&now).fetch_one(&mut standby).await.expect("read");
            knows.then_some(())
        })
        .await;
        self.standby.run("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.standby.run("SELECT pg_reload_conf()").await;
        eventually("it follows no more", async || {
            let receiving = "SELECT COUNT(*) FROM pg_stat_wal_receiver";
            let (receiving,): (i64,) = sqlx::query_as(receiving).fetch_one(&mut standby).await.expect("read");
            (receiving == 0).then_some(())
        })
        .await;
    }

    async fn forget(&mut self) {
        self.primary.crash().await;
        self.standby.run("SELECT pg_promote()").await;
        self.wire.lead_to(self.standby.socket());
    }
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
    let first = Env::start(Some(&cluster.database().await)).await;
    let connection = PgConnection::connect(&url(&first.config)).await.expect("connects");
    all_is_put_back(first, OlderCopy(connection)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_promoted_standby_never_heard_of_the_servers_put_back() {
    let Some(primary) = Cluster::start(&[]).await else { return };
    let standby = primary.standby().await;
    let wire = Proxy::to(primary.socket()).await;
    let name = primary.database().await;
    let name = name.split(['/', '?']).nth(3).expect("a database");
    let first = Env::start(Some(&wire.url(name))).await;
    all_is_put_back(first, Standby { primary, standby, wire }).await;
}

async fn all_is_put_back(mut first: Env, mut database: impl Forgetful) {
    let mut second = first.beside().await;
    let world = World::new(&first).await;
    let there = world.through(second.server.addr());
    let budget = world.dollars(&world.tenant, LIMIT).await;
    let later = world.dollars(&world.workspace, LIMIT).await;
    let early = world.hold(long(world.ask_for(400))).await;
    let before = on_hold(&world.hold(long(world.ask_for(10))).await, 10);
    world.charge(before.clone()).await;

    database.begin().await;
    let settled = on_hold(&early, 300);
    assert_eq!(there.charge(settled.clone()).await.status(), ChargeStatus::Applied);
    // Its slices are younger than the copy.
    let open = there.hold(long(there.ask_for(5_000))).await;
    // So is what this is added up by.
    let own = on_hold(&world.hold(long(world.ask_for(70))).await, 70);
    let own = pb::ChargeRequest { served_model: "another".into(), ..own };
    assert_eq!(world.charge(own.clone()).await.status(), ChargeStatus::Applied);
    database.forget().await;

    for env in [&mut first, &mut second] {
        let ended = tokio::time::timeout(Duration::from_mins(2), env.server.ended()).await;
        assert_eq!(ended, Ok(Ended::TakenForDead), "what it believes is not what is on record");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_are_put_back_when_every_live_server_has_said_what_it_had_set_aside() {
    let Some(cluster) = postgres::shared().await else { return };
    let settings = Settings::Postgres { url: cluster.database().await.into() };
    let (db, _claim) = Db::open(&settings).await.expect("opens");
    let servers = [joined(&db, 1).await, joined(&db, 2).await];
    let Settings::Postgres { url } = &settings else { unreachable!("as above") };
    let mut connection = PgConnection::connect(url.expose_secret()).await.expect("connects");
    // Both live, and neither has said anything of the line of history that the database is on.
    connection.execute("UPDATE replicas SET state = 1, confirmed = 0, declared = 0").await.expect("written");
    let known = Known::default();
    let confirm = async |server: usize| servers[server].confirm(&known).await.expect("answers");
    for _ in 0..3 {
        assert_eq!(confirm(0).await, Confirmed::Waiting, "the other has not said what it had set aside");
    }
    assert_eq!(confirm(1).await, Confirmed::Waiting, "it has now");
    for server in [0, 1] {
        assert_eq!(confirm(server).await, Confirmed::Over);
    }
    db.close().await;
}
