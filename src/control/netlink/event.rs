//! What the kernel announces, decoded. Used by the mirror, and by dumps, which receive the same messages.
//!
//! Invariant: decoding is total. A message type or family that is not known is [`Event::Ignored`], never an error.

use super::{
    AddressMsg, Bucket, Family, LinkMsg, Malformed, NeighbourMsg, NetconfMsg, NexthopMsg, RouteMsg, RuleMsg,
};

/// The multicast groups that a mirror needs: links, neighbours, and both families' addresses, routes, rules and sysctls; next hops.
pub const GROUPS: &[u32] = &[
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV6_NETCONF,
    libc::RTNLGRP_NEXTHOP,
];

const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
pub(super) const RTM_GETNETCONF: u16 = 82;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;
const RTM_NEWNEXTHOPBUCKET: u16 = 116;
const RTM_DELNEXTHOPBUCKET: u16 = 117;
pub(super) const RTM_GETNEXTHOPBUCKET: u16 = 118;

/// How an object goes among those with the same key: asked for in a request, told in a route's notification.
///
/// IPv4 computes the mode of a notification, so it says exactly what happened: no equal route existed, put before the equal ones, put
/// behind them, or put in the place of the first one. IPv6 notifications of `Append` carry the complete new set of legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// There must be none yet (`ip route add`).
    Add,
    /// Before the equal ones (`ip route prepend`).
    Prepend,
    /// Behind the equal ones (`ip route append`).
    Append,
    /// In the place of the first equal one; made if there is none (`ip route replace`).
    Replace,
    /// In the place of the first equal one, which must exist (`ip route change`). As a notification: its flags changed.
    Change,
}

impl Mode {
    /// The request's flags.
    pub(super) fn flags(self) -> u16 {
        match self {
            Self::Add => NLM_F_CREATE | NLM_F_EXCL,
            Self::Prepend => NLM_F_CREATE,
            Self::Append => NLM_F_CREATE | NLM_F_APPEND,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Self::Change => NLM_F_REPLACE,
        }
    }

    /// From a notification's flags.
    fn from_flags(flags: u16) -> Self {
        match flags {
            f if f & NLM_F_REPLACE != 0 => Self::Replace,
            f if f & NLM_F_APPEND != 0 => Self::Append,
            f if f & NLM_F_EXCL != 0 => Self::Add,
            f if f & NLM_F_CREATE != 0 => Self::Prepend,
            _ => Self::Change,
        }
    }
}

/// One message from the kernel. Much happens without one; see the module of each object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link is new or changed.
    Link(LinkMsg),
    /// A link is gone.
    LinkGone(LinkMsg),
    /// An address is new or changed. Kept addresses come again without having gone.
    Address(AddressMsg),
    /// An address is gone.
    AddressGone(AddressMsg),
    /// A neighbour is new or changed.
    Neighbour(NeighbourMsg),
    /// A neighbour is gone.
    NeighbourGone(NeighbourMsg),
    /// An IPv4 route is new or changed.
    Route4(RouteMsg, Mode),
    /// An IPv4 route is gone. Most go silently, with their link or last address.
    Route4Gone(RouteMsg),
    /// An IPv6 route is new or changed; the message has all legs.
    Route6(RouteMsg, Mode),
    /// An IPv6 route is gone, or some of its legs: those in the message.
    Route6Gone(RouteMsg),
    /// What the kernel was told of one destination: a path MTU or another first hop. Only dumps show it.
    Exception(RouteMsg),
    /// A rule is new.
    Rule(RuleMsg),
    /// A rule is gone.
    RuleGone(RuleMsg),
    /// A next-hop object is new or changed.
    Nexthop(NexthopMsg),
    /// A next-hop object is gone. Many go silently, with their link or its carrier.
    NexthopGone(NexthopMsg),
    /// A bucket of a resilient group has moved.
    Bucket(Bucket),
    /// Announced sysctls.
    Netconf(NetconfMsg),
    /// A link has lost a family's sysctls.
    NetconfGone(NetconfMsg),
    /// Something else, by message type.
    Ignored(u16),
}

impl Event {
    /// Decodes one message from its type, its flags, and what follows the netlink header. O(length).
    ///
    /// # Errors
    /// [`Malformed`] if a value of a known type does not fit.
    pub fn decode(kind: u16, flags: u16, body: &[u8]) -> Result<Self, Malformed> {
        let event = match kind {
            libc::RTM_NEWLINK => LinkMsg::decode(body)?.map(Self::Link),
            libc::RTM_DELLINK => LinkMsg::decode(body)?.map(Self::LinkGone),
            libc::RTM_NEWADDR => AddressMsg::decode(body)?.map(Self::Address),
            libc::RTM_DELADDR => AddressMsg::decode(body)?.map(Self::AddressGone),
            libc::RTM_NEWNEIGH => NeighbourMsg::decode(body)?.map(Self::Neighbour),
            libc::RTM_DELNEIGH => NeighbourMsg::decode(body)?.map(Self::NeighbourGone),
            libc::RTM_NEWROUTE => RouteMsg::decode(body)?.map(|route| {
                let mode = Mode::from_flags(flags);
                match route.family() {
                    _ if route.is_cloned() => Self::Exception(route),
                    Family::V4 => Self::Route4(route, mode),
                    Family::V6 => Self::Route6(route, mode),
                }
            }),
            libc::RTM_DELROUTE => {
                RouteMsg::decode(body)?.filter(|route| !route.is_cloned()).map(|route| match route.family() {
                    Family::V4 => Self::Route4Gone(route),
                    Family::V6 => Self::Route6Gone(route),
                })
            }
            libc::RTM_NEWRULE => RuleMsg::decode(body)?.map(Self::Rule),
            libc::RTM_DELRULE => RuleMsg::decode(body)?.map(Self::RuleGone),
            RTM_NEWNEXTHOP => Some(Self::Nexthop(NexthopMsg::decode(body)?)),
            RTM_DELNEXTHOP => Some(Self::NexthopGone(NexthopMsg::decode(body)?)),
            RTM_NEWNEXTHOPBUCKET | RTM_DELNEXTHOPBUCKET => Some(Self::Bucket(Bucket::decode(body)?)),
            RTM_NEWNETCONF => NetconfMsg::decode(body)?.map(Self::Netconf),
            RTM_DELNETCONF => NetconfMsg::decode(body)?.map(Self::NetconfGone),
            _ => None,
        };
        Ok(event.unwrap_or(Self::Ignored(kind)))
    }
}

#[cfg(test)]
mod tests;
