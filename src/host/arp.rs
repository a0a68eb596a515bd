//! ARP: answers for our addresses and for those we proxy, learns from what is heard, asks. RFC 826; Linux: net/ipv4/arp.c.

use super::Local;
use super::neighbours::{Heard, Other};
use crate::forward::act::Act;
use crate::forward::ctx::{Ctx, Env};
use crate::forward::ip4::route::Kind;
use crate::forward::ip4::{self, addr};
use crate::forward::observe::{Observer, Unobserved};
use crate::frame::{Offload, Output, PktType, Source};
use crate::iface::{Iface, LinkKind, SCOPE_LINK};
use crate::stats::{Link, Own};
use crate::sysctl::combine;
use crate::wire::arp::{ArpHdr, OP_REPLY, OP_REQUEST};
use crate::wire::eth::{self, ETHERTYPE_ARP, EthHdr};
use crate::wire::ip4::Ip4Hdr;
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::Nud;
use zerocopy::{FromBytes, IntoBytes};

fn parse(bytes: &[u8]) -> Option<&ArpHdr> {
    let (arp, _) = ArpHdr::ref_from_prefix(bytes).ok()?;
    let known = matches!(arp.op.get(), OP_REQUEST | OP_REPLY);
    (known && arp.is_ipv4_over_ethernet()).then_some(arp)
}

/// The address of ours that another host uses (RFC 5227 2.4).
pub fn conflict(iif: &Iface, bytes: &[u8]) -> Option<Ipv4Addr> {
    let arp = parse(bytes)?;
    let sender = Ipv4Addr::from(arp.sender_ip);
    let ours = arp.sender_mac != iif.mac && iif.addrs4.iter().any(|a| a.addr == sender);
    ours.then_some(sender)
}

/// Answers a request if the target is ours or proxied; says what is heard of the sender. Linux: arp_process.
pub fn receive<O: Observer>(act: &mut Act<'_, '_, O>, local: &Local<'_, '_>) -> Option<Heard> {
    let (arp, env, iif) = (parse(local.bytes)?, act.env, local.iif);
    let (sender, target) = (Ipv4Addr::from(arp.sender_ip), Ipv4Addr::from(arp.target_ip));
    let localnet = combine::or(env.state.sysctl.all4.route_localnet, iif.conf4.route_localnet);
    if target.is_multicast() || (target.is_loopback() && !localnet) {
        return None;
    }
    let request = arp.op.get() == OP_REQUEST;
    if sender.is_unspecified() {
        // RFC 5227 2.1.1: a probe, whose sender has no address yet.
        if request && env.state.own4.contains(&target) {
            send(act, iif, arp.sender_mac, &arp.reply(iif.mac));
        }
        return None;
    }
    let key = (iif.index, IpAddr::V4(sender));
    let lladdr = Some(arp.sender_mac);
    if request && answers(env, local, sender, target) {
        send(act, iif, arp.sender_mac, &arp.reply(iif.mac));
        return Some(Heard { key, lladdr, state: Nud::STALE, creates: true, other: Other::Replaced });
    }
    // Only an answer sent to us alone proves that the sender hears us.
    let to_us = !request && local.meta.pkt_type == PktType::Host;
    let gratuitous = sender == target && (request || arp.target_mac == arp.sender_mac);
    Some(Heard {
        key,
        lladdr,
        state: if to_us { Nud::REACHABLE } else { Nud::STALE },
        creates: false,
        other: if gratuitous { Other::Replaced } else { Other::Locked },
    })
}

/// Whether we answer for `target`: it is ours, on whatever interface, or we proxy it and the way there is another's
/// than the one it is asked for on. The route is that of a packet from the sender. RFC 1027 2.1; Linux: arp_process.
fn answers(env: Env<'_>, local: &Local<'_, '_>, sender: Ipv4Addr, target: Ipv4Addr) -> bool {
    let iif = local.iif;
    let hdr = Ip4Hdr::new(Ip4Hdr::LEN as u16, 1, 0, sender, target);
    let packet = ip4::Packet { bytes: hdr.as_bytes(), hdr: &hdr, meta: *local.meta };
    let mut unobserved = Unobserved;
    let mut cx = Ctx::new(env, iif, Ip4Hdr::LEN, &mut unobserved);
    let Ok(route) = ip4::route::input(&mut cx, &packet) else { return false };
    let elsewhere = route.oif(env).is_some_and(|oif| oif.index != iif.index);
    match route.kind {
        Kind::Local => true,
        Kind::Unicast if iif.conf4.forwarding != 0 && elsewhere => {
            combine::or(env.state.sysctl.all4.proxy_arp, iif.conf4.proxy_arp)
                || iif.proxies4.contains(&target)
        }
        _ => false,
    }
}

/// Asks who has `target`, all or one host. RFC 826; Linux: arp_solicit (arp_announce 0).
pub fn solicit<O: Observer>(act: &mut Act<'_, '_, O>, oif: &Iface, target: Ipv4Addr, to: Option<[u8; 6]>) {
    let from = addr::select(act.env, oif, Some(target), SCOPE_LINK).unwrap_or(Ipv4Addr::UNSPECIFIED);
    send(act, oif, to.unwrap_or(eth::BROADCAST), &ArpHdr::request(oif.mac, from, target));
}

/// Tells all that `address` is ours (RFC 5227 2.3).
pub fn announce<O: Observer>(act: &mut Act<'_, '_, O>, oif: &Iface, address: Ipv4Addr) {
    send(act, oif, eth::BROADCAST, &ArpHdr::request(oif.mac, address, address));
}

fn send<O: Observer>(act: &mut Act<'_, '_, O>, oif: &Iface, to: [u8; 6], arp: &ArpHdr) {
    const LEN: usize = EthHdr::LEN + ArpHdr::LEN;
    if oif.kind != LinkKind::Ethernet {
        return;
    }
    let Some((start, bytes)) = act.out.scratch.take(LEN) else { return act.stats.own(Own::ScratchFull, 1) };
    if let Some((head, body)) = bytes.split_at_mut_checked(EthHdr::LEN) {
        head.copy_from_slice(EthHdr::new(to, oif.mac, ETHERTYPE_ARP).as_bytes());
        body.copy_from_slice(arp.as_bytes());
    }
    let offload = Offload::default();
    let output = Output {
        oif: oif.index,
        source: Source::Made,
        start: start as u32,
        len: LEN as u32,
        offload,
        slot: oif.slot,
    };
    if act.out.push(output) {
        act.stats.link(Link::TxPackets, oif.slot, 1);
        act.stats.link(Link::TxBytes, oif.slot, LEN as u64);
    } else {
        act.stats.own(Own::ScratchFull, 1);
    }
}
