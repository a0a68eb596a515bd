//! Readers against a writer at full speed: every lookup must give the answer before or after the change under way.
//!
//! Every part of a route (path set, group, adjacency) carries the same mark, and marks grow with each change. A reader that
//! mixes the parts of two routes, meets an id that was used again too early, goes back to an older route, or finds nothing
//! where something always is, sees it at once.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test fails by panicking, in its helpers too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use warren_fib::{Fib, Hops, Ip, LinkState, Place, Prefix, Reader, Route};

const PREFIXES: u32 = 64;
const ROUNDS: u32 = 300;

/// A prefix for each number, nested in pairs so that updates share nodes.
fn prefix<A: Ip>(number: u32) -> Prefix<A> {
    let key = u128::from(0x2000_0000 | (number / 2) << 8) << 96;
    Prefix::new(A::from_key(key), if number.is_multiple_of(2) { 24 } else { 28 }).unwrap()
}

/// A route whose every part says `mark`; its MTU holds the mark, so that its key stays the same.
fn route<A: Ip>(number: u32, mark: u32) -> Route<A> {
    let via = IpAddr::from(Ipv4Addr::from(mark));
    Route { mtu: mark, ..Route::new(prefix(number), Hops::one(mark, Some(via))) }
}

/// Even pairs are only ever replaced, so they are always there; odd ones come and go.
fn stays(number: u32) -> bool {
    (number / 2).is_multiple_of(2)
}

/// Looks one prefix up, checks that each match is of one piece, and gives the marks by length.
fn lookup<A: Ip>(reader: &mut Reader, number: u32) -> Vec<(u8, u32)> {
    let view = reader.pin();
    let table = view.table::<A>(254).expect("the table is never empty");
    let matches = table.lookup(prefix::<A>(number).addr()).map(|(len, set)| {
        let path = &set.paths[0];
        let group = view.group(path.group.expect("a unicast route has next hops")).expect("a group in use");
        if let Some(member) = group.members.first() {
            let adjacency = view.adjacency(member.adjacency).expect("an adjacency in use");
            assert_eq!((member.oif, adjacency.oif), (path.mtu, path.mtu), "parts of two routes");
            assert_eq!(adjacency.via, Some(IpAddr::from(Ipv4Addr::from(path.mtu))));
        } else {
            assert!(group.dead, "only a withdrawn group has no members");
        }
        (len, path.mtu)
    });
    matches.collect()
}

fn reader_loop<A: Ip>(fib: &Fib, done: &AtomicBool, nap: u32) -> u64 {
    let mut reader = fib.reader().unwrap();
    let mut newest = [[0; 2]; PREFIXES as usize];
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) || rounds < 10 {
        for number in 0..PREFIXES {
            let found = lookup::<A>(&mut reader, number);
            assert_eq!(found.last(), Some(&(0, u32::MAX)), "the default route is always there");
            assert!(
                !stays(number) || found.len() == 3,
                "a route that is always there was missing: {found:?}"
            );
            for &(len, mark) in found.iter().filter(|(len, _)| *len > 0) {
                let newest = &mut newest[number as usize][usize::from(len == 28)];
                assert!(mark >= *newest, "an older route came back");
                assert_eq!(
                    mark % PREFIXES,
                    number / 2 * 2 + u32::from(len == 28),
                    "a route of another prefix"
                );
                *newest = mark;
            }
        }
        rounds += 1;
        if rounds % u64::from(nap) == 0 {
            reader.sleep();
        }
    }
    rounds
}

fn link(index: u32, up: bool) -> LinkState {
    LinkState { index, up, carrier: up, ignore_linkdown4: false, ignore_linkdown6: false }
}

fn run<A: Ip>() {
    let (mut writer, fib) = warren_fib::new(3);
    let always = Route { dst: Prefix::ANY, ..route::<A>(0, u32::MAX) };
    writer.insert(always, Place::New).unwrap();
    for number in 0..PREFIXES {
        writer.insert(route::<A>(number, number), Place::New).unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let total = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = [1, 7, 1000]
        .map(|nap| {
            let (fib, done, total) = (fib.clone(), Arc::clone(&done), Arc::clone(&total));
            thread::spawn(move || total.fetch_add(reader_loop::<A>(&fib, &done, nap), Ordering::Relaxed))
        })
        .into();
    for round in 1..=ROUNDS {
        for number in 0..PREFIXES {
            let mark = round * PREFIXES + number;
            let before = mark - PREFIXES;
            if !stays(number) && round.is_multiple_of(3) {
                assert!(writer.remove(&route::<A>(number, before)).unwrap());
            } else if !stays(number) && round.is_multiple_of(2) {
                writer.set_link(link(before, false));
                writer.withdraw(8);
            }
            writer.insert(route::<A>(number, mark), Place::Replace).unwrap();
            writer.remove_link(before);
            writer.publish();
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(total.load(Ordering::Relaxed) >= 30);
    writer.publish();
    writer.publish();
    assert_eq!(writer.limbo_len(), 0, "all readers have left");
    assert_eq!(writer.routes::<A>().count(), PREFIXES as usize + 1);
}

#[test]
fn ipv4() {
    run::<Ipv4Addr>();
}

#[test]
fn ipv6() {
    run::<Ipv6Addr>();
}
