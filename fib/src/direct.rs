//! IPv4's longest-prefix match for large tables: two dependent loads and no branch that traffic can spoil.
//!
//! Two layers. The *heaps* hold what the routes say, one id for each prefix, and answer everything: the longest match, and
//! each shorter one behind it. The *blocks* are worked out from the heaps and answer the longest match alone, fast.
//!
//! A heap is a binary tree in an array: the prefix of length `l` with the bits `b` stands at `2^l + b`, so its two halves
//! are at twice that and one more, and what covers it at half of it.
//!
//! ```text
//! short     lengths 0-18    2^19 ids, one array
//! slices    19-24           for each /18 that has some: 128 ids, lengths counted from 18
//! tails     25-32           for each /24 that has some: 512 ids, lengths counted from 24
//! root      -               for each /18: the number of its block
//! block     -               64 bits, one for each /24: set where an answer begins that the /24 before does not have;
//!                           then these answers, 16 bits each
//! ```
//!
//! By hand, with 10.0.0.0/8 = A and 10.0.2.0/23 = B. Both lie in the /18 10.0.0.0. `short` has A at 256 + 10; the slice of
//! that /18 has B at 32 + 1 (length 5 behind 18, bits 00001). Its block: the first two /24 have A, the next two B, all others
//! A, so the bits 0, 2 and 4 are set and the answers are A, B, A. Lookup of 10.0.3.9: root, block; the bits 0 to 3 hold two
//! ones, so the second answer: B. All other /18 under 10/8 share one block with the bit 0 and the answer A.
//!
//! An answer is a path set id; 0 says that only length 0 is left; [`SLOW`] that there was no room for a block, and the heaps
//! must be asked; the top bit that the /24 has a tail, with its number in the others.
//!
//! Invariants. The heaps are right after each call, and the blocks say what they say. A block is filled before the root
//! names it (Release); later only its answers change, each by one store; another shape is another block, and the old one
//! waits until all readers have passed. So each lookup gives the answer before or after an update.
//!
//! Cost: lookup two loads, in the heaps one for each length; an update of length 18 or more rebuilds one block (64 steps),
//! one of length `l` below that at most `2^(18-l)`, of length 0 none. Called by the writer and, through `view.rs`, by workers.

use std::alloc::{Layout, handle_alloc_error};
use std::net::Ipv4Addr;
use std::sync::Arc;

use zerocopy::FromZeros;

use crate::granules::{touched, zeroed};
use crate::lpm::{Full, Large};
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Guard, Limbo, Shared};
use crate::sync::plain::{AtomicU16, AtomicU32, Ordering};

mod blocks;

pub use blocks::Shelf;
use blocks::{Blocks, Shape};

/// Bits that the root looks at.
const ROOT_BITS: u8 = 18;
/// The shortest length that a slice holds.
const FIRST_LONG: u8 = ROOT_BITS + 1;
/// Bits that the root and a block look at.
const BLOCK_BITS: u8 = 24;
/// A /24 each.
const ANSWERS: usize = 1 << (BLOCK_BITS - ROOT_BITS);
/// Entries of a slice's heap.
const SLICE: usize = 2 * ANSWERS;
/// Entries of a tail's heap.
const TAIL: usize = 512;
/// Addresses of a /24.
const ADDRESSES: usize = 256;
/// Addresses looked up at a time: their loads wait together for memory.
const BATCH: usize = 32;
/// The answer of a block that there is no room for.
const SLOW: u16 = 0x7fff;
/// Says that an answer is the number of a tail.
const IN_TAIL: u16 = 0x8000;

/// The prefixes of 19 to 32 bits in one /18.
#[derive(Debug, FromZeros)]
pub(crate) struct Slice {
    /// Ids of 19 to 24 bits.
    heap: [AtomicU16; SLICE],
    /// The number of each /24's tail; 0 if it has none.
    tails: [AtomicU16; ANSWERS],
}

/// The prefixes of 25 to 32 bits in one /24. Replaced whole, but for `above`.
#[derive(Debug, FromZeros)]
pub(crate) struct Tail {
    heap: [u16; TAIL],
    /// The longest match for each address; 0: `above`.
    best: [u16; ADDRESSES],
    /// The longest match of the /24 itself.
    above: AtomicU16,
}

/// A table.
#[derive(Debug)]
pub struct Direct {
    root: Box<[AtomicU32]>,
    short: Box<[AtomicU16]>,
    slices: Box<[Shared<Slice>]>,
    blocks: Arc<Blocks>,
}

/// The place of a prefix in the heap that counts lengths from `from`.
fn place(addr: u32, from: u8, len: u8) -> usize {
    let bits = addr.checked_shr(u32::from(32 - len)).unwrap_or(0) as usize;
    let size = 1 << (len - from);
    size + (bits & (size - 1))
}

/// The /18 of an address.
fn slot18(addr: u32) -> usize {
    (addr >> (32 - ROOT_BITS)) as usize
}

/// The /24 of an address in its /18.
fn slot24(addr: u32) -> usize {
    (addr >> (32 - BLOCK_BITS)) as usize & (ANSWERS - 1)
}

/// Spreads a heap down to its leaves: each entry that is 0 gets what covers it, `above` the whole.
fn spread<const N: usize>(heap: impl Fn(usize) -> u16, above: u16) -> [u16; N] {
    let mut all = [above; N];
    for at in 2..N {
        let own = heap(at);
        let id = if own == 0 { all.get(at / 2).copied().unwrap_or(0) } else { own };
        if let Some(entry) = all.get_mut(at) {
            *entry = id;
        }
    }
    all
}

impl Tail {
    /// The tail with another id for one prefix; `None` if none is left.
    fn with(old: Option<&Tail>, at: usize, id: u16) -> Option<Box<Tail>> {
        let mut heap = old.map_or([0; TAIL], |tail| tail.heap);
        *heap.get_mut(at)? = id;
        if heap.iter().all(|&id| id == 0) {
            return None;
        }
        let all: [u16; TAIL] = spread(|at| heap.get(at).copied().unwrap_or(0), 0);
        let (_, best) = all.split_last_chunk::<ADDRESSES>()?;
        let above = AtomicU16::new(old.map_or(0, |tail| tail.above.load(Ordering::Relaxed)));
        Some(Box::new(Tail { heap, best: *best, above }))
    }
}

impl Large<Ipv4Addr> for Direct {
    type Shelf = Shelf;
    type Matches<'g> = Matches<'g>;

    fn shelf(limbo: &Limbo) -> Shelf {
        Shelf::new(limbo)
    }

    fn bytes(shelf: &Shelf) -> usize {
        shelf.bytes()
    }

    fn root_bytes(&self) -> usize {
        touched(&self.root)
    }

    fn new(shelf: &Shelf) -> Direct {
        Direct {
            root: zeroed(1 << ROOT_BITS),
            short: zeroed(2 << ROOT_BITS),
            slices: (0..1 << ROOT_BITS).map(|_| Shared::empty()).collect(),
            blocks: Arc::clone(shelf.blocks()),
        }
    }

    fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: Ipv4Addr) -> Matches<'g> {
        let addr = u32::from(addr);
        let slice = self.slices.get(slot18(addr)).and_then(|slice| slice.load(guard));
        let number = slice.and_then(|slice| slice.tails.get(slot24(addr)));
        let number = number.map_or(0, |number| number.load(Ordering::Acquire));
        let tail = Some(number).filter(|&n| n != 0).and_then(|n| self.blocks.tail(guard, n));
        let longest = if tail.is_some() {
            32
        } else if slice.is_some() {
            BLOCK_BITS
        } else {
            ROOT_BITS
        };
        Matches { direct: self, slice, tail, addr, next: Some(longest) }
    }

    fn longest(&self, guard: &Guard<'_>, addr: Ipv4Addr) -> Option<PathSetId> {
        let addr = u32::from(addr);
        let block = self.root.get(slot18(addr)).map_or(0, |root| root.load(Ordering::Acquire));
        let answer = self.blocks.answer(block, slot24(addr));
        self.resolve(guard, addr, answer)
    }

    fn longest_of(&self, guard: &Guard<'_>, addrs: &[Ipv4Addr], found: &mut [Option<PathSetId>]) {
        for (addrs, found) in addrs.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let mut blocks = [0; BATCH];
            for (block, &addr) in blocks.iter_mut().zip(addrs) {
                *block = self.root.get(slot18(addr.into())).map_or(0, |root| root.load(Ordering::Acquire));
            }
            let mut answers = [0; BATCH];
            for ((answer, block), &addr) in answers.iter_mut().zip(blocks).zip(addrs) {
                *answer = self.blocks.answer(block, slot24(addr.into()));
            }
            for ((found, answer), &addr) in found.iter_mut().zip(answers).zip(addrs) {
                *found = self.resolve(guard, addr.into(), answer);
            }
        }
    }

    fn set(
        &self,
        prefix: Prefix<Ipv4Addr>,
        id: Option<PathSetId>,
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> Result<Option<PathSetId>, Full> {
        let (addr, len) = (u32::from(prefix.addr()), prefix.len());
        let id = id.map_or(0, |id| id.0);
        let old = match len {
            0..=ROOT_BITS => {
                let at = place(addr, 0, len);
                let old = self.short.get(at).map_or(0, |entry| entry.swap(id, Ordering::Release));
                if len > 0 {
                    self.descend(at, self.covering(at), shelf, limbo);
                }
                old
            }
            _ => self.set_long(addr, len, id, shelf, limbo)?,
        };
        Ok(PathSetId::new(old))
    }

    fn get(&self, prefix: Prefix<Ipv4Addr>, shelf: &Shelf, limbo: &Limbo) -> Option<PathSetId> {
        let (addr, len) = (u32::from(prefix.addr()), prefix.len());
        let slice = || self.slices.get(slot18(addr)).and_then(|slice| slice.peek(limbo));
        PathSetId::new(match len {
            0..=ROOT_BITS => self.short(place(addr, 0, len)),
            FIRST_LONG..=BLOCK_BITS => {
                slice()?.heap.get(place(addr, ROOT_BITS, len))?.load(Ordering::Relaxed)
            }
            _ => {
                let number = slice()?.tails.get(slot24(addr))?.load(Ordering::Relaxed);
                let tail = Some(number).filter(|&n| n != 0).and_then(|n| shelf.tail(n, limbo))?;
                *tail.heap.get(place(addr, BLOCK_BITS, len))?
            }
        })
    }

    fn clear(&self, shelf: &mut Shelf, limbo: &Limbo) {
        for (root, slice) in self.root.iter().zip(&self.slices) {
            shelf.give_up(root.load(Ordering::Relaxed), limbo);
            for number in slice.peek(limbo).iter().flat_map(|slice| &slice.tails) {
                let number = number.load(Ordering::Relaxed);
                if number != 0 {
                    shelf.give_up_tail(number, limbo);
                }
            }
        }
    }
}

impl Direct {
    /// From a block's answer to a path set.
    fn resolve(&self, guard: &Guard<'_>, addr: u32, answer: u16) -> Option<PathSetId> {
        if answer >= SLOW {
            return self.resolve_odd(guard, addr, answer);
        }
        let any = self.short(1);
        PathSetId::new(if answer == 0 { any } else { answer })
    }

    #[cold]
    fn resolve_odd(&self, guard: &Guard<'_>, addr: u32, answer: u16) -> Option<PathSetId> {
        if answer == SLOW {
            return self.lookup(guard, addr.into()).next().map(|(_, id)| id);
        }
        let tail = self.blocks.tail(guard, answer & !IN_TAIL)?;
        let best = tail.best.get(addr as usize % ADDRESSES).copied().filter(|&id| id != 0);
        let best = best.unwrap_or_else(|| tail.above.load(Ordering::Acquire));
        PathSetId::new(if best == 0 { self.short(1) } else { best })
    }

    fn short(&self, at: usize) -> u16 {
        self.short.get(at).map_or(0, |id| id.load(Ordering::Acquire))
    }

    /// As `set`, of more than 18 bits.
    fn set_long(&self, addr: u32, len: u8, id: u16, shelf: &mut Shelf, limbo: &Limbo) -> Result<u16, Full> {
        let Some(link) = self.slices.get(slot18(addr)) else { return Ok(0) };
        if link.peek(limbo).is_none() {
            if id == 0 {
                return Ok(0);
            }
            let slice =
                Slice::new_box_zeroed().unwrap_or_else(|_| handle_alloc_error(Layout::new::<Slice>()));
            link.swap(Some(slice), limbo);
        }
        let Some(slice) = link.peek(limbo) else { return Ok(0) };
        let (old, left) = if len > BLOCK_BITS {
            self.set_tail(slice, addr, (len, id), shelf, limbo).inspect_err(|Full| {
                if slice.is_empty() {
                    link.swap(None, limbo);
                }
            })?
        } else {
            let place = slice.heap.get(place(addr, ROOT_BITS, len));
            (place.map_or(0, |entry| entry.swap(id, Ordering::Release)), 0)
        };
        let at = slot18(addr);
        self.rebuild(at, self.covering(at + (1 << ROOT_BITS)), shelf, limbo);
        if left != 0 {
            shelf.give_up_tail(left, limbo);
        }
        if id == 0 && slice.is_empty() {
            link.swap(None, limbo);
        }
        Ok(old)
    }

    /// Changes a tail; the id that was there, and the number of the tail if it is empty now.
    fn set_tail(
        &self,
        slice: &Slice,
        addr: u32,
        (len, id): (u8, u16),
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> Result<(u16, u16), Full> {
        let Some(entry) = slice.tails.get(slot24(addr)) else { return Ok((0, 0)) };
        let number = entry.load(Ordering::Relaxed);
        let at = place(addr, BLOCK_BITS, len);
        let tail = Some(number).filter(|&n| n != 0).and_then(|n| shelf.tail(n, limbo));
        let old = tail.and_then(|tail| tail.heap.get(at)).copied().unwrap_or(0);
        if old == id {
            return Ok((old, 0));
        }
        match Tail::with(tail, at, id) {
            None => {
                entry.store(0, Ordering::Release);
                Ok((old, number))
            }
            Some(tail) => {
                let number = if number != 0 { number } else { shelf.take_tail(limbo).ok_or(Full)? };
                shelf.set_tail(number, tail, limbo);
                entry.store(number, Ordering::Release);
                Ok((old, 0))
            }
        }
    }

    /// What covers an entry of `short`, itself included; 0 if only length 0 does.
    fn covering(&self, at: usize) -> u16 {
        let ids = (0..=ROOT_BITS).map(|up| at >> up).take_while(|&at| at > 1).map(|at| self.short(at));
        ids.into_iter().find(|&id| id != 0).unwrap_or(0)
    }

    /// Rebuilds all blocks under an entry of `short` that get their answer from there.
    fn descend(&self, at: usize, above: u16, shelf: &mut Shelf, limbo: &Limbo) {
        if let Some(slot) = at.checked_sub(1 << ROOT_BITS) {
            return self.rebuild(slot, above, shelf, limbo);
        }
        for child in [2 * at, 2 * at + 1] {
            if self.short(child) == 0 {
                self.descend(child, above, shelf, limbo);
            }
        }
    }

    /// Works out the block of a /18 from its heaps.
    fn rebuild(&self, slot: usize, above: u16, shelf: &mut Shelf, limbo: &Limbo) {
        let Some(root) = self.root.get(slot) else { return };
        let mut answers = [above; ANSWERS];
        if let Some(slice) = self.slices.get(slot).and_then(|slice| slice.peek(limbo)) {
            let heap = |at: usize| slice.heap.get(at).map_or(0, |id| id.load(Ordering::Relaxed));
            let all: [u16; SLICE] = spread(heap, above);
            if let Some((_, leaves)) = all.split_last_chunk::<ANSWERS>() {
                answers = *leaves;
            }
            for (answer, number) in answers.iter_mut().zip(&slice.tails) {
                let number = number.load(Ordering::Relaxed);
                if let Some(tail) = Some(number).filter(|&n| n != 0).and_then(|n| shelf.tail(n, limbo)) {
                    tail.above.store(*answer, Ordering::Release);
                    *answer = IN_TAIL | number;
                }
            }
        }
        let old = root.load(Ordering::Relaxed);
        let new = shelf.block(old, &Shape::new(&answers), limbo);
        root.store(new, Ordering::Release);
    }
}

impl Slice {
    fn is_empty(&self) -> bool {
        self.heap.iter().chain(&self.tails).all(|entry| entry.load(Ordering::Relaxed) == 0)
    }
}

/// The prefixes that hold an address as `(length, path set)`, the longest first.
#[derive(Clone, Debug)]
pub struct Matches<'g> {
    direct: &'g Direct,
    slice: Option<&'g Slice>,
    tail: Option<&'g Tail>,
    addr: u32,
    /// The next length to look at.
    next: Option<u8>,
}

impl Iterator for Matches<'_> {
    type Item = (u8, PathSetId);

    fn next(&mut self) -> Option<(u8, PathSetId)> {
        while let Some(len) = self.next {
            self.next = len.checked_sub(1);
            let id = match len {
                0..=ROOT_BITS => self.direct.short(place(self.addr, 0, len)),
                FIRST_LONG..=BLOCK_BITS => {
                    let entry = self.slice.and_then(|slice| slice.heap.get(place(self.addr, ROOT_BITS, len)));
                    entry.map_or(0, |entry| entry.load(Ordering::Acquire))
                }
                _ => {
                    let at = place(self.addr, BLOCK_BITS, len);
                    self.tail.and_then(|tail| tail.heap.get(at)).copied().unwrap_or(0)
                }
            };
            if let Some(id) = PathSetId::new(id) {
                return Some((len, id));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
