//! The books as the database has them, and whether they are in order. Read by plain SQL, past everything that is tested.

use std::collections::BTreeMap;

use sqlx::{FromRow, postgres::PgRow, sqlite::SqliteRow};
use tollreeve::{
    domain::money::MAX_AMOUNT,
    store::{Db, Tx, connect::Settings},
};

/// What a charge wrote on one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub budget: String,
    pub period: i64,
    pub slice: i64,
    pub in_slice: i64,
    pub direct: i64,
    pub overrun: i64,
}

/// A charge on record.
#[derive(Clone, Debug)]
pub struct Charge {
    pub id: String,
    pub cost: i64,
    pub late: bool,
    pub lines: Vec<Line>,
}

/// A budget's period on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub cap: i64,
    pub ceiling: i64,
    pub allocated: i64,
    pub settled: i64,
    pub overrun: i64,
}

/// The books.
pub struct Books(Db);

impl Books {
    pub async fn open(settings: &Settings) -> Self {
        Self(Db::connect(settings).await.expect("the database opens"))
    }

    pub async fn close(self) {
        self.0.close().await;
    }

    /// The rows of a statement.
    pub async fn rows<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        rows(&mut self.look().await, sql).await
    }

    /// One state of the database, whatever is written meanwhile.
    async fn look(&self) -> Tx {
        self.0.read().await.expect("the database answers")
    }

    /// Every charge, in the order of the ledger.
    pub async fn charges(&self) -> Vec<Charge> {
        charges(&mut self.look().await).await
    }

    /// Every period of every budget.
    pub async fn periods(&self) -> BTreeMap<(String, i64), Book> {
        periods(&mut self.look().await).await
    }

    /// What is settled on a budget, by its resource name, over all its periods.
    pub async fn spent(&self, budget: &str) -> i64 {
        let id = budget.rsplit('/').next().unwrap_or_default();
        let charges = self.charges().await;
        let lines = charges.iter().flat_map(|charge| &charge.lines).filter(|line| line.budget == id);
        lines.map(|line| line.in_slice + line.direct + line.overrun).sum()
    }

    /// Insists that everything adds up: nothing lost, nothing doubled, nothing past a ceiling.
    pub async fn check(&self) {
        let mut tx = self.look().await;
        usage(&mut tx).await;
        let charges = charges(&mut tx).await;
        let slices: Vec<(i64, String, i64, i64, i64, i64)> =
            rows(&mut tx, "SELECT id, budget_id, period, granted, spent, state FROM slices").await;
        let lines: Vec<&Line> = charges.iter().flat_map(|charge| &charge.lines).collect();
        for (id, _, _, granted, spent, _) in &slices {
            let charged: i64 = lines.iter().filter(|line| line.slice == *id).map(|line| line.in_slice).sum();
            assert_eq!(charged, *spent, "slice {id} has settled what was charged to it");
            assert!(spent <= granted, "slice {id} has spent {spent} of {granted}");
        }
        for ((budget, period), book) in periods(&mut tx).await {
            let own = |line: &&&Line| line.budget == budget && line.period == period;
            let open: Vec<_> = slices.iter().filter(|s| s.1 == budget && s.2 == period && s.5 < 3).collect();
            let granted: i64 = open.iter().map(|slice| slice.3).sum();
            let spent: i64 = open.iter().map(|slice| slice.4).sum();
            let at = format!("{budget} in {period}: {book:?}");
            assert_eq!(book.allocated, granted + book.settled, "allocated = granted and open + settled, {at}");
            assert!(book.allocated <= book.ceiling && book.ceiling >= book.cap, "within the ceiling, {at}");
            let charged: i64 = lines.iter().filter(own).map(|line| line.in_slice + line.direct).sum();
            assert_eq!(charged, book.settled + spent, "what was charged is settled, {at}");
            // The one sum that nothing bounds: it stops at the largest amount there is.
            let overrun: i128 = lines.iter().filter(own).map(|line| i128::from(line.overrun)).sum();
            assert_eq!(overrun.min(MAX_AMOUNT.into()), book.overrun.into(), "overruns are what charges say, {at}");
        }
    }
}

/// The rows of a statement.
async fn rows<T>(tx: &mut Tx, sql: &'static str) -> Vec<T>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let rows = match tx {
        Tx::Sqlite(tx) => sqlx::query_as::<_, T>(sql).fetch_all(&mut **tx).await,
        Tx::Postgres(tx) => sqlx::query_as::<_, T>(sql).fetch_all(&mut **tx).await,
    };
    rows.expect("the database answers")
}

/// Insists that the sums of usage are what the charges come to, by the hour and by the day, by caller and by place.
async fn usage(tx: &mut Tx) {
    macro_rules! sums {
        ($hours:literal, $level:literal, $owner:literal, $key:literal) => {
            rows::<Usage>(tx, concat!(
                "SELECT COUNT(*), COALESCE(MIN(place), '') FROM (
                     SELECT tenant_id, workspace_id, project_id, provider, model, owner, key_id, start,
                         tenant_id || ' ' || workspace_id || ' ' || model || ' ' || key_id AS place,
                         SUM(charges) AS charges, SUM(requests) AS requests, SUM(input) AS input, SUM(cached) AS cached,
                         SUM(cache_write) AS cache_write, SUM(output) AS output, SUM(reasoning) AS reasoning,
                         SUM(dollars) AS dollars, SUM(billionths) AS billionths
                     FROM (
                         SELECT usage_sums.tenant_id, workspace_id, project_id, provider, model, owner, key_id, start,
                             charges, requests, input_tokens AS input, cached_tokens AS cached,
                             cache_write_tokens AS cache_write, output_tokens AS output, reasoning_tokens AS reasoning,
                             dollars, billionths
                         FROM usage_sums JOIN usage_series ON usage_series.tenant_id = usage_sums.tenant_id
                             AND usage_series.id = series
                         WHERE level = ", $level, " AND span = ", $hours, "
                         UNION ALL
                         SELECT tenant_id, workspace_id, project_id, provider, model, ", $owner, ", ", $key, ",
                             recorded / (3600000000 * ", $hours, ") * ", $hours, ", -1, -requests, -input_tokens,
                             -cached_tokens, -cache_write_tokens, -output_tokens, -reasoning_tokens,
                             -(cost_nanos / 1000000000), -(cost_nanos % 1000000000)
                         FROM charges
                     ) AS both_sides
                     GROUP BY tenant_id, workspace_id, project_id, provider, model, owner, key_id, start
                 ) AS rests
                 WHERE charges <> 0 OR requests <> 0 OR input <> 0 OR cached <> 0 OR cache_write <> 0 OR output <> 0
                     OR reasoning <> 0 OR dollars <> 0 OR billionths <> 0"
            )).await
        };
    }
    let none = vec![(0, String::new())];
    assert_eq!(sums!("1", "2", "owner", "key_id"), none, "hours by caller");
    assert_eq!(sums!("24", "2", "owner", "key_id"), none, "days by caller");
    assert_eq!(sums!("1", "1", "''", "''"), none, "hours by place");
    assert_eq!(sums!("24", "1", "''", "''"), none, "days by place");
}

/// How many sums are wrong, and of what the first is.
type Usage = (i64, String);

async fn charges(tx: &mut Tx) -> Vec<Charge> {
    let rows: Vec<(String, i64, i64, String)> = rows(
        tx,
        "SELECT charge_id, cost_nanos, CAST(CASE WHEN late THEN 1 ELSE 0 END AS BIGINT), postings
         FROM charges ORDER BY seq",
    )
    .await;
    let charge = |(id, cost, late, postings): (String, i64, i64, String)| Charge {
        id,
        cost,
        late: late == 1,
        lines: postings.split_whitespace().map(line).collect(),
    };
    rows.into_iter().map(charge).collect()
}

async fn periods(tx: &mut Tx) -> BTreeMap<(String, i64), Book> {
    let rows: Vec<(String, i64, i64, i64, i64, i64, i64)> =
        rows(tx, "SELECT budget_id, period, cap, ceiling, allocated, settled, overrun FROM budget_periods").await;
    let book = |(budget, period, cap, ceiling, allocated, settled, overrun)| {
        ((budget, period), Book { cap, ceiling, allocated, settled, overrun })
    };
    rows.into_iter().map(book).collect()
}

fn line(text: &str) -> Line {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |i: usize| parts[i].parse::<i64>().expect("a number");
    Line {
        budget: parts[0].to_owned(),
        period: number(1),
        slice: number(2),
        in_slice: number(3),
        direct: number(4),
        overrun: number(5),
    }
}
