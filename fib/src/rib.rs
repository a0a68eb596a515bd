//! All routes of a family as the kernel has them, for changing, listing and sweeping.
//!
//! Invariant: no list is empty, and the bodies of routes are shared: a million prefixes to one peer are a million small
//! entries and one body. Only the writer uses it; lookups read the trie. Changes to a list are in `aliases.rs`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use ahash::AHashSet;

use crate::aliases::Alias;
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::route::Route;

/// The routes of one family.
#[derive(Debug)]
pub(crate) struct Rib<A> {
    tables: BTreeMap<u32, BTreeMap<Key<A>, Vec<Alias<A>>>>,
    bodies: AHashSet<Arc<Route<A>>>,
}

/// A prefix in dump order: by address; at the same address IPv4 gives the longer one first (the aliases of a leaf lie by
/// suffix length), IPv6 the shorter one (its tree is walked from the top).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<A> {
    addr: A,
    rank: u8,
}

impl<A: Ip> Key<A> {
    fn new(prefix: Prefix<A>) -> Self {
        let rank = if A::V6 { prefix.len() } else { A::BITS - prefix.len() };
        Key { addr: prefix.addr(), rank }
    }

    fn prefix(self) -> Prefix<A> {
        let len = if A::V6 { self.rank } else { A::BITS - self.rank };
        Prefix::new(self.addr, len).unwrap_or(Prefix::ANY)
    }
}

impl<A: Ip> Rib<A> {
    pub(crate) fn new() -> Self {
        Rib { tables: BTreeMap::new(), bodies: AHashSet::new() }
    }

    /// What a prefix holds.
    pub(crate) fn aliases(&self, table: u32, dst: Prefix<A>) -> &[Alias<A>] {
        let list = self.tables.get(&table).and_then(|table| table.get(&Key::new(dst)));
        list.map_or(&[], Vec::as_slice)
    }

    /// Makes `list` what the prefix holds.
    pub(crate) fn set(&mut self, table: u32, dst: Prefix<A>, mut list: Vec<Alias<A>>) {
        for alias in &mut list {
            match self.bodies.get(&alias.body) {
                Some(body) => alias.body = Arc::clone(body),
                None => {
                    self.bodies.insert(Arc::clone(&alias.body));
                }
            }
        }
        let old = if list.is_empty() {
            self.tables.get_mut(&table).and_then(|table| table.remove(&Key::new(dst)))
        } else {
            list.shrink_to_fit();
            self.tables.entry(table).or_default().insert(Key::new(dst), list)
        };
        if self.tables.get(&table).is_some_and(BTreeMap::is_empty) {
            self.tables.remove(&table);
        }
        for Alias { body, .. } in old.into_iter().flatten() {
            // One count is `body`, the other the set's.
            if Arc::strong_count(&body) == 2 {
                self.bodies.remove(&body);
            }
        }
    }

    /// How many prefixes a table has.
    pub(crate) fn len(&self, table: u32) -> usize {
        self.tables.get(&table).map_or(0, BTreeMap::len)
    }

    /// The prefixes of a table, in order.
    pub(crate) fn prefixes(&self, table: u32) -> impl Iterator<Item = Prefix<A>> {
        self.tables.get(&table).into_iter().flat_map(|table| table.keys().map(|key| key.prefix()))
    }

    /// Everything, in dump order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Prefix<A>, &Alias<A>)> {
        let prefixes = self.tables.values().flatten();
        prefixes.flat_map(|(key, list)| list.iter().map(|alias| (key.prefix(), alias)))
    }

    /// The first prefix behind the given one, in all tables; the very first for `None`.
    pub(crate) fn after(&self, place: Option<(u32, Prefix<A>)>) -> Option<(u32, Prefix<A>)> {
        let (from, after) = match place {
            Some((table, prefix)) => (table, Bound::Excluded(Key::new(prefix))),
            None => (0, Bound::Unbounded),
        };
        self.tables.range(from..).find_map(|(&id, table)| {
            let after = if id == from { after } else { Bound::Unbounded };
            let (key, _) = table.range((after, Bound::Unbounded)).next()?;
            Some((id, key.prefix()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Hops;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn fill<A: Ip>(prefixes: &[&str]) -> Rib<A> {
        let mut rib = Rib::new();
        for (number, prefix) in (0..).zip(prefixes) {
            let body = Arc::new(Route::new(Prefix::ANY, Hops::None));
            let dst = prefix.parse().unwrap();
            rib.set(254 + number % 2, dst, vec![Alias { body, group: None }]);
        }
        rib
    }

    fn order<A: Ip>(rib: &Rib<A>) -> Vec<String> {
        rib.iter().map(|(prefix, _)| prefix.to_string()).collect()
    }

    #[test]
    fn dump_order_and_shared_bodies() {
        let mut rib = fill::<Ipv4Addr>(&["10.0.0.0/8", "1.0.0.0/8", "10.0.0.0/16", "0.0.0.0/0", "9.0.0.0/8"]);
        assert_eq!(order(&rib), ["9.0.0.0/8", "10.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "1.0.0.0/8"]);
        assert_eq!(rib.bodies.len(), 1);
        for (prefix, table) in [("9.0.0.0/8", 254), ("10.0.0.0/16", 254), ("10.0.0.0/8", 254)] {
            rib.set(table, prefix.parse().unwrap(), vec![]);
        }
        assert!(rib.len(254) == 0 && rib.len(255) == 2);
        for prefix in ["0.0.0.0/0", "1.0.0.0/8"] {
            rib.set(255, prefix.parse().unwrap(), vec![]);
        }
        assert!(rib.bodies.is_empty(), "the last user takes the body along");
        let rib = fill::<Ipv6Addr>(&["2001::/32", "2001::/64", "2001::/16"]);
        assert_eq!(order(&rib), ["2001::/16", "2001::/32", "2001::/64"]);
    }

    #[test]
    fn the_walk_meets_every_prefix_once() {
        let rib = fill::<Ipv4Addr>(&["10.0.0.0/8", "1.0.0.0/8", "10.0.0.0/16", "0.0.0.0/0", "9.0.0.0/8"]);
        let mut place = rib.after(None);
        let mut met = Vec::new();
        while let Some((_, prefix)) = place {
            met.push(prefix.to_string());
            place = rib.after(place);
        }
        assert_eq!(met, order(&rib));
    }
}
