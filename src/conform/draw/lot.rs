//! Numbers by lot. Invariant: the same seed gives the same numbers on every machine. Called by everything that draws.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A stream of numbers: splitmix64, which has a period of 2^64 and no bad seeds.
#[derive(Debug)]
pub struct Lot(u64);

impl Lot {
    /// The stream of one purpose (`stream`) in one box of a run.
    pub fn new(seed: u64, number: u64, stream: u64) -> Lot {
        let mut lot = Lot(seed);
        let mixed = lot.next() ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        lot = Lot(mixed);
        Lot(lot.next() ^ stream.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.next().checked_rem(n as u64).unwrap_or(0) as usize
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of a list that may be empty.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len());
        from.get(at).cloned()
    }

    /// One of a list that is not empty.
    pub fn one<T: Copy + Default>(&mut self, from: &[T]) -> T {
        self.pick(from).unwrap_or_default()
    }

    /// `Some` of one of the list in `percent` of all cases.
    pub fn maybe<T: Copy>(&mut self, percent: usize, from: &[T]) -> Option<T> {
        if self.chance(percent) { self.pick(from) } else { None }
    }

    /// Any bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Any 128 bits.
    pub fn bits(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// An address in a prefix, now and then its first, its last, or one just outside.
    pub fn host(&mut self, net: Ipv6Net) -> Ipv6Addr {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        Ipv6Addr::from_bits(match self.below(20) {
            0 => first,
            1 => last,
            2 => first.wrapping_sub(1),
            3 => last.wrapping_add(1),
            _ => first | self.bits() & net.hostmask().to_bits(),
        })
    }

    /// The same of IPv4.
    pub fn host4(&mut self, net: Ipv4Net) -> Ipv4Addr {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        Ipv4Addr::from_bits(match self.below(20) {
            0 => first,
            1 => last,
            2 => first.wrapping_sub(1),
            3 => last.wrapping_add(1),
            _ => first | self.next() as u32 & net.hostmask().to_bits(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_and_differ() {
        let first = |seed, number, stream| Lot::new(seed, number, stream).next();
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        let all = [first(1, 1, 1), first(2, 1, 1), first(1, 2, 1), first(1, 1, 2)];
        assert!(all.iter().enumerate().all(|(i, a)| all.iter().skip(i + 1).all(|b| a != b)));
        let mut lot = Lot::new(7, 0, 0);
        assert_eq!((lot.next(), lot.below(0), lot.pick::<u8>(&[])), (Lot::new(7, 0, 0).next(), 0, None));
        let net: Ipv6Net = "2001:db8::/64".parse().unwrap();
        assert!((0..200).filter(|_| net.contains(&lot.host(net))).count() > 150);
    }
}
