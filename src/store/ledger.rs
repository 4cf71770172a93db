//! The ledger.

use super::{Result, Tx};
use crate::domain::id::BudgetId;

/// The ledger.
#[derive(Debug)]
pub struct Ledger;

/// Sets the cap of a budget's periods.
///
/// # Errors
/// As [`super::StoreError`] says.
#[expect(clippy::unused_async, reason = "a stub")]
pub async fn set_cap(_tx: &mut Tx, _budget: BudgetId, _cap: i64) -> Result<()> {
    Ok(())
}
