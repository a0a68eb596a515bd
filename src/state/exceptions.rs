//! What the host was told of single destinations: path MTUs and better first hops, each an exception of one next hop.
//! RFC 8201 4, RFC 1191 6.3, RFC 4861 8.3; Linux: rt6_exception, fib_nh_exception.
//!
//! The kernel keeps them beside the next hop and asks when a route has been chosen. Here they stand in one table by
//! destination, each with the next hop that it belongs to, so that a router that was told nothing asks nothing.

use ahash::AHashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use warren_fib::{Group, Ip, Member, Path, RouteType};

/// A next hop by what tells it from others. Routes share that of a nexthop object, which its id alone tells; in IPv4 those
/// that differ in nothing but their prefix share theirs. Linux: fib6_nh, fib_info.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leg {
    /// Id of the nexthop object; 0 if it is a route's own.
    pub object: u32,
    /// Table of the route; 0 of a nexthop object.
    pub table: u32,
    /// Its metric; 0 of a nexthop object.
    pub metric: u32,
    /// Length of its prefix; 0 in IPv4 and of a nexthop object.
    pub prefix_len: u8,
    /// Interface index.
    pub oif: u32,
    /// The gateway of the route, not one that a redirect names.
    pub via: Option<IpAddr>,
    /// How many next hops of the route that are like it come before it: IPv4 takes the same one several times.
    pub nth: u8,
    /// All else that an IPv4 route shares with its like, hashed; 0 in IPv6 and of a nexthop object.
    pub info: u64,
}

impl Leg {
    /// The leg `member` of `group`, by which `path` leads. O(members).
    pub fn new<A: Ip>(path: &Path<A>, prefix_len: u8, group: &Group, member: &Member) -> Leg {
        let hop = (member.oif, member.via);
        if member.object != 0 {
            return Leg::of_object(member.object, hop);
        }
        let before = group.members.iter().take_while(|m| !std::ptr::eq(*m, member));
        let nth = before.filter(|m| (m.oif, m.via) == hop).count().min(255) as u8;
        let metrics = (path.mtu, path.mtu_lock, path.hoplimit);
        let info = Leg::info((path.kind, path.protocol, path.scope, path.prefsrc), metrics, hops(group));
        Leg { nth, ..Leg::of_route::<A>(path.table, path.metric, prefix_len, hop, info) }
    }

    /// The next hop, by interface index and gateway, that is a nexthop object.
    pub fn of_object(object: u32, (oif, via): (u32, Option<IpAddr>)) -> Leg {
        Leg { object, table: 0, metric: 0, prefix_len: 0, oif, via, nth: 0, info: 0 }
    }

    /// The first such next hop of a route's own.
    pub fn of_route<A: Ip>(
        table: u32,
        metric: u32,
        prefix_len: u8,
        (oif, via): (u32, Option<IpAddr>),
        info: u64,
    ) -> Leg {
        let prefix_len = if A::V6 { prefix_len } else { 0 };
        Leg { object: 0, table, metric, prefix_len, oif, via, nth: 0, info }
    }

    /// What IPv4 routes have to have in common to share their next hops: type, protocol, scope and source; MTU, whether it is
    /// locked, and hop limit; all next hops. 0 in IPv6, whose routes share none. Linux: fib_find_info.
    pub fn info<A: Ip>(
        kind: (RouteType, u8, u8, Option<A>),
        metrics: (u32, bool, u8),
        hops: impl Iterator<Item = (u32, Option<IpAddr>)>,
    ) -> u64 {
        if A::V6 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (kind, metrics).hash(&mut hasher);
        hops.for_each(|hop| hop.hash(&mut hasher));
        hasher.finish()
    }
}

fn hops(group: &Group) -> impl Iterator<Item = (u32, Option<IpAddr>)> {
    group.members.iter().map(|m| (m.oif, m.via))
}

/// What is known of one destination beyond its route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception<A> {
    /// Whose next hop this is an exception of.
    pub leg: Leg,
    /// Of a source-specific route: the source that it is for, or the address of the route's source prefix.
    pub src: Option<A>,
    /// The path MTU in bytes; 0 if none was told.
    pub mtu: u32,
    /// IPv4: the path MTU was told below the least that is believed, and counts for all packets (`min_pmtu`).
    pub locked: bool,
    /// The better first hop; the destination itself if that is on the link. `None` if none was told.
    pub gateway: Option<A>,
    /// When it ends, in nanoseconds of the router's clock; `u64::MAX` for never.
    pub expires: u64,
}

/// All exceptions of a family. A clone shares them.
#[derive(Clone, Debug)]
pub struct Exceptions<A>(Arc<AHashMap<A, Vec<Exception<A>>>>);

impl<A> Default for Exceptions<A> {
    fn default() -> Self {
        Exceptions(Arc::default())
    }
}

impl<A: Ip> Exceptions<A> {
    /// Whether the host was told nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many destinations there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether anything was told of a destination. O(1).
    pub fn contains(&self, dst: A) -> bool {
        !self.0.is_empty() && self.0.contains_key(&dst)
    }

    /// What `leg` has for a destination, of a source-specific route for `src`. O(exceptions of the destination).
    /// Linux: rt6_find_cached_rt, find_exception.
    pub fn find(&self, dst: A, src: Option<A>, leg: &Leg, now: u64) -> Option<&Exception<A>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&dst)?.iter().find(|e| e.leg == *leg && e.src == src && e.expires > now)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (A, &Exception<A>)> {
        self.0.iter().flat_map(|(dst, all)| all.iter().map(move |e| (*dst, e)))
    }

    /// Notes an exception in the place of the one that its leg and source had for the destination.
    pub fn set(&mut self, dst: A, exception: Exception<A>) {
        let of_dst = Arc::make_mut(&mut self.0).entry(dst).or_default();
        match of_dst.iter_mut().find(|e| (e.leg, e.src) == (exception.leg, exception.src)) {
            Some(place) => *place = exception,
            None => of_dst.push(exception),
        }
    }

    /// Forgets those that have ended.
    pub fn age(&mut self, now: u64) {
        Arc::make_mut(&mut self.0).retain(|_, all| {
            all.retain(|e| e.expires > now);
            !all.is_empty()
        });
    }
}

impl<A: Ip> FromIterator<(A, Exception<A>)> for Exceptions<A> {
    fn from_iter<I: IntoIterator<Item = (A, Exception<A>)>>(all: I) -> Self {
        let mut exceptions = Exceptions::default();
        all.into_iter().for_each(|(dst, exception)| exceptions.set(dst, exception));
        exceptions
    }
}

impl<A: Ip> PartialEq for Exceptions<A> {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn exception(oif: u32, mtu: u32, expires: u64) -> Exception<Ipv4Addr> {
        let leg = Leg { object: 0, table: 254, metric: 0, prefix_len: 0, oif, via: None, nth: 0, info: 0 };
        Exception { leg, src: None, mtu, locked: false, gateway: None, expires }
    }

    #[test]
    fn a_destination_has_one_exception_for_each_leg_until_it_ends() {
        let mut all = Exceptions::default();
        assert!(all.is_empty() && !all.contains(DST));
        let (first, second) = (exception(1, 1400, 10), exception(2, 1300, u64::MAX));
        all.set(DST, first);
        all.set(DST, second);
        let copy = all.clone();
        all.set(DST, exception(1, 1280, 20));
        assert_eq!(all.find(DST, None, &first.leg, 19).map(|e| e.mtu), Some(1280));
        assert_eq!(all.find(DST, None, &first.leg, 20), None, "it has ended");
        assert_eq!(all.find(DST, Some(DST), &first.leg, 0), None, "for no source");
        assert_eq!(copy.find(DST, None, &first.leg, 9).map(|e| e.mtu), Some(1400), "a copy stays as it is");
        all.age(20);
        assert_eq!(all.iter().map(|(_, e)| *e).collect::<Vec<_>>(), [second]);
        assert_eq!(all, [(DST, second)].into_iter().collect());
        assert_eq!(all.len(), 1);
    }
}
