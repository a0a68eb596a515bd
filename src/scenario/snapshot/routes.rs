//! Routes and nexthop objects of a live box, without what follows from its addresses. Part of a snapshot.

use super::{Snapshot, SnapshotError};
use crate::control::netlink::{Family, Leg, NexthopKind, NexthopMsg, RouteKind, RouteMsg, leg_flag, metric};
use crate::scenario::{GroupMember, Hop, Nexthop, Route};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_fib::{Hops, Ip, RouteType, TABLE_LOCAL, TABLE_MAIN};

/// What tells derived routes apart: destination, table, type, priority, preferred source, first link.
type Key = (IpNet, u32, RouteType, u32, Option<IpAddr>, u32);

/// The type as the FIB has it; `None` for one that no route has.
fn kind(kind: RouteKind) -> Option<RouteType> {
    Some(match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Broadcast => RouteType::Broadcast,
        RouteKind::Anycast => RouteType::Anycast,
        RouteKind::Multicast => RouteType::Multicast,
        RouteKind::Blackhole => RouteType::Blackhole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
        RouteKind::Other(_) => return None,
    })
}

fn key(route: &RouteMsg) -> Option<Key> {
    let link = route.legs.first().and_then(|leg| leg.link).unwrap_or(0);
    Some((route.dst.trunc(), route.table, kind(route.kind)?, route.priority, route.prefsrc, link))
}

fn derived<A: Ip>(route: &warren_fib::Route<A>) -> Option<Key> {
    let dst = IpNet::new(route.dst.addr().into(), route.dst.len()).ok()?;
    let Hops::List(hops) = &route.hops else { return None };
    let link = hops.first()?.oif;
    Some((dst, route.table, route.kind, route.metric, route.prefsrc.map(Into::into), link))
}

impl Snapshot {
    /// Writes down the routes that do not follow from links and addresses. An address whose subnet has no route is
    /// marked so.
    pub(super) fn routes(&mut self, routes: &[RouteMsg]) -> Result<(), SnapshotError> {
        let mut have: HashMap<Key, usize> = HashMap::new();
        for key in routes.iter().filter_map(key) {
            *have.entry(key).or_insert(0) += 1;
        }
        let loaded = self.load()?;
        let derived4 = loaded.writer.routes::<Ipv4Addr>().filter_map(|r| derived(&r));
        let derived6 = loaded.writer.routes::<Ipv6Addr>().filter_map(|r| derived(&r));
        let mut derived: HashMap<Key, usize> = HashMap::new();
        for key in derived4.chain(derived6) {
            *derived.entry(key).or_insert(0) += 1;
        }
        for (key, _) in derived.iter().filter(|(key, _)| !have.contains_key(*key)) {
            self.without(key);
        }
        let extra = routes.iter().filter(|route| match key(route).and_then(|k| derived.get_mut(&k)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        // Gateways need the direct routes that lead to them.
        let (direct, through): (Vec<_>, Vec<_>) =
            extra.partition(|r| r.legs.iter().all(|l| l.gateway.is_none()));
        for route in direct.into_iter().chain(through) {
            match self.route(route) {
                Ok(entry) => self.scenario.route.push(entry),
                Err(why) => self.leave(format_args!("route {route}"), why),
            }
        }
        Ok(())
    }

    /// A route that should follow from an address, but is not there.
    fn without(&mut self, (dst, _, kind, .., link): &Key) {
        let dev = self.names.get(link).cloned().unwrap_or_default();
        let of = |a: &&mut crate::scenario::Address| a.dev == dev && a.prefix.trunc() == *dst;
        match self.scenario.address.iter_mut().find(of) {
            Some(address) if *kind == RouteType::Unicast => address.flags.push("noprefixroute".into()),
            _ => self.leave(format_args!("{kind:?} {dst} on {dev}"), "the kernel lacks this derived route"),
        }
    }

    fn route(&self, route: &RouteMsg) -> Result<Route, &'static str> {
        let kind = kind(route.kind).ok_or("its type is unknown")?;
        if route.legs.iter().any(|leg| leg.encap.is_some()) {
            return Err("it has a tunnel");
        }
        let v4 = route.family() == Family::V4;
        let of_host = matches!(kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast);
        let natural = RouteMsg::new(route.dst, route.kind, route.legs.clone()).scope;
        let mut entry = Route {
            dst: route.dst.trunc().to_string(),
            nhid: route.nexthop,
            from: route.src.map(|src| src.to_string()),
            metric: Some(route.priority).filter(|m| *m != if v4 { 0 } else { 1024 }),
            table: Some(route.table).filter(|t| *t != if of_host { TABLE_LOCAL } else { TABLE_MAIN }),
            kind: super::super::routes::KINDS
                .iter()
                .find(|(_, known)| *known == kind && kind != RouteType::Unicast)
                .map(|(name, _)| (*name).to_owned()),
            tos: Some(route.tos).filter(|tos| *tos != 0),
            scope: (v4 && route.nexthop.is_none() && route.scope != natural)
                .then(|| scope(route.scope))
                .flatten(),
            mtu: Some(route.metrics.get(metric::MTU)).filter(|mtu| *mtu != 0),
            mtu_lock: route.metrics.is_locked(metric::MTU).then_some(true),
            hoplimit: u8::try_from(route.metrics.get(metric::HOPLIMIT)).ok().filter(|h| *h != 0),
            src: route.prefsrc,
            pref: match route.pref {
                1 => Some("high".into()),
                3 => Some("low".into()),
                _ => None,
            },
            expires: route.expires.and_then(|left| u32::try_from(left.as_secs()).ok()),
            ..Route::default()
        };
        if route.nexthop.is_some() {
            return Ok(entry);
        }
        match &route.legs[..] {
            [] => {}
            [only] => {
                let Hop { via, dev, onlink, .. } = self.hop(only)?;
                (entry.via, entry.dev, entry.onlink) = (via, dev, onlink);
            }
            legs => entry.nexthop = legs.iter().map(|leg| self.hop(leg)).collect::<Result<_, _>>()?,
        }
        Ok(entry)
    }

    fn hop(&self, leg: &Leg) -> Result<Hop, &'static str> {
        let name = leg.link.and_then(|index| self.names.get(&index));
        Ok(Hop {
            via: leg.gateway,
            dev: Some(name.ok_or("it leaves by a link that is not in the scenario")?.clone()),
            weight: Some(leg.weight).filter(|w| *w != 1),
            onlink: (leg.flags & leg_flag::ONLINK != 0).then_some(true),
        })
    }

    /// Single next hops first, as groups name them.
    pub(super) fn nexthops(&mut self, objects: &[NexthopMsg]) {
        let group = |o: &&NexthopMsg| matches!(o.kind, NexthopKind::Group { .. });
        for object in objects.iter().filter(|o| !group(o)).chain(objects.iter().filter(group)) {
            match self.nexthop(object) {
                Ok(entry) => self.scenario.nexthop.push(entry),
                Err(why) => self.leave(format_args!("nexthop {object}"), why),
            }
        }
    }

    fn nexthop(&self, object: &NexthopMsg) -> Result<Nexthop, &'static str> {
        let family = object.family.map(|f| if f == Family::V4 { 4 } else { 6 });
        let new = Nexthop { id: object.id, family, ..Nexthop::default() };
        match &object.kind {
            NexthopKind::Hop { encap: Some(_), .. } => Err("it has a tunnel"),
            NexthopKind::Hop { link, gateway, encap: None } => {
                let dev = self.names.get(link).ok_or("its link is not in the scenario")?.clone();
                let onlink = (object.flags & u32::from(leg_flag::ONLINK) != 0).then_some(true);
                Ok(Nexthop { via: *gateway, dev: Some(dev), onlink, ..new })
            }
            NexthopKind::Blackhole => Ok(Nexthop { blackhole: Some(true), ..new }),
            NexthopKind::Fdb => Err("it is a bridge's"),
            NexthopKind::Group { members, resilient } => {
                let known = |id| self.scenario.nexthop.iter().any(|n| n.id == id);
                if !members.iter().all(|m| known(m.id)) {
                    return Err("a member is not in the scenario");
                }
                let weight = |w: u32| u16::try_from(w).map_err(|_| "a weight is over 65535");
                let member = |m: &crate::control::netlink::Member| {
                    Ok(GroupMember { id: m.id, weight: Some(weight(m.weight)?).filter(|w| *w != 1) })
                };
                let group = members.iter().map(member).collect::<Result<_, _>>()?;
                let kind = resilient.map(|_| "resilient".to_owned());
                Ok(Nexthop { group, kind, buckets: resilient.map(|r| r.buckets), family: None, ..new })
            }
        }
    }
}

fn scope(number: u8) -> Option<String> {
    let name = match number {
        0 => "global",
        253 => "link",
        254 => "host",
        _ => return None,
    };
    Some(name.into())
}
