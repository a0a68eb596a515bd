//! Links, their addresses, and who is on them. Invariant: at least two links work. Called by `scenario`.

use super::{Lot, prefix, set};
use crate::scenario::{Address, Link, Neighbour, Scenario};
use ipnet::{IpNet, Ipv6Net};
use std::net::Ipv6Addr;

/// MTUs of links.
const MTUS: [u32; 8] = [1280, 1281, 1300, 1400, 1500, 1500, 1500, 9000];
/// Kinds of addresses that a link may have besides its usual one.
const EXTRAS: [usize; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
/// Documentation prefix.
const DOC: u128 = 0x2001_0db8 << 96;

/// Draws all three.
pub fn draw(lot: &mut Lot, s: &mut Scenario, slow: bool) {
    let count = 2 + lot.below(3);
    for n in 0..count {
        let (name, index, mtu) = (format!("p{n}"), Some(2 + n as u32), Some(lot.one(&MTUS)));
        s.link.push(Link { name, index, mtu, ..Link::default() });
    }
    let fate = lot.below(6);
    if let Some(last) = s.link.last_mut().filter(|_| count > 2) {
        last.up = (fate == 0).then_some(false);
        last.carrier = (fate == 1).then_some(false);
        if fate == 2 && lot.chance(30) {
            last.mtu = Some(lot.one(&[68, 600, 1279]));
        }
    }
    for n in 0..count {
        addresses(lot, s, n, count);
    }
    for n in 0..count {
        neighbours(lot, s, n, slow);
    }
    if lot.chance(30) {
        set(s, "net.ipv6.conf.all.proxy_ndp", 1);
        proxies(lot, s);
    }
}

/// An address of link `n`; hextets 3 and on are `third` and `rest`.
fn doc(third: usize, rest: u64) -> u128 {
    DOC | (third as u128) << 80 | u128::from(rest)
}

fn addresses(lot: &mut Lot, s: &mut Scenario, n: usize, count: usize) {
    let Some(dev) = s.link.get(n).map(|l| l.name.clone()) else { return };
    // Too small a link has no IPv6, nor its sysctls.
    if s.link.get(n).is_some_and(|l| l.mtu.is_some_and(|mtu| mtu < 1280)) {
        return;
    }
    // Whether IPv6 is off on the last link.
    if n > 1 && lot.chance(5) {
        set(s, format!("net.ipv6.conf.{dev}.disable_ipv6"), 1);
        return;
    }
    let mut add = |lot: &mut Lot, bits: u128, len: u8| {
        let mut flags = Vec::new();
        if lot.chance(15) {
            flags.push("deprecated".to_owned());
        }
        if lot.chance(8) {
            flags.push("noprefixroute".to_owned());
        }
        let Ok(net) = Ipv6Net::new(Ipv6Addr::from_bits(bits), len) else { return };
        if s.address.iter().all(|a| a.dev != dev || a.prefix.addr() != net.addr()) {
            s.address.push(Address { dev: dev.clone(), prefix: IpNet::V6(net), flags, scope: None });
        }
    };
    let main = lot.chance(92);
    if main {
        add(lot, doc(n + 1, 0xfe), 64);
    }
    for _ in 0..lot.below(4) {
        let id = n as u128 + 1;
        match lot.one(&EXTRAS) {
            0 => add(lot, doc(0x100 + n, 1), 48),
            1 => add(lot, doc(0x200 + n, 2), 112),
            2 => add(lot, doc(0x210 + n, 1), 126),
            3 => add(lot, doc(0x220 + n, 0), 127),
            4 => add(lot, doc(0x220 + n, 1), 127),
            5 => add(lot, doc(0x230 + n, 5), 128),
            6 => add(lot, 0xfd00 << 112 | id << 64 | 0xfe, 64),
            7 => add(lot, 0x2002_c000_0200 << 80 | id << 64 | 1, 64),
            8 => add(lot, 0xfe80 << 112 | id << 16 | 0xfe, 64),
            9 | 14 => {
                let host = lot.one(&[0xfd, 0x3f]);
                add(lot, doc(n + 1, host), 64);
            }
            10 => add(lot, doc((n + 1) % count + 1, 0xf0 + n as u64), 64),
            // IPv4 addresses inside: compatible and mapped ones.
            11 => add(lot, 10 << 24 | id << 16 | 0xfe, 112),
            12 => add(lot, 0xffff << 32 | 10 << 24 | id << 16 | 0xfe, 112),
            _ => add(lot, 0xfec0 << 112 | id << 64 | 1, 64),
        }
    }
}

fn neighbours(lot: &mut Lot, s: &mut Scenario, n: usize, slow: bool) {
    let Some(dev) = s.link.get(n).map(|l| l.name.clone()) else { return };
    let small = s.link.get(n).is_some_and(|l| l.mtu.is_some_and(|mtu| mtu < 1280));
    if small || s.sysctl.contains_key(&format!("net.ipv6.conf.{dev}.disable_ipv6")) {
        return;
    }
    let ours: Vec<Ipv6Addr> = own(s).map(|(_, net)| net.addr()).collect();
    // Without its route a subnet is not on the link.
    let subnets = s.address.iter().filter(|a| a.dev == dev && a.flags.iter().all(|f| f != "noprefixroute"));
    let subnets: Vec<Ipv6Net> = subnets.filter_map(|a| a.prefix.trunc().to_string().parse().ok()).collect();
    let link_local = prefix(0xfe80 << 112 | (n as u128 + 1) << 16, 112);
    let mut found = Vec::new();
    for subnet in subnets.into_iter().chain([link_local]) {
        for host in 1..=(4 + lot.below(5) as u128) {
            let to = Ipv6Addr::from_bits(subnet.addr().to_bits() | host);
            if subnet.contains(&to) && !ours.contains(&to) && !found.contains(&to) {
                found.push(to);
            }
        }
    }
    for (to, place) in found.into_iter().zip(1..=u8::MAX) {
        let state =
            lot.one(&["permanent", "permanent", "permanent", "permanent", "noarp", "stale", "reachable"]);
        // One that is being verified fails if that goes fast.
        let verified = if slow { None } else { lot.maybe(4, &["delay", "probe"]) };
        s.neighbour.push(neighbour(&dev, to, Some([2, 0, 0, 9, n as u8, place]), verified.unwrap_or(state)));
    }
    if lot.chance(50) {
        // A gateway that did not answer.
        let to = Ipv6Addr::from_bits(link_local.addr().to_bits() | 0xbad);
        s.neighbour.push(neighbour(&dev, to, None, "failed"));
    }
}

/// A neighbour on a link.
pub fn neighbour(dev: &str, to: Ipv6Addr, mac: Option<[u8; 6]>, state: &str) -> Neighbour {
    let lladdr = mac.map(crate::wire::eth::fmt_mac);
    Neighbour { dev: dev.to_owned(), to: to.into(), lladdr, state: Some(state.to_owned()), proxy: None }
}

/// The addresses that the scenario names, with their links.
pub fn own(s: &Scenario) -> impl Iterator<Item = (&str, Ipv6Net)> {
    s.address.iter().filter_map(|a| match a.prefix {
        IpNet::V6(net) => Some((a.dev.as_str(), net)),
        IpNet::V4(_) => None,
    })
}

/// Addresses that the router answers for, on links where IPv6 is on.
fn proxies(lot: &mut Lot, s: &mut Scenario) {
    let devs: Vec<String> = s.neighbour.iter().map(|n| n.dev.clone()).collect();
    for place in 1..=3 {
        let Some(dev) = lot.pick(&devs) else { return };
        let to = Ipv6Addr::from_bits(match lot.below(3) {
            0 => 0xfe80 << 112 | 0x9999 << 16 | place,
            _ => doc(1 + lot.below(4), 0x9_0000) | place,
        });
        if s.neighbour.iter().all(|n| n.to != to || n.dev != dev) {
            s.neighbour.push(Neighbour { dev, to: to.into(), lladdr: None, state: None, proxy: Some(true) });
        }
    }
}
