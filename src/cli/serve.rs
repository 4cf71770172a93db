//! `tollreeve serve`, `migrate` and `operator-token`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::bootstrap,
    config::Config,
    domain::{bindings::Principal, time::Clock},
    runtime::{Ended, Server, clock::SystemClock, keyring::Keyring, telemetry},
    store::{Db, connect::Settings},
};

/// Serves until a signal: the first ends in order, the second at once.
///
/// # Errors
/// When the server cannot start, or a part of it fails while it runs.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::start(&config.telemetry)?;
    let server = Server::start(&config, Arc::new(SystemClock)).await?;
    until_signal(&config, server).await
}

/// Waits for a signal or a failure, and ends the server. One that others have taken for dead begins anew.
///
/// # Errors
/// When a part of the server has failed: whoever runs it should start it again.
pub async fn until_signal(config: &Config, mut server: Server) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            ended = server.ended() => match ended {
                Ended::Failed(why) => anyhow::bail!(why),
                Ended::TakenForDead => {
                    tracing::warn!("others have taken this server for dead: it begins anew");
                    let again = Config { listen: server.addr(), ..config.clone() };
                    // What it had is no longer its own, so that there is nothing to give back.
                    let _ = server.stop().await;
                    server = Server::start(&again, Arc::new(SystemClock)).await?;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        outcome = server.stop() => outcome.context("what was set aside is given back by the next start")?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings the database up to date.
///
/// # Errors
/// When it is in use, not ours, not safe, or newer than this program.
pub async fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    let applied = Db::migrate(&config.database).await?;
    for migration in &applied {
        println!("{:04} {}", migration.version, migration.name);
    }
    if applied.is_empty() {
        println!("the database is up to date");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a bearer token of the operator. On a database that runs, too: it reads, and signs with the key file.
///
/// # Errors
/// When the database or the key files cannot be read, or the database has never been started.
pub async fn operator_token(config: &Config, ttl: Duration) -> anyhow::Result<ExitCode> {
    let db = Db::connect(&config.database).await?;
    let now = SystemClock.now();
    let keyring = Keyring::open(&db, config, now).await?;
    let operator = bootstrap::operator(&mut db.read().await?).await?;
    let (token, _) = keyring.tokens.issue(Principal::ServiceAccount(operator.id), None, now, ttl)?;
    db.close().await;
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

/// Where a database is, for people; never with a password.
#[must_use]
pub fn place(settings: &Settings) -> String {
    match settings {
        Settings::Sqlite { folder } => format!("SQLite in {}", folder.display()),
        Settings::Postgres { .. } => "PostgreSQL".to_owned(),
    }
}
