//! Routes and nexthop objects as rtnetlink describes them: the writer's input and what it lists again.
//!
//! Invariant: plain data, host byte order, nothing resolved. [`Path`](crate::Path) and [`Group`](crate::Group) are what
//! lookups see.

use std::net::IpAddr;

use crate::ip::Ip;
use crate::path::{Pref, RouteType};
use crate::prefix::Prefix;

/// A route of one family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route<A> {
    /// Table id (254 main, 255 local).
    pub table: u32,
    /// Destinations.
    pub dst: Prefix<A>,
    /// Sources (IPv6 only); [`Prefix::ANY`] for all.
    pub src: Prefix<A>,
    /// IPv4 DSCP byte; 0 for all packets.
    pub tos: u8,
    /// Priority; the lowest wins. In a removal 0 stands for any.
    pub metric: u32,
    /// Type.
    pub kind: RouteType,
    /// IPv4 scope (`RT_SCOPE_*`). In a removal 255 stands for any.
    pub scope: u8,
    /// Who made it (`RTPROT_*`). In a removal 0 stands for any.
    pub protocol: u8,
    /// Preferred source address. In a removal `None` stands for any.
    pub prefsrc: Option<A>,
    /// MTU metric in bytes, 0 if none. In a removal 0 stands for any.
    pub mtu: u32,
    /// The MTU metric is locked.
    pub mtu_lock: bool,
    /// Hop limit metric, 0 if none.
    pub hoplimit: u8,
    /// Router preference.
    pub pref: Pref,
    /// When it ends, in nanoseconds of the caller's clock; `u64::MAX` for never.
    pub expires: u64,
    /// It has a lightweight tunnel, or a realm: such traffic is the kernel's.
    pub encap: bool,
    /// Next hops. In a removal [`Hops::None`] stands for any.
    pub hops: Hops,
}

impl<A: Ip> Route<A> {
    /// A unicast route in table main without anything special, to be changed with struct update syntax.
    pub fn new(dst: Prefix<A>, hops: Hops) -> Self {
        Route {
            table: 254,
            dst,
            src: Prefix::ANY,
            tos: 0,
            metric: if A::V6 { 1024 } else { 0 },
            kind: RouteType::Unicast,
            scope: 0,
            protocol: 3,
            prefsrc: None,
            mtu: 0,
            mtu_lock: false,
            hoplimit: 0,
            pref: Pref::Medium,
            expires: u64::MAX,
            encap: false,
            hops,
        }
    }
}

/// The next hops of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hops {
    /// None (types that need none).
    None,
    /// One or several (`RTA_OIF`, `RTA_GATEWAY`, `RTA_VIA`, `RTA_MULTIPATH`).
    List(Vec<Hop>),
    /// A nexthop object (`RTA_NH_ID`).
    Object(u32),
}

impl Hops {
    /// One next hop of weight 1.
    pub fn one(oif: u32, via: Option<IpAddr>) -> Self {
        Hops::List(vec![Hop::new(oif, via)])
    }
}

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Output interface index. In a removal 0 stands for any.
    pub oif: u32,
    /// Gateway. In a removal `None` stands for any.
    pub via: Option<IpAddr>,
    /// Share of the traffic; 0 is taken for 1.
    pub weight: u16,
    /// The gateway is taken to be on the link.
    pub onlink: bool,
    /// It has a lightweight tunnel.
    pub encap: bool,
}

impl Hop {
    /// A next hop of weight 1 without flags.
    pub fn new(oif: u32, via: Option<IpAddr>) -> Self {
        Hop { oif, via, weight: 1, onlink: false, encap: false }
    }
}

/// A nexthop object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexthopObject {
    /// Id, not 0.
    pub id: u32,
    /// What it stands for.
    pub body: NexthopBody,
}

/// What a nexthop object stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NexthopBody {
    /// One next hop.
    Single(Hop),
    /// Discard.
    Blackhole,
    /// A hash-threshold group of (id, weight).
    Group(Vec<(u32, u16)>),
    /// A resilient group.
    Resilient {
        /// Members as (id, weight).
        members: Vec<(u32, u16)>,
        /// The member's id for each bucket (RTM_GETNEXTHOPBUCKET).
        buckets: Vec<u32>,
    },
}

impl NexthopBody {
    /// The members of a group, in order; empty for the others.
    pub fn members(&self) -> &[(u32, u16)] {
        match self {
            NexthopBody::Group(members) | NexthopBody::Resilient { members, .. } => members,
            NexthopBody::Single(_) | NexthopBody::Blackhole => &[],
        }
    }
}
