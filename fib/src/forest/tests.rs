//! What is IPv6's own: the kernels, trees of several levels, tails, and tables without room. `lpm` tests both families
//! against a list.

use super::{Forest, Kernel, Shelf};
use crate::lpm::Large;
use crate::lpm::tests::Bench;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use bolero::TypeGenerator;
use std::net::Ipv6Addr;

fn prefix(text: &str) -> Prefix<Ipv6Addr> {
    text.parse().unwrap()
}

fn levels(bench: &Bench<Ipv6Addr>, addr: &str) -> u32 {
    let entry = bench.table.root(addr.parse::<Ipv6Addr>().unwrap().into());
    if entry.is_tree() { entry.level() } else { 0 }
}

#[test]
fn the_example_of_the_module() {
    let mut bench = Bench::new();
    bench.set(prefix("2001:db8::/32"), 1);
    bench.set(prefix("2001:db8:8000::/40"), 2);
    let guard = bench.line.pin();
    let longest = |text: &str| bench.table.longest(&guard, text.parse().unwrap());
    assert_eq!(longest("2001:db8:8001::1"), Some(PathSetId(2)));
    assert_eq!(longest("2001:db8:1::1"), Some(PathSetId(1)));
    assert_eq!(longest("2001:db9::1"), None);
    assert_eq!(Forest::bytes(&bench.shelf), 64, "one line");
}

/// A tree grows level by level and shrinks again, and each prefix on the way is found at once.
#[test]
fn trees_grow_and_shrink() {
    let mut bench = Bench::<Ipv6Addr>::new();
    let nth = |n: u32| {
        // Spread over the /24, each with a hole before it.
        let addr = 0x2001_0d00_u128 << 96 | u128::from(n.reverse_bits() >> 16) << 88;
        Prefix::new(Ipv6Addr::from(addr), 41).unwrap()
    };
    for n in 0..4000 {
        bench.set(nth(n), 1 + (n % 250) as u16);
        if n % 37 == 0 || n < 200 {
            bench.check_edges(nth(n));
        }
    }
    assert_eq!(levels(&bench, "2001:d00::"), 4);
    for n in 0..4000 {
        bench.set(nth(n), 0);
        if n % 37 == 0 || n > 3800 {
            bench.check_edges(nth(n));
        }
    }
    assert_eq!((levels(&bench, "2001:d00::"), Forest::bytes(&bench.shelf)), (0, 0));
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Host {
    net: u8,
    bits: u128,
    len: u8,
    id: u8,
}

/// All kernels that the processor has give the trie's answer, for hosts inside and outside, alone and in batches of any size.
#[test]
fn kernels_agree() {
    bolero::check!().with_type::<Vec<Host>>().with_iterations(40).for_each(|hosts| {
        let mut bench = Bench::<Ipv6Addr>::new();
        let addr = |host: &Host| {
            // Few nets, and in them short and long ways to differ.
            let bits = host.bits & host.bits.rotate_left(23) >> (host.net % 100);
            Ipv6Addr::from(0x2001_0db0_u128 << 96 | u128::from(host.net % 3) << 104 | bits >> 26)
        };
        for host in hosts {
            let prefix = Prefix::new(addr(host), 20 + host.len % 109).unwrap();
            bench.set(prefix, u16::from(host.id) + 1);
        }
        let mut addrs: Vec<_> = hosts.iter().map(addr).collect();
        addrs.extend(hosts.iter().map(|host| Ipv6Addr::from(host.bits)));
        let guard = bench.line.pin();
        let expected: Vec<_> =
            addrs.iter().map(|&a| bench.table.lookup(&guard, a).next().map(|(_, id)| id)).collect();
        for kernel in Kernel::all() {
            bench.table.kernel = kernel;
            let mut found = vec![None; addrs.len()];
            bench.table.longest_of(&guard, &addrs, &mut found);
            assert_eq!(found, expected, "{kernel:?}");
            let found: Vec<_> = addrs.iter().map(|&a| bench.table.longest(&guard, a)).collect();
            assert_eq!(found, expected, "{kernel:?}");
        }
    });
}

#[test]
fn without_room_the_trie_answers() {
    let run_out: [fn(&mut Shelf); 2] = [Shelf::exhaust, |shelf| _ = shelf.exhaust_tails()];
    for run_out in run_out {
        let mut bench = Bench::<Ipv6Addr>::new();
        bench.set(prefix("2001:db8::/32"), 1);
        run_out(&mut bench.shelf);
        let texts =
            ["2001:db8:8000::/40", "2001:db8::/24", "2001:db8:8000::/48", "2001:db8:8000::1/128", "::/0"];
        for (text, id) in texts.into_iter().zip(3..) {
            bench.set(prefix(text), id);
            bench.check_edges(prefix(text));
        }
        for text in texts.into_iter().chain(["2001:db8::/32"]) {
            bench.set(prefix(text), 0);
            bench.check_edges(prefix(text));
        }
    }
}

/// What had no room for a tail is not in one that is made later, so none is.
#[test]
fn what_is_slow_stays_so() {
    let mut bench = Bench::<Ipv6Addr>::new();
    let left = bench.shelf.exhaust_tails();
    bench.set(prefix("2001:db8::1/128"), 1);
    bench.shelf.restore_tails(left);
    for (text, id) in
        [("2001:db8::2/128", 2), ("2001:db8::/32", 3), ("2001:db8::/64", 4), ("2001:db8:1::1/128", 5)]
    {
        bench.set(prefix(text), id);
        for text in ["2001:db8::1/128", "2001:db8::2/128", "2001:db8:1::1/128", "2001:db8::/64"] {
            bench.check_edges(prefix(text));
        }
    }
}
