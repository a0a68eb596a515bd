//! What frames have to know of a router: its links, its addresses, its neighbours, what its routes and rules look at.
//! Works for any scenario, drawn or given. Called by `frames`.

use super::super::parts;
use super::net::own;
use crate::scenario::{Route, Scenario, Value, default_mac};
use crate::wire::eth::parse_mac;
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};

/// A link that frames enter by.
#[derive(Clone, Debug)]
pub struct Way {
    pub link: String,
    pub mac: [u8; 6],
    pub mtu: usize,
    /// The addresses that the router has there.
    pub own: Vec<Ipv4Addr>,
    /// Addresses there that are no host's: the first and the last of each subnet.
    pub edges: Vec<Ipv4Addr>,
    /// Whom it knows there.
    pub near: Vec<Ipv4Addr>,
}

/// The router as a sender sees it.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub ways: Vec<Way>,
    /// All addresses of the router.
    pub own: Vec<Ipv4Addr>,
    /// Prefixes that it knows routes to, or has rules for.
    pub targets: Vec<Ipv4Net>,
    /// Those with several next hops.
    pub several: Vec<Ipv4Net>,
    /// Those with an MTU of their own.
    pub limited: Vec<Ipv4Net>,
    /// Where its routes have gateways: link, gateway, prefix.
    pub first_hops: Vec<(String, Ipv4Addr, Ipv4Net)>,
    /// Prefixes that lead back to a sender.
    pub origins: Vec<Ipv4Net>,
    /// Prefixes that are the router's own as a whole, or broadcasts.
    pub local: Vec<Ipv4Net>,
    /// Broadcasts of lo.
    pub loops: Vec<Ipv4Addr>,
    /// Lengths of packets at which something happens.
    pub edges: Vec<usize>,
    pub ports: Vec<u16>,
    pub protocols: Vec<u8>,
    pub classes: Vec<u8>,
}

impl Site {
    pub fn new(s: &Scenario) -> Site {
        let ways = s.link.iter().zip(2..).filter(|(l, _)| l.up != Some(false) && l.carrier != Some(false));
        let ways = ways.map(|(link, next)| way(s, link, next)).collect();
        let taken = |r: &&Route| matches!(r.kind.as_deref(), Some("local" | "broadcast"));
        let routes: Vec<Ipv4Net> = s.route.iter().filter(taken).filter_map(|r| net(&r.dst)).collect();
        // A subnet of lo is the host's own as a whole.
        let lo = own(s).filter(|(dev, _)| *dev == "lo").map(|(_, net)| net.trunc());
        let loops = own(s).filter(|(dev, _)| *dev == "lo").map(|(_, net)| net.broadcast());
        let loops = loops.chain([Ipv4Addr::new(127, 255, 255, 255)]).collect();
        let broadcasts = own(s).map(|(_, net)| Ipv4Net::from(net.broadcast()));
        let local: Vec<Ipv4Net> = routes.into_iter().chain(lo).chain(broadcasts).collect();
        let leads = |r: &&Route| r.via.is_some() || !r.nexthop.is_empty() || r.nhid.is_some();
        // Groups of nexthop objects have the higher numbers.
        let several = |r: &&Route| !r.nexthop.is_empty() || r.nhid.is_some_and(|id| id >= 100);
        let several = s.route.iter().filter(several).filter_map(|r| net(&r.dst)).collect();
        let limited = |r: &&Route| r.mtu.is_some() || r.mtu_lock == Some(true);
        let origins = s.route.iter().filter(leads).filter_map(|r| net(&r.dst));
        let froms = s.rule.iter().filter_map(|r| net(r.from.as_deref()?));
        let tos = s.rule.iter().filter_map(|r| net(r.to.as_deref()?));
        let mut site = Site {
            ways,
            own: own(s).map(|(_, net)| net.addr()).collect(),
            targets: s.route.iter().filter_map(|r| net(&r.dst)).chain(tos).collect(),
            several,
            limited: s.route.iter().filter(limited).filter_map(|r| net(&r.dst)).collect(),
            first_hops: s.route.iter().flat_map(|r| first_hops(s, r)).collect(),
            origins: origins.chain(froms).collect(),
            local,
            loops,
            ..Site::default()
        };
        site.numbers(s);
        site
    }

    fn numbers(&mut self, s: &Scenario) {
        let links = s.link.iter().map(|l| l.mtu.unwrap_or(1500));
        let mtus = links.chain(s.route.iter().filter_map(|r| r.mtu)).chain([576]);
        self.edges = mtus.map(|mtu| mtu as usize).collect();
        let number = |value: &Value| match value {
            Value::Number(n) => u16::try_from(*n).ok(),
            Value::Text(text) => text.split('-').next_back().and_then(|t| t.parse().ok()),
        };
        let ports = s.rule.iter().flat_map(|r| [&r.sport, &r.dport]).flatten();
        self.ports = ports.filter_map(number).chain([53, 80, 1024, 2048]).collect();
        let protocols = s.rule.iter().filter_map(|r| r.ipproto.as_ref()).filter_map(number);
        self.protocols = protocols.filter_map(|p| u8::try_from(p).ok()).collect();
        let classes = s.rule.iter().filter_map(|r| r.tos).chain(s.route.iter().filter_map(|r| r.tos));
        self.classes = classes.collect();
    }

    /// Whether the router takes packets for this address, or may.
    pub fn is_local(&self, address: Ipv4Addr) -> bool {
        address.is_multicast()
            || address.is_broadcast()
            || address.is_unspecified()
            || address.is_loopback()
            || self.is_own(address)
    }

    /// Whether this is an address of the router, or may be.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.contains(&address) || self.local.iter().any(|net| net.contains(&address))
    }
}

/// The gateways of a route, each with its link: that which is named, or on which it is a neighbour.
fn first_hops(s: &Scenario, route: &Route) -> Vec<(String, Ipv4Addr, Ipv4Net)> {
    let Some(net) = net(&route.dst) else { return Vec::new() };
    let link = |via| s.neighbour.iter().find(|n| n.to == via).map(|n| n.dev.clone());
    let gateways = parts::gateways(s, route).into_iter();
    let with_link = gateways.filter_map(|(dev, via)| Some((dev.or_else(|| link(via))?, via)));
    with_link
        .filter_map(|(dev, via)| match via {
            IpAddr::V4(via) => Some((dev, via, net)),
            IpAddr::V6(_) => None,
        })
        .collect()
}

fn net(text: &str) -> Option<Ipv4Net> {
    match text {
        "default" => Some(Ipv4Net::default()),
        text => text.parse().ok().or_else(|| text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from)),
    }
}

fn way(s: &Scenario, link: &crate::scenario::Link, next: u32) -> Way {
    let mac = link.mac.as_deref().and_then(|text| parse_mac(text).ok());
    let mac = mac.unwrap_or(default_mac(link.index.unwrap_or(next)));
    let nets = || own(s).filter(|(dev, _)| *dev == link.name).map(|(_, net)| net);
    let near = s.neighbour.iter().filter(|n| n.dev == link.name && n.lladdr.is_some());
    let near = near.filter_map(|n| match n.to {
        IpAddr::V4(to) => Some(to),
        IpAddr::V6(_) => None,
    });
    Way {
        link: link.name.clone(),
        mac,
        mtu: link.mtu.unwrap_or(1500) as usize,
        own: nets().map(|net| net.addr()).collect(),
        edges: nets().flat_map(|net| [net.network(), net.broadcast()]).collect(),
        near: near.collect(),
    }
}
