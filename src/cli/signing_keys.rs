//! `tollreeve signing-keys`: the keys that tokens are signed with. Works on the database and the key files, with or without a
//! server.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;

use super::{ServerOptions, show};
use crate::{
    app::signing_keys,
    config::Config,
    domain::time::Clock as _,
    runtime::{clock::SystemClock, keyring},
    store::{self, Db},
};

/// How long it is waited for servers to see a new key.
const PATIENCE: u32 = 50;
const LOOK: Duration = Duration::from_millis(100);

/// Flags of `signing-keys`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the keys, the oldest first.
    List(Box<ServerOptions>),
    /// Make a new key and sign with it from now on. Servers with another folder for keys need the new file there.
    Rotate(Box<RotateArgs>),
}

#[derive(clap::Args)]
struct RotateArgs {
    #[command(flatten)]
    server: ServerOptions,
    /// Refuse every token that was signed before, at once. Without this, none: the old key retires when the last has ended.
    #[arg(long)]
    now: bool,
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(options) => list(&options.read()?).await,
        Verb::Rotate(args) => {
            let now = args.now;
            rotate(&args.server.read()?, now).await
        }
    }
}

async fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::connect(&config.database).await?;
    let keys = store::signing_keys::all(&mut db.read().await?).await?;
    db.close().await;
    let row = |key: crate::domain::signing_keys::SigningKey| {
        let retires = key.retires.map_or_else(|| "-".to_owned(), |at| at.to_string());
        vec![key.kid, key.created.to_string(), retires]
    };
    println!("{}", show::table(&["KID", "CREATED", "RETIRES"], keys.into_iter().map(row).collect()).trim_end());
    Ok(ExitCode::SUCCESS)
}

async fn rotate(config: &Config, at_once: bool) -> anyhow::Result<ExitCode> {
    let db = Db::attach(&config.database).await?;
    let now = SystemClock.now();
    let key = keyring::make_signing_key(&config.keys_dir, now)?;
    let revision = signing_keys::rotate(&db, &key, now, at_once).await;
    let revision = revision.context("no server uses the new key: its file can be deleted")?;
    let mut behind = Vec::new();
    for _ in 0..PATIENCE {
        behind = store::replicas::behind(&mut db.read().await?, revision).await?;
        if behind.is_empty() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    db.close().await;
    println!("{}", key.kid);
    if !behind.is_empty() {
        eprintln!("servers that do not see the new key yet: {}", behind.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}
