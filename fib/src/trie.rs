//! The longest-prefix match: a trie of 4-bit steps that readers walk while the writer changes it.
//!
//! A node stands for the next four bits of an address. It has 16 children, one for each value of those bits, and 30 leaf
//! slots, one for each prefix that ends inside it: 2 of one bit, 4 of two, 8 of three, 16 of four, numbered 0 to 29 in that
//! order. The prefix of length 0 ends before the first node and has a slot of its own.
//!
//! By hand, with 10.0.0.0/8 = A, 10.16.0.0/12 = B and 10.24.0.0/13 = C. The nibbles of 10 are `0000` and `1010`:
//!
//! ```text
//! root              bits 0-3    child 0000 -> n1
//! n1                bits 4-7    child 1010 -> n2     A ends here: four bits 1010, slot 14 + 10 = 24
//! n2                bits 8-11   child 0001 -> n3     B ends here: four bits 0001, slot 14 + 1 = 15
//! n3                bits 12-15                       C ends here: one bit 1, slot 0 + 1 = 1
//! ```
//!
//! Lookup of 10.25.0.1 (`0000 1010 0001 1001`): go down while there is a child, which ends in n3. In each node, from the
//! last to the first, the slots that fit a nibble are one mask: for `1001` these are `1`, `10`, `100`, `1001`, slots 1, 4,
//! 10, 23. Longer prefixes have higher slots, so the highest bit of `occupied & mask` is the longest match: C. Going on in
//! the same way gives B, then A, then length 0: the next shorter prefix costs nothing extra.
//!
//! Invariants. A leaf is stored before its bit in `occupied` (Release), so whoever sees the bit sees an id. What an id
//! names is published before the id and stays until all readers have passed. A node without leaves and children is unlinked
//! and retired. One update changes one leaf, so each lookup gives the answer before or after it.
//!
//! Cost: O(length / 4) for all operations; 192 bytes a node. Called by the writer and, through `view.rs`, by workers.

use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};

use crate::ip::Ip;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Guard, Limbo, Shared};
use crate::sync::{AtomicU16, AtomicU32, Ordering};

/// Bits a node stands for.
const STRIDE: u8 = 4;
/// Nodes on the longest way down: 128 / 4.
const DEPTH_MAX: usize = 32;
/// Children of a node: 2^STRIDE.
const CHILDREN: usize = 16;
/// Prefixes of 1 to 4 bits: 2 + 4 + 8 + 16.
const LEAVES: usize = 30;
/// The slot of length 0 holds no id.
const NO_ID: u32 = u32::MAX;

/// The slots that match each nibble.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which would refuse a bad index")]
const FITTING: [u32; CHILDREN] = {
    let mut masks = [0; CHILDREN];
    let mut nibble = 0;
    while nibble < CHILDREN {
        let mut len = 1;
        while len <= STRIDE as usize {
            masks[nibble] |= 1 << ((1 << len) - 2 + (nibble >> (STRIDE as usize - len)));
            len += 1;
        }
        nibble += 1;
    }
    masks
};

/// A longest-prefix-match table of one family, from prefixes to path set ids.
#[derive(Debug)]
pub(crate) struct Trie<A> {
    root: Node,
    /// The prefix of length 0: its id, or [`NO_ID`].
    any: AtomicU32,
    family: PhantomData<A>,
}

#[derive(Debug)]
struct Node {
    child: [Shared<Node>; CHILDREN],
    leaf: [AtomicU16; LEAVES],
    /// Bit `s` is set if leaf slot `s` is in use.
    occupied: AtomicU32,
}

/// The four bits of `key` that the node at `depth` stands for.
fn nibble(key: u128, depth: usize) -> usize {
    let shift = 124_usize.saturating_sub(depth * usize::from(STRIDE));
    (key >> shift) as usize & (CHILDREN - 1)
}

impl Node {
    fn new() -> Self {
        Node {
            child: std::array::from_fn(|_| Shared::empty()),
            leaf: std::array::from_fn(|_| AtomicU16::new(0)),
            occupied: AtomicU32::new(0),
        }
    }

    fn is_empty(&self, limbo: &Limbo) -> bool {
        self.occupied.load(Ordering::Relaxed) == 0
            && self.child.iter().all(|child| child.peek(limbo).is_none())
    }

    /// The id of a slot.
    fn id(&self, slot: usize) -> u16 {
        self.leaf.get(slot).map_or(0, |leaf| leaf.load(Ordering::Acquire))
    }

    /// The slots in use that fit this nibble.
    fn matching(&self, nibble: usize) -> u32 {
        self.occupied.load(Ordering::Acquire) & FITTING.get(nibble).copied().unwrap_or(0)
    }
}

impl Node {
    /// As [`Trie::runs`], of some values of the four bits at a depth, behind the bits of a key.
    fn runs(
        &self,
        values: RangeInclusive<usize>,
        (key, depth): (u128, usize),
        longest: u8,
        above: u16,
        limbo: &Limbo,
        out: &mut Vec<(u128, u16)>,
    ) {
        let below = 124_usize.saturating_sub(depth * usize::from(STRIDE));
        let before = key.checked_shr(below as u32 + u32::from(STRIDE)).unwrap_or(0);
        for value in values {
            let slot = self.matching(value).checked_ilog2();
            let id = slot.map_or(above, |slot| self.id(slot as usize));
            let key = (before << STRIDE | value as u128) << below;
            let child = self.child.get(value).and_then(|child| child.peek(limbo));
            match child.filter(|_| (depth + 1) * usize::from(STRIDE) < usize::from(longest)) {
                Some(child) => child.runs(0..=CHILDREN - 1, (key, depth + 1), longest, id, limbo, out),
                None => out.push((key | ((1 << below) - 1), id)),
            }
        }
    }
}

/// Where a prefix of length 1 or more ends: the depth of its node, and its slot there.
fn place<A: Ip>(prefix: Prefix<A>) -> Option<(usize, usize)> {
    let before = prefix.len().checked_sub(1)?;
    let depth = usize::from(before / STRIDE);
    let bits = usize::from(before % STRIDE + 1);
    Some((depth, (1 << bits) - 2 + (nibble(prefix.addr().key(), depth) >> (usize::from(STRIDE) - bits))))
}

impl<A: Ip> Trie<A> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Trie { root: Node::new(), any: AtomicU32::new(NO_ID), family: PhantomData }
    }

    /// All prefixes that hold `addr`, the longest first.
    pub(crate) fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: A) -> Matches<'g> {
        let key = addr.key();
        let mut nodes = [None; DEPTH_MAX];
        let mut next = Some(&self.root);
        let mut depth = 0;
        for entry in nodes.iter_mut().take(usize::from(A::BITS / STRIDE)) {
            let Some(node) = next else { break };
            *entry = Some(node);
            next = node.child.get(nibble(key, depth)).and_then(|child| child.load(guard));
            depth += 1;
        }
        let any = self.any.load(Ordering::Acquire);
        Matches { key, nodes, depth, slots: 0, any: u16::try_from(any).ok().map(PathSetId) }
    }

    /// Gives `prefix` an id; the one it had comes back.
    pub(crate) fn insert(&self, prefix: Prefix<A>, id: PathSetId, limbo: &Limbo) -> Option<PathSetId> {
        let Some((depth, slot)) = place(prefix) else {
            let old = self.any.swap(u32::from(id.0), Ordering::Release);
            return u16::try_from(old).ok().map(PathSetId);
        };
        let mut node = &self.root;
        for level in 0..depth {
            let child = node.child.get(nibble(prefix.addr().key(), level))?;
            if child.peek(limbo).is_none() {
                child.swap(Some(Box::new(Node::new())), limbo);
            }
            node = child.peek(limbo)?;
        }
        let old = node.leaf.get(slot)?.swap(id.0, Ordering::Release);
        let before = node.occupied.fetch_or(1 << slot, Ordering::Release);
        (before & (1 << slot) != 0).then_some(PathSetId(old))
    }

    /// Removes `prefix`; the id it had comes back.
    pub(crate) fn remove(&self, prefix: Prefix<A>, limbo: &Limbo) -> Option<PathSetId> {
        let Some((depth, slot)) = place(prefix) else {
            return u16::try_from(self.any.swap(NO_ID, Ordering::Release)).ok().map(PathSetId);
        };
        let mut way = [None; DEPTH_MAX];
        let mut node = &self.root;
        for (level, entry) in way.iter_mut().enumerate().take(depth) {
            let child = node.child.get(nibble(prefix.addr().key(), level))?;
            *entry = Some(child);
            node = child.peek(limbo)?;
        }
        let before = node.occupied.fetch_and(!(1 << slot), Ordering::Release);
        if before & (1 << slot) == 0 {
            return None;
        }
        let old = node.leaf.get(slot)?.load(Ordering::Relaxed);
        for link in way.iter().rev().flatten() {
            if !link.peek(limbo)?.is_empty(limbo) {
                break;
            }
            link.swap(None, limbo);
        }
        Some(PathSetId(old))
    }

    /// The id of length 0.
    pub(crate) fn any(&self) -> Option<PathSetId> {
        u16::try_from(self.any.load(Ordering::Acquire)).ok().map(PathSetId)
    }

    /// The longest match of `key` that is longer than `lens.start` and not longer than `lens.end`, for the writer; 0 for none.
    /// Both are multiples of 4.
    pub(crate) fn best(&self, key: u128, lens: Range<u8>, limbo: &Limbo) -> u16 {
        let depths = usize::from(lens.start / STRIDE)..usize::from(lens.end / STRIDE);
        let (mut node, mut best) = (&self.root, 0);
        for depth in 0..depths.end {
            let slot = node.matching(nibble(key, depth)).checked_ilog2().filter(|_| depth >= depths.start);
            best = slot.map_or(best, |slot| node.id(slot as usize));
            let child = node.child.get(nibble(key, depth)).and_then(|child| child.peek(limbo));
            let Some(child) = child else { break };
            node = child;
        }
        best
    }

    /// What the addresses of `prefix` find among prefixes of a length in `lens`, of which the longest is a multiple of 4, for the
    /// writer: runs of addresses in order, each as the key of its last one and the id, 0 for none.
    pub(crate) fn runs(&self, prefix: Prefix<A>, lens: Range<u8>, limbo: &Limbo) -> Vec<(u128, u16)> {
        let key = prefix.addr().key();
        let depth = usize::from(prefix.len().saturating_sub(1) / STRIDE);
        let first = (depth * usize::from(STRIDE)) as u8;
        let above = if lens.start < first { self.best(key, lens.start..first, limbo) } else { 0 };
        let mut node = Some(&self.root);
        for level in 0..depth {
            node = node.and_then(|node| node.child.get(nibble(key, level))?.peek(limbo));
        }
        let last = key | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
        let mut runs = Vec::new();
        match node {
            Some(node) => node.runs(
                nibble(key, depth)..=nibble(last, depth),
                (key, depth),
                lens.end,
                above,
                limbo,
                &mut runs,
            ),
            None => runs.push((last, above)),
        }
        runs
    }

    /// The id of exactly this prefix, for the writer.
    pub(crate) fn get(&self, prefix: Prefix<A>, limbo: &Limbo) -> Option<PathSetId> {
        let Some((depth, slot)) = place(prefix) else {
            return u16::try_from(self.any.load(Ordering::Relaxed)).ok().map(PathSetId);
        };
        let mut node = &self.root;
        for level in 0..depth {
            node = node.child.get(nibble(prefix.addr().key(), level))?.peek(limbo)?;
        }
        let used = node.occupied.load(Ordering::Relaxed) & (1 << slot) != 0;
        Some(PathSetId(node.leaf.get(slot).filter(|_| used)?.load(Ordering::Relaxed)))
    }
}

/// The prefixes that hold an address as `(length, path set)`, the longest first.
#[derive(Clone, Debug)]
pub struct Matches<'g> {
    key: u128,
    /// The way down, `depth` of them still to visit, the last one first.
    nodes: [Option<&'g Node>; DEPTH_MAX],
    depth: usize,
    /// Slots of the node at `depth` that match and were not given yet.
    slots: u32,
    any: Option<PathSetId>,
}

impl Matches<'_> {
    /// Moves up to the next node and notes what matches in it. False when there is none.
    fn up(&mut self) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else { return false };
        self.depth = depth;
        let node = self.nodes.get(depth).copied().flatten();
        self.slots = node.map_or(0, |node| node.matching(nibble(self.key, depth)));
        true
    }
}

impl Iterator for Matches<'_> {
    type Item = (u8, PathSetId);

    fn next(&mut self) -> Option<(u8, PathSetId)> {
        loop {
            if let Some(slot) = self.slots.checked_ilog2() {
                self.slots &= !(1 << slot);
                let leaf = self.nodes.get(self.depth)?.as_ref()?.leaf.get(slot as usize)?;
                // Slots 0-1 are one bit long, 2-5 two, 6-13 three, 14-29 four.
                let len = self.depth * usize::from(STRIDE) + (slot + 2).ilog2() as usize;
                return Some((len as u8, PathSetId(leaf.load(Ordering::Acquire))));
            }
            if !self.up() {
                return self.any.take().map(|id| (0, id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Domain;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn four(text: &str) -> Prefix<Ipv4Addr> {
        text.parse().unwrap()
    }

    #[test]
    fn the_example_of_the_module() {
        let (domain, limbo) = Domain::new(1);
        let trie = Trie::new();
        for (prefix, id) in [("10.0.0.0/8", 1), ("10.16.0.0/12", 2), ("10.24.0.0/13", 3), ("0.0.0.0/0", 4)] {
            assert_eq!(trie.insert(four(prefix), PathSetId(id), &limbo), None);
        }
        let mut line = domain.register().unwrap();
        let guard = line.pin();
        let found =
            |addr: [u8; 4]| trie.lookup(&guard, addr.into()).map(|(len, id)| (len, id.0)).collect::<Vec<_>>();
        assert_eq!(found([10, 25, 0, 1]), [(13, 3), (12, 2), (8, 1), (0, 4)]);
        assert_eq!(found([10, 17, 0, 1]), [(12, 2), (8, 1), (0, 4)]);
        assert_eq!(found([11, 0, 0, 1]), [(0, 4)]);
    }

    #[test]
    fn removing_gives_back_ids_and_nodes() {
        let (_domain, limbo) = Domain::new(1);
        let trie = Trie::new();
        assert_eq!(trie.remove(four("10.0.0.0/30"), &limbo), None);
        trie.insert(four("10.0.0.0/30"), PathSetId(7), &limbo);
        assert_eq!(trie.insert(four("10.0.0.0/30"), PathSetId(8), &limbo), Some(PathSetId(7)));
        assert_eq!(trie.get(four("10.0.0.0/30"), &limbo), Some(PathSetId(8)));
        assert_eq!(trie.get(four("10.0.0.0/29"), &limbo), None);
        assert_eq!(trie.remove(four("10.0.0.0/29"), &limbo), None);
        assert_eq!(trie.remove(four("10.0.0.0/30"), &limbo), Some(PathSetId(8)));
        assert!(trie.root.is_empty(&limbo));
        assert_eq!(limbo.len(), 7, "all nodes below the root");
    }

    #[test]
    fn every_length_of_ipv6_is_found_in_order() {
        let (domain, limbo) = Domain::new(1);
        let trie = Trie::new();
        let addr = Ipv6Addr::from(0x2001_0db8_ffff_0000_1234_5678_9abc_def0);
        for len in 0..=128 {
            trie.insert(Prefix::new(addr, len).unwrap(), PathSetId(u16::from(len)), &limbo);
        }
        let mut line = domain.register().unwrap();
        let guard = line.pin();
        let found: Vec<_> = trie.lookup(&guard, addr).collect();
        let expected: Vec<_> = (0..=128).rev().map(|len| (len, PathSetId(u16::from(len)))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_node_is_three_cache_lines() {
        assert_eq!(size_of::<Node>(), 192);
    }
}
