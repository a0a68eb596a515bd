//! Link-layer addresses of neighbours, by interface and address: a hash table that readers search without waiting.
//!
//! Each bucket is one immutable list that a change replaces, so a change costs the length of a bucket. Written by
//! [`Writer::set_neighbour`](crate::Writer::set_neighbour), read by [`View::neighbour`](crate::View::neighbour).

use std::net::IpAddr;

use ahash::RandomState;

use crate::adjacency::Neighbour;
use crate::publish::{Guard, Limbo, Shared};
use crate::sync::{AtomicBool, Ordering};

/// Buckets; a power of two. The kernel's own default limit is 1024 neighbours.
const BUCKETS: usize = 4096;

/// What is known of one neighbour.
#[derive(Debug)]
pub struct NeighbourEntry {
    /// Interface index and address.
    pub key: (u32, IpAddr),
    /// Link-layer address and state.
    pub neighbour: Neighbour,
    /// Number of this record: grows with every change of any neighbour.
    pub number: u64,
    used: AtomicBool,
}

impl NeighbourEntry {
    /// True once for each record: who gets it reports that the entry is in use.
    pub fn first_use(&self) -> bool {
        !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed)
    }

    fn copy(&self) -> Self {
        let used = AtomicBool::new(self.used.load(Ordering::Relaxed));
        NeighbourEntry { key: self.key, neighbour: self.neighbour, number: self.number, used }
    }
}

type Bucket = Box<[NeighbourEntry]>;

/// The published table.
#[derive(Debug)]
pub(crate) struct Neighbours {
    buckets: Box<[Shared<Bucket>]>,
    hasher: RandomState,
}

impl Neighbours {
    pub(crate) fn new() -> Self {
        Neighbours { buckets: (0..BUCKETS).map(|_| Shared::empty()).collect(), hasher: RandomState::new() }
    }

    fn bucket(&self, key: &(u32, IpAddr)) -> Option<&Shared<Bucket>> {
        self.buckets.get(self.hasher.hash_one(key) as usize % BUCKETS)
    }

    /// Constant time on average.
    pub(crate) fn get<'g>(&self, guard: &'g Guard<'_>, key: (u32, IpAddr)) -> Option<&'g NeighbourEntry> {
        self.bucket(&key)?.load(guard)?.iter().find(|entry| entry.key == key)
    }

    /// Replaces, adds or removes one entry.
    pub(crate) fn set(&self, key: (u32, IpAddr), neighbour: Option<Neighbour>, number: u64, limbo: &Limbo) {
        let Some(bucket) = self.bucket(&key) else { return };
        let old = bucket.peek(limbo).map_or(&[][..], |list| &list[..]);
        let others = old.iter().filter(|entry| entry.key != key).map(NeighbourEntry::copy);
        let new = neighbour.map(|neighbour| NeighbourEntry {
            key,
            neighbour,
            number,
            used: AtomicBool::new(false),
        });
        let list: Bucket = others.chain(new).collect();
        bucket.swap((!list.is_empty()).then(|| Box::new(list)), limbo);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Nud;

    #[test]
    fn set_replace_remove() {
        let (mut writer, fib) = crate::new(1);
        let mut reader = fib.reader().unwrap();
        let addr = "10.0.0.1".parse().unwrap();
        let with = |state| Some(Neighbour { lladdr: [2, 0, 0, 0, 0, 1], state });
        writer.set_neighbour(2, addr, with(Nud::STALE));
        writer.publish();
        let first = {
            let view = reader.pin();
            let entry = view.neighbour(2, addr).unwrap();
            assert_eq!(entry.neighbour.state, Nud::STALE);
            assert!(entry.first_use() && !entry.first_use(), "reported once");
            assert!(view.neighbour(3, addr).is_none());
            entry.number
        };
        writer.set_neighbour(2, addr, with(Nud::REACHABLE));
        {
            let view = reader.pin();
            let entry = view.neighbour(2, addr).unwrap();
            assert!(entry.number > first && entry.neighbour.state == Nud::REACHABLE && entry.first_use());
        }
        writer.set_neighbour(2, addr, None);
        assert!(reader.pin().neighbour(2, addr).is_none());
    }

    #[test]
    fn many_neighbours_keep_apart() {
        let (mut writer, fib) = crate::new(1);
        let addr = |i: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + i));
        let neighbour =
            |i: u32| Neighbour { lladdr: [2, 0, 0, 0, (i >> 8) as u8, i as u8], state: Nud::REACHABLE };
        for i in 0..20_000 {
            writer.set_neighbour(1, addr(i), Some(neighbour(i)));
        }
        let mut reader = fib.reader().unwrap();
        let view = reader.pin();
        for i in 0..20_000 {
            assert_eq!(view.neighbour(1, addr(i)).map(|e| e.neighbour), Some(neighbour(i)));
        }
    }
}
