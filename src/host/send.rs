//! Packets that the host sends in answer to one it received: route, header, counters; and the way through `act`.

use super::Local;
use crate::forward::act::Act;
use crate::forward::ctx;
use crate::forward::ip4::fragment::{self, Way};
use crate::forward::ip4::{self, route::MTU_MIN, route::Route as Route4};
use crate::forward::ip6::own::{self, Made};
use crate::forward::ip6::pieces::{self, Way as Way6};
use crate::forward::ip6::{addr, route::Kind, route::Route as Route6};
use crate::forward::observe::{Observer, Rule};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::ip4::{FRAG_DF, Ip4Hdr};
use crate::wire::ip6::Ip6Hdr;
use arrayvec::ArrayVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_fib::{RouteType, RuleKey};
use zerocopy::IntoBytes;

/// The header fields of an answer over IPv4.
pub struct Head4 {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub tos: u8,
    pub proto: u8,
    /// The rule by which it goes out.
    pub rule: Rule,
    /// May be cut on its way; it then bears an identification.
    pub fragment: bool,
    /// Options, whole words.
    pub options: ArrayVec<u8, 40>,
}

/// The header fields of an answer over IPv6.
pub struct Head6 {
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    pub traffic_class: u8,
    pub flow_label: u32,
    pub proto: u8,
    /// The rule by which it goes out.
    pub rule: Rule,
}

/// The way of an answer: out of this host, or over lo to itself. Linux: ip_route_output_key.
pub fn route4<'a, O>(act: &Act<'a, '_, O>, key: &RuleKey<Ipv4Addr>) -> Option<(Route4<'a>, &'a Iface)> {
    let (route, _) = ip4::route::output(act.env, key, None).ok()?;
    let oif = route.oif(act.env)?;
    Some((route, oif))
}

/// The way back to `dst`, by `oif` if that is not 0 and the addresses ask for it, and the source if one had to be chosen to
/// find it; that there is none is counted. To this host it leads over lo.
/// Linux: ip6_dst_lookup_tail.
pub fn route6<'a, O>(
    act: &Act<'a, '_, O>,
    made: Made,
    src: Option<Ipv6Addr>,
    dst: Ipv6Addr,
    oif: u32,
) -> Option<((Route6<'a>, &'a Iface), Option<Ipv6Addr>)> {
    let (route, chosen) = own::output_from(act.env, made, src, dst, oif, &[]);
    if route.kind == Kind::NoRoute && route.path.is_none() {
        act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
    }
    let oif = route.device(act.env)?;
    Some(((route, oif), chosen))
}

/// Where what leaves by a way is counted. Linux: ip6_dst_idev.
pub fn slot6<O>(act: &Act<'_, '_, O>, (route, oif): &(Route6<'_>, &Iface)) -> u16 {
    route.oif(act.env).map_or(oif.slot, |owner| owner.slot)
}

/// The source that suits a way. Linux: ip6_route_get_saddr.
pub fn source6<'a, O>(
    act: &Act<'a, '_, O>,
    route: &Route6<'a>,
    oif: &'a Iface,
    dst: Ipv6Addr,
) -> Option<Ipv6Addr> {
    let oif = route.speaking(act.env).unwrap_or(oif);
    route.path.and_then(|p| p.prefsrc).or_else(|| addr::select(act.env, dst, Some(oif)))
}

/// Sends `body` behind a new header, in pieces where it must be. Counters: IpOutRequests and what follows.
/// Linux: ip_push_pending_frames, ip_output.
pub fn send4<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    local: &Local<'_, '_>,
    (route, oif): (Route4<'a>, &'a Iface),
    head: &Head4,
    body: &[u8],
) {
    let ttl = ip4::route::own_ttl(act.env, &route, head.dst);
    let header_len = Ip4Hdr::LEN + head.options.len();
    let Ok(len) = u16::try_from(header_len + body.len()) else { return };
    let mut header = Ip4Hdr::new(len, ttl, head.proto, head.src, head.dst);
    header.ver_ihl = 0x40 | (header_len / 4) as u8;
    header.tos = head.tos;
    if head.fragment {
        header.id.set(act.limits.next_id(IpAddr::V4(head.dst)));
    } else {
        header.frag.set(FRAG_DF);
    }
    header.set_checksum(&head.options);
    // A route's own MTU counts, larger than the link's though it be. Linux: ipv4_mtu.
    let mtu = ip4::forward::mtu(&route, oif.mtu, true);
    if mtu < MTU_MIN {
        return;
    }
    if !head.fragment && u32::from(len) > mtu {
        return act.rule("answer: none, it may not be cut and is too long"); // Linux: __ip_append_data (EMSGSIZE)
    }
    act.rule_if(!head.options.is_empty(), "answer: options repeated");
    act.stats.mib(Mib::IpOutRequests, None, 1);
    let (next, fixed) = (route.next_hop(head.dst), ip4::route::for_all(act.env, &route, head.dst));
    let broadcast = route.found == RouteType::Broadcast;
    if broadcast {
        let kind = body.first().copied().unwrap_or_default();
        ip4::icmp::heard_here(act, oif, (&header, &head.options), kind, len.into());
    }
    if u32::from(len) > mtu {
        act.rule("answer cut into fragments");
        let packet = [header.as_bytes(), &head.options, body].concat();
        match ctx::neighbour(act.env, oif, next, fixed) {
            Ok(egress) => fragment::fragment(act, &packet, mtu, Way::Send(&egress), local.iif),
            Err(wait) => fragment::fragment(act, &packet, mtu, Way::Hold(&wait), local.iif),
        }
        return;
    }
    let Some(made) = act.make(oif, len.into()) else { return };
    let bytes = header.as_bytes().iter().chain(&head.options).chain(body);
    made.packet.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let place = made.place;
    act.stats.mib(Mib::IpOutTransmits, None, 1);
    act.stats.mib(Mib::IpExtOutOctets, None, len.into());
    if broadcast {
        act.stats.mib(Mib::IpExtOutBcastPkts, None, 1);
        act.stats.mib(Mib::IpExtOutBcastOctets, None, len.into());
    } else if head.dst.is_multicast() {
        act.stats.mib(Mib::IpExtOutMcastPkts, None, 1);
        act.stats.mib(Mib::IpExtOutMcastOctets, None, len.into());
    }
    act.reply_made(head.rule, format_args!("from {} to {} by {}", head.src, head.dst, oif.name));
    act.send_made(oif, next, fixed, place, local.iif);
}

/// Sends `body` behind a new header, in pieces where it must be; false if it cannot be sent.
/// Counters: Ip6OutRequests and what follows. Linux: ip6_push_pending_frames, ip6_output.
pub fn send6<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    local: &Local<'_, '_>,
    way: (Route6<'a>, &'a Iface),
    head: &Head6,
    body: &[u8],
) -> bool {
    let slot = slot6(act, &way);
    let (route, oif) = way;
    let hops = route.path.map_or(0, |p| p.hoplimit);
    let hops = if hops != 0 { hops } else { u8::try_from(oif.conf6.hop_limit).unwrap_or(64) };
    let Ok(payload) = u16::try_from(body.len()) else { return false };
    act.stats.mib(Mib::Ip6OutRequests, Some(slot), 1);
    let mut header = Ip6Hdr::new(payload, head.proto, hops, head.src, head.dst);
    header.set_traffic_class(head.traffic_class);
    header.set_flow_label(head.flow_label);
    let way = Way6 { route: &route, oif, slot };
    if !way.fits(Ip6Hdr::LEN + body.len()) {
        act.rule("answer cut into fragments");
    }
    if !pieces::send(act, way, &header, body, local.iif) {
        return false;
    }
    act.reply_made(head.rule, format_args!("from {} to {} by {}", head.src, head.dst, oif.name));
    true
}
