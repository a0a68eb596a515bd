//! Adjacencies: where a frame goes once its next hop is known.
//!
//! Invariant: a published record never changes; a neighbour event puts a new record in the slot. Groups name
//! adjacencies by id, so one neighbour change costs one store, whatever the number of routes and groups.

use std::net::IpAddr;

/// Names a slot in the adjacency table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdjacencyId(pub u32);

/// An output interface and the neighbour to reach through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjacency {
    /// Output interface index.
    pub oif: u32,
    /// The gateway; `None` where the packet's destination is itself the neighbour. May be IPv6 under an IPv4 route.
    pub via: Option<IpAddr>,
    /// What is known of the gateway; `None` if nothing is, and always `None` without a gateway.
    pub neighbour: Option<Neighbour>,
}

/// A neighbour entry as the kernel keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Ethernet address, in wire order. Meaningful only if `state.is_valid()`.
    pub lladdr: [u8; 6],
    /// State of the entry.
    pub state: Nud,
}

/// Neighbour state, bit for bit the kernel's `NUD_*` (include/uapi/linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nud(pub u16);

impl Nud {
    /// No state yet.
    pub const NONE: Nud = Nud(0x00);
    /// Being resolved for the first time.
    pub const INCOMPLETE: Nud = Nud(0x01);
    /// Confirmed lately.
    pub const REACHABLE: Nud = Nud(0x02);
    /// Known, not confirmed lately.
    pub const STALE: Nud = Nud(0x04);
    /// Used while stale; a probe follows.
    pub const DELAY: Nud = Nud(0x08);
    /// Being probed.
    pub const PROBE: Nud = Nud(0x10);
    /// Resolution failed.
    pub const FAILED: Nud = Nud(0x20);
    /// Needs no resolution (multicast, loopback).
    pub const NOARP: Nud = Nud(0x40);
    /// Set by the administrator.
    pub const PERMANENT: Nud = Nud(0x80);

    /// True if the link-layer address may be used: the kernel's `NUD_VALID`.
    pub const fn is_valid(self) -> bool {
        const VALID: u16 =
            Nud::PERMANENT.0 | Nud::NOARP.0 | Nud::REACHABLE.0 | Nud::PROBE.0 | Nud::STALE.0 | Nud::DELAY.0;
        self.0 & VALID != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_is_the_kernels_mask() {
        // NUD_VALID = 0xde by the kernel header.
        for bit in 0..16 {
            assert_eq!(Nud(1 << bit).is_valid(), 0xde & (1 << bit) != 0, "bit {bit}");
        }
        assert!(!Nud::NONE.is_valid());
    }
}
