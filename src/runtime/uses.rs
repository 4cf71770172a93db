//! Writes down, now and then, who and what was used: nothing waits for it.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::app::{App, reviews};

const EVERY: Duration = Duration::from_mins(1);
/// How long a stop waits for the last of it.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Writes down for as long as the server runs.
pub async fn run(app: Arc<App>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write_down(&app).await;
    }
}

/// Writes the rest down, if the database is there.
pub async fn end(app: &App) {
    if tokio::time::timeout(AT_THE_END, write_down(app)).await.is_err() {
        tracing::warn!("who was used last is not written down: the database did not answer in time");
    }
}

async fn write_down(app: &App) {
    if let Err(error) = reviews::write_down_uses(app).await {
        tracing::warn!(%error, "who was used last waits to be written down");
    }
}
