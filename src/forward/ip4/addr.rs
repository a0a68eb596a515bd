//! Which of our IPv4 addresses speaks, and "is it ours". Linux: inet_select_addr, fib_result_prefsrc, inet_addr_type.

use super::super::ctx::Env;
use super::route::{self, Route};
use crate::iface::{Iface, SCOPE_HOST, SCOPE_LINK};
use crate::sysctl::combine;
use crate::wire::ip4::Ip4Hdr;
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{Member, RouteType, RuleKey};

/// `INADDR_DUMMY`, the address of last resort (RFC 7600 4.8).
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// The first primary address of `dev` on the subnet of `near`, else its first primary address of at most `scope`,
/// else one of another device. Linux: inet_select_addr.
pub fn select(env: Env<'_>, dev: &Iface, near: Option<Ipv4Addr>, scope: u8) -> Option<Ipv4Addr> {
    // Where loopback addresses are routed, a host's own ones may speak to the link.
    let localnet = combine::or(env.state.sysctl.all4.route_localnet, dev.conf4.route_localnet);
    let widest = if localnet { SCOPE_LINK } else { SCOPE_HOST };
    let primary = || dev.addrs4.iter().filter(|a| !a.secondary && a.scope.min(widest) <= scope);
    let same_subnet = |near: Ipv4Addr| {
        primary().find(|a| {
            let mask = u32::MAX.checked_shl(32 - u32::from(a.prefix_len)).unwrap_or(0);
            (a.peer.to_bits() ^ near.to_bits()) & mask == 0
        })
    };
    let here = near.and_then(same_subnet).or_else(|| primary().next());
    here.map(|a| a.addr).or_else(|| {
        let others = env.state.ifaces.iter().flat_map(|i| i.addrs4.iter());
        others.filter(|a| a.scope != SCOPE_LINK && a.scope <= scope && !a.secondary).map(|a| a.addr).next()
    })
}

/// The source that a route wants. Linux: fib_result_prefsrc.
pub fn of_route(env: Env<'_>, route: &Route<'_>) -> Option<Ipv4Addr> {
    if let Some(wished) = route.path.and_then(|p| p.prefsrc) {
        return Some(wished);
    }
    let member = route.member?;
    let scope = route.path.map_or(0, |p| p.scope);
    of_member(env, route.group.is_some_and(|g| g.object), member, scope)
}

/// The source that suits a next hop, of an object or of a route itself; `scope` is the route's. Linux: fib_info_update_nhc_saddr.
pub fn of_member(env: Env<'_>, object: bool, member: &Member, scope: u8) -> Option<Ipv4Addr> {
    let (near, scope) = match member.via {
        // An object chose its source when it was made, a step wider than its own scope. Linux: nh_create_ipv4.
        None => (None, if object { SCOPE_LINK } else { scope }),
        Some(IpAddr::V4(gateway)) => (Some(gateway), if object { SCOPE_LINK - 1 } else { scope }),
        Some(IpAddr::V6(_)) if object => (None, scope),
        // The kernel reads the first bytes of a gateway as if it were one of IPv4.
        Some(IpAddr::V6(gateway)) => {
            (gateway.octets().first_chunk::<4>().map(|first| (*first).into()), scope)
        }
    };
    select(env, env.state.ifaces.get(member.oif)?, near, scope)
}

/// The address that answers for a packet: what its options record. Linux: fib_compute_spec_dst.
pub fn spec_dst(env: Env<'_>, iif: &Iface, src: Ipv4Addr, tos: u8) -> Option<Ipv4Addr> {
    if src.is_unspecified() {
        return select(env, iif, None, SCOPE_LINK);
    }
    let key = route::own_key(env, Ipv4Addr::UNSPECIFIED, src, tos);
    match route::lookup(env, &key) {
        Ok(back) => of_route(env, &back),
        Err(_) => select(env, iif, Some(src), 0),
    }
}

/// The address with which a forwarded packet leaves, as its options record it. Linux: ip_rt_get_source.
pub fn on_the_way_out(
    env: Env<'_>,
    iif: &Iface,
    hdr: &Ip4Hdr,
    dst: Ipv4Addr,
    route: &Route<'_>,
) -> Option<Ipv4Addr> {
    let oif = route.oif(env)?;
    let key = RuleKey { iif: iif.index, oif: oif.index, ..route::own_key(env, hdr.src(), dst, hdr.tos) };
    match route::lookup(env, &key) {
        Ok(found) => of_route(env, &found),
        Err(_) => match route.next_hop(dst) {
            IpAddr::V4(next) => select(env, oif, Some(next), 0),
            IpAddr::V6(_) => select(env, oif, Some(dst), 0),
        },
    }
}

/// Whether an address is the host's own, a broadcast or a group. Linux: inet_addr_type.
pub fn is_special(env: Env<'_>, addr: Ipv4Addr) -> bool {
    route::type_of(env, addr) != RouteType::Unicast
}

/// Whether this host may speak from this address. Linux: __ip_dev_find.
pub fn is_ours(env: Env<'_>, addr: Ipv4Addr) -> bool {
    is_interface_address(env, addr) || route::type_of(env, addr) == RouteType::Local
}

/// Whether any interface has this address. Linux: inet_lookup_ifaddr_rcu.
pub fn is_interface_address(env: Env<'_>, addr: Ipv4Addr) -> bool {
    owner(env, addr).is_some()
}

/// The interface that has this address. Linux: __ip_dev_find.
pub fn owner<'a>(env: Env<'a>, addr: Ipv4Addr) -> Option<&'a Iface> {
    env.state.ifaces.iter().find(|i| i.addrs4.iter().any(|a| a.addr == addr))
}
