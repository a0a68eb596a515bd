//! How a tree takes a patch: new lines for all that changes on the way down, and for what has run full or thin.
//!
//! A subtree that has no room for its intervals hands them to the one above, which is made anew with room to spare if it has
//! room for them all, else hands on in its turn; what is left with next to nothing is put together with those beside it.

use std::ops::RangeInclusive;

use super::image::{CHILDREN, Image, PIECES, Piece, push};
use super::shelf::Shelf;
use super::{Entry, SLOW};
use crate::publish::Limbo;

/// Intervals that a new leaf gets, so that there is room for more.
const LEAF_FILL: usize = 9;
/// Children that a new branch gets.
const BRANCH_FILL: usize = 13;

/// Intervals that a new tree of a level gets.
fn fill(level: u32) -> usize {
    LEAF_FILL * BRANCH_FILL.pow(level - 1)
}

/// Intervals that fit into a tree of a level when it is made anew.
fn room(level: u32) -> usize {
    if level == 1 { PIECES } else { CHILDREN * fill(level - 1) }
}

/// Whether a subtree has so little left that it is put together with those beside it.
fn is_thin(image: &Image, level: u32) -> bool {
    if level == 1 { image.pieces(0).count() <= 2 } else { image.children(0).count() == 1 }
}

/// What is to be put in the place of what a range of numbers says.
pub(super) struct Patch<'a> {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) pieces: &'a [Piece],
}

impl Patch<'_> {
    /// Intervals that begin at `floor`, with the patch.
    fn apply(&self, floor: u32, old: &[Piece]) -> Vec<Piece> {
        let mut new = Vec::with_capacity(old.len() + self.pieces.len() + 2);
        for piece in old.iter().filter(|piece| piece.end < self.first) {
            push(&mut new, *piece);
        }
        let begun = new.last().map_or(floor, |last: &Piece| last.end.wrapping_add(1));
        if begun < self.first
            && let Some(cut) = old.iter().find(|piece| piece.end >= self.first)
        {
            push(&mut new, Piece { end: self.first - 1, ..*cut });
        }
        self.pieces.iter().for_each(|piece| push(&mut new, *piece));
        for piece in old.iter().filter(|piece| piece.end > self.last) {
            push(&mut new, *piece);
        }
        new
    }
}

/// A subtree after a change: its first line, to be written by the caller; or the intervals for which that had no room.
enum Changed {
    Line(Image),
    Pieces(Vec<Piece>),
}

/// Lines that a change has taken and no longer needs.
struct Change<'a> {
    shelf: &'a mut Shelf,
    limbo: &'a Limbo,
    taken: Vec<(u32, usize)>,
    dropped: Vec<(u32, usize)>,
    /// There was no room: nothing of it counts.
    full: bool,
}

impl Shelf {
    /// The entry with a patch. Where there is no room, the one that sends lookups to the trie.
    pub(super) fn graft(&mut self, entry: Entry, above: u16, patch: &Patch<'_>, limbo: &Limbo) -> Entry {
        let mut change = Change { shelf: self, limbo, taken: Vec::new(), dropped: Vec::new(), full: false };
        let new = change.graft(entry, above, patch);
        let Change { taken, dropped, full, .. } = change;
        let stale = if full { taken } else { dropped };
        stale.into_iter().for_each(|(line, lines)| self.give_up(line, lines, limbo));
        if full {
            self.fell(entry, limbo);
            return Entry(SLOW.into());
        }
        new
    }
}

impl Change<'_> {
    fn graft(&mut self, entry: Entry, above: u16, patch: &Patch<'_>) -> Entry {
        if !entry.is_tree() {
            let all = patch.apply(0, &[Piece { end: u32::MAX, answer: 0 }]);
            return self.plant(&all, above);
        }
        self.dropped.push((entry.line(), 1));
        match self.change(entry.line(), entry.level(), 0..=u32::MAX, patch) {
            Changed::Pieces(all) => self.plant(&all, above),
            Changed::Line(image) if entry.level() > 1 && image.children(0).count() == 1 => {
                let mut all = Vec::new();
                self.uproot_image(&image, entry.level(), u32::MAX, &mut all);
                self.plant(&all, above)
            }
            Changed::Line(mut image) => {
                if entry.level() == 1 && image.pieces(0).map(|piece| piece.answer).eq([0]) {
                    return Entry(above.into());
                }
                image.set_above(above);
                let line = self.take(1);
                self.shelf.write(line, &image);
                Entry::tree(entry.level(), line)
            }
        }
    }

    /// A new tree of these intervals, or none.
    fn plant(&mut self, all: &[Piece], above: u16) -> Entry {
        if matches!(all, [Piece { answer: 0, .. }]) {
            return Entry(above.into());
        }
        let level = (1..8).find(|&level| all.len() <= room(level)).unwrap_or(8);
        let mut image = self.build(level, all);
        image.set_above(above);
        let line = self.take(1);
        self.shelf.write(line, &image);
        Entry::tree(level, line)
    }

    /// The first line of a new subtree, the others of which are written.
    fn build(&mut self, level: u32, pieces: &[Piece]) -> Image {
        if level == 1 {
            return Image::leaf(pieces);
        }
        let children = pieces.len().div_ceil(fill(level - 1)).clamp(1, CHILDREN);
        let first = self.take(children);
        let mut ends = Vec::with_capacity(children);
        for (line, child) in (first..).zip(0..children) {
            let part = pieces.len() * child / children..pieces.len() * (child + 1) / children;
            let part = pieces.get(part).unwrap_or_default();
            let image = self.build(level - 1, part);
            self.shelf.write(line, &image);
            ends.push(part.last().map_or(u32::MAX, |piece| piece.end));
        }
        Image::branch(&ends, first)
    }

    /// Applies a patch to a subtree over a range of numbers. All lines below its first that are no longer needed are
    /// dropped; the first is the caller's.
    fn change(&mut self, line: u32, level: u32, range: RangeInclusive<u32>, patch: &Patch<'_>) -> Changed {
        let image = Image::read(self.shelf.ground(), line);
        let (floor, bound) = (*range.start(), *range.end());
        if level > 1 {
            let children: Vec<(u32, u32)> = image.children(bound).collect();
            let at = |number: u32| children.iter().position(|&(_, end)| end >= number).unwrap_or(0);
            if at(patch.first) == at(patch.last) {
                return self.change_child(image, level, (floor, &children), at(patch.first), patch);
            }
        }
        let mut all = Vec::new();
        self.uproot_image(&image, level, bound, &mut all);
        self.settle(level, patch.apply(floor, &all))
    }

    /// As `change`, where one child alone changes.
    fn change_child(
        &mut self,
        mut image: Image,
        level: u32,
        (floor, children): (u32, &[(u32, u32)]),
        at: usize,
        patch: &Patch<'_>,
    ) -> Changed {
        let Some(&(child, end)) = children.get(at) else { return Changed::Line(image) };
        let before = at.checked_sub(1).and_then(|at| children.get(at));
        let start = before.map_or(floor, |(_, end)| end.wrapping_add(1));
        let first = children.first().map_or(0, |(child, _)| *child);
        let changed = self.change(child, level - 1, start..=end, patch);
        self.dropped.push((first, children.len()));
        let below = match changed {
            Changed::Line(new) if children.len() == 1 || !is_thin(&new, level - 1) => {
                let copy = self.take(children.len());
                for (to, &(from, _)) in (copy..).zip(children) {
                    let image = if from == child { new } else { Image::read(self.shelf.ground(), from) };
                    self.shelf.write(to, &image);
                }
                image.set_first(copy);
                return Changed::Line(image);
            }
            Changed::Line(new) => {
                let mut below = Vec::new();
                self.uproot_image(&new, level - 1, end, &mut below);
                below
            }
            Changed::Pieces(below) => below,
        };
        let mut all = Vec::new();
        for &(other, end) in children {
            if other == child {
                below.iter().for_each(|piece| push(&mut all, *piece));
            } else {
                let image = Image::read(self.shelf.ground(), other);
                self.uproot_image(&image, level - 1, end, &mut all);
            }
        }
        self.settle(level, all)
    }

    /// These intervals in place of a subtree, if they fit.
    fn settle(&mut self, level: u32, all: Vec<Piece>) -> Changed {
        if all.len() > room(level) {
            return Changed::Pieces(all);
        }
        Changed::Line(self.build(level, &all))
    }

    /// Takes the intervals out of a subtree and drops all its lines but the first, of which this is the image.
    fn uproot_image(&mut self, image: &Image, level: u32, bound: u32, out: &mut Vec<Piece>) {
        if level == 1 {
            image.pieces(bound).for_each(|piece| push(out, piece));
            return;
        }
        let children: Vec<(u32, u32)> = image.children(bound).collect();
        for &(child, end) in &children {
            let image = Image::read(self.shelf.ground(), child);
            self.uproot_image(&image, level - 1, end, out);
        }
        self.dropped.push((children.first().map_or(0, |(child, _)| *child), children.len()));
    }

    /// New lines; some number if there is no room.
    fn take(&mut self, lines: usize) -> u32 {
        let Some(line) = self.shelf.take(lines, self.limbo) else {
            self.full = true;
            return u32::MAX >> 4;
        };
        self.taken.push((line, lines));
        line
    }
}
