//! What packets carry: messages of known protocols with sums right and wrong, packets in packets, and anything.
//! Called by `frames`.

use super::super::parts::{UNKNOWN, message, put, transport};
use super::Lot;
use super::site::Site;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::Ip6Hdr;
use crate::wire::{csum, proto};
use std::net::{Ipv4Addr, Ipv6Addr};
use zerocopy::IntoBytes;

/// Who takes a packet, and what may come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Others.
    Passes,
    /// The router, which may answer as a host.
    Local,
    /// Nobody may be told anything.
    Mute,
}

/// What a payload has to fit.
pub struct Content {
    pub protocol: u8,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub fate: Fate,
    /// Bytes.
    pub size: usize,
    /// Whether sums may be right.
    pub sums: bool,
}

/// What is behind the header. For the router itself nothing that a kernel module might handle.
pub fn protocol(lot: &mut Lot, site: &Site, fate: Fate) -> u8 {
    let any = |lot: &mut Lot| lot.pick(&site.protocols).filter(|_| lot.chance(15));
    match (fate, lot.below(100)) {
        (Fate::Mute, _) => proto::ICMP,
        (Fate::Passes, _) if let Some(protocol) = any(lot) => protocol,
        (_, 0..=24) => proto::UDP,
        (Fate::Passes | Fate::Local, 25..=44) => proto::TCP,
        (_, 25..=74) => proto::ICMP,
        (_, 75..=80) => lot.one(&UNKNOWN),
        (Fate::Local, _) => lot.one(&[proto::UDP, proto::ICMP, proto::IGMP, 253]),
        (Fate::Passes, 81..=84) => proto::ESP,
        (_, 85..=88) => proto::IPV6,
        (_, 89..=92) => proto::IPIP,
        (_, 93..=96) => proto::GRE,
        (_, 97) => lot.one(&[2, 33, 132, 136]),
        _ => lot.next() as u8,
    }
}

/// The payload.
pub fn bytes(lot: &mut Lot, site: &Site, content: &Content) -> Vec<u8> {
    let mut bytes = lot.bytes(content.size);
    match content.protocol {
        protocol @ (proto::UDP | proto::TCP) => {
            transport(lot, &site.ports, protocol, &mut bytes);
            // Without a sum. RFC 768
            if protocol == proto::UDP && lot.chance(20) {
                put(&mut bytes, 6, &[0, 0]);
            }
        }
        proto::ICMP => icmp(lot, content, &mut bytes),
        // Reports alone: a question makes the router report its groups.
        proto::IGMP if content.fate != Fate::Passes => {
            put(&mut bytes, 0, &[lot.one(&[0x12, 0x16, 0x17, 0x22])]);
        }
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
    let kinds: &[u8] = match content.fate {
        Fate::Mute => &[3],
        // Nothing that teaches the router, and no question about the time: see the module.
        Fate::Local => &[8, 8, 8, 8, 0, 3, 4, 11, 12, 15, 18, 19, 40, 255],
        Fate::Passes => {
            &[8, 8, 0, 3, 3, 3, 4, 5, 11, 11, 12, 1, 2, 6, 7, 9, 10, 13, 14, 15, 17, 18, 19, 40, 255]
        }
    };
    let kind = lot.one(kinds);
    let codes: &[u8] =
        if content.fate == Fate::Passes { &[0, 0, 1, 3, 4, 13, 255] } else { &[0, 0, 1, 3, 13] };
    put(bytes, 0, &[kind, lot.one(codes)]);
    if matches!(kind, 3 | 4 | 5 | 11 | 12)
        && let Some(quoted) = bytes.get_mut(8..)
    {
        inner4(lot, quoted);
        // Of a packet that went the other way.
        if lot.chance(30) {
            put(quoted, 12, &content.dst.octets());
            put(quoted, 16, &content.src.octets());
        }
    }
}

fn inner6(lot: &mut Lot, bytes: &mut [u8]) {
    let [src, dst] =
        [0, 1].map(|_| Ipv6Addr::from_bits(0x2001_0db8_0066 << 80 | u128::from(lot.next() & 0xff)));
    let next = lot.one(&[proto::UDP, proto::TCP, proto::ICMPV6, proto::IPIP, proto::NONE, proto::FRAGMENT]);
    let mut header = Ip6Hdr::new(bytes.len().saturating_sub(Ip6Hdr::LEN) as u16, next, 9, src, dst);
    header.set_flow_label(lot.one(&[0, 0, 1, 0xf_ffff, 0x1_2345]));
    put(bytes, 0, header.as_bytes());
    if let Some(rest) = bytes.get_mut(Ip6Hdr::LEN..) {
        match next {
            proto::IPIP => inner4(lot, rest),
            proto::FRAGMENT => put(rest, 0, &[proto::UDP, 0, 0, 0, 1, 4, 0, 0]),
            _ => {}
        }
    }
}

/// An IPv4 packet in a packet; deeper ones now and then.
fn inner4(lot: &mut Lot, bytes: &mut [u8]) {
    let [src, dst] = [0, 1].map(|_| Ipv4Addr::new(10, 6, 6, lot.next() as u8));
    let protocol = lot.one(&[proto::UDP, proto::TCP, proto::ICMP, proto::IPIP, proto::IPV6, 253]);
    let mut header = Ip4Hdr::new(bytes.len() as u16, 9, protocol, src, dst);
    header.frag.set(lot.one(&[0, 0, 0, 0x2000, 0x00b9]));
    header.ver_ihl = lot.one(&[0x45, 0x45, 0x45, 0x45, 0x46, 0x44, 0x65]);
    header.set_checksum(&[]);
    put(bytes, 0, header.as_bytes());
    if let Some(rest) = bytes.get_mut(Ip4Hdr::LEN..) {
        match protocol {
            proto::IPIP => inner4(lot, rest),
            proto::IPV6 => inner6(lot, rest),
            _ => {}
        }
    }
}

/// RFC 2784, RFC 2890; with routing (RFC 1701) nobody looks further.
fn gre(lot: &mut Lot, bytes: &mut [u8]) {
    let flags = lot.one(&[0, 0, 0x80, 0x20, 0xb0, 0x40, 0x01]);
    let inside: [u8; 2] = lot.one(&[[0x86, 0xdd], [0x08, 0x00], [0x08, 0x00], [0x65, 0x58]]);
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
        proto::ICMP => 2,
        _ => return,
    };
    let Some(message) = message(content.protocol, bytes) else { return };
    put(message, at, &[0, 0]);
    let pseudo = match content.protocol {
        proto::ICMP => 0,
        protocol => csum::pseudo4(content.src, content.dst, protocol, message.len() as u16),
    };
    let sum = !csum::fold(pseudo + csum::sum(message));
    let sum = if sum == 0 && content.protocol == proto::UDP { 0xffff } else { sum };
    put(message, at, &sum.to_be_bytes());
}
