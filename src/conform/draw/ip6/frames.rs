//! Frames for an IPv6 router: who sends to whom by which link, and what is spoiled on the way.
//!
//! Invariant: no address is used so often that its share of redirects runs out (six at once, for sender and destination
//! alike), and nothing is sent that would change what the kernel knows for later frames: no neighbour discovery (but see
//! `discovery`), no listener reports and no Packet Too Big to the router. Nor is it asked for echoes so long that it would
//! have to cut its answer. Called by `draw`.

use super::super::parts::{self, put};
use super::headers::{self, Chain};
use super::payload::{self, Content};
use super::site::{Site, Way};
use super::{Lot, options};
use crate::conform::{Frame, harm};
use crate::scenario::Scenario;
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr, multicast_mac6};
use crate::wire::ip6::Ip6Hdr;
use crate::wire::proto;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use zerocopy::IntoBytes;

/// How often an address that is not the router's may be used: a redirect takes one of six from sender and destination.
const USES: usize = 5;
/// Longest packet with extension headers: a longer frame comes to the kernel in pieces, and some rules read only the first.
const WHOLE_MAX: usize = 3800;
/// Addresses with rules of their own. Answers to the last ones may find a way.
const ODD_SOURCES: [&str; 8] =
    ["::", "::", "::1", "ff02::1", "ff0e::7", "fe80::", "::ffff:1.2.3.4", "::1.2.3.4"];
const ODD_DESTINATIONS: [&str; 9] =
    ["::", "::", "::1", "::2", "::ffff:1.2.3.4", "fe80::1234", "fec0::77", "febf::1", "3fff::1"];
const GROUPS: [&str; 16] = [
    "ff00::1",
    "ff01::1",
    "ff01::2",
    "ff02::1",
    "ff02::2",
    "ff02::16",
    "ff02::6a",
    "ff02::4242",
    "ff03::1",
    "ff05::2",
    "ff05::4242",
    "ff08::1",
    "ff0e::4242",
    "ff12::77",
    "ff3e::77",
    "ff0f::1",
];

/// What frames are made of.
pub struct Maker {
    pub lot: Lot,
    pub site: Site,
    /// Whom messages were about, and of what size: see `told`.
    pub told: Vec<(Ipv6Addr, usize)>,
    uses: BTreeMap<Ipv6Addr, usize>,
}

/// `count` frames for the router of `scenario`.
pub fn frames(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, scenario);
    harmless(scenario, (0..count).filter_map(|_| maker.frame()))
}

/// The same, half of them neighbour discovery for the router.
pub fn discovery(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, scenario);
    let mut frame = || if maker.lot.chance(50) { maker.discovery() } else { maker.frame() };
    harmless(scenario, (0..count).filter_map(|_| frame()))
}

/// The same, most of them about ways that the router is told of, or along them.
pub fn telling(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, scenario);
    let mut frame = || if maker.lot.chance(80) { maker.telling() } else { maker.frame() };
    harmless(scenario, (0..count).filter_map(|_| frame()))
}

/// Those of the frames that do a kernel no harm.
fn harmless(scenario: &Scenario, frames: impl Iterator<Item = Frame>) -> Vec<Frame> {
    frames.filter(|frame| harm(scenario, frame).is_none()).collect()
}

impl Maker {
    pub fn new(lot: Lot, scenario: &Scenario) -> Maker {
        Maker { lot, site: Site::new(scenario), told: Vec::new(), uses: BTreeMap::new() }
    }

    fn frame(&mut self) -> Option<Frame> {
        let way = self.lot.pick(&self.site.ways)?;
        let dst = self.destination(&way)?;
        let src = self.source(&way, self.site.is_local(dst))?;
        let (mut packet, len_right) = self.packet(&way, src, dst);
        self.damage(&mut packet, &way, dst, len_right);
        packet.truncate(way.mtu);
        let ethertype = if self.lot.below(200) == 0 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let to = match self.lot.below(100) {
            0..=1 => [0xff; 6],
            2..=3 => [0x33, 0x33, 0, 0, 0, 1],
            4 => [2, 0, 0, 0, 9, 9],
            _ if dst.is_multicast() => multicast_mac6(dst),
            _ => way.mac,
        };
        let mut bytes = EthHdr::new(to, [2, 0, 0, 0, 8, 8], ethertype).as_bytes().to_vec();
        bytes.extend(packet);
        Some(Frame { link: way.link, time: 0, bytes })
    }

    /// Takes one of an address's uses, if any is left.
    pub fn spend(&mut self, address: Ipv6Addr) -> bool {
        let uses = self.uses.entry(address).or_insert(0);
        *uses += 1;
        *uses <= USES
    }

    /// An address by lot that may still be used.
    fn fresh(&mut self, draw: impl Fn(&mut Self) -> Option<Ipv6Addr>) -> Option<Ipv6Addr> {
        (0..20).find_map(|_| draw(self).filter(|a| self.spend(*a)))
    }

    pub fn source(&mut self, way: &Way, to_us: bool) -> Option<Ipv6Addr> {
        match self.lot.below(100) {
            0..=5 => self.fresh(|m| m.lot.one(&ODD_SOURCES).parse().ok()).or(Some(Ipv6Addr::UNSPECIFIED)),
            6..=9 => Some(Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(self.lot.next() >> 8))),
            10..=13 => Some(Ipv6Addr::from_bits(0x2 << 124 | self.lot.bits() >> 4)),
            36..=70 if to_us => self.fresh(|m| m.lot.pick(&way.near)),
            14..=35 => self.fresh(|m| m.lot.pick(&way.near)),
            // One of the router's own, as an attacker would.
            73..=74 => self.fresh(|m| m.lot.pick(&way.own)),
            // The first address of a subnet is that of all its routers. RFC 4291 2.6.1
            71..=72 => self.fresh(|m| m.lot.pick(&m.site.on_link).map(|net| net.network())),
            _ => None,
        }
        .or_else(|| {
            self.fresh(|m| {
                let origin = m.lot.pick(&m.site.origins)?;
                Some(m.lot.host(origin)).filter(|a| !a.is_multicast() && !a.is_loopback())
            })
        })
        .or_else(|| Some(Ipv6Addr::from_bits(0x2 << 124 | self.lot.bits() >> 4)))
    }

    fn destination(&mut self, way: &Way) -> Option<Ipv6Addr> {
        let other = self.lot.pick(&self.site.ways).unwrap_or_else(|| way.clone());
        let found = match self.lot.below(100) {
            0..=3 => self.fresh(|m| m.lot.one(&ODD_DESTINATIONS).parse().ok()),
            4..=10 => self.group(&other),
            11..=12 => self.lot.pick(&self.site.idle),
            13..=22 => self.lot.pick(&other.own),
            23..=36 => self.fresh(|m| m.lot.pick(&other.near)),
            37..=41 => Some(Ipv6Addr::from_bits(0x2 << 124 | self.lot.bits() >> 4)),
            42..=47 => self.fresh(|m| m.lot.pick(&way.proxied)),
            _ => None,
        };
        found.or_else(|| {
            self.fresh(|m| {
                let target = m.lot.pick(&m.site.targets)?;
                Some(m.lot.host(target))
            })
        })
    }

    fn group(&mut self, way: &Way) -> Option<Ipv6Addr> {
        if self.lot.chance(30) {
            // The solicited-node group of one of the router's addresses. RFC 4291 2.7.1
            let own = self.lot.pick(&way.own)?;
            return Some(Ipv6Addr::from_bits(0xff02 << 112 | 0x1_ff00_0000 | own.to_bits() & 0xff_ffff));
        }
        if self.lot.chance(20) {
            return Some(Ipv6Addr::from_bits(0xff << 120 | self.lot.bits() >> 8));
        }
        self.lot.one(&GROUPS).parse().ok()
    }

    /// A packet, and whether its length field is that of its bytes.
    pub fn packet(&mut self, way: &Way, src: Ipv6Addr, dst: Ipv6Addr) -> (Vec<u8>, bool) {
        let local = self.site.is_local(dst);
        let hops = self.lot.one(&[64, 64, 64, 64, 64, 64, 128, 255, 3, 2, 1, 0]);
        let protocol = payload::protocol(&mut self.lot, &self.site, local);
        let (protocol, visits) = self.visits(way, protocol, local);
        let chain = visits.unwrap_or_else(|| headers::chain(&mut self.lot, protocol, local));
        let Chain { first, bytes: headers, plain } = chain;
        let mtu = if headers.is_empty() { way.mtu } else { way.mtu.min(WHOLE_MAX) };
        let size = parts::size(&mut self.lot, &self.site.edges, mtu, Ip6Hdr::LEN + headers.len());
        // First fragments that end within the header of their protocol. RFC 7112 5
        let size = if local && !plain && self.lot.chance(45) { size.min(self.lot.below(9)) } else { size };
        let content = Content { protocol, src, dst, local, hops, size, sums: plain };
        let payload = payload::bytes(&mut self.lot, &self.site, &content);
        let len = headers.len() + payload.len();
        let mut header = Ip6Hdr::new(len as u16, first, hops, src, dst);
        if self.lot.chance(30) {
            header.set_flow_label(self.lot.next() as u32 & 0xf_ffff);
        }
        let class = self.lot.pick(&self.site.classes).filter(|_| self.lot.chance(30));
        let any = if self.lot.chance(30) { self.lot.next() as u8 } else { 0 };
        header.set_traffic_class(class.unwrap_or(any));
        let mut packet = [header.as_bytes(), &headers, &payload].concat();
        let jumbo = first == proto::HOPOPTS && options::zero_length(&mut self.lot, &mut packet);
        (packet, !jumbo)
    }

    /// Of packets to a router that follows routing headers, every other one has such a header, some of them a packet inside.
    fn visits(&mut self, way: &Way, protocol: u8, local: bool) -> (u8, Option<Chain>) {
        let (segments, rpl) = (self.site.segments, self.site.rpl);
        if !local || !(segments || rpl) || self.lot.chance(50) {
            return (protocol, None);
        }
        let inside = self.lot.maybe(25, &[proto::IPV6, proto::IPV6, proto::IPIP]);
        let protocol = inside.unwrap_or(protocol);
        let rpl = rpl && (!segments || self.lot.chance(50));
        let mut hosts: Vec<Ipv6Addr> =
            (0..1 + self.lot.below(4)).filter_map(|_| self.destination(way)).collect();
        match self.lot.below(10) {
            // Back to the router, and again.
            0..=5 if rpl => {
                let own: Vec<Ipv6Addr> = (0..3).filter_map(|_| self.lot.pick(&way.own)).collect();
                hosts.splice(..0, own.iter().skip(1).copied());
                hosts.extend(own.first());
            }
            6 if rpl => hosts.extend(self.group(way)),
            _ => {}
        }
        (protocol, Some(headers::visits(&mut self.lot, protocol, rpl, &hosts)))
    }

    /// Spoils some packets: the fixed header, the length, the end; or pads them as short frames are.
    fn damage(&mut self, packet: &mut Vec<u8>, way: &Way, dst: Ipv6Addr, len_right: bool) {
        // Of long packets, and of those to whom it answers for, a router reads on when it would send them.
        let read_late = (1281..=WHOLE_MAX).contains(&packet.len()) || way.proxied.contains(&dst);
        match self.lot.below(100) {
            0..=2 => {
                // Version, class, label, length; not the next header, nor the hop limit.
                let (at, bit) = (self.lot.below(6), self.lot.below(8));
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            3..=6 if len_right => {
                let len = packet.len().saturating_sub(Ip6Hdr::LEN) as u16;
                let wrong = [len.wrapping_sub(1), len.wrapping_add(1), 0, 0xffff, len / 2];
                let wrong = self.lot.one(&wrong);
                if let Some(place) = packet.get_mut(4..6) {
                    place.copy_from_slice(&wrong.to_be_bytes());
                }
            }
            7 => packet.truncate(self.lot.below(packet.len() + 1)),
            8 => packet.truncate(self.lot.one(&[0, 1, 39, 40, 41, 47, 48])),
            9..=14 => parts::pad(&mut self.lot, packet, way.mtu),
            15..=17 => headers::too_long(&mut self.lot, packet),
            18..=34 if read_late => {
                put(packet, 6, &[proto::DSTOPTS]);
                headers::too_long(&mut self.lot, packet);
                if let Some(next) = self.lot.maybe(70, &[proto::ICMPV6, proto::DSTOPTS]) {
                    put(packet, Ip6Hdr::LEN, &[next]);
                }
            }
            _ => {}
        }
    }
}
