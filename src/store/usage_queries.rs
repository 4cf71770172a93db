//! Questions about sums of usage: one statement, put together from constant parts. Values are only ever bound.
//!
//! The series that fit are found first, by tenant and by what is asked for; of each, its sums are a range of the key.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{
    Result, StoreError, Tx,
    listing::Position,
    usage::{CALLERS, PLACES, TEAMS},
};
use crate::domain::{
    bindings::Principal,
    id::{KeyId, ProjectId, TeamId, TenantId, WorkspaceId},
    listing::Sorted,
    usage::{Granularity, Grouping, Order, Part},
};

/// Which usage.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only in this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Only in this project.
    pub project: Option<ProjectId>,
    /// Only of those who were in this team.
    pub team: Option<TeamId>,
    /// Only of this owner.
    pub owner: Option<Principal>,
    /// Only with this key.
    pub key: Option<KeyId>,
    /// Only by this provider; empty for all.
    pub provider: String,
    /// Only by this model; empty for all.
    pub model: String,
}

/// A question.
#[derive(Debug)]
pub struct Question<'a> {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Which usage.
    pub filter: &'a Filter,
    /// By what, in the order of [`Grouping::ALL`].
    pub groups: &'a [Grouping],
    /// Over which spans.
    pub granularity: Granularity,
    /// What they are put together from.
    pub parts: Vec<Part>,
    /// In which order.
    pub order: Order,
    /// Where the page begins; `None` for the first.
    pub after: Option<&'a Position>,
    /// Most rows.
    pub limit: i64,
}

/// What some charges come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The first hour of the span, or of what there is of it; of a day, the day's.
    pub start: i64,
    /// Ids, and names of provider and model, as in [`Grouping::ALL`]; empty for what it is not grouped by.
    pub groups: [String; 7],
    /// Charges.
    pub charges: i64,
    /// Model calls.
    pub requests: i64,
    /// Tokens: input, cached, written to a cache, output, reasoning.
    pub tokens: [i64; 5],
    /// Billionths of a US dollar.
    pub cost: i64,
}

impl Sorted for Sum {
    fn id(&self) -> String {
        serde_json::json!([self.start, self.cost, self.groups]).to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

type Row = (i64, String, String, String, String, String, String, String, i64, i64, i64, i64, i64, i64, i64, i64);

fn sum(row: Row) -> Sum {
    let (start, workspace, project, team, owner, key, provider, model, charges, requests, ..) = row;
    let tokens = [row.10, row.11, row.12, row.13, row.14];
    let groups = [workspace, project, team, owner, key, provider, model];
    Sum { start, groups, charges, requests, tokens, cost: row.15 }
}

/// The columns of groups, as in [`Grouping::ALL`].
const COLUMNS: [&str; 7] = ["workspace_id", "project_id", "team_id", "owner", "key_id", "provider", "model"];

/// The sums of a row.
const SUMS: &str = ", CAST(SUM(charges) AS BIGINT) AS charges, CAST(SUM(requests) AS BIGINT) AS requests,
    CAST(SUM(input_tokens) AS BIGINT) AS input_tokens, CAST(SUM(cached_tokens) AS BIGINT) AS cached_tokens,
    CAST(SUM(cache_write_tokens) AS BIGINT) AS cache_write_tokens, CAST(SUM(output_tokens) AS BIGINT) AS output_tokens,
    CAST(SUM(reasoning_tokens) AS BIGINT) AS reasoning_tokens,
    CASE WHEN CAST(SUM(dollars) AS BIGINT) + CAST(SUM(billionths) AS BIGINT) / 1000000000 > 9223372035
        THEN 9223372036854775807
        ELSE CAST(SUM(dollars) AS BIGINT) * 1000000000 + CAST(SUM(billionths) AS BIGINT) END AS cost";

impl Question<'_> {
    /// By callers, by teams, or by places: the fewest series that tell what is asked for.
    fn level(&self) -> i64 {
        let by = |grouping| self.groups.contains(&grouping);
        if self.filter.owner.is_some() || self.filter.key.is_some() || by(Grouping::Owner) || by(Grouping::Key) {
            CALLERS
        } else if self.filter.team.is_some() || by(Grouping::Team) {
            TEAMS
        } else {
            PLACES
        }
    }

    /// The statement.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a position that is none.
    pub(super) fn statement<DB>(&self) -> Result<QueryBuilder<DB>>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let mut sql = QueryBuilder::new("SELECT * FROM (SELECT ");
        sql.push(match self.granularity {
            Granularity::Hour => "usage_sums.start",
            Granularity::Day => "usage_sums.start - usage_sums.start % 24",
            Granularity::Month | Granularity::Total => "parts.start",
        });
        sql.push(" AS start");
        for (grouping, column) in Grouping::ALL.iter().zip(COLUMNS) {
            sql.push(if self.groups.contains(grouping) { ", " } else { ", '' AS " }).push(column);
        }
        sql.push(SUMS).push(" FROM usage_series CROSS JOIN (");
        for (n, part) in self.parts.iter().enumerate() {
            sql.push(if n == 0 { "SELECT " } else { " UNION ALL SELECT " });
            sql.push_bind(part.start).push(" AS start, ").push_bind(part.hours).push(" AS hours, ");
            sql.push_bind(part.low).push(" AS low, ").push_bind(part.high).push(" AS high");
        }
        // In this order, by `CROSS JOIN`: without statistics SQLite would begin with all sums of the tenant.
        sql.push(
            ") AS parts CROSS JOIN usage_sums WHERE usage_sums.tenant_id = usage_series.tenant_id
             AND series = usage_series.id AND span = hours AND usage_sums.start >= low AND usage_sums.start < high AND ",
        );
        self.conditions(&mut sql);
        sql.push(" GROUP BY 1");
        for (n, _) in Grouping::ALL.iter().enumerate().filter(|(_, grouping)| self.groups.contains(grouping)) {
            sql.push(format!(", {}", n + 2));
        }
        sql.push(") AS sums");
        self.order(&mut sql)?;
        Ok(sql)
    }

    fn conditions<DB>(&self, sql: &mut QueryBuilder<DB>)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let level = self.level();
        sql.push("usage_series.tenant_id = ").push_bind(self.tenant.to_string());
        // In the words of the indexes.
        sql.push(format!(" AND level = {level}"));
        let Filter { workspace, project, team, owner, key, provider, model } = self.filter;
        let known = |text: &String| (!text.is_empty()).then(|| text.clone());
        let equal = [
            ("workspace_id", workspace.map(|id| id.to_string())),
            ("project_id", project.map(|id| id.to_string())),
            ("team_id", team.map(|id| id.to_string()).filter(|_| level == TEAMS)),
            ("owner", owner.map(|owner| owner.to_string())),
            ("key_id", key.map(|id| id.to_string())),
            ("provider", known(provider)),
            ("model", known(model)),
        ];
        for (column, value) in equal {
            if let Some(value) = value {
                sql.push(" AND ").push(column).push(" = ").push_bind(value);
            }
        }
        if let Some(team) = team.filter(|_| level == CALLERS) {
            sql.push(" AND teams LIKE ").push_bind(format!("%/{team}/%"));
        }
    }

    fn order<DB>(&self, sql: &mut QueryBuilder<DB>) -> Result<()>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let first: &[&str] = match self.order {
            Order::Time => &["start"],
            Order::TimeDown => &["-start"],
            Order::Spend => &["cost", "start"],
            Order::SpendDown => &["-cost", "start"],
        };
        let columns = [first, &COLUMNS].concat().join(", ");
        if let Some(position) = self.after {
            let corrupt = |_| StoreError::Corrupt("place in a list".into());
            let (start, cost, groups): (i64, i64, [String; 7]) = serde_json::from_str(&position.id).map_err(corrupt)?;
            sql.push(" WHERE (").push(&columns).push(") > (");
            let mut values = sql.separated(", ");
            match self.order {
                Order::Time => values.push_bind(start),
                Order::TimeDown => values.push_bind(-start),
                Order::Spend => values.push_bind(cost).push_bind(start),
                Order::SpendDown => values.push_bind(-cost).push_bind(start),
            };
            for group in groups {
                values.push_bind(group);
            }
            sql.push(")");
        }
        sql.push(" ORDER BY ").push(columns).push(" LIMIT ").push_bind(self.limit);
        Ok(())
    }
}

/// The place of a sum in what a question asks for.
pub(super) fn place(sum: &Sum) -> Position {
    Position { id: sum.id(), key: String::new() }
}

/// The sums that a question asks for.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn sums(tx: &mut Tx, question: &Question<'_>) -> Result<Vec<Sum>> {
    Ok(fetch_built!(tx, Row, question.statement()?)?.into_iter().map(sum).collect())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::domain::{id::Id, usage::parts};

    #[tokio::test]
    async fn sums_are_found_by_ranges_of_keys_whatever_is_asked_for() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in [
            include_str!("../../migrations/sqlite/0005_ledger.sql"),
            include_str!("../../migrations/sqlite/0027_usage.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("its tables");
        }
        let key = Filter { key: Some(Id::from_bits(1)), ..Filter::default() };
        let owner = Filter { owner: Some(Principal::User(Id::from_bits(1))), ..Filter::default() };
        let team = Filter { team: Some(Id::from_bits(1)), ..Filter::default() };
        let position = Position { id: r#"[1,2,["","","","","","",""]]"#.into(), key: String::new() };
        for filter in [&Filter::default(), &key, &owner, &team] {
            for granularity in [Granularity::Hour, Granularity::Day, Granularity::Month, Granularity::Total] {
                for order in [Order::Time, Order::TimeDown, Order::Spend, Order::SpendDown] {
                    let question = Question {
                        tenant: Id::from_bits(1),
                        filter,
                        groups: &[Grouping::Project, Grouping::Model],
                        granularity,
                        parts: parts(granularity, 490_000, 494_000),
                        order,
                        after: Some(&position),
                        limit: 51,
                    };
                    let sql = question.statement::<sqlx::Sqlite>().expect("a position").into_string();
                    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                    let rows: Vec<(i64, i64, i64, String)> =
                        sqlx::query_as(explain).fetch_all(&mut connection).await.expect("a plan");
                    let plan = rows.into_iter().map(|row| row.3).collect::<Vec<_>>().join("; ");
                    let by_key = "SEARCH usage_sums USING PRIMARY KEY (tenant_id=? AND series=? AND span=?";
                    assert!(plan.contains(by_key) && plan.contains("SEARCH usage_series USING"), "{filter:?}: {plan}");
                }
            }
        }
    }
}
