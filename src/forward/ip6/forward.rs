//! Sending on, in the kernel's order. Linux: ip6_forward.

use super::super::ctx::Ctx;
use super::super::decision::{ReplyKind, Verdict};
use super::super::l3::gso;
use super::super::observe::{Observer, Rule};
use super::route::Route;
use super::{Packet, output};
use crate::drop::DropReason as D;
use crate::frame::PktType;
use crate::stats::Mib;
use crate::wire::icmp::v6;
use crate::wire::{ip6, proto};

/// Largest IPv6 packet without a jumbo payload option.
const IP6_MAX_MTU: u32 = 65535 + 40;

/// RFC 8200 3 and 5, RFC 4443 3; Linux: ip6_forward.
pub fn forward<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &Route<'a>,
) -> Result<Verdict<'a>, D> {
    let (hdr, hops) = (packet.hdr, packet.hdr.hop_limit);
    let on = cx.env.state.sysctl.all6.forwarding != 0 || cx.iif.conf6.force_forwarding != 0;
    cx.check(D::V6ForwardingOff, on)?;
    if cx.env.state.sysctl.all6.forwarding == 0 {
        cx.rule("forwarding by force_forwarding");
    }
    cx.check(D::V6NotHost, packet.meta.pkt_type == PktType::Host)?;
    if hops <= 1 {
        cx.reply(ReplyKind::TimeExceeded, hops);
    }
    cx.check(D::V6HopLimit, hops > 1)?;
    if cx.env.state.sysctl.all6.proxy_ndp != 0 && cx.iif.proxies6.contains(&hdr.dst()) && proxy(cx, packet)? {
        return Ok(Verdict::Local);
    }
    let oif = cx.some(D::NoPort, route.oif(cx.env))?;
    cx.oif = Some(oif);
    if oif.index == cx.iif.index {
        cx.rule("leaves by the interface it came from: source not checked");
        // RFC 4861 8.2: the kernel skips the source checks on this branch.
        cx.step(
            Rule::new("redirect considered", "4861 8.2", "ip6_forward"),
            format_args!("leaves by {}", oif.name),
        );
        cx.reply(ReplyKind::Redirect(route.next_hop(hdr.dst())), hops);
    } else {
        source(cx, packet)?;
    }
    cx.count_out(Mib::Ip6OutForwDatagrams, 1);
    let mtu = forward_mtu(route, oif.conf6.mtu);
    name_mtu(cx, packet, route, mtu);
    if !gso::fits(packet.bytes, &packet.meta.offload, mtu) {
        cx.reply(ReplyKind::TooBig(mtu), hops);
    }
    cx.check(D::V6TooBig, gso::fits(packet.bytes, &packet.meta.offload, mtu))?;
    output::output(cx, packet, route)
}

/// Sources that must not leave their link (RFC 4291 2.5.2 and 2.5.6).
fn source<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>) -> Result<(), D> {
    let src = packet.hdr.src();
    cx.check(D::V6SourceUnspecified, !(src.is_unspecified() || src.is_loopback() || src.is_multicast()))?;
    if ip6::is_link_local(src) {
        cx.reply(ReplyKind::Unreachable(v6::NOT_NEIGHBOUR), packet.hdr.hop_limit);
    }
    cx.check(D::V6SourceLinkLocal, !ip6::is_link_local(src))
}

/// The first of two MTU checks: the interface's, or the route's if locked. Linux: ip6_dst_mtu_maybe_forward.
fn forward_mtu(route: &Route<'_>, device: i64) -> u32 {
    // What was told of the path stands in the place of a locked metric.
    let locked = route.path.filter(|p| p.mtu_lock).and_then(|_| route.mtu());
    let mtu = locked.unwrap_or_else(|| u32::try_from(device).unwrap_or(0));
    mtu.clamp(ip6::MIN_MTU, IP6_MAX_MTU)
}

/// Names what made the first MTU.
fn name_mtu<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>, route: &Route<'_>, mtu: u32) {
    cx.rule(match route.path.filter(|p| p.mtu_lock).and_then(|_| route.mtu()) {
        Some(mtu) if mtu < ip6::MIN_MTU => "first MTU: locked by the route, raised to 1280",
        Some(_) => "first MTU: locked by the route",
        None => "first MTU: the interface's",
    });
    if packet.bytes.len() > mtu as usize && gso::fits(packet.bytes, &packet.meta.offload, mtu) {
        cx.rule("first MTU: the segments of a super-frame fit");
    }
}

/// Whether the host answers for a proxied address itself. RFC 4389 4.1; Linux: ip6_forward_proxy_check.
fn proxy<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>) -> Result<bool, D> {
    let after = ip6::skip_ext(packet.bytes, ip6::Ip6Hdr::LEN, packet.hdr.next_header);
    // A packet whose headers cannot be passed over, or whose message has no type, is sent on like any other.
    let after = after.filter(|(at, kind, _)| *kind != proto::ICMPV6 || packet.bytes.len() > *at);
    let Some((at, kind, _)) = after else {
        cx.rule("proxy: headers cannot be passed over, sent on");
        return Ok(false);
    };
    if kind == proto::ICMPV6 && packet.bytes.get(at).is_some_and(|&kind| v6::is_ndisc(kind)) {
        cx.rule("proxy: neighbour discovery is the host's");
        return Ok(true);
    }
    let link_local = ip6::is_link_local(packet.hdr.dst());
    if link_local {
        cx.reply(ReplyKind::Unreachable(v6::ADDR_UNREACH), packet.hdr.hop_limit);
    }
    cx.check(D::V6ProxyLinkLocal, !link_local)?;
    cx.rule("proxy: sent on like any other");
    Ok(false)
}
