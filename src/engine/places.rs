//! Which budget and period a slice belongs to, whoever's it is: that never changes, so that it is asked for once.

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::journal::Posting;
use crate::domain::{id::BudgetId, window::Period};

/// Most slices that are remembered; past that all are forgotten, and asked for again.
const MAX: usize = 1 << 20;

/// A slice and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The slice.
    pub slice: i64,
    /// Its budget.
    pub budget: BudgetId,
    /// Its period.
    pub period: Period,
}

/// Slices and where they belong.
#[derive(Default)]
pub struct Places(RwLock<HashMap<i64, (BudgetId, Period)>>);

impl Placed {
    /// Where a posting goes.
    #[must_use]
    pub const fn of(posting: &Posting) -> Self {
        Self { slice: posting.slice, budget: posting.budget, period: posting.period }
    }
}

impl Places {
    /// Remembers one.
    pub fn put(&self, slice: i64, budget: BudgetId, period: Period) {
        let mut known = self.0.write();
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(slice, (budget, period));
    }

    /// Where a slice belongs, if that is known.
    #[must_use]
    pub fn get(&self, slice: i64) -> Option<Placed> {
        self.0.read().get(&slice).map(|(budget, period)| Placed { slice, budget: *budget, period: *period })
    }
}
