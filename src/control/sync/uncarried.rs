//! Destinations that stay with the kernel because warren cannot send there: proxies, and routes through next-hop objects with
//! a tunnel or over links whose frames it cannot make. (Routes with a tunnel of their own are known to the state's writer.)
//!
//! Invariant: a destination is in the set no later than its route is visible; it may stay longer, until the next scan.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ahash::AHashSet;
use warren_fib::{Hops, Ip, NexthopBody, NexthopObject, Prefix, Route};

use crate::control::netlink::{LinkMsg, NeighbourMsg};
use crate::state::Writer;

/// `ARPHRD_IP6GRE` and `ARPHRD_RAWIP`, which libc lacks.
const IP6GRE: u16 = 823;
const RAWIP: u16 = 519;

/// Links whose frames start at the IP header (`ARPHRD_*`): tunnels, PPP, TUN.
const RAW: [u16; 9] = [
    libc::ARPHRD_NONE,
    libc::ARPHRD_TUNNEL,
    libc::ARPHRD_TUNNEL6,
    libc::ARPHRD_SIT,
    libc::ARPHRD_IPGRE,
    IP6GRE,
    libc::ARPHRD_PPP,
    RAWIP,
    libc::ARPHRD_VOID,
];

/// The set, and what it is made of.
#[derive(Debug, Default)]
pub(super) struct Uncarried {
    links: AHashSet<u32>,
    objects: AHashSet<u32>,
    routes4: BTreeSet<Prefix<Ipv4Addr>>,
    routes6: BTreeSet<Prefix<Ipv6Addr>>,
    proxies4: BTreeSet<Prefix<Ipv4Addr>>,
    proxies6: BTreeSet<Prefix<Ipv6Addr>>,
    callers4: Vec<Prefix<Ipv4Addr>>,
    callers6: Vec<Prefix<Ipv6Addr>>,
    /// Something changed that only looking at all routes can follow.
    pub(super) rescan: bool,
}

impl Uncarried {
    /// Whether there are links or objects that warren does not carry.
    pub(super) fn any(&self) -> bool {
        !self.links.is_empty() || !self.objects.is_empty()
    }

    /// The caller's own prefixes.
    pub(super) fn leave_also(&mut self, v4: Vec<Prefix<Ipv4Addr>>, v6: Vec<Prefix<Ipv6Addr>>) {
        (self.callers4, self.callers6) = (v4, v6);
    }

    /// A link is new or changed.
    pub(super) fn link(&mut self, link: &LinkMsg) {
        let known = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK].contains(&link.arphrd);
        if !known && !RAW.contains(&link.arphrd) && self.links.insert(link.index) {
            self.rescan = true;
        }
    }

    /// A link is gone.
    pub(super) fn link_gone(&mut self, index: u32) {
        self.rescan |= self.links.remove(&index);
    }

    /// A route is new; true if it is not carried and was not in the set.
    pub(super) fn route<A: Ip>(&mut self, route: &Route<A>) -> bool {
        let uncarried = match &route.hops {
            Hops::None => false,
            Hops::List(hops) => hops.iter().any(|hop| self.links.contains(&hop.oif)),
            Hops::Object(id) => self.objects.contains(id),
        };
        uncarried
            && match route.dst.addr().into() {
                IpAddr::V4(addr) => {
                    Prefix::new(addr, route.dst.len()).is_ok_and(|dst| self.routes4.insert(dst))
                }
                IpAddr::V6(addr) => {
                    Prefix::new(addr, route.dst.len()).is_ok_and(|dst| self.routes6.insert(dst))
                }
            }
    }

    /// Looks at all next-hop objects, and if any or a link is not carried at all routes. Linear in their number.
    pub(super) fn scan(&mut self, writer: &mut Writer) {
        self.rescan = false;
        let objects: Vec<NexthopObject> = writer.nexthops().collect();
        let single = |object: &&NexthopObject| matches!(&object.body, NexthopBody::Single(hop) if hop.encap || self.links.contains(&hop.oif));
        let mut found: AHashSet<u32> = objects.iter().filter(single).map(|object| object.id).collect();
        let holds = |object: &&NexthopObject| object.body.members().iter().any(|(id, _)| found.contains(id));
        let groups: Vec<u32> = objects.iter().filter(holds).map(|object| object.id).collect();
        found.extend(groups);
        self.objects = found;
        self.routes4.clear();
        self.routes6.clear();
        if self.any() {
            for route in writer.routes::<Ipv4Addr>() {
                self.route(&route);
            }
            for route in writer.routes::<Ipv6Addr>() {
                self.route(&route);
            }
        }
        self.apply(writer);
    }

    /// Hands the set to the writer.
    pub(super) fn apply(&self, writer: &mut Writer) {
        let v4: BTreeSet<_> =
            self.routes4.iter().chain(&self.proxies4).chain(&self.callers4).copied().collect();
        let v6: BTreeSet<_> =
            self.routes6.iter().chain(&self.proxies6).chain(&self.callers6).copied().collect();
        writer.set_extra_left(v4.into_iter().collect(), v6.into_iter().collect());
    }
}

/// Takes over a dump of all proxy entries. Those of one interface are in its record too; one without an interface holds for all.
pub(super) fn take_proxies(writer: &mut Writer, uncarried: &mut Uncarried, proxies: &[NeighbourMsg]) {
    (uncarried.proxies4, uncarried.proxies6) = (BTreeSet::new(), BTreeSet::new());
    for proxy in proxies {
        match proxy.to {
            IpAddr::V4(addr) => drop(uncarried.proxies4.insert(Prefix::host(addr))),
            IpAddr::V6(addr) => drop(uncarried.proxies6.insert(Prefix::host(addr))),
        }
    }
    let mut found = Vec::new();
    for iface in writer.draft().ifaces.iter() {
        let here = proxies.iter().filter(|proxy| [0, iface.index].contains(&proxy.index));
        let mut addrs: Vec<Ipv6Addr> = here
            .filter_map(|proxy| match proxy.to {
                IpAddr::V6(addr) => Some(addr),
                IpAddr::V4(_) => None,
            })
            .collect();
        addrs.sort_unstable();
        if addrs != iface.proxies6 {
            found.push((iface.index, addrs));
        }
    }
    for (index, addrs) in found {
        writer.update_iface(index, |iface| iface.proxies6 = addrs);
    }
}
