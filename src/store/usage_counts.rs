//! What was used in a month, record by record: for lists, a page at a time.

use std::collections::HashMap;

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{
    Result, Tx,
    usage::{CALLERS, TEAMS},
};
use crate::domain::{
    id::TenantId,
    usage::{Granularity, LONGEST},
};

/// Of what usage is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Of keys.
    Keys,
    /// Of owners of credentials.
    Owners,
    /// Of teams: what was used by those who were in them.
    Teams,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Model calls.
    pub requests: i64,
    /// Billionths of a US dollar.
    pub cost: i64,
}

/// A question, of so many records as there are ids.
struct Counting<'a> {
    tenant: TenantId,
    counted: Counted,
    ids: &'a [String],
    /// The first hour of the month.
    month: i64,
}

/// What a group of rows comes to. In this order, by `CROSS JOIN`: see [`super::usage_queries`].
macro_rules! sums {
    ($of:literal) => {
        concat!(
            "SELECT ",
            $of,
            ", CAST(COALESCE(SUM(requests), 0) AS BIGINT), CAST(COALESCE(SUM(dollars), 0) AS BIGINT),
                CAST(COALESCE(SUM(billionths), 0) AS BIGINT)
             FROM usage_series CROSS JOIN usage_sums WHERE usage_sums.tenant_id = usage_series.tenant_id AND series = id
                 AND usage_series.tenant_id = "
        )
    };
}

impl Counting<'_> {
    fn statement<DB>(&self) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let (select, level, column) = match self.counted {
            Counted::Keys => (sums!("key_id"), CALLERS, "key_id"),
            Counted::Owners => (sums!("owner"), CALLERS, "owner"),
            Counted::Teams => (sums!("team_id"), TEAMS, "team_id"),
        };
        let mut sql = QueryBuilder::new(select);
        sql.push_bind(self.tenant.to_string()).push(format!(" AND level = {level} AND {column} IN ("));
        self.ids.iter().fold(sql.separated(", "), |mut list, id| {
            list.push_bind(id.clone());
            list
        });
        sql.push(") AND span = 24 AND start >= ").push_bind(self.month);
        sql.push(" AND start < ").push_bind(Granularity::Month.end(self.month, self.month + LONGEST));
        sql.push(format!(" GROUP BY {column}"));
        sql
    }
}

fn used(requests: i64, dollars: i64, billionths: i64) -> Used {
    Used { requests, cost: dollars.saturating_mul(1_000_000_000).saturating_add(billionths) }
}

/// What was used in the month that begins with an hour, of each of these records that anything was used of, by id.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn of_month(
    tx: &mut Tx,
    tenant: TenantId,
    counted: Counted,
    ids: &[String],
    month: i64,
) -> Result<HashMap<String, Used>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let counting = Counting { tenant, counted, ids, month };
    let rows = fetch_built!(tx, (String, i64, i64, i64), counting.statement())?;
    Ok(rows.into_iter().map(|(id, requests, dollars, billionths)| (id, used(requests, dollars, billionths))).collect())
}

/// What was used in a month by those who were in a team at all, each call once.
pub async fn of_members(tx: &mut Tx, tenant: TenantId, month: i64) -> Result<Used> {
    let sql = concat!(sums!("''"), "$1 AND level = 2 AND teams <> '/' AND span = 24 AND start >= $2 AND start < $3");
    let end = Granularity::Month.end(month, month + LONGEST);
    let (_, requests, dollars, billionths) =
        fetch_one!(tx, (String, i64, i64, i64), sql, tenant.to_string(), month, end)?;
    Ok(used(requests, dollars, billionths))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::domain::id::Id;

    #[tokio::test]
    async fn what_was_used_of_a_record_is_found_by_ranges_of_keys() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in [
            include_str!("../../migrations/sqlite/0005_ledger.sql"),
            include_str!("../../migrations/sqlite/0027_usage.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("its tables");
        }
        let ids = ["a".to_owned(), "b".to_owned()];
        for (counted, index) in [(Counted::Keys, "key"), (Counted::Owners, "owner"), (Counted::Teams, "team")] {
            let counting = Counting { tenant: Id::from_bits(1), counted, ids: &ids, month: 490_000 };
            let sql = counting.statement::<sqlx::Sqlite>().into_string();
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(&mut connection).await.expect("a plan");
            let plan = rows.into_iter().map(|row| row.3).collect::<Vec<_>>().join("; ");
            let series = format!("INDEX usage_series_by_{index} (tenant_id=? AND ");
            let sums = "SEARCH usage_sums USING PRIMARY KEY (tenant_id=? AND series=? AND span=?";
            assert!(plan.contains(&series) && plan.contains(sums), "{counted:?}: {plan}");
        }
    }
}
