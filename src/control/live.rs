//! The control thread's loop: follows the kernel, takes interfaces and gives them back, renews the hold on them.
//!
//! Invariant: whatever goes wrong ends with the kernel forwarding. The hold is renewed only while every worker runs; a lapsed
//! hold means that the rings are emptied unread before anything is taken again. `cli::run` starts it and calls it.

mod event;
mod stop;
mod take;

use super::choose::{self, Choice, Refusal, Wish};
use super::crew::Crew;
use super::grip::{ChangeError, Grip};
use super::guard::GuardError;
use super::guard::foreign::{self, ForeignError, Interface, Watcher};
use super::netlink::{Family, LinkMsg, Socket};
use super::rings::{RingError, Taken};
use super::sync::Mirror;
use crate::port::PortError;
use crate::port::post::{Lease, News};
use crate::port::wait::Waker;
use crate::stats::MAX_SLOTS;
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};
use warren_fib::Prefix;

/// How often the hold is renewed. The guard stands aside after five times this.
const RENEWAL: Duration = Duration::from_millis(200);
/// How often to look for what announces itself to nobody.
const LOOK: Duration = Duration::from_secs(1);
/// How soon to look again once an interface was given back.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// Most interfaces that workers send on; the same number is counted separately.
const WAYS_MAX: usize = MAX_SLOTS;
/// How often a survey is tried again while interfaces come and go.
const SURVEYS: usize = 3;

/// Why control cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// An interface that was named cannot be taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another warren guards it.
    #[error("{0}: another warren has taken it; stop that one, or take over from it with `--replace`")]
    Held(String),
    /// The mirror or a request of ours.
    #[error(transparent)]
    Netlink(#[from] super::netlink::Error),
    /// The mirror.
    #[error(transparent)]
    Sync(#[from] super::sync::SyncError),
    /// The guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The guard, while `left` changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The search for what would be bypassed.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A system call of the loop itself.
    #[error("cannot {doing}: {source}{}", cure(source))]
    System {
        /// What.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What other threads want of control. Wake it after sending.
pub enum Request {
    /// Look at the mirror and answer by other means. Keep it short: control does nothing else meanwhile.
    Look(Box<dyn FnOnce(&mut Mirror) + Send>),
    /// Give everything back and end; the sender is told when the kernel forwards again.
    Stop(Option<Sender<()>>),
}

/// What control is made of.
pub struct Parts {
    /// The mirror, synchronised.
    pub mirror: Mirror,
    /// The workers, running.
    pub crew: Crew,
    /// Their news.
    pub news: Receiver<News>,
    /// Until when they forward.
    pub lease: Lease,
    /// What other threads want.
    pub requests: Receiver<Request>,
    /// Ends the loop's sleep.
    pub waker: Waker,
    /// What the user wants.
    pub wish: Wish,
    /// Tells the user one line.
    pub say: fn(&str),
    /// Called each time that forwarding begins or its interfaces change, with their names.
    pub forwarding: fn(&[&str]),
}

/// Said where flows may take other next hops than with the kernel.
const OWN_SEED: &str = "the kernel's seed for choosing among next hops is its secret: flows may move to another one; \
    cure: `sysctl -w net.ipv4.fib_multipath_hash_seed=1`";

/// The loop's state.
pub struct Live {
    parts: Parts,
    grip: Grip,
    watcher: Watcher,
    socket: Socket,
    taken: BTreeMap<u32, Taken>,
    /// Why an interface that is to be taken could not be.
    troubles: BTreeMap<u32, String>,
    /// Interfaces that workers can send on.
    ways: BTreeSet<u32>,
    /// Lines that were told and still hold.
    told: BTreeSet<String>,
    /// Families that stay with the kernel.
    kept_families: BTreeSet<Family>,
    /// What the mirror has gathered waits for a worker.
    unpublished: bool,
    /// Interfaces are to be looked at again.
    look: bool,
    look_due: Instant,
    renewed: Instant,
    stopping: Option<Vec<Sender<()>>>,
}

impl Live {
    /// Looks round, without taking anything yet. Fails if a named interface cannot be taken for a reason that stays.
    pub fn new(mut parts: Parts, replacing: bool) -> Result<Live, LiveError> {
        // Before the first look, so that no change falls in between.
        let watcher = Watcher::new().map_err(failed("watch for firewalls"))?;
        let grip = Grip::new(&parts.mirror.writer().left(), parts.lease.clone())?;
        if let Some(reason) = grip.fallback_reason() {
            (parts.say)(&format!("guarding by nftables, which is slower: {reason}"));
        }
        let mut live = Live {
            parts,
            grip,
            watcher,
            socket: Socket::open()?,
            taken: BTreeMap::new(),
            troubles: BTreeMap::new(),
            ways: BTreeSet::new(),
            told: BTreeSet::new(),
            kept_families: BTreeSet::new(),
            unpublished: false,
            look: true,
            look_due: Instant::now(),
            renewed: Instant::now(),
            stopping: None,
        };
        let links = live.socket.links()?;
        let (candidates, refused) = live.candidates(&links);
        if let Some(refusal) = refused.into_iter().next() {
            return Err(refusal.into());
        }
        for link in candidates {
            if !replacing && super::guard::stands_on(link.index)? {
                return Err(LiveError::Held(link.name.clone()));
            }
        }
        Ok(live)
    }

    fn candidates<'l>(&mut self, links: &'l [LinkMsg]) -> (Vec<&'l LinkMsg>, Vec<Refusal>) {
        let ifaces = &self.parts.mirror.writer().draft().ifaces;
        choose::candidates(&self.parts.wish, links, |index| {
            ifaces.get(index).is_some_and(|i| !(i.addrs4.is_empty() && i.addrs6.is_empty()))
        })
    }

    /// Brings what is taken in line with links, findings and the wish.
    fn reconsider(&mut self) -> Result<(), LiveError> {
        (self.look, self.look_due) = (false, Instant::now() + LOOK);
        let (choice, links) = self.survey()?;
        let gone: Vec<u32> =
            self.taken.keys().filter(|index| !choice.take.contains_key(index)).copied().collect();
        for index in gone {
            self.give_back(index)?;
        }
        self.leave_families(&choice)?;
        self.take_all(&choice)?;
        self.open_ways(&links)?;
        self.mark_taken()?;
        self.hold()?;
        self.tell(&choice);
        Ok(())
    }

    /// What to take as things are. As long as it cannot be told what would be bypassed, nothing is taken.
    fn survey(&mut self) -> Result<(Choice, Vec<LinkMsg>), LiveError> {
        let (mut last, mut links) = (String::new(), Vec::new());
        for _ in 0..SURVEYS {
            links = self.socket.links()?;
            let (candidates, refused) = self.candidates(&links);
            let interfaces: Vec<Interface<'_>> = candidates.iter().map(|l| interface(l)).collect();
            match foreign::find(&interfaces) {
                Ok(findings) => {
                    let mut choice = choose::choose(&self.parts.wish, &candidates, &findings);
                    choice.lines.extend(refused.iter().map(ToString::to_string));
                    return Ok((choice, links));
                }
                // An interface may have gone since the links were listed.
                Err(error) => last = error.to_string(),
            }
        }
        let line =
            format!("everything stays with the kernel, because firewalls cannot be looked for: {last}");
        Ok((Choice { lines: vec![line], ..Choice::default() }, links))
    }

    /// Leaves whole families to the kernel: those that something filters, and those that the mirror cannot carry.
    fn leave_families(&mut self, choice: &Choice) -> Result<(), LiveError> {
        let uncarried = self.parts.mirror.refusals().into_iter().map(|r| r.family);
        let kept: BTreeSet<Family> = uncarried.chain(choice.kept_families.iter().copied()).collect();
        if kept == self.kept_families {
            return Ok(());
        }
        let v4 = kept.contains(&Family::V4).then_some(Prefix::ANY);
        let v6 = kept.contains(&Family::V6).then_some(Prefix::ANY);
        self.parts.mirror.leave_also(v4.into_iter().collect(), v6.into_iter().collect());
        for family in self.kept_families.difference(&kept) {
            let name = if *family == Family::V4 { "IPv4" } else { "IPv6" };
            (self.parts.say)(&format!("{name} goes through warren again"));
        }
        self.kept_families = kept;
        self.publish()
    }

    /// Says what the user should know, each line once for as long as it holds.
    fn tell(&mut self, choice: &Choice) {
        let uncarried = self.parts.mirror.refusals().into_iter().map(|r| match r.family {
            Family::V4 => format!("IPv4 stays with the kernel: {}", r.reason),
            Family::V6 => format!("IPv6 stays with the kernel: {}", r.reason),
        });
        let seed = self.parts.mirror.chooses_by_own_seed().then(|| OWN_SEED.to_owned());
        let known = choice.lines.iter().chain(self.troubles.values()).cloned();
        let lines: BTreeSet<String> = known.chain(uncarried).chain(seed).collect();
        lines.difference(&self.told).for_each(|line| (self.parts.say)(line));
        self.told = lines;
    }

    /// Publishes what the mirror has gathered, in step with the guard; later if a worker is stuck.
    fn publish(&mut self) -> Result<(), LiveError> {
        let left = self.parts.mirror.writer().left();
        self.unpublished = !self.grip.before_publishing(&left, &self.parts.crew)?;
        if !self.unpublished {
            self.parts.mirror.publish();
            self.grip.after_publishing(&self.parts.crew)?;
        }
        Ok(())
    }
}

/// What the search for filters has to know.
fn interface(link: &LinkMsg) -> Interface<'_> {
    let bridge = link.kind.as_deref() == Some("bridge");
    Interface { index: link.index, name: &link.name, bridge, qdisc: &link.qdisc, xdp: link.xdp }
}

fn cure(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (run as root, or with CAP_NET_ADMIN and CAP_NET_RAW)",
        _ => "",
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> LiveError {
    move |source| LiveError::System { doing, source }
}
