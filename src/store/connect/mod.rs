//! Opens the database: takes it, on `SQLite` for this server alone; refuses what is not ours or not safe, migrates it.

mod migrations;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;
mod walls;

use std::{fs::File, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Db;
use walls::Wall;

pub use migrations::Applied;

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Settings {
    /// Embedded, in a folder of its own, which is made if it is missing.
    Sqlite {
        /// The folder.
        folder: PathBuf,
    },
    /// A `PostgreSQL` server.
    Postgres {
        /// `postgres://user:password@host:port/database`, with the usual parameters.
        url: SecretString,
    },
}

/// Why the database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it for itself; or servers of an earlier version use it, and it would have to be brought up to date.
    #[error("another Tollreeve server uses this database")]
    InUse,
    /// A later version of this program has written it.
    #[error("the database is newer than this program: it has migration {0}, which is unknown here")]
    Newer(i64),
    /// It belongs to another program.
    #[error("this is not a database of Tollreeve: {0}")]
    Foreign(String),
    /// What a migration says is not what was applied.
    #[error("migration {0} was applied to the database in another form")]
    Modified(i64),
    /// It would lose what it has acknowledged, or is too old.
    #[error("the database is not safe to use: {0}")]
    Unsafe(String),
    /// The URL cannot be read. The text never holds the password.
    #[error("the URL of the database cannot be read: {0}")]
    Url(String),
    /// The folder or a file in it cannot be made or locked.
    #[error("{path}: {cause}")]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A migration failed; it was rolled back.
    #[error("migration {version} failed: {cause}")]
    Migration {
        /// Which.
        version: i64,
        /// Why.
        cause: sqlx::Error,
    },
    /// It cannot be reached.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
}

/// The right to use the database, for as long as this lives.
#[derive(Debug)]
pub enum Claim {
    /// Alone, by a lock on a file, which the system releases when the process ends, however it ends.
    File(File),
    /// With others, by a lock of a `PostgreSQL` session, which the server releases when the connection ends.
    Session(Box<postgres::Session>),
}

impl Claim {
    /// Makes sure that the database may still be used. After an outage of `PostgreSQL` the lock is taken anew.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when somebody brings it up to date meanwhile: this server must stop. [`OpenError::Unavailable`] when
    /// nobody can tell: ask again.
    pub async fn confirm(&mut self) -> Result<(), OpenError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Session(session) => session.confirm().await,
        }
    }

    /// Gives the database free, so that the next server need not wait until the loss of the connection is noticed.
    pub async fn release(self) {
        match self {
            Self::File(file) => drop(file),
            Self::Session(session) => session.release().await,
        }
    }
}

impl Db {
    /// Opens the database and brings it up to date; `SQLite` for this server alone.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(settings: &Settings) -> Result<(Self, Claim), OpenError> {
        match settings {
            Settings::Sqlite { folder } => {
                let lock = sqlite::lock(folder)?;
                let (write, _) = sqlite::migrated(folder).await?;
                let read = sqlite::readers(folder).await?;
                Ok((Self::Sqlite { write, read }, Claim::File(lock)))
            }
            Settings::Postgres { url } => {
                let (session, _, wall) = postgres::Session::take(url.expose_secret()).await?;
                if let Wall::Off(why) = &wall {
                    tracing::warn!(
                        why,
                        "the second wall between tenants is off: this user of PostgreSQL is above row-level security and \
                         cannot take the role tollreeve_tenant. Connect as a user without BYPASSRLS, or one who may \
                         create roles"
                    );
                }
                let db = postgres::pools(session.options(), wall.role());
                Ok((db, Claim::Session(Box::new(session))))
            }
        }
    }

    /// Opens a database that a server may be using, to read of it. It is neither locked nor brought up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(settings: &Settings) -> Result<Self, OpenError> {
        match settings {
            Settings::Sqlite { folder } => {
                let read = sqlite::readers(folder).await?;
                Ok(Self::Sqlite { write: read.clone(), read })
            }
            Settings::Postgres { url } => {
                // Nothing that only reads of a database works in a tenant.
                let options = postgres::options(url.expose_secret())?;
                Ok(postgres::pools(&options, Wall::Bound.role()))
            }
        }
    }

    /// Opens a database that a server may be using, to read of it and to change what no decision depends on but by the feed.
    /// It is neither locked nor brought up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn attach(settings: &Settings) -> Result<Self, OpenError> {
        let db = Self::connect(settings).await?;
        match (settings, db) {
            (Settings::Sqlite { folder }, Self::Sqlite { read, .. }) => {
                Ok(Self::Sqlite { write: sqlite::writer(folder).await?, read })
            }
            (_, db) => Ok(db),
        }
    }

    /// Brings the database up to date and closes it again. Gives the migrations that it lacked.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(settings: &Settings) -> Result<Vec<Applied>, OpenError> {
        match settings {
            Settings::Sqlite { folder } => {
                let _lock = sqlite::lock(folder)?;
                let (write, applied) = sqlite::migrated(folder).await?;
                write.close().await;
                Ok(applied)
            }
            Settings::Postgres { url } => {
                let (session, applied, _) = postgres::Session::take(url.expose_secret()).await?;
                session.release().await;
                Ok(applied)
            }
        }
    }
}
