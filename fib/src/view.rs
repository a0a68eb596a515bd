//! What workers see: a reader, and the view it has of the published state during one batch.
//!
//! Invariant: nothing here waits, allocates or takes a lock, and nothing a view gives out outlives its batch. Called by
//! workers at batch boundaries ([`Reader::pin`]) and by the forwarding path for each packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::adjacency::{Adjacency, AdjacencyId};
use crate::arena::Arena;
use crate::direct::Direct;
use crate::error::FibError;
use crate::forest::Forest;
use crate::group::{Group, GroupId};
use crate::ip::{Ip, sealed};
use crate::lpm::{self, Lpm};
use crate::neighbours::{NeighbourEntry, Neighbours};
use crate::path::{PathSet, PathSetId};
use crate::publish::{Domain, Guard, Line, Shared};
use crate::writer::{Families, Family};

/// Most readers that a FIB can have at a time.
pub const READERS_MAX: usize = 256;

/// All that is published.
#[derive(Debug)]
pub struct State {
    pub(crate) domain: Arc<Domain>,
    pub(crate) readers_max: usize,
    pub(crate) v4: Tables<Ipv4Addr>,
    pub(crate) v6: Tables<Ipv6Addr>,
    pub(crate) groups: Arena<Group>,
    pub(crate) adjacencies: Arena<Adjacency>,
    pub(crate) neighbours: Neighbours,
}

/// One family's tables and path sets.
#[derive(Debug)]
pub struct Tables<A: Ip> {
    /// Tables by id, ascending. Replaced when a table comes or goes.
    pub(crate) directory: Shared<Directory<A>>,
    pub(crate) sets: Arena<PathSet<A>>,
}

/// Tables by id, ascending.
pub(crate) type Directory<A> = Box<[(u32, Arc<Lpm<A>>)]>;

impl sealed::Half for Ipv4Addr {
    type Large = Direct;

    fn tables(state: &State) -> &Tables<Self> {
        &state.v4
    }
    fn family(families: &Families) -> &Family<Self> {
        &families.v4
    }
    fn family_mut(families: &mut Families) -> &mut Family<Self> {
        &mut families.v4
    }
}

impl sealed::Half for Ipv6Addr {
    type Large = Forest;

    fn tables(state: &State) -> &Tables<Self> {
        &state.v6
    }
    fn family(families: &Families) -> &Family<Self> {
        &families.v6
    }
    fn family_mut(families: &mut Families) -> &mut Family<Self> {
        &mut families.v6
    }
}

impl State {
    pub(crate) fn new(domain: Arc<Domain>, readers_max: usize) -> Self {
        State {
            domain,
            readers_max,
            v4: Tables { directory: Shared::empty(), sets: Arena::new() },
            v6: Tables { directory: Shared::empty(), sets: Arena::new() },
            groups: Arena::new(),
            adjacencies: Arena::new(),
            neighbours: Neighbours::new(),
        }
    }
}

/// A handle on the forwarding tables, to be cloned freely. Each worker makes a [`Reader`] of it.
#[derive(Clone, Debug)]
pub struct Fib {
    pub(crate) state: Arc<State>,
}

impl Fib {
    /// Registers a reader. Fails if as many as the FIB was made for are in use. Linear in that number.
    pub fn reader(&self) -> Result<Reader, FibError> {
        let line = self.state.domain.register().ok_or(FibError::Readers { limit: self.state.readers_max })?;
        Ok(Reader { line, state: Arc::clone(&self.state) })
    }
}

/// A worker's access to the tables. Dropping it gives its place to another.
///
/// A reader starts asleep. Once pinned, it holds up reclamation until it is pinned again, sleeps or is dropped; so a worker
/// that waits for packets must [`sleep`](Reader::sleep) first.
#[derive(Debug)]
pub struct Reader {
    line: Line,
    state: Arc<State>,
}

impl Reader {
    /// Begins a batch: the view shows at least all that was published before. Two memory accesses.
    pub fn pin(&mut self) -> View<'_> {
        View { guard: self.line.pin(), state: &self.state }
    }

    /// Holds up nothing until the next [`pin`](Reader::pin).
    pub fn sleep(&mut self) {
        self.line.sleep();
    }
}

/// The published state during one batch.
///
/// Each load gives the newest record, so two lookups in one batch may see a change between them; each by itself is
/// consistent, and every id that a view gave out stays good for the whole batch.
#[derive(Debug)]
pub struct View<'r> {
    guard: Guard<'r>,
    state: &'r State,
}

impl View<'_> {
    /// The table with this id; `None` if it holds no routes. Logarithmic in the number of tables.
    pub fn table<A: Ip>(&self, id: u32) -> Option<TableRef<'_, A>> {
        let tables = A::tables(self.state);
        let directory = tables.directory.load(&self.guard)?;
        let at = directory.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        let (_, lpm) = directory.get(at)?;
        Some(TableRef { lpm, sets: &tables.sets, guard: &self.guard })
    }

    /// A group. Constant time. `None` only for an id that no path of this batch holds.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.state.groups.get(&self.guard, id.0)
    }

    /// What is known of a neighbour. Constant time on average.
    pub fn neighbour(&self, oif: u32, addr: IpAddr) -> Option<&NeighbourEntry> {
        self.state.neighbours.get(&self.guard, (oif, addr))
    }

    /// An adjacency. Constant time. `None` only for an id that no group of this batch holds.
    pub fn adjacency(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.state.adjacencies.get(&self.guard, id.0)
    }
}

/// One routing table during one batch.
#[derive(Clone, Copy, Debug)]
pub struct TableRef<'v, A: Ip> {
    lpm: &'v Lpm<A>,
    sets: &'v Arena<PathSet<A>>,
    guard: &'v Guard<'v>,
}

impl<'v, A: Ip> TableRef<'v, A> {
    /// What the table holds for `addr`, the longest prefix alone. In large tables two dependent loads for IPv4, one and two for
    /// each byte behind the third that matters for IPv6.
    pub fn longest(&self, addr: A) -> Option<&'v PathSet<A>> {
        self.set(self.longest_id(addr)?)
    }

    /// The same, as a number for [`TableRef::set`].
    pub fn longest_id(&self, addr: A) -> Option<PathSetId> {
        self.lpm.longest(self.guard, addr)
    }

    /// The same for many addresses, as numbers for [`TableRef::set`]; where `found` is longer than `addrs`, its rest stays.
    pub fn longest_of(&self, addrs: &[A], found: &mut [Option<PathSetId>]) {
        self.lpm.longest_of(self.guard, addrs, found);
    }

    /// A path set. Constant time. `None` only for a number that no lookup of this batch gave.
    pub fn set(&self, id: PathSetId) -> Option<&'v PathSet<A>> {
        self.sets.get(self.guard, u32::from(id.0))
    }

    /// All that the table holds for `addr`, the longest prefix first. One step for each length or four bits of it; going on to
    /// the next shorter prefix does not start again.
    pub fn lookup(&self, addr: A) -> Matches<'v, A> {
        Matches { inner: self.lpm.lookup(self.guard, addr), sets: self.sets, guard: self.guard }
    }
}

/// Matches of a lookup as `(prefix length, path set)`, the longest first.
#[derive(Debug)]
pub struct Matches<'v, A: Ip> {
    inner: lpm::Matches<'v, A>,
    sets: &'v Arena<PathSet<A>>,
    guard: &'v Guard<'v>,
}

impl<'v, A: Ip> Iterator for Matches<'v, A> {
    type Item = (u8, &'v PathSet<A>);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, id) = self.inner.next()?;
        Some((len, self.sets.get(self.guard, u32::from(id.0))?))
    }
}
