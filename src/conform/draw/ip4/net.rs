//! Links, their addresses, and who is on them. Invariant: at least two links work. Called by `scenario`.

use super::Lot;
use crate::scenario::{Address, Link, Neighbour, Scenario};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// MTUs of links. Below 1280 there is no IPv6, and below 576 errors quote less.
const MTUS: [u32; 12] = [1500, 1500, 1500, 1500, 1280, 1400, 1499, 9000, 600, 577, 576, 300];
/// Kinds of addresses that a link may have besides its usual one.
const EXTRAS: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/// Hosts that a link's subnet may have.
const HOSTS: u32 = 40;

/// Draws all three.
pub fn draw(lot: &mut Lot, s: &mut Scenario, slow: bool) {
    let count = 2 + lot.below(3);
    for n in 0..count {
        let (name, index, mtu) = (format!("p{n}"), Some(2 + n as u32), Some(lot.one(&MTUS)));
        s.link.push(Link { name, index, mtu, ..Link::default() });
    }
    let fate = lot.below(5);
    if let Some(last) = s.link.last_mut().filter(|_| count > 2) {
        last.up = (fate == 0).then_some(false);
        last.carrier = (fate == 1).then_some(false);
    }
    for n in 0..count {
        addresses(lot, s, n, count);
    }
    if lot.chance(30) {
        let len = lot.one(&[32, 32, 30]);
        add(lot, s, "lo", [10, 210, 0, 1].into(), len, None);
    }
    for n in 0..count {
        neighbours(lot, s, n, slow);
    }
    if lot.chance(20) {
        proxies(lot, s);
    }
}

/// Gives a link an address, unless it has it or one of its subnet in another scope.
fn add(lot: &mut Lot, s: &mut Scenario, dev: &str, addr: Ipv4Addr, len: u8, scope: Option<&str>) {
    let Ok(net) = Ipv4Net::new(addr, len) else { return };
    let flags = if lot.chance(8) { vec!["noprefixroute".to_owned()] } else { Vec::new() };
    let here = |a: &&Address| a.dev == dev;
    let refused = |a: &Address| {
        let IpNet::V4(old) = a.prefix else { return false };
        old.addr() == addr || old.trunc() == net.trunc() && a.scope.as_deref() != scope
    };
    if !s.address.iter().filter(here).any(refused) {
        let scope = scope.map(str::to_owned);
        s.address.push(Address { dev: dev.to_owned(), prefix: IpNet::V4(net), flags, scope });
    }
}

fn addresses(lot: &mut Lot, s: &mut Scenario, n: usize, count: usize) {
    let Some(dev) = s.link.get(n).map(|l| l.name.clone()) else { return };
    let id = n as u8 + 1;
    if n > 1 && lot.chance(15) {
        return; // A link without any.
    }
    if lot.chance(if n < 2 { 97 } else { 80 }) {
        add(lot, s, &dev, [10, 0, id, 254].into(), 24, None);
    }
    for _ in 0..lot.below(4) {
        let (address, len, scope): ([u8; 4], u8, _) = match lot.one(&EXTRAS) {
            0 => ([10, 0, id, 253], 24, None),
            1 => ([10, 200, id, 5], 32, None),
            2 => ([10, 201, id, lot.below(2) as u8], 31, None),
            3 => ([10, 202, id, 1], 30, None),
            4 => ([172, 20 + id, 0, 1], 16, None),
            5 => ([40 + id, 0, 0, 1], 8, None),
            6 => ([10, 0, id, 130], 25, None),
            7 => ([10, 0, (n as u8 + 1) % count as u8 + 1, 0xf0 + id], 24, None),
            8 => ([10, 203, id, 1], 24, Some("host")),
            9 => ([169, 254, id, 1], 16, Some("link")),
            10 => ([127, id, 2, 3], 8, Some("host")),
            _ => ([10, 204, id, 1], 24, Some("link")),
        };
        add(lot, s, &dev, address.into(), len, scope);
    }
}

fn neighbours(lot: &mut Lot, s: &mut Scenario, n: usize, slow: bool) {
    let Some((dev, mtu)) = s.link.get(n).map(|l| (l.name.clone(), l.mtu)) else { return };
    let ours: Vec<Ipv4Addr> = own(s).map(|(_, net)| net.addr()).collect();
    // Without its route a subnet is not on the link.
    let bare = s.address.iter().filter(|a| a.dev == dev && !a.flags.is_empty());
    let bare: Vec<IpNet> = bare.map(|a| a.prefix.trunc()).collect();
    let subnets = own(s).filter(|(on, net)| *on == dev && !bare.contains(&IpNet::V4(net.trunc())));
    let subnets = subnets.map(|(_, net)| net);
    let subnets: Vec<Ipv4Net> =
        subnets.filter(|net| net.prefix_len() < 32 && !net.addr().is_loopback()).collect();
    let mut found: Vec<IpAddr> = Vec::new();
    for (subnet, place) in subnets.iter().zip(0..) {
        let hosts = if place == 0 { HOSTS } else { 6 };
        let (first, last) = (subnet.network().to_bits(), subnet.broadcast().to_bits());
        // Of a subnet of two each is a host; of others neither the first nor the last, as a rule.
        let least = u32::from(subnet.prefix_len() < 31 && !lot.chance(10));
        for host in least..hosts {
            let to = Ipv4Addr::from_bits(first.saturating_add(host).min(last));
            if (subnet.prefix_len() >= 31 || to.to_bits() != last) && !ours.contains(&to) {
                found.push(to.into());
            }
        }
    }
    if mtu.is_none_or(|mtu| mtu >= 1280) {
        let hosts = 1..=2 + lot.below(2) as u128;
        found.extend(
            hosts.map(|h| Ipv6Addr::from_bits(0xfe80 << 112 | (n as u128 + 1) << 16 | h)).map(IpAddr::V6),
        );
    }
    found.sort_unstable();
    found.dedup();
    for (to, place) in found.into_iter().zip(1..=u8::MAX) {
        let state = lot.one(&["permanent", "permanent", "permanent", "noarp", "stale", "reachable"]);
        s.neighbour.push(neighbour(&dev, to, Some([2, 0, 0, 9, n as u8, place]), state));
    }
    let fails = if slow { 90 } else { 50 };
    if let Some(subnet) = subnets.iter().find(|net| net.prefix_len() <= 24).filter(|_| lot.chance(fails)) {
        // A gateway that did not answer.
        let to = Ipv4Addr::from_bits(subnet.network().to_bits() | 0xbd);
        if !ours.contains(&to) {
            s.neighbour.push(neighbour(&dev, to.into(), None, "failed"));
        }
    }
}

/// A neighbour on a link.
pub fn neighbour(dev: &str, to: IpAddr, mac: Option<[u8; 6]>, state: &str) -> Neighbour {
    let lladdr = mac.map(crate::wire::eth::fmt_mac);
    Neighbour { dev: dev.to_owned(), to, lladdr, state: Some(state.to_owned()), proxy: None }
}

/// The addresses that the scenario names, with their links.
pub fn own(s: &Scenario) -> impl Iterator<Item = (&str, Ipv4Net)> {
    s.address.iter().filter_map(|a| match a.prefix {
        IpNet::V4(net) => Some((a.dev.as_str(), net)),
        IpNet::V6(_) => None,
    })
}

/// Addresses that the router answers ARP for, which says nothing of where it sends their packets.
fn proxies(lot: &mut Lot, s: &mut Scenario) {
    let devs: Vec<String> = s.link.iter().map(|l| l.name.clone()).collect();
    for place in 1..=3 {
        let Some(dev) = lot.pick(&devs) else { return };
        let to = IpAddr::from([10, 0, 1 + lot.below(4) as u8, 200 + place]);
        if s.neighbour.iter().all(|n| n.to != to || n.dev != dev) {
            s.neighbour.push(Neighbour { dev, to, lladdr: None, state: None, proxy: Some(true) });
        }
    }
}
