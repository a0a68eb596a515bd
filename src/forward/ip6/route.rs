//! Where a packet goes: rules, tables, the choice among the paths of a prefix, the choice among next hops.
//! Linux: ip6_route_input, fib6_rule_lookup, rt6_select, fib6_select_path.

use super::super::ctx::{Ctx, Env, Nanos};
use super::super::l3::multipath;
use super::super::observe::Observer;
use super::Packet;
use crate::iface::Iface;
use crate::wire::dissect::{self, Flow};
use crate::wire::{eth, ip6};
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{
    GroupKind, Member, Path, Pref, RouteType, Rule, RuleAction, RuleKey, TABLE_LOCAL, TABLE_MAIN,
};

/// What is done with a packet on this route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Sent on.
    Unicast,
    /// Delivered to this host.
    Local,
    /// Given to the multicast rules.
    Multicast,
    /// Nothing found, or a route or rule of type unreachable.
    NoRoute,
    /// A route or rule of type prohibit.
    Prohibit,
    /// Dropped in silence.
    Blackhole,
}

/// The outcome of a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// What is done.
    pub kind: Kind,
    /// The chosen path; none where no route was found.
    pub path: Option<&'a Path<Ipv6Addr>>,
    /// The chosen next hop.
    pub member: Option<&'a Member>,
    /// Length of the matched prefix.
    pub prefix_len: u8,
}

impl<'a> Route<'a> {
    fn none(kind: Kind) -> Self {
        Route { kind, path: None, member: None, prefix_len: 0 }
    }

    /// The interface that the packet leaves by; none into a tunnel, which is the kernel's to make.
    pub fn oif(&self, env: Env<'a>) -> Option<&'a Iface> {
        env.state.ifaces.get(self.member.filter(|m| !m.encap)?.oif)
    }

    /// The interface that the packet is given to: that of the way out, or for this host the loopback interface. What it
    /// moves is counted by [`Route::oif`]. Linux: ip6_rt_get_dev_rcu.
    pub fn device(&self, env: Env<'a>) -> Option<&'a Iface> {
        match self.kind {
            Kind::Unicast => self.oif(env),
            Kind::Local => env.state.ifaces.loopback(),
            _ => None,
        }
    }

    /// Whether `dst`, which it leads to, is an anycast address, or the first of a prefix without a gateway, which is taken
    /// for that of its routers. RFC 4291 2.6.1; Linux: ipv6_anycast_destination.
    pub fn is_anycast(&self, dst: Ipv6Addr) -> bool {
        let on_link = self.member.is_some_and(|m| m.via.is_none());
        let first = dst.to_bits().checked_shl(self.prefix_len.into()).unwrap_or(0) == 0;
        let of_routers = self.prefix_len < 127 && on_link && first;
        self.path.is_some_and(|p| p.kind == RouteType::Anycast) || of_routers
    }

    /// The gateway, or the destination itself on a link.
    pub fn next_hop(&self, dst: Ipv6Addr) -> IpAddr {
        self.member.and_then(|m| m.via).unwrap_or(IpAddr::V6(dst))
    }
}

/// What a lookup asks for.
#[derive(Clone, Copy)]
pub struct Request<'p> {
    /// Rule key; source and destination are in it.
    pub key: RuleKey<Ipv6Addr>,
    /// Prefer next hops on this interface; 0: no preference.
    pub prefer: u32,
    /// Only next hops on that interface.
    pub strict: bool,
    /// The packet that the multipath hash is computed of.
    pub packet: &'p [u8],
    /// What was found in it, if rules asked before.
    pub flow: Option<Flow>,
}

/// The route of a received packet. Linux: ip6_route_input.
pub fn input<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, packet: &Packet<'_>) -> Route<'a> {
    let (hdr, env) = (packet.hdr, cx.env);
    let dst = hdr.dst();
    let mut key = RuleKey {
        src: hdr.src(),
        dst,
        iif: cx.iif.index,
        oif: 0,
        tos: hdr.traffic_class() & 0xfc,
        mark: 0,
        ipproto: hdr.next_header,
        sport: 0,
        dport: 0,
    };
    let wanted = env.state.rules6.needs_flow();
    let flow = wanted.then(|| dissect::dissect(packet.bytes, eth::ETHERTYPE_IPV6, true).outer);
    if let Some(flow) = &flow {
        key.ipproto = flow.ip_proto;
        key.sport = u16::from_be_bytes(flow.sport);
        key.dport = u16::from_be_bytes(flow.dport);
    }
    // The ingress interface counts as a wish for the way out; only scoped destinations insist on it.
    let strict = dst.is_multicast() || ip6::is_link_local(dst) || dst.is_loopback();
    let request = Request { key, prefer: cx.iif.index, strict, packet: packet.bytes, flow };
    let route = lookup(env, &request);
    name_rules(cx, &route);
    cx.step(
        "route lookup",
        "RFC 4861 5.2",
        "ip6_route_input",
        format_args!(
            "{dst}: {:?}, prefix length {}, table {}",
            route.kind,
            route.prefix_len,
            route.path.map_or(0, |p| p.table)
        ),
    );
    route
}

/// Names what decided a lookup, for those who count it.
fn name_rules<O: Observer>(cx: &mut Ctx<'_, '_, O>, route: &Route<'_>) {
    cx.rule(match route.kind {
        Kind::Unicast => "route: unicast",
        Kind::Local => "route: local",
        Kind::Multicast => "route: multicast",
        Kind::NoRoute if route.path.is_none() => "route: none",
        Kind::NoRoute => "route: unreachable",
        Kind::Prohibit => "route: prohibit",
        Kind::Blackhole => "route: blackhole",
    });
    let Some(path) = route.path else { return };
    for (applies, name) in [
        (!path.src.is_default(), "route: for some sources only"),
        (!matches!(path.table, TABLE_MAIN | TABLE_LOCAL), "route: of a table that a rule names"),
        (path.mtu != 0 && path.mtu_lock, "route: MTU locked"),
        (path.mtu != 0 && !path.mtu_lock, "route: MTU not locked"),
    ] {
        if applies {
            cx.rule(name);
        }
    }
    let Some(group) = path.group.and_then(|id| cx.env.view.group(id)).filter(|g| g.members.len() > 1) else {
        return;
    };
    cx.rule(match group.kind {
        GroupKind::Plain => "next hop: of several of a route",
        GroupKind::Blackhole => "next hop: blackhole",
        GroupKind::Resilient { .. } => "next hop: bucket of a resilient group",
        GroupKind::Object { .. } => "next hop: member of a nexthop group",
    });
    cx.rule(match cx.env.state.sysctl.ip6.fib_multipath_hash_policy {
        1 => "multipath policy: 1, ports",
        2 => "multipath policy: 2, inner packet",
        3 => "multipath policy: 3, chosen fields",
        _ => "multipath policy: 0, addresses and label",
    });
}

/// Rules in order, each with its table. Linux: fib6_rule_lookup.
pub fn lookup<'a>(env: Env<'a>, request: &Request<'_>) -> Route<'a> {
    for rule in env.state.rules6.matching(&request.key) {
        match rule.action {
            RuleAction::Table(id) => {
                if let Some(route) = table(env, id, rule, request) {
                    return finish(env, request, route);
                }
            }
            RuleAction::Unreachable => return Route::none(Kind::NoRoute),
            RuleAction::Prohibit => return Route::none(Kind::Prohibit),
            RuleAction::Blackhole => return Route::none(Kind::Blackhole),
            RuleAction::Goto(_) | RuleAction::Nop => {}
        }
    }
    Route::none(Kind::NoRoute)
}

/// The longest prefix with a usable path; `None` lets the next rule try. Linux: fib6_table_lookup.
fn table<'a>(
    env: Env<'a>,
    id: u32,
    rule: &Rule<Ipv6Addr>,
    request: &Request<'_>,
) -> Option<(u8, &'a Path<Ipv6Addr>)> {
    let mut entered = false;
    for (len, set) in env.view.table::<Ipv6Addr>(id)?.lookup(request.key.dst) {
        entered = entered || len == 0 || enters(&set.paths, request.key.src);
        if !entered {
            continue;
        }
        let path = if set.plain { plain(env, &set.paths, request) } else { select(env, &set.paths, request) };
        let Some(path) = path else { continue };
        // A route that leads nowhere is not suppressed: its error ends the search. Linux: fib_rules_lookup.
        let suppressed = rule.suppresses(len) && !rejects(env, path);
        return (path.kind != RouteType::Throw && !suppressed).then_some((len, path));
    }
    None
}

/// Whether packets on this path go nowhere, by its type or by its next hop.
fn rejects(env: Env<'_>, path: &Path<Ipv6Addr>) -> bool {
    let group = path.group.and_then(|id| env.view.group(id));
    path.kind.is_error() || group.is_some_and(|g| g.kind == GroupKind::Blackhole)
}

/// Whether the search may begin at a prefix: where any route is for some sources only, one of those must match. Going
/// back from a longer prefix, and at the default route, it may not matter. Linux: fib6_node_lookup_1, fib6_backtrack.
fn enters(paths: &[Path<Ipv6Addr>], src: Ipv6Addr) -> bool {
    let mut narrow = paths.iter().filter(|p| !p.src.is_default()).peekable();
    narrow.peek().is_none() || narrow.any(|p| p.src.contains(src))
}

/// One path and nothing to choose: it only has to be usable.
fn plain<'a>(env: Env<'a>, paths: &'a [Path<Ipv6Addr>], request: &Request<'_>) -> Option<&'a Path<Ipv6Addr>> {
    best(env, paths.iter().take(1), request)
}

/// The source prefixes from the longest that matches, each with its paths. Linux: fib6_node_lookup, rt6_select.
fn select<'a>(
    env: Env<'a>,
    paths: &'a [Path<Ipv6Addr>],
    request: &Request<'_>,
) -> Option<&'a Path<Ipv6Addr>> {
    let matches = |p: &&Path<Ipv6Addr>| p.src.contains(request.key.src);
    let mut below = u8::MAX;
    while let Some(len) = paths.iter().filter(matches).map(|p| p.src.len()).filter(|&l| l < below).max() {
        let of_source = || paths.iter().filter(|p| p.src.len() == len && p.src.contains(request.key.src));
        let metric = of_source().map(|p| p.metric).min()?;
        // The lowest metric alone, and only if nothing there is usable all that remain, by score.
        let best = best(env, of_source().filter(|p| p.metric == metric), request);
        if let Some(path) =
            best.or_else(|| self::best(env, of_source().filter(|p| p.metric != metric), request))
        {
            return Some(path);
        }
        below = len;
    }
    None
}

/// The path with the highest score, the first of equals. Linux: find_rr_leaf.
fn best<'a>(
    env: Env<'a>,
    paths: impl Iterator<Item = &'a Path<Ipv6Addr>>,
    request: &Request<'_>,
) -> Option<&'a Path<Ipv6Addr>> {
    let mut chosen: Option<(i32, &Path<Ipv6Addr>)> = None;
    for path in paths {
        let group = path.group.and_then(|id| env.view.group(id));
        if group.is_some_and(|g| g.kind == GroupKind::Blackhole) && !expired(path, env.now) {
            return Some(path); // A blackhole nexthop object ends the search. Linux: __find_rr_leaf.
        }
        let above = chosen.map_or(-1, |(best, _)| best);
        let Some(score) = score(env, path, request, above) else { continue };
        if chosen.is_none_or(|(best, _)| score > best) {
            chosen = Some((score, path));
        }
    }
    chosen.map(|(_, path)| path)
}

/// How good a path is for the request, where one with the score `above` is known; `None` if it cannot be used. RFC 4191 3.2; Linux: rt6_score_route.
fn score(env: Env<'_>, path: &Path<Ipv6Addr>, request: &Request<'_>, above: i32) -> Option<i32> {
    if expired(path, env.now) {
        return None;
    }
    let preference = match path.pref {
        Pref::Low => 1,
        Pref::Medium => 2,
        Pref::High => 3,
    } << 2;
    let group = path.group.and_then(|id| env.view.group(id));
    let Some(group) = group.filter(|g| g.kind != GroupKind::Blackhole) else {
        // Reject routes stand on the loopback device, which no packet asks for.
        return (!request.strict).then_some(preference);
    };
    // Linux: find_match, fib6_ignore_linkdown.
    let ignored = |m: &Member| {
        m.linkdown && env.state.ifaces.get(m.oif).is_some_and(|i| i.conf6.ignore_routes_with_linkdown != 0)
    };
    let usable = group.members.iter().filter(|m| !m.dead && !ignored(m));
    let on_link = |m: &Member| request.prefer == 0 || m.oif == request.prefer;
    let mut scores = usable.filter_map(|member| {
        if on_link(member) { Some(2 | preference) } else { (!request.strict).then_some(preference) }
    });
    // Of a nexthop group the first member that is better speaks for all. Linux: rt6_nh_find_match.
    if group.kind == GroupKind::Plain { scores.max() } else { scores.find(|score| *score > above) }
}

fn expired(path: &Path<Ipv6Addr>, now: Nanos) -> bool {
    path.expires <= now
}

/// From a path to what is done, and to one next hop. Linux: fib6_select_path.
fn finish<'a>(
    env: Env<'a>,
    request: &Request<'_>,
    (prefix_len, path): (u8, &'a Path<Ipv6Addr>),
) -> Route<'a> {
    // Linux: ip6_rt_init_dst, which asks the prefix.
    let of_group = prefix_len >= 8 && request.key.dst.is_multicast();
    let kind = match path.kind {
        RouteType::Local | RouteType::Anycast => Kind::Local,
        RouteType::Unicast | RouteType::Broadcast | RouteType::Multicast if of_group => Kind::Multicast,
        RouteType::Unicast | RouteType::Broadcast | RouteType::Multicast => Kind::Unicast,
        RouteType::Blackhole => Kind::Blackhole,
        RouteType::Prohibit => Kind::Prohibit,
        RouteType::Unreachable | RouteType::Throw => Kind::NoRoute,
    };
    let found = Route { kind, path: Some(path), member: None, prefix_len };
    let Some(group) = path.group.and_then(|id| env.view.group(id)) else { return found };
    if group.kind == GroupKind::Blackhole {
        return Route { kind: Kind::Blackhole, ..found };
    }
    let member = match &group.members[..] {
        [only] => Some(only),
        members => {
            let hash = match &request.flow {
                Some(flow) => multipath::hash6_dissected(env.state, flow, request.packet),
                None => multipath::hash6(env.state, request.packet),
            };
            let chosen = group.select(hash, |m| good(env, &group.kind, m)).and_then(|i| members.get(i));
            // Where an interface is insisted on, another one's leg gives way to the first that fits.
            let fits =
                |m: &&Member| !request.strict || m.oif == request.prefer || group.kind != GroupKind::Plain;
            chosen.filter(fits).or_else(|| members.iter().filter(|m| !m.dead).find(fits))
        }
    };
    Route { member, ..found }
}

/// Whether a member may be chosen: nexthop groups skip gateways that do not answer. Linux: nexthop_is_good_nh.
fn good(env: Env<'_>, kind: &GroupKind, member: &Member) -> bool {
    if *kind == GroupKind::Plain {
        return true;
    }
    let Some(via) = member.via else { return true };
    env.view.neighbour(member.oif, via).is_none_or(|n| n.neighbour.state.is_valid())
}
