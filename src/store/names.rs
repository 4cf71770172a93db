//! Resource names of records by their ids: one query for a whole page, whatever kinds of records it speaks of.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
};

use super::{Result, Tx, dialect};
use crate::domain::roles::RoleRef;

/// Resource names by id.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The name of the record with this id; empty when there is no such record.
    #[must_use]
    pub fn of(&self, id: impl Display) -> String {
        self.0.get(&id.to_string()).cloned().unwrap_or_default()
    }

    /// The name of a role; empty when it is a tenant's own and there is no such role.
    #[must_use]
    pub fn role(&self, role: RoleRef) -> String {
        match role {
            RoleRef::BuiltIn(role) => role.to_string(),
            RoleRef::Custom(id) => self.of(id),
        }
    }
}

/// Finds the names of tenants, workspaces, projects, teams, the tenants' own roles, users, service accounts and keys.
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
