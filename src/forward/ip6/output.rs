//! The way out: the route's own MTU, the counters of the link, the next hop. Linux: ip6_output to neigh_output.
//!
//! Packets for groups come here only where a user has put another table before table local, whose routes of ff00::/8 would
//! answer for them.

use super::super::ctx::{Ctx, neighbour, send_or_hold};
use super::super::decision::{Edit, ReplyKind, Verdict};
use super::super::l3::{gso, named};
use super::super::observe::{Observer, Rule};
use super::route::Route;
use super::{Packet, ecn_counter, multicast_mac};
use crate::drop::DropReason as D;
use crate::stats::Mib;
use crate::wire::ip6::{ExtHdr, Ip6Hdr};
use crate::wire::proto;
use zerocopy::FromBytes;

/// A forwarded packet leaves, its hop limit lowered. Linux: ip6_output, ip6_finish_output2.
pub fn output<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &Route<'a>,
) -> Result<Verdict<'a>, D> {
    let oif = cx.some(D::NoPort, cx.oif)?;
    cx.check(D::V6OutDisabled, oif.conf6.disable_ipv6 == 0)?;
    // The second MTU check, against the route's own metric and without the floor of 1280. Linux: ip6_fragment.
    let mtu = route_mtu(route, oif.conf6.mtu);
    let fits = gso::fits(packet.bytes, &packet.meta.offload, mtu);
    match (route.mtu(), route.exception.filter(|e| e.mtu != 0)) {
        (_, Some(_)) => cx.rule("second MTU: one that this host was told of"),
        (Some(_), None) => cx.rule("second MTU: the route's own"),
        (None, None) => {}
    }
    // Where a header runs past the end the kernel gives up before it tells the sender.
    if !fits && fragmentable(packet.bytes, packet.hdr.next_header) {
        cx.reply(ReplyKind::TooBig(mtu), packet.hdr.hop_limit.wrapping_sub(1));
    } else if !fits {
        cx.rule("second MTU: nobody is told, the headers run past the end");
    }
    cx.check(D::V6TooBigRoute, fits)?;
    let dst = packet.hdr.dst();
    if dst.is_multicast() {
        cx.rule("sent on to a group");
        cx.count_out(Mib::Ip6OutMcastPkts, 1);
        cx.count_out(Mib::Ip6OutMcastOctets, packet.bytes.len());
        if oif.groups6.contains(&dst) {
            // A copy comes back, and goes no further: it is from this host. Linux: dev_loopback_xmit.
            cx.rule("sent on to a group that is joined there");
            cx.count_out(Mib::Ip6InReceives, 1);
            cx.count_out(Mib::Ip6InOctets, packet.bytes.len());
            cx.count_out(ecn_counter(packet.hdr.traffic_class()), 1);
        }
    }
    cx.count_out(Mib::Ip6OutTransmits, 1);
    cx.count_out(Mib::Ip6OutOctets, packet.bytes.len());
    let next = route.next_hop(dst);
    cx.step(Rule::new("next hop", "4861 5.2", "ip6_finish_output2"), format_args!("{next} on {}", oif.name));
    let way = neighbour(cx.env, oif, next, multicast_mac(dst));
    let gateway = route.member.is_some_and(|m| m.via.is_some());
    cx.rule(match (route.exception.and_then(|e| e.gateway), gateway) {
        (Some(_), _) => "next hop: one that this host was redirected to",
        (_, true) => "next hop: a gateway",
        (_, false) => "next hop: the destination itself",
    });
    named::neighbour(cx, &way);
    Ok(send_or_hold(way, Edit { len: packet.bytes.len(), decrement: true, header: None }))
}

/// Whether the headers in front of what could be cut are whole. Linux: ip6_find_1stfragopt.
fn fragmentable(bytes: &[u8], first: u8) -> bool {
    let (mut at, mut kind, mut routed) = (Ip6Hdr::LEN, first, false);
    while at <= bytes.len() {
        match kind {
            proto::ROUTING => routed = true,
            proto::HOPOPTS => {}
            proto::DSTOPTS if !routed => {}
            _ => return true,
        }
        let Some((ext, _)) = bytes.get(at..).and_then(|rest| ExtHdr::ref_from_prefix(rest).ok()) else {
            return false;
        };
        (at, kind) = (at + ext.byte_len(), ext.next_header);
    }
    false
}

/// The MTU that ip6_output compares with: what was told of the path, else the route's metric, else the interface's.
/// Linux: dst_mtu.
pub fn route_mtu(route: &Route<'_>, device: i64) -> u32 {
    route.mtu().unwrap_or_else(|| u32::try_from(device).unwrap_or(0))
}
