//! `tollreeve peppers`: the keys under which secrets are hashed. Works on the database and on what is at hand of them here, with
//! or without a server.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;

use super::{ServerOptions, show};
use crate::{
    app::peppers,
    config::Config,
    domain::{
        peppers::KnownPepper,
        time::{Clock as _, Timestamp},
    },
    runtime::{
        clock::SystemClock,
        peppers::{self as at_hand, Source},
    },
    store::{self, Db},
};

/// How long servers have to find a new one before secrets are hashed under it. They look every two seconds.
const TAKES_OVER: Duration = Duration::from_secs(10);

/// Flags of `peppers`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the peppers, and how many secrets of keys that may still work are stored under each: one without any can be removed.
    List(Box<ServerOptions>),
    /// Hash new secrets under the next pepper, ten seconds from now: a new file in the folder for keys, or the next version
    /// that is given. Servers with a folder or settings of their own need it there before.
    Rotate(Box<ServerOptions>),
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(options) => list(&options.read()?).await,
        Verb::Rotate(options) => rotate(&options.read()?).await,
    }
}

async fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let here = Source::of(config).read()?;
    let (db, now) = (Db::connect(&config.database).await?, SystemClock.now());
    let mut tx = db.read().await?;
    let known = store::keyring::peppers(&mut tx).await?;
    let counts = store::keys::count_by_pepper(&mut tx, now).await?;
    drop(tx);
    db.close().await;
    let in_use = known.iter().rev().find(|one| one.since <= now).map(|one| one.version);
    let row = |one: &KnownPepper| {
        let state = if Some(one.version) == in_use {
            "in use".to_owned()
        } else if one.since > now {
            format!("from {}", one.since)
        } else {
            "older".to_owned()
        };
        (one.version, state)
    };
    let mut rows: Vec<_> = known.iter().map(row).collect();
    let waits = here.keys().filter(|version| known.iter().all(|one| one.version != **version));
    rows.extend(waits.map(|version| (*version, "waits".to_owned())));
    let row = |(version, state): (crate::domain::peppers::PepperVersion, String)| {
        let at_hand = if here.contains_key(&version) { "yes" } else { "no" };
        let secrets = counts.get(&version).copied().unwrap_or_default();
        vec![version.to_string(), state, at_hand.to_owned(), secrets.to_string()]
    };
    let table = show::table(&["VERSION", "STATE", "HERE", "SECRETS"], rows.into_iter().map(row).collect());
    println!("{}", table.trim_end());
    Ok(ExitCode::SUCCESS)
}

async fn rotate(config: &Config) -> anyhow::Result<ExitCode> {
    let source = Source::of(config);
    let (db, now) = (Db::attach(&config.database).await?, SystemClock.now());
    let since: Timestamp = now.after(TAKES_OVER);
    let next = at_hand::next(&db, &source, since).await?;
    let pepper = next.context("there is no next version: give it to every server first")?;
    peppers::rotate(&db, &pepper, now).await?;
    db.close().await;
    println!("{}", pepper.version);
    Ok(ExitCode::SUCCESS)
}
