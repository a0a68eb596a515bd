//! The queue of packets whose next hop is not resolved yet. Belongs to one worker; all memory is allocated once.
//!
//! Bounded twice: per neighbour by bytes as the kernel does (`unres_qlen_bytes`, the oldest gives way,
//! RFC 4861 7.2.2; Linux: __neigh_event_send), and as a whole by its buffers.

use crate::frame::Offload;
use std::net::IpAddr;

/// Bytes in a buffer for ordinary packets, and how many there are.
const SMALL: usize = 2048;
const SMALL_COUNT: usize = 2048;
/// The same for super-frames.
const LARGE: usize = 66_000;
const LARGE_COUNT: usize = 16;
/// What the kernel charges for a packet besides its bytes (`skb->truesize`).
const OVERHEAD: usize = 768;

/// A neighbour: interface index and address.
pub type Key = (u32, IpAddr);

/// What is known of a packet that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The neighbour that it waits for.
    pub key: Key,
    /// The interface that received it.
    pub iif: u32,
    /// When it came, in nanoseconds.
    pub since: u64,
    /// Number of the neighbour's record when it came: a failure noted later is news, an earlier one is not.
    pub seen: u64,
    /// Most bytes that may wait for this neighbour (`unres_qlen_bytes`).
    pub limit: usize,
}

/// What holding a packet led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// No other packet waits for the neighbour: the kernel is to be asked for it.
    pub first: bool,
    /// Packets that gave way.
    pub pushed_out: usize,
}

#[derive(Debug)]
struct Entry {
    waiting: Waiting,
    offload: Offload,
    len: usize,
    buffer: usize,
}

/// The queue, in the order of arrival.
#[derive(Debug)]
pub struct Hold {
    queue: Vec<Entry>,
    memory: Box<[u8]>,
    free_small: Vec<usize>,
    free_large: Vec<usize>,
}

impl Default for Hold {
    fn default() -> Self {
        Hold::new()
    }
}

impl Hold {
    /// An empty queue with all its memory.
    pub fn new() -> Hold {
        let large = |i: usize| SMALL * SMALL_COUNT + LARGE * i;
        Hold {
            queue: Vec::with_capacity(SMALL_COUNT + LARGE_COUNT),
            memory: vec![0; SMALL * SMALL_COUNT + LARGE * LARGE_COUNT].into_boxed_slice(),
            free_small: (0..SMALL_COUNT).map(|i| SMALL * i).collect(),
            free_large: (0..LARGE_COUNT).map(large).collect(),
        }
    }

    /// Copies a packet (from its IP header on) to the end of the queue. O(packets waiting).
    pub fn push(&mut self, waiting: Waiting, packet: &[u8], offload: Offload) -> Held {
        let first = !self.queue.iter().any(|e| e.waiting.key == waiting.key);
        let mut held = Held { first, pushed_out: 0 };
        if packet.len() > LARGE {
            held.pushed_out = 1;
            return held;
        }
        while self.bytes_for(waiting.key) + packet.len() + OVERHEAD > waiting.limit
            && self.drop_oldest(Some(waiting.key))
        {
            held.pushed_out += 1;
        }
        let buffer = loop {
            let free = if packet.len() <= SMALL { &mut self.free_small } else { &mut self.free_large };
            if let Some(buffer) = free.pop() {
                break buffer;
            }
            if !self.drop_oldest(None) {
                held.pushed_out += 1;
                return held;
            }
            held.pushed_out += 1;
        };
        if let Some(place) = self.memory.get_mut(buffer..buffer + packet.len()) {
            place.copy_from_slice(packet);
        }
        self.queue.push(Entry { waiting, offload, len: packet.len(), buffer });
        held
    }

    fn bytes_for(&self, key: Key) -> usize {
        self.queue.iter().filter(|e| e.waiting.key == key).map(|e| e.len + OVERHEAD).sum()
    }

    fn drop_oldest(&mut self, key: Option<Key>) -> bool {
        let at = self.queue.iter().position(|e| key.is_none_or(|k| e.waiting.key == k));
        if let Some(at) = at {
            let entry = self.queue.remove(at);
            self.give_back(&entry);
        }
        at.is_some()
    }

    fn give_back(&mut self, entry: &Entry) {
        let free =
            if entry.buffer < SMALL * SMALL_COUNT { &mut self.free_small } else { &mut self.free_large };
        free.push(entry.buffer);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The oldest packet for which `ready` says what to do with it, taken out of the queue: what is known of it, its
    /// checksum and segmentation work, and its bytes. The bytes are good until the next `push`.
    pub fn take<T>(&mut self, ready: impl Fn(&Waiting) -> Option<T>) -> Option<(T, Waiting, Offload, &[u8])> {
        let (at, what) =
            self.queue.iter().enumerate().find_map(|(i, e)| ready(&e.waiting).map(|t| (i, t)))?;
        let entry = self.queue.remove(at);
        self.give_back(&entry);
        let bytes = self.memory.get(entry.buffer..entry.buffer + entry.len).unwrap_or_default();
        Some((what, entry.waiting, entry.offload, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn waiting(host: u8, limit: usize) -> Waiting {
        Waiting { key: (2, IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))), iif: 1, since: 0, seen: 0, limit }
    }

    fn all(hold: &mut Hold, host: u8) -> Vec<Vec<u8>> {
        let key = waiting(host, 0).key;
        std::iter::from_fn(|| hold.take(|w| (w.key == key).then_some(())).map(|(.., b)| b.to_vec())).collect()
    }

    #[test]
    fn first_in_first_out_per_neighbour() {
        let mut hold = Hold::new();
        assert!(hold.push(waiting(1, 9999), b"a", Offload::default()).first);
        assert!(hold.push(waiting(2, 9999), b"b", Offload::default()).first);
        assert!(!hold.push(waiting(1, 9999), b"c", Offload::default()).first);
        assert_eq!(all(&mut hold, 1), [b"a", b"c"]);
        assert_eq!(all(&mut hold, 2), [b"b"]);
        assert!(hold.is_empty());
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut hold = Hold::new();
        let limit = 3 * (OVERHEAD + 1);
        let dropped: usize =
            (0..5u8).map(|i| hold.push(waiting(1, limit), &[i], Offload::default()).pushed_out).sum();
        assert_eq!(dropped, 2);
        assert_eq!(all(&mut hold, 1), [[2], [3], [4]]);
    }

    #[test]
    fn buffers_run_out_and_come_back() {
        let mut hold = Hold::new();
        for _ in 0..3 {
            let lost: usize = (0..LARGE_COUNT + 4)
                .map(|_| hold.push(waiting(1, usize::MAX), &[7; 60_000], Offload::default()).pushed_out)
                .sum();
            assert_eq!(lost, 4);
            assert_eq!(all(&mut hold, 1).len(), LARGE_COUNT);
        }
        assert_eq!(hold.push(waiting(1, usize::MAX), &[0; LARGE + 1], Offload::default()).pushed_out, 1);
    }
}
