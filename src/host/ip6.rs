//! IPv6 packets for this host: extension headers, then echo, neighbour discovery, closed ports, unknown protocols.
//! RFC 8200 4, RFC 4443 4; Linux: ip6_protocol_deliver_rcu, icmpv6_rcv.

use super::send::{Head6, route6, send6, slot6, source6};
use super::transport::{self, Malformed, TCP_LEN};
use super::{Local, News, told6};
use super::{exthdrs, exthdrs::Way, ndisc};
use crate::drop::DropReason as D;
use crate::forward::act::{Act, Quote};
use crate::forward::decision::ReplyKind;
use crate::forward::ip6::own::{self, Made};
use crate::forward::ip6::{addr, icmp, route};
use crate::forward::l3::kinds;
use crate::forward::l3::limit::jiffies;
use crate::forward::observe::{Observer, Rule};
use crate::frame::{Meta, PktType};
use crate::iface::LinkKind;
use crate::stats::Mib;
use crate::wire::eth::EthHdr;
use crate::wire::icmp::{IcmpHdr, set_csum6, v6};
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::{csum, proto};
use std::net::Ipv6Addr;
use warren_fib::{Path, RouteType, TABLE_LOCAL};
use zerocopy::FromBytes;

const ECHOED: Rule = Rule::new("echo reply", "4443 4.2", "icmpv6_echo_reply");
const ECHO_OFF: Rule = Rule::new("no echo reply: switched off", "", "icmpv6_echo_reply");
const ECHO_LOST: Rule = Rule::new("no echo reply: no route back", "", "icmpv6_echo_reply");
const ECHO_MUTE: Rule = Rule::new("no echo reply: no address to speak from", "6724 5", "icmpv6_echo_reply");
const ECHO_LIMIT: Rule = Rule::new("no echo reply: limited", "4443 2.4", "icmpv6_xrlim_allow");
const ECHO_MAPPED: Rule =
    Rule::new("no echo reply: a mapped address speaks to its like alone", "", "ip6_dst_lookup_tail");
const RESET: Rule = Rule::new("TCP reset", "9293 3.10.7.1", "tcp_v6_send_response");

/// Up to so many bytes a checksum is computed at once (`CHECKSUM_BREAK`).
const CHECKSUM_BREAK: usize = 76;

/// A packet and its header.
pub struct Packet<'p, 'a> {
    /// From its header on.
    pub local: Local<'p, 'a>,
    /// The fixed header.
    pub hdr: &'p Ip6Hdr,
}

/// What ends the headers of a packet: a protocol and its data.
pub struct Payload<'p> {
    /// The protocol's number.
    pub proto: u8,
    /// Offset of the byte that names it.
    pub named_at: usize,
    /// All behind the last extension header.
    pub data: &'p [u8],
}

/// What becomes of a packet besides answers.
pub enum Delivered {
    /// It tells something.
    News(News),
    /// It goes on: as it has become, and where its routing header stands.
    Onward(Changed, usize),
    /// It has come to its end, and this is what it carried: a packet of this protocol.
    Inside(Changed, u8),
}

/// A packet that is not the one that came.
pub struct Changed {
    /// From its IP header on.
    pub bytes: Vec<u8>,
    /// What travels beside the bytes.
    pub meta: Meta,
}

/// Answers a packet whose header the forwarder found good; `None` if that is all. One that a routing header led on goes on
/// `from` that header, at this offset.
pub fn deliver<O: Observer>(
    act: &mut Act<'_, '_, O>,
    local: &Local<'_, '_>,
    from: Option<usize>,
) -> Option<Delivered> {
    let (hdr, rest) = Ip6Hdr::ref_from_prefix(local.bytes).ok()?;
    let payload = usize::from(hdr.payload_len.get());
    // A length of zero before options: all that came, as on receipt.
    let payload = if payload == 0 && hdr.next_header == proto::HOPOPTS { rest.len() } else { payload };
    let bytes = local.bytes.get(..Ip6Hdr::LEN + payload)?;
    let packet = Packet { local: Local { bytes, ..*local }, hdr };
    let slot = Some(local.iif.slot);
    if hdr.hop_limit <= 1 {
        act.rule("for this host: the hop limit does not matter");
    }
    let changed = |now: Vec<u8>| {
        let offload = local.meta.offload.moved(now.len() as isize - bytes.len() as isize);
        let meta = Meta { offload, wire_len: (EthHdr::LEN + now.len()) as u32, ..*local.meta };
        Changed { bytes: now, meta }
    };
    let payload = match exthdrs::walk(act, &packet, from) {
        Ok(Way::Arrived(payload)) => payload,
        Ok(Way::Onward(bytes, at)) => return Some(Delivered::Onward(changed(bytes), at)),
        Ok(Way::Inside(at, proto)) => {
            let inside = bytes.get(at..).unwrap_or_default();
            return Some(Delivered::Inside(changed(inside.to_vec()), proto));
        }
        Err(reason) => {
            act.refuse(reason, slot, None);
            return None;
        }
    };
    let owner = Some(owner(act, &packet));
    if unheard(&packet, &payload) {
        act.refuse(D::V6MulticastUnheard, owner, None);
        return None;
    }
    let done = protocol(act, &packet, &payload);
    match done {
        Ok(news) => {
            act.stats.mib(Mib::Ip6InDelivers, owner, 1);
            Some(Delivered::News(news))
        }
        Err(D::V6UnknownProtocol) => {
            act.refuse(D::V6UnknownProtocol, owner, None);
            None
        }
        Err(reason) => {
            act.stats.mib(Mib::Ip6InDelivers, owner, 1);
            act.refuse(reason, slot, None);
            None
        }
    }
}

/// Whether a route of type local led here, not one of type anycast. Linux: ipv6_unicast_destination.
fn is_unicast<O>(act: &Act<'_, '_, O>, packet: &Packet<'_, '_>) -> bool {
    let (dst, env) = (packet.hdr.dst(), act.env);
    let table = env.view.table::<Ipv6Addr>(TABLE_LOCAL).filter(|_| !dst.is_multicast());
    let found = table.and_then(|t| t.lookup(dst).next());
    let is_local = |path: &Path<Ipv6Addr>| path.kind == RouteType::Local;
    found.is_some_and(|(_, set)| set.paths.iter().any(is_local)) || addr::is_ours(env, dst, packet.local.iif)
}

/// Whether a packet came to an anycast address, which the first one of a prefix is, too. Linux: ipv6_anycast_destination.
fn is_anycast<O>(act: &Act<'_, '_, O>, dst: Ipv6Addr) -> bool {
    let found = act.env.view.table::<Ipv6Addr>(TABLE_LOCAL).and_then(|table| table.lookup(dst).next());
    let anycast = |path: &Path<Ipv6Addr>| path.kind == RouteType::Anycast;
    found.is_some_and(|(len, set)| addr::is_first(dst, len) || set.paths.iter().any(anycast))
}

/// The counters of the interface that the local route names: the one that has the address. Of several the one that
/// received the packet comes first; what comes over lo brings its route along. Linux: ip6_dst_idev.
pub fn owner<O>(act: &Act<'_, '_, O>, packet: &Packet<'_, '_>) -> u16 {
    let (dst, iif, env) = (packet.hdr.dst(), packet.local.iif, act.env);
    if let Some(slot) = packet.local.meta.way {
        return slot;
    }
    let Some(table) = env.view.table::<Ipv6Addr>(TABLE_LOCAL).filter(|_| !dst.is_multicast()) else {
        return iif.slot;
    };
    let paths = table.lookup(dst).next().map(|(_, set)| &set.paths[..]).unwrap_or_default();
    let groups = paths.iter().filter_map(|path| env.view.group(path.group?));
    let links: Vec<u32> = groups.flat_map(|group| &group.members).map(|member| member.oif).collect();
    let link = links.iter().find(|link| **link == iif.index).or(links.first());
    let link = link.and_then(|link| env.state.ifaces.get(*link));
    // What is taken in the place of a proxied address was to be sent on.
    let onward = || {
        let request = route::request(env, iif, packet.hdr, packet.local.bytes);
        let route = route::lookup(env, &request);
        if route.is_over_lo() { env.state.ifaces.loopback() } else { route.oif(env) }
    };
    link.or_else(onward).map_or(iif.slot, |i| i.slot)
}

/// Whether a message is for a group that was not joined here, and not one about membership. Linux: ip6_protocol_deliver_rcu.
fn unheard(packet: &Packet<'_, '_>, payload: &Payload<'_>) -> bool {
    let about_members = || matches!(payload.data.first(), Some(130..=132 | 143));
    let asked = match payload.proto {
        proto::ICMPV6 => !about_members(),
        proto::UDP | proto::TCP => true,
        _ => false,
    };
    let dst = packet.hdr.dst();
    asked && dst.is_multicast() && !packet.local.iif.groups6.contains(&dst)
}

fn protocol<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    payload: &Payload<'_>,
) -> Result<News, D> {
    match payload.proto {
        proto::ICMPV6 => icmp(act, packet, payload.data),
        proto::UDP => udp(act, packet, payload.data).map(|()| News::default()),
        proto::TCP => tcp(act, packet, payload.data).map(|()| News::default()),
        // RFC 8200 4.7: nothing follows.
        proto::NONE => {
            act.rule("no next header: taken");
            Ok(News::default())
        }
        _ => {
            act.rule(match (payload.proto, payload.named_at) {
                (proto::HOPOPTS, _) => "unknown protocol: hop-by-hop options that are not first",
                (_, 6) => "unknown protocol: named by the fixed header",
                _ => "unknown protocol: named by an extension header",
            });
            let kind = ReplyKind::ParamProblem(v6::UNK_NEXTHDR, payload.named_at as u32);
            error(act, packet, kind);
            Err(D::V6UnknownProtocol)
        }
    }
}

/// An error about the packet to its source. Linux: icmpv6_send.
pub fn error<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, kind: ReplyKind) {
    let Local { bytes, meta, iif, .. } = packet.local;
    let quote = Quote { bytes, hops: packet.hdr.hop_limit, pkt_type: meta.pkt_type, iif };
    icmp::send(act, &quote, kind);
}

fn pseudo(hdr: &Ip6Hdr, proto: u8, len: usize) -> u32 {
    csum::pseudo6(hdr.src(), hdr.dst(), proto, len as u32)
}

/// RFC 4443 2.1; Linux: icmpv6_rcv.
fn icmp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, data: &[u8]) -> Result<News, D> {
    let (hdr, iif) = (packet.hdr, packet.local.iif);
    // By lo comes what the owner of the address said. Linux: icmp6_dev.
    let slot = Some(if iif.kind == LinkKind::Loopback { owner(act, packet) } else { iif.slot });
    act.stats.mib(Mib::Icmp6InMsgs, slot, 1);
    let right =
        packet.local.sum_is_known() || transport::sum_is_right(pseudo(hdr, proto::ICMPV6, data.len()), data);
    if !right {
        return Err(D::V6IcmpChecksum);
    }
    let (head, _) = IcmpHdr::ref_from_prefix(data).map_err(|_| D::V6IcmpShort)?;
    kinds::of6(head.kind).iter().for_each(|&mib| act.stats.mib(mib, slot, 1));
    match head.kind {
        v6::ECHO_REQUEST => echo(act, packet, data),
        v6::NEIGHBOUR_SOLICIT | v6::NEIGHBOUR_ADVERT | v6::ROUTER_SOLICIT | v6::ROUTER_ADVERT => {
            return ndisc::receive(act, &packet.local, hdr, data).map(News::from);
        }
        v6::REDIRECT => {
            let (mut redirect, quoted) = ndisc::redirect(hdr, data)?;
            if let Some(quoted) = quoted {
                let (about, kind) = notify(quoted)?;
                if kind != proto::ICMPV6 {
                    return Ok(News::default());
                }
                redirect.about = (about.src(), about.dst());
                redirect.tos = about.traffic_class() & 0xfc;
            }
            let news = told6::redirected(act.env, iif, &redirect);
            act.rule_if(!news.told.is_empty(), "redirect: taken by a host");
            return Ok(news);
        }
        v6::PKT_TOOBIG => {
            let (quoted, kind) = notify(data.get(IcmpHdr::LEN..).unwrap_or_default())?;
            let mtu = u32::from_be_bytes(head.rest);
            // Others are believed only by who has sent the packet. Linux: icmpv6_err.
            let told = (kind == proto::ICMPV6).then(|| told6::too_big(act.env, iif, quoted, mtu)).flatten();
            act.rule_if(told.is_some(), "packet too big: the path's MTU is learned");
            return Ok(News { told: told.into_iter().collect(), ..News::default() });
        }
        kind if !v6::is_informational(kind) => {
            notify(data.get(IcmpHdr::LEN..).unwrap_or_default())?;
        }
        _ => {}
    }
    Ok(News::default())
}

/// An error about a packet of this host: no program here sent one. Protocols that would know its sockets count it as an
/// error. Says what the packet was of. RFC 4443 2.4 d; Linux: icmpv6_notify, tcp_v6_err, __udp6_lib_err.
fn notify(quoted: &[u8]) -> Result<(&Ip6Hdr, u8), D> {
    let (hdr, _) = Ip6Hdr::ref_from_prefix(quoted).map_err(|_| D::V6IcmpShort)?;
    let (at, kind, _) = ip6::skip_ext(quoted, Ip6Hdr::LEN, hdr.next_header).ok_or(D::V6IcmpQuote)?;
    quoted.get(at..at + 8).ok_or(D::V6IcmpShort)?;
    if transport::is_of_sockets(kind) { Err(D::V6IcmpQuote) } else { Ok((hdr, kind)) }
}

/// RFC 4443 4.2: from the address asked if it is ours alone, else from one that suits the way back; with the same data
/// and traffic class. Linux: icmpv6_echo_reply.
fn echo<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, data: &[u8]) {
    let (hdr, iif, env) = (packet.hdr, packet.local.iif, act.env);
    let (peer, asked, sysctl) = (hdr.src(), hdr.dst(), &env.state.sysctl.ip6);
    let own = is_unicast(act, packet);
    let ignored = sysctl.icmp_echo_ignore_all != 0
        || (asked.is_multicast() && sysctl.icmp_echo_ignore_multicast != 0)
        || (is_anycast(act, asked) && sysctl.icmp_echo_ignore_anycast != 0);
    if ignored {
        return act.unsent(ECHO_OFF, format_args!("to {peer}"));
    }
    let keeps = own || (!asked.is_multicast() && sysctl.anycast_src_echo_reply != 0);
    // Bit 4 of flowlabel_reflect is for echo.
    let reflects = sysctl.flowlabel_reflect & 4 != 0;
    if reflects {
        act.rule("echo: flow label reflected");
    }
    let flow_label = if reflects { hdr.flow_label() } else { 0 };
    let made = Made { label: flow_label, ..Made::icmp(v6::ECHO_REPLY, 0) };
    let Some((way, chosen)) = route6(act, made, keeps.then_some(asked), peer, iif.index) else {
        return act.unsent(ECHO_LOST, format_args!("to {peer}"));
    };
    let Some(src) = keeps.then_some(asked).or(chosen).or_else(|| source6(act, &way.0, way.1, peer)) else {
        return act.unsent(ECHO_MUTE, format_args!("to {peer}"));
    };
    if !own::may_speak(src, peer) {
        return act.unsent(ECHO_MAPPED, format_args!("from {src} to {peer}"));
    }
    if env.state.sysctl.ratemask6.contains(v6::ECHO_REPLY) {
        let now = jiffies(env.now);
        let global = &env.state.sysctl.ip4;
        let allowed = act.limits.global(global.icmp_msgs_per_sec, global.icmp_msgs_burst, now)
            && icmp::may_send(act, &way.0, Some(way.1), peer, now);
        if !allowed {
            return act.unsent(ECHO_LIMIT, format_args!("to {peer}"));
        }
        act.limits.consume();
    }
    act.rule(match (own, asked.is_multicast(), keeps) {
        (true, ..) => "echo: from the address asked",
        (_, true, _) => "echo: to a group, from an address chosen",
        (_, _, true) => "echo: the anycast address speaks",
        _ => "echo: to an anycast address, from another",
    });
    let mut reply = data.to_vec();
    if let Some(kind) = reply.first_mut() {
        *kind = v6::ECHO_REPLY;
    }
    let _ = set_csum6(src, peer, &mut reply); // false only without room for a header
    let traffic_class = hdr.traffic_class();
    let head = Head6 { src, dst: peer, traffic_class, flow_label, proto: proto::ICMPV6, rule: ECHOED };
    let slot = Some(slot6(act, &way));
    if send6(act, &packet.local, way, &head, &reply) {
        for mib in [Mib::Icmp6OutMsgs, Mib::Icmp6OutEchoReplies, Mib::Icmp6OutType129] {
            act.stats.mib(mib, slot, 1);
        }
    }
}

/// RFC 8200 8.1 wants a checksum; RFC 4443 3.1. Linux: __udp6_lib_rcv.
fn udp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, data: &[u8]) -> Result<(), D> {
    let Some((udp, datagram)) = transport::datagram(data, true) else {
        act.stats.mib(Mib::Udp6InErrors, None, 1);
        return Ok(());
    };
    let sum = pseudo(packet.hdr, proto::UDP, datagram.len());
    let right = packet.local.sum_is_known() || transport::sum_is_right(sum, datagram);
    if packet.hdr.dst().is_multicast() {
        // Of a group's datagrams only short ones are summed up before a socket is found. Linux: udp6_csum_init.
        let summed = udp.csum.get() != 0 && datagram.len() <= CHECKSUM_BREAK;
        if summed && !right {
            return Err(D::V6UdpChecksum);
        }
        act.stats.mib(Mib::Udp6IgnoredMulti, None, 1);
        return Ok(());
    }
    if !right || (udp.csum.get() == 0 && !packet.local.sum_is_known()) {
        return Err(D::V6UdpChecksum);
    }
    // What is behind the datagram is cut off by then, so it is not quoted.
    let bytes = packet.local.bytes;
    let bytes = bytes.get(..bytes.len() - (data.len() - datagram.len())).unwrap_or(bytes);
    let cut = Packet { local: Local { bytes, ..packet.local }, hdr: packet.hdr };
    error(act, &cut, ReplyKind::Unreachable(v6::PORT_UNREACH));
    Err(D::V6UdpNoSocket)
}

/// RFC 9293 3.10.7.1; Linux: tcp_v6_rcv, tcp_v6_send_response.
fn tcp<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, data: &[u8]) -> Result<(), D> {
    let (hdr, local) = (packet.hdr, &packet.local);
    if local.meta.pkt_type != PktType::Host {
        return Err(D::V6TcpNoSocket);
    }
    act.stats.mib(Mib::TcpInSegs, None, 1);
    match transport::segment(data) {
        Ok(_) => {}
        Err(Malformed::Short) => return Ok(()),
        Err(Malformed::Header) => {
            act.stats.mib(Mib::TcpInErrs, None, 1);
            return Ok(());
        }
    }
    if !local.sum_is_known() && !transport::sum_is_right(pseudo(hdr, proto::TCP, data.len()), data) {
        return Err(D::V6TcpChecksum);
    }
    let (src, dst): (Ipv6Addr, Ipv6Addr) = (hdr.dst(), hdr.src());
    if src.is_multicast() || !is_unicast(act, packet) {
        return Err(D::V6TcpNoSocket);
    }
    let sum = csum::pseudo6(src, dst, proto::TCP, TCP_LEN as u32);
    let oif = if ip6::is_link_local(dst) { local.iif.index } else { 0 };
    // Bit 2 of flowlabel_reflect is for resets.
    let flow_label = if act.env.state.sysctl.ip6.flowlabel_reflect & 2 != 0 { hdr.flow_label() } else { 0 };
    if let Some(reset) = transport::reset(data, sum)
        && let Ok(segment) = transport::segment(data)
        && let (sport, dport) = (segment.dst_port.get(), segment.src_port.get())
        && let made = (Made { label: flow_label, ..Made::tcp(sport, dport) })
        && let Some((way, _)) = route6(act, made, Some(src), dst, oif)
        && own::may_speak(src, dst)
    {
        act.stats.mib(Mib::TcpOutSegs, None, 1);
        act.stats.mib(Mib::TcpOutRsts, None, 1);
        // The ECN bits are the sender's business alone.
        let traffic_class = hdr.traffic_class() & !3;
        let head = Head6 { src, dst, traffic_class, flow_label, proto: proto::TCP, rule: RESET };
        send6(act, local, way, &head, &reset);
    }
    Err(D::V6TcpNoSocket)
}
