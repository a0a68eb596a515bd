//! What passes between the control thread and a worker: orders, news, a wake-up, a heartbeat, and the lease.
//!
//! `worker` and `control` know nothing of each other; whoever starts them makes [`pairs`] of ends.
//! Invariant: a worker's heartbeat grows before it reads orders and state, so at the next beat but one after a publication or
//! an order nothing older is in use, and the order has been carried out as far as one round goes.

use super::wait::{Sleep, Waker};
use super::{PortError, Rx, Tx};
use crate::neigh::Ask;
use arrayvec::ArrayString;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// News that wait for the control thread; what does not fit is dropped by the worker, and wished again.
const NEWS: usize = 4096;
/// Calls that wait for a worker: further ones would tell it nothing new.
const CALLS: usize = 64;

/// What control wants of a worker.
#[derive(Debug)]
pub enum Order {
    /// Forward what comes in on this interface by this half.
    Receive(u32, Box<Rx>),
    /// Forward what still waits in the half of this interface, then give it back. Its gate is closed already.
    Return(u32),
    /// Send on this interface by this half.
    Send(u32, Box<Tx>),
    /// The interface is gone: give its sending half back.
    Forget(u32),
    /// Neighbours have changed: look after the packets that wait for them.
    Neighbours,
    /// Forward what still waits, give everything back and end. The gates are closed already.
    Stop,
}

/// What a worker tells control.
#[derive(Debug)]
pub enum News {
    /// A wish about a neighbour.
    Ask(Ask),
    /// An interface's receiving half that was asked back, or that failed. Closing it takes the kernel milliseconds, which a
    /// worker does not have.
    Returned(u32, Box<Rx>, Option<PortError>),
    /// A sending half that is of no more use.
    Unused(Box<Tx>),
    /// A line for the user, of which there are few in any time.
    Line(ArrayString<112>),
}

/// Until when the guard keeps the kernel from forwarding, on the monotonic clock. Shared by all.
///
/// A worker forwards a frame only if it was in the ring before this moment: behind it the kernel forwards.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<AtomicU64>);

impl Lease {
    /// The guard stands until `until` (nanoseconds).
    pub fn extend(&self, until: u64) {
        self.0.store(until, Ordering::SeqCst);
    }

    /// Whether frames that were received before `now` are warren's to forward.
    pub fn holds(&self, now: u64) -> bool {
        now < self.0.load(Ordering::SeqCst)
    }
}

/// Control's end.
#[derive(Debug)]
pub struct Post {
    orders: Sender<Order>,
    waker: Waker,
    beats: Arc<AtomicU64>,
}

impl Post {
    /// Sends an order and wakes the worker.
    pub fn order(&self, order: Order) -> io::Result<()> {
        // Nobody listens when the worker has ended; its end is noticed by its news running dry.
        let _ = self.orders.send(order);
        self.waker.wake()
    }

    /// Tells the worker that neighbours have changed. Never piles up.
    pub fn call(&self) -> io::Result<()> {
        if self.orders.len() < CALLS { self.order(Order::Neighbours) } else { Ok(()) }
    }

    /// Ends the worker's present or next sleep.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Rounds that the worker has begun.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::SeqCst)
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct Desk {
    /// What control wants.
    pub orders: Receiver<Order>,
    /// Until a frame or control comes.
    pub sleep: Sleep,
    /// Until when frames are warren's.
    pub lease: Lease,
    beats: Arc<AtomicU64>,
    news: Sender<News>,
    control: Waker,
}

impl Desk {
    /// A round begins.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells control, without ever waiting. Gives back what control has no room for.
    pub fn tell(&self, news: News) -> Result<(), News> {
        self.news.try_send(news).map_err(crossbeam_channel::TrySendError::into_inner)?;
        // A wake-up fails only if the descriptor is bad; control looks at its news several times a second anyway.
        let _ = self.control.wake();
        Ok(())
    }
}

/// Ends for `workers` workers, whose news come together at the receiver and wake `control`.
pub fn pairs(
    workers: usize,
    lease: &Lease,
    control: &Waker,
) -> io::Result<(Vec<Post>, Vec<Desk>, Receiver<News>)> {
    let (news, received) = bounded(NEWS);
    let mut posts = Vec::with_capacity(workers);
    let mut desks = Vec::with_capacity(workers);
    for _ in 0..workers {
        let (sender, orders) = unbounded();
        let (waker, beats) = (Waker::new()?, Arc::new(AtomicU64::new(0)));
        posts.push(Post { orders: sender, waker: waker.try_clone()?, beats: Arc::clone(&beats) });
        let (lease, news, control) = (lease.clone(), news.clone(), control.try_clone()?);
        desks.push(Desk { orders, sleep: Sleep::new(waker)?, lease, beats, news, control });
    }
    Ok((posts, desks, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_never_pile_up() {
        let control = Waker::new().unwrap();
        let (posts, desks, _news) = pairs(1, &Lease::default(), &control).unwrap();
        (0..1000).for_each(|_| posts[0].call().unwrap());
        assert_eq!(desks[0].orders.len(), CALLS);
        desks[0].beat();
        assert_eq!(posts[0].beats(), 1);
    }

    #[test]
    fn a_lease_ends() {
        let lease = Lease::default();
        assert!(!lease.holds(0), "nothing is warren's before the guard stands");
        lease.clone().extend(5);
        assert!(lease.holds(4) && !lease.holds(5));
    }

    #[test]
    fn news_end_with_the_last_worker() {
        let control = Waker::new().unwrap();
        let (_posts, mut desks, news) = pairs(2, &Lease::default(), &control).unwrap();
        desks.pop();
        assert!(news.try_recv().is_err_and(|e| e.is_empty()));
        desks.pop();
        assert!(news.try_recv().is_err_and(|e| e.is_disconnected()));
    }
}
