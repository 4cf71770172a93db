//! Use cases of the tree over a tenant's audit log: checkpoints, proofs, and the export that is checked by them.

use std::sync::Arc;

use super::{App, AppError, Listed, Work, caller::Caller, context::random, listing::Paging};
use crate::{
    domain::{
        audit::{Detail, SALT},
        audit_export,
        audit_tree::{Frontier, Span, TreeHash, consistency, inclusion},
        checkpoint::{Checkpoint, origin},
        id::TenantId,
        names::{AuditEventName, TenantName},
        permission::Permission,
        time::Timestamp,
    },
    store::{self, Db, Tx, audit_tree::Signed, listing::Listing},
};

/// At least so many events of a log are under a checkpoint of their own.
pub const EVERY: u64 = 1024;
/// Most logs that are signed in one turn.
const TURN: i64 = 256;
/// Most events of an export's page, and that are put into a tree in one transaction.
const PAGE: i64 = 500;

/// Asks for a checkpoint of a log.
#[derive(Debug)]
pub struct GetCheckpoint {
    /// Of which tenant's.
    pub parent: TenantName,
    /// The newest of at most so many events; `None` for one of all there are.
    pub size: Option<i64>,
}

/// Asks for the checkpoints of a log.
#[derive(Debug)]
pub struct ListCheckpoints {
    /// Of which tenant's.
    pub parent: TenantName,
    /// Which page.
    pub listing: Listing,
}

/// Asks for the proof that an event is in the tree of a size.
#[derive(Debug)]
pub struct GetInclusion {
    /// Which event.
    pub name: AuditEventName,
    /// How many events the tree has; `None` for as many as there are.
    pub size: Option<i64>,
}

/// Asks for the proof that the tree of one size begins with that of another.
#[derive(Debug)]
pub struct GetConsistency {
    /// Of which tenant's log.
    pub parent: TenantName,
    /// How many events the older one has.
    pub old: i64,
    /// How many the newer one has; `None` for as many as there are.
    pub new: Option<i64>,
}

/// Asks for a page of an export.
#[derive(Debug)]
pub struct Export {
    /// Of which tenant's log.
    pub parent: TenantName,
    /// The events after so many.
    pub after: i64,
    /// Whether the lines go on behind those of another page.
    pub continued: bool,
}

/// What was signed, and what verifies it.
#[derive(Debug)]
pub struct Verifiable {
    /// The checkpoint.
    pub checkpoint: Signed,
    /// The verifier key, as text.
    pub verifier: String,
}

/// What proves that an event is in a tree.
#[derive(Debug)]
pub struct Inclusion {
    /// The leaf of the event.
    pub leaf: Vec<u8>,
    /// Its number, from 0 on.
    pub index: i64,
    /// How many the tree has.
    pub size: i64,
    /// The proof.
    pub hashes: Vec<TreeHash>,
}

/// What proves that a tree begins with another.
#[derive(Debug)]
pub struct Consistency {
    /// How many events the newer one has.
    pub new: i64,
    /// The proof.
    pub hashes: Vec<TreeHash>,
}

/// A page of an export.
#[derive(Debug)]
pub struct Exported {
    /// The lines.
    pub lines: String,
    /// The last event that is among them, or after which there are none.
    pub last: i64,
    /// Whether there is no other.
    pub complete: bool,
}

/// Puts the events of before there was a tree into theirs, in the order of their numbers.
///
/// # Errors
/// Of the database; so for every function of this module.
pub async fn adopt(db: &Db) -> Result<(), AppError> {
    let tenants = store::audit::tenants_outside(&mut db.read().await?).await?;
    for tenant in tenants {
        loop {
            let mut tx = db.begin().await?;
            let head = store::audit::lock(&mut tx, tenant).await?;
            let mut events = store::audit::outside(&mut tx, tenant, PAGE).await?;
            if events.is_empty() {
                break;
            }
            for detail in events.iter_mut().flat_map(|event| &mut event.details) {
                *detail = Detail::new(detail.value().to_owned(), random::<SALT>()?);
            }
            store::audit::adopt(&mut tx, tenant, head, events).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Signs the logs that have grown since they were signed last.
pub async fn sign_due(app: &App) -> Result<(), AppError> {
    let due = store::audit_tree::unsigned(&mut app.db.read().await?, TURN).await?;
    for (tenant, tree) in due {
        let mut tx = app.db.begin().await?;
        sign(app, &mut tx, (tenant, &tree), app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Signs the tree of a log and writes the checkpoint down.
pub(super) async fn sign(
    app: &App,
    tx: &mut Tx,
    (tenant, tree): (TenantId, &Frontier),
    at: Timestamp,
) -> Result<Signed, AppError> {
    let checkpoint = Checkpoint { origin: origin(tenant), size: tree.size(), root: tree.root() };
    let signed = Signed { size: tree.size().cast_signed(), at, note: app.audit.sign(&checkpoint) };
    store::audit_tree::put(tx, tenant, &signed).await?;
    Ok(signed)
}

/// The checkpoint of exactly so many events; signed now if there is none.
async fn signed_at(app: &App, work: &mut Work<'_>, size: i64) -> Result<Signed, AppError> {
    let tenant = work.tenant.id;
    let newest = store::audit_tree::newest(&mut work.tx, tenant, size).await?;
    if let Some(newest) = newest.filter(|newest| newest.size == size) {
        return Ok(newest);
    }
    let tree = store::audit_tree::edge(&mut work.tx, tenant, size.cast_unsigned()).await?;
    // What was read is committed, and never changes.
    let mut tx = app.db.begin().await?;
    let signed = sign(app, &mut tx, (tenant, &tree), work.now).await?;
    tx.commit().await?;
    Ok(signed)
}

/// Reads a checkpoint.
pub async fn checkpoint(app: Arc<App>, caller: Caller, asked: GetCheckpoint) -> Result<Verifiable, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let tenant = work.tenant.id;
    let checkpoint = if let Some(size) = asked.size {
        let newest = store::audit_tree::newest(&mut work.tx, tenant, size).await?;
        newest.ok_or_else(|| AppError::NotFound(format!("a checkpoint of at most {size} events")))?
    } else {
        let size = store::audit::size(&mut work.tx, tenant).await?;
        signed_at(&app, &mut work, size).await?
    };
    Ok(Verifiable { checkpoint, verifier: app.audit.verifier(&origin(tenant)).to_string() })
}

/// Lists the checkpoints of a log.
pub async fn checkpoints(app: Arc<App>, caller: Caller, asked: ListCheckpoints) -> Result<Listed<Signed>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("audit checkpoints of {}", work.tenant.id), &asked.listing)?;
    let rows = store::audit_tree::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    Ok(paging.end(rows))
}

/// The size of a tree that is asked for, which the log must have reached.
async fn size_of(work: &mut Work<'_>, asked: Option<i64>, field: &'static str) -> Result<i64, AppError> {
    let size = store::audit::size(&mut work.tx, work.tenant.id).await?;
    match asked {
        Some(asked) if asked > size => Err(AppError::Invalid { field, why: format!("the log has {size} events") }),
        asked => Ok(asked.unwrap_or(size)),
    }
}

async fn hashes(work: &mut Work<'_>, spans: Vec<Span>) -> Result<Vec<TreeHash>, AppError> {
    let mut hashes = Vec::with_capacity(spans.len());
    for span in spans {
        hashes.push(store::audit_tree::hash_of(&mut work.tx, work.tenant.id, span).await?);
    }
    Ok(hashes)
}

/// Proves that an event is in a tree.
pub async fn prove_inclusion(app: Arc<App>, caller: Caller, asked: GetInclusion) -> Result<Inclusion, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let found = store::audit::by_seq(&mut work.tx, work.tenant.id, asked.name.seq).await?;
    let event = found.ok_or_else(|| AppError::NotFound(asked.name.to_string()))?;
    let size = size_of(&mut work, asked.size, "tree_size").await?;
    let index = event.seq - 1;
    let spans = inclusion(index.cast_unsigned(), size.cast_unsigned()).ok_or_else(|| AppError::Invalid {
        field: "tree_size",
        why: format!("a tree of {size} events does not have {}", asked.name),
    })?;
    Ok(Inclusion { leaf: event.leaf(work.tenant.id), index, size, hashes: hashes(&mut work, spans).await? })
}

/// Proves that a tree begins with another.
pub async fn prove_consistency(app: Arc<App>, caller: Caller, asked: GetConsistency) -> Result<Consistency, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let new = size_of(&mut work, asked.new, "new_size").await?;
    let spans = consistency(asked.old.cast_unsigned(), new.cast_unsigned()).ok_or_else(|| AppError::Invalid {
        field: "old_size",
        why: format!("must not be larger than the other tree, which has {new} events"),
    })?;
    Ok(Consistency { new, hashes: hashes(&mut work, spans).await? })
}

/// Exports a page of a log. The last one ends with a checkpoint of all of it.
pub async fn export(app: Arc<App>, caller: Caller, asked: Export) -> Result<Exported, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::AuditRead, work.scope())?;
    let tenant = work.tenant.id;
    let after = size_of(&mut work, Some(asked.after), "after_sequence").await?;
    let mut lines = String::new();
    if !asked.continued {
        let before = store::audit_tree::edge(&mut work.tx, tenant, after.cast_unsigned()).await?;
        lines += &audit_export::head_line(tenant, &before);
    }
    let events = store::audit::after(&mut work.tx, tenant, after, PAGE).await?;
    let last = events.last().map_or(after, |(event, _)| event.seq);
    let complete = i64::try_from(events.len()).is_ok_and(|count| count < PAGE);
    let mut checkpoints = store::audit_tree::between(&mut work.tx, tenant, (after, last)).await?;
    let is_signed = checkpoints.last().is_some_and(|checkpoint| checkpoint.size == last) || last == after;
    if complete && !is_signed {
        checkpoints.push(signed_at(&app, &mut work, last).await?);
    }
    let mut checkpoints = checkpoints.into_iter().peekable();
    for (event, hash) in events {
        lines += &audit_export::event_line(&event, hash);
        while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.size == event.seq) {
            lines += &audit_export::checkpoint_line(&checkpoint.note);
        }
    }
    Ok(Exported { lines, last, complete })
}
