//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! Called by the local host of standalone mode and by tests; with a kernel behind, ARP stays there.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::eth::ETHERTYPE_IPV4;

/// Operation: who has this address?
pub const OP_REQUEST: u16 = 1;
/// Operation: I have it.
pub const OP_REPLY: u16 = 2;
/// Hardware type of Ethernet.
pub const HTYPE_ETHERNET: u16 = 1;

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ArpHdr {
    /// Hardware type, 1 for Ethernet.
    pub htype: U16,
    /// Protocol type, the EtherType of IPv4.
    pub ptype: U16,
    /// Bytes of a hardware address, 6.
    pub hlen: u8,
    /// Bytes of a protocol address, 4.
    pub plen: u8,
    /// [`OP_REQUEST`] or [`OP_REPLY`].
    pub op: U16,
    /// MAC address of the sender.
    pub sender_mac: [u8; 6],
    /// IPv4 address of the sender.
    pub sender_ip: [u8; 4],
    /// MAC address of the target; of no meaning in a request.
    pub target_mac: [u8; 6],
    /// IPv4 address of the target.
    pub target_ip: [u8; 4],
}

impl ArpHdr {
    /// Bytes of the packet, without Ethernet padding.
    pub const LEN: usize = 28;

    /// True when types and lengths say IPv4 over Ethernet, so that the other fields mean what they say.
    #[must_use]
    pub fn is_ipv4_over_ethernet(&self) -> bool {
        self.htype.get() == HTYPE_ETHERNET
            && self.ptype.get() == ETHERTYPE_IPV4
            && (self.hlen, self.plen) == (6, 4)
    }

    /// A request for the MAC address of `target_ip`.
    #[must_use]
    pub fn request(sender_mac: [u8; 6], sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self {
            htype: U16::new(HTYPE_ETHERNET),
            ptype: U16::new(ETHERTYPE_IPV4),
            hlen: 6,
            plen: 4,
            op: U16::new(OP_REQUEST),
            sender_mac,
            sender_ip: sender_ip.octets(),
            target_mac: [0; 6],
            target_ip: target_ip.octets(),
        }
    }

    /// The reply to this request, by the owner of the address asked for.
    #[must_use]
    pub fn reply(&self, owner_mac: [u8; 6]) -> Self {
        Self {
            op: U16::new(OP_REPLY),
            sender_mac: owner_mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

    #[test]
    fn smoltcp_reads_what_we_write() {
        bolero::check!().with_type::<([u8; 6], [u8; 6], [u8; 4], [u8; 4])>().for_each(
            |(a, b, ip_a, ip_b)| {
                let request = ArpHdr::request(*a, (*ip_a).into(), (*ip_b).into());
                assert!(request.is_ipv4_over_ethernet());
                let theirs = |bytes: &[u8]| ArpRepr::parse(&ArpPacket::new_checked(bytes).unwrap()).unwrap();
                let repr =
                    |operation, from: ([u8; 6], [u8; 4]), to: ([u8; 6], [u8; 4])| ArpRepr::EthernetIpv4 {
                        operation,
                        source_hardware_addr: EthernetAddress(from.0),
                        source_protocol_addr: from.1.into(),
                        target_hardware_addr: EthernetAddress(to.0),
                        target_protocol_addr: to.1.into(),
                    };
                assert_eq!(
                    theirs(request.as_bytes()),
                    repr(ArpOperation::Request, (*a, *ip_a), ([0; 6], *ip_b))
                );
                let reply = request.reply(*b);
                assert_eq!(theirs(reply.as_bytes()), repr(ArpOperation::Reply, (*b, *ip_b), (*a, *ip_a)));
            },
        );
    }

    #[test]
    fn other_hardware_is_not_taken_for_ethernet() {
        let mut packet = ArpHdr::request([2; 6], Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        packet.hlen = 8;
        assert!(!packet.is_ipv4_over_ethernet());
        assert!(ArpHdr::ref_from_prefix(&[0; ArpHdr::LEN - 1]).is_err());
    }
}
