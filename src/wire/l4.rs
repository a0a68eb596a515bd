//! Ports and headers of layer 4, as far as a router looks at them or a probe needs them.
//!
//! Called by the flow dissector, by routing rules that match ports, and by tests that make packets.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{csum, proto};

/// The UDP header (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHdr {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Bytes of header and data.
    pub len: U16,
    /// Checksum; 0 means none, in IPv4 only.
    pub csum: U16,
}

/// The TCP header without options (RFC 9293 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpHdr {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgement number.
    pub ack: U32,
    /// Header length in 32-bit words in the high four bits.
    pub data_offset: u8,
    /// Flags, FIN lowest.
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Checksum.
    pub csum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

/// Where a protocol keeps its ports, in bytes from its header; None if it has none. Linux: proto_ports_offset.
#[must_use]
pub fn ports_offset(protocol: u8) -> Option<usize> {
    use proto::{AH, DCCP, ESP, SCTP, TCP, UDP, UDPLITE};
    match protocol {
        // Of ESP and AH the security parameter index stands in for the two ports.
        TCP | UDP | UDPLITE | SCTP | DCCP | ESP => Some(0),
        AH => Some(4),
        _ => None,
    }
}

/// Source and destination port of `segment`, which starts at the header of `protocol`, in network order.
///
/// Zero for a protocol without ports, or when they are cut off. For ESP and AH the two halves of the SPI.
/// Linux: skb_flow_get_ports.
#[must_use]
pub fn ports(protocol: u8, segment: &[u8]) -> ([u8; 2], [u8; 2]) {
    let at = ports_offset(protocol).and_then(|offset| segment.get(offset..));
    match at.and_then(<[u8]>::first_chunk) {
        Some(&[a, b, c, d]) => ([a, b], [c, d]),
        None => ([0; 2], [0; 2]),
    }
}

/// Sets the checksum of a whole UDP datagram, given the sum of its pseudo header ([`csum::pseudo4`] or
/// [`csum::pseudo6`]). False, and nothing done, below eight bytes. RFC 768: 0 is sent as 0xffff.
#[must_use]
pub fn set_udp_csum(pseudo: u32, datagram: &mut [u8]) -> bool {
    let Ok((header, _)) = UdpHdr::mut_from_prefix(datagram) else { return false };
    header.csum = U16::ZERO;
    let csum = match !csum::fold(pseudo + csum::sum(datagram)) {
        0 => 0xffff,
        csum => csum,
    };
    if let Ok((header, _)) = UdpHdr::mut_from_prefix(datagram) {
        header.csum = U16::new(csum);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, TcpHeaderSlice, UdpHeaderSlice};

    #[test]
    fn etherparse_sees_the_same_fields() {
        bolero::check!().with_type::<[u8; 20]>().for_each(|bytes| {
            let mut bytes = *bytes;
            bytes[12] = 0x50 | bytes[12] & 0x0f;
            let (tcp, _) = TcpHdr::ref_from_prefix(&bytes).unwrap();
            let theirs = TcpHeaderSlice::from_slice(&bytes).unwrap();
            let ours = (tcp.src_port.get(), tcp.dst_port.get(), tcp.seq.get(), tcp.ack.get());
            let want = (theirs.source_port(), theirs.destination_port(), theirs.sequence_number());
            assert_eq!(ours, (want.0, want.1, want.2, theirs.acknowledgment_number()));
            assert_eq!((tcp.data_offset >> 4, tcp.flags & 1 == 1), (theirs.data_offset(), theirs.fin()));
            let ours = (tcp.window.get(), tcp.csum.get(), tcp.urgent.get());
            assert_eq!(ours, (theirs.window_size(), theirs.checksum(), theirs.urgent_pointer()));

            let (udp, _) = UdpHdr::ref_from_prefix(&bytes).unwrap();
            let theirs = UdpHeaderSlice::from_slice(&bytes).unwrap();
            let ours = (udp.src_port.get(), udp.dst_port.get(), udp.len.get(), udp.csum.get());
            let want = (theirs.source_port(), theirs.destination_port(), theirs.length(), theirs.checksum());
            assert_eq!(ours, want);
        });
    }

    #[test]
    fn datagrams_are_those_etherparse_makes() {
        bolero::check!().with_type::<([u8; 4], [u8; 16], u16, Vec<u8>)>().for_each(|(v4, v6, port, data)| {
            let mut packet = Vec::new();
            PacketBuilder::ipv4(*v4, *v4, 9).udp(*port, 9).write(&mut packet, data).unwrap();
            let mut ours = packet[20..].to_vec();
            ours[6..8].fill(0xee);
            let pseudo = csum::pseudo4((*v4).into(), (*v4).into(), proto::UDP, ours.len() as u16);
            assert!(set_udp_csum(pseudo, &mut ours));
            assert_eq!(ours, packet[20..]);

            packet.clear();
            PacketBuilder::ipv6(*v6, *v6, 9).udp(*port, 9).write(&mut packet, data).unwrap();
            let mut ours = packet[40..].to_vec();
            let pseudo = csum::pseudo6((*v6).into(), (*v6).into(), proto::UDP, ours.len() as u32);
            assert!(set_udp_csum(pseudo, &mut ours));
            assert_eq!(ours, packet[40..]);
        });
        assert!(!set_udp_csum(0, &mut [0; 7]));
    }

    #[test]
    fn a_zero_checksum_is_sent_as_ones() {
        // The pseudo sum is chosen so that the total is 0xffff, whose complement is zero.
        let mut datagram = [0, 1, 0, 2, 0, 8, 0, 0];
        assert!(set_udp_csum(0xffff - 11, &mut datagram));
        assert_eq!(datagram[6..], [0xff, 0xff]);
    }

    #[test]
    fn ports_are_where_the_kernel_looks() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        for protocol in [proto::TCP, proto::UDP, proto::UDPLITE, proto::SCTP, proto::DCCP, proto::ESP] {
            assert_eq!(ports(protocol, &bytes), ([1, 2], [3, 4]), "{protocol}");
            assert_eq!(ports(protocol, &bytes[..3]), ([0; 2], [0; 2]), "{protocol}, cut off");
        }
        assert_eq!(ports(proto::AH, &bytes), ([5, 6], [7, 8]));
        assert_eq!((0..=255).filter(|protocol| ports_offset(*protocol).is_some()).count(), 7);
    }
}
