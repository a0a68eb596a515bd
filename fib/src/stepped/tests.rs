//! What is IPv6's own: a table without room for nodes. `lpm` tests both families against a list.

use crate::lpm::Large;
use crate::lpm::tests::Bench;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use std::net::Ipv6Addr;

fn prefix(text: &str) -> Prefix<Ipv6Addr> {
    text.parse().unwrap()
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
    // Three answers each: five words of header, two of answers.
    assert_eq!(super::Stepped::bytes(&bench.shelf), 2 * 8 * 8);
}

#[test]
fn without_room_the_trie_answers() {
    let mut bench = Bench::<Ipv6Addr>::new();
    bench.set(prefix("2001:db8::/32"), 1);
    bench.shelf.exhaust();
    let texts = ["2001:db8:8000::/40", "2001:db8::/24", "2001:db8:8000::/48", "2001:db8:8000::1/128", "::/0"];
    for (text, id) in texts.into_iter().zip(3..) {
        bench.set(prefix(text), id);
        bench.check_edges(prefix(text));
    }
    for text in texts.into_iter().chain(["2001:db8::/32"]) {
        bench.set(prefix(text), 0);
        bench.check_edges(prefix(text));
    }
}
