//! The only SQL: typed pools for two databases behind one [`Tx`], and one file per noun.
//!
//! A statement is a constant text that both databases understand; what they cannot share is in [`dialect`]. There is no
//! trait over repositories: `SQLite` in a temporary folder is the fake.

use std::{borrow::Cow, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use crate::domain::id::TenantId;

#[macro_use]
mod macros;

pub mod alerts;
pub mod assertions;
pub mod audit;
pub mod audit_tree;
pub mod bell;
pub mod bindings;
pub mod budgets;
pub mod charge_log;
pub mod charges;
pub mod connect;
pub mod credit_pools;
pub mod credit_proof;
pub mod credits;
pub mod dialect;
pub mod ended_bases;
pub mod feed;
pub mod former_users;
pub mod headcounts;
pub mod identity_providers;
pub mod invitations;
pub mod key_warnings;
pub mod keyring;
pub mod keys;
pub mod last_used;
pub mod ledger;
pub mod listing;
pub mod mail;
mod matches;
pub mod names;
pub mod passwords;
pub mod prices;
pub mod projects;
mod recovery;
pub mod replicas;
pub mod requests;
pub mod reviews;
pub mod role_templates;
pub mod roles;
pub mod search;
pub mod seats;
pub mod service_account_keys;
pub mod service_accounts;
pub mod sessions;
pub mod signing_keys;
pub mod slices;
pub mod snapshot;
pub mod statements;
pub mod summaries;
pub mod teams;
pub mod tenants;
pub mod usage;
pub mod usage_counts;
pub mod usage_queries;
pub mod users;
pub mod workspaces;
mod writing;

/// A database, of either kind.
#[derive(Clone, Debug)]
pub enum Db {
    /// Embedded. One connection writes, because `SQLite` has one writer; others read beside it.
    Sqlite {
        /// The one writer.
        write: SqlitePool,
        /// Readers: they see the last commit and never wait for the writer.
        read: SqlitePool,
    },
    /// A server.
    Postgres {
        /// For management and reads.
        pool: PgPool,
        /// For the ledger: charges never wait behind management.
        ledger: PgPool,
        /// For signs of life: they wait behind nothing.
        pulse: PgPool,
    },
}

/// A transaction on either database. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On `SQLite`.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On `PostgreSQL`.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Why the database did not do what it was asked. Nothing was changed, unless it is said.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, cannot write, or took too long. Trying again later may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// The answer to a commit was lost: the changes are durable, all of them, or undone.
    #[error("the database did not say whether it committed: {0}")]
    InDoubt(#[source] sqlx::Error),
    /// It holds something that this program never writes.
    #[error("the database holds a {0} that cannot be read")]
    Corrupt(Cow<'static, str>),
}

/// Longest that `PostgreSQL` may say nothing to a statement: it ends every one sooner itself. The other end of a connection may
/// be gone and not say so; without this, whoever waits for it would wait for ever.
const ANSWER: Duration = Duration::from_secs(12);

/// The outcome of a statement on `PostgreSQL`, or an error when it does not come in time: the transaction must be dropped then.
async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    // Boxed: what waits for it is large enough.
    match tokio::time::timeout(ANSWER, Box::pin(answer)).await {
        Ok(answer) => answer,
        Err(late) => Err(sqlx::Error::Io(late.into())),
    }
}

/// What every function here returns.
pub type Result<T> = std::result::Result<T, StoreError>;

impl Db {
    /// Begins a transaction that changes something.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<Tx> {
        match self {
            // IMMEDIATE: a plain BEGIN that reads and then writes fails when another has written in between.
            Self::Sqlite { write, .. } => Ok(Tx::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?)),
            Self::Postgres { pool, .. } => Ok(Tx::Postgres(in_time(pool.begin()).await?)),
        }
    }

    /// Begins a transaction of the ledger.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_ledger(&self) -> Result<Tx> {
        match self {
            Self::Sqlite { .. } => self.begin().await,
            Self::Postgres { ledger, .. } => Ok(Tx::Postgres(in_time(ledger.begin()).await?)),
        }
    }

    /// Begins a transaction for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_pulse(&self) -> Result<Tx> {
        match self {
            Self::Sqlite { .. } => self.read().await,
            Self::Postgres { pulse, .. } => Ok(Tx::Postgres(in_time(pulse.begin()).await?)),
        }
    }

    /// Begins a transaction that only reads, and sees one state of the database throughout.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read(&self) -> Result<Tx> {
        match self {
            Self::Sqlite { read, .. } => Ok(Tx::Sqlite(read.begin().await?)),
            Self::Postgres { pool, .. } => {
                let begun = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                Ok(Tx::Postgres(in_time(begun).await?))
            }
        }
    }

    /// Closes every connection; what is under way is finished first.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres { pool, ledger, pulse } => {
                pulse.close().await;
                ledger.close().await;
                pool.close().await;
            }
        }
    }
}

impl Tx {
    /// Makes the changes durable.
    ///
    /// # Errors
    /// On `SQLite` a commit that fails has not happened: [`StoreError::Unavailable`]. Over a network that is not known:
    /// [`StoreError::InDoubt`].
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            Self::Postgres(tx) => in_time(tx.commit()).await.map_err(StoreError::InDoubt),
        }
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are undone all the same, when the database notices that nobody waits.
    pub async fn rollback(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await?,
            Self::Postgres(tx) => in_time(tx.rollback()).await?,
        }
        Ok(())
    }

    /// Gives up the sight of every row but those of these tenants, until the end of the transaction: the second wall, behind
    /// the conditions of the statements. Without effect on `SQLite`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn wall(&mut self, tenants: &[TenantId]) -> Result<()> {
        if let Self::Postgres(tx) = self {
            let tenants = tenants.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let sql = "SELECT set_config('tollreeve.tenants', $1, TRUE),
                    set_config('role', current_setting('tollreeve.role'), TRUE)";
            in_time(sqlx::query(sql).bind(tenants).execute(&mut **tx)).await?;
        }
        Ok(())
    }
}

/// What an insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// The row is there now.
    New,
    /// A row with the same identity was there before; nothing changed.
    Exists,
}

impl From<u64> for Inserted {
    fn from(rows: u64) -> Self {
        if rows == 0 { Self::Exists } else { Self::New }
    }
}

/// A page of a list: up to `limit` rows after the one whose id is `after`.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Id of the last row of the page before; empty for the first page.
    pub after: String,
    /// Most rows to find: one more than are shown, so that a next page is noticed.
    pub limit: i64,
}

/// The text that an enum of the domain is stored as: its name in JSON, which never changes.
fn text_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        // Only enums without fields are stored this way; anything else would be refused when it is read.
        _ => String::new(),
    }
}

/// The enum that a text stands for.
fn value_of<T: DeserializeOwned>(text: String, what: &'static str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| StoreError::Corrupt(what.into()))
}

/// Reads an id or slug.
fn parse<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T> {
    text.parse().map_err(|_| StoreError::Corrupt(what.into()))
}
