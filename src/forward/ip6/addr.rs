//! Which of our addresses speaks: source selection in the kernel's order of rules, and "is it ours".
//! RFC 6724 5; Linux: ipv6_dev_get_saddr, ipv6_get_saddr_eval.

use super::super::ctx::Env;
use super::super::observe::Observer;
use crate::iface::{Addr6, Iface, LinkKind};
use crate::wire::ip6;
use std::net::Ipv6Addr;
use warren_fib::{Path, RouteType, TABLE_LOCAL};

/// ::ffff:0:0/96, of IPv4-mapped addresses (RFC 4291 2.5.5.2).
const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);

/// The kernel's own label table: prefix, length, label (net/ipv6/addrlabel.c), the longest match wins.
const LABELS: [(Ipv6Addr, u8, u8); 10] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (MAPPED, 96, 4),
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

/// Addresses with an IPv4 address inside, and the host's own, which rule 3 never avoids. Linux: ipv6_saddr_preferred.
fn always_preferred(addr: Ipv6Addr) -> bool {
    [Ipv6Addr::UNSPECIFIED, MAPPED].into_iter().any(|prefix| common_bits(addr, prefix) >= 96)
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
    let avoided = !always_preferred(a.addr) && (a.deprecated || avoid_optimistic);
    (
        a.addr == dst,
        reach,
        !avoided,
        out.is_none_or(|o| o.index == of.index),
        label(a.addr) == label(dst),
        a.temporary == prefers_temporary,
        orchid(a.addr) == orchid(dst),
        prefix,
        !a.optimistic,
    )
}

/// The best of our addresses to speak to `dst`, as if leaving by `out`. The first found wins ties.
/// Candidates are all devices' addresses, also those that a device kept when it was set down; for link-local destinations,
/// and groups that reach no further than the link, only those of `out`.
pub fn select(env: Env<'_>, dst: Ipv6Addr, out: Option<&Iface>) -> Option<Ipv6Addr> {
    let mut best: Option<(Score, Ipv6Addr)> = None;
    for (of, a) in candidates(env, dst, out) {
        let score = score(env, of, a, dst, out);
        if best.as_ref().is_none_or(|(b, _)| score > *b) {
            best = Some((score, a.addr));
        }
    }
    best.map(|(_, addr)| addr)
}

fn candidates<'a>(
    env: Env<'a>,
    dst: Ipv6Addr,
    out: Option<&Iface>,
) -> impl Iterator<Item = (&'a Iface, &'a Addr6)> {
    let narrow = ip6::is_link_local(dst) || ip6::multicast_scope(dst).is_some_and(|s| s <= 2);
    let only = out.filter(|o| narrow || o.conf6.use_oif_addrs_only != 0).map(|o| o.index);
    // Addresses that keep_addr_on_down left on a link that is down speak, too.
    let links = env.state.ifaces.iter().filter(move |i| only.is_none_or(|o| o == i.index));
    links.flat_map(move |of| {
        let master = of.kind == LinkKind::Loopback;
        let fits = move |a: &&Addr6| !a.tentative && !(master && a.addr.is_loopback() && !dst.is_loopback());
        of.addrs6.iter().filter(fits).map(move |a| (of, a))
    })
}

/// Names the rule by which [`select`] prefers its choice to the second best.
pub fn name_choice<O: Observer>(observer: &mut O, env: Env<'_>, dst: Ipv6Addr, out: Option<&Iface>) {
    let mut scores: Vec<Score> =
        candidates(env, dst, out).map(|(of, a)| score(env, of, a, dst, out)).collect();
    scores.sort_unstable_by(|a, b| b.cmp(a));
    let [best, second, ..] = &scores[..] else { return observer.rule("source choice: the only address") };
    observer.rule(match () {
        () if best.0 != second.0 => "source choice: the same address",
        () if best.1 != second.1 => "source choice: scope",
        () if best.2 != second.2 => "source choice: not deprecated",
        () if best.3 != second.3 => "source choice: interface",
        () if best.4 != second.4 => "source choice: label",
        () if best.5 != second.5 => "source choice: temporary or not",
        () if best.6 != second.6 => "source choice: ORCHID or not",
        () if best.7 != second.7 => "source choice: longest prefix",
        () if best.8 != second.8 => "source choice: not optimistic",
        () => "source choice: the first of equals",
    });
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

/// Whether an address is the first of its prefix, which is that of the prefix's routers where it has more than two.
/// RFC 4291 2.6.1, RFC 6164; Linux: ipv6_anycast_destination.
pub fn is_first(addr: Ipv6Addr, prefix_len: u8) -> bool {
    prefix_len < 127 && addr.to_bits() << prefix_len == 0
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::{Bench, P0, P1};
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

    /// Which of two addresses of p0 (or of p1, where the second is to be there) speaks to `dst` through p0.
    #[track_caller]
    fn prefers(
        dst: &str,
        best: Addr6,
        other: Addr6,
        other_on: u32,
        change: impl FnOnce(&mut Bench),
        rule: &str,
    ) {
        let mut bench = Bench::new();
        for index in [P0, P1] {
            bench.writer.update_iface(index, |i| i.addrs6.clear());
        }
        // The better one comes last, so that order is no help.
        bench.writer.update_iface(other_on, |i| i.addrs6.push(other));
        bench.writer.update_iface(P0, |i| i.addrs6.push(best));
        change(&mut bench);
        bench.writer.publish();
        let dst = dst.parse().unwrap();
        bench.with(|env| {
            let out = env.state.ifaces.get(P0);
            assert_eq!(select(env, dst, out), Some(best.addr), "{rule}");
            let mut names = Names::default();
            name_choice(&mut names, env, dst, out);
            assert_eq!(names.0, [format!("source choice: {rule}")]);
        });
    }

    #[derive(Default)]
    struct Names(Vec<String>);

    impl Observer for Names {
        fn rule(&mut self, name: &'static str) {
            self.0.push(name.to_owned());
        }
    }

    fn address(addr: &str) -> Addr6 {
        Addr6 {
            addr: addr.parse().unwrap(),
            prefix_len: 64,
            tentative: false,
            optimistic: false,
            deprecated: false,
            temporary: false,
            no_prefix_route: false,
        }
    }

    #[test]
    fn each_rule_decides_in_its_turn() {
        let near = || address("2001:db8:5::1");
        let far = || address("2001:db8:6::1");
        let peer = "2001:db8:5::9";
        let none = |_: &mut Bench| {};
        let old = || Addr6 { deprecated: true, ..near() };
        let early = || Addr6 { optimistic: true, ..near() };
        let temporary = |a: Addr6| Addr6 { temporary: true, ..a };
        prefers("2001:db8:5::1", old(), far(), P0, none, "the same address");
        prefers(peer, Addr6 { deprecated: true, ..far() }, address("fe80::1"), P0, none, "scope");
        prefers("fe80::9", address("fe80::1"), near(), P0, none, "scope");
        prefers(peer, far(), old(), P0, none, "not deprecated");
        prefers(peer, far(), early(), P0, none, "not deprecated");
        for embedding in ["::1.2.3.4", "::ffff:1.2.3.4"] {
            let embedding = Addr6 { deprecated: true, ..address(embedding) };
            prefers(peer, embedding, old(), P0, none, "not deprecated");
        }
        prefers(peer, address("fd00::1"), near(), P1, none, "interface");
        prefers(peer, temporary(far()), address("fd00::1"), P0, none, "label");
        prefers(peer, far(), temporary(near()), P0, none, "temporary or not");
        let wanted = |bench: &mut Bench| {
            bench.writer.update_iface(P0, |i| i.conf6.use_tempaddr = 2);
        };
        prefers(peer, temporary(far()), near(), P0, wanted, "temporary or not");
        prefers(peer, near(), far(), P0, none, "longest prefix");
        let short = || Addr6 { prefix_len: 16, ..near() };
        let allowed = |bench: &mut Bench| bench.writer.draft_mut().sysctl.all6.use_optimistic = 1;
        prefers(
            peer,
            Addr6 { prefix_len: 16, ..far() },
            Addr6 { optimistic: true, ..short() },
            P0,
            allowed,
            "not optimistic",
        );
    }

    #[test]
    fn the_first_of_equals_speaks_and_one_alone_has_no_choice() {
        let mut bench = Bench::new();
        bench
            .writer
            .update_iface(P0, |i| i.addrs6 = vec![address("2001:db8:5::1"), address("2001:db8:5::2")]);
        bench.writer.publish();
        let dst = "2001:db8:7::9".parse().unwrap();
        let chosen = |env: Env<'_>| select(env, dst, env.state.ifaces.get(P0));
        assert_eq!(bench.with(chosen), "2001:db8:5::1".parse().ok());
        bench.writer.update_iface(P0, |i| i.addrs6.iter_mut().for_each(|a| a.tentative = true));
        bench.writer.update_iface(P0, |i| i.conf6.use_oif_addrs_only = 1);
        bench.writer.publish();
        assert_eq!(bench.with(chosen), None, "tentative ones do not speak");
    }

    #[test]
    fn scope_prefers_the_smallest_that_reaches() {
        use std::cmp::Reverse;
        assert!(Scope::Reaches(Reverse(5)) > Scope::Reaches(Reverse(14)));
        assert!(Scope::Reaches(Reverse(14)) > Scope::TooSmall(5));
        assert!(Scope::TooSmall(5) > Scope::TooSmall(2));
    }
}
