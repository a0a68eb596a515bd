//! The neighbour discovery redirect (RFC 4861 4.5), as the kernel builds it, and the option headers.
//!
//! Called by the IPv6 redirect stage and by tests. All other neighbour discovery belongs to the kernel, or
//! to smoltcp in standalone mode.

use std::io::Write;
use std::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::icmp::{self, IcmpHdr};
use super::ip6::{Ip6Hdr, MIN_MTU};

/// Option: MAC address of the sender.
pub const OPT_SOURCE_MAC: u8 = 1;
/// Option: MAC address of the target.
pub const OPT_TARGET_MAC: u8 = 2;
/// Option: the packet that caused a redirect.
pub const OPT_REDIRECTED: u8 = 4;

/// A redirect without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RedirectHdr {
    /// Type 137, code 0.
    pub icmp: IcmpHdr,
    /// The better first hop; equal to `destination` if that is on the link.
    pub target: [u8; 16],
    /// The destination that is redirected.
    pub destination: [u8; 16],
}

/// A source or target link-layer address option for Ethernet (RFC 4861 4.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MacOption {
    /// [`OPT_SOURCE_MAC`] or [`OPT_TARGET_MAC`].
    pub kind: u8,
    /// Length in units of eight bytes: 1.
    pub len: u8,
    /// The address.
    pub mac: [u8; 6],
}

/// The first eight bytes of a redirected header option (RFC 4861 4.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RedirectedOption {
    /// [`OPT_REDIRECTED`].
    pub kind: u8,
    /// Length in units of eight bytes, these eight included.
    pub len: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// What a redirect says.
#[derive(Clone, Copy, Debug)]
pub struct Redirect<'a> {
    /// The better first hop.
    pub target: Ipv6Addr,
    /// The destination that is redirected.
    pub destination: Ipv6Addr,
    /// MAC address of the target, if known.
    pub target_mac: Option<[u8; 6]>,
    /// The packet that caused it, from its IPv6 header, hop limit as received.
    pub packet: &'a [u8],
}

impl Redirect<'_> {
    /// Bytes of the ICMPv6 message, at most 1240: with its IPv6 header it fits the smallest MTU.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        size_of::<RedirectHdr>() + self.mac_len() + self.redirected_len()
    }

    /// Writes the ICMPv6 message to the start of `out`, checksum included, and returns its length.
    ///
    /// `src` and `dst` are the addresses of the IPv6 header before it. None if `out` is shorter than
    /// [`Redirect::byte_len`]; what `out` holds then is undefined.
    #[must_use]
    pub fn write(&self, src: Ipv6Addr, dst: Ipv6Addr, out: &mut [u8]) -> Option<usize> {
        let len = self.byte_len();
        let message = out.get_mut(..len)?;
        let header = RedirectHdr {
            icmp: IcmpHdr::new(icmp::v6::REDIRECT, 0, [0; 4]),
            target: self.target.octets(),
            destination: self.destination.octets(),
        };
        let mut rest = &mut *message;
        rest.write_all(header.as_bytes()).ok()?;
        if let Some(mac) = self.target_mac {
            rest.write_all(MacOption { kind: OPT_TARGET_MAC, len: 1, mac }.as_bytes()).ok()?;
        }
        let redirected = self.redirected_len();
        let option = RedirectedOption { kind: OPT_REDIRECTED, len: (redirected / 8) as u8, reserved: [0; 6] };
        rest.write_all(option.as_bytes()).ok()?;
        rest.write_all(self.packet.get(..redirected - size_of::<RedirectedOption>())?).ok()?;
        icmp::set_csum6(src, dst, message).then_some(len)
    }

    fn mac_len(&self) -> usize {
        if self.target_mac.is_some() { size_of::<MacOption>() } else { 0 }
    }

    /// Linux: ndisc_send_redirect. Rounded **down** to units of eight, so that up to seven bytes of a short
    /// packet are lost, where RFC 4861 4.6.3 would pad.
    fn redirected_len(&self) -> usize {
        let room = MIN_MTU as usize - Ip6Hdr::LEN - size_of::<RedirectHdr>() - self.mac_len();
        room.min(self.packet.len() + size_of::<RedirectedOption>()) / 8 * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscRepr, RawHardwareAddress};

    const SRC: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    #[test]
    fn smoltcp_reads_what_we_write() {
        bolero::check!().with_type::<([u8; 16], [u8; 16], Option<[u8; 6]>, u16)>().for_each(
            |(target, destination, mac, size)| {
                let payload = vec![0xa5; usize::from(size % 1600) / 8 * 8];
                let caused_by = Ip6Hdr::new(payload.len() as u16, 59, 64, DST, (*destination).into());
                let packet = [caused_by.as_bytes(), &payload].concat();
                let redirect = Redirect {
                    target: (*target).into(),
                    destination: (*destination).into(),
                    target_mac: *mac,
                    packet: &packet,
                };
                let mut out = [0; 1240];
                let len = redirect.write(SRC, DST, &mut out).unwrap();
                let theirs = Icmpv6Packet::new_checked(&out[..len]).unwrap();
                let caps = ChecksumCapabilities::default();
                let Icmpv6Repr::Ndisc(NdiscRepr::Redirect { target_addr, dest_addr, lladdr, redirected_hdr }) =
                    Icmpv6Repr::parse(&SRC, &DST, &theirs, &caps).unwrap()
                else {
                    panic!("not a redirect");
                };
                assert_eq!((target_addr, dest_addr), (redirect.target, redirect.destination));
                assert_eq!(lladdr, mac.map(|mac| RawHardwareAddress::from(EthernetAddress(mac))));
                // smoltcp hides a packet that is quoted in part, so those bytes are looked at as they are.
                let quoted = redirect.redirected_len() - 8;
                assert_eq!(out[len - quoted..len], packet[..quoted]);
                assert_eq!(redirected_hdr.is_some(), quoted == packet.len());
                if let Some(whole) = redirected_hdr {
                    assert_eq!((whole.header.src_addr, whole.header.dst_addr), (DST, redirect.destination));
                    assert_eq!(whole.data, payload);
                }
            },
        );
    }

    #[test]
    fn lengths_are_the_kernels() {
        let redirect = |packet, target_mac| Redirect { target: SRC, destination: DST, target_mac, packet };
        let long = [0; 1500];
        // 1280 - 40 - 40 - 8 = 1192 for the option, so 1184 bytes are quoted.
        assert_eq!(redirect(&long, Some([2; 6])).byte_len(), 40 + 8 + 1192);
        assert_eq!(redirect(&long, None).byte_len(), 40 + 1200);
        // 47 + 8 = 55, rounded down to 48: 40 of the 47 bytes.
        assert_eq!(redirect(&long[..47], None).byte_len(), 40 + 48);
        assert_eq!(redirect(&long[..40], None).byte_len(), 40 + 48);
        assert_eq!(redirect(&[], None).byte_len(), 40 + 8);
    }

    #[test]
    fn a_short_buffer_is_refused() {
        let redirect = Redirect { target: SRC, destination: DST, target_mac: None, packet: &[0; 64] };
        let mut out = [0; 1240];
        assert_eq!(redirect.write(SRC, DST, &mut out[..111]), None);
        assert_eq!(redirect.write(SRC, DST, &mut out[..112]), Some(112));
    }
}
