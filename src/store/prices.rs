//! Rows of prices. An older price stays for the holds that remember it.

use super::{Result, StoreError, Tx};
use crate::domain::{prices::Price, time::Timestamp};

fn price((body,): (String,)) -> Result<Price> {
    serde_json::from_str(&body).map_err(|_| StoreError::Corrupt("price".into()))
}

/// The largest id of any price; 0 when there is none.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn last_id(tx: &mut Tx) -> Result<i64> {
    let (id,) = fetch_one!(tx, (i64,), "SELECT COALESCE(MAX(id), 0) FROM prices")?;
    Ok(id)
}

/// Puts a price in force, in place of the current one of the same provider and model.
pub async fn put(tx: &mut Tx, price: &Price, now: Timestamp) -> Result<()> {
    let body = serde_json::to_string(price).map_err(|_| StoreError::Corrupt("price".into()))?;
    execute!(
        tx,
        "UPDATE prices SET current = $3 WHERE provider = $1 AND model = $2 AND current",
        &price.provider,
        &price.model,
        false
    )?;
    execute!(
        tx,
        "INSERT INTO prices (id, provider, model, body, created, current) VALUES ($1, $2, $3, $4, $5, $6)",
        price.id,
        &price.provider,
        &price.model,
        body,
        now.micros(),
        true,
    )?;
    Ok(())
}

/// Every current price.
pub async fn all_current(tx: &mut Tx) -> Result<Vec<Price>> {
    let rows = fetch_all!(tx, (String,), "SELECT body FROM prices WHERE current")?;
    rows.into_iter().map(price).collect()
}

/// The price with this id, current or not.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Price>> {
    let row = fetch_optional!(tx, (String,), "SELECT body FROM prices WHERE id = $1", id)?;
    row.map(price).transpose()
}

/// The current prices after a provider's model, by provider and model.
pub async fn list(tx: &mut Tx, after: (&str, &str), limit: i64) -> Result<Vec<Price>> {
    let rows = fetch_all!(
        tx,
        (String,),
        "SELECT body FROM prices WHERE current AND (provider, model) > ($1, $2) ORDER BY provider, model LIMIT $3",
        after.0,
        after.1,
        limit
    )?;
    rows.into_iter().map(price).collect()
}

/// Every current price after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Price>> {
    let rows = fetch_all!(
        tx,
        (String,),
        "SELECT body FROM prices WHERE current AND id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(price).collect()
}
