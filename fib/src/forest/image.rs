//! Lines as they are written, and how readers take them apart.
//!
//! Sixteen words of 32 bits, the lower half of each 64 first. A leaf: 10 ends, 11 answers of 16 bits. A branch: 14 ends, the
//! number of the first child. Both: in the last 16 bits what the tree lies under, which only its first line tells. Ends that
//! are not needed are the highest number, which is smaller than none.

use super::Ground;
use crate::granules::{LINE, Line};

/// Ends of a leaf: its last interval ends where it does.
pub(super) const ENDS: usize = 10;
/// Intervals of a leaf.
pub(super) const PIECES: usize = ENDS + 1;
/// Ends of a branch.
pub(super) const CHILD_ENDS: usize = 14;
/// Children of a branch.
pub(super) const CHILDREN: usize = CHILD_ENDS + 1;
/// Words of 32 bits.
const WORDS: usize = 16;
/// Where the answers begin, in halves of such words.
const ANSWERS: usize = 2 * ENDS;

/// An interval: it begins behind the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) end: u32,
    pub(super) answer: u16,
}

/// Appends an interval, as part of the last one where both say the same.
pub(super) fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.answer == piece.answer => last.end = piece.end,
        _ => pieces.push(piece),
    }
}

/// The answer of a leaf where so many of its ends are smaller.
#[inline(always)]
pub(super) fn answer(line: Line<'_>, rank: u32) -> u16 {
    let at = ANSWERS + rank as usize;
    (line.word(at / 4) >> (at % 4 * 16)) as u16
}

/// The child of a branch where so many of its ends are smaller.
#[inline(always)]
pub(super) fn child(line: Line<'_>, rank: u32) -> u32 {
    (line.word(7) as u32).wrapping_add(rank)
}

/// What the tree lies under, of which this is the first line.
#[inline(always)]
pub(super) fn above(line: Line<'_>) -> u16 {
    (line.word(7) >> 48) as u16
}

/// A line for the writer to work on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image([u32; WORDS]);

impl Image {
    /// A line as it stands.
    pub(super) fn read(ground: &Ground, line: u32) -> Image {
        let line = ground.lines().get(line);
        let half = |at: usize| (line.word(at / 2) >> (at % 2 * 32)) as u32;
        Image(std::array::from_fn(half))
    }

    /// A leaf of 1 to 11 intervals.
    pub(super) fn leaf(pieces: &[Piece]) -> Image {
        let mut words = [0; WORDS];
        let (ends, answers) = words.split_at_mut(ENDS);
        ends.fill(u32::MAX);
        for (end, piece) in ends.iter_mut().zip(pieces.split_last().map_or(pieces, |(_, rest)| rest)) {
            *end = piece.end;
        }
        for (word, two) in answers.iter_mut().zip(pieces.chunks(2)) {
            *word = two.iter().rev().fold(0, |word, piece| word << 16 | u32::from(piece.answer));
        }
        Image(words)
    }

    /// A branch whose children, of which the first is `first`, end at these.
    pub(super) fn branch(ends: &[u32], first: u32) -> Image {
        let mut words = [u32::MAX; WORDS];
        for (word, end) in words.iter_mut().zip(ends.split_last().map_or(ends, |(_, rest)| rest)) {
            *word = *end;
        }
        let mut image = Image(words);
        image.set_first(first);
        image.set_above(0);
        image
    }

    pub(super) fn set_first(&mut self, line: u32) {
        self.0[CHILD_ENDS] = line;
    }

    pub(super) fn set_above(&mut self, above: u16) {
        let last = &mut self.0[WORDS - 1];
        *last = *last & 0xffff | u32::from(above) << 16;
    }

    pub(super) fn above(&self) -> u16 {
        (self.0[WORDS - 1] >> 16) as u16
    }

    pub(super) fn words(&self) -> [u64; LINE] {
        std::array::from_fn(|at| {
            let half = |at: usize| u64::from(self.0.get(at).copied().unwrap_or(0));
            half(2 * at) | half(2 * at + 1) << 32
        })
    }

    /// The intervals of a leaf that ends at `bound`.
    pub(super) fn pieces(&self, bound: u32) -> impl Iterator<Item = Piece> + '_ {
        let answer = |at: usize| (self.0.get(ENDS + at / 2).map_or(0, |word| word >> (at % 2 * 16))) as u16;
        let ends = ends(&self.0[..ENDS], bound);
        ends.enumerate().map(move |(at, end)| Piece { end, answer: answer(at) })
    }

    /// The children of a branch that ends at `bound`, each with its end.
    pub(super) fn children(&self, bound: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        (self.0[CHILD_ENDS]..).zip(ends(&self.0[..CHILD_ENDS], bound))
    }
}

/// The ends in use, and the last.
fn ends(ends: &[u32], bound: u32) -> impl Iterator<Item = u32> + '_ {
    ends.iter().copied().take_while(|&end| end != u32::MAX).chain([bound])
}
