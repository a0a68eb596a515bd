//! ARP: for whom the host answers, what it learns, how it defends an address.

use super::super::testkit::{Lab, PEER, SECOND};
use crate::forward::testkit::{P0, P1, mac};
use crate::wire::eth::{BROADCAST, ETHERTYPE_ARP};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{Neighbour, Nud};

pub fn arp(operation: ArpOperation, from: ([u8; 6], &str), to: ([u8; 6], &str)) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(from.0),
        source_protocol_addr: from.1.parse().unwrap(),
        target_hardware_addr: EthernetAddress(to.0),
        target_protocol_addr: to.1.parse().unwrap(),
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    bytes
}

fn request(from: &str, target: &str) -> Vec<u8> {
    let body = arp(ArpOperation::Request, (PEER, from), ([0; 6], target));
    Lab::frame(Some(BROADCAST), ETHERTYPE_ARP, &body)
}

pub fn reply(from: &str, to: &str) -> Vec<u8> {
    let body = arp(ArpOperation::Reply, (PEER, from), (mac(P0), to));
    Lab::frame(None, ETHERTYPE_ARP, &body)
}

fn read(frame: &[u8]) -> (Vec<u8>, ArpRepr) {
    let arp = ArpRepr::parse(&ArpPacket::new_checked(&frame[14..]).unwrap()).unwrap();
    (frame[..14].to_vec(), arp)
}

/// What is sent back to the peer for `target`, whose request came from `to`.
fn is_at(sent: &[(u32, Vec<u8>)], target: &str, to: &str) -> bool {
    let [(oif, frame)] = sent else { return false };
    let (eth, arp) = read(frame);
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_hardware_addr,
        target_protocol_addr,
    } = arp
    else {
        return false;
    };
    assert_eq!((*oif, eth), (P0, [&PEER[..], &mac(P0), &[8, 6]].concat()));
    assert_eq!((operation, target_hardware_addr.0), (ArpOperation::Reply, PEER));
    assert_eq!(source_hardware_addr.0, mac(P0));
    (source_protocol_addr, target_protocol_addr) == (target.parse().unwrap(), to.parse().unwrap())
}

fn of(lab: &Lab, addr: &str) -> Option<Neighbour> {
    let key = (P0, addr.parse::<IpAddr>().unwrap());
    lab.learned.iter().rev().find(|l| l.key == key).and_then(|l| l.neighbour)
}

#[test]
fn answers_for_every_address_of_ours() {
    let mut lab = Lab::new();
    for target in ["10.0.1.254", "10.0.2.254"] {
        let sent = lab.give(P0, &request("10.0.1.7", target));
        assert!(is_at(&sent, target, "10.0.1.7"), "{target}");
    }
    assert_eq!(of(&lab, "10.0.1.7"), Some(Neighbour { lladdr: PEER, state: Nud::STALE }));
}

#[test]
fn a_probe_is_answered_and_teaches_nothing() {
    let mut lab = Lab::new();
    let sent = lab.give(P0, &request("0.0.0.0", "10.0.1.254"));
    assert!(is_at(&sent, "10.0.1.254", "0.0.0.0"));
    assert!(lab.learned.is_empty());
}

#[test]
fn others_addresses_are_left_to_others() {
    let mut lab = Lab::new();
    for (from, target) in [
        ("10.0.1.7", "10.0.1.8"),     // on the same link
        ("10.0.1.7", "10.0.2.9"),     // elsewhere, but not proxied
        ("10.0.1.7", "224.0.0.1"),    // a group
        ("10.0.1.7", "127.0.0.1"),    // never on a wire
        ("10.0.1.254", "10.0.1.254"), // from our own address
        ("224.0.0.1", "10.0.1.254"),  // from a group
        ("0.0.0.0", "10.0.1.8"),      // a probe for another
    ] {
        let sent = lab.give(P0, &request(from, target));
        assert!(!sent.iter().any(|(_, f)| f[21] == 2), "{from} asks for {target}: {sent:?}");
    }
    assert!(lab.learned.is_empty(), "who is not answered is not noted: {:?}", lab.learned);
}

#[test]
fn proxied_addresses_are_answered_for() {
    let mut lab = Lab::new();
    lab.bench.writer.update_iface(P0, |i| i.proxies4.push(Ipv4Addr::new(10, 0, 2, 9)));
    lab.bench.writer.publish();
    assert!(is_at(&lab.give(P0, &request("10.0.1.7", "10.0.2.9")), "10.0.2.9", "10.0.1.7"));
    assert!(lab.give(P0, &request("10.0.1.7", "10.0.2.10")).is_empty());
    lab.bench.writer.update_iface(P0, |i| i.conf4.proxy_arp = 1);
    lab.bench.writer.publish();
    assert!(is_at(&lab.give(P0, &request("10.0.1.7", "10.0.2.10")), "10.0.2.10", "10.0.1.7"));
    assert!(lab.give(P0, &request("10.0.1.7", "10.0.1.8")).is_empty(), "its owner is on this very link");
}

#[test]
fn malformed_requests_are_ignored() {
    let mut lab = Lab::new();
    let good = request("10.0.1.7", "10.0.1.254");
    for (at, value) in [(15, 6), (17, 6), (18, 8), (19, 16), (21, 3)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(lab.give(P0, &bad).is_empty(), "byte {at}");
    }
    assert!(lab.give(P0, &good[..41]).is_empty());
    assert_eq!(lab.give(P0, &good).len(), 1);
}

#[test]
fn unasked_answers_change_only_what_is_known() {
    let mut lab = Lab::new();
    lab.give(P0, &reply("10.0.1.7", "10.0.1.254"));
    assert!(lab.learned.is_empty());
    lab.give(P0, &request("10.0.1.7", "10.0.1.254"));
    lab.give(P0, &reply("10.0.1.7", "10.0.1.254"));
    assert_eq!(of(&lab, "10.0.1.7"), Some(Neighbour { lladdr: PEER, state: Nud::REACHABLE }));
    // What the scenario says for good is not for others to change.
    lab.give(P0, &reply("10.0.1.1", "10.0.1.254"));
    assert_eq!(of(&lab, "10.0.1.1"), None);
}

#[test]
fn a_second_answer_within_a_second_changes_nothing() {
    let mut lab = Lab::new();
    lab.give(P0, &request("10.0.1.7", "10.0.1.254"));
    let mut other = reply("10.0.1.7", "10.0.1.254");
    other[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 0x55]);
    lab.give(P0, &other);
    assert_eq!(of(&lab, "10.0.1.7").unwrap().lladdr, PEER);
    lab.bench.now += 2 * SECOND;
    lab.give(P0, &other);
    assert_eq!(of(&lab, "10.0.1.7").unwrap().lladdr, [2, 0, 0, 0, 0, 0x55]);
}

#[test]
fn an_address_is_defended_once_in_ten_seconds() {
    let mut lab = Lab::new();
    let announced = |sent: &[(u32, Vec<u8>)]| {
        sent.iter().filter(|(oif, f)| *oif == P0 && f[..6] == BROADCAST && f[28..32] == f[38..42]).count()
    };
    let thief = request("10.0.1.254", "10.0.1.254");
    assert_eq!(announced(&lab.give(P0, &thief)), 1);
    assert_eq!(announced(&lab.give(P0, &thief)), 0);
    lab.bench.now += 10 * SECOND;
    assert_eq!(announced(&lab.give(P0, &thief)), 1);
    // On another link the address is not in conflict with anyone's.
    assert_eq!(announced(&lab.give(P1, &thief)), 0);
}
