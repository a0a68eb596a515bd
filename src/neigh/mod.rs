//! Packets that wait for a next hop's link-layer address, and what the control thread is asked about next hops.
//!
//! No table here is ever full: a next hop has no entry while packets wait for it, and the queue is bounded by itself. Where the
//! kernel's table is full, it drops a packet for which it would need another entry; here the packet waits, and control asks
//! the kernel again.
//!
//! The addresses themselves are in `warren_fib` (`View::neighbour`); `forward::act` fills these, workers empty them.

mod hold;

pub use hold::{Held, Hold, Waiting};

use std::net::IpAddr;

/// A wish to the control thread about a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Packets wait: have the kernel resolve it (`NTF_USE`).
    Resolve {
        /// Interface index.
        oif: u32,
        /// The next hop.
        next: IpAddr,
    },
    /// A gateway that failed was passed by: ask once more when `router_probe_interval` is over (RFC 4191 3.5).
    Probe {
        /// Interface index.
        oif: u32,
        /// The gateway.
        next: IpAddr,
    },
    /// A stale entry is in use: have the kernel verify it (`NTF_USE`).
    Used {
        /// Interface index.
        oif: u32,
        /// The next hop.
        next: IpAddr,
    },
}

/// The wishes of one batch: a list of fixed size. One that does not fit is dropped; the next packet wishes again.
#[derive(Debug)]
pub struct Asks(Vec<Ask>);

impl Asks {
    /// Room for `capacity` wishes, allocated once.
    pub fn new(capacity: usize) -> Asks {
        Asks(Vec::with_capacity(capacity))
    }

    /// Adds a wish.
    pub fn push(&mut self, ask: Ask) {
        if self.0.len() < self.0.capacity() {
            self.0.push(ask);
        }
    }

    /// Takes all, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Ask> + '_ {
        self.0.drain(..)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
