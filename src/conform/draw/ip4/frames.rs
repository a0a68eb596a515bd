//! Frames for an IPv4 router: who sends to whom by which link, and what is spoiled on the way.
//!
//! Invariants: no sender is told of a missing way more often than the kernel allows at once (`ip_error`, five times, which no
//! namespace can set), and of a better first hop only once. Nothing is sent that would change what the kernel knows for
//! later frames. What has the router's own source is about an error, so that the router has nothing to say to itself.
//! Called by `draw`.

use super::super::parts;
use super::payload::{self, Content, Fate};
use super::site::{Site, Way};
use super::{Lot, options};
use crate::conform::Frame;
use crate::scenario::Scenario;
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr};
use crate::wire::ip4::{FRAG_DF, FRAG_MF, Ip4Hdr};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use zerocopy::IntoBytes;

/// How often one sender speaks that is not on the link.
const USES: usize = 4;
/// Most bytes of a packet where the router may cut it into pieces of eight: the far end of a link takes no more than a thousand
/// frames at once (`net.core.netdev_max_backlog`).
const CUT_SMALL_MAX: usize = 4000;
/// Addresses with rules of their own, that answers find no way to.
const ODD_SOURCES: [[u8; 4]; 9] = [
    [0; 4],
    [0, 1, 2, 3],
    [127, 0, 0, 1],
    [127, 9, 9, 9],
    [224, 0, 0, 9],
    [239, 1, 1, 1],
    [240, 0, 0, 1],
    [169, 254, 99, 9],
    [255; 4],
];
const ODD_DESTINATIONS: [[u8; 4]; 8] = [
    [0; 4],
    [0, 1, 2, 3],
    [127, 0, 0, 1],
    [127, 1, 2, 3],
    [240, 0, 0, 1],
    [169, 254, 99, 9],
    [255; 4],
    [255, 255, 255, 254],
];
const GROUPS: [[u8; 4]; 8] = [
    [224, 0, 0, 1],
    [224, 0, 0, 1],
    [224, 0, 0, 2],
    [224, 0, 0, 9],
    [224, 0, 1, 1],
    [232, 1, 1, 1],
    [239, 1, 1, 1],
    [239, 255, 255, 250],
];

/// What frames are made of.
pub struct Maker {
    pub lot: Lot,
    pub site: Site,
    /// Whom messages were about, and of what size: see `told`.
    pub told: Vec<(Ipv4Addr, usize)>,
    uses: BTreeMap<Ipv4Addr, usize>,
}

/// A one's complement sum of two.
fn fold(sum: u32) -> u16 {
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// `count` frames for the router of `scenario`.
pub fn frames(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, scenario);
    (0..count).filter_map(|_| maker.frame()).collect()
}

/// The same, most of them about ways that the router is told of, or along them.
pub fn telling(scenario: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, scenario);
    let mut frame = || if maker.lot.chance(80) { maker.telling() } else { maker.frame() };
    (0..count).filter_map(|_| frame()).collect()
}

impl Maker {
    pub fn new(lot: Lot, scenario: &Scenario) -> Maker {
        Maker { lot, site: Site::new(scenario), told: Vec::new(), uses: BTreeMap::new() }
    }

    fn frame(&mut self) -> Option<Frame> {
        let way = self.lot.pick(&self.site.ways)?;
        let dst = self.destination(&way)?;
        let src = self.source(&way, dst)?;
        let mut packet = self.packet(&way, src, dst);
        self.damage(&mut packet, way.mtu);
        packet.truncate(way.mtu);
        // Without IPv6 a link counts none.
        let ethertype =
            if way.mtu >= 1280 && self.lot.below(200) == 0 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        let [_, b, c, d] = dst.octets();
        let to = match self.lot.below(100) {
            0..=1 => [0xff; 6],
            2..=3 => [1, 0, 0x5e, 0, 0, 1],
            4 => [2, 0, 0, 0, 9, 9],
            // RFC 1112 6.4
            _ if dst.is_multicast() => [1, 0, 0x5e, b & 0x7f, c, d],
            _ if dst.is_broadcast() && self.lot.chance(80) => [0xff; 6],
            _ if way.edges.contains(&dst) && self.lot.chance(50) => [0xff; 6],
            _ => way.mac,
        };
        let mut bytes = EthHdr::new(to, [2, 0, 0, 0, 8, 8], ethertype).as_bytes().to_vec();
        bytes.extend(packet);
        Some(Frame { link: way.link, time: 0, bytes })
    }

    /// An address by lot that may still speak.
    fn fresh(&mut self, most: usize, draw: impl Fn(&mut Self) -> Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        (0..20).find_map(|_| {
            draw(self).filter(|address| {
                let uses = self.uses.entry(*address).or_insert(0);
                *uses += 1;
                *uses <= most
            })
        })
    }

    /// This address, unless it has spoken before: it is redirected only once.
    pub fn once(&mut self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.fresh(1, |_| Some(address))
    }

    pub fn source(&mut self, way: &Way, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        let to_us = self.site.is_local(dst);
        // Who has no address yet speaks to all. Those that may not are told nothing.
        let to_all = dst.is_broadcast() || dst.is_multicast() || dst.is_unspecified();
        if to_all && self.lot.chance(10) {
            return Some(self.lot.one(&[[0; 4], [0; 4], [127, 0, 0, 1], [224, 0, 0, 9]]).into());
        }
        let found = match self.lot.below(100) {
            0..=5 => self.fresh(USES, |m| Some(m.lot.one(&ODD_SOURCES).into())),
            6..=8 => self.lot.pick(&self.site.own),
            9..=10 => self.fresh(USES, |m| m.lot.pick(&way.edges)),
            11..=13 => Some(Ipv4Addr::from_bits(self.lot.next() as u32)),
            14..=18 => {
                let other = self.lot.pick(&self.site.ways)?;
                self.fresh(1, |m| m.lot.pick(&other.near))
            }
            19..=60 if to_us => self.fresh(1, |m| m.lot.pick(&way.near)),
            19..=40 => self.fresh(1, |m| m.lot.pick(&way.near)),
            _ => None,
        };
        let found = found.or_else(|| {
            self.fresh(USES, |m| {
                let origin = m.lot.pick(&m.site.origins)?;
                let any = |m: &mut Self| m.lot.host4(origin);
                Some(any(m)).filter(|a| !a.is_multicast() && !a.is_loopback())
            })
        });
        found.or_else(|| Some(Ipv4Addr::from_bits(self.lot.next() as u32)))
    }

    fn destination(&mut self, way: &Way) -> Option<Ipv4Addr> {
        let other = self.lot.pick(&self.site.ways).unwrap_or_else(|| way.clone());
        let found = match self.lot.below(100) {
            0..=3 => Some(self.lot.one(&ODD_DESTINATIONS).into()),
            4..=7 => Some(self.lot.one(&GROUPS).into()),
            8 => Some(Ipv4Addr::from_bits(0xe << 28 | self.lot.next() as u32 >> 4)),
            9..=19 => self.lot.pick(&other.own).or_else(|| self.lot.pick(&self.site.own)),
            20..=24 => self.lot.pick(&other.edges),
            25..=28 => self.lot.pick(&way.near),
            29..=37 => self.lot.pick(&other.near),
            38..=41 => Some(Ipv4Addr::from_bits(self.lot.next() as u32)),
            42..=44 => {
                let local = self.lot.pick(&self.site.local);
                local.map(|net| self.lot.host4(net))
            }
            45..=62 => {
                let several = self.lot.pick(&self.site.several);
                several.map(|net| self.lot.host4(net))
            }
            _ => None,
        };
        // A broadcast on lo, if it is sent on, goes round there until its TTL runs out.
        let found = found.or_else(|| {
            let target = self.lot.pick(&self.site.targets)?;
            Some(self.lot.host4(target))
        });
        found.filter(|address| !self.site.loops.contains(address))
    }

    /// A packet whose checksum is right, as a rule.
    pub fn packet(&mut self, way: &Way, src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
        let often = if self.site.is_local(dst) { 40 } else { 20 };
        let options = if self.lot.chance(often) { self.options(way) } else { Vec::new() };
        let fate = match self.site.is_local(dst) {
            _ if self.site.is_own(src) || src.is_loopback() => Fate::Mute,
            false => Fate::Passes,
            true => Fate::Local,
        };
        let protocol = payload::protocol(&mut self.lot, &self.site, fate);
        let headers = Ip4Hdr::LEN + options.len();
        let size = parts::size(&mut self.lot, &self.site.edges, way.mtu, headers);
        let tiny = self.site.edges.iter().any(|&mtu| mtu < 100);
        let size = if tiny { size.min(CUT_SMALL_MAX) } else { size };
        let frag = match self.lot.below(24) {
            0..=6 => FRAG_DF,
            7 => FRAG_MF,
            8 => FRAG_MF | 185,
            9 => 185,
            10 => FRAG_DF | FRAG_MF,
            11 => FRAG_DF | 8191,
            12 => 0x8000,
            _ => 0,
        };
        let hops = self.lot.one(&[64, 64, 64, 64, 64, 64, 64, 128, 255, 3, 2, 1, 0]);
        let mut header = Ip4Hdr::new((headers + size) as u16, hops, protocol, src, dst);
        header.ver_ihl = 0x40 | (headers / 4) as u8;
        let class = self.lot.pick(&self.site.classes).filter(|_| self.lot.chance(30));
        let any = if self.lot.chance(30) { self.lot.next() as u8 } else { 0 };
        header.tos = class.map_or(any, |class| class | any & 3);
        header.id.set(self.lot.next() as u16);
        header.frag.set(frag);
        self.spoil(&mut header, size, fate);
        header.set_checksum(&options);
        if self.lot.chance(2) {
            // At these the checksum carries over when the TTL is lowered, or just does not.
            let wanted: u16 = self.lot.one(&[0xfeff, 0xfefe, 0xff00, 0xffff]);
            let more = fold(u32::from(header.csum.get()) + u32::from(!wanted));
            header.id.set(fold(u32::from(header.id.get()) + u32::from(more)));
            header.set_checksum(&options);
        }
        if self.lot.chance(3) {
            let right = header.csum.get();
            header.csum.set(self.lot.one(&[right ^ 1, right.swap_bytes(), 0, 0xffff, !right]));
        }
        let sums = header.frag.get() & !(FRAG_DF | 0x8000) == 0;
        let content = Content { protocol, src, dst, fate, size, sums };
        let payload = payload::bytes(&mut self.lot, &self.site, &content);
        [header.as_bytes(), &options, &payload].concat()
    }

    /// Fields that say something else than what is there, with a checksum that is right.
    fn spoil(&mut self, header: &mut Ip4Hdr, size: usize, fate: Fate) {
        let total = header.total_len.get();
        match self.lot.below(100) {
            // With another length the payload begins elsewhere, and says something else.
            0 if fate == Fate::Passes => {
                header.ver_ihl = self.lot.one(&[0x44, 0x40, 0x35, 0x65, 0x05, 0xf5, 0x4f, 0x46]);
            }
            1..=3 => {
                let headers = total - size as u16;
                let wrong =
                    [total.wrapping_add(1), total - 1, 0, 19, 20, 0xffff, headers, headers - 1, total / 2];
                header.total_len.set(self.lot.one(&wrong));
            }
            _ => {}
        }
    }

    fn options(&mut self, way: &Way) -> Vec<u8> {
        let mut hops = Vec::new();
        for _ in 0..6 {
            let other = self.lot.pick(&self.site.ways).unwrap_or_else(|| way.clone());
            hops.extend(self.lot.pick(&other.own));
            hops.extend(self.lot.pick(&other.near));
            let target = self.lot.pick(&self.site.targets);
            hops.extend(target.map(|net| self.lot.host4(net)).filter(|hop| !hop.is_multicast()));
        }
        hops.extend(self.lot.pick(&way.edges));
        let far: Vec<Ipv4Addr> = hops.iter().filter(|hop| !self.site.is_local(**hop)).copied().collect();
        options::draw(&mut self.lot, &hops, &far)
    }

    /// Spoils some packets: a bit of what is no address, the end; or pads them as short frames are.
    fn damage(&mut self, packet: &mut Vec<u8>, mtu: usize) {
        match self.lot.below(100) {
            0..=2 => {
                let (at, bit) = (self.lot.below(8), self.lot.below(8));
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            3 => packet.truncate(self.lot.below(packet.len() + 1)),
            4 => packet.truncate(self.lot.one(&[0, 1, 19, 20, 21, 27, 28])),
            5..=12 => parts::pad(&mut self.lot, packet, mtu),
            _ => {}
        }
    }
}
