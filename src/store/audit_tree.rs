//! The tree over a tenant's audit log: the hashes that proofs are made of, and what was signed of it.

use super::{
    Result, StoreError, Tx,
    audit::{KEPT, frontier},
    listing::{List, Listing, Noun, Position},
    parse,
};
use crate::domain::{
    audit_tree::{Frontier, Node, Span, TreeHash, fold, nodes_of},
    id::TenantId,
    listing::Sorted,
    time::Timestamp,
};

pub(super) const NOUN: Noun =
    Noun { name: "audit checkpoints", columns: &[], stays: false, id: "size", prefix: "", worded_by_tenant: false };

/// What was signed of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// How many events it has.
    pub size: i64,
    /// When.
    pub at: Timestamp,
    /// The signed note.
    pub note: String,
}

impl Sorted for Signed {
    fn id(&self) -> String {
        self.size.to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

type Row = (i64, i64, String);

fn signed((size, at, note): Row) -> Signed {
    Signed { size, at: Timestamp::from_micros(at), note }
}

/// Tenants whose log has more events than the last checkpoint speaks of, at most `limit`, and their trees.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn unsigned(tx: &mut Tx, limit: i64) -> Result<Vec<(TenantId, Frontier)>> {
    let sql =
        "SELECT tenant_id, size, roots FROM audit_heads WHERE seq > signed AND size = seq ORDER BY tenant_id LIMIT $1";
    let rows = fetch_all!(tx, (String, i64, String), sql, limit)?;
    rows.into_iter().map(|(id, size, roots)| Ok((parse(&id, "tenant id")?, frontier(size, &roots)?))).collect()
}

/// Writes a checkpoint down, unless there is one of this size: whichever server was first, they say the same.
pub async fn put(tx: &mut Tx, tenant: TenantId, checkpoint: &Signed) -> Result<()> {
    let Signed { size, at, note } = checkpoint;
    execute!(
        tx,
        "INSERT INTO audit_checkpoints (tenant_id, size, at, note) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, size) DO NOTHING",
        tenant.to_string(),
        size,
        at.micros(),
        note,
    )?;
    let sql = "UPDATE audit_heads SET signed = $2 WHERE tenant_id = $1 AND signed < $2";
    execute!(tx, sql, tenant.to_string(), size)?;
    Ok(())
}

/// The newest checkpoint of at most so many events.
pub async fn newest(tx: &mut Tx, tenant: TenantId, at_most: i64) -> Result<Option<Signed>> {
    let sql =
        "SELECT size, at, note FROM audit_checkpoints WHERE tenant_id = $1 AND size <= $2 ORDER BY size DESC LIMIT 1";
    Ok(fetch_optional!(tx, Row, sql, tenant.to_string(), at_most)?.map(signed))
}

/// The checkpoints of more events than `after` and at most `until`, the smallest first.
pub async fn between(tx: &mut Tx, tenant: TenantId, (after, until): (i64, i64)) -> Result<Vec<Signed>> {
    let sql =
        "SELECT size, at, note FROM audit_checkpoints WHERE tenant_id = $1 AND size > $2 AND size <= $3 ORDER BY size";
    Ok(fetch_all!(tx, Row, sql, tenant.to_string(), after, until)?.into_iter().map(signed).collect())
}

/// A page of the checkpoints of a tenant.
pub async fn list(tx: &mut Tx, tenant: TenantId, listing: &Listing, after: Option<&Position>) -> Result<Vec<Signed>> {
    let select = "SELECT size, at, note FROM audit_checkpoints WHERE TRUE";
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select, within, among: None, listing, after };
    Ok(list.fetch::<Row>(tx).await?.into_iter().map(signed).collect())
}

/// The hash of a range of the tree.
pub async fn hash_of(tx: &mut Tx, tenant: TenantId, span: Span) -> Result<TreeHash> {
    let mut hashes = Vec::new();
    for node in nodes_of(span) {
        hashes.push(subtree(tx, tenant, node).await?);
    }
    fold(&hashes).ok_or_else(missing)
}

/// The right edge that the tree had when it had so many events.
pub async fn edge(tx: &mut Tx, tenant: TenantId, size: u64) -> Result<Frontier> {
    let mut roots = Vec::new();
    for node in nodes_of((0, size)) {
        roots.push(subtree(tx, tenant, node).await?);
    }
    Frontier::new(size, roots).ok_or_else(missing)
}

fn missing() -> StoreError {
    StoreError::Corrupt("tree of an audit log that lacks hashes".into())
}

/// The root of a whole subtree, from the hashes that are kept at most seven levels below it.
async fn subtree(tx: &mut Tx, tenant: TenantId, node: Node) -> Result<TreeHash> {
    let below = node.level % KEPT;
    let (from, count) = ((node.index << below).cast_signed(), 1i64 << below);
    let kept = node.level - below;
    let hashes = if kept == 0 {
        let sql = "SELECT hash FROM audit_events WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq";
        fetch_all!(tx, (String,), sql, tenant.to_string(), from, from + count)?
    } else {
        let sql =
            "SELECT hash FROM audit_nodes WHERE tenant_id = $1 AND level = $2 AND idx >= $3 AND idx < $4 ORDER BY idx";
        fetch_all!(tx, (String,), sql, tenant.to_string(), i64::from(kept), from, from + count)?
    };
    if i64::try_from(hashes.len()) != Ok(count) {
        return Err(missing());
    }
    let mut tree = Frontier::default();
    for (hash,) in hashes {
        tree.append(parse(&hash, "hash of an audit event")?, |_, _| ());
    }
    Ok(tree.root())
}
