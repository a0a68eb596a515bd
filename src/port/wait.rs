//! Idling: spin for a moment after the last frame, then sleep on ports, a wake-up and the nearest timer.
//!
//! Spinning gives 8 us latency where sleeping gives 31, at the price of a core; spinning briefly gives both
//! under load and costs nothing at rest. Workers call it when a round brought no frame.

use super::Rx;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use std::io;
use std::time::{Duration, Instant};

/// How long a worker looks again and again before it sleeps. Between 50 and 100 us: less, and a batch at a moderate
/// rate pays a wake-up (about 25 us); more only burns the core.
pub const SPIN: Duration = Duration::from_micros(75);

/// Decides between looking again and sleeping.
#[derive(Debug)]
pub struct Idle {
    since: Instant,
}

impl Idle {
    /// Busy at `now`.
    pub fn new(now: Instant) -> Idle {
        Idle { since: now }
    }

    /// A round brought frames.
    pub fn busy(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether an empty round should be followed by sleep.
    pub fn sleepy(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SPIN
    }
}

/// A wake-up that other threads send to a sleeping worker (an eventfd). A wake-up sent before the sleep counts.
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
}

impl Waker {
    /// No wake-up is pending.
    pub fn new() -> io::Result<Waker> {
        Ok(Waker { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Another handle of the same wake-up.
    pub fn try_clone(&self) -> io::Result<Waker> {
        Ok(Waker { fd: self.fd.try_clone()? })
    }

    /// Ends the present or the next sleep. Never blocks.
    pub fn wake(&self) -> io::Result<()> {
        match write(&self.fd, &1_u64.to_ne_bytes()) {
            // A full counter is a pending wake-up, too.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes a pending wake-up; false if there was none. For who polls the descriptor beside others.
    pub fn take(&self) -> bool {
        read(&self.fd, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sleeps until a frame waits at one of `ports`, `waker` is woken, or `limit` has passed (`None`: for ever). Returns
/// whether it was woken by `waker`. Call [`Rx::release`] on the ports before. An error of a port, such as its
/// interface going down, ends the sleep as well; [`Rx::receive`] then tells it. O(ports), and it allocates: it is
/// for times when there is nothing to do.
pub fn wait<'a>(
    ports: impl Iterator<Item = &'a Rx>,
    waker: &'a Waker,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let fds: Vec<BorrowedFd<'_>> = ports.filter_map(Rx::fd).chain([waker.fd.as_fd()]).collect();
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let limit = limit.and_then(|l| Timespec::try_from(l).ok());
    match poll(&mut polled, limit.as_ref()) {
        // A signal ends the sleep; the caller looks round and sleeps again.
        Ok(_) | Err(Errno::INTR) => Ok(waker.take()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_sleep_counts_once() {
        let waker = Waker::new().unwrap();
        let other = waker.try_clone().unwrap();
        other.wake().unwrap();
        other.wake().unwrap();
        assert!(wait([].into_iter(), &waker, None).unwrap(), "would sleep for ever if it were lost");
        assert!(!wait([].into_iter(), &waker, Some(Duration::from_millis(1))).unwrap());
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let waker = Waker::new().unwrap();
        let other = waker.try_clone().unwrap();
        let thread = std::thread::spawn(move || other.wake());
        assert!(wait([].into_iter(), &waker, None).unwrap());
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn sleep_comes_only_after_the_spin() {
        let start = Instant::now();
        let mut idle = Idle::new(start);
        assert!(!idle.sleepy(start + SPIN / 2));
        assert!(idle.sleepy(start + SPIN));
        idle.busy(start + SPIN);
        assert!(!idle.sleepy(start + SPIN + SPIN / 2));
    }
}
