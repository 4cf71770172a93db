//! Sums of charges by hour and by day, written in the transaction of the charges that they are of.
//!
//! Invariant: over any hours, the sums of a level are what the charges recorded in them come to; level 3 counts a charge once
//! for each team that its owner was in. A batch adds up in memory first and writes one row for each series and span. All rows
//! of sums are written after everything else that a batch locks, series before sums, each in the order of their keys.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use sqlx::{Arguments as _, sqlite::SqliteArguments};

use super::{Result, Tx, dialect, in_time};
use crate::{
    domain::{
        bindings::Principal,
        id::{BootId, Id, KeyId, Kind, ProjectId, TeamId, TenantId, WorkspaceId},
        usage::{DAY, hour},
    },
    engine::journal::Entry,
};

/// Sums by place and model, whoever called.
pub(super) const PLACES: i64 = 1;
/// Sums by owner and key too.
pub(super) const CALLERS: i64 = 2;
/// Sums as [`PLACES`], for each team.
pub(super) const TEAMS: i64 = 3;
/// Series that a server knows the numbers of: 64 bytes each. All are forgotten when there are more, and are written once more.
const KNOWN: usize = 262_144;
/// Servers whose numbers differ do not wait for each other; of more than so many some do.
const SHARDS: u128 = 64;

/// The numbers of series that are there for certain, by a hash of what they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    known: Mutex<HashMap<u128, i64>>,
    /// Two that nobody else knows the keys of: together no two series have the same hash.
    hashers: [RandomState; 2],
}

/// Series that are there once the transaction has committed.
#[derive(Debug)]
#[must_use]
pub(super) struct Fresh(Vec<(u128, i64)>);

impl Known {
    fn hash(&self, series: &Series<'_>) -> u128 {
        self.0.hashers.iter().fold(0, |hash, hasher| hash << 64 | u128::from(hasher.hash_one(series)))
    }

    /// The transaction has committed.
    pub(super) fn learn(&self, Fresh(fresh): Fresh) {
        let mut known = self.0.known.lock();
        if known.len() + fresh.len() > KNOWN {
            known.clear();
        }
        known.extend(fresh);
    }

    /// The database may have forgotten what it had.
    pub(super) fn forget(&self) {
        self.0.known.lock().clear();
    }
}

/// What charges have in common that are added up together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Series<'e> {
    level: i64,
    tenant: TenantId,
    workspace: Option<WorkspaceId>,
    project: Option<ProjectId>,
    provider: &'e str,
    model: &'e str,
    owner: Option<Principal>,
    key: Option<KeyId>,
    teams: &'e [TeamId],
    team: Option<TeamId>,
}

impl<'e> Series<'e> {
    fn of(entry: &'e Entry) -> Self {
        Self {
            level: CALLERS,
            tenant: entry.tenant,
            workspace: entry.workspace,
            project: entry.project,
            provider: &entry.provider,
            model: &entry.model,
            owner: Some(entry.owner),
            key: entry.key,
            teams: &entry.teams,
            team: None,
        }
    }

    /// The same on other levels: without the caller, and for each of their teams.
    fn above(&self) -> impl Iterator<Item = Self> {
        let place = Self { level: PLACES, owner: None, key: None, teams: &[], ..self.clone() };
        let team = {
            let place = place.clone();
            move |team: &TeamId| Self { level: TEAMS, team: Some(*team), ..place.clone() }
        };
        std::iter::once(place).chain(self.teams.iter().map(team))
    }

    /// As the columns of texts have it, in their order.
    fn texts(&self) -> [String; 8] {
        fn text<K: Kind>(id: Option<Id<K>>) -> String {
            id.map(|id| id.to_string()).unwrap_or_default()
        }
        let mut teams = String::new();
        if self.level == CALLERS {
            teams.push('/');
            for team in self.teams {
                // Writing to a String cannot fail.
                let _ = write!(teams, "{team}/");
            }
        }
        [
            text(self.workspace),
            text(self.project),
            self.provider.to_owned(),
            self.model.to_owned(),
            self.owner.map(|owner| owner.to_string()).unwrap_or_default(),
            text(self.key),
            teams,
            text(self.team),
        ]
    }
}

/// The number of a series: 63 bits of a hash of all that makes it, so that every server gives it the same without asking.
/// That two of a tenant's million series have the same has a chance of one in ten million.
fn number(level: i64, texts: &[String; 8]) -> i64 {
    let mut hash = Sha256::new_with_prefix(level.to_le_bytes());
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    let first = bytes.first_chunk().copied().unwrap_or_default();
    (u64::from_le_bytes(first) >> 1).cast_signed()
}

/// What charges come to: charges, requests, five kinds of tokens, dollars, billionths.
type Amounts = [i64; 9];

fn amounts_of(entry: &Entry, cost: i64) -> Amounts {
    let usage = &entry.usage;
    [
        1,
        usage.requests,
        usage.input,
        usage.cached_input,
        usage.cache_write,
        usage.output,
        usage.reasoning,
        cost / 1_000_000_000,
        cost % 1_000_000_000,
    ]
}

fn add_to(sum: &mut Amounts, more: &Amounts) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
}

/// What series come to in an hour: tenant, series, hour.
type Hours = BTreeMap<(TenantId, i64, i64), Amounts>;

/// The rows of these hours and of their days: tenant, series, span, start.
fn spans_of(hours: &Hours) -> BTreeMap<(TenantId, i64, i64, i64), Amounts> {
    let mut rows = BTreeMap::new();
    for ((tenant, series, hour), amounts) in hours {
        for span in [1, DAY] {
            add_to(rows.entry((*tenant, *series, span, hour - hour % span)).or_default(), amounts);
        }
    }
    rows
}

/// Adds what new charges come to; each with what it costs on record. Gives the series that are new to this server.
///
/// # Errors
/// As [`super::StoreError`] says.
pub(super) async fn add<'e>(
    tx: &mut Tx,
    known: &Known,
    boot: BootId,
    charges: impl Iterator<Item = (&'e Entry, i64)>,
) -> Result<Fresh> {
    let mut callers: HashMap<(Series<'e>, i64), Amounts> = HashMap::new();
    for (entry, cost) in charges {
        let sum = callers.entry((Series::of(entry), hour(entry.recorded))).or_default();
        add_to(sum, &amounts_of(entry, cost));
    }
    let mut all: HashMap<Series<'e>, Vec<(i64, Amounts)>> = HashMap::new();
    for ((series, hour), amounts) in callers {
        for above in series.above() {
            all.entry(above).or_default().push((hour, amounts));
        }
        all.entry(series).or_default().push((hour, amounts));
    }
    let (mut hours, mut fresh, mut new) = (Hours::new(), Vec::new(), Vec::new());
    for (series, sums) in all {
        let hash = known.hash(&series);
        let number = known.0.known.lock().get(&hash).copied().unwrap_or_else(|| {
            let texts = series.texts();
            let number = number(series.level, &texts);
            fresh.push((hash, number));
            new.push((series.tenant.to_string(), series.level, number, texts));
            number
        });
        for (hour, amounts) in sums {
            add_to(hours.entry((series.tenant, number, hour)).or_default(), &amounts);
        }
    }
    if !new.is_empty() {
        let list = serde_json::to_string(&new).map_err(|_| super::StoreError::Corrupt("series".into()))?;
        let sql = dialect::INSERT_USAGE_SERIES.text(tx);
        execute!(tx, sql, list)?;
    }
    write(tx, boot, &hours).await?;
    Ok(Fresh(fresh))
}

async fn write(tx: &mut Tx, boot: BootId, hours: &Hours) -> Result<()> {
    match tx {
        Tx::Sqlite(tx) => {
            let hours: Vec<_> = hours.iter().collect();
            let mut rest = &hours[..];
            for (count, sql) in dialect::ADD_USAGE_SQLITE {
                while let Some((chunk, later)) = rest.split_at_checked(usize::from(count)) {
                    rest = later;
                    let mut arguments = SqliteArguments::default();
                    for ((tenant, series, hour), amounts) in chunk {
                        arguments.add(tenant.to_string()).map_err(sqlx::Error::Encode)?;
                        for number in [*series, *hour].into_iter().chain(**amounts) {
                            arguments.add(number).map_err(sqlx::Error::Encode)?;
                        }
                    }
                    sqlx::query_with(sql, arguments).execute(&mut **tx).await?;
                }
            }
        }
        Tx::Postgres(tx) => {
            let rows = spans_of(hours);
            let tenants: Vec<String> = rows.keys().map(|key| key.0.to_string()).collect();
            let shard = i64::try_from(boot.bits() % SHARDS).unwrap_or_default();
            let mut query = sqlx::query(dialect::ADD_USAGE_POSTGRES).bind(tenants).bind(shard);
            for column in 0..3 {
                let numbers = rows.keys().map(|key| [key.1, key.2, key.3][column]);
                query = query.bind(numbers.collect::<Vec<i64>>());
            }
            for column in 0..9 {
                query = query.bind(rows.values().map(|amounts| amounts[column]).collect::<Vec<i64>>());
            }
            in_time(query.execute(&mut **tx)).await?;
        }
    }
    Ok(())
}
