//! Nexthop objects and routes: nested prefixes of every length and type. Invariant: no two routes that the kernel would
//! take for the same one. Called by `scenario`.

use super::super::rules::TABLES;
use super::net::{neighbour, own};
use super::{Lot, prefix};
use crate::scenario::{GroupMember, Hop, Nexthop, Route, Scenario};
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Prefix lengths at which something changes.
const LENGTHS: [usize; 16] = [0, 1, 3, 7, 8, 9, 12, 15, 16, 17, 20, 23, 24, 25, 31, 32];

/// Addresses around which prefixes are nested.
pub struct Pools {
    to: Vec<u32>,
    from: Vec<u32>,
}

impl Pools {
    pub fn draw(lot: &mut Lot) -> Pools {
        let any = |lot: &mut Lot, top: u32| top << 24 | lot.next() as u32 & 0x00ff_ffff | 0x0080_8000;
        let to = [20, 20, 172, 198, 245].map(|top| any(lot, top));
        let from = [60, 100].map(|top| any(lot, top));
        Pools { to: to.to_vec(), from: from.to_vec() }
    }

    /// A prefix around one of the destinations.
    pub fn to(&self, lot: &mut Lot) -> Ipv4Net {
        let len = if lot.chance(60) { lot.one(&LENGTHS) } else { 8 + lot.below(25) };
        prefix(lot.one(&self.to), len)
    }

    /// A prefix around one of the sources.
    pub fn from(&self, lot: &mut Lot) -> Ipv4Net {
        let len = lot.one(&[4, 8, 12, 16, 17, 24, 31, 32]);
        prefix(lot.one(&self.from), len)
    }
}

/// A next hop: link and address.
type Gateway = (String, IpAddr);

/// What is drawn from.
struct Maker<'m> {
    lot: &'m mut Lot,
    pools: &'m Pools,
    gateways: Vec<Gateway>,
    failed: Vec<Gateway>,
    /// So many of a hundred next hops among several do not answer.
    fails: usize,
    devs: Vec<String>,
    objects: Vec<u32>,
    /// Destination, table, TOS, metric of each route.
    used: BTreeSet<(String, u32, u8, u32)>,
}

/// Draws both.
pub fn draw(lot: &mut Lot, s: &mut Scenario, pools: &Pools, slow: bool) {
    let gateway = |n: &crate::scenario::Neighbour, failed: bool| {
        n.proxy.is_none() && (n.state.as_deref() == Some("failed")) == failed
    };
    let on = |failed: bool| {
        let of = s.neighbour.iter().filter(|n| gateway(n, failed));
        of.map(|n| (n.dev.clone(), n.to)).collect::<Vec<Gateway>>()
    };
    let (gateways, failed) = (on(false), on(true));
    let devs = s.link.iter().map(|l| l.name.clone()).collect();
    let fails = if slow { 35 } else { 15 };
    let mut maker =
        Maker { lot, pools, gateways, failed, fails, devs, objects: Vec::new(), used: BTreeSet::new() };
    maker.nexthops(s);
    // Each source prefix has a way back.
    for bits in pools.from.clone() {
        if maker.lot.chance(85) {
            maker.route(s, prefix(bits, 8), 0);
        }
    }
    for _ in 0..8 + maker.lot.below(22) {
        let dst = maker.destination(s);
        let kind = maker.lot.below(106);
        maker.route(s, dst, kind);
    }
}

impl Maker<'_> {
    fn destination(&mut self, s: &Scenario) -> Ipv4Net {
        match self.lot.below(20) {
            // That of another route, or within a link's own subnet, where its hosts are not.
            0..=4 => {
                let all: Vec<Ipv4Net> = s.route.iter().filter_map(|r| r.dst.parse().ok()).collect();
                self.lot.pick(&all)
            }
            5..=6 => {
                let subnets: Vec<Ipv4Net> =
                    own(s).map(|(_, net)| net).filter(|n| n.prefix_len() == 24).collect();
                let subnet = self.lot.pick(&subnets);
                subnet.map(|n| prefix(n.network().to_bits() | 0x60, 27 + self.lot.below(6)))
            }
            _ => None,
        }
        .unwrap_or_else(|| self.pools.to(self.lot))
    }

    fn gateway(&mut self) -> Option<Hop> {
        let (dev, via) = self.lot.pick(&self.gateways)?;
        Some(Hop { via: Some(via), dev: Some(dev), ..Hop::default() })
    }

    /// Now and then a gateway that did not answer.
    fn failed_one(&mut self) -> Option<Gateway> {
        self.lot.chance(self.fails).then(|| self.lot.pick(&self.failed)).flatten()
    }

    /// Several ways: gateways of both families, the same one twice, and now and then a link.
    fn ways(&mut self) -> Vec<Hop> {
        let mut hops: Vec<Hop> = Vec::new();
        for _ in 0..2 + self.lot.below(3) {
            let Some(mut hop) = self.gateway() else { continue };
            if self.lot.chance(8) {
                hop.via = None;
            } else if let Some((dev, via)) = self.failed_one() {
                (hop.dev, hop.via) = (Some(dev), Some(via));
            }
            hop.weight = Some(self.lot.one(&[1, 1, 1, 2, 3, 10, 100, 256]));
            hops.push(hop);
        }
        hops
    }

    /// Objects, each for one route alone: the kernel keeps one route in each, the first that was used, with its metrics.
    fn nexthops(&mut self, s: &mut Scenario) {
        if self.lot.chance(25) {
            return;
        }
        for id in 1..=2 + self.lot.below(4) as u32 {
            if self.nexthop(s, id, false) {
                self.objects.push(id);
            }
        }
        s.nexthop.push(Nexthop { id: 50, blackhole: Some(true), family: Some(4), ..Nexthop::default() });
        self.objects.push(50);
        for id in (100..).step_by(10).take(1 + self.lot.below(3)) {
            let mut group: Vec<GroupMember> = Vec::new();
            let resilient = self.lot.chance(50);
            let lost = s.nexthop.len();
            for member in id + 1..=id + 1 + self.lot.below(4) as u32 {
                if self.nexthop(s, member, true) {
                    let weight = Some(self.lot.one(&[1, 1, 2, 3, 50, 255]));
                    group.push(GroupMember { id: member, weight });
                }
            }
            // How a kernel gives away the buckets of a member that it loses is not drawn.
            let works = |dev: &Option<String>| {
                s.link.iter().any(|l| Some(&l.name) == dev.as_ref() && l.up.is_none() && l.carrier.is_none())
            };
            let resilient = resilient && s.nexthop.iter().skip(lost).all(|n| works(&n.dev));
            let kind = resilient.then(|| "resilient".to_owned());
            let buckets = resilient.then(|| self.lot.one(&[4, 5, 8, 32, 128]));
            if !group.is_empty() {
                s.nexthop.push(Nexthop { id, group, kind, buckets, ..Nexthop::default() });
                self.objects.push(id);
            }
        }
    }

    /// One with a gateway, which may be one that did not answer, or with a link alone.
    fn nexthop(&mut self, s: &mut Scenario, id: u32, may_fail: bool) -> bool {
        let failed = if may_fail { self.failed_one() } else { None };
        let Some((dev, via)) = failed.or_else(|| self.lot.pick(&self.gateways)) else { return false };
        let (via, family) = if self.lot.chance(6) { (None, Some(4)) } else { (Some(via), None) };
        s.nexthop.push(Nexthop { id, via, dev: Some(dev), family, ..Nexthop::default() });
        true
    }

    fn route(&mut self, s: &mut Scenario, dst: Ipv4Net, kind: usize) {
        // Apart from all others are prefixes that are the router's own, so that no sender is in them.
        let dst = match kind {
            98..=101 => prefix(19 << 24 | self.lot.next() as u32 & 0xff_ffff, self.lot.one(&[16, 24, 32])),
            _ => dst,
        };
        let table = self.lot.maybe(20, &TABLES);
        let tos = self.lot.maybe(15, &[4, 8, 0x10, 0x1c, 0xb8, 0x20]);
        let metric = self.lot.one(&[None, None, None, Some(100), Some(100), Some(200), Some(1)]);
        let key = (dst.to_string(), table.unwrap_or(254), tos.unwrap_or(0), metric.unwrap_or(0));
        // Of several default routes the kernel takes turns for what it says itself. Linux: fib_select_default.
        let again =
            dst.prefix_len() == 0 && self.used.iter().any(|(to, of, ..)| (to, of) == (&key.0, &key.1));
        if again || !self.used.insert(key) {
            return;
        }
        let mut route = Route { dst: dst.to_string(), table, tos, metric, ..Route::default() };
        let named = |name: &str| Some(name.to_owned());
        match kind {
            36..=43 => {
                route.dev = self.lot.pick(&self.devs);
                // No gateway is resolved by a route of scope host: the kernel would pass it by, and does not show so.
                let gateways = dst.contains(&Ipv4Addr::new(10, 0, 0, 0));
                let scopes = if gateways { &["global", "link"][..] } else { &["global", "link", "host"] };
                route.scope = self.lot.maybe(20, scopes).map(str::to_owned);
            }
            44..=49 => route.kind = named("blackhole"),
            50..=55 => route.kind = named("unreachable"),
            56..=61 => route.kind = named("prohibit"),
            62..=66 => route.kind = named("throw"),
            67..=82 => route.nexthop = self.ways(),
            83..=97 if !self.objects.is_empty() => {
                let at = self.lot.below(self.objects.len());
                route.nhid = Some(self.objects.swap_remove(at));
            }
            98..=101 => {
                route.kind = named(self.lot.one(&["local", "local", "broadcast", "anycast", "multicast"]));
                route.dev = self.lot.pick(&self.devs);
                if route.kind.as_deref() == Some("local") {
                    route.dev = named("lo");
                }
                route.table = None;
            }
            _ => self.by_gateway(s, &mut route),
        }
        self.metrics(s, &mut route);
        if let [only] = &route.nexthop[..] {
            (route.via, route.dev) = (only.via, only.dev.clone());
            route.nexthop.clear();
        }
        let single = route.via.is_some() && route.onlink.is_none() && dst.prefix_len() > 0;
        s.route.push(route.clone());
        // A second one behind it, for when the first is dead.
        if single && self.lot.chance(25) {
            let second = self.gateway().filter(|h| (h.via, &h.dev) != (route.via, &route.dev));
            if let Some(hop) = second {
                (route.via, route.dev) = (hop.via, hop.dev);
                s.route.push(route);
            }
        }
    }

    fn by_gateway(&mut self, s: &mut Scenario, route: &mut Route) {
        let Some(hop) = self.gateway() else { return };
        (route.via, route.dev) = (hop.via, hop.dev);
        if let Some(dev) = route.dev.clone().filter(|_| self.lot.chance(8)) {
            let via = Ipv4Addr::from_bits(0x5fbad << 12 | self.lot.next() as u32 & 0xfff);
            s.neighbour.push(neighbour(&dev, via.into(), Some([2, 0, 0, 8, 8, 8]), "permanent"));
            (route.via, route.onlink) = (Some(via.into()), Some(true));
        }
    }

    fn metrics(&mut self, s: &Scenario, route: &mut Route) {
        if route.kind.is_some() {
            return;
        }
        route.mtu = self.lot.maybe(20, &[68, 68, 100, 300, 576, 600, 1000, 1280, 1400, 1500, 9000, 65_535]);
        route.mtu_lock = route.mtu.and_then(|_| self.lot.chance(50).then_some(true));
        let locked = if route.via.is_none() { 15 } else { 3 };
        if route.mtu.is_none() && self.lot.chance(locked) {
            route.mtu_lock = Some(true);
        }
        route.hoplimit = self.lot.maybe(10, &[1, 2, 63, 64, 255]);
        let ours: Vec<Ipv4Addr> = own(s).map(|(_, net)| net.addr()).collect();
        route.src = if self.lot.chance(15) { self.lot.pick(&ours).map(IpAddr::V4) } else { None };
    }
}
