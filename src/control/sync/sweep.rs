//! Compares all routes of a family with a dump that is read in slices.
//!
//! Invariant: memory is a small key for each prefix seen, and the routes only of those that differ. A dump is not one state: in
//! an audit a difference counts at the end, if no event has touched its prefix since the dump began; a load repairs at once,
//! because it applies the events afterwards. Called by `pass`.

use std::net::IpAddr;

use ahash::AHashSet;
use warren_fib::{Hops, Prefix, Route};

use super::convert::Addr;
use crate::state::{StateError, Writer};

/// How far the ends of a route's life may lie apart, in nanoseconds: dumps tell the time left.
const DRIFT: u64 = 2_000_000_000;

/// Table, prefix, and whether the routes are for some sources only: those lie elsewhere in a dump.
pub(super) type Key<A> = (u32, Prefix<A>, bool);

/// One comparison.
#[derive(Debug)]
pub(super) struct Sweep<A> {
    repair: bool,
    seen: AHashSet<Key<A>>,
    last: Option<(Key<A>, Vec<Route<A>>)>,
    pub(super) suspects: Vec<(Key<A>, Vec<Route<A>>)>,
}

/// How two lists stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// For forwarding they are the same.
    Same,
    /// Only the ends of lives differ, which router advertisements move in silence.
    Aged,
    /// They differ.
    Different,
}

impl<A: Addr> Sweep<A> {
    /// An empty one; `repair` makes the writer follow the dump at once.
    pub(super) fn new(repair: bool) -> Self {
        Self { repair, seen: AHashSet::new(), last: None, suspects: Vec::new() }
    }

    /// How many prefixes were seen.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// The next route of the dump.
    pub(super) fn take(&mut self, route: Route<A>, writer: &mut Writer) -> Result<(), StateError> {
        let key = (route.table, route.dst, !route.src.is_default());
        match &mut self.last {
            // Two that differ only in what forwarding does not look at.
            Some((last, list)) if *last == key => {
                if list.last() != Some(&route) {
                    list.push(route);
                }
                Ok(())
            }
            _ => {
                let before = self.last.replace((key, vec![route]));
                before.map_or(Ok(()), |(key, list)| self.close(key, list, writer))
            }
        }
    }

    /// The dump has ended.
    pub(super) fn end(&mut self, writer: &mut Writer) -> Result<(), StateError> {
        self.last.take().map_or(Ok(()), |(key, list)| self.close(key, list, writer))
    }

    fn close(&mut self, key: Key<A>, list: Vec<Route<A>>, writer: &mut Writer) -> Result<(), StateError> {
        self.seen.insert(key);
        if compare(&part(writer, key), &list) == Compared::Same {
            return Ok(());
        }
        if self.repair {
            return repair(writer, key, &list);
        }
        self.suspects.push((key, list));
        Ok(())
    }

    /// What the mirror has and the dump did not show. Linear in the number of prefixes.
    pub(super) fn surplus(&self, writer: &Writer) -> Vec<Key<A>> {
        let parts = writer.prefixes::<A>().flat_map(|(table, dst)| [(table, dst, false), (table, dst, true)]);
        let unseen = parts.filter(|key| (A::V6 || !key.2) && !self.seen.contains(key));
        unseen.filter(|key| !part(writer, *key).is_empty()).collect()
    }
}

/// What the mirror has for a key.
pub(super) fn part<A: Addr>(writer: &Writer, (table, dst, sourced): Key<A>) -> Vec<Route<A>> {
    let mut routes = writer.routes_at(table, dst);
    routes.retain(|route| route.src.is_default() != sourced);
    routes
}

/// Makes the mirror have these routes for a key.
pub(super) fn repair<A: Addr>(
    writer: &mut Writer,
    (table, dst, sourced): Key<A>,
    routes: &[Route<A>],
) -> Result<(), StateError> {
    let others = part(writer, (table, dst, !sourced));
    let all: Vec<_> = others.iter().chain(routes).cloned().collect();
    A::set(writer, table, dst, &all)
}

/// Compares what the mirror has with what a dump shows.
pub(super) fn compare<A: Addr>(have: &[Route<A>], dumped: &[Route<A>]) -> Compared {
    let have: Vec<&Route<A>> = have.iter().filter(|route| !may_be_hidden(route, have, dumped)).collect();
    if have.len() != dumped.len() || have.iter().zip(dumped).any(|(a, b)| lasting(a) != lasting(b)) {
        return Compared::Different;
    }
    let aged = have.iter().zip(dumped).any(|(a, b)| a.expires.abs_diff(b.expires) > DRIFT);
    if aged { Compared::Aged } else { Compared::Same }
}

/// What can be compared: not the end of its life, nor the weight of an IPv6 route's only leg, which dumps do not show.
fn lasting<A: Addr>(route: &Route<A>) -> Route<A> {
    let mut route = Route { expires: 0, ..route.clone() };
    if let Hops::List(hops) = &mut route.hops
        && let ([hop], true) = (hops.as_mut_slice(), A::V6)
    {
        hop.weight = 1;
    }
    route
}

/// The kernel's IPv6 dump leaves out a route without gateway that lies between the legs of a multipath route of its metric
/// (it goes on behind the last leg), though lookups find it.
fn may_be_hidden<A: Addr>(route: &Route<A>, have: &[Route<A>], dumped: &[Route<A>]) -> bool {
    let legs = |route: &Route<A>| match &route.hops {
        Hops::List(hops) => hops.len(),
        Hops::None | Hops::Object(_) => 0,
    };
    let gateway = matches!(&route.hops, Hops::List(hops) if hops.iter().any(|hop| hop.via.is_some()));
    A::V6
        && !gateway
        && !dumped.contains(route)
        && have.iter().any(|other| other.metric == route.metric && other.src == route.src && legs(other) > 1)
}

/// A difference in words.
pub(super) fn describe<A: Addr>((table, dst, _): Key<A>, have: &[Route<A>], dumped: &[Route<A>]) -> String {
    format!("route {dst} table {table}: the kernel has [{}], the mirror had [{}]", words(dumped), words(have))
}

fn words<A: Addr>(routes: &[Route<A>]) -> String {
    let one = |route: &Route<A>| {
        let hops = match &route.hops {
            Hops::None => String::new(),
            Hops::Object(id) => format!(" nhid {id}"),
            Hops::List(hops) => hops.iter().map(hop).collect(),
        };
        format!(
            "{:?} metric {} tos {} mtu {} proto {} src {:?}{hops}",
            route.kind,
            route.metric,
            route.tos,
            route.mtu,
            route.protocol,
            route.prefsrc.map(Into::<IpAddr>::into),
        )
    };
    routes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn hop(hop: &warren_fib::Hop) -> String {
    let via = hop.via.map(|via| format!(" via {via}")).unwrap_or_default();
    format!(" nexthop{via} dev #{} weight {}", hop.oif, hop.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v6(hops: &[(u32, bool)]) -> Route<Ipv6Addr> {
        let hop = |&(oif, via): &(u32, bool)| {
            warren_fib::Hop::new(oif, via.then_some(Ipv6Addr::from(u128::from(oif)).into()))
        };
        Route::new("2001:db8::/32".parse().unwrap(), Hops::List(hops.iter().map(hop).collect()))
    }

    #[test]
    fn order_and_content_count_but_not_a_moment_of_life() {
        let (a, b) = (v6(&[(1, true)]), v6(&[(2, false)]));
        assert_eq!(compare(&[a.clone(), b.clone()], &[a.clone(), b.clone()]), Compared::Same);
        assert_eq!(compare(&[a.clone(), b.clone()], &[b.clone(), a.clone()]), Compared::Different);
        assert_eq!(compare(&[a.clone()], &[]), Compared::Different);
        let (soon, later) = (Route { expires: 5, ..a.clone() }, Route { expires: 6, ..a.clone() });
        assert_eq!(compare(&[soon.clone()], &[later]), Compared::Same);
        assert_eq!(compare(&[soon], &[a]), Compared::Aged);
    }

    #[test]
    fn a_route_that_the_dump_hides_is_no_difference() {
        let (legs, on_link) = (v6(&[(1, true), (2, true)]), v6(&[(3, false)]));
        assert_eq!(compare(&[legs.clone(), on_link.clone()], &[legs.clone()]), Compared::Same);
        let other = Route { metric: 7, ..on_link };
        assert_eq!(compare(&[other, legs.clone()], &[legs]), Compared::Different);
    }

    #[test]
    fn a_dump_makes_an_empty_mirror_equal_and_finds_what_is_too_much() {
        let (mut writer, _shared) = Writer::new(1, 0).unwrap();
        let route = |dst: &str, metric| Route {
            metric,
            ..Route::<Ipv4Addr>::new(dst.parse().unwrap(), Hops::one(2, None))
        };
        let dump = [route("10.0.0.0/8", 0), route("10.0.0.0/8", 5), route("10.1.0.0/16", 0)];
        let run = |writer: &mut Writer, repair, dump: &[Route<Ipv4Addr>]| {
            let mut sweep = Sweep::new(repair);
            dump.iter().for_each(|route| sweep.take(route.clone(), writer).unwrap());
            sweep.end(writer).unwrap();
            sweep
        };
        assert!(run(&mut writer, true, &dump).surplus(&writer).is_empty());
        assert_eq!(writer.routes::<Ipv4Addr>().count(), 3);
        let sweep = run(&mut writer, false, &dump[1..]);
        assert_eq!((sweep.suspects.len(), sweep.surplus(&writer).len()), (1, 0));
        let sweep = run(&mut writer, false, &dump[..2]);
        assert_eq!((sweep.suspects.len(), sweep.surplus(&writer).len()), (0, 1));
    }
}
