//! Publication: one writer unlinks, many readers never wait, memory is freed when no batch can still see it.
//!
//! A reader is quiescent between batches: it then holds no reference. So it announces only batch boundaries, by copying
//! the global epoch into a cache line of its own; the writer frees what was unlinked in epoch `e` once every line that is
//! online shows more than `e`. A sleeping reader is offline and holds nothing up.
//!
//! ```text
//! reader, each batch   epoch.load(Acquire)  line.store(Release)             then reads
//! reader, waking       line.store(Release)  fence(SeqCst)    as above       then reads
//! reader, sleeping     line.store(OFFLINE, Release)
//! writer               unlink (Release)  epoch + 1 (Release)  fence(SeqCst)  scan lines (Acquire)  free
//! ```
//!
//! Why it is safe. A line above `e` was copied from an epoch stored after the unlinking, with Acquire: that batch sees
//! the unlinking, and the batch before it ended before the line was stored. A line that the scan sees OFFLINE either
//! belongs to a sleeper, or to a reader whose waking store the scan missed; then the reader's fence comes after the
//! writer's, and its reads see the unlinking. Without either fence that last case breaks, and a loom test shows it.
//!
//! Invariants that the rest of the crate keeps: all slots that a reader reaches belong to one domain, whose guards and
//! whose limbo are the only ones used with them; a slot is dropped by the limbo, or together with the domain's state.
//! Called by the trie and the arenas (slots), the writer (limbo) and `view.rs` (lines).
#![allow(unreachable_pub)] // Public where loom's test needs it, private to the crate otherwise.
#![allow(unsafe_code)] // Turns the pointer of a slot into a reference, and back into a box.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};

/// What a line shows while its reader sleeps or is not there. Above every epoch, so it holds nothing up.
const OFFLINE: u64 = u64::MAX;

/// A retired value: dropping it is all there is to do. Ids that become free again are values whose drop returns them.
type Retired = Box<dyn Send>;

/// What readers and writer share.
#[derive(Debug)]
pub struct Domain {
    epoch: Epoch,
    lines: Box<[Arc<Slot>]>,
    /// Values that outlived the writer. They go with the domain, when no reader is left.
    orphans: Mutex<Vec<Orphan>>,
    #[cfg(loom)]
    fences: Fences,
}

/// Which fences are in place; a model without one of them must fail.
#[cfg(loom)]
#[derive(Clone, Copy, Debug)]
pub struct Fences {
    /// The one between a waking reader's store and its reads.
    pub reader: bool,
    /// The one between the writer's unlinking and its scan.
    pub writer: bool,
}

/// The global epoch, alone in its pair of cache lines: readers load it, the writer stores it.
#[derive(Debug)]
#[repr(align(128))]
struct Epoch(AtomicU64);

/// A reader's line, alone in its pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    /// The epoch of the current batch, or [`OFFLINE`].
    seen: AtomicU64,
    taken: AtomicBool,
}

#[expect(dead_code, reason = "held to be dropped later, never read")]
struct Orphan(Retired);

impl fmt::Debug for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Orphan")
    }
}

impl Domain {
    /// Makes a domain with room for `max_readers` at a time, and its only limbo.
    pub fn new(max_readers: usize) -> (Arc<Domain>, Limbo) {
        Domain::bare(max_readers).with_limbo()
    }

    /// As [`Domain::new`], with fences left out to show that the model notices.
    #[cfg(loom)]
    pub fn with_fences(max_readers: usize, fences: Fences) -> (Arc<Domain>, Limbo) {
        Domain { fences, ..Domain::bare(max_readers) }.with_limbo()
    }

    fn bare(max_readers: usize) -> Domain {
        let slot = || Slot { seen: AtomicU64::new(OFFLINE), taken: AtomicBool::new(false) };
        Domain {
            epoch: Epoch(AtomicU64::new(1)),
            lines: (0..max_readers).map(|_| Arc::new(slot())).collect(),
            orphans: Mutex::new(Vec::new()),
            #[cfg(loom)]
            fences: Fences { reader: true, writer: true },
        }
    }

    fn with_limbo(self) -> (Arc<Domain>, Limbo) {
        let domain = Arc::new(self);
        (Arc::clone(&domain), Limbo { domain, epoch: 1, oldest: 0, retired: RefCell::new(VecDeque::new()) })
    }

    /// Takes a free line, offline at first; `None` if all are taken.
    pub fn register(self: &Arc<Self>) -> Option<Line> {
        let free = |slot: &&Arc<Slot>| {
            slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let slot = Arc::clone(self.lines.iter().find(free)?);
        Some(Line { domain: Arc::clone(self), slot, online: false })
    }

    /// Between a waking reader's store and its reads.
    fn reader_fence(&self) {
        #[cfg(loom)]
        if !self.fences.reader {
            return;
        }
        fence(Ordering::SeqCst);
    }

    /// Between the writer's unlinking and its scan.
    fn writer_fence(&self) {
        #[cfg(loom)]
        if !self.fences.writer {
            return;
        }
        fence(Ordering::SeqCst);
    }
}

/// A reader's place in the domain. One thread holds it; dropping it leaves the domain.
#[derive(Debug)]
pub struct Line {
    domain: Arc<Domain>,
    slot: Arc<Slot>,
    online: bool,
}

impl Line {
    /// The batch boundary: whatever the previous guard gave is given up, and the new guard sees all that was published.
    ///
    /// One load and one store; a fence only after sleep.
    pub fn pin(&mut self) -> Guard<'_> {
        if !self.online {
            self.wake();
        }
        let now = self.domain.epoch.0.load(Ordering::Acquire);
        self.slot.seen.store(now, Ordering::Release);
        Guard { batch: PhantomData }
    }

    /// Holds nothing up until the next pin.
    pub fn sleep(&mut self) {
        self.online = false;
        self.slot.seen.store(OFFLINE, Ordering::Release);
    }

    fn wake(&mut self) {
        // An epoch that is out of date only holds up more; pin brings it up to date behind the fence.
        let stale = self.domain.epoch.0.load(Ordering::Relaxed);
        // Release, because a writer that sees this store and not the sleep before it must see earlier batches as ended.
        self.slot.seen.store(stale, Ordering::Release);
        self.domain.reader_fence();
        self.online = true;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.sleep();
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Proof that a batch is open: what is loaded under it lives until the batch ends.
#[derive(Debug)]
pub struct Guard<'l> {
    batch: PhantomData<&'l mut Line>,
}

/// The writer's side: what is unlinked but may still be seen.
pub struct Limbo {
    domain: Arc<Domain>,
    /// The current epoch; only this limbo changes it.
    epoch: u64,
    /// All readers show this epoch or a later one.
    oldest: u64,
    /// Each with the epoch in which it was unlinked, oldest first.
    retired: RefCell<VecDeque<(u64, Retired)>>,
}

impl Limbo {
    /// Keeps `value` until no reader can see it, then drops it on the thread that calls [`Limbo::reclaim`].
    ///
    /// The caller has made it unreachable for new batches already.
    pub fn retire(&self, value: Retired) {
        self.retired.borrow_mut().push_back((self.epoch, value));
    }

    /// Begins a new epoch: batches that start from now on see all that was stored so far.
    pub fn advance(&mut self) {
        self.epoch += 1;
        self.domain.epoch.0.store(self.epoch, Ordering::Release);
    }

    /// Drops what no batch can see any more. Costs one load for each possible reader, plus the drops.
    pub fn reclaim(&mut self) {
        self.domain.writer_fence();
        let lines = self.domain.lines.iter();
        let oldest = lines.map(|slot| slot.seen.load(Ordering::Acquire)).min().unwrap_or(OFFLINE);
        self.oldest = oldest.min(self.epoch);
        let free = {
            let mut retired = self.retired.borrow_mut();
            let done = retired.partition_point(|&(epoch, _)| epoch < oldest);
            retired.drain(..done).collect::<Vec<_>>()
        };
        // A destructor may retire more, so it runs when the list is no longer borrowed.
        for (_, value) in free {
            destroy(value);
        }
    }

    /// The epoch in which something that is unlinked now can still be seen.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether no batch can see any more what was unlinked in `epoch`, as far as the last [`Limbo::reclaim`] found out. For
    /// owners of what is no value of its own.
    pub fn passed(&self, epoch: u64) -> bool {
        epoch < self.oldest
    }

    /// How many values and ids wait.
    pub fn len(&self) -> usize {
        self.retired.borrow().len()
    }
}

impl Drop for Limbo {
    fn drop(&mut self) {
        self.advance();
        self.reclaim();
        let left = self.retired.take();
        let mut orphans = self.domain.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.extend(left.into_iter().map(|(_, value)| Orphan(value)));
    }
}

impl fmt::Debug for Limbo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limbo").field("epoch", &self.epoch).field("len", &self.len()).finish()
    }
}

#[cfg(not(loom))]
fn destroy(value: Retired) {
    drop(value);
}

/// Under loom the destructor runs but the memory stays, so that a reader that comes too late trips over what the
/// destructor did, which loom reports, instead of over memory that is gone.
#[cfg(loom)]
fn destroy(value: Retired) {
    let value = Box::into_raw(value);
    // SAFETY: the pointer comes from a box, and nothing uses the value after this.
    unsafe { ptr::drop_in_place(value) }
}

/// A slot that readers load while the writer exchanges what it holds. It owns its value.
pub struct Shared<T> {
    value: AtomicPtr<T>,
    owns: PhantomData<Box<T>>,
}

impl<T> Shared<T> {
    /// An empty slot.
    pub fn empty() -> Self {
        Shared { value: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// What the slot holds, for the length of the batch.
    pub fn load<'g>(&self, _batch: &'g Guard<'_>) -> Option<&'g T> {
        let value = self.value.load(Ordering::Acquire);
        // SAFETY: null, or from the box given to `swap`, whose contents Acquire makes visible. A value that is unlinked
        // while this batch is open goes through the limbo, which keeps it until the batch has ended (see above).
        unsafe { value.as_ref() }
    }

    /// What the slot holds, for the writer.
    pub fn peek<'w>(&self, _writer: &'w Limbo) -> Option<&'w T> {
        let value = self.value.load(Ordering::Relaxed);
        // SAFETY: as in `load`; the only limbo of the domain frees nothing while it is borrowed, and as all stores
        // come from the limbo's holder they are ordered before this load.
        unsafe { value.as_ref() }
    }

    /// Puts `new` into the slot and retires what it held. True if it held something.
    pub fn swap(&self, new: Option<Box<T>>, limbo: &Limbo) -> bool {
        let new = new.map_or(ptr::null_mut(), Box::into_raw);
        let old = self.value.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return false;
        }
        // SAFETY: not null, so from `Box::into_raw` in an earlier call, and no longer in the slot: taken back once.
        limbo.retire(unsafe { Box::from_raw(old) });
        true
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let value = self.value.load(Ordering::Relaxed);
        if !value.is_null() {
            // SAFETY: from `Box::into_raw` in `swap`, and never used again. By the crate's invariant no reader can reach
            // a slot that is dropped.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[cfg(test)]
mod tests;
