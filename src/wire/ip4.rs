//! The IPv4 header (RFC 791), its options, and the address classes that the kernel asks about.
//!
//! Called by the IPv4 forwarding path and by builders of IPv4 packets.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::csum;

/// `frag` bit: do not fragment.
pub const FRAG_DF: u16 = 0x4000;
/// `frag` bit: more fragments follow.
pub const FRAG_MF: u16 = 0x2000;
/// `frag` bits: offset in units of eight bytes.
pub const FRAG_OFFSET: u16 = 0x1fff;

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ip4Hdr {
    /// Version in the high four bits, header length in 32-bit words in the low four.
    pub ver_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_len: U16,
    /// Identification, shared by the fragments of one datagram.
    pub id: U16,
    /// Flags and fragment offset.
    pub frag: U16,
    /// Time to live.
    pub ttl: u8,
    /// What follows, one of [`super::proto`].
    pub proto: u8,
    /// Header checksum.
    pub csum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Ip4Hdr {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;

    /// A header without options, checksum set; TOS, identification, flags and offset are zero.
    #[must_use]
    pub fn new(total_len: u16, ttl: u8, proto: u8, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        let mut header = Self {
            ver_ihl: 0x45,
            tos: 0,
            total_len: U16::new(total_len),
            id: U16::ZERO,
            frag: U16::ZERO,
            ttl,
            proto,
            csum: U16::ZERO,
            src: src.octets(),
            dst: dst.octets(),
        };
        header.set_checksum(&[]);
        header
    }

    /// Sets the checksum from scratch, over this header and its options. Linux: ip_send_check.
    pub fn set_checksum(&mut self, options: &[u8]) {
        self.csum = U16::ZERO;
        self.csum = U16::new(!csum::fold(csum::sum(self.as_bytes()) + csum::sum(options)));
    }

    /// IP version, 4 in a good header.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.ver_ihl >> 4
    }

    /// Header length in **bytes** as the header claims it, 0 to 60; less than 20 is an error.
    #[must_use]
    pub fn ihl(&self) -> usize {
        usize::from(self.ver_ihl & 0x0f) * 4
    }

    /// True if routers may not fragment it.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.frag.get() & FRAG_DF != 0
    }

    /// True if a later part of the datagram follows in another packet.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.frag.get() & FRAG_MF != 0
    }

    /// Where the payload stands in the datagram, in **bytes**.
    #[must_use]
    pub fn frag_offset(&self) -> usize {
        usize::from(self.frag.get() & FRAG_OFFSET) * 8
    }

    /// True for any part of a fragmented datagram, the first included. Linux: ip_is_fragment.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.frag.get() & (FRAG_MF | FRAG_OFFSET) != 0
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> Ipv4Addr {
        self.src.into()
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> Ipv4Addr {
        self.dst.into()
    }
}

/// Option kinds (RFC 791 3.1). The top bit says: copy into every fragment.
pub mod opt {
    /// End of the list; the rest of the header is padding.
    pub const END: u8 = 0;
    /// No operation, one byte.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RR: u8 = 7;
    /// Timestamp.
    pub const TS: u8 = 68;
    /// Loose source and record route.
    pub const LSRR: u8 = 131;
    /// Commercial IP security option.
    pub const CIPSO: u8 = 134;
    /// Strict source and record route.
    pub const SSRR: u8 = 137;
    /// Router alert (RFC 2113).
    pub const RA: u8 = 148;
    /// Bit: this option goes into every fragment.
    pub const COPIED: u8 = 0x80;
}

/// One option as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip4Option<'a> {
    /// The type byte, one of [`opt`].
    pub kind: u8,
    /// Where the type byte stands, in bytes from the start of the IP header.
    pub offset: usize,
    /// The whole option with type and length; of END all bytes to the end of the header.
    pub bytes: &'a [u8],
}

/// An option whose length byte is missing, below 2 or past the end of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// Where its type byte stands, in bytes from the start of the IP header: the pointer to report.
    pub offset: usize,
}

/// Walks the options of a packet in order. Stops behind END and behind the first bad one.
///
/// Yields nothing if the header claims more bytes than there are. Linux: __ip_options_compile.
pub fn options(packet: &[u8]) -> Options<'_> {
    let claimed = Ip4Hdr::ref_from_prefix(packet).map_or(0, |(header, _)| header.ihl());
    Options { offset: Ip4Hdr::LEN, rest: packet.get(Ip4Hdr::LEN..claimed).unwrap_or_default() }
}

/// Iterator made by [`options`].
#[derive(Clone, Debug)]
pub struct Options<'a> {
    offset: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ip4Option<'a>, BadOption>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.rest.first()?;
        let (least, len) = match kind {
            opt::END => (1, self.rest.len()),
            opt::NOP => (1, 1),
            _ => (2, self.rest.get(1).map_or(0, |len| usize::from(*len))),
        };
        let offset = self.offset;
        let Some((bytes, rest)) = self.rest.split_at_checked(len).filter(|_| len >= least) else {
            self.rest = &[];
            return Some(Err(BadOption { offset }));
        };
        (self.offset, self.rest) = (offset + len, rest);
        Some(Ok(Ip4Option { kind, offset, bytes }))
    }
}

/// 0.0.0.0/8, "this network". Linux: ipv4_is_zeronet.
#[must_use]
pub fn is_zeronet(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0
}

/// 224.0.0.0/24, groups that no router forwards. RFC 5771 4; Linux: ipv4_is_local_multicast.
#[must_use]
pub fn is_local_multicast(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224, 0, 0, _])
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::Ipv4HeaderSlice;

    #[test]
    fn etherparse_and_smoltcp_see_the_same_fields() {
        bolero::check!().with_type::<[u8; 60]>().for_each(|bytes| {
            let mut bytes = *bytes;
            bytes[0] = 0x40 | 5.max(bytes[0] & 0x0f);
            let (ours, _) = Ip4Hdr::ref_from_prefix(&bytes).unwrap();
            let theirs = Ipv4HeaderSlice::from_slice(&bytes).unwrap();
            assert_eq!((ours.version(), ours.ihl()), (theirs.version(), theirs.slice().len()));
            assert_eq!((ours.tos >> 2, ours.tos & 3), (theirs.dcp().value(), theirs.ecn().value()));
            assert_eq!((ours.total_len.get(), ours.id.get()), (theirs.total_len(), theirs.identification()));
            assert_eq!((ours.ttl, ours.proto), (theirs.ttl(), theirs.protocol().0));
            assert_eq!(
                (ours.dont_fragment(), ours.more_fragments()),
                (theirs.dont_fragment(), theirs.more_fragments())
            );
            assert_eq!(ours.frag_offset(), usize::from(theirs.fragments_offset().byte_offset()));
            assert_eq!(ours.is_fragment(), theirs.is_fragmenting_payload());
            assert_eq!((ours.src(), ours.dst()), (theirs.source_addr(), theirs.destination_addr()));
            let smol = smoltcp::wire::Ipv4Packet::new_unchecked(&bytes[..]);
            assert_eq!(usize::from(smol.header_len()), ours.ihl());
            assert_eq!(smol.verify_checksum(), csum::checksum(&bytes[..ours.ihl()]) == 0);
            assert_eq!(ours.csum.get(), theirs.header_checksum());
        });
    }

    #[test]
    fn built_headers_verify_with_and_without_options() {
        bolero::check!().with_type::<([u8; 4], [u8; 4], u16, u8, [u8; 8])>().for_each(
            |(a, b, len, ttl, opts)| {
                let mut header = Ip4Hdr::new(*len, *ttl, 17, (*a).into(), (*b).into());
                let theirs = Ipv4HeaderSlice::from_slice(header.as_bytes()).unwrap().to_header();
                assert_eq!(header.csum.get(), theirs.calc_header_checksum());
                header.ver_ihl = 0x47;
                header.set_checksum(opts);
                assert_eq!(csum::checksum(&[header.as_bytes(), opts].concat()), 0);
            },
        );
    }

    /// A 60-byte header with these option bytes, the rest zero.
    fn with_options(opts: &[u8]) -> Vec<u8> {
        let mut packet =
            Ip4Hdr::new(60, 64, 17, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).as_bytes().to_vec();
        packet[0] = 0x4f;
        packet.extend(opts);
        packet.resize(60, 0);
        packet
    }

    #[test]
    fn options_come_in_order_with_their_places() {
        let packet = with_options(&[opt::NOP, opt::RA, 4, 0, 0, opt::RR, 3, 4, opt::END, 9]);
        let seen: Vec<_> = options(&packet).map(|option| option.unwrap()).collect();
        let places: Vec<_> =
            seen.iter().map(|option| (option.kind, option.offset, option.bytes.len())).collect();
        assert_eq!(places, [(opt::NOP, 20, 1), (opt::RA, 21, 4), (opt::RR, 25, 3), (opt::END, 28, 32)]);
        assert_eq!(seen[1].bytes, [opt::RA, 4, 0, 0]);
    }

    #[test]
    fn a_bad_length_ends_the_walk_at_its_type_byte() {
        for (opts, offset) in [(&[opt::NOP, opt::RR, 0][..], 21), (&[opt::RR, 1], 20), (&[opt::TS, 41], 20)] {
            let packet = with_options(opts);
            let last = options(&packet).last().unwrap();
            assert_eq!(last, Err(BadOption { offset }), "{opts:?}");
        }
        let mut cut_off = with_options(&[opt::NOP; 40]);
        cut_off[59] = opt::RR;
        assert_eq!(options(&cut_off).last(), Some(Err(BadOption { offset: 59 })));
        assert_eq!(options(&cut_off[..59]).count(), 0, "the header is not all there");
    }

    #[test]
    fn options_tile_the_header_whatever_the_bytes() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let mut at = Ip4Hdr::LEN;
            for option in options(bytes) {
                match option {
                    Ok(option) => {
                        assert_eq!(option.offset, at);
                        assert_eq!(bytes.get(at..at + option.bytes.len()), Some(option.bytes));
                        at += option.bytes.len();
                    }
                    Err(bad) => assert_eq!(bad.offset, at),
                }
            }
        });
    }

    #[test]
    fn classes_follow_the_kernel() {
        assert!(is_zeronet([0, 1, 2, 3].into()) && !is_zeronet([1, 0, 0, 0].into()));
        assert!(is_local_multicast([224, 0, 0, 251].into()) && !is_local_multicast([224, 0, 1, 1].into()));
    }
}
