//! Where a packet goes: rules, tables, the choice among the paths of a prefix, the choice among next hops.
//! Linux: ip6_route_input, fib6_rule_lookup, rt6_select, fib6_select_path.

use super::super::ctx::{Ctx, Env, Nanos};
use super::super::l3::multipath;
use super::super::observe::{self, Observer, Unobserved};
use super::{Packet, addr, named};
use crate::iface::{Iface, LinkKind};
use crate::state::{Exception, Leg};
use crate::wire::dissect::{self, Flow};
use crate::wire::eth;
use crate::wire::ip6::{self, Ip6Hdr};
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{Group, GroupKind, Member, Nud, Path, Pref, RouteType, Rule, RuleAction, RuleKey};

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
    /// What this host was told of the destination.
    pub exception: Option<&'a Exception<Ipv6Addr>>,
}

impl<'a> Route<'a> {
    fn none(kind: Kind) -> Self {
        Route { kind, path: None, member: None, prefix_len: 0, exception: None }
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
            _ if self.is_over_lo() => env.state.ifaces.loopback(),
            _ => None,
        }
    }

    /// The interface for which a source is chosen: of a nexthop group that of its first member, whichever sends.
    /// Linux: ip6_route_get_saddr, fib6_info_nh_dev.
    pub fn speaking(&self, env: Env<'a>) -> Option<&'a Iface> {
        let group = self.path.and_then(|p| env.view.group(p.group?)).filter(|g| g.kind != GroupKind::Plain);
        let member = group.and_then(|g| g.members.first()).or(self.member)?;
        env.state.ifaces.get(member.oif)
    }

    /// Whether no packet that this router makes can be sent by it. Linux: dst_entry.error.
    pub fn is_error(&self) -> bool {
        matches!(self.kind, Kind::NoRoute | Kind::Prohibit | Kind::Blackhole) && !self.is_over_lo()
    }

    /// Whether it is one over lo, which rejects what comes from a wire. Where a routing header leads there, it leads to
    /// this host; what this router makes is sent into it, and is lost there. Linux: fib6_is_reject, ipv6_srh_rcv.
    pub fn is_over_lo(&self) -> bool {
        self.kind == Kind::NoRoute && self.path.is_some_and(|p| p.kind == RouteType::Unicast)
    }

    /// Whether `dst`, which it leads to, is an anycast address, or the first of a prefix without a gateway, which is taken
    /// for that of its routers. RFC 4291 2.6.1; Linux: ipv6_anycast_destination.
    pub fn is_anycast(&self, dst: Ipv6Addr) -> bool {
        let redirected = self.exception.is_some_and(|e| e.gateway.is_some());
        let on_link = self.member.is_some_and(|m| m.via.is_none()) && !redirected && !self.is_over_lo();
        let of_routers = on_link && addr::is_first(dst, self.prefix_len);
        self.path.is_some_and(|p| p.kind == RouteType::Anycast) || of_routers
    }

    /// The gateway, or the destination itself on a link; the first hop of a redirect goes before both (RFC 4861 8.3).
    pub fn next_hop(&self, dst: Ipv6Addr) -> IpAddr {
        let told = self.exception.and_then(|e| e.gateway).map(IpAddr::V6);
        told.or_else(|| self.member.and_then(|m| m.via)).unwrap_or(IpAddr::V6(dst))
    }

    /// The least MTU that was told of the path or that the route wishes; none if neither. RFC 8201 4; Linux: dst_metric_raw.
    pub fn mtu(&self) -> Option<u32> {
        let told = self.exception.map(|e| e.mtu).filter(|mtu| *mtu != 0);
        told.or_else(|| self.path.map(|p| p.mtu).filter(|mtu| *mtu != 0))
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
    /// The packet that the multipath hash is computed of; if empty, it is of the key, and of the label of `flow`.
    pub packet: &'p [u8],
    /// What was found in it, if rules asked before.
    pub flow: Option<Flow>,
}

impl Request<'_> {
    fn wish(&self, answering: bool) -> Wish {
        Wish { prefer: self.prefer, strict: self.strict, answering }
    }

    /// What chooses among several next hops.
    pub(super) fn hash(&self, env: Env<'_>) -> u32 {
        match (&self.flow, self.packet) {
            (flow, []) => multipath::hash6_made(env.state, &self.key, flow.map_or(0, |flow| flow.label)),
            (Some(flow), packet) => multipath::hash6_dissected(env.state, flow, packet),
            (None, packet) => multipath::hash6(env.state, packet),
        }
    }
}

/// What the route of a received packet is looked up by. Linux: ip6_route_input.
pub fn request<'p>(env: Env<'_>, iif: &Iface, hdr: &Ip6Hdr, bytes: &'p [u8]) -> Request<'p> {
    let dst = hdr.dst();
    let mut key = RuleKey {
        src: hdr.src(),
        dst,
        iif: iif.index,
        oif: 0,
        tos: hdr.traffic_class() & 0xfc,
        mark: 0,
        ipproto: hdr.next_header,
        sport: 0,
        dport: 0,
    };
    let wanted = env.state.rules6.needs_flow();
    let flow = wanted.then(|| dissect::dissect(bytes, eth::ETHERTYPE_IPV6, true).outer);
    if let Some(flow) = &flow {
        key.ipproto = flow.ip_proto;
        key.sport = u16::from_be_bytes(flow.sport);
        key.dport = u16::from_be_bytes(flow.dport);
    }
    // The ingress interface counts as a wish for the way out; only scoped destinations insist on it.
    let strict = dst.is_multicast() || ip6::is_link_local(dst) || dst.is_loopback();
    Request { key, prefer: iif.index, strict, packet: bytes, flow }
}

/// The route of a received packet. Linux: ip6_route_input.
pub fn input<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, packet: &Packet<'_>) -> Route<'a> {
    let (env, dst) = (cx.env, packet.hdr.dst());
    let request = request(env, cx.iif, packet.hdr, packet.bytes);
    let route = lookup_observed(env, &request, cx.observer());
    if env.state.sysctl.all6.forwarding == 0 {
        passed_by(cx, dst, &route);
    }
    if cx.wants_rules() {
        named::outcome(cx, &request, &route);
    }
    cx.step(
        observe::Rule::new("route lookup", "4861 5.2", "ip6_route_input"),
        format_args!(
            "{dst}: {:?}, prefix length {}, table {}",
            route.kind,
            route.prefix_len,
            route.path.map_or(0, |p| p.table)
        ),
    );
    route
}

/// Notes the gateways that do not answer among the next hops that the choice has seen. RFC 4191 3.5; Linux: rt6_probe.
fn passed_by<O: Observer>(cx: &mut Ctx<'_, '_, O>, dst: Ipv6Addr, route: &Route<'_>) {
    let env = cx.env;
    let Some(table) = route.path.and_then(|p| env.view.table::<Ipv6Addr>(p.table)) else { return };
    let seen = table.lookup(dst).take_while(|(len, _)| *len >= route.prefix_len);
    let groups = seen.flat_map(|(_, set)| &set.paths).filter_map(|p| env.view.group(p.group?));
    for member in groups.flat_map(|group| &group.members).filter(|m| failed(env, m)) {
        if let Some(via) = member.via {
            cx.rule("choice: a gateway that does not answer is to be asked again");
            cx.passed_by(member.oif, via);
        }
    }
}

/// Rules in order, each with its table. Linux: fib6_rule_lookup.
pub fn lookup<'a>(env: Env<'a>, request: &Request<'_>) -> Route<'a> {
    lookup_observed(env, request, &mut Unobserved)
}

fn lookup_observed<'a, O: Observer>(env: Env<'a>, request: &Request<'_>, observer: &mut O) -> Route<'a> {
    for rule in env.state.rules6.matching(&request.key) {
        match rule.action {
            RuleAction::Table(id) => {
                if let Some(route) = table(env, id, rule, request, observer) {
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

/// The longest prefix with a usable path; `None` lets the next rule try. Where the box forwards nothing by itself, next hops
/// that do not answer count only if there is nothing else in the whole table. Linux: fib6_table_lookup, ip6_pol_route.
fn table<'a, O: Observer>(
    env: Env<'a>,
    id: u32,
    rule: &Rule<Ipv6Addr>,
    request: &Request<'_>,
    observer: &mut O,
) -> Option<(u8, &'a Path<Ipv6Addr>)> {
    let choosy = env.state.sysctl.all6.forwarding == 0;
    let answering = if choosy { longest(env, id, request, true, observer) } else { None };
    let (len, path) = answering.or_else(|| longest(env, id, request, false, observer))?;
    // A route that leads nowhere is not suppressed: its error ends the search. What was told of a destination is a route for
    // it alone. Linux: fib_rules_lookup, fib6_rule_suppress.
    let told = || finish(env, request, (len, path)).exception.is_some();
    let suppressed = rule.suppresses(len) && !rejects(env, path) && !(told() && !rule.suppresses(128));
    if path.kind == RouteType::Throw {
        observer.rule("lookup: thrown back to the next rule");
    } else if suppressed {
        observer.rule("lookup: suppressed by the rule");
    }
    (path.kind != RouteType::Throw && !suppressed).then_some((len, path))
}

/// The longest prefix with a usable path, through a next hop that answers if `answering`. Linux: fib6_node_lookup, rt6_select.
fn longest<'a, O: Observer>(
    env: Env<'a>,
    id: u32,
    request: &Request<'_>,
    answering: bool,
    observer: &mut O,
) -> Option<(u8, &'a Path<Ipv6Addr>)> {
    let mut entered = false;
    for (len, set) in env.view.table::<Ipv6Addr>(id)?.lookup(request.key.dst) {
        entered = entered || len == 0 || enters(&set.paths, request.key.src);
        if !entered {
            observer.rule("lookup: a prefix with routes for other sources only is passed by");
            continue;
        }
        let wish = request.wish(answering);
        let path = if set.plain {
            best(env, set.paths.iter().take(1), wish, &mut Unobserved)
        } else {
            select(env, &set.paths, request.key.src, wish, observer)
        };
        if let Some(path) = path {
            return Some((len, path));
        }
        observer.rule("lookup: on to a shorter prefix, this one has no usable route");
    }
    None
}

/// What is asked of a next hop.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) prefer: u32,
    pub(super) strict: bool,
    pub(super) answering: bool,
}

impl Wish {
    /// Whether this leg is on the interface that is insisted on, and may answer. Linux: rt6_score_route, rt6_check_neigh.
    fn allows(self, env: Env<'_>, m: &Member) -> bool {
        (!self.strict || self.on_link(m)) && !(self.answering && failed(env, m))
    }

    fn on_link(self, m: &Member) -> bool {
        self.prefer == 0 || m.oif == self.prefer
    }
}

/// Whether a gateway is known not to answer. Linux: rt6_check_neigh (RT6_NUD_FAIL_PROBE).
fn failed(env: Env<'_>, m: &Member) -> bool {
    let entry = m.via.and_then(|via| env.view.neighbour(m.oif, via));
    entry.is_some_and(|n| n.neighbour.state == Nud::FAILED)
}

/// Whether a leg works; one without carrier may count as one that does. Linux: find_match, fib6_ignore_linkdown.
fn works(env: Env<'_>, m: &Member) -> bool {
    let ignored = || env.state.ifaces.get(m.oif).is_some_and(|i| i.conf6.ignore_routes_with_linkdown != 0);
    !m.dead && !(m.linkdown && ignored())
}

/// Whether packets on this path go nowhere, by its type or by its next hop.
fn rejects(env: Env<'_>, path: &Path<Ipv6Addr>) -> bool {
    let group = path.group.and_then(|id| env.view.group(id));
    path.kind.is_error() || group.is_some_and(|g| g.kind == GroupKind::Blackhole)
}

/// Whether the search may begin at a prefix: where any route is for some sources only, one of those must match. Going
/// back from a longer prefix, and at the default route, it may not matter. Linux: fib6_node_lookup_1, fib6_backtrack.
pub fn enters(paths: &[Path<Ipv6Addr>], src: Ipv6Addr) -> bool {
    let mut narrow = paths.iter().filter(|p| !p.src.is_default()).peekable();
    narrow.peek().is_none() || narrow.any(|p| p.src.contains(src))
}

/// The source prefixes from the longest that matches, each with its paths. Linux: fib6_node_lookup, rt6_select.
fn select<'a, O: Observer>(
    env: Env<'a>,
    paths: &'a [Path<Ipv6Addr>],
    src: Ipv6Addr,
    wish: Wish,
    observer: &mut O,
) -> Option<&'a Path<Ipv6Addr>> {
    let matches = |p: &&Path<Ipv6Addr>| p.src.contains(src);
    let mut below = u8::MAX;
    while let Some(len) = paths.iter().filter(matches).map(|p| p.src.len()).filter(|&l| l < below).max() {
        let of_source = || paths.iter().filter(|p| p.src.len() == len && p.src.contains(src));
        let metric = of_source().map(|p| p.metric).min()?;
        // The lowest metric alone, and only if nothing there is usable all that remain, by score.
        let lowest = best(env, of_source().filter(|p| p.metric == metric), wish, observer);
        if lowest.is_some() {
            observer.rule("choice: among the routes of the lowest metric");
            return lowest;
        }
        let rest = best(env, of_source().filter(|p| p.metric != metric), wish, observer);
        if rest.is_some() {
            observer.rule("choice: nothing of the lowest metric is usable");
            return rest;
        }
        below = len;
    }
    None
}

/// The path with the highest score, the first of equals. Linux: find_rr_leaf.
fn best<'a, O: Observer>(
    env: Env<'a>,
    paths: impl Iterator<Item = &'a Path<Ipv6Addr>> + Clone,
    wish: Wish,
    observer: &mut O,
) -> Option<&'a Path<Ipv6Addr>> {
    let mut chosen: Option<(i32, &Path<Ipv6Addr>)> = None;
    for path in paths.clone() {
        let group = path.group.and_then(|id| env.view.group(id));
        if group.is_some_and(|g| g.kind == GroupKind::Blackhole) && !expired(path, env.now) {
            observer.rule("choice: a blackhole object ends the search");
            return Some(path); // A blackhole nexthop object ends the search. Linux: __find_rr_leaf.
        }
        let above = chosen.map_or(-1, |(best, _)| best);
        let Some(score) = score(env, path, wish, above) else { continue };
        if chosen.is_none_or(|(best, _)| score > best) {
            chosen = Some((score, path));
        }
    }
    if observer.wants_rules() {
        named::choice(env, paths, wish, chosen, observer);
    }
    chosen.map(|(_, path)| path)
}

/// How good a path is for the request, where one with the score `above` is known; `None` if it cannot be used. RFC 4191 3.2; Linux: rt6_score_route.
pub(super) fn score(env: Env<'_>, path: &Path<Ipv6Addr>, wish: Wish, above: i32) -> Option<i32> {
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
        // Reject routes stand on the loopback device.
        let on_link =
            wish.prefer == 0 || env.state.ifaces.loopback().is_some_and(|lo| lo.index == wish.prefer);
        return (on_link || !wish.strict).then_some(preference | if on_link { 2 } else { 0 });
    };
    // What is the host's own does not depend on a carrier. Linux: fib6_ifdown.
    let ours = matches!(path.kind, RouteType::Local | RouteType::Anycast);
    let usable = group.members.iter().filter(|m| works(env, m) || ours && !m.dead);
    let usable = usable.filter(|m| wish.allows(env, m));
    let mut scores = usable.map(|m| preference | if wish.on_link(m) { 2 } else { 0 });
    // Of a nexthop group the first member that is better speaks for all. Linux: rt6_nh_find_match.
    if group.kind == GroupKind::Plain { scores.max() } else { scores.find(|score| *score > above) }
}

/// Whether a path has ended.
pub fn expired(path: &Path<Ipv6Addr>, now: Nanos) -> bool {
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
    let found = Route { kind, path: Some(path), member: None, prefix_len, exception: None };
    let Some(group) = path.group.and_then(|id| env.view.group(id)) else { return found };
    if group.kind == GroupKind::Blackhole {
        return Route { kind: Kind::Blackhole, ..found };
    }
    if matches!(kind, Kind::Unicast | Kind::Multicast) && leads_round(env, group, request.key.dst) {
        return Route { kind: Kind::NoRoute, member: group.members.first(), ..found };
    }
    let member = match &group.members[..] {
        [only] => Some(only),
        members => {
            let hash = request.hash(env);
            let chosen = group.select(hash, |m| good(env, &group.kind, m)).and_then(|i| members.get(i));
            let choosy = env.state.sysctl.all6.forwarding == 0;
            let taken = |m: &&Member| group.kind != GroupKind::Plain || request.wish(choosy).allows(env, m);
            chosen.filter(taken).or_else(|| {
                // The leg by which the route was found: one that answers, if any does, and rather back than on.
                let fits = |answering| {
                    let wish = request.wish(answering);
                    let legs = || members.iter().filter(move |m| works(env, m) && wish.allows(env, m));
                    legs().find(|m| wish.on_link(m)).or_else(|| legs().next())
                };
                fits(choosy).or_else(|| fits(false))
            })
        }
    };
    let told = member.filter(|_| !env.state.exceptions6.is_empty());
    let leg = told.map(|m| Leg::new(path, prefix_len, group, m));
    let exception = leg.and_then(|leg| exception(env, &request.key, path, &leg));
    Route { member, exception, ..found }
}

/// What this host was told of the destination by the chosen leg. Of a source-specific route it is for the very source, or
/// else for all that the route is for. RFC 8201 4, RFC 4861 8.3; Linux: rt6_find_cached_rt.
pub fn exception<'a>(
    env: Env<'a>,
    key: &RuleKey<Ipv6Addr>,
    path: &Path<Ipv6Addr>,
    leg: &Leg,
) -> Option<&'a Exception<Ipv6Addr>> {
    let of = |src| env.state.exceptions6.find(key.dst, src, leg, env.now);
    if path.src.is_default() { of(None) } else { of(Some(key.src)).or_else(|| of(Some(path.src.addr()))) }
}

/// Whether a route's only way is the loopback interface. Packets would go round and round, so the kernel makes it one that
/// rejects, though it shows it as any other. Linux: fib6_is_reject.
fn leads_round(env: Env<'_>, group: &Group, dst: Ipv6Addr) -> bool {
    let [only] = &group.members[..] else { return false };
    let link = env.state.ifaces.get(only.oif);
    !dst.is_loopback() && link.is_some_and(|i| i.kind == LinkKind::Loopback)
}

/// Whether a member may be chosen: nexthop groups skip gateways that do not answer. Linux: nexthop_is_good_nh.
pub(super) fn good(env: Env<'_>, kind: &GroupKind, member: &Member) -> bool {
    if *kind == GroupKind::Plain {
        return true;
    }
    let Some(via) = member.via else { return true };
    env.view.neighbour(member.oif, via).is_none_or(|n| n.neighbour.state.is_valid())
}
