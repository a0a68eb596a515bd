//! A router of both families, and frames of both through it: each half as its own grammar draws it, on the same links.
//!
//! Invariants: the halves agree about which links there are and which of them work; no name or number means two things.
//! Called by `draw`.

use super::lot::Lot;
use super::{ip4, ip6};
use crate::conform::Frame;
use crate::scenario::Scenario;
use crate::wire::ip6::MIN_MTU;

/// What is added to the numbers of IPv4's nexthop objects.
const OBJECTS4: u32 = 1000;

/// A router of which both halves may be `slow`.
pub fn scenario(lot: &mut Lot, slow: bool) -> Scenario {
    // A link that is too small for IPv6 has no gateways of it for IPv4 either.
    let wide = |s: &Scenario| s.link.iter().all(|l| l.mtu.is_none_or(|mtu| mtu >= MIN_MTU));
    let six = std::iter::repeat_with(|| ip6::scenario(lot, slow)).take(100).find(wide).unwrap_or_default();
    // Most routers have their equals among some ten others. Of links that differ IPv6's remain: they are wide enough for it.
    let four = std::iter::repeat_with(|| ip4::scenario(lot, slow)).take(100).find(|four| alike(four, &six));
    merge(four.unwrap_or_default(), six)
}

fn alike(a: &Scenario, b: &Scenario) -> bool {
    let links = |s: &Scenario| s.link.iter().map(|l| (l.name.clone(), l.up, l.carrier)).collect::<Vec<_>>();
    links(a) == links(b)
}

fn merge(four: Scenario, mut both: Scenario) -> Scenario {
    // Gateways of IPv4 routes are on links without IPv6, too.
    both.sysctl.retain(|name, _| !name.ends_with(".disable_ipv6"));
    let known = |s: &Scenario, n: &crate::scenario::Neighbour| {
        s.neighbour.iter().any(|old| (&old.dev, old.to) == (&n.dev, n.to))
    };
    for neighbour in four.neighbour {
        if !known(&both, &neighbour) {
            both.neighbour.push(neighbour);
        }
    }
    for mut nexthop in four.nexthop {
        nexthop.id += OBJECTS4;
        nexthop.group.iter_mut().for_each(|member| member.id += OBJECTS4);
        both.nexthop.push(nexthop);
    }
    for mut route in four.route {
        route.nhid = route.nhid.map(|id| id + OBJECTS4);
        both.route.push(route);
    }
    both.address.extend(four.address);
    both.rule.extend(four.rule);
    for (name, value) in four.sysctl {
        both.sysctl.entry(name).or_insert(value);
    }
    both
}

/// `count` frames of both families in any order.
pub fn frames(scenario: &Scenario, count: usize, lots: [Lot; 3]) -> Vec<Frame> {
    let [mut order, four, six] = lots;
    let half = count / 2;
    let mut four = ip4::frames(scenario, half, four).into_iter();
    let mut six = ip6::frames(scenario, count - half, six).into_iter();
    let next = || {
        let first = if order.chance(50) { four.next() } else { six.next() };
        first.or_else(|| four.next()).or_else(|| six.next())
    };
    std::iter::from_fn(next).collect()
}
