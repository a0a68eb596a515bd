//! The state that control publishes and workers read: the FIB, and one immutable snapshot of all that is small.
//!
//! Workers refresh the snapshot at batch start and never wait; the writer frees what they no longer hold.

mod exceptions;
mod left;
mod writer;

pub use exceptions::{Exception, Exceptions, Leg};
pub use left::Left;
pub use writer::{LinkInfo, PROTO_KERNEL, StateError, Writer};

use crate::iface::Ifaces;
use crate::sysctl::Sysctl;
use ahash::AHashSet;
use arc_swap::ArcSwap;
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::{Fib, Rules};

/// Interfaces, sysctls, rules, and what is left to the kernel, as of one moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Interfaces with their addresses and per-device sysctls.
    pub ifaces: Ifaces,
    /// All other sysctls.
    pub sysctl: Sysctl,
    /// IPv4 rules.
    pub rules4: Rules<Ipv4Addr>,
    /// IPv6 rules.
    pub rules6: Rules<Ipv6Addr>,
    /// Destinations that the kernel keeps.
    pub left: Left,
    /// Whether IPv6 table local leads unicast packets anywhere but to this host; else `left` says all that it says.
    pub odd_local6: bool,
    /// Whether there was ever an IPv4 route of type local that the kernel did not make itself.
    pub custom_local4: bool,
    /// All IPv4 addresses of all interfaces.
    pub own4: AHashSet<Ipv4Addr>,
    /// What the host was told of single IPv4 destinations.
    pub exceptions4: Exceptions<Ipv4Addr>,
    /// What the host was told of single IPv6 destinations.
    pub exceptions6: Exceptions<Ipv6Addr>,
    /// The multipath seed while the user has set none; the kernel's own is secret.
    pub own_seed: u32,
    /// Grows with every publication.
    pub generation: u64,
}

impl State {
    /// The seed of the multipath hash, of both families (`net.ipv4.fib_multipath_hash_seed`).
    pub fn multipath_seed(&self) -> u32 {
        match self.sysctl.ip4.fib_multipath_hash_seed as u32 {
            0 => self.own_seed,
            seed => seed,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        let all4 = crate::sysctl::Conf4::all_default();
        State {
            ifaces: Ifaces::default(),
            sysctl: Sysctl { all4, ..Sysctl::default() },
            rules4: Rules::default(),
            rules6: Rules::default(),
            left: Left::default(),
            odd_local6: false,
            custom_local4: false,
            own4: AHashSet::new(),
            exceptions4: Exceptions::default(),
            exceptions6: Exceptions::default(),
            own_seed: 0,
            generation: 0,
        }
    }
}

/// What workers hold to read from.
#[derive(Debug)]
pub struct Shared {
    /// Routes, path sets, groups, adjacencies, neighbours.
    pub fib: Fib,
    /// The newest snapshot.
    pub state: ArcSwap<State>,
}
