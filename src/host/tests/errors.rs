//! Packets for which nobody is here: closed ports, unknown protocols, extension headers that lead nowhere.

use super::super::testkit::Lab;
use super::ndisc::{OURS, framed, lab};
use crate::drop::DropReason as D;
use crate::forward::testkit::{HOST0, P0};
use crate::stats::Mib;
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TcpSlice, TransportSlice};
use std::net::Ipv6Addr;

const HOST4: [u8; 4] = [10, 0, 1, 1];
const OURS4: [u8; 4] = [10, 0, 1, 254];

fn octets(a: &str) -> [u8; 16] {
    a.parse::<Ipv6Addr>().unwrap().octets()
}

fn give4(lab: &mut Lab, packet: &[u8]) -> Vec<(u32, Vec<u8>)> {
    lab.give(P0, &Lab::frame(None, 0x0800, packet))
}

/// An IPv6 packet to us with this next header and data.
fn six(next: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, data.len() as u8, next, 64];
    packet.extend(octets(HOST0));
    packet.extend(octets(OURS));
    packet.extend(data);
    packet
}

/// Type, code, the four bytes behind the checksum, and the quoted bytes.
fn error(frame: &[u8]) -> (u8, u8, [u8; 4], Vec<u8>) {
    let icmp = if frame[12] == 8 { &frame[34..] } else { &frame[54..] };
    (icmp[0], icmp[1], *icmp[4..].first_chunk().unwrap(), icmp[8..].to_vec())
}

#[test]
fn unknown_protocols() {
    let mut lab = lab();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, OURS4, 1).write(&mut packet, 253.into(), b"whatever").unwrap();
    let sent = give4(&mut lab, &packet);
    assert_eq!(error(&sent[0].1), (3, 2, [0; 4], packet.clone()));
    assert_eq!(sent[0].1[26..30], OURS4, "the address spoken to answers");
    assert_eq!((lab.drops(D::V4UnknownProtocol), lab.mib(Mib::IpInUnknownProtos)), (1, 1));
    assert_eq!(lab.mib(Mib::IpInDelivers), 0);

    let packet = six(253, b"whatever");
    let sent = lab.give(P0, &framed(&packet));
    assert_eq!(error(&sent[0].1), (4, 1, [0, 0, 0, 6], packet));
    // Behind destination options, the byte that names it is theirs.
    let packet = six(60, &[253, 0, 1, 4, 0, 0, 0, 0]);
    let sent = lab.give(P0, &framed(&packet));
    assert_eq!(error(&sent[0].1), (4, 1, [0, 0, 0, 40], packet));
    assert_eq!((lab.drops(D::V6UnknownProtocol), lab.mib(Mib::Ip6InUnknownProtos)), (2, 2));
    assert_eq!(lab.mib(Mib::Ip6InDelivers), 0);
}

#[test]
fn closed_udp_ports() {
    let mut lab = lab();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, OURS4, 1).udp(5000, 33434).write(&mut packet, b"probe").unwrap();
    let sent = give4(&mut lab, &packet);
    let slice = SlicedPacket::from_ethernet(&sent[0].1).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = slice.transport else { panic!("not ICMP") };
    let port = etherparse::icmpv4::DestUnreachableHeader::Port;
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
    assert_eq!((lab.mib(Mib::UdpNoPorts), lab.mib(Mib::IpInDelivers)), (1, 1));

    let mut packet = Vec::new();
    PacketBuilder::ipv6(octets(HOST0), octets(OURS), 1)
        .udp(5000, 33434)
        .write(&mut packet, b"probe")
        .unwrap();
    let sent = lab.give(P0, &framed(&packet));
    let slice = SlicedPacket::from_ethernet(&sent[0].1).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = slice.transport else { panic!("not ICMPv6") };
    let port = etherparse::icmpv6::DestUnreachableCode::Port;
    assert_eq!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(port));
    assert_eq!((lab.mib(Mib::Udp6NoPorts), lab.mib(Mib::Ip6InDelivers)), (1, 1));

    // A datagram that arrived damaged is no reason to speak.
    *packet.last_mut().unwrap() ^= 1;
    assert!(lab.give(P0, &framed(&packet)).is_empty());
    assert_eq!(lab.drops(D::V6UdpChecksum), 1);
}

#[test]
fn closed_tcp_ports() {
    let mut lab = lab();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, OURS4, 64).tcp(5000, 80, 1000, 64).syn().write(&mut packet, b"").unwrap();
    let sent = give4(&mut lab, &packet);
    let slice = SlicedPacket::from_ethernet(&sent[0].1).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (slice.net, slice.transport) else {
        panic!("not TCP")
    };
    assert_eq!((ip.header().identification(), ip.header().dont_fragment()), (0, true));
    assert_eq!(tcp.calc_checksum_ipv4(OURS4, HOST4).unwrap(), tcp.checksum());
    assert_eq!(reset(&tcp), (80, 5000, 0, 1001, true, true));

    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(octets(HOST0), octets(OURS), 64).tcp(5000, 80, 1000, 64);
    builder.ack(77).write(&mut packet, b"data").unwrap();
    let sent = lab.give(P0, &framed(&packet));
    let slice = SlicedPacket::from_ethernet(&sent[0].1).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = slice.transport else { panic!("not TCP") };
    assert_eq!(tcp.calc_checksum_ipv6(octets(OURS), octets(HOST0)).unwrap(), tcp.checksum());
    assert_eq!(reset(&tcp), (80, 5000, 77, 0, true, false));
    assert_eq!((lab.mib(Mib::TcpOutRsts), lab.mib(Mib::TcpInSegs)), (2, 2));

    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, OURS4, 64).tcp(5000, 80, 1000, 64).rst().write(&mut packet, b"").unwrap();
    assert!(give4(&mut lab, &packet).is_empty(), "a reset is never answered");
}

fn reset(tcp: &TcpSlice<'_>) -> (u16, u16, u32, u32, bool, bool) {
    let numbers = (tcp.sequence_number(), tcp.acknowledgment_number());
    (tcp.source_port(), tcp.destination_port(), numbers.0, numbers.1, tcp.rst(), tcp.ack())
}

/// Type, code and pointer.
type Error = (u8, u8, u8);

#[test]
fn extension_headers() {
    let cases: [(u8, [u8; 8], D, Option<Error>); 9] = [
        (43, [59, 0, 0, 1, 0, 0, 0, 0], D::V6RoutingType, Some((4, 0, 42))),
        (43, [59, 0, 4, 1, 0, 0, 0, 0], D::V6SegmentRoutingOff, None),
        (43, [59, 3, 0, 0, 0, 0, 0, 0], D::V6RoutingShort, None),
        (60, [59, 0, 0x81, 4, 0, 0, 0, 0], D::V6OptionUnknown, Some((4, 2, 42))),
        (60, [59, 0, 0x41, 4, 0, 0, 0, 0], D::V6OptionDiscard, None),
        (60, [59, 0, 1, 9, 0, 0, 0, 0], D::V6OptionShort, None),
        (60, [59, 9, 1, 4, 0, 0, 0, 0], D::V6DestoptsShort, None),
        (44, [17, 0, 0, 1, 0, 0, 0, 1], D::V6FragmentForm, Some((4, 3, 0))),
        (44, [17, 0, 0, 8, 0, 0, 0, 1], D::V6HostFragment, None),
    ];
    for (next, data, reason, expect) in cases {
        let mut lab = lab();
        let sent = lab.give(P0, &framed(&six(next, &data)));
        let got = sent.first().map(|(_, f)| error(f)).map(|(kind, code, at, _)| (kind, code, at[3]));
        assert_eq!((got, lab.drops(reason)), (expect, 1), "{reason}");
    }
    // These arrive: nothing left to visit, nothing unknown that matters, a fragment that is the whole.
    for (next, data) in [
        (43, [59, 0, 0, 0, 0, 0, 0, 0]),
        (60, [59, 0, 0x1e, 4, 0, 0, 0, 0]),
        (44, [59, 0, 0, 0, 0, 0, 0, 1]),
        (59, [0; 8]),
    ] {
        let mut lab = lab();
        assert!(lab.give(P0, &framed(&six(next, &data))).is_empty());
        assert_eq!(lab.mib(Mib::Ip6InDelivers), 1, "{next}");
    }
    // A second hop-by-hop header is an unknown protocol (RFC 8200 4.3).
    let mut lab = lab();
    let sent = lab.give(P0, &framed(&six(60, &[0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0])));
    assert_eq!(error(&sent[0].1).2, [0, 0, 0, 40]);
}

#[test]
fn a_routing_header_to_a_group() {
    let mut lab = lab();
    let mut packet = six(43, &[59, 0, 0, 0, 0, 0, 0, 0]);
    packet[24..40].copy_from_slice(&octets("ff02::1"));
    let frame = Lab::frame(Some([0x33, 0x33, 0, 0, 0, 1]), 0x86dd, &packet);
    assert!(lab.give(P0, &frame).is_empty());
    assert_eq!((lab.drops(D::V6RoutingAddress), lab.mib(Mib::Ip6InAddrErrors)), (1, 1));
}

#[test]
fn fragments_wait_for_nothing() {
    let mut lab = lab();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, OURS4, 64).udp(1, 2).write(&mut packet, b"first part").unwrap();
    packet[6] = 0x20;
    let sum = u16::from_be_bytes([packet[10], packet[11]]);
    // DF was set: from 0x4000 to 0x2000 the checksum grows by the difference.
    packet[10..12].copy_from_slice(&sum.wrapping_add(0x2000).to_be_bytes());
    assert!(give4(&mut lab, &packet).is_empty());
    assert_eq!((lab.drops(D::V4HostFragment), lab.mib(Mib::IpInDelivers)), (1, 0));
}
