//! Rows of last uses: when somebody, or a key, was last seen.

use std::{collections::HashMap, fmt::Display};

use super::{Result, Tx, dialect};
use crate::{
    domain::time::Timestamp,
    engine::last_use::{Use, Used},
};

/// When each was last used.
#[derive(Debug, Default)]
pub struct LastUses(HashMap<String, Timestamp>);

impl LastUses {
    /// When the record with this id was last used; `None` when it never was.
    #[must_use]
    pub fn of(&self, id: impl Display) -> Option<Timestamp> {
        self.0.get(&id.to_string()).copied()
    }
}

/// Writes uses down, where they are later than what is there, and of tenants that are not purged.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn put(tx: &mut Tx, uses: &[Use]) -> Result<()> {
    let row = |one: &Use| {
        let id = match one.who {
            Used::Principal(principal) => principal.to_string(),
            Used::Key(key) => key.to_string(),
        };
        serde_json::json!([id, one.tenant.to_string(), one.at.micros()])
    };
    let rows = uses.iter().map(row).collect::<serde_json::Value>().to_string();
    let statement = dialect::PUT_LAST_USES.text(tx);
    execute!(tx, statement, rows)?;
    Ok(())
}

/// When the records with these ids were last used.
pub async fn of(tx: &mut Tx, ids: impl Iterator<Item = String>) -> Result<LastUses> {
    let ids: Vec<String> = ids.collect();
    if ids.is_empty() {
        return Ok(LastUses::default());
    }
    let statement = dialect::LAST_USES.text(tx);
    let rows = fetch_all!(tx, (String, i64), statement, serde_json::Value::from(ids).to_string())?;
    Ok(LastUses(rows.into_iter().map(|(id, used)| (id, Timestamp::from_micros(used))).collect()))
}
