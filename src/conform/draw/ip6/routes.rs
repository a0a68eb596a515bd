//! Nexthop objects and routes: nested prefixes of every length and type. Invariant: no two routes that the kernel would
//! take for the same one. Called by `scenario`.

use super::super::rules::TABLES;
use super::net::{neighbour, own};
use super::{Lot, prefix};
use crate::scenario::{GroupMember, Hop, Link, Nexthop, Route, Scenario};
use ipnet::Ipv6Net;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// Prefix lengths at which something changes.
const LENGTHS: [usize; 24] =
    [0, 1, 3, 7, 8, 16, 29, 31, 32, 33, 44, 47, 48, 49, 56, 63, 64, 65, 96, 112, 120, 126, 127, 128];

/// Addresses around which prefixes are nested.
pub struct Pools {
    to: Vec<u128>,
    from: Vec<u128>,
}

impl Pools {
    pub fn draw(lot: &mut Lot) -> Pools {
        let any = |lot: &mut Lot, top: u128| top << 96 | lot.bits() >> 36;
        let to = [0x2001_0db8, 0x2001_0db8, 0x2400_cb00, 0xfd77_0001].map(|top| any(lot, top) | 0x8000 << 80);
        let from = [0x2001_0db8, 0x2600_1f00].map(|top| any(lot, top) | 0xc000 << 80);
        Pools { to: to.to_vec(), from: from.to_vec() }
    }

    /// A prefix around one of the destinations.
    pub fn to(&self, lot: &mut Lot) -> Ipv6Net {
        let len = if lot.chance(60) { lot.one(&LENGTHS) } else { 20 + lot.below(109) };
        prefix(lot.one(&self.to), len)
    }

    /// A prefix around one of the sources.
    pub fn from(&self, lot: &mut Lot) -> Ipv6Net {
        let len = lot.one(&[16, 20, 32, 33, 48, 56, 64, 127, 128]);
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
    devs: Vec<String>,
    objects: Vec<u32>,
    /// Destination, table, source prefix, metric of each route.
    used: BTreeSet<(String, u32, String, u32)>,
}

/// Draws both.
pub fn draw(lot: &mut Lot, s: &mut Scenario, pools: &Pools) {
    let on = |state: &'static str, is: bool| {
        let of = s
            .neighbour
            .iter()
            .filter(move |n| n.proxy.is_none() && (n.state.as_deref() == Some(state)) == is);
        of.map(|n| (n.dev.clone(), n.to)).collect::<Vec<Gateway>>()
    };
    let (gateways, failed) = (on("failed", false), on("failed", true));
    let mut devs: Vec<String> = gateways.iter().map(|(dev, _)| dev.clone()).collect();
    devs.dedup();
    let mut maker = Maker { lot, pools, gateways, failed, devs, objects: Vec::new(), used: BTreeSet::new() };
    maker.nexthops(s);
    // Each source prefix has a way back.
    for at in 0..pools.from.len() {
        if maker.lot.chance(80)
            && let Some(bits) = pools.from.get(at)
        {
            maker.route(s, prefix(*bits, 32), 0);
        }
    }
    // At the end of the search it matters that a default route is for all sources, and others for some.
    for _ in 0..maker.lot.one(&[0, 0, 0, 0, 0, 0, 4, 8]) {
        maker.route(s, prefix(0, 0), 0);
    }
    for _ in 0..6 + maker.lot.below(20) {
        let dst = maker.destination(s);
        let kind = maker.lot.below(107);
        maker.route(s, dst, kind);
    }
    apart(s);
}

/// Takes out routes for some sources whose prefix loses another route with a link. A kernel compares such a prefix with the
/// destination of some longer one from then on, which depends on all that happened before. Linux: fib6_find_prefix.
fn apart(s: &mut Scenario) {
    let idle = |l: &&Link| l.up == Some(false) || l.carrier == Some(false);
    let lost: Vec<String> = s.link.iter().filter(idle).map(|l| l.name.clone()).collect();
    let goes = |r: &Route| {
        let hops = r.nexthop.iter().map(|hop| &hop.dev).chain([&r.dev]);
        // Of objects, too, and of groups of them, some may go.
        r.nhid.is_some() || hops.flatten().any(|dev| lost.contains(dev))
    };
    let fragile: BTreeSet<String> = s.route.iter().filter(|r| goes(r)).map(|r| r.dst.clone()).collect();
    s.route.retain(|r| lost.is_empty() || r.from.is_none() || !fragile.contains(&r.dst));
}

impl Maker<'_> {
    fn destination(&mut self, s: &Scenario) -> Ipv6Net {
        match self.lot.below(20) {
            // That of another route, or within a link's own subnet, where its hosts are not.
            0..=3 => {
                let apart = |net: &Ipv6Net| matches!(net.network().to_bits() >> 112, 0xfd98..=0xfd9a);
                let all = s.route.iter().filter_map(|r| r.dst.parse().ok());
                let all: Vec<Ipv6Net> = all.filter(|net| !apart(net)).collect();
                self.lot.pick(&all)
            }
            4..=5 => {
                let subnets: Vec<Ipv6Net> =
                    own(s).map(|(_, net)| net).filter(|n| n.prefix_len() == 64).collect();
                let subnet = self.lot.pick(&subnets);
                subnet.map(|n| prefix(n.trunc().addr().to_bits() | 1 << 63, 65 + self.lot.below(60)))
            }
            _ => None,
        }
        .unwrap_or_else(|| self.pools.to(self.lot))
    }

    /// A gateway, now and then one that did not answer.
    fn gateway(&mut self) -> Option<Hop> {
        let failed = if self.lot.chance(8) { self.lot.pick(&self.failed) } else { None };
        let (dev, via) = failed.or_else(|| self.lot.pick(&self.gateways))?;
        Some(Hop { via: Some(via), dev: Some(dev), ..Hop::default() })
    }

    /// Several gateways, no two alike.
    fn gateways(&mut self) -> Vec<Hop> {
        let mut hops: Vec<Hop> = Vec::new();
        for _ in 0..2 + self.lot.below(3) {
            let Some(mut hop) = self.gateway() else { continue };
            hop.weight = Some(self.lot.one(&[1, 1, 1, 2, 3, 10, 100, 256]));
            if hops.iter().all(|h| (h.via, &h.dev) != (hop.via, &hop.dev)) {
                hops.push(hop);
            }
        }
        hops
    }

    /// Objects, each for one route alone: the kernel keeps one route in each, the first that was used, with its metrics.
    fn nexthops(&mut self, s: &mut Scenario) {
        if self.lot.chance(25) {
            return;
        }
        for id in 1..=2 + self.lot.below(4) as u32 {
            if self.nexthop(s, id, 0) {
                self.objects.push(id);
            }
        }
        s.nexthop.push(Nexthop { id: 50, blackhole: Some(true), family: Some(6), ..Nexthop::default() });
        self.objects.push(50);
        for id in (100..).step_by(10).take(1 + self.lot.below(3)) {
            let mut group: Vec<GroupMember> = Vec::new();
            let resilient = self.lot.chance(50);
            let lost = s.nexthop.len();
            // Now and then nobody of the group answers; buckets do not ask whether anybody does.
            let some = if resilient { 10 } else { 30 };
            let fails = if self.lot.chance(15) { 100 } else { some };
            for member in id + 1..=id + 1 + self.lot.below(4) as u32 {
                if self.nexthop(s, member, fails) {
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

    /// One with a gateway: of a hundred, `fails` did not answer.
    fn nexthop(&mut self, s: &mut Scenario, id: u32, fails: usize) -> bool {
        let failed = self.lot.chance(fails).then(|| self.lot.pick(&self.failed)).flatten();
        let Some((dev, via)) = failed.or_else(|| self.lot.pick(&self.gateways)) else { return false };
        s.nexthop.push(Nexthop { id, via: Some(via), dev: Some(dev), ..Nexthop::default() });
        true
    }

    fn route(&mut self, s: &mut Scenario, dst: Ipv6Net, kind: usize) {
        // Apart from all others are prefixes that are the router's own, so that no sender is in them: it would answer itself;
        // and those of an MTU so small that it has to cut its own messages to senders there.
        let dst = match kind {
            98..=99 => prefix(0xfd98 << 112 | self.lot.bits() >> 16, self.lot.one(&[64, 96, 128])),
            // So are those of routes over lo, by which no sender is answered.
            104.. => prefix(0xfd9a << 112 | self.lot.bits() >> 16, 32 + self.lot.below(97)),
            100.. => prefix(0xfd99 << 112 | self.lot.bits() >> 16, 32 + self.lot.below(97)),
            _ => dst,
        };
        let table = self.lot.maybe(20, &TABLES);
        let metric = self.lot.one(&[None, None, None, Some(100), Some(100), Some(200), Some(2048), Some(1)]);
        let from = self.lot.chance(12).then(|| self.pools.from(self.lot).to_string());
        let key =
            (dst.to_string(), table.unwrap_or(254), from.clone().unwrap_or_default(), metric.unwrap_or(1024));
        if !self.used.insert(key) {
            return;
        }
        let mut route = Route { dst: dst.to_string(), table, metric, from, ..Route::default() };
        let error = |name: &str| Some(name.to_owned());
        match kind {
            40..=47 => route.dev = self.lot.pick(&self.devs),
            48..=53 => route.kind = error("blackhole"),
            54..=59 => route.kind = error("unreachable"),
            60..=65 => route.kind = error("prohibit"),
            66..=70 => route.kind = error("throw"),
            71..=84 => route.nexthop = self.gateways(),
            85..=97 if !self.objects.is_empty() => {
                let at = self.lot.below(self.objects.len());
                (route.nhid, route.from) = (Some(self.objects.swap_remove(at)), None);
            }
            98..=99 => {
                route.kind = error("local");
                (route.dev, route.table) = (Some("lo".to_owned()), None);
            }
            104.. => route.dev = Some("lo".to_owned()),
            100.. => {
                self.by_gateway(s, &mut route);
                route.mtu = Some(self.lot.one(&[600, 1000, 1279]));
                route.mtu_lock = self.lot.chance(50).then_some(true);
            }
            _ => self.by_gateway(s, &mut route),
        }
        self.metrics(s, &mut route);
        let legs = route.nexthop.len();
        if let ([only], 1) = (&route.nexthop[..], legs) {
            (route.via, route.dev) = (only.via, only.dev.clone());
            route.nexthop.clear();
        }
        let single = route.via.is_some() && route.onlink.is_none();
        s.route.push(route.clone());
        // A second one beside it: with a gateway it becomes its sibling.
        if single && self.lot.chance(25) {
            let second = self.gateway().filter(|h| (h.via, &h.dev) != (route.via, &route.dev));
            if let Some(hop) = second {
                (route.via, route.dev) = (hop.via.filter(|_| self.lot.chance(80)), hop.dev);
                // Siblings have all metrics in common.
                if route.via.is_none() {
                    self.metrics(s, &mut route);
                }
                s.route.push(route);
            }
        }
    }

    fn by_gateway(&mut self, s: &mut Scenario, route: &mut Route) {
        let Some(hop) = self.gateway() else { return };
        (route.via, route.dev) = (hop.via, hop.dev);
        if let Some(dev) = route.dev.clone().filter(|_| self.lot.chance(8)) {
            let via = Ipv6Addr::from_bits(0x5f00_0bad << 96 | u128::from(self.lot.next() >> 32));
            s.neighbour.push(neighbour(&dev, via, Some([2, 0, 0, 8, 8, 8]), "permanent"));
            (route.via, route.onlink) = (Some(via.into()), Some(true));
        }
    }

    fn metrics(&mut self, s: &Scenario, route: &mut Route) {
        if route.kind.is_some() || route.mtu.is_some() {
            return;
        }
        route.mtu = self.lot.maybe(18, &[1280, 1281, 1300, 1400, 1500, 9000]);
        route.mtu_lock = route.mtu.and_then(|_| self.lot.chance(50).then_some(true));
        route.hoplimit = self.lot.maybe(10, &[1, 2, 63, 64, 255]);
        route.pref = self.lot.maybe(15, &["low", "high", "medium"]).map(str::to_owned);
        route.expires = self.lot.maybe(3, &[1000]);
        let works = |dev: &str| s.link.iter().any(|l| l.name == dev && l.up.is_none());
        let ours: Vec<Ipv6Addr> = own(s).filter(|(dev, _)| works(dev)).map(|(_, net)| net.addr()).collect();
        let ours: Vec<Ipv6Addr> = ours.into_iter().filter(|a| !crate::wire::ip6::is_link_local(*a)).collect();
        route.src = if self.lot.chance(10) { self.lot.pick(&ours).map(IpAddr::V6) } else { None };
    }
}
