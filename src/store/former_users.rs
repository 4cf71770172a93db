//! Rows of users who were removed, or were invited and did not come: the ids that keys of theirs refer to.

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

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    #[tokio::test]
    async fn who_was_invited_and_did_not_come_before_is_one_of_them_since() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in [
            include_str!("../../migrations/sqlite/0001_identity.sql"),
            include_str!("../../migrations/sqlite/0002_access.sql"),
            include_str!("../../migrations/sqlite/0020_people.sql"),
            "INSERT INTO tenants (id, slug, display_name, state, created, version) VALUES ('ten_1', 'acme', '', 'active', 1, 1)",
            "INSERT INTO users (id, tenant_id, email, email_folded, display_name, state, teams, created, version)
             VALUES ('user_1', 'ten_1', '', 'user_1', '', 'forgotten', '[]', 7, 2),
                 ('user_2', 'ten_1', 'a@b.c', 'a@b.c', 'A', 'invited', '[]', 8, 1)",
            include_str!("../../migrations/sqlite/0024_leaving.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
        }
        let sql = "SELECT id, removed FROM former_users UNION ALL SELECT id, 0 FROM users";
        let left: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&mut connection).await.expect("rows");
        assert_eq!(left, [("user_1".to_owned(), 7), ("user_2".to_owned(), 0)]);
    }
}
