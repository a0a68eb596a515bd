//! The Internet checksum (RFC 1071): sums, pseudo headers and the incremental updates of RFC 1624.
//!
//! A *partial sum* is a `u32` that holds a one's complement sum of big-endian 16-bit words, at most 0xffff
//! when it comes from here, so that 65,536 of them can be added with `+` before [`fold`].
//! Called by every stage that checks or changes a header.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;

use super::ip4::Ip4Hdr;

/// The partial sum of bytes; an odd last byte counts as if a zero followed. Any length; linear.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    // RFC 1071 2(B): the sum may be taken in the machine's own order and swapped once at the end,
    // 2(C): in wider words than 16 bits.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    total += u64::from(u32::from_ne_bytes(last));
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u32::from(u16::from_be(total as u16))
}

/// The partial sum of bytes that stand `offset` bytes into the data summed: one buffer of several.
///
/// `sum_at(0, a) + sum_at(a.len(), b)` is the sum of `a` followed by `b`, also when `a` has an odd length.
#[must_use]
pub fn sum_at(offset: usize, bytes: &[u8]) -> u32 {
    let sum = sum(bytes);
    // Linux: csum_block_add. Behind an odd offset each byte falls in the other half of its word.
    if offset.is_multiple_of(2) { sum } else { u32::from((sum as u16).swap_bytes()) }
}

/// A partial sum as 16 bits, carries added back in. The checksum is its complement.
#[must_use]
pub fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of bytes whose checksum field is zero; 0 for bytes whose checksum field is right.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum after one 16-bit word under it changed. RFC 1624 3, equation 3: HC' = ~(~HC + ~m + m').
#[must_use]
pub fn update16(csum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!csum) + u32::from(!old) + u32::from(new))
}

/// The checksum after a 32-bit word under it, at an even offset, changed.
#[must_use]
pub fn update32(csum: u16, old: u32, new: u32) -> u16 {
    let csum = update16(csum, (old >> 16) as u16, (new >> 16) as u16);
    update16(csum, old as u16, new as u16)
}

/// Takes one from the TTL and corrects the checksum. RFC 1141; Linux: ip_decrease_ttl.
///
/// A TTL of 0 wraps, as in the kernel; callers have dropped such packets.
pub fn decrease_ttl(header: &mut Ip4Hdr) {
    // The kernel adds one to the stored sum and the carry at 0xffff already. Where equation 3 would leave
    // 0xffff this leaves 0x0000, and the bytes must be the kernel's.
    let sum = u32::from(header.csum.get()) + 0x0100;
    header.csum = U16::new((sum + u32::from(sum >= 0xffff)) as u16);
    header.ttl = header.ttl.wrapping_sub(1);
}

/// The partial sum of the IPv4 pseudo header (RFC 793 3.1, RFC 768); `len` is header and data of layer 4.
#[must_use]
pub fn pseudo4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> u32 {
    u32::from(fold(sum(&src.octets()) + sum(&dst.octets()) + u32::from(protocol) + u32::from(len)))
}

/// The partial sum of the IPv6 pseudo header (RFC 8200 8.1); `len` is header and data of layer 4.
#[must_use]
pub fn pseudo6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, len: u32) -> u32 {
    let words = (len >> 16) + (len & 0xffff) + u32::from(next_header);
    u32::from(fold(sum(&src.octets()) + sum(&dst.octets()) + words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(checksum(&bytes), 0x220d);
    }

    #[test]
    fn two_other_libraries_agree() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            assert_eq!(checksum(bytes).to_be_bytes(), internet_checksum::checksum(bytes));
            if !bytes.is_empty() {
                assert_eq!(checksum(bytes), pnet::packet::util::checksum(bytes, usize::MAX));
            }
        });
        // Longer than any frame, and all ones: the carries must not overflow.
        let long = vec![0xff; 1 << 20];
        assert_eq!(sum(&long), 0xffff);
    }

    #[test]
    fn a_buffer_may_be_split_anywhere() {
        bolero::check!().with_type::<(Vec<u8>, u16, u16)>().for_each(|(bytes, a, b)| {
            let (a, b) = (usize::from(*a) % (bytes.len() + 1), usize::from(*b) % (bytes.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let parts = sum_at(0, &bytes[..a]) + sum_at(a, &bytes[a..b]) + sum_at(b, &bytes[b..]);
            assert_eq!(fold(parts), fold(sum(bytes)));
        });
    }

    #[test]
    fn updates_equal_summing_again() {
        bolero::check!().with_type::<([u8; 24], u8, u32)>().for_each(|(bytes, at, new)| {
            let mut bytes = *bytes;
            // The first word is the checksum; the changed one is any other.
            bytes[..2].fill(0);
            let csum = checksum(&bytes);
            let at = 4 + usize::from(*at % 5) * 4;
            let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let theirs =
                internet_checksum::update(csum.to_be_bytes(), &old.to_be_bytes(), &new.to_be_bytes());
            bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
            assert_eq!(update32(csum, old, *new).to_be_bytes(), theirs);
            bytes[..2].copy_from_slice(&update32(csum, old, *new).to_be_bytes());
            // Right is what verifies: 0 and 0xffff stand for the same sum.
            if bytes[2..].iter().any(|byte| *byte != 0) {
                assert_eq!(checksum(&bytes), 0);
            }
            assert_eq!(update16(csum, 7, 7), update16(update16(csum, 7, 9), 9, 7));
        });
    }

    /// ip_decrease_ttl word for word, in the order of a little-endian host.
    fn kernel_decrease(csum: u16) -> u16 {
        let check = u32::from(csum.swap_bytes()) + 1;
        ((check + u32::from(check >= 0xffff)) as u16).swap_bytes()
    }

    #[test]
    fn decrease_ttl_is_the_kernels_for_every_checksum() {
        for csum in 0..=u16::MAX {
            let mut header = Ip4Hdr::new(20, 64, proto::UDP, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
            header.csum = U16::new(csum);
            decrease_ttl(&mut header);
            assert_eq!((header.csum.get(), header.ttl), (kernel_decrease(csum), 63), "{csum:#06x}");
        }
        // The corner: adding 0x0100 gives 0xffff, and the kernel wraps that to zero.
        assert_eq!(kernel_decrease(0xfeff), 0x0000);
    }

    #[test]
    fn decrease_ttl_leaves_a_right_header_right() {
        bolero::check!().with_type::<([u8; 8], u8, u16)>().for_each(|(addresses, ttl, id)| {
            let [a, b, c, d, e, f, g, h] = *addresses;
            let mut header = Ip4Hdr::new(20, *ttl, proto::TCP, [a, b, c, d].into(), [e, f, g, h].into());
            header.id = U16::new(*id);
            header.set_checksum(&[]);
            if *ttl > 0 {
                decrease_ttl(&mut header);
                assert_eq!(checksum(zerocopy::IntoBytes::as_bytes(&header)), 0);
            }
        });
    }

    #[test]
    fn pseudo_headers_verify_packets_of_other_makers() {
        use etherparse::PacketBuilder;
        bolero::check!().with_type::<([u8; 4], [u8; 4], [u8; 16], [u8; 16], Vec<u8>)>().for_each(
            |(src4, dst4, src6, dst6, payload)| {
                let mut packet = Vec::new();
                PacketBuilder::ipv4(*src4, *dst4, 9).udp(5, 6).write(&mut packet, payload).unwrap();
                let udp = &packet[20..];
                let pseudo = pseudo4((*src4).into(), (*dst4).into(), proto::UDP, udp.len() as u16);
                assert_eq!(fold(pseudo + sum(udp)), 0xffff);

                packet.clear();
                PacketBuilder::ipv6(*src6, *dst6, 9).tcp(5, 6, 7, 8).write(&mut packet, payload).unwrap();
                let tcp = &packet[40..];
                let pseudo = pseudo6((*src6).into(), (*dst6).into(), proto::TCP, tcp.len() as u32);
                assert_eq!(fold(pseudo + sum(tcp)), 0xffff);
            },
        );
    }
}
