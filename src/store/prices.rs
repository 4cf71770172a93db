//! Rows of prices and of their versions. They never change: which price counts follows from the moments and the order.

use super::{Result, StoreError, Tx, parse};
use crate::domain::{
    id::TenantId,
    price_versions::{DatedPrice, PriceChange, PriceVersion},
    prices::Price,
    time::Timestamp,
};

type Row = (i64, String, String, String, String, i64, i64, i64);

/// What an owner is stored as.
fn owner_text(owner: Option<TenantId>) -> String {
    owner.map(|id| id.to_string()).unwrap_or_default()
}

fn owner_of(text: &str) -> Result<Option<TenantId>> {
    if text.is_empty() { Ok(None) } else { parse(text, "owner of a price").map(Some) }
}

fn price(body: &str) -> Result<Price> {
    serde_json::from_str(body).map_err(|_| StoreError::Corrupt("price".into()))
}

fn dated((id, owner, provider, model, body, version, effective, created): Row) -> Result<DatedPrice> {
    let removed = body.is_empty();
    Ok(DatedPrice {
        price: if removed { Price { id, provider, model, ..Price::default() } } else { price(&body)? },
        removed,
        owner: owner_of(&owner)?,
        version,
        effective: Timestamp::from_micros(effective),
        created: Timestamp::from_micros(created),
    })
}

/// Takes so many ids for prices; gives the first. Nobody else takes any until the transaction has ended.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn take_ids(tx: &mut Tx, count: i64) -> Result<i64> {
    let (last,) = fetch_one!(tx, (i64,), "UPDATE price_head SET last = last + $1 RETURNING last", count)?;
    Ok(last - count + 1)
}

/// Adds a price of a version.
pub async fn put(tx: &mut Tx, dated: &DatedPrice) -> Result<()> {
    let body = if dated.removed {
        String::new()
    } else {
        serde_json::to_string(&dated.price).map_err(|_| StoreError::Corrupt("price".into()))?
    };
    execute!(
        tx,
        "INSERT INTO prices (id, owner, provider, model, body, version, effective, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        dated.price.id,
        owner_text(dated.owner),
        &dated.price.provider,
        &dated.price.model,
        body,
        dated.version,
        dated.effective.micros(),
        dated.created.micros(),
    )?;
    Ok(())
}

/// An owner's prices after a provider's model, by provider and model, at most `limit`: those that count when everything up to
/// `until` does, moment and id, and nothing later.
pub async fn list(
    tx: &mut Tx,
    owner: Option<TenantId>,
    until: (Timestamp, i64),
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<DatedPrice>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, owner, provider, model, body, version, effective, created FROM prices
         WHERE owner = $1 AND (provider, model) > ($4, $5) AND (effective, id) <= ($2, $3) AND body <> ''
             AND NOT EXISTS (
                 SELECT 1 FROM prices AS later
                 WHERE later.owner = prices.owner AND later.provider = prices.provider AND later.model = prices.model
                     AND (later.effective, later.id) > (prices.effective, prices.id)
                     AND (later.effective, later.id) <= ($2, $3))
         ORDER BY provider, model LIMIT $6",
        owner_text(owner),
        until.0.micros(),
        until.1,
        after.0,
        after.1,
        limit
    )?;
    rows.into_iter().map(dated).collect()
}

/// Every price of whomever after the id `after`, by id, at most `limit`, but for those that another took the place of before
/// `since`, or at once.
pub async fn chunk(tx: &mut Tx, since: Timestamp, after: i64, limit: i64) -> Result<Vec<DatedPrice>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, owner, provider, model, body, version, effective, created FROM prices
         WHERE id > $2 AND NOT EXISTS (
             SELECT 1 FROM prices AS later
             WHERE later.owner = prices.owner AND later.provider = prices.provider AND later.model = prices.model
                 AND (later.effective, later.id) > (prices.effective, prices.id)
                 AND (later.effective <= $1 OR later.effective = later.created))
         ORDER BY id LIMIT $3",
        since.micros(),
        after,
        limit
    )?;
    rows.into_iter().map(dated).collect()
}

/// The price with this id, whether it counts or not.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<DatedPrice>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, owner, provider, model, body, version, effective, created FROM prices WHERE id = $1",
        id
    )?;
    row.map(dated).transpose()
}

type VersionRow = (String, i64, i64, i64, String, i64, Option<i64>, i64, i64);

fn version(
    (owner, number, effective, created, actor, audit_seq, restores, sets, removals): VersionRow,
) -> Result<PriceVersion> {
    Ok(PriceVersion {
        owner: owner_of(&owner)?,
        number,
        effective: Timestamp::from_micros(effective),
        created: Timestamp::from_micros(created),
        actor,
        audit_seq,
        restores,
        sets,
        removals,
    })
}

/// Adds a version.
pub async fn put_version(tx: &mut Tx, version: &PriceVersion) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO price_versions (owner, number, effective, created, actor, audit_seq, restores, sets, removals)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        owner_text(version.owner),
        version.number,
        version.effective.micros(),
        version.created.micros(),
        &version.actor,
        version.audit_seq,
        version.restores,
        version.sets,
        version.removals,
    )?;
    Ok(())
}

/// The number of an owner's last version, and when the latest was made; 0 and the beginning of time when there is none.
pub async fn last_version(tx: &mut Tx, owner: Option<TenantId>) -> Result<(i64, Timestamp)> {
    let (number, created) = fetch_one!(
        tx,
        (i64, i64),
        "SELECT COALESCE(MAX(number), 0), COALESCE(MAX(created), 0) FROM price_versions WHERE owner = $1",
        owner_text(owner)
    )?;
    Ok((number, Timestamp::from_micros(created)))
}

/// An owner's versions before one, the last first, at most `limit`.
pub async fn versions(tx: &mut Tx, owner: Option<TenantId>, before: i64, limit: i64) -> Result<Vec<PriceVersion>> {
    let rows = fetch_all!(
        tx,
        VersionRow,
        "SELECT owner, number, effective, created, actor, audit_seq, restores, sets, removals FROM price_versions
         WHERE owner = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        owner_text(owner),
        before,
        limit
    )?;
    rows.into_iter().map(version).collect()
}

/// A version, and the last id of its prices.
pub async fn version_by_number(
    tx: &mut Tx,
    owner: Option<TenantId>,
    number: i64,
) -> Result<Option<(PriceVersion, i64)>> {
    let Some(version) = versions(tx, owner, number.saturating_add(1), 1).await?.pop() else { return Ok(None) };
    if version.number != number {
        return Ok(None);
    }
    let (last,) = fetch_one!(
        tx,
        (i64,),
        "SELECT COALESCE(MAX(id), 0) FROM prices WHERE owner = $1 AND version = $2",
        owner_text(owner),
        number
    )?;
    Ok(Some((version, last)))
}

/// What a version changed, after a provider's model, by provider and model, at most `limit`.
pub async fn changes(
    tx: &mut Tx,
    owner: Option<TenantId>,
    version: i64,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<PriceChange>> {
    let rows = fetch_all!(
        tx,
        (String, Option<String>),
        "SELECT body, (SELECT earlier.body FROM prices AS earlier
                WHERE earlier.owner = prices.owner AND earlier.provider = prices.provider AND earlier.model = prices.model
                    AND (earlier.effective, earlier.id) < (prices.effective, prices.id)
                ORDER BY earlier.effective DESC, earlier.id DESC LIMIT 1) AS before
         FROM prices WHERE owner = $1 AND version = $2 AND (provider, model) > ($3, $4)
         ORDER BY provider, model LIMIT $5",
        owner_text(owner),
        version,
        after.0,
        after.1,
        limit
    )?;
    let some = |body: String| (!body.is_empty()).then(|| price(&body)).transpose();
    rows.into_iter()
        .map(|(body, before)| Ok(PriceChange { before: some(before.unwrap_or_default())?, after: some(body)? }))
        .collect()
}
