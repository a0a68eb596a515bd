//! What an update changes: the answers of a range of numbers, worked out from the trie. `graft` puts them into the tree.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use super::graft::Patch;
use super::image::{Image, Piece, push};
use super::shelf::Shelf;
use super::{Entry, Forest, Ground, IN_TAIL, ROOT_BITS, SLOW, last_number, number, stage_bits};
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::publish::Limbo;
use crate::sync::plain::Ordering;

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
            let answer = match old.first().map_or(0, |piece| piece.answer) {
                // The trie alone knows what else is behind these numbers.
                SLOW => SLOW,
                was => self.update_tail(stage, was, prefix, own, shelf, limbo),
            };
            (first, vec![Piece { end: first, answer }])
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
fn collect(ground: &Ground, entry: Entry, range: RangeInclusive<u32>, out: &mut Vec<Piece>) {
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
    range: &RangeInclusive<u32>,
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
