//! A scenario given to a kernel, object by object, in the words of rtnetlink. Invariant: the kernel is told what the
//! scenario says and nothing of what it derives from that by itself. Called by `kernel`.

use super::{ConformError, Result};
use crate::control::netlink::{
    AddressMsg, Family, Leg, Member, Mode, NeighbourMsg, NeighbourState, NexthopMsg, PortMatch, Resilient,
    RouteKind, RouteMsg, RuleAction, RuleMsg, Socket, leg_flag, metric, rule_flag,
};
use crate::scenario::{Address, Hop, Neighbour, Nexthop, Route, Rule, Scenario, Value, protocol};
use crate::wire::eth::parse_mac;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Interface indexes by name.
pub type Links = BTreeMap<String, u32>;

fn meaning(text: String) -> ConformError {
    ConformError::Meaning(text)
}

/// Adds addresses, neighbours, next hops, routes and rules, in this order.
pub fn apply(socket: &mut Socket, scenario: &Scenario, links: &Links) -> Result<()> {
    if !scenario.route_list.is_empty() {
        return Err(meaning(
            "[[route_list]]: a kernel namespace is given routes one by one: write each as a [[route]]".into(),
        ));
    }
    for entry in &scenario.address {
        socket.add_address(&address(entry, links)?, Mode::Add)?;
    }
    for entry in &scenario.neighbour {
        socket.add_neighbour(&neighbour(entry, links)?, Mode::Replace)?;
    }
    for entry in &scenario.nexthop {
        socket.add_nexthop(&nexthop(entry, links)?, Mode::Add)?;
    }
    for entry in &scenario.route {
        // Behind the equal ones: routes stand in the order of the file.
        socket.add_route(&route(entry, links)?, Mode::Append)?;
    }
    for entry in &scenario.rule {
        socket.add_rule(&rule(entry)?)?;
    }
    Ok(())
}

fn link(name: &str, links: &Links) -> Result<u32> {
    links.get(name).copied().ok_or_else(|| meaning(format!("no link is called {name:?}")))
}

fn address(entry: &Address, links: &Links) -> Result<AddressMsg> {
    let mut msg = AddressMsg::new(link(&entry.dev, links)?, entry.prefix);
    for flag in &entry.flags {
        match flag.as_str() {
            "deprecated" => msg.preferred = 0,
            "noprefixroute" => msg.flags |= 0x200,
            "optimistic" => msg.flags |= 0x04,
            // A second address of the same subnet is made secondary by the kernel itself.
            "secondary" => {}
            other => {
                return Err(meaning(format!(
                    "address {}: flag {other:?} cannot be asked for: leave it out",
                    entry.prefix
                )));
            }
        }
    }
    msg.scope = match entry.scope.as_deref() {
        None => msg.scope,
        Some(name) => {
            scope(name).ok_or_else(|| meaning(format!("address {}: scope {name:?}", entry.prefix)))?
        }
    };
    Ok(msg)
}

fn scope(name: &str) -> Option<u8> {
    Some(match name {
        "global" => 0,
        "link" => 253,
        "host" => 254,
        _ => return None,
    })
}

fn neighbour(entry: &Neighbour, links: &Links) -> Result<NeighbourMsg> {
    let index = link(&entry.dev, links)?;
    if entry.proxy == Some(true) {
        return Ok(NeighbourMsg::proxy(index, entry.to));
    }
    let mac = entry.lladdr.as_deref().map(parse_mac).transpose();
    let mac = mac.map_err(|e| meaning(format!("neighbour {}: {e}", entry.to)))?;
    let state = match entry.state.as_deref() {
        None | Some("permanent") => NeighbourState::Permanent,
        Some("reachable") => NeighbourState::Reachable,
        Some("stale") => NeighbourState::Stale,
        Some("delay") => NeighbourState::Delay,
        Some("probe") => NeighbourState::Probe,
        Some("failed") => NeighbourState::Failed,
        Some("incomplete") => NeighbourState::Incomplete,
        Some("noarp") => NeighbourState::Noarp,
        Some(other) => return Err(meaning(format!("neighbour {}: state {other:?}", entry.to))),
    };
    Ok(NeighbourMsg::new(index, entry.to, mac, state))
}

fn leg(hop: &Hop, links: &Links) -> Result<Leg> {
    let dev = hop.dev.as_deref().map(|name| link(name, links)).transpose()?;
    let mut leg = match (hop.via, dev) {
        (Some(via), dev) => Leg::via(via, dev),
        (None, Some(dev)) => Leg::dev(dev),
        (None, None) => return Err(meaning("a next hop needs `via` or `dev`".into())),
    };
    leg.weight = hop.weight.unwrap_or(1);
    leg.flags = if hop.onlink == Some(true) { leg_flag::ONLINK } else { 0 };
    Ok(leg)
}

/// The family that an entry states or shows.
fn family(stated: Option<u8>, shown: Option<IpAddr>) -> Option<Family> {
    match (stated, shown) {
        (Some(4), _) => Some(Family::V4),
        (Some(6), _) => Some(Family::V6),
        (_, shown) => shown.map(Family::of),
    }
}

fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

/// A prefix, or an address for itself alone.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn route(entry: &Route, links: &Links) -> Result<RouteMsg> {
    let wrong = |what: &str| meaning(format!("route {}: {what}", entry.dst));
    let dst = match entry.dst.as_str() {
        "default" => family(entry.family, entry.via).map(everything),
        text => prefix(text),
    };
    let dst = dst.ok_or_else(|| wrong("no prefix; a default route needs `via` or `family`"))?;
    let kind = kind(entry.kind.as_deref()).ok_or_else(|| wrong("unknown type"))?;
    let one = Hop { via: entry.via, dev: entry.dev.clone(), weight: None, onlink: entry.onlink };
    let single = (entry.via.is_some() || entry.dev.is_some()).then_some(&one);
    let hops =
        if entry.nexthop.is_empty() { single.into_iter().collect() } else { entry.nexthop.iter().collect() };
    let legs = Vec::into_iter(hops).map(|hop| leg(hop, links)).collect::<Result<Vec<Leg>>>()?;
    let mut msg = RouteMsg::new(dst, kind, legs);
    let local = matches!(kind, RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast);
    msg.table = entry.table.unwrap_or(if local { 255 } else { 254 });
    msg.src = entry.from.as_deref().map(|t| prefix(t).ok_or_else(|| wrong("bad `from`"))).transpose()?;
    msg.priority = entry.metric.unwrap_or(0);
    msg.tos = entry.tos.unwrap_or(0);
    if let Some(name) = &entry.scope {
        msg.scope = scope(name).ok_or_else(|| wrong("unknown scope"))?;
    }
    msg.metrics.set(metric::MTU, entry.mtu.unwrap_or(0));
    msg.metrics.set(metric::HOPLIMIT, entry.hoplimit.unwrap_or(0).into());
    if entry.mtu_lock == Some(true) {
        msg.metrics.set(metric::LOCK, 1 << metric::MTU);
    }
    msg.prefsrc = entry.src;
    msg.pref = match entry.pref.as_deref() {
        None | Some("medium") => 0,
        Some("high") => 1,
        Some("low") => 3,
        Some(_) => return Err(wrong("unknown pref")),
    };
    msg.expires = entry.expires.map(|s| Duration::from_secs(s.into()));
    msg.nexthop = entry.nhid;
    Ok(msg)
}

fn kind(name: Option<&str>) -> Option<RouteKind> {
    Some(match name {
        None | Some("unicast") => RouteKind::Unicast,
        Some("local") => RouteKind::Local,
        Some("broadcast") => RouteKind::Broadcast,
        Some("anycast") => RouteKind::Anycast,
        Some("multicast") => RouteKind::Multicast,
        Some("blackhole") => RouteKind::Blackhole,
        Some("unreachable") => RouteKind::Unreachable,
        Some("prohibit") => RouteKind::Prohibit,
        Some("throw") => RouteKind::Throw,
        Some(_) => return None,
    })
}

fn nexthop(entry: &Nexthop, links: &Links) -> Result<NexthopMsg> {
    let wrong = |what: &str| meaning(format!("nexthop {}: {what}", entry.id));
    if !entry.group.is_empty() {
        let member =
            |m: &crate::scenario::GroupMember| Member { id: m.id, weight: m.weight.unwrap_or(1).into() };
        let resilient = (entry.kind.as_deref() == Some("resilient")).then_some(Resilient {
            buckets: entry.buckets.unwrap_or(128),
            idle_timer: 12_000,
            unbalanced_timer: 0,
            unbalanced_time: 0,
        });
        return Ok(NexthopMsg::group(entry.id, entry.group.iter().map(member).collect(), resilient));
    }
    let family = family(entry.family, entry.via).ok_or_else(|| wrong("needs `via` or `family`"))?;
    if entry.blackhole == Some(true) {
        return Ok(NexthopMsg::blackhole(entry.id, family));
    }
    let dev = entry.dev.as_deref().ok_or_else(|| wrong("needs `dev`"))?;
    let mut msg = NexthopMsg::hop(entry.id, family, link(dev, links)?, entry.via);
    msg.flags = if entry.onlink == Some(true) { leg_flag::ONLINK.into() } else { 0 };
    Ok(msg)
}

fn rule(entry: &Rule) -> Result<RuleMsg> {
    let wrong = |what: &str| meaning(format!("rule {}: {what}", entry.pref));
    let net = |text: &Option<String>| {
        text.as_deref().map(|t| prefix(t).ok_or_else(|| wrong("bad prefix"))).transpose()
    };
    let (src, dst) = (net(&entry.from)?, net(&entry.to)?);
    let shown = src.or(dst).map(|n| n.addr());
    let family = family(entry.family, shown).ok_or_else(|| wrong("needs `from`, `to` or `family`"))?;
    let mut msg = RuleMsg::new(family, entry.pref, entry.table.unwrap_or(0));
    (msg.src, msg.dst) = (src, dst);
    (msg.iif, msg.oif) = (entry.iif.clone(), entry.oif.clone());
    msg.tos = entry.tos.unwrap_or(0);
    msg.ip_proto = entry.ipproto.as_ref().map_or(Ok(0), protocol).map_err(|why| wrong(&why))?;
    let ports = |value: &Option<Value>| {
        value.as_ref().map(|v| port_range(v).ok_or_else(|| wrong("bad ports"))).transpose()
    };
    (msg.sport, msg.dport) = (ports(&entry.sport)?, ports(&entry.dport)?);
    msg.suppress_prefixlen = entry.suppress_prefixlen.map(u32::from);
    msg.flags = if entry.not == Some(true) { rule_flag::INVERT } else { 0 };
    msg.action = match (entry.action.as_deref(), entry.goto) {
        (None, Some(pref)) => RuleAction::Goto(pref),
        (None, None) => RuleAction::Table,
        (Some("blackhole"), None) => RuleAction::Blackhole,
        (Some("unreachable"), None) => RuleAction::Unreachable,
        (Some("prohibit"), None) => RuleAction::Prohibit,
        (Some("nop"), None) => RuleAction::Nop,
        _ => return Err(wrong("unknown action, or both `action` and `goto`")),
    };
    Ok(msg)
}

fn port_range(value: &Value) -> Option<PortMatch> {
    match value {
        Value::Number(n) => u16::try_from(*n).ok().map(|n| PortMatch::range(n, n)),
        Value::Text(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(PortMatch::range(first.parse().ok()?, last.parse().ok()?))
        }
    }
}
