//! The Merkle tree of a tenant's audit log (RFC 6962, section 2.1): who knows its size and its root can be shown that an event is
//! in it, and that a later tree is this one with events added.
//!
//! Growing it takes what is left of the tree at its right edge ([`Frontier`]). Proofs are made of hashes of whole ranges of
//! events ([`inclusion`], [`consistency`]), and those of subtrees ([`nodes_of`]), which somebody keeps.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// A hash of the tree: SHA-256. As text it is base64 (RFC 4648, section 4), as in a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash(pub [u8; 32]);

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not 32 bytes in base64")]
pub struct HashError;

impl FromStr for TreeHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = STANDARD.decode(text).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

/// The hash of a leaf. Marked, so that none is the hash of a node.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> TreeHash {
    TreeHash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// The hash of a node over two others.
#[must_use]
pub fn node_hash(left: TreeHash, right: TreeHash) -> TreeHash {
    TreeHash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// A whole subtree: `2^level` leaves, from the leaf with the number `index * 2^level` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// How far it is above the leaves.
    pub level: u32,
    /// The how-manieth of its level, from 0 on.
    pub index: u64,
}

/// The right edge of a tree: the roots of its whole subtrees, the largest first, as many as its size has bits that are one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<TreeHash>,
}

impl Frontier {
    /// The edge of a tree of that size; `None` when it has another number of subtrees.
    #[must_use]
    pub fn new(size: u64, roots: Vec<TreeHash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its whole subtrees, the largest first.
    #[must_use]
    pub fn roots(&self) -> &[TreeHash] {
        &self.roots
    }

    /// Adds a leaf; `completed` is told of each subtree that it completes, from itself upwards.
    pub fn append(&mut self, leaf: TreeHash, mut completed: impl FnMut(Node, TreeHash)) {
        let (mut hash, mut level) = (leaf, 0);
        completed(Node { level, index: self.size }, hash);
        // As in counting: each subtree of the same size on the left is taken up by a larger one.
        while self.size >> level & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            hash = node_hash(left, hash);
            level += 1;
            completed(Node { level, index: self.size >> level }, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the tree. That of an empty one is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        fold(&self.roots).unwrap_or_else(|| TreeHash(Sha256::digest([]).into()))
    }
}

/// The hash of a range from those of its whole subtrees, left to right. `None` of none.
#[must_use]
pub fn fold(subtrees: &[TreeHash]) -> Option<TreeHash> {
    subtrees.iter().copied().rev().reduce(|right, left| node_hash(left, right))
}

/// Leaves from a number on and up to another, which is not among them.
pub type Span = (u64, u64);

/// The whole subtrees that a range consists of, left to right, when it is one that a proof asks for.
#[must_use]
pub fn nodes_of((begin, end): Span) -> Vec<Node> {
    let (mut nodes, mut at) = (Vec::new(), begin);
    while at < end {
        let level = (end - at).ilog2();
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// The largest power of two that is less than `size`, which is more than 1.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// What proves that a leaf is in the tree of this size: the hashes of these ranges, in this order (section 2.1.1). `None` when
/// the tree has no such leaf.
#[must_use]
pub fn inclusion(leaf: u64, size: u64) -> Option<Vec<Span>> {
    if leaf >= size {
        return None;
    }
    let (mut begin, mut end, mut path) = (0, size, Vec::new());
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if leaf < middle {
            path.push((middle, end));
            end = middle;
        } else {
            path.push((begin, middle));
            begin = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// What proves that the tree of the size `new` begins with that of the size `old`: the hashes of these ranges, in this order
/// (section 2.1.2). Of an empty tree, and of the tree itself, nothing is to be proven. `None` when the old one is the larger.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Span>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut begin, mut end, mut path) = (0, new, Vec::new());
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push((middle, end));
            end = middle;
        } else {
            path.push((begin, middle));
            begin = middle;
        }
    }
    if begin > 0 {
        path.push((begin, end));
    }
    path.reverse();
    Some(path)
}

/// The root of a tree of this size in which a leaf of this hash has this number, by a proof (RFC 9162, section 2.1.3.2). `None`
/// when it is no proof of that: then the leaf is in no such tree.
#[must_use]
pub fn root_by_inclusion(leaf: u64, size: u64, hash: TreeHash, proof: &[TreeHash]) -> Option<TreeHash> {
    let path = inclusion(leaf, size)?;
    if path.len() != proof.len() {
        return None;
    }
    let beside = path.iter().zip(proof);
    Some(beside.fold(
        hash,
        |hash, ((begin, _), other)| {
            if *begin > leaf { node_hash(hash, *other) } else { node_hash(*other, hash) }
        },
    ))
}

/// Whether the tree of the size `new` with the root `new_root` begins with that of the size `old` and the root `old_root`, by a
/// proof (RFC 9162, section 2.1.4.2).
#[must_use]
pub fn is_consistent(old: u64, old_root: TreeHash, new: u64, new_root: TreeHash, proof: &[TreeHash]) -> bool {
    let Some(path) = consistency(old, new).filter(|path| path.len() == proof.len()) else { return false };
    if old == 0 {
        return old_root == Frontier::default().root();
    }
    if old == new {
        return old_root == new_root;
    }
    // The proof begins with a subtree at the end of the old tree; when that is the whole old tree, with what is beside it.
    let (mut was, mut is) = (old_root, old_root);
    let mut beside = path.iter().zip(proof);
    if let Some((_, first)) = (!old.is_power_of_two()).then(|| beside.next()).flatten() {
        (was, is) = (*first, *first);
    }
    for ((begin, _), hash) in beside {
        if *begin >= old {
            is = node_hash(is, *hash);
        } else {
            was = node_hash(*hash, was);
            is = node_hash(*hash, is);
        }
    }
    was == old_root && is == new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits")).collect()
    }

    fn hash(text: &str) -> TreeHash {
        TreeHash(hex(text).try_into().expect("32 bytes"))
    }

    /// The leaves that the implementations of Certificate Transparency share for their tests.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    /// The roots of the trees of the first leaf, of the first two, and so on.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The root of some leaves by the definition (section 2.1).
    fn root_of(leaves: &[TreeHash]) -> TreeHash {
        match leaves {
            [] => Frontier::default().root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).expect("few"));
                node_hash(root_of(left), root_of(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn at(number: u64) -> usize {
        usize::try_from(number).expect("few")
    }

    fn proof(all: &[TreeHash], spans: Vec<Span>) -> Vec<TreeHash> {
        spans.into_iter().map(|(begin, end)| root_of(&all[at(begin)..at(end)])).collect()
    }

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let mut tree = Frontier::default();
        assert_eq!(tree.root(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            tree.append(leaf_hash(&hex(leaf)), |_, _| ());
            assert_eq!(tree.root(), hash(root), "of {} leaves", tree.size());
        }
    }

    #[test]
    fn the_proofs_are_those_of_certificate_transparency() {
        let all: Vec<TreeHash> = LEAVES.iter().map(|leaf| leaf_hash(&hex(leaf))).collect();
        let included = proof(&all[..8], inclusion(0, 8).expect("in it"));
        let known = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(included, known.map(hash));
        let known = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(proof(&all[..8], consistency(6, 8).expect("older")), known.map(hash));
    }

    #[test]
    fn every_proof_holds_and_none_holds_for_anything_else() {
        let all = leaves(70);
        for size in 1..70 {
            let (tree, root) = (&all[..at(size)], root_of(&all[..at(size)]));
            for leaf in 0..size {
                let path = proof(tree, inclusion(leaf, size).expect("in it"));
                let by = |leaf: u64, hash| root_by_inclusion(leaf, size, hash, &path);
                assert_eq!(by(leaf, tree[at(leaf)]), Some(root), "{leaf} of {size}");
                assert_ne!(by(leaf, all[69]), Some(root));
                assert!((0..size).filter(|other| *other != leaf).all(|other| by(other, tree[at(leaf)]) != Some(root)));
            }
            assert_eq!((inclusion(size, size), consistency(size + 1, size)), (None, None));
            for old in 0..=size {
                let path = proof(tree, consistency(old, size).expect("older"));
                let was = root_of(&tree[..at(old)]);
                assert!(is_consistent(old, was, size, root, &path), "{old} of {size}");
                assert!(
                    !is_consistent(old, all[69], size, root, &path) && !is_consistent(old, was, size, all[69], &path)
                        || old == 0
                );
                for changed in 0..path.len() {
                    let mut path = path.clone();
                    path[changed] = all[69];
                    assert!(!is_consistent(old, was, size, root, &path));
                    path.pop();
                    assert!(!is_consistent(old, was, size, root, &path));
                }
            }
        }
    }

    #[test]
    fn an_edge_is_made_of_the_subtrees_that_were_told_when_they_were_completed() {
        let (mut tree, mut told) = (Frontier::default(), std::collections::HashMap::new());
        for (count, leaf) in (1..).zip(leaves(300)) {
            tree.append(leaf, |Node { level, index }, hash| {
                assert!(told.insert((level, index), hash).is_none());
            });
            let roots: Vec<TreeHash> =
                nodes_of((0, count)).into_iter().map(|Node { level, index }| told[&(level, index)]).collect();
            assert_eq!(Frontier::new(count, roots), Some(tree.clone()));
            assert_eq!(Frontier::new(count, vec![leaf; 20]), None);
        }
        assert_eq!(told.len(), (0..9).map(|level| 300 >> level).sum::<usize>());
    }
}
