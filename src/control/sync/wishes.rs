//! What is asked of the kernel about neighbours: one question at a time for each, and a bounded number a second.
//!
//! Invariant: a wish that is not sent at once is sent later or was made again by then; memory is bounded. Called by the mirror.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::control::netlink::Socket;

/// A neighbour that was asked for is not asked for again this soon, unless the kernel has answered meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
/// Most questions in a slice of time; a scan of a large subnet must not keep control from its work.
const BURST: u32 = 100;
const SLICE: Duration = Duration::from_millis(50);
/// Most wishes that wait, and that are remembered.
const ROOM: usize = 4096;

type Key = (u32, IpAddr);

/// Wishes made and not answered.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    asked: AHashMap<Key, Instant>,
    waiting: VecDeque<Key>,
    slice: Option<(Instant, u32)>,
}

impl Wishes {
    /// Asks the kernel to resolve or to verify a neighbour, now or soon.
    pub(super) fn add(&mut self, oif: u32, addr: IpAddr, requests: &mut Socket) {
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
        self.flush(requests);
    }

    /// The kernel has said something about a neighbour: it may be asked again.
    pub(super) fn answered(&mut self, oif: u32, addr: IpAddr) {
        self.asked.remove(&(oif, addr));
    }

    /// Sends what waits, as far as the bound allows.
    pub(super) fn flush(&mut self, requests: &mut Socket) {
        let now = Instant::now();
        while let Some((oif, addr)) = self.waiting.pop_front() {
            let (start, sent) = self.slice.filter(|(start, _)| now < *start + SLICE).unwrap_or((now, 0));
            if sent >= BURST {
                self.waiting.push_front((oif, addr));
                return;
            }
            self.slice = Some((start, sent + 1));
            // The link may have gone, or be down: then nothing can be resolved there, and the frames wait in vain.
            let _ = requests.use_neighbour(oif, addr);
        }
    }

    /// How long until more may be sent; `None` if nothing waits.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.waiting.front()?;
        let (start, _) = self.slice?;
        Some((start + SLICE).saturating_duration_since(Instant::now()))
    }
}
