//! What a kernel derives from links and addresses by itself: routes, the link-local address, joined groups.
//!
//! Pure functions, each after a kernel function; a test compares them with a kernel's own tables. Called by `load`
//! and, to tell what need not be written down, by `snapshot`.

pub use crate::iface::SCOPE_HOST;
use crate::iface::{Addr4, Addr6, Iface, LinkKind, SCOPE_LINK};
use crate::state::PROTO_KERNEL;
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::{Hops, Ip, Prefix, Route, RouteType, TABLE_LOCAL, TABLE_MAIN};

/// `IP6_RT_PRIO_ADDRCONF`: metric of connected IPv6 prefixes.
const METRIC_CONNECTED6: u32 = 256;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_HERE: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1);
/// All routers, of interface-local, link-local and site-local scope. Linux: dev_forward_change.
const ALL_ROUTERS: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2),
];
/// The group that every IPv4 interface joins. RFC 1112 7.2; Linux: ip_mc_up.
pub const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// Adds an address to a link's list where the kernel puts it. `Err` says why it would refuse.
/// Linux: __inet_insert_ifa.
pub fn insert4(list: &mut Vec<Addr4>, mut new: Addr4) -> Result<Addr4, String> {
    let subnet = |a: &Addr4| Prefix::new(a.addr, a.prefix_len).ok();
    let wanted = subnet(&new);
    for old in list.iter().filter(|a| subnet(a) == wanted) {
        if old.addr == new.addr {
            return Err("the link has this address already".into());
        }
        if old.scope != new.scope {
            return Err(format!("{} of the same subnet has another scope", old.addr));
        }
        new.secondary = true;
    }
    let before = |a: &Addr4| !a.secondary && new.scope <= a.scope;
    let at = match new.secondary {
        true => list.len(),
        false => list.iter().rposition(before).map_or(0, |last| last + 1),
    };
    list.insert(at, new);
    Ok(new)
}

/// Adds an address to a link's list where the kernel puts it: by scope, the newest first. Linux: ipv6_link_dev_addr.
pub fn insert6(list: &mut Vec<Addr6>, new: Addr6) -> Result<(), String> {
    if list.iter().any(|a| a.addr == new.addr) {
        return Err("the link has this address already".into());
    }
    let scope = |a: &Addr6| crate::wire::ip6::scope(a.addr);
    let at = list.iter().position(|old| scope(&new) >= scope(old)).unwrap_or(list.len());
    list.insert(at, new);
    Ok(())
}

/// The routes of an IPv4 address that is in the link's list. Linux: fib_add_ifaddr.
pub fn routes4(link: &Iface, address: &Addr4, prefix_route: bool) -> Vec<Route<Ipv4Addr>> {
    let Ok(subnet) = Prefix::new(address.addr, address.prefix_len) else { return Vec::new() };
    let same = |a: &&Addr4| !a.secondary && a.prefix_len == address.prefix_len && subnet.contains(a.addr);
    let primary = link.addrs4.iter().find(same).map_or(address.addr, |a| a.addr);
    let route = |dst, kind, table, scope| Route {
        kind,
        table,
        scope,
        protocol: PROTO_KERNEL,
        prefsrc: Some(primary),
        ..Route::new(dst, Hops::one(link.index, None))
    };
    let mut routes = vec![route(Prefix::host(address.addr), RouteType::Local, TABLE_LOCAL, SCOPE_HOST)];
    let whole_address = subnet == Prefix::host(address.addr);
    if address.secondary || whole_address || subnet.addr().is_unspecified() {
        return routes;
    }
    if prefix_route {
        routes.push(match link.kind {
            LinkKind::Loopback => route(subnet, RouteType::Local, TABLE_LOCAL, SCOPE_HOST),
            _ => route(subnet, RouteType::Unicast, TABLE_MAIN, SCOPE_LINK),
        });
    }
    if subnet.len() < 31 {
        let host_bits = u32::MAX.checked_shr(subnet.len().into()).unwrap_or(0);
        let last = Ipv4Addr::from_bits(subnet.addr().to_bits() | host_bits);
        routes.push(route(Prefix::host(last), RouteType::Broadcast, TABLE_LOCAL, SCOPE_LINK));
    }
    routes
}

/// A kernel route over a link, of table local.
fn local6(link: &Iface, dst: Prefix<Ipv6Addr>, kind: RouteType, metric: u32) -> Route<Ipv6Addr> {
    let (table, protocol) = (TABLE_LOCAL, PROTO_KERNEL);
    Route { kind, metric, table, protocol, ..Route::new(dst, Hops::one(link.index, None)) }
}

/// The routes of an IPv6 address that is in the link's list.
/// RFC 4291 2.6.1, RFC 6164 5; Linux: inet6_addr_add, __ipv6_ifa_notify, addrconf_join_anycast.
pub fn routes6(link: &Iface, address: &Addr6) -> Vec<Route<Ipv6Addr>> {
    let Ok(subnet) = Prefix::new(address.addr, address.prefix_len) else { return Vec::new() };
    let mut routes = Vec::new();
    if !address.no_prefix_route {
        let metric = METRIC_CONNECTED6;
        routes.push(Route { table: TABLE_MAIN, ..local6(link, subnet, RouteType::Unicast, metric) });
    }
    if address.tentative {
        return routes;
    }
    routes.push(local6(link, Prefix::host(address.addr), RouteType::Local, 0));
    routes.extend(anycast(link, address).map(|any| local6(link, Prefix::host(any), RouteType::Anycast, 0)));
    routes
}

/// The subnet-router anycast address that comes with an address, unless the link has it as its own.
fn anycast(link: &Iface, address: &Addr6) -> Option<Ipv6Addr> {
    let subnet = Prefix::new(address.addr, address.prefix_len).ok()?.addr();
    let own = link.addrs6.iter().any(|a| a.addr == subnet);
    let joins = link.conf6.forwarding != 0 && address.prefix_len < 127 && !subnet.is_unspecified();
    (joins && !own).then_some(subnet)
}

/// The route by which a link receives and sends groups; loopback has none. Linux: addrconf_add_mroute.
pub fn multicast6(link: &Iface) -> Option<Route<Ipv6Addr>> {
    let all = Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).ok()?;
    (link.kind != LinkKind::Loopback).then(|| local6(link, all, RouteType::Multicast, METRIC_CONNECTED6))
}

/// The groups that the host joins on a link. RFC 4291 2.7.1, 2.8; Linux: ipv6_add_dev, addrconf_join_solict.
pub fn groups6(link: &Iface) -> Vec<Ipv6Addr> {
    let mut groups = vec![ALL_NODES, ALL_NODES_HERE];
    if link.kind == LinkKind::Loopback {
        return groups;
    }
    if link.conf6.forwarding != 0 {
        groups.extend(ALL_ROUTERS);
    }
    for address in &link.addrs6 {
        let spoken_to = [Some(address.addr), anycast(link, address).filter(|_| !address.tentative)];
        groups.extend(spoken_to.into_iter().flatten().map(solicited_node));
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// RFC 4291 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
    Ipv6Addr::from_key(group.key() | (address.key() & 0xff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Iface {
        let mut link = Iface::new(2, "p0", [2, 0, 0, 0, 0, 2]);
        link.conf6.forwarding = 1;
        link
    }

    fn add4(link: &mut Iface, text: &str) -> Vec<String> {
        let net: ipnet::Ipv4Net = text.parse().unwrap();
        let new = Addr4 {
            addr: net.addr(),
            peer: net.addr(),
            prefix_len: net.prefix_len(),
            broadcast: None,
            scope: 0,
            secondary: false,
        };
        let new = insert4(&mut link.addrs4, new).unwrap();
        let shown = |r: Route<Ipv4Addr>| {
            format!("{:?} {} table {} src {}", r.kind, r.dst, r.table, r.prefsrc.unwrap())
        };
        routes4(link, &new, true).into_iter().map(shown).collect()
    }

    fn add6(link: &mut Iface, text: &str) -> Vec<String> {
        let net: ipnet::Ipv6Net = text.parse().unwrap();
        let new = Addr6 {
            addr: net.addr(),
            prefix_len: net.prefix_len(),
            tentative: false,
            optimistic: false,
            deprecated: false,
            temporary: false,
            no_prefix_route: false,
        };
        insert6(&mut link.addrs6, new).unwrap();
        let shown =
            |r: Route<Ipv6Addr>| format!("{:?} {} table {} metric {}", r.kind, r.dst, r.table, r.metric);
        routes6(link, &new).into_iter().map(shown).collect()
    }

    #[test]
    fn an_ipv4_address_brings_itself_its_subnet_and_its_broadcast() {
        let mut p0 = link();
        assert_eq!(
            add4(&mut p0, "10.0.1.1/24"),
            [
                "Local 10.0.1.1/32 table 255 src 10.0.1.1",
                "Unicast 10.0.1.0/24 table 254 src 10.0.1.1",
                "Broadcast 10.0.1.255/32 table 255 src 10.0.1.1"
            ]
        );
        // A second address of the subnet speaks with the voice of the first.
        assert_eq!(add4(&mut p0, "10.0.1.2/24"), ["Local 10.0.1.2/32 table 255 src 10.0.1.1"]);
        assert_eq!(add4(&mut p0, "10.0.2.1/32"), ["Local 10.0.2.1/32 table 255 src 10.0.2.1"]);
        // RFC 3021: two addresses and no broadcast.
        assert_eq!(
            add4(&mut p0, "10.0.3.1/31"),
            ["Local 10.0.3.1/32 table 255 src 10.0.3.1", "Unicast 10.0.3.0/31 table 254 src 10.0.3.1"]
        );
        let order: Vec<_> = p0.addrs4.iter().map(|a| (a.addr.octets()[2], a.secondary)).collect();
        assert_eq!(order, [(1, false), (2, false), (3, false), (1, true)], "secondaries come last");
    }

    #[test]
    fn an_ipv6_address_brings_itself_its_subnet_and_the_routers_anycast() {
        let mut p0 = link();
        assert_eq!(
            add6(&mut p0, "2001:db8:1::1/64"),
            [
                "Unicast 2001:db8:1::/64 table 254 metric 256",
                "Local 2001:db8:1::1/128 table 255 metric 0",
                "Anycast 2001:db8:1::/128 table 255 metric 0"
            ]
        );
        assert_eq!(add6(&mut p0, "2001:db8:2::1/127").len(), 2, "RFC 6164: no anycast on /127");
        p0.conf6.forwarding = 0;
        assert_eq!(add6(&mut p0, "2001:db8:3::1/64").len(), 2, "hosts have none either");
        let newest = p0.addrs6.first().unwrap().addr;
        assert_eq!(newest.to_string(), "2001:db8:3::1");
    }

    #[test]
    fn a_router_joins_the_groups_of_routers_and_of_its_addresses() {
        let mut p0 = link();
        add6(&mut p0, "2001:db8:1::ab:cdef/64");
        let groups: Vec<String> = groups6(&p0).iter().map(ToString::to_string).collect();
        assert_eq!(
            groups,
            ["ff01::1", "ff01::2", "ff02::1", "ff02::2", "ff02::1:ff00:0", "ff02::1:ffab:cdef", "ff05::2"]
        );
    }
}
