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
mod rcv;
pub mod route;
#[cfg(test)]
mod tests;

use super::ctx::{Ctx, Env};
use super::decision::{Decision, ReplyKind, Verdict};
use super::observe::Observer;
use crate::drop::DropReason;
use crate::frame::Meta;
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::icmp::v6;
use crate::wire::ip6::Ip6Hdr;
use crate::wire::{eth, ip6};
use route::Kind;

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
    let route = route::input(cx, &packet);
    let hops = packet.hdr.hop_limit;
    match route.kind {
        Kind::Unicast => forward::forward(cx, &packet, &route),
        Kind::Multicast => mcast::input(cx, &packet),
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
