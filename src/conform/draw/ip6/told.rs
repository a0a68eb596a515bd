//! Messages that teach a router ways and path MTUs, Packets Too Big and redirects, and packets to those whom they are about.
//! RFC 8201 4, RFC 4861 8. Called by `frames`.
//!
//! What they teach changes the way of later packets, so they have boxes of their own.

use super::super::parts::put;
use super::frames::Maker;
use super::site::Way;
use super::{Lot, set};
use crate::conform::Frame;
use crate::scenario::Scenario;
use crate::wire::eth::{ETHERTYPE_IPV6, EthHdr};
use crate::wire::icmp::{set_csum6, v6};
use crate::wire::ip6::{Ip6Hdr, MIN_MTU, is_link_local};
use crate::wire::proto;
use std::net::Ipv6Addr;
use zerocopy::IntoBytes;

const TARGET_LLADDR: u8 = 2;
const REDIRECTED: u8 = 4;

/// Lets some links take redirects: a router takes none where it forwards by its own account (RFC 4861 8.3).
pub fn listens(lot: &mut Lot, s: &mut Scenario) {
    for link in s.link.clone().into_iter().filter(|l| l.mtu.is_none_or(|mtu| mtu >= MIN_MTU)) {
        if lot.chance(60) {
            set(s, format!("net.ipv6.conf.{}.forwarding", link.name), 0);
            set(s, format!("net.ipv6.conf.{}.accept_redirects", link.name), i64::from(lot.chance(75)));
        }
    }
}

impl Maker {
    /// A message, or a packet to one whom a message was about, or one whom the router answers.
    pub fn telling(&mut self) -> Option<Frame> {
        // A link that is too small for IPv6 does not carry them.
        let way = self.lot.pick(&self.site.ways).filter(|way| way.mtu >= MIN_MTU as usize)?;
        match self.lot.below(10) {
            0..=2 => self.too_big(&way),
            3..=5 => self.redirect(&way),
            _ => {
                let (dst, size) = self.lately().filter(|(dst, _)| self.spend(*dst))?;
                let answered = self.lot.chance(30);
                let own = self.lot.pick(&way.own)?;
                let src = if answered { dst } else { self.source(&way, false)? };
                let edges = std::mem::replace(&mut self.site.edges, vec![size]);
                // Short ones do not meet what was told.
                let tries = 1 + self.lot.below(3);
                let packets = (0..tries).map(|_| self.packet(&way, src, if answered { own } else { dst }).0);
                let mut packet = packets.max_by_key(Vec::len)?;
                self.site.edges = edges;
                packet.truncate(way.mtu);
                Some(frame(&way, packet))
            }
        }
    }

    /// One of those whom the last messages were about: with all of them few packets would meet theirs.
    fn lately(&mut self) -> Option<(Ipv6Addr, usize)> {
        let last = self.told.get(self.told.len().saturating_sub(8)..).unwrap_or_default();
        self.lot.pick(last)
    }

    /// Whom the next messages are about: mostly one of a few, so that they meet.
    fn about(&mut self) -> Option<Ipv6Addr> {
        if let Some((known, _)) = self.lately().filter(|_| self.lot.chance(40)) {
            return Some(known);
        }
        let way = self.lot.pick(&self.site.ways)?;
        let target = self.lot.pick(&self.site.targets)?;
        let near = self.lot.pick(&way.near).filter(|_| self.lot.chance(20));
        let dst = near.unwrap_or_else(|| self.lot.host(target));
        Some(dst).filter(|dst| !self.site.is_local(*dst))
    }

    /// A packet that the router may have sent to `dst`: what is quoted of it.
    fn sent(&mut self, dst: Ipv6Addr) -> Option<Vec<u8>> {
        let other = self.lot.pick(&self.site.ways)?;
        let own = self.lot.pick(&other.own)?;
        let src = if self.lot.chance(85) { own } else { self.source(&other, false)? };
        let protocol =
            self.lot.one(&[proto::ICMPV6, proto::ICMPV6, proto::ICMPV6, proto::ICMPV6, proto::UDP, 253]);
        let mut header = Ip6Hdr::new(1400, protocol, 64, src, dst);
        if self.lot.chance(25) {
            header.set_flow_label(self.lot.next() as u32 & 0xf_ffff);
        }
        if let Some(class) = self.lot.pick(&self.site.classes).filter(|_| self.lot.chance(40)) {
            header.set_traffic_class(class);
        }
        let data = [v6::ECHO_REPLY, 0, 1, 2, 0, 0, 0, 1, 9, 9, 9, 9];
        let len = if self.lot.chance(95) { data.len() } else { self.lot.below(data.len()) };
        Some([header.as_bytes(), data.get(..len)?].concat())
    }

    fn too_big(&mut self, way: &Way) -> Option<Frame> {
        let dst = self.about()?;
        let mtu = if self.lot.chance(30) {
            self.lot.one(&[0, 68, 1279, 1280, 1281, 1500, 9000, 65535, 70000])
        } else {
            1280 + self.lot.below(220) as u32
        };
        self.told.push((dst, mtu.clamp(100, 9000) as usize));
        let mut body = vec![v6::PKT_TOOBIG, 0, 0, 0];
        body.extend(mtu.to_be_bytes());
        body.extend(self.sent(dst)?);
        let (src, to) = (self.source(way, true)?, self.lot.pick(&way.own)?);
        self.message(way, (src, to), 64, body)
    }

    fn redirect(&mut self, way: &Way) -> Option<Frame> {
        let routers: Vec<_> = way.near.iter().copied().filter(|a| is_link_local(*a)).collect();
        let any = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(self.lot.next() >> 8));
        let here: Vec<_> = self.site.first_hops.iter().filter(|hop| hop.0 == way.link).cloned().collect();
        let known = self.lot.pick(&here).filter(|_| self.lot.chance(85));
        let (router, dst) = match known {
            Some((_, router, net)) => {
                let dst = self.lot.host(net);
                (router, dst)
            }
            None => (self.lot.pick(&routers).unwrap_or(any), self.about()?),
        };
        self.told.push((dst, 1280));
        let net = self.lot.pick(&self.site.targets)?;
        let far = self.lot.host(net);
        let target = match self.lot.below(10) {
            0..=1 => dst,
            2 => any,
            3 => far,
            4..=5 => self.lot.pick(&way.near)?,
            _ => self.lot.pick(&routers).unwrap_or(any),
        };
        let named = if self.lot.chance(95) { dst } else { self.lot.one(&["ff02::9", "::"]).parse().ok()? };
        let mut body = vec![v6::REDIRECT, u8::from(self.lot.chance(3)), 0, 0, 0, 0, 0, 0];
        body.extend(target.octets());
        body.extend(named.octets());
        if self.lot.chance(60) {
            let units = if self.lot.chance(95) { 1 } else { self.lot.one(&[0, 2]) };
            body.extend([TARGET_LLADDR, units, 2, 0, 0, 7, 8, self.lot.next() as u8 & 0xf]);
        }
        if self.lot.chance(40) {
            let mut quoted = self.sent(dst)?;
            quoted.resize(quoted.len().next_multiple_of(8), 0);
            body.extend([REDIRECTED, (1 + quoted.len() / 8) as u8, 0, 0, 0, 0, 0, 0]);
            body.extend(quoted);
        }
        if self.lot.chance(3) {
            body.truncate(self.lot.below(body.len()));
        }
        let to = self.lot.pick(&way.own)?;
        let hops = if self.lot.chance(95) { 255 } else { 254 };
        self.message(way, (router, to), hops, body)
    }

    fn message(
        &mut self,
        way: &Way,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        hops: u8,
        mut body: Vec<u8>,
    ) -> Option<Frame> {
        let right = set_csum6(src, dst, &mut body);
        if right && self.lot.chance(3) {
            put(&mut body, 2, &[0x12, 0x34]);
        }
        let header = Ip6Hdr::new(body.len() as u16, proto::ICMPV6, hops, src, dst);
        Some(frame(way, [header.as_bytes(), &body].concat()))
    }
}

fn frame(way: &Way, packet: Vec<u8>) -> Frame {
    let mut bytes = EthHdr::new(way.mac, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV6).as_bytes().to_vec();
    bytes.extend(packet);
    Frame { link: way.link.clone(), time: 0, bytes }
}
