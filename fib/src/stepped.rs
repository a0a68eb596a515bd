//! IPv6's longest-prefix match for large tables: a root for the first 24 bits, then one byte at a step.
//!
//! Two layers, as in IPv4's: the trie holds what the routes say and answers everything; the *nodes* are worked out from it
//! and answer the longest match alone, fast.
//!
//! ```text
//! root    for each /24: a path set id, or the number of a node
//! node    256 bits, one for each value of the byte: set where an answer begins that the value before does not have;
//!         what the node lies under, and how many bits are set before each quarter; then the answers: ids or nodes
//! ```
//!
//! By hand, with 2001:db8::/32 = A and 2001:db8:8000::/40 = B. The root's slot 2001:0d names node 1, for the byte `b8`; its
//! bits 0, b8 and b9 are set and its answers are nothing, node 2, nothing. Node 2, for the byte behind 2001:db8, lies under A;
//! its bits 0, 80 and 81 are set and its answers are nothing, B, nothing. Lookup of 2001:db8:8001::1: root, node 1, byte `b8`:
//! node 2, so A is the best so far; byte `80`: B. Of 2001:db8:1::1 the last answer is nothing: A.
//!
//! An answer is a path set id; 0 says that the best so far stands; [`SLOW`] that there was no room for a node, and the trie
//! must be asked.
//!
//! Invariants. The trie is right after each call, and the nodes say what it says. A node is filled before anything names it
//! (Release); later only its answers and what it lies under change, each by one store; another shape is another node, and
//! the old one waits until all readers have passed. So each lookup gives the answer before or after an update.
//!
//! Cost: lookup one load for the root and two for each byte behind the first three that matters; an update of more than 24
//! bits rebuilds one node (256 steps), and its parent where the node is new or gone; one of length `l` up to 24 looks at
//! `2^(24-l)` slots; of length 0 none. Called by the writer and, through `view.rs`, by workers.

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::granules::{Granules, WORDS, Words, touched, zeroed};
use crate::ip::Ip;
use crate::lpm::{Full, Large};
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Guard, Limbo};
use crate::sync::plain::{AtomicU32, Ordering};
use crate::trie::{self, Trie};

/// Bits that the root looks at.
const ROOT_BITS: u8 = 24;
/// Bytes that the root looks at.
const ROOT_BYTES: usize = 3;
/// Values of a byte.
const SLOTS: usize = 256;
/// Words of bits.
const BITS: usize = SLOTS / 64;
/// Words before the answers: the bits, and the head.
const HEADER: usize = BITS + 1;
/// Granules of the largest node: 256 answers, two to a word.
const LARGEST: usize = (HEADER + SLOTS / 2).div_ceil(WORDS);
/// Says that an answer is a node.
const NODE: u32 = 1 << 31;
/// The answer of what there is no room for.
const SLOW: u32 = 0x7fff;
/// Addresses looked up at a time: their loads wait together for memory.
const BATCH: usize = 32;

/// A table.
#[derive(Debug)]
pub struct Stepped {
    trie: Trie<Ipv6Addr>,
    root: Box<[AtomicU32]>,
    nodes: Arc<Words>,
}

/// Byte `at` of an address.
fn byte(key: u128, at: usize) -> usize {
    (key >> (120_usize.saturating_sub(at * 8))) as usize % SLOTS
}

/// What a node is to say: where answers begin, and the answers.
struct Shape {
    bits: [u64; BITS],
    answers: [u32; SLOTS],
    count: usize,
}

impl Shape {
    /// The runs of equal answers.
    fn new(all: &[u32; SLOTS]) -> Shape {
        let mut shape = Shape { bits: [0; BITS], answers: [0; SLOTS], count: 0 };
        let mut last = None;
        for (word, answers) in shape.bits.iter_mut().zip(all.chunks_exact(64)) {
            for (bit, &answer) in answers.iter().enumerate() {
                if last == Some(answer) {
                    continue;
                }
                last = Some(answer);
                *word |= 1 << bit;
                if let Some(place) = shape.answers.get_mut(shape.count) {
                    *place = answer;
                }
                shape.count += 1;
            }
        }
        shape
    }

    /// What stands before the answers: `above` in 16 bits, then for each quarter in 8 the bits set before it.
    fn head(&self, above: u16) -> u64 {
        let mut head = u64::from(above);
        let mut before = 0;
        for (quarter, bits) in self.bits.iter().enumerate() {
            head |= u64::from(before) << (16 + 8 * quarter);
            before += bits.count_ones();
        }
        head
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        let answers = self.answers.chunks_exact(2).take(self.count.div_ceil(2));
        answers.map(|two| two.iter().rev().fold(0, |word, &answer| word << 32 | u64::from(answer)))
    }
}

/// Granules of a node of so many answers.
fn granules(answers: usize) -> usize {
    (HEADER + answers.div_ceil(2)).div_ceil(WORDS)
}

/// One step down: the answer of a node for a byte, and what the node lies under where that is better than `best`.
fn step(nodes: &Words, node: u32, byte: usize, best: u16) -> (u32, u16) {
    let head = nodes.get(node, BITS);
    let bits = nodes.get(node, byte / 64) << (63 - byte % 64);
    // Bit 0 of a node is always set, so at least one is counted.
    let before = (head >> (16 + byte / 64 * 8)) as usize % SLOTS;
    let rank = (before + bits.count_ones() as usize).wrapping_sub(1) % SLOTS;
    let answer = (nodes.get(node, HEADER + rank / 2) >> (rank % 2 * 32)) as u32;
    let above = head as u16;
    (answer, if above == 0 { best } else { above })
}

impl Stepped {
    fn root(&self, slot: usize) -> u32 {
        self.root.get(slot).map_or(0, |root| root.load(Ordering::Acquire))
    }

    /// From the last answer and the best before it to a path set.
    fn resolve(&self, guard: &Guard<'_>, addr: Ipv6Addr, answer: u32, best: u16) -> Option<PathSetId> {
        if answer == SLOW {
            return self.trie.lookup(guard, addr).next().map(|(_, id)| id);
        }
        let id = if answer == 0 { best } else { answer as u16 };
        PathSetId::new(id).or_else(|| self.trie.any())
    }

    /// Works out the slots of the root under a prefix of up to 24 bits.
    fn repair(&self, prefix: Prefix<Ipv6Addr>, limbo: &Limbo) {
        let first = (prefix.addr().key() >> (128 - ROOT_BITS)) as usize;
        for slot in first..first + (1 << (ROOT_BITS - prefix.len())) {
            let key = (slot as u128) << (128 - ROOT_BITS);
            let best = self.trie.best(key, 0..ROOT_BITS, limbo);
            let Some(root) = self.root.get(slot) else { return };
            match root.load(Ordering::Relaxed) {
                SLOW => {}
                node if node & NODE != 0 => self.set_above(node & !NODE, best),
                _ => root.store(u32::from(best), Ordering::Release),
            }
        }
    }

    fn set_above(&self, node: u32, above: u16) {
        let head = self.nodes.get(node, BITS);
        self.nodes.set(node, BITS, head & !0xffff | u64::from(above));
    }

    /// Works out the node that looks at byte `depth` of `key`, and those on the way there as far as they change. `answer` is
    /// what stands for the first `at` bytes, `above` the best prefix that ends in the byte before; returns what is to stand there.
    fn rebuild(&self, way: (u128, usize), at: usize, answer: u32, above: u16, out: &mut Out<'_>) -> u32 {
        if answer == SLOW {
            return SLOW;
        }
        let (key, depth) = way;
        let node = Some(answer).filter(|answer| answer & NODE != 0).map(|answer| answer & !NODE);
        let mut changed = None;
        if at < depth {
            let slot = byte(key, at);
            let old = node.map_or(0, |node| step(&self.nodes, node, slot, 0).0);
            let own = self.trie.best(key, 8 * at as u8..8 * at as u8 + 8, out.limbo);
            let new = self.rebuild(way, at + 1, old, own, out);
            if new == old {
                return answer;
            }
            changed = Some((slot, new));
        }
        let mut answers = self.trie.byte(key, at, out.limbo).map(u32::from);
        if let Some(node) = node {
            self.keep_below(node, &mut answers);
        }
        if let Some((slot, new)) = changed
            && let Some(place) = answers.get_mut(slot)
        {
            *place = new;
        }
        self.replace(node, &answers, above, out)
    }

    /// Puts the nodes below a node among its new answers, and tells each what it lies under now.
    fn keep_below(&self, node: u32, answers: &mut [u32; SLOTS]) {
        let (mut rank, mut answer) = (0, 0);
        for (slot, place) in answers.iter_mut().enumerate() {
            if self.nodes.get(node, slot / 64) >> (slot % 64) & 1 != 0 {
                answer = (self.nodes.get(node, HEADER + rank / 2) >> (rank % 2 * 32)) as u32;
                rank += 1;
            }
            if answer & NODE != 0 {
                self.set_above(answer & !NODE, *place as u16);
                *place = answer;
            } else if answer == SLOW {
                *place = SLOW;
            }
        }
    }

    /// Puts a node with these answers in the place of another; returns what is to stand for it.
    fn replace(&self, old: Option<u32>, answers: &[u32; SLOTS], above: u16, out: &mut Out<'_>) -> u32 {
        let shape = Shape::new(answers);
        let empty = answers.iter().all(|&answer| answer == 0);
        let words = &self.nodes;
        if let Some(old) = old {
            let same = (0..).zip(shape.bits).all(|(at, bits)| words.get(old, at) == bits);
            if same && !empty {
                (HEADER..).zip(shape.words()).for_each(|(at, word)| words.set(old, at, word));
                return NODE | old;
            }
            let count: u32 = (0..BITS).map(|at| words.get(old, at).count_ones()).sum();
            out.shelf.give_up(old, granules(count as usize), out.limbo);
        }
        if empty {
            return u32::from(above);
        }
        let Some(node) = out.shelf.take(granules(shape.count), out.limbo) else { return SLOW };
        (HEADER..).zip(shape.words()).for_each(|(at, word)| words.set(node, at, word));
        words.set(node, BITS, shape.head(above));
        (0..).zip(shape.bits).for_each(|(at, bits)| words.set(node, at, bits));
        NODE | node
    }

    /// Gives back a node and all below it.
    fn drop_node(&self, node: u32, shelf: &mut Granules, limbo: &Limbo) {
        let count: u32 = (0..BITS).map(|at| self.nodes.get(node, at).count_ones()).sum();
        for rank in 0..count as usize {
            let answer = (self.nodes.get(node, HEADER + rank / 2) >> (rank % 2 * 32)) as u32;
            if answer & NODE != 0 {
                self.drop_node(answer & !NODE, shelf, limbo);
            }
        }
        shelf.give_up(node, granules(count as usize), limbo);
    }
}

/// Where changes go.
struct Out<'a> {
    shelf: &'a mut Granules,
    limbo: &'a Limbo,
}

impl Large<Ipv6Addr> for Stepped {
    type Shelf = Granules;
    type Matches<'g> = trie::Matches<'g>;

    fn shelf(_: &Limbo) -> Granules {
        Granules::new(LARGEST)
    }

    fn bytes(shelf: &Granules) -> usize {
        shelf.used() as usize * WORDS * size_of::<u64>()
    }

    fn root_bytes(&self) -> usize {
        touched(&self.root)
    }

    fn new(shelf: &Granules) -> Stepped {
        Stepped { trie: Trie::new(), root: zeroed(1 << ROOT_BITS), nodes: Arc::clone(shelf.words()) }
    }

    fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: Ipv6Addr) -> trie::Matches<'g> {
        self.trie.lookup(guard, addr)
    }

    fn longest(&self, guard: &Guard<'_>, addr: Ipv6Addr) -> Option<PathSetId> {
        let key = addr.key();
        let (mut answer, mut best) = (self.root((key >> (128 - ROOT_BITS)) as usize), 0);
        let mut at = ROOT_BYTES;
        while answer & NODE != 0 {
            (answer, best) = step(&self.nodes, answer & !NODE, byte(key, at), best);
            at += 1;
        }
        self.resolve(guard, addr, answer, best)
    }

    fn longest_of(&self, guard: &Guard<'_>, addrs: &[Ipv6Addr], found: &mut [Option<PathSetId>]) {
        for (addrs, found) in addrs.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            self.longest_of_batch(guard, addrs, found);
        }
    }

    fn set(
        &self,
        prefix: Prefix<Ipv6Addr>,
        id: Option<PathSetId>,
        shelf: &mut Granules,
        limbo: &Limbo,
    ) -> Result<Option<PathSetId>, Full> {
        let old = match id {
            Some(id) => self.trie.insert(prefix, id, limbo),
            None => self.trie.remove(prefix, limbo),
        };
        let (key, len) = (prefix.addr().key(), prefix.len());
        match len {
            0 => {}
            1..=ROOT_BITS => self.repair(prefix, limbo),
            _ => {
                let slot = (key >> (128 - ROOT_BITS)) as usize;
                let Some(root) = self.root.get(slot) else { return Ok(old) };
                let above = self.trie.best(key, 0..ROOT_BITS, limbo);
                let depth = usize::from(len - 1) / 8;
                let answer = root.load(Ordering::Relaxed);
                let out = &mut Out { shelf, limbo };
                root.store(self.rebuild((key, depth), ROOT_BYTES, answer, above, out), Ordering::Release);
            }
        }
        Ok(old)
    }

    fn get(&self, prefix: Prefix<Ipv6Addr>, _: &Granules, limbo: &Limbo) -> Option<PathSetId> {
        self.trie.get(prefix, limbo)
    }

    fn clear(&self, shelf: &mut Granules, limbo: &Limbo) {
        for root in &self.root {
            let answer = root.load(Ordering::Relaxed);
            if answer & NODE != 0 {
                self.drop_node(answer & !NODE, shelf, limbo);
            }
        }
    }
}

impl Stepped {
    /// All lanes take each step together; those that have arrived leave the list, without a branch on it.
    fn longest_of_batch(&self, guard: &Guard<'_>, addrs: &[Ipv6Addr], found: &mut [Option<PathSetId>]) {
        let (mut answers, mut bests, mut lanes) = ([0_u32; BATCH], [0_u16; BATCH], [0_u8; BATCH]);
        let mut count = 0;
        for (lane, &addr) in addrs.iter().enumerate().take(BATCH) {
            let answer = self.root((addr.key() >> (128 - ROOT_BITS)) as usize);
            if let (Some(place), Some(listed)) = (answers.get_mut(lane), lanes.get_mut(count)) {
                (*place, *listed) = (answer, lane as u8);
            }
            count += (answer >> 31) as usize;
        }
        let mut at = ROOT_BYTES;
        while count > 0 {
            let active = std::mem::take(&mut count);
            for place in 0..active {
                let lane = lanes.get(place).map_or(0, |&lane| usize::from(lane));
                let (Some(answer), Some(best), Some(addr)) =
                    (answers.get_mut(lane), bests.get_mut(lane), addrs.get(lane))
                else {
                    return;
                };
                (*answer, *best) = step(&self.nodes, *answer & !NODE, byte(addr.key(), at), *best);
                if let Some(listed) = lanes.get_mut(count) {
                    *listed = lane as u8;
                }
                count += (*answer >> 31) as usize;
            }
            at += 1;
        }
        for (((found, &addr), answer), best) in found.iter_mut().zip(addrs).zip(answers).zip(bests) {
            *found = self.resolve(guard, addr, answer, best);
        }
    }
}

#[cfg(test)]
mod tests;
