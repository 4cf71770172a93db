//! The migrations of both databases, and which of them a database has.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
};

use super::OpenError;

/// Where sqlx keeps what was applied.
pub(super) const TABLE: &str = "_sqlx_migrations";

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// 1, 2, 3 and so on.
    pub version: i64,
    /// What it is about.
    pub name: String,
}

/// Every migration of one database, in order: the number and name in its file's name.
macro_rules! migrations {
    ($folder:literal) => {
        migrations!($folder; 1 "0001_identity", 2 "0002_access", 3 "0003_keys", 4 "0004_budgets", 5 "0005_ledger",
            6 "0006_audit", 7 "0007_lifecycle", 8 "0008_roles", 9 "0009_walls", 10 "0010_policies", 11 "0011_holds",
            12 "0012_replicas", 13 "0013_on_expiry", 14 "0014_failover", 15 "0015_service_accounts", 16 "0016_ended_bases",
            17 "0017_sessions", 18 "0018_identity_providers", 19 "0019_service_account_keys", 20 "0020_people",
            21 "0021_signing_keys", 22 "0022_mail", 23 "0023_invitations", 24 "0024_leaving", 25 "0025_key_rotation",
            26 "0026_lists", 27 "0027_usage", 28 "0028_peppers", 29 "0029_key_policy", 30 "0030_budgets",
            31 "0031_credits", 32 "0032_prices", 33 "0033_price_versions", 34 "0034_alerts", 35 "0035_statements",
            36 "0036_audit_tree")
    };
    ($folder:literal; $($version:literal $file:literal),*) => {
        vec![$((
            $version,
            // Without the number.
            $file.split_at(5).1,
            include_str!(concat!("../../../migrations/", $folder, "/", $file, ".sql")),
        )),*]
    };
}

fn migrator(files: Vec<(i64, &'static str, &'static str)>) -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}

/// The migrations of `SQLite`.
pub(super) fn sqlite() -> Migrator {
    migrator(migrations!("sqlite"))
}

/// The migrations of `PostgreSQL`.
pub(super) fn postgres() -> Migrator {
    migrator(migrations!("postgres"))
}

/// Whether the database lacks nothing. The caller made sure that it is ours.
pub(super) async fn is_up_to_date<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<bool, OpenError> {
    connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let had = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
    Ok(migrator.iter().all(|known| had.iter().any(|applied| applied.version == known.version)))
}

/// Applies what the database lacks. The caller made sure that it is ours.
pub(super) async fn run<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<Vec<Applied>, OpenError> {
    connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let had = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
    migrator.run_direct(None, connection, false).await.map_err(failed)?;
    let lacked = migrator.iter().filter(|known| had.iter().all(|applied| applied.version != known.version));
    Ok(lacked.map(|known| Applied { version: known.version, name: known.description.to_string() }).collect())
}

fn failed(error: MigrateError) -> OpenError {
    match error {
        // Migrations only go forward and none is ever taken back, so one that is missing here comes from later.
        MigrateError::VersionMissing(version) => OpenError::Newer(version),
        MigrateError::VersionMismatch(version) => OpenError::Modified(version),
        MigrateError::ExecuteMigration(cause, version) => OpenError::Migration { version, cause },
        MigrateError::Execute(cause) => OpenError::Unavailable(cause),
        other => OpenError::Foreign(other.to_string()),
    }
}
