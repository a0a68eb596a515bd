//! Room for the records of the large tables: words that readers load, and the writer's account of which are free.
//!
//! A granule is two words of 64 bits; a record is one or more in a row and is named by the number of its first. Invariant: a
//! record that is given up keeps its words until every reader has passed. Called by `direct` and `forest`.

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

/// Words of a line of the processor's cache.
pub(crate) const LINE: usize = 8;

/// The published half. Its first word that counts begins a line of the cache.
#[derive(Debug)]
pub(crate) struct Words {
    words: Box<[AtomicU64]>,
    skew: usize,
}

/// Eight words that lie in one line of the cache, and never change while a reader can name them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a>(&'a [AtomicU64; LINE]);

/// All lines, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<'a>(&'a [[AtomicU64; LINE]]);

/// What stands beyond the end, where no record lies.
static NOTHING: [AtomicU64; LINE] = [const { AtomicU64::new(0) }; LINE];

impl<'a> Lines<'a> {
    #[inline(always)]
    pub(crate) fn get(self, number: u32) -> Line<'a> {
        Line(self.0.get(number as usize).unwrap_or(&NOTHING))
    }
}

impl<'a> Line<'a> {
    /// Word `at`, of which there are eight.
    #[inline(always)]
    pub(crate) fn word(self, at: usize) -> u64 {
        self.0.get(at % LINE).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// All.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn words(self) -> &'a [AtomicU64; LINE] {
        self.0
    }
}

impl Words {
    fn new(len: usize) -> Words {
        let words: Box<[AtomicU64]> = zeroed(len + LINE);
        let skew = words.as_ptr().align_offset(LINE * size_of::<u64>()) % LINE;
        Words { words, skew }
    }

    #[inline(always)]
    fn aligned(&self) -> &[AtomicU64] {
        self.words.get(self.skew..).unwrap_or_default()
    }

    /// Word `at` of a record. 0 beyond the end, where no record lies.
    #[inline(always)]
    pub(crate) fn get(&self, granule: u32, at: usize) -> u64 {
        let word = self.aligned().get(granule as usize * WORDS + at);
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The same memory line by line.
    #[inline(always)]
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines(self.aligned().as_chunks().0)
    }

    /// Changes word `at` of a record, for the writer.
    pub(crate) fn set(&self, granule: u32, at: usize, value: u64) {
        if let Some(word) = self.aligned().get(granule as usize * WORDS + at)
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
            words: Arc::new(Words::new(GRANULES as usize * WORDS)),
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
