//! Ethernet frames with UDP inside, built by pnet: an independent hand in the measured frames.

use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols::Udp;
use pnet::packet::ipv4::{self, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::udp::{self, MutableUdpPacket};
use pnet::util::MacAddr;
use std::net::{Ipv4Addr, Ipv6Addr};

const ETH: usize = 14;
const UDP: usize = 8;

fn ethernet(len: usize, dst: [u8; 6], v6: bool) -> Vec<u8> {
    let mut frame = vec![0; len];
    if let Some(mut eth) = MutableEthernetPacket::new(&mut frame) {
        eth.set_destination(MacAddr::from(dst));
        eth.set_source(MacAddr::new(2, 0, 0, 0, 1, 1));
        eth.set_ethertype(if v6 { EtherTypes::Ipv6 } else { EtherTypes::Ipv4 });
    }
    frame
}

fn ports(bytes: &mut [u8], len: usize, flow: u16) {
    if let Some(mut udp) = MutableUdpPacket::new(bytes) {
        udp.set_source(1024 + flow % 60_000);
        udp.set_destination(9);
        udp.set_length(len as u16);
    }
}

/// An IPv4 frame of `len` bytes (at least 42) to the router's `mac`.
pub fn ipv4(mac: [u8; 6], src: Ipv4Addr, dst: Ipv4Addr, len: usize, flow: u16) -> Vec<u8> {
    let len = len.max(ETH + 20 + UDP);
    let mut frame = ethernet(len, mac, false);
    let Some(packet) = frame.get_mut(ETH..) else { return frame };
    if let Some(mut ip) = MutableIpv4Packet::new(packet) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length((len - ETH) as u16);
        ip.set_ttl(64);
        ip.set_next_level_protocol(Udp);
        ip.set_source(src);
        ip.set_destination(dst);
    }
    if let Some(bytes) = packet.get_mut(20..) {
        ports(bytes, len - ETH - 20, flow);
        let sum =
            MutableUdpPacket::new(bytes).map_or(0, |u| udp::ipv4_checksum(&u.to_immutable(), &src, &dst));
        if let Some(mut udp) = MutableUdpPacket::new(bytes) {
            udp.set_checksum(sum);
        }
    }
    let sum = MutableIpv4Packet::new(packet).map_or(0, |ip| ipv4::checksum(&ip.to_immutable()));
    if let Some(mut ip) = MutableIpv4Packet::new(packet) {
        ip.set_checksum(sum);
    }
    frame
}

/// An IPv6 frame of `len` bytes (at least 62) to the router's `mac`.
pub fn ipv6(mac: [u8; 6], src: Ipv6Addr, dst: Ipv6Addr, len: usize, flow: u16) -> Vec<u8> {
    let len = len.max(ETH + 40 + UDP);
    let mut frame = ethernet(len, mac, true);
    let Some(packet) = frame.get_mut(ETH..) else { return frame };
    if let Some(mut ip) = MutableIpv6Packet::new(packet) {
        ip.set_version(6);
        ip.set_payload_length((len - ETH - 40) as u16);
        ip.set_next_header(Udp);
        ip.set_hop_limit(64);
        ip.set_source(src);
        ip.set_destination(dst);
    }
    if let Some(bytes) = packet.get_mut(40..) {
        ports(bytes, len - ETH - 40, flow);
        let sum =
            MutableUdpPacket::new(bytes).map_or(0, |u| udp::ipv6_checksum(&u.to_immutable(), &src, &dst));
        if let Some(mut udp) = MutableUdpPacket::new(bytes) {
            udp.set_checksum(sum);
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_asked_length_and_good_checksums() {
        let f = ipv4([2; 6], [10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 60, 3);
        assert_eq!((f.len(), warren::wire::csum::checksum(&f[14..34])), (60, 0));
        let pseudo = warren::wire::csum::pseudo4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 26);
        assert_eq!(warren::wire::csum::fold(pseudo + warren::wire::csum::sum(&f[34..])), 0xffff);
        assert_eq!(ipv6([2; 6], Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 1, 3).len(), 62);
    }
}
