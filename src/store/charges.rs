//! Rows of charges, written by the thousand, in the form that each database takes fastest.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use sqlx::{Arguments as _, Postgres, Sqlite, Transaction, sqlite::SqliteArguments};

use super::{Result, StoreError, Tx, dialect, parse, slices::At, text_of};
use crate::{
    domain::{
        id::{BootId, Id, Kind, TenantId},
        meters::Metered,
        time::Timestamp,
        window::Period,
    },
    engine::{
        journal::{Entry, HoldUse, Posted, PostedLine, Posting, Recorded},
        places::Placed,
    },
};

/// Writes those charges that are new; gives each its position, `None` for one whose id is taken.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub(super) async fn insert(tx: &mut Tx, entries: &[&Entry]) -> Result<Vec<Option<i64>>> {
    match tx {
        Tx::Sqlite(tx) => insert_sqlite(tx, entries).await,
        Tx::Postgres(tx) => insert_postgres(tx, entries).await,
    }
}

async fn insert_sqlite(tx: &mut Transaction<'static, Sqlite>, entries: &[&Entry]) -> Result<Vec<Option<i64>>> {
    let mut seqs = Vec::with_capacity(entries.len());
    let mut rest = entries;
    for (rows, sql) in dialect::INSERT_CHARGES_SQLITE {
        while let Some((chunk, later)) = rest.split_at_checked(usize::from(rows)) {
            rest = later;
            let mut arguments = SqliteArguments::default();
            arguments.reserve(chunk.len() * (TEXTS + NUMBERS), 0);
            for entry in chunk {
                texts(entry).into_iter().try_for_each(|text| arguments.add(text)).map_err(sqlx::Error::Encode)?;
                numbers(entry).into_iter().try_for_each(|number| arguments.add(number)).map_err(sqlx::Error::Encode)?;
            }
            let done = sqlx::query_with(sql, arguments).execute(&mut **tx).await?;
            if done.rows_affected() == u64::from(rows) {
                // Nobody else writes, and positions are given out one after the other.
                let first = done.last_insert_rowid() - i64::from(rows) + 1;
                seqs.extend((first..).take(chunk.len()).map(Some));
            } else {
                seqs.extend(newest(tx, chunk, done.rows_affected()).await?);
            }
        }
    }
    Ok(seqs)
}

/// Which of a chunk are among the newest charges: as many as were just written.
async fn newest(tx: &mut Transaction<'static, Sqlite>, chunk: &[&Entry], written: u64) -> Result<Vec<Option<i64>>> {
    let sql = "SELECT tenant_id, charge_id, seq FROM charges ORDER BY seq DESC LIMIT $1";
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as(sql).bind(i64::try_from(written).unwrap_or_default()).fetch_all(&mut **tx).await?;
    Ok(positions(&rows, chunk.iter().map(|entry| (entry.tenant.to_string(), &*entry.charge_id))).collect())
}

async fn insert_postgres(tx: &mut Transaction<'static, Postgres>, entries: &[&Entry]) -> Result<Vec<Option<i64>>> {
    let mut all_texts: [Vec<Cow<'_, str>>; TEXTS] = std::array::from_fn(|_| Vec::with_capacity(entries.len()));
    let mut all_numbers: [Vec<i64>; NUMBERS] = std::array::from_fn(|_| Vec::with_capacity(entries.len()));
    for entry in entries {
        all_texts.iter_mut().zip(texts(entry)).for_each(|(column, text)| column.push(text));
        all_numbers.iter_mut().zip(numbers(entry)).for_each(|(column, number)| column.push(number));
    }
    let mut query = sqlx::query_as(dialect::INSERT_CHARGES_POSTGRES);
    for column in &all_texts {
        query = query.bind(column);
    }
    for column in &all_numbers {
        query = query.bind(column);
    }
    let rows: Vec<(String, String, i64)> = super::in_time(query.fetch_all(&mut **tx)).await?;
    let [tenants, ids, ..] = &all_texts;
    Ok(positions(&rows, tenants.iter().zip(ids).map(|(tenant, id)| (&**tenant, &**id))).collect())
}

/// The position of each charge, by tenant and id, if it is among the rows.
fn positions<'a, T: AsRef<str>>(
    rows: &[(String, String, i64)],
    charges: impl Iterator<Item = (T, &'a str)>,
) -> impl Iterator<Item = Option<i64>> {
    let seqs: HashMap<(&str, &str), i64> = rows.iter().map(|(tenant, id, seq)| ((&**tenant, &**id), *seq)).collect();
    charges.map(move |(tenant, id)| seqs.get(&(tenant.as_ref(), id)).copied())
}

const TEXTS: usize = 15;
const NUMBERS: usize = 17;

/// What stands in the columns of texts, in their order.
fn texts(entry: &Entry) -> [Cow<'_, str>; TEXTS] {
    fn text<K: Kind>(id: Option<Id<K>>) -> Cow<'static, str> {
        id.map(|id| id.to_string()).unwrap_or_default().into()
    }
    let lines = entry.postings.iter().map(|posting| as_thought(entry, posting));
    [
        entry.tenant.to_string().into(),
        (&entry.charge_id).into(),
        (&entry.body_hash).into(),
        text(entry.workspace),
        text(entry.project),
        text(entry.key),
        entry.owner.to_string().into(),
        entry.caller.to_string().into(),
        (&entry.end_user).into(),
        (&entry.provider).into(),
        (&entry.model).into(),
        text_of(&entry.outcome).into(),
        (&entry.labels).into(),
        postings_text(&entry.postings, lines).into(),
        metered_text(&entry.metered).into(),
    ]
}

/// What a charge used beside the plain counts; empty for nothing.
fn metered_text(metered: &Metered) -> String {
    if metered.is_plain() { String::new() } else { serde_json::to_string(metered).unwrap_or_default() }
}

/// How a posting is written, if all is as its server thinks.
pub(super) fn as_thought(entry: &Entry, posting: &Posting) -> PostedLine {
    let credit = if entry.is_end() { posting.in_slice } else { 0 };
    PostedLine { in_slice: posting.in_slice, credit, ..PostedLine::default() }
}

/// What stands in the columns of numbers, in their order.
fn numbers(entry: &Entry) -> [i64; NUMBERS] {
    let hold = entry.hold.as_ref();
    [
        entry.price,
        i64::from(entry.late),
        entry.usage.requests,
        entry.usage.input,
        entry.usage.cached_input,
        entry.usage.cache_write,
        entry.usage.output,
        entry.usage.reasoning,
        entry.cost,
        entry.released,
        0,
        entry.occurred.micros(),
        entry.recorded.micros(),
        hold.map_or(0, |hold| run_of(hold.run)),
        hold.map_or(0, |hold| hold.hold.0.cast_signed()),
        hold.map_or(0, |hold| hold.issued.micros()),
        hold.map_or(0, |hold| hold.ends.into()),
    ]
}

/// A run of a server, as charges have it: the half of its id that is random.
fn run_of(boot: BootId) -> i64 {
    u64::try_from(boot.bits() & u128::from(u64::MAX)).unwrap_or_default().cast_signed()
}

/// What one charge took of its hold.
pub(super) struct Taking {
    /// Its position.
    seq: i64,
    /// Whether it ended the hold.
    ended: bool,
    /// What it took, and where.
    lines: Vec<TakenLine>,
}

/// What a charge took of one slice, or past it, and of which budget.
pub(super) struct TakenLine {
    pub(super) at: At,
    pub(super) slice: i64,
    pub(super) line: PostedLine,
}

/// Names a hold: when it was made, its number, and the run of the server that made it.
type HoldKey = (i64, i64, i64);

/// What charges took of holds.
#[derive(Default)]
pub(super) struct Takings(HashMap<HoldKey, Vec<Taking>>);

impl Takings {
    /// What charges on record took of holds, those of this transaction among them.
    pub(super) async fn read(tx: &mut Tx, holds: impl Iterator<Item = HoldUse>) -> Result<Self> {
        let holds: BTreeSet<HoldKey> = holds.map(|hold| key_of(&hold)).collect();
        if holds.is_empty() {
            return Ok(Self::default());
        }
        let asked = serde_json::to_string(&holds).map_err(|_| StoreError::Corrupt("hold".into()))?;
        let sql = dialect::CHARGES_OF_HOLDS.text(tx);
        let rows = fetch_all!(tx, (i64, i64, i64, i64, i64, String), sql, asked)?;
        let mut takings: HashMap<HoldKey, Vec<Taking>> = HashMap::new();
        for (issued, hold, run, seq, ended, postings) in rows {
            let lines = postings.split_whitespace().map(taken_line).collect::<Result<_>>()?;
            takings.entry((issued, hold, run)).or_default().push(Taking { seq, ended: ended != 0, lines });
        }
        Ok(Self(takings))
    }

    /// The charges of a hold, but for those in `pending`.
    fn those(&self, hold: &HoldUse, pending: &BTreeSet<i64>) -> impl Iterator<Item = &Taking> {
        self.0.get(&key_of(hold)).into_iter().flatten().filter(|taking| !pending.contains(&taking.seq))
    }

    /// What charges took of a hold, by slice; `None` when one of them ended it. Those in `pending` do not count.
    pub(super) fn of(&self, hold: &HoldUse, pending: &BTreeSet<i64>) -> Option<BTreeMap<i64, i64>> {
        let mut taken = BTreeMap::new();
        for taking in self.those(hold, pending) {
            if taking.ended {
                return None;
            }
            taking.lines.iter().for_each(|one| *taken.entry(one.slice).or_default() += one.line.in_slice);
        }
        Some(taken)
    }

    /// What charges of a hold count for on each budget, and what its end has paid for charges that come after it, as far
    /// as those have not used it. Those in `pending` do not count.
    pub(super) fn on_budgets(&self, hold: &HoldUse, pending: &BTreeSet<i64>) -> BTreeMap<At, (i64, i64)> {
        let mut all: BTreeMap<At, (i64, i64)> = BTreeMap::new();
        for TakenLine { at, line, .. } in self.those(hold, pending).flat_map(|taking| &taking.lines) {
            let (counted, credit) = all.entry(*at).or_default();
            *counted = counted.saturating_add(line.in_slice).saturating_add(line.direct).saturating_add(line.overrun);
            *credit = credit.saturating_add(line.credit);
        }
        all
    }

    /// What a charge of this transaction took has turned out to be something else.
    pub(super) fn correct(&mut self, hold: &HoldUse, seq: i64, lines: Vec<TakenLine>) {
        let mut takings = self.0.get_mut(&key_of(hold)).into_iter().flatten();
        if let Some(taking) = takings.find(|taking| taking.seq == seq) {
            taking.lines = lines;
        }
    }
}

fn key_of(hold: &HoldUse) -> HoldKey {
    (hold.issued.micros(), hold.hold.0.cast_signed(), run_of(hold.run))
}

fn taken_line(text: &str) -> Result<TakenLine> {
    let corrupt = || StoreError::Corrupt("posting".into());
    let mut parts = text.split(':');
    let budget = parse(parts.next().unwrap_or_default(), "budget of a posting")?;
    let period = parts.next().and_then(|period| period.parse().ok()).ok_or_else(corrupt)?;
    let slice = parts.next().and_then(|slice| slice.parse().ok()).ok_or_else(corrupt)?;
    Ok(TakenLine { at: (budget, Period(period)), slice, line: line_of(text)? })
}

/// What the charge that took this id before was: the same, or another.
pub(super) async fn earlier(tx: &mut Tx, entry: &Entry) -> Result<Posted> {
    let row = fetch_optional!(
        tx,
        (i64, String, i64, i64, i64, i64, String),
        "SELECT seq, body_hash, cost_nanos, released_nanos, overrun_nanos, recorded, postings FROM charges
         WHERE tenant_id = $1 AND charge_id = $2",
        entry.tenant.to_string(),
        &entry.charge_id
    )?;
    let Some((seq, body_hash, cost, released, overrun, at, postings)) = row else {
        return Err(StoreError::Corrupt("charge".into()));
    };
    if body_hash != entry.body_hash {
        return Ok(Posted::Conflict);
    }
    let taken = postings.split_whitespace().map(taken_line).collect::<Result<Vec<_>>>()?;
    let lines = taken.iter().map(|one| one.line).collect();
    let places = taken.iter().map(|TakenLine { at: (budget, period), slice, .. }| Placed {
        slice: *slice,
        budget: *budget,
        period: *period,
    });
    let places = places.collect();
    Ok(Posted::Replayed(Recorded { seq, at: Timestamp::from_micros(at), cost, released, overrun, lines, places }))
}

/// Corrects where a charge of this transaction went, what it costs, and what its hold gives back.
pub(super) async fn rewrite(
    tx: &mut Tx,
    postings: &[Posting],
    seq: i64,
    lines: &[PostedLine],
    (cost, released): (i64, i64),
) -> Result<()> {
    // The column is in dollars; overruns in other units stand in the postings.
    let usd = postings.iter().zip(lines).filter(|(posting, _)| posting.usd);
    let overrun = usd.map(|(_, line)| line.overrun).max().unwrap_or_default();
    execute!(
        tx,
        "UPDATE charges SET postings = $2, overrun_nanos = $3, cost_nanos = $4, released_nanos = $5 WHERE seq = $1",
        seq,
        postings_text(postings, lines.iter().copied()),
        overrun,
        cost,
        released
    )?;
    Ok(())
}

/// `budget:period:slice:in slice:direct:overrun`, and `:credit` where there is one, separated by spaces.
fn postings_text(postings: &[Posting], lines: impl Iterator<Item = PostedLine>) -> String {
    let mut text = String::with_capacity(postings.len() * 64);
    for (Posting { budget, period: Period(period), slice, .. }, line) in postings.iter().zip(lines) {
        let PostedLine { in_slice, direct, overrun, credit } = line;
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{space}{budget}:{period}:{slice}:{in_slice}:{direct}:{overrun}");
        if credit != 0 {
            let _ = write!(text, ":{credit}");
        }
    }
    text
}

fn line_of(text: &str) -> Result<PostedLine> {
    let corrupt = || StoreError::Corrupt("posting".into());
    let mut numbers = text.split(':').skip(3).map(str::parse::<i64>);
    let mut next = || numbers.next().map(|number| number.map_err(|_| corrupt())).transpose();
    Ok(PostedLine {
        in_slice: next()?.ok_or_else(corrupt)?,
        direct: next()?.ok_or_else(corrupt)?,
        overrun: next()?.ok_or_else(corrupt)?,
        credit: next()?.unwrap_or_default(),
    })
}

/// How many charges a tenant has on record; for checks of the books.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), "SELECT COUNT(*) FROM charges WHERE tenant_id = $1", tenant.to_string())?;
    Ok(count)
}
