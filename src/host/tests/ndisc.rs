//! Neighbour discovery: for whom the host answers, how, and what it refuses.

use super::super::testkit::{Lab, PEER};
use crate::drop::DropReason as D;
use crate::forward::testkit::{P0, mac};
use crate::stats::Mib;
use crate::wire::eth::multicast_mac6;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags as Flags,
    NdiscRepr,
};
use std::net::{IpAddr, Ipv6Addr};
use warren_fib::{Hops, Neighbour, Nud, Place, Prefix, Route, RouteType, TABLE_LOCAL};

pub const OURS: &str = "2001:db8:1::fe";
const GROUP: &str = "ff02::1:ff00:fe";
const HIM: &str = "2001:db8:1::7";

fn message(src: &str, dst: &str, hop_limit: u8, message: NdiscRepr<'_>) -> Vec<u8> {
    let (src, dst): (Ipv6Addr, Ipv6Addr) = (src.parse().unwrap(), dst.parse().unwrap());
    let icmp = Icmpv6Repr::Ndisc(message);
    let ip = Ipv6Repr {
        src_addr: src,
        dst_addr: dst,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit,
    };
    let mut bytes = vec![0; 40 + icmp.buffer_len()];
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[..]));
    let mut body = Icmpv6Packet::new_unchecked(&mut bytes[40..]);
    icmp.emit(&src, &dst, &mut body, &ChecksumCapabilities::default());
    bytes
}

/// A solicitation as an IPv6 packet.
pub fn solicitation(src: &str, dst: &str, target: &str, lladdr: Option<[u8; 6]>) -> Vec<u8> {
    let lladdr = lladdr.map(|mac| EthernetAddress(mac).into());
    message(src, dst, 255, NdiscRepr::NeighborSolicit { target_addr: target.parse().unwrap(), lladdr })
}

/// An advertisement as an IPv6 packet.
pub fn advertisement(src: &str, dst: &str, flags: Flags, lladdr: [u8; 6]) -> Vec<u8> {
    let lladdr = Some(EthernetAddress(lladdr).into());
    message(src, dst, 255, NdiscRepr::NeighborAdvert { flags, target_addr: src.parse().unwrap(), lladdr })
}

/// In a frame to where the packet's destination says.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let dst = Ipv6Addr::from(*packet[24..].first_chunk::<16>().unwrap());
    let to = if dst.is_multicast() { multicast_mac6(dst) } else { mac(P0) };
    Lab::frame(Some(to), 0x86dd, packet)
}

pub fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.bench.writer.update_iface(P0, |i| {
        i.conf6.forwarding = 1;
        i.groups6 =
            [GROUP, "ff02::1", "ff02::1:ff00:9", "ff02::1:ff00:0"].map(|g| g.parse().unwrap()).to_vec();
    });
    lab.bench.writer.publish();
    lab
}

/// An advertisement that left: destinations, source, flags, target, address option.
fn read(frame: &[u8]) -> (Vec<u8>, String, String, Flags, String, Option<[u8; 6]>) {
    let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!(ip.hop_limit(), 255);
    let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    let caps = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &caps).unwrap() {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr }) => {
            let lladdr = lladdr.map(|l| *l.as_bytes().first_chunk().unwrap());
            let text = |a: Ipv6Addr| a.to_string();
            (frame[..6].into(), text(ip.dst_addr()), text(ip.src_addr()), flags, text(target_addr), lladdr)
        }
        other => panic!("not an advertisement: {other:?}"),
    }
}

#[test]
fn our_address_is_answered_for() {
    let mut lab = lab();
    let sent = lab.give(P0, &framed(&solicitation(HIM, GROUP, OURS, Some(PEER))));
    assert_eq!(sent.len(), 1);
    let (to, dst, src, flags, target, lladdr) = read(&sent[0].1);
    assert_eq!((to, dst.as_str(), src.as_str(), target.as_str()), (PEER.into(), HIM, OURS, OURS));
    assert_eq!(flags, Flags::ROUTER | Flags::SOLICITED | Flags::OVERRIDE);
    assert_eq!(lladdr, Some(mac(P0)), "asked of a group, so the asker does not know it");
    let stale = Neighbour { lladdr: PEER, state: Nud::STALE };
    assert_eq!(lab.learned[0].key, (P0, HIM.parse::<IpAddr>().unwrap()));
    assert_eq!(lab.learned[0].neighbour, Some(stale));
    assert_eq!((lab.mib(Mib::Icmp6InNeighborSolicits), lab.mib(Mib::Icmp6OutNeighborAdvertisements)), (1, 1));
    assert_eq!(lab.mib(Mib::Ip6InDelivers), 1);

    // Asked of us alone: no need to tell our address, nor to be told his.
    let sent = lab.give(P0, &framed(&solicitation(HIM, OURS, OURS, None)));
    let (to, .., lladdr) = read(&sent[0].1);
    assert_eq!((to, lladdr), (PEER.into(), None));
}

#[test]
fn who_checks_for_duplicates_is_told_with_all_others() {
    let mut lab = lab();
    let sent = lab.give(P0, &framed(&solicitation("::", GROUP, OURS, None)));
    let (to, dst, src, flags, ..) = read(&sent[0].1);
    assert_eq!(to, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!((dst.as_str(), src.as_str(), flags), ("ff02::1", OURS, Flags::ROUTER | Flags::OVERRIDE));
    assert!(lab.learned.is_empty());
}

#[test]
fn refusals() {
    let refused = [
        (message(HIM, GROUP, 254, ask(OURS)), D::V6NdiscHopLimit),
        (solicitation(HIM, GROUP, "2001:db8:1::9", Some(PEER)), D::V6NdiscOtherHost),
        (solicitation(HIM, GROUP, "2001:db8:2::fe", Some(PEER)), D::V6NdiscOtherHost), // ours on another link
        (solicitation(HIM, GROUP, "ff02::1", Some(PEER)), D::V6NdiscForm),
        (solicitation("::", GROUP, OURS, Some(PEER)), D::V6NdiscForm),
        (solicitation("::", OURS, OURS, None), D::V6NdiscForm),
        (advertisement(HIM, "ff02::1", Flags::SOLICITED, PEER), D::V6NdiscForm),
        (damaged(41, 1), D::V6NdiscCode),
        (damaged(65, 0), D::V6NdiscForm), // an option of length 0
        (damaged(60, 1), D::V6IcmpChecksum),
    ];
    for (packet, reason) in refused {
        let mut lab = lab();
        let sent = lab.give(P0, &framed(&packet));
        assert!(sent.is_empty(), "{reason}: {sent:?}");
        assert_eq!((lab.drops(reason), lab.learned.len()), (1, 0), "{reason}");
    }
}

fn ask(target: &str) -> NdiscRepr<'static> {
    let lladdr = Some(EthernetAddress(PEER).into());
    NdiscRepr::NeighborSolicit { target_addr: target.parse().unwrap(), lladdr }
}

/// A good solicitation with one byte changed, and the checksum made right unless that is what is damaged.
fn damaged(at: usize, value: u8) -> Vec<u8> {
    let mut packet = solicitation(HIM, GROUP, OURS, Some(PEER));
    packet[at] = value;
    if at != 60 {
        let (src, dst) = (HIM.parse().unwrap(), GROUP.parse().unwrap());
        Icmpv6Packet::new_unchecked(&mut packet[40..]).fill_checksum(&src, &dst);
    }
    packet
}

#[test]
fn a_stranger_without_address_is_not_answered() {
    let mut lab = lab();
    assert!(lab.give(P0, &framed(&solicitation(HIM, GROUP, OURS, None))).is_empty());
    assert!(lab.learned.is_empty());
}

#[test]
fn proxied_and_anycast_addresses_may_be_overridden() {
    let mut lab = lab();
    let proxied = "2001:db8:2::9";
    lab.bench.writer.update_iface(P0, |i| i.proxies6.push(proxied.parse().unwrap()));
    lab.bench.writer.publish();
    let asked = framed(&solicitation(HIM, "ff02::1:ff00:9", proxied, Some(PEER)));
    assert!(lab.give(P0, &asked).is_empty(), "proxy_ndp is off");
    lab.bench.writer.update_iface(P0, |i| i.conf6.proxy_ndp = 1);
    let mut anycast = Route::new(Prefix::host("2001:db8:1::".parse().unwrap()), Hops::one(P0, None));
    (anycast.kind, anycast.table, anycast.metric) = (RouteType::Anycast, TABLE_LOCAL, 0);
    lab.bench.writer.insert6(anycast, Place::New).unwrap();
    lab.bench.writer.publish();
    let asked_anycast = framed(&solicitation(HIM, "ff02::1:ff00:0", "2001:db8:1::", Some(PEER)));
    // Whose place we take is no router. Linux: pndisc_is_router.
    let router = Flags::ROUTER | Flags::SOLICITED;
    for (asked, about, wanted) in
        [(asked, proxied, Flags::SOLICITED), (asked_anycast, "2001:db8:1::", router)]
    {
        let sent = lab.give(P0, &asked);
        let (_, _, src, flags, target, _) = read(&sent[0].1);
        assert_eq!((src.as_str(), target.as_str()), (OURS, about));
        assert_eq!(flags, wanted);
    }
}

#[test]
fn an_advertisement_without_override_casts_doubt_only() {
    let mut lab = lab();
    let other = [2, 0, 0, 0, 0, 0x55];
    lab.give(P0, &framed(&solicitation(HIM, GROUP, OURS, Some(PEER))));
    lab.give(P0, &framed(&advertisement(HIM, OURS, Flags::SOLICITED, PEER)));
    let last = |lab: &Lab| lab.learned.last().unwrap().neighbour.unwrap();
    assert_eq!(last(&lab), Neighbour { lladdr: PEER, state: Nud::REACHABLE });
    lab.give(P0, &framed(&advertisement(HIM, OURS, Flags::empty(), other)));
    assert_eq!(last(&lab), Neighbour { lladdr: PEER, state: Nud::STALE });
    lab.give(P0, &framed(&advertisement(HIM, OURS, Flags::OVERRIDE, other)));
    assert_eq!(last(&lab), Neighbour { lladdr: other, state: Nud::STALE });
}
