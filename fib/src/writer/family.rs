//! One family's routes on their way to the tables: RIB, path sets, tries.
//!
//! Invariant: the trie of a table holds, for each of its prefixes, the path set of what the RIB holds there; each such leaf
//! counts as one user of the set, and each set as one user of each of its groups. A change is worked out first and then
//! made, so an error leaves everything as it was. Called by `Writer`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Out;
use super::nexthops::Nexthops;
use crate::aliases::{self, Alias, Change, Place};
use crate::arena::Intern;
use crate::error::FibError;
use crate::ip::Ip;
use crate::lpm::{Full, Large, Lpm, SMALL_MAX, Shelf};
use crate::path::{Path, PathSet, PathSetId};
use crate::prefix::Prefix;
use crate::rib::Rib;
use crate::route::{Hops, Route};
use crate::rules::{TABLE_LOCAL, TABLE_MAIN};
use crate::trie::Trie;

/// Most routing tables of one family.
const TABLES_MAX: usize = 1 << 16;

/// The writer's half of one family.
#[derive(Debug)]
pub struct Family<A: Ip> {
    pub(super) rib: Rib<A>,
    sets: Intern<Box<[Path<A>]>, ()>,
    /// By the id under which a table is published; see [`Family::published`].
    tries: BTreeMap<u32, Arc<Lpm<A>>>,
    /// Made for the first large table.
    shelf: Option<Shelf<A>>,
    merged: bool,
}

impl<A: Ip> Family<A> {
    pub(super) fn new() -> Self {
        Family {
            rib: Rib::new(),
            sets: Intern::new(usize::from(PathSetId::MAX)),
            tries: BTreeMap::new(),
            shelf: None,
            merged: false,
        }
    }

    /// Puts a route in.
    pub(super) fn insert(
        &mut self,
        route: Route<A>,
        place: Place,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        let (table, dst) = (route.table, route.dst);
        let mut list = self.live(table, dst, nexthops);
        match aliases::insert(&mut list, route, place) {
            Change::Resolve(at) => self.resolve(table, dst, list, at, nexthops, out),
            Change::Nothing | Change::Removed => Ok(()),
        }
    }

    /// Takes a route out. False if there is none like it.
    pub(super) fn remove(
        &mut self,
        route: &Route<A>,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<bool, FibError> {
        let mut list = self.live(route.table, route.dst, nexthops);
        match aliases::remove(&mut list, route) {
            Change::Nothing => return Ok(false),
            Change::Removed => self.commit(route.table, route.dst, list, nexthops, out)?,
            Change::Resolve(at) => self.resolve(route.table, route.dst, list, at, nexthops, out)?,
        }
        Ok(true)
    }

    /// Makes `routes` what the prefix holds.
    pub(super) fn set(
        &mut self,
        table: u32,
        dst: Prefix<A>,
        routes: &[Route<A>],
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        let mut list = Vec::with_capacity(routes.len());
        let mut done = Ok(());
        for route in routes {
            match nexthops.resolve(route, dst, out) {
                Ok(group) => list.push(aliases::alias(route, group)),
                Err(error) => done = Err(error),
            }
        }
        aliases::sort(&mut list);
        let groups: Vec<_> = list.iter().filter_map(|alias| alias.group).collect();
        let done = done.and_then(|()| self.commit(table, dst, list, nexthops, out));
        // From here on the path set keeps the groups, if there is one.
        groups.into_iter().for_each(|group| nexthops.release(group, out));
        done
    }

    /// What a prefix holds, without what the kernel has flushed already and the sweep has not.
    fn live(&self, table: u32, dst: Prefix<A>, nexthops: &Nexthops) -> Vec<Alias<A>> {
        let list = self.rib.aliases(table, dst).iter();
        list.filter(|alias| !nexthops.is_condemned(alias.group)).cloned().collect()
    }

    /// Finds the group of the entry at `at`, then commits.
    fn resolve(
        &mut self,
        table: u32,
        dst: Prefix<A>,
        mut list: Vec<Alias<A>>,
        at: usize,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        let Some(alias) = list.get_mut(at) else { return Ok(()) };
        let group = nexthops.resolve(&alias.body, dst, out)?;
        alias.group = group;
        let done = self.commit(table, dst, list, nexthops, out);
        // From here on the path set keeps the group, if there is one.
        if let Some(group) = group {
            nexthops.release(group, out);
        }
        done
    }

    /// Makes `list` what the prefix holds, in the RIB and for lookups.
    fn commit(
        &mut self,
        table: u32,
        dst: Prefix<A>,
        list: Vec<Alias<A>>,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        let published = self.published(table);
        let paths = self.paths(published, dst, Some((table, &list)));
        let old = if paths.is_empty() {
            let trie = self.tries.get(&published).map(Arc::clone);
            // Only what is new can find no place.
            trie.and_then(|trie| trie.set(dst, None, &mut self.shelf, out.limbo).ok().flatten())
        } else {
            if self.tries.len() >= TABLES_MAX && !self.tries.contains_key(&published) {
                return Err(FibError::Tables { table, limit: TABLES_MAX });
            }
            let set = self.share(paths, dst, nexthops, out)?;
            let new_table = !self.tries.contains_key(&published);
            let trie = self.tries.entry(published).or_insert_with(|| Arc::new(Lpm::Small(Trie::new())));
            let old = Arc::clone(trie).set(dst, Some(set), &mut self.shelf, out.limbo);
            let old = match old {
                Ok(old) => old,
                Err(Full) => {
                    self.release(set, nexthops, out);
                    return Err(FibError::Places { prefix: dst.to_string() });
                }
            };
            if new_table {
                self.publish_directory(out);
            }
            old
        };
        self.rib.set(table, dst, list);
        if let Some(old) = old {
            self.release(old, nexthops, out);
        }
        let prefixes: usize = self.sources(published).map(|table| self.rib.len(table)).sum();
        if prefixes == 0
            && let Some(trie) = self.tries.remove(&published)
        {
            self.publish_directory(out);
            trie.clear(&mut self.shelf, out.limbo);
        } else if prefixes > SMALL_MAX && prefixes.is_power_of_two() {
            self.grow(published, out);
        }
        Ok(())
    }

    /// Exchanges the trie of a table that has become large. Where its prefixes find no place it stays, until the table is
    /// twice as large.
    fn grow(&mut self, published: u32, out: Out<'_>) {
        let Some(small) = self.tries.get(&published).filter(|trie| matches!(***trie, Lpm::Small(_))) else {
            return;
        };
        let shelf = self.shelf.get_or_insert_with(|| A::Large::shelf(out.limbo));
        let large = Lpm::Large(A::Large::new(shelf));
        let small = Arc::clone(small);
        let prefixes = self.prefixes(self.sources(published));
        let mut all = prefixes.into_iter().filter_map(|dst| Some((dst, small.get(dst, None, out.limbo)?)));
        let shelf = &mut self.shelf;
        if all.try_for_each(|(dst, set)| large.set(dst, Some(set), shelf, out.limbo).map(|_| ())).is_err() {
            return large.clear(shelf, out.limbo);
        }
        self.tries.insert(published, Arc::new(large));
        self.publish_directory(out);
    }

    /// Drops from a prefix what the kernel has flushed already.
    pub(super) fn sweep(&mut self, table: u32, dst: Prefix<A>, nexthops: &mut Nexthops, out: Out<'_>) {
        let condemned = |alias: &Alias<A>| nexthops.is_condemned(alias.group);
        if self.rib.aliases(table, dst).iter().any(condemned) {
            let list = self.live(table, dst, nexthops);
            // It can fail only for want of a path set id; then the routes stay, dead as they are, for the next sweep.
            let _ = self.commit(table, dst, list, nexthops, out);
        }
    }

    /// The id under which `table` is published: while local and main are one, both are main.
    fn published(&self, table: u32) -> u32 {
        if self.merged && table == TABLE_LOCAL { TABLE_MAIN } else { table }
    }

    /// The tables of the RIB that a published table holds, in the order in which equal prefixes answer. The kernel sorts the
    /// aliases of its merged trie by table id descending: local before main (fib_find_alias).
    fn sources(&self, published: u32) -> impl Iterator<Item = u32> + use<A> {
        let local = (self.merged && published == TABLE_MAIN).then_some(TABLE_LOCAL);
        local.into_iter().chain([published])
    }

    /// The paths of a prefix of a published table, `changed` standing for what the RIB has in that table.
    fn paths(&self, published: u32, dst: Prefix<A>, changed: Option<(u32, &[Alias<A>])>) -> Box<[Path<A>]> {
        let list = |table: u32| match changed {
            Some((changed, list)) if changed == table => list,
            _ => self.rib.aliases(table, dst),
        };
        self.sources(published).flat_map(list).map(path).collect()
    }

    /// The id of the set with these paths, one more user counted; published if it is new.
    fn share(
        &mut self,
        paths: Box<[Path<A>]>,
        dst: Prefix<A>,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<PathSetId, FibError> {
        if let Some(id) = self.sets.share(&paths) {
            return Ok(PathSetId(id as u16));
        }
        let full = || FibError::PathSets { prefix: dst.to_string(), limit: usize::from(PathSetId::MAX) };
        let id = self.sets.add(paths.clone(), ()).ok_or_else(full)?;
        for group in paths.iter().filter_map(|path| path.group) {
            nexthops.retain(group);
        }
        A::tables(out.state).sets.set(id, PathSet::new(paths), out.limbo);
        Ok(PathSetId(id as u16))
    }

    /// Counts one user of a set less.
    fn release(&mut self, set: PathSetId, nexthops: &mut Nexthops, out: Out<'_>) {
        let Some(entry) = self.sets.release(u32::from(set.0), out.limbo) else { return };
        for group in entry.key().iter().filter_map(|path| path.group) {
            nexthops.release(group, out);
        }
    }

    /// Publishes which tables there are.
    fn publish_directory(&self, out: Out<'_>) {
        let mut tables: Vec<_> = self.tries.iter().map(|(&id, trie)| (id, Arc::clone(trie))).collect();
        if self.merged
            && let Some(both) = self.tries.get(&TABLE_MAIN)
        {
            tables.push((TABLE_LOCAL, Arc::clone(both)));
            tables.sort_by_key(|&(id, _)| id);
        }
        A::tables(out.state).directory.swap(Some(Box::new(tables.into())), out.limbo);
    }

    /// Makes local and main one table for lookups, or two. Builds the new tries aside and exchanges them at once.
    pub(super) fn merge(
        &mut self,
        merged: bool,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        if self.merged == merged {
            return Ok(());
        }
        self.merged = merged;
        let mut built = BTreeMap::new();
        for &id in if merged { [TABLE_MAIN].as_slice() } else { &[TABLE_LOCAL, TABLE_MAIN] } {
            let prefixes: usize = self.sources(id).map(|table| self.rib.len(table)).sum();
            let trie = Arc::new(self.empty(prefixes, out));
            let done = self.build(id, &trie, nexthops, out);
            built.insert(id, trie);
            if let Err(error) = done {
                self.merged = !merged;
                built.values().for_each(|trie| self.clear(trie, nexthops, out));
                return Err(error);
            }
        }
        let old: Vec<_> = [TABLE_LOCAL, TABLE_MAIN].iter().filter_map(|id| self.tries.remove(id)).collect();
        built.retain(|&id, _| !self.sources(id).all(|table| self.rib.len(table) == 0));
        self.tries.append(&mut built);
        self.publish_directory(out);
        old.iter().for_each(|trie| self.clear(trie, nexthops, out));
        Ok(())
    }

    /// Bytes that lookups may touch in large tables.
    pub(super) fn memory(&self) -> usize {
        let roots: usize = self.tries.values().map(|trie| trie.root_bytes()).sum();
        roots + self.shelf.as_ref().map_or(0, A::Large::bytes)
    }

    /// An empty table for so many prefixes.
    fn empty(&mut self, prefixes: usize, out: Out<'_>) -> Lpm<A> {
        if prefixes <= SMALL_MAX {
            return Lpm::Small(Trie::new());
        }
        Lpm::Large(A::Large::new(self.shelf.get_or_insert_with(|| A::Large::shelf(out.limbo))))
    }

    /// Fills an empty trie with what the published table `id` is to hold.
    fn build(
        &mut self,
        id: u32,
        trie: &Lpm<A>,
        nexthops: &mut Nexthops,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        for dst in self.prefixes(self.sources(id)) {
            let set = self.share(self.paths(id, dst, None), dst, nexthops, out)?;
            if let Err(Full) = trie.set(dst, Some(set), &mut self.shelf, out.limbo) {
                self.release(set, nexthops, out);
                return Err(FibError::Places { prefix: dst.to_string() });
            }
        }
        Ok(())
    }

    /// Counts the users that the leaves of a local or main trie were. Readers may still be in it, so it stays as it is.
    fn clear(&mut self, trie: &Lpm<A>, nexthops: &mut Nexthops, out: Out<'_>) {
        for dst in self.prefixes([TABLE_LOCAL, TABLE_MAIN]) {
            if let Some(set) = trie.get(dst, self.shelf.as_ref(), out.limbo) {
                self.release(set, nexthops, out);
            }
        }
        trie.clear(&mut self.shelf, out.limbo);
    }

    /// The prefixes of some tables, each once.
    fn prefixes(&self, tables: impl IntoIterator<Item = u32>) -> BTreeSet<Prefix<A>> {
        tables.into_iter().flat_map(|table| self.rib.prefixes(table)).collect()
    }
}

/// What lookups see of a route.
fn path<A: Ip>(alias: &Alias<A>) -> Path<A> {
    let route = &*alias.body;
    let tunnelled = matches!(&route.hops, Hops::List(hops) if hops.iter().any(|hop| hop.encap));
    Path {
        kind: route.kind,
        metric: route.metric,
        tos: route.tos,
        scope: route.scope,
        src: route.src,
        prefsrc: route.prefsrc,
        mtu: route.mtu,
        mtu_lock: route.mtu_lock,
        hoplimit: route.hoplimit,
        pref: route.pref,
        expires: route.expires,
        table: route.table,
        protocol: route.protocol,
        group: alias.group,
        encap: route.encap || tunnelled,
    }
}
