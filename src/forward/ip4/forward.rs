//! Sending on, in the kernel's order. RFC 1812 5.3.1; Linux: ip_forward.

use super::super::ctx::Ctx;
use super::super::decision::{ReplyKind, Verdict};
use super::super::l3::gso;
use super::super::observe::Observer;
use super::options::Options;
use super::route::Route;
use super::{Packet, named, output};
use crate::drop::DropReason as D;
use crate::frame::PktType;
use crate::stats::Mib;
use crate::wire::icmp::v4;
use std::net::IpAddr;

/// TTL, strict source routes, the MTU, and a redirect if one is due.
pub fn forward<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &Route<'a>,
    options: Option<Options>,
) -> Result<Verdict<'a>, D> {
    let (hdr, ttl) = (packet.hdr, packet.hdr.ttl);
    cx.check(D::V4NotHost, packet.meta.pkt_type == PktType::Host)?;
    if ttl <= 1 {
        cx.reply(ReplyKind::TimeExceeded, ttl);
    }
    cx.check(D::V4Ttl, ttl > 1)?;
    let oif = cx.some(D::NoPort, route.oif(cx.env))?;
    cx.oif = Some(oif);
    let strict = options.as_ref().is_some_and(Options::strict) && route.uses_gateway();
    if strict {
        cx.reply(ReplyKind::Unreachable(v4::SR_FAILED), ttl);
    }
    cx.check(D::V4StrictGateway, !strict)?;
    // The kernel counts the packet as forwarded before it looks at the MTU.
    cx.count_out(Mib::IpForwDatagrams, 1);
    let believes = cx.env.state.sysctl.ip4.ip_forward_use_pmtu != 0;
    let mtu = mtu(route, oif.mtu, believes);
    named::size(cx, packet, route, oif.mtu, believes);
    let fits = gso::fits(packet.bytes, &packet.meta.offload, mtu);
    if hdr.dont_fragment() && !fits {
        cx.reply(ReplyKind::TooBig(mtu), ttl);
    }
    cx.check(D::V4TooBig, fits || !hdr.dont_fragment())?;
    cx.check(D::GsoTooBig, fits || !packet.meta.offload.is_gso())?;
    let source_routed = options.as_ref().is_some_and(Options::source_routed);
    cx.rule_if(route.redirect && source_routed, "no redirect: source-routed");
    if route.redirect && !source_routed {
        // A gateway of IPv6 cannot be told; the kernel then names the destination. Linux: rt_nexthop.
        let next = route.next_hop(hdr.dst());
        cx.rule(match next {
            IpAddr::V4(better) if better == hdr.dst() => "redirect to the destination itself",
            IpAddr::V4(_) => "redirect to a better gateway",
            IpAddr::V6(_) => "redirect to the destination, as its gateway is of IPv6",
        });
        let better = if next.is_ipv4() { next } else { IpAddr::V4(hdr.dst()) };
        cx.reply(ReplyKind::Redirect(better), ttl.wrapping_sub(1));
    }
    output::output(cx, packet, route, options, (!fits).then_some(mtu))
}

/// The MTU of the way out: the route's metric, else the interface's. What was told of the path goes before both if it is
/// believed: always of what this host makes, of what it sends on with ip_forward_use_pmtu or by a locked route, for messages
/// can be forged. RFC 1191 6.3; Linux: ip_dst_mtu_maybe_forward.
pub fn mtu(route: &Route<'_>, device: u32, believes: bool) -> u32 {
    let metric = route.path.filter(|p| p.mtu != 0).map(|p| p.mtu);
    let locked = route.path.is_some_and(|p| p.mtu_lock) || route.exception.is_some_and(|e| e.locked);
    // A locked metric without a value means the smallest that every host takes (RFC 791 3.1).
    let device = if locked && route.uses_gateway() && device > 576 { 576 } else { device };
    told(route, believes).or(metric).unwrap_or(device).min(u32::from(u16::MAX))
}

/// The MTU that was told of the path and is believed.
pub fn told(route: &Route<'_>, believes: bool) -> Option<u32> {
    let exception = route.exception.filter(|e| e.mtu != 0)?;
    let believed = believes || exception.locked || route.path.is_some_and(|p| p.mtu_lock);
    believed.then_some(exception.mtu)
}
