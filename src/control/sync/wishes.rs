//! What is asked of the kernel about neighbours: one question at a time for each, and a bounded number a second.
//!
//! Invariant: a wish that is not sent at once is sent later or was made again by then; memory is bounded. Called by the mirror.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::control::netlink;

/// A neighbour that was asked for is not asked for again this soon, unless the kernel has answered meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
/// Most questions in a slice of time; a scan of a large subnet must not keep control from its work.
const BURST: u32 = 100;
const SLICE: Duration = Duration::from_millis(50);
/// Most wishes that wait, and that are remembered.
const ROOM: usize = 4096;

type Key = (u32, IpAddr);
/// What the kernel says to a question.
type Answer = Result<(), netlink::Error>;

/// Wishes made and not answered.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    asked: AHashMap<Key, Instant>,
    waiting: VecDeque<Key>,
    slice: Option<(Instant, u32)>,
    /// Those to be asked for later, and when.
    later: AHashMap<Key, Instant>,
}

impl Wishes {
    /// Asks the kernel to resolve or to verify a neighbour, now or soon.
    pub(super) fn add(&mut self, oif: u32, addr: IpAddr, kernel: impl FnMut(u32, IpAddr) -> Answer) {
        let key = (oif, addr);
        let now = Instant::now();
        if self.asked.get(&key).is_some_and(|at| now.duration_since(*at) < AGAIN) {
            return;
        }
        if self.asked.len() >= ROOM {
            self.asked.retain(|_, at| now.duration_since(*at) < AGAIN);
        }
        if self.waiting.len() >= ROOM || self.asked.len() >= ROOM {
            return;
        }
        self.asked.insert(key, now);
        self.waiting.push_back(key);
        self.flush(kernel);
    }

    /// Keeps a wish for later; the first time counts.
    pub(super) fn later(&mut self, oif: u32, addr: IpAddr, at: Instant) {
        if self.later.len() < ROOM {
            self.later.entry((oif, addr)).or_insert(at);
        }
    }

    /// Those kept whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Key> {
        let due: Vec<Key> = self.later.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        self.later.retain(|_, at| *at > now);
        due
    }

    /// The kernel has said something about a neighbour: it may be asked again.
    pub(super) fn answered(&mut self, oif: u32, addr: IpAddr) {
        self.asked.remove(&(oif, addr));
    }

    /// Sends what waits, as far as the bound allows.
    pub(super) fn flush(&mut self, mut kernel: impl FnMut(u32, IpAddr) -> Answer) {
        let now = Instant::now();
        while let Some((oif, addr)) = self.waiting.pop_front() {
            let (start, sent) = self.slice.filter(|(start, _)| now < *start + SLICE).unwrap_or((now, 0));
            if sent >= BURST {
                self.waiting.push_front((oif, addr));
                return;
            }
            self.slice = Some((start, sent + 1));
            match kernel(oif, addr) {
                // Its table is full: there may be room later. Linux: ___neigh_create.
                Err(error) if error.is(libc::ENOBUFS) => {
                    self.waiting.push_back((oif, addr));
                    self.slice = Some((start, BURST));
                }
                // The link may have gone, or be down: then nothing can be resolved there, and the frames wait in vain.
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// How long until more may be sent; `None` if nothing waits.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.waiting.front()?;
        let (start, _) = self.slice?;
        Some((start + SLICE).saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error as Io;
    use std::thread::sleep;

    #[test]
    fn a_full_table_is_asked_again() {
        let full = || netlink::Error::Refused {
            what: "add neighbour".into(),
            source: Io::from_raw_os_error(libc::ENOBUFS),
            text: String::new(),
        };
        let (mut wishes, host) = (Wishes::default(), IpAddr::from([10, 0, 0, 1]));
        wishes.add(2, host, |_, _| Err(full()));
        sleep(wishes.pause().unwrap());
        let mut asked = Vec::new();
        wishes.flush(|_, to| {
            asked.push(to);
            Ok(())
        });
        assert_eq!((asked, wishes.pause()), (vec![host], None));
    }

    #[test]
    fn what_is_refused_for_good_is_not_asked_again() {
        let gone = |_, _| {
            let source = Io::from_raw_os_error(libc::ENODEV);
            Err(netlink::Error::Refused { what: "add neighbour".into(), source, text: String::new() })
        };
        let mut wishes = Wishes::default();
        wishes.add(2, IpAddr::from([10, 0, 0, 1]), gone);
        assert_eq!(wishes.pause(), None);
    }
}
