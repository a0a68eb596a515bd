//! Names for what decided about a packet, for those who count rules. Nothing here decides anything. Called by `decide`,
//! `forward` and `icmp`.

use super::super::act::{Act, Quote};
use super::super::ctx::Ctx;
use super::super::decision::{Decision, Target};
use super::super::l3::{multipath, named as shared};
use super::super::observe::Observer;
use super::options::Options;
use super::route::{Errno, Kind, Route, good};
use super::{Packet, forward};
use crate::wire::ip4::{self, opt};
use std::net::Ipv4Addr;
use warren_fib::{Group, GroupKind, RouteType, TABLE_LOCAL, TABLE_MAIN};

/// What the route of a packet is like, which is for `dst` by now.
pub fn route<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>, route: &Route<'_>, dst: Ipv4Addr) {
    if !cx.wants_rules() {
        return;
    }
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
    cx.rule_if(path.tos != 0, "route: for one TOS only");
    let of_rules = !matches!(path.table, TABLE_MAIN | TABLE_LOCAL);
    cx.rule_if(of_rules, "route: of a table that a rule names");
    let via = route.member.and_then(|m| m.via);
    cx.rule(match via {
        _ if route.exception.is_some_and(|e| e.gateway.is_some()) => {
            "next hop: one that this host was redirected to"
        }
        None => "next hop: the destination itself",
        Some(via) if via.is_ipv6() => "next hop: a gateway of IPv6",
        Some(_) => "next hop: a gateway",
    });
    cx.rule_if(route.member.is_some_and(|m| m.onlink), "next hop: a gateway taken to be on the link");
    if let Some(group) = route.group.filter(|g| g.members.len() > 1) {
        next_hop(cx, packet.bytes, dst, route, group);
    }
}

/// How one of several next hops was chosen.
fn next_hop<O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    packet: &[u8],
    dst: Ipv4Addr,
    route: &Route<'_>,
    group: &Group,
) {
    let env = cx.env;
    shared::several(cx, &group.kind);
    multipath::name4(cx.observer(), env.state, packet);
    if matches!(group.kind, GroupKind::Resilient { .. } | GroupKind::Blackhole) {
        return;
    }
    let ignored = group.members.iter().any(|m| m.dead || m.upper < 0);
    cx.rule_if(ignored, "next hop: the share of a dead one goes to the others");
    let hashed = group.select(multipath::hash4(env.state, packet, dst), |_| true);
    let other = hashed.and_then(|index| group.members.get(index)) != route.member;
    cx.rule_if(other, "next hop: one whose neighbour failed is passed over");
    let none = !group.members.iter().any(|m| m.upper >= 0 && good(env, &group.kind, m));
    cx.rule_if(none, "next hop: none has a neighbour, the first is taken");
}

/// What was done for the options of a packet that goes on.
pub fn options<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>, options: &Options) {
    if !cx.wants_rules() {
        return;
    }
    for option in ip4::options(packet.bytes).flatten() {
        let data = option.bytes.get(1..).unwrap_or_default();
        match option.kind {
            opt::END => cx.rule_if(data.iter().any(|&b| b != 0), "option: what follows the end is zeroed"),
            opt::NOP => cx.rule("option passed: no operation"),
            opt::RA => cx.rule("option passed: router alert"),
            opt::RR | opt::TS | opt::LSRR | opt::SSRR => {}
            _ => cx.rule("option passed: one that says nothing to a router"),
        }
    }
    let (record, times) = (options.record_route.is_some(), options.timestamp.is_some());
    cx.rule_if(record && options.needs_route_address, "option taken: record route");
    cx.rule_if(record && !options.needs_route_address, "option full: record route");
    cx.rule_if(options.needs_time_address, "option taken: timestamp with address");
    cx.rule_if(options.needs_time && !options.needs_time_address, "option taken: timestamp");
    if let Some([_, len, pointer, flags]) =
        options.timestamp.and_then(|at| options.header.get(at..)).and_then(|o| o.first_chunk())
        && times
        && !options.needs_time
    {
        cx.rule(match (pointer > len, flags & 15) {
            (true, 3) => "option full: timestamp, nobody counts",
            (true, _) => "option full: timestamp, counted",
            (false, 3) => "option passed: timestamp of somebody else",
            (false, _) => "option passed: timestamp with a flag that means nothing",
        });
    }
    cx.rule_if(options.source_routed() && options.strict(), "option taken: strict source route");
    cx.rule_if(options.source_routed() && !options.strict(), "option taken: loose source route");
    cx.rule_if(!options.changed, "options passed as they are");
}

/// Whose MTU counts.
pub fn size<O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    packet: &Packet<'_>,
    route: &Route<'_>,
    device: u32,
    believes: bool,
) {
    let (wished, locked) = route.path.map_or((0, false), |p| (p.mtu, p.mtu_lock));
    let gateway = route.uses_gateway();
    let told = route.exception.is_some_and(|e| e.mtu != 0);
    cx.rule(match (wished, locked) {
        _ if forward::told(route, believes).is_some() => "MTU: one that this host was told of",
        _ if told => "MTU: one that this host was told of is not believed",
        (0, true) if gateway && device > 576 => "MTU: locked without a value, so 576",
        (0, _) => "MTU: the interface's",
        (_, true) => "MTU: the route's, locked",
        (_, false) => "MTU: the route's",
    });
    let super_frame = packet.meta.offload.is_gso() && packet.bytes.len() > device as usize;
    cx.rule_if(super_frame, "MTU: that of each segment of a super-frame");
}

/// What an error owes to the packet, to its reader and to the way there; `room` bytes of the packet may be quoted.
pub fn error<O: Observer>(
    act: &mut Act<'_, '_, O>,
    quote: &Quote<'_, '_>,
    decision: &Decision<'_>,
    back: &Route<'_>,
    src: Option<Ipv4Addr>,
    room: usize,
) {
    /// What is quoted where no MTU and no options take from it.
    const WHOLE: usize = 576 - 20 - 8;
    let echo = decision.echo.as_ref();
    act.rule_if(echo.is_some_and(|e| e.byte_len() != 0), "error: options repeated");
    act.rule_if(echo.is_some_and(|e| e.first_hop.is_some()), "error: back along the source route");
    act.rule_if(decision.header.is_some(), "error: options quoted as acted on");
    act.rule_if(back.path.is_some_and(|p| p.hoplimit != 0), "error: TTL of the route");
    act.rule_if(back.found == RouteType::Broadcast, "error: to a broadcast of ours");
    if quote.bytes.len() > room {
        act.rule(if room < WHOLE { "error: quote cut further" } else { "error: quote cut at 576 bytes" });
    }
    let wished = back.path.and_then(|p| p.prefsrc);
    let inbound = act.env.state.sysctl.ip4.icmp_errors_use_inbound_ifaddr != 0;
    act.rule(match src {
        _ if decision.target == Target::Us => "source: the address spoken to",
        None => "source: 192.0.0.8, for want of one of ours",
        Some(_) if inbound => "source: of the interface that it came by",
        Some(_) if wished == src => "source: the wish of the route back",
        Some(_) => "source: chosen as seen from the way out",
    });
}
