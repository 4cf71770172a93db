//! Rows of the audit log: dense per tenant, written in the transaction of the change they record, together with the tree over them.

use super::{
    Result, StoreError, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
};
use crate::domain::{
    audit::{AuditEvent, Detail, Field, Outcome},
    audit_tree::{Frontier, Node, TreeHash},
    id::TenantId,
    listing::Sorted,
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun {
    name: "audit events",
    columns: &[("time", "at")],
    stays: false,
    id: "seq",
    prefix: "",
    worded_by_tenant: false,
};

/// Of every so-manieth level the tree's hashes are kept: a proof then looks at 255 others at most between two of them, and few
/// events cost a row more.
pub(super) const KEPT: u32 = 8;

impl Sorted for AuditEvent {
    fn id(&self) -> String {
        self.seq.to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

type Row = (
    i64,
    i64,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    String,
    String,
    String,
    String,
);

/// Reads [`Row`]s of which this is so.
macro_rules! rows_where {
    ($condition:literal) => {
        concat!(
            "SELECT seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision,
                 outcome, trace_id, seals, hash FROM audit_events WHERE ",
            $condition
        )
    };
}

fn event(row: Row) -> Result<AuditEvent> {
    let (seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, ..) = row;
    let (.., revision, outcome, trace_id, seals, _) = row;
    let corrupt = || StoreError::Corrupt("audit event".into());
    let outcome = Outcome::parse(&outcome).ok_or_else(corrupt)?;
    let details = unsealed([before, after, source, user_agent, reason], &seals).ok_or_else(corrupt)?;
    let at = Timestamp::from_micros(at);
    Ok(AuditEvent { seq, at, actor, action, resource, outcome, request_id, trace_id, revision, details })
}

/// An event, and the hash of its leaf as it is on record.
fn hashed(row: Row) -> Result<(AuditEvent, TreeHash)> {
    let hash = parse(&row.15, "hash of an audit event")?;
    Ok((event(row)?, hash))
}

/// How the salts and commitments of an event are stored, see the migration `audit_tree`.
fn seals(event: &AuditEvent) -> String {
    let seals = event.details.each_ref().map(|detail| match detail {
        Detail::Empty => String::new(),
        Detail::Kept { salt, .. } => salt.clone(),
        Detail::Erased(commitment) => format!("={commitment}"),
    });
    seals.join(",")
}

fn unsealed(values: [String; Field::ALL.len()], seals: &str) -> Option<[Detail; Field::ALL.len()]> {
    let mut seals = seals.split(',');
    let details = values.map(|value| {
        let seal = seals.next()?;
        Some(match seal.strip_prefix('=') {
            Some(commitment) => Detail::Erased(commitment.parse().ok()?),
            // Without a salt only in what the tree does not have yet.
            None if value.is_empty() => Detail::Empty,
            None => Detail::Kept { value, salt: seal.to_owned() },
        })
    });
    let [Some(before), Some(after), Some(source), Some(agent), Some(reason)] = details else { return None };
    Some([before, after, source, agent, reason])
}

/// Where a tenant's log ends.
#[derive(Debug)]
pub struct Head {
    /// The tree over it.
    frontier: Frontier,
    /// How many events there are; more than the tree has while those of an earlier version are put in.
    seq: i64,
}

impl Head {
    /// How many events the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }
}

/// Locks the tenant's log; gives where it ends.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<Head> {
    let (seq, size, roots) = fetch_one!(
        tx,
        (i64, i64, String),
        "INSERT INTO audit_heads (tenant_id, seq, size, roots) VALUES ($1, 0, 0, '')
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq RETURNING seq, size, roots",
        tenant.to_string()
    )?;
    Ok(Head { frontier: frontier(size, &roots)?, seq })
}

pub(super) fn frontier(size: i64, roots: &str) -> Result<Frontier> {
    let roots: Option<Vec<TreeHash>> = roots.split_terminator(',').map(|root| root.parse().ok()).collect();
    let frontier = u64::try_from(size).ok().zip(roots).and_then(|(size, roots)| Frontier::new(size, roots));
    frontier.ok_or_else(|| StoreError::Corrupt("head of an audit log".into()))
}

/// Adds events to the log, in this order, whose end this transaction has locked; their numbers are given here. Gives the tree
/// with them in it.
pub async fn append(tx: &mut Tx, tenant: TenantId, head: Head, events: Vec<AuditEvent>) -> Result<Frontier> {
    let Head { mut frontier, mut seq } = head;
    if u64::try_from(seq) != Ok(frontier.size()) {
        return Err(StoreError::Corrupt(
            "audit log of an earlier version, which a server is to be started on first,".into(),
        ));
    }
    for mut event in events {
        seq += 1;
        event.seq = seq;
        let hash = event.hash(tenant);
        insert(tx, tenant, &event, hash).await?;
        grow(tx, tenant, &mut frontier, hash).await?;
    }
    put_head(tx, tenant, seq, &frontier).await?;
    Ok(frontier)
}

/// Adds a leaf to the tree, and keeps what proofs go by.
async fn grow(tx: &mut Tx, tenant: TenantId, frontier: &mut Frontier, leaf: TreeHash) -> Result<()> {
    let mut kept = Vec::new();
    frontier.append(leaf, |node, hash| {
        if node.level > 0 && node.level.is_multiple_of(KEPT) {
            kept.push((node, hash));
        }
    });
    for (Node { level, index }, hash) in kept {
        execute!(
            tx,
            "INSERT INTO audit_nodes (tenant_id, level, idx, hash) VALUES ($1, $2, $3, $4)",
            tenant.to_string(),
            i64::from(level),
            index.cast_signed(),
            hash.to_string(),
        )?;
    }
    Ok(())
}

async fn put_head(tx: &mut Tx, tenant: TenantId, seq: i64, frontier: &Frontier) -> Result<()> {
    let roots: Vec<String> = frontier.roots().iter().map(ToString::to_string).collect();
    execute!(
        tx,
        "UPDATE audit_heads SET seq = $2, size = $3, roots = $4 WHERE tenant_id = $1",
        tenant.to_string(),
        seq,
        frontier.size().cast_signed(),
        roots.join(","),
    )?;
    Ok(())
}

async fn insert(tx: &mut Tx, tenant: TenantId, event: &AuditEvent, hash: TreeHash) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO audit_events (tenant_id, seq, at, actor, action, resource, before, after, source, user_agent,
             request_id, reason, revision, outcome, trace_id, seals, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        tenant.to_string(),
        event.seq,
        event.at.micros(),
        &event.actor,
        &event.action,
        &event.resource,
        event.says(Field::Before),
        event.says(Field::After),
        event.says(Field::Source),
        event.says(Field::UserAgent),
        &event.request_id,
        event.says(Field::Reason),
        event.revision,
        event.outcome.as_str(),
        &event.trace_id,
        seals(event),
        hash.to_string(),
    )?;
    Ok(())
}

/// The next events that are not in the tree, oldest first, at most `limit`: those of before there was one.
pub async fn outside(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<AuditEvent>> {
    let sql = rows_where!("tenant_id = $1 AND hash = '' ORDER BY seq LIMIT $2");
    fetch_all!(tx, Row, sql, tenant.to_string(), limit)?.into_iter().map(event).collect()
}

/// Tenants of whose events some are not in the tree.
pub async fn tenants_outside(tx: &mut Tx) -> Result<Vec<TenantId>> {
    let rows = fetch_all!(tx, (String,), "SELECT tenant_id FROM audit_heads WHERE seq > size ORDER BY tenant_id")?;
    rows.into_iter().map(|(id,)| parse(&id, "tenant id")).collect()
}

/// Puts events into the tree that are in the log already, in the order of their numbers; they have got their salts.
pub async fn adopt(tx: &mut Tx, tenant: TenantId, head: Head, events: Vec<AuditEvent>) -> Result<()> {
    let Head { mut frontier, seq } = head;
    for event in events {
        let hash = event.hash(tenant);
        let sql = "UPDATE audit_events SET seals = $3, hash = $4 WHERE tenant_id = $1 AND seq = $2";
        execute!(tx, sql, tenant.to_string(), event.seq, seals(&event), hash.to_string())?;
        grow(tx, tenant, &mut frontier, hash).await?;
    }
    put_head(tx, tenant, seq, &frontier).await
}

/// One event of a tenant.
pub async fn by_seq(tx: &mut Tx, tenant: TenantId, seq: i64) -> Result<Option<AuditEvent>> {
    let sql = rows_where!("tenant_id = $1 AND seq = $2");
    fetch_optional!(tx, Row, sql, tenant.to_string(), seq)?.map(event).transpose()
}

/// How many events a tenant's log has.
pub async fn size(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let sql = "SELECT size FROM audit_heads WHERE tenant_id = $1";
    Ok(fetch_optional!(tx, (i64,), sql, tenant.to_string())?.map_or(0, |(size,)| size))
}

/// The events after the one with this number, oldest first, at most `limit`, and the hashes of their leaves as they are on record.
pub async fn after(tx: &mut Tx, tenant: TenantId, seq: i64, limit: i64) -> Result<Vec<(AuditEvent, TreeHash)>> {
    let sql = rows_where!("tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
    fetch_all!(tx, Row, sql, tenant.to_string(), seq, limit)?.into_iter().map(hashed).collect()
}

/// A page of the events of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<AuditEvent>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select: rows_where!("TRUE"), within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(event).collect()
}
