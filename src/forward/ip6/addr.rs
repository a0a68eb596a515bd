//! Which of our addresses speaks: source selection in the kernel's order of rules, and "is it ours".
//! RFC 6724 5; Linux: ipv6_dev_get_saddr, ipv6_get_saddr_eval.

use super::super::ctx::Env;
use crate::iface::{Addr6, Iface, LinkKind};
use crate::wire::ip6;
use std::net::Ipv6Addr;
use warren_fib::{Path, RouteType, TABLE_LOCAL};

/// The kernel's own label table: prefix, length, label (net/ipv6/addrlabel.c), the longest match wins.
const LABELS: [(Ipv6Addr, u8, u8); 10] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 6),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28, 7),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 12),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 5),
    (Ipv6Addr::UNSPECIFIED, 0, 1),
];

fn common_bits(a: Ipv6Addr, b: Ipv6Addr) -> u8 {
    (a.to_bits() ^ b.to_bits()).leading_zeros() as u8
}

fn label(addr: Ipv6Addr) -> u8 {
    let hits = LABELS.iter().filter(|(prefix, len, _)| common_bits(addr, *prefix) >= *len);
    hits.max_by_key(|(_, len, _)| *len).map_or(1, |&(_, _, label)| label)
}

/// What one candidate scores, rule by rule; tuples compare in the kernel's order.
type Score = (bool, Scope, bool, bool, bool, bool, bool, u8, bool);

/// Rule 2: the smallest scope that reaches; too small ones after all others, the largest of them first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    TooSmall(u8),
    Reaches(std::cmp::Reverse<u8>),
}

fn score(env: Env<'_>, of: &Iface, a: &Addr6, dst: Ipv6Addr, out: Option<&Iface>) -> Score {
    let (scope, wanted) = (ip6::scope(a.addr), ip6::scope(dst));
    let reach =
        if scope >= wanted { Scope::Reaches(std::cmp::Reverse(scope)) } else { Scope::TooSmall(scope) };
    let orchid = |x: Ipv6Addr| common_bits(x, Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0)) >= 28;
    let prefers_temporary = of.conf6.use_tempaddr >= 2;
    let prefix = common_bits(a.addr, dst).min(a.prefix_len);
    let all = &env.state.sysctl.all6;
    let avoid_optimistic = a.optimistic && all.use_optimistic == 0 && of.conf6.use_optimistic == 0;
    (
        a.addr == dst,
        reach,
        !(a.deprecated || avoid_optimistic),
        out.is_none_or(|o| o.index == of.index),
        label(a.addr) == label(dst),
        a.temporary == prefers_temporary,
        orchid(a.addr) == orchid(dst),
        prefix,
        !a.optimistic,
    )
}

/// The best of our addresses to speak to `dst`, as if leaving by `out`. The first found wins ties.
/// Candidates are all devices' addresses; for link-local and multicast destinations only those of `out`.
pub fn select(env: Env<'_>, dst: Ipv6Addr, out: Option<&Iface>) -> Option<Ipv6Addr> {
    let narrow = ip6::is_link_local(dst) || ip6::multicast_scope(dst).is_some_and(|s| s <= 2);
    let only = out.filter(|o| narrow || o.conf6.use_oif_addrs_only != 0);
    let mut best: Option<(Score, Ipv6Addr)> = None;
    for of in env.state.ifaces.iter().filter(|i| i.up && only.is_none_or(|o| o.index == i.index)) {
        let master = of.kind == LinkKind::Loopback;
        for a in of
            .addrs6
            .iter()
            .filter(|a| !a.tentative && !(master && a.addr.is_loopback() && !dst.is_loopback()))
        {
            let score = score(env, of, a, dst, out);
            if best.as_ref().is_none_or(|(b, _)| score > *b) {
                best = Some((score, a.addr));
            }
        }
    }
    best.map(|(_, addr)| addr)
}

/// Whether `addr` is one of our unicast addresses; a link-local one, or that of the host, only on `dev`. Linux: ipv6_chk_addr.
pub fn is_ours(env: Env<'_>, addr: Ipv6Addr, dev: &Iface) -> bool {
    let on = |i: &Iface| i.addrs6.iter().any(|a| a.addr == addr && !a.tentative);
    let scoped = ip6::is_link_local(addr) || addr.is_loopback();
    if scoped { on(dev) } else { env.state.ifaces.iter().any(on) }
}

/// Whether `addr` is an anycast address of ours, as those of all routers of a subnet are (RFC 4291 2.6.1); a link-local one
/// only on `dev`. Linux: ipv6_chk_acast_addr_src.
pub fn is_anycast(env: Env<'_>, addr: Ipv6Addr, dev: &Iface) -> bool {
    let Some((128, set)) = env.view.table::<Ipv6Addr>(TABLE_LOCAL).and_then(|t| t.lookup(addr).next()) else {
        return false;
    };
    let here = |path: &Path<Ipv6Addr>| {
        let group = path.group.and_then(|id| env.view.group(id));
        !ip6::is_link_local(addr) || group.is_some_and(|g| g.members.iter().any(|m| m.oif == dev.index))
    };
    set.paths.iter().any(|path| path.kind == RouteType::Anycast && here(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_kernels() {
        for (addr, expect) in [
            ("::1", 0),
            ("2001:db8::1", 1),
            ("2002::1", 2),
            ("::5", 3),
            ("::ffff:1.2.3.4", 4),
            ("fd00::1", 5),
            ("2001::1", 6),
            ("2001:10::1", 7),
            ("fec0::1", 11),
            ("3ffe::1", 12),
        ] {
            assert_eq!(label(addr.parse().unwrap()), expect, "{addr}");
        }
    }

    #[test]
    fn scope_prefers_the_smallest_that_reaches() {
        use std::cmp::Reverse;
        assert!(Scope::Reaches(Reverse(5)) > Scope::Reaches(Reverse(14)));
        assert!(Scope::Reaches(Reverse(14)) > Scope::TooSmall(5));
        assert!(Scope::TooSmall(5) > Scope::TooSmall(2));
    }
}
