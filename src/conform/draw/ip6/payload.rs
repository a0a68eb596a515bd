//! What packets carry: messages of known protocols with sums right and wrong, packets in packets, and anything.
//! Called by `frames`.

use super::super::parts::{UNKNOWN, message, put, transport};
use super::Lot;
use super::site::Site;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::Ip6Hdr;
use crate::wire::l4::ports_offset;
use crate::wire::{csum, proto};
use std::net::{Ipv4Addr, Ipv6Addr};
use zerocopy::IntoBytes;

/// What a payload has to fit.
pub struct Content {
    pub protocol: u8,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// Whether the router may take it.
    pub local: bool,
    pub hops: u8,
    /// Bytes.
    pub size: usize,
    /// Whether sums may be right.
    pub sums: bool,
}

/// What is behind the headers. For the router itself nothing that a kernel module might handle.
pub fn protocol(lot: &mut Lot, site: &Site, local: bool) -> u8 {
    if lot.chance(15)
        && let Some(protocol) = lot.pick(&site.protocols).filter(|p| *p != proto::FRAGMENT)
    {
        return protocol;
    }
    match lot.below(100) {
        0..=24 => proto::UDP,
        25..=41 => proto::TCP,
        42..=71 => proto::ICMPV6,
        72..=75 => proto::NONE,
        76..=80 => lot.one(&UNKNOWN),
        _ if local => lot.one(&[proto::UDP, proto::ICMPV6, 59, 253, 1, 2]),
        81..=84 => proto::ESP,
        85..=88 => proto::IPV6,
        89..=92 => proto::IPIP,
        93..=96 => proto::GRE,
        97 => lot.one(&[33, 132, 136]),
        _ => lot.next() as u8,
    }
}

/// The payload.
pub fn bytes(lot: &mut Lot, site: &Site, content: &Content) -> Vec<u8> {
    let mut bytes = lot.bytes(content.size);
    match content.protocol {
        protocol @ (proto::UDP | proto::TCP) => transport(lot, &site.ports, protocol, &mut bytes),
        proto::ICMPV6 => icmp(lot, content, &mut bytes),
        proto::IPV6 => inner6(lot, &mut bytes),
        proto::IPIP => inner4(lot, &mut bytes),
        proto::GRE => gre(lot, &mut bytes),
        _ => {}
    }
    if content.sums && lot.chance(75) {
        sum(content, &mut bytes);
    }
    bytes
}

fn icmp(lot: &mut Lot, content: &Content, bytes: &mut [u8]) {
    let kinds: &[u8] = match content.local {
        // Nothing that teaches the router: see `frames`.
        true => &[128, 128, 128, 128, 129, 1, 3, 4, 0, 100, 127, 138, 139, 144, 200, 255],
        false => &[128, 128, 129, 1, 1, 2, 2, 3, 4, 0, 100, 127, 133, 134, 135, 136, 137, 138, 143, 200, 255],
    };
    let kind = lot.one(kinds);
    // Forwarded it would look like a report of the router's own.
    let kind = if kind == 143 && content.hops == 2 { 128 } else { kind };
    put(bytes, 0, &[kind, lot.one(&[0, 0, 0, 1, 3, 4, 255])]);
    if kind < 128
        && let Some(quoted) = bytes.get_mut(8..)
    {
        inner6(lot, quoted);
        // Of a packet that went the other way.
        if lot.chance(60) {
            put(quoted, 8, &content.dst.octets());
            put(quoted, 24, &content.src.octets());
        }
    }
}

/// An IPv6 packet in a packet; deeper ones now and then.
fn inner6(lot: &mut Lot, bytes: &mut [u8]) {
    let [src, dst] =
        [0, 1].map(|_| Ipv6Addr::from_bits(0x2001_0db8_0066 << 80 | u128::from(lot.next() & 0xff)));
    let next = lot.one(&[
        proto::UDP,
        proto::TCP,
        proto::ICMPV6,
        proto::IPIP,
        proto::NONE,
        proto::HOPOPTS,
        proto::FRAGMENT,
    ]);
    let mut header = Ip6Hdr::new(bytes.len().saturating_sub(Ip6Hdr::LEN) as u16, next, 9, src, dst);
    header.set_flow_label(lot.one(&[0, 0, 1, 0xf_ffff, 0x1_2345]));
    put(bytes, 0, header.as_bytes());
    if let Some(rest) = bytes.get_mut(Ip6Hdr::LEN..) {
        match next {
            proto::IPIP => inner4(lot, rest),
            proto::HOPOPTS | proto::FRAGMENT => put(rest, 0, &[proto::UDP, 0, 0, 0, 1, 4, 0, 0]),
            _ => {}
        }
    }
}

fn inner4(lot: &mut Lot, bytes: &mut [u8]) {
    let [src, dst] = [0, 1].map(|_| Ipv4Addr::new(10, 6, 6, lot.next() as u8));
    let protocol = lot.one(&[proto::UDP, proto::TCP, proto::ICMP, 253]);
    let mut header = Ip4Hdr::new(bytes.len() as u16, 9, protocol, src, dst);
    header.frag.set(lot.one(&[0, 0, 0, 0x2000, 0x00b9]));
    header.set_checksum(&[]);
    put(bytes, 0, header.as_bytes());
}

/// RFC 2784, RFC 2890; with routing (RFC 1701) nobody looks further.
fn gre(lot: &mut Lot, bytes: &mut [u8]) {
    let flags = lot.one(&[0, 0, 0x80, 0x20, 0xb0, 0x40, 0x01]);
    let inside: [u8; 2] = lot.one(&[[0x86, 0xdd], [0x08, 0x00], [0x65, 0x58]]);
    put(bytes, 0, &[flags, 0, inside[0], inside[1]]);
    let at = 4 + 4 * (flags & 0xb0).count_ones() as usize;
    if let Some(rest) = bytes.get_mut(at..) {
        if inside == [0x08, 0x00] { inner4(lot, rest) } else { inner6(lot, rest) }
    }
}

/// Makes the sum right, where the protocol has one.
fn sum(content: &Content, bytes: &mut [u8]) {
    let at = match content.protocol {
        proto::UDP => 6,
        proto::TCP => 16,
        proto::ICMPV6 => 2,
        _ => return,
    };
    let Some(message) = message(content.protocol, bytes) else { return };
    put(message, at, &[0, 0]);
    let pseudo = csum::pseudo6(content.src, content.dst, content.protocol, message.len() as u32);
    let sum = !csum::fold(pseudo + csum::sum(message));
    let sum = if sum == 0 && ports_offset(content.protocol).is_some() { 0xffff } else { sum };
    put(message, at, &sum.to_be_bytes());
}
