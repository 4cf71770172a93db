//! What a server puts back when the database has forgotten what it had committed: a standby that was behind has taken its
//! place, or an older copy. Only `PostgreSQL` does such a thing under its servers.
//!
//! In two phases, so that no charge is put back before the slice that it was settled against: each live server first
//! declares what it had set aside; when all have, each writes its last charges once more. Until all are done nothing else is
//! written to the ledger.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use super::{
    Result, Tx, dialect, in_time,
    ledger::{Failure, Ledger},
    slices,
};
use crate::{
    domain::id::BootId,
    engine::journal::{Confirmed, Declared, Entry, Known},
};

/// Charges that are put back at once.
const CHUNK: usize = 1024;

impl Ledger {
    /// Compares what this server knows with the database, and does what is next of putting it back.
    pub(super) async fn confirm_all(&self, known: &Known) -> std::result::Result<Confirmed, Failure> {
        let mut tx = self.db.begin_ledger().await?;
        let last = self.last.load(Ordering::Acquire);
        let confirmed = match phase(&mut tx, self.boot).await? {
            Phase::Settled { live } => {
                if live {
                    Confirmed::Intact
                } else {
                    Confirmed::Over
                }
            }
            Phase::Unknown => {
                acquaint(&mut tx, known).await?;
                if is_intact(&mut tx, self.boot, last, known).await? {
                    settle(&mut tx, self.boot, true).await?;
                    Confirmed::Intact
                } else {
                    declare(&mut tx, self.boot, last, known).await?;
                    Confirmed::Waiting
                }
            }
            Phase::Declared if others_missing(&mut tx).await? => Confirmed::Waiting,
            Phase::Declared => {
                self.series.forget();
                for chunk in known.charges.chunks(CHUNK) {
                    let chunk: Vec<&Entry> = chunk.iter().map(|entry| &**entry).collect();
                    if let Some((_, fresh)) = self.write(&mut tx, &chunk, true).await? {
                        drop(fresh);
                    }
                }
                settle(&mut tx, self.boot, false).await?;
                Confirmed::Over
            }
        };
        tx.commit().await?;
        Ok(confirmed)
    }

    pub(super) async fn end_doubt_of(&self, boot: BootId) -> std::result::Result<(), Failure> {
        let mut tx = self.begin().await?;
        execute!(&mut tx, "UPDATE replicas SET doubtful = FALSE WHERE boot_id = $1 AND state <> 1", boot.to_string())?;
        Ok(tx.commit().await?)
    }
}

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has said nothing of this line of history.
    Unknown,
    /// What it had set aside is set aside again.
    Declared,
    /// It is done, and goes on or not.
    Settled {
        /// It goes on.
        live: bool,
    },
}

/// Where a server stands. Nobody else changes that until the commit.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub(super) async fn phase(tx: &mut Tx, boot: BootId) -> Result<Phase> {
    let sql = dialect::RECOVERED.text(tx);
    let row = fetch_optional!(tx, (i64, bool, bool), sql, boot.to_string())?;
    Ok(match row {
        Some((state, _, true)) => Phase::Settled { live: state == 1 },
        Some((_, true, false)) => Phase::Declared,
        Some((_, false, false)) | None => Phase::Unknown,
    })
}

/// Takes down the servers that this one has seen, so that they are waited for; and leaves out numbers that may have been given
/// out before.
pub(super) async fn acquaint(tx: &mut Tx, known: &Known) -> Result<()> {
    let Tx::Postgres(tx) = tx else { return Ok(()) };
    for peer in &known.peers {
        let sql = "INSERT INTO replicas (boot_id, started, state, seq, answers_for) VALUES ($1, 0, 1, $2, $3)
                   ON CONFLICT (boot_id) DO NOTHING";
        let answers_for = i64::try_from(peer.answers_for.as_micros()).unwrap_or(i64::MAX);
        in_time(sqlx::query(sql).bind(peer.boot.to_string()).bind(peer.seq).bind(answers_for).execute(&mut **tx))
            .await?;
    }
    // Hold tokens name slices by number: none may come to mean another.
    let sql = "SELECT setval(number, nextval(number) + 1000000) FROM (VALUES
                   (pg_get_serial_sequence('slices', 'id')::regclass),
                   (pg_get_serial_sequence('charges', 'seq')::regclass),
                   (pg_get_serial_sequence('replica_mail', 'id')::regclass)) AS numbers (number)";
    in_time(sqlx::query(sql).execute(&mut **tx)).await?;
    Ok(())
}

/// Whether nothing is missing of what a server knows.
pub(super) async fn is_intact(tx: &mut Tx, boot: BootId, last: i64, known: &Known) -> Result<bool> {
    let sql = "SELECT seq FROM replicas WHERE boot_id = $1 AND state = 1";
    let seq = fetch_optional!(tx, (i64,), sql, boot.to_string())?;
    if !known.told || seq.is_none_or(|(seq,)| seq < last) {
        return Ok(false);
    }
    for Declared { state, promised, .. } in &known.slices {
        let sql = "SELECT id FROM slices WHERE id = $1 AND boot_id = $2 AND state = 1 AND ver >= $3 AND promised >= $4";
        if fetch_optional!(tx, (i64,), sql, state.id, boot.to_string(), state.ver, *promised)?.is_none() {
            return Ok(false);
        }
    }
    let Tx::Postgres(tx) = tx else { return Ok(true) };
    let tenants: Vec<String> = known.charges.iter().map(|charge| charge.tenant.to_string()).collect();
    let ids: Vec<&str> = known.charges.iter().map(|charge| &*charge.charge_id).collect();
    let sql = "SELECT COUNT(*) FROM UNNEST($1::TEXT[], $2::TEXT[]) AS known (tenant, id)
               JOIN charges ON charges.tenant_id = known.tenant AND charges.charge_id = known.id";
    let (found,): (i64,) = in_time(sqlx::query_as(sql).bind(tenants).bind(&ids).fetch_one(&mut **tx)).await?;
    Ok(usize::try_from(found).is_ok_and(|found| found == ids.len()))
}

/// Sets aside again what a server had set aside.
pub(super) async fn declare(tx: &mut Tx, boot: BootId, last: i64, known: &Known) -> Result<()> {
    let answers_for = i64::try_from(known.answers_for.as_micros()).unwrap_or(i64::MAX);
    let sql = dialect::DECLARE.text(tx);
    execute!(tx, sql, boot.to_string(), last, answers_for)?;
    let periods: BTreeSet<_> = known.slices.iter().map(|slice| (slice.budget, slice.period)).collect();
    let books = slices::lock_periods(tx, &periods).await?;
    slices::lock(tx, &known.slices.iter().map(|slice| slice.state.id).collect::<Vec<_>>()).await?;
    for slice in known.slices.iter().filter(|slice| books.contains_key(&(slice.budget, slice.period))) {
        slices::declare(tx, &boot.to_string(), slice).await?;
    }
    Ok(())
}

/// Whether a live server has not declared what it had set aside.
pub(super) async fn others_missing(tx: &mut Tx) -> Result<bool> {
    let sql = dialect::UNDECLARED.text(tx);
    let (missing,) = fetch_one!(tx, (bool,), sql)?;
    Ok(missing)
}

/// Notes that everything of a server is there. Unless nothing was missing, it does not go on: its slices wait to be folded.
pub(super) async fn settle(tx: &mut Tx, boot: BootId, intact: bool) -> Result<()> {
    let boot = boot.to_string();
    let sql = dialect::CONFIRM.text(tx);
    execute!(tx, sql, &boot, intact)?;
    if !intact {
        slices::close(tx, &boot).await?;
    }
    Ok(())
}
