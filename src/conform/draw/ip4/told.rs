//! Messages that teach a router ways and path MTUs, Fragmentation Needed and redirects, and packets to those whom they are
//! about. RFC 1191, RFC 1122 3.2.2.2. Called by `frames`.
//!
//! What they teach changes the way of later packets, so they have boxes of their own.

use super::frames::Maker;
use super::site::Way;
use super::{Lot, set};
use crate::conform::Frame;
use crate::scenario::Scenario;
use crate::wire::eth::{ETHERTYPE_IPV4, EthHdr};
use crate::wire::icmp::{set_csum4, v4};
use crate::wire::ip4::{FRAG_DF, Ip4Hdr};
use crate::wire::proto;
use std::net::Ipv4Addr;
use zerocopy::IntoBytes;

/// Lets the router believe more of what it is told than most do.
pub fn listens(lot: &mut Lot, s: &mut Scenario) {
    for (name, percent, values) in [
        ("ip_forward_use_pmtu", 50, &[1][..]),
        ("ip_no_pmtu_disc", 15, &[1, 2, 3]),
        ("conf.all.accept_redirects", 85, &[1]),
    ] {
        if let Some(value) = lot.maybe(percent, values) {
            set(s, format!("net.ipv4.{name}"), value);
        }
    }
    for route in s.route.iter_mut().filter(|r| r.kind.is_none() && r.mtu.is_none()) {
        route.mtu = lot.maybe(20, &[1000, 1280, 1400, 1500]);
    }
}

impl Maker {
    /// A message, or a packet to one whom a message was about, or one whom the router answers.
    pub fn telling(&mut self) -> Option<Frame> {
        let way = self.lot.pick(&self.site.ways)?;
        match self.lot.below(10) {
            0..=2 => self.too_big(&way),
            3..=4 => self.redirect(&way),
            _ => {
                let (dst, size) = self.lately()?;
                let answered = self.lot.chance(30);
                let own = self.lot.pick(&way.own)?;
                let src = if answered { self.once(dst)? } else { self.source(&way, dst)? };
                let edges = std::mem::replace(&mut self.site.edges, vec![size]);
                // Short ones do not meet what was told.
                let tries = 1 + self.lot.below(3);
                let packets = (0..tries).map(|_| self.packet(&way, src, if answered { own } else { dst }));
                let mut packet = packets.max_by_key(Vec::len)?;
                self.site.edges = edges;
                packet.truncate(way.mtu);
                Some(frame(&way, packet))
            }
        }
    }

    /// One of those whom the last messages were about: with all of them few packets would meet theirs.
    fn lately(&mut self) -> Option<(Ipv4Addr, usize)> {
        let last = self.told.get(self.told.len().saturating_sub(8)..).unwrap_or_default();
        self.lot.pick(last)
    }

    /// Whom the next messages are about: mostly one of a few, so that they meet.
    fn about(&mut self) -> Option<Ipv4Addr> {
        if let Some((known, _)) = self.lately().filter(|_| self.lot.chance(40)) {
            return Some(known);
        }
        let way = self.lot.pick(&self.site.ways)?;
        let several = self.lot.pick(&self.site.several).filter(|_| self.lot.chance(50));
        let limited = self.lot.pick(&self.site.limited).filter(|_| self.lot.chance(50));
        let target = several.or(limited).or_else(|| self.lot.pick(&self.site.targets))?;
        let near = self.lot.pick(&way.near).filter(|_| self.lot.chance(20));
        let dst = near.unwrap_or_else(|| self.lot.host4(target));
        let usable = !(self.site.is_local(dst) || self.site.loops.contains(&dst));
        Some(dst).filter(|_| usable)
    }

    /// A packet that the router may have sent to `dst`: what is quoted of it.
    fn sent(&mut self, dst: Ipv4Addr) -> Option<Vec<u8>> {
        let other = self.lot.pick(&self.site.ways)?;
        let own = self.lot.pick(&other.own).or_else(|| self.lot.pick(&self.site.own))?;
        let src = if self.lot.chance(90) { own } else { self.lot.pick(&other.near)? };
        let protocol = if self.lot.chance(90) { proto::ICMP } else { self.lot.one(&[proto::UDP, 253]) };
        let mut header = Ip4Hdr::new(1400, 64, protocol, src, dst);
        if self.lot.chance(20) {
            header.tos = self.lot.pick(&self.site.classes)?;
        }
        header.frag.set(FRAG_DF);
        header.set_checksum(&[]);
        let kind = if self.lot.chance(90) { v4::ECHO_REPLY } else { v4::ECHO };
        let data = [kind, 0, 1, 2, 0, 0, 0, 1];
        let len = if self.lot.chance(95) { data.len() } else { self.lot.below(data.len()) };
        Some([header.as_bytes(), data.get(..len)?].concat())
    }

    fn too_big(&mut self, way: &Way) -> Option<Frame> {
        let dst = self.about()?;
        let mtu = if self.lot.chance(30) {
            self.lot.one(&[0, 68, 551, 552, 553, 1500, 9000, 65535])
        } else {
            552 + self.lot.below(900) as u16
        };
        // Less is believed as 552.
        self.told.push((dst, usize::from(mtu).clamp(552, 9000)));
        let code = if self.lot.chance(95) { v4::FRAG_NEEDED } else { self.lot.one(&[0, 3, 20]) };
        let [high, low] = mtu.to_be_bytes();
        let body = [&[v4::DEST_UNREACH, code, 0, 0, 0, 0, high, low][..], &self.sent(dst)?].concat();
        let (to, src) = (self.lot.pick(&way.own)?, self.lot.pick(&way.near)?);
        self.message(way, (src, to), body)
    }

    fn redirect(&mut self, way: &Way) -> Option<Frame> {
        let here: Vec<_> = self.site.first_hops.iter().filter(|hop| hop.0 == way.link).cloned().collect();
        let many: Vec<_> = here.iter().filter(|hop| self.site.several.contains(&hop.2)).cloned().collect();
        let hop = self.lot.pick(&many).filter(|_| self.lot.chance(50)).or_else(|| self.lot.pick(&here));
        let (router, dst) = match hop.filter(|_| self.lot.chance(90)) {
            Some((_, router, net)) => {
                let dst = self.lot.host4(net);
                (router, Some(dst).filter(|dst| !self.site.is_local(*dst))?)
            }
            None => (self.lot.pick(&way.near)?, self.about()?),
        };
        self.told.push((dst, 576));
        let gateway = match self.lot.below(20) {
            0 => self.lot.one(&[[0, 1, 2, 3], [224, 0, 0, 5], [255; 4], [10, 0, 1, 99]]).into(),
            1 => router,
            2 => self.lot.pick(&way.own)?,
            3 => self.lot.pick(&way.edges)?,
            4 => dst,
            _ => self.lot.pick(&way.near)?,
        };
        let code =
            if self.lot.chance(90) { self.lot.below(4) as u8 } else { self.lot.one(&[4, 7, 8, 11, 255]) };
        let [a, b, c, d] = gateway.octets();
        let body = [&[v4::REDIRECT, code, 0, 0, a, b, c, d][..], &self.sent(dst)?].concat();
        let to = self.lot.pick(&way.own)?;
        self.message(way, (router, to), body)
    }

    fn message(&mut self, way: &Way, (src, dst): (Ipv4Addr, Ipv4Addr), mut body: Vec<u8>) -> Option<Frame> {
        let _ = set_csum4(&mut body); // false only without room for a header
        let mut header = Ip4Hdr::new((Ip4Hdr::LEN + body.len()) as u16, 64, proto::ICMP, src, dst);
        header.set_checksum(&[]);
        Some(frame(way, [header.as_bytes(), &body].concat()))
    }
}

fn frame(way: &Way, packet: Vec<u8>) -> Frame {
    let mut bytes = EthHdr::new(way.mac, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV4).as_bytes().to_vec();
    bytes.extend(packet);
    Frame { link: way.link.clone(), time: 0, bytes }
}
