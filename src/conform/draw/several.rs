//! Routes with several next hops, in the three ways that a kernel knows. Called by the `flows` of each family.

use super::Lot;
use crate::scenario::{GroupMember, Hop, Nexthop, Route, Scenario};

/// How a route has several next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// In the route itself.
    Legs,
    /// In a nexthop group.
    Group,
    /// In a resilient group.
    Resilient,
}

/// A route through these next hops, with its objects, whose numbers begin at `first`.
pub fn route(lot: &mut Lot, s: &mut Scenario, first: u32, dst: String, (hops, several): (Vec<Hop>, Several)) {
    let mut route = Route { dst, ..Route::default() };
    if several == Several::Legs {
        route.nexthop = hops;
    } else {
        let mut group = Vec::new();
        for (hop, id) in hops.into_iter().zip(first + 1..) {
            group.push(GroupMember { id, weight: hop.weight });
            s.nexthop.push(Nexthop { id, via: hop.via, dev: hop.dev, ..Nexthop::default() });
        }
        let resilient = several == Several::Resilient;
        let kind = resilient.then(|| "resilient".to_owned());
        let buckets = resilient.then(|| lot.one(&[8, 13, 64, 256]));
        s.nexthop.push(Nexthop { id: first, group, kind, buckets, ..Nexthop::default() });
        route.nhid = Some(first);
    }
    s.route.push(route);
}
