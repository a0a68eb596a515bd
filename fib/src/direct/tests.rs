//! The table against a plain list of prefixes: both ways to ask, after each update, at the edges of what was changed.

use super::*;
use crate::publish::{Domain, Line};
use bolero::TypeGenerator;

/// A table with its writer's half, a reader, and the list it must agree with.
struct Bench {
    direct: Direct,
    shelf: Shelf,
    limbo: Limbo,
    line: Line,
    list: Vec<(Prefix<Ipv4Addr>, u16)>,
}

impl Bench {
    fn new() -> Bench {
        let (domain, limbo) = Domain::new(1);
        let shelf = Shelf::new(&limbo);
        Bench {
            direct: Direct::new(&shelf),
            shelf,
            limbo,
            line: domain.register().unwrap(),
            list: Vec::new(),
        }
    }

    fn set(&mut self, prefix: Prefix<Ipv4Addr>, id: u16) {
        let before = self.list.iter().position(|(p, _)| *p == prefix).map(|at| self.list.swap_remove(at).1);
        if id != 0 {
            self.list.push((prefix, id));
        }
        let old = self.direct.set(prefix, PathSetId::new(id), &mut self.shelf, &self.limbo);
        assert_eq!(old, Ok(before.map(PathSetId)), "{prefix}");
        self.limbo.advance();
        self.limbo.reclaim();
    }

    fn check(&mut self, addr: u32) {
        let addr = Ipv4Addr::from(addr);
        let fits = self.list.iter().filter(|(p, _)| p.contains(addr));
        let mut expected: Vec<_> = fits.map(|&(p, id)| (p.len(), PathSetId(id))).collect();
        expected.sort_by_key(|(len, _)| 32 - len);
        let guard = self.line.pin();
        let found: Vec<_> = self.direct.lookup(&guard, addr).collect();
        assert_eq!(found, expected, "{addr}");
        let longest = expected.first().map(|(_, id)| *id);
        assert_eq!(self.direct.longest(&guard, addr), longest, "{addr}");
        let mut many = [None; 3];
        self.direct.longest_of(&guard, &[addr; 3], &mut many);
        assert_eq!(many, [longest; 3], "{addr}");
    }

    /// The first and last address of a prefix, and those just outside.
    fn check_edges(&mut self, prefix: Prefix<Ipv4Addr>) {
        let first = u32::from(prefix.addr());
        let last = first | (u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0));
        for addr in [first, last, first.wrapping_sub(1), last.wrapping_add(1), first ^ (last - first) / 2] {
            self.check(addr);
        }
        assert_eq!(
            self.direct.get(prefix, &self.shelf, &self.limbo),
            self.list.iter().find(|(p, _)| *p == prefix).map(|&(_, id)| PathSetId(id))
        );
    }
}

fn prefix(text: &str) -> Prefix<Ipv4Addr> {
    text.parse().unwrap()
}

#[test]
fn the_example_of_the_module() {
    let mut bench = Bench::new();
    bench.set(prefix("10.0.0.0/8"), 1);
    bench.set(prefix("10.0.2.0/23"), 2);
    let guard = bench.line.pin();
    assert_eq!(bench.direct.longest(&guard, Ipv4Addr::new(10, 0, 3, 9)), Some(PathSetId(2)));
    assert_eq!(bench.direct.longest(&guard, Ipv4Addr::new(10, 0, 4, 9)), Some(PathSetId(1)));
    assert_eq!(bench.direct.longest(&guard, Ipv4Addr::new(11, 0, 0, 1)), None);
    let blocks: Vec<_> = bench.direct.root.iter().map(|root| root.load(Ordering::Relaxed)).collect();
    let ten = &blocks[10 << 10..11 << 10];
    assert!(ten[0] != ten[1] && ten[1..].iter().all(|&block| block == ten[1]), "one block for all others");
}

/// Few bases and thin noise, so that prefixes nest, neighbour and repeat.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Update {
    base: u8,
    noise: u32,
    len: u8,
    id: u8,
}

impl Update {
    fn prefix(self) -> Prefix<Ipv4Addr> {
        let base = [0, u32::MAX, 0x0a00_0000, 0x0a00_4000][usize::from(self.base % 4)];
        let noise = self.noise & self.noise.rotate_left(11) & 0x0000_c7ff;
        Prefix::new(Ipv4Addr::from(base ^ noise), self.len % 33).unwrap()
    }
}

#[test]
fn it_agrees_with_a_list() {
    bolero::check!().with_type::<Vec<Update>>().with_iterations(300).for_each(|updates| {
        let mut bench = Bench::new();
        for update in updates.iter().take(60) {
            // One in three takes away.
            bench.set(update.prefix(), u16::from(update.id).saturating_sub(85));
            bench.check_edges(update.prefix());
        }
        for at in (0..bench.list.len()).rev() {
            let (gone, _) = bench.list[at];
            bench.set(gone, 0);
            bench.check_edges(gone);
        }
        bench.set(Prefix::ANY, 0);
        assert_eq!(bench.shelf.in_use(), Shelf::new(&bench.limbo).in_use(), "all room is given back");
    });
}

#[test]
fn every_length_at_once() {
    let mut bench = Bench::new();
    let addr = Ipv4Addr::new(198, 51, 100, 77);
    for len in (0..=32).rev() {
        bench.set(Prefix::new(addr, len).unwrap(), u16::from(len) + 1);
        bench.check_edges(Prefix::new(addr, len).unwrap());
    }
    for len in 0..=32 {
        bench.set(Prefix::new(addr, len).unwrap(), 0);
        bench.check_edges(Prefix::new(addr, len).unwrap());
    }
}

#[test]
fn without_room_the_heaps_answer() {
    let mut bench = Bench::new();
    bench.shelf.exhaust();
    for (text, id) in [("10.0.0.0/24", 3), ("10.0.0.0/8", 1), ("10.0.0.128/25", 4), ("0.0.0.0/0", 9)] {
        bench.set(prefix(text), id);
        bench.check_edges(prefix(text));
        bench.check(0x0a00_0080);
    }
    for text in ["10.0.0.0/24", "10.0.0.0/8", "10.0.0.128/25"] {
        bench.set(prefix(text), 0);
        bench.check(0x0a00_0080);
    }
}

#[test]
fn tails_run_out_with_an_error_and_nothing_changed() {
    let mut bench = Bench::new();
    bench.shelf.exhaust_tails();
    let host = prefix("10.0.0.1/32");
    let refused = bench.direct.set(host, Some(PathSetId(1)), &mut bench.shelf, &bench.limbo);
    assert_eq!(refused, Err(Full));
    bench.check_edges(host);
    assert!(bench.direct.slices.iter().all(|slice| slice.peek(&bench.limbo).is_none()));
}
