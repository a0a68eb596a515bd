//! Neighbour discovery that is meant for the router: solicitations and advertisements of neighbours and routers; right ones and
//! spoiled ones. RFC 4861 4. Called by `frames`.
//!
//! What they teach changes the way of later packets, so they have boxes of their own. Proxied and anycast addresses are
//! asked for by unicast only: other answers the kernel delays by a time drawn by lot.

use super::frames::Maker;
use super::site::Way;
use crate::conform::Frame;
use crate::wire::eth::{ETHERTYPE_IPV6, EthHdr, multicast_mac6};
use crate::wire::icmp::{set_csum6, v6};
use crate::wire::ip6::{Ip6Hdr, MIN_MTU};
use crate::wire::proto;
use std::net::Ipv6Addr;
use zerocopy::IntoBytes;

const SOURCE_LLADDR: u8 = 1;
const TARGET_LLADDR: u8 = 2;
const NONCE: u8 = 14;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The group in which the owner of `address` is asked for. RFC 4291 2.7.1
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xff02 << 112 | 0x1_ff00_0000 | address.to_bits() & 0xff_ffff)
}

impl Maker {
    /// A message.
    pub fn discovery(&mut self) -> Option<Frame> {
        // A link that is too small for IPv6 does not carry the longest of them.
        let way = self.lot.pick(&self.site.ways).filter(|way| way.mtu >= MIN_MTU as usize)?;
        let kind = match self.lot.below(10) {
            0..=4 => v6::NEIGHBOUR_SOLICIT,
            5..=6 => v6::NEIGHBOUR_ADVERT,
            7..=8 => v6::ROUTER_SOLICIT,
            _ => v6::ROUTER_ADVERT,
        };
        let target = self.target(&way, kind)?;
        let (src, dst) = (self.asker(&way)?, self.asked(&way, kind, target)?);
        let mut body = vec![kind, self.one_in(20, 1, 0), 0, 0];
        body.push(if kind == v6::NEIGHBOUR_ADVERT { self.lot.one(&[0, 0x20, 0x40, 0x60, 0xe0]) } else { 0 });
        body.extend([0; 3]);
        body.extend(match kind {
            v6::ROUTER_SOLICIT => vec![],
            v6::ROUTER_ADVERT => vec![0; 8],
            _ => target.octets().to_vec(),
        });
        let lladdr = if kind == v6::NEIGHBOUR_ADVERT { TARGET_LLADDR } else { SOURCE_LLADDR };
        for _ in 0..self.lot.one(&[0, 1, 1, 1, 1, 2]) {
            self.discovery_option(lladdr, &mut body);
        }
        if self.lot.chance(4) {
            body.truncate(self.lot.below(body.len()));
        }
        if self.lot.chance(97) {
            let _ = set_csum6(src, dst, &mut body); // false only without room for a header
        }
        let hops = if self.lot.chance(92) { 255 } else { self.lot.one(&[0, 1, 64, 254]) };
        let header = Ip6Hdr::new(body.len() as u16, proto::ICMPV6, hops, src, dst);
        let mac = if dst.is_multicast() { multicast_mac6(dst) } else { way.mac };
        let eth = EthHdr::new(mac, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV6);
        let bytes = [eth.as_bytes(), header.as_bytes(), &body].concat();
        Some(Frame { link: way.link, time: 0, bytes })
    }

    fn one_in(&mut self, n: usize, odd: u8, usual: u8) -> u8 {
        if self.lot.below(n) == 0 { odd } else { usual }
    }

    /// Whom a message is about: the router, one that it answers for, a neighbour, anybody.
    fn target(&mut self, way: &Way, kind: u8) -> Option<Ipv6Addr> {
        let known = if kind == v6::NEIGHBOUR_ADVERT { 7 } else { 1 };
        match self.lot.below(10) {
            0 => Some(Ipv6Addr::from_bits(0x2 << 124 | self.lot.bits() >> 4)),
            1 if self.lot.chance(30) => Some(ALL_NODES),
            n if n <= known => self.lot.pick(&way.near),
            _ => self.lot.pick(&way.own),
        }
    }

    /// Who sends: a neighbour, a new one, nobody, one from afar.
    fn asker(&mut self, way: &Way) -> Option<Ipv6Addr> {
        match self.lot.below(10) {
            0..=5 => self.lot.pick(&way.near),
            6 => Some(Ipv6Addr::UNSPECIFIED),
            7..=8 => Some(Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(self.lot.next() >> 8))),
            _ => Some(Ipv6Addr::from_bits(0x2 << 124 | self.lot.bits() >> 4)),
        }
    }

    fn asked(&mut self, way: &Way, kind: u8, target: Ipv6Addr) -> Option<Ipv6Addr> {
        // Of a link's addresses those of any of its routers end in zeros; of the others none does.
        let alone = way.near.contains(&target) || target.to_bits().trailing_zeros() >= 16;
        match (kind, self.lot.below(10)) {
            (v6::NEIGHBOUR_SOLICIT, 0..=5) if !alone => Some(solicited_node(target)),
            (v6::NEIGHBOUR_SOLICIT, 6) if !alone => Some(ALL_NODES),
            (v6::NEIGHBOUR_ADVERT | v6::ROUTER_ADVERT, 0..=4) => Some(ALL_NODES),
            (v6::ROUTER_SOLICIT, 0..=6) => Some(ALL_ROUTERS),
            _ => self.lot.pick(&way.own),
        }
    }

    /// RFC 4861 4.6, RFC 3971 5.3.2: mostly the link-layer address that fits.
    fn discovery_option(&mut self, usual: u8, body: &mut Vec<u8>) {
        let kind = match self.lot.below(10) {
            0 => self.lot.one(&[SOURCE_LLADDR, TARGET_LLADDR, 3, 200]),
            1 => NONCE,
            _ => usual,
        };
        let units = if self.lot.chance(94) { 1 } else { self.lot.one(&[0, 2, 255]) };
        body.extend([kind, units, 2, 0, 0, 7, 7, self.lot.next() as u8 & 0xf]);
        if units == 2 {
            body.extend([0; 8]);
        }
    }
}
