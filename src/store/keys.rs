//! Rows of API keys.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;

use super::{
    Inserted, Result, StoreError, Tx, dialect,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    bindings::Principal,
    id::{KeyId, KeyKind, WorkspaceId},
    key_secret::{KeyHash, PublicId},
    keys::{Allowlist, Key, KeyState},
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::plain::<KeyKind>("keys");

/// A query over whole keys.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, workspace_id, owner, project_id, public_id, hash, display_name, state, expires,
                 allowlist, created, version FROM api_keys ",
            $rest
        )
    };
}

type Row =
    (String, String, String, String, Option<String>, String, String, String, String, Option<i64>, String, i64, i64);

/// A row as the database has it, with its texts borrowed where they can be.
#[derive(Deserialize)]
struct Columns<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    Option<&'a str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    String,
    KeyState,
    Option<i64>,
    #[serde(borrow)] Cow<'a, str>,
    i64,
    i64,
);

fn from_row(row: Row) -> Result<Key> {
    let (id, tenant, workspace, owner, project, public_id, hash, name, state, expires, allowlist, created, version) =
        row;
    key(Columns(
        id.into(),
        tenant.into(),
        workspace.into(),
        owner.into(),
        project.as_deref(),
        public_id.into(),
        hash.into(),
        name,
        value_of(state, "key state")?,
        expires,
        allowlist.into(),
        created,
        version,
    ))
}

fn key(row: Columns<'_>) -> Result<Key> {
    let Columns(
        id,
        tenant,
        workspace,
        owner,
        project,
        public_id,
        hash,
        display_name,
        state,
        expires,
        list,
        at,
        version,
    ) = row;
    let corrupt = |what: &'static str| StoreError::Corrupt(what.into());
    Ok(Key {
        id: parse(&id, "key id")?,
        tenant: parse(&tenant, "key's tenant")?,
        workspace: parse(&workspace, "key's workspace")?,
        owner: owner_of(&owner)?,
        project: project.map(|id| parse(id, "key's project")).transpose()?,
        public_id: PublicId::parse(&public_id).ok_or_else(|| corrupt("public id of a key"))?,
        hash: KeyHash::from_hex(&hash).ok_or_else(|| corrupt("hash of a key"))?,
        display_name,
        state,
        expires: expires.map(Timestamp::from_micros),
        allowlist: if list.is_empty() {
            Allowlist::default()
        } else {
            serde_json::from_str(&list).map_err(|_| corrupt("allowlist of a key"))?
        },
        created: Timestamp::from_micros(at),
        version,
    })
}

fn owner_of(text: &str) -> Result<Principal> {
    if text.starts_with("user_") {
        Ok(Principal::User(parse(text, "owner of a key")?))
    } else {
        Ok(Principal::ServiceAccount(parse(text, "owner of a key")?))
    }
}

fn allowlist_text(key: &Key) -> Result<String> {
    if key.allowlist.is_open() {
        return Ok(String::new());
    }
    serde_json::to_string(&key.allowlist).map_err(|_| StoreError::Corrupt("allowlist of a key".into()))
}

/// Adds a key, unless its public id is taken.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, key: &Key) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO api_keys (id, tenant_id, workspace_id, owner, project_id, public_id, hash, display_name, state,
             expires, allowlist, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (public_id) DO NOTHING",
        key.id.to_string(),
        key.tenant.to_string(),
        key.workspace.to_string(),
        key.owner.to_string(),
        key.project.map(|id| id.to_string()),
        key.public_id.as_str(),
        key.hash.to_hex(),
        &key.display_name,
        text_of(&key.state),
        key.expires.map(Timestamp::micros),
        allowlist_text(key)?,
        key.created.micros(),
        key.version,
    )?;
    if rows > 0 {
        put_words(tx, key).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, key: &Key) -> Result<()> {
    let list = search::list(NOUN.name, key.workspace);
    let texts = [key.display_name.as_str()];
    search::put(tx, &Words { tenant: key.tenant, list, id: key.id.to_string(), texts: &texts }).await
}

/// Writes where a key stands.
pub async fn update(tx: &mut Tx, key: &Key) -> Result<()> {
    execute!(
        tx,
        "UPDATE api_keys SET display_name = $2, state = $3, version = $4, owner = $5, allowlist = $6 WHERE id = $1",
        key.id.to_string(),
        &key.display_name,
        text_of(&key.state),
        key.version,
        key.owner.to_string(),
        allowlist_text(key)?,
    )?;
    Ok(())
}

/// The key with this id.
pub async fn by_id(tx: &mut Tx, id: KeyId) -> Result<Option<Key>> {
    let row = fetch_optional!(tx, Row, select!("WHERE id = $1"), id.to_string())?;
    row.map(from_row).transpose()
}

/// The keys of somebody that are not revoked, oldest first.
pub async fn of_owner(tx: &mut Tx, owner: Principal) -> Result<Vec<Key>> {
    let rows = fetch_all!(tx, Row, select!("WHERE owner = $1 AND state <> 'revoked' ORDER BY id"), owner.to_string())?;
    rows.into_iter().map(from_row).collect()
}

/// How many keys each of these owners has that are neither revoked nor at their end, by the owner's id; nothing for none.
pub async fn counts(tx: &mut Tx, owners: Vec<String>, now: Timestamp) -> Result<HashMap<String, i64>> {
    let (statement, list) = (dialect::KEY_COUNTS.text(tx), serde_json::Value::from(owners).to_string());
    Ok(fetch_all!(tx, (String, i64), statement, list, now.micros())?.into_iter().collect())
}

/// A page of the keys of a workspace.
pub async fn list(
    tx: &mut Tx,
    workspace: WorkspaceId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<Key>> {
    let within = Some(("workspace_id", workspace.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE TRUE"), within, among: None, listing, after };
    fetch_listed!(tx, Row, list)?.into_iter().map(from_row).collect()
}

/// Some of all keys as the database gave them, not yet read: reading takes as long as fetching, so whoever loads many
/// fetches the next chunk while another thread reads this one.
pub struct Chunk {
    last: String,
    rows: Rows,
}

enum Rows {
    Json(String),
    Plain(Vec<Row>),
}

impl Chunk {
    /// Where the chunk ends: the next one begins after it. Means something within the same transaction only.
    #[must_use]
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Reads the keys. Takes a microsecond for each: not for a thread that serves.
    pub fn keys(self) -> Result<Vec<Key>> {
        match self.rows {
            Rows::Plain(rows) => rows.into_iter().map(from_row).collect(),
            Rows::Json(json) => {
                let rows: serde_json::Result<Vec<Columns<'_>>> = serde_json::from_str(&json);
                let rows = rows.map_err(|error| StoreError::Corrupt(format!("list of keys: {error}").into()))?;
                rows.into_iter().map(key).collect()
            }
        }
    }
}

/// Every key after the end of the chunk before, or from the first one (an empty `after`), at most `limit`; `None` when there
/// is no more. In the order in which the database has them at hand.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Option<Chunk>> {
    let (last, rows) = if let Tx::Sqlite(_) = tx {
        let (last, json) = fetch_one!(tx, (String, String), dialect::KEYS_AS_JSON, after, limit)?;
        (last, Rows::Json(json))
    } else {
        let rows = fetch_all!(tx, Row, select!("WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
        (rows.last().map(|row| row.0.clone()).unwrap_or_default(), Rows::Plain(rows))
    };
    Ok((!last.is_empty()).then_some(Chunk { last, rows }))
}

/// How many keys somebody has that are neither revoked nor at their end.
pub async fn count_of_owner(tx: &mut Tx, owner: Principal, now: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM api_keys
         WHERE owner = $1 AND state <> 'revoked' AND (expires IS NULL OR expires > $2)";
    let (count,) = fetch_one!(tx, (i64,), sql, owner.to_string(), now.micros())?;
    Ok(count)
}
