//! Options of the header: every kind, with lengths and pointers right and off by one. Called by `frames`.

use super::Lot;
use crate::wire::ip4::opt;
use std::net::Ipv4Addr;

/// RFC 1108 and RFC 791: security, stream identifier; and some that nobody knows, of both copy bits.
const OTHERS: [u8; 8] = [130, 136, 0x1e, 0x9e, 0x5e, 0xde, 82, 149];
/// Most bytes that options take.
const ROOM: usize = 40;

/// Options of a packet, whole words; `hops` are addresses that records and routes may name. Those that were passed already
/// are `far` ones, none of the router's own: an error goes back by them, and would come to the router itself.
pub fn draw(lot: &mut Lot, hops: &[Ipv4Addr], far: &[Ipv4Addr]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..lot.one(&[1, 1, 1, 2, 2, 3, 5]) {
        option(lot, hops, far, &mut bytes);
    }
    // A full area, now and then.
    if lot.chance(10) {
        let missing = ROOM.saturating_sub(bytes.len());
        bytes.extend(vec![opt::NOP; missing]);
    }
    let end = bytes.len().next_multiple_of(4).min(ROOM);
    let padding = if lot.chance(80) { opt::END } else { opt::NOP };
    bytes.resize(end, padding);
    bytes
}

/// Appends one.
fn option(lot: &mut Lot, hops: &[Ipv4Addr], far: &[Ipv4Addr], into: &mut Vec<u8>) {
    match lot.below(100) {
        0..=3 => {
            // What follows an end is blanked.
            into.push(opt::END);
            let rest = lot.below(8);
            into.extend(lot.bytes(rest));
        }
        4..=14 => into.extend(vec![opt::NOP; 1 + lot.below(4)]),
        15..=31 => addresses(lot, opt::RR, hops, far, into),
        32..=50 => times(lot, hops, into),
        51..=61 => addresses(lot, opt::LSRR, hops, far, into),
        62..=76 => addresses(lot, opt::SSRR, hops, far, into),
        77..=84 => {
            let len = lot.one(&[4, 4, 4, 4, 3, 2, 5]);
            let value = lot.one(&[0, 0, 0, 1]);
            into.extend([opt::RA, len, 0, value, 0].iter().take(usize::from(len)));
        }
        85..=89 => cipso(lot, into),
        _ => {
            let data = lot.below(10);
            let any = lot.next() as u8;
            // Of source routes there are others, whose places are known.
            let other = lot.chance(80) || matches!(any, opt::LSRR | opt::SSRR);
            let kind = if other { lot.one(&OTHERS) } else { any };
            let said = off_by_one(lot, data as u8 + 2);
            into.extend([kind, said]);
            into.extend(lot.bytes(data));
        }
    }
}

/// A length or pointer that is wrong now and then.
fn off_by_one(lot: &mut Lot, right: u8) -> u8 {
    match lot.below(24) {
        0 => right.wrapping_sub(1),
        1 => right.wrapping_add(1),
        2 => lot.one(&[0, 1, 2, 3, 4, 39, 40, 41, 255]),
        _ => right,
    }
}

/// A record of the route, or a source route: places for addresses, some of them passed.
fn addresses(lot: &mut Lot, kind: u8, hops: &[Ipv4Addr], far: &[Ipv4Addr], into: &mut Vec<u8>) {
    let places = lot.one(&[1, 1, 2, 2, 3, 4, 9, 0]);
    let passed = lot.below(places + 1);
    let passed = if lot.chance(50) { 0 } else { passed };
    // A place that is cut short at the end.
    let spare = lot.one(&[0, 0, 0, 0, 0, 0, 1, 2, 3]);
    // By places that were passed an error goes back: see `draw`. With another length they would be other ones, of groups.
    let pointer = if passed == 0 { off_by_one(lot, 4) } else { 4 + 4 * passed as u8 };
    let right = (3 + 4 * places + spare) as u8;
    let len = if kind != opt::RR && pointer > 7 { right } else { off_by_one(lot, right) };
    into.extend([kind, len, pointer]);
    for place in 0..places {
        let named = lot.pick(if 4 + 4 * place < usize::from(pointer) { far } else { hops });
        let named = named.filter(|_| kind != opt::RR || lot.chance(20));
        into.extend(named.map_or([0; 4], |hop| hop.octets()));
    }
    into.extend(vec![0; spare]);
}

/// RFC 791 3.1, page 22: times alone, with addresses, for the addresses that are named; and flags that mean nothing.
fn times(lot: &mut Lot, hops: &[Ipv4Addr], into: &mut Vec<u8>) {
    let flag: u8 = lot.one(&[0, 0, 1, 1, 3, 3, 2, 9]);
    let step = if flag == 0 { 4 } else { 8 };
    let places = lot.one(&[1, 1, 2, 3, 4, 0]);
    let passed = if lot.chance(50) { 0 } else { lot.below(places + 1) };
    let overflow: u8 = lot.one(&[0, 0, 1, 14, 15]);
    let len = off_by_one(lot, 4 + (step * places) as u8);
    let pointer = off_by_one(lot, 5 + (step * passed) as u8);
    into.extend([opt::TS, len, pointer, overflow << 4 | flag]);
    for _ in 0..places {
        let named = lot.pick(hops).filter(|_| flag == 3);
        into.extend(named.map_or([0; 4], |hop| hop.octets()).iter().chain(&[0; 4]).take(step));
    }
}

/// FIPS 188: a label of a domain of interpretation that nobody set up.
fn cipso(lot: &mut Lot, into: &mut Vec<u8>) {
    let tag = lot.one(&[1, 2, 5, 128]);
    let mut data = vec![0, 0, 0, lot.one(&[0, 1]), tag, 4, 0, 1];
    data.truncate(lot.one(&[8, 8, 8, 4, 5, 6]));
    let len = off_by_one(lot, data.len() as u8 + 2);
    into.extend([opt::CIPSO, len]);
    into.extend(data);
}
