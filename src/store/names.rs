//! Resource names of records by their ids: one query for a whole page, whatever kinds of records it speaks of.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
};

use super::{Result, Tx, dialect};

/// Resource names by id.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The name of the record with this id; empty when there is no such record.
    #[must_use]
    pub fn of(&self, id: impl Display) -> String {
        self.0.get(&id.to_string()).cloned().unwrap_or_default()
    }
}

/// Finds the names of tenants, workspaces, projects, teams, users, service accounts and keys.
///
/// # Errors
/// As [`super::StoreError`] says.
pub async fn names(tx: &mut Tx, ids: Vec<String>) -> Result<Names> {
    if ids.is_empty() {
        return Ok(Names::default());
    }
    // Each once: a page of keys has few owners.
    let ids: BTreeSet<String> = ids.into_iter().collect();
    let list = serde_json::Value::from_iter(ids).to_string();
    let statement = dialect::NAMES.text(tx);
    let rows = fetch_all!(tx, (String, String), statement, list)?;
    Ok(Names(rows.into_iter().collect()))
}
