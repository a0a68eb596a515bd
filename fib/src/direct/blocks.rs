//! Where blocks and tails lie, shared by all tables of a family; and the writer's account of the room.
//!
//! A granule is two words of 64 bits. A block takes 1 to 9 of them: its bits, then four answers to a word. Blocks of one
//! answer are shared: there is one for each id, which the writer counts. Called by `direct`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ANSWERS, SLOW, Tail, zeroed};
use crate::publish::{Guard, Limbo, Shared};
use crate::sync::plain::{AtomicU64, Ordering};

/// Words of a granule.
const WORDS: usize = 2;
/// Granules: 64 MiB of addresses, of which only what is used costs memory. A whole Internet table takes 5 MiB.
const GRANULES: u32 = 1 << 22;
/// Tails, as many as an answer can number.
const TAILS: usize = 1 << 15;
/// Answers in a word.
const PACKED: usize = 4;
/// Sizes of blocks, in granules.
const SIZES: usize = 10;

/// What readers see.
#[derive(Debug)]
pub(crate) struct Blocks {
    words: Box<[AtomicU64]>,
    tails: Box<[Shared<Tail>]>,
}

impl Blocks {
    fn new() -> Self {
        let words: Box<[AtomicU64]> = zeroed(GRANULES as usize * WORDS);
        // Granule 0: every /24 has the answer 0.
        if let Some(bits) = words.first() {
            bits.store(1, Ordering::Relaxed);
        }
        Blocks { words, tails: (0..TAILS).map(|_| Shared::empty()).collect() }
    }

    /// The answer of a block for the /24 with this number in its /18.
    pub(super) fn answer(&self, granule: u32, slot: usize) -> u16 {
        let at = granule as usize * WORDS;
        let bits = self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        // Bit 0 is always set, so at least one is counted.
        let rank = ((bits << (63 - slot)).count_ones() as usize).wrapping_sub(1) & (ANSWERS - 1);
        let word = self.words.get(at + 1 + rank / PACKED).map_or(0, |word| word.load(Ordering::Acquire));
        (word >> (rank % PACKED * 16)) as u16
    }

    /// A tail. `None` only for a number that no answer of this batch holds.
    pub(super) fn tail<'g>(&'g self, guard: &'g Guard<'_>, number: u16) -> Option<&'g Tail> {
        self.tails.get(usize::from(number))?.load(guard)
    }
}

/// What a block is to say: where answers begin, and the answers.
pub(super) struct Shape {
    bits: u64,
    answers: [u16; ANSWERS],
    count: usize,
}

impl Shape {
    /// The runs of equal answers.
    pub(super) fn new(all: &[u16; ANSWERS]) -> Shape {
        let mut shape = Shape { bits: 0, answers: [0; ANSWERS], count: 0 };
        let mut last = None;
        for (slot, &answer) in all.iter().enumerate() {
            if last == Some(answer) {
                continue;
            }
            last = Some(answer);
            shape.bits |= 1 << slot;
            if let Some(place) = shape.answers.get_mut(shape.count) {
                *place = answer;
            }
            shape.count += 1;
        }
        shape
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        let answers = self.answers.chunks_exact(PACKED).take(self.count.div_ceil(PACKED));
        answers.map(|four| four.iter().rev().fold(0, |word, &answer| word << 16 | u64::from(answer)))
    }

    fn granules(&self) -> usize {
        (1 + self.count.div_ceil(PACKED)).div_ceil(WORDS)
    }
}

/// The block of one answer: where it is, and how many root slots name it.
#[derive(Clone, Copy, Debug, Default)]
struct Constant {
    granule: u32,
    users: u32,
}

/// The writer's account.
#[derive(Debug)]
pub(crate) struct Shelf {
    blocks: Arc<Blocks>,
    /// Free blocks by size.
    free: [Vec<u32>; SIZES],
    /// The first granule never used. Granule 0 is the block of answer 0, with which every root slot begins.
    next: u32,
    /// Given up in an epoch: (epoch, granule, size). Oldest first.
    waiting: VecDeque<(u64, u32, u8)>,
    constants: Vec<Constant>,
    free_tails: Vec<u16>,
    next_tail: u16,
    waiting_tails: VecDeque<(u64, u16)>,
    /// Granules in use.
    used: u32,
}

impl Shelf {
    pub(crate) fn new(limbo: &Limbo) -> Shelf {
        let mut shelf = Shelf {
            blocks: Arc::new(Blocks::new()),
            free: Default::default(),
            next: 1,
            waiting: VecDeque::new(),
            constants: Vec::new(),
            free_tails: Vec::new(),
            next_tail: 1,
            waiting_tails: VecDeque::new(),
            used: 1,
        };
        // One user for good, so that it is there when there is no room for anything else.
        shelf.constant(SLOW, limbo);
        shelf
    }

    pub(crate) fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// Bytes that lookups may touch.
    pub(crate) fn bytes(&self) -> usize {
        let tails = usize::from(self.next_tail) - self.free_tails.len();
        self.used as usize * WORDS * size_of::<u64>() + tails * size_of::<Tail>()
    }

    /// The block that says this, one more user of it; where there is no room, one that sends lookups to the heaps. `old` is
    /// the block in its place: only its answers are changed if they alone differ, else it is given up.
    pub(super) fn block(&mut self, old: u32, shape: &Shape, limbo: &Limbo) -> u32 {
        if shape.count > 1 && self.bits(old) == shape.bits {
            self.write(old, shape);
            return old;
        }
        let new = match shape.answers {
            [answer, ..] if shape.count == 1 => self.constant(answer, limbo),
            _ => self.take(shape.granules(), limbo).inspect(|&granule| self.write(granule, shape)),
        };
        let new = new.or_else(|| self.constant(SLOW, limbo)).unwrap_or(0);
        self.give_up(old, limbo);
        new
    }

    /// The shared block of one answer.
    fn constant(&mut self, answer: u16, limbo: &Limbo) -> Option<u32> {
        let id = usize::from(answer);
        if id == 0 {
            return Some(0);
        }
        let shape = &Shape::new(&[answer; ANSWERS]);
        if self.constants.len() <= id {
            self.constants.resize(id + 1, Constant::default());
        }
        if self.constants.get(id)?.users == 0 {
            let granule = self.take(1, limbo)?;
            self.write(granule, shape);
            self.constants.get_mut(id)?.granule = granule;
        }
        let constant = self.constants.get_mut(id)?;
        constant.users += 1;
        Some(constant.granule)
    }

    /// A root slot names this block no longer.
    pub(super) fn give_up(&mut self, granule: u32, limbo: &Limbo) {
        if granule == 0 {
            return;
        }
        let bits = self.bits(granule);
        if bits == 1 {
            let answer = self.blocks.answer(granule, 0);
            if let Some(constant) = self.constants.get_mut(usize::from(answer)) {
                constant.users -= 1;
                if constant.users > 0 {
                    return;
                }
            }
        }
        let size = (1 + (bits.count_ones() as usize).div_ceil(PACKED)).div_ceil(WORDS);
        self.used -= size as u32;
        self.waiting.push_back((limbo.epoch(), granule, size as u8));
    }

    fn bits(&self, granule: u32) -> u64 {
        self.blocks.words.get(granule as usize * WORDS).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Answers first, so that a block that readers know shows each address its old or its new answer.
    fn write(&self, granule: u32, shape: &Shape) {
        let at = granule as usize * WORDS;
        let words = self.blocks.words.get(at..).unwrap_or_default();
        for (place, word) in words.iter().skip(1).zip(shape.words()) {
            if place.load(Ordering::Relaxed) != word {
                place.store(word, Ordering::Release);
            }
        }
        if let Some(place) = words.first() {
            place.store(shape.bits, Ordering::Release);
        }
    }

    fn take(&mut self, size: usize, limbo: &Limbo) -> Option<u32> {
        while let Some(&(epoch, granule, size)) = self.waiting.front() {
            if !limbo.passed(epoch) {
                break;
            }
            self.waiting.pop_front();
            self.free.get_mut(usize::from(size))?.push(granule);
        }
        let granule = match self.free.get_mut(size)?.pop() {
            Some(granule) => granule,
            None => self.fresh(size as u32)?,
        };
        self.used += size as u32;
        Some(granule)
    }

    /// Granules never used before; else a larger block, of which the rest goes back.
    fn fresh(&mut self, size: u32) -> Option<u32> {
        if self.next + size <= GRANULES {
            self.next += size;
            return Some(self.next - size);
        }
        let larger = (size as usize + 1..SIZES).find(|&s| self.free.get(s).is_some_and(|f| !f.is_empty()))?;
        let granule = self.free.get_mut(larger)?.pop()?;
        self.free.get_mut(larger - size as usize)?.push(granule + size);
        Some(granule)
    }

    /// A number for a new tail; `None` if all are in use.
    pub(super) fn take_tail(&mut self, limbo: &Limbo) -> Option<u16> {
        while let Some(&(epoch, number)) = self.waiting_tails.front() {
            if !limbo.passed(epoch) {
                break;
            }
            self.waiting_tails.pop_front();
            self.free_tails.push(number);
        }
        self.free_tails.pop().or_else(|| {
            let number = Some(self.next_tail).filter(|&n| usize::from(n) < TAILS)?;
            self.next_tail += 1;
            Some(number)
        })
    }

    /// Publishes a tail under its number.
    pub(super) fn set_tail(&self, number: u16, tail: Box<Tail>, limbo: &Limbo) {
        if let Some(place) = self.blocks.tails.get(usize::from(number)) {
            place.swap(Some(tail), limbo);
        }
    }

    /// The tail with this number, for the writer.
    pub(super) fn tail<'w>(&'w self, number: u16, limbo: &'w Limbo) -> Option<&'w Tail> {
        self.blocks.tails.get(usize::from(number))?.peek(limbo)
    }

    /// No answer names this tail any more.
    pub(super) fn give_up_tail(&mut self, number: u16, limbo: &Limbo) {
        self.waiting_tails.push_back((limbo.epoch(), number));
    }

    /// Granules and tails in use.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> (u32, usize) {
        (self.used, usize::from(self.next_tail) - self.free_tails.len() - self.waiting_tails.len())
    }

    #[cfg(test)]
    pub(super) fn exhaust(&mut self) {
        self.next = GRANULES;
    }

    #[cfg(test)]
    pub(super) fn exhaust_tails(&mut self) {
        self.next_tail = TAILS as u16;
    }
}
