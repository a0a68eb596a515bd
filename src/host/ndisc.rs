//! Neighbour discovery: answers solicitations, learns from what is heard, asks. RFC 4861; Linux: net/ipv6/ndisc.c.
//!
//! A router here sends no advertisements of itself: hosts are given their routes by hand, as with a kernel without radvd.

use super::Local;
use super::neighbours::{Heard, Other};
use crate::drop::DropReason as D;
use crate::forward::act::Act;
use crate::forward::ctx::Env;
use crate::forward::ip6::{addr, icmp};
use crate::forward::observe::{Observer, Rule};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::eth;
use crate::wire::icmp::{IcmpHdr, v6};
use crate::wire::ip6::Ip6Hdr;
use crate::wire::proto;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{Nud, RouteType, TABLE_LOCAL};
use zerocopy::{FromBytes, IntoBytes};

const NO_ADDRESS: Rule = Rule::new("no advertisement: no address to speak from", "6724 5", "ndisc_send_na");
const ADVERTISED: Rule = Rule::new("neighbour advertisement", "4861 7.2.4", "ndisc_send_na");
const SOLICITED: Rule = Rule::new("neighbour solicitation", "4861 7.2.2", "ndisc_solicit");

/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group in which the owner of `address` is asked for (RFC 4291 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// A solicitation or advertisement whose ICMPv6 checksum is right; says what is heard of its sender, or why it is
/// dropped. RFC 4861 7.1; Linux: ndisc_rcv.
pub fn receive<O: Observer>(
    act: &mut Act<'_, '_, O>,
    local: &Local<'_, '_>,
    hdr: &Ip6Hdr,
    message: &[u8],
) -> Result<Option<Heard>, D> {
    let (head, _) = IcmpHdr::ref_from_prefix(message).map_err(|_| D::V6NdiscForm)?;
    if hdr.hop_limit != 255 {
        return Err(D::V6NdiscHopLimit);
    }
    if head.code != 0 {
        return Err(D::V6NdiscCode);
    }
    let caps = ChecksumCapabilities::ignored();
    let packet = Icmpv6Packet::new_checked(message).map_err(|_| D::V6NdiscForm)?;
    match Icmpv6Repr::parse(&hdr.src(), &hdr.dst(), &packet, &caps) {
        Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, lladdr })) => {
            solicitation(act, local, hdr, target_addr, ethernet(lladdr)?)
        }
        Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr })) => {
            advertisement(act.env, local, hdr, flags, target_addr, ethernet(lladdr)?)
        }
        // Router solicitations and advertisements, redirects: nothing that a router acts on.
        Ok(_) => Ok(None),
        Err(_) => Err(D::V6NdiscForm),
    }
}

/// The option's address as Ethernet's. Linux: ndisc_opt_addr_data.
fn ethernet(lladdr: Option<RawHardwareAddress>) -> Result<Option<[u8; 6]>, D> {
    let Some(raw) = lladdr else { return Ok(None) };
    raw.as_bytes().first_chunk().map(|mac| Some(*mac)).ok_or(D::V6NdiscForm)
}

/// RFC 4861 7.2.3 and 7.2.4; Linux: ndisc_recv_ns.
fn solicitation<O: Observer>(
    act: &mut Act<'_, '_, O>,
    local: &Local<'_, '_>,
    hdr: &Ip6Hdr,
    target: Ipv6Addr,
    lladdr: Option<[u8; 6]>,
) -> Result<Option<Heard>, D> {
    let (src, dst, iif) = (hdr.src(), hdr.dst(), local.iif);
    // From nowhere: another host asks whether the address is free.
    let probe = src.is_unspecified();
    let to_group = solicited_node(dst) == dst;
    if target.is_multicast() || (probe && (!to_group || lladdr.is_some())) {
        return Err(D::V6NdiscForm);
    }
    let own = answers(act.env, iif, target).ok_or(D::V6NdiscOtherHost)?;
    let router = iif.conf6.forwarding != 0;
    let flags = |solicited| {
        let mut flags = NdiscNeighborFlags::empty();
        flags.set(NdiscNeighborFlags::ROUTER, router);
        flags.set(NdiscNeighborFlags::SOLICITED, solicited);
        flags.set(NdiscNeighborFlags::OVERRIDE, own);
        flags
    };
    if probe {
        advertise(act, iif, ALL_NODES, Some(eth::multicast_mac6(ALL_NODES)), target, flags(false), true);
        return Ok(None);
    }
    let key = (iif.index, IpAddr::V6(src));
    let known = act.env.view.neighbour(iif.index, key.1).is_some();
    // A sender that keeps its address to itself is answered only if it asked us alone or is known.
    if lladdr.is_none() && dst.is_multicast() && !known {
        return Ok(None);
    }
    advertise(act, iif, src, lladdr, target, flags(true), dst.is_multicast());
    Ok(Some(Heard { key, lladdr, state: Nud::STALE, creates: true, other: Other::Replaced }))
}

/// Whether we answer for the target: an address of ours on this link, an anycast address, or one that we proxy; and if
/// so, whether our answer overrides others. Linux: ipv6_get_ifaddr, ipv6_chk_acast_addr, pndisc_is_router.
fn answers(env: Env<'_>, iif: &Iface, target: Ipv6Addr) -> Option<bool> {
    if let Some(address) = iif.addrs6.iter().find(|a| a.addr == target) {
        return (!address.tentative).then_some(!address.optimistic);
    }
    let proxying = iif.conf6.forwarding != 0
        && (env.state.sysctl.all6.proxy_ndp != 0 || iif.conf6.proxy_ndp != 0)
        && iif.proxies6.contains(&target);
    (proxying || is_anycast(env, iif, target)).then_some(false)
}

fn is_anycast(env: Env<'_>, iif: &Iface, target: Ipv6Addr) -> bool {
    let Some(table) = env.view.table::<Ipv6Addr>(TABLE_LOCAL) else { return false };
    let Some((128, set)) = table.lookup(target).next() else { return false };
    set.paths.iter().filter(|p| p.kind == RouteType::Anycast).any(|p| {
        let group = p.group.and_then(|id| env.view.group(id));
        group.is_some_and(|g| g.members.iter().any(|m| m.oif == iif.index))
    })
}

/// RFC 4861 7.2.5; Linux: ndisc_recv_na.
fn advertisement(
    env: Env<'_>,
    local: &Local<'_, '_>,
    hdr: &Ip6Hdr,
    flags: NdiscNeighborFlags,
    target: Ipv6Addr,
    lladdr: Option<[u8; 6]>,
) -> Result<Option<Heard>, D> {
    let iif = local.iif;
    let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
    if target.is_multicast() || (hdr.dst().is_multicast() && solicited) {
        return Err(D::V6NdiscForm);
    }
    // Another host claims our address, or our own proxy answer came back: neither is news of a neighbour.
    if addr::is_ours(env, target, iif) || lladdr == Some(iif.mac) {
        return Ok(None);
    }
    let replaces = flags.contains(NdiscNeighborFlags::OVERRIDE);
    Ok(Some(Heard {
        key: (iif.index, IpAddr::V6(target)),
        lladdr,
        state: if solicited { Nud::REACHABLE } else { Nud::STALE },
        creates: false,
        other: if replaces { Other::Replaced } else { Other::Suspected },
    }))
}

/// Linux: ndisc_send_na.
fn advertise<O: Observer>(
    act: &mut Act<'_, '_, O>,
    oif: &Iface,
    dst: Ipv6Addr,
    to: Option<[u8; 6]>,
    target: Ipv6Addr,
    flags: NdiscNeighborFlags,
    with_lladdr: bool,
) {
    let own = oif.addrs6.iter().any(|a| a.addr == target && !a.tentative);
    let src = if own { Some(target) } else { addr::select(act.env, dst, Some(oif)) };
    let Some(src) = src else {
        return act.unsent(NO_ADDRESS, format_args!("for {target}"));
    };
    let lladdr = with_lladdr.then(|| EthernetAddress(oif.mac).into());
    let message = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr };
    send(act, oif, src, dst, to, message, v6::NEIGHBOUR_ADVERT);
}

/// Asks who has `target`, or whether it is still there. RFC 4861 7.2.2; Linux: ndisc_solicit, ndisc_send_ns.
pub fn solicit<O: Observer>(act: &mut Act<'_, '_, O>, oif: &Iface, target: Ipv6Addr, to: Option<[u8; 6]>) {
    let Some(src) = oif.link_local() else { return };
    let dst = if to.is_some() { target } else { solicited_node(target) };
    let to = to.unwrap_or(eth::multicast_mac6(dst));
    let message =
        NdiscRepr::NeighborSolicit { target_addr: target, lladdr: Some(EthernetAddress(oif.mac).into()) };
    send(act, oif, src, dst, Some(to), message, v6::NEIGHBOUR_SOLICIT);
}

/// Straight to the link, without a route. Linux: ndisc_send_skb.
fn send<O: Observer>(
    act: &mut Act<'_, '_, O>,
    oif: &Iface,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    to: Option<[u8; 6]>,
    message: NdiscRepr<'_>,
    kind: u8,
) {
    let env = act.env;
    let Some(oif) = env.state.ifaces.get(oif.index) else { return };
    let len = Ip6Hdr::LEN + message.buffer_len();
    let Some(made) = act.make(oif, len) else { return };
    let mut header = Ip6Hdr::new(message.buffer_len() as u16, proto::ICMPV6, 255, src, dst);
    header.set_traffic_class(oif.conf6.ndisc_tclass as u8);
    if let Some((head, body)) = made.packet.split_at_mut_checked(Ip6Hdr::LEN) {
        head.copy_from_slice(header.as_bytes());
        let caps = ChecksumCapabilities::default();
        Icmpv6Repr::Ndisc(message).emit(&src, &dst, &mut Icmpv6Packet::new_unchecked(body), &caps);
    }
    let place = made.place;
    icmp::count_sent(act, oif, kind, len);
    if dst.is_multicast() {
        act.stats.mib(Mib::Ip6OutMcastPkts, Some(oif.slot), 1);
        act.stats.mib(Mib::Ip6OutMcastOctets, Some(oif.slot), len as u64);
    }
    let rule = if kind == v6::NEIGHBOUR_ADVERT { ADVERTISED } else { SOLICITED };
    act.reply_made(rule, format_args!("from {src} to {dst} by {}", oif.name));
    act.send_made(oif, IpAddr::V6(dst), to, place, oif);
}
