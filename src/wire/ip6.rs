//! The IPv6 header (RFC 8200), its extension headers, and the address classes that the kernel asks about.
//!
//! Called by the IPv6 forwarding path and by builders of IPv6 packets.

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::proto;

/// The smallest MTU a link may have (RFC 8200 5); no ICMPv6 error is longer.
pub const MIN_MTU: u32 = 1280;
/// Fragment header field: more fragments follow.
pub const FRAG_MF: u16 = 0x0001;
/// Fragment header field: offset in bytes.
pub const FRAG_OFFSET: u16 = 0xfff8;

/// The IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ip6Hdr {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub vtc_flow: U32,
    /// Bytes behind this header; 0 also in a jumbogram.
    pub payload_len: U16,
    /// What follows, one of [`super::proto`].
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ip6Hdr {
    /// Bytes of the header.
    pub const LEN: usize = 40;

    /// A header with traffic class and flow label zero.
    #[must_use]
    pub fn new(payload_len: u16, next_header: u8, hop_limit: u8, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        Self {
            vtc_flow: U32::new(6 << 28),
            payload_len: U16::new(payload_len),
            next_header,
            hop_limit,
            src: src.octets(),
            dst: dst.octets(),
        }
    }

    /// IP version, 6 in a good header.
    #[must_use]
    pub fn version(&self) -> u8 {
        (self.vtc_flow.get() >> 28) as u8
    }

    /// Traffic class: DSCP and ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (self.vtc_flow.get() >> 20) as u8
    }

    /// Flow label, a number of 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        self.vtc_flow.get() & 0x000f_ffff
    }

    /// Replaces the traffic class.
    pub fn set_traffic_class(&mut self, class: u8) {
        self.vtc_flow.set(self.vtc_flow.get() & 0xf00f_ffff | u32::from(class) << 20);
    }

    /// Replaces the flow label by the low 20 bits of `label`.
    pub fn set_flow_label(&mut self, label: u32) {
        self.vtc_flow.set(self.vtc_flow.get() & 0xfff0_0000 | label & 0x000f_ffff);
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> Ipv6Addr {
        self.src.into()
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> Ipv6Addr {
        self.dst.into()
    }
}

/// The first two bytes of hop-by-hop options, routing headers and destination options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtHdr {
    /// What follows this header.
    pub next_header: u8,
    /// Its length in units of eight bytes, the first eight not counted.
    pub len: u8,
}

impl ExtHdr {
    /// Length in bytes, 8 to 2048. An authentication header counts otherwise: see [`skip_ext`].
    #[must_use]
    pub fn byte_len(&self) -> usize {
        (usize::from(self.len) + 1) * 8
    }
}

/// The fragment header (RFC 8200 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FragHdr {
    /// What the unfragmented datagram holds here.
    pub next_header: u8,
    /// Reserved.
    pub reserved: u8,
    /// Offset ([`FRAG_OFFSET`]) and flag ([`FRAG_MF`]).
    pub frag: U16,
    /// Identification, shared by the fragments of one datagram.
    pub id: U32,
}

/// The fixed part of a routing header (RFC 8200 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RoutingHdr {
    /// Next header and length.
    pub ext: ExtHdr,
    /// Routing type: 0 source route, 2 mobility, 3 RPL, 4 segment routing.
    pub kind: u8,
    /// Hops still to be visited.
    pub segments_left: u8,
}

/// Option types in hop-by-hop and destination options headers (RFC 8200 4.2).
pub mod opt {
    /// One byte of padding, without a length byte.
    pub const PAD1: u8 = 0x00;
    /// Two or more bytes of padding.
    pub const PADN: u8 = 0x01;
    /// Router alert (RFC 2711).
    pub const ROUTER_ALERT: u8 = 0x05;
    /// Common architecture label (RFC 5570).
    pub const CALIPSO: u8 = 0x07;
    /// In-situ operations, administration and maintenance (RFC 9486).
    pub const IOAM: u8 = 0x31;
    /// Jumbo payload (RFC 2675).
    pub const JUMBO: u8 = 0xc2;
    /// Home address, in destination options (RFC 6275 6.3).
    pub const HOME_ADDRESS: u8 = 0xc9;

    /// Bits that say what to do with an unknown option.
    pub const ACTION_MASK: u8 = 0xc0;
    /// Unknown: go on to the next option.
    pub const ACTION_SKIP: u8 = 0x00;
    /// Unknown: drop the packet in silence.
    pub const ACTION_DROP: u8 = 0x40;
    /// Unknown: drop and send a parameter problem.
    pub const ACTION_SEND: u8 = 0x80;
    /// Unknown: drop and send one unless the destination is multicast.
    pub const ACTION_SEND_UNICAST: u8 = 0xc0;
}

/// True for the headers that [`skip_ext`] passes over, and for "none". Linux: ipv6_ext_hdr.
#[must_use]
pub fn is_ext(next_header: u8) -> bool {
    use proto::{AH, DSTOPTS, FRAGMENT, HOPOPTS, NONE, ROUTING};
    matches!(next_header, HOPOPTS | ROUTING | FRAGMENT | AH | NONE | DSTOPTS)
}

/// Passes over extension headers from `start`, where a header of type `next_header` stands.
///
/// Returns offset and type of the first header that is none, and offset and flags of the last fragment
/// header seen, if any. A fragment other than the first ends the walk *at* its fragment header, type 44.
/// None if a header is cut off in its first bytes, or if nothing follows (type 59). The offset may lie past
/// the end of the packet: a last header's length is not checked. Linear. Linux: ipv6_skip_exthdr.
#[must_use]
pub fn skip_ext(packet: &[u8], start: usize, next_header: u8) -> Option<(usize, u8, Option<u16>)> {
    let (mut at, mut kind, mut frag) = (start, next_header, None);
    while is_ext(kind) {
        if kind == proto::NONE {
            return None;
        }
        let rest = packet.get(at..)?;
        let (ext, _) = ExtHdr::ref_from_prefix(rest).ok()?;
        at += match kind {
            proto::FRAGMENT => {
                // Only the field is read, as in the kernel: the identification behind it may be missing.
                let field = u16::from_be_bytes(*rest.get(2..)?.first_chunk()?);
                frag = Some(field);
                if field & FRAG_OFFSET != 0 {
                    break;
                }
                size_of::<FragHdr>()
            }
            // RFC 4302 2.2: in units of four bytes, the first two not counted.
            proto::AH => (usize::from(ext.len) + 2) * 4,
            _ => ext.byte_len(),
        };
        kind = ext.next_header;
    }
    Some((at, kind, frag))
}

/// Scope of a multicast address, 0 to 15 (RFC 4291 2.7); None for any other address.
#[must_use]
pub fn multicast_scope(address: Ipv6Addr) -> Option<u8> {
    let [first, second, ..] = address.octets();
    (first == 0xff).then_some(second & 0x0f)
}

/// fe80::/10. RFC 4291 2.5.6; Linux: IPV6_ADDR_LINKLOCAL of a unicast address.
#[must_use]
pub fn is_link_local(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

/// ::1 only. RFC 4291 2.5.3; Linux: ipv6_addr_loopback.
#[must_use]
pub fn is_loopback(address: Ipv6Addr) -> bool {
    address.is_loopback()
}

/// Scope values of [`scope`], as in multicast addresses.
pub mod scopes {
    /// Of this host.
    pub const NODE: u8 = 1;
    /// Of one link.
    pub const LINK: u8 = 2;
    /// Of one site (fec0::/10, deprecated, still ranked).
    pub const SITE: u8 = 5;
    /// Of an organisation.
    pub const ORGANISATION: u8 = 8;
    /// Of the whole network.
    pub const GLOBAL: u8 = 14;
}

/// The scope by which source addresses are ranked: 0 for ::, else the nibble of a multicast address or a
/// value of [`scopes`]. RFC 6724 3.1; Linux: ipv6_addr_src_scope.
#[must_use]
pub fn scope(address: Ipv6Addr) -> u8 {
    let [first, second, ..] = address.octets();
    match (first, second & 0xc0) {
        (0xff, _) => second & 0x0f,
        (0xfe, 0x80) => scopes::LINK,
        (0xfe, 0xc0) => scopes::SITE,
        // RFC 6724 3.4: loopback ranks as link-local.
        _ if address.is_loopback() => scopes::LINK,
        _ if address.is_unspecified() => 0,
        _ => scopes::GLOBAL,
    }
}

/// The link-local address that the kernel forms from a MAC address. RFC 4291 appendix A; Linux:
/// addrconf_ifid_eui48 (the universal bit is inverted).
#[must_use]
pub fn link_local_from_mac(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpNumber, Ipv6ExtensionSlice, Ipv6ExtensionsSlice, Ipv6HeaderSlice};

    #[test]
    fn etherparse_and_smoltcp_see_the_same_fields() {
        bolero::check!().with_type::<[u8; 40]>().for_each(|bytes| {
            let mut bytes = *bytes;
            bytes[0] = 0x60 | bytes[0] & 0x0f;
            let (ours, _) = Ip6Hdr::ref_from_prefix(&bytes).unwrap();
            let theirs = Ipv6HeaderSlice::from_slice(&bytes).unwrap();
            assert_eq!(
                (ours.version(), ours.traffic_class(), ours.flow_label()),
                (6, theirs.traffic_class(), theirs.flow_label().value())
            );
            assert_eq!(
                (ours.payload_len.get(), ours.next_header, ours.hop_limit),
                (theirs.payload_length(), theirs.next_header().0, theirs.hop_limit())
            );
            assert_eq!((ours.src(), ours.dst()), (theirs.source_addr(), theirs.destination_addr()));
            let smol = smoltcp::wire::Ipv6Packet::new_unchecked(&bytes[..]);
            assert_eq!((ours.traffic_class(), ours.flow_label()), (smol.traffic_class(), smol.flow_label()));
        });
    }

    #[test]
    fn setters_touch_nothing_else() {
        bolero::check!().with_type::<(u32, u8, u32)>().for_each(|(word, class, label)| {
            let mut header = Ip6Hdr::new(0, 0, 0, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
            header.vtc_flow.set(*word);
            let version = header.version();
            header.set_traffic_class(*class);
            header.set_flow_label(*label);
            let fields = (header.version(), header.traffic_class(), header.flow_label());
            assert_eq!(fields, (version, *class, label % (1 << 20)));
        });
    }

    /// A chain of headers whose links hold, from random choices: types, lengths in `sizes`, filler bytes.
    fn chain(kinds: &[u8], last: u8, filler: &[u8]) -> (u8, Vec<u8>) {
        use proto::{AH, DSTOPTS, FRAGMENT, ROUTING};
        let kinds: Vec<u8> =
            kinds.iter().map(|k| [ROUTING, DSTOPTS, FRAGMENT, AH][*k as usize % 4]).collect();
        let mut bytes = Vec::new();
        for (i, kind) in kinds.iter().enumerate() {
            let next = kinds.get(i + 1).copied().unwrap_or(last);
            let size = filler.get(i).copied().unwrap_or(0) % 3;
            match *kind {
                FRAGMENT => bytes.extend([next, 0, 0, size & 1, 1, 2, 3, 4]),
                AH => bytes.extend([&[next, size + 1][..], &vec![7; usize::from(size + 3) * 4 - 2]].concat()),
                _ => bytes.extend([&[next, size][..], &vec![0; usize::from(size + 1) * 8 - 2]].concat()),
            }
        }
        bytes.extend([0; 8]);
        (kinds.first().copied().unwrap_or(last), bytes)
    }

    #[test]
    fn etherparse_walks_the_same_chain() {
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(kinds, filler)| {
            let (first, bytes) = chain(kinds, proto::UDP, filler);
            let (exts, kind, rest) = Ipv6ExtensionsSlice::from_slice(IpNumber(first), &bytes).unwrap();
            let frag = exts.clone().into_iter().filter_map(|ext| match ext {
                Ipv6ExtensionSlice::Fragment(f) => Some(u16::from_be_bytes([f.slice()[2], f.slice()[3]])),
                _ => None,
            });
            assert_eq!(skip_ext(&bytes, 0, first), Some((bytes.len() - rest.len(), kind.0, frag.last())));
        });
    }

    #[test]
    fn skip_ext_ends_where_the_kernel_ends() {
        let later = [proto::UDP, 0, 0x05, 0xa8, 0, 0, 0, 1, 0, 0];
        assert_eq!(skip_ext(&later, 0, proto::FRAGMENT), Some((0, proto::FRAGMENT, Some(0x05a8))));
        assert_eq!(skip_ext(&later[..4], 0, proto::FRAGMENT), Some((0, proto::FRAGMENT, Some(0x05a8))));
        assert_eq!(skip_ext(&later[..3], 0, proto::FRAGMENT), None, "the field is cut off");
        assert_eq!(skip_ext(&[], 0, proto::NONE), None);
        assert_eq!(skip_ext(&[], 9, proto::TCP), Some((9, proto::TCP, None)), "nothing to pass over");
        assert_eq!(skip_ext(&[], 0, proto::DSTOPTS), None);
        // The length of the last header is believed.
        assert_eq!(skip_ext(&[proto::TCP, 255], 0, proto::HOPOPTS), Some((2048, proto::TCP, None)));
        // ESP and the mobility header count as payload.
        assert!(!is_ext(proto::ESP) && !is_ext(proto::MOBILITY));
    }

    #[test]
    fn skip_ext_takes_any_bytes() {
        bolero::check!().with_type::<(Vec<u8>, u16, u8)>().for_each(|(bytes, start, kind)| {
            if let Some((at, kind, frag)) = skip_ext(bytes, usize::from(*start), *kind) {
                assert!(at >= usize::from(*start));
                assert!(!is_ext(kind) || frag.is_some_and(|field| field & FRAG_OFFSET != 0));
            }
        });
        assert_eq!(skip_ext(&[0; 4], usize::MAX, proto::HOPOPTS), None);
    }

    #[test]
    fn scopes_follow_the_kernel() {
        let cases = [
            ("::", 0),
            ("::1", 2),
            ("::2", 14),
            ("::ffff:10.0.0.1", 14),
            ("2001:db8::1", 14),
            ("fc00::1", 14),
        ];
        let more =
            [("fe80::1", 2), ("febf::1", 2), ("fec0::1", 5), ("feff::1", 5), ("ff05::2", 5), ("ff3e::1", 14)];
        for (text, want) in cases.into_iter().chain(more) {
            assert_eq!(scope(text.parse().unwrap()), want, "{text}");
        }
        assert_eq!(multicast_scope("ff01::1".parse().unwrap()), Some(1));
        assert_eq!(multicast_scope("fe80::1".parse().unwrap()), None);
        assert!(is_link_local("fe80::1".parse().unwrap()) && is_loopback(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn eui64_is_smoltcps_too() {
        use smoltcp::wire::{EthernetAddress, HardwareAddress, Ipv6Cidr};
        let prefix = Ipv6Cidr::new("fe80::".parse().unwrap(), 64);
        bolero::check!().with_type::<[u8; 6]>().for_each(|mac| {
            let ll = HardwareAddress::Ethernet(EthernetAddress(*mac));
            let theirs = Ipv6Cidr::from_link_prefix(&prefix, ll).unwrap();
            assert_eq!(link_local_from_mac(*mac), theirs.address());
        });
    }
}
