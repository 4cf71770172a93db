//! What is due now and then: signs of life, holds that end, and whether the database may still be used.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    domain::time::Clock,
    engine::{Gate, error::GateError, journal::Journal, keeper::Keeper},
    store::connect::{Claim, OpenError},
};

const EVERY: Duration = Duration::from_secs(1);
/// How often the database is asked whether it may still be used.
const CONFIRM_EVERY: u32 = 5;

/// Sweeps until the database may not be used any more; gives why.
pub async fn run<J: Journal>(gate: Arc<Gate<J>>, clock: Arc<dyn Clock>, claim: Arc<Mutex<Option<Claim>>>) -> OpenError {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 1u32.. {
        ticks.tick().await;
        if let Err(error) = gate.sweep(clock.now()).await {
            tracing::warn!(%error, "holds and slices whose time has passed wait to be closed");
        }
        if turn.is_multiple_of(CONFIRM_EVERY) {
            let mut held = claim.lock().await;
            let confirmed = match held.as_mut() {
                Some(held) => held.confirm().await,
                None => Ok(()),
            };
            match confirmed {
                Ok(()) => {}
                Err(error @ OpenError::InUse) => return error,
                Err(error) => tracing::warn!(%error, "the database does not say whether it may be used"),
            }
        }
    }
    OpenError::InUse
}

/// Gives signs of life until others take this server for dead.
pub async fn keep<J: Journal>(mut keeper: Keeper<J>, gate: Arc<Gate<J>>, every: Duration) {
    loop {
        match keeper.turn().await {
            Ok(()) => {}
            Err(GateError::Draining) => return,
            Err(error) => tracing::warn!(%error, "this server's place among others is not certain"),
        }
        // Whether it was woken or the time has come is the same.
        let _ = timeout(every, gate.woken()).await;
    }
}
