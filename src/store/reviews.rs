//! Reviews of access: users, service accounts, keys and bindings of a tenant in one list, by how long they have gone unused.
//!
//! A page reads every record of the kinds that are asked for: a review is made now and then, and what it is ordered by
//! changes with every call.

use super::{Result, StoreError, Tx, listing::Position};
use crate::domain::{id::TenantId, listing::Sorted, reviews::Kind, time::Timestamp};

/// A record under review.
#[derive(Debug, Clone)]
pub struct Reviewed {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What people call it: an address, or a name; empty for a binding.
    pub title: String,
    /// Id of the owner of a key, or of the member of a binding.
    pub member: String,
    /// The role of a binding, as it is stored.
    pub role: String,
    /// Id of the workspace of a key, or of the scope of a binding; empty for the platform.
    pub scope: String,
    /// Whether it can be used: as far as its own state says.
    pub active: bool,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last used, if it ever was.
    pub used: Option<Timestamp>,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// What the list is ordered by.
    key: String,
}

impl Sorted for Reviewed {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn key(&self, _: &str) -> String {
        self.key.clone()
    }
}

/// Which records to review.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Of which kinds.
    pub kinds: &'a [Kind],
    /// Only what was not used since then, nor made.
    pub before: Timestamp,
    /// By age; else by how long they have gone unused.
    pub by_age: bool,
    /// The youngest, or last used, first.
    pub descending: bool,
    /// Most rows to find.
    pub limit: i64,
}

type Row = (String, String, String, String, String, String, bool, i64, Option<i64>, Option<i64>, i64);

/// Every record, with the last use of each. A binding is used when its member is, one of a team when one of the team's is; not
/// before it was made. A key that is revoked is none.
macro_rules! page {
    ($by:literal, $beyond:literal, $direction:literal) => {
        concat!(
            "SELECT kind, id, title, member, role, scope, active, created, used, expires, ", $by, " FROM (
                SELECT 'user' AS kind, users.id AS id, users.email AS title, '' AS member, '' AS role, '' AS scope,
                    users.state = 'active' AS active, users.created AS created, used, CAST(NULL AS BIGINT) AS expires,
                    COALESCE(used, users.created) AS idle
                FROM users LEFT JOIN last_used ON last_used.id = users.id WHERE users.tenant_id = $1
                UNION ALL
                SELECT 'service_account', service_accounts.id, display_name, '', '', '', state = 'active', created, used,
                    CAST(NULL AS BIGINT), COALESCE(used, created)
                FROM service_accounts LEFT JOIN last_used ON last_used.id = service_accounts.id
                WHERE service_accounts.tenant_id = $1 AND deleted IS NULL
                UNION ALL
                SELECT 'key', api_keys.id, display_name, owner, '', workspace_id, state = 'active', created, used, expires,
                    COALESCE(used, created)
                FROM api_keys LEFT JOIN last_used ON last_used.id = api_keys.id
                WHERE api_keys.tenant_id = $1 AND state <> 'revoked' AND deleted IS NULL
                UNION ALL
                SELECT 'binding', id, '', member, role, scope, TRUE, created, used, expires, COALESCE(used, created)
                FROM (
                    SELECT bindings.id, member, role, COALESCE(scope_project, scope_workspace, scope_tenant, '') AS scope,
                        created, expires,
                        (SELECT MAX(used) FROM last_used WHERE used >= bindings.created AND (last_used.id = member
                            OR last_used.id IN (SELECT user_id FROM team_members WHERE team_id = member))) AS used
                    FROM bindings WHERE bindings.tenant_id = $1
                ) AS held
            ) AS found
            WHERE ',' || CAST($2 AS TEXT) || ',' LIKE '%,' || kind || ',%' AND idle <= $3 AND (", $by, ", id) ", $beyond, " ($4, $5)
            ORDER BY ", $by, $direction, ", id", $direction, " LIMIT $6"
        )
    };
}

/// A page of a review.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn page(tx: &mut Tx, asked: &Asked<'_>, after: Option<&Position>) -> Result<Vec<Reviewed>> {
    let statement = match (asked.by_age, asked.descending) {
        (false, false) => page!("idle", ">", ""),
        (false, true) => page!("idle", "<", " DESC"),
        (true, false) => page!("created", ">", ""),
        (true, true) => page!("created", "<", " DESC"),
    };
    let start = if asked.descending { (i64::MAX, "~") } else { (i64::MIN, "") };
    let (key, id) = match after {
        None => start,
        Some(last) => {
            let key = last.key.parse().map_err(|_| StoreError::Corrupt("place in a review".into()))?;
            (key, last.id.as_str())
        }
    };
    let kinds = asked.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",");
    let rows =
        fetch_all!(tx, Row, statement, asked.tenant.to_string(), kinds, asked.before.micros(), key, id, asked.limit)?;
    rows.into_iter().map(reviewed).collect()
}

fn reviewed(row: Row) -> Result<Reviewed> {
    let (kind, id, title, member, role, scope, active, created, used, expires, key) = row;
    Ok(Reviewed {
        kind: Kind::named(&kind).ok_or(StoreError::Corrupt("kind of a record".into()))?,
        id,
        title,
        member,
        role,
        scope,
        active,
        created: Timestamp::from_micros(created),
        used: used.map(Timestamp::from_micros),
        expires: expires.map(Timestamp::from_micros),
        key: key.to_string(),
    })
}
