//! ICMPv6 errors: when none may be sent, who speaks, and the bytes. RFC 4443 2.4; Linux: icmp6_send.

use super::super::act::{Act, Quote};
use super::super::ctx::Env;
use super::super::decision::ReplyKind;
use super::super::l3::limit::{Allowance, jiffies};
use super::super::observe::Observer;
use super::addr;
use super::own::{self, Made};
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
fn forbidden(packet: &[u8], pkt_type: PktType, kind: ReplyKind) -> Option<&'static str> {
    let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(packet) else { return Some("there is no header to quote") };
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
        return Some("the packet was for a group");
    }
    if src.is_unspecified() || src.is_multicast() {
        return Some("its source is no single host");
    }
    ineligible(packet, hdr).then_some("it is an ICMPv6 error itself")
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
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: {why}"));
    }
    let Ok((offender, _)) = Ip6Hdr::ref_from_prefix(quote.bytes) else { return };
    let (env, peer) = (act.env, offender.src());
    let limited = env.state.sysctl.ratemask6.contains(kind_byte);
    let global = &env.state.sysctl.ip4;
    let now = jiffies(env.now);
    if limited && !act.limits.global(global.icmp_msgs_per_sec, global.icmp_msgs_burst, now) {
        act.stats.mib(Mib::IcmpOutRateLimitGlobal, None, 1);
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: {:?} limit", Allowance::Global));
    }
    // The interface is forced only where the address alone does not name a host.
    let oif = if ip6::is_link_local(peer) { quote.iif.index } else { 0 };
    let made = Made::icmp(kind_byte, code);
    let src = source(env, quote, offender.dst(), peer);
    let back = own::output_from(env, made, src, peer, oif, quote.bytes);
    let out = back.device(env);
    if limited && !may_send(act, &back, out, peer, now) {
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: {:?} limit", Allowance::Host));
    }
    if limited {
        act.limits.consume();
    }
    if back.is_anycast(peer) && env.state.sysctl.ip6.icmp_error_anycast_as_unicast == 0 {
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: {peer} is an anycast address"));
    }
    let (Some(out), Some(owner)) = (out, back.oif(env)) else {
        // A second lookup, which only messages without a limit come to. Linux: ip6_dst_lookup_tail (ENETUNREACH).
        if back.kind == Kind::NoRoute && back.path.is_none() {
            act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
        }
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: no route to {peer}"));
    };
    look_again(act, quote, offender);
    let wished = back.path.and_then(|p| p.prefsrc);
    let Some(src) = src.or(wished).or_else(|| addr::select(env, peer, Some(out))) else {
        return act.unsent(format_args!("no ICMPv6 {kind_byte}/{code}: no address to speak from"));
    };
    let hop_limit = back.path.map_or(0, |p| p.hoplimit);
    let hop_limit = if hop_limit != 0 { hop_limit } else { u8::try_from(out.conf6.hop_limit).unwrap_or(64) };
    let quoted = quote.bytes.get(..quote.bytes.len().min(QUOTE_MAX)).unwrap_or_default();
    let len = IcmpHdr::LEN + quoted.len();
    let Some(made) = act.make(out, Ip6Hdr::LEN + len) else { return };
    write(made.packet, src, peer, hop_limit, IcmpHdr::new(kind_byte, code, rest), quoted, quote.hops);
    let made = made.place;
    count_sent(act, owner, kind_byte, Ip6Hdr::LEN + len);
    act.reply_made(format_args!("ICMPv6 {kind_byte}/{code} from {src} to {peer} by {}", out.name));
    act.send_made(out, back.next_hop(peer), None, made, quote.iif);
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
    if matches!(back.kind, Kind::NoRoute | Kind::Prohibit | Kind::Blackhole) {
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
    let wishes = own::output(env, Made::icmp(0, 0), None, peer, 0, quote.bytes)
        .path
        .is_some_and(|p| p.prefsrc.is_some());
    if wishes { None } else { addr::select(env, peer, Some(quote.iif)) }
}

/// The kernel looks up the way back once more, for IPsec's sake: from the address spoken to, by the ingress interface. The
/// message goes the first way all the same, but a failure is counted. Linux: icmpv6_route_lookup (relookup_failed).
fn look_again<O: Observer>(act: &Act<'_, '_, O>, quote: &Quote<'_, '_>, offender: &Ip6Hdr) {
    let flow = dissect(quote.bytes, ETHERTYPE_IPV6, true).outer;
    let made = match ip6::skip_ext(quote.bytes, Ip6Hdr::LEN, offender.next_header) {
        Some((at, proto::ICMPV6, _)) => {
            let byte = |at: usize| quote.bytes.get(at).copied().unwrap_or(0);
            Made::icmp(byte(at), byte(at + 1))
        }
        _ => {
            let [sport, dport] = [flow.dport, flow.sport].map(u16::from_be_bytes);
            Made { ipproto: flow.ip_proto, sport, dport }
        }
    };
    let again =
        own::output_from(act.env, made, Some(offender.dst()), offender.src(), quote.iif.index, quote.bytes);
    if again.kind == Kind::NoRoute && again.path.is_none() {
        act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
    }
}

/// RFC 4443 2.1: the message with its quote; the quoted hop limit as the rule says.
fn write(
    packet: &mut [u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    hop_limit: u8,
    icmp_header: IcmpHdr,
    quoted: &[u8],
    quoted_hops: u8,
) {
    let payload = packet.len() - Ip6Hdr::LEN;
    let header = Ip6Hdr::new(payload as u16, proto::ICMPV6, hop_limit, src, dst);
    let Some((head, body)) = packet.split_at_mut_checked(Ip6Hdr::LEN) else { return };
    head.copy_from_slice(header.as_bytes());
    let Some((icmp_bytes, data)) = body.split_at_mut_checked(IcmpHdr::LEN) else { return };
    icmp_bytes.copy_from_slice(icmp_header.as_bytes());
    data.copy_from_slice(quoted);
    if let Some(hops) = data.get_mut(7) {
        *hops = quoted_hops;
    }
    let _ = icmp::set_csum6(src, dst, body); // false only without room for a header
}

/// Counters of a message that left; it never exceeds 1280 bytes, which every IPv6 link carries.
/// Linux: icmpv6_push_pending_frames, ip6_finish_output2.
pub fn count_sent<O: Observer>(act: &Act<'_, '_, O>, out: &Iface, kind: u8, len: usize) {
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
    act.stats.mib(Mib::Ip6OutTransmits, slot, 1);
    act.stats.mib(Mib::Ip6OutOctets, slot, len as u64);
}
