//! Options of hop-by-hop and destination headers: every kind, with lengths right and off by one. Called by `headers`.

use super::Lot;
use crate::wire::ip6::{Ip6Hdr, opt};

/// A header whose options fill it; `at` is its place in the packet.
pub fn header(lot: &mut Lot, next: u8, at: usize, hop_by_hop: bool) -> Vec<u8> {
    let mut options = Vec::new();
    let mut jumbo = false;
    for _ in 0..lot.one(&[0, 1, 1, 1, 2, 2, 3, 4, 9]) {
        option(lot, at + 2 + options.len(), hop_by_hop, &mut options, &mut jumbo);
    }
    // Most are padded as they should be, in one way or another.
    let missing = (8 - (2 + options.len()) % 8) % 8;
    match lot.below(20) {
        0 => options.extend(lot.bytes(missing)),
        1 => options.extend(vec![0; missing + 8]),
        2..=9 => options.extend(vec![0; missing]),
        _ => options.extend(padn(missing)),
    }
    let units = (2 + options.len()) / 8;
    options.resize(units * 8 - 2, 0);
    // A length of its own now and then.
    let units = if lot.chance(4) { lot.one(&[0, units, units + 1, 255]) } else { units - 1 };
    [vec![next, units.min(255) as u8], options].concat()
}

/// Padding of `len` bytes.
fn padn(len: usize) -> Vec<u8> {
    match len {
        0 => Vec::new(),
        1 => vec![opt::PAD1],
        len => [vec![opt::PADN, (len - 2) as u8], vec![0; len - 2]].concat(),
    }
}

/// Appends an option; `at` is its place in the packet.
fn option(lot: &mut Lot, at: usize, hop_by_hop: bool, into: &mut Vec<u8>, jumbo: &mut bool) {
    let align = |into: &mut Vec<u8>, to: usize| into.extend(padn((to + 4 - at % 4) % 4));
    let kind = lot.below(if hop_by_hop { 100 } else { 45 });
    match kind {
        0..=5 => into.extend(vec![opt::PAD1; 1 + lot.below(8)]),
        6..=14 => {
            let len = lot.below(7);
            let data = if lot.chance(85) { vec![0; len] } else { lot.bytes(len) };
            into.extend([opt::PADN, len as u8]);
            into.extend(data);
        }
        // Unknown ones, of all four actions.
        15..=44 => {
            let kind = lot
                .one(&[0x02, 0x1e, 0x3e, 0x5e, 0x7e, 0x8a, 0x9e, 0xbe, 0xc9, 0xde, 0xfe, 0x05, 0x31, 0xc2]);
            // The known ones only where nobody knows them.
            let kind = if hop_by_hop && matches!(kind, 0x05 | 0x31 | 0xc2) { 0x1e } else { kind };
            let data = lot.below(9);
            tlv(lot, kind, data, into);
        }
        45..=62 => {
            let len = lot.one(&[2, 2, 2, 2, 2, 1, 3, 0]);
            into.extend([opt::ROUTER_ALERT, len as u8, 0]);
            into.extend(match len {
                0 | 1 => vec![],
                len => vec![lot.one(&[0, 0, 1, 2, 35]); len - 1],
            });
        }
        63..=74 => {
            if lot.chance(80) {
                align(into, 0);
            }
            ioam(lot, into);
        }
        75..=89 => {
            if lot.chance(85) {
                align(into, 2);
            }
            let len = lot.one(&[4, 4, 4, 4, 4, 4, 3, 5]);
            let value: u32 = lot.one(&[0, 8, 1000, 65_535, 65_536, 65_600, 0x7fff_ffff, 0xffff_ffff]);
            into.extend([opt::JUMBO, len]);
            into.extend(value.to_be_bytes().into_iter().chain([0]).take(usize::from(len)));
            *jumbo = true;
        }
        _ => calipso(lot, into),
    }
}

/// An option of `data` bytes, whose length is off by one now and then.
fn tlv(lot: &mut Lot, kind: u8, data: usize, into: &mut Vec<u8>) {
    let said = match lot.below(20) {
        0 => data + 1,
        1 => data.saturating_sub(1),
        _ => data,
    };
    into.extend([kind, said as u8]);
    into.extend(lot.bytes(data));
}

/// RFC 9486 3, RFC 9197 4.4: a trace for a namespace that nobody set up.
fn ioam(lot: &mut Lot, into: &mut Vec<u8>) {
    let room = lot.below(3);
    // Two node data fields of four bytes each.
    let mut trace = vec![0, lot.one(&[0, 0, 0, 1, 2]), 0, lot.one(&[123, 0])];
    trace.extend([lot.one(&[2, 2, 2, 1, 3]) << 3, room as u8, 0xc0, 0, 0, 0]);
    // Room for that many words, more, or one byte less.
    trace.extend(vec![0; room * lot.one(&[4, 4, 8])]);
    let whole = trace.len();
    trace.truncate(lot.one(&[whole, whole, whole - 1, 1, 2, 4, 9]).min(whole));
    into.extend([opt::IOAM, trace.len() as u8]);
    into.extend(trace);
}

/// RFC 5570 5.1: a label for a domain that nobody set up.
fn calipso(lot: &mut Lot, into: &mut Vec<u8>) {
    let compartments = lot.below(6);
    let mut data = vec![0, 0, 0, 1, compartments as u8, 0, 0, 0];
    data.extend(vec![0; 4 * lot.one(&[compartments, compartments, 0])]);
    data.truncate(lot.one(&[data.len(), data.len(), 7, 8]).min(data.len()));
    into.extend([opt::CALIPSO, data.len() as u8]);
    into.extend(data);
}

/// Gives some packets with hop-by-hop options the length zero, as jumbograms have; whether this is one.
pub fn zero_length(lot: &mut Lot, packet: &mut [u8]) -> bool {
    let jumbo = packet.get(Ip6Hdr::LEN..).is_some_and(|rest| rest.iter().take(40).any(|b| *b == opt::JUMBO));
    let zero = lot.chance(if jumbo { 60 } else { 8 });
    if let Some(len) = packet.get_mut(4..6).filter(|_| zero) {
        len.fill(0);
    }
    zero
}
