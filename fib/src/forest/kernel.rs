//! How the ends of a line are compared: with what the processor at hand has. All kernels do the same.

#![cfg_attr(target_arch = "x86_64", allow(unsafe_code))] // vectors are loaded by address, for a processor that is here

use std::net::Ipv6Addr;

use super::Forest;
use crate::granules::Line;
use crate::path::PathSetId;
use crate::publish::Guard;

/// One way to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kernel {
    /// Number by number.
    Portable,
    /// Eight numbers at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// A line at once.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// Those that this processor has, the best last.
    pub(super) fn all() -> Vec<Kernel> {
        #[allow(unused_mut)]
        let mut all = vec![Kernel::Portable];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("popcnt") && std::arch::is_x86_feature_detected!("bmi2") {
            if std::arch::is_x86_feature_detected!("avx2") {
                all.push(Kernel::Avx2);
            }
            if std::arch::is_x86_feature_detected!("avx512f") {
                all.push(Kernel::Avx512);
            }
        }
        all
    }

    pub(super) fn best() -> Kernel {
        Kernel::all().last().copied().unwrap_or(Kernel::Portable)
    }

    pub(super) fn one(self, forest: &Forest, guard: &Guard<'_>, addr: Ipv6Addr) -> Option<PathSetId> {
        match self {
            Kernel::Portable => forest.one(guard, addr, portable),
            // SAFETY: `all` names only kernels that the processor has.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::one_avx2(forest, guard, addr) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::one_avx512(forest, guard, addr) },
        }
    }

    pub(super) fn many(
        self,
        forest: &Forest,
        guard: &Guard<'_>,
        addrs: &[Ipv6Addr],
        found: &mut [Option<PathSetId>],
    ) {
        match self {
            Kernel::Portable => forest.many(guard, addrs, found, portable),
            // SAFETY: `all` names only kernels that the processor has.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::many_avx2(forest, guard, addrs, found) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::many_avx512(forest, guard, addrs, found) },
        }
    }
}

/// How many of the first `ends` numbers of a line are smaller.
#[inline(always)]
fn portable(line: Line<'_>, number: u32, ends: usize) -> u32 {
    let two = |at: usize| {
        let word = line.word(at);
        u32::from((word as u32) < number) + u32::from(((word >> 32) as u32) < number)
    };
    (0..ends / 2).map(two).sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Forest, Guard, Ipv6Addr, Line, PathSetId};
    use crate::sync::plain::AtomicU64;
    use std::arch::x86_64::{
        _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_max_epu32, _mm256_movemask_ps,
        _mm256_set1_epi32, _mm512_cmplt_epu32_mask, _mm512_loadu_si512, _mm512_set1_epi32,
    };

    #[inline]
    #[target_feature(enable = "avx2,popcnt,bmi2")]
    fn avx2(line: Line<'_>, number: u32, ends: usize) -> u32 {
        let (low, high) = line.words().split_at(4);
        // SAFETY: each half of a line has 32 bytes. They never change while a reader can name it, so this is no race.
        let load = |half: &[AtomicU64]| unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let number = _mm256_set1_epi32(number.cast_signed());
        let not_smaller = |ends| {
            let equal = _mm256_cmpeq_epi32(_mm256_max_epu32(ends, number), ends);
            _mm256_movemask_ps(_mm256_castsi256_ps(equal)).cast_unsigned()
        };
        (!(not_smaller(load(low)) | not_smaller(load(high)) << 8) & ((1 << ends) - 1)).count_ones()
    }

    #[inline]
    #[target_feature(enable = "avx512f,popcnt,bmi2")]
    fn avx512(line: Line<'_>, number: u32, ends: usize) -> u32 {
        // SAFETY: a line has 64 bytes, which never change while a reader can name it.
        let words = unsafe { _mm512_loadu_si512(line.words().as_ptr().cast()) };
        let smaller = _mm512_cmplt_epu32_mask(words, _mm512_set1_epi32(number.cast_signed()));
        (u32::from(smaller) & ((1 << ends) - 1)).count_ones()
    }

    #[target_feature(enable = "avx2,popcnt,bmi2")]
    pub(super) fn one_avx2(forest: &Forest, guard: &Guard<'_>, addr: Ipv6Addr) -> Option<PathSetId> {
        forest.one(guard, addr, |line, number, ends| avx2(line, number, ends))
    }

    #[target_feature(enable = "avx2,popcnt,bmi2")]
    pub(super) fn many_avx2(
        forest: &Forest,
        guard: &Guard<'_>,
        addrs: &[Ipv6Addr],
        found: &mut [Option<PathSetId>],
    ) {
        forest.many(guard, addrs, found, |line, number, ends| avx2(line, number, ends));
    }

    #[target_feature(enable = "avx512f,popcnt,bmi2")]
    pub(super) fn one_avx512(forest: &Forest, guard: &Guard<'_>, addr: Ipv6Addr) -> Option<PathSetId> {
        forest.one(guard, addr, |line, number, ends| avx512(line, number, ends))
    }

    #[target_feature(enable = "avx512f,popcnt,bmi2")]
    pub(super) fn many_avx512(
        forest: &Forest,
        guard: &Guard<'_>,
        addrs: &[Ipv6Addr],
        found: &mut [Option<PathSetId>],
    ) {
        forest.many(guard, addrs, found, |line, number, ends| avx512(line, number, ends));
    }
}
