//! What the tasks of the ledger tell whoever measures them.

use std::time::Duration;

/// Takes measurements. Called once a transaction, on the task that made it.
pub trait Meter: Send + Sync + 'static {
    /// Charges were written together, or could not be: how many, how long the first of them had waited, and how long the
    /// ledger took.
    fn charged(&self, charges: usize, waited: Duration, took: Duration);

    /// Room was asked for together: on how many budgets, and how long the ledger took.
    fn granted(&self, budgets: usize, took: Duration);
}

/// Nobody measures.
impl Meter for () {
    fn charged(&self, _: usize, _: Duration, _: Duration) {}

    fn granted(&self, _: usize, _: Duration) {}
}
