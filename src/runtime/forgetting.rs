//! Erases, now and then, what nobody needs to know any more: nothing waits for it.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::app::{App, alerts, audit_tree, credit_expiry, key_rotation, key_warnings, tokens};

const EVERY: Duration = Duration::from_mins(5);
/// How often it is looked for secrets of keys that have ended, or are due for others.
pub const RETIRE_EVERY: Duration = Duration::from_secs(5);

/// How often audit logs are signed.
const SIGN_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked for what is spent of budgets, when nothing is heard of it.
const ALERT_EVERY: Duration = Duration::from_secs(1);

/// Tells what is spent of budgets, for as long as the server runs.
pub async fn alert(app: Arc<App>) {
    loop {
        if let Err(error) = alerts::tell_due(&app).await {
            tracing::warn!(%error, "what is spent of budgets waits to be told");
        }
        // Whether it was woken or the time has come is the same.
        let _ = tokio::time::timeout(ALERT_EVERY, app.gate.crossed()).await;
    }
}

/// Erases for as long as the server runs.
pub async fn run(app: Arc<App>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = tokens::forget(&app).await {
            tracing::warn!(%error, "what no token rests on any more waits to be forgotten");
        }
    }
}

/// Takes the secrets of keys out of the books that have ended, warns of those that are due for others, and writes down what
/// credit has expired, for as long as the server runs.
pub async fn retire(app: Arc<App>) {
    let mut ticks = tokio::time::interval(RETIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = key_rotation::retire_due(&app).await {
            tracing::warn!(%error, "secrets of keys that have ended wait to be taken out of the books");
        }
        if let Err(error) = key_warnings::warn_due(&app).await {
            tracing::warn!(%error, "warnings that keys are due to be rotated wait to be given");
        }
        if let Err(error) = credit_expiry::settle_due(&app).await {
            tracing::warn!(%error, "credit that has expired waits to be written down");
        }
        if let Err(error) = key_rotation::note_time(&app).await {
            tracing::warn!(%error, "what time it is waits to be noted");
        }
    }
}

/// Signs the audit logs that have grown, for as long as the server runs: so no event is without a checkpoint for a minute.
pub async fn sign(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SIGN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = audit_tree::sign_due(&app).await {
            tracing::warn!(%error, "audit logs wait for a checkpoint");
        }
    }
}
