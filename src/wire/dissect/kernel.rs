//! The dissector against a kernel: does hashing what it found lead to the path that Linux chose?
//!
//! `kernel.txt` says how its packets were recorded. With policy 3 and all twelve fields the choice depends on
//! every key of the outer and of the inner flow, so one wrong bit in any of them moves the packet to another
//! of the sixteen paths, fifteen times out of sixteen. The hash is spelt out here, apart from the product's.

#![allow(deprecated)] // std's SipHasher is SipHash-2-4, and there is no other in std.

use std::hash::{Hasher, SipHasher};

use super::*;

const SEED: u64 = 0x1234_5678;

/// flow_hash_from_keys_seed over these keys; `label` only if the fields of this side include it.
fn flow_hash(flow: &Flow, label: bool) -> u32 {
    let (mut sport, mut dport) = (flow.sport, flow.dport);
    let mut key = vec![0, 0, flow.ip_proto, 0];
    key.extend(if label { flow.label } else { 0 }.to_le_bytes());
    key.extend([0; 20]);
    let addresses = match flow.addrs {
        Addrs::None => vec![],
        Addrs::V4 { src, dst } => {
            let (a, b) = (src.octets(), dst.octets());
            // The kernel sorts by value, loaded in the order of the machine.
            let swap = u32::from_le_bytes(b) < u32::from_le_bytes(a);
            if swap { [b, a].concat() } else { [a, b].concat() }
        }
        Addrs::V6 { src, dst } => [src.min(dst).octets(), src.max(dst).octets()].concat(),
    };
    if !addresses.is_empty() && u16::from_le_bytes(dport) < u16::from_le_bytes(sport) {
        (sport, dport) = (dport, sport);
    }
    key.extend([sport, dport, [0; 2], [0; 2]].concat());
    key.extend(addresses);
    key.extend([0; 4]);
    let mut hasher = SipHasher::new_with_keys(SEED << 32 | SEED, SEED << 32 | SEED);
    hasher.write(&key);
    (hasher.finish() as u32).max(1)
}

/// jhash_2words(a, b, 0).
fn jhash(a: u32, b: u32) -> u32 {
    let base = 0xdead_beef_u32.wrapping_add(8);
    let mut words = [a.wrapping_add(base), b.wrapping_add(base), base];
    for (to, from, bits) in
        [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)]
    {
        words[to] = (words[to] ^ words[from]).wrapping_sub(words[from].rotate_left(bits));
    }
    words[2]
}

#[test]
fn the_kernel_sees_the_same_flows() {
    let mut packets = 0;
    for line in include_str!("kernel.txt").lines().filter(|line| !line.starts_with('#')) {
        let (path, hex) = line.split_once(' ').unwrap();
        let packet: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect();
        let v6 = packet[0] >> 4 == 6;
        let found = dissect(&packet, if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }, false);
        let inner = found.inner.map_or(0, |flow| flow_hash(&flow, matches!(flow.addrs, Addrs::V6 { .. })));
        let hash = jhash(flow_hash(&found.outer, v6), inner) >> 1;
        // Sixteen equal shares of 31 bits.
        assert_eq!(hash >> 27, path.parse::<u32>().unwrap(), "{hex}: {found:x?}");
        packets += 1;
    }
    assert_eq!(packets, 188);
}
