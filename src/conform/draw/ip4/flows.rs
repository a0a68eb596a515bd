//! A router with several next hops for everything, and nothing but flows through it: what chooses among next hops.
//!
//! Invariants: a flow's source and destination are drawn anew for each frame, and both have several next hops, so that the
//! errors about it, and what the host answers, choose, too; no packet waits for a next hop. Called by `draw::flows`.

use super::super::several::{self, Several};
use super::frames::Maker;
use super::net::neighbour;
use super::{Lot, prefix, set, sysctls};
use crate::conform::Frame;
use crate::scenario::{Address, Hop, Link, Rule, Scenario, Value};
use crate::wire::eth::{ETHERTYPE_IPV4, EthHdr};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::IntoBytes;

/// Where flows go, and where they come from: the first byte of each.
const TO: u32 = 20 << 24;
const FROM: u32 = 60 << 24;
const LINKS: usize = 4;
/// Gateways of each link: of both families, and one that does not answer.
const GATEWAYS: u8 = 4;
const GATEWAYS6: u8 = 2;
const DEAD: u8 = 0xbd;

/// A router with this `fib_multipath_hash_policy`.
pub fn scenario(lot: &mut Lot, policy: u8, several: Several) -> Scenario {
    let mut s = Scenario::default();
    for n in 0..LINKS {
        let name = format!("p{n}");
        let own = Ipv4Net::new(gateway(n, 254), 24).unwrap_or_default();
        s.address.push(Address { dev: name.clone(), prefix: IpNet::V4(own), flags: vec![], scope: None });
        let known = (1..=GATEWAYS).map(|host| IpAddr::V4(gateway(n, host)));
        let known = known.chain((1..=GATEWAYS6).map(|host| IpAddr::V6(gateway6(n, host))));
        for (to, place) in known.zip(1..) {
            s.neighbour.push(neighbour(&name, to, Some([2, 0, 0, 9, n as u8, place]), "permanent"));
        }
        s.neighbour.push(neighbour(&name, gateway(n, DEAD).into(), None, "failed"));
        s.link.push(Link { name, index: Some(2 + n as u32), ..Link::default() });
    }
    sysctls::fixed(lot, &mut s);
    set(&mut s, "net.ipv4.fib_multipath_hash_policy", policy.into());
    if policy == 3 {
        let all = 1 + lot.below(0xfff) as i64;
        let fields = lot.one(&[7, 0x37, 0x1c0, 0xfff, all, all, all]);
        set(&mut s, "net.ipv4.fib_multipath_hash_fields", fields);
    }
    let asks = lot.chance(40);
    if asks {
        set(&mut s, "net.ipv4.fib_multipath_use_neigh", 1);
    }
    if lot.chance(50) {
        set(&mut s, "net.ipv4.conf.all.accept_source_route", 1);
    }
    let loses = several == Several::Legs && lot.chance(30);
    if let Some(last) = s.link.last_mut().filter(|_| loses) {
        last.carrier = Some(false);
        // What leaves there is lost, and seen by nobody.
        set(&mut s, "net.ipv4.conf.p3.ignore_routes_with_linkdown", i64::from(lot.chance(70)));
    }
    // One that changes no route, but has every packet looked into before the lookup.
    if lot.chance(25) {
        let (ipproto, table) = (Some(Value::Number(17)), Some(254));
        s.rule.push(Rule { pref: 100, family: Some(4), ipproto, table, ..Rule::default() });
    }
    // Who does not answer is passed over by groups, and by routes where that is asked for.
    let skips = several == Several::Group || several == Several::Legs && asks;
    for (first, bits) in [(100, TO), (200, FROM)] {
        let hops = hops(lot, skips);
        several::route(lot, &mut s, first, prefix(bits, 8).to_string(), (hops, several));
    }
    s
}

fn gateway(link: usize, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, link as u8 + 1, host)
}

fn gateway6(link: usize, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, link as u16 + 1, host.into())
}

/// Gateways of both families, the same one twice now and then; some that do not answer, if those are passed over.
fn hops(lot: &mut Lot, skips: bool) -> Vec<Hop> {
    let mut hops = Vec::new();
    for n in 0..2 + lot.below(5) {
        // Not all of them are on the last link, which may be lost, and not all are dead.
        let link = lot.below(LINKS - usize::from(n == 0));
        let via = match lot.below(100) {
            0..=14 => IpAddr::V6(gateway6(link, 1 + lot.below(GATEWAYS6.into()) as u8)),
            // The last link forgets who does not answer, if it is lost, and the first packet would ask again.
            15..=34 if skips && n > 0 && link + 1 < LINKS => IpAddr::V4(gateway(link, DEAD)),
            _ => IpAddr::V4(gateway(link, 1 + lot.below(GATEWAYS.into()) as u8)),
        };
        let weight = Some(lot.one(&[1, 1, 1, 2, 3, 7, 100, 255]));
        hops.push(Hop { via: Some(via), dev: Some(format!("p{link}")), weight, ..Hop::default() });
    }
    hops
}

/// `count` packets of all kinds, each of a flow of its own; some are for the router itself.
pub fn frames(s: &Scenario, count: usize, lot: Lot) -> Vec<Frame> {
    let mut maker = Maker::new(lot, s);
    let mut flow = || {
        let way = maker.lot.pick(&maker.site.ways)?;
        let [src, dst] = [FROM, TO].map(|net| Ipv4Addr::from_bits(net | maker.lot.next() as u32 >> 8));
        let dst = if maker.lot.chance(10) { maker.lot.pick(&maker.site.own)? } else { dst };
        let mut bytes = EthHdr::new(way.mac, [2, 0, 0, 0, 8, 8], ETHERTYPE_IPV4).as_bytes().to_vec();
        bytes.extend(maker.packet(&way, src, dst));
        Some(Frame { link: way.link, time: 0, bytes })
    };
    (0..count).filter_map(|_| flow()).collect()
}
