//! Ethernet II: the header, MAC addresses as text, and the groups that IP multicast maps to.
//!
//! A MAC address is a plain `[u8; 6]` in wire order. Called by every stage that reads or writes frames.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of an IEEE 802.1Q VLAN tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1ad service tag.
pub const ETHERTYPE_QINQ: u16 = 0x88a8;

/// The broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The header of an untagged Ethernet II frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthHdr {
    /// Destination MAC address.
    pub dst: [u8; 6],
    /// Source MAC address.
    pub src: [u8; 6],
    /// What follows, one of the `ETHERTYPE_` constants.
    pub ethertype: U16,
}

impl EthHdr {
    /// Bytes of the header.
    pub const LEN: usize = 14;

    /// A header from its three fields.
    #[must_use]
    pub fn new(dst: [u8; 6], src: [u8; 6], ethertype: u16) -> Self {
        Self { dst, src, ethertype: U16::new(ethertype) }
    }
}

/// True for multicast and broadcast: the group bit, lowest bit of the first byte (IEEE 802 8.2).
#[must_use]
pub fn is_group(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    first & 1 == 1
}

/// True for ff:ff:ff:ff:ff:ff only.
#[must_use]
pub fn is_broadcast(mac: [u8; 6]) -> bool {
    mac == BROADCAST
}

/// The Ethernet group of an IPv4 multicast group: 01:00:5e and its low 23 bits.
/// RFC 1112 6.4; Linux: ip_eth_mc_map.
#[must_use]
pub fn multicast_mac4(group: Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = group.octets();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

/// The Ethernet group of an IPv6 multicast group: 33:33 and its last four bytes.
/// RFC 2464 7; Linux: ipv6_eth_mc_map.
#[must_use]
pub fn multicast_mac6(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// A MAC address as `02:00:00:00:00:0a`.
#[must_use]
pub fn fmt_mac(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// A text that is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address: write six bytes in hex, as in 02:00:00:00:00:01")]
pub struct ParseMacError(String);

/// Reads a MAC address as iproute2 does: six hex bytes of one or two digits, between colons.
///
/// # Errors
/// When the text is anything else.
pub fn parse_mac(text: &str) -> Result<[u8; 6], ParseMacError> {
    let bad = || ParseMacError(text.to_owned());
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().ok_or_else(bad)?;
        // from_str_radix alone would let a sign through.
        let hex = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| hex).ok_or_else(bad)?;
    }
    if parts.next().is_some() { Err(bad()) } else { Ok(mac) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_survive_text() {
        bolero::check!().with_type::<[u8; 6]>().for_each(|mac| {
            assert_eq!(parse_mac(&fmt_mac(*mac)), Ok(*mac));
            assert_eq!(fmt_mac(*mac), smoltcp::wire::EthernetAddress(*mac).to_string().replace('-', ":"));
        });
        assert_eq!(parse_mac("2:0:0:0:0:A"), Ok([2, 0, 0, 0, 0, 10]));
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "02:00:00:00:00:+1", "02:00:00:00:00:100"]
        {
            assert_eq!(parse_mac(text), Err(ParseMacError(text.to_owned())), "{text}");
        }
        let said = parse_mac("x").unwrap_err().to_string();
        assert!(said.starts_with("`x` is not a MAC address"), "{said}");
    }

    #[test]
    fn groups_map_as_smoltcp_maps_them() {
        bolero::check!().with_type::<[u8; 6]>().for_each(|mac| {
            let theirs = smoltcp::wire::EthernetAddress(*mac);
            assert_eq!(is_broadcast(*mac), theirs.is_broadcast());
            assert_eq!(is_group(*mac), theirs.is_multicast() || theirs.is_broadcast());
        });
    }

    #[test]
    fn ip_groups_have_the_addresses_of_the_rfcs() {
        // RFC 1112 6.4: the top bit of the second byte is lost, so 32 groups share each address.
        assert_eq!(multicast_mac4(Ipv4Addr::new(224, 129, 2, 3)), [1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(multicast_mac4(Ipv4Addr::new(239, 1, 2, 3)), [1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(
            multicast_mac6("ff02::1:ff28:9c5a".parse().unwrap()),
            [0x33, 0x33, 0xff, 0x28, 0x9c, 0x5a]
        );
    }
}
