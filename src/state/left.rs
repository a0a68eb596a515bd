//! Destinations that stay with the kernel: `forward::claim` asks it per frame, the guard is filled from it.
//!
//! Sorted, disjoint intervals; multicast and the limited broadcast are always inside.

use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::Prefix;

/// The two interval sets with the prefixes they were made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// The prefixes as given plus the fixed ones, sorted, each once: what the guard's maps hold.
    pub prefixes4: Vec<Prefix<Ipv4Addr>>,
    /// The same for IPv6.
    pub prefixes6: Vec<Prefix<Ipv6Addr>>,
}

/// Multicast, the limited broadcast, and 0.0.0.0, which the kernel takes as a broadcast from 0.0.0.0.
fn always4() -> [Prefix<Ipv4Addr>; 3] {
    [
        prefix(Ipv4Addr::new(224, 0, 0, 0), 4),
        prefix(Ipv4Addr::BROADCAST, 32),
        prefix(Ipv4Addr::UNSPECIFIED, 32),
    ]
}

fn prefix<A: warren_fib::Ip>(addr: A, len: u8) -> Prefix<A> {
    Prefix::new(addr, len).unwrap_or(Prefix::ANY)
}

fn merged<T: Copy + Ord>(mut all: Vec<(T, T)>, follows: impl Fn(T, T) -> bool) -> Vec<(T, T)> {
    all.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(all.len());
    for (start, end) in all {
        match out.last_mut() {
            Some(last) if start <= last.1 || follows(last.1, start) => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out
}

fn inside<T: Copy + Ord>(set: &[(T, T)], x: T) -> bool {
    let at = set.partition_point(|&(start, _)| start <= x);
    at.checked_sub(1).and_then(|i| set.get(i)).is_some_and(|&(_, end)| x <= end)
}

impl Left {
    /// The set of these prefixes, to which the fixed ones are added. O(n log n).
    pub fn new(
        v4: impl IntoIterator<Item = Prefix<Ipv4Addr>>,
        v6: impl IntoIterator<Item = Prefix<Ipv6Addr>>,
    ) -> Left {
        let mut prefixes4: Vec<_> = v4.into_iter().chain(always4()).collect();
        let multicast6 = prefix(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);
        let mut prefixes6: Vec<_> = v6.into_iter().chain([multicast6]).collect();
        prefixes4.sort_unstable();
        prefixes4.dedup();
        prefixes6.sort_unstable();
        prefixes6.dedup();
        let ends4 = prefixes4.iter().map(|p| {
            let first = p.addr().to_bits();
            (first, first | u32::MAX.checked_shr(p.len().into()).unwrap_or(0))
        });
        let ends6 = prefixes6.iter().map(|p| {
            let first = p.addr().to_bits();
            (first, first | u128::MAX.checked_shr(p.len().into()).unwrap_or(0))
        });
        Left {
            v4: merged(ends4.collect(), |end, start| end.checked_add(1) == Some(start)),
            v6: merged(ends6.collect(), |end, start| end.checked_add(1) == Some(start)),
            prefixes4,
            prefixes6,
        }
    }

    /// Whether the kernel keeps packets to this address. O(log n).
    pub fn contains4(&self, addr: Ipv4Addr) -> bool {
        inside(&self.v4, addr.to_bits())
    }

    /// Whether the kernel keeps packets to this address. O(log n).
    pub fn contains6(&self, addr: Ipv6Addr) -> bool {
        inside(&self.v6, addr.to_bits())
    }
}

impl Default for Left {
    fn default() -> Self {
        Left::new([], [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_and_given_prefixes() {
        let left = Left::new(
            ["10.0.0.1/32".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
            ["::1/128".parse().unwrap()],
        );
        for (addr, expect) in
            [("10.0.0.1", true), ("10.0.0.2", false), ("127.255.255.255", true), ("128.0.0.0", false)]
        {
            assert_eq!(left.contains4(addr.parse().unwrap()), expect, "{addr}");
        }
        for (addr, expect) in
            [("224.0.0.1", true), ("239.255.255.255", true), ("240.0.0.0", false), ("0.0.0.0", true)]
        {
            assert_eq!(left.contains4(addr.parse().unwrap()), expect, "{addr}");
        }
        for (addr, expect) in [("::1", true), ("::", false), ("ff02::1", true), ("fe80::1", false)] {
            assert_eq!(left.contains6(addr.parse().unwrap()), expect, "{addr}");
        }
    }

    #[test]
    fn agrees_with_a_scan_of_the_prefixes() {
        bolero::check!().with_type::<(Vec<(u8, u8)>, Vec<u8>)>().for_each(|(prefixes, probes)| {
            let list: Vec<_> =
                prefixes.iter().map(|&(a, l)| prefix(Ipv4Addr::new(10, 0, 0, a), 24 + l % 9)).collect();
            let left = Left::new(list.clone(), []);
            for &p in probes {
                let addr = Ipv4Addr::new(10, 0, 0, p);
                assert_eq!(left.contains4(addr), list.iter().any(|x| x.contains(addr)), "{addr} in {list:?}");
            }
        });
    }
}
