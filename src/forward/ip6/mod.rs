//! The IPv6 path in the kernel's order: `rcv` -> `exthdrs` -> `route` -> `forward` -> `output`, or `mcast` and
//! local delivery. One function per kernel function; each check names its line in the drop-reason table.

pub mod addr;
mod exthdrs;
mod forward;
pub mod icmp;
mod mcast;
mod named;
pub mod ndisc;
pub mod output;
pub mod own;
pub mod pieces;
mod rcv;
pub mod route;
#[cfg(test)]
mod tests;

use super::ctx::{Ctx, Env};
use super::decision::{Decision, ReplyKind, Verdict};
use super::observe::Observer;
use crate::drop::DropReason;
use crate::frame::Meta;
use crate::iface::{Iface, LinkKind};
use crate::stats::Mib;
use crate::wire::icmp::v6;
use crate::wire::ip6::Ip6Hdr;
use crate::wire::{eth, ip6};
use route::Kind;
use zerocopy::FromBytes;

/// A received packet whose fixed header was found good.
#[derive(Clone, Copy)]
pub struct Packet<'p> {
    /// The IPv6 packet, cut to its length.
    pub bytes: &'p [u8],
    /// Its fixed header.
    pub hdr: &'p Ip6Hdr,
    /// What travels beside the bytes.
    pub meta: Meta,
    /// The value of a router alert option, if there is one.
    pub alert: Option<u16>,
}

/// Decides for one IPv6 packet, given from its IP header on. Linux: ipv6_rcv.
pub fn decide<'a, O: Observer>(
    env: Env<'a>,
    iif: &'a Iface,
    bytes: &[u8],
    meta: Meta,
    observer: &mut O,
) -> Decision<'a> {
    let mut cx = Ctx::new(env, iif, bytes.len(), observer);
    let verdict = path(&mut cx, bytes, meta);
    cx.decide(verdict)
}

fn path<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    bytes: &[u8],
    meta: Meta,
) -> Result<Verdict<'a>, DropReason> {
    let packet = rcv::receive(cx, bytes, meta)?;
    // What comes by lo brings along the route that led it there. Linux: ip6_rcv_finish_core (skb_valid_dst).
    if cx.iif.kind == LinkKind::Loopback {
        return Ok(Verdict::Local);
    }
    let route = route::input(cx, &packet);
    act_on(cx, &packet, &route)
}

/// Decides for a packet that was for this host and whose routing header has given it another destination. `None` if that
/// is this host again: it costs a hop, and the header is to be read once more. RFC 8754 4.3.1.1;
/// Linux: ipv6_srh_rcv, ipv6_rpl_srh_rcv (ip6_route_input, dst_input).
pub fn onward<'a, O: Observer>(
    env: Env<'a>,
    iif: &'a Iface,
    bytes: &[u8],
    meta: Meta,
    observer: &mut O,
) -> Option<Decision<'a>> {
    let mut cx = Ctx::new(env, iif, bytes.len(), observer);
    let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(bytes) else {
        return Some(cx.decide(Err(DropReason::V6Short)));
    };
    let packet = Packet { bytes, hdr, meta, alert: None };
    let route = route::input(&mut cx, &packet);
    let verdict = if route.kind == Kind::Local || route.is_over_lo() {
        if hdr.hop_limit <= 1 {
            cx.reply(ReplyKind::TimeExceeded, hdr.hop_limit);
        }
        Err(cx.check(DropReason::V6HopLimit, hdr.hop_limit > 1).err()?)
    } else {
        act_on(&mut cx, &packet, &route)
    };
    Some(cx.decide(verdict))
}

/// Does with a packet what its route says. Linux: dst_input.
fn act_on<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &route::Route<'a>,
) -> Result<Verdict<'a>, DropReason> {
    let hops = packet.hdr.hop_limit;
    match route.kind {
        Kind::Unicast => forward::forward(cx, packet, route),
        Kind::Multicast => mcast::input(cx, packet),
        Kind::Local => Ok(Verdict::Local),
        Kind::Blackhole => Err(DropReason::V6Blackhole),
        Kind::Prohibit => {
            cx.reply(ReplyKind::Unreachable(v6::ADM_PROHIBITED), hops);
            let unspecified = packet.hdr.dst().is_unspecified();
            Err(if unspecified { DropReason::V6DestinationUnspecified } else { DropReason::V6Prohibit })
        }
        Kind::NoRoute => {
            // The error is sent also where the destination is ::; only the counter differs. Linux: ip6_pkt_drop.
            cx.reply(ReplyKind::Unreachable(v6::NOROUTE), hops);
            let unspecified = packet.hdr.dst().is_unspecified();
            Err(if unspecified { DropReason::V6DestinationUnspecified } else { DropReason::V6NoRoute })
        }
    }
}

/// The link-layer address of a multicast next hop (RFC 2464 7).
fn multicast_mac(dst: std::net::Ipv6Addr) -> Option<[u8; 6]> {
    ip6::multicast_scope(dst).map(|_| eth::multicast_mac6(dst))
}

/// The counter for the ECN bits of a received packet (RFC 3168 5).
pub fn ecn_counter(traffic_class: u8) -> Mib {
    match traffic_class & 3 {
        0 => Mib::Ip6InNoECTPkts,
        1 => Mib::Ip6InECT1Pkts,
        2 => Mib::Ip6InECT0Pkts,
        _ => Mib::Ip6InCEPkts,
    }
}
