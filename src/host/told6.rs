//! What IPv6 hosts are told of the ways to others: path MTUs and better first hops. Linux: ip6_update_pmtu, rt6_do_redirect.
//!
//! Simpler than the kernel: a redirect lasts until the path is told of anew, not until nobody has used it for a minute.

use super::neighbours::{Heard, Other};
use super::{News, Told};
use crate::drop::DropReason;
use crate::forward::ctx::{Env, Nanos};
use crate::forward::ip6::output;
use crate::forward::ip6::own::{self, Made};
use crate::forward::ip6::route::{self, Kind, Route};
use crate::iface::Iface;
use crate::state::{Exception, Leg};
use crate::wire::ip6::{self, Ip6Hdr};
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{Member, Nud, Path, RuleAction, RuleKey};

/// How long a path MTU is believed (`net.ipv6.route.mtu_expires`). RFC 8201 5.3
const MTU_EXPIRES: Nanos = 600_000_000_000;

/// A message says that a packet which this host may have sent was too big for its path. RFC 8201 4;
/// Linux: __ip6_rt_update_pmtu.
pub fn too_big(env: Env<'_>, iif: &Iface, quoted: &Ip6Hdr, mtu: u32) -> Option<Told> {
    if mtu < ip6::MIN_MTU {
        return None;
    }
    let (src, dst) = (quoted.src(), quoted.dst());
    let made = Made { tos: quoted.traffic_class() & 0xfc, label: quoted.flow_label(), ..Made::default() };
    let route = own::output(env, made, Some(src).filter(|src| !src.is_unspecified()), dst, iif.index, &[]);
    if !matches!(route.kind, Kind::Unicast | Kind::Local) {
        return None;
    }
    if mtu >= output::route_mtu(&route, route.device(env)?.conf6.mtu) {
        return None;
    }
    let path = route.path?;
    let expires = path.expires.min(env.now + MTU_EXPIRES);
    let exception = match route.exception {
        Some(known) => Exception { mtu, expires: known.expires.min(expires), ..*known },
        None => {
            let src = if route.member?.via.is_none() { src } else { path.src.addr() };
            let src = (!path.src.is_default()).then_some(src);
            let leg = leg(env, &route)?;
            if mtu >= leg_mtu(env, path, leg.oif) {
                return None;
            }
            Exception { leg, src, mtu, locked: false, gateway: None, expires }
        }
    };
    Some(Told::V6(dst, exception))
}

/// The next hop that a route has chosen; of nexthop objects that are alike the first one. Linux: fib6_nh_find_match.
fn leg(env: Env<'_>, route: &Route<'_>) -> Option<Leg> {
    let (path, member) = (route.path?, route.member?);
    let group = env.view.group(path.group?)?;
    let mut legs = group.members.iter();
    let alike = |m: &&Member| m.object != 0 && (m.oif, m.via) == (member.oif, member.via);
    Some(Leg::new(path, route.prefix_len, group, legs.find(alike).unwrap_or(member)))
}

/// The MTU that an exception has to be below. Linux: fib6_mtu.
fn leg_mtu(env: Env<'_>, path: &Path<Ipv6Addr>, oif: u32) -> u32 {
    let device = env.state.ifaces.get(oif).map_or(0, |dev| dev.conf6.mtu);
    if path.mtu != 0 { path.mtu } else { u32::try_from(device).unwrap_or(0) }
}

/// A redirect, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// The router that sent it.
    pub router: Ipv6Addr,
    /// For which destination.
    pub dst: Ipv6Addr,
    /// The better first hop, which is the destination itself if that is on the link.
    pub target: Ipv6Addr,
    /// Its link-layer address, if told; one of another length makes the redirect useless.
    pub lladdr: Result<Option<[u8; 6]>, DropReason>,
    /// The packet that was on its way: source and destination.
    pub about: (Ipv6Addr, Ipv6Addr),
    /// Its DSCP bits.
    pub tos: u8,
}

/// A host takes a redirect of its first hop to a destination; a router does not (RFC 4861 8.3). Linux: rt6_do_redirect.
pub fn redirected(env: Env<'_>, iif: &Iface, redirect: &Redirect) -> News {
    let (Redirect { dst, target, .. }, none) = (*redirect, News::default());
    let Ok(lladdr) = redirect.lladdr else { return none };
    let takes = iif.conf6.forwarding == 0 && iif.conf6.accept_redirects != 0;
    if !takes || dst.is_multicast() || target != dst && !ip6::is_link_local(target) {
        return none;
    }
    let Some((path, leg)) = first_hop(env, iif, redirect) else { return none };
    let key = (iif.index, IpAddr::V6(target));
    let heard = Some(Heard { key, lladdr, state: Nud::STALE, creates: true, other: Other::Replaced });
    // An exception has to be below the route's own MTU, if it has one, and a redirect takes that over.
    if path.mtu != 0 {
        return News { heard, ..none };
    }
    let src = (!path.src.is_default()).then(|| path.src.addr());
    let exception = Exception { leg, src, mtu: 0, locked: false, gateway: Some(target), expires: Nanos::MAX };
    News { heard, told: vec![Told::V6(dst, exception)] }
}

/// The route by which the sender of a redirect is the first hop to where the packet was on its way. RFC 4861 8.1;
/// Linux: ip6_route_redirect.
fn first_hop<'a>(env: Env<'a>, iif: &Iface, redirect: &Redirect) -> Option<(&'a Path<Ipv6Addr>, Leg)> {
    let (src, dst) = redirect.about;
    let lo = env.state.ifaces.loopback().map_or(1, |lo| lo.index);
    let tos = redirect.tos;
    let key = RuleKey { src, dst, iif: lo, oif: iif.index, tos, mark: 0, ipproto: 0, sport: 0, dport: 0 };
    for rule in env.state.rules6.matching(&key) {
        match rule.action {
            RuleAction::Table(id) => match first_hop_in(env, id, &key, redirect.router) {
                Search::On => {}
                Search::Found(len, ..) if rule.suppresses(len) => {}
                Search::Over => return None,
                Search::Found(_, path, leg) => return Some((path, leg)),
            },
            RuleAction::Goto(_) | RuleAction::Nop => {}
            _ => return None,
        }
    }
    None
}

/// How the search in a table ends.
enum Search<'a> {
    /// The next rule is asked.
    On,
    /// No rule is asked any more.
    Over,
    /// By this leg, from an answer of so many bits: what was told before is one for the destination alone.
    Found(u8, &'a Path<Ipv6Addr>, Leg),
}

/// Any route of the longest prefix that has one: the choice of routes is not made again. One that rejects leads to the next
/// rule; behind a route to everywhere there is none. Linux: __ip6_route_redirect.
fn first_hop_in<'a>(env: Env<'a>, table: u32, key: &RuleKey<Ipv6Addr>, router: Ipv6Addr) -> Search<'a> {
    let Some(table) = env.view.table::<Ipv6Addr>(table) else { return Search::On };
    let (mut everywhere, mut entered) = (false, false);
    for (len, set) in table.lookup(key.dst) {
        everywhere |= len == 0 && set.paths.iter().any(|path| path.src.is_default());
        entered = entered || len == 0 || route::enters(&set.paths, key.src);
        if !entered {
            continue;
        }
        let mut of_source: Vec<_> = set.paths.iter().filter(|p| p.src.contains(key.src)).collect();
        of_source.sort_by_key(|p| Reverse(p.src.len()));
        for path in of_source.into_iter().filter(|p| !route::expired(p, env.now)) {
            if path.kind.is_error() {
                return Search::On;
            }
            let Some(group) = path.group.and_then(|id| env.view.group(id)) else { continue };
            let by_router = |leg: Leg| {
                let told = || route::exception(env, key, path, &leg).and_then(|e| e.gateway);
                let direct = (leg.via == Some(IpAddr::V6(router))).then_some((len, leg));
                direct.or_else(|| (told() == Some(router)).then_some((Ipv6Addr::BITS as u8, leg)))
            };
            // Only a leg with a gateway can have a better one.
            let legs = group.members.iter().filter(|m| !m.dead && m.oif == key.oif && m.via.is_some());
            if let Some((len, leg)) = legs.map(|m| Leg::new(path, len, group, m)).find_map(by_router) {
                return Search::Found(len, path, leg);
            }
        }
    }
    if everywhere { Search::Over } else { Search::On }
}
