//! Records that readers find by number: path sets, groups, adjacencies.
//!
//! Invariant: a record is replaced whole and never edited. An id that is given up goes through the limbo and its slot keeps
//! the last record until then, so a reader that still holds the id finds what it stood for. `Arena` is the published
//! half; `Intern` is the writer's half: it shares records by content and counts who uses them.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ahash::AHashMap;

use crate::publish::{Guard, Limbo, Shared};

/// Slots of an arena. Path set ids have 16 bits; the others keep to the same number.
pub(crate) const SLOTS: usize = 1 << 16;

/// The published half: a fixed number of slots.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Box<[Shared<T>]>,
}

impl<T: Send + Sync + 'static> Arena<T> {
    pub(crate) fn new() -> Self {
        Arena { slots: (0..SLOTS).map(|_| Shared::empty()).collect() }
    }

    /// The record of `id` for the length of the batch. Constant time.
    pub(crate) fn get<'g>(&self, guard: &'g Guard<'_>, id: u32) -> Option<&'g T> {
        self.slots.get(id as usize)?.load(guard)
    }

    /// Replaces the record of `id`.
    pub(crate) fn set(&self, id: u32, record: T, limbo: &Limbo) {
        if let Some(slot) = self.slots.get(id as usize) {
            slot.swap(Some(Box::new(record)), limbo);
        }
    }
}

/// The writer's half: which content has which id, and how many use it.
#[derive(Debug)]
pub(crate) struct Intern<K, V> {
    index: AHashMap<Arc<K>, u32>,
    /// By id; the first has none.
    entries: Vec<Option<Entry<K, V>>>,
    last: usize,
    free: Vec<u32>,
    /// Ids whose grace period is over.
    returned: Receiver<u32>,
    give_back: Sender<u32>,
}

/// Content with an id.
#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    key: Arc<K>,
    refs: usize,
    /// What the owner keeps along with it.
    pub(crate) value: V,
}

impl<K, V> Entry<K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

/// Waits in the limbo in place of an id; its drop frees the id.
struct Retired {
    id: u32,
    give_back: Sender<u32>,
}

impl Drop for Retired {
    fn drop(&mut self) {
        // It fails only if the table has gone before; then nobody needs the id.
        let _ = self.give_back.send(self.id);
    }
}

impl<K: Eq + Hash, V> Intern<K, V> {
    /// Ids from 1 to `last`: 0 names nothing.
    pub(crate) fn new(last: usize) -> Self {
        let (give_back, returned) = channel();
        Intern { index: AHashMap::new(), entries: vec![None], last, free: Vec::new(), returned, give_back }
    }

    /// The id of this content, one more user counted.
    pub(crate) fn share(&mut self, key: &K) -> Option<u32> {
        let id = *self.index.get(key)?;
        self.retain(id);
        Some(id)
    }

    /// Gives new content an id, with one user; `None` if no id is free.
    pub(crate) fn add(&mut self, key: K, value: V) -> Option<u32> {
        self.free.extend(self.returned.try_iter());
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.entries.len() <= self.last => {
                self.entries.push(None);
                u32::try_from(self.entries.len() - 1).ok()?
            }
            None => return None,
        };
        let key = Arc::new(key);
        self.index.insert(Arc::clone(&key), id);
        *self.entries.get_mut(id as usize)? = Some(Entry { key, refs: 1, value });
        Some(id)
    }

    /// Counts one more user.
    pub(crate) fn retain(&mut self, id: u32) {
        if let Some(entry) = self.get_mut(id) {
            entry.refs += 1;
        }
    }

    /// Counts one user less. With the last one the entry comes back and its id goes to the limbo.
    pub(crate) fn release(&mut self, id: u32, limbo: &Limbo) -> Option<Entry<K, V>> {
        let entry = self.get_mut(id)?;
        entry.refs -= 1;
        if entry.refs > 0 {
            return None;
        }
        self.detach(id);
        limbo.retire(Box::new(Retired { id, give_back: self.give_back.clone() }));
        self.entries.get_mut(id as usize)?.take()
    }

    /// Keeps the entry for those who use it, but no one finds it by content again.
    pub(crate) fn detach(&mut self, id: u32) {
        let Some(key) = self.get(id).map(|entry| Arc::clone(&entry.key)) else { return };
        if self.index.get(&key) == Some(&id) {
            self.index.remove(&key);
        }
    }

    pub(crate) fn find(&self, key: &K) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Entry<K, V>> {
        self.entries.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// All entries with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry<K, V>)> {
        (0..).zip(&self.entries).filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Domain;

    #[test]
    fn ids_come_back_after_the_grace_period_only() {
        let (domain, mut limbo) = Domain::new(1);
        let mut line = domain.register().unwrap();
        line.pin();
        let mut intern = Intern::new(9);
        let first = intern.add("a", ()).unwrap();
        assert_eq!(intern.share(&"a"), Some(first));
        assert!(intern.release(first, &limbo).is_none());
        assert!(intern.release(first, &limbo).is_some());
        assert_eq!(intern.find(&"a"), None);
        limbo.advance();
        limbo.reclaim();
        assert_ne!(intern.add("b", ()), Some(first), "a reader may still hold the id");
        line.pin();
        limbo.reclaim();
        assert_eq!(intern.add("c", ()), Some(first));
    }

    #[test]
    fn a_full_table_says_so() {
        let (_domain, mut limbo) = Domain::new(1);
        let mut intern = Intern::new(100);
        for number in 1..=100 {
            assert_eq!(intern.add(number, ()), Some(number));
        }
        assert_eq!(intern.add(101, ()), None);
        intern.release(7, &limbo);
        limbo.reclaim();
        assert_eq!(intern.add(101, ()), Some(7));
    }

    #[test]
    fn detached_content_gets_a_new_id() {
        let (_domain, limbo) = Domain::new(1);
        let mut intern = Intern::new(9);
        let old = intern.add("a", ()).unwrap();
        intern.detach(old);
        let new = intern.add("a", ()).unwrap();
        assert_ne!(old, new);
        intern.release(old, &limbo);
        assert_eq!(intern.find(&"a"), Some(new), "releasing the old one leaves the new one");
    }
}
