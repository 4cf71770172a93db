//! `SQLite` in a folder of its own: `tollreeve.db`, and `lock` for the one server that uses it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{OpenError, migrations, migrations::Applied};

/// `toll`: marks the file as ours.
const APPLICATION_ID: i64 = 0x746F_6C6C;
/// Fixes a bug in which a checkpoint of the log could lose a commit.
const OLDEST: [u32; 3] = [3, 51, 3];
/// Connections that read.
const READERS: u32 = 4;
/// Longest wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Takes the folder for this process, and makes it if it is missing.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| OpenError::File { path, cause }
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = private(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(cause)) => Err(at(&path)(cause)),
    }
}

/// Opens a file that only its owner may read, and makes it if it is missing.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn file(folder: &Path) -> PathBuf {
    folder.join("tollreeve.db")
}

fn options(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file(folder)).busy_timeout(ACQUIRE).foreign_keys(true)
}

/// The one connection that writes, to a database that is ours and up to date; and which migrations it lacked.
pub(super) async fn migrated(folder: &Path) -> Result<(SqlitePool, Vec<Applied>), OpenError> {
    let path = file(folder);
    // Made here and not by SQLite, for its permissions; SQLite gives the files beside it the same.
    private(&path).map_err(|cause| OpenError::File { path, cause })?;
    recognize(folder).await?;
    let pool = writer(folder).await?;
    let mut connection = pool.acquire().await?;
    sqlx::query("PRAGMA application_id = 0x746F6C6C").execute(&mut *connection).await?;
    let applied = migrations::run(&migrations::sqlite(), &mut *connection).await?;
    drop(connection);
    Ok((pool, applied))
}

/// One connection that writes.
pub(super) async fn writer(folder: &Path) -> Result<SqlitePool, OpenError> {
    let options = options(folder).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    Ok(pool(1).connect_with(options).await?)
}

/// Connections that read what [`migrated`] has opened.
pub(super) async fn readers(folder: &Path) -> Result<SqlitePool, OpenError> {
    Ok(pool(READERS).connect_with(options(folder).pragma("query_only", "ON")).await?)
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // An embedded connection neither ages nor breaks: no need to test it or to make it anew.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // But for one case: on a full disk SQLite itself may end a transaction, and sqlx then counts it as open for ever,
        // so that nothing could begin any more. The rollbacks that are really under way are over once it answers.
        .before_acquire(|connection, _| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    connection.ping().await?;
                }
                Ok(!connection.is_in_transaction())
            })
        })
}

/// Refuses a file that is not ours, before anything is written to it.
async fn recognize(folder: &Path) -> Result<(), OpenError> {
    let mut connection = SqliteConnection::connect_with(&options(folder).read_only(true)).await.map_err(foreign)?;
    let (version,): (String,) =
        sqlx::query_as("SELECT sqlite_version()").fetch_one(&mut connection).await.map_err(foreign)?;
    if numbers(&version) < OLDEST {
        return Err(OpenError::Unsafe(format!("it runs on SQLite {version}, which can lose commits")));
    }
    let (id,): (i64,) = sqlx::query_as("PRAGMA application_id").fetch_one(&mut connection).await.map_err(foreign)?;
    let (tables,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&mut connection).await.map_err(foreign)?;
    connection.close().await?;
    match (id, tables) {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        (0, _) => Err(OpenError::Foreign("the file has tables of another program".to_owned())),
        _ => Err(OpenError::Foreign(format!("the file is marked with the application id {id:#x}"))),
    }
}

/// `SQLite`'s own word for a file that it did not write is its error 26.
fn foreign(error: sqlx::Error) -> OpenError {
    match error.as_database_error().and_then(|e| e.code().map(|code| code == "26")) {
        Some(true) => OpenError::Foreign("the file is not one of SQLite".to_owned()),
        _ => OpenError::Unavailable(error),
    }
}

fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}
