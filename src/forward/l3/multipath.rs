//! Which fields of a packet choose among several next hops, by `fib_multipath_hash_policy`.
//!
//! The hash itself is `warren_fib::multipath`; the facts of the packet are `wire::dissect`.

use super::super::observe::Observer;
use crate::state::State;
use crate::wire::dissect::{self, Dissected, Flow, dissect};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::Ip6Hdr;
use crate::wire::{eth, icmp, proto};
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::{Addrs, FlowKeys, RuleKey, hash31, hash32, jhash_2words};
use zerocopy::FromBytes;

/// Bits of `fib_multipath_hash_fields`.
mod field {
    pub const SRC_IP: i64 = 0x1;
    pub const DST_IP: i64 = 0x2;
    pub const IP_PROTO: i64 = 0x4;
    pub const FLOWLABEL: i64 = 0x8;
    pub const SRC_PORT: i64 = 0x10;
    pub const DST_PORT: i64 = 0x20;
    /// The same six fields of the inner packet lie this many bits higher.
    pub const INNER: u32 = 6;
}

fn keys(addrs: Addrs) -> FlowKeys {
    FlowKeys { ip_proto: 0, label: [0; 4], sport: [0; 2], dport: [0; 2], addrs }
}

fn v4(src: Ipv4Addr, dst: Ipv4Addr) -> FlowKeys {
    keys(Addrs::V4 { src, dst })
}

fn v6(src: Ipv6Addr, dst: Ipv6Addr) -> FlowKeys {
    keys(Addrs::V6 { src, dst })
}

/// 31-bit hash of an IPv6 packet (from its IP header on). Linux: rt6_multipath_hash.
pub fn hash6(state: &State, packet: &[u8]) -> u32 {
    let seed = state.multipath_seed();
    let (policy, fields) =
        (state.sysctl.ip6.fib_multipath_hash_policy, state.sysctl.ip6.fib_multipath_hash_fields);
    let found = |stop_at_encap| dissect(packet, eth::ETHERTYPE_IPV6, stop_at_encap);
    match policy {
        1 => hash31(seed, &layer4(found(true))),
        2 => hash31(seed, &inner(found(false)).unwrap_or_else(|| layer3_v6(packet))),
        3 => custom(seed, fields, found(false)),
        _ => hash31(seed, &layer3_v6(packet)),
    }
}

/// The same of a packet that was dissected early, because rules ask for ports: policy 0 then takes what was found of ICMPv6
/// that is no error, with the label in host order. Linux: ip6_route_input, ip6_multipath_l3_keys.
pub fn hash6_dissected(state: &State, flow: &Flow, packet: &[u8]) -> u32 {
    let plain = state.sysctl.ip6.fib_multipath_hash_policy == 0 && flow.ip_proto == proto::ICMPV6;
    let keys = addrs_of(flow).filter(|_| plain && quoted6(packet).is_none());
    let Some(keys) = keys else { return hash6(state, packet) };
    let label = flow.label.to_ne_bytes();
    hash31(state.multipath_seed(), &FlowKeys { ip_proto: flow.ip_proto, label, ..keys })
}

/// What the hash of a packet is made of by a policy other than 0, for those who count rules; false if it is 0.
fn name<O: Observer>(observer: &mut O, policy: i64, packet: &[u8], ethertype: u16) -> bool {
    let found = || dissect(packet, ethertype, false);
    observer.rule(match policy {
        1 if found().outer.sport == [0; 2] => "multipath policy: 1, no ports to be seen",
        1 => "multipath policy: 1, ports",
        2 if found().encapsulated => "multipath policy: 2, inner packet",
        2 => "multipath policy: 2, nothing inside",
        3 if found().encapsulated => "multipath policy: 3, chosen fields, a packet inside",
        3 => "multipath policy: 3, chosen fields",
        _ => return false,
    });
    true
}

/// What the hash of an IPv4 packet is made of.
pub fn name4<O: Observer>(observer: &mut O, state: &State, packet: &[u8]) {
    if !name(observer, state.sysctl.ip4.fib_multipath_hash_policy, packet, eth::ETHERTYPE_IPV4) {
        observer.rule(match quoted4(packet) {
            Some(_) => "multipath policy: 0, of the packet that an error quotes",
            None => "multipath policy: 0, addresses",
        });
    }
}

/// What the hash of an IPv6 packet is made of.
pub fn name6<O: Observer>(observer: &mut O, state: &State, flow: Option<&Flow>, packet: &[u8]) {
    let dissected = |flow: &Flow| flow.ip_proto == proto::ICMPV6 && quoted6(packet).is_none();
    if !name(observer, state.sysctl.ip6.fib_multipath_hash_policy, packet, eth::ETHERTYPE_IPV6) {
        observer.rule(match flow {
            Some(flow) if dissected(flow) => "multipath policy: 0, as dissected for the rules",
            _ if quoted6(packet).is_some() => "multipath policy: 0, of the packet that an error quotes",
            _ => "multipath policy: 0, addresses and label",
        });
    }
}

/// The same of a packet that the host itself makes and that answers no other's error: nothing of it is there yet but what
/// a lookup knows. Linux: rt6_multipath_hash without a packet, rt6_multipath_custom_hash_fl6.
pub fn hash6_made(state: &State, key: &RuleKey<Ipv6Addr>, label: u32) -> u32 {
    let seed = state.multipath_seed();
    let label = label.to_be_bytes();
    let (sport, dport) = (key.sport.to_be_bytes(), key.dport.to_be_bytes());
    let whole = FlowKeys { ip_proto: key.ipproto, label, sport, dport, ..v6(key.src, key.dst) };
    match state.sysctl.ip6.fib_multipath_hash_policy {
        1 => hash31(seed, &FlowKeys { label: [0; 4], ..whole }),
        3 => match state.sysctl.ip6.fib_multipath_hash_fields & 0x3f {
            0 => 0,
            fields => hash31(seed, &only(fields, whole)),
        },
        _ => hash31(seed, &FlowKeys { sport: [0; 2], dport: [0; 2], ..whole }),
    }
}

/// 31-bit hash of an IPv4 packet that is for `dst` by now: a source route may have led it on from what its header says.
/// Linux: fib_multipath_hash.
pub fn hash4(state: &State, packet: &[u8], dst: Ipv4Addr) -> u32 {
    let seed = state.multipath_seed();
    let (policy, fields) =
        (state.sysctl.ip4.fib_multipath_hash_policy, state.sysctl.ip4.fib_multipath_hash_fields);
    let found = |stop_at_encap| towards(dissect(packet, eth::ETHERTYPE_IPV4, stop_at_encap), dst);
    match policy {
        1 => hash31(seed, &layer4(found(true))),
        2 => hash31(seed, &inner(found(false)).unwrap_or_else(|| layer3_v4(packet, dst))),
        3 => custom(seed, fields, found(false)),
        _ => hash31(seed, &layer3_v4(packet, dst)),
    }
}

/// The same with another destination of the outer packet.
fn towards(mut found: Dissected, to: Ipv4Addr) -> Dissected {
    if let dissect::Addrs::V4 { dst, .. } = &mut found.outer.addrs {
        *dst = to;
    }
    found
}

/// The same of a packet that the host itself makes and that is no error about another: nothing of it is there yet but what
/// a lookup knows. Linux: fib_multipath_hash without a packet, fib_multipath_custom_hash_fl4.
pub fn hash4_made(state: &State, key: &RuleKey<Ipv4Addr>) -> u32 {
    let seed = state.multipath_seed();
    let addrs = v4(key.src, key.dst);
    let (sport, dport) = (key.sport.to_be_bytes(), key.dport.to_be_bytes());
    let whole = FlowKeys { ip_proto: key.ipproto, sport, dport, ..addrs };
    match state.sysctl.ip4.fib_multipath_hash_policy {
        1 => hash31(seed, &whole),
        3 => match state.sysctl.ip4.fib_multipath_hash_fields & 0x3f {
            0 => 0,
            fields => hash31(seed, &only(fields, whole)),
        },
        _ => hash31(seed, &addrs),
    }
}

/// Policy 0: addresses, flow label and next header; of an ICMPv6 error those of the packet it quotes.
/// Linux: ip6_multipath_l3_keys.
fn layer3_v6(packet: &[u8]) -> FlowKeys {
    let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(packet) else {
        return v6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    };
    let key = quoted6(packet).unwrap_or(hdr);
    FlowKeys { ip_proto: key.next_header, label: key.flow_label().to_be_bytes(), ..v6(key.src(), key.dst()) }
}

/// The header that an ICMPv6 error quotes, if nothing stands between the error and its IPv6 header.
fn quoted6(packet: &[u8]) -> Option<&Ip6Hdr> {
    let (hdr, rest) = Ip6Hdr::ref_from_prefix(packet).ok()?;
    let is_error = |kind: u8| matches!(kind, icmp::v6::DEST_UNREACH..=icmp::v6::PARAM_PROBLEM);
    let error = hdr.next_header == proto::ICMPV6 && rest.first().is_some_and(|&k| is_error(k));
    let quoted = rest.get(icmp::IcmpHdr::LEN..).filter(|_| error)?;
    Some(Ip6Hdr::ref_from_prefix(quoted).ok()?.0)
}

/// Policy 0: addresses; of an ICMP error those of the packet it quotes. Linux: ip_multipath_l3_keys.
fn layer3_v4(packet: &[u8], dst: Ipv4Addr) -> FlowKeys {
    let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(packet) else {
        return v4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
    };
    quoted4(packet).map_or(v4(hdr.src(), dst), |quoted| v4(quoted.src(), quoted.dst()))
}

/// The header that an ICMP error quotes, unless it is a later fragment.
pub fn quoted4(packet: &[u8]) -> Option<&Ip4Hdr> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(packet).ok()?;
    let rest = packet.get(hdr.ihl()..)?;
    let error = hdr.proto == proto::ICMP
        && hdr.frag_offset() == 0
        && rest.first().is_some_and(|&k| icmp::v4::is_error(k));
    let quoted = rest.get(icmp::IcmpHdr::LEN..).filter(|_| error)?;
    Some(Ip4Hdr::ref_from_prefix(quoted).ok()?.0)
}

fn addrs_of(flow: &Flow) -> Option<FlowKeys> {
    match flow.addrs {
        dissect::Addrs::V4 { src, dst } => Some(v4(src, dst)),
        dissect::Addrs::V6 { src, dst } => Some(v6(src, dst)),
        dissect::Addrs::None => None,
    }
}

/// Policy 1: addresses, protocol and ports, not looking into tunnels.
fn layer4(found: Dissected) -> FlowKeys {
    let flow = found.outer;
    let addrs = addrs_of(&flow).unwrap_or_else(|| v4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
    FlowKeys { ip_proto: flow.ip_proto, sport: flow.sport, dport: flow.dport, ..addrs }
}

/// Policy 2: addresses of the innermost packet, which is the packet itself where nothing is inside; of IPv6 also its
/// last next header and the label, in host order. ICMP errors are not looked into.
fn inner(found: Dissected) -> Option<FlowKeys> {
    let flow = found.inner.unwrap_or(found.outer);
    let keys = addrs_of(&flow)?;
    Some(match keys.addrs {
        Addrs::V4 { .. } => keys,
        Addrs::V6 { .. } => FlowKeys { ip_proto: flow.ip_proto, label: flow.label.to_ne_bytes(), ..keys },
    })
}

/// Policy 3: chosen fields of the outer and the inner packet, hashed apart and then together.
/// Linux: rt6_multipath_custom_hash_skb, fib_multipath_custom_hash_skb.
fn custom(seed: u32, fields: i64, found: Dissected) -> u32 {
    let outer = chosen(seed, fields & 0x3f, Some(found.outer));
    let inner = chosen(seed, fields >> field::INNER & 0x3f, found.inner.filter(|_| found.encapsulated));
    jhash_2words(outer, inner) >> 1
}

/// The 32-bit hash of the chosen fields; 0 if none is chosen or there is no such packet.
fn chosen(seed: u32, fields: i64, flow: Option<Flow>) -> u32 {
    let Some(flow) = flow.filter(|_| fields != 0) else { return 0 };
    let Some(keys) = addrs_of(&flow) else { return 0 };
    // The label is of IPv6 alone.
    let label = if matches!(keys.addrs, Addrs::V6 { .. }) { flow.label.to_ne_bytes() } else { [0; 4] };
    let (ip_proto, sport, dport) = (flow.ip_proto, flow.sport, flow.dport);
    hash32(seed, &only(fields, FlowKeys { ip_proto, label, sport, dport, ..keys }))
}

/// Leaves out the fields that are not chosen.
fn only(fields: i64, mut keys: FlowKeys) -> FlowKeys {
    let has = |bit: i64| fields & bit != 0;
    match &mut keys.addrs {
        Addrs::V4 { src, dst } => {
            *src = if has(field::SRC_IP) { *src } else { Ipv4Addr::UNSPECIFIED };
            *dst = if has(field::DST_IP) { *dst } else { Ipv4Addr::UNSPECIFIED };
        }
        Addrs::V6 { src, dst } => {
            *src = if has(field::SRC_IP) { *src } else { Ipv6Addr::UNSPECIFIED };
            *dst = if has(field::DST_IP) { *dst } else { Ipv6Addr::UNSPECIFIED };
        }
    }
    keys.label = if has(field::FLOWLABEL) { keys.label } else { [0; 4] };
    keys.ip_proto = if has(field::IP_PROTO) { keys.ip_proto } else { 0 };
    keys.sport = if has(field::SRC_PORT) { keys.sport } else { [0; 2] };
    keys.dport = if has(field::DST_PORT) { keys.dport } else { [0; 2] };
    keys
}
