//! Room for the records of the large tables: words that readers load, and the writer's account of which are free.
//!
//! A granule is two words of 64 bits; a record is one or more in a row and is named by the number of its first. Invariant: a
//! record that is given up keeps its words until every reader has passed. Called by `direct` and `stepped`.

use std::alloc::{Layout, handle_alloc_error};
use std::collections::VecDeque;
use std::sync::Arc;

use zerocopy::FromZeros;

use crate::publish::Limbo;
use crate::sync::plain::{AtomicU32, AtomicU64, Ordering};

/// Words of a granule.
pub(crate) const WORDS: usize = 2;
/// Granules: 64 MiB of addresses, of which only what is used costs memory. An Internet table takes a tenth.
const GRANULES: u32 = 1 << 22;

/// Zeroed memory, which the system only provides where it is touched.
pub(crate) fn zeroed<T: FromZeros>(len: usize) -> Box<[T]> {
    <[T]>::new_box_zeroed_with_elems(len).unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()))
}

/// Bytes of the pages of a root that hold anything but zeroes.
pub(crate) fn touched(root: &[AtomicU32]) -> usize {
    const PAGE: usize = 4096;
    let pages = root.chunks(PAGE / size_of::<AtomicU32>());
    pages.filter(|page| page.iter().any(|entry| entry.load(Ordering::Relaxed) != 0)).count() * PAGE
}

/// The published half.
#[derive(Debug)]
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    /// Word `at` of a record. 0 beyond the end, where no record lies.
    pub(crate) fn get(&self, granule: u32, at: usize) -> u64 {
        self.0.get(granule as usize * WORDS + at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Changes word `at` of a record, for the writer.
    pub(crate) fn set(&self, granule: u32, at: usize, value: u64) {
        if let Some(word) = self.0.get(granule as usize * WORDS + at)
            && word.load(Ordering::Relaxed) != value
        {
            word.store(value, Ordering::Release);
        }
    }
}

/// The writer's account.
#[derive(Debug)]
pub struct Granules {
    words: Arc<Words>,
    /// Free records by size.
    free: Vec<Vec<u32>>,
    /// The first granule never used.
    next: u32,
    /// Given up in an epoch: (epoch, granule, size). Oldest first.
    waiting: VecDeque<(u64, u32, u16)>,
    used: u32,
}

impl Granules {
    /// Room for records of up to `largest` granules.
    pub(crate) fn new(largest: usize) -> Granules {
        Granules {
            words: Arc::new(Words(zeroed(GRANULES as usize * WORDS))),
            free: vec![Vec::new(); largest + 1],
            next: 0,
            waiting: VecDeque::new(),
            used: 0,
        }
    }

    /// What readers load.
    pub(crate) fn words(&self) -> &Arc<Words> {
        &self.words
    }

    /// Granules in use.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// A record of `size` granules; `None` if there is no room.
    pub(crate) fn take(&mut self, size: usize, limbo: &Limbo) -> Option<u32> {
        while let Some(&(epoch, granule, size)) = self.waiting.front() {
            if !limbo.passed(epoch) {
                break;
            }
            self.waiting.pop_front();
            self.free.get_mut(usize::from(size))?.push(granule);
        }
        let granule = match self.free.get_mut(size)?.pop() {
            Some(granule) => granule,
            None => self.fresh(size)?,
        };
        self.used += size as u32;
        Some(granule)
    }

    /// Granules never used before; else a larger record, of which the rest goes back.
    fn fresh(&mut self, size: usize) -> Option<u32> {
        if self.next + size as u32 <= GRANULES {
            self.next += size as u32;
            return Some(self.next - size as u32);
        }
        let larger =
            (size + 1..self.free.len()).find(|&s| self.free.get(s).is_some_and(|f| !f.is_empty()))?;
        let granule = self.free.get_mut(larger)?.pop()?;
        self.free.get_mut(larger - size)?.push(granule + size as u32);
        Some(granule)
    }

    /// Gives a record up, which nothing names any more.
    pub(crate) fn give_up(&mut self, granule: u32, size: usize, limbo: &Limbo) {
        self.used -= size as u32;
        self.waiting.push_back((limbo.epoch(), granule, size as u16));
    }

    /// Leaves no room.
    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) {
        self.next = GRANULES;
    }
}
