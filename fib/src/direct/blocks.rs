//! Blocks and tails, shared by all IPv4 tables; and the writer's account of them.
//!
//! A block is a record of 1 to 9 granules: its bits, then four answers to a word. Blocks of one answer are shared: there is
//! one for each id, which the writer counts. Called by `direct`.

use std::sync::Arc;

use super::{ANSWERS, SLOW, Tail};
use crate::granules::{Granules, WORDS, Words};
use crate::numbers::Numbers;
use crate::publish::{Guard, Limbo, Shared};

/// Tails, as many as an answer can number.
const TAILS: usize = 1 << 15;
/// Answers in a word.
const PACKED: usize = 4;
/// Granules of the largest block.
const LARGEST: usize = (1 + ANSWERS / PACKED).div_ceil(WORDS);

/// What readers see.
#[derive(Debug)]
pub(crate) struct Blocks {
    words: Arc<Words>,
    tails: Box<[Shared<Tail>]>,
}

impl Blocks {
    /// The answer of a block for the /24 with this number in its /18.
    pub(super) fn answer(&self, block: u32, slot: usize) -> u16 {
        // Bit 0 is always set, so at least one is counted.
        let bits = self.words.get(block, 0) << (63 - slot);
        let rank = (bits.count_ones() as usize).wrapping_sub(1) % ANSWERS;
        (self.words.get(block, 1 + rank / PACKED) >> (rank % PACKED * 16)) as u16
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
}

/// Granules of a block of so many answers.
fn granules(answers: usize) -> usize {
    (1 + answers.div_ceil(PACKED)).div_ceil(WORDS)
}

/// The block of one answer: where it is, and how many root slots name it.
#[derive(Clone, Copy, Debug, Default)]
struct Constant {
    granule: u32,
    users: u32,
}

/// The writer's account.
#[derive(Debug)]
pub struct Shelf {
    blocks: Arc<Blocks>,
    granules: Granules,
    constants: Vec<Constant>,
    /// Of tails: 0 is none.
    numbers: Numbers,
}

impl Shelf {
    pub(crate) fn new(limbo: &Limbo) -> Shelf {
        let granules = Granules::new(LARGEST);
        let tails = (0..TAILS).map(|_| Shared::empty()).collect();
        let blocks = Arc::new(Blocks { words: Arc::clone(granules.words()), tails });
        let mut shelf =
            Shelf { blocks, granules, constants: Vec::new(), numbers: Numbers::new(1..TAILS as u16) };
        // Block 0, with which every root slot begins, has the answer 0. The other is there when there is no room for more.
        shelf.constant(0, limbo);
        shelf.constant(SLOW, limbo);
        shelf
    }

    pub(crate) fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// Bytes that lookups may touch, roots aside.
    pub(crate) fn bytes(&self) -> usize {
        self.granules.used() as usize * WORDS * size_of::<u64>() + self.numbers.used() * size_of::<Tail>()
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
            _ => self
                .granules
                .take(granules(shape.count), limbo)
                .inspect(|&granule| self.write(granule, shape)),
        };
        let new = new.or_else(|| self.constant(SLOW, limbo)).unwrap_or(0);
        self.give_up(old, limbo);
        new
    }

    /// The shared block of one answer.
    fn constant(&mut self, answer: u16, limbo: &Limbo) -> Option<u32> {
        let id = usize::from(answer);
        if self.constants.len() <= id {
            self.constants.resize(id + 1, Constant::default());
        }
        if self.constants.get(id)?.users == 0 {
            let granule = self.granules.take(1, limbo)?;
            self.write(granule, &Shape::new(&[answer; ANSWERS]));
            self.constants.get_mut(id)?.granule = granule;
        }
        let constant = self.constants.get_mut(id)?;
        constant.users += 1;
        Some(constant.granule)
    }

    /// A root slot names this block no longer.
    pub(super) fn give_up(&mut self, block: u32, limbo: &Limbo) {
        if block == 0 {
            return;
        }
        let bits = self.bits(block);
        if bits == 1
            && let Some(constant) = self.constants.get_mut(usize::from(self.blocks.answer(block, 0)))
        {
            constant.users -= 1;
            if constant.users > 0 {
                return;
            }
        }
        self.granules.give_up(block, granules(bits.count_ones() as usize), limbo);
    }

    fn bits(&self, block: u32) -> u64 {
        self.granules.words().get(block, 0)
    }

    /// Answers first, so that a block that readers know shows each address its old or its new answer.
    fn write(&self, block: u32, shape: &Shape) {
        for (at, word) in (1..).zip(shape.words()) {
            self.granules.words().set(block, at, word);
        }
        self.granules.words().set(block, 0, shape.bits);
    }

    /// A number for a new tail; `None` if all are in use.
    pub(super) fn take_tail(&mut self, limbo: &Limbo) -> Option<u16> {
        self.numbers.take(limbo)
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
        self.numbers.give_up(number, limbo);
    }

    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) {
        self.granules.exhaust();
    }

    #[cfg(test)]
    pub(crate) fn exhaust_tails(&mut self) {
        self.numbers.exhaust();
    }
}
