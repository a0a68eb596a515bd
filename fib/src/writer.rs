//! The writer: every change to the tables goes through it, from one thread.
//!
//! Invariant: a change is visible to lookups as soon as its call returns, each address answering as before or as after;
//! after an error nothing has changed. What readers may still see waits in the limbo until [`Writer::publish`] finds that
//! they have moved on. Called by whatever follows the kernel (or plays a scenario).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

mod family;
mod list;
mod nexthops;

pub(crate) use family::Family;
pub use nexthops::LinkState;
use nexthops::Nexthops;

use crate::adjacency::Neighbour;
use crate::aliases::Place;
use crate::error::FibError;
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::publish::{Domain, Limbo};
use crate::route::{NexthopObject, Route};
use crate::view::{Fib, READERS_MAX, State};

/// Where changes go: the published state, and the limbo for what they replace.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    pub(crate) state: &'a State,
    pub(crate) limbo: &'a Limbo,
}

/// The writer's half of both families.
#[derive(Debug)]
pub struct Families {
    pub(crate) v4: Family<Ipv4Addr>,
    pub(crate) v6: Family<Ipv6Addr>,
}

/// How far the sweep of withdrawn routes has come.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    V4(Option<(u32, Prefix<Ipv4Addr>)>),
    V6(Option<(u32, Prefix<Ipv6Addr>)>),
}

/// The only one who changes the tables.
#[derive(Debug)]
pub struct Writer {
    families: Families,
    nexthops: Nexthops,
    sweep: Sweep,
    /// Counts the records of neighbours.
    neighbour_records: u64,
    /// Changes of routes in this epoch.
    changes: u32,
    state: Arc<State>,
    limbo: Limbo,
}

/// Changes of routes after which a new epoch begins in any case.
const CHANGES_MAX: u32 = 256;

/// Makes empty tables for up to `max_readers` readers at a time (1 to [`READERS_MAX`]).
pub fn new(max_readers: usize) -> (Writer, Fib) {
    let readers_max = max_readers.clamp(1, READERS_MAX);
    let (domain, limbo) = Domain::new(readers_max);
    let state = Arc::new(State::new(domain, readers_max));
    let writer = Writer {
        families: Families { v4: Family::new(), v6: Family::new() },
        nexthops: Nexthops::new(),
        sweep: Sweep::V4(None),
        neighbour_records: 0,
        changes: 0,
        state: Arc::clone(&state),
        limbo,
    };
    (writer, Fib { state })
}

impl Writer {
    /// Adds a route where `place` says. Costs what the prefix holds, not what the table holds.
    ///
    /// Fails if the route names an unknown nexthop object, or a limit is reached.
    pub fn insert<A: Ip>(&mut self, route: Route<A>, place: Place) -> Result<(), FibError> {
        let out = Out { state: &self.state, limbo: &self.limbo };
        let done = A::family_mut(&mut self.families).insert(route, place, &mut self.nexthops, out);
        self.note_change();
        done
    }

    /// Deletes the route, or the legs of an IPv6 multipath route, that the kernel would delete for this message. False if
    /// there is none. Fails only if what is left of a multipath route hits a limit.
    pub fn remove<A: Ip>(&mut self, route: &Route<A>) -> Result<bool, FibError> {
        let out = Out { state: &self.state, limbo: &self.limbo };
        let done = A::family_mut(&mut self.families).remove(route, &mut self.nexthops, out);
        self.note_change();
        done
    }

    /// All routes of a family in the order of a kernel dump: by table, then address. Routes that wait to be withdrawn are
    /// gone already.
    pub fn routes<A: Ip>(&self) -> impl Iterator<Item = Route<A>> {
        let all = A::family(&self.families).rib.iter();
        let live = all.filter(|(_, alias)| !self.nexthops.is_condemned(alias.group));
        live.map(|(dst, alias)| Route { dst, ..Route::clone(&alias.body) })
    }

    /// Adds or replaces a nexthop object. All routes that use it, by itself or in a group, follow at once.
    pub fn set_nexthop(&mut self, object: NexthopObject) -> Result<(), FibError> {
        self.nexthops.set_nexthop(object, Out { state: &self.state, limbo: &self.limbo })
    }

    /// Removes a nexthop object as the kernel does: in silence its routes go, groups shrink, and a group without members
    /// goes too. Lookups see it at once, [`withdraw`](Writer::withdraw) clears up. False if there is no such object.
    pub fn remove_nexthop(&mut self, id: u32) -> bool {
        self.nexthops.remove_nexthop(id, Out { state: &self.state, limbo: &self.limbo })
    }

    /// Notes the state of an interface. Groups that use it follow; when it goes down, routes that lose their last leg are
    /// dead at once and for good, except IPv4 local routes. Nexthop objects on it go when it goes down or loses its carrier.
    /// An interface that was never named counts as up.
    pub fn set_link(&mut self, link: LinkState) {
        self.nexthops.set_link(link, Out { state: &self.state, limbo: &self.limbo });
    }

    /// Notes that an interface has got an IPv4 address, or lost the last one: then all IPv4 routes through it go, local ones
    /// too, and nothing announces it. Legs of routes that stay are dead until an address or the link comes (again).
    pub fn set_addressed4(&mut self, index: u32, addressed: bool) {
        self.nexthops.set_addressed4(index, addressed, Out { state: &self.state, limbo: &self.limbo });
    }

    /// Notes that an interface has gone. All IPv4 routes with a leg on it go, local ones too.
    pub fn remove_link(&mut self, index: u32) {
        self.nexthops.remove_link(index, Out { state: &self.state, limbo: &self.limbo });
    }

    /// Notes what is known of a neighbour; `None` when its entry has gone. Two stores at most.
    pub fn set_neighbour(&mut self, oif: u32, addr: IpAddr, neighbour: Option<Neighbour>) {
        self.neighbour_records += 1;
        self.state.neighbours.set((oif, addr), neighbour, self.neighbour_records, &self.limbo);
        self.nexthops.set_neighbour(oif, addr, neighbour, Out { state: &self.state, limbo: &self.limbo });
    }

    /// Removes routes that are dead for good, looking at up to `budget` prefixes. True while there is more to do.
    ///
    /// Lookups pass over such routes already; clearing up gives them their speed back.
    pub fn withdraw(&mut self, budget: usize) -> bool {
        let Writer { families, nexthops, sweep, state, limbo, .. } = self;
        let out = Out { state, limbo };
        for _ in 0..budget {
            if nexthops.condemned() == 0 {
                break;
            }
            *sweep = match *sweep {
                Sweep::V4(place) => match step(&mut families.v4, place, nexthops, out) {
                    None => Sweep::V6(None),
                    place => Sweep::V4(place),
                },
                Sweep::V6(place) => match step(&mut families.v6, place, nexthops, out) {
                    None => Sweep::V4(None),
                    place => Sweep::V6(place),
                },
            };
        }
        nexthops.condemned() > 0
    }

    /// Makes the IPv4 tables local and main answer as one, as the kernel does until the first custom rule: the longest prefix
    /// of both wins, and at equal length local comes first. Off at the start. Costs as much as building both anew.
    ///
    /// Fails if there are not enough path sets to build the new tables beside the old.
    pub fn merge_local_main(&mut self, merged: bool) -> Result<(), FibError> {
        let out = Out { state: &self.state, limbo: &self.limbo };
        self.families.v4.merge(merged, &mut self.nexthops, out)
    }

    /// Bytes that lookups of a family's longest prefix may touch: roots, blocks and nodes of all large tables. Looks at every root.
    pub fn memory<A: Ip>(&self) -> usize {
        A::family(&self.families).memory()
    }

    /// Begins a new epoch after many changes too: what they replaced would pile up until the next call of `publish`.
    fn note_change(&mut self) {
        self.changes += 1;
        if self.changes >= CHANGES_MAX {
            self.publish();
        }
    }

    /// Begins a new epoch and frees what no reader can see any more. To be called after each round of changes, and from time
    /// to time while [`limbo_len`](Writer::limbo_len) is not 0.
    pub fn publish(&mut self) {
        self.changes = 0;
        self.limbo.advance();
        self.limbo.reclaim();
    }

    /// How many replaced records and ids wait for readers to move on.
    pub fn limbo_len(&self) -> usize {
        self.limbo.len()
    }
}

/// Sweeps the next prefix behind `place`, and gives its place; `None` at the end.
fn step<A: Ip>(
    family: &mut Family<A>,
    place: Option<(u32, Prefix<A>)>,
    nexthops: &mut Nexthops,
    out: Out<'_>,
) -> Option<(u32, Prefix<A>)> {
    let (table, dst) = family.rib.after(place)?;
    family.sweep(table, dst, nexthops, out);
    Some((table, dst))
}

#[cfg(test)]
mod tests;
