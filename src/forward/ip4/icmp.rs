//! ICMP errors and redirects: when none may be sent, who speaks, and the bytes.
//! RFC 1812 4.3.2; Linux: __icmp_send, ip_rt_send_redirect, ip_error.

use super::super::act::{Act, Quote};
use super::super::decision::{Decision, ReplyKind, Target, Verdict};
use super::super::l3::{kinds, limit::jiffies};
use super::super::observe::{Observer, Rule};
use super::{addr, forward, named, route};
use crate::drop::DropReason as D;
use crate::frame::PktType;
use crate::iface::{Iface, LinkKind, SCOPE_LINK};
use crate::stats::Mib;
use crate::wire::icmp::{self, IcmpHdr, v4};
use crate::wire::ip4::{FRAG_OFFSET, Ip4Hdr};
use crate::wire::proto;
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::RouteType;
use zerocopy::{FromBytes, IntoBytes};

/// An error is never longer than what every host can take (RFC 1812 4.3.2.3).
const ERROR_MAX: usize = 576;

const L2_GROUP: Rule = Rule::new("no ICMP error: the frame was for a group", "1812 4.3.2.7", "__icmp_send");
const GROUP: Rule = Rule::new("no ICMP error: the packet was for a group", "1812 4.3.2.7", "__icmp_send");
const FRAGMENT: Rule = Rule::new("no ICMP error: not the first fragment", "1812 4.3.2.7", "__icmp_send");
const CUT: Rule = Rule::new("no ICMP error: the ICMP type is cut off", "1812 4.3.2.7", "__icmp_send");
const ABOUT_ERROR: Rule = Rule::new("no ICMP error: about an error", "1812 4.3.2.7", "__icmp_send");
const UNROUTED_LIMIT: Rule = Rule::new("no ICMP error: limit of ip_error", "1812 4.3.2.8", "ip_error");
const GLOBAL_LIMIT: Rule = Rule::new("no ICMP error: global limit", "1812 4.3.2.8", "icmp_global_allow");
const HOST_LIMIT: Rule = Rule::new("no ICMP error: host limit", "1812 4.3.2.8", "icmpv4_xrlim_allow");
const NO_OPTIONS: Rule =
    Rule::new("no ICMP error: its options cannot be repeated", "1812 4.3.2.6", "__ip_options_echo");
const NO_WAY_BACK: Rule = Rule::new("no ICMP error: no route back", "", "icmp_route_lookup");
const NO_ROOM: Rule = Rule::new("no ICMP error: the MTU leaves no room", "", "__icmp_send");

const TOO_SMALL: Rule = Rule::new("no ICMP message: the MTU is too small for IPv4", "", "ip_setup_cork");

/// The rule by which a message goes out.
fn sent(kind: u8, code: u8) -> Rule {
    match (kind, code) {
        (v4::DEST_UNREACH, v4::NET_UNREACH) => Rule::new("ICMP 3/0", "1812 5.2.7.1", "ip_error"),
        (v4::DEST_UNREACH, v4::HOST_UNREACH) => Rule::new("ICMP 3/1", "1812 5.2.7.1", "ip_error"),
        (v4::DEST_UNREACH, v4::PROT_UNREACH) => {
            Rule::new("ICMP 3/2", "1122 3.2.2.1", "ip_protocol_deliver_rcu")
        }
        (v4::DEST_UNREACH, v4::PORT_UNREACH) => Rule::new("ICMP 3/3", "1122 3.2.2.1", "__udp4_lib_rcv"),
        (v4::DEST_UNREACH, v4::FRAG_NEEDED) => Rule::new("ICMP 3/4", "1191 4", "ip_forward"),
        (v4::DEST_UNREACH, v4::SR_FAILED) => Rule::new("ICMP 3/5", "1812 5.2.7.1", "ip_forward"),
        (v4::DEST_UNREACH, _) => Rule::new("ICMP 3/13", "1812 5.2.7.1", "ip_error"),
        (v4::TIME_EXCEEDED, _) => Rule::new("ICMP 11/0", "1812 5.2.7.3", "ip_forward"),
        (v4::REDIRECT, _) => Rule::new("ICMP 5/1", "1812 5.2.7.2", "ip_rt_send_redirect"),
        _ => Rule::new("ICMP 12/0", "1812 5.2.7.4", "ip_options_compile"),
    }
}

/// Type, code and the four bytes behind them.
fn message(kind: ReplyKind) -> (u8, u8, [u8; 4]) {
    match kind {
        ReplyKind::Unreachable(code) => (v4::DEST_UNREACH, code, [0; 4]),
        ReplyKind::TooBig(mtu) => (v4::DEST_UNREACH, v4::FRAG_NEEDED, icmp::mtu4(mtu.min(0xffff) as u16)),
        ReplyKind::TimeExceeded => (v4::TIME_EXCEEDED, v4::EXC_TTL, [0; 4]),
        ReplyKind::ParamProblem(code, at) => (v4::PARAM_PROBLEM, code, icmp::pointer4(at as u8)),
        ReplyKind::Redirect(to) => {
            let gateway = if let IpAddr::V4(g) = to { g } else { Ipv4Addr::UNSPECIFIED };
            (v4::REDIRECT, v4::REDIR_HOST, icmp::gateway4(gateway))
        }
    }
}

/// Sends a redirect if the source's schedule allows. RFC 1812 5.2.7.2; Linux: ip_rt_send_redirect.
pub fn redirect<O: Observer>(
    act: &mut Act<'_, '_, O>,
    quote: &Quote<'_, '_>,
    decision: &Decision<'_>,
    gateway: Ipv4Addr,
) {
    let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(quote.bytes) else { return };
    if !act.limits.redirect4(IpAddr::V4(hdr.src()), jiffies(act.env.now)) {
        return act.unsent(
            Rule::new("no redirect: the source had its share", "1812 4.3.2.8", "ip_rt_send_redirect"),
            format_args!("to {}", hdr.src()),
        );
    }
    send(act, quote, decision, ReplyKind::Redirect(IpAddr::V4(gateway)));
}

/// Whether the packet is one that must not be answered, in the kernel's order. Says why not.
fn forbidden(quote: &Quote<'_, '_>, hdr: &Ip4Hdr, target: Target) -> Option<Rule> {
    if quote.pkt_type != PktType::Host {
        return Some(L2_GROUP);
    }
    if target == Target::Group {
        return Some(GROUP);
    }
    if hdr.frag.get() & FRAG_OFFSET != 0 {
        return Some(FRAGMENT);
    }
    if hdr.proto != proto::ICMP {
        return None;
    }
    match quote.bytes.get(hdr.ihl()) {
        None => Some(CUT),
        Some(&kind) if v4::forbids_error(kind) => Some(ABOUT_ERROR),
        Some(_) => None,
    }
}

/// Whether the global limiter lets this message pass; counts what it refuses. Linux: icmpv4_global_allow.
pub fn may_send<O: Observer>(act: &mut Act<'_, '_, O>, kind: u8, code: u8, iif: &Iface) -> bool {
    let conf = &act.env.state.sysctl.ip4;
    let limited =
        conf.icmp_ratemask & (1 << kind) != 0 && (kind, code) != (v4::DEST_UNREACH, v4::FRAG_NEEDED);
    if !limited || iif.kind == LinkKind::Loopback {
        act.rule("message: its type is not limited");
        return true;
    }
    let ok = act.limits.global(conf.icmp_msgs_per_sec, conf.icmp_msgs_burst, jiffies(act.env.now));
    if !ok {
        act.stats.mib(Mib::IcmpOutRateLimitGlobal, None, 1);
    }
    ok
}

/// Whether the limiter lets this host have another message; counts what it refuses. Linux: icmpv4_xrlim_allow.
pub fn peer_may_receive<O: Observer>(
    act: &mut Act<'_, '_, O>,
    kind: u8,
    code: u8,
    to: Ipv4Addr,
    out: &Iface,
) -> bool {
    let conf = &act.env.state.sysctl.ip4;
    let limited =
        conf.icmp_ratemask & (1 << kind) != 0 && (kind, code) != (v4::DEST_UNREACH, v4::FRAG_NEEDED);
    if !limited || out.kind == LinkKind::Loopback {
        return true;
    }
    let timeout = jiffies(u64::try_from(conf.icmp_ratelimit).unwrap_or(0) * 1_000_000);
    let ok = act.limits.peer(IpAddr::V4(to), timeout, jiffies(act.env.now));
    if ok {
        act.limits.consume();
    } else {
        act.stats.mib(Mib::IcmpOutRateLimitHost, None, 1);
    }
    ok
}

/// Whether the MTU of a way lets a message be put together; counts one that cannot be. Linux: ip_setup_cork.
pub fn can_be_made<O: Observer>(act: &mut Act<'_, '_, O>, way: &route::Route<'_>, out: &Iface) -> bool {
    let mtu = forward::mtu(way, out.mtu, true);
    if mtu < route::MTU_MIN {
        act.stats.mib(Mib::IcmpOutErrors, Some(out.slot), 1);
        act.unsent(TOO_SMALL, format_args!("{mtu} bytes by {}", out.name));
    }
    mtu >= route::MTU_MIN
}

/// Sends an error about `quote` to its source, if the rules and the limiters allow.
pub fn send<O: Observer>(
    act: &mut Act<'_, '_, O>,
    quote: &Quote<'_, '_>,
    decision: &Decision<'_>,
    kind: ReplyKind,
) {
    let (kind_byte, code, rest) = message(kind);
    let Ok((offender, _)) = Ip4Hdr::ref_from_prefix(quote.bytes) else { return };
    let (env, from) = (act.env, offender.src());
    // ip_error charges the sender's bucket once before __icmp_send charges it again.
    let routeless =
        matches!(decision.verdict, Verdict::Drop(D::V4NoRoute | D::V4Unreachable | D::V4Prohibit));
    if routeless && !act.limits.unreachable4(IpAddr::V4(from), jiffies(env.now)) {
        return act.unsent(UNROUTED_LIMIT, format_args!("ICMP {kind_byte}/{code} to {from}"));
    }
    if let Some(why) = forbidden(quote, offender, decision.target) {
        return act.unsent(why, format_args!("ICMP {kind_byte}/{code} to {from}"));
    }
    if !may_send(act, kind_byte, code, quote.iif) {
        return act.unsent(GLOBAL_LIMIT, format_args!("ICMP {kind_byte}/{code} to {from}"));
    }
    let Some(echo) = &decision.echo else {
        return act.unsent(NO_OPTIONS, format_args!("ICMP {kind_byte}/{code} to {from}"));
    };
    let to = echo.first_hop.unwrap_or(from);
    // RFC 1812 4.3.2.5: precedence 6, the rest of the TOS kept. Linux: RT_TOS | IPTOS_PREC_INTERNETCONTROL.
    let tos = offender.tos & 0x1e | 0xc0;
    let spoken_to = source(act, quote, decision).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let to = route::peer(to, spoken_to);
    let mut key = route::own_key(env, spoken_to, to, tos);
    // Type and code stand where a rule finds the destination port. Linux: fl4_icmp_type, fl4_dport.
    (key.ipproto, key.dport) = (proto::ICMP, u16::from_be_bytes([kind_byte, code]));
    let about = (quote.bytes, current(decision, offender).dst());
    let Ok((back, src)) = route::output(env, &key, Some(about)) else {
        return act.unsent(NO_WAY_BACK, format_args!("ICMP {kind_byte}/{code} to {from}"));
    };
    let Some(out) = back.oif(env) else { return };
    if !peer_may_receive(act, kind_byte, code, to, out) {
        return act.unsent(HOST_LIMIT, format_args!("ICMP {kind_byte}/{code} to {from}"));
    }
    let header_len = Ip4Hdr::LEN + echo.byte_len();
    let room =
        ERROR_MAX.min(forward::mtu(&back, out.mtu, true) as usize).saturating_sub(header_len + IcmpHdr::LEN);
    if room <= Ip4Hdr::LEN {
        return act.unsent(NO_ROOM, format_args!("ICMP {kind_byte}/{code} to {from}"));
    }
    if !can_be_made(act, &back, out) {
        return;
    }
    named::error(act, quote, decision, &back, src, room);
    let src = src.unwrap_or(addr::DUMMY);
    let quoted = quote.bytes.get(..quote.bytes.len().min(room)).unwrap_or_default();
    let len = header_len + IcmpHdr::LEN + quoted.len();
    let ttl = route::own_ttl(env, &back, to);
    let mut header = Ip4Hdr::new(len as u16, ttl, proto::ICMP, src, to);
    header.tos = tos;
    header.id.set(act.limits.next_id(IpAddr::V4(to)));
    header.ver_ihl = 0x40 | (header_len / 4) as u8;
    let options = echo.finish(src, env.wall);
    header.set_checksum(&options);
    let Some(made) = act.make(out, len) else { return };
    let Some((head, body)) = made.packet.split_at_mut_checked(header_len) else { return };
    head.iter_mut().zip(header.as_bytes().iter().chain(&options)).for_each(|(place, byte)| *place = *byte);
    write(body, IcmpHdr::new(kind_byte, code, rest), quoted, decision, quote.hops);
    let place = made.place;
    count_sent(act, out, kind_byte, len);
    act.reply_made(sent(kind_byte, code), format_args!("from {src} to {to} by {}", out.name));
    // A source that is a broadcast address of ours is answered there. Nothing in the kernel forbids it.
    if back.found == RouteType::Broadcast {
        act.stats.mib(Mib::IpExtOutBcastPkts, Some(out.slot), 1);
        act.stats.mib(Mib::IpExtOutBcastOctets, Some(out.slot), len as u64);
        heard_here(act, out, (&header, &options), kind_byte, len);
    } else if to.is_multicast() {
        act.stats.mib(Mib::IpExtOutMcastPkts, Some(out.slot), 1);
        act.stats.mib(Mib::IpExtOutMcastOctets, Some(out.slot), len as u64);
    }
    act.send_made(out, back.next_hop(to), route::for_all(env, &back, to), place, quote.iif);
}

/// A broadcast of our own is for this host as well. It says nothing that a host acts on, so that it is only counted: an ICMP
/// message of these kinds (`kind`, of ICMP alone) is an error where all hear it. Linux: ip_mc_output, dev_loopback_xmit, icmp_rcv.
pub fn heard_here<O: Observer>(
    act: &Act<'_, '_, O>,
    by: &Iface,
    (hdr, options): (&Ip4Hdr, &[u8]),
    kind: u8,
    len: usize,
) {
    act.stats.mib(Mib::IpInReceives, Some(by.slot), 1);
    act.stats.mib(super::ecn_counter(hdr.tos), Some(by.slot), 1);
    act.stats.mib(Mib::IpExtInOctets, Some(by.slot), len as u64);
    // What bears a source route must have come for this station alone. Linux: ip_options_rcv_srr.
    if super::options::find_source_route(options).is_some() {
        return;
    }
    act.stats.mib(Mib::IpExtInBcastPkts, Some(by.slot), 1);
    act.stats.mib(Mib::IpInDelivers, Some(by.slot), 1);
    act.stats.mib(Mib::IpExtInBcastOctets, Some(by.slot), len as u64);
    if hdr.proto == proto::ICMP {
        kinds::of4(kind).iter().for_each(|&mib| act.stats.mib(mib, None, 1));
        act.stats.mib(Mib::IcmpInMsgs, None, 1);
        act.stats.mib(Mib::IcmpInErrors, None, 1);
    }
}

/// The header by now: a source route may have led the packet from one of our addresses to another.
fn current<'h>(decision: &'h Decision<'_>, received: &'h Ip4Hdr) -> &'h Ip4Hdr {
    let acted_on = decision.header.as_ref().and_then(|h| Ip4Hdr::ref_from_prefix(h).ok());
    acted_on.map_or(received, |(h, _)| h)
}

/// Who speaks: the address spoken to if it is ours, the ingress interface's if asked for; else the route decides.
fn source<O: Observer>(
    act: &Act<'_, '_, O>,
    quote: &Quote<'_, '_>,
    decision: &Decision<'_>,
) -> Option<Ipv4Addr> {
    let env = act.env;
    let Ok((offender, _)) = Ip4Hdr::ref_from_prefix(quote.bytes) else { return None };
    if decision.target == Target::Us {
        return Some(current(decision, offender).dst());
    }
    let inbound = env.state.sysctl.ip4.icmp_errors_use_inbound_ifaddr != 0;
    inbound.then(|| addr::select(env, quote.iif, Some(offender.src()), SCOPE_LINK)).flatten()
}

/// The message with its quote: options as acted on, checksum as received, TTL as the rule says.
fn write(body: &mut [u8], icmp_header: IcmpHdr, quoted: &[u8], decision: &Decision<'_>, quoted_ttl: u8) {
    let Some((icmp_bytes, data)) = body.split_at_mut_checked(IcmpHdr::LEN) else { return };
    icmp_bytes.copy_from_slice(icmp_header.as_bytes());
    data.copy_from_slice(quoted);
    if let Some(acted_on) = &decision.header {
        let len = acted_on.len().min(data.len());
        if let (Some(place), Some(bytes)) = (data.get_mut(..len), acted_on.get(..len)) {
            place.copy_from_slice(bytes);
        }
    }
    if let Ok((inner, _)) = Ip4Hdr::mut_from_prefix(data)
        && inner.ttl != quoted_ttl
    {
        crate::wire::csum::decrease_ttl(inner);
    }
    let _ = icmp::set_csum4(body); // false only without room for a header
}

/// Counters of a message that left. Linux: icmp_push_reply, ip_finish_output2.
fn count_sent<O: Observer>(act: &Act<'_, '_, O>, out: &Iface, kind: u8, len: usize) {
    let slot = Some(out.slot);
    act.stats.mib(Mib::IpOutRequests, slot, 1);
    act.stats.mib(Mib::IcmpOutMsgs, slot, 1);
    let (of_kind, of_type) = match kind {
        v4::DEST_UNREACH => (Mib::IcmpOutDestUnreachs, Mib::IcmpMsgOutType3),
        v4::TIME_EXCEEDED => (Mib::IcmpOutTimeExcds, Mib::IcmpMsgOutType11),
        v4::PARAM_PROBLEM => (Mib::IcmpOutParmProbs, Mib::IcmpMsgOutType12),
        _ => (Mib::IcmpOutRedirects, Mib::IcmpMsgOutType5),
    };
    act.stats.mib(of_kind, slot, 1);
    act.stats.mib(of_type, slot, 1);
    act.stats.mib(Mib::IpOutTransmits, slot, 1);
    act.stats.mib(Mib::IpExtOutOctets, slot, len as u64);
}
