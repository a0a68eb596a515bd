//! Chains of extension headers, in order and not. Called by `frames`.

use super::{Lot, options};
use crate::wire::ip6::Ip6Hdr;
use crate::wire::proto;
use std::net::Ipv6Addr;

/// Extension headers and what names the first of them.
pub struct Chain {
    /// The next header of the fixed header.
    pub first: u8,
    /// All headers.
    pub bytes: Vec<u8>,
    /// Whether the payload is a whole message that a checksum can be right for.
    pub plain: bool,
}

/// Headers that lead to `protocol`.
pub fn chain(lot: &mut Lot, protocol: u8, local: bool) -> Chain {
    let mut kinds = Vec::new();
    let more = if local { 2 } else { 1 };
    for (kind, percent) in [
        (proto::HOPOPTS, 25),
        (proto::DSTOPTS, 5 * more),
        (proto::ROUTING, 5 * more),
        (proto::FRAGMENT, 6 * more),
        (proto::DSTOPTS, 3 * more),
        (proto::AH, if local { 0 } else { 3 }),
    ] {
        if lot.chance(percent) {
            kinds.push(kind);
        }
    }
    if lot.chance(6) {
        // Not where it belongs: twice, or behind others.
        kinds.push(lot.one(&[proto::HOPOPTS, proto::DSTOPTS, proto::ROUTING, proto::FRAGMENT]));
    }
    let mut chain =
        Chain { first: kinds.first().copied().unwrap_or(protocol), bytes: Vec::new(), plain: true };
    let nexts = kinds.iter().skip(1).copied().chain([protocol]);
    for (kind, next) in kinds.iter().zip(nexts) {
        let at = 40 + chain.bytes.len();
        let header = match *kind {
            proto::FRAGMENT => fragment(lot, next, &mut chain.plain),
            proto::ROUTING => routing(lot, next),
            proto::AH => [vec![next, 4, 0, 0], lot.bytes(20)].concat(),
            kind => options::header(lot, next, at, kind == proto::HOPOPTS),
        };
        chain.bytes.extend(header);
    }
    chain
}

/// RFC 8200 4.5: whole, first, middle or last.
fn fragment(lot: &mut Lot, next: u8, plain: &mut bool) -> Vec<u8> {
    let word: u16 = lot.one(&[0, 0, 1, 8, 0x0041, 0x0100, 0xfff9, 0xfff8, 2]);
    *plain = *plain && word & 0xfff9 == 0;
    let mut bytes = vec![next, if lot.chance(90) { 0 } else { lot.next() as u8 }];
    bytes.extend(word.to_be_bytes());
    bytes.extend(lot.bytes(4));
    bytes
}

/// RFC 5095, 6275, 6554, 8754: types that are followed, that are not, and that nobody knows.
fn routing(lot: &mut Lot, next: u8) -> Vec<u8> {
    let kind = lot.one(&[0, 2, 3, 4, 4, 253]);
    let units: u8 = lot.one(&[0, 1, 2, 2, 4, 6]);
    let left = lot.one(&[0, 0, 1, units / 2, units / 2 + 1, 255]);
    let mut bytes = vec![next, units, kind, left];
    bytes.extend(if kind == 4 { vec![(units / 2).saturating_sub(1), 0, 0, 0] } else { vec![0; 4] });
    bytes.extend(lot.bytes(usize::from(units) * 8));
    bytes
}

/// Lets the first extension header say that it is longer than the packet, or than most.
pub fn too_long(lot: &mut Lot, packet: &mut [u8]) {
    let first = packet.get(6).copied().unwrap_or_default();
    if [proto::DSTOPTS, proto::ROUTING, proto::HOPOPTS].contains(&first)
        && let Some(units) = packet.get_mut(Ip6Hdr::LEN + 1)
    {
        *units = lot.one(&[8, 16, 64, 255]);
    }
}

/// A header that names hosts to visit, and nothing else in front of the payload: RFC 8754, or RFC 6554 if `rpl`. Such a
/// header elsewhere, or a longer way by RPL, no kernel should be asked to follow: see `conform::harm`.
pub fn visits(lot: &mut Lot, next: u8, rpl: bool, segments: &[Ipv6Addr]) -> Chain {
    let count = segments.len();
    let left =
        if rpl { lot.one(&[0, 1, 1, 1, 1, 1]) } else { lot.one(&[0, 1, 1, 1, 2, count, count + 1, 255]) };
    let flags = if lot.chance(10) { 8 } else { 0 };
    let (kind, fixed) = if rpl {
        (3, [lot.one(&[0, 0, 0, 0, 0, 0, 0, 0x10, 0x88]), lot.one(&[0, 0, 0, 0, 0, 0, 0, 0x10, 0x80]), 0, 0])
    } else {
        (4, [(count as u8).saturating_sub(1), flags, 0, 0])
    };
    let mut body: Vec<u8> = segments.iter().flat_map(Ipv6Addr::octets).collect();
    // A proof that nobody can check. RFC 8754 2.1.2
    if !rpl && flags != 0 {
        body.extend([[5, 38].to_vec(), lot.bytes(38)].concat());
    }
    let units = (body.len() / 8) as u8;
    let units = units.saturating_add_signed(lot.one(&[0, 0, 0, 0, 0, 0, 0, -1, 1]));
    let head = [next, units, kind, left.min(255) as u8];
    Chain { first: proto::ROUTING, bytes: [&head[..], &fixed, &body].concat(), plain: true }
}
