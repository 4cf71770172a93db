//! What a proof of credit rests on: one state of the database, read from beginning to end.

use std::collections::{BTreeMap, HashMap};

use super::{Db, Result, StoreError, Tx, budgets, credit_pools, names};
use crate::domain::{
    budgets::{Budget, BudgetScope},
    credit_proof::{Proof, prove},
    time::Timestamp,
    window::Period,
};

/// Rows that are read at once.
const CHUNK: i64 = 10_000;

/// What the charges of a pool come to, by period.
type Charged = HashMap<String, BTreeMap<Period, i128>>;

/// Proves every pool whose workspace is `wanted`, by its name; gives the proofs and how many charges were read.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn prove_all(db: &Db, now: Timestamp, wanted: impl Fn(&str) -> bool) -> Result<(Vec<Proof>, i64)> {
    let mut tx = db.read().await?;
    let mut pools = Vec::new();
    let mut after = String::new();
    loop {
        let chunk = budgets::pools(&mut tx, &after, CHUNK).await?;
        let Some(last) = chunk.last() else { break };
        after = last.id.to_string();
        pools.extend(chunk);
    }
    let id_of = |budget: &Budget| match budget.scope {
        BudgetScope::Workspace(id) => id.to_string(),
        _ => String::new(),
    };
    let names = names::names(&mut tx, pools.iter().map(id_of).collect()).await?;
    let pools: Vec<(String, Budget)> = pools.into_iter().map(|pool| (names.of(id_of(&pool)), pool)).collect();
    let pools: Vec<(String, Budget)> = pools.into_iter().filter(|(name, _)| wanted(name)).collect();
    let mut charged: Charged = pools.iter().map(|(_, pool)| (pool.id.to_string(), BTreeMap::new())).collect();
    let charges = add_up(&mut tx, &mut charged).await?;
    let mut proofs = Vec::with_capacity(pools.len());
    for (name, budget) in pools {
        let pool = credit_pools::read(&mut tx, budget.id).await?;
        let sums = charged.remove(&budget.id.to_string()).unwrap_or_default();
        proofs.push(prove(name, &budget, &pool, &sums, now));
    }
    Ok((proofs, charges))
}

/// Adds up what every charge posted on these pools; gives how many charges there are.
async fn add_up(tx: &mut Tx, charged: &mut Charged) -> Result<i64> {
    let (mut after, mut count) = (0, 0);
    loop {
        let sql = "SELECT seq, postings FROM charges WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = fetch_all!(&mut *tx, (i64, String), sql, after, CHUNK)?;
        let Some((last, _)) = rows.last() else { return Ok(count) };
        after = *last;
        for (_, postings) in &rows {
            count += 1;
            for posting in postings.split_whitespace() {
                add(charged, posting)?;
            }
        }
    }
}

/// Adds `budget:period:slice:in slice:direct:overrun`.
fn add(charged: &mut Charged, posting: &str) -> Result<()> {
    let corrupt = || StoreError::Corrupt("posting".into());
    let (budget, numbers) = posting.split_once(':').ok_or_else(corrupt)?;
    let Some(sums) = charged.get_mut(budget) else { return Ok(()) };
    let numbers: std::result::Result<Vec<i64>, _> = numbers.split(':').map(str::parse).collect();
    let numbers = numbers.map_err(|_| corrupt())?;
    let [period, _, in_slice, direct, overrun] =
        numbers.get(..5).and_then(|five| five.try_into().ok()).ok_or_else(corrupt)?;
    let period = Period(u32::try_from(period).map_err(|_| corrupt())?);
    *sums.entry(period).or_default() += i128::from(in_slice) + i128::from(direct) + i128::from(overrun);
    Ok(())
}
