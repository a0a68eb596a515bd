//! Parts of packets that both families draw alike. Called by their `payload` and `frames`.

use super::lot::Lot;
use crate::scenario::{Nexthop, Route, Scenario};
use crate::wire::proto;
use std::net::IpAddr;

/// Protocols that have no handler anywhere.
pub const UNKNOWN: [u8; 3] = [253, 254, 200];

/// The gateways of a route and of the nexthop objects that it uses, each with its link where that is named.
pub fn gateways(s: &Scenario, route: &Route) -> Vec<(Option<String>, IpAddr)> {
    let object = |id: &u32| s.nexthop.iter().find(|n| n.id == *id);
    let members = |n: &Nexthop| n.group.iter().filter_map(|m| object(&m.id)).collect::<Vec<_>>();
    let used = route.nhid.as_ref().and_then(object);
    let objects = used.into_iter().chain(used.map(members).unwrap_or_default());
    let objects = objects.map(|n| (&n.dev, n.via));
    let hops = route.nexthop.iter().map(|hop| (&hop.dev, hop.via));
    let all = hops.chain(objects).chain([(&route.dev, route.via)]);
    all.filter_map(|(dev, via)| Some((dev.clone(), via?))).collect()
}

/// Writes `what` at `at`, as far as there is room.
pub fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(what) {
        *place = *byte;
    }
}

/// The head of a UDP datagram or a TCP segment, lengths right and wrong, ports often those that rules ask for.
pub fn transport(lot: &mut Lot, ports: &[u16], protocol: u8, bytes: &mut [u8]) {
    for at in [0, 2] {
        if lot.chance(60) {
            let port = lot.one(ports).wrapping_add(lot.one(&[0, 0, 1, u16::MAX]));
            put(bytes, at, &port.to_be_bytes());
        }
    }
    if protocol == proto::UDP {
        let len = bytes.len() as u16;
        let said = lot.one(&[len, len, len, len, len, len.wrapping_add(1), len.wrapping_sub(1), 7, 0]);
        put(bytes, 4, &said.to_be_bytes());
    } else {
        let flags = lot.one(&[2, 2, 0x10, 0x18, 0x12, 1, 4, 0x14, 0, 0x3f]);
        // Options that mean nothing: malformed ones may keep a kernel from answering, by how it was built.
        put(bytes, 20, &[1; 40]);
        put(bytes, 12, &[lot.one(&[0x50, 0x50, 0x50, 0x60, 0x40, 0xf0]), flags]);
    }
}

/// What the checksum of a payload goes over: a datagram ends where it says.
pub fn message(protocol: u8, bytes: &mut [u8]) -> Option<&mut [u8]> {
    let said =
        bytes.get(4..).and_then(|b| b.first_chunk()).map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    let len = if protocol == proto::UDP && said >= 8 { said.min(bytes.len()) } else { bytes.len() };
    bytes.get_mut(..len)
}

/// Bytes behind `headers`: few, any number, or such that the packet is at an edge, or that its pieces just fill that.
pub fn size(lot: &mut Lot, edges: &[usize], mtu: usize, headers: usize) -> usize {
    let room = mtu.saturating_sub(headers);
    let edge = lot.one(edges) + lot.below(3);
    match lot.below(10) {
        0..=5 => lot.below(90).min(room),
        6..=7 => edge.saturating_sub(1 + headers).min(room),
        8 if edge > headers => {
            // The last piece alone need not end at a multiple of eight. RFC 791 3.2
            let last = edge - headers;
            ((1 + lot.below(2)) * (last & !7) + last - lot.below(4).min(last)).min(room)
        }
        _ => lot.below(room + 1),
    }
}

/// Pads a packet as short frames are, with zeros or anything.
pub fn pad(lot: &mut Lot, packet: &mut Vec<u8>, mtu: usize) {
    let room = mtu.saturating_sub(packet.len()).min(40);
    let padding = lot.below(room + 1);
    let zeros = lot.chance(50);
    packet.extend(if zeros { vec![0; padding] } else { lot.bytes(padding) });
}
