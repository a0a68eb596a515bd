//! Which of our IPv4 addresses speaks, and "is it ours". Linux: inet_select_addr, fib_result_prefsrc, inet_addr_type.

use super::super::ctx::Env;
use super::route;
use crate::iface::{Iface, SCOPE_LINK};
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{RouteType, RuleKey};

/// `INADDR_DUMMY`, the address of last resort (RFC 7600 4.8).
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// The first primary address of `dev` on the subnet of `near`, else its first primary address of at most `scope`,
/// else one of another device. Linux: inet_select_addr.
pub fn select(env: Env<'_>, dev: &Iface, near: Option<Ipv4Addr>, scope: u8) -> Option<Ipv4Addr> {
    let primary = || dev.addrs4.iter().filter(|a| !a.secondary && a.scope <= scope);
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
pub fn of_route(env: Env<'_>, route: &route::Route<'_>) -> Option<Ipv4Addr> {
    if let Some(wished) = route.path.and_then(|p| p.prefsrc) {
        return Some(wished);
    }
    let member = route.member?;
    let near = match member.via {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        _ => None,
    };
    select(env, env.state.ifaces.get(member.oif)?, near, route.path.map_or(0, |p| p.scope))
}

/// The address that answers for a packet: what its options record. Linux: fib_compute_spec_dst.
pub fn spec_dst(env: Env<'_>, iif: &Iface, src: Ipv4Addr, tos: u8) -> Ipv4Addr {
    let key = RuleKey {
        src: Ipv4Addr::UNSPECIFIED,
        dst: src,
        iif: route::loopback(env),
        oif: 0,
        tos: tos & route::TOS_MASK,
        mark: 0,
        ipproto: 0,
        sport: 0,
        dport: 0,
    };
    let back = if src.is_unspecified() { None } else { route::lookup(env, &key).ok() };
    let scope = if src.is_unspecified() { SCOPE_LINK } else { 0 };
    back.and_then(|r| of_route(env, &r)).or_else(|| select(env, iif, Some(src), scope)).unwrap_or(DUMMY)
}

/// Whether table local has this address as the host's own, a broadcast or a group. Linux: inet_addr_type.
pub fn is_special(env: Env<'_>, addr: Ipv4Addr) -> bool {
    addr.is_multicast()
        || addr.is_broadcast()
        || local_type(env, addr).is_some_and(|k| k != RouteType::Unicast)
}

fn local_type(env: Env<'_>, addr: Ipv4Addr) -> Option<RouteType> {
    let (_, set) = env.view.table::<Ipv4Addr>(warren_fib::TABLE_LOCAL)?.lookup(addr).next()?;
    set.paths.first().map(|p| p.kind)
}

/// Whether any interface has this address. Linux: inet_lookup_ifaddr_rcu.
pub fn is_interface_address(env: Env<'_>, addr: Ipv4Addr) -> bool {
    env.state.ifaces.iter().any(|i| i.addrs4.iter().any(|a| a.addr == addr))
}
