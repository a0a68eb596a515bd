//! Paths and path sets: what the kernel would choose from at one prefix.
//!
//! Invariant: a path set is immutable and its order is the kernel's order of choice. Leaves of the trie hold the id of
//! a path set; sets are shared by content, so a million routes to the same peer cost one set.

use crate::group::GroupId;
use crate::ip::Ip;
use crate::prefix::Prefix;

/// Names a path set of one family. Leaves hold it in 15 bits and without 0, which limits a family to [`PathSetId::MAX`]
/// different sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathSetId(pub u16);

impl PathSetId {
    /// The highest id.
    pub const MAX: u16 = 0x7ffe;

    /// What a leaf holds; `None` for 0, which names nothing.
    pub(crate) fn new(id: u16) -> Option<PathSetId> {
        (id != 0).then_some(PathSetId(id))
    }
}

/// Route types (rtnetlink `RTN_*`). The discriminant is the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RouteType {
    /// Forward it.
    Unicast = 1,
    /// Ours.
    Local = 2,
    /// IPv4 broadcast on a link of ours.
    Broadcast = 3,
    /// Ours, shared with others.
    Anycast = 4,
    /// A multicast destination.
    Multicast = 5,
    /// Drop in silence.
    Blackhole = 6,
    /// Drop and answer "unreachable".
    Unreachable = 7,
    /// Drop and answer "prohibited".
    Prohibit = 8,
    /// Stop in this table, go on with the next rule.
    Throw = 9,
}

impl RouteType {
    /// True for the types that need no next hop: blackhole, unreachable, prohibit, throw.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw)
    }
}

/// Router preference (RFC 4191 section 2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pref {
    /// Below the others.
    Low,
    /// The usual one.
    #[default]
    Medium,
    /// Above the others.
    High,
}

/// One choice at a prefix: an IPv4 alias or an IPv6 route, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path<A> {
    /// What to do with the packet.
    pub kind: RouteType,
    /// Priority; the lowest wins.
    pub metric: u32,
    /// IPv4: the DSCP byte a packet must bear (`tos & 0xfc`); 0 fits every packet.
    pub tos: u8,
    /// IPv4 scope (`RT_SCOPE_*`); always 0 in IPv6.
    pub scope: u8,
    /// Sources this path is for; [`Prefix::ANY`] unless it is an IPv6 source-specific route.
    pub src: Prefix<A>,
    /// Preferred source address of packets that this host makes.
    pub prefsrc: Option<A>,
    /// MTU metric in bytes; 0 if none.
    pub mtu: u32,
    /// The MTU metric is locked.
    pub mtu_lock: bool,
    /// Hop limit of packets that this host makes; 0 if none.
    pub hoplimit: u8,
    /// Router preference.
    pub pref: Pref,
    /// When the path ends, in nanoseconds of the caller's clock; `u64::MAX` for never.
    pub expires: u64,
    /// Table the route is in.
    pub table: u32,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
    /// Next hops; `None` for types that have none.
    pub group: Option<GroupId>,
    /// The route has a lightweight tunnel, which warren does not carry. Tunnels of nexthop objects are marked in
    /// [`Member::encap`](crate::Member::encap) instead, because an object changes without its routes.
    pub encap: bool,
}

/// The kernel's ordered list of choices for one prefix. Never empty once published.
///
/// IPv4: by tos descending, then metric, then the order of insertion. IPv6: the longest source first, then metric, then
/// the order of insertion; equal-metric gateways that the kernel treats as one multipath route are one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSet<A> {
    /// The choices, best first.
    pub paths: Box<[Path<A>]>,
    /// Nothing to score: exactly one path, unicast, for every tos and source, that never expires, has next hops, no MTU
    /// metric or lock and no tunnel. The fast path takes only these. It says nothing on the state of the next hops.
    pub plain: bool,
}

impl<A: Ip> PathSet<A> {
    /// Makes a set of `paths`, which are in order already.
    pub fn new(paths: Box<[Path<A>]>) -> Self {
        let plain = match &*paths {
            [only] => {
                only.kind == RouteType::Unicast
                    && only.tos == 0
                    && only.src.is_default()
                    && only.expires == u64::MAX
                    && only.mtu == 0
                    && !only.mtu_lock
                    && !only.encap
                    && only.group.is_some()
            }
            _ => false,
        };
        PathSet { paths, plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn simple() -> Path<Ipv4Addr> {
        Path {
            kind: RouteType::Unicast,
            metric: 0,
            tos: 0,
            scope: 0,
            src: Prefix::ANY,
            prefsrc: None,
            mtu: 0,
            mtu_lock: false,
            hoplimit: 0,
            pref: Pref::Medium,
            expires: u64::MAX,
            table: 254,
            protocol: 4,
            group: Some(GroupId(1)),
            encap: false,
        }
    }

    #[test]
    fn only_the_simplest_set_is_plain() {
        assert!(PathSet::new(Box::new([simple()])).plain);
        assert!(!PathSet::<Ipv4Addr>::new(Box::new([])).plain);
        assert!(!PathSet::new(Box::new([simple(), simple()])).plain);
        let source = Prefix::new(Ipv4Addr::LOCALHOST, 8).unwrap();
        for path in [
            Path { kind: RouteType::Local, ..simple() },
            Path { tos: 4, ..simple() },
            Path { src: source, ..simple() },
            Path { expires: 1, ..simple() },
            Path { mtu: 1400, ..simple() },
            Path { mtu_lock: true, ..simple() },
            Path { encap: true, ..simple() },
            Path { group: None, ..simple() },
        ] {
            assert!(!PathSet::new(Box::new([path.clone()])).plain, "{path:?}");
        }
    }
}
