//! Lookups against two models that share nothing with the trie: a plain list searched from end to end, and the prefix-trie
//! crate. Updates are random and adversarial: every length, nested and neighbouring prefixes, duplicates, deletions of
//! what is not there.
#![allow(clippy::unwrap_used)] // A test fails by panicking, in its helpers too.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use bolero::TypeGenerator;
use prefix_trie::PrefixMap;
use warren_fib::{Hops, Ip, Place, Prefix, Reader, Route, Writer};

/// The plain twin: every prefix with its metric, and no idea beyond that.
#[derive(Default)]
struct Golden<A> {
    routes: Vec<(Prefix<A>, u32)>,
}

impl<A: Ip> Golden<A> {
    fn insert(&mut self, prefix: Prefix<A>, metric: u32) {
        self.remove(prefix);
        self.routes.push((prefix, metric));
    }

    fn remove(&mut self, prefix: Prefix<A>) -> bool {
        let before = self.routes.len();
        self.routes.retain(|&(other, _)| other != prefix);
        self.routes.len() < before
    }

    /// All that match, the longest first.
    fn lookup(&self, addr: A) -> Vec<(u8, u32)> {
        let matching = self.routes.iter().filter(|(prefix, _)| prefix.contains(addr));
        let mut found: Vec<_> = matching.map(|&(prefix, metric)| (prefix.len(), metric)).collect();
        found.sort_by(|a, b| b.cmp(a));
        found
    }
}

/// An update, drawn so that prefixes overlap: few distinct leading bits, all lengths.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Update {
    remove: bool,
    /// Chosen among a few addresses, with the bits behind `len` left random.
    base: u8,
    noise: u128,
    len: u8,
    metric: u8,
}

impl Update {
    fn prefix<A: Ip>(&self) -> Prefix<A> {
        Prefix::new(address(self.base, self.noise), self.len % (A::BITS + 1)).unwrap()
    }
}

/// Four bases; noise only from bit 12 on, so that both long common parts and early forks occur.
fn address<A: Ip>(base: u8, noise: u128) -> A {
    let base = [0, u128::MAX << 116, 0xabc << 116, 0xabd << 116][usize::from(base % 4)];
    let thinned = noise & noise.rotate_left(17) & noise.rotate_left(63);
    A::from_key(base | thinned >> 12)
}

/// Bits as the prefix-trie crate wants them.
fn foreign<A: Ip>(prefix: Prefix<A>) -> (u128, u8) {
    (prefix.addr().key(), prefix.len())
}

fn route<A: Ip>(dst: Prefix<A>, metric: u32) -> Route<A> {
    Route { metric, ..Route::new(dst, Hops::one(1, None)) }
}

fn lookup<A: Ip>(reader: &mut Reader, addr: A) -> Vec<(u8, u32)> {
    let view = reader.pin();
    let table = view.table::<A>(254);
    table.iter().flat_map(|table| table.lookup(addr)).map(|(len, set)| (len, set.paths[0].metric)).collect()
}

/// Replaces what a prefix holds, whatever it was: in IPv6 another metric would be another route beside it.
fn replace<A: Ip>(writer: &mut Writer, prefix: Prefix<A>, metric: u32) {
    let any = Route { hops: Hops::None, protocol: 0, ..route(prefix, 0) };
    while writer.remove(&any).unwrap() {}
    writer.insert(route(prefix, metric), Place::New).unwrap();
}

fn run<A: Ip>(updates: &[Update]) {
    let (mut writer, fib) = warren_fib::new(1);
    let mut reader = fib.reader().unwrap();
    let mut golden = Golden { routes: vec![] };
    let mut foreign_map = PrefixMap::<(u128, u8), u32>::new();
    for update in updates {
        let prefix = update.prefix::<A>();
        let metric = u32::from(update.metric) + 1;
        if update.remove {
            let any = Route { hops: Hops::None, protocol: 0, ..route(prefix, 0) };
            assert_eq!(writer.remove(&any).unwrap(), golden.remove(prefix), "remove {prefix}");
            foreign_map.remove(&foreign(prefix));
        } else {
            replace(&mut writer, prefix, metric);
            golden.insert(prefix, metric);
            foreign_map.insert(foreign(prefix), metric);
        }
        writer.publish();
        // The first, the last and a random address of the prefix, and one next to it.
        let key = prefix.addr().key();
        let host = u128::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
        let step = 1 << (128 - A::BITS);
        for key in [key, key | host, key | (host & update.noise), (key | host).wrapping_add(step)] {
            let addr = A::from_key(key);
            let found = lookup(&mut reader, addr);
            assert_eq!(found, golden.lookup(addr), "{addr}");
            let best =
                foreign_map.get_lpm(&(addr.key(), A::BITS)).map(|(prefix, &metric)| (prefix.1, metric));
            assert_eq!(found.first().copied(), best, "{addr}");
        }
    }
    let mut all: Vec<_> = golden.routes.iter().map(|(prefix, metric)| (*prefix, *metric)).collect();
    all.sort_unstable();
    let mut kept: Vec<_> = writer.routes::<A>().map(|route| (route.dst, route.metric)).collect();
    kept.sort_unstable();
    assert_eq!(kept, all);
}

#[test]
fn random_updates_ipv4() {
    bolero::check!().with_type::<Vec<Update>>().for_each(|updates| run::<Ipv4Addr>(updates));
}

#[test]
fn random_updates_ipv6() {
    bolero::check!().with_type::<Vec<Update>>().for_each(|updates| run::<Ipv6Addr>(updates));
}

/// Every length on one address, put in from short to long and taken out from the middle outwards.
fn nested<A: Ip>() {
    let update =
        |remove, len| Update { remove, base: 2, noise: 0x0123_4567_89ab_cdef << 32, len, metric: len };
    let mut updates: Vec<_> = (0..=A::BITS).map(|len| update(false, len)).collect();
    let middle = A::BITS / 2;
    updates.extend((0..=middle).flat_map(|far| [update(true, middle + far), update(true, middle - far)]));
    run::<A>(&updates);
}

#[test]
fn every_length_nested() {
    nested::<Ipv4Addr>();
    nested::<Ipv6Addr>();
}

/// All 256 host routes of one /24 and all prefixes above them, the densest a trie can be.
#[test]
fn a_dense_corner() {
    let (mut writer, fib) = warren_fib::new(1);
    let mut reader = fib.reader().unwrap();
    let mut golden = Golden { routes: vec![] };
    for len in 24..=32_u8 {
        for number in 0..1_u32 << (len - 24) {
            let addr = Ipv4Addr::from(0xc000_0200 | number << (32 - len));
            let prefix = Prefix::new(addr, len).unwrap();
            let metric = u32::from(len) << 8 | number;
            writer.insert(route(prefix, metric), Place::New).unwrap();
            golden.insert(prefix, metric);
        }
    }
    for last in 0..=255 {
        let addr = Ipv4Addr::new(192, 0, 2, last);
        assert_eq!(lookup(&mut reader, addr), golden.lookup(addr));
    }
}

/// A million routes with the lengths of a real table, checked at addresses inside them against prefix-trie.
#[test]
fn a_million_routes() {
    const ROUTES: usize = 1_000_000;
    let mut random = Random(1);
    let (mut writer, fib) = warren_fib::new(1);
    let mut other = PrefixMap::<(u128, u8), u32>::new();
    let mut model = BTreeMap::new();
    while model.len() < ROUTES {
        let bits = random.next();
        // Two thirds /24, most of the rest /16 to /23, some of any length: the shape of today's table.
        let len = match bits % 100 {
            0..60 => 24,
            60..98 => 16 + (bits >> 8) % 8,
            _ => (bits >> 8) % 33,
        } as u8;
        let prefix = Prefix::new(Ipv4Addr::from((bits >> 32) as u32), len).unwrap();
        let hop = (bits >> 16) as u32 % 300 + 1;
        if model.insert(prefix, hop).is_none() {
            writer.insert(Route::new(prefix, Hops::one(hop, None)), Place::New).unwrap();
        } else {
            writer.insert(Route::new(prefix, Hops::one(hop, None)), Place::Replace).unwrap();
        }
        other.insert(foreign(prefix), hop);
    }
    writer.publish();
    let mut reader = fib.reader().unwrap();
    let view = reader.pin();
    let table = view.table::<Ipv4Addr>(254).unwrap();
    for prefix in model.keys() {
        let host = random.next() as u32 & u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
        let addr = Ipv4Addr::from(u32::from(prefix.addr()) | host);
        let (len, set) = table.lookup(addr).next().unwrap();
        let oif = view.group(set.paths[0].group.unwrap()).unwrap().members[0].oif;
        let (best, hop) = other.get_lpm(&(addr.key(), 32)).unwrap();
        assert_eq!((len, oif), (best.1, *hop), "{addr}");
        assert!(set.plain);
    }
    assert!(writer.routes::<Ipv4Addr>().map(|route| route.dst).eq(in_dump_order(model.keys())));
}

/// By address, the longer prefix first, as the kernel lists IPv4.
fn in_dump_order<'p>(prefixes: impl Iterator<Item = &'p Prefix<Ipv4Addr>>) -> Vec<Prefix<Ipv4Addr>> {
    let mut prefixes: Vec<_> = prefixes.copied().collect();
    prefixes.sort_by_key(|prefix| (prefix.addr(), 32 - prefix.len()));
    prefixes
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
