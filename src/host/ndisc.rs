//! Neighbour discovery: answers solicitations, learns from what is heard, asks. RFC 4861; Linux: net/ipv6/ndisc.c.
//!
//! A router here sends no advertisements of itself: hosts are given their routes by hand, as with a kernel without radvd.

use super::Local;
use super::neighbours::{Heard, Other};
use super::told6::Redirect;
use crate::drop::DropReason as D;
use crate::forward::act::Act;
use crate::forward::ctx::Env;
use crate::forward::ip6::{addr, icmp};
use crate::forward::observe::{Observer, Rule};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::eth;
use crate::wire::icmp::{IcmpHdr, v6};
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr};
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{Nud, RouteType, TABLE_LOCAL};
use zerocopy::{FromBytes, IntoBytes};

const NO_ADDRESS: Rule = Rule::new("no advertisement: no address to speak from", "6724 5", "ndisc_send_na");
const ADVERTISED: Rule = Rule::new("neighbour advertisement", "4861 7.2.4", "ndisc_send_na");
const SOLICITED: Rule = Rule::new("neighbour solicitation", "4861 7.2.2", "ndisc_solicit");

/// Options. RFC 4861 4.6.1
const SOURCE_LLADDR: u8 = 1;
const TARGET_LLADDR: u8 = 2;
const REDIRECTED: u8 = 4;
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
    let head = head(hdr, message)?;
    let at = match head.kind {
        v6::ROUTER_SOLICIT => IcmpHdr::LEN,
        v6::ROUTER_ADVERT => IcmpHdr::LEN + 8,
        _ => IcmpHdr::LEN + 16,
    };
    let options = message.get(at..).ok_or(D::V6NdiscForm)?;
    let target = message.get(IcmpHdr::LEN..at).and_then(|bytes| bytes.first_chunk::<16>());
    match (head.kind, target) {
        (v6::NEIGHBOUR_SOLICIT, Some(target)) => {
            solicitation(act, local, hdr, (*target).into(), lladdr(options, SOURCE_LLADDR)?)
        }
        (v6::NEIGHBOUR_ADVERT, Some(target)) => {
            let flags = NdiscNeighborFlags::from_bits_truncate(head.rest.first().copied().unwrap_or(0));
            advertisement(act.env, local, hdr, flags, (*target).into(), lladdr(options, TARGET_LLADDR)?)
        }
        _ => router(local, hdr, head.kind, lladdr(options, SOURCE_LLADDR)?),
    }
}

/// The header of a message that has not passed a router. RFC 4861 6.1; Linux: ndisc_rcv.
fn head<'m>(hdr: &Ip6Hdr, message: &'m [u8]) -> Result<&'m IcmpHdr, D> {
    let (head, _) = IcmpHdr::ref_from_prefix(message).map_err(|_| D::V6NdiscForm)?;
    if hdr.hop_limit != 255 {
        return Err(D::V6NdiscHopLimit);
    }
    if head.code != 0 { Err(D::V6NdiscCode) } else { Ok(head) }
}

/// A redirect, for what this host sends unless it quotes a packet, which then follows. RFC 4861 8.1;
/// Linux: ndisc_redirect_rcv, ip6_redirect_no_header.
pub fn redirect<'m>(hdr: &Ip6Hdr, message: &'m [u8]) -> Result<(Redirect, Option<&'m [u8]>), D> {
    head(hdr, message)?;
    if !ip6::is_link_local(hdr.src()) {
        return Err(D::V6NdiscForm);
    }
    let address = |at: usize| message.get(at..).and_then(|bytes| bytes.first_chunk::<16>());
    let (target, dst) = address(8).zip(address(24)).ok_or(D::V6NdiscForm)?;
    let options = message.get(40..).ok_or(D::V6NdiscForm)?;
    let quoted = option(options, REDIRECTED)?.and_then(|(at, _)| options.get(at + 8..));
    let (target, dst) = (Ipv6Addr::from(*target), Ipv6Addr::from(*dst));
    let lladdr = lladdr(options, TARGET_LLADDR);
    Ok((Redirect { router: hdr.src(), dst, target, lladdr, about: (hdr.dst(), dst), tos: 0 }, quoted))
}

/// The link-layer address in the first option of this kind, which must be as long as Ethernet's. Linux: ndisc_opt_addr_data.
fn lladdr(options: &[u8], wanted: u8) -> Result<Option<[u8; 6]>, D> {
    let data = option(options, wanted)?.map(|(_, data)| data);
    data.map(|data| <[u8; 6]>::try_from(data).map_err(|_| D::V6NdiscForm)).transpose()
}

/// The first option of this kind: where it begins, and what it holds. RFC 4861 4.6; Linux: ndisc_parse_options.
fn option(options: &[u8], wanted: u8) -> Result<Option<(usize, &[u8])>, D> {
    let (mut rest, mut found) = (options, None);
    while !rest.is_empty() {
        let (kind, units) = rest.first().zip(rest.get(1)).ok_or(D::V6NdiscForm)?;
        let (option, others) = rest.split_at_checked(usize::from(*units) * 8).ok_or(D::V6NdiscForm)?;
        let data = option.get(2..).ok_or(D::V6NdiscForm)?;
        if *kind == wanted && found.is_none() {
            found = Some((options.len() - rest.len(), data));
        }
        rest = others;
    }
    Ok(found)
}

/// Who looks for routers is a neighbour, and so is another router, whatever else it says. RFC 4861 6.2.6, 6.1.2;
/// Linux: ndisc_recv_rs, ndisc_router_discovery.
fn router(
    local: &Local<'_, '_>,
    hdr: &Ip6Hdr,
    kind: u8,
    lladdr: Option<[u8; 6]>,
) -> Result<Option<Heard>, D> {
    let (src, iif) = (hdr.src(), local.iif);
    let listens = match kind {
        v6::ROUTER_SOLICIT => iif.conf6.forwarding != 0 && !src.is_unspecified(),
        _ if ip6::is_link_local(src) => true,
        _ => return Err(D::V6NdiscForm),
    };
    let key = (iif.index, IpAddr::V6(src));
    let heard = Heard { key, lladdr, state: Nud::STALE, creates: true, other: Other::Replaced };
    Ok(listens.then_some(heard))
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
    let owner = answers(act.env, iif, target).ok_or(D::V6NdiscOtherHost)?;
    // A proxied address is that of a host.
    let router = iif.conf6.forwarding != 0 && owner != Owner::Proxied;
    // What is asked of us alone is no news to others.
    let replaces = owner == Owner::Us && dst.is_multicast();
    let flags = |solicited| {
        let mut flags = NdiscNeighborFlags::empty();
        flags.set(NdiscNeighborFlags::ROUTER, router);
        flags.set(NdiscNeighborFlags::SOLICITED, solicited);
        flags.set(NdiscNeighborFlags::OVERRIDE, replaces);
        flags
    };
    if probe {
        advertise(act, iif, ALL_NODES, Some(eth::multicast_mac6(ALL_NODES)), target, flags(false), true);
        return Ok(None);
    }
    let key = (iif.index, IpAddr::V6(src));
    let entry = act.env.view.neighbour(iif.index, key.1).map(|n| n.neighbour);
    let known = entry.is_some();
    // A sender that keeps its address to itself is answered only if it asked us alone or is known.
    if lladdr.is_none() && dst.is_multicast() && !known {
        return Ok(None);
    }
    // What an administrator said of the sender holds. Linux: neigh_update.
    let fixed = entry.is_some_and(|n| matches!(n.state, Nud::PERMANENT | Nud::NOARP));
    let to = lladdr.filter(|_| !fixed);
    advertise(act, iif, src, to, target, flags(true), dst.is_multicast());
    Ok(Some(Heard { key, lladdr, state: Nud::STALE, creates: true, other: Other::Replaced }))
}

/// Why we answer for an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Us,
    Optimistic,
    Anycast,
    Proxied,
}

/// Whether we answer for the target: an address of ours on this link, an anycast address, or one that we proxy.
/// Linux: ipv6_get_ifaddr, ipv6_chk_acast_addr, pndisc_is_router.
fn answers(env: Env<'_>, iif: &Iface, target: Ipv6Addr) -> Option<Owner> {
    if let Some(address) = iif.addrs6.iter().find(|a| a.addr == target) {
        let owner = if address.optimistic { Owner::Optimistic } else { Owner::Us };
        return (!address.tentative).then_some(owner);
    }
    let proxying = iif.conf6.forwarding != 0
        && (env.state.sysctl.all6.proxy_ndp != 0 || iif.conf6.proxy_ndp != 0)
        && iif.proxies6.contains(&target);
    if is_anycast(env, iif, target) { Some(Owner::Anycast) } else { proxying.then_some(Owner::Proxied) }
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
    let all = &env.state.sysctl.all6;
    let proxying = all.forwarding != 0 && all.proxy_ndp != 0 && iif.proxies6.contains(&target);
    if iif.addrs6.iter().any(|a| a.addr == target) || (proxying && lladdr == Some(iif.mac)) {
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
