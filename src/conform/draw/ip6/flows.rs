//! A router with several next hops for everything, and nothing but flows through it: what chooses among next hops.
//!
//! Invariant: a flow's source and destination are drawn anew for each frame, and both have several next hops, so that the
//! errors about it choose, too. Called by `draw::flows`.

use super::super::several::{self, Several};
use super::frames::Maker;
use super::net::neighbour;
use super::{Lot, prefix, set, sysctls};
use crate::conform::Frame;
use crate::scenario::{Address, Hop, Link, Rule, Scenario, Value};
use crate::wire::eth::{ETHERTYPE_IPV6, EthHdr};
use ipnet::{IpNet, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};
use zerocopy::IntoBytes;

/// Where flows go, and where they come from.
const TO: u128 = 0x2400_cb00 << 96;
const FROM: u128 = 0x2600_1f00 << 96;
const LINKS: usize = 4;
/// Gateways of each link.
const GATEWAYS: u16 = 4;

/// A router with this `fib_multipath_hash_policy`.
pub fn scenario(lot: &mut Lot, policy: u8, several: Several) -> Scenario {
    let mut s = Scenario::default();
    for n in 0..LINKS {
        let name = format!("p{n}");
        let own = Ipv6Addr::from_bits(0x2001_0db8 << 96 | (n as u128 + 1) << 80 | 0xfe);
        let prefix = Ipv6Net::new(own, 64).unwrap_or_default();
        s.address.push(Address { dev: name.clone(), prefix: IpNet::V6(prefix), flags: vec![], scope: None });
        for host in 1..=GATEWAYS {
            let mac = [2, 0, 0, 9, n as u8, host as u8];
            s.neighbour.push(neighbour(&name, gateway(n, host), Some(mac), "permanent"));
        }
        s.link.push(Link { name, index: Some(2 + n as u32), ..Link::default() });
    }
    sysctls::fixed(lot, &mut s);
    set(&mut s, "net.ipv6.fib_multipath_hash_policy", policy.into());
    if policy == 3 {
        let all = 1 + lot.below(0xfff) as i64;
        let fields = lot.one(&[7, 0x37, 0x1c0, 0xfff, all, all, all]);
        set(&mut s, "net.ipv6.fib_multipath_hash_fields", fields);
    }
    let loses = several == Several::Legs && lot.chance(30);
    if let Some(last) = s.link.last_mut().filter(|_| loses) {
        last.carrier = Some(false);
        if lot.chance(70) {
            set(&mut s, "net.ipv6.conf.p3.ignore_routes_with_linkdown", 1);
        }
    }
    // One that changes no route, but has every packet looked into before the lookup.
    if lot.chance(25) {
        let (ipproto, table) = (Some(Value::Number(58)), Some(254));
        s.rule.push(Rule { pref: 100, family: Some(6), ipproto, table, ..Rule::default() });
    }
    for (first, bits) in [(100, TO), (200, FROM)] {
        let hops = hops(lot);
        several::route(lot, &mut s, first, prefix(bits, 32).to_string(), (hops, several));
    }
    s
}

fn gateway(link: usize, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, link as u16 + 1, host)
}

fn hops(lot: &mut Lot) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    while hops.len() < 2 + lot.below(5) {
        // Not all of them are on the last link, which may be lost.
        let link = lot.below(LINKS - usize::from(hops.is_empty()));
        let via = Some(IpAddr::V6(gateway(link, 1 + lot.below(GATEWAYS.into()) as u16)));
        let weight = Some(lot.one(&[1, 1, 1, 2, 3, 7, 100, 255]));
        if hops.iter().all(|hop| hop.via != via) {
            hops.push(Hop { via, dev: Some(format!("p{link}")), weight, ..Hop::default() });
        }
    }
    hops
}

/// `count` packets of all kinds, each of a flow of its own.
pub fn frames(s: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, s);
    let mut flow = || {
        let way = maker.lot.pick(&maker.site.ways)?;
        let [src, dst] = [FROM, TO].map(|net| Ipv6Addr::from_bits(net | maker.lot.bits() >> 32));
        let mut bytes = EthHdr::new(way.mac, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV6).as_bytes().to_vec();
        bytes.extend(maker.packet(&way, src, dst).0);
        Some(Frame { link: way.link, time: 0, bytes })
    };
    (0..count).filter_map(|_| flow()).collect()
}
