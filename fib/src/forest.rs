//! IPv6's longest-prefix match for large tables: a root for the first 24 bits, then trees of intervals, 32 bits at a time.
//!
//! Two layers, as in IPv4's: the trie holds what the routes say and answers everything; the *trees* are worked out from it
//! and answer the longest match alone, fast.
//!
//! ```text
//! root    for each /24: an answer, or a tree for bits 24 to 55
//! tree    intervals of 32-bit numbers, each with its answer, as a search tree of lines of 64 bytes
//! leaf    10 ends of intervals, then 11 answers of 16 bits: the last interval ends where the leaf does
//! branch  14 ends of children, then the number of the first child: the children are lines in a row
//! tails   a /56 that has longer prefixes answers with a tail: a tree for bits 56 to 87; so on at 88 and at 120
//! ```
//!
//! By hand, with 2001:db8::/32 = A and 2001:db8:8000::/40 = B. The root's slot 2001:0d names a tree of one leaf. Bits 24 to
//! 55 of A's first address are b8000000, of its last b8ffffff; B's are b8800000 and b880ffff. So the leaf has the ends
//! b7ffffff, b87fffff, b880ffff, b8ffffff and the answers nothing, A, B, A, nothing. Lookup of 2001:db8:8001::1: the number is
//! b8800100; two ends are smaller, so the answer is the third: B.
//!
//! An answer is a path set id; 0 says that only what the tree lies under is left, which its first line tells; [`SLOW`] that
//! there was no room, and the trie must be asked; the top bit that the rest of the number is that of a tail.
//!
//! Why so: a line of ends is searched by one comparison of vectors, and a tree of few intervals, as most are, is one line.
//! The level of a tree stands in its slot, so that many lookups go down together without asking at each line what it is: those
//! that have arrived wait where they are.
//!
//! Invariants. The trie is right after each call, and the trees say what it says. A line is filled before anything names it
//! and never changes after that: an update makes new lines for all that changes on the way down, and one store (Release) of
//! the slot shows them all. The old ones wait until all readers have passed. So each lookup gives the answer before or after
//! an update.
//!
//! Cost: lookup one load for the root and one line for each level, of which a tree of 11 intervals has one, of 165 two, of
//! 2475 three; an update of more than 24 bits writes at most 15 lines for each level, seldom more, where a line ran full; one
//! of length `l` up to 24 looks at `2^(24-l)` slots; of length 0 none. Called by the writer and, through `view.rs`, by workers.

use std::alloc::{Layout, handle_alloc_error};
use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::Arc;

use zerocopy::FromZeros;

use crate::granules::{Line, Lines, Words, touched};
use crate::ip::Ip;
use crate::lpm::{Full, Large};
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Guard, Limbo};
use crate::sync::plain::{AtomicU32, Ordering};
use crate::trie::{self, Trie};

mod edit;
mod graft;
mod image;
mod kernel;
mod shelf;

use kernel::Kernel;
pub use shelf::Shelf;

/// Bits that the root looks at.
const ROOT_BITS: u8 = 24;
/// Bits that a tree looks at.
const TREE_BITS: u8 = 32;
/// The answer of what there is no room for.
const SLOW: u16 = 0x7fff;
/// Says that an answer is the number of a tail.
const IN_TAIL: u16 = 0x8000;
/// Addresses looked up at a time: their loads wait together for memory.
const BATCH: usize = 32;

/// A table.
#[derive(Debug)]
pub struct Forest {
    trie: Trie<Ipv6Addr>,
    root: Box<[AtomicU32; 1 << ROOT_BITS]>,
    ground: Arc<Ground>,
    kernel: Kernel,
}

/// What all tables share, as readers see it.
#[derive(Debug)]
struct Ground {
    words: Arc<Words>,
    tails: Box<[AtomicU32]>,
}

impl Ground {
    fn tail(&self, number: u16) -> Entry {
        Entry(self.tails.get(usize::from(number & !IN_TAIL)).map_or(0, |tail| tail.load(Ordering::Acquire)))
    }

    #[inline(always)]
    fn lines(&self) -> Lines<'_> {
        self.words.lines()
    }
}

/// What a slot of the root or of the tails holds: an answer; or a tree, with its level and its first line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry(u32);

/// Bit 31 says that it is a tree; then three bits for its level less one.
const TREE: u32 = 1 << 31;
const LEVEL: u32 = 28;

impl Entry {
    fn tree(level: u32, line: u32) -> Entry {
        Entry(TREE | (level - 1) << LEVEL | line)
    }

    fn is_tree(self) -> bool {
        self.0 & TREE != 0
    }

    /// 1 if its first line is a leaf; of trees alone.
    fn level(self) -> u32 {
        (self.0 >> LEVEL & 7) + 1
    }

    /// Its first line; of what is no tree some line that is there.
    fn line(self) -> u32 {
        if self.is_tree() { self.0 & ((1 << LEVEL) - 1) } else { 0 }
    }

    /// Of what is no tree.
    fn answer(self) -> u16 {
        self.0 as u16
    }
}

/// The bits that trees of a stage look at.
fn stage_bits(stage: u8) -> Range<u8> {
    let first = ROOT_BITS + stage * TREE_BITS;
    first..(first + TREE_BITS).min(128)
}

/// Those bits of an address, as a number: from its top where fewer than 32 are left.
fn number(key: u128, stage: u8) -> u32 {
    (key << (ROOT_BITS + stage * TREE_BITS) >> 96) as u32
}

/// The last number of an address's, where fewer bits than 32 are left.
fn last_number(key: u128, stage: u8) -> u32 {
    number(key, stage) | !number(u128::MAX, stage)
}

impl Forest {
    #[inline(always)]
    fn root(&self, key: u128) -> Entry {
        let slot = (key >> (128 - ROOT_BITS)) as usize;
        Entry(self.root.get(slot).map_or(0, |root| root.load(Ordering::Acquire)))
    }

    /// One address. `count` is the kernel: how many of so many ends of a line are smaller than a number.
    #[inline(always)]
    fn one(
        &self,
        guard: &Guard<'_>,
        addr: Ipv6Addr,
        count: impl Fn(Line<'_>, u32, usize) -> u32,
    ) -> Option<PathSetId> {
        let key = addr.key();
        let entry = self.root(key);
        let answer = self.search(entry, number(key, 0), &count);
        if is_id(answer) { PathSetId::new(answer) } else { self.resolve(guard, addr, entry, answer, count) }
    }

    /// The answer of an entry for a number.
    #[inline(always)]
    fn search(&self, entry: Entry, number: u32, count: impl Fn(Line<'_>, u32, usize) -> u32) -> u16 {
        if !entry.is_tree() {
            return entry.answer();
        }
        let lines = self.ground.lines();
        let mut line = lines.get(entry.line());
        for _ in 1..entry.level() {
            line = lines.get(image::child(line, count(line, number, image::CHILD_ENDS)));
        }
        image::answer(line, count(line, number, image::ENDS))
    }

    /// Up to [`BATCH`] addresses: all take each step together, and those with nothing left to do wait where they are.
    #[inline(always)]
    fn many(
        &self,
        guard: &Guard<'_>,
        addrs: &[Ipv6Addr],
        found: &mut [Option<PathSetId>],
        count: impl Fn(Line<'_>, u32, usize) -> u32,
    ) {
        let (mut entries, mut numbers, mut places) = ([Entry(0); BATCH], [0_u32; BATCH], [0_u32; BATCH]);
        let mut highest = 0;
        for (((entry, number), place), addr) in
            entries.iter_mut().zip(&mut numbers).zip(&mut places).zip(addrs)
        {
            let key = addr.key();
            *entry = self.root(key);
            *number = self::number(key, 0);
            *place = entry.line();
            highest = highest.max(entry.0 >> LEVEL);
        }
        let lines = self.ground.lines();
        let lowest = TREE >> LEVEL;
        for level in (lowest + 1..=highest).rev() {
            for ((entry, &number), place) in entries.iter().zip(&numbers).zip(&mut places) {
                let line = lines.get(*place);
                let child = image::child(line, count(line, number, image::CHILD_ENDS));
                *place = if entry.0 >> LEVEL >= level { child } else { *place };
            }
        }
        let (mut answers, mut all) = ([0_u16; BATCH], true);
        for (((answer, entry), &number), &place) in
            answers.iter_mut().zip(&entries).zip(&numbers).zip(&places)
        {
            let line = lines.get(place);
            let leaf = image::answer(line, count(line, number, image::ENDS));
            *answer = if entry.is_tree() { leaf } else { entry.answer() };
        }
        for (found, &answer) in found.iter_mut().zip(&answers) {
            *found = PathSetId::new(answer);
            all &= is_id(answer);
        }
        if all {
            return;
        }
        for (((found, &addr), &entry), &answer) in found.iter_mut().zip(addrs).zip(&entries).zip(&answers) {
            if !is_id(answer) {
                *found = self.resolve(guard, addr, entry, answer, &count);
            }
        }
    }

    /// From the answer of a root's entry that is no id to a path set.
    #[inline(always)]
    fn resolve(
        &self,
        guard: &Guard<'_>,
        addr: Ipv6Addr,
        entry: Entry,
        answer: u16,
        count: impl Fn(Line<'_>, u32, usize) -> u32,
    ) -> Option<PathSetId> {
        let (mut entry, mut answer, mut best) = (entry, answer, 0);
        for stage in 1.. {
            if entry.is_tree() {
                let above = image::above(self.ground.lines().get(entry.line()));
                best = if above == 0 { best } else { above };
            }
            if answer & IN_TAIL == 0 {
                break;
            }
            entry = self.ground.tail(answer);
            answer = self.search(entry, number(addr.key(), stage), &count);
        }
        match answer {
            0 => PathSetId::new(best).or_else(|| self.trie.any()),
            SLOW => self.trie.lookup(guard, addr).next().map(|(_, id)| id),
            id => PathSetId::new(id),
        }
    }
}

/// Whether an answer is a path set's id.
#[inline(always)]
fn is_id(answer: u16) -> bool {
    answer.wrapping_sub(1) < SLOW - 1
}

impl Large<Ipv6Addr> for Forest {
    type Shelf = Shelf;
    type Matches<'g> = trie::Matches<'g>;

    fn shelf(_: &Limbo) -> Shelf {
        Shelf::new()
    }

    fn bytes(shelf: &Shelf) -> usize {
        shelf.bytes()
    }

    fn root_bytes(&self) -> usize {
        touched(&self.root[..])
    }

    fn new(shelf: &Shelf) -> Forest {
        let ground = Arc::clone(shelf.ground());
        let root = <[AtomicU32; 1 << ROOT_BITS]>::new_box_zeroed()
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[AtomicU32; 1 << ROOT_BITS]>()));
        Forest { trie: Trie::new(), root, ground, kernel: Kernel::best() }
    }

    fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: Ipv6Addr) -> trie::Matches<'g> {
        self.trie.lookup(guard, addr)
    }

    fn longest(&self, guard: &Guard<'_>, addr: Ipv6Addr) -> Option<PathSetId> {
        self.kernel.one(self, guard, addr)
    }

    fn longest_of(&self, guard: &Guard<'_>, addrs: &[Ipv6Addr], found: &mut [Option<PathSetId>]) {
        for (addrs, found) in addrs.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            self.kernel.many(self, guard, addrs, found);
        }
    }

    fn set(
        &self,
        prefix: Prefix<Ipv6Addr>,
        id: Option<PathSetId>,
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> Result<Option<PathSetId>, Full> {
        let old = match id {
            Some(id) => self.trie.insert(prefix, id, limbo),
            None => self.trie.remove(prefix, limbo),
        };
        match prefix.len() {
            0 => {}
            1..=ROOT_BITS => self.set_short(prefix, shelf, limbo),
            _ => self.set_long(prefix, shelf, limbo),
        }
        Ok(old)
    }

    fn get(&self, prefix: Prefix<Ipv6Addr>, _: &Shelf, limbo: &Limbo) -> Option<PathSetId> {
        self.trie.get(prefix, limbo)
    }

    fn clear(&self, shelf: &mut Shelf, limbo: &Limbo) {
        for root in self.root.iter() {
            shelf.fell(Entry(root.load(Ordering::Relaxed)), limbo);
        }
    }
}

#[cfg(test)]
mod tests;
