//! `tollreeve replay`: plays a trace of real model calls as a fleet of sidecars, and checks the server's books
//! afterwards.
//!
//! Read in this order: `plan` (what is called, and when), `driver` (the sidecars), `tally` (what they were told),
//! `books` (whether the server agrees), `view` and `report` (what people see).

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{
    driver::{Run, Slot},
    plan::{ModelShare, Speed},
    report::Report,
    tally::Tally,
    view::{Progress, View},
};
use super::{
    client::{Connection, TlsArgs, TokenArgs, failed, fresh_id},
    demo::{self, Fleet},
    prices,
    show::Paint,
};
use crate::{
    domain::trace::{self, Trace, TracedCall},
    pb::tollreeve::v1 as pb,
    runtime::clock,
};

pub mod books;
pub mod driver;
pub mod plan;
#[cfg(test)]
mod rehearsal;
pub mod report;
pub mod tally;
pub mod view;

/// Most broken lines of a trace that are printed; their number is told in any case.
const BROKEN_SHOWN: usize = 10;
/// Longest that the view waits for the budgets; it shows the last ones then.
const BUDGETS_TIMEOUT: Duration = Duration::from_secs(1);
/// What the fleet calls unless told otherwise.
const MIX: &str = "openai/gpt-4o-mini=50,openai/gpt-4o=30,anthropic/claude-sonnet-4-5=15,gemini/gemini-2.5-flash=5";

/// Plays a trace of model calls against a server, as a fleet of sidecars would, and checks the server's books.
///
/// Exits with 0 when the books agree with what the sidecars were told, otherwise with 1.
#[derive(clap::Args)]
pub struct Args {
    /// Trace of calls: a CSV file with the columns TIMESTAMP, `ContextTokens` and `GeneratedTokens`.
    trace: PathBuf,
    /// Server to play against. Default: one of its own, which ends with the replay.
    #[arg(long, env = "TOLLREEVE_SERVER", value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// `max`, or how many times as fast as it was recorded.
    #[arg(long, default_value = "1")]
    speed: Speed,
    /// Sidecars, each with a connection and a token of its own.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Most calls under way on each connection.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// API keys, spread over the demo's teams and projects.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    keys: u16,
    /// Models that are called, and how often in comparison.
    #[arg(long = "model", value_name = "PROVIDER/MODEL=WEIGHT", value_delimiter = ',', default_value = MIX)]
    models: Vec<ModelShare>,
    /// Price file to import before. Default: the demo's prices.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Play only so many calls.
    #[arg(long)]
    calls: Option<usize>,
}

/// A server that was started for the replay.
pub struct StartedServer {
    /// Where it listens, `http://127.0.0.1:50051`.
    pub endpoint: String,
    /// The bearer token of its operator.
    pub operator_token: String,
}

/// Plays the trace and prints the report on standard output. `start` is called when no server was named; whoever gives
/// it ends the server after this has returned.
///
/// # Errors
/// When the trace cannot be read, or the server cannot be prepared for the run.
pub async fn run(args: Args, start: impl AsyncFnOnce() -> anyhow::Result<StartedServer>) -> anyhow::Result<ExitCode> {
    let mut calls = read_trace(&args.trace)?;
    calls.truncate(args.calls.unwrap_or(usize::MAX));
    let prices = args.prices.as_deref().map(prices::read).transpose()?;
    let (server, token) = if let Some(server) = args.server {
        let token = args.token.read(&args.tls)?;
        (server, token)
    } else {
        let StartedServer { endpoint, operator_token } = start().await?;
        (endpoint, Some(operator_token))
    };

    let connection = Connection::open(&server, &args.tls, token.as_deref()).await?;
    demo::seed(&connection).await?;
    if let Some(prices) = prices {
        prices::import(&connection, prices).await?;
    }
    let Fleet { keys, sidecar_tokens } =
        demo::create_fleet(&connection, args.keys.into(), args.connections.into()).await?;
    let names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
    let sidecars = open_sidecars(&server, &args.tls, &sidecar_tokens).await?;
    let before = budgets(&connection).await?;

    eprintln!(
        "{} calls against {server}, {}: {} sidecars, {} keys",
        calls.len(),
        args.speed,
        sidecars.len(),
        keys.len()
    );
    let run = Arc::new(Run {
        calls,
        keys,
        mix: args.models,
        speed: args.speed,
        end_user: format!("replay-{}", fresh_id()),
        started: clock::monotonic(),
        stop: CancellationToken::new(),
        next: AtomicUsize::new(0),
    });
    let elapsed = play(&run, &connection, &sidecars, args.concurrency).await?;

    let report = settle(&run, &connection, &sidecars, elapsed, before).await;
    let total = report.tally.total();
    let good = report.books.as_ref().is_ok_and(Vec::is_empty) && total.decided() > 0 && total.failed == 0;
    print!("\n{}", report.text(Paint::stdout()));
    if let Err(error) = demo::revoke(&connection, &names).await {
        eprintln!("the fleet's keys are still there: {error:#}");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The calls of a trace. Says on standard error which lines are broken.
fn read_trace(path: &Path) -> anyhow::Result<Vec<TracedCall>> {
    let file = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read `{file}`"))?;
    let Trace { calls, broken } = trace::parse(&text).with_context(|| format!("`{file}` is not a trace"))?;
    for broken in broken.iter().take(BROKEN_SHOWN) {
        eprintln!("{file}:{}: left out: {}", broken.line, broken.problem);
    }
    if broken.len() > BROKEN_SHOWN {
        eprintln!("{file}: {} lines left out in all", broken.len());
    }
    if calls.is_empty() {
        bail!("`{file}` has no calls");
    }
    Ok(calls)
}

/// A connection for each sidecar, with its tally.
async fn open_sidecars(server: &str, tls: &TlsArgs, tokens: &[String]) -> anyhow::Result<Vec<Slot>> {
    let mut sidecars = Vec::with_capacity(tokens.len());
    for token in tokens {
        let gate = Connection::open(server, tls, Some(token)).await?.gate();
        sidecars.push(Slot { gate, tally: Arc::new(Mutex::new(Tally::default())) });
    }
    Ok(sidecars)
}

/// Plays the run and shows how it goes. The first interrupt ends it cleanly, the second at once. Answers how long it took.
async fn play(
    run: &Arc<Run>,
    connection: &Connection,
    sidecars: &[Slot],
    concurrency: u16,
) -> anyhow::Result<Duration> {
    let mut slots = JoinSet::new();
    for _ in 0..concurrency {
        for sidecar in sidecars {
            slots.spawn(sidecar.clone().work(Arc::clone(run)));
        }
    }
    let mut view = View::new();
    let mut latest = Vec::new();
    let mut ticks = tokio::time::interval(view::PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            slot = slots.join_next() => match slot {
                None => break,
                // Cancelled: by the second interrupt.
                Some(Err(error)) if !error.is_cancelled() => return Err(error).context("a sidecar broke down"),
                Some(_) => {}
            },
            _ = ticks.tick() => {
                // The view may lag; the sidecars must not wait for it.
                if let Ok(Ok(budgets)) = tokio::time::timeout(BUDGETS_TIMEOUT, budgets(connection)).await {
                    latest = budgets;
                }
                let so_far = sidecars.iter().map(|sidecar| sidecar.tally.lock().total()).sum();
                let planned = run.calls.len();
                view.show(&Progress { so_far, planned, elapsed: run.started.elapsed(), budgets: &latest });
            }
            result = &mut interrupt => {
                result.context("cannot listen for interrupts")?;
                if run.stop.is_cancelled() {
                    slots.abort_all();
                }
                run.stop.cancel();
                interrupt.set(tokio::signal::ctrl_c());
            }
        }
    }
    view.end();
    Ok(run.started.elapsed())
}

/// Compares the books with what the sidecars were told.
async fn settle(
    run: &Run,
    connection: &Connection,
    sidecars: &[Slot],
    elapsed: Duration,
    before: Vec<pb::Budget>,
) -> Report {
    let mut tally = Tally::default();
    for sidecar in sidecars {
        tally.merge(std::mem::take(&mut *sidecar.tally.lock()));
    }
    let books = books::check(connection, &run.end_user, &run.mix, &tally).await;
    let after = budgets(connection).await.unwrap_or_default();
    Report { tally, mix: run.mix.clone(), planned: run.calls.len(), elapsed, before, after, books }
}

/// The demo's budgets and where they stand.
async fn budgets(connection: &Connection) -> anyhow::Result<Vec<pb::Budget>> {
    let request = pb::ListBudgetsRequest { parent: demo::TENANT.into(), page_size: 1000, ..Default::default() };
    let answer = connection.budgets().list_budgets(request).await.map_err(failed("cannot list the demo's budgets"))?;
    Ok(answer.into_inner().budgets)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_defaults_play_the_usual_mix_at_the_traces_own_pace() {
        Cli::command().debug_assert();
        let args = Cli::parse_from(["replay", "trace.csv"]).args;
        assert_eq!((args.models.len(), args.speed), (4, Speed::Times(1.0)));
        assert_eq!(args.models[1].model, "gpt-4o");
    }
}
