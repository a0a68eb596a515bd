//! The workers as control sees them: orders to all, proof that each runs, and the wait until none uses anything old.
//!
//! Invariant: a sleeping worker counts as alive, because it answers a wake-up with a round. Called by `control::live`.

use crate::frame::BATCH;
use crate::port::afpacket::Profile;
use crate::port::post::{Order, Post};
use std::io;
use std::time::{Duration, Instant};

/// Rounds that empty a full ring, a batch each.
const ROUNDS: u64 = 2;
const _: () = assert!(Profile::LARGE.slots() as usize <= ROUNDS as usize * BATCH);
/// A round takes microseconds; a worker that needs this long for three is stuck.
const GRACE: Duration = Duration::from_millis(100);

/// All workers.
#[derive(Debug)]
pub struct Crew {
    posts: Vec<Post>,
    /// Heartbeats at the last roll call.
    called: Vec<u64>,
}

impl Crew {
    /// The workers behind these posts.
    pub fn new(posts: Vec<Post>) -> Crew {
        let called = posts.iter().map(Post::beats).collect();
        Crew { posts, called }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Gives each worker its order.
    pub fn order(&self, mut each: impl FnMut() -> Order) -> io::Result<()> {
        self.posts.iter().try_for_each(|post| post.order(each()))
    }

    /// Gives one order to each worker, in turn, as far as there are any.
    pub fn hand_out(&self, orders: impl Iterator<Item = Order>) -> io::Result<()> {
        self.posts.iter().zip(orders).try_for_each(|(post, order)| post.order(order))
    }

    /// Tells all that neighbours have changed.
    pub fn neighbours_changed(&self) -> io::Result<()> {
        self.posts.iter().try_for_each(Post::call)
    }

    /// The workers that have begun no round since the last roll call, by number. Wakes all, so that each can answer the next.
    pub fn roll_call(&mut self) -> io::Result<Vec<usize>> {
        let mut stuck = Vec::new();
        for (number, (post, called)) in self.posts.iter().zip(&mut self.called).enumerate() {
            let beats = post.beats();
            if beats == *called {
                stuck.push(number);
            }
            *called = beats;
            post.wake()?;
        }
        Ok(stuck)
    }

    /// Waits until each worker has ended its present round and `ROUNDS` more: from then on none uses what was published before
    /// this call, orders given before it are carried out, and frames that were in the rings are gone. False if one is stuck.
    pub fn grace(&self) -> io::Result<bool> {
        let then: Vec<u64> = self.posts.iter().map(Post::beats).collect();
        self.posts.iter().try_for_each(Post::wake)?;
        let begin = Instant::now();
        for (post, then) in self.posts.iter().zip(then) {
            while post.beats() < then + 1 + ROUNDS {
                if begin.elapsed() > GRACE {
                    return Ok(false);
                }
                post.wake()?;
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::post::{Lease, pairs};
    use crate::port::wait::Waker;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn sleepers_answer_and_the_stuck_do_not() {
        let control = Waker::new().unwrap();
        let (posts, mut desks, _news) = pairs(2, &Lease::default(), &control).unwrap();
        let mut crew = Crew::new(posts);
        let stuck = desks.pop().unwrap();
        let sleeper = desks.pop().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|s| {
            let (desk, end) = (&sleeper, &over);
            s.spawn(move || {
                while !end.load(Ordering::SeqCst) {
                    desk.beat();
                    desk.sleep.wait(None).unwrap();
                }
            });
            crew.roll_call().unwrap();
            while crew.posts[0].beats() < 2 {
                std::thread::yield_now();
            }
            assert_eq!(crew.roll_call().unwrap(), [1], "the second never began a round");
            assert!(!crew.grace().unwrap());
            drop((stuck, crew.posts.pop()));
            assert!(crew.grace().unwrap());
            over.store(true, Ordering::SeqCst);
            crew.posts[0].wake().unwrap();
        });
    }
}
