//! Tables, updates and next hops.

use anyhow::{Context, bail};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use warren_bench::{Rng, table};
use warren_fib::{Hops, Ip, Prefix, Route};

/// What the bench wants of an address family besides [`Ip`].
pub trait Family: Ip {
    /// Length of the prefixes that are given to one site.
    const SITE: u8;

    /// A table of the Internet's shape.
    fn generated() -> Vec<Prefix<Self>>;

    /// A gateway with this number.
    fn gateway(number: u16) -> IpAddr;

    /// Any address that could be a destination on the Internet.
    fn anywhere(rng: &mut Rng) -> Self;
}

impl Family for Ipv4Addr {
    const SITE: u8 = 16;

    fn generated() -> Vec<Prefix<Self>> {
        table::ipv4(1_000_000, 1)
    }

    fn gateway(number: u16) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | u32::from(number)))
    }

    fn anywhere(rng: &mut Rng) -> Self {
        Ipv4Addr::from_bits((1 + rng.below(223) as u32) << 24 | (rng.draw() as u32 >> 8))
    }
}

impl Family for Ipv6Addr {
    const SITE: u8 = 32;

    fn generated() -> Vec<Prefix<Self>> {
        table::ipv6(250_000, 1)
    }

    fn gateway(number: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number))
    }

    fn anywhere(rng: &mut Rng) -> Self {
        let random = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
        Ipv6Addr::from_bits(1 << 125 | (random >> 3))
    }
}

/// How next hops are spread over the prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// Each prefix has one of 300 by lot: nothing can be put together.
    Rnd300,
    /// Four of five prefixes have that of their /16 (IPv4) or /32 (IPv6), as on a real router.
    Local,
}

impl Model {
    /// The number of a prefix's next hop, 0 to 299.
    pub fn hop<A: Family>(self, prefix: Prefix<A>) -> u16 {
        let lot = |of: (A, u8)| {
            let mut hasher = DefaultHasher::new(); // keys fixed: the same in every run
            of.hash(&mut hasher);
            hasher.finish()
        };
        let own = lot((prefix.addr(), prefix.len()));
        let site = Prefix::new(prefix.addr(), A::SITE).map_or(own, |site| lot((site.addr(), site.len())));
        (if self == Model::Local && own % 5 != 0 { site >> 8 } else { own >> 8 } % 300) as u16
    }

    /// The prefix's route.
    pub fn route<A: Family>(self, prefix: Prefix<A>) -> Route<A> {
        Route::new(prefix, Hops::one(2, Some(A::gateway(self.hop(prefix)))))
    }
}

/// The prefixes of a file, or generated ones.
pub fn table<A: Family>(path: Option<&Path>) -> anyhow::Result<Vec<Prefix<A>>> {
    let Some(path) = path else { return Ok(A::generated()) };
    let table: Vec<_> = lines(path)?.iter().filter_map(|line| line.parse().ok()).collect();
    if table.is_empty() {
        bail!("{}: holds no prefix of this family, one a line", path.display());
    }
    Ok(table)
}

/// One change: a prefix, and whether it comes or goes.
pub type Update<A> = (bool, Prefix<A>);

/// The updates of a file; without one every hundredth prefix goes, comes again, ten times over.
pub fn updates<A: Family>(path: Option<&Path>, table: &[Prefix<A>]) -> anyhow::Result<Vec<Update<A>>> {
    let Some(path) = path else {
        let some = (0..10).flat_map(|turn| table.iter().skip(turn).step_by(100));
        return Ok(some.flat_map(|&prefix| [(false, prefix), (true, prefix)]).collect());
    };
    let update = |line: &String| {
        let (sign, rest) = line.split_at_checked(1)?;
        Some((sign == "+", rest.parse().ok()?))
    };
    let updates: Vec<_> = lines(path)?.iter().filter_map(update).collect();
    if updates.is_empty() {
        bail!("{}: holds no update of this family, +PREFIX or -PREFIX a line", path.display());
    }
    Ok(updates)
}

fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Bytes of memory that the process has in use; 0 where the system does not say.
pub fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
