//! rtnetlink: what the kernel tells about links, addresses, neighbours, routes, next hops and rules, and what we ask of it.
//!
//! Each object has one file with its plain type, its decoder and its encoder; the same type is received and sent.
//! Decoders are ours: they are total on hostile bytes, keep one odd attribute from hiding a whole object, and see the
//! attributes that netlink-packet-route does not know. Requests are built with that library's types, so the two check
//! each other in the tests. Neither the library's types nor raw bytes leave this folder.
//!
//! Callers: the mirror (events and dumps), neighbour resolution, scenarios and tests (requests). Sockets block.

mod address;
mod attr;
pub mod devconf;
mod dump;
mod error;
mod event;
pub mod generic;
mod link;
mod neighbour;
mod netconf;
mod nexthop;
mod request;
mod route;
mod rule;
mod socket;

pub use address::AddressMsg;
pub use attr::Malformed;
pub use error::Error;
pub use event::{Event, GROUPS, Mode};
pub use link::{LinkChange, LinkKind, LinkMsg, NewLink};
pub use neighbour::{NeighbourMsg, NeighbourState, flag, flag_ext};
pub use netconf::{NetconfMsg, Scope};
pub use nexthop::{Bucket, Member, NexthopKind, NexthopMsg, Resilient};
pub use route::{Encap, Leg, Metrics, RouteKind, RouteMsg, leg_flag, metric};
pub use rule::{PortMatch, RuleAction, RuleMsg, rule_flag};
pub use socket::{Events, Socket};

use std::net::IpAddr;

/// The result of a netlink operation.
pub type Result<T> = std::result::Result<T, Error>;

/// One of the two IP versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, `AF_INET`.
    V4,
    /// IPv6, `AF_INET6`.
    V6,
}

impl Family {
    /// Both, in the order of dumps.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The `AF_*` number.
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// `None` for what is neither (bridge, MPLS, multicast routing).
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V4),
            10 => Some(Self::V6),
            _ => None,
        }
    }
}
