//! ICMPv6 errors: when none may be sent, who speaks, and the bytes. RFC 4443 2.4; Linux: icmp6_send.

use super::super::act::{Act, Quote};
use super::super::ctx::Env;
use super::super::decision::ReplyKind;
use super::super::l3::limit::jiffies;
use super::super::observe::{Observer, Rule};
use super::addr;
use super::own::{self, Made};
use super::pieces::{self, Way};
use super::route::{self, Kind};
use crate::frame::PktType;
use crate::iface::{Iface, LinkKind};
use crate::stats::Mib;
use crate::wire::dissect::dissect;
use crate::wire::eth::ETHERTYPE_IPV6;
use crate::wire::icmp::{self, IcmpHdr, v6};
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use std::net::{IpAddr, Ipv6Addr};
use zerocopy::{FromBytes, IntoBytes};

/// No error is longer than the smallest MTU (RFC 4443 2.4 c).
const QUOTE_MAX: usize = ip6::MIN_MTU as usize - Ip6Hdr::LEN - IcmpHdr::LEN;

const NO_HEADER: Rule = Rule::new("no error: there is no header to quote", "", "icmp6_send");
const GROUP: Rule = Rule::new("no error: the packet was for a group", "4443 2.4", "icmp6_send");
const L2_GROUP: Rule = Rule::new("no error: the frame was for a group", "4443 2.4", "icmp6_send");
const NO_HOST: Rule = Rule::new("no error: the source is no single host", "4443 2.4", "icmp6_send");
const ABOUT_ERROR: Rule = Rule::new("no error: about an error", "4443 2.4", "is_ineligible");
const GLOBAL_LIMIT: Rule = Rule::new("no error: global limit", "4443 2.4", "icmp_global_allow");
const HOST_LIMIT: Rule = Rule::new("no error: host limit", "4443 2.4", "icmpv6_xrlim_allow");
const TO_ANYCAST: Rule = Rule::new("no error: to an anycast address", "4443 2.4", "icmp6_send");
const NO_WAY_BACK: Rule = Rule::new("no error: no route back", "", "icmpv6_route_lookup");
const NO_ADDRESS: Rule = Rule::new("no error: no address to speak from", "6724 5", "ipv6_dev_get_saddr");
const MAPPED: Rule =
    Rule::new("no error: a mapped address speaks to its like alone", "", "ip6_dst_lookup_tail");

/// The rule by which an error goes out.
fn sent(kind: u8, code: u8) -> Rule {
    match (kind, code) {
        (v6::DEST_UNREACH, v6::NOROUTE) => Rule::new("ICMPv6 1/0", "4443 3.1", "ip6_pkt_discard"),
        (v6::DEST_UNREACH, v6::ADM_PROHIBITED) => Rule::new("ICMPv6 1/1", "4443 3.1", "ip6_pkt_prohibit"),
        (v6::DEST_UNREACH, v6::NOT_NEIGHBOUR) => Rule::new("ICMPv6 1/2", "4443 3.1", "ip6_forward"),
        (v6::DEST_UNREACH, v6::ADDR_UNREACH) => Rule::new("ICMPv6 1/3", "4443 3.1", "ip6_link_failure"),
        (v6::DEST_UNREACH, _) => Rule::new("ICMPv6 1/4", "4443 3.1", "__udp6_lib_rcv"),
        (v6::PKT_TOOBIG, _) => Rule::new("ICMPv6 2/0", "4443 3.2", "ip6_forward"),
        (v6::TIME_EXCEEDED, _) => Rule::new("ICMPv6 3/0", "4443 3.3", "ip6_forward"),
        (_, v6::HDR_FIELD) => Rule::new("ICMPv6 4/0", "4443 3.4", "icmpv6_param_prob"),
        (_, v6::UNK_NEXTHDR) => Rule::new("ICMPv6 4/1", "4443 3.4", "ip6_protocol_deliver_rcu"),
        (_, v6::UNK_OPTION) => Rule::new("ICMPv6 4/2", "4443 3.4", "icmpv6_param_prob"),
        _ => Rule::new("ICMPv6 4/3", "7112 5", "ipv6_frag_rcv"),
    }
}

/// Type, code and the four bytes behind them.
fn message(kind: ReplyKind) -> Option<(u8, u8, [u8; 4])> {
    Some(match kind {
        ReplyKind::Unreachable(code) => (v6::DEST_UNREACH, code, [0; 4]),
        ReplyKind::TooBig(mtu) => (v6::PKT_TOOBIG, 0, icmp::mtu6(mtu)),
        ReplyKind::TimeExceeded => (v6::TIME_EXCEEDED, v6::EXC_HOPLIMIT, [0; 4]),
        ReplyKind::ParamProblem(code, pointer) => (v6::PARAM_PROBLEM, code, icmp::pointer6(pointer)),
        ReplyKind::Redirect(_) => return None,
    })
}

/// Whether the packet is one that must not be answered (RFC 4443 2.4 e). Says why not.
fn forbidden(packet: &[u8], pkt_type: PktType, kind: ReplyKind) -> Option<Rule> {
    let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(packet) else { return Some(NO_HEADER) };
    let (src, dst) = (hdr.src(), hdr.dst());
    let for_group = dst.is_multicast() || pkt_type != PktType::Host;
    let allowed_for_group = match kind {
        ReplyKind::TooBig(_) => true,
        // Only option types that begin with the bits 10 are reported for groups.
        ReplyKind::ParamProblem(v6::UNK_OPTION, at) => {
            packet.get(at as usize).is_some_and(|t| t & ip6::opt::ACTION_MASK == ip6::opt::ACTION_SEND)
        }
        _ => false,
    };
    if for_group && !allowed_for_group {
        return Some(if dst.is_multicast() { GROUP } else { L2_GROUP });
    }
    if src.is_unspecified() || src.is_multicast() {
        return Some(NO_HOST);
    }
    ineligible(packet, hdr).then_some(ABOUT_ERROR)
}

/// Whether the packet is an ICMPv6 error. Redirects do not count as errors here. Linux: is_ineligible.
fn ineligible(packet: &[u8], hdr: &Ip6Hdr) -> bool {
    let Some((at, kind, frag)) = ip6::skip_ext(packet, Ip6Hdr::LEN, hdr.next_header) else { return false };
    if kind != proto::ICMPV6 {
        return false;
    }
    match packet.get(at) {
        Some(&t) => !v6::is_informational(t),
        // RFC 4443 2.4: an unfragmented packet without its type cannot be told from an error.
        None => frag.is_none_or(|f| f == 0),
    }
}

/// Sends an error about `quote` to its source, if the rules and the limiter allow. Counters as in the kernel.
pub fn send<O: Observer>(act: &mut Act<'_, '_, O>, quote: &Quote<'_, '_>, kind: ReplyKind) {
    let Some((kind_byte, code, rest)) = message(kind) else { return };
    if let Some(why) = forbidden(quote.bytes, quote.pkt_type, kind) {
        return act.unsent(why, format_args!("ICMPv6 {kind_byte}/{code}"));
    }
    let Ok((offender, _)) = Ip6Hdr::ref_from_prefix(quote.bytes) else { return };
    let (env, peer) = (act.env, offender.src());
    let limited = env.state.sysctl.ratemask6.contains(kind_byte);
    let global = &env.state.sysctl.ip4;
    let now = jiffies(env.now);
    if limited && !act.limits.global(global.icmp_msgs_per_sec, global.icmp_msgs_burst, now) {
        act.stats.mib(Mib::IcmpOutRateLimitGlobal, None, 1);
        return act.unsent(GLOBAL_LIMIT, format_args!("ICMPv6 {kind_byte}/{code} to {peer}"));
    }
    // The interface is forced only where the address alone does not name a host.
    let oif = if ip6::is_link_local(peer) { quote.iif.index } else { 0 };
    let made = Made::icmp(kind_byte, code);
    let src = source(env, quote, offender.dst(), peer);
    let (back, chosen) = own::output_from(env, made, src, peer, oif, quote.bytes);
    let out = back.device(env);
    if limited && !may_send(act, &back, out, peer, now) {
        let lost = back.is_error();
        return act.unsent(
            if lost { NO_WAY_BACK } else { HOST_LIMIT },
            format_args!("ICMPv6 {kind_byte}/{code} to {peer}"),
        );
    }
    if limited {
        act.limits.consume();
    }
    if back.is_anycast(peer) && env.state.sysctl.ip6.icmp_error_anycast_as_unicast == 0 {
        return act.unsent(TO_ANYCAST, format_args!("ICMPv6 {kind_byte}/{code} to {peer}"));
    }
    let (Some(out), Some(owner)) = (out, back.oif(env)) else {
        // A second lookup, which only messages without a limit come to. Linux: ip6_dst_lookup_tail (ENETUNREACH).
        if back.kind == Kind::NoRoute && back.path.is_none() {
            act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
        }
        return act.unsent(NO_WAY_BACK, format_args!("ICMPv6 {kind_byte}/{code} to {peer}"));
    };
    name_way(act, quote, kind, limited, (src, chosen), &back);
    let wished = back.path.and_then(|p| p.prefsrc);
    let speaking = back.speaking(env).unwrap_or(out);
    let Some(src) = src.or(chosen).or(wished).or_else(|| addr::select(env, peer, Some(speaking))) else {
        return act.unsent(NO_ADDRESS, format_args!("ICMPv6 {kind_byte}/{code} to {peer}"));
    };
    if !own::may_speak(src, peer) {
        return act.unsent(MAPPED, format_args!("ICMPv6 {kind_byte}/{code} from {src} to {peer}"));
    }
    look_again(act, quote, offender);
    let hop_limit = back.path.map_or(0, |p| p.hoplimit);
    let hop_limit = if hop_limit != 0 { hop_limit } else { u8::try_from(out.conf6.hop_limit).unwrap_or(64) };
    let quoted = quote.bytes.get(..quote.bytes.len().min(QUOTE_MAX)).unwrap_or_default();
    let mut room = [0; IcmpHdr::LEN + QUOTE_MAX];
    let Some(body) = room.get_mut(..IcmpHdr::LEN + quoted.len()) else { return };
    write(body, (src, peer), IcmpHdr::new(kind_byte, code, rest), quoted, quote.hops);
    let header = Ip6Hdr::new(body.len() as u16, proto::ICMPV6, hop_limit, src, peer);
    let way = Way { route: &back, oif: out, slot: owner.slot };
    if !way.fits(Ip6Hdr::LEN + body.len()) {
        act.rule("error cut into fragments");
    }
    if pieces::send(act, way, &header, body, quote.iif) {
        count_made(act, owner, kind_byte);
        act.reply_made(sent(kind_byte, code), format_args!("from {src} to {peer} by {}", out.name));
    }
}

/// The per-host bucket, keyed by the peer. Linux: icmpv6_xrlim_allow.
pub fn may_send<O: Observer>(
    act: &mut Act<'_, '_, O>,
    back: &route::Route<'_>,
    out: Option<&Iface>,
    peer: Ipv6Addr,
    now: u64,
) -> bool {
    let env = act.env;
    if back.is_error() {
        let lo = env.state.ifaces.loopback().map(|lo| lo.slot);
        act.stats.mib(Mib::Ip6OutNoRoutes, lo, 1);
        act.stats.mib(Mib::Icmp6OutRateLimitHost, None, 1);
        return false;
    }
    if out.is_some_and(|o| o.kind == LinkKind::Loopback) {
        return true;
    }
    let timeout = jiffies(u64::try_from(env.state.sysctl.ip6.icmp_ratelimit).unwrap_or(0) * 1_000_000);
    let ok = act.limits.peer(IpAddr::V6(peer), timeout, now);
    if !ok {
        act.stats.mib(Mib::Icmp6OutRateLimitHost, None, 1);
    }
    ok
}

/// Who speaks, as far as that is known before the way back is: the address that was spoken to if it is ours, else RFC 6724 as
/// seen from the ingress interface, unless the route back has a wish of its own. The way back may be for some sources
/// only. Linux: icmp6_send, icmpv6_rt_has_prefsrc.
fn source(env: Env<'_>, quote: &Quote<'_, '_>, spoken_to: Ipv6Addr, peer: Ipv6Addr) -> Option<Ipv6Addr> {
    let for_us = quote.pkt_type == PktType::Host && !spoken_to.is_multicast();
    if for_us && (addr::is_ours(env, spoken_to, quote.iif) || addr::is_anycast(env, spoken_to, quote.iif)) {
        return Some(spoken_to);
    }
    // That lookup knows neither the interface nor the message yet.
    let back = own::output(env, Made::icmp(0, 0), None, peer, 0, &[]);
    let wishes = !back.is_error() && back.path.is_some_and(|p| p.prefsrc.is_some());
    if wishes { None } else { addr::select(env, peer, Some(quote.iif)) }
}

/// Names what an error owes to the packet, to its reader and to the limits.
fn name_way<O: Observer>(
    act: &mut Act<'_, '_, O>,
    quote: &Quote<'_, '_>,
    kind: ReplyKind,
    limited: bool,
    (src, chosen): (Option<Ipv6Addr>, Option<Ipv6Addr>),
    back: &route::Route<'_>,
) {
    let Ok((offender, _)) = Ip6Hdr::ref_from_prefix(quote.bytes) else { return };
    let (env, dst, peer) = (act.env, offender.dst(), offender.src());
    if dst.is_multicast() || quote.pkt_type != PktType::Host {
        let big = matches!(kind, ReplyKind::TooBig(_));
        act.rule(if big { "error for a group: too big" } else { "error for a group: option of type 10" });
    }
    if !limited {
        act.rule("error: its type is not limited");
    }
    if ip6::is_link_local(peer) {
        act.rule("error: to a link-local reader, by the interface it came from");
    }
    if back.path.is_some_and(|p| p.hoplimit != 0) {
        act.rule("error: hop limit of the route");
    }
    if quote.bytes.len() > QUOTE_MAX {
        act.rule("error: quote cut at 1280 bytes");
    }
    let wished = back.path.is_some_and(|p| p.prefsrc.is_some());
    act.rule(match src {
        Some(src) if src == dst && addr::is_ours(env, dst, quote.iif) => "source: the address spoken to",
        Some(src) if src == dst => "source: the anycast address spoken to",
        Some(_) => "source: chosen as seen from where the packet came in",
        None if chosen.is_some() => "source: chosen to find a way back",
        None if wished => "source: the wish of the route back",
        None => "source: chosen as seen from the way out",
    });
    if act.observer.wants_rules() && src.is_some_and(|src| src != dst) {
        addr::name_choice(act.observer, env, peer, Some(quote.iif));
    }
}

/// The kernel looks up the way back once more, for IPsec's sake: from the address spoken to, by the ingress interface. The
/// message goes the first way all the same, but a failure is counted. Linux: icmpv6_route_lookup (relookup_failed).
fn look_again<O: Observer>(act: &mut Act<'_, '_, O>, quote: &Quote<'_, '_>, offender: &Ip6Hdr) {
    let flow = dissect(quote.bytes, ETHERTYPE_IPV6, true).outer;
    // Of fragments nothing but the protocol is known.
    let whole =
        ip6::skip_ext(quote.bytes, Ip6Hdr::LEN, offender.next_header).filter(|(.., frag)| frag.is_none());
    let after = whole.and_then(|(at, ..)| quote.bytes.get(at..)).unwrap_or_default();
    let [sport, dport] = match flow.ip_proto {
        // What stands in the place of the ports: type and code, or the key of a tunnel. Linux: decode_session6.
        proto::ICMPV6 => {
            let header = after.first_chunk::<{ IcmpHdr::LEN }>();
            [0, header.map_or(0, |&[kind, code, ..]| u16::from_be_bytes([kind, code]))]
        }
        proto::GRE => gre_key(after),
        _ => [flow.dport, flow.sport].map(u16::from_be_bytes),
    };
    let made = Made { ipproto: flow.ip_proto, sport, dport, ..Made::default() };
    let (again, _) =
        own::output_from(act.env, made, Some(offender.dst()), offender.src(), quote.iif.index, &[]);
    if again.kind == Kind::NoRoute && again.path.is_none() {
        act.rule("error: a second lookup failed, sent all the same");
        act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
    }
}

/// The key in a GRE header (RFC 2890 2, RFC 2637 4.1), its low half first; 0 if it has none. Linux: __skb_flow_dissect_gre.
fn gre_key(header: &[u8]) -> [u16; 2] {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    let Some(flags) = header.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else { return [0; 2] };
    let at = if flags & CHECKSUM != 0 { 8 } else { 4 };
    let key =
        header.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|bytes| u32::from_be_bytes(*bytes));
    match (flags & 7, key) {
        (version @ 0..=1, Some(key)) if flags & ROUTING == 0 && flags & KEY != 0 => {
            [key as u16, if version == 1 { 0 } else { (key >> 16) as u16 }]
        }
        _ => [0; 2],
    }
}

/// RFC 4443 2.1: the message with its quote; the quoted hop limit as the rule says.
fn write(
    body: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    icmp_header: IcmpHdr,
    quoted: &[u8],
    quoted_hops: u8,
) {
    let Some((icmp_bytes, data)) = body.split_at_mut_checked(IcmpHdr::LEN) else { return };
    icmp_bytes.copy_from_slice(icmp_header.as_bytes());
    data.copy_from_slice(quoted);
    if let Some(hops) = data.get_mut(7) {
        *hops = quoted_hops;
    }
    let _ = icmp::set_csum6(src, dst, body); // false only without room for a header
}

/// Counters of a message that left whole: it never exceeds 1280 bytes, which every IPv6 link carries.
/// Linux: ndisc_send_skb, ip6_finish_output2.
pub fn count_sent<O: Observer>(act: &Act<'_, '_, O>, out: &Iface, kind: u8, len: usize) {
    count_made(act, out, kind);
    act.stats.mib(Mib::Ip6OutTransmits, Some(out.slot), 1);
    act.stats.mib(Mib::Ip6OutOctets, Some(out.slot), len as u64);
}

/// Counters of a message that was made, however it leaves. Linux: icmpv6_push_pending_frames.
pub fn count_made<O: Observer>(act: &Act<'_, '_, O>, out: &Iface, kind: u8) {
    let slot = Some(out.slot);
    act.stats.mib(Mib::Ip6OutRequests, slot, 1);
    act.stats.mib(Mib::Icmp6OutMsgs, slot, 1);
    let (of_kind, of_type) = match kind {
        v6::DEST_UNREACH => (Mib::Icmp6OutDestUnreachs, Mib::Icmp6OutType1),
        v6::PKT_TOOBIG => (Mib::Icmp6OutPktTooBigs, Mib::Icmp6OutType2),
        v6::TIME_EXCEEDED => (Mib::Icmp6OutTimeExcds, Mib::Icmp6OutType3),
        v6::PARAM_PROBLEM => (Mib::Icmp6OutParmProblems, Mib::Icmp6OutType4),
        v6::NEIGHBOUR_SOLICIT => (Mib::Icmp6OutNeighborSolicits, Mib::Icmp6OutType135),
        v6::NEIGHBOUR_ADVERT => (Mib::Icmp6OutNeighborAdvertisements, Mib::Icmp6OutType136),
        _ => (Mib::Icmp6OutRedirects, Mib::Icmp6OutType137),
    };
    act.stats.mib(of_kind, slot, 1);
    act.stats.mib(of_type, slot, 1);
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::{HOST0, hbh6, udp6};
    use super::*;

    const FAR: &str = "2001:db8:9::7";

    fn icmp6(kind: u8) -> Vec<u8> {
        let mut packet = udp6(HOST0, FAR, 64, 60);
        (packet[6], packet[40]) = (proto::ICMPV6, kind);
        packet
    }

    #[test]
    fn what_must_not_be_answered() {
        let kind = ReplyKind::TimeExceeded;
        let why = |packet: &[u8], pkt_type| forbidden(packet, pkt_type, kind);
        let host = |packet: &[u8]| why(packet, PktType::Host);
        assert_eq!(host(&udp6(HOST0, FAR, 64, 60)), None);
        assert_eq!(host(&[0x60; 39]), Some(NO_HEADER));
        assert_eq!(host(&udp6(HOST0, "ff0e::9", 64, 60)), Some(GROUP));
        assert_eq!(why(&udp6(HOST0, FAR, 64, 60), PktType::Broadcast), Some(L2_GROUP));
        assert_eq!(host(&udp6("::", FAR, 64, 60)), Some(NO_HOST));
        assert_eq!(host(&udp6("ff02::1", FAR, 64, 60)), Some(NO_HOST));
        for (kind, answered) in [(1, false), (4, false), (127, false), (128, true), (v6::REDIRECT, true)] {
            assert_eq!(host(&icmp6(kind)).is_none(), answered, "{kind}");
        }
        assert_eq!(host(&icmp6(1)[..40]), Some(ABOUT_ERROR), "without its type");
    }

    #[test]
    fn what_is_told_also_of_a_groups_packet() {
        let group = |options: &[u8], kind| forbidden(&hbh6(HOST0, "ff0e::9", options), PktType::Host, kind);
        let unknown = ReplyKind::ParamProblem(v6::UNK_OPTION, 42);
        assert_eq!(group(&[0x80, 4, 0, 0, 0, 0], unknown), None);
        assert_eq!(group(&[0xc0, 4, 0, 0, 0, 0], unknown), Some(GROUP));
        assert_eq!(group(&[0x80, 4, 0, 0, 0, 0], ReplyKind::ParamProblem(v6::HDR_FIELD, 42)), Some(GROUP));
        assert_eq!(group(&[0x80, 4, 0, 0, 0, 0], ReplyKind::TooBig(1280)), None);
        assert_eq!(group(&[0x80, 4, 0, 0, 0, 0], ReplyKind::Unreachable(0)), Some(GROUP));
    }
}
