//! The same lookups by other crates, after a check that all give the same answers.

use crate::input::{Family, Model};
use crate::lookups::Keys;
use anyhow::ensure;
use ip_network_table_deps_treebitmap::IpLookupTable;
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use serde_json::{Value, json};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_fib::{Fib, Prefix, TABLE_MAIN};

/// A lookup in a peer's table: the number of the next hop.
type Lookup<A> = Box<dyn Fn(&[A], &mut u64)>;

/// All peers.
pub fn all<A: Family>(
    fib: &Fib,
    table: &[Prefix<A>],
    model: Model,
    keys: &Keys<A>,
    rounds: usize,
) -> anyhow::Result<Value> {
    let mut found = serde_json::Map::new();
    for (name, lookup) in build(table, model) {
        agree(fib, keys, name, &lookup)?;
        let rates = keys.rates(rounds, |keys| {
            let mut sum = 0;
            lookup(keys, &mut sum);
            black_box(sum);
        });
        found.insert(name.to_owned(), rates);
    }
    Ok(json!(found))
}

/// Keys that are compared.
const COMPARED: usize = 100_000;

/// Demands that a peer finds the same next hop as warren for each key.
fn agree<A: Family>(fib: &Fib, keys: &Keys<A>, name: &str, lookup: &Lookup<A>) -> anyhow::Result<()> {
    let mut reader = fib.reader()?;
    let view = reader.pin();
    let Some(ours) = view.table::<A>(TABLE_MAIN) else { return Ok(()) };
    for key in keys.uniform.iter().take(COMPARED).chain(keys.prefix.iter().take(COMPARED)) {
        let group = ours.longest(*key).and_then(|set| view.group(set.paths.first()?.group?));
        let via = group.and_then(|group| group.members.first()?.via);
        let ours = via.map_or(0, |via| match via {
            IpAddr::V4(via) => u64::from(via.to_bits() & 0xffff) + 1,
            IpAddr::V6(via) => u64::from(via.to_bits() as u16) + 1,
        });
        let mut theirs = 0;
        lookup(&[*key], &mut theirs);
        ensure!(ours == theirs, "{key}: warren finds next hop {ours}, {name} {theirs} (0: none)");
    }
    Ok(())
}

fn build<A: Family>(table: &[Prefix<A>], model: Model) -> [(&'static str, Lookup<A>); 3] {
    let routes = || table.iter().map(move |&p| (p.addr().key(), p.len(), u64::from(model.hop(p)) + 1));
    if A::V6 { build6(routes()) } else { build4(routes()) }
}

fn build4<A: Family>(routes: impl Iterator<Item = (u128, u8, u64)>) -> [(&'static str, Lookup<A>); 3] {
    let (mut trie, mut bitmap, mut pop) = (PrefixMap::new(), IpLookupTable::new(), Poptrie::new());
    for (key, len, hop) in routes {
        let addr = (key >> 96) as u32;
        trie.insert((addr, len), hop);
        bitmap.insert(Ipv4Addr::from_bits(addr), len.into(), hop);
        pop.insert((addr, len), hop);
    }
    [
        (
            "prefix-trie",
            Box::new(move |keys: &[A], sum: &mut u64| {
                *sum += keys
                    .iter()
                    .map(|k| trie.get_lpm(&((k.key() >> 96) as u32, 32)).map_or(0, |(_, hop)| *hop))
                    .sum::<u64>();
            }),
        ),
        (
            "treebitmap",
            Box::new(move |keys: &[A], sum: &mut u64| {
                let find = |k: &A| bitmap.longest_match(Ipv4Addr::from_bits((k.key() >> 96) as u32));
                *sum += keys.iter().map(|k| find(k).map_or(0, |(_, _, hop)| *hop)).sum::<u64>();
            }),
        ),
        (
            "poptrie",
            Box::new(move |keys: &[A], sum: &mut u64| {
                *sum += keys
                    .iter()
                    .map(|k| pop.lookup((k.key() >> 96) as u32).copied().unwrap_or(0))
                    .sum::<u64>();
            }),
        ),
    ]
}

fn build6<A: Family>(routes: impl Iterator<Item = (u128, u8, u64)>) -> [(&'static str, Lookup<A>); 3] {
    let (mut trie, mut bitmap, mut pop) = (PrefixMap::new(), IpLookupTable::new(), Poptrie::new());
    for (key, len, hop) in routes {
        trie.insert((key, len), hop);
        bitmap.insert(Ipv6Addr::from_bits(key), len.into(), hop);
        pop.insert((key, len), hop);
    }
    [
        (
            "prefix-trie",
            Box::new(move |keys: &[A], sum: &mut u64| {
                *sum += keys
                    .iter()
                    .map(|k| trie.get_lpm(&(k.key(), 128)).map_or(0, |(_, hop)| *hop))
                    .sum::<u64>();
            }),
        ),
        (
            "treebitmap",
            Box::new(move |keys: &[A], sum: &mut u64| {
                let find = |k: &A| bitmap.longest_match(Ipv6Addr::from_bits(k.key()));
                *sum += keys.iter().map(|k| find(k).map_or(0, |(_, _, hop)| *hop)).sum::<u64>();
            }),
        ),
        (
            "poptrie",
            Box::new(move |keys: &[A], sum: &mut u64| {
                *sum += keys.iter().map(|k| pop.lookup(k.key()).copied().unwrap_or(0)).sum::<u64>();
            }),
        ),
    ]
}
