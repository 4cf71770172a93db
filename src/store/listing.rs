//! Pages of lists: one statement for every noun, put together from constant parts. Values are only ever bound.
//!
//! A page begins after the last record of the page before, by the order of the list and then by id, so that it is a range
//! of an index, and records that come and go meanwhile move no others.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{Page, Result, StoreError};
use crate::domain::listing::{Comparator, Order, Term, Value};

/// What is asked of a list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which page.
    pub page: Page,
    /// What every record has to be.
    pub terms: Vec<Term>,
    /// In which order.
    pub order: Order,
    /// Whether those that are deleted are among them.
    pub show_deleted: bool,
    /// What the caller asked, page apart: a page token holds for the same only.
    pub asked: String,
}

/// The last record of the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its id.
    pub id: String,
    /// Its value of the field that gives the order; empty when that is creation.
    pub key: String,
}

/// A list of one noun.
#[derive(Debug)]
pub struct List<'a> {
    /// The columns of a row and where they come from, up to and with a condition.
    pub select: &'static str,
    /// The column that says whose the records are, and whose are asked for; `None` for all there are.
    pub within: Option<(&'static str, String)>,
    /// Ids of the only records that there are for the caller; `None` for all.
    pub among: Option<Vec<String>>,
    /// What is asked.
    pub listing: &'a Listing,
    /// Where the page begins; `None` for the first.
    pub after: Option<&'a Position>,
}

/// The columns that fields stand for. Indexes have the state in these words too.
const COLUMNS: [(&str, &str); 4] = [
    ("display_name", "display_name"),
    ("state", "(CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END)"),
    ("create_time", "created"),
    ("environment", "environment"),
];

/// The columns that an order goes by: a slug or an id alone, since no two of a list are the same, and ids are in the order
/// of creation; anything else with the id after it.
fn order_columns(order: Order) -> (&'static str, Option<&'static str>) {
    match order.field {
        "name" => ("slug", None),
        "display_name" => ("display_name", Some("id")),
        _ => ("id", None),
    }
}

impl List<'_> {
    /// The statement for a page.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a field without a column.
    pub(super) fn statement<DB>(&self) -> Result<QueryBuilder<DB>>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let mut sql = QueryBuilder::new(self.select);
        if let Some((column, whose)) = &self.within {
            sql.push(" AND ").push(column).push(" = ").push_bind(whose.clone());
        }
        if let Some(ids) = &self.among {
            sql.push(" AND id IN (");
            ids.iter().fold(sql.separated(", "), |mut list, id| {
                list.push_bind(id.clone());
                list
            });
            sql.push(")");
        }
        if !self.listing.show_deleted {
            sql.push(" AND deleted IS NULL");
        }
        for term in &self.listing.terms {
            condition(&mut sql, term)?;
        }
        let Order { descending, .. } = self.listing.order;
        let (beyond, direction) = if descending { (" < ", " DESC") } else { (" > ", "") };
        let (column, tie) = order_columns(self.listing.order);
        match (self.after, tie) {
            (None, _) => {}
            (Some(last), None) => {
                let value = if column == "id" { &last.id } else { &last.key };
                sql.push(" AND ").push(column).push(beyond).push_bind(value.clone());
            }
            (Some(last), Some(tie)) => {
                sql.push(" AND (").push(column).push(", ").push(tie).push(")").push(beyond);
                sql.push("(").push_bind(last.key.clone()).push(", ").push_bind(last.id.clone()).push(")");
            }
        }
        sql.push(" ORDER BY ").push(column).push(direction);
        if let Some(tie) = tie {
            sql.push(", ").push(tie).push(direction);
        }
        sql.push(" LIMIT ").push_bind(self.listing.page.limit);
        Ok(sql)
    }
}

fn condition<DB>(sql: &mut QueryBuilder<DB>, term: &Term) -> Result<()>
where
    DB: Database,
    for<'t> String: Encode<'t, DB> + Type<DB>,
    for<'t> i64: Encode<'t, DB> + Type<DB>,
{
    match term {
        Term::Mentions(word) => {
            let literal = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            sql.push(" AND words LIKE ").push_bind(format!("%{literal}%")).push(" ESCAPE '\\'");
        }
        Term::Compares(field, comparator, value) => {
            let column = COLUMNS.iter().find(|(name, _)| *name == field.name);
            let (_, column) = column.ok_or(StoreError::Corrupt("list with an unknown field".into()))?;
            sql.push(" AND ").push(column).push(match comparator {
                Comparator::Equal => " = ",
                Comparator::Unequal => " <> ",
                Comparator::Less => " < ",
                Comparator::LessOrEqual => " <= ",
                Comparator::Greater => " > ",
                Comparator::GreaterOrEqual => " >= ",
            });
            match value {
                Value::Text(text) => sql.push_bind(text.clone()),
                Value::Time(time) => sql.push_bind(time.micros()),
            };
        }
    }
    Ok(())
}

/// What a search looks in.
pub(super) fn words(slug: &str, display_name: &str) -> String {
    format!("{slug} {}", display_name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::domain::listing::{CREATION, Field, Kind};

    const STATE: Field = Field { name: "state", kind: Kind::Choice(&["ACTIVE"]), sorts: false };

    async fn plan(connection: &mut SqliteConnection, select: &'static str, listing: &Listing, first: bool) -> String {
        let position = Position { id: "ws_1".into(), key: "x".into() };
        let within = (!select.contains("FROM tenants"))
            .then(|| (if select.contains("projects") { "workspace_id" } else { "tenant_id" }, "ten_1".to_owned()));
        let list = List { select, within, among: None, listing, after: (!first).then_some(&position) };
        let sql = list.statement::<sqlx::Sqlite>().expect("known fields").into_string();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(connection).await.expect("a plan");
        rows.into_iter().map(|row| row.3).collect::<Vec<_>>().join("; ")
    }

    #[tokio::test]
    async fn a_page_is_a_range_of_an_index_in_every_order() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in [IDENTITY, ACCESS, LIFECYCLE] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("its tables");
        }
        let state = Term::Compares(&STATE, Comparator::Equal, Value::Text("active".into()));
        let orders = ["create_time", "name", "display_name"].map(|field| Order { field, ..CREATION });
        for select in [
            "SELECT * FROM tenants WHERE NOT purged",
            "SELECT * FROM workspaces WHERE TRUE",
            "SELECT * FROM projects WHERE TRUE",
        ] {
            for (order, descending) in orders.into_iter().flat_map(|order| [(order, false), (order, true)]) {
                let order = Order { descending, ..order };
                let by_creation = order.field == CREATION.field;
                for terms in [vec![], vec![state.clone()]].into_iter().take(1 + usize::from(by_creation)) {
                    let page = Page { after: String::new(), limit: 51 };
                    let listing = Listing { page, terms, order, show_deleted: false, asked: String::new() };
                    for first in [true, false] {
                        let plan = plan(&mut connection, select, &listing, first).await;
                        let range = plan.contains("USING") && !plan.contains("TEMP B-TREE");
                        assert!(range, "{select} {order:?} {:?}: {plan}", listing.terms);
                    }
                }
            }
        }
    }

    const IDENTITY: &str = include_str!("../../migrations/sqlite/0001_identity.sql");
    const ACCESS: &str = include_str!("../../migrations/sqlite/0002_access.sql");
    const LIFECYCLE: &str = include_str!("../../migrations/sqlite/0007_lifecycle.sql");
}
