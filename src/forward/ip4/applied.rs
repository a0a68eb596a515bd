//! Which rules made a packet's route and read its options, by name, for whoever counts them. Decides nothing. Called by
//! `decide`.

use super::super::ctx::Ctx;
use super::super::observe::Observer;
use super::options::Options;
use super::route::{Errno, Kind, Route};
use warren_fib::{GroupKind, RouteType, TABLE_LOCAL, TABLE_MAIN};

/// What the route is like.
pub fn route<O: Observer>(cx: &mut Ctx<'_, '_, O>, route: &Route<'_>) {
    cx.rule(match route.kind {
        Kind::Unicast => "route: unicast",
        Kind::BroadcastForward => "route: broadcast, sent on",
        Kind::Local => "route: local",
        Kind::Broadcast => "route: broadcast",
        Kind::Multicast => "route: multicast",
        Kind::Error(Errno::NetUnreachable) => "route: none",
        Kind::Error(Errno::HostUnreachable) => "route: unreachable",
        Kind::Error(Errno::Prohibited) => "route: prohibit",
        Kind::Error(Errno::Blackhole) => "route: blackhole",
    });
    let Some(path) = route.path.filter(|_| route.found == RouteType::Unicast) else { return };
    let via = route.member.and_then(|m| m.via);
    for (applies, name) in [
        (path.tos != 0, "route: for one TOS only"),
        (!matches!(path.table, TABLE_MAIN | TABLE_LOCAL), "route: of a table that a rule names"),
        (path.mtu != 0 && path.mtu_lock, "route: MTU locked"),
        (path.mtu == 0 && path.mtu_lock, "route: MTU locked without a value"),
        (path.mtu != 0 && !path.mtu_lock, "route: MTU not locked"),
        (via.is_none(), "next hop: on the link"),
        (via.is_some_and(|via| via.is_ipv6()), "next hop: gateway of IPv6"),
        (route.member.is_some_and(|m| m.onlink), "next hop: gateway taken to be on the link"),
        (route.redirect, "redirect"),
    ] {
        if applies {
            cx.rule(name);
        }
    }
    let Some(group) = route.group.filter(|g| g.members.len() > 1) else { return };
    cx.rule(match group.kind {
        GroupKind::Plain => "next hop: of several of a route",
        GroupKind::Blackhole => "next hop: blackhole",
        GroupKind::Resilient { .. } => "next hop: bucket of a resilient group",
        GroupKind::Object { .. } => "next hop: member of a nexthop group",
    });
    cx.rule(match cx.env.state.sysctl.ip4.fib_multipath_hash_policy {
        1 => "multipath policy: 1, ports",
        2 => "multipath policy: 2, inner packet",
        3 => "multipath policy: 3, chosen fields",
        _ => "multipath policy: 0, addresses",
    });
}

/// What was done for the options of a packet that goes on.
pub fn options<O: Observer>(cx: &mut Ctx<'_, '_, O>, options: &Options) {
    for (applies, name) in [
        (options.record_route.is_some() && options.needs_route_address, "option taken: record route"),
        (options.record_route.is_some() && !options.needs_route_address, "option full: record route"),
        (options.needs_time_address, "option taken: timestamp with address"),
        (options.needs_time && !options.needs_time_address, "option taken: timestamp"),
        (options.timestamp.is_some() && !options.needs_time, "option passed: timestamp"),
        (options.source_routed() && options.strict(), "option taken: strict source route"),
        (options.source_routed() && !options.strict(), "option taken: loose source route"),
        (!options.changed, "options passed as they are"),
    ] {
        if applies {
            cx.rule(name);
        }
    }
}
