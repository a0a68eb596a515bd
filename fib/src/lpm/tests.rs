//! The large structures against a plain list of prefixes: all ways to ask, after each update, at the edges of what was changed.

use super::{Full, Large, Shelf};
use crate::ip::Ip;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Domain, Limbo, Line};
use bolero::TypeGenerator;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

/// A large table with its writer's half, a reader, and the list that it must agree with.
pub(crate) struct Bench<A: Ip> {
    pub(crate) table: A::Large,
    pub(crate) shelf: Shelf<A>,
    pub(crate) limbo: Limbo,
    pub(crate) line: Line,
    list: Vec<(Prefix<A>, u16)>,
}

impl<A: Ip> Bench<A> {
    pub(crate) fn new() -> Self {
        let (domain, limbo) = Domain::new(1);
        let shelf = A::Large::shelf(&limbo);
        let table = A::Large::new(&shelf);
        Bench { table, shelf, limbo, line: domain.register().unwrap(), list: Vec::new() }
    }

    /// Gives a prefix an id; 0 takes it away.
    pub(crate) fn set(&mut self, prefix: Prefix<A>, id: u16) {
        let before = self.list.iter().position(|(p, _)| *p == prefix).map(|at| self.list.swap_remove(at).1);
        if id != 0 {
            self.list.push((prefix, id));
        }
        let old = self.table.set(prefix, PathSetId::new(id), &mut self.shelf, &self.limbo);
        assert_eq!(old, Ok(before.map(PathSetId)), "{prefix}");
        self.limbo.advance();
        self.limbo.reclaim();
    }

    pub(crate) fn check(&mut self, addr: A) {
        let fits = self.list.iter().filter(|(p, _)| p.contains(addr));
        let mut expected: Vec<_> = fits.map(|&(p, id)| (p.len(), PathSetId(id))).collect();
        expected.sort_by_key(|(len, _)| A::BITS - len);
        let guard = self.line.pin();
        let found: Vec<_> = self.table.lookup(&guard, addr).collect();
        assert_eq!(found, expected, "{addr}");
        let longest = expected.first().map(|(_, id)| *id);
        assert_eq!(self.table.longest(&guard, addr), longest, "{addr}");
        let mut many = [None; 3];
        self.table.longest_of(&guard, &[addr; 3], &mut many);
        assert_eq!(many, [longest; 3], "{addr}");
    }

    /// The first and last address of a prefix, one within, and those just outside.
    pub(crate) fn check_edges(&mut self, prefix: Prefix<A>) {
        let first = prefix.addr().key();
        let last = first | u128::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
        let unit = 1 << (128 - u32::from(A::BITS));
        for key in
            [first, last, first.wrapping_sub(unit), last.wrapping_add(unit), first ^ ((last - first) / 2)]
        {
            self.check(A::from_key(key));
        }
        assert_eq!(
            self.table.get(prefix, &self.shelf, &self.limbo),
            self.list.iter().find(|(p, _)| *p == prefix).map(|&(_, id)| PathSetId(id))
        );
    }

    /// Takes everything away again.
    fn clear(&mut self) {
        while let Some(&(prefix, _)) = self.list.last() {
            self.set(prefix, 0);
            self.check_edges(prefix);
        }
    }
}

/// Few bases and thin noise, so that prefixes nest, neighbour and repeat.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Update {
    base: u8,
    noise: u128,
    len: u8,
    id: u8,
}

impl Update {
    fn prefix<A: Ip>(self) -> Prefix<A> {
        let base = [0, u128::MAX, 0x0a << 120, 0xa004 << 108][usize::from(self.base % 4)];
        let noise = self.noise & self.noise.rotate_left(11) & self.noise.rotate_left(37);
        Prefix::new(A::from_key(base ^ noise >> 16), self.len % (A::BITS + 1)).unwrap()
    }
}

fn agrees_with_a_list<A: Ip>() {
    // One for all runs: each leaves it empty. (A large table takes a while to make.)
    let bench = Mutex::new(Bench::<A>::new());
    let empty = A::Large::bytes(&bench.lock().unwrap().shelf);
    bolero::check!().with_type::<Vec<Update>>().with_iterations(60).for_each(|updates| {
        let Ok(mut bench) = bench.lock() else { return };
        for update in updates.iter().take(60) {
            // One in three takes away.
            bench.set(update.prefix(), u16::from(update.id).saturating_sub(85));
            bench.check_edges(update.prefix());
        }
        bench.clear();
        assert_eq!(A::Large::bytes(&bench.shelf), empty, "all room is given back");
    });
}

#[test]
fn ip4_agrees_with_a_list() {
    agrees_with_a_list::<Ipv4Addr>();
}

#[test]
fn ip6_agrees_with_a_list() {
    agrees_with_a_list::<Ipv6Addr>();
}

fn every_length_at_once<A: Ip>(addr: A) {
    let mut bench = Bench::new();
    for len in (0..=A::BITS).rev() {
        bench.set(Prefix::new(addr, len).unwrap(), u16::from(len) + 1);
        bench.check_edges(Prefix::new(addr, len).unwrap());
    }
    for len in 0..=A::BITS {
        bench.set(Prefix::new(addr, len).unwrap(), 0);
        bench.check_edges(Prefix::new(addr, len).unwrap());
    }
}

#[test]
fn every_length() {
    every_length_at_once(Ipv4Addr::new(198, 51, 100, 77));
    every_length_at_once(Ipv6Addr::from(0x2001_0db8_ffff_0000_1234_5678_9abc_def0));
}

#[test]
fn a_table_gives_back_what_it_shares() {
    let mut bench = Bench::<Ipv6Addr>::new();
    for text in ["2001:db8::/32", "2001:db8:8000::/40", "2001:db8::1/128", "fe80::/10"] {
        bench.set(text.parse().unwrap(), 7);
    }
    bench.table.clear(&mut bench.shelf, &bench.limbo);
    assert_eq!(<Ipv6Addr as crate::ip::sealed::Half>::Large::bytes(&bench.shelf), 0);
}

#[test]
fn tails_run_out_with_an_error_and_nothing_changed() {
    let mut bench = Bench::<Ipv4Addr>::new();
    bench.shelf.exhaust_tails();
    let host = "10.0.0.1/32".parse().unwrap();
    let refused = bench.table.set(host, Some(PathSetId(1)), &mut bench.shelf, &bench.limbo);
    assert_eq!(refused, Err(Full));
    bench.check_edges(host);
}
