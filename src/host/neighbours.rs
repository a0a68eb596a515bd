//! What is known of neighbours while no kernel keeps them: resolution and ageing with the kernel's states and timing.
//!
//! Invariant: an entry changes only here, and every change is told once as [`Learned`], in order; whoever owns the
//! state writes it there. Permanent entries are the scenario's own and are never touched. At most [`LIMIT`] entries.
//!
//! Simpler than the kernel: a neighbour is reachable for 30 s, not for a random 15 to 45 s; an entry that is not in
//! use goes when another needs its place, not by a periodic search. RFC 4861 7.3; Linux: neigh_timer_handler.

use crate::forward::ctx::{Env, Nanos};
use crate::neigh::Ask;
use ahash::AHashMap;
use std::net::IpAddr;
use warren_fib::{Neighbour, Nud};

/// Most entries (`gc_thresh3`).
pub const LIMIT: usize = 1024;
/// How long a confirmation lasts (`base_reachable_time`).
const REACHABLE: Nanos = 30 * SECOND;
/// An ARP entry that changed a moment ago keeps its address (`locktime`).
const LOCK: Nanos = SECOND;
/// Unicast probes of an entry that was known (`ucast_solicit`).
const UNICAST_PROBES: u8 = 3;
const SECOND: Nanos = 1_000_000_000;
const NEVER: Nanos = Nanos::MAX;

/// Interface index and address.
pub type Key = (u32, IpAddr);

/// News of a neighbour, for the owner of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Learned {
    /// Which.
    pub key: Key,
    /// What is known now; `None`: the entry is gone.
    pub neighbour: Option<Neighbour>,
}

/// What becomes of an entry that has another link-layer address than the one heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Other {
    /// It takes the new one.
    Replaced,
    /// It keeps its own unless that is older than a second (ARP).
    Locked,
    /// It keeps its own and is verified (an advertisement without the override flag, RFC 4861 7.2.5).
    Suspected,
}

/// What a neighbour said of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Who.
    pub key: Key,
    /// Its link-layer address, if it told.
    pub lladdr: Option<[u8; 6]>,
    /// What this makes of it: [`Nud::REACHABLE`] after an answer to us, else [`Nud::STALE`].
    pub state: Nud,
    /// Whether one that was unknown is noted: who asks us wants to be answered, who answers unasked does not.
    pub creates: bool,
    /// See [`Other`].
    pub other: Other,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    neighbour: Neighbour,
    /// When it last answered us.
    confirmed: Nanos,
    /// When state or address last changed.
    updated: Nanos,
    /// Probes sent in this state.
    probes: u8,
    timer: Nanos,
}

/// The table.
#[derive(Debug)]
pub struct Neighbours {
    table: AHashMap<Key, Entry>,
    learned: Vec<Learned>,
    /// No timer is earlier.
    next: Nanos,
    /// Nobody is asked: see [`super::Host::quiet`].
    quiet: bool,
}

/// A probe to send: whom for, and to which link-layer address; `None`: to all who may have it.
pub type Probe = (Key, Option<[u8; 6]>);

impl Neighbours {
    /// An empty table; `quiet` keeps all questions back.
    pub fn new(quiet: bool) -> Neighbours {
        Neighbours { table: AHashMap::new(), learned: Vec::new(), next: NEVER, quiet }
    }

    /// News since the last call, in order.
    pub fn learned(&mut self) -> impl Iterator<Item = Learned> + '_ {
        self.learned.drain(..)
    }

    /// When [`Neighbours::poll`] has something to do; `None` while no timer runs.
    pub fn due(&self) -> Option<Nanos> {
        (self.next != NEVER).then_some(self.next)
    }

    /// A neighbour said something of itself. RFC 826, RFC 4861 7.2.3 and 7.2.5; Linux: neigh_update.
    pub fn hear(&mut self, env: Env<'_>, heard: Heard) {
        let Some(entry) = self.entry(env, heard.key) else { return };
        let known = entry.neighbour.state.is_valid();
        if entry.neighbour.state == Nud::NONE && !heard.creates {
            return;
        }
        // Linux: ndisc_recv_na. An answer that comes after the failure starts nothing; the next packet does.
        if heard.key.1.is_ipv6() && !heard.creates && entry.neighbour.state == Nud::FAILED {
            return;
        }
        let Some(lladdr) = heard.lladdr.or(known.then_some(entry.neighbour.lladdr)) else {
            // Somebody is there, though nobody knows where. Linux: __neigh_lookup, neigh_update (-EINVAL).
            if entry.neighbour.state == Nud::NONE {
                self.set(env, heard.key, entry, entry.neighbour);
            }
            return;
        };
        let confirmed = if heard.state == Nud::REACHABLE { env.now } else { entry.confirmed };
        let mut new = Neighbour { lladdr, state: heard.state };
        if known && lladdr == entry.neighbour.lladdr {
            if heard.state == Nud::STALE {
                new.state = entry.neighbour.state;
            }
        } else if known {
            match heard.other {
                Other::Replaced => {}
                Other::Locked if env.now > entry.updated + LOCK => {}
                Other::Suspected if entry.neighbour.state == Nud::REACHABLE => {
                    new = Neighbour { lladdr: entry.neighbour.lladdr, state: Nud::STALE };
                }
                Other::Locked | Other::Suspected => return,
            }
        }
        self.set(env, heard.key, Entry { confirmed, ..entry }, new);
    }

    /// What the forwarder wishes: resolve, or verify. A probe that is to be sent at once goes to `probe`.
    /// Linux: __neigh_event_send.
    pub fn ask(&mut self, env: Env<'_>, ask: Ask, mut probe: impl FnMut(Probe)) {
        let (Ask::Resolve { oif, next } | Ask::Used { oif, next } | Ask::Probe { oif, next }) = ask;
        let key = (oif, next);
        let Some(entry) = self.entry(env, key) else { return };
        match (ask, entry.neighbour.state) {
            (Ask::Resolve { .. }, Nud::NONE | Nud::FAILED) => {
                let unknown = Neighbour { lladdr: [0; 6], state: Nud::INCOMPLETE };
                if multicast_probes(env, key) == 0 {
                    return self.set(env, key, entry, Neighbour { state: Nud::FAILED, ..unknown });
                }
                self.set(env, key, Entry { probes: 1, ..entry }, unknown);
                self.send(&mut probe, (key, None));
            }
            (Ask::Probe { .. }, Nud::FAILED) => {
                // One that was there from the start has failed now.
                let since = if entry.updated == 0 { env.now } else { entry.updated };
                self.wait(key, Entry { timer: (since + probe_interval(env, key)).max(env.now), ..entry });
            }
            (Ask::Used { .. }, Nud::STALE) => {
                self.set(env, key, entry, Neighbour { state: Nud::DELAY, ..entry.neighbour });
            }
            _ => {}
        }
    }

    /// Runs the timers that are due; probes to be sent go to `probe`. Linear in the table, and only when one is due.
    pub fn poll(&mut self, env: Env<'_>, mut probe: impl FnMut(Probe)) {
        if env.now < self.next {
            return;
        }
        self.next = NEVER;
        let mut due: Vec<Key> = Vec::new();
        for (key, entry) in &self.table {
            if entry.timer <= env.now {
                due.push(*key);
            } else {
                self.next = self.next.min(entry.timer);
            }
        }
        // In an order that does not depend on the table's hash: the same input gives the same output.
        due.sort_unstable();
        for key in due {
            self.expire(env, key, &mut probe);
        }
    }

    /// One timer. Linux: neigh_timer_handler.
    fn expire(&mut self, env: Env<'_>, key: Key, probe: &mut impl FnMut(Probe)) {
        let Some(&entry) = self.table.get(&key) else { return };
        let Neighbour { lladdr, state } = entry.neighbour;
        let to = |state| Neighbour { lladdr, state };
        let again = Entry { probes: entry.probes.saturating_add(1), ..entry };
        match state {
            Nud::REACHABLE if env.now < entry.confirmed + REACHABLE => self.set(env, key, entry, to(state)),
            Nud::REACHABLE => self.set(env, key, entry, to(Nud::STALE)),
            Nud::DELAY if entry.confirmed != 0 && env.now < entry.confirmed + delay(env, key) => {
                self.set(env, key, entry, to(Nud::REACHABLE));
            }
            Nud::DELAY => {
                self.set(env, key, Entry { probes: 1, ..entry }, to(Nud::PROBE));
                self.send(probe, (key, Some(lladdr)));
            }
            Nud::PROBE if entry.probes < UNICAST_PROBES => {
                self.set(env, key, again, to(state));
                self.send(probe, (key, Some(lladdr)));
            }
            Nud::INCOMPLETE if i64::from(entry.probes) < multicast_probes(env, key) => {
                self.set(env, key, again, to(state));
                self.send(probe, (key, None));
            }
            // Asked once more, and no more than once. Linux: __neigh_set_probe_once.
            Nud::FAILED => {
                self.set(env, key, Entry { probes: u8::MAX, ..entry }, to(Nud::INCOMPLETE));
                self.send(probe, (key, None));
            }
            _ => self.set(env, key, entry, to(Nud::FAILED)),
        }
    }

    /// Keeps an entry as it is until its timer ends.
    fn wait(&mut self, key: Key, entry: Entry) {
        if self.table.contains_key(&key) || self.table.len() < LIMIT || self.make_room() {
            self.next = self.next.min(entry.timer);
            self.table.insert(key, entry);
        }
    }

    fn send(&self, probe: &mut impl FnMut(Probe), what: Probe) {
        if !self.quiet {
            probe(what);
        }
    }

    /// The entry as it is, taken over from the published state or new ([`Nud::NONE`]); `None` for one that is not
    /// ours to change.
    fn entry(&self, env: Env<'_>, key: Key) -> Option<Entry> {
        if let Some(entry) = self.table.get(&key) {
            return Some(*entry);
        }
        let published = env.view.neighbour(key.0, key.1).map(|n| n.neighbour);
        // A search that somebody else began is not under way here.
        let known = published.filter(|n| n.state != Nud::INCOMPLETE);
        let neighbour = known.unwrap_or(Neighbour { lladdr: [0; 6], state: Nud::NONE });
        let fixed = matches!(neighbour.state, Nud::PERMANENT | Nud::NOARP);
        (!fixed).then_some(Entry { neighbour, confirmed: 0, updated: 0, probes: 0, timer: NEVER })
    }

    /// Notes an entry, tells what changed, and starts the timer of its state.
    fn set(&mut self, env: Env<'_>, key: Key, old: Entry, new: Neighbour) {
        if !self.table.contains_key(&key) && self.table.len() >= LIMIT && !self.make_room() {
            return;
        }
        let timer = match new.state {
            Nud::REACHABLE => old.confirmed.max(env.now.saturating_sub(REACHABLE)) + REACHABLE,
            Nud::DELAY => env.now + delay(env, key),
            Nud::PROBE | Nud::INCOMPLETE => env.now + retransmission(env, key),
            _ => NEVER,
        };
        self.next = self.next.min(timer);
        let changed = new != old.neighbour || env.view.neighbour(key.0, key.1).is_none();
        let updated = if changed { env.now } else { old.updated };
        self.table.insert(key, Entry { neighbour: new, timer, updated, ..old });
        if changed {
            self.learned.push(Learned { key, neighbour: Some(new) });
        }
    }

    /// Drops the entry that has been idle longest; false if all are in use.
    fn make_room(&mut self) -> bool {
        let idle = self
            .table
            .iter()
            .filter(|(_, e)| matches!(e.neighbour.state, Nud::STALE | Nud::FAILED | Nud::NONE));
        let Some(key) = idle.min_by_key(|(key, e)| (e.updated, **key)).map(|(key, _)| *key) else {
            return false;
        };
        self.table.remove(&key);
        self.learned.push(Learned { key, neighbour: None });
        true
    }
}

fn conf(env: Env<'_>, key: Key) -> crate::sysctl::NeighConf {
    let iface = env.state.ifaces.get(key.0);
    iface.map(|i| if key.1.is_ipv4() { i.neigh4 } else { i.neigh6 }).unwrap_or_default()
}

fn multicast_probes(env: Env<'_>, key: Key) -> i64 {
    conf(env, key).mcast_solicit
}

/// `retrans_time_ms`, at least the kernel's hundredth of a second.
fn retransmission(env: Env<'_>, key: Key) -> Nanos {
    u64::try_from(conf(env, key).retrans_time_ms).unwrap_or(0).clamp(10, 3_600_000) * 1_000_000
}

/// `router_probe_interval`, in seconds.
fn probe_interval(env: Env<'_>, key: Key) -> Nanos {
    let seconds = env.state.ifaces.get(key.0).map_or(60, |iface| iface.conf6.router_probe_interval);
    u64::try_from(seconds).unwrap_or(0).min(1 << 20) * SECOND
}

/// `delay_first_probe_time`, in seconds.
fn delay(env: Env<'_>, key: Key) -> Nanos {
    u64::try_from(conf(env, key).delay_first_probe_time).unwrap_or(0).min(3600) * SECOND
}
