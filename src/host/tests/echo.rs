//! Echo of both families: the bytes of the reply, whose address speaks, and when none is sent.

use super::super::testkit::{Lab, PEER};
use super::ndisc::{self, OURS, framed};
use crate::drop::DropReason as D;
use crate::forward::testkit::{HOST0, P0, P1, mac};
use crate::stats::Mib;
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The host behind p0 whose link-layer address the test router knows.
const HOST4: [u8; 4] = [10, 0, 1, 1];

fn ask4(dst: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, dst, 64).icmpv4_echo_request(7, 9).write(&mut packet, data).unwrap();
    // With a TOS; a fixed change of the checksum follows from it.
    packet[1] = 0x28;
    let sum = u16::from_be_bytes([packet[10], packet[11]]).wrapping_sub(0x28);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn ask6(dst: &str, data: &[u8]) -> Vec<u8> {
    let octets = |a: &str| a.parse::<Ipv6Addr>().unwrap().octets();
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(octets(HOST0), octets(dst), 64);
    builder.icmpv6_echo_request(7, 9).write(&mut packet, data).unwrap();
    // Traffic class 0x28 and a flow label.
    packet[..4].copy_from_slice(&[0x62, 0x81, 0x23, 0x45]);
    packet
}

fn give4(lab: &mut Lab, packet: &[u8]) -> Vec<(u32, Vec<u8>)> {
    lab.give(P0, &Lab::frame(None, 0x0800, packet))
}

/// Source, TOS, and data of an echo reply over IPv4, all sums checked.
fn read4(frame: &[u8]) -> (Ipv4Addr, u8, Vec<u8>) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.calc_header_checksum(), header.header_checksum);
    assert_eq!((header.time_to_live, header.dont_fragment), (64, false));
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("not ICMP") };
    assert_eq!(internet_checksum::checksum(icmp.slice()), [0, 0]);
    let Icmpv4Type::EchoReply(echo) = icmp.icmp_type() else { panic!("not a reply") };
    assert_eq!((echo.id, echo.seq), (7, 9));
    (header.source.into(), (header.dscp.value() << 2) | header.ecn.value(), icmp.payload().to_vec())
}

fn read6(frame: &[u8]) -> (Ipv6Addr, u8, u32, Vec<u8>) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("not IPv6") };
    let header = ip.header().to_header();
    let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("not ICMPv6") };
    assert!(icmp.is_checksum_valid(header.source, header.destination));
    let Icmpv6Type::EchoReply(echo) = icmp.icmp_type() else { panic!("not a reply") };
    assert_eq!((echo.id, echo.seq, header.hop_limit), (7, 9, 64));
    (header.source.into(), header.traffic_class, header.flow_label.value(), icmp.payload().to_vec())
}

#[test]
fn every_address_of_ours_replies() {
    let mut lab = ndisc::lab();
    for dst in [[10, 0, 1, 254], [10, 0, 2, 254]] {
        let sent = give4(&mut lab, &ask4(dst, b"some data"));
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, &sent[0].1[..12]), (P0, &[&[2, 0, 0, 0, 1, 1], &mac(P0)[..]].concat()[..]));
        assert_eq!(read4(&sent[0].1), (dst.into(), 0x28, b"some data".to_vec()));
    }
    for dst in [OURS, "2001:db8:2::fe"] {
        let sent = lab.give(P0, &framed(&ask6(dst, b"some data")));
        assert_eq!(sent.len(), 1);
        assert_eq!(read6(&sent[0].1), (dst.parse().unwrap(), 0x28, 0, b"some data".to_vec()));
    }
    let counted = [
        (Mib::IcmpInMsgs, 2),
        (Mib::IcmpInEchos, 2),
        (Mib::IcmpOutEchoReps, 2),
        (Mib::IpInDelivers, 2),
        (Mib::IpOutRequests, 2),
        (Mib::IpOutTransmits, 2),
        (Mib::Icmp6InEchos, 2),
        (Mib::Icmp6OutEchoReplies, 2),
        (Mib::Ip6InDelivers, 2),
        (Mib::Ip6OutRequests, 2),
    ];
    for (mib, expect) in counted {
        assert_eq!(lab.mib(mib), expect, "{mib}");
    }
    // Delivered on the interface that has the address, not on that of arrival.
    let state = lab.bench.shared.state.load();
    let slot = |index| state.ifaces.get(index).unwrap().slot;
    let counts = lab.bench.forwarder.stats.snapshot();
    assert_eq!(counts.mib_on(slot(P0), Mib::Ip6InDelivers), 1);
    assert_eq!(counts.mib_on(slot(P1), Mib::Ip6InDelivers), 1);
}

#[test]
fn a_group_is_answered_from_one_address() {
    let mut lab = ndisc::lab();
    let sent = lab.give(P0, &framed(&ask6("ff02::1", b"")));
    assert_eq!(read6(&sent[0].1).0, OURS.parse::<Ipv6Addr>().unwrap());
    lab.bench.writer.draft_mut().sysctl.ip6.icmp_echo_ignore_multicast = 1;
    lab.bench.writer.publish();
    assert!(lab.give(P0, &framed(&ask6("ff02::1", b""))).is_empty());
    assert_eq!(lab.give(P0, &framed(&ask6(OURS, b""))).len(), 1);

    // Broadcasts are ignored unless that is switched off.
    let all = Lab::frame(Some([0xff; 6]), 0x0800, &ask4([255; 4], b""));
    assert!(lab.give(P0, &all).is_empty());
    lab.bench.writer.draft_mut().sysctl.ip4.icmp_echo_ignore_broadcasts = 0;
    lab.bench.writer.publish();
    assert_eq!(read4(&lab.give(P0, &all)[0].1).0, Ipv4Addr::new(10, 0, 1, 254));
}

#[test]
fn echo_can_be_switched_off() {
    let mut lab = ndisc::lab();
    let sysctl = &mut lab.bench.writer.draft_mut().sysctl;
    (sysctl.ip4.icmp_echo_ignore_all, sysctl.ip6.icmp_echo_ignore_all) = (1, 1);
    lab.bench.writer.publish();
    assert!(give4(&mut lab, &ask4([10, 0, 1, 254], b"")).is_empty());
    assert!(lab.give(P0, &framed(&ask6(OURS, b""))).is_empty());
    assert_eq!((lab.mib(Mib::IcmpInEchos), lab.mib(Mib::Icmp6InEchos)), (1, 1), "heard all the same");
}

#[test]
fn echo_is_limited_on_request_only() {
    let mut lab = ndisc::lab();
    let replies =
        |lab: &mut Lab| (0..20).map(|_| lab.give(P0, &framed(&ask6(OURS, b""))).len()).sum::<usize>();
    assert_eq!(replies(&mut lab), 20);
    lab.bench.writer.draft_mut().sysctl.ratemask6.0[2] = 1 << 1;
    lab.bench.writer.publish();
    assert_eq!((replies(&mut lab), lab.mib(Mib::Icmp6OutRateLimitHost)), (6, 14));
}

#[test]
fn no_reply_without_a_route_back() {
    let mut lab = ndisc::lab();
    let mut stranger = Vec::new();
    let builder = PacketBuilder::ipv4([203, 0, 113, 7], [10, 0, 1, 254], 64).icmpv4_echo_request(7, 9);
    builder.write(&mut stranger, b"data").unwrap();
    assert!(give4(&mut lab, &stranger).is_empty());
    assert_eq!((lab.mib(Mib::IcmpInEchos), lab.mib(Mib::IcmpOutMsgs)), (1, 0));
}

#[test]
fn the_flow_label_is_reflected_where_asked_for() {
    let mut lab = ndisc::lab();
    lab.bench.writer.draft_mut().sysctl.ip6.flowlabel_reflect = 4;
    lab.bench.writer.publish();
    let sent = lab.give(P0, &framed(&ask6(OURS, b"")));
    assert_eq!(read6(&sent[0].1).2, 0x12345);
}

#[test]
fn wrong_checksums_are_not_answered() {
    let mut lab = ndisc::lab();
    let (mut four, mut six) = (ask4([10, 0, 1, 254], b"data"), ask6(OURS, b"data"));
    *four.last_mut().unwrap() ^= 1;
    *six.last_mut().unwrap() ^= 1;
    assert!(give4(&mut lab, &four).is_empty());
    assert!(lab.give(P0, &framed(&six)).is_empty());
    assert_eq!((lab.drops(D::V4IcmpChecksum), lab.drops(D::V6IcmpChecksum)), (1, 1));
    assert_eq!((lab.mib(Mib::IcmpInCsumErrors), lab.mib(Mib::Icmp6InCsumErrors)), (1, 1));
    assert_eq!((lab.mib(Mib::IcmpInErrors), lab.mib(Mib::Icmp6InErrors)), (1, 1));
}

#[test]
fn padding_is_not_echoed() {
    let mut lab = ndisc::lab();
    let padded = [ask4([10, 0, 1, 254], b"abc"), vec![0xee; 20]].concat();
    assert_eq!(read4(&give4(&mut lab, &padded)[0].1).2, b"abc");
    let padded = [ask6(OURS, b"abc"), vec![0xee; 20]].concat();
    assert_eq!(read6(&lab.give(P0, &framed(&padded))[0].1).3, b"abc");
}

#[test]
fn replies_and_errors_are_not_answered() {
    let mut lab = ndisc::lab();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, [10, 0, 1, 254], 64).icmpv4_echo_reply(7, 9).write(&mut packet, b"").unwrap();
    assert!(give4(&mut lab, &packet).is_empty());
    assert!(lab.give(P0, &Lab::frame(Some(PEER), 0x0800, &packet)).is_empty(), "nor other hosts' frames");
    assert_eq!(lab.mib(Mib::IcmpInMsgs), 1);
}
