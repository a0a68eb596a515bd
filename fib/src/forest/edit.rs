//! How an update changes the trees: what a range of numbers answers is worked out from the trie, and put into the tree by
//! new lines for all that changes.

use super::image::{CHILDREN, Image, PIECES, Piece};
use super::shelf::Shelf;
use super::{Entry, Forest, Ground, IN_TAIL, ROOT_BITS, SLOW, last_number, number, stage_bits};
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::publish::Limbo;
use crate::sync::plain::Ordering;
use std::net::Ipv6Addr;

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

/// Appends an interval, as part of the last one where both say the same.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.answer == piece.answer => last.end = piece.end,
        _ => pieces.push(piece),
    }
}

/// What is to be put in the place of what a range of numbers says.
struct Patch<'a> {
    first: u32,
    last: u32,
    pieces: &'a [Piece],
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

impl Forest {
    /// Tells all trees under a prefix of 1 to 24 bits what they lie under, and all other slots what they answer.
    pub(super) fn set_short(&self, prefix: Prefix<Ipv6Addr>, shelf: &mut Shelf, limbo: &Limbo) {
        let first = (prefix.addr().key() >> (128 - ROOT_BITS)) as usize;
        for slot in first..first + (1 << (ROOT_BITS - prefix.len())) {
            let key = (slot as u128) << (128 - ROOT_BITS);
            let above = self.trie.best(key, 0..ROOT_BITS, limbo);
            let Some(root) = self.root.get(slot) else { return };
            let entry = Entry(root.load(Ordering::Relaxed));
            let new = shelf.put_under(entry, above, limbo);
            if new != entry {
                root.store(new.0, Ordering::Release);
            }
        }
    }

    /// Works out the tree under the slot of a prefix of more than 24 bits.
    pub(super) fn set_long(&self, prefix: Prefix<Ipv6Addr>, shelf: &mut Shelf, limbo: &Limbo) {
        let key = prefix.addr().key();
        let Some(root) = self.root.get((key >> (128 - ROOT_BITS)) as usize) else { return };
        let above = self.trie.best(key, 0..ROOT_BITS, limbo);
        let entry = Entry(root.load(Ordering::Relaxed));
        let new = self.update(0, entry, prefix, above, shelf, limbo);
        if new != entry {
            root.store(new.0, Ordering::Release);
        }
    }

    /// The entry of a stage once a prefix that ends there or behind has come or gone.
    fn update(
        &self,
        stage: u8,
        entry: Entry,
        prefix: Prefix<Ipv6Addr>,
        above: u16,
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> Entry {
        if entry == Entry(SLOW.into()) {
            return entry;
        }
        let (key, bits) = (prefix.addr().key(), stage_bits(stage));
        let first = number(key, stage);
        let mut old = Vec::new();
        let (last, new) = if prefix.len() > bits.end {
            collect(&self.ground, entry, first..=first, &mut old);
            let own = self.trie.best(key, bits, limbo);
            let was = old.first().map_or(0, |piece| piece.answer);
            (first, vec![Piece { end: first, answer: self.update_tail(stage, was, prefix, own, shelf, limbo) }])
        } else {
            let last = last_number(key | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0), stage);
            collect(&self.ground, entry, first..=last, &mut old);
            (last, self.pieces(stage, prefix, &old, shelf, limbo))
        };
        if new == old {
            return entry;
        }
        shelf.graft(entry, above, &Patch { first, last, pieces: &new }, limbo)
    }

    /// What the numbers of a prefix answer: what the trie says, but where they have tails, or no room for one.
    fn pieces(
        &self,
        stage: u8,
        prefix: Prefix<Ipv6Addr>,
        old: &[Piece],
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> Vec<Piece> {
        let mut new = Vec::with_capacity(old.len() + 2);
        let mut start = number(prefix.addr().key(), stage);
        let mut odd = old.iter().scan(start, |next, piece| {
            let from = std::mem::replace(next, piece.end.wrapping_add(1));
            Some((from, piece))
        });
        let mut odd = odd.by_ref().filter(|(_, piece)| piece.answer >= SLOW).peekable();
        for (last, own) in self.trie.runs(prefix, stage_bits(stage), limbo) {
            let end = last_number(last, stage);
            while let Some(&(from, piece)) = odd.peek().filter(|(from, _)| *from <= end) {
                if start < from {
                    push(&mut new, Piece { end: from - 1, answer: own });
                }
                if piece.answer != SLOW {
                    let under = shelf.put_under(self.ground.tail(piece.answer), own, limbo);
                    shelf.set_tail(piece.answer & !IN_TAIL, under);
                }
                push(&mut new, Piece { end: piece.end.min(end), ..*piece });
                start = piece.end.min(end).wrapping_add(1);
                if piece.end > end {
                    break;
                }
                odd.next();
            }
            if new.last().is_none_or(|piece| piece.end != end) {
                push(&mut new, Piece { end, answer: own });
            }
            start = end.wrapping_add(1);
        }
        new
    }

    /// What is to be answered where a prefix goes on behind the numbers of a stage, and `answer` is what was.
    fn update_tail(
        &self,
        stage: u8,
        answer: u16,
        prefix: Prefix<Ipv6Addr>,
        own: u16,
        shelf: &mut Shelf,
        limbo: &Limbo,
    ) -> u16 {
        let tail = Some(answer & !IN_TAIL).filter(|_| answer & IN_TAIL != 0);
        let entry = tail.map_or(Entry(own.into()), |_| self.ground.tail(answer));
        let new = self.update(stage + 1, entry, prefix, own, shelf, limbo);
        if !new.is_tree() {
            if let Some(tail) = tail {
                shelf.give_up_tail(tail, limbo);
            }
            return new.answer();
        }
        let Some(tail) = tail.or_else(|| shelf.take_tail(limbo)) else {
            shelf.fell(new, limbo);
            return SLOW;
        };
        shelf.set_tail(tail, new);
        IN_TAIL | tail
    }
}

/// The intervals of an entry within a range, cut at its end.
fn collect(ground: &Ground, entry: Entry, range: std::ops::RangeInclusive<u32>, out: &mut Vec<Piece>) {
    if entry.is_tree() {
        collect_below(ground, entry.line(), entry.level(), u32::MAX, &range, out);
    } else {
        out.push(Piece { end: *range.end(), answer: 0 });
    }
}

fn collect_below(
    ground: &Ground,
    line: u32,
    level: u32,
    bound: u32,
    range: &std::ops::RangeInclusive<u32>,
    out: &mut Vec<Piece>,
) {
    let image = Image::read(ground, line);
    let done = |end: u32| end >= *range.end();
    if level == 1 {
        for piece in image.pieces(bound).filter(|piece| piece.end >= *range.start()) {
            out.push(Piece { end: piece.end.min(*range.end()), ..piece });
            if done(piece.end) {
                return;
            }
        }
    } else {
        for (child, end) in image.children(bound).filter(|(_, end)| end >= range.start()) {
            collect_below(ground, child, level - 1, end, range, out);
            if done(end) {
                return;
            }
        }
    }
}

impl Shelf {
    /// The entry with something else above it.
    fn put_under(&mut self, entry: Entry, above: u16, limbo: &Limbo) -> Entry {
        if entry == Entry(SLOW.into()) {
            return entry;
        }
        if !entry.is_tree() {
            return Entry(above.into());
        }
        let mut image = Image::read(self.ground(), entry.line());
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

    /// The entry with a patch. Where there is no room, the one that sends lookups to the trie.
    fn graft(&mut self, entry: Entry, above: u16, patch: &Patch<'_>, limbo: &Limbo) -> Entry {
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
    fn change(
        &mut self,
        line: u32,
        level: u32,
        range: std::ops::RangeInclusive<u32>,
        patch: &Patch<'_>,
    ) -> Changed {
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
