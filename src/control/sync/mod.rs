//! The mirror: keeps the published state equal to what the kernel has.
//!
//! It subscribes first, then dumps everything on other sockets, then follows the events, also those that came meanwhile. Lost
//! events (ENOBUFS) and interrupted dumps start the load again, which is a comparison that repairs; the same comparison, run
//! slowly in the background, is the audit. Much that the kernel does is not announced: the silent removal of IPv4 routes and
//! next-hop objects follows from link and address events (`events`), most sysctls are read anew (`sysctls`).
//!
//! Invariant: nothing here blocks for longer than a slice of a dump, and nothing that the kernel sends panics. One thread,
//! that of control, uses it; it must stay in the network namespace in which it called [`Mirror::start`].

mod address;
mod audit;
mod convert;
mod events;
mod labels;
mod pass;
mod sweep;
mod sysctls;
mod told;
mod uncarried;
mod wishes;

pub use audit::Audit;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ahash::AHashSet;
use warren_fib::{Neighbour, Nud, Prefix};

use crate::control::netlink::{Error, Event, Events, Family, GROUPS, LinkMsg, Socket};
use crate::state::{StateError, Writer};
use pass::{Pass, Rest};
use told::Told;
use uncarried::Uncarried;
use wishes::Wishes;

/// How often what is not announced is read anew.
const POLL: Duration = Duration::from_secs(1);
/// Pauses before a load starts again, doubled each time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long [`Mirror::start`] and [`Mirror::audit_now`] try.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most datagrams of events that one call of [`Mirror::handle`] takes.
const BATCH: usize = 1024;
/// Most prefixes that are looked at for withdrawn routes in one call.
const WITHDRAW: usize = 20_000;

/// Why the mirror cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The netlink sockets failed.
    #[error(transparent)]
    Netlink(#[from] Error),
    /// The kernel's state changes faster than it can be read.
    #[error("the kernel's state could not be read within {} s: {last}; it changes too fast", PATIENCE.as_secs())]
    NeverSettled {
        /// What went wrong last.
        last: String,
    },
}

/// What a call of [`Mirror::handle`] has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Events applied.
    pub events: usize,
    /// The snapshot must be published: interfaces, sysctls, rules or `left` differ. See [`Mirror::publish`].
    pub snapshot: bool,
    /// A link came, went or changed.
    pub links: bool,
    /// A neighbour came, went or changed: frames may wait for it.
    pub neighbours: bool,
    /// A route or next-hop object came, went or changed.
    pub routes: bool,
}

/// A family that the mirror cannot carry, and why: the caller hands it back to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The family.
    pub family: Family,
    /// One line that names the object and the cure.
    pub reason: String,
}

/// How the mirror stands, for `show sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The mirror holds all that the kernel has told so far.
    pub synced: bool,
    /// Number of the last snapshot.
    pub generation: u64,
    /// IPv4 routes.
    pub routes4: usize,
    /// IPv6 routes.
    pub routes6: usize,
    /// Neighbours.
    pub neighbours: usize,
    /// Events applied since the start.
    pub events: u64,
    /// Loads after the first one.
    pub resyncs: u64,
    /// How often the kernel has dropped events.
    pub overruns: u64,
    /// Differences that audits have found and repaired (`fib_divergence`).
    pub divergence: u64,
    /// Audits that have looked at everything.
    pub audits: u64,
    /// Time since the last event.
    pub last_event: Option<Duration>,
    /// Families that are not carried.
    pub refusals: Vec<Refusal>,
}

/// What is read anew at the end of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Stale {
    addresses6: bool,
    rules: bool,
    nexthops: bool,
    proxies: bool,
    sysctls: bool,
}

/// Prefixes that events have touched since a comparison began: what a dump says of them may be old.
#[derive(Debug, Default)]
struct Disturbed {
    v4: AHashSet<(u32, Prefix<Ipv4Addr>)>,
    v6: AHashSet<(u32, Prefix<Ipv6Addr>)>,
    /// Something happened that removes routes in silence.
    all: bool,
    /// A comparison is going on.
    wanted: bool,
}

/// Numbers for [`Status`].
#[derive(Debug, Default)]
struct Counts {
    events: u64,
    resyncs: u64,
    overruns: u64,
    divergence: u64,
    audits: u64,
    last_event: Option<Instant>,
}

/// Why a family is not carried, by cause.
#[derive(Debug, Default)]
struct Reasons {
    labels: [Option<String>; 2],
    rules: [Option<String>; 2],
    routes: [Option<String>; 2],
}

/// The mirror. Owns the writer of the published state.
#[derive(Debug)]
pub struct Mirror {
    writer: Writer,
    events: Events,
    requests: Socket,
    links: BTreeMap<u32, LinkMsg>,
    stale: Stale,
    disturbed: Disturbed,
    uncarried: Uncarried,
    doubts: audit::Doubts,
    /// Withdrawn routes wait to be cleared away.
    withdrawing: bool,
    /// Source addresses that IPv6 routes prefer: their loss changes routes in silence.
    prefsrcs6: AHashSet<Ipv6Addr>,
    /// IPv6 addresses that go because their link has gone down.
    doomed6: AHashSet<(u32, Ipv6Addr)>,
    /// Some IPv6 route has an MTU, which changes with the link's in silence.
    mtus6: bool,
    /// There was a route that may have several next hops.
    several: bool,
    changes: Changes,
    /// A load or an audit in progress.
    pass: Option<Pass>,
    /// When the next one begins.
    rest: Rest,
    /// What an audit that was given up has repaired.
    carried: Audit,
    /// What the last audit found, until somebody asks.
    last_audit: Option<Audit>,
    synced: bool,
    next_poll: Instant,
    told: Told,
    wishes: Wishes,
    reasons: Reasons,
    counts: Counts,
}

impl Mirror {
    /// Subscribes to the kernel's events in the calling thread's namespace and loads everything into `writer`. Not yet published.
    ///
    /// # Errors
    /// [`SyncError`] if netlink fails, or the kernel's state never settles.
    pub fn start(writer: Writer) -> Result<Self, SyncError> {
        Self::start_with(writer, Socket::open()?.subscribe(GROUPS)?)
    }

    /// As [`Mirror::start`], with a receive buffer of about `bytes`: small ones lose events, which tests want.
    ///
    /// # Errors
    /// As [`Mirror::start`].
    pub fn start_with_buffer(writer: Writer, bytes: usize) -> Result<Self, SyncError> {
        Self::start_with(writer, Socket::open()?.subscribe_with_buffer(GROUPS, bytes)?)
    }

    fn start_with(writer: Writer, events: Events) -> Result<Self, SyncError> {
        let now = Instant::now();
        let mut mirror = Self {
            writer,
            events,
            requests: Socket::open()?,
            links: BTreeMap::new(),
            stale: Stale::default(),
            disturbed: Disturbed::default(),
            uncarried: Uncarried::default(),
            doubts: audit::Doubts::default(),
            withdrawing: false,
            prefsrcs6: AHashSet::new(),
            doomed6: AHashSet::new(),
            mtus6: false,
            several: false,
            changes: Changes::default(),
            pass: None,
            rest: Rest::load(now, Duration::ZERO),
            carried: Audit::default(),
            last_audit: None,
            synced: false,
            next_poll: now,
            told: Told::new(now),
            wishes: Wishes::default(),
            reasons: Reasons::default(),
            counts: Counts::default(),
        };
        while !mirror.synced {
            mirror.patient(now)?;
        }
        Ok(mirror)
    }

    /// The descriptor that becomes readable with events.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// How long at most the caller may wait before the next [`Mirror::handle`] if no event comes.
    pub fn timeout(&self) -> Duration {
        let now = Instant::now();
        if self.withdrawing || self.pass.as_ref().is_some_and(Pass::is_load) {
            return Duration::ZERO;
        }
        let pause = self.pass.as_ref().map(|_| pass::PAUSE);
        // While a load is due nothing is polled.
        let next = if self.synced { self.next_poll.min(self.rest.until()) } else { self.rest.until() };
        let due = next.saturating_duration_since(now);
        pause.into_iter().chain(self.wishes.pause()).fold(due, Duration::min)
    }

    /// Takes what events there are and does what is due. Routes and neighbours are visible to workers at once; all else waits
    /// for [`Mirror::publish`], so that the caller can change the guard before or after it.
    ///
    /// # Errors
    /// [`SyncError::Netlink`] if a socket fails for good.
    pub fn handle(&mut self) -> Result<Changes, SyncError> {
        if self.synced {
            self.drain()?;
            let now = Instant::now();
            if now >= self.next_poll {
                self.next_poll = now + POLL;
                self.stale.proxies = true;
                self.stale.sysctls = true;
                self.stale.nexthops |= self.has_buckets();
                self.told.look();
                self.probe_due();
                self.check_labels()?;
            }
            self.refresh()?;
        }
        self.run_pass()?;
        if self.withdrawing {
            self.withdrawing = self.writer.withdraw(WITHDRAW);
        }
        if self.synced {
            self.refresh_told()?;
        }
        self.wishes.flush(|oif, to| self.requests.use_neighbour(oif, to));
        self.changes.snapshot |= self.writer.changed();
        let done = std::mem::take(&mut self.changes);
        if done.routes || done.neighbours {
            self.writer.publish_routes();
        }
        Ok(done)
    }

    /// Makes the snapshot what workers read from their next batch on.
    pub fn publish(&mut self) {
        self.writer.publish();
    }

    /// The writer, for what does not come from the kernel: which interfaces are taken.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// The links as the kernel last described them, by index.
    pub fn links(&self) -> &BTreeMap<u32, LinkMsg> {
        &self.links
    }

    /// Asks the kernel to resolve a neighbour for which frames wait. One that had failed is no failure while it is
    /// searched for again, which the kernel does not announce. Linux: __neigh_event_send.
    pub fn resolve(&mut self, oif: u32, addr: IpAddr) {
        self.wishes.add(oif, addr, |oif, to| self.requests.use_neighbour(oif, to));
        let known = self.writer.neighbour(oif, addr);
        if let Some(failed) = known.filter(|known| known.state == Nud::FAILED) {
            let again = Neighbour { state: Nud::INCOMPLETE, ..failed };
            self.writer.set_neighbour(oif, addr, Some(again));
        }
    }

    /// Has the kernel ask once more for a gateway that failed, when `router_probe_interval` is over. RFC 4191 3.5; Linux: rt6_probe,
    /// which asks only if a packet passes it by then; here one did before.
    pub fn probe(&mut self, oif: u32, addr: IpAddr) {
        let interval =
            self.writer.draft().ifaces.get(oif).map_or(60, |iface| iface.conf6.router_probe_interval);
        let wait = Duration::from_secs(u64::try_from(interval).unwrap_or(0).min(1 << 20));
        self.wishes.later(oif, addr, Instant::now() + wait);
    }

    /// Asks for those of the gateways that wait whose time has come and that have still failed.
    fn probe_due(&mut self) {
        for (oif, addr) in self.wishes.due(Instant::now()) {
            if self.writer.neighbour(oif, addr).is_some_and(|known| known.state == Nud::FAILED) {
                self.resolve(oif, addr);
                self.changes.neighbours = true;
            }
        }
    }

    /// Tells the kernel that a stale neighbour is in use, so that it verifies it.
    pub fn used(&mut self, oif: u32, addr: IpAddr) {
        self.wishes.add(oif, addr, |oif, to| self.requests.use_neighbour(oif, to));
    }

    /// Leaves these destinations to the kernel too.
    pub fn leave_also(&mut self, v4: Vec<Prefix<Ipv4Addr>>, v6: Vec<Prefix<Ipv6Addr>>) {
        self.uncarried.leave_also(v4, v6);
        self.uncarried.apply(&mut self.writer);
    }

    /// Whether flows choose among several next hops by a seed that only the kernel knows (`fib_multipath_hash_seed` is 0).
    pub fn chooses_by_own_seed(&self) -> bool {
        self.several && self.writer.draft().sysctl.ip4.fib_multipath_hash_seed == 0
    }

    /// Families that the mirror cannot carry at present.
    pub fn refusals(&self) -> Vec<Refusal> {
        let of = |family: Family| {
            let at = family as usize;
            let reason = |from: &[Option<String>; 2]| from.get(at).cloned().flatten();
            let Reasons { labels, rules, routes } = &self.reasons;
            let reason = reason(labels).or_else(|| reason(rules)).or_else(|| reason(routes))?;
            Some(Refusal { family, reason })
        };
        Family::BOTH.into_iter().filter_map(of).collect()
    }

    /// How the mirror stands. Linear in the number of routes.
    pub fn status(&self) -> Status {
        Status {
            synced: self.synced,
            generation: self.writer.draft().generation,
            routes4: self.writer.count::<Ipv4Addr>(),
            routes6: self.writer.count::<Ipv6Addr>(),
            neighbours: self.writer.neighbours().count(),
            events: self.counts.events,
            resyncs: self.counts.resyncs,
            overruns: self.counts.overruns,
            divergence: self.counts.divergence,
            audits: self.counts.audits,
            last_event: self.counts.last_event.map(|at| at.elapsed()),
            refusals: self.refusals(),
        }
    }

    /// Applies the events that wait, up to a batch.
    fn drain(&mut self) -> Result<(), SyncError> {
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..BATCH {
            let more = self.events.try_recv(&mut events);
            let count = events.len();
            if count > 0 {
                self.changes.events += count;
                self.counts.events += count as u64;
                self.counts.last_event = Some(Instant::now());
            }
            for event in events.drain(..) {
                self.apply(event);
            }
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::Overrun) => {
                    self.counts.overruns += 1;
                    self.lost();
                    break;
                }
                // One odd message hides what it said: the audit will find out.
                Err(Error::Malformed { .. }) => self.rest.hurry(Duration::ZERO),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Notes that a family cannot be carried as it is. It is tried again by and by.
    fn refuse(&mut self, family: Family, error: &StateError) {
        if let Some(reason) = self.reasons.routes.get_mut(family as usize) {
            reason.get_or_insert_with(|| error.to_string());
        }
        self.rest.hurry(Duration::from_secs(10));
    }
}

/// Nanoseconds of the clock that workers use.
fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
