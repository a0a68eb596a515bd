//! Names for what decided a lookup, for those who count rules. Nothing here decides anything. Called by `route`.

use super::super::ctx::{Ctx, Env};
use super::super::l3::{multipath, named as shared};
use super::super::observe::Observer;
use super::route::{Kind, Request, Route, Wish, expired, good, score};
use std::net::Ipv6Addr;
use warren_fib::{Group, GroupKind, Path, RouteType, TABLE_LOCAL, TABLE_MAIN};

/// What came of the lookup for a received packet.
pub fn outcome<O: Observer>(cx: &mut Ctx<'_, '_, O>, request: &Request<'_>, route: &Route<'_>) {
    if request.strict {
        cx.rule("lookup: the interface is insisted on");
    }
    if request.flow.is_some() {
        cx.rule("lookup: ports dissected for the rules");
    }
    let anycast = route.path.is_some_and(|p| p.kind == RouteType::Anycast);
    cx.rule(match route.kind {
        Kind::Unicast => "route: unicast",
        Kind::Local if anycast => "route: anycast",
        Kind::Local => "route: local",
        Kind::Multicast => "route: multicast",
        Kind::NoRoute if route.path.is_none() => "route: none",
        Kind::NoRoute if route.path.is_some_and(|p| !p.kind.is_error()) => {
            "route: over the loopback interface"
        }
        Kind::NoRoute => "route: unreachable",
        Kind::Prohibit if route.path.is_none() => "route: prohibited by a rule",
        Kind::Prohibit => "route: prohibit",
        Kind::Blackhole if route.path.is_none() => "route: swallowed by a rule",
        Kind::Blackhole => "route: blackhole",
    });
    let Some(path) = route.path else { return };
    if !path.src.is_default() {
        cx.rule("route: for some sources only");
    }
    if !matches!(path.table, TABLE_MAIN | TABLE_LOCAL) {
        cx.rule("route: of a table that a rule names");
    }
    match (path.mtu, path.mtu_lock) {
        (0, _) => {}
        (_, true) => cx.rule("route: MTU locked"),
        (_, false) => cx.rule("route: MTU not locked"),
    }
    if let Some(group) = path.group.and_then(|id| cx.env.view.group(id)).filter(|g| g.members.len() > 1) {
        next_hop(cx, request, route, group);
    }
}

/// How one of several next hops was chosen.
fn next_hop<O: Observer>(cx: &mut Ctx<'_, '_, O>, request: &Request<'_>, route: &Route<'_>, group: &Group) {
    let env = cx.env;
    shared::several(cx, &group.kind);
    multipath::name6(cx.observer(), env.state, request.flow.as_ref(), request.packet);
    let ignored = group.members.iter().any(|m| m.dead || m.upper < 0);
    if group.kind == GroupKind::Plain && ignored {
        cx.rule("next hop: the share of a dead one goes to the others");
    }
    let hash = request.hash(env);
    let at = |index: usize| group.members.get(index);
    if matches!(group.kind, GroupKind::Object { .. })
        && group.select(hash, |_| true).and_then(at) != route.member
    {
        cx.rule("next hop: one whose neighbour failed is passed over");
    }
    if matches!(group.kind, GroupKind::Object { .. })
        && !group.members.iter().any(|m| good(env, &group.kind, m))
    {
        cx.rule("next hop: none has a neighbour, the first is taken");
    }
    if group.kind == GroupKind::Plain && group.select(hash, |_| true).and_then(at) != route.member {
        cx.rule("next hop: one on another interface gives way");
    }
}

/// What made the difference among the paths of one prefix and metric. Linux: rt6_score_route, find_match.
pub fn choice<'a, O: Observer>(
    env: Env<'a>,
    paths: impl Iterator<Item = &'a Path<Ipv6Addr>> + Clone,
    wish: Wish,
    chosen: Option<(i32, &Path<Ipv6Addr>)>,
    observer: &mut O,
) {
    if paths.clone().any(|p| expired(p, env.now)) {
        observer.rule("choice: an expired route is passed over");
    }
    let usable = |wish: Wish| paths.clone().filter(|p| score(env, p, wish, -1).is_some()).count();
    let anywhere = Wish { strict: false, ..wish };
    let (fit, exist) = (usable(wish), usable(Wish { answering: false, ..anywhere }));
    if usable(anywhere) < exist {
        observer.rule("choice: a gateway that does not answer is passed over");
    }
    if fit < usable(anywhere) {
        observer.rule("choice: a route by another interface is passed over");
    }
    if exist < paths.clone().filter(|p| !expired(p, env.now)).count() {
        observer.rule("choice: a next hop without carrier is passed over");
    }
    let Some((best, path)) = chosen else { return };
    let others: Vec<i32> =
        paths.filter(|p| !std::ptr::eq(*p, path)).filter_map(|p| score(env, p, wish, -1)).collect();
    if others.contains(&best) {
        observer.rule("choice: the first of equals");
    }
    // Bit 1 says that the interface is the wished one, those above are the preference.
    if others.iter().any(|other| other >> 2 < best >> 2) {
        observer.rule("choice: router preference");
    }
    if others.iter().any(|other| other >> 2 == best >> 2 && *other < best) {
        observer.rule("choice: the interface that the packet came by");
    }
}
