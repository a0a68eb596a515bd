//! What a router says on its own account or about itself on the link: probes for neighbours, answers over ARP, reports of
//! joined groups, solicitations of routers. When it speaks depends on its past and on timers, so a comparison takes these
//! frames out on both sides, with the counters that they moved.
//!
//! Invariant: nothing that the router forwards looks like this (each kind has a hop limit that forwarding would have
//! changed). Called by `kernel` and `warren`.

use super::masked::{ARP, REPORT, ROUTER_SOLICITATION, SOLICITATION};
use super::mib::Counters;
use super::{Frame, Masked, Outcome};
use crate::scenario::Link;
use crate::stats::Mib;
use crate::wire::eth::{ETHERTYPE_ARP, ETHERTYPE_IPV6, EthHdr};
use crate::wire::icmp::v6;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use zerocopy::FromBytes;

/// What kind of unprompted frame this is; `None` for all that is to be compared.
fn kind(frame: &[u8]) -> Option<&'static str> {
    let (eth, packet) = EthHdr::ref_from_prefix(frame).ok()?;
    match eth.ethertype.get() {
        ETHERTYPE_ARP => Some(ARP),
        ETHERTYPE_IPV6 => neighbour_discovery(packet),
        _ => None,
    }
}

fn neighbour_discovery(packet: &[u8]) -> Option<&'static str> {
    let (hdr, _) = Ip6Hdr::ref_from_prefix(packet).ok()?;
    match (message(packet, hdr)?, hdr.hop_limit) {
        (v6::NEIGHBOUR_SOLICIT, 255) => Some(SOLICITATION),
        (v6::ROUTER_SOLICIT, 255) => Some(ROUTER_SOLICITATION),
        // RFC 3810 5: queries, reports of both versions, and MLDv1's done.
        (130..=132 | 143, 1) => Some(REPORT),
        _ => None,
    }
}

/// The type of an ICMPv6 message.
fn message(packet: &[u8], hdr: &Ip6Hdr) -> Option<u8> {
    let (at, kind, _) = ip6::skip_ext(packet, Ip6Hdr::LEN, hdr.next_header)?;
    packet.get(at).copied().filter(|_| kind == proto::ICMPV6)
}

/// Takes all such frames out of an outcome, with their counters; says what it took of each kind. `links` are the
/// router's.
pub fn remove(outcome: &mut Outcome, links: &[Link]) -> Masked {
    let Outcome { frames, counters } = outcome;
    let mut masked = Masked::default();
    for link in links.iter().filter(|link| link.carrier == Some(false)) {
        let [reports, solicitations] = unseen(counters, &link.name);
        for (kind, packets) in [(REPORT, reports), (SOLICITATION, solicitations)] {
            if packets > 0 {
                masked.add(kind, packets as usize, 0);
            }
        }
    }
    frames.retain(|frame| {
        let kind = kind(&frame.bytes);
        if let Some(kind) = kind {
            masked.add(kind, 1, frame.bytes.len());
            discount(frame, counters);
        }
        kind.is_none()
    });
    masked
}

/// Takes the counters of what nobody saw leave by a link without carrier off: nothing else is sent to groups there than
/// reports, which the kernel counts as discarded, and solicitations, which it counts only as far as they got. Says how
/// many of each there were. Linux: mld_sendpack, ndisc_send_skb.
fn unseen(counters: &mut Counters, link: &str) -> [u64; 2] {
    let values = counters.dev.get(link);
    let value = |mib: Mib| values.and_then(|v| v.get(mib.name())).copied().unwrap_or(0);
    let (packets, octets) = (value(Mib::Ip6OutMcastPkts), value(Mib::Ip6OutMcastOctets));
    let reports = value(Mib::Ip6OutDiscards).min(packets);
    counters.take_off(Mib::Ip6OutDiscards.name(), link, reports);
    for mib in [Mib::Ip6OutRequests, Mib::Ip6OutTransmits, Mib::Ip6OutMcastPkts] {
        counters.take_off(mib.name(), link, packets);
    }
    for mib in [Mib::Ip6OutOctets, Mib::Ip6OutMcastOctets] {
        counters.take_off(mib.name(), link, octets);
    }
    [reports, packets - reports]
}

/// Takes the counters that sending `frame` moved off `counters`. Linux: ndisc_send_skb, mld_sendpack.
fn discount(frame: &Frame, counters: &mut Counters) {
    let Ok((_, packet)) = EthHdr::ref_from_prefix(&frame.bytes) else { return };
    let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(packet) else { return };
    if hdr.version() != 6 {
        return;
    }
    let mut off = |mib: Mib, by| counters.take_off(mib.name(), &frame.link, by);
    let len = packet.len() as u64;
    for mib in [Mib::Ip6OutRequests, Mib::Icmp6OutMsgs, Mib::Ip6OutTransmits] {
        off(mib, 1);
    }
    off(Mib::Ip6OutOctets, len);
    if hdr.dst().is_multicast() {
        off(Mib::Ip6OutMcastPkts, 1);
        off(Mib::Ip6OutMcastOctets, len);
    }
    // By type, under both names.
    let names = match message(packet, hdr) {
        Some(v6::NEIGHBOUR_SOLICIT) => ["Icmp6OutNeighborSolicits", "Icmp6OutType135"],
        Some(v6::ROUTER_SOLICIT) => ["Icmp6OutRouterSolicits", "Icmp6OutType133"],
        Some(131) => ["Icmp6OutGroupMembResponses", "Icmp6OutType131"],
        Some(132) => ["Icmp6OutGroupMembReductions", "Icmp6OutType132"],
        Some(143) => ["Icmp6OutMLDv2Reports", "Icmp6OutType143"],
        _ => return,
    };
    names.iter().for_each(|name| counters.take_off(name, &frame.link, 1));
}
