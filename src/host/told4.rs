//! What IPv4 hosts are told of the ways to others: path MTUs and better first hops. Linux: __ip_rt_update_pmtu,
//! __ip_do_redirect.
//!
//! Without programs the host sends echo replies and errors; the kernel believes what it is told of the former.

use super::{News, Told};
use crate::forward::act::Act;
use crate::forward::ctx::{Env, Nanos};
use crate::forward::ip4::{forward, route};
use crate::iface::Iface;
use crate::neigh::Ask;
use crate::state::{Exception, Leg};
use crate::sysctl::combine;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::proto;
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{RouteType, RuleKey};
use zerocopy::FromBytes;

/// How long a path MTU is believed (`net.ipv4.route.mtu_expires`). RFC 1191 6.3
const MTU_EXPIRES: Nanos = 600_000_000_000;
/// A path MTU below this is not believed, but from then on packets may be cut on their way (`net.ipv4.route.min_pmtu`).
const MIN_PMTU: u32 = 552;
/// How long a redirect counts (`net.ipv4.route.gc_timeout`).
const REDIRECT: Nanos = 300_000_000_000;

/// What the quoted packet was routed by.
fn key(env: Env<'_>, quoted: &Ip4Hdr) -> RuleKey<Ipv4Addr> {
    let key = route::own_key(env, quoted.src(), quoted.dst(), quoted.tos);
    RuleKey { ipproto: proto::ICMP, ..key }
}

/// A message says that a packet of this host was too big for its path and may not be cut. All next hops of the route are
/// told. RFC 1191 6.3; Linux: __ip_rt_update_pmtu.
pub fn too_big(env: Env<'_>, quoted: &Ip4Hdr, mtu: u32) -> News {
    let none = News::default();
    let Ok((route, _)) = route::output(env, &key(env, quoted), None) else { return none };
    let (Some(path), Some(group), Some(oif)) = (route.path, route.group, route.oif(env)) else { return none };
    let known = forward::mtu(&route, oif.mtu, true);
    if path.mtu_lock || route.exception.is_some_and(|e| e.locked) || known < mtu {
        return none;
    }
    let locked = mtu < MIN_PMTU;
    let mtu = if locked { known.min(MIN_PMTU) } else { mtu };
    let expires = env.now + MTU_EXPIRES;
    let fresh = |e: &Exception<Ipv4Addr>| e.mtu == mtu && env.now < e.expires.saturating_sub(MTU_EXPIRES / 2);
    if !locked && route.exception.is_some_and(fresh) {
        return none;
    }
    let dst = quoted.dst();
    let of_leg = |leg: Leg| {
        let gateway = env.state.exceptions4.find(dst, None, &leg, env.now).and_then(|e| e.gateway);
        Told::V4(dst, Exception { leg, src: None, mtu, locked, gateway, expires })
    };
    let chosen = |index: usize| group.members.len() > 1 || group.members.get(index) == route.member;
    let legs = group.members.iter().enumerate().filter(|(index, _)| chosen(*index));
    let told = legs.map(|(_, m)| of_leg(Leg::new(path, route.prefix_len, group, m))).collect();
    News { told, ..none }
}

/// A redirect of the first hop to where a packet of this host was on its way, from a `message` with this code and
/// destination. RFC 1122 3.2.2.2; Linux: __ip_do_redirect.
pub fn redirected<O>(
    act: &mut Act<'_, '_, O>,
    iif: &Iface,
    (message, code): ((&[u8], Ipv4Addr), u8),
    quoted: &Ip4Hdr,
    gateway: Ipv4Addr,
) -> News {
    let (env, none) = (act.env, News::default());
    let Ok((outer, _)) = Ip4Hdr::ref_from_prefix(message.0) else { return none };
    let Ok((route, _)) = route::output(env, &key(env, quoted), None) else { return none };
    // A destination on the link is no gateway to itself, unless something was told of it. Linux: rt_bind_exception.
    let by_gateway = route.exception.is_some() || route.member.is_some_and(|m| m.via.is_some());
    let from_first_hop = by_gateway && route.next_hop(quoted.dst()) == IpAddr::V4(outer.src());
    if code & 7 > 3 || !from_first_hop || !takes(env, iif, outer.src(), gateway) {
        return none;
    }
    let Some(oif) = route.oif(env) else { return none };
    let next = IpAddr::V4(gateway);
    if !env.view.neighbour(oif.index, next).is_some_and(|n| n.neighbour.state.is_valid()) {
        // One that does not answer is no better; the next redirect may find it.
        act.asks.push(Ask::Resolve { oif: oif.index, next });
        return none;
    }
    // Of several next hops that one is told which the message itself would take, by its addresses and not those that it
    // quotes: the kernel looks for these behind them. Linux: fib_select_path, ip_multipath_l3_keys.
    let header = message.0.get(..outer.ihl()).unwrap_or_default();
    let Ok((route, _)) = route::output(env, &key(env, quoted), Some((header, message.1))) else {
        return none;
    };
    let (Some(path), Some(group), Some(member)) = (route.path, route.group, route.member) else {
        return none;
    };
    let leg = Leg::new(path, route.prefix_len, group, member);
    let known = env.state.exceptions4.find(quoted.dst(), None, &leg, env.now);
    let (mtu, locked) = known.map_or((0, false), |e| (e.mtu, e.locked));
    let expires = env.now + REDIRECT;
    let exception = Exception { leg, src: None, mtu, locked, gateway: Some(gateway), expires };
    let dst = quoted.dst();
    let told = match is_secure(env, iif) {
        true => Told::Secure4(iif.index, dst, exception),
        false => Told::V4(dst, exception),
    };
    News { told: vec![told], ..none }
}

/// Whether a router may name this gateway to a host on the link `iif`.
fn takes(env: Env<'_>, iif: &Iface, router: Ipv4Addr, gateway: Ipv4Addr) -> bool {
    let (all, dev) = (&env.state.sysctl.all4, &iif.conf4);
    let accept = (all.accept_redirects, dev.accept_redirects);
    let accept =
        if dev.forwarding != 0 { combine::and(accept.0, accept.1) } else { combine::or(accept.0, accept.1) };
    let [first, ..] = gateway.octets();
    let odd = gateway == router || gateway.is_multicast() || gateway.is_broadcast() || first == 0;
    if !accept || odd {
        return false;
    }
    if combine::or(all.shared_media, dev.shared_media) {
        route::type_of(env, gateway) == RouteType::Unicast
    } else {
        route::same_subnet(iif, gateway, Some(router))
    }
}

/// Whether only gateways of routes may be named on this link. Linux: ip_fib_check_default.
fn is_secure(env: Env<'_>, iif: &Iface) -> bool {
    let (all, dev) = (&env.state.sysctl.all4, &iif.conf4);
    !combine::or(all.shared_media, dev.shared_media)
        && combine::or(all.secure_redirects, dev.secure_redirects)
}
