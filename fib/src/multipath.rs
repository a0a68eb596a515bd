//! The kernel's multipath hash, bit for bit: fib_multipath_hash_from_keys over its flow keys.
//!
//! Invariant: the buffer below is `struct flow_keys` from its 8th byte, as the kernel lays it out in memory. Which fields
//! a policy fills is the caller's business (fib_multipath_hash, rt6_multipath_hash); this file only hashes.

use std::net::{Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher24;

/// The fields that the kernel hashes; unused ones stay zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKeys {
    /// IP protocol or next header.
    pub ip_proto: u8,
    /// The flow label word as it lies in the kernel's memory. Some policies store it in network order, others in host
    /// order; the caller writes the bytes accordingly.
    pub label: [u8; 4],
    /// Source port, in wire order.
    pub sport: [u8; 2],
    /// Destination port, in wire order.
    pub dport: [u8; 2],
    /// Source and destination.
    pub addrs: Addrs,
}

/// The two addresses of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addrs {
    /// IPv4.
    V4 {
        /// Source.
        src: Ipv4Addr,
        /// Destination.
        dst: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Source.
        src: Ipv6Addr,
        /// Destination.
        dst: Ipv6Addr,
    },
}

/// Length of the buffer with IPv6 addresses, tail padding included.
const LEN_V6: usize = 72;
/// Length of the buffer with IPv4 addresses, tail padding included.
const LEN_V4: usize = 48;

/// The 32-bit hash of a flow, never 0 (the kernel's "not computed").
///
/// `seed` is `net.ipv4.fib_multipath_hash_seed`. Constant time: one SipHash-2-4 over 48 or 72 bytes.
pub fn hash32(seed: u32, keys: &FlowKeys) -> u32 {
    let mut buffer = [0; LEN_V6];
    let len = fill(&mut buffer, keys);
    let key = u64::from(seed) << 32 | u64::from(seed);
    let hash = SipHasher24::new_with_keys(key, key).hash(buffer.get(..len).unwrap_or(&buffer)) as u32;
    hash.max(1)
}

/// The hash that [`Group::select`](crate::Group::select) takes: 31 bits.
pub fn hash31(seed: u32, keys: &FlowKeys) -> u32 {
    hash32(seed, keys) >> 1
}

/// Writes the kernel's buffer and gives its length. Copies into fixed ranges of a fixed array: no index can fail.
fn fill(buffer: &mut [u8; LEN_V6], keys: &FlowKeys) -> usize {
    buffer[2] = keys.ip_proto;
    buffer[4..8].copy_from_slice(&keys.label);
    // __flow_hash_consistentify: both directions hash alike. Ports and IPv4 addresses are compared as the machine loads
    // them, so on little-endian hosts the last wire byte weighs most. The two are sorted independently of each other.
    let (sport, dport) = if u16::from_ne_bytes(keys.dport) < u16::from_ne_bytes(keys.sport) {
        (keys.dport, keys.sport)
    } else {
        (keys.sport, keys.dport)
    };
    buffer[28..30].copy_from_slice(&sport);
    buffer[30..32].copy_from_slice(&dport);
    match keys.addrs {
        Addrs::V4 { src, dst } => {
            let (src, dst) = (src.octets(), dst.octets());
            let swap = u32::from_ne_bytes(dst) < u32::from_ne_bytes(src);
            let (first, second) = if swap { (dst, src) } else { (src, dst) };
            buffer[36..40].copy_from_slice(&first);
            buffer[40..44].copy_from_slice(&second);
            LEN_V4
        }
        Addrs::V6 { src, dst } => {
            // IPv6 addresses are compared with memcmp: in wire order on every machine.
            let (first, second) = if dst < src { (dst, src) } else { (src, dst) };
            buffer[36..52].copy_from_slice(&first.octets());
            buffer[52..68].copy_from_slice(&second.octets());
            LEN_V6
        }
    }
}

/// The kernel's `jhash_2words(a, b, 0)` (include/linux/jhash.h, by Bob Jenkins): policy 3 joins its outer and inner hash
/// with it.
pub fn jhash_2words(a: u32, b: u32) -> u32 {
    const INIT: u32 = 0xdead_beef + (2 << 2);
    let (mut a, mut b, mut c) = (a.wrapping_add(INIT), b.wrapping_add(INIT), INIT);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> FlowKeys {
        FlowKeys {
            ip_proto: 17,
            label: [0; 4],
            sport: sport.to_be_bytes(),
            dport: dport.to_be_bytes(),
            addrs: Addrs::V4 { src: src.into(), dst: dst.into() },
        }
    }

    #[test]
    fn siphash_equals_the_reference_vector() {
        // The vector of the SipHash paper, appendix A: key 00..0f, message 00..0e.
        let message: Vec<u8> = (0..15).collect();
        let hasher = SipHasher24::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(hasher.hash(&message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn the_buffer_is_laid_out_as_the_kernels() {
        let mut buffer = [0; LEN_V6];
        let keys = FlowKeys {
            ip_proto: 6,
            label: [0, 1, 2, 3],
            sport: [1, 1],
            dport: [2, 2],
            addrs: Addrs::V6 { src: Ipv6Addr::LOCALHOST, dst: Ipv6Addr::from(2) },
        };
        assert_eq!(fill(&mut buffer, &keys), 72);
        let mut expected = [0; 72];
        expected[2] = 6;
        expected[4..8].copy_from_slice(&[0, 1, 2, 3]);
        expected[28..32].copy_from_slice(&[1, 1, 2, 2]);
        expected[51] = 1;
        expected[67] = 2;
        assert_eq!(buffer, expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn ipv4_addresses_and_ports_sort_as_loaded() {
        let mut buffer = [0; LEN_V6];
        // As numbers 10.0.0.2 < 10.0.1.1, but a little-endian load weighs the last byte most.
        assert_eq!(fill(&mut buffer, &v4([10, 0, 0, 2], [10, 0, 1, 1], 0x0102, 0x0201)), 48);
        assert_eq!(buffer[36..44], [10, 0, 1, 1, 10, 0, 0, 2]);
        assert_eq!(buffer[28..32], [0x02, 0x01, 0x01, 0x02]);
    }

    #[test]
    fn both_directions_hash_alike() {
        bolero::check!().with_type::<(u32, [u8; 4], [u8; 4], u16, u16)>().for_each(|&(seed, a, b, p, q)| {
            assert_eq!(hash32(seed, &v4(a, b, p, q)), hash32(seed, &v4(b, a, q, p)));
            // Ports sort by themselves, so swapping them alone changes nothing either.
            assert_eq!(hash32(seed, &v4(a, b, p, q)), hash32(seed, &v4(a, b, q, p)));
            assert!(hash31(seed, &v4(a, b, p, q)) < 1 << 31);
        });
    }

    #[test]
    fn every_field_and_the_seed_count() {
        let keys = v4([192, 0, 2, 1], [198, 51, 100, 1], 1, 2);
        let base = hash32(1, &keys);
        assert_ne!(base, hash32(2, &keys));
        assert_ne!(base, hash32(1, &FlowKeys { ip_proto: 6, ..keys }));
        assert_ne!(base, hash32(1, &FlowKeys { label: [0, 0, 0, 1], ..keys }));
        assert_ne!(base, hash32(1, &FlowKeys { dport: [9, 9], ..keys }));
    }

    #[test]
    fn jhash_of_two_words() {
        // hashword() of lookup3.c, which jhash follows, with three words (a, b, 0) and the length of two.
        assert_eq!(jhash_2words(0, 0), lookup3_final(0, 0));
        assert_eq!(jhash_2words(0x1234_5678, 0x9abc_def0), lookup3_final(0x1234_5678, 0x9abc_def0));
    }

    /// lookup3.c's `final` written as a table of steps, so that a slip in one of the two shows.
    fn lookup3_final(a: u32, b: u32) -> u32 {
        let mut word = [a, b, 0].map(|word| word.wrapping_add(0xdead_beef + 8));
        for (to, from, turn) in
            [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)]
        {
            word[to] = (word[to] ^ word[from]).wrapping_sub(word[from].rotate_left(turn));
        }
        word[2]
    }
}
