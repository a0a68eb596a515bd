//! Routes, route lists and nexthop objects of a scenario, checked and completed as the kernel does. Called by `load`.
//!
//! Routes stand in the order of the file, as `ip route append` puts them: equal IPv6 gateways become one multipath route.

use super::file::read_text;
use super::load::{Loader, meaning, scope};
use super::{Hop, Nexthop, Route, RouteList, Scenario, ScenarioError};
use crate::iface::SCOPE_LINK;
use crate::wire::ip6;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use warren_fib::{
    Hops, Ip, NexthopBody, NexthopObject, Place, Pref, Prefix, RouteType, TABLE_LOCAL, TABLE_MAIN,
};

/// Buckets of a resilient group if the scenario does not say.
const BUCKETS: u16 = 128;
/// `RTPROT_STATIC`
const PROTO_STATIC: u8 = 4;
const METRIC6: u32 = 1024;
/// Clock ticks of `expires`.
const SECOND: u64 = 1_000_000_000;

/// Route types by their names in iproute2.
pub(super) const KINDS: [(&str, RouteType); 9] = [
    ("unicast", RouteType::Unicast),
    ("local", RouteType::Local),
    ("broadcast", RouteType::Broadcast),
    ("anycast", RouteType::Anycast),
    ("multicast", RouteType::Multicast),
    ("blackhole", RouteType::Blackhole),
    ("unreachable", RouteType::Unreachable),
    ("prohibit", RouteType::Prohibit),
    ("throw", RouteType::Throw),
];

/// `[[route]]`
pub(super) fn route(l: &mut Loader<'_>, s: &Scenario, e: &Route) -> Result<(), String> {
    let done = match destination(s, e)? {
        IpNet::V4(net) => {
            let route = build::<Ipv4Addr>(l, e, net.addr(), net.prefix_len())?;
            l.writer.insert4(route, Place::Append)
        }
        IpNet::V6(net) => {
            let route = build::<Ipv6Addr>(l, e, net.addr(), net.prefix_len())?;
            l.writer.insert6(route, Place::Append)
        }
    };
    done.map_err(|e| e.to_string())
}

/// A prefix, or an address for itself alone. Linux refuses IPv4 prefixes with host bits (fib_table_insert).
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    let net: Option<IpNet> = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let net = net.ok_or_else(|| format!("{text:?} is no prefix such as 10.0.0.0/8 or 2001:db8::/32"))?;
    if net != net.trunc() && net.addr().is_ipv4() {
        return Err(format!("{net} has bits set behind its length; write {}", net.trunc()));
    }
    Ok(net.trunc())
}

/// Where a route leads to; for "default" some other key tells the family.
fn destination(s: &Scenario, e: &Route) -> Result<IpNet, String> {
    if e.dst != "default" {
        return prefix(&e.dst);
    }
    let object = e.nhid.and_then(|id| s.nexthop.iter().find(|n| n.id == id));
    let first = object.and_then(|o| o.group.first());
    let object = first.and_then(|m| s.nexthop.iter().find(|n| n.id == m.id)).or(object);
    let via = e.via.or_else(|| e.nexthop.first().and_then(|h| h.via)).or_else(|| object.and_then(|o| o.via));
    match (e.family.or_else(|| object.and_then(|o| o.family)), via) {
        (Some(4), _) | (None, Some(IpAddr::V4(_))) => Ok(IpNet::V4(ipnet::Ipv4Net::default())),
        (Some(6), _) | (None, Some(IpAddr::V6(_))) => Ok(IpNet::V6(ipnet::Ipv6Net::default())),
        (Some(other), _) => Err(format!("family is 4 or 6, not {other}")),
        (None, None) => Err("of which family? Add family = 4 or family = 6".into()),
    }
}

fn build<A: Ip>(l: &Loader<'_>, e: &Route, addr: A, len: u8) -> Result<warren_fib::Route<A>, String> {
    let named = |name: &str| KINDS.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind);
    let kind = e.kind.as_deref().map_or(Some(RouteType::Unicast), named);
    let kind = kind.ok_or_else(|| format!("unknown type; there are {}", KINDS.map(|(n, _)| n).join(", ")))?;
    let of_host = matches!(kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast);
    let table = e.table.unwrap_or(if of_host { TABLE_LOCAL } else { TABLE_MAIN });
    if table == 0 {
        return Err("tables count from 1".into());
    }
    for (given, name, v6) in [
        (e.tos.is_some(), "tos", false),
        (e.scope.is_some(), "scope", false),
        (e.from.is_some(), "from", true),
    ] {
        if given && v6 != A::V6 {
            return Err(format!("{name} is for {} only", if v6 { "IPv6" } else { "IPv4" }));
        }
    }
    let hops = hops::<A>(l, e, kind, table)?;
    let direct = matches!(&hops, Hops::List(list) if list.iter().all(|hop| hop.via.is_none()));
    let natural = match kind {
        _ if A::V6 => 0,
        RouteType::Local => super::derive::SCOPE_HOST,
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => SCOPE_LINK,
        RouteType::Unicast if direct => SCOPE_LINK,
        _ => 0,
    };
    let metric = e.metric.unwrap_or(0);
    Ok(warren_fib::Route {
        table,
        src: e.from.as_deref().map_or(Ok(Prefix::ANY), |text| of_family(prefix(text)?))?,
        tos: e.tos.unwrap_or(0) & 0xfc,
        metric: if A::V6 && metric == 0 { METRIC6 } else { metric },
        kind,
        scope: e.scope.as_deref().map_or(Ok(natural), scope)?,
        protocol: PROTO_STATIC,
        prefsrc: e.src.map(|src| address(src)).transpose()?,
        mtu: e.mtu.unwrap_or(0),
        mtu_lock: e.mtu_lock == Some(true),
        hoplimit: e.hoplimit.unwrap_or(0),
        pref: pref(e.pref.as_deref())?,
        expires: e.expires.map_or(u64::MAX, |s| l.start.saturating_add(u64::from(s) * SECOND)),
        ..warren_fib::Route::new(Prefix::new(addr, len).map_err(|e| e.to_string())?, hops)
    })
}

/// The address as one of this family.
pub(super) fn address<A: Ip>(addr: IpAddr) -> Result<A, String> {
    let key = match addr {
        IpAddr::V4(a) => a.key(),
        IpAddr::V6(a) => a.key(),
    };
    let same = addr.is_ipv6() == A::V6;
    same.then(|| A::from_key(key)).ok_or_else(|| format!("{addr} is of the other family"))
}

/// The prefix as one of this family.
pub(super) fn of_family<A: Ip>(net: IpNet) -> Result<Prefix<A>, String> {
    Prefix::new(address(net.addr())?, net.prefix_len()).map_err(|e| e.to_string())
}

fn pref(name: Option<&str>) -> Result<Pref, String> {
    match name {
        None | Some("medium") => Ok(Pref::Medium),
        Some("low") => Ok(Pref::Low),
        Some("high") => Ok(Pref::High),
        Some(other) => Err(format!("unknown pref {other:?}; there are low, medium, high")),
    }
}

/// The next hops of a route, by whichever of its keys names them.
fn hops<A: Ip>(l: &Loader<'_>, e: &Route, kind: RouteType, table: u32) -> Result<Hops, String> {
    let single = e.via.is_some() || e.dev.is_some();
    let ways = [single, !e.nexthop.is_empty(), e.nhid.is_some()].iter().filter(|given| **given).count();
    match (ways, kind.is_error()) {
        (0, true) => return Ok(Hops::None),
        (_, true) => return Err("a route of this type has no next hop".into()),
        (0, false) => return Err("no next hop: add via, dev, nexthop or nhid".into()),
        (1, false) => {}
        (_, false) => return Err("via and dev, nexthop, or nhid: only one of them".into()),
    }
    if let Some(id) = e.nhid {
        return Ok(Hops::Object(id));
    }
    if single {
        let only = Hop { via: e.via, dev: e.dev.clone(), weight: None, onlink: e.onlink };
        return Ok(Hops::List(vec![hop::<A>(l, &only, table)?]));
    }
    if A::V6 && e.nexthop.len() > 1 && e.nexthop.iter().any(|hop| hop.via.is_none()) {
        return Err("each of several IPv6 next hops needs via".into());
    }
    Ok(Hops::List(e.nexthop.iter().map(|one| hop::<A>(l, one, table)).collect::<Result<_, _>>()?))
}

/// One next hop of a route of family `A`; a link that is not named is found by the gateway.
fn hop<A: Ip>(l: &Loader<'_>, hop: &Hop, table: u32) -> Result<warren_fib::Hop, String> {
    let dev = hop.dev.as_deref().map(|name| l.index(name)).transpose()?;
    let onlink = hop.onlink == Some(true);
    let oif = match (hop.via, dev) {
        (None, None) => return Err("a next hop needs via or dev".into()),
        (Some(IpAddr::V4(via)), _) if A::V6 => return Err(format!("{via} cannot be a gateway of IPv6")),
        (None, Some(dev)) => dev,
        (Some(_), Some(dev)) if onlink => dev,
        (Some(_), None) if onlink => return Err("onlink needs dev".into()),
        (Some(IpAddr::V6(via)), Some(dev)) if ip6::is_link_local(via) => dev,
        (Some(IpAddr::V6(via)), None) if ip6::is_link_local(via) => {
            return Err(format!("gateway {via} is link-local: add dev"));
        }
        (Some(IpAddr::V4(via)), dev) => reach(l, via, dev, table)?,
        (Some(IpAddr::V6(via)), dev) => reach(l, via, dev, table)?,
    };
    let weight = hop.weight.unwrap_or(1);
    if !(1..=256).contains(&weight) {
        return Err(format!("weight {weight} is not between 1 and 256"));
    }
    Ok(warren_fib::Hop { weight, onlink, ..warren_fib::Hop::new(oif, hop.via) })
}

/// The link that a gateway is on: the route to it must be direct. Linux: fib_check_nh_v4_gw, ip6_route_check_nh.
fn reach<A: Ip>(l: &Loader<'_>, gateway: A, dev: Option<u32>, table: u32) -> Result<u32, String> {
    let mut reader = l.shared.fib.reader().map_err(|e| e.to_string())?;
    let view = reader.pin();
    for table in [table, TABLE_MAIN].iter().filter_map(|&id| view.table::<A>(id)) {
        for path in table.lookup(gateway).flat_map(|(_, set)| &set.paths) {
            if path.kind == RouteType::Local {
                return Err(format!("gateway {gateway} is an address of this box"));
            }
            let group = path.group.and_then(|id| view.group(id)).filter(|_| path.kind == RouteType::Unicast);
            let fits = group.and_then(|g| g.members.iter().find(|m| dev.is_none_or(|dev| dev == m.oif)));
            match fits {
                Some(member) if member.via.is_none() => return Ok(member.oif),
                Some(_) => break,
                None => {}
            }
        }
    }
    let cure = "give the link an address of its subnet, or name the link and add onlink = true";
    Err(format!(
        "gateway {gateway} is not on {}: {cure}",
        if dev.is_some() { "that link" } else { "any link" }
    ))
}

impl RouteList {
    /// The prefixes of the list, each with the number of its next hop, from 0. A line is a prefix and, optionally, that
    /// number; without one the n-th prefix takes the hop n modulo their count. `#` starts a remark. `scenario` is
    /// the path of the scenario, which the list's own is relative to. O(lines).
    pub fn prefixes(&self, scenario: &Path) -> Result<Vec<(IpNet, usize)>, ScenarioError> {
        let path = scenario.parent().unwrap_or(Path::new("")).join(&self.file);
        let packed = ["mrt", "bz2", "gz", "xz"];
        if path.extension().is_some_and(|e| packed.iter().any(|p| e == *p)) {
            let cure = "MRT dumps and packed lists are not read: unpack it to one prefix a line";
            return Err(meaning(&path, cure.into()));
        }
        let text = read_text(&path)?;
        let mut found = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let wrong = |cause| ScenarioError::Form { path: path.clone(), line: number, cause };
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(first) = words.next() else { continue };
            let hop = match words.next().map(str::parse) {
                None => found.len() % self.nexthop.len().max(1),
                Some(Ok(hop)) if hop < self.nexthop.len() => hop,
                Some(_) => {
                    let last = self.nexthop.len().saturating_sub(1);
                    return Err(wrong(format!("behind the prefix stands a next hop's number, 0 to {last}")));
                }
            };
            found.push((prefix(first).map_err(wrong)?, hop));
        }
        Ok(found)
    }
}

/// `[[route_list]]`
pub(super) fn list(l: &mut Loader<'_>, number: usize, e: &RouteList) -> Result<(), ScenarioError> {
    let name = e.file.display();
    let wrong = |path: &Path, why| meaning(path, format!("route_list {number} ({name}): {why}"));
    if e.nexthop.is_empty() {
        return Err(wrong(l.path, "no next hop: add nexthop = [ { via = \"10.0.2.1\" } ]".to_owned()));
    }
    let table = e.table.unwrap_or(TABLE_MAIN);
    let (mut ways4, mut ways6) = (vec![None; e.nexthop.len()], vec![None; e.nexthop.len()]);
    for (net, at) in e.prefixes(l.path)? {
        let Some(one) = e.nexthop.get(at) else { continue };
        let done = match net {
            IpNet::V4(_) => template::<Ipv4Addr>(l, one, table, ways4.get_mut(at), net)
                .map(|r| l.writer.insert4(r, Place::Append)),
            IpNet::V6(_) => template::<Ipv6Addr>(l, one, table, ways6.get_mut(at), net)
                .map(|r| l.writer.insert6(r, Place::Append)),
        };
        let done = done.and_then(|inserted| inserted.map_err(|e| e.to_string()));
        done.map_err(|why| wrong(l.path, format!("{net}: {why}")))?;
    }
    Ok(())
}

/// The route to `net` by one of a list's next hops, which is resolved once.
fn template<A: Ip>(
    l: &Loader<'_>,
    one: &Hop,
    table: u32,
    known: Option<&mut Option<warren_fib::Hop>>,
    net: IpNet,
) -> Result<warren_fib::Route<A>, String> {
    let hop = match &known {
        Some(Some(hop)) => hop.clone(),
        _ => hop::<A>(l, one, table)?,
    };
    if let Some(known) = known {
        *known = Some(hop.clone());
    }
    let scope = if !A::V6 && hop.via.is_none() { SCOPE_LINK } else { 0 };
    let (protocol, hops) = (PROTO_STATIC, Hops::List(vec![hop]));
    Ok(warren_fib::Route { table, protocol, scope, ..warren_fib::Route::new(of_family(net)?, hops) })
}

/// `[[nexthop]]`
pub(super) fn nexthop(l: &mut Loader<'_>, e: &Nexthop) -> Result<(), String> {
    let members: Vec<_> = e.group.iter().map(|m| (m.id, m.weight.unwrap_or(1))).collect();
    if e.id == 0 || e.buckets == Some(0) || members.iter().any(|&(_, weight)| weight == 0) {
        return Err("ids, weights and buckets count from 1".into());
    }
    let body = if e.blackhole == Some(true) {
        NexthopBody::Blackhole
    } else if members.is_empty() {
        let one = Hop { via: e.via, dev: e.dev.clone(), weight: None, onlink: e.onlink };
        if e.dev.is_none() {
            return Err("a nexthop object needs dev, group or blackhole".into());
        }
        let v6 = e.via.is_some_and(|via| via.is_ipv6());
        let hop = if v6 { hop::<Ipv6Addr> } else { hop::<Ipv4Addr> };
        NexthopBody::Single(hop(l, &one, TABLE_MAIN)?)
    } else {
        match e.kind.as_deref() {
            None | Some("hash") => NexthopBody::Group(members),
            Some("resilient") => {
                let buckets = resilient_buckets(&members, e.buckets.unwrap_or(BUCKETS));
                NexthopBody::Resilient { members, buckets }
            }
            Some(other) => return Err(format!("unknown type {other:?}; there are hash, resilient")),
        }
    };
    l.writer.set_nexthop(NexthopObject { id: e.id, body }).map_err(|e| e.to_string())
}

/// Which member each bucket of a fresh resilient group belongs to: blocks as wide as the weights, the last member's
/// first, because the kernel gives buckets away from the head of a list that it fills at its head.
/// Linux: nh_res_group_rebalance, nh_res_table_upkeep.
pub fn resilient_buckets(members: &[(u32, u16)], count: u16) -> Vec<u32> {
    let total: u64 = members.iter().map(|&(_, weight)| u64::from(weight)).sum();
    let (mut shares, mut sum, mut given) = (Vec::with_capacity(members.len()), 0, 0);
    for &(id, weight) in members {
        sum += u64::from(weight);
        // DIV_ROUND_CLOSEST
        let upto = (u64::from(count) * sum + total / 2).checked_div(total).unwrap_or(0);
        let upto = usize::try_from(upto).unwrap_or(0);
        shares.push((id, upto.saturating_sub(given)));
        given = upto;
    }
    shares.into_iter().rev().flat_map(|(id, width)| std::iter::repeat_n(id, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_blocks_as_wide_as_the_weights() {
        assert_eq!(resilient_buckets(&[(1, 1), (2, 3)], 8), [2, 2, 2, 2, 2, 2, 1, 1]);
        assert_eq!(resilient_buckets(&[(1, 1), (2, 1), (3, 1)], 4), [3, 2, 2, 1]);
        assert_eq!(resilient_buckets(&[(7, 9)], 1), [7]);
    }

    #[test]
    fn prefixes_and_what_is_none() {
        assert_eq!(prefix("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(prefix("2001:db8::1/32").unwrap().to_string(), "2001:db8::/32");
        assert_eq!(
            prefix("10.0.0.1/8").unwrap_err(),
            "10.0.0.1/8 has bits set behind its length; write 10.0.0.0/8"
        );
        assert!(prefix("10.0.0/8").is_err());
    }
}
