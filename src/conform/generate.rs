//! Frames drawn by lot for a router, good and bad, to be put through the kernel and warren.
//!
//! Invariants: the same seed gives the same frames on every machine; every sender is new, because how many ICMP
//! messages one host gets depends on the kernel's clock; nothing is for the router itself, whose answers are the host's
//! and not the forwarding path's. Called by `warren conform`.

use super::Frame;
use crate::control::netlink::Family;
use crate::scenario::{Scenario, default_mac};
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr, parse_mac};
use crate::wire::ip4::{FRAG_DF, FRAG_MF, Ip4Hdr};
use crate::wire::ip6::Ip6Hdr;
use crate::wire::proto;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::IntoBytes;

/// When the first frame comes, and how long after one the next: 2026-01-01, 0.1 ms.
const START: u64 = 1_767_225_600_000_000_000;
const STEP: u64 = 100_000;
/// Lengths of IP packets at which something happens: the usual MTUs, and one byte more.
const EDGES: [usize; 8] = [600, 601, 1280, 1281, 1300, 1301, 1400, 1401];
/// Sources and destinations with rules of their own, that no answer is sent to and that are not the router's.
const ODD_SOURCES: [&str; 9] = [
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.9",
    "239.1.1.1",
    "255.255.255.255",
    "::",
    "::1",
    "ff02::1",
    "::ffff:1.2.3.4",
];
const ODD_DESTINATIONS: [&str; 12] = [
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.9",
    "239.1.1.1",
    "::",
    "::1",
    "ff00::1",
    "ff01::1",
    "ff02::4242",
    "ff05::4242",
    "ff0e::4242",
    "::ffff:1.2.3.4",
];
/// Bytes that options like to begin with: types of both families.
const OPTION_KINDS: [u8; 12] = [0, 1, 5, 7, 68, 0xc2, 0x31, 131, 137, 148, 0x1e, 0x9e];

/// Numbers by lot: splitmix64, which has a period of 2^64 and no bad seeds.
struct Lot(u64);

impl Lot {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        self.next().checked_rem(n as u64).unwrap_or(0) as usize
    }

    /// True in `percent` of all cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len());
        from.get(at).copied()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// A link that frames enter by.
struct Way {
    link: String,
    mac: [u8; 6],
    mtu: usize,
}

/// What frames are made of.
struct Maker {
    lot: Lot,
    ways: Vec<Way>,
    /// Prefixes that lead back to a sender, by way of a gateway.
    senders: Vec<IpNet>,
    /// Prefixes to send to.
    receivers: Vec<IpNet>,
    used: BTreeSet<IpAddr>,
}

/// `count` frames for the router of `scenario`, of both families or one.
pub fn generate(scenario: &Scenario, count: usize, seed: u64, family: Option<Family>) -> Vec<Frame> {
    let mut maker = Maker::new(scenario, seed);
    let mut frames = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let either = if maker.lot.chance(50) { Family::V4 } else { Family::V6 };
        if let Some(mut frame) = maker.frame(family.unwrap_or(either)) {
            frame.time = START + number * STEP;
            frames.push(frame);
        }
    }
    frames
}

impl Maker {
    fn new(scenario: &Scenario, seed: u64) -> Maker {
        let ways = scenario.link.iter().zip(2..).map(|(link, next)| {
            let index = link.index.unwrap_or(next);
            let mac = link.mac.as_deref().and_then(|text| parse_mac(text).ok());
            let mtu = link.mtu.unwrap_or(1500) as usize;
            Way { link: link.name.clone(), mac: mac.unwrap_or(default_mac(index)), mtu }
        });
        let prefixes = |gateways: bool| {
            let routes = scenario.route.iter().filter(move |r| r.via.is_some() || !gateways);
            routes.filter_map(|r| r.dst.parse::<IpNet>().ok()).collect::<Vec<_>>()
        };
        Maker {
            lot: Lot(seed),
            ways: ways.collect(),
            senders: prefixes(true),
            receivers: prefixes(false),
            used: BTreeSet::new(),
        }
    }

    fn frame(&mut self, family: Family) -> Option<Frame> {
        let at = self.lot.below(self.ways.len());
        let (link, mac, mtu) = self.ways.get(at).map(|w| (w.link.clone(), w.mac, w.mtu))?;
        let (mut packet, ethertype) = match family {
            Family::V4 => (self.packet4(mtu)?, ETHERTYPE_IPV4),
            Family::V6 => (self.packet6(mtu)?, ETHERTYPE_IPV6),
        };
        self.damage(&mut packet, mtu);
        let to = match self.lot.below(100) {
            0 => [0xff; 6],
            1 => [0x33, 0x33, 0, 0, 0, 1],
            2 => [2, 0, 0, 0, 9, 9],
            _ => mac,
        };
        let mut bytes = EthHdr::new(to, [2, 0, 0, 0, 8, 8], ethertype).as_bytes().to_vec();
        bytes.extend(packet);
        Some(Frame { link, time: 0, bytes })
    }

    /// Spoils some packets: a byte of the header that is no address, the end, or padding behind it.
    fn damage(&mut self, packet: &mut Vec<u8>, mtu: usize) {
        match self.lot.below(100) {
            0..=5 => {
                let at = self.lot.below(8);
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << self.lot.below(8);
                }
            }
            6..=8 => packet.truncate(self.lot.below(packet.len())),
            9..=13 => {
                let room = mtu.saturating_sub(packet.len()).min(40);
                let padding = self.lot.below(room + 1);
                packet.extend(self.lot.bytes(padding));
            }
            _ => {}
        }
    }

    /// An address in one of these prefixes of the family; never its first, which routers answer for.
    fn host(&mut self, prefixes: &[IpNet], family: Family) -> Option<IpAddr> {
        let of_family: Vec<IpNet> =
            prefixes.iter().copied().filter(|p| Family::of(p.addr()) == family).collect();
        Some(match self.lot.pick(&of_family)? {
            IpNet::V4(net) => {
                let host = self.lot.next() as u32 & net.hostmask().to_bits();
                IpAddr::V4(Ipv4Addr::from_bits(net.network().to_bits() | host | 1))
            }
            IpNet::V6(net) => {
                let host = u128::from(self.lot.next()) & net.hostmask().to_bits();
                IpAddr::V6(Ipv6Addr::from_bits(net.network().to_bits() | host | 1))
            }
        })
    }

    /// One of these addresses, of the family.
    fn odd(&mut self, from: &[&str], family: Family) -> Option<IpAddr> {
        let all: Vec<IpAddr> = from.iter().filter_map(|text| text.parse().ok()).collect();
        let all: Vec<IpAddr> = all.into_iter().filter(|a| Family::of(*a) == family).collect();
        self.lot.pick(&all)
    }

    /// A sender that was not used before, or an odd address.
    fn source(&mut self, family: Family) -> Option<IpAddr> {
        if self.lot.chance(6) {
            return self.odd(&ODD_SOURCES, family);
        }
        let senders = std::mem::take(&mut self.senders);
        let fresh = (0..20).find_map(|_| self.host(&senders, family).filter(|a| self.used.insert(*a)));
        self.senders = senders;
        fresh
    }

    fn destination(&mut self, family: Family) -> Option<IpAddr> {
        match self.lot.below(100) {
            0..=5 => self.odd(&ODD_DESTINATIONS, family),
            6..=15 => Some(match family {
                Family::V4 => IpAddr::from([172, 16, self.lot.next() as u8, 1]),
                Family::V6 => IpAddr::from([0x2001, 0xdb8, 0xffff, self.lot.next() as u16, 0, 0, 0, 1]),
            }),
            _ => {
                let receivers = std::mem::take(&mut self.receivers);
                let found = self.host(&receivers, family);
                self.receivers = receivers;
                found
            }
        }
    }

    fn packet4(&mut self, mtu: usize) -> Option<Vec<u8>> {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (self.source(Family::V4)?, self.destination(Family::V4)?)
        else {
            return None;
        };
        // From nobody to nobody is a broadcast to every host (BOOTP), the router included.
        if src.is_unspecified() && dst.is_unspecified() {
            return None;
        }
        let words = if self.lot.chance(15) { self.lot.below(10) + 1 } else { 0 };
        let options = self.options(4 * words);
        let header_len = Ip4Hdr::LEN + options.len();
        let protocols =
            [proto::UDP, proto::UDP, proto::TCP, proto::ICMP, proto::ICMP, proto::ESP, proto::IPIP];
        let protocol = self.lot.pick(&protocols)?;
        let size = self.size(mtu, header_len);
        let hops = self.hops()?;
        let mut header = Ip4Hdr::new((header_len + size) as u16, hops, protocol, src, dst);
        header.ver_ihl = 0x40 | (header_len / 4) as u8;
        header.tos = if self.lot.chance(30) { self.lot.next() as u8 } else { 0 };
        header.id.set(self.lot.next() as u16);
        header.frag.set(match self.lot.below(20) {
            0..=5 => FRAG_DF,
            6 => FRAG_MF,
            7 => FRAG_MF | 185,
            8 => 185,
            _ => 0,
        });
        header.set_checksum(&options);
        if self.lot.chance(3) {
            header.csum.set(self.lot.next() as u16);
        }
        let payload = self.payload(protocol, size);
        Some([header.as_bytes(), &options, &payload].concat())
    }

    fn packet6(&mut self, mtu: usize) -> Option<Vec<u8>> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (self.source(Family::V6)?, self.destination(Family::V6)?)
        else {
            return None;
        };
        let protocols =
            [proto::UDP, proto::UDP, proto::TCP, proto::ICMPV6, proto::ICMPV6, proto::ESP, proto::IPV6];
        let protocol = self.lot.pick(&protocols)?;
        let (first, headers) = self.extension_headers(protocol);
        let size = self.size(mtu, Ip6Hdr::LEN + headers.len());
        let hops = self.hops()?;
        let mut header = Ip6Hdr::new((headers.len() + size) as u16, first, hops, src, dst);
        if self.lot.chance(30) {
            header.set_traffic_class(self.lot.next() as u8);
            header.set_flow_label(self.lot.next() as u32 & 0xf_ffff);
        }
        let payload = self.payload(protocol, size);
        Some([header.as_bytes(), &headers, &payload].concat())
    }

    /// The next header of the fixed header, and the headers up to the transport's.
    fn extension_headers(&mut self, protocol: u8) -> (u8, Vec<u8>) {
        let kinds = [(proto::HOPOPTS, 20), (proto::DSTOPTS, 5), (proto::ROUTING, 5), (proto::FRAGMENT, 8)];
        let chosen: Vec<u8> =
            kinds.iter().filter(|(_, c)| self.lot.chance(*c)).map(|(kind, _)| *kind).collect();
        let mut bytes = Vec::new();
        let nexts = chosen.iter().skip(1).copied().chain([protocol]);
        for (kind, next) in chosen.iter().zip(nexts) {
            let units = if *kind == proto::FRAGMENT { 0 } else { self.lot.below(4) };
            let body = match *kind {
                proto::FRAGMENT => vec![
                    0,
                    self.lot.pick(&[0, 4]).unwrap_or(0),
                    self.lot.pick(&[0, 1]).unwrap_or(0),
                    0,
                    0,
                    0,
                    7,
                ],
                _ => [vec![units as u8], self.options(8 * units + 6)].concat(),
            };
            bytes.push(next);
            bytes.extend(body);
        }
        (chosen.first().copied().unwrap_or(protocol), bytes)
    }

    /// Options that fill `room`, mostly well formed.
    fn options(&mut self, room: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(room);
        while bytes.len() < room {
            let left = room - bytes.len();
            let kind =
                if self.lot.chance(80) { self.lot.pick(&OPTION_KINDS) } else { Some(self.lot.next() as u8) };
            let data = self.lot.below(left.min(12));
            bytes.extend([kind.unwrap_or(1), data as u8 + 2, 4 + 4 * self.lot.below(3) as u8]);
            let zeros = self.lot.chance(50);
            bytes.extend(if zeros { vec![0; data] } else { self.lot.bytes(data) });
        }
        bytes.truncate(room);
        bytes
    }

    fn hops(&mut self) -> Option<u8> {
        self.lot.pick(&[64, 64, 64, 64, 64, 64, 255, 2, 1, 0])
    }

    /// Bytes behind `headers`: few, random, or such that the packet is at an edge; never more than the link carries.
    fn size(&mut self, mtu: usize, headers: usize) -> usize {
        let room = mtu.saturating_sub(headers);
        let edge = self.lot.pick(&EDGES).unwrap_or(0).saturating_sub(headers);
        match self.lot.below(10) {
            0..=4 => self.lot.below(80).min(room),
            5..=7 => edge.min(room),
            _ => self.lot.below(room + 1),
        }
    }

    fn payload(&mut self, protocol: u8, size: usize) -> Vec<u8> {
        let mut bytes = self.lot.bytes(size);
        let kinds: [u8; 10] = match protocol {
            proto::ICMP => [8, 8, 0, 3, 3, 4, 5, 11, 12, 19],
            _ => [128, 128, 129, 1, 2, 3, 4, 137, 100, 200],
        };
        if matches!(protocol, proto::ICMP | proto::ICMPV6) {
            let kind = self.lot.pick(&kinds).unwrap_or(0);
            if let Some(byte) = bytes.first_mut() {
                *byte = kind;
            }
            // What an error quotes begins as a packet does, so that multipath hashing can look into it.
            if let Some(byte) = bytes.get_mut(8) {
                *byte = if protocol == proto::ICMP { 0x45 } else { 0x60 };
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_nobody_speaks_twice() {
        let scenario =
            Scenario::parse(include_str!("usual.toml"), std::path::Path::new("usual.toml")).unwrap();
        let frames = |seed| generate(&scenario, 500, seed, None);
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
        let only = generate(&scenario, 200, 3, Some(Family::V6));
        assert!(only.len() > 150 && only.iter().all(|f| f.bytes[12..14] == [0x86, 0xdd]));
        let drawn = frames(4);
        let senders = || drawn.iter().filter_map(|f| f.bytes.get(26..30)).filter(|s| s[0] == 10);
        assert_eq!(senders().count(), senders().collect::<BTreeSet<_>>().len());
    }
}
