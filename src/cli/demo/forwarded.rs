//! Who forwarded how much: the kernel's counters from `/proc/net`, warren's from `warren show counters`.
//!
//! Invariant: both count what was sent on to another host, under the kernel's names IpForwDatagrams and
//! Ip6OutForwDatagrams. Called by the demo and by the tests with real tools.

use std::fmt;
use std::ops::Sub;

use anyhow::{Context, Result};

use super::child::Child;
use crate::stats::Mib;
use crate::stats::kernel;
use crate::sys::netns::Namespace;

/// Packets forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// IpForwDatagrams.
    pub v4: u64,
    /// Ip6OutForwDatagrams.
    pub v6: u64,
}

impl Forwarded {
    /// By the kernel of a namespace, since that was made.
    ///
    /// # Errors
    /// If `/proc` lacks a counter.
    pub fn by_kernel(space: &Namespace) -> Result<Self> {
        let counters = space.enter(kernel::counters)?;
        let count = |mib: Mib| {
            counters
                .get(&mib)
                .copied()
                .with_context(|| format!("the kernel does not show {mib} in /proc/net"))
        };
        Ok(Self { v4: count(Mib::IpForwDatagrams)?, v6: count(Mib::Ip6OutForwDatagrams)? })
    }

    /// By warren, since it was started in `space`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn by_warren(warren: &Child, space: &Namespace) -> Result<Self> {
        let counters = warren.counters(space)?;
        let count = |mib: Mib| counters.get(mib.name()).copied().unwrap_or(0);
        Ok(Self { v4: count(Mib::IpForwDatagrams), v6: count(Mib::Ip6OutForwDatagrams) })
    }
}

impl Sub for Forwarded {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { v4: self.v4.saturating_sub(before.v4), v6: self.v6.saturating_sub(before.v6) }
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IPv4 and {} IPv6", self.v4, self.v6)
    }
}
