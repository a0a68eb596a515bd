//! A frame in one line: who to whom, what, with how many hops left.

use crate::wire::dissect::{Addrs, dissect};
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr, fmt_mac};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::{icmp, proto};
use zerocopy::FromBytes;

/// Describes a frame from its link-layer header on.
pub fn frame(bytes: &[u8]) -> String {
    let Ok((eth, packet)) = EthHdr::ref_from_prefix(bytes) else { return "a frame without a header".into() };
    match eth.ethertype.get() {
        ETHERTYPE_IPV6 => v6(packet).unwrap_or("IPv6, too short for its header".into()),
        ETHERTYPE_IPV4 => v4(packet).unwrap_or("IPv4, too short for its header".into()),
        other => format!("ethertype {other:#06x}, {} -> {}", fmt_mac(eth.src), fmt_mac(eth.dst)),
    }
}

fn v6(packet: &[u8]) -> Option<String> {
    let (hdr, _) = Ip6Hdr::ref_from_prefix(packet).ok()?;
    let after = ip6::skip_ext(packet, Ip6Hdr::LEN, hdr.next_header);
    let what = match after {
        Some((at, proto::ICMPV6, _)) => message("ICMPv6", packet.get(at..)),
        Some((_, kind, _)) => upper(packet, ETHERTYPE_IPV6, kind),
        None => "extension headers that cannot be read".into(),
    };
    Some(format!("IPv6 {} -> {}, {what}, hop limit {}", hdr.src(), hdr.dst(), hdr.hop_limit))
}

fn v4(packet: &[u8]) -> Option<String> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(packet).ok()?;
    let what = match hdr.proto {
        proto::ICMP if hdr.frag_offset() == 0 => message("ICMP", packet.get(hdr.ihl()..)),
        kind => upper(packet, ETHERTYPE_IPV4, kind),
    };
    let part = match (hdr.frag_offset(), hdr.more_fragments()) {
        (0, false) => String::new(),
        (at, _) => format!(", fragment at {at}"),
    };
    Some(format!("IPv4 {} -> {}, {what}{part}, TTL {}", hdr.src(), hdr.dst(), hdr.ttl))
}

fn message(name: &str, bytes: Option<&[u8]>) -> String {
    match bytes.and_then(|b| icmp::IcmpHdr::ref_from_prefix(b).ok()) {
        Some((hdr, _)) => format!("{name} {}/{}", hdr.kind, hdr.code),
        None => name.into(),
    }
}

fn upper(packet: &[u8], ethertype: u16, kind: u8) -> String {
    let flow = dissect(packet, ethertype, true).outer;
    let ports = (u16::from_be_bytes(flow.sport), u16::from_be_bytes(flow.dport));
    let name = match kind {
        proto::TCP => "TCP",
        proto::UDP => "UDP",
        proto::SCTP => "SCTP",
        proto::NONE => return "no payload".into(),
        other => return format!("protocol {other}"),
    };
    match (&flow.addrs, ports) {
        (Addrs::None, _) | (_, (0, 0)) => name.into(),
        (_, (from, to)) => format!("{name} {from} -> {to}"),
    }
}
