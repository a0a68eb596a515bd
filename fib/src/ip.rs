//! The address family as a type: one sealed trait over the standard address types.
//!
//! Invariant: a key is the address moved to the top of a `u128`, so that bit 127 is the first bit on the wire in both
//! families. Prefixes and the trie work on keys alone and need no second copy for the other family.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Keeps [`Ip`] closed and finds the half of a two-family structure that belongs to `Self`.
pub(crate) mod sealed {
    use super::Ip;
    use crate::lpm::Large;
    use crate::view::State;
    use crate::view::Tables;
    use crate::writer::{Families, Family};

    /// Chooses the IPv4 or the IPv6 half.
    pub trait Half: Sized {
        /// The structure of large tables.
        type Large: Large<Self>;
        /// What lookups read.
        fn tables(state: &State) -> &Tables<Self>
        where
            Self: Ip;
        /// What the writer keeps.
        fn family(families: &Families) -> &Family<Self>
        where
            Self: Ip;
        /// What the writer keeps, to change it.
        fn family_mut(families: &mut Families) -> &mut Family<Self>
        where
            Self: Ip;
    }
}

/// An IP address of one family: `Ipv4Addr` or `Ipv6Addr`.
pub trait Ip:
    sealed::Half + Copy + Debug + Display + Eq + Ord + Hash + FromStr + Into<IpAddr> + Send + Sync + 'static
{
    /// Address length in bits: 32 or 128.
    const BITS: u8;
    /// True for IPv6.
    const V6: bool;
    /// The all-zero address.
    const UNSPECIFIED: Self;

    /// The address as a number with its first bit at bit 127; the bits below the address are zero.
    fn key(self) -> u128;

    /// The inverse of [`Ip::key`]. Bits below the address are ignored.
    fn from_key(key: u128) -> Self;
}

impl Ip for Ipv4Addr {
    const BITS: u8 = 32;
    const V6: bool = false;
    const UNSPECIFIED: Self = Ipv4Addr::UNSPECIFIED;

    fn key(self) -> u128 {
        u128::from(u32::from(self)) << 96
    }

    fn from_key(key: u128) -> Self {
        Ipv4Addr::from((key >> 96) as u32)
    }
}

impl Ip for Ipv6Addr {
    const BITS: u8 = 128;
    const V6: bool = true;
    const UNSPECIFIED: Self = Ipv6Addr::UNSPECIFIED;

    fn key(self) -> u128 {
        u128::from(self)
    }

    fn from_key(key: u128) -> Self {
        Ipv6Addr::from(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_left_aligned_and_reversible() {
        assert_eq!(Ipv4Addr::new(128, 0, 0, 1).key(), (1 << 127) | (1 << 96));
        assert_eq!(Ipv6Addr::LOCALHOST.key(), 1);
        bolero::check!().with_type::<(u32, u128)>().for_each(|&(four, six)| {
            assert_eq!(Ipv4Addr::from_key(Ipv4Addr::from(four).key()), Ipv4Addr::from(four));
            assert_eq!(Ipv6Addr::from_key(Ipv6Addr::from(six).key()), Ipv6Addr::from(six));
        });
    }
}
