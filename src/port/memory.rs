//! Frames from memory and into memory: replay, fuzzing and tests run the same loop on it as on real interfaces.
//!
//! Invariant: what was loaded never changes; a batch is a copy, so forwarding may rewrite it and it can be lent
//! again. Batches are of one interface and of nearly one time, as a worker would see them.

use super::{PortError, Sent, Statistics, meta};
use crate::frame::{BATCH, Batch, Frame, Meta, Offload};

/// Where a frame starts in the memory lent for it: room for headers to grow, and an IP header at a multiple of 16
/// from the start of that memory.
const HEADROOM: usize = 66;
/// Memory for the copies of one batch: 256 ordinary frames, or a few super-frames.
const POOL: usize = BATCH * 2048;
/// Most bytes that are loaded.
const LIMIT: usize = 8 << 30;

#[derive(Debug)]
struct Loaded {
    start: usize,
    len: usize,
    time: u64,
    meta: Meta,
}

/// Receiving half: frames loaded before, in order, as often as asked.
#[derive(Debug)]
pub struct Rx {
    bytes: Vec<u8>,
    frames: Vec<Loaded>,
    pool: Box<[u8]>,
    quantum: u64,
    next: usize,
    rounds: u64,
    seen: Statistics,
}

impl Rx {
    /// No frames yet. They will be lent `rounds` times, in batches that span at most `quantum` nanoseconds from
    /// their first frame: all frames of a batch are forwarded at one `now`.
    pub fn new(rounds: u64, quantum: u64) -> Rx {
        Rx {
            bytes: Vec::new(),
            frames: Vec::new(),
            pool: vec![0; POOL].into_boxed_slice(),
            quantum,
            next: 0,
            rounds,
            seen: Statistics::default(),
        }
    }

    /// Loads a frame that interface `iif` with address `mac` received at `time` (nanoseconds); on the wire it had
    /// `wire_len` bytes. The memory is bounded: 8 GiB, and an error that says so.
    pub fn load(
        &mut self,
        iif: u32,
        mac: [u8; 6],
        time: u64,
        wire_len: u32,
        bytes: &[u8],
    ) -> Result<(), PortError> {
        let meta = meta(iif, mac, bytes, Offload::default(), wire_len);
        self.load_with(meta, time, bytes)
    }

    /// Loads a frame with its metadata as given, such as a super-frame.
    pub fn load_with(&mut self, meta: Meta, time: u64, bytes: &[u8]) -> Result<(), PortError> {
        let start = self.bytes.len();
        let needed = HEADROOM + bytes.len();
        if start + bytes.len() > LIMIT {
            return Err(PortError::Full { frames: self.frames.len(), limit: LIMIT });
        }
        if needed > self.pool.len() {
            self.pool = vec![0; needed].into_boxed_slice();
        }
        self.bytes.extend_from_slice(bytes);
        self.frames.push(Loaded { start, len: bytes.len(), time, meta });
        Ok(())
    }

    /// Time of the next frame, `None` when all were lent. Ask before [`Rx::receive`]: it is `now` for that batch.
    pub fn next_time(&self) -> Option<u64> {
        (self.rounds > 0).then(|| self.frames.get(self.next).map(|f| f.time)).flatten()
    }

    /// See [`super::Rx::receive`]; 0 when all frames were lent as often as asked. Copies the frames, allocates
    /// nothing.
    pub fn receive<'m>(&'m mut self, batch: &mut Batch<'m>) -> usize {
        if self.rounds == 0 {
            return 0;
        }
        let waiting = self.frames.get(self.next..).unwrap_or_default();
        let Some(Loaded { time, meta: Meta { iif, .. }, .. }) = waiting.first() else { return 0 };
        let mut pool = &mut *self.pool;
        let mut lent = 0;
        for loaded in waiting.iter().take(batch.remaining_capacity()) {
            if loaded.meta.iif != *iif || loaded.time.abs_diff(*time) > self.quantum {
                break;
            }
            let Some((memory, rest)) = pool.split_at_mut_checked(HEADROOM + loaded.len) else { break };
            pool = rest;
            let from = self.bytes.get(loaded.start..loaded.start + loaded.len).unwrap_or_default();
            if let Some(to) = memory.get_mut(HEADROOM..) {
                to.copy_from_slice(from);
            }
            batch.extend(Frame::new(memory, HEADROOM, loaded.meta));
            lent += 1;
        }
        self.next += lent;
        self.seen.received += lent as u64;
        if self.next == self.frames.len() {
            self.next = 0;
            self.rounds -= 1;
        }
        lent
    }

    /// Frames loaded.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether no frame is loaded.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Counts since the start.
    pub fn statistics(&self) -> Statistics {
        self.seen
    }
}

/// Sending half: keeps what is sent until it is cleared.
#[derive(Debug, Default)]
pub struct Tx {
    bytes: Vec<u8>,
    frames: Vec<(usize, Offload)>,
}

impl Tx {
    /// See [`super::Tx::send`]; every frame is taken.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = (&'a [u8], &'a Offload)>) -> Sent {
        let mut sent = Sent::default();
        for (bytes, offload) in frames {
            self.bytes.extend_from_slice(bytes);
            self.frames.push((bytes.len(), *offload));
            sent.sent += 1;
        }
        sent
    }

    /// What was sent since the last [`Tx::clear`], in order.
    pub fn sent(&self) -> impl Iterator<Item = (&[u8], &Offload)> {
        let mut rest = &*self.bytes;
        self.frames.iter().map_while(move |(len, offload)| {
            let (bytes, more) = rest.split_at_checked(*len)?;
            rest = more;
            Some((bytes, offload))
        })
    }

    /// Forgets what was sent and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PktType;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn numbered(n: u8) -> Vec<u8> {
        [&MAC[..], &[0; 6], &[8, 0, n]].concat()
    }

    #[test]
    fn lends_copies_as_often_as_asked() {
        let mut rx = Rx::new(3, 0);
        for n in 0..5 {
            rx.load(7, MAC, 0, 15, &numbered(n)).unwrap();
        }
        for _ in 0..3 {
            let mut batch = Batch::new();
            assert_eq!(rx.receive(&mut batch), 5);
            for (n, frame) in batch.iter_mut().enumerate() {
                assert_eq!(
                    frame.bytes(),
                    numbered(n as u8),
                    "a rewritten copy must not show in the next round"
                );
                assert_eq!((frame.meta.iif, frame.meta.pkt_type), (7, PktType::Host));
                frame.bytes_mut().fill(0xee);
            }
        }
        assert_eq!((rx.next_time(), rx.receive(&mut Batch::new())), (None, 0));
        assert_eq!(rx.statistics().received, 15);
    }

    #[test]
    fn a_batch_is_of_one_interface_and_time() {
        let mut rx = Rx::new(1, 10);
        for (iif, time) in [(1, 100), (1, 110), (1, 111), (2, 111), (1, 111)] {
            rx.load(iif, MAC, time, 15, &numbered(0)).unwrap();
        }
        let mut seen = Vec::new();
        while let Some(now) = rx.next_time() {
            let mut batch = Batch::new();
            let n = rx.receive(&mut batch);
            seen.push((now, n, batch[0].meta.iif));
        }
        assert_eq!(seen, [(100, 2, 1), (111, 1, 1), (111, 1, 2), (111, 1, 1)]);
    }

    #[test]
    fn frames_longer_than_the_pool_and_longer_than_a_batch_arrive() {
        let mut rx = Rx::new(2, u64::MAX);
        let long = vec![0xab; POOL + 1];
        rx.load(1, MAC, 0, 1 << 20, &long).unwrap();
        for n in 0..300_u16 {
            rx.load(1, MAC, 0, 15, &numbered(n as u8)).unwrap();
        }
        let mut lens = Vec::new();
        while rx.next_time().is_some() {
            let mut batch = Batch::new();
            rx.receive(&mut batch);
            lens.extend(batch.iter().map(Frame::len));
            assert!(batch.len() <= BATCH && !batch.is_empty());
        }
        assert_eq!(lens.len(), 602);
        assert_eq!(lens.iter().filter(|&&l| l == long.len()).count(), 2);
    }

    #[test]
    fn keeps_what_is_sent_in_order() {
        let mut tx = Tx::default();
        let marked = Offload { needs_csum: true, ..Offload::default() };
        let sent = tx.send([(&b"one"[..], &Offload::default()), (&b"three"[..], &marked)].into_iter());
        assert_eq!((sent.sent, sent.lost()), (2, 0));
        assert_eq!(
            tx.sent().collect::<Vec<_>>(),
            [(&b"one"[..], &Offload::default()), (&b"three"[..], &marked)]
        );
        tx.clear();
        assert_eq!(tx.sent().count(), 0);
    }
}
