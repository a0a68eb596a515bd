//! Idling: spin for a moment after the last frame, then sleep on ports, a wake-up and the nearest timer.
//!
//! Spinning gives 8 us latency where sleeping gives 31, at the price of a core; spinning briefly gives both
//! under load and costs nothing at rest. Workers call it when a round brought no frame.

use super::Rx;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use std::io;
use std::mem::MaybeUninit;
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

/// A worker's sleep: ended by a frame at one of its ports, by a wake-up, or by time. An epoll set rather than poll, so that
/// going to sleep and waking up cost the same with two ports and with sixty, and no memory is asked for.
#[derive(Debug)]
pub struct Sleep {
    set: OwnedFd,
    waker: Waker,
}

/// What the set says of the waker; of ports it says their descriptor.
const WOKEN: u64 = u64::MAX;
/// Most that is heard at once; the rest ends the next sleep.
const HEARD: usize = 8;

impl Sleep {
    /// One that `waker` ends.
    pub fn new(waker: Waker) -> io::Result<Sleep> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&set, &waker, EventData::new_u64(WOKEN), EventFlags::IN)?;
        Ok(Sleep { set, waker })
    }

    /// Frames at this port end it from now on. So does an error such as the interface going down, which
    /// [`Rx::receive`] then tells. A port that cannot wait for frames changes nothing.
    pub fn add(&self, port: &Rx) -> io::Result<()> {
        let Some(fd) = port.fd() else { return Ok(()) };
        let data = EventData::new_u64(fd.as_raw_fd().unsigned_abs().into());
        Ok(epoll::add(&self.set, fd, data, EventFlags::IN)?)
    }

    /// Frames at this port end it no more.
    pub fn remove(&self, port: &Rx) {
        // Fails only for one that was never added.
        let _ = port.fd().map(|fd| epoll::delete(&self.set, fd));
    }

    /// Sleeps until something ends it or `limit` has passed (`None`: for ever); whether the waker did. Call
    /// [`Rx::release`] on the ports before. O(what ended it).
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit.and_then(|l| Timespec::try_from(l).ok());
        let mut heard = [MaybeUninit::uninit(); HEARD];
        match epoll::wait(&self.set, &mut heard, limit.as_ref()) {
            // Most sleeps end with a frame: then the waker needs no system call.
            Ok((heard, _)) => Ok(heard.iter().any(|e| e.data.u64() == WOKEN) && self.waker.take()),
            // A signal ends the sleep; the caller looks round and sleeps again.
            Err(Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
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
        let sleep = Sleep::new(waker).unwrap();
        assert!(sleep.wait(None).unwrap(), "would sleep for ever if it were lost");
        assert!(!sleep.wait(Some(Duration::from_millis(1))).unwrap());
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let waker = Waker::new().unwrap();
        let other = waker.try_clone().unwrap();
        let thread = std::thread::spawn(move || other.wake());
        assert!(Sleep::new(waker).unwrap().wait(None).unwrap());
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
