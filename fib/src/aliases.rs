//! What one prefix holds, in the kernel's order, and what an added or deleted route does to it.
//!
//! Invariant: an IPv4 list is ordered by tos descending, metric ascending, then place (fib_find_alias, fib_table_insert); an
//! IPv6 list by source length descending, source, metric, then place (fib6_add_rt2node). An IPv6 multipath route is one
//! entry whose next hops grow and shrink. Pure list work: the writer resolves next hops and publishes.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::group::GroupId;
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::route::{Hop, Hops, Route};

/// Where a route goes among those of its prefix, from the flags of its notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `EXCL|CREATE`. IPv4: nothing with this tos and metric is there; if something is after all (a replayed event), the
    /// first is replaced. IPv6: behind its equals; a gateway joins the multipath route of its source and metric.
    New,
    /// `REPLACE`. IPv4: overwrites the first with this tos and metric. IPv6: overwrites the first of this source and metric
    /// that is, like the new one, able to join a multipath route or not; else the first of this source and metric.
    Replace,
    /// `CREATE|APPEND`. IPv4: behind its equals. IPv6: the next hops not yet there join the multipath route, so the kernel's
    /// complete set and a single next hop both do the right thing.
    Append,
    /// `CREATE` alone. IPv4: before its equals. IPv6: as [`Place::New`].
    Prepend,
}

/// An entry of the list. `body` has its `dst` cleared, so that equal routes to different places share one body.
#[derive(Clone, Debug)]
pub(crate) struct Alias<A> {
    pub(crate) body: Arc<Route<A>>,
    pub(crate) group: Option<GroupId>,
}

/// What became of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is as before.
    Nothing,
    /// An entry has gone.
    Removed,
    /// The entry at this index is new or has other next hops: its group must be resolved.
    Resolve(usize),
}

/// A route without its destination.
fn body<A: Ip>(route: Route<A>) -> Arc<Route<A>> {
    Arc::new(Route { dst: Prefix::ANY, ..route })
}

/// An entry whose group is known already.
pub(crate) fn alias<A: Ip>(route: &Route<A>, group: Option<GroupId>) -> Alias<A> {
    Alias { body: body(route.clone()), group }
}

/// What the list is ordered by; equals keep their place.
fn order<A: Ip>(r: &Route<A>) -> impl Ord + use<A> {
    (Reverse(r.src.len()), r.src.addr(), Reverse(r.tos), r.metric)
}

/// Brings a list into order; equals keep theirs.
pub(crate) fn sort<A: Ip>(list: &mut [Alias<A>]) {
    list.sort_by_key(|alias| order(&alias.body));
}

/// Puts `route` into the list.
pub(crate) fn insert<A: Ip>(list: &mut Vec<Alias<A>>, route: Route<A>, place: Place) -> Change {
    let new = Alias { body: body(route), group: None };
    let start = list.partition_point(|alias| order(&alias.body) < order(&new.body));
    let end = list.partition_point(|alias| order(&alias.body) <= order(&new.body));
    let equals = list.get(start..end).unwrap_or_default();
    if equals.iter().any(|alias| alias.body == new.body) {
        return Change::Nothing;
    }
    if A::V6 { insert_v6(list, start, end, new, place) } else { insert_v4(list, start, end, new, place) }
}

/// fib_table_insert, past the checks that the kernel has made already.
fn insert_v4<A: Ip>(
    list: &mut Vec<Alias<A>>,
    start: usize,
    end: usize,
    new: Alias<A>,
    place: Place,
) -> Change {
    let at = if place == Place::Append { end } else { start };
    match list.get_mut(at) {
        Some(first) if start < end && matches!(place, Place::New | Place::Replace) => *first = new,
        _ => list.insert(at, new),
    }
    Change::Resolve(at)
}

/// fib6_add_rt2node.
fn insert_v6<A: Ip>(
    list: &mut Vec<Alias<A>>,
    start: usize,
    end: usize,
    new: Alias<A>,
    place: Place,
) -> Change {
    let equals = list.get_mut(start..end).unwrap_or_default();
    let joins = can_join(&new.body);
    let same_kind = equals.iter().position(|alias| can_join(&alias.body) == joins);
    if place == Place::Replace && !equals.is_empty() {
        let at = same_kind.unwrap_or(0);
        if let Some(old) = equals.get_mut(at) {
            *old = new;
        }
        return Change::Resolve(start + at);
    }
    let twin =
        if joins { same_kind } else { equals.iter().position(|a| same_hops(&a.body.hops, &new.body.hops)) };
    let Some((at, old)) = twin.and_then(|at| Some((at, equals.get_mut(at)?))) else {
        list.insert(end, new);
        return Change::Resolve(end);
    };
    let mut merged = Route::clone(&old.body);
    let grown = joins && append_hops(&mut merged.hops, &new.body.hops);
    if !grown {
        // The same route once more: the kernel refreshes its lifetime and MTU (rt6_duplicate_nexthop branch).
        merged =
            Route { expires: new.body.expires, mtu: new.body.mtu, mtu_lock: new.body.mtu_lock, ..merged };
    }
    if merged == *old.body {
        return Change::Nothing;
    }
    *old = Alias { body: Arc::new(merged), group: None };
    Change::Resolve(start + at)
}

/// Can it be part of a multipath route? rt6_qualify_for_ecmp: a gateway, not from a router advertisement, no object.
fn can_join<A>(route: &Route<A>) -> bool {
    const RTPROT_RA: u8 = 9;
    match &route.hops {
        Hops::List(hops) => {
            !hops.is_empty() && route.protocol != RTPROT_RA && hops.iter().all(|hop| hop.via.is_some())
        }
        Hops::None | Hops::Object(_) => false,
    }
}

/// The same interfaces and gateways, whatever the weights.
fn same_hops(a: &Hops, b: &Hops) -> bool {
    match (a, b) {
        (Hops::List(a), Hops::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a.oif, a.via) == (b.oif, b.via))
        }
        _ => a == b,
    }
}

/// Adds the hops of `new` that are not in `hops`. True if there were any.
fn append_hops(hops: &mut Hops, new: &Hops) -> bool {
    let (Hops::List(hops), Hops::List(new)) = (hops, new) else { return false };
    let before = hops.len();
    for hop in new {
        if !hops.iter().any(|old| (old.oif, old.via) == (hop.oif, hop.via)) {
            hops.push(hop.clone());
        }
    }
    hops.len() > before
}

/// Takes `route` out of the list, matching as the kernel does for RTM_DELROUTE. An entry that equals the route is preferred to
/// one that only matches, because a notification carries the whole content of what went.
pub(crate) fn remove<A: Ip>(list: &mut Vec<Alias<A>>, route: &Route<A>) -> Change {
    let wanted = body(route.clone());
    // The time left differs from one message to the next.
    let equal = |alias: &Alias<A>| Route { expires: wanted.expires, ..Route::clone(&alias.body) } == *wanted;
    let matching =
        |alias: &Alias<A>| if A::V6 { fits_v6(&alias.body, &wanted) } else { fits_v4(&alias.body, &wanted) };
    let Some(at) = list.iter().position(equal).or_else(|| list.iter().position(matching)) else {
        return Change::Nothing;
    };
    let left = list.get(at).and_then(|alias| without_legs(&alias.body, &wanted));
    match (left, list.get_mut(at)) {
        (Some(left), Some(alias)) => {
            *alias = Alias { body: Arc::new(left), group: None };
            Change::Resolve(at)
        }
        _ => {
            list.remove(at);
            Change::Removed
        }
    }
}

/// fib_table_delete with fib_nh_match: all hops must match, in order.
fn fits_v4<A: Ip>(have: &Route<A>, want: &Route<A>) -> bool {
    const SCOPE_NOWHERE: u8 = 255;
    let hops = match (&have.hops, &want.hops) {
        (Hops::List(have), Hops::List(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| is_leg(have, want))
        }
        (have, want) => *want == Hops::None || have == want,
    };
    hops && have.tos == want.tos
        && have.kind == want.kind
        && (want.metric == 0 || have.metric == want.metric)
        && (want.scope == SCOPE_NOWHERE || have.scope == want.scope)
        && (want.protocol == 0 || have.protocol == want.protocol)
        && (want.prefsrc.is_none() || have.prefsrc == want.prefsrc)
        && (want.mtu == 0 || have.mtu == want.mtu)
}

/// ip6_route_del: the type is not compared, and one leg is enough.
fn fits_v6<A: Ip>(have: &Route<A>, want: &Route<A>) -> bool {
    let hops = match (&have.hops, &want.hops) {
        (Hops::List(have), Hops::List(want)) => {
            want.iter().any(|want| have.iter().any(|have| is_leg(have, want)))
        }
        (have, want) => *want == Hops::None || have == want,
    };
    hops && have.src == want.src
        && (want.metric == 0 || have.metric == want.metric)
        && (want.protocol == 0 || have.protocol == want.protocol)
}

fn is_leg(have: &Hop, want: &Hop) -> bool {
    (want.oif == 0 || have.oif == want.oif) && (want.via.is_none() || have.via == want.via)
}

/// An IPv6 multipath route without the legs that are deleted; `None` if all of it goes, as it does without a gateway.
fn without_legs<A: Ip>(have: &Route<A>, want: &Route<A>) -> Option<Route<A>> {
    let (Hops::List(legs), Hops::List(gone)) = (&have.hops, &want.hops) else { return None };
    if !A::V6 || gone.iter().any(|leg| leg.via.is_none()) {
        return None;
    }
    let left: Vec<Hop> =
        legs.iter().filter(|leg| !gone.iter().any(|gone| is_leg(leg, gone))).cloned().collect();
    (!left.is_empty()).then(|| Route { hops: Hops::List(left), ..have.clone() })
}

#[cfg(test)]
mod tests;
