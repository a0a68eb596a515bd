//! A frame in a few words, for people who compare two. Not a full decoder: what routers change and answer is shown.

use crate::wire::arp::ArpHdr;
use crate::wire::eth::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr, fmt_mac};
use crate::wire::icmp::IcmpHdr;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::{l4, proto};
use std::fmt::Write;
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// One line about a frame, from its link-layer header on.
pub fn frame(bytes: &[u8]) -> String {
    let Ok((eth, rest)) = EthHdr::ref_from_prefix(bytes) else {
        return format!("{} bytes, no Ethernet header", bytes.len());
    };
    let (to, from) = (fmt_mac(eth.dst), fmt_mac(eth.src));
    let inside = match eth.ethertype.get() {
        ETHERTYPE_IPV4 => packet4(rest),
        ETHERTYPE_IPV6 => packet6(rest),
        ETHERTYPE_ARP => arp(rest),
        other => format!("type {other:#06x}"),
    };
    format!("{from} > {to} {inside}")
}

fn arp(bytes: &[u8]) -> String {
    ArpHdr::ref_from_prefix(bytes).map_or_else(
        |_| "ARP cut short".to_owned(),
        |(a, _)| {
            let [sender, target] = [a.sender_ip, a.target_ip].map(Ipv4Addr::from);
            format!("ARP {} {sender} asks {target}", a.op.get())
        },
    )
}

fn packet4(bytes: &[u8]) -> String {
    let Ok((h, _)) = Ip4Hdr::ref_from_prefix(bytes) else {
        return format!("IPv4 cut to {} bytes", bytes.len());
    };
    let mut text = format!(
        "{} > {} len {} ttl {} tos {:#04x} id {} frag {:#06x} csum {:#06x}",
        h.src(),
        h.dst(),
        h.total_len.get(),
        h.ttl,
        h.tos,
        h.id.get(),
        h.frag.get(),
        h.csum.get()
    );
    if let Some(options) = bytes.get(Ip4Hdr::LEN..h.ihl()).filter(|o| !o.is_empty()) {
        let _ = write!(text, " options {}", hex(options));
    }
    let inside = bytes.get(h.ihl()..).unwrap_or_default();
    if h.frag_offset() == 0 {
        text.push_str(&transport(h.proto, inside, packet4));
    }
    text
}

fn packet6(bytes: &[u8]) -> String {
    let Ok((h, _)) = Ip6Hdr::ref_from_prefix(bytes) else {
        return format!("IPv6 cut to {} bytes", bytes.len());
    };
    let mut text = format!(
        "{} > {} len {} hl {} tc {:#04x} label {:#x} nh {}",
        h.src(),
        h.dst(),
        h.payload_len.get(),
        h.hop_limit,
        h.traffic_class(),
        h.flow_label(),
        h.next_header
    );
    if let Some((at, kind, _)) = ip6::skip_ext(bytes, Ip6Hdr::LEN, h.next_header) {
        if let Some(headers) = bytes.get(Ip6Hdr::LEN..at).filter(|o| !o.is_empty()) {
            let _ = write!(text, " headers {}", hex(headers));
        }
        text.push_str(&transport(kind, bytes.get(at..).unwrap_or_default(), packet6));
    }
    text
}

fn transport(protocol: u8, bytes: &[u8], quoted: fn(&[u8]) -> String) -> String {
    match protocol {
        proto::ICMP | proto::ICMPV6 => icmp(protocol, bytes, quoted),
        proto::TCP | proto::UDP => {
            let (from, to) = l4::ports(protocol, bytes);
            format!(", ports {} > {}", u16::from_be_bytes(from), u16::from_be_bytes(to))
        }
        other => format!(", protocol {other}"),
    }
}

fn icmp(protocol: u8, bytes: &[u8], quoted: fn(&[u8]) -> String) -> String {
    let Ok((h, rest)) = IcmpHdr::ref_from_prefix(bytes) else { return ", ICMP cut short".to_owned() };
    let mut text = format!(", ICMP {}/{} csum {:#06x} {}", h.kind, h.code, h.csum.get(), hex(&h.rest));
    let error = if protocol == proto::ICMP { matches!(h.kind, 3..=5 | 11 | 12) } else { h.kind < 128 };
    if error {
        let _ = write!(text, " about [{}]", quoted(rest));
    }
    text
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_matters_and_never_panics() {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
        let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|t| t.parse().unwrap());
        bytes.extend(zerocopy::IntoBytes::as_bytes(&Ip6Hdr::new(8, proto::UDP, 63, a, b)));
        bytes.extend([0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0]);
        let text = frame(&bytes);
        assert!(
            text.contains("2001:db8::1 > 2001:db8::2 len 8 hl 63") && text.ends_with("ports 1000 > 2000"),
            "{text}"
        );
        bolero::check!().for_each(|bytes: &[u8]| assert!(!frame(bytes).is_empty()));
    }
}
