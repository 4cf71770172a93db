//! Which records of a list are found by what other tables say of them: by a word, by a role, by a team.
//!
//! Few that are found are read by their ids, in the order of the page. Many are met soon in that order: the page is read
//! without that condition, and of the records that it has it is asked who is found. So either way a page is a range of an
//! index and looks at a bounded number of rows, whatever the planner of the database expects. Only where many are found
//! and none of them stands near, as those with a late letter in an order by name, everything that is found is looked at.

use std::collections::BTreeSet;

use sqlx::{
    ColumnIndex, Database, Decode, Encode, FromRow, QueryBuilder, Row, Type, postgres::PgRow, sqlite::SqliteRow,
};

use super::{Result, Tx, listing::List, search};
use crate::domain::listing::Term;

/// Most that are few.
const FEW: usize = 1000;
/// Records that are met on the way to a page of many.
const NEAR: i64 = 2000;

/// A row that either database gives.
pub(super) trait Fetched: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Fetched for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A row and its id, which is its first column.
struct Identified<R> {
    id: String,
    row: R,
}

impl<'r, D, R> FromRow<'r, D> for Identified<R>
where
    D: Row,
    R: FromRow<'r, D>,
    usize: ColumnIndex<D>,
    String: Decode<'r, D::Database> + Type<D::Database>,
{
    fn from_row(row: &'r D) -> sqlx::Result<Self> {
        Ok(Self { id: row.try_get(0)?, row: R::from_row(row)? })
    }
}

/// What of a list's conditions on other tables a statement asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asks<'a> {
    /// All of them.
    All,
    /// None.
    None,
    /// None, but that the ids are among these: at least one.
    Ids(&'a BTreeSet<String>),
}

/// Whether a term is about what another table says.
pub(super) const fn is_elsewhere(term: &Term) -> bool {
    match term {
        Term::Mentions(_) | Term::Holds(..) | Term::IsIn(_) => true,
        Term::Compares(..) => false,
    }
}

impl List<'_> {
    /// The rows of the page.
    ///
    /// # Errors
    /// As [`super::StoreError`] says; [`super::StoreError::Corrupt`] for a position that is none.
    pub(super) async fn fetch<R: Fetched>(&self, tx: &mut Tx) -> Result<Vec<R>> {
        let (mut few, mut many) = (None::<BTreeSet<String>>, Vec::new());
        for term in self.listing.terms.iter().filter(|term| is_elsewhere(term)) {
            let found = self.first(tx, term).await?;
            if found.len() > FEW {
                many.push(term);
                continue;
            }
            let found: BTreeSet<String> = found.into_iter().collect();
            few = Some(few.map_or_else(|| found.clone(), |others| &others & &found));
        }
        let limit = self.listing.page.limit;
        match few {
            Some(ids) => match self.found(tx, &many, ids).await? {
                ids if ids.is_empty() => Ok(Vec::new()),
                ids => self.rows(tx, Asks::Ids(&ids), limit).await,
            },
            None if many.is_empty() => self.rows(tx, Asks::None, limit).await,
            None => self.meet(tx, &many).await,
        }
    }

    /// The page of a list that finds many.
    async fn meet<R: Fetched>(&self, tx: &mut Tx, terms: &[&Term]) -> Result<Vec<R>> {
        let limit = self.listing.page.limit;
        let wanted = usize::try_from(limit).unwrap_or_default();
        for reach in [limit * 2, limit + NEAR] {
            let near: Vec<Identified<R>> = self.rows(tx, Asks::None, reach).await?;
            let to_the_end = near.len() < usize::try_from(reach).unwrap_or_default();
            let ids = self.found(tx, terms, near.iter().map(|met| met.id.clone()).collect()).await?;
            let page = near.into_iter().filter(|met| ids.contains(&met.id)).take(wanted);
            let page: Vec<R> = page.map(|met| met.row).collect();
            if to_the_end || page.len() == wanted {
                return Ok(page);
            }
        }
        self.rows(tx, Asks::All, limit).await
    }

    async fn rows<R: Fetched>(&self, tx: &mut Tx, asks: Asks<'_>, limit: i64) -> Result<Vec<R>> {
        Ok(fetch_built!(tx, R, self.statement(asks, limit)?)?)
    }

    /// Those that a term finds, or one more than [`FEW`] of them; one may be there more than once.
    async fn first(&self, tx: &mut Tx, term: &Term) -> Result<Vec<String>> {
        let limit = i64::try_from(FEW + 1).unwrap_or(i64::MAX);
        let rows = fetch_built!(tx, (String,), {
            let (column, order) = columns(term);
            let mut sql = QueryBuilder::new("SELECT ");
            sql.push(column);
            self.from(&mut sql, term);
            // In the order of the index, or the rows of others could be read first.
            sql.push(" ORDER BY ").push(order).push(" LIMIT ").push_bind(limit);
            sql
        })?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Those among these ids that every one of the terms finds.
    async fn found(&self, tx: &mut Tx, terms: &[&Term], mut ids: BTreeSet<String>) -> Result<BTreeSet<String>> {
        for term in terms {
            if ids.is_empty() {
                break;
            }
            let rows = fetch_built!(tx, (String,), {
                let mut sql = QueryBuilder::new("SELECT ");
                sql.push(columns(term).0);
                if let Term::Mentions(searched) = term {
                    sql.push(" FROM (");
                    sql.push_values(&ids, |mut row, id| {
                        row.push_bind(id.clone());
                    });
                    sql.push(") AS ids CROSS JOIN search_words WHERE record = column1 AND tenant_id = ");
                    self.tenant(&mut sql);
                    // In a `CASE`, or SQLite would take the index of all that have the word.
                    sql.push(" AND CASE WHEN ");
                    self.word(&mut sql, searched);
                    sql.push(" THEN TRUE ELSE FALSE END");
                } else {
                    self.from(&mut sql, term);
                    sql.push(" AND ").push(columns(term).0);
                    push_ids(&mut sql, &ids);
                }
                sql
            })?;
            ids = rows.into_iter().map(|(id,)| id).collect();
        }
        Ok(ids)
    }

    /// Where a term finds records, up to and with a condition.
    pub(super) fn from<DB>(&self, sql: &mut QueryBuilder<DB>, term: &Term)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
        for<'t> i64: Encode<'t, DB> + Type<DB>,
    {
        match term {
            Term::Mentions(searched) => {
                sql.push(" FROM search_words WHERE ");
                self.word(sql, searched);
            }
            Term::Holds(role, now) => {
                sql.push(" FROM bindings WHERE role = ").push_bind(role.clone()).push(" AND scope_workspace IS NULL");
                for column in ["tenant_id", "scope_tenant"] {
                    let whose = self.within.as_ref().map(|(_, whose)| whose.clone()).unwrap_or_default();
                    sql.push(" AND ").push(column).push(" = ").push_bind(whose);
                }
                sql.push(" AND (expires IS NULL OR expires > ").push_bind(now.micros()).push(")");
            }
            Term::IsIn(team) => {
                sql.push(" FROM team_members WHERE team_id = ").push_bind(team.clone());
            }
            // Of the noun's own table.
            Term::Compares(..) => {}
        }
    }

    /// Of which list a word is and how it begins.
    fn word<DB>(&self, sql: &mut QueryBuilder<DB>, searched: &str)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
    {
        // Tenants lie in nothing: the list of one's own is of all of them.
        let whose = self.within.as_ref().filter(|(column, _)| *column != self.noun.id);
        match whose {
            Some(("workspace_id", workspace)) if self.noun.worded_by_tenant => {
                sql.push("list = ").push_bind(search::list(self.noun.name, ""));
                sql.push(" || (SELECT tenant_id FROM workspaces WHERE id = ").push_bind(workspace.clone()).push(")");
            }
            _ => {
                let whose = whose.map_or("all", |(_, whose)| whose.as_str());
                sql.push("list = ").push_bind(search::list(self.noun.name, whose));
            }
        }
        match search::range(searched) {
            Some((from, to)) => sql.push(" AND word >= ").push_bind(from).push(" AND word < ").push_bind(to),
            None => sql.push(" AND FALSE"),
        };
    }

    /// The tenant of a record whose id is in `column1`.
    fn tenant<DB>(&self, sql: &mut QueryBuilder<DB>)
    where
        DB: Database,
        for<'t> String: Encode<'t, DB> + Type<DB>,
    {
        match &self.within {
            Some(("workspace_id", whose)) => {
                sql.push("(SELECT tenant_id FROM workspaces WHERE id = ").push_bind(whose.clone()).push(")");
            }
            Some((column, whose)) if *column != self.noun.id => {
                sql.push_bind(whose.clone());
            }
            // A tenant is its own.
            _ => {
                sql.push("column1");
            }
        }
    }
}

/// The column with the id of what a term finds, and the one in whose order an index has it.
pub(super) const fn columns(term: &Term) -> (&'static str, &'static str) {
    match term {
        Term::Mentions(_) => ("record", "word"),
        Term::Holds(..) => ("member", "member"),
        Term::IsIn(_) => ("user_id", "user_id"),
        Term::Compares(..) => ("id", "id"),
    }
}

/// Asks for one of these ids.
pub(super) fn push_ids<'i, DB>(sql: &mut QueryBuilder<DB>, ids: impl IntoIterator<Item = &'i String>)
where
    DB: Database,
    for<'t> String: Encode<'t, DB> + Type<DB>,
{
    sql.push(" IN (");
    ids.into_iter().fold(sql.separated(", "), |mut list, id| {
        list.push_bind(id.clone());
        list
    });
    sql.push(")");
}
