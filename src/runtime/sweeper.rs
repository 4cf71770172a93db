//! What is due now and then: holds that end, slices of servers that are gone, and whether the database is still ours.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior},
};

use super::clock;
use crate::{
    domain::time::Clock,
    engine::{
        Gate,
        journal::{Journal, Orphan},
    },
    store::connect::{Exclusive, OpenError},
};

const EVERY: Duration = Duration::from_secs(1);
/// How often the database is asked whether it is still this server's.
const CONFIRM_EVERY: u32 = 5;
/// What a hold may be late to its sidecar, and clocks may differ, beside its own life and grace.
const MARGIN: Duration = Duration::from_secs(1);

/// Sweeps until the database is lost to another server; gives why.
pub async fn run<J: Journal>(
    gate: Arc<Gate<J>>,
    clock: Arc<dyn Clock>,
    grace: Duration,
    orphans: Vec<Orphan>,
    exclusive: Arc<Mutex<Option<Exclusive>>>,
) -> OpenError {
    // A hold of a server that is gone may still be charged: its slice waits for the longest hold promised on it and the
    // grace, from when this server saw it. By a clock that only goes forward.
    let start = clock::monotonic();
    let mut waiting: Vec<(Instant, i64)> = orphans
        .iter()
        .map(|orphan| {
            let promised = Duration::from_secs(u64::try_from(orphan.promised).unwrap_or_default());
            (start + promised + grace + MARGIN, orphan.slice)
        })
        .collect();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 1u32.. {
        ticks.tick().await;
        if let Err(error) = gate.sweep(clock.now()).await {
            tracing::warn!(%error, "the slices of past periods wait to be closed");
        }
        let now = clock::monotonic();
        let due: Vec<i64> = waiting.iter().filter(|(at, _)| *at <= now).map(|(_, slice)| *slice).collect();
        if !due.is_empty() {
            match gate.fold_orphans(&due).await {
                Ok(()) => waiting.retain(|(at, _)| *at > now),
                Err(error) => tracing::warn!(%error, "the slices of an earlier run wait to be closed"),
            }
        }
        if turn.is_multiple_of(CONFIRM_EVERY) {
            let mut held = exclusive.lock().await;
            let confirmed = match held.as_mut() {
                Some(held) => held.confirm().await,
                None => Ok(()),
            };
            match confirmed {
                Ok(()) => {}
                Err(error @ OpenError::InUse) => return error,
                Err(error) => tracing::warn!(%error, "the database does not say whether it is ours"),
            }
        }
    }
    OpenError::InUse
}
