//! What frames have to know of a router: its links, its addresses, its neighbours, what its routes and rules look at.
//! Works for any scenario, drawn or given. Called by `frames`.

use super::super::parts;
use crate::conform::harm;
use crate::scenario::{Route, Scenario, Value, default_mac};
use crate::wire::eth::parse_mac;
use crate::wire::ip6;
use ipnet::{IpNet, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// A link that frames enter by.
#[derive(Clone, Debug)]
pub struct Way {
    pub link: String,
    pub mac: [u8; 6],
    pub mtu: usize,
    /// The addresses that the router has there.
    pub own: Vec<Ipv6Addr>,
    /// Whom it knows there.
    pub near: Vec<Ipv6Addr>,
    /// Those of them that it answers for there.
    pub proxied: Vec<Ipv6Addr>,
}

/// The router as a sender sees it.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub ways: Vec<Way>,
    /// Prefixes that it knows routes to, or has rules for.
    pub targets: Vec<Ipv6Net>,
    /// Prefixes that lead back to a sender.
    pub origins: Vec<Ipv6Net>,
    /// Where its routes have gateways of link scope: link, gateway, prefix.
    pub first_hops: Vec<(String, Ipv6Addr, Ipv6Net)>,
    /// Prefixes that it takes to be on a link.
    pub on_link: Vec<Ipv6Net>,
    /// Its addresses on links that frames cannot enter by.
    pub idle: Vec<Ipv6Addr>,
    /// Prefixes that are the router's own as a whole.
    pub local: Vec<Ipv6Net>,
    /// Whether it follows segment routing headers, and RPL headers, somewhere.
    pub segments: bool,
    pub rpl: bool,
    /// Lengths of packets at which something happens.
    pub edges: Vec<usize>,
    pub ports: Vec<u16>,
    pub protocols: Vec<u8>,
    pub classes: Vec<u8>,
}

impl Site {
    pub fn new(s: &Scenario) -> Site {
        let (ways, idle): (Vec<_>, Vec<_>) =
            s.link.iter().zip(2..).partition(|(l, _)| l.up != Some(false) && l.carrier != Some(false));
        let ways = ways.into_iter().map(|(link, next)| way(s, link, next)).collect();
        let idle = idle.into_iter().flat_map(|(link, next)| way(s, link, next).own).collect();
        let destinations = |gateways: bool| {
            // What the router says to who is behind a route over lo is lost.
            let over_lo = |r: &Route| r.dev.as_deref() == Some("lo");
            let several = |r: &Route| !r.nexthop.is_empty() || r.nhid.is_some();
            let lead = |r: &&Route| !gateways || r.via.is_some() || several(r) || over_lo(r);
            s.route.iter().filter(lead).filter_map(|r| net(&r.dst)).collect::<Vec<_>>()
        };
        let ours = s.route.iter().filter(|r| matches!(r.kind.as_deref(), Some("local" | "anycast")));
        let local: Vec<Ipv6Net> = ours.filter_map(|r| net(&r.dst)).collect();
        let apart = |o: &Ipv6Net| !local.iter().any(|net| net.contains(o));
        let origins = destinations(true).into_iter().filter(&apart);
        let on_link = s.route.iter().filter(|r| {
            r.kind.is_none() && r.via.is_none() && r.dev.as_deref().is_some_and(|dev| dev != "lo")
        });
        let froms = s
            .route
            .iter()
            .filter_map(|r| r.from.as_deref())
            .chain(s.rule.iter().filter_map(|r| r.from.as_deref()));
        let tos = s.rule.iter().filter_map(|r| r.to.as_deref());
        let mut site = Site {
            ways,
            idle,
            targets: destinations(false).into_iter().chain(tos.filter_map(net)).collect(),
            origins: origins.chain(froms.filter_map(net)).collect(),
            on_link: on_link.filter_map(|r| net(&r.dst)).filter(apart).collect(),
            first_hops: s.route.iter().flat_map(|r| first_hops(s, r)).collect(),
            segments: harm::any(s, ".seg6_enabled"),
            rpl: harm::any(s, ".rpl_seg_enabled"),
            local: local.clone(),
            ..Site::default()
        };
        site.numbers(s);
        site
    }

    fn numbers(&mut self, s: &Scenario) {
        let links = s.link.iter().map(|l| l.mtu.unwrap_or(1500));
        let mtus = links.chain(s.route.iter().filter_map(|r| r.mtu)).chain([1280]);
        self.edges = mtus.map(|mtu| mtu as usize).collect();
        let number = |value: &Value| match value {
            Value::Number(n) => u16::try_from(*n).ok(),
            Value::Text(text) => text.split('-').next_back().and_then(|t| t.parse().ok()),
        };
        let ports = s.rule.iter().flat_map(|r| [&r.sport, &r.dport]).flatten();
        self.ports = ports.filter_map(number).chain([53, 80, 1024, 2048]).collect();
        let protocols = s.rule.iter().filter_map(|r| r.ipproto.as_ref()).filter_map(number);
        self.protocols = protocols.filter_map(|p| u8::try_from(p).ok()).collect();
        self.classes = s.rule.iter().filter_map(|r| r.tos).collect();
    }

    /// Whether the router takes packets for this address, or may.
    pub fn is_local(&self, address: Ipv6Addr) -> bool {
        address.is_multicast()
            || self.ways.iter().map(|w| &w.own).chain([&self.idle]).any(|own| own.contains(&address))
            || self.local.iter().any(|net| net.contains(&address))
    }
}

/// The gateways of a route that speak from their link.
fn first_hops(s: &Scenario, route: &Route) -> Vec<(String, Ipv6Addr, Ipv6Net)> {
    let Some(net) = net(&route.dst) else { return Vec::new() };
    let near = parts::gateways(s, route).into_iter().filter_map(|(dev, via)| Some((dev?, v6(via)?, net)));
    near.filter(|(_, via, _)| ip6::is_link_local(*via)).collect()
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn net(text: &str) -> Option<Ipv6Net> {
    match text {
        "default" => Some(Ipv6Net::default()),
        text => text.parse().ok().or_else(|| text.parse::<Ipv6Addr>().ok().map(Ipv6Net::from)),
    }
}

fn way(s: &Scenario, link: &crate::scenario::Link, next: u32) -> Way {
    let mac = link.mac.as_deref().and_then(|text| parse_mac(text).ok());
    let mac = mac.unwrap_or(default_mac(link.index.unwrap_or(next)));
    let nets = s.address.iter().filter(|a| a.dev == link.name).filter_map(|a| match a.prefix {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    });
    // The subnet's first address is every router's. RFC 4291 2.6.1
    let own = nets.flat_map(|net| [net.addr(), net.network()]);
    let own = own.chain([ip6::link_local_from_mac(mac), Ipv6Addr::from_bits(0xfe80 << 112)]).collect();
    let there = || s.neighbour.iter().filter(|n| n.dev == link.name);
    let near = there().filter_map(|n| v6(n.to)).collect();
    let proxied = there().filter(|n| n.proxy == Some(true)).filter_map(|n| v6(n.to)).collect();
    Way { link: link.name.clone(), mac, mtu: link.mtu.unwrap_or(1500) as usize, own, near, proxied }
}
