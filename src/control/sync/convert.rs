//! Turns netlink's routes, next hops, rules and neighbours into those of the FIB.
//!
//! Invariant: what the FIB cannot express is told apart from what has no meaning for forwarding. The latter is `None`; the
//! former is an error that names the object, and its family stays with the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use warren_fib::{
    DETACHED, Hop, Hops, Ip, Neighbour, NexthopBody, NexthopObject, Nud, Place, Pref, Prefix, Route,
    RouteType, Rule,
};

use crate::control::netlink::{
    Bucket, Family, Leg, Mode, NeighbourMsg, NeighbourState, NexthopKind, NexthopMsg, PortMatch, RouteKind,
    RouteMsg, RuleAction, RuleMsg, leg_flag, metric, rule_flag,
};
use crate::state::{StateError, Writer};

/// An address family of the mirror, with its half of the state's writer.
pub(super) trait Addr: Ip {
    const FAMILY: Family;
    fn from_ip(ip: IpAddr) -> Option<Self>;
    fn insert(writer: &mut Writer, route: Route<Self>, place: Place) -> Result<(), StateError>;
    fn remove(writer: &mut Writer, route: &Route<Self>) -> Result<bool, StateError>;
    fn set(
        writer: &mut Writer,
        table: u32,
        dst: Prefix<Self>,
        routes: &[Route<Self>],
    ) -> Result<(), StateError>;
}

impl Addr for Ipv4Addr {
    const FAMILY: Family = Family::V4;
    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        }
    }
    fn insert(writer: &mut Writer, route: Route<Self>, place: Place) -> Result<(), StateError> {
        writer.insert4(route, place)
    }
    fn remove(writer: &mut Writer, route: &Route<Self>) -> Result<bool, StateError> {
        writer.remove4(route)
    }
    fn set(w: &mut Writer, table: u32, dst: Prefix<Self>, routes: &[Route<Self>]) -> Result<(), StateError> {
        w.set_routes4(table, dst, routes)
    }
}

impl Addr for Ipv6Addr {
    const FAMILY: Family = Family::V6;
    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(addr) => Some(addr),
            IpAddr::V4(_) => None,
        }
    }
    fn insert(writer: &mut Writer, route: Route<Self>, place: Place) -> Result<(), StateError> {
        writer.insert6(route, place)
    }
    fn remove(writer: &mut Writer, route: &Route<Self>) -> Result<bool, StateError> {
        writer.remove6(route)
    }
    fn set(w: &mut Writer, table: u32, dst: Prefix<Self>, routes: &[Route<Self>]) -> Result<(), StateError> {
        w.set_routes6(table, dst, routes)
    }
}

fn prefix<A: Addr>(net: IpNet) -> Option<Prefix<A>> {
    Prefix::new(A::from_ip(net.addr())?, net.prefix_len()).ok()
}

/// A route of this family, `now` in nanoseconds of the monotonic clock; `None` for types that no lookup knows.
pub(super) fn route<A: Addr>(msg: &RouteMsg, now: u64) -> Option<Route<A>> {
    let kind = match msg.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Broadcast => RouteType::Broadcast,
        RouteKind::Anycast => RouteType::Anycast,
        RouteKind::Multicast => RouteType::Multicast,
        // The kernel shows a route to a blackhole object so, and to another object when that one is replaced.
        RouteKind::Blackhole if msg.nexthop.is_some() => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::Blackhole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
        RouteKind::Other(_) => return None,
    };
    let hops = match (msg.nexthop, msg.legs.as_slice()) {
        (Some(id), _) => Hops::Object(id),
        (None, []) => Hops::None,
        (None, legs) => Hops::List(legs.iter().map(hop).collect()),
    };
    let ends = |left: Duration| now.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
    Some(Route {
        table: msg.table,
        dst: prefix(msg.dst)?,
        src: msg.src.map_or(Some(Prefix::ANY), prefix)?,
        tos: msg.tos,
        metric: msg.priority,
        kind,
        scope: msg.scope,
        protocol: msg.protocol,
        prefsrc: msg.prefsrc.and_then(A::from_ip),
        mtu: msg.metrics.get(metric::MTU),
        mtu_lock: msg.metrics.is_locked(metric::MTU),
        hoplimit: u8::try_from(msg.metrics.get(metric::HOPLIMIT)).unwrap_or(u8::MAX),
        pref: match msg.pref {
            1 => Pref::High,
            3 => Pref::Low,
            _ => Pref::Medium,
        },
        expires: msg.expires.map_or(u64::MAX, ends),
        // Realms are the kernel's as tunnels are: it keeps their accounts. Linux: fib_combine_itag.
        encap: msg.nexthop.is_none() && msg.legs.iter().any(|leg| leg.encap.is_some() || leg.realm != 0),
        hops,
    })
}

fn hop(leg: &Leg) -> Hop {
    Hop {
        oif: leg.link.unwrap_or(0),
        via: leg.gateway,
        weight: leg.weight,
        onlink: leg.flags & leg_flag::ONLINK != 0,
        encap: leg.encap.is_some(),
    }
}

/// Where the kernel has put a route, by its notification.
pub(super) fn place(mode: Mode) -> Place {
    match mode {
        Mode::Add => Place::New,
        Mode::Prepend => Place::Prepend,
        Mode::Append => Place::Append,
        // `Change` announces new flags of a route that is there: equal content is left alone.
        Mode::Replace | Mode::Change => Place::Replace,
    }
}

/// A next-hop object with the buckets of a resilient group; `None` for bridge entries, which routes cannot use.
pub(super) fn nexthop(msg: &NexthopMsg, buckets: &[Bucket]) -> Option<NexthopObject> {
    let body = match &msg.kind {
        NexthopKind::Hop { link, gateway, encap } => NexthopBody::Single(Hop {
            onlink: msg.flags & u32::from(leg_flag::ONLINK) != 0,
            encap: encap.is_some(),
            ..Hop::new(*link, *gateway)
        }),
        NexthopKind::Blackhole => NexthopBody::Blackhole,
        NexthopKind::Group { members, resilient } => {
            let weight = |weight| u16::try_from(weight).unwrap_or(u16::MAX);
            let members = members.iter().map(|m| (m.id, weight(m.weight))).collect();
            match resilient {
                None => NexthopBody::Group(members),
                Some(_) => NexthopBody::Resilient {
                    members,
                    buckets: buckets.iter().map(|bucket| bucket.member).collect(),
                },
            }
        }
        NexthopKind::Fdb => return None,
    };
    Some(NexthopObject { id: msg.id, body })
}

/// A neighbour's entry; `None` where the kernel has none to speak of.
pub(super) fn neighbour(msg: &NeighbourMsg) -> Option<Neighbour> {
    let state = match msg.state {
        NeighbourState::None | NeighbourState::Other(_) => return None,
        NeighbourState::Incomplete => Nud::INCOMPLETE,
        NeighbourState::Reachable => Nud::REACHABLE,
        NeighbourState::Stale => Nud::STALE,
        NeighbourState::Delay => Nud::DELAY,
        NeighbourState::Probe => Nud::PROBE,
        NeighbourState::Failed => Nud::FAILED,
        NeighbourState::Noarp => Nud::NOARP,
        NeighbourState::Permanent => Nud::PERMANENT,
    };
    Some(Neighbour { lladdr: msg.mac.unwrap_or_default(), state })
}

/// A rule, `index` giving the index of an interface by its name. The error is the matcher that the FIB does not have.
pub(super) fn rule<A: Addr>(
    msg: &RuleMsg,
    index: impl Fn(&str) -> Option<u32>,
) -> Result<Rule<A>, &'static str> {
    if !msg.unknown.is_empty() {
        return Err("an unknown matcher");
    }
    if msg.flow_label.is_some() {
        return Err("a flow label");
    }
    if msg.suppress_ifgroup.is_some() {
        return Err("suppress_ifgroup");
    }
    let action = match msg.action {
        RuleAction::Table => warren_fib::RuleAction::Table(msg.table),
        RuleAction::Goto(target) => warren_fib::RuleAction::Goto(target),
        RuleAction::Nop | RuleAction::Other(_) => warren_fib::RuleAction::Nop,
        RuleAction::Blackhole => warren_fib::RuleAction::Blackhole,
        RuleAction::Unreachable => warren_fib::RuleAction::Unreachable,
        RuleAction::Prohibit => warren_fib::RuleAction::Prohibit,
    };
    let named = |name: &Option<String>| name.as_deref().map(|name| index(name).unwrap_or(DETACHED));
    let net = |net: Option<IpNet>| net.and_then(prefix).unwrap_or(Prefix::ANY);
    // No forwarded packet has come through a tunnel device that sets an id, or from a VRF, whose ports are not taken; and the
    // kernel asks for its user as root's (fib_rule_match).
    let never = msg.l3mdev || msg.tun_id != 0 || msg.uids.is_some_and(|(first, _)| first > 0);
    Ok(Rule {
        invert: msg.flags & rule_flag::INVERT != 0,
        from: net(msg.src),
        to: net(msg.dst),
        iif: if never { Some(DETACHED) } else { named(&msg.iif) },
        oif: named(&msg.oif),
        tos: tos::<A>(msg)?,
        mark: msg.fwmark,
        mask: msg.fwmask,
        ipproto: Some(msg.ip_proto).filter(|proto| *proto != 0),
        sport: ports(msg.sport)?,
        dport: ports(msg.dport)?,
        suppress_prefixlen: msg.suppress_prefixlen.map(|len| u8::try_from(len).unwrap_or(u8::MAX)),
        ..Rule::new(msg.priority, action)
    })
}

/// The byte to compare. In IPv6 a DSCP is the same as a traffic class; in IPv4 a traffic class leaves out three bits.
fn tos<A: Addr>(msg: &RuleMsg) -> Result<u8, &'static str> {
    match msg.dscp {
        None => Ok(msg.tos),
        Some((dscp, 0x3f)) if A::V6 && dscp != 0 => Ok(dscp << 2),
        Some(_) => Err("a DSCP"),
    }
}

fn ports(range: Option<PortMatch>) -> Result<Option<(u16, u16)>, &'static str> {
    match range {
        Some(range) if range.mask != u16::MAX => Err("a port mask"),
        range => Ok(range.map(|range| (range.start, range.end))),
    }
}
