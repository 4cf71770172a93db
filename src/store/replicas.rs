//! The servers of a ledger: who they are, their signs of life, and what they tell each other.

use std::{collections::BTreeSet, time::Duration};

use super::{Result, StoreError, Tx, dialect, in_time, parse, slices};
use crate::{
    domain::{id::BootId, time::Timestamp},
    engine::{
        accounts::SliceState,
        journal::{Mail, Peer},
    },
};

/// A server that joins.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its run.
    pub boot: BootId,
    /// When it joined.
    pub started: Timestamp,
    /// Names the place that it runs in, where at most one runs at a time; empty for none.
    pub identity: String,
    /// Which process it is; empty when that cannot be told.
    pub process: String,
    /// How long it answers after a sign of life.
    pub answers_for: Duration,
}

/// Where a server stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// It has not been taken for dead.
    pub(super) is_live: bool,
    /// Nothing is missing of what it and every other live server knows.
    pub(super) is_settled: bool,
    /// Some dead server may have set more aside than is known.
    pub(super) is_doubted: bool,
}

/// What becomes of a sign of life.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pulse {
    /// It is taken down; there were so many.
    Taken(i64),
    /// The server was taken for dead.
    Dead,
    /// The database may have forgotten something of it.
    Forgotten,
}

/// A server that was there before.
struct Earlier {
    boot: String,
    identity: String,
    process: String,
}

/// Lets a server join. Those that cannot be running any more are taken for dead at once: all of them on a database that
/// one server uses at a time; whoever had its place; and those whose processes `gone` says have ended.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub(super) async fn join(tx: &mut Tx, member: &Member, gone: impl Fn(&str) -> bool) -> Result<()> {
    let rows = fetch_all!(
        tx,
        (String, String, String),
        "SELECT boot_id, identity, process FROM replicas WHERE state = 1 ORDER BY boot_id"
    )?;
    for (boot, identity, process) in rows {
        let earlier = Earlier { boot, identity, process };
        let alone = matches!(tx, Tx::Sqlite(_));
        let replaced = !member.identity.is_empty() && earlier.identity == member.identity;
        if alone || replaced || (!earlier.process.is_empty() && gone(&earlier.process)) {
            expire(tx, &earlier.boot, None).await?;
        }
    }
    execute!(tx, "DELETE FROM replica_mail WHERE boot_id NOT IN (SELECT boot_id FROM replicas WHERE state = 1)")?;
    let sql = dialect::JOIN.text(tx);
    execute!(
        tx,
        sql,
        member.boot.to_string(),
        member.started.micros(),
        &member.identity,
        &member.process,
        i64::try_from(member.answers_for.as_micros()).unwrap_or(i64::MAX)
    )?;
    Ok(())
}

/// Where a server stands, if it is known. With `keep` nobody takes it for dead until the commit.
pub(super) async fn standing(tx: &mut Tx, boot: BootId, keep: bool) -> Result<Option<Standing>> {
    // A sign of life does not change the key, and does not wait for this; whoever takes it for dead does.
    let sql = if keep { dialect::STANDING_KEPT } else { dialect::STANDING }.text(tx);
    let row = fetch_optional!(tx, (i64, bool, bool), sql, boot.to_string())?;
    Ok(row.map(|(state, is_settled, is_doubted)| Standing { is_live: state == 1, is_settled, is_doubted }))
}

/// Servers in doubt: taken for dead before they could say what was forgotten of theirs.
pub(super) async fn doubtful(tx: &mut Tx) -> Result<Vec<BootId>> {
    let rows = fetch_all!(tx, (String,), "SELECT boot_id FROM replicas WHERE doubtful ORDER BY boot_id")?;
    rows.into_iter().map(|(boot,)| parse(&boot, "server's run")).collect()
}

/// How many servers are live.
pub(super) async fn count(tx: &mut Tx) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), "SELECT COUNT(*) FROM replicas WHERE state = 1")?.0)
}

/// Takes down a sign of life, the next after `last`. While the database may have forgotten something, it says nothing of what
/// decisions see.
pub(super) async fn beat(tx: &mut Tx, boot: BootId, applied: i64, last: i64) -> Result<Pulse> {
    let sql = dialect::BEAT.text(tx);
    if let Some((seq, intact)) = fetch_optional!(tx, (i64, bool), sql, boot.to_string(), applied, last)? {
        return Ok(if intact { Pulse::Taken(seq) } else { Pulse::Forgotten });
    }
    // A row that was never deleted and is gone was forgotten; so was what a dead server has not yet put back.
    Ok(match standing(tx, boot, false).await? {
        Some(standing) if standing.is_settled => Pulse::Dead,
        _ => Pulse::Forgotten,
    })
}

/// The other live servers.
pub(super) async fn peers(tx: &mut Tx, boot: BootId) -> Result<Vec<Peer>> {
    let rows = fetch_all!(
        tx,
        (String, i64, i64),
        "SELECT boot_id, seq, answers_for FROM replicas WHERE state = 1 AND boot_id <> $1",
        boot.to_string()
    )?;
    let peer = |(boot, seq, answers_for): (String, i64, i64)| {
        let answers_for = Duration::from_micros(u64::try_from(answers_for).unwrap_or_default());
        Ok(Peer { boot: parse(&boot, "server's run")?, seq, answers_for })
    };
    rows.into_iter().map(peer).collect()
}

/// Live servers whose decisions do not see a revision yet.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn behind(tx: &mut Tx, revision: i64) -> Result<Vec<String>> {
    let sql = "SELECT boot_id FROM replicas WHERE state = 1 AND applied < $1 ORDER BY boot_id";
    Ok(fetch_all!(tx, (String,), sql, revision)?.into_iter().map(|(boot,)| boot).collect())
}

/// Takes a server for dead, if it is live and its last sign of life is `seq` or nobody asks for that: what it has set aside
/// waits to be folded.
pub(super) async fn expire(tx: &mut Tx, boot: &str, seq: Option<i64>) -> Result<()> {
    let sql = match tx {
        // Somebody who is in the middle of something is left alone until the next look: who waited for a server that is
        // frozen, or for its last connection, would give no sign of life meanwhile.
        Tx::Postgres(_) if seq.is_some() => {
            "SELECT seq FROM replicas WHERE boot_id = $1 AND state = 1 FOR UPDATE SKIP LOCKED"
        }
        // Waits for whatever it is doing, and keeps it from beginning anything.
        Tx::Postgres(_) => "SELECT seq FROM replicas WHERE boot_id = $1 AND state = 1 FOR UPDATE",
        Tx::Sqlite(_) => "SELECT seq FROM replicas WHERE boot_id = $1 AND state = 1",
    };
    match fetch_optional!(tx, (i64,), sql, boot)? {
        Some((last,)) if seq.is_none_or(|seq| seq == last) => {}
        _ => return Ok(()),
    }
    let sql = dialect::EXPIRE.text(tx);
    execute!(tx, sql, boot)?;
    slices::close(tx, boot).await
}

/// Mail for a server, oldest first, and the slices that it speaks of, as they stand after it. What has been `read` before
/// is thrown away first.
pub(super) async fn mail(tx: &mut Tx, boot: BootId, read: &[i64]) -> Result<(Vec<(i64, Mail)>, Vec<SliceState>)> {
    if let (Tx::Postgres(tx), false) = (&mut *tx, read.is_empty()) {
        let sql = "DELETE FROM replica_mail WHERE id = ANY ($1)";
        in_time(sqlx::query(sql).bind(read).execute(&mut **tx)).await?;
    }
    let sql = "SELECT id, body FROM replica_mail WHERE boot_id = $1 ORDER BY id";
    let rows = fetch_all!(tx, (i64, String), sql, boot.to_string())?;
    let corrupt = |_| StoreError::Corrupt("message to a server".into());
    let mut mail = Vec::with_capacity(rows.len());
    for (id, body) in rows {
        mail.push((id, serde_json::from_str(&body).map_err(corrupt)?));
    }
    let spoken_of: BTreeSet<i64> = mail
        .iter()
        .flat_map(|(_, mail)| match mail {
            Mail::Recall { .. } | Mail::Extended { .. } => Vec::new(),
            Mail::Taken { lines, .. } => lines.iter().map(|(slice, _)| *slice).collect(),
        })
        .collect();
    let mut found = Vec::with_capacity(spoken_of.len());
    for slice in spoken_of {
        found.extend(slices::read(tx, slice).await?);
    }
    Ok((mail, found))
}

/// Leaves messages to servers that are live, with the commit.
pub(super) async fn tell(tx: &mut Tx, messages: &[(BootId, Mail)]) -> Result<()> {
    let Tx::Postgres(tx) = tx else {
        // There is nobody else.
        return Ok(());
    };
    let corrupt = |_| StoreError::Corrupt("message to a server".into());
    let boots: Vec<String> = messages.iter().map(|(boot, _)| boot.to_string()).collect();
    let bodies: Vec<String> =
        messages.iter().map(|(_, mail)| serde_json::to_string(mail).map_err(corrupt)).collect::<Result<_>>()?;
    let sql = "INSERT INTO replica_mail (boot_id, body)
         SELECT boot, body FROM UNNEST($1::TEXT[], $2::TEXT[]) AS mail (boot, body)
         WHERE EXISTS (SELECT 1 FROM replicas WHERE boot_id = boot AND state = 1)";
    in_time(sqlx::query(sql).bind(boots).bind(bodies).execute(&mut **tx)).await?;
    Ok(())
}

/// Asks the owners of other slices of a period for what they do not use. Gives whether there is anybody to ask.
pub(super) async fn recall(tx: &mut Tx, (budget, period): slices::At, own: i64) -> Result<bool> {
    let others = fetch_all!(
        tx,
        (String, i64),
        "SELECT boot_id, id FROM slices
         WHERE budget_id = $1 AND period = $2 AND state = 1 AND id <> $3 AND granted > spent",
        budget.to_string(),
        i64::from(period.0),
        own
    )?;
    let recalls: Vec<(BootId, Mail)> = others
        .into_iter()
        .map(|(boot, slice)| Ok((parse(&boot, "server's run")?, Mail::Recall { slice })))
        .collect::<Result<_>>()?;
    let any = !recalls.is_empty();
    if any {
        tell(tx, &recalls).await?;
        ring(tx).await?;
    }
    Ok(any)
}

/// Rings the bell that every server listens to, with the commit: there may be something new.
pub(super) async fn ring(tx: &mut Tx) -> Result<()> {
    if let Tx::Postgres(tx) = tx {
        in_time(sqlx::query("SELECT pg_notify('tollreeve', '')").execute(&mut **tx)).await?;
    }
    Ok(())
}
