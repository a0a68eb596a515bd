//! IPv4 packets for this host: echo, closed ports, unknown protocols. RFC 1122 3.2; Linux: ip_local_deliver, icmp_rcv.

use super::send::{Head4, route4, send4};
use super::transport::{self, Malformed, TCP_LEN};
use super::{Local, News, told4};
use crate::drop::DropReason as D;
use crate::forward::act::{Act, Quote};
use crate::forward::decision::{Decision, ReplyKind, Target, Verdict};
use crate::forward::ip4::echo::Echo;
use crate::forward::ip4::options::{self, Options};
use crate::forward::ip4::{addr, icmp, route};
use crate::forward::l3::kinds;
use crate::forward::observe::{Observer, Rule};
use crate::frame::PktType;
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::icmp::{IcmpHdr, set_csum4, v4};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::{csum, l4, proto};
use std::net::Ipv4Addr;
use warren_fib::{RouteType, RuleKey};
use zerocopy::FromBytes;

const ECHOED: Rule = Rule::new("ICMP echo reply", "1122 3.2.2.6", "icmp_reply");
const ECHO_OFF: Rule = Rule::new("no echo reply: switched off", "", "icmp_echo");
const ECHO_TO_ALL: Rule =
    Rule::new("no echo reply: asked of a group or broadcast", "1122 3.2.2.6", "icmp_rcv");
const NO_OPTIONS: Rule = Rule::new("no answer: its options cannot be repeated", "1122 3.2.2.6", "icmp_reply");
const RESET: Rule = Rule::new("TCP reset over IPv4", "9293 3.10.7.1", "tcp_v4_send_reset");

/// A packet, its header, and its data.
struct Packet<'p, 'a> {
    local: Local<'p, 'a>,
    hdr: &'p Ip4Hdr,
    data: &'p [u8],
    /// For a group or all hosts of a subnet, not for us alone.
    group: bool,
    /// The options as the way in left them; none if it has none.
    options: Option<Options>,
    /// Where it came to at last, perhaps by a source route.
    dst: Ipv4Addr,
}

/// Answers a packet whose header the forwarder found good, and says what it tells. Linux: ip_protocol_deliver_rcu.
pub fn deliver<O: Observer>(act: &mut Act<'_, '_, O>, local: &Local<'_, '_>) -> News {
    whole(act, local).unwrap_or_default()
}

/// A packet that is as long as its header says.
fn whole<O: Observer>(act: &mut Act<'_, '_, O>, local: &Local<'_, '_>) -> Option<News> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(local.bytes).ok()?;
    let bytes = local.bytes.get(..usize::from(hdr.total_len.get()))?;
    let data = bytes.get(hdr.ihl()..)?;
    let group = is_group(act, local.iif, hdr);
    let options = match options::delivered(act.env, local.iif, bytes, !group) {
        Ok(options) => options,
        Err(fault) => {
            malformed(act, &Local { bytes, ..*local }, *fault);
            return None;
        }
    };
    let dst = options.as_ref().and_then(|o| o.address(16)).unwrap_or(hdr.dst());
    let packet = Packet { local: Local { bytes, ..*local }, hdr, data, group, options, dst };
    let done = if hdr.is_fragment() {
        act.stats.mib(Mib::IpReasmReqds, None, 1);
        Err(D::V4HostFragment)
    } else {
        protocol(act, &packet)
    };
    if !matches!(done, Err(D::V4HostFragment | D::V4UnknownProtocol)) {
        act.stats.mib(Mib::IpInDelivers, None, 1);
    }
    done.map_err(|reason| act.refuse(reason, Some(local.iif.slot), None)).ok()
}

/// What this host said to itself repeats options of a packet that have no whole place left by then. Linux: ip_rcv_options.
fn malformed<O: Observer>(act: &mut Act<'_, '_, O>, local: &Local<'_, '_>, (options, at): (Options, usize)) {
    let hops = local.bytes.get(8).copied().unwrap_or_default();
    let quote = Quote { bytes: local.bytes, hops, pkt_type: local.meta.pkt_type, iif: local.iif };
    let mut decision = Decision { target: Target::Us, ..Decision::bare(Verdict::Local) };
    decision.echo = Echo::of(act.env, &options);
    decision.header = Some(options.header);
    icmp::send(act, &quote, &decision, ReplyKind::ParamProblem(0, at as u32));
    act.refuse(D::V4Option, Some(local.iif.slot), None);
}

fn protocol<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) -> Result<News, D> {
    match packet.hdr.proto {
        proto::ICMP => icmp(act, packet),
        proto::UDP => udp(act, packet).map(|()| News::default()),
        proto::TCP => tcp(act, packet).map(|()| News::default()),
        // Reports of others' groups are heard and of no use here.
        proto::IGMP => {
            act.rule("IGMP: heard");
            Ok(News::default())
        }
        _ => {
            unreachable(act, packet, packet.local.bytes, v4::PROT_UNREACH);
            Err(D::V4UnknownProtocol)
        }
    }
}

/// Whether the route of a packet is one for groups or broadcasts.
fn is_group<O>(act: &Act<'_, '_, O>, iif: &Iface, hdr: &Ip4Hdr) -> bool {
    let (src, dst) = (hdr.src(), hdr.dst());
    if dst.is_multicast() || dst.is_broadcast() || dst.is_unspecified() {
        return true;
    }
    let key = RuleKey { iif: iif.index, ..route::own_key(act.env, src, dst, hdr.tos) };
    route::lookup(act.env, &key).is_ok_and(|route| route.found == RouteType::Broadcast)
}

/// Nobody is here for the packet. Linux: icmp_send; nothing is said to groups.
fn unreachable<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, bytes: &[u8], code: u8) {
    if packet.group {
        return act.rule("no ICMP error: nobody here for a group's packet");
    }
    let Local { meta, iif, .. } = packet.local;
    let quote = Quote { bytes, hops: packet.hdr.ttl, pkt_type: meta.pkt_type, iif };
    let mut decision = Decision { target: Target::Us, ..Decision::bare(Verdict::Local) };
    if let Some(options) = &packet.options {
        decision.echo = Echo::of(act.env, options);
        decision.header = options.changed.then(|| options.header.clone());
    }
    icmp::send(act, &quote, &decision, ReplyKind::Unreachable(code));
}

/// RFC 792, RFC 1122 3.2.2; Linux: icmp_rcv.
fn icmp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) -> Result<News, D> {
    act.stats.mib(Mib::IcmpInMsgs, None, 1);
    let known = packet.local.sum_is_known();
    if !known && !transport::sum_is_right(0, packet.data) {
        return Err(D::V4IcmpChecksum);
    }
    let (head, rest) = IcmpHdr::ref_from_prefix(packet.data).map_err(|_| D::V4IcmpShort)?;
    kinds::of4(head.kind).iter().for_each(|&mib| act.stats.mib(mib, None, 1));
    let sysctl = &act.env.state.sysctl.ip4;
    if head.kind != v4::ECHO {
        let about_mtu = (head.kind, head.code & 15) == (v4::DEST_UNREACH, v4::FRAG_NEEDED);
        let ignored = about_mtu && rest_is_header(rest) && matches!(sysctl.ip_no_pmtu_disc, 2 | 3);
        let wrong = !ignored && is_wrong(head, rest, packet.group);
        act.rule(if wrong { "ICMP: heard, counted as an error" } else { "ICMP: heard" });
        if wrong {
            act.stats.mib(Mib::IcmpInErrors, None, 1);
            return Ok(News::default());
        }
        return Ok(told(act, packet, head, rest));
    }
    if packet.group && sysctl.icmp_echo_ignore_broadcasts != 0 {
        act.stats.mib(Mib::IcmpInErrors, None, 1);
        act.unsent(ECHO_TO_ALL, format_args!("to {}", packet.hdr.src()));
    } else if sysctl.icmp_echo_ignore_all == 0 {
        echo(act, packet);
    } else {
        act.unsent(ECHO_OFF, format_args!("to {}", packet.hdr.src()));
    }
    Ok(News::default())
}

/// What an error about an echo reply tells; of other packets only those are told who have sent them. Linux: icmp_err.
fn told<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, head: &IcmpHdr, rest: &[u8]) -> News {
    let Ok((quoted, _)) = Ip4Hdr::ref_from_prefix(rest) else { return News::default() };
    let is_reply = quoted.proto == proto::ICMP && rest.get(quoted.ihl()) == Some(&v4::ECHO_REPLY);
    let news = match (head.kind, head.code) {
        _ if !is_reply || packet.group => return News::default(),
        (v4::DEST_UNREACH, v4::FRAG_NEEDED) => {
            let [_, _, high, low] = head.rest;
            let mtu = match act.env.state.sysctl.ip4.ip_no_pmtu_disc {
                0 => u16::from_be_bytes([high, low]),
                // Nothing is made of it. Linux: icmp_unreach.
                2 | 3 => return News::default(),
                // The MTU is not read, and none is too small to be believed. Linux: icmp_unreach.
                _ => 0,
            };
            told4::too_big(act.env, quoted, mtu.into())
        }
        (v4::REDIRECT, code) => {
            let message = (packet.local.bytes, packet.hdr.dst());
            told4::redirected(act, packet.local.iif, (message, code), quoted, head.rest.into())
        }
        _ => return News::default(),
    };
    act.rule_if(
        !news.told.is_empty(),
        if head.kind == v4::REDIRECT {
            "redirect: taken"
        } else {
            "fragmentation needed: the path's MTU is learned"
        },
    );
    news
}

/// Whether a message that is no echo request counts as an error: unknown types, what groups are not sent, and errors about
/// packets that nobody here has sent. Linux: icmp_rcv, icmp_unreach, icmp_socket_deliver, tcp_v4_err, __udp4_lib_err.
fn is_wrong(head: &IcmpHdr, rest: &[u8], group: bool) -> bool {
    /// `ICMP_EXT_ECHO`, and from what on no type is known.
    const EXTENDED_ECHO: u8 = 42;
    const EXTENDED_REPLY: u8 = 43;
    const TYPES: u8 = 19;
    const TIMES_AND_MASKS: [u8; 3] = [13, 17, 18];
    match head.kind {
        EXTENDED_ECHO => false,
        kind if group => !TIMES_AND_MASKS.contains(&kind),
        v4::ECHO_REPLY | EXTENDED_REPLY => false,
        kind if kind >= TYPES => true,
        v4::DEST_UNREACH if rest_is_header(rest) && head.code > 15 => false,
        v4::TIME_EXCEEDED if rest_is_header(rest) && head.code == 1 => false,
        v4::REDIRECT => quoted(rest).is_none_or(transport::is_of_sockets),
        kind if v4::is_error(kind) => {
            !rest_is_header(rest) || quoted(rest).is_none_or(transport::is_of_sockets)
        }
        _ => false,
    }
}

/// Whether a quote begins with a header of at least the usual length.
fn rest_is_header(rest: &[u8]) -> bool {
    Ip4Hdr::ref_from_prefix(rest).is_ok_and(|(hdr, _)| hdr.ihl() >= Ip4Hdr::LEN)
}

/// The protocol of a quote that is long enough for its ports.
fn quoted(rest: &[u8]) -> Option<u8> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(rest).ok()?;
    (rest.len() >= hdr.ihl() + 8).then_some(hdr.proto)
}

/// What of a packet's options its answer repeats; `None` if it cannot, and then there is no answer. Linux: ip_options_echo.
fn repeated<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) -> Option<Echo> {
    let Some(options) = &packet.options else { return Some(Echo::default()) };
    let echo = Echo::of(act.env, options);
    if echo.is_none() {
        act.unsent(NO_OPTIONS, format_args!("to {}", packet.hdr.src()));
    }
    echo
}

/// RFC 1122 3.2.2.6: from the address asked, with the same data and TOS. Linux: icmp_echo, icmp_reply.
fn echo<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) {
    let (hdr, iif) = (packet.hdr, packet.local.iif);
    let tos = hdr.tos;
    let Some(repeated) = repeated(act, packet) else { return };
    let mut peer = repeated.first_hop.unwrap_or(hdr.src());
    let mut src = if packet.group {
        addr::spec_dst(act.env, iif, hdr.src(), tos).unwrap_or(Ipv4Addr::UNSPECIFIED)
    } else {
        packet.dst
    };
    if !icmp::may_send(act, v4::ECHO_REPLY, 0, iif) {
        return act.unsent(
            Rule::new("no echo reply: global limit", "1812 4.3.2.8", "icmp_global_allow"),
            format_args!("to {peer}"),
        );
    }
    if peer.is_unspecified() {
        peer = route::peer(peer, src);
        src = peer;
    }
    let mut key = route::own_key(act.env, src, peer, tos & 0x1e);
    key.ipproto = proto::ICMP;
    let Some(way) = route4(act, &key) else {
        return act.unsent(
            Rule::new("no echo reply: no route back", "", "ip_route_output_key"),
            format_args!("to {peer}"),
        );
    };
    if !icmp::peer_may_receive(act, v4::ECHO_REPLY, 0, peer, way.1) {
        return act.unsent(
            Rule::new("no echo reply: host limit", "1812 4.3.2.8", "icmpv4_xrlim_allow"),
            format_args!("to {peer}"),
        );
    }
    if !icmp::can_be_made(act, &way.0, way.1) {
        return;
    }
    act.rule(if packet.group { "echo: from an address chosen" } else { "echo: from the address asked" });
    let mut reply = packet.data.to_vec();
    if let Some(kind) = reply.first_mut() {
        *kind = v4::ECHO_REPLY;
    }
    let _ = set_csum4(&mut reply); // false only without room for a header
    // Of the two zeroes of this sum the kernel writes the positive one. Linux: icmp_push_reply (csum_partial_copy_nocheck).
    if let Some(sum) = reply.get_mut(2..4).filter(|sum| **sum == [0xff; 2]) {
        sum.fill(0);
    }
    for mib in [Mib::IcmpOutMsgs, Mib::IcmpOutEchoReps, Mib::IcmpMsgOutType0] {
        act.stats.mib(mib, None, 1);
    }
    let options = repeated.finish(src, act.env.wall);
    let head = Head4 { src, dst: peer, tos, proto: proto::ICMP, fragment: true, rule: ECHOED, options };
    send4(act, &packet.local, way, &head, &reply);
}

/// RFC 1122 4.1.3.1; Linux: __udp4_lib_rcv.
fn udp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) -> Result<(), D> {
    let Some((udp, datagram)) = transport::datagram(packet.data, false) else {
        act.rule("UDP: cut short, counted as an error");
        act.stats.mib(Mib::UdpInErrors, None, 1);
        return Ok(());
    };
    let hdr = packet.hdr;
    let pseudo = csum::pseudo4(hdr.src(), packet.dst, proto::UDP, datagram.len() as u16);
    let unchecked = udp.csum.get() == 0 || packet.local.sum_is_known();
    // The sum of a longer one is left to whoever reads it. Linux: CHECKSUM_BREAK.
    let read = !packet.group || datagram.len() <= 76;
    if read && !unchecked && !transport::sum_is_right(pseudo, datagram) {
        return Err(D::V4UdpChecksum);
    }
    act.rule_if(unchecked, "UDP: its checksum is not asked for");
    if packet.group {
        act.rule("UDP: to a group, taken without a word");
        act.stats.mib(Mib::UdpIgnoredMulti, None, 1);
        return Ok(());
    }
    act.rule_if(datagram.len() < packet.data.len(), "UDP: what is behind the datagram is cut");
    // What is behind the datagram is not quoted.
    let bytes = packet.local.bytes.get(..hdr.ihl() + datagram.len()).unwrap_or(packet.local.bytes);
    unreachable(act, packet, bytes, v4::PORT_UNREACH);
    Err(D::V4UdpNoSocket)
}

/// RFC 9293 3.10.7.1; Linux: tcp_v4_rcv, tcp_v4_send_reset.
fn tcp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>) -> Result<(), D> {
    let (hdr, local) = (packet.hdr, &packet.local);
    if local.meta.pkt_type != PktType::Host {
        return Err(D::V4TcpNoSocket);
    }
    act.stats.mib(Mib::TcpInSegs, None, 1);
    match transport::segment(packet.data) {
        Ok(_) => {}
        Err(Malformed::Short) => {
            act.rule("TCP: cut short");
            return Ok(());
        }
        Err(Malformed::Header) => {
            act.rule("TCP: its header is too short, counted as an error");
            act.stats.mib(Mib::TcpInErrs, None, 1);
            return Ok(());
        }
    }
    let (src, dst) = (packet.dst, hdr.src());
    let pseudo = csum::pseudo4(dst, src, proto::TCP, packet.data.len() as u16);
    if !local.sum_is_known() && !transport::sum_is_right(pseudo, packet.data) {
        return Err(D::V4TcpChecksum);
    }
    if packet.group {
        return Err(D::V4TcpNoSocket);
    }
    let pseudo = csum::pseudo4(src, dst, proto::TCP, TCP_LEN as u16);
    // The ECN bits are the sender's business alone.
    let tos = hdr.tos & !3;
    let repeated = repeated(act, packet);
    let to = route::peer(repeated.as_ref().and_then(|r| r.first_hop).unwrap_or(dst), src);
    let mut key = route::own_key(act.env, src, to, tos & 0x1e);
    let (sport, dport) = l4::ports(proto::TCP, packet.data);
    (key.sport, key.dport) = (u16::from_be_bytes(dport), u16::from_be_bytes(sport));
    key.ipproto = proto::TCP;
    if let Some(reset) = transport::reset(packet.data, pseudo) {
        // Counted whether there is a way or not.
        act.stats.mib(Mib::TcpOutSegs, None, 1);
        act.stats.mib(Mib::TcpOutRsts, None, 1);
        act.rule("TCP: a segment for nobody is counted as answered");
        if let (Some(repeated), Some(way)) = (repeated, route4(act, &key)) {
            let options = repeated.finish(src, act.env.wall);
            let head = Head4 { src, dst: to, tos, proto: proto::TCP, fragment: false, rule: RESET, options };
            send4(act, local, way, &head, &reset);
        }
    }
    Err(D::V4TcpNoSocket)
}
