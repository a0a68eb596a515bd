//! What is IPv4's own: the shared blocks, and a table without room for them. `lpm` tests both families against a list.

use crate::lpm::Large;
use crate::lpm::tests::Bench;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use std::net::Ipv4Addr;

fn prefix(text: &str) -> Prefix<Ipv4Addr> {
    text.parse().unwrap()
}

#[test]
fn the_example_of_the_module() {
    let mut bench = Bench::new();
    bench.set(prefix("10.0.0.0/8"), 1);
    bench.set(prefix("10.0.2.0/23"), 2);
    let guard = bench.line.pin();
    assert_eq!(bench.table.longest(&guard, Ipv4Addr::new(10, 0, 3, 9)), Some(PathSetId(2)));
    assert_eq!(bench.table.longest(&guard, Ipv4Addr::new(10, 0, 4, 9)), Some(PathSetId(1)));
    assert_eq!(bench.table.longest(&guard, Ipv4Addr::new(11, 0, 0, 1)), None);
    let blocks: Vec<_> = bench.table.root.iter().map(|root| root.load(super::Ordering::Relaxed)).collect();
    let ten = &blocks[10 << 10..11 << 10];
    assert!(ten[0] != ten[1] && ten[1..].iter().all(|&block| block == ten[1]), "one block for all others");
}

#[test]
fn without_room_the_heaps_answer() {
    let mut bench = Bench::<Ipv4Addr>::new();
    bench.shelf.exhaust();
    let host = Ipv4Addr::new(10, 0, 0, 128);
    for (text, id) in [("10.0.0.0/24", 3), ("10.0.0.0/8", 1), ("10.0.0.128/25", 4), ("0.0.0.0/0", 9)] {
        bench.set(prefix(text), id);
        bench.check_edges(prefix(text));
        bench.check(host);
    }
    for text in ["10.0.0.0/24", "10.0.0.0/8", "10.0.0.128/25"] {
        bench.set(prefix(text), 0);
        bench.check(host);
    }
}
