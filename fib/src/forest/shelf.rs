//! The writer's account of lines and tails, which all IPv6 tables share.

use std::sync::Arc;

use super::image::{CHILDREN, Image};
use super::{Entry, Ground, IN_TAIL, SLOW};
use crate::granules::{Granules, LINE, WORDS, zeroed};
use crate::numbers::Numbers;
use crate::publish::Limbo;
use crate::sync::plain::Ordering;

/// Tails, as many as an answer can number.
const TAILS: usize = IN_TAIL as usize;
/// Granules of a line.
const GRANULES: usize = LINE / WORDS;

/// The account.
#[derive(Debug)]
pub struct Shelf {
    ground: Arc<Ground>,
    granules: Granules,
    tails: Numbers,
}

impl Shelf {
    pub(crate) fn new() -> Shelf {
        let granules = Granules::new(CHILDREN * GRANULES);
        let ground = Arc::new(Ground { words: Arc::clone(granules.words()), tails: zeroed(TAILS) });
        Shelf { ground, granules, tails: Numbers::new(0..IN_TAIL) }
    }

    pub(super) fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Bytes that lookups may touch, roots aside.
    pub(crate) fn bytes(&self) -> usize {
        let lines = self.granules.used() as usize * WORDS * size_of::<u64>();
        lines + self.tails.used() * size_of::<Entry>()
    }

    /// So many lines in a row; `None` if there is no room.
    pub(super) fn take(&mut self, lines: usize, limbo: &Limbo) -> Option<u32> {
        self.granules.take(lines * GRANULES, limbo).map(|granule| granule / GRANULES as u32)
    }

    pub(super) fn give_up(&mut self, line: u32, lines: usize, limbo: &Limbo) {
        self.granules.give_up(line * GRANULES as u32, lines * GRANULES, limbo);
    }

    /// Fills a line that no reader can name yet.
    pub(super) fn write(&self, line: u32, image: &Image) {
        for (at, word) in image.words().into_iter().enumerate() {
            self.granules.words().set(line * GRANULES as u32, at, word);
        }
    }

    /// A number for a new tail; `None` if all are in use.
    pub(super) fn take_tail(&mut self, limbo: &Limbo) -> Option<u16> {
        self.tails.take(limbo)
    }

    pub(super) fn set_tail(&self, number: u16, entry: Entry) {
        if let Some(tail) = self.ground.tails.get(usize::from(number)) {
            tail.store(entry.0, Ordering::Release);
        }
    }

    /// No answer names this tail any more.
    pub(super) fn give_up_tail(&mut self, number: u16, limbo: &Limbo) {
        self.tails.give_up(number, limbo);
    }

    /// The entry with something else above it.
    pub(super) fn put_under(&mut self, entry: Entry, above: u16, limbo: &Limbo) -> Entry {
        if entry == Entry(SLOW.into()) {
            return entry;
        }
        if !entry.is_tree() {
            return Entry(above.into());
        }
        let mut image = Image::read(&self.ground, entry.line());
        if image.above() == above {
            return entry;
        }
        image.set_above(above);
        let Some(line) = self.take(1, limbo) else {
            self.fell(entry, limbo);
            return Entry(SLOW.into());
        };
        self.write(line, &image);
        self.give_up(entry.line(), 1, limbo);
        Entry::tree(entry.level(), line)
    }

    /// Gives back a tree, and all that its tails name.
    pub(super) fn fell(&mut self, entry: Entry, limbo: &Limbo) {
        if entry.is_tree() {
            self.fell_below(entry.line(), entry.level(), limbo);
            self.give_up(entry.line(), 1, limbo);
        }
    }

    fn fell_below(&mut self, line: u32, level: u32, limbo: &Limbo) {
        let image = Image::read(&self.ground, line);
        if level == 1 {
            let tails: Vec<u16> = image
                .pieces(u32::MAX)
                .map(|piece| piece.answer)
                .filter(|answer| answer & IN_TAIL != 0)
                .collect();
            for tail in tails {
                self.fell(self.ground.tail(tail), limbo);
                self.give_up_tail(tail & !IN_TAIL, limbo);
            }
            return;
        }
        let children: Vec<u32> = image.children(u32::MAX).map(|(child, _)| child).collect();
        for &child in &children {
            self.fell_below(child, level - 1, limbo);
        }
        self.give_up(children.first().copied().unwrap_or(0), children.len(), limbo);
    }

    /// Leaves no room.
    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) {
        self.granules.exhaust();
    }

    /// Leaves no numbers for tails; those that were left come back.
    #[cfg(test)]
    pub(crate) fn exhaust_tails(&mut self) -> std::ops::Range<u16> {
        self.tails.exhaust()
    }

    #[cfg(test)]
    pub(crate) fn restore_tails(&mut self, left: std::ops::Range<u16>) {
        self.tails.restore(left);
    }
}
