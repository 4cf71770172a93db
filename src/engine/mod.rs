//! The hot path, in memory: decisions, holds and charges.

use std::marker::PhantomData;

use crate::domain::{budgets::Budget, time::Timestamp};

pub mod error;
pub mod tokens;

use error::GateError;

/// Decides and charges.
#[derive(Debug)]
pub struct Gate<J>(PhantomData<J>);

/// Where a budget stands in the period that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Spent, in the budget's unit.
    pub spent: i64,
    /// Held, in the budget's unit.
    pub held: i64,
    /// When the period ends, if it does.
    pub resets_at: Option<Timestamp>,
}

impl<J> Gate<J> {
    /// Where a budget stands at `now`.
    ///
    /// # Errors
    /// [`GateError::Unavailable`].
    #[expect(clippy::unused_async, reason = "a stub")]
    pub async fn standing(&self, budget: &Budget, now: Timestamp) -> Result<Standing, GateError> {
        Ok(Standing { spent: 0, held: 0, resets_at: budget.window.end(budget.window.period(now)) })
    }
}
