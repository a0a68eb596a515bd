//! Receive checks of the fixed header, in the kernel's order. Linux: ip6_rcv_core.

use super::super::ctx::Ctx;
use super::super::l3::gso;
use super::super::observe::Observer;
use super::{Packet, ecn_counter, exthdrs};
use crate::drop::DropReason as D;
use crate::frame::{Meta, PktType};
use crate::iface::{Iface, LinkKind};
use crate::stats::Mib;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use zerocopy::FromBytes;

/// Checks, counts, cuts layer-2 padding, and looks into hop-by-hop options.
pub fn receive<'p, O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    bytes: &'p [u8],
    meta: Meta,
) -> Result<Packet<'p>, D> {
    if !has_ipv6(cx.iif) {
        cx.count_alone(Mib::Ip6InReceives, 1);
        cx.count_alone(Mib::Ip6InOctets, bytes.len());
        cx.check(D::V6NoInterface, false)?;
    }
    cx.count_in(Mib::Ip6InReceives, 1);
    cx.count_in(Mib::Ip6InOctets, bytes.len());
    cx.check(D::V6Disabled, cx.iif.conf6.disable_ipv6 == 0)?;
    let (hdr, _) = cx.some(D::V6Short, Ip6Hdr::ref_from_prefix(bytes).ok())?;
    cx.check(D::V6Version, hdr.version() == 6)?;
    cx.count_in(ecn_counter(hdr.traffic_class()), gso::segments(&meta, bytes.len()));
    cx.rule(match hdr.traffic_class() & 3 {
        0 => "ECN: not capable",
        1 => "ECN: ECT(1)",
        2 => "ECN: ECT(0)",
        _ => "ECN: congestion",
    });
    addresses(cx, hdr, &meta)?;
    let bytes = cut(cx, hdr, bytes)?;
    cx.len = bytes.len();
    let mut packet = Packet { bytes, hdr, meta, alert: None };
    if hdr.next_header == proto::HOPOPTS {
        exthdrs::hop_by_hop(cx, &mut packet)?;
    }
    Ok(packet)
}

/// Whether a link has IPv6 at all, with sysctls and counters of its own: its MTU must be the smallest that IPv6 allows.
/// RFC 8200 5; Linux: addrconf_notify, which leaves lo alone.
fn has_ipv6(link: &Iface) -> bool {
    link.mtu >= ip6::MIN_MTU || link.kind == LinkKind::Loopback
}

/// Addresses that may not come from a wire.
fn addresses<O: Observer>(cx: &mut Ctx<'_, '_, O>, hdr: &Ip6Hdr, meta: &Meta) -> Result<(), D> {
    let (src, dst) = (hdr.src(), hdr.dst());
    let wire = cx.iif.kind != LinkKind::Loopback;
    cx.check(D::V6Loopback, !(wire && (src.is_loopback() || dst.is_loopback())))?;
    let scope = ip6::multicast_scope(dst);
    cx.check(D::V6ScopeInterface, !(wire && scope == Some(1)))?;
    let l2_group = matches!(meta.pkt_type, PktType::Broadcast | PktType::Multicast);
    let refused = scope.is_none() && l2_group && cx.iif.conf6.drop_unicast_in_l2_multicast != 0;
    cx.check(D::V6UnicastInL2Multicast, !refused)?;
    cx.check(D::V6ScopeReserved, scope != Some(0))?;
    cx.check(D::V6SourceMulticast, !src.is_multicast())
}

/// Cuts to the payload length. A length of zero before a hop-by-hop header is not checked here: a jumbo payload
/// option may follow, and without one the kernel forwards all that came, padding included.
fn cut<'p, O: Observer>(cx: &mut Ctx<'_, '_, O>, hdr: &Ip6Hdr, bytes: &'p [u8]) -> Result<&'p [u8], D> {
    let payload = usize::from(hdr.payload_len.get());
    if payload == 0 && hdr.next_header == proto::HOPOPTS {
        cx.rule("length 0 before hop-by-hop options: nothing is cut");
        return Ok(bytes);
    }
    let kept = cx.some(D::V6Truncated, bytes.get(..Ip6Hdr::LEN + payload))?;
    if kept.len() < bytes.len() {
        cx.rule(if payload == 0 { "length 0: cut to the bare header" } else { "padding cut" });
    }
    Ok(kept)
}
