//! Rows of API keys.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    Inserted, Result, StoreError, Tx, dialect,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    bindings::Principal,
    id::{KeyId, KeyKind, TenantId, WorkspaceId},
    key_secret::PublicId,
    keys::{Key, KeyState, Secrets},
    peppers::{PepperVersion, Rehashed, SecretHash},
    time::Timestamp,
};

/// When a key was last used lies elsewhere: it changes all the time.
pub(super) const NOUN: Noun = Noun {
    columns: &[
        ("last_use_time", "(SELECT used FROM last_used WHERE last_used.id = api_keys.id)"),
        ("rotation_due_time", "rotation_due"),
        ("workspace", "workspace_id"),
    ],
    worded_by_tenant: true,
    ..Noun::plain::<KeyKind>("keys")
};

/// A query over whole keys.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, workspace_id, owner, project_id, public_id,
                 CASE WHEN pepper = 1 THEN hash ELSE pepper || ':' || hash END, display_name, state, expires, allowlist,
                 created, version, details, secrets, deleted FROM api_keys ",
            $rest
        )
    };
}

#[rustfmt::skip]
type Row = (
    String, String, String, String, Option<String>, String, String, String, String, Option<i64>, String, i64, i64,
    String, String, Option<i64>,
);

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
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    Option<i64>,
);

/// What a key says of itself, as the column has it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Details<'a> {
    description: Cow<'a, str>,
    labels: Cow<'a, BTreeMap<String, String>>,
}

fn from_row(row: Row) -> Result<Key> {
    let (id, tenant, workspace, owner, project, public_id, hash, name, state, expires, allowlist, created, ..) = row;
    let (.., version, details, secrets, deleted) = row;
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
        details.into(),
        secrets.into(),
        deleted,
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
        details,
        secrets,
        deleted,
    ) = row;
    let corrupt = |what: &'static str| StoreError::Corrupt(what.into());
    let details: Details<'_> = part_of(&details, "description of a key")?;
    Ok(Key {
        id: parse(&id, "key id")?,
        tenant: parse(&tenant, "key's tenant")?,
        workspace: parse(&workspace, "key's workspace")?,
        owner: owner_of(&owner)?,
        project: project.map(|id| parse(id, "key's project")).transpose()?,
        public_id: PublicId::parse(&public_id).ok_or_else(|| corrupt("public id of a key"))?,
        hash: SecretHash::parse(&hash).ok_or_else(|| corrupt("hash of a key"))?,
        display_name,
        state,
        expires: expires.map(Timestamp::from_micros),
        allowlist: part_of(&list, "allowlist of a key")?,
        created: Timestamp::from_micros(at),
        version,
        description: details.description.into_owned(),
        labels: details.labels.into_owned(),
        secrets: part_of(&secrets, "secrets of a key")?,
        deleted: deleted.map(Timestamp::from_micros),
    })
}

/// Which pepper a number names.
pub(super) fn version_of(number: i64) -> Result<PepperVersion> {
    let version = u8::try_from(number).ok().and_then(PepperVersion::new);
    version.ok_or_else(|| StoreError::Corrupt("version of a pepper".into()))
}

/// A value from JSON; the usual one from an empty text.
fn part_of<'a, T: Default + Deserialize<'a>>(text: &'a str, what: &'static str) -> Result<T> {
    if text.is_empty() {
        Ok(T::default())
    } else {
        serde_json::from_str(text).map_err(|_| StoreError::Corrupt(what.into()))
    }
}

/// A value as JSON; an empty text when it is the usual one.
fn text_of_part<T: Serialize>(value: &T, is_usual: bool, what: &'static str) -> Result<String> {
    if is_usual {
        Ok(String::new())
    } else {
        serde_json::to_string(value).map_err(|_| StoreError::Corrupt(what.into()))
    }
}

fn owner_of(text: &str) -> Result<Principal> {
    if text.starts_with("user_") {
        Ok(Principal::User(parse(text, "owner of a key")?))
    } else {
        Ok(Principal::ServiceAccount(parse(text, "owner of a key")?))
    }
}

/// The texts of the columns that are JSON: the allowlist, the details, the secrets.
fn parts(key: &Key) -> Result<(String, String, String)> {
    let details = Details { description: key.description.as_str().into(), labels: Cow::Borrowed(&key.labels) };
    let is_silent = key.description.is_empty() && key.labels.is_empty();
    Ok((
        text_of_part(&key.allowlist, key.allowlist.is_open(), "allowlist of a key")?,
        text_of_part(&details, is_silent, "description of a key")?,
        text_of_part(&key.secrets, key.secrets.is_first(), "secrets of a key")?,
    ))
}

/// Adds a key, unless its public id is taken.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, key: &Key) -> Result<Inserted> {
    let (allowlist, details, secrets) = parts(key)?;
    let rows = execute!(
        tx,
        "INSERT INTO api_keys (id, tenant_id, workspace_id, owner, project_id, public_id, hash, display_name, state,
             expires, allowlist, created, version, details, secrets, pepper, rotation_due, warns,
             environment)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             (SELECT environment FROM workspaces WHERE id = $3))
         ON CONFLICT (public_id) DO NOTHING",
        key.id.to_string(),
        key.tenant.to_string(),
        key.workspace.to_string(),
        key.owner.to_string(),
        key.project.map(|id| id.to_string()),
        key.public_id.as_str(),
        key.hash.hash.to_hex(),
        &key.display_name,
        text_of(&key.state),
        key.expires.map(Timestamp::micros),
        allowlist,
        key.created.micros(),
        key.version,
        details,
        secrets,
        i64::from(key.hash.pepper.number()),
        rotation_due(key),
        first_warning(key),
    )?;
    if rows > 0 {
        put_words(tx, key).await?;
    }
    Ok(rows.into())
}

fn rotation_due(key: &Key) -> Option<i64> {
    key.secrets.schedule.map(|schedule| schedule.due.micros())
}

/// When somebody is first warned that its newest secret is due for another one.
fn first_warning(key: &Key) -> Option<i64> {
    key.secrets.schedule?.next(key.secret_made()).map(Timestamp::micros)
}

/// Writes down what a key is found by: its name for people, and what each of its secrets begins with.
pub async fn put_words(tx: &mut Tx, key: &Key) -> Result<()> {
    let (list, id) = (search::list(NOUN.name, key.tenant), key.id.to_string());
    if key.deleted.is_some() {
        return search::drop(tx, key.tenant, &id).await;
    }
    let retiring = key.secrets.retiring.iter().map(|old| old.public_id.as_str());
    let texts: Vec<&str> = [key.display_name.as_str(), key.public_id.as_str()].into_iter().chain(retiring).collect();
    search::put(tx, &Words { tenant: key.tenant, list, id, texts: &texts }).await
}

/// Writes what can change of a key, but for what it is found by: see [`put_words`]. Which warning is the next one stays as it
/// is until the key has another secret: see [`set_warning`].
pub async fn update(tx: &mut Tx, key: &Key) -> Result<()> {
    let (allowlist, details, secrets) = parts(key)?;
    execute!(
        tx,
        "UPDATE api_keys SET display_name = $2, state = $3, version = $4, owner = $5, allowlist = $6, project_id = $7,
             expires = $8, public_id = $9, hash = $10, details = $11, secrets = $12, retires = $13, deleted = $14,
             pepper = $15, rotation_due = $16,
             warns = CASE WHEN $3 = 'revoked' THEN NULL WHEN public_id = $9 THEN warns ELSE $17 END
         WHERE id = $1",
        key.id.to_string(),
        &key.display_name,
        text_of(&key.state),
        key.version,
        key.owner.to_string(),
        allowlist,
        key.project.map(|id| id.to_string()),
        key.expires.map(Timestamp::micros),
        key.public_id.as_str(),
        key.hash.hash.to_hex(),
        details,
        secrets,
        key.secrets.retiring.as_ref().map(|old| old.ends.micros()),
        key.deleted.map(Timestamp::micros),
        i64::from(key.hash.pepper.number()),
        rotation_due(key),
        first_warning(key),
    )?;
    Ok(())
}

/// Stores a secret under another pepper, if it is stored as it was: whoever rotates the key, or was faster, wins. Gives whether
/// it was.
pub async fn rehash(tx: &mut Tx, rehashed: &Rehashed) -> Result<bool> {
    let Rehashed { key, public_id, old, new } = rehashed;
    let rows = execute!(
        tx,
        "UPDATE api_keys SET hash = $1, pepper = $2 WHERE id = $3 AND public_id = $4 AND hash = $5 AND pepper = $6",
        new.hash.to_hex(),
        i64::from(new.pepper.number()),
        key.to_string(),
        public_id.as_str(),
        old.hash.to_hex(),
        i64::from(old.pepper.number()),
    )?;
    if rows > 0 {
        return Ok(true);
    }
    // Else it is the one before the newest, if it is any.
    let sql = "SELECT secrets FROM api_keys WHERE id = $1 AND retires IS NOT NULL";
    let Some((text,)) = fetch_optional!(tx, (String,), sql, key.to_string())? else { return Ok(false) };
    let mut secrets: Secrets = part_of(&text, "secrets of a key")?;
    let Some(retiring) = secrets.retiring.as_mut().filter(|one| one.public_id == *public_id && one.hash == *old) else {
        return Ok(false);
    };
    retiring.hash = *new;
    let after = text_of_part(&secrets, false, "secrets of a key")?;
    let sql = "UPDATE api_keys SET secrets = $1 WHERE id = $2 AND secrets = $3";
    Ok(execute!(tx, sql, after, key.to_string(), text)? > 0)
}

/// How many secrets that may still work are stored under each pepper: of keys that are neither revoked, nor deleted, nor at
/// their end. Looks at every key.
pub async fn count_by_pepper(tx: &mut Tx, now: Timestamp) -> Result<BTreeMap<PepperVersion, i64>> {
    let sql = "SELECT pepper, COUNT(*) FROM api_keys
         WHERE state <> 'revoked' AND deleted IS NULL AND (expires IS NULL OR expires > $1) GROUP BY pepper";
    let rows = fetch_all!(tx, (i64, i64), sql, now.micros())?;
    let mut counts = rows
        .into_iter()
        .map(|(pepper, count)| Ok((version_of(pepper)?, count)))
        .collect::<Result<BTreeMap<PepperVersion, i64>>>()?;
    let sql = "SELECT secrets FROM api_keys WHERE retires > $1
         AND state <> 'revoked' AND deleted IS NULL AND (expires IS NULL OR expires > $1)";
    for (text,) in fetch_all!(tx, (String,), sql, now.micros())? {
        let secrets: Secrets = part_of(&text, "secrets of a key")?;
        if let Some(old) = secrets.retiring {
            *counts.entry(old.hash.pepper).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The key whose newest secret is looked up by this.
pub async fn by_public_id(tx: &mut Tx, public_id: &PublicId) -> Result<Option<Key>> {
    let row = fetch_optional!(tx, Row, select!("WHERE public_id = $1"), public_id.as_str())?;
    row.map(from_row).transpose()
}

/// Keys whose older secret is due to end, and whose they are; at most `limit`.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(KeyId, TenantId)>> {
    let sql = "SELECT id, tenant_id FROM api_keys WHERE retires <= $1 LIMIT $2";
    let rows = fetch_all!(tx, (String, String), sql, now.micros(), limit)?;
    rows.into_iter().map(|(id, tenant)| Ok((parse(&id, "key id")?, parse(&tenant, "key's tenant")?))).collect()
}

/// Whether some key has a secret that is to end.
pub async fn has_retiring(tx: &mut Tx) -> Result<bool> {
    let found = fetch_optional!(tx, (String,), "SELECT id FROM api_keys WHERE retires IS NOT NULL LIMIT 1")?;
    Ok(found.is_some())
}

/// The key with this id.
pub async fn by_id(tx: &mut Tx, id: KeyId) -> Result<Option<Key>> {
    let row = fetch_optional!(tx, Row, select!("WHERE id = $1"), id.to_string())?;
    row.map(from_row).transpose()
}

/// The keys of somebody that are not revoked, oldest first.
pub async fn of_owner(tx: &mut Tx, owner: Principal) -> Result<Vec<Key>> {
    let rows = fetch_all!(
        tx,
        Row,
        select!("WHERE owner = $1 AND state <> 'revoked' AND deleted IS NULL ORDER BY id"),
        owner.to_string()
    )?;
    rows.into_iter().map(from_row).collect()
}

/// How many keys each of these owners has that are neither revoked nor at their end, by the owner's id; nothing for none.
pub async fn counts(tx: &mut Tx, owners: Vec<String>, now: Timestamp) -> Result<HashMap<String, i64>> {
    let (statement, list) = (dialect::KEY_COUNTS.text(tx), serde_json::Value::from(owners).to_string());
    Ok(fetch_all!(tx, (String, i64), statement, list, now.micros())?.into_iter().collect())
}

/// Where keys are listed.
#[derive(Debug, Clone, Copy)]
pub enum KeysOf {
    /// In a workspace.
    Workspace(WorkspaceId),
    /// In every workspace of a tenant.
    Tenant(TenantId),
}

impl fmt::Display for KeysOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(id) => id.fmt(f),
            Self::Tenant(id) => id.fmt(f),
        }
    }
}

/// A page of keys.
pub async fn list(tx: &mut Tx, of: KeysOf, listing: &Listing, after: Option<&Position>) -> Result<Vec<Key>> {
    let column = match of {
        KeysOf::Workspace(_) => "workspace_id",
        KeysOf::Tenant(_) => "tenant_id",
    };
    let within = Some((column, of.to_string()));
    let list = List { noun: &NOUN, select: select!("WHERE deleted IS NULL"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(from_row).collect()
}

/// The first keys of a workspace that can be revoked, and how many there are.
pub async fn revocable(tx: &mut Tx, workspace: WorkspaceId, listing: &Listing) -> Result<(Vec<Key>, i64)> {
    let within = Some(("workspace_id", workspace.to_string()));
    let select = select!("WHERE deleted IS NULL AND state <> 'revoked'");
    let list = List { noun: &NOUN, select, within: within.clone(), among: None, listing, after: None };
    let rows = list.fetch::<Row>(tx).await?;
    let select = "SELECT COUNT(*) FROM api_keys WHERE deleted IS NULL AND state <> 'revoked'";
    let list = List { noun: &NOUN, select, within, among: None, listing, after: None };
    let count = fetch_built!(tx, (i64,), list.counting())?.first().map_or(0, |row| row.0);
    Ok((rows.into_iter().map(from_row).collect::<Result<_>>()?, count))
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

/// How many keys somebody has in a workspace that are neither revoked nor at their end.
pub async fn count_in(tx: &mut Tx, workspace: WorkspaceId, owner: Principal, now: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM api_keys WHERE workspace_id = $1 AND owner = $2 AND deleted IS NULL
         AND state <> 'revoked' AND (expires IS NULL OR expires > $3)";
    let (count,) = fetch_one!(tx, (i64,), sql, workspace.to_string(), owner.to_string(), now.micros())?;
    Ok(count)
}

/// Of the keys of somebody in a workspace that are neither revoked nor at their end, the oldest after so many.
pub async fn beyond(
    tx: &mut Tx,
    workspace: WorkspaceId,
    owner: Principal,
    many: i64,
    now: Timestamp,
) -> Result<Option<KeyId>> {
    let sql = "SELECT id FROM api_keys WHERE workspace_id = $1 AND owner = $2 AND deleted IS NULL
         AND state <> 'revoked' AND (expires IS NULL OR expires > $3) ORDER BY id LIMIT 1 OFFSET $4";
    let row = fetch_optional!(tx, (String,), sql, workspace.to_string(), owner.to_string(), now.micros(), many)?;
    row.map(|(id,)| parse(&id, "key id")).transpose()
}

/// How many keys of a workspace come after one of them that are not deleted, counted up to `most`.
pub async fn left(tx: &mut Tx, workspace: WorkspaceId, after: KeyId, most: i64) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM
         (SELECT id FROM api_keys WHERE workspace_id = $1 AND deleted IS NULL AND id > $2 LIMIT $3) AS counted";
    let (count,) = fetch_one!(tx, (i64,), sql, workspace.to_string(), after.to_string(), most)?;
    Ok(count)
}
