//! IPv4 frames, good and bad.
//!
//! Invariants: every sender is new, because how many ICMP messages one host gets depends on the kernel's clock; nothing
//! is for the router itself, whose answers are the host's and not the forwarding path's. Called by `draw`.

use super::Lot;
use crate::conform::Frame;
use crate::scenario::{Scenario, default_mac};
use crate::wire::eth::{ETHERTYPE_IPV4, EthHdr, parse_mac};
use crate::wire::ip4::{FRAG_DF, FRAG_MF, Ip4Hdr};
use crate::wire::proto;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use zerocopy::IntoBytes;

/// Lengths of IP packets at which something happens: the usual MTUs, and one byte more.
const EDGES: [usize; 8] = [600, 601, 1280, 1281, 1300, 1301, 1400, 1401];
/// Sources and destinations with rules of their own, that no answer is sent to and that are not the router's.
const ODD_SOURCES: [[u8; 4]; 5] = [[0; 4], [127, 0, 0, 1], [224, 0, 0, 9], [239, 1, 1, 1], [255; 4]];
const ODD_DESTINATIONS: [[u8; 4]; 4] = [[0; 4], [127, 0, 0, 1], [224, 0, 0, 9], [239, 1, 1, 1]];
/// Types that options like to begin with.
const OPTION_KINDS: [u8; 9] = [0, 1, 7, 68, 131, 137, 148, 0x1e, 0x9e];

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
    senders: Vec<Ipv4Net>,
    /// Prefixes to send to.
    receivers: Vec<Ipv4Net>,
    used: BTreeSet<Ipv4Addr>,
}

/// `count` frames for the router of `scenario`.
pub fn frames(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(scenario, lot);
    (0..count).filter_map(|_| maker.frame()).collect()
}

impl Maker {
    fn new(scenario: &Scenario, lot: Lot) -> Maker {
        let ways = scenario.link.iter().zip(2..).map(|(link, next)| {
            let index = link.index.unwrap_or(next);
            let mac = link.mac.as_deref().and_then(|text| parse_mac(text).ok());
            let mtu = link.mtu.unwrap_or(1500) as usize;
            Way { link: link.name.clone(), mac: mac.unwrap_or(default_mac(index)), mtu }
        });
        let prefixes = |gateways: bool| {
            let routes = scenario.route.iter().filter(move |r| r.via.is_some() || !gateways);
            routes.filter_map(|r| r.dst.parse().ok()).collect::<Vec<Ipv4Net>>()
        };
        let (ways, senders, receivers) = (ways.collect(), prefixes(true), prefixes(false));
        Maker { lot, ways, senders, receivers, used: BTreeSet::new() }
    }

    fn frame(&mut self) -> Option<Frame> {
        let at = self.lot.below(self.ways.len());
        let (link, mac, mtu) = self.ways.get(at).map(|w| (w.link.clone(), w.mac, w.mtu))?;
        let mut packet = self.packet(mtu)?;
        self.damage(&mut packet, mtu);
        let to = match self.lot.below(100) {
            0 => [0xff; 6],
            1 => [0x33, 0x33, 0, 0, 0, 1],
            2 => [2, 0, 0, 0, 9, 9],
            _ => mac,
        };
        let mut bytes = EthHdr::new(to, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV4).as_bytes().to_vec();
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

    /// An address in one of these prefixes; never its first, which routers answer for.
    fn host(&mut self, prefixes: &[Ipv4Net]) -> Option<Ipv4Addr> {
        let net = self.lot.pick(prefixes)?;
        let host = self.lot.next() as u32 & net.hostmask().to_bits();
        Some(Ipv4Addr::from_bits(net.network().to_bits() | host | 1))
    }

    /// A sender that was not used before, or an odd address.
    fn source(&mut self) -> Option<Ipv4Addr> {
        if self.lot.chance(6) {
            return Some(self.lot.one(&ODD_SOURCES).into());
        }
        let senders = std::mem::take(&mut self.senders);
        let fresh = (0..20).find_map(|_| self.host(&senders).filter(|a| self.used.insert(*a)));
        self.senders = senders;
        fresh
    }

    fn destination(&mut self) -> Option<Ipv4Addr> {
        match self.lot.below(100) {
            0..=5 => Some(self.lot.one(&ODD_DESTINATIONS).into()),
            6..=15 => Some([172, 16, self.lot.next() as u8, 1].into()),
            _ => {
                let receivers = std::mem::take(&mut self.receivers);
                let found = self.host(&receivers);
                self.receivers = receivers;
                found
            }
        }
    }

    fn packet(&mut self, mtu: usize) -> Option<Vec<u8>> {
        let (src, dst) = (self.source()?, self.destination()?);
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
        if protocol == proto::ICMP {
            let kind = self.lot.one(&[8, 8, 0, 3, 3, 4, 5, 11, 12, 19]);
            if let Some(byte) = bytes.first_mut() {
                *byte = kind;
            }
            // What an error quotes begins as a packet does, so that multipath hashing can look into it.
            if let Some(byte) = bytes.get_mut(8) {
                *byte = 0x45;
            }
        }
        bytes
    }
}
