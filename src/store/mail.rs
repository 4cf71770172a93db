//! Rows of mails on their way. What a mail says leaves the row when the mail is done.

use super::{Result, Tx, parse};
use crate::domain::{
    id::{MailId, TenantId},
    time::Timestamp,
};

/// A mail that is put on its way.
#[derive(Debug, Clone)]
pub struct Posted<'a> {
    /// Identity.
    pub id: MailId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Id of what it is about.
    pub about: &'a str,
    /// Whom it goes to.
    pub recipient: &'a str,
    /// What it says, encrypted.
    pub sealed: &'a str,
    /// When it was put on its way.
    pub created: Timestamp,
}

/// A mail that was taken to be sent.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Identity.
    pub id: MailId,
    /// Whom it goes to.
    pub recipient: String,
    /// What it says, encrypted.
    pub sealed: String,
    /// How often it was taken, this time included.
    pub attempts: i64,
}

/// How a mail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A server of the recipient's has it.
    Sent,
    /// It cannot be sent.
    Failed,
}

/// Puts a mail on its way, due at once.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, mail: &Posted<'_>) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO mail (id, tenant_id, about, recipient, sealed, state, attempts, due, problem, created)
         VALUES ($1, $2, $3, $4, $5, 'waiting', 0, $6, '', $6)",
        mail.id.to_string(),
        mail.tenant.to_string(),
        mail.about,
        mail.recipient,
        mail.sealed,
        mail.created.micros(),
    )?;
    Ok(())
}

/// Whether any mail is due.
pub async fn is_due(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT id FROM mail WHERE state = 'waiting' AND due <= $1 LIMIT 1";
    Ok(fetch_optional!(tx, (String,), sql, now.micros())?.is_some())
}

/// Takes mails that are due, the longest waiting first, at most `limit`: they are not due again before `until`. Two who take
/// at the same time do not get the same: whoever comes second waits for the row, and finds it not due any more.
pub async fn take(tx: &mut Tx, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Taken>> {
    let rows = fetch_all!(
        tx,
        (String, String, String, i64),
        "UPDATE mail SET due = $2, attempts = attempts + 1
         WHERE id IN (SELECT id FROM mail WHERE state = 'waiting' AND due <= $1 ORDER BY due LIMIT $3)
           AND state = 'waiting' AND due <= $1
         RETURNING id, recipient, sealed, attempts",
        now.micros(),
        until.micros(),
        limit
    )?;
    let taken = |(id, recipient, sealed, attempts): (String, String, String, i64)| {
        Ok(Taken { id: parse(&id, "mail id")?, recipient, sealed, attempts })
    };
    rows.into_iter().map(taken).collect()
}

/// A mail is done: what it says is erased.
pub async fn end(tx: &mut Tx, id: MailId, end: End, problem: &str, now: Timestamp) -> Result<()> {
    let state = match end {
        End::Sent => "sent",
        End::Failed => "failed",
    };
    execute!(
        tx,
        "UPDATE mail SET state = $2, problem = $3, done = $4, sealed = '' WHERE id = $1 AND state = 'waiting'",
        id.to_string(),
        state,
        problem,
        now.micros(),
    )?;
    Ok(())
}

/// A mail that was taken is to be tried again at a time, unless somebody else has taken it since.
pub async fn again(tx: &mut Tx, mail: &Taken, attempts: i64, due: Timestamp, problem: &str) -> Result<()> {
    execute!(
        tx,
        "UPDATE mail SET attempts = $3, due = $4, problem = $5 WHERE id = $1 AND state = 'waiting' AND attempts = $2",
        mail.id.to_string(),
        mail.attempts,
        attempts,
        due.micros(),
        problem,
    )?;
    Ok(())
}

/// Withdraws what waits to be sent about something.
pub async fn withdraw(tx: &mut Tx, tenant: TenantId, about: &str, now: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE mail SET state = 'withdrawn', done = $3, sealed = ''
         WHERE tenant_id = $1 AND about = $2 AND state = 'waiting'",
        tenant.to_string(),
        about,
        now.micros(),
    )?;
    Ok(())
}

/// Removes the mails that were done before a moment.
pub async fn prune(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    Ok(execute!(tx, "DELETE FROM mail WHERE state <> 'waiting' AND done < $1", before.micros())?)
}
