//! The log of charges, newest first.
//!
//! A page is a range of an index by the time at which charges were recorded. What else is asked for is looked at charge by
//! charge, of so many at most, from the last hour on in which the sums say that there is any of it.

use std::time::Duration;

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{Result, StoreError, Tx, listing::Position, value_of};
use crate::{
    domain::{
        bindings::Principal,
        id::{KeyId, ProjectId, TenantId, WorkspaceId},
        listing::Sorted,
        meters::Metered,
        prices::Usage,
        time::Timestamp,
        usage::{hour, time_of},
    },
    engine::{journal::Outcome, price_book::AT_CEILING},
};

/// Most charges that are looked at in one go.
const MOST: i64 = 10_000;
/// Most goes for a page.
const GOES: usize = 4;

/// Which charges.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only recorded at this time or later.
    pub start: Option<Timestamp>,
    /// Only recorded before this time.
    pub end: Option<Timestamp>,
    /// Only of this owner.
    pub owner: Option<Principal>,
    /// Only in this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Only in this project.
    pub project: Option<ProjectId>,
    /// Only with this key.
    pub key: Option<KeyId>,
    /// Only by this model; empty for all.
    pub model: String,
}

/// A charge on record.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its position in the ledger.
    pub seq: i64,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// When it happened.
    pub occurred: Timestamp,
    /// Its caller's id for it.
    pub charge_id: String,
    /// Id of the workspace; empty for none.
    pub workspace: String,
    /// Id of the project; empty for none.
    pub project: String,
    /// Id of the key; empty for none.
    pub key: String,
    /// Id of the owner.
    pub owner: String,
    /// The end client's own user; empty for none.
    pub end_user: String,
    /// Who served it.
    pub provider: String,
    /// What served it.
    pub model: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it came after the end of its hold.
    pub late: bool,
    /// What it used.
    pub usage: Usage,
    /// What it used beside that.
    pub metered: Metered,
    /// What it cost, in nanos.
    pub cost: i64,
    /// Whether that is the ceiling of its workspace.
    pub at_ceiling: bool,
    /// The version of the prices that it was charged by, `priceVersions/7`, of the tenant's own with a slash before it; empty
    /// for none.
    pub price_version: String,
}

impl Sorted for Logged {
    fn id(&self) -> String {
        place(self.recorded.micros(), self.seq)
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

fn place(recorded: i64, seq: i64) -> String {
    format!("{recorded}.{seq}")
}

fn read_place(position: &Position) -> Result<(i64, i64)> {
    let parts = position.id.split_once('.').and_then(|(at, seq)| Some((at.parse().ok()?, seq.parse().ok()?)));
    parts.ok_or_else(|| StoreError::Corrupt("place in a list".into()))
}

/// The columns of a row. Numbers as one text: tuples have an end.
const COLUMNS: &str =
    "SELECT seq, recorded, occurred, charge_id, workspace_id, project_id, key_id, owner, end_user, provider,
    model, outcome, late, requests || ' ' || input_tokens || ' ' || cached_tokens || ' ' || cache_write_tokens || ' '
        || output_tokens || ' ' || reasoning_tokens || ' ' || cost_nanos || ' ' || price_id AS numbers, metered,
    COALESCE((SELECT CASE prices.owner WHEN '' THEN '' ELSE '/' END || 'priceVersions/' || prices.version
        FROM prices WHERE prices.id = price_id), '') AS price FROM ";

type Row = (
    i64,
    i64,
    i64,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    bool,
    String,
    String,
    String,
);

fn metered_of(text: &str) -> Result<Metered> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("what a charge used".into()))
}

fn logged(row: Row) -> Result<Logged> {
    let (
        seq,
        recorded,
        occurred,
        charge_id,
        workspace,
        project,
        key,
        owner,
        end_user,
        provider,
        model,
        outcome,
        late,
        n,
        metered,
        price,
    ) = row;
    let numbers: Vec<i64> = n.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, input, cached_input, cache_write, output, reasoning, cost, priced] =
        <[i64; 8]>::try_from(numbers).map_err(|_| StoreError::Corrupt("charge".into()))?;
    Ok(Logged {
        seq,
        recorded: Timestamp::from_micros(recorded),
        occurred: Timestamp::from_micros(occurred),
        charge_id,
        workspace,
        project,
        key,
        owner,
        end_user,
        provider,
        model,
        outcome: value_of(outcome, "outcome")?,
        late,
        usage: Usage { input, cached_input, cache_write, output, reasoning, requests },
        metered: if metered.is_empty() { Metered::default() } else { metered_of(&metered)? },
        cost,
        at_ceiling: priced == AT_CEILING,
        price_version: price,
    })
}

/// A page on its way.
struct Search<'a> {
    tenant: TenantId,
    filter: &'a Filter,
    after: Option<(i64, i64)>,
    limit: i64,
}

impl Search<'_> {
    /// What is asked for beyond what an index gives.
    fn rest(&self) -> Vec<(&'static str, String)> {
        let Filter { workspace, project, key, owner, model, .. } = self.filter;
        let all = [
            ("owner", owner.map(|owner| owner.to_string())),
            ("workspace_id", workspace.map(|id| id.to_string())),
            ("project_id", project.map(|id| id.to_string())),
            ("key_id", key.map(|id| id.to_string())),
            ("model", Some(model.clone()).filter(|model| !model.is_empty())),
        ];
        all.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()
    }

    /// The charges that an index gives, newest first, without an end.
    fn range<DB>(&self, sql: &mut QueryBuilder<DB>)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        sql.push("charges WHERE tenant_id = ").push_bind(self.tenant.to_string());
        if let Some(start) = self.filter.start {
            sql.push(" AND recorded >= ").push_bind(start.micros());
        }
        if let Some(end) = self.filter.end {
            sql.push(" AND recorded < ").push_bind(end.micros());
        }
        if let Some((recorded, seq)) = self.after {
            sql.push(" AND (recorded, seq) < (").push_bind(recorded).push(", ").push_bind(seq).push(")");
        }
        sql.push(" ORDER BY recorded DESC, seq DESC LIMIT ");
    }

    fn statement<DB>(&self) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let rest = self.rest();
        let mut sql = QueryBuilder::new(COLUMNS);
        if rest.is_empty() {
            self.range(&mut sql);
        } else {
            sql.push("(SELECT * FROM ");
            self.range(&mut sql);
            sql.push_bind(MOST).push(") AS charges WHERE TRUE");
            for (column, value) in rest {
                sql.push(" AND ").push(column).push(" = ").push_bind(value);
            }
            sql.push(" ORDER BY recorded DESC, seq DESC LIMIT ");
        }
        sql.push_bind(self.limit);
        sql
    }
}

/// As [`Search`], for the last charge that is looked at.
struct Last<'a>(Search<'a>);

impl Last<'_> {
    fn statement<DB>(&self) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let mut sql = QueryBuilder::new("SELECT recorded, seq FROM ");
        self.0.range(&mut sql);
        sql.push("1 OFFSET ").push_bind(MOST - 1);
        sql
    }
}

/// As [`Search`], for the last hour in which there is any of what is asked for.
struct LastHour<'a>(Search<'a>);

impl LastHour<'_> {
    fn statement<DB>(&self) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let Search { tenant, filter, after, .. } = &self.0;
        // Of each series the last hour, each found by the key.
        let mut sql = QueryBuilder::new(
            "SELECT COALESCE(MAX((SELECT start FROM usage_sums WHERE usage_sums.tenant_id = usage_series.tenant_id
                 AND series = id AND span = 1",
        );
        let ends = filter.end.map(|end| end.before(Duration::from_micros(1)).micros());
        if let Some(last) = after.map(|(recorded, _)| recorded).into_iter().chain(ends).min() {
            sql.push(" AND start <= ").push_bind(hour(Timestamp::from_micros(last)));
        }
        sql.push(" ORDER BY start DESC LIMIT 1)), -1) FROM usage_series WHERE tenant_id = ");
        sql.push_bind(tenant.to_string());
        let of_callers = filter.owner.is_some() || filter.key.is_some();
        // In the words of the indexes.
        sql.push(if of_callers { " AND level = 2" } else { " AND level = 1" });
        for (column, value) in self.0.rest() {
            sql.push(" AND ").push(column).push(" = ").push_bind(value);
        }
        sql
    }
}

/// A page of a tenant's charges, newest first, and where to go on when it ends because enough was looked at.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    after: Option<&Position>,
    limit: i64,
) -> Result<(Vec<Logged>, Option<String>)> {
    let mut filter = filter.clone();
    let mut after = after.map(read_place).transpose()?;
    let mut found = Vec::new();
    for _ in 0..GOES {
        let left = limit - i64::try_from(found.len()).unwrap_or(limit);
        let last = LastHour(Search { tenant, filter: &filter, after, limit: left });
        if !last.0.rest().is_empty() {
            let last = fetch_built!(tx, (i64,), last.statement())?.first().map_or(-1, |(hour,)| *hour);
            if last < 0 {
                return Ok((found, None));
            }
            let end = time_of(last + 1);
            filter.end = Some(filter.end.map_or(end, |until| until.min(end)));
        }
        let search = Search { tenant, filter: &filter, after, limit: left };
        let rows = fetch_built!(tx, Row, search.statement())?;
        let full = usize::try_from(left).is_ok_and(|left| rows.len() >= left);
        found.extend(rows.into_iter().map(logged).collect::<Result<Vec<_>>>()?);
        if full || search.rest().is_empty() {
            return Ok((found, None));
        }
        let last = Last(search);
        after = fetch_built!(tx, (i64, i64), last.statement())?.first().copied();
        if after.is_none() {
            return Ok((found, None));
        }
    }
    Ok((found, after.map(|(recorded, seq)| place(recorded, seq))))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::domain::id::Id;

    #[tokio::test]
    async fn a_page_of_the_log_is_a_range_of_an_index_in_its_order() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in [
            include_str!("../../migrations/sqlite/0004_budgets.sql"),
            include_str!("../../migrations/sqlite/0005_ledger.sql"),
            include_str!("../../migrations/sqlite/0027_usage.sql"),
            include_str!("../../migrations/sqlite/0032_prices.sql"),
            include_str!("../../migrations/sqlite/0033_price_versions.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("its tables");
        }
        let time = Some(Timestamp::from_micros(5));
        let model = Filter { model: "m".into(), start: time, end: time, ..Filter::default() };
        let owner = Filter { owner: Some(Principal::User(Id::from_bits(1))), ..model.clone() };
        for filter in [&Filter::default(), &model, &owner] {
            for after in [None, Some((7, 7))] {
                let search = Search { tenant: Id::from_bits(1), filter, after, limit: 51 };
                let sql = search.statement::<sqlx::Sqlite>().into_string();
                let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(explain).fetch_all(&mut connection).await.expect("a plan");
                let plan = rows.into_iter().map(|row| row.3).collect::<Vec<_>>().join("; ");
                assert!(plan.contains("SEARCH charges USING INDEX charges_by_time"), "{filter:?}: {plan}");
            }
        }
    }
}
