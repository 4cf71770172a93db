//! `PostgreSQL`: one session that holds the lock, and pools for management, for the ledger and for signs of life.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    OpenError, migrations,
    migrations::Applied,
    walls::{self, Wall},
};
use crate::store::Db;

/// The oldest version that is still maintained and tested here.
const OLDEST: u32 = 150_000;
/// Advisory locks are named by numbers within a database: this is `toll`.
const LOCK: i64 = 0x746F_6C6C;
/// Longest that a new connection may take: a host that is gone does not answer at all.
const CONNECT: Duration = Duration::from_secs(5);

/// How to reach a database.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    Ok(options.application_name("tollreeve").options([
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // A transaction begins with everybody's rows in sight: those of the snapshot, the feed and the ledger keep them,
        // those that work in a tenant give them up at once.
        ("tollreeve.tenants", "*"),
    ]))
}

/// A connection that does nothing but hold the lock: any number of servers share it, and whoever brings the database up to
/// date has it alone.
#[derive(Debug)]
pub struct Session {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Session {
    /// Connects, refuses a server that is not safe, brings the database up to date, and takes the lock. While others use
    /// the database it must be up to date already.
    pub(super) async fn take(url: &str) -> Result<(Self, Vec<Applied>, Wall), OpenError> {
        let options = options(url)?;
        let mut connection = connect(&options).await?;
        check(&mut connection).await?;
        let lock = |sql: &'static str| sqlx::query_as::<_, (bool,)>(sql).bind(LOCK);
        let (alone,) = lock("SELECT pg_try_advisory_lock($1)").fetch_one(&mut connection).await?;
        let (applied, wall) = migrate(&options, alone).await?;
        if alone {
            lock("SELECT pg_advisory_unlock($1)").fetch_one(&mut connection).await?;
        }
        let mut session = Self { options, connection: Some(connection) };
        session.share().await?;
        Ok((session, applied, wall))
    }

    /// Takes the lock, unless somebody has it alone.
    async fn share(&mut self) -> Result<(), OpenError> {
        let Some(connection) = &mut self.connection else { return Err(OpenError::InUse) };
        let (free,): (bool,) =
            sqlx::query_as("SELECT pg_try_advisory_lock_shared($1)").bind(LOCK).fetch_one(connection).await?;
        if free { Ok(()) } else { Err(OpenError::InUse) }
    }

    /// Ends the session, and with it the lock.
    pub(super) async fn release(self) {
        if let Some(connection) = self.connection {
            // Whatever goes wrong, the server ends the session when it notices.
            let _ = connection.close().await;
        }
    }

    /// How other connections reach the same database.
    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Makes sure that the lock is held; takes it on a new connection when the old one is gone.
    pub(super) async fn confirm(&mut self) -> Result<(), OpenError> {
        if let Some(mut held) = self.connection.take()
            && matches!(tokio::time::timeout(CONNECT, held.ping()).await, Ok(Ok(())))
        {
            self.connection = Some(held);
            return Ok(());
        }
        let mut connection = connect(&self.options).await?;
        check(&mut connection).await?;
        self.connection = Some(connection);
        self.share().await.inspect_err(|_| self.connection = None)
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    match tokio::time::timeout(CONNECT, PgConnection::connect_with(options)).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(OpenError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}

/// Refuses a server that may lose what it has acknowledged.
async fn check(connection: &mut PgConnection) -> Result<(), OpenError> {
    if connection.server_version_num().is_none_or(|version| version < OLDEST) {
        return Err(OpenError::Unsafe("it needs PostgreSQL 15 or later".to_owned()));
    }
    let settings: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM pg_settings
         WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?;
    if let Some((name,)) = settings.first() {
        return Err(OpenError::Unsafe(format!("{name} is off: a crash of its host would lose charges")));
    }
    let (standby,): (bool,) = sqlx::query_as("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if standby { Err(OpenError::Unsafe("it is a standby, which cannot be written".to_owned())) } else { Ok(()) }
}

/// Brings the database up to date, if it is ours, and raises the wall between tenants. Unless this server is alone with
/// it, it must be up to date.
async fn migrate(options: &PgConnectOptions, alone: bool) -> Result<(Vec<Applied>, Wall), OpenError> {
    // A migration of a large table may take long; nobody else waits for it.
    let quiet = ("client_min_messages", "warning");
    let options = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0"), quiet]);
    let mut connection = connect(&options).await?;
    recognize(&mut connection).await?;
    if !alone && !migrations::is_up_to_date(&migrations::postgres(), &mut connection).await? {
        return Err(OpenError::InUse);
    }
    let applied = migrations::run(&migrations::postgres(), &mut connection).await?;
    let wall = walls::raise(&mut connection, alone).await?;
    connection.close().await?;
    Ok((applied, wall))
}

/// Refuses a database that has tables, but not ours.
async fn recognize(connection: &mut PgConnection) -> Result<(), OpenError> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename")
            .fetch_all(connection)
            .await?;
    let tables: Vec<&str> = rows.iter().map(|(name,)| name.as_str()).collect();
    let ours = tables.contains(&migrations::TABLE) && tables.contains(&"tenants");
    match tables.iter().find(|table| **table != migrations::TABLE) {
        Some(table) if !ours => Err(OpenError::Foreign(format!("it has the table {table}, and none of ours"))),
        _ => Ok(()),
    }
}

/// The pools for management, for the ledger and for signs of life. Connections are made when they are needed, tested before they are used
/// and made anew when they are broken, so that an outage ends with the outage. `role` is taken by transactions that work
/// in a tenant.
pub(super) fn pools(options: &PgConnectOptions, role: &str) -> Db {
    // Compiling a statement takes longer than any of ours runs, and is done when the planner has no statistics yet.
    let options = options.clone().options([("tollreeve.role", role), ("jit", "off")]);
    // One whose other end is gone without a word must not keep its place; nor one that is in a transaction still, because
    // its BEGIN was given up: sqlx takes it to be free.
    let pool = |connections| {
        PgPoolOptions::new().max_connections(connections).after_release(|connection, _| {
            Box::pin(async {
                // As one simple query: a prepared statement counts from when it is bound, its transaction from before that.
                let is_free = sqlx::raw_sql("SELECT now() = statement_timestamp()").fetch_one(connection);
                match tokio::time::timeout(CONNECT, is_free).await {
                    Ok(answer) => answer?.try_get(0),
                    Err(late) => Err(sqlx::Error::Io(late.into())),
                }
            })
        })
    };
    let management = pool(8).acquire_timeout(Duration::from_secs(3));
    let ledger = pool(4).acquire_timeout(Duration::from_secs(1));
    let pulse = pool(1).acquire_timeout(Duration::from_secs(1));
    // A server that is frozen in the middle of a transaction of the ledger must not keep the others from theirs for long.
    // Its statements go by key: a plan that reads all of a table, made while that was small, would be kept as it grows.
    let brief = options.clone().options([
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("enable_seqscan", "off"),
    ]);
    Db::Postgres {
        pool: management.connect_lazy_with(options),
        ledger: ledger.connect_lazy_with(brief.clone()),
        pulse: pulse.connect_lazy_with(brief),
    }
}
