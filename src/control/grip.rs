//! The hold on forwarding: the guard in the kernel, the workers' lease, and `left`, kept in step.
//!
//! Invariant: a frame may be lost while things change, never forwarded twice. So the lease of the workers ends before that of
//! the guard. What comes to warren is guarded first, and published when the rings hold nothing older, which the kernel has
//! forwarded. What goes to the kernel is published first, and left by the guard when no worker uses the older state. Called by
//! `control::live`.

use super::crew::Crew;
use super::guard::{Guard, GuardError};
use crate::port::post::Lease;
use crate::state::Left;
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use warren_fib::{Ip, Prefix};

/// How long the guard stands without being renewed, in nanoseconds.
const LEASE: u64 = 1_000_000_000;

/// The guard with what it was told last.
#[derive(Debug)]
pub struct Grip {
    guard: Guard,
    lease: Lease,
    /// What the guard leaves to the kernel.
    left: BTreeSet<IpNet>,
    /// What workers leave already and the guard does not yet.
    late: BTreeSet<IpNet>,
    /// End of the lease, 0 while there is none.
    until: u64,
}

impl Grip {
    /// A guard that leaves `left` to the kernel and stands nowhere.
    pub fn new(left: &Left, lease: Lease) -> Result<Grip, GuardError> {
        let left = prefixes(left);
        let guard = Guard::new(&left.iter().copied().collect::<Vec<_>>())?;
        lease.extend(0);
        Ok(Grip { guard, lease, left, late: BTreeSet::new(), until: 0 })
    }

    /// Why the guard is the slower one, if it is.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.guard.fallback_reason()
    }

    /// Guards one more interface.
    pub fn attach(&mut self, index: u32) -> Result<(), GuardError> {
        self.guard.attach(index)
    }

    /// Gives an interface back to the kernel. Its ring is empty and its gate closed.
    pub fn detach(&mut self, index: u32) -> Result<(), GuardError> {
        self.guard.detach(index)
    }

    /// Before `new` is published: guards what comes to warren. False if it cannot be published yet, as a worker is stuck.
    pub fn before_publishing(&mut self, new: &Left, crew: &Crew) -> Result<bool, ChangeError> {
        let new = prefixes(new);
        let come: Vec<IpNet> = self.left.difference(&new).copied().collect();
        if !come.is_empty() {
            self.guard.claim(&come)?;
            if !crew.grace()? {
                return Ok(false);
            }
        }
        self.late = new.difference(&self.left).copied().collect();
        self.left.retain(|prefix| new.contains(prefix));
        Ok(true)
    }

    /// Once it is published: leaves to the kernel what goes to it, when every worker knows. Again later if one is stuck.
    pub fn after_publishing(&mut self, crew: &Crew) -> Result<(), ChangeError> {
        if !self.late.is_empty() && crew.grace()? {
            self.guard.leave(&self.late.iter().copied().collect::<Vec<_>>())?;
            self.left.append(&mut self.late);
        }
        Ok(())
    }

    /// The guard stands, and workers forward, for one more second.
    pub fn renew(&mut self) -> Result<(), GuardError> {
        // Read before the guard reads its own: the workers' lease must be the first to end.
        self.until = monotonic() + LEASE;
        self.guard.renew()?;
        self.lease.extend(self.until);
        Ok(())
    }

    /// Whether a second has passed since the last renewal: the kernel forwards, and may have forwarded what is in the rings.
    pub fn lapsed(&self) -> bool {
        self.until != 0 && monotonic() >= self.until
    }

    /// Whether workers forward.
    pub fn holds(&self) -> bool {
        self.until != 0
    }

    /// Lets the kernel forward from now on, everywhere. No worker may have anything left to forward.
    pub fn let_go(&mut self) -> Result<(), GuardError> {
        self.until = 0;
        self.lease.extend(0);
        self.guard.stand_aside()
    }
}

/// A change of `left` that the guard did not follow.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A worker could not be woken.
    #[error("cannot wake a worker: {0}")]
    Wake(#[from] io::Error),
}

/// Nanoseconds of the clock that the guard, the lease and the workers share.
pub fn monotonic() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

fn prefixes(left: &Left) -> BTreeSet<IpNet> {
    left.prefixes4.iter().map(net).chain(left.prefixes6.iter().map(net)).flatten().collect()
}

fn net<A: Ip + Into<IpAddr>>(prefix: &Prefix<A>) -> Option<IpNet> {
    IpNet::new(prefix.addr().into(), prefix.len()).ok()
}
