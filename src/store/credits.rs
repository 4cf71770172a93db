//! Rows of credit: the entries that a workspace's pool is the sum of.

use super::{Result, Tx};
use crate::domain::{
    id::{BudgetId, WorkspaceId},
    time::Timestamp,
};

/// One entry; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditEntry {
    /// The workspace whose credit it is.
    pub workspace: WorkspaceId,
    /// Invoice or ticket; unique in the workspace.
    pub reference: String,
    /// The pool that it went to.
    pub budget: BudgetId,
    /// Billionths of a US dollar; negative takes credit back.
    pub amount: i64,
    /// Resource name of who made it.
    pub actor: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Adds an entry. The caller made sure that the reference is free.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, entry: &CreditEntry) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO credit_entries (workspace_id, reference, budget_id, amount, actor, created)
         VALUES ($1, $2, $3, $4, $5, $6)",
        entry.workspace.to_string(),
        &entry.reference,
        entry.budget.to_string(),
        entry.amount,
        &entry.actor,
        entry.created.micros(),
    )?;
    Ok(())
}

/// The amount of the entry with this reference.
pub async fn amount(tx: &mut Tx, workspace: WorkspaceId, reference: &str) -> Result<Option<i64>> {
    let row = fetch_optional!(
        tx,
        (i64,),
        "SELECT amount FROM credit_entries WHERE workspace_id = $1 AND reference = $2",
        workspace.to_string(),
        reference
    )?;
    Ok(row.map(|(amount,)| amount))
}
