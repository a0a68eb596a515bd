//! What the pure functions decide for a packet; `act` carries it out.

use super::ip4::echo::Echo;
use crate::drop::DropReason;
use crate::iface::Iface;
use crate::stats::Mib;
use arrayvec::ArrayVec;
use std::net::IpAddr;
use warren_fib::Nud;

/// What happens to the packet itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// Send on, rewritten.
    Forward(Egress<'a>, Edit),
    /// IPv4: cut to `mtu`, then send each piece.
    Fragment(Egress<'a>, Edit, u32),
    /// Wait until the next hop's address is known, then send on.
    Hold(Wait<'a>, Edit),
    /// IPv4: cut to `mtu`; the pieces wait for the next hop's address.
    HoldFragments(Wait<'a>, Edit, u32),
    /// For this host.
    Local,
    /// Not for warren: the kernel has the frame too and deals with it.
    Kernel(Why),
    /// Not sent on.
    Drop(DropReason),
}

/// Why the kernel deals with a frame on a taken interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Not addressed to this host at layer 2.
    NotHost,
    /// Carries a VLAN tag.
    Tagged,
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// Too short to hold a destination address.
    Short,
    /// The destination is in `left`.
    Left,
    /// Carries a router alert.
    RouterAlert,
}

impl Why {
    /// One phrase for people.
    pub fn text(self) -> &'static str {
        match self {
            Why::NotHost => "not addressed to this host at layer 2",
            Why::Tagged => "carries a VLAN tag",
            Why::NotIp => "neither IPv4 nor IPv6",
            Why::Short => "too short to hold a destination address",
            Why::Left => "its destination belongs to the host",
            Why::RouterAlert => "carries a router alert",
        }
    }
}

/// The way out with the next hop's link-layer address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Egress<'a> {
    /// The interface to send on.
    pub oif: &'a Iface,
    /// The next hop: a gateway, or the destination itself.
    pub next: IpAddr,
    /// Its link-layer address.
    pub lladdr: [u8; 6],
    /// Its neighbour state; the use of a stale one is reported.
    pub nud: Nud,
}

/// The way out while the next hop's link-layer address is unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wait<'a> {
    /// The interface to send on.
    pub oif: &'a Iface,
    /// The next hop to ask for.
    pub next: IpAddr,
}

impl Wait<'_> {
    /// The neighbour: interface and address.
    pub fn key(&self) -> (u32, IpAddr) {
        (self.oif.index, self.next)
    }
}

/// Changes to the IP packet on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// Bytes of the IP packet that go on: layer-2 padding is cut.
    pub len: usize,
    /// Whether the hop limit or TTL is lowered by one.
    pub decrement: bool,
    /// A new IPv4 header (options were written) or IPv6 fixed header, checksum included, before the decrement.
    pub header: Option<ArrayVec<u8, 60>>,
}

/// An ICMP message to the sender of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Which message.
    pub kind: ReplyKind,
    /// Hop limit or TTL in the quoted packet: some errors quote it before the decrement, some after.
    pub quoted_hops: u8,
}

/// The messages that a router sends about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// Destination unreachable with this code.
    Unreachable(u8),
    /// Packet too big, or fragmentation needed, with this MTU.
    TooBig(u32),
    /// Hop limit or TTL exceeded in transit.
    TimeExceeded,
    /// Parameter problem: code and the offset of the offending byte.
    ParamProblem(u8, u32),
    /// A better first hop for this destination, on the link it came from.
    Redirect(IpAddr),
}

/// A counter to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Which.
    pub mib: Mib,
    /// On which interface as well, by slot.
    pub slot: Option<u16>,
    /// By how much.
    pub by: u64,
}

/// Most counters that one packet moves besides those of its drop reason.
pub const MAX_COUNTS: usize = 16;

/// Most gateways that one packet has asked again.
pub const MAX_PASSED_BY: usize = 4;

/// Everything decided for one packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// What happens to the packet.
    pub verdict: Verdict<'a>,
    /// What is sent to its sender.
    pub replies: ArrayVec<Reply, 2>,
    /// What is counted, besides what the drop reason counts.
    pub counts: ArrayVec<Count, MAX_COUNTS>,
    /// The route's interface, for counters of the drop reason that belong to the way out.
    pub out_slot: Option<u16>,
    /// Bytes of the IP packet without layer-2 padding: what errors quote from.
    pub len: usize,
    /// The IPv4 header that errors quote, where options were written into it.
    pub header: Option<ArrayVec<u8, 60>>,
    /// The IPv4 options that errors repeat; `None` if none can be sent because of them.
    pub echo: Option<Echo>,
    /// Whom an IPv4 packet was for by its route, when it was last known.
    pub target: Target,
    /// Gateways that a lookup passed by because they do not answer, with their interfaces: to be asked again by and by.
    pub passed_by: ArrayVec<(u32, IpAddr), MAX_PASSED_BY>,
}

/// Whom a packet is for, as errors about it ask. Linux: RTCF_LOCAL, RTCF_BROADCAST, RTCF_MULTICAST.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// Somebody else.
    #[default]
    Other,
    /// This host alone, which then speaks from the address spoken to.
    Us,
    /// A group or all hosts of a link: no error is sent.
    Group,
}

impl<'a> Decision<'a> {
    /// A verdict without replies or counters of its own.
    pub fn bare(verdict: Verdict<'a>) -> Self {
        Decision {
            verdict,
            replies: ArrayVec::new(),
            counts: ArrayVec::new(),
            out_slot: None,
            len: 0,
            header: None,
            echo: Some(Echo::default()),
            target: Target::Other,
            passed_by: ArrayVec::new(),
        }
    }
}
