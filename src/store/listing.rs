//! Pages of lists: one statement for every noun, put together from constant parts. Values are only ever bound.
//!
//! A page begins after the last record of the page before, by the order of the list and then by id, so that it is a range
//! of an index, and records that come and go meanwhile move no others.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{
    Page, Result, StoreError,
    matches::{Asks, columns, is_elsewhere, push_ids},
};
use crate::domain::{
    id::{Id, Kind, TenantKind},
    listing::{Comparator, Order, Term, Value},
    time::Timestamp,
};

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

/// The order that goes by a number, which every record of the list has.
pub const LAST_USE: &str = "last_use_time";

/// The last record of the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its id.
    pub id: String,
    /// Its value of the field that gives the order; empty when that is creation.
    pub key: String,
}

/// What the lists of a noun are made of.
#[derive(Debug)]
pub struct Noun {
    /// Its name, in the words that it is searched by.
    pub name: &'static str,
    /// The columns that fields stand for, where they have another name.
    pub columns: &'static [(&'static str, &'static str)],
    /// Whether what is deleted stays.
    pub stays: bool,
    /// The column with the place in the order of creation: an id, or a number.
    pub id: &'static str,
    /// What its ids begin with; empty when it is numbered.
    pub prefix: &'static str,
    /// Whether the words by which a record is found are in one list of its tenant, wherever in that it lies.
    pub worded_by_tenant: bool,
}

impl Noun {
    /// A noun with an id and the usual columns.
    #[must_use]
    pub const fn plain<K: Kind>(name: &'static str) -> Self {
        Self { name, columns: &[], stays: false, id: "id", prefix: K::PREFIX, worded_by_tenant: false }
    }

    /// A noun with soft deletion: indexes have the state in these words too.
    #[must_use]
    pub const fn staying<K: Kind>(name: &'static str) -> Self {
        let columns = &[("state", "(CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END)")];
        Self { columns, stays: true, ..Self::plain::<K>(name) }
    }

    /// The column that a field stands for.
    fn column(&self, field: &'static str) -> &'static str {
        const USUAL: [(&str, &str); 5] = [
            ("create_time", "created"),
            ("expire_time", "expires"),
            ("name", "slug"),
            ("email", "email_folded"),
            ("window", "span"),
        ];
        let named = self.columns.iter().chain(&USUAL).find(|(name, _)| *name == field);
        named.map_or(field, |(_, column)| column)
    }

    /// The columns that an order goes by: alone what no two of a list have the same, and ids are in the order of creation;
    /// anything else with the id after it.
    fn order(&self, order: Order) -> (&'static str, Option<&'static str>) {
        match order.field {
            "name" | "email" => (self.column(order.field), None),
            "display_name" | "state" => (self.column(order.field), Some(self.id)),
            // Of other rows, under the same ids: see the noun's list.
            LAST_USE => ("last_use", Some("used_id")),
            _ => (self.id, None),
        }
    }

    /// Whether records are numbered instead of having ids.
    const fn numbered(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Between which ids lie those that were made in this millisecond; the second does not.
    fn ids(&self, moment: Timestamp) -> (String, String) {
        let (from, to) = Id::<TenantKind>::within(moment);
        let own = |id: Id<TenantKind>| id.to_string().replacen(TenantKind::PREFIX, self.prefix, 1);
        (own(from), own(to))
    }
}

/// A number of a position.
fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| StoreError::Corrupt("place in a list".into()))
}

/// A list of one noun.
#[derive(Debug)]
pub struct List<'a> {
    /// Of which noun.
    pub noun: &'static Noun,
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

impl List<'_> {
    /// The statement for so many of the page's rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a position that is none.
    pub(super) fn statement<DB>(&self, asks: Asks<'_>, limit: i64) -> Result<QueryBuilder<DB>>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let mut sql = QueryBuilder::new(self.select);
        self.conditions(&mut sql, asks);
        let Order { descending, .. } = self.listing.order;
        let (beyond, direction) = if descending { (" < ", " DESC") } else { (" > ", "") };
        let (column, tie) = self.noun.order(self.listing.order);
        match (self.after, tie) {
            (None, _) => {}
            (Some(last), None) => {
                sql.push(" AND ").push(column).push(beyond);
                if self.noun.numbered() {
                    sql.push_bind(number(&last.id)?);
                } else {
                    sql.push_bind(if column == self.noun.id { last.id.clone() } else { last.key.clone() });
                }
            }
            (Some(last), Some(tie)) => {
                if self.listing.order.field == LAST_USE {
                    // SQLite takes no pair with an expression in it for a range.
                    sql.push(" AND ").push(column).push(beyond.trim_end()).push("= ").push_bind(number(&last.key)?);
                }
                sql.push(" AND (").push(column).push(", ").push(tie).push(")").push(beyond);
                sql.push("(");
                if self.listing.order.field == LAST_USE {
                    sql.push_bind(number(&last.key)?);
                } else {
                    sql.push_bind(last.key.clone());
                }
                sql.push(", ").push_bind(last.id.clone()).push(")");
            }
        }
        sql.push(" ORDER BY ").push(column).push(direction);
        if let Some(tie) = tie {
            sql.push(", ").push(tie).push(direction);
        }
        sql.push(" LIMIT ").push_bind(limit);
        Ok(sql)
    }

    /// The statement that counts what the list has, whatever the page: the columns of a row are the count.
    pub(super) fn counting<DB>(&self) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        let mut sql = QueryBuilder::new(self.select);
        self.conditions(&mut sql, Asks::All);
        sql
    }

    /// Whose the records are and what they have to be.
    fn conditions<DB>(&self, sql: &mut QueryBuilder<DB>, asks: Asks<'_>)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        if let Some((column, whose)) = &self.within {
            sql.push(" AND ").push(column).push(" = ").push_bind(whose.clone());
        }
        if let Some(ids) = &self.among {
            sql.push(" AND id");
            push_ids(sql, ids);
        }
        if let Asks::Ids(ids) = asks {
            sql.push(" AND ").push(self.noun.id);
            push_ids(sql, ids);
        }
        if self.noun.stays && !self.listing.show_deleted {
            sql.push(" AND deleted IS NULL");
        }
        for term in &self.listing.terms {
            match asks {
                Asks::None | Asks::Ids(_) if is_elsewhere(term) => {}
                _ => self.condition(sql, term),
            }
        }
    }

    /// What ids must be for records to be made before or after a moment, so that they are a range of an index: ids begin
    /// with the time.
    fn made<DB>(&self, sql: &mut QueryBuilder<DB>, comparator: Comparator, moment: Timestamp)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
    {
        use Comparator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let (from, to) = self.noun.ids(moment);
        if matches!(comparator, Greater | GreaterOrEqual | Equal) {
            sql.push(" AND id >= ").push_bind(from);
        }
        if matches!(comparator, Less | LessOrEqual | Equal) {
            sql.push(" AND id < ").push_bind(to);
        }
    }

    fn condition<DB>(&self, sql: &mut QueryBuilder<DB>, term: &Term)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        match term {
            Term::Mentions(_) | Term::Holds(..) | Term::IsIn(_) => {
                sql.push(" AND ").push(self.noun.id).push(" IN (SELECT ").push(columns(term).0);
                self.from(sql, term);
                sql.push(")");
            }
            Term::Compares(field, comparator, value) => {
                sql.push(" AND ").push(self.noun.column(field.name)).push(match comparator {
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
                if let (Value::Time(time), "create_time", false) = (value, field.name, self.noun.numbered()) {
                    self.made(sql, *comparator, *time);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::{
        domain::listing::{self, CREATION, Field},
        store::{
            audit, bindings, budgets, credits, invitations, keys, projects, service_accounts, teams, tenants, users,
            workspaces,
        },
    };

    const STATE: Field = Field { name: "state", kind: listing::Kind::Choice(&["ACTIVE"]), sorts: false };
    const ACTOR: Field = Field { name: "actor", kind: listing::Kind::Text, sorts: false };

    /// A noun, its rows, whose they are, the names that they sort by, a field that they are filtered by.
    type Case = (&'static Noun, &'static str, &'static str, &'static [&'static str], Option<&'static Field>);

    const KIND: Field = Field { name: "kind", kind: listing::Kind::Choice(&["GRANT"]), sorts: false };

    const CASES: [Case; 12] = [
        (&tenants::NOUN, "SELECT * FROM tenants WHERE NOT purged", "", &["name", "display_name"], Some(&STATE)),
        (
            &workspaces::NOUN,
            "SELECT * FROM workspaces WHERE TRUE",
            "tenant_id",
            &["name", "display_name"],
            Some(&STATE),
        ),
        (&projects::NOUN, "SELECT * FROM projects WHERE TRUE", "workspace_id", &["name", "display_name"], Some(&STATE)),
        (&teams::NOUN, "SELECT * FROM teams WHERE TRUE", "tenant_id", &["name", "display_name"], None),
        (
            &users::NOUN,
            "SELECT * FROM users WHERE TRUE",
            "tenant_id",
            &["email", "display_name", "state"],
            Some(&STATE),
        ),
        (
            &service_accounts::NOUN,
            "SELECT * FROM service_accounts WHERE TRUE",
            "tenant_id",
            &["name", "display_name"],
            Some(&STATE),
        ),
        (&keys::NOUN, "SELECT * FROM api_keys WHERE deleted IS NULL", "workspace_id", &["display_name"], Some(&STATE)),
        (&invitations::NOUN, "SELECT * FROM invitations WHERE state = 'pending'", "tenant_id", &["email"], None),
        (&bindings::NOUN, "SELECT * FROM bindings WHERE TRUE", "tenant_id", &[], None),
        (&budgets::NOUN, "SELECT * FROM budgets WHERE NOT deleted", "tenant_id", &["display_name"], None),
        (&audit::NOUN, "SELECT * FROM audit_events WHERE TRUE", "tenant_id", &[], Some(&ACTOR)),
        (&credits::NOUN, "SELECT * FROM credit_entries WHERE TRUE", "workspace_id", &[], Some(&KIND)),
    ];

    async fn plan(connection: &mut SqliteConnection, case: &Case, listing: &Listing, first: bool) -> String {
        let position = Position { id: "7".into(), key: "x".into() };
        let within = (!case.2.is_empty()).then(|| (case.2, "ten_1".to_owned()));
        let list =
            List { noun: case.0, select: case.1, within, among: None, listing, after: (!first).then_some(&position) };
        let sql = list.statement::<sqlx::Sqlite>(Asks::All, 51).expect("a position").into_string();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(connection).await.expect("a plan");
        rows.into_iter().map(|row| row.3).collect::<Vec<_>>().join("; ")
    }

    async fn database() -> SqliteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        for sql in MIGRATIONS {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("its tables");
        }
        connection
    }

    #[tokio::test]
    async fn a_page_is_a_range_of_an_index_in_every_order() {
        let mut connection = database().await;
        for case in &CASES {
            let orders = ["create_time"].iter().chain(case.3).flat_map(|field| [(*field, false), (*field, true)]);
            for (field, descending) in orders {
                let order = Order { field, descending };
                let equals = |field| vec![Term::Compares(field, Comparator::Equal, Value::Text("x".into()))];
                let filtered = case.4.filter(|_| field == CREATION.field).map(equals);
                for terms in [Some(vec![]), filtered].into_iter().flatten() {
                    let page = Page { after: String::new(), limit: 51 };
                    let listing = Listing { page, terms, order, show_deleted: false, asked: String::new() };
                    for first in [true, false] {
                        let plan = plan(&mut connection, case, &listing, first).await;
                        let range = plan.contains("USING") && !plan.contains("TEMP B-TREE");
                        assert!(range, "{} {order:?} {:?}: {plan}", case.1, listing.terms);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_search_is_a_range_of_the_words() {
        let mut connection = database().await;
        for case in CASES
            .iter()
            .filter(|case| !["bindings", "invitations", "audit events", "credit entries"].contains(&case.0.name))
        {
            let page = Page { after: String::new(), limit: 51 };
            let terms = vec![Term::Mentions("rare".into())];
            let listing = Listing { page, terms, order: CREATION, show_deleted: false, asked: String::new() };
            let plan = plan(&mut connection, case, &listing, true).await;
            assert!(plan.contains("SEARCH search_words USING") && !plan.contains("SCAN"), "{}: {plan}", case.1);
        }
    }

    const MIGRATIONS: [&str; 18] = [
        include_str!("../../migrations/sqlite/0001_identity.sql"),
        include_str!("../../migrations/sqlite/0002_access.sql"),
        include_str!("../../migrations/sqlite/0003_keys.sql"),
        include_str!("../../migrations/sqlite/0004_budgets.sql"),
        include_str!("../../migrations/sqlite/0006_audit.sql"),
        include_str!("../../migrations/sqlite/0007_lifecycle.sql"),
        include_str!("../../migrations/sqlite/0009_walls.sql"),
        include_str!("../../migrations/sqlite/0010_policies.sql"),
        include_str!("../../migrations/sqlite/0015_service_accounts.sql"),
        include_str!("../../migrations/sqlite/0020_people.sql"),
        include_str!("../../migrations/sqlite/0023_invitations.sql"),
        include_str!("../../migrations/sqlite/0025_key_rotation.sql"),
        include_str!("../../migrations/sqlite/0026_lists.sql"),
        include_str!("../../migrations/sqlite/0028_peppers.sql"),
        include_str!("../../migrations/sqlite/0029_key_policy.sql"),
        include_str!("../../migrations/sqlite/0030_budgets.sql"),
        include_str!("../../migrations/sqlite/0031_credits.sql"),
        include_str!("../../migrations/sqlite/0036_audit_tree.sql"),
    ];
}
