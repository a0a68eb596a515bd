//! A prefix: an address and how many of its leading bits count.
//!
//! Invariant: `len <= A::BITS` and all bits behind `len` are zero, so equal prefixes are equal values. Everything that
//! names a set of addresses (routes, rules, source subtrees) uses this type.

use std::fmt;
use std::str::FromStr;

use crate::ip::Ip;

/// An address prefix of one family, host bits cleared.
///
/// Ordered by address, then by length (shorter first).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<A> {
    addr: A,
    len: u8,
}

/// Why a prefix was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length exceeds the address.
    #[error("prefix length {len} is longer than the {bits} bits of the address; use 0 to {bits}")]
    TooLong {
        /// The length asked for.
        len: u8,
        /// The bits an address of this family has.
        bits: u8,
    },
    /// The text is not `ADDRESS` or `ADDRESS/LENGTH` of this family.
    #[error("`{text}` is not a prefix of this family; write ADDRESS/LENGTH, for example {example}")]
    Syntax {
        /// What was given.
        text: String,
        /// A correct example of the family.
        example: &'static str,
    },
}

/// A mask with the first `len` of 128 bits set.
fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        len => u128::MAX << (128 - u32::from(len.min(128))),
    }
}

impl<A: Ip> Prefix<A> {
    /// The prefix that holds every address (length 0).
    pub const ANY: Self = Prefix { addr: A::UNSPECIFIED, len: 0 };

    /// Makes a prefix and clears the host bits of `addr`. Fails if `len > A::BITS`.
    pub fn new(addr: A, len: u8) -> Result<Self, PrefixError> {
        if len > A::BITS {
            return Err(PrefixError::TooLong { len, bits: A::BITS });
        }
        Ok(Prefix { addr: A::from_key(addr.key() & mask(len)), len })
    }

    /// The prefix that holds `addr` alone.
    pub fn host(addr: A) -> Self {
        Prefix { addr, len: A::BITS }
    }

    /// The first address.
    pub fn addr(&self) -> A {
        self.addr
    }

    /// The length in bits, at most `A::BITS`.
    #[expect(clippy::len_without_is_empty, reason = "a prefix length is not a count of elements")]
    pub fn len(&self) -> u8 {
        self.len
    }

    /// True if `addr` lies in the prefix.
    pub fn contains(&self, addr: A) -> bool {
        (addr.key() ^ self.addr.key()) & mask(self.len) == 0
    }

    /// True if every address of `other` lies in the prefix (a prefix covers itself).
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// True for length 0.
    pub fn is_default(&self) -> bool {
        self.len == 0
    }
}

impl<A: Ip> FromStr for Prefix<A> {
    type Err = PrefixError;

    /// Reads `ADDRESS/LENGTH`; a bare address is a host prefix. Host bits are cleared.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax {
            text: text.to_owned(),
            example: if A::V6 { "2001:db8::/32" } else { "192.0.2.0/24" },
        };
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, len.parse().map_err(|_| syntax())?),
            None => (text, A::BITS),
        };
        Prefix::new(addr.parse().map_err(|_| syntax())?, len)
    }
}

impl<A: Ip> fmt::Display for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl<A: fmt::Debug> fmt::Debug for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.addr, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn text_round_trips_and_clears_host_bits() {
        let p: Prefix<Ipv4Addr> = "10.1.2.3/8".parse().unwrap();
        assert_eq!(p.to_string(), "10.0.0.0/8");
        assert_eq!("10.1.2.3".parse::<Prefix<Ipv4Addr>>().unwrap().len(), 32);
        let p: Prefix<Ipv6Addr> = "2001:db8::1/32".parse().unwrap();
        assert_eq!(p.to_string(), "2001:db8::/32");
        assert_eq!("::/0".parse::<Prefix<Ipv6Addr>>().unwrap(), Prefix::ANY);
    }

    #[test]
    fn bad_text_says_what_to_write() {
        for text in ["", "/", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/256", "::/0", "10.0.0/8"] {
            let error = text.parse::<Prefix<Ipv4Addr>>().unwrap_err();
            assert!(matches!(error, PrefixError::Syntax { .. }), "{text}: {error}");
        }
        assert_eq!(
            "10.0.0.0/33".parse::<Prefix<Ipv4Addr>>().unwrap_err(),
            PrefixError::TooLong { len: 33, bits: 32 }
        );
    }

    #[test]
    fn contains_agrees_with_comparing_bit_by_bit() {
        bolero::check!().with_type::<(u128, u128, u8)>().for_each(|&(a, b, len)| {
            let len = len % 129;
            let p = Prefix::new(Ipv6Addr::from(a), len).unwrap();
            let same = (0..len).all(|bit| (a >> (127 - bit)) & 1 == (b >> (127 - bit)) & 1);
            assert_eq!(p.contains(Ipv6Addr::from(b)), same);
            assert!(p.covers(&p) && Prefix::ANY.covers(&p));
            assert_eq!(p.covers(&Prefix::ANY), p.is_default());
        });
    }
}
