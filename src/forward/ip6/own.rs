//! The routes of packets that this router makes itself: errors, redirects, answers of the host.
//! Linux: ip6_route_output_flags_noref, ip6_dst_lookup_tail. Called by `icmp`, `ndisc` and `host`.

use super::super::ctx::Env;
use super::addr;
use super::route::{Request, Route, lookup};
use crate::wire::dissect::Flow;
use crate::wire::{ip6, proto};
use std::net::Ipv6Addr;
use warren_fib::RuleKey;

/// What rules see of a packet that this router makes itself besides its addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made {
    /// Protocol.
    pub ipproto: u8,
    /// Ports.
    pub sport: u16,
    /// Of ICMPv6, type and code stand in the place of this one. Linux: flowi_uli.
    pub dport: u16,
    /// The flow label that it is to have.
    pub label: u32,
    /// Its DSCP bits; 0 of all that this router says by itself.
    pub tos: u8,
}

impl Made {
    /// A TCP segment.
    pub fn tcp(sport: u16, dport: u16) -> Made {
        Made { ipproto: proto::TCP, sport, dport, ..Made::default() }
    }

    /// An ICMPv6 message of this type and code.
    pub fn icmp(kind: u8, code: u8) -> Made {
        Made { ipproto: proto::ICMPV6, dport: u16::from_be_bytes([kind, code]), ..Made::default() }
    }
}

/// The route of a packet that this router makes itself. An interface is insisted on where the addresses do not say which
/// one is meant: by a destination of link scope, or without a source. An error takes the way of `packet`, which it is about;
/// for all else that is empty. Linux: ip6_route_output_flags_noref.
pub fn output<'a>(
    env: Env<'a>,
    made: Made,
    src: Option<Ipv6Addr>,
    dst: Ipv6Addr,
    oif: u32,
    packet: &[u8],
) -> Route<'a> {
    let insists = dst.is_multicast() || ip6::is_link_local(dst) || src.is_none();
    own(env, made, src, dst, (oif, insists), packet)
}

/// The same where a source may be chosen on the way: without a route from nowhere there may be one from the address that
/// would speak, which then does. Linux: ip6_dst_lookup_tail.
pub fn output_from<'a>(
    env: Env<'a>,
    made: Made,
    src: Option<Ipv6Addr>,
    dst: Ipv6Addr,
    oif: u32,
    packet: &[u8],
) -> (Route<'a>, Option<Ipv6Addr>) {
    let src = src.filter(|src| !src.is_unspecified());
    let first = output(env, made, src, dst, oif, packet);
    if !first.is_error() || src.is_some() {
        return (first, None);
    }
    let Some(speaker) = addr::select(env, dst, None) else { return (first, None) };
    (own(env, made, Some(speaker), dst, (oif, true), packet), Some(speaker))
}

/// Whether a packet that this router makes may come from `src`: an IPv4-mapped address speaks to its like alone.
/// Linux: ip6_dst_lookup_tail (EAFNOSUPPORT).
pub fn may_speak(src: Ipv6Addr, dst: Ipv6Addr) -> bool {
    let mapped = |a: Ipv6Addr| a.to_ipv4_mapped().is_some();
    !mapped(src) || mapped(dst) || dst.is_unspecified()
}

fn own<'a>(
    env: Env<'a>,
    made: Made,
    src: Option<Ipv6Addr>,
    dst: Ipv6Addr,
    (oif, insists): (u32, bool),
    packet: &[u8],
) -> Route<'a> {
    let key = RuleKey {
        src: src.unwrap_or(Ipv6Addr::UNSPECIFIED),
        dst,
        iif: env.state.ifaces.loopback().map_or(1, |i| i.index),
        oif,
        tos: made.tos,
        mark: 0,
        ipproto: made.ipproto,
        sport: made.sport,
        dport: made.dport,
    };
    let flow = packet.is_empty().then(|| Flow { label: made.label, ..Flow::default() });
    lookup(env, &Request { key, prefer: oif, strict: insists && oif != 0, packet, flow })
}
