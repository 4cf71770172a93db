//! `tollreeve keys`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{
    leaks::{self, CheckArgs},
    session::SessionArgs,
};

/// Flags of `keys`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find keys in files, without a server.
    Check(CheckArgs),
}

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(check) => leaks::check(args.session, check).await,
    }
}
