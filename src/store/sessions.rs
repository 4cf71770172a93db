//! Rows of sessions.

use super::{Result, StoreError, Tx, parse};
use crate::domain::{
    id::{SessionId, UserId},
    sessions::{Newest, Nonce, Session},
    time::Timestamp,
};

macro_rules! columns {
    ($before:literal $after:literal) => {
        concat!(
            $before,
            " id, tenant_id, user_id, created, refreshed, ended, source, user_agent, generation, nonce, nonce_before ",
            $after
        )
    };
}

type Row = (String, String, String, i64, i64, Option<i64>, String, String, i64, String, String);

fn session(row: Row) -> Result<Session> {
    let (id, tenant, user, created, refreshed, ended, source, user_agent, generation, nonce, before) = row;
    Ok(Session {
        id: parse(&id, "session id")?,
        tenant: parse(&tenant, "session's tenant")?,
        user: parse(&user, "session's user")?,
        created: Timestamp::from_micros(created),
        refreshed: Timestamp::from_micros(refreshed),
        ended: ended.map(Timestamp::from_micros),
        source,
        user_agent,
        newest: Newest { generation, nonce: nonce_of(&nonce)?, before: nonce_of(&before)? },
    })
}

fn nonce_of(text: &str) -> Result<Nonce> {
    let number = u128::from_str_radix(text, 16).map_err(|_| StoreError::Corrupt("session's token".into()))?;
    Ok(number.to_be_bytes())
}

fn text_of(nonce: Nonce) -> String {
    format!("{:032x}", u128::from_be_bytes(nonce))
}

/// Adds a session.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, session: &Session) -> Result<()> {
    execute!(
        tx,
        columns!("INSERT INTO sessions (" ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"),
        session.id.to_string(),
        session.tenant.to_string(),
        session.user.to_string(),
        session.created.micros(),
        session.refreshed.micros(),
        session.ended.map(Timestamp::micros),
        &session.source,
        &session.user_agent,
        session.newest.generation,
        text_of(session.newest.nonce),
        text_of(session.newest.before)
    )?;
    Ok(())
}

/// Writes how far a session has come, or that it has ended.
pub async fn update(tx: &mut Tx, session: &Session) -> Result<()> {
    execute!(
        tx,
        "UPDATE sessions SET refreshed = $2, ended = $3, generation = $4, nonce = $5, nonce_before = $6 WHERE id = $1",
        session.id.to_string(),
        session.refreshed.micros(),
        session.ended.map(Timestamp::micros),
        session.newest.generation,
        text_of(session.newest.nonce),
        text_of(session.newest.before)
    )?;
    Ok(())
}

/// A session, kept from others who would carry it on until the commit.
pub async fn lock(tx: &mut Tx, id: SessionId) -> Result<Option<Session>> {
    let row = fetch_optional!(
        tx,
        Row,
        columns!("UPDATE sessions SET generation = generation WHERE id = $1 RETURNING" ""),
        id.to_string()
    )?;
    row.map(session).transpose()
}

/// The sessions of a user that nobody has ended, newest first. Some may be over because of their age.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<Session>> {
    let rows = fetch_all!(
        tx,
        Row,
        columns!("SELECT" "FROM sessions WHERE user_id = $1 AND ended IS NULL ORDER BY id DESC"),
        user.to_string()
    )?;
    rows.into_iter().map(session).collect()
}

/// Whether a user has signed in from this address before, as far as is remembered.
pub async fn knows_source(tx: &mut Tx, user: UserId, source: &str) -> Result<bool> {
    let row = fetch_optional!(
        tx,
        (String,),
        "SELECT id FROM sessions WHERE user_id = $1 AND source = $2 LIMIT 1",
        user.to_string(),
        source
    )?;
    Ok(row.is_some())
}

/// Forgets the sessions of a user that were begun before `created`.
pub async fn forget(tx: &mut Tx, user: UserId, created: Timestamp) -> Result<()> {
    execute!(tx, "DELETE FROM sessions WHERE user_id = $1 AND created < $2", user.to_string(), created.micros())?;
    Ok(())
}
