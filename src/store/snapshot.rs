//! Everything that decisions need, read in one transaction: records as they stand at one revision.

use std::time::Duration;

use super::{
    Db, Result, StoreError, Tx, bindings, budgets, ended_bases, feed, former_users, keys, prices, projects, roles,
    service_accounts, signing_keys, teams, tenants, users, workspaces,
};
use crate::domain::{change::Change, price_versions::DatedPrice, time::Timestamp};

/// Records that are read at once.
const CHUNK: i64 = 2048;
/// By how much the clocks of servers may differ: what counts for another is known here.
const MARGIN: Duration = Duration::from_hours(1);

/// Reads every chunk of a noun and hands it on.
macro_rules! read_all {
    ($tx:expr, $sink:expr, $noun:ident, $change:expr) => {
        let mut after = String::new();
        loop {
            let records = $noun::chunk($tx, &after, CHUNK).await?;
            let Some(last) = records.last() else { break };
            after = last.id.to_string();
            $sink(records.into_iter().map($change).collect())?;
        }
    };
}

/// Hands every record to `sink`, in an order in which each refers only to earlier ones; gives the revision at which they
/// stand.
///
/// # Errors
/// Of the database as [`super::StoreError`] says, and what `sink` says.
pub async fn read<E: From<StoreError>>(
    db: &Db,
    now: Timestamp,
    mut sink: impl FnMut(Vec<Change>) -> std::result::Result<(), E>,
) -> std::result::Result<i64, E> {
    let mut tx = db.read().await?;
    let revision = feed::head(&mut tx).await?;
    read_all!(&mut tx, sink, tenants, Change::Tenant);
    read_all!(&mut tx, sink, workspaces, Change::Workspace);
    read_all!(&mut tx, sink, projects, Change::Project);
    read_all!(&mut tx, sink, teams, Change::Team);
    read_all!(&mut tx, sink, users, Change::User);
    read_all!(&mut tx, sink, former_users, Change::UserDeleted);
    read_all!(&mut tx, sink, service_accounts, Change::ServiceAccount);
    read_all!(&mut tx, sink, roles, Change::Role);
    read_all!(&mut tx, sink, bindings, Change::Binding);
    let mut next = keys::chunk(&mut tx, "", CHUNK).await?;
    while let Some(chunk) = next {
        // Keys are what there is most of: one chunk is fetched while another thread reads the last one.
        let after = chunk.last().to_owned();
        let read = tokio::task::spawn_blocking(|| changes_of(chunk));
        let hand_on = async {
            let changes = read.await.map_err(|ended| StoreError::Corrupt(format!("list of keys: {ended}").into()))?;
            sink(changes?)
        };
        let (fetched, handed_on) = tokio::join!(keys::chunk(&mut tx, &after, CHUNK), hand_on);
        handed_on?;
        next = fetched?;
    }
    read_all!(&mut tx, sink, budgets, Change::Budget);
    let prices = all_prices(&mut tx, now.before(MARGIN)).await?;
    sink(vec![Change::Prices(prices)])?;
    sink(all_ended(&mut tx).await?)?;
    sink(signing_keys::all(&mut tx).await?.into_iter().map(Change::SigningKey).collect())?;
    Ok(revision)
}

fn changes_of(chunk: keys::Chunk) -> Result<Vec<Change>> {
    Ok(chunk.keys()?.into_iter().map(|key| Change::Key(Box::new(key))).collect())
}

async fn all_prices(tx: &mut Tx, since: Timestamp) -> Result<Vec<DatedPrice>> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |price: &DatedPrice| price.price.id);
        let chunk = prices::chunk(tx, since, after, CHUNK).await?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend(chunk);
    }
}

async fn all_ended(tx: &mut Tx) -> Result<Vec<Change>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let chunk = ended_bases::chunk(tx, &after, CHUNK).await?;
        let Some((last, _)) = chunk.last() else { return Ok(all) };
        after = last.to_string();
        all.extend(chunk.into_iter().map(|(basis, until)| Change::BasisEnded { basis, until }));
    }
}
