//! Routing tables of the shape that the Internet's has: most prefixes at few lengths.

use crate::Rng;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::Prefix;

/// Share of each length in parts of 1000, IPv4, after a full table of 2026 (RIPE RIS).
const LENGTHS4: [(u8, u64); 9] =
    [(24, 590), (23, 100), (22, 110), (21, 50), (20, 45), (19, 30), (18, 15), (17, 10), (16, 50)];
/// The same for IPv6.
const LENGTHS6: [(u8, u64); 8] =
    [(48, 470), (44, 100), (40, 100), (36, 60), (32, 120), (46, 60), (33, 40), (29, 50)];

fn length(rng: &mut Rng, shares: &[(u8, u64)]) -> u8 {
    let mut x = rng.below(shares.iter().map(|s| s.1).sum());
    for &(len, share) in shares {
        if x < share {
            return len;
        }
        x -= share;
    }
    shares.first().map_or(24, |s| s.0)
}

/// `n` different IPv4 prefixes inside 1.0.0.0 to 223.255.255.255.
pub fn ipv4(n: usize, seed: u64) -> Vec<Prefix<Ipv4Addr>> {
    let mut rng = Rng::new(seed);
    let mut all = BTreeSet::new();
    while all.len() < n {
        let len = length(&mut rng, &LENGTHS4);
        let first = 1 + rng.below(223) as u32;
        let addr = Ipv4Addr::from_bits(first << 24 | (rng.draw() as u32 & 0x00ff_ffff));
        all.extend(Prefix::new(addr, len));
    }
    all.into_iter().collect()
}

/// `n` different IPv6 prefixes inside 2000::/3.
pub fn ipv6(n: usize, seed: u64) -> Vec<Prefix<Ipv6Addr>> {
    let mut rng = Rng::new(seed);
    let mut all = BTreeSet::new();
    while all.len() < n {
        let len = length(&mut rng, &LENGTHS6);
        // Registries give from few /12 blocks, so the first bits are crowded.
        let block = 0x2400 + rng.below(16) as u128 * 0x10;
        let addr = Ipv6Addr::from_bits(block << 112 | u128::from(rng.draw()) << 48);
        all.extend(Prefix::new(addr, len));
    }
    all.into_iter().collect()
}

/// `count` addresses, each a random host in a random prefix of the table.
pub fn hosts4(table: &[Prefix<Ipv4Addr>], count: usize, seed: u64) -> Vec<Ipv4Addr> {
    let mut rng = Rng::new(seed);
    let pick = |rng: &mut Rng| {
        let p = table.get(rng.below(table.len() as u64) as usize).copied().unwrap_or(Prefix::ANY);
        let host = u32::MAX.checked_shr(p.len().into()).unwrap_or(0) & rng.draw() as u32;
        Ipv4Addr::from_bits(p.addr().to_bits() | host)
    };
    (0..count).map(|_| pick(&mut rng)).collect()
}

/// The same for IPv6.
pub fn hosts6(table: &[Prefix<Ipv6Addr>], count: usize, seed: u64) -> Vec<Ipv6Addr> {
    let mut rng = Rng::new(seed);
    let pick = |rng: &mut Rng| {
        let p = table.get(rng.below(table.len() as u64) as usize).copied().unwrap_or(Prefix::ANY);
        let random = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
        let host = u128::MAX.checked_shr(p.len().into()).unwrap_or(0) & random;
        Ipv6Addr::from_bits(p.addr().to_bits() | host)
    };
    (0..count).map(|_| pick(&mut rng)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_reproducible_and_hosts_lie_inside() {
        let table = ipv4(1000, 7);
        assert_eq!((table.len(), &table), (1000, &ipv4(1000, 7)));
        let hosts = hosts4(&table, 100, 1);
        assert!(hosts.iter().all(|&h| table.iter().any(|p| p.contains(h))));
        let table = ipv6(1000, 7);
        let hosts = hosts6(&table, 100, 1);
        assert!(hosts.iter().all(|&h| table.iter().any(|p| p.contains(h))));
    }
}
