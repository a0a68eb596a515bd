//! Where a packet goes and whether its source may come from where it came.
//! Linux: ip_route_input_slow, fib_lookup, fib_table_lookup, __mkroute_input, fib_validate_source.

use super::super::ctx::{Ctx, Env};
use super::super::l3::multipath;
use super::super::observe::{self, Observer, Unobserved};
use super::{Packet, addr};
use crate::drop::DropReason as D;
use crate::iface::{Iface, LinkKind};
use crate::state::{Exception, Leg};
use crate::sysctl::combine;
use crate::wire::{dissect, eth, proto};
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{Group, GroupKind, Member, Path, RouteType, Rule, RuleAction, RuleKey, TABLE_LOCAL};

/// The bits of the TOS that routes and rules look at: those of RFC 1349 without the lowest, which ECN took. The three of
/// the old precedence do not choose a route. Linux: fib_dscp_masked_match.
pub const TOS_MASK: u8 = 0x1c;

/// The smallest MTU of a link that IPv4 can use. RFC 791 3.2; Linux: IPV4_MIN_MTU.
pub const MTU_MIN: u32 = 68;

/// Why there is no way, as the kernel's error number says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    /// ENETUNREACH: nothing found, or a rule of type unreachable.
    NetUnreachable,
    /// EHOSTUNREACH: a route of type unreachable.
    HostUnreachable,
    /// EACCES: prohibit.
    Prohibited,
    /// EINVAL: blackhole.
    Blackhole,
}

/// What is done with a packet on this route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Sent on.
    Unicast,
    /// A directed broadcast that is sent on (bc_forwarding).
    BroadcastForward,
    /// Delivered to this host.
    Local,
    /// Delivered to this host as a broadcast.
    Broadcast,
    /// Delivered to this host as a member of the group.
    Multicast,
    /// No way.
    Error(Errno),
}

/// The outcome of a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// What is done.
    pub kind: Kind,
    /// The type of the matched route.
    pub found: RouteType,
    /// The chosen path; none where no route was found.
    pub path: Option<&'a Path<Ipv4Addr>>,
    /// The chosen next hop.
    pub member: Option<&'a Member>,
    /// The group that it was chosen from.
    pub group: Option<&'a Group>,
    /// The way out where nothing is looked up: to a group it is the interface of the address that speaks.
    pub dev: Option<u32>,
    /// Length of the matched prefix.
    pub prefix_len: u8,
    /// The sender should be told of a better first hop.
    pub redirect: bool,
    /// What this host was told of the destination.
    pub exception: Option<&'a Exception<Ipv4Addr>>,
}

impl<'a> Route<'a> {
    fn of(kind: Kind) -> Self {
        let found = RouteType::Unreachable;
        Route {
            kind,
            found,
            path: None,
            member: None,
            group: None,
            dev: None,
            prefix_len: 0,
            redirect: false,
            exception: None,
        }
    }

    /// The interface that the packet leaves by: lo to this host itself; none into a tunnel, which is the kernel's to make.
    pub fn oif(&self, env: Env<'a>) -> Option<&'a Iface> {
        if self.found == RouteType::Local {
            return env.state.ifaces.loopback();
        }
        let by_member = || self.member.filter(|m| !m.encap).map(|m| m.oif);
        env.state.ifaces.get(self.dev.or_else(by_member)?)
    }

    /// Whether another router leads to the destination. Linux: rt_uses_gateway.
    pub fn uses_gateway(&self) -> bool {
        self.member.is_some_and(|m| m.via.is_some()) || self.exception.is_some_and(|e| e.gateway.is_some())
    }

    /// What this host was told of `dst` by the chosen next hop. RFC 1191 6.3, RFC 1122 3.2.2.2; Linux: find_exception.
    fn with_exception(self, env: Env<'a>, dst: Ipv4Addr) -> Route<'a> {
        let (Some(path), Some(group), Some(member)) = (self.path, self.group, self.member) else {
            return self;
        };
        if env.state.exceptions4.is_empty() {
            return self;
        }
        let leg = Leg::new(path, self.prefix_len, group, member);
        Route { exception: env.state.exceptions4.find(dst, None, &leg, env.now), ..self }
    }

    /// The gateway (of either family), or the destination itself on a link; the first hop of a redirect goes before both.
    pub fn next_hop(&self, dst: Ipv4Addr) -> IpAddr {
        if let Some(told) = self.exception.and_then(|e| e.gateway) {
            return IpAddr::V4(told);
        }
        // To a group no gateway leads but that of a route for groups alone. Linux: __mkroute_output.
        let gateway = self.member.filter(|_| !dst.is_multicast() || self.prefix_len >= 4).and_then(|m| m.via);
        gateway.unwrap_or(IpAddr::V4(dst))
    }
}

/// The TTL of a packet that this router makes itself: one hop to a group (RFC 1112 6.1). Linux: __ip_make_skb.
pub fn own_ttl(env: Env<'_>, route: &Route<'_>, dst: Ipv4Addr) -> u8 {
    match route.path.map_or(0, |p| p.hoplimit) {
        _ if dst.is_multicast() => 1,
        0 => env.state.sysctl.ip4.ip_default_ttl as u8,
        hops => hops,
    }
}

/// The loopback interface's index: where packets of our own come from.
pub fn loopback(env: Env<'_>) -> u32 {
    env.state.ifaces.iter().find(|i| i.kind == LinkKind::Loopback).map_or(1, |i| i.index)
}

/// What a packet of our own is looked up by, before its protocol is known.
pub fn own_key(env: Env<'_>, src: Ipv4Addr, dst: Ipv4Addr, tos: u8) -> RuleKey<Ipv4Addr> {
    let (iif, tos) = (loopback(env), tos & TOS_MASK);
    RuleKey { src, dst, iif, oif: 0, tos, mark: 0, ipproto: 0, sport: 0, dport: 0 }
}

/// Whom this host, as `own`, means by `to`: nobody's address is its own. Linux: ip_route_output_key_hash_rcu.
pub fn peer(to: Ipv4Addr, own: Ipv4Addr) -> Ipv4Addr {
    let ourselves = if own.is_unspecified() { Ipv4Addr::LOCALHOST } else { own };
    if to.is_unspecified() { ourselves } else { to }
}

fn key_of<O: Observer>(cx: &Ctx<'_, '_, O>, packet: &Packet<'_>, dst: Ipv4Addr) -> RuleKey<Ipv4Addr> {
    let hdr = packet.hdr;
    let mut key = RuleKey { iif: cx.iif.index, ..own_key(cx.env, hdr.src(), dst, hdr.tos) };
    if cx.env.state.rules4.needs_flow() {
        let flow = dissect::dissect(packet.bytes, eth::ETHERTYPE_IPV4, true).outer;
        key.ipproto = flow.ip_proto;
        key.sport = u16::from_be_bytes(flow.sport);
        key.dport = u16::from_be_bytes(flow.dport);
    }
    key
}

/// The route of a received packet. Linux: ip_route_input.
pub fn input<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, packet: &Packet<'_>) -> Result<Route<'a>, D> {
    towards(cx, packet, packet.hdr.dst())
}

/// The route of a received packet if it is for `dst`, in the order of rows of ip_route_input_slow.
pub fn towards<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    dst: Ipv4Addr,
) -> Result<Route<'a>, D> {
    let src = packet.hdr.src();
    // Below this the kernel takes IPv4 off an interface. Linux: inetdev_valid_mtu.
    cx.check(D::V4NoAddress, cx.iif.mtu >= MTU_MIN)?;
    if dst.is_multicast() {
        return multicast(cx, packet, dst);
    }
    cx.check(D::V4SourceInvalid, !(src.is_multicast() || src.is_broadcast()))?;
    if dst.is_broadcast() || (src.is_unspecified() && dst.is_unspecified()) {
        return broadcast(cx, packet);
    }
    cx.check(D::V4SourceInvalid, !src.is_unspecified())?;
    cx.check(D::V4DestinationInvalid, !dst.is_unspecified())?;
    let localnet = combine::or(cx.env.state.sysctl.all4.route_localnet, cx.iif.conf4.route_localnet);
    cx.check(D::V4Localnet, localnet || !(dst.is_loopback() || src.is_loopback()))?;
    let key = key_of(cx, packet, dst);
    cx.rule_if(cx.env.state.rules4.needs_flow(), "lookup: ports dissected for the rules");
    let found = lookup_observed(cx.env, &key, cx.observer());
    let rule = observe::Rule::new("route lookup", "1812 5.2.4.3", "fib_lookup");
    cx.step(rule, format_args!("{dst}: {}", Shown(&found)));
    let route = match found {
        Ok(route) => route,
        // No source validation where there is no way.
        Err(errno) => return Ok(Route::of(Kind::Error(errno))),
    };
    match route.found {
        RouteType::Broadcast => {
            let conf = (cx.env.state.sysctl.all4.bc_forwarding, cx.iif.conf4.bc_forwarding);
            if combine::and(conf.0, conf.1) { make(cx, packet, &key, route) } else { broadcast(cx, packet) }
        }
        RouteType::Local => {
            validate_source(cx, &key, 0)?;
            Ok(Route { kind: Kind::Local, ..route })
        }
        _ if cx.iif.conf4.forwarding == 0 => Ok(Route::of(Kind::Error(Errno::HostUnreachable))),
        RouteType::Unicast => make(cx, packet, &key, route),
        _ => Err(D::V4DestinationInvalid),
    }
}

/// Groups: only members receive. RFC 1112 6.1; Linux: ip_route_input_rcu, ip_mc_validate_source.
fn multicast<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    dst: Ipv4Addr,
) -> Result<Route<'a>, D> {
    let src = packet.hdr.src();
    cx.check(D::V4MulticastNotMember, cx.iif.groups4.contains(&dst))?;
    cx.check(D::V4SourceInvalid, !(src.is_multicast() || src.is_broadcast()))?;
    let localnet = combine::or(cx.env.state.sysctl.all4.route_localnet, cx.iif.conf4.route_localnet);
    cx.check(D::V4Localnet, localnet || !src.is_loopback())?;
    if src.is_unspecified() {
        let [a, b, c, _] = dst.octets();
        cx.check(D::V4SourceInvalid, [a, b, c] == [224, 0, 0] || packet.hdr.proto == proto::IGMP)?;
        cx.rule("source 0.0.0.0: allowed to a group of the link");
    } else {
        validate_source(cx, &key_of(cx, packet, Ipv4Addr::UNSPECIFIED), 0)?;
    }
    Ok(Route { found: RouteType::Multicast, ..Route::of(Kind::Multicast) })
}

/// RFC 919; Linux: ip_route_input_slow (brd_input).
fn broadcast<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, packet: &Packet<'_>) -> Result<Route<'a>, D> {
    if !packet.hdr.src().is_unspecified() {
        validate_source(cx, &key_of(cx, packet, Ipv4Addr::UNSPECIFIED), 0)?;
    } else {
        cx.rule("source 0.0.0.0: allowed to a broadcast");
    }
    Ok(Route { found: RouteType::Broadcast, ..Route::of(Kind::Broadcast) })
}

/// Chooses the next hop, checks the source, and notes whether a redirect is due. Linux: __mkroute_input.
fn make<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    key: &RuleKey<Ipv4Addr>,
    mut route: Route<'a>,
) -> Result<Route<'a>, D> {
    let env = cx.env;
    if let Some(group) = route.group.filter(|g| g.members.len() > 1) {
        let hash = multipath::hash4(env.state, packet.bytes, packet.hdr.dst());
        let chosen = group.select(hash, |m| good(env, &group.kind, m));
        route.member = chosen.and_then(|i| group.members.get(i)).or(route.member);
    }
    route = route.with_exception(env, key.dst);
    let oif = cx.some(D::NoPort, route.oif(env))?;
    let on_link = validate_source(cx, key, oif.index)?;
    let all = &env.state.sysctl.all4;
    let near_gateway = || match route.member.and_then(|m| m.via) {
        Some(IpAddr::V4(gateway)) => same_subnet(oif, key.src, Some(gateway)),
        _ => same_subnet(oif, key.src, None),
    };
    let sends = combine::or(all.send_redirects, oif.conf4.send_redirects);
    let near = || combine::or(all.shared_media, oif.conf4.shared_media) || near_gateway();
    let back = oif.index == cx.iif.index;
    route.redirect = back && on_link && sends && near();
    if back {
        cx.rule(match () {
            () if route.redirect => "redirect due",
            () if !on_link => "no redirect: the source is not on the link",
            () if !sends => "no redirect: switched off",
            () => "no redirect: source and gateway share no subnet",
        });
    }
    route.kind = if route.found == RouteType::Broadcast { Kind::BroadcastForward } else { Kind::Unicast };
    Ok(route)
}

/// Whether an address, or both, lie on one subnet of the interface. Linux: inet_addr_onlink.
pub fn same_subnet(dev: &Iface, a: Ipv4Addr, b: Option<Ipv4Addr>) -> bool {
    dev.addrs4.iter().filter(|x| !x.secondary).any(|x| {
        let mask = u32::MAX.checked_shl(32 - u32::from(x.prefix_len)).unwrap_or(0);
        let on = |y: Ipv4Addr| (x.peer.to_bits() ^ y.to_bits()) & mask == 0;
        on(a) && b.is_none_or(on)
    })
}

/// Whether a member may be chosen. Linux: fib_good_nh, nexthop_is_good_nh.
pub(super) fn good(env: Env<'_>, kind: &GroupKind, member: &Member) -> bool {
    if *kind == GroupKind::Plain && env.state.sysctl.ip4.fib_multipath_use_neigh == 0 {
        return true;
    }
    let Some(via) = member.via else { return true };
    env.view.neighbour(member.oif, via).is_none_or(|n| n.neighbour.state.is_valid())
}

/// Whether the source may come in here; the answer says if it is directly attached. RFC 3704; Linux: fib_validate_source.
fn validate_source<O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    key: &RuleKey<Ipv4Addr>,
    oif: u32,
) -> Result<bool, D> {
    let (env, all, dev) = (cx.env, &cx.env.state.sysctl.all4, &cx.iif.conf4);
    let filter = combine::max(all.rp_filter, dev.rp_filter);
    let accept_local = combine::or(all.accept_local, dev.accept_local);
    let redirects = combine::or(all.send_redirects, dev.send_redirects);
    if filter == 0 && (oif != cx.iif.index || !redirects) {
        if accept_local {
            cx.rule("source: nothing is asked of it");
            return Ok(false);
        }
        // Where a user's routes say what is local, the addresses alone do not.
        if !env.state.rules4.custom() && !env.state.custom_local4 {
            cx.rule("source: compared with our addresses alone");
            cx.check(D::V4SourceLocal, !addr::is_interface_address(env, key.src))?;
            return Ok(false);
        }
    }
    let iif = if oif == 0 { loopback(env) } else { oif };
    let back = RuleKey { src: key.dst, dst: key.src, iif, sport: key.dport, dport: key.sport, ..*key };
    let found = lookup(env, &back);
    let rule = observe::Rule::new("reverse path", "3704 2.2", "fib_validate_source");
    cx.step(rule, format_args!("{}: {}", key.src, Shown(&found)));
    let Ok(back) = found else {
        cx.rule_if(filter == 0, "source: no way back, and none is asked for");
        return cx.check(D::V4ReversePath, filter == 0).map(|()| false);
    };
    cx.check(D::V4SourceInvalid, matches!(back.found, RouteType::Unicast | RouteType::Local))?;
    cx.check(D::V4SourceLocal, back.found != RouteType::Local || accept_local)?;
    let members = back.group.map_or(&[][..], |g| &g.members[..]);
    let here = members.iter().any(|m| m.oif == cx.iif.index)
        || back.found == RouteType::Local && cx.iif.kind == LinkKind::Loopback;
    let on_link = |route: &Route<'_>| route.member.is_some_and(|m| m.via.is_none());
    if here {
        cx.rule(if on_link(&back) { "source: on the link" } else { "source: by the interface it came from" });
        return Ok(on_link(&back));
    }
    if cx.iif.addrs4.is_empty() {
        cx.rule("source: the way back leads elsewhere, and the interface has no address");
        return cx.check(D::V4ReversePath, filter == 0).map(|()| false);
    }
    cx.check(D::V4ReversePath, filter != 1)?;
    cx.rule("source: the way back leads elsewhere, which is allowed");
    // Whether it could be on the link, though there is a better way to it.
    let here = lookup(
        env,
        &RuleKey {
            dst: key.src,
            src: key.dst,
            iif,
            oif: cx.iif.index,
            sport: key.dport,
            dport: key.sport,
            ..*key
        },
    );
    let attached = here.is_ok_and(|route| route.found == RouteType::Unicast && on_link(&route));
    cx.rule_if(attached, "source: on the link all the same");
    Ok(attached)
}

/// Rules in order, each with its table. Linux: __fib_lookup.
pub fn lookup<'a>(env: Env<'a>, key: &RuleKey<Ipv4Addr>) -> Result<Route<'a>, Errno> {
    lookup_observed(env, key, &mut Unobserved)
}

fn lookup_observed<'a, O: Observer>(
    env: Env<'a>,
    key: &RuleKey<Ipv4Addr>,
    observer: &mut O,
) -> Result<Route<'a>, Errno> {
    for rule in env.state.rules4.matching(key) {
        match rule.action {
            RuleAction::Table(id) => {
                if let Some(answer) = table(env, id, Some(rule), key, observer) {
                    return answer;
                }
            }
            RuleAction::Unreachable => {
                observer.rule("route: refused by a rule");
                return Err(Errno::NetUnreachable);
            }
            RuleAction::Prohibit => {
                observer.rule("route: prohibited by a rule");
                return Err(Errno::Prohibited);
            }
            RuleAction::Blackhole => {
                observer.rule("route: swallowed by a rule");
                return Err(Errno::Blackhole);
            }
            RuleAction::Goto(_) | RuleAction::Nop => {}
        }
    }
    Err(Errno::NetUnreachable)
}

/// What table local says of an address: the host's own, a broadcast, a group, or else unicast, which it also is to a route
/// that refuses it. Linux: inet_addr_type.
pub fn type_of(env: Env<'_>, addr: Ipv4Addr) -> RouteType {
    if addr.is_unspecified() || addr.is_broadcast() {
        return RouteType::Broadcast;
    }
    if addr.is_multicast() {
        return RouteType::Multicast;
    }
    let key = own_key(env, Ipv4Addr::UNSPECIFIED, addr, 0);
    match table(env, TABLE_LOCAL, None, &key, &mut Unobserved) {
        Some(Ok(route)) => route.found,
        _ => RouteType::Unicast,
    }
}

/// The link-layer address for all, or for a group, if that is what a packet on this route to `dst` is for. A route for one
/// TOS only does not make an address a broadcast to the link layer. Linux: arp_constructor.
pub fn for_all(env: Env<'_>, route: &Route<'_>, dst: Ipv4Addr) -> Option<[u8; 6]> {
    if dst.is_multicast() && route.next_hop(dst) == IpAddr::V4(dst) {
        return Some(eth::multicast_mac4(dst));
    }
    let broadcast = route.found == RouteType::Broadcast && type_of(env, dst) == RouteType::Broadcast;
    broadcast.then_some(eth::BROADCAST)
}

/// The longest prefix with a usable alias; `None` lets the next rule try. Linux: fib_table_lookup.
fn table<'a, O: Observer>(
    env: Env<'a>,
    id: u32,
    rule: Option<&Rule<Ipv4Addr>>,
    key: &RuleKey<Ipv4Addr>,
    observer: &mut O,
) -> Option<Result<Route<'a>, Errno>> {
    let mut passed = None;
    for (len, set) in env.view.table::<Ipv4Addr>(id)?.lookup(key.dst) {
        let network = key.dst.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        if passed == Some(network) {
            continue;
        }
        for path in &set.paths {
            if path.tos != 0 && path.tos != key.tos {
                observer.rule("choice: a route for another TOS is passed over");
                continue;
            }
            match path.kind {
                RouteType::Throw => {
                    observer.rule("lookup: thrown back to the next rule");
                    return None;
                }
                RouteType::Unreachable => return Some(Err(Errno::HostUnreachable)),
                RouteType::Prohibit => return Some(Err(Errno::Prohibited)),
                RouteType::Blackhole => return Some(Err(Errno::Blackhole)),
                _ => {}
            }
            let Some(group) = path.group.and_then(|g| env.view.group(g)) else { continue };
            if group.kind == GroupKind::Blackhole {
                return Some(Err(Errno::Blackhole));
            }
            // The first next hop that is alive and not left out because its link has no carrier; without one the next
            // alias or a shorter prefix answers.
            let usable = |m: &&Member| m.upper >= 0 && (key.oif == 0 || key.oif == m.oif);
            let Some(member) = group.members.iter().find(usable) else {
                observer.rule("choice: a route without a usable next hop is passed over");
                // Behind an object that is of no use the kernel looks at no other route of prefixes that begin alike.
                if !group.object {
                    continue;
                }
                passed = Some(network);
                break;
            };
            if rule.is_some_and(|rule| rule.suppresses(len)) {
                observer.rule("lookup: suppressed by the rule");
                return None;
            }
            return Some(Ok(Route {
                kind: Kind::Unicast,
                found: path.kind,
                path: Some(path),
                member: Some(member),
                group: Some(group),
                dev: None,
                prefix_len: len,
                redirect: false,
                exception: None,
            }));
        }
        observer.rule("lookup: on to a shorter prefix, this one has no usable route");
    }
    None
}

/// The route of a packet that this router makes itself, and its source, which is chosen here if it is not specified. Of
/// several next hops an error takes the one of the packet that it is about, with where that was for; all else is about none.
/// Linux: ip_route_output_key_hash_rcu, fib_select_path, __mkroute_output.
pub fn output<'a>(
    env: Env<'a>,
    key: &RuleKey<Ipv4Addr>,
    about: Option<(&[u8], Ipv4Addr)>,
) -> Result<(Route<'a>, Option<Ipv4Addr>), Errno> {
    let bound = Some(key.src).filter(|src| !src.is_unspecified());
    if bound.is_some_and(|src| !addr::is_ours(env, src)) {
        return Err(Errno::NetUnreachable);
    }
    if let Some(src) = bound.filter(|_| key.dst.is_multicast() || key.dst.is_broadcast()) {
        let dev = addr::owner(env, src).ok_or(Errno::NetUnreachable)?.index;
        let found = if key.dst.is_multicast() { RouteType::Multicast } else { RouteType::Broadcast };
        return Ok((Route { found, dev: Some(dev), ..Route::of(Kind::Unicast) }, bound));
    }
    let mut route = lookup(env, key)?;
    if let Some(group) = route.group.filter(|g| g.members.len() > 1) {
        let scope = route.path.map_or(0, |p| p.scope);
        let hash = match about {
            None => multipath::hash4_made(env.state, key),
            Some((packet, dst)) => multipath::hash4(env.state, packet, dst),
        };
        let chosen = match bound.filter(|_| !group.object) {
            Some(src) => speaking_as(env, group, hash, src, scope),
            None => group.select(hash, |m| good(env, &group.kind, m)),
        };
        route.member = chosen.and_then(|i| group.members.get(i)).or(route.member);
    }
    // The kernel asks none of a broadcast, or of a group by a route for more than groups. Linux: __mkroute_output.
    let single = route.found != RouteType::Broadcast && (!key.dst.is_multicast() || route.prefix_len >= 4);
    if single {
        route = route.with_exception(env, key.dst);
    }
    let src = bound.or_else(|| addr::of_route(env, &route));
    let leaks = |oif: &Iface| {
        oif.kind != LinkKind::Loopback
            && !combine::or(env.state.sysctl.all4.route_localnet, oif.conf4.route_localnet)
    };
    // RFC 1122 3.2.1.3 (g): no loopback address leaves the host.
    if src.is_some_and(|src| src.is_loopback()) && route.oif(env).is_some_and(leaks) {
        return Err(Errno::Blackhole);
    }
    Ok((route, src))
}

/// The leg for a flow whose source is given: one that would choose the same source goes before the one that the hash
/// chooses. Linux: fib_select_multipath.
fn speaking_as(env: Env<'_>, group: &Group, hash: u32, src: Ipv4Addr, scope: u8) -> Option<usize> {
    let usable = |m: &Member| m.upper >= 0 && good(env, &group.kind, m);
    let score = |m: &Member| {
        2 * u8::from(addr::of_member(env, group.object, m, scope) == Some(src))
            + u8::from(i64::from(hash) <= i64::from(m.upper))
    };
    let all = group.members.iter().enumerate().filter(|(_, m)| usable(m)).map(|(i, m)| (i, score(m)));
    // The first of the best.
    all.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(i, _)| i)
}

struct Shown<'s, 'a>(&'s Result<Route<'a>, Errno>);

impl std::fmt::Display for Shown<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Ok(r) => {
                write!(
                    f,
                    "{:?}, prefix length {}, table {}",
                    r.found,
                    r.prefix_len,
                    r.path.map_or(0, |p| p.table)
                )
            }
            Err(errno) => write!(f, "{errno:?}"),
        }
    }
}
