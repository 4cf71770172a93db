//! Rows of users who were removed: the ids that keys of theirs refer to.

use super::{Result, Tx, parse};
use crate::domain::{time::Timestamp, users::FormerUser};

/// Notes that somebody was removed.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, user: &FormerUser) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO former_users (id, tenant_id, removed) VALUES ($1, $2, $3)",
        user.id.to_string(),
        user.tenant.to_string(),
        user.removed.micros(),
    )?;
    Ok(())
}

/// Every one of them after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<FormerUser>> {
    let rows = fetch_all!(
        tx,
        (String, String, i64),
        "SELECT id, tenant_id, removed FROM former_users WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    let user = |(id, tenant, removed): (String, String, i64)| {
        Ok(FormerUser {
            id: parse(&id, "id of a former user")?,
            tenant: parse(&tenant, "tenant of a former user")?,
            removed: Timestamp::from_micros(removed),
        })
    };
    rows.into_iter().map(user).collect()
}
