//! One table: a trie while it is small, its family's large structure from then on.
//!
//! Invariant: both hold the same and give the same answers; only speed and room differ. Called by the writer and, through
//! `view.rs`, by workers.

use std::fmt::Debug;

use crate::ip::Ip;
use crate::ip::sealed::Half;
use crate::path::PathSetId;
use crate::prefix::Prefix;
use crate::publish::{Guard, Limbo};
use crate::trie::{self, Trie};

/// Prefixes that a trie holds before it is exchanged for the large structure.
pub(crate) const SMALL_MAX: usize = 1000;

/// The table can number no more places that long prefixes hang from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The large structure of a family.
pub trait Large<A>: Sized + Debug + Send + Sync + 'static {
    /// The writer's account of what all tables of the family share.
    type Shelf: Debug + Send;
    /// The prefixes that hold an address, the longest first.
    type Matches<'g>: Iterator<Item = (u8, PathSetId)> + Debug
    where
        Self: 'g;

    /// An account without tables.
    fn shelf(limbo: &Limbo) -> Self::Shelf;
    /// Bytes that lookups may touch in what is shared.
    fn bytes(shelf: &Self::Shelf) -> usize;
    /// Bytes of the root that are not zero, in pages of 4 KiB: the system provides no others.
    fn root_bytes(&self) -> usize;
    /// An empty table.
    fn new(shelf: &Self::Shelf) -> Self;
    /// All prefixes that hold `addr`, the longest first.
    fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: A) -> Self::Matches<'g>;
    /// The longest match alone.
    fn longest(&self, guard: &Guard<'_>, addr: A) -> Option<PathSetId>;
    /// The longest matches of many addresses.
    fn longest_of(&self, guard: &Guard<'_>, addrs: &[A], found: &mut [Option<PathSetId>]);
    /// Gives a prefix an id, or takes it away; the one it had comes back.
    fn set(
        &self,
        prefix: Prefix<A>,
        id: Option<PathSetId>,
        shelf: &mut Self::Shelf,
        limbo: &Limbo,
    ) -> Result<Option<PathSetId>, Full>;
    /// The id of exactly this prefix, for the writer.
    fn get(&self, prefix: Prefix<A>, shelf: &Self::Shelf, limbo: &Limbo) -> Option<PathSetId>;
    /// Gives back what it shares. To be called once, when no new reader finds the table.
    fn clear(&self, shelf: &mut Self::Shelf, limbo: &Limbo);
}

/// A family's shelf.
pub(crate) type Shelf<A> = <<A as Half>::Large as Large<A>>::Shelf;

/// A longest-prefix-match table of one family, from prefixes to path set ids.
#[derive(Debug)]
pub(crate) enum Lpm<A: Ip> {
    /// Few prefixes.
    Small(Trie<A>),
    /// Many.
    Large(A::Large),
}

impl<A: Ip> Lpm<A> {
    /// All prefixes that hold `addr`, the longest first.
    pub(crate) fn lookup<'g>(&'g self, guard: &'g Guard<'_>, addr: A) -> Matches<'g, A> {
        match self {
            Lpm::Small(trie) => Matches::Small(trie.lookup(guard, addr)),
            Lpm::Large(large) => Matches::Large(large.lookup(guard, addr)),
        }
    }

    /// The longest match alone.
    pub(crate) fn longest(&self, guard: &Guard<'_>, addr: A) -> Option<PathSetId> {
        match self {
            Lpm::Small(trie) => trie.lookup(guard, addr).next().map(|(_, id)| id),
            Lpm::Large(large) => large.longest(guard, addr),
        }
    }

    /// The longest matches of many addresses.
    pub(crate) fn longest_of(&self, guard: &Guard<'_>, addrs: &[A], found: &mut [Option<PathSetId>]) {
        match self {
            Lpm::Small(_) => {
                found.iter_mut().zip(addrs).for_each(|(found, &addr)| *found = self.longest(guard, addr));
            }
            Lpm::Large(large) => large.longest_of(guard, addrs, found),
        }
    }

    /// Gives a prefix an id, or takes it away; the one it had comes back.
    pub(crate) fn set(
        &self,
        prefix: Prefix<A>,
        id: Option<PathSetId>,
        shelf: &mut Option<Shelf<A>>,
        limbo: &Limbo,
    ) -> Result<Option<PathSetId>, Full> {
        match (self, id) {
            (Lpm::Small(trie), Some(id)) => Ok(trie.insert(prefix, id, limbo)),
            (Lpm::Small(trie), None) => Ok(trie.remove(prefix, limbo)),
            (Lpm::Large(large), id) => {
                let shelf = shelf.get_or_insert_with(|| A::Large::shelf(limbo));
                large.set(prefix, id, shelf, limbo)
            }
        }
    }

    /// The id of exactly this prefix, for the writer.
    pub(crate) fn get(
        &self,
        prefix: Prefix<A>,
        shelf: Option<&Shelf<A>>,
        limbo: &Limbo,
    ) -> Option<PathSetId> {
        match self {
            Lpm::Small(trie) => trie.get(prefix, limbo),
            Lpm::Large(large) => large.get(prefix, shelf?, limbo),
        }
    }

    /// Bytes of the root.
    pub(crate) fn root_bytes(&self) -> usize {
        match self {
            Lpm::Small(_) => 0,
            Lpm::Large(large) => large.root_bytes(),
        }
    }

    /// Gives back what the table shares with others. To be called once, when no new reader finds it.
    pub(crate) fn clear(&self, shelf: &mut Option<Shelf<A>>, limbo: &Limbo) {
        if let (Lpm::Large(large), Some(shelf)) = (self, shelf) {
            large.clear(shelf, limbo);
        }
    }
}

/// The prefixes that hold an address as `(length, path set)`, the longest first.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a lookup keeps it on the stack and never moves it")]
pub(crate) enum Matches<'g, A: Ip> {
    Small(trie::Matches<'g>),
    Large(<A::Large as Large<A>>::Matches<'g>),
}

impl<A: Ip> Iterator for Matches<'_, A> {
    type Item = (u8, PathSetId);

    fn next(&mut self) -> Option<(u8, PathSetId)> {
        match self {
            Matches::Small(matches) => matches.next(),
            Matches::Large(matches) => matches.next(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
