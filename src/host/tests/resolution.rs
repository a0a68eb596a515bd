//! Resolution and ageing: the kernel's three tries, what becomes of packets that wait, and the states of an entry.

use super::super::neighbours::LIMIT;
use super::super::testkit::{Lab, PEER, SECOND};
use super::arp::{arp, reply};
use super::ndisc::{advertisement, framed, lab};
use crate::forward::testkit::{HOST0, P0, P1, mac, udp4, udp6};
use crate::neigh::Ask;
use crate::wire::eth::ETHERTYPE_ARP;
use smoltcp::wire::{ArpOperation, NdiscNeighborFlags as Flags};
use std::net::IpAddr;
use warren_fib::Nud;

fn states(lab: &Lab, addr: &str) -> Vec<u16> {
    let key = addr.parse::<IpAddr>().unwrap();
    lab.learned.iter().filter(|l| l.key.1 == key).map(|l| l.neighbour.map_or(0, |n| n.state.0)).collect()
}

fn four(dst: &str) -> Vec<u8> {
    Lab::frame(None, 0x0800, &udp4("10.0.1.1", dst, 64, 60))
}

fn six(dst: &str) -> Vec<u8> {
    Lab::frame(None, 0x86dd, &udp6(HOST0, dst, 64, 60))
}

#[test]
fn three_tries_then_the_error() {
    let mut lab = lab();
    let sent = lab.give(P0, &four("10.0.2.77"));
    let asked = |frame: &[u8]| {
        assert_eq!((&frame[..6], &frame[6..12], &frame[12..14]), (&[0xff; 6][..], &mac(P1)[..], &[8, 6][..]));
        assert_eq!((&frame[28..32], &frame[38..42]), (&[10, 0, 2, 254][..], &[10, 0, 2, 77][..]));
    };
    assert_eq!(sent.len(), 1);
    asked(&sent[0].1);
    // More packets wait with the first; nobody asks again for them.
    assert!(lab.give(P0, &four("10.0.2.77")).is_empty());
    let later = lab.wait(5);
    let when: Vec<(u64, u32)> = later.iter().map(|(t, oif, _)| (*t, *oif)).collect();
    assert_eq!(when, [(1, P1), (2, P1), (3, P0), (3, P0)]);
    later[..2].iter().for_each(|(.., frame)| asked(frame));
    for (.., frame) in &later[2..] {
        assert_eq!((frame[23], frame[34], frame[35]), (1, 3, 1), "host unreachable");
    }
    assert_eq!(states(&lab, "10.0.2.77"), [Nud::INCOMPLETE.0, Nud::FAILED.0]);
    // The next packet starts again.
    assert_eq!(lab.give(P0, &four("10.0.2.77")).len(), 1);
}

#[test]
fn three_solicitations_then_the_error() {
    let mut lab = lab();
    let sent = lab.give(P0, &six("2001:db8:2::77"));
    assert_eq!(sent.len(), 1);
    let frame = &sent[0].1;
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0, 0, 0x77]);
    assert_eq!((frame[21], frame[54]), (255, 135));
    assert_eq!(frame[22..24], [0xfe, 0x80], "from the link-local address");
    let later = lab.wait(5);
    let when: Vec<(u64, u32)> = later.iter().map(|(t, oif, _)| (*t, *oif)).collect();
    assert_eq!(when, [(1, P1), (2, P1), (3, P0)]);
    assert_eq!((later[2].2[54], later[2].2[55]), (1, 3), "address unreachable");
}

#[test]
fn the_answer_releases_what_waits() {
    let mut lab = lab();
    lab.give(P0, &four("10.0.2.7"));
    lab.give(P0, &six("2001:db8:2::7"));
    let body = arp(ArpOperation::Reply, (PEER, "10.0.2.7"), (mac(P1), "10.0.2.254"));
    let mut frame = Lab::frame(None, ETHERTYPE_ARP, &body);
    frame[..6].copy_from_slice(&mac(P1));
    let sent = lab.give(P1, &frame);
    assert_eq!((sent.len(), sent[0].0, &sent[0].1[..6]), (1, P1, &PEER[..]));
    assert_eq!(sent[0].1[22], 63, "the TTL was lowered once");
    let flags = Flags::SOLICITED | Flags::OVERRIDE;
    let mut frame = framed(&advertisement("2001:db8:2::7", "2001:db8:2::fe", flags, PEER));
    frame[..6].copy_from_slice(&mac(P1));
    let sent = lab.give(P1, &frame);
    assert_eq!((sent.len(), sent[0].0, &sent[0].1[..6], sent[0].1[21]), (1, P1, &PEER[..], 63));
    assert!(lab.wait(5).is_empty(), "nobody asks on");
    for addr in ["10.0.2.7", "2001:db8:2::7"] {
        assert_eq!(states(&lab, addr), [Nud::INCOMPLETE.0, Nud::REACHABLE.0]);
    }
}

#[test]
fn an_entry_ages_is_verified_and_given_up() {
    let mut lab = lab();
    let body = arp(ArpOperation::Request, (PEER, "10.0.1.7"), ([0; 6], "10.0.1.254"));
    lab.give(P0, &Lab::frame(Some([0xff; 6]), ETHERTYPE_ARP, &body));
    lab.give(P0, &reply("10.0.1.7", "10.0.1.254"));
    lab.wait(40);
    assert_eq!(states(&lab, "10.0.1.7"), [Nud::STALE.0, Nud::REACHABLE.0, Nud::STALE.0]);
    // In use again: five seconds of grace, three questions to the known address, then it is given up.
    let mut packet = four("10.0.1.7");
    packet[..6].copy_from_slice(&mac(P1));
    lab.give(P1, &packet);
    let probes = lab.wait(20);
    assert_eq!(probes.iter().map(|p| p.0).collect::<Vec<_>>(), [5, 6, 7]);
    assert!(probes.iter().all(|(_, oif, f)| *oif == P0 && f[..6] == PEER));
    let all = states(&lab, "10.0.1.7");
    assert_eq!(all[3..], [Nud::DELAY.0, Nud::PROBE.0, Nud::FAILED.0]);
}

#[test]
fn an_answer_to_a_probe_confirms() {
    let mut lab = lab();
    let body = arp(ArpOperation::Request, (PEER, "10.0.1.7"), ([0; 6], "10.0.1.254"));
    lab.give(P0, &Lab::frame(Some([0xff; 6]), ETHERTYPE_ARP, &body));
    let mut packet = four("10.0.1.7");
    packet[..6].copy_from_slice(&mac(P1));
    lab.give(P1, &packet);
    assert_eq!(lab.wait(5).len(), 1);
    lab.give(P0, &reply("10.0.1.7", "10.0.1.254"));
    assert!(lab.wait(10).is_empty());
    let expect = [Nud::STALE, Nud::DELAY, Nud::PROBE, Nud::REACHABLE].map(|n| n.0);
    assert_eq!(states(&lab, "10.0.1.7"), expect);
}

#[test]
fn the_table_is_bounded_and_the_idlest_goes() {
    let mut lab = lab();
    let strangers = LIMIT as u32 + 50;
    for i in 0..strangers {
        let from = std::net::Ipv4Addr::from_bits(0x0a01_0000 + i).to_string();
        let body = arp(ArpOperation::Request, (PEER, &from), ([0; 6], "10.0.1.254"));
        assert_eq!(lab.give(P0, &Lab::frame(Some([0xff; 6]), ETHERTYPE_ARP, &body)).len(), 1);
        lab.bench.now += SECOND / 1000;
    }
    let gone: Vec<_> = lab.learned.iter().filter(|l| l.neighbour.is_none()).map(|l| l.key.1).collect();
    assert_eq!(gone.len(), 50);
    assert_eq!(gone[0], "10.1.0.0".parse::<IpAddr>().unwrap(), "the first that came");
}

#[test]
fn a_gateway_that_is_passed_by_is_asked_once_more() {
    let mut lab = lab();
    let gateway: IpAddr = "2001:db8:2::66".parse().unwrap();
    lab.give(P0, &six("2001:db8:2::66"));
    lab.wait(5);
    assert_eq!(states(&lab, "2001:db8:2::66"), [Nud::INCOMPLETE.0, Nud::FAILED.0]);
    // It failed after three seconds; from then on the interval counts.
    lab.bench.forwarder.asks.push(Ask::Probe { oif: P1, next: gateway });
    lab.give(P0, &six("2001:db8:2::1"));
    let sent = lab.wait(70);
    let probes: Vec<u64> = sent
        .iter()
        .filter(|(_, oif, f)| *oif == P1 && f[54] == 135 && f[77] == 0x66)
        .map(|(t, ..)| *t)
        .collect();
    assert_eq!(probes, [58], "once, a minute after it failed");
    let found = states(&lab, "2001:db8:2::66");
    assert_eq!(found[2..], [Nud::INCOMPLETE.0, Nud::FAILED.0]);
    assert!(!lab.wait(600).iter().any(|(_, oif, f)| *oif == P1 && f[54] == 135 && f[77] == 0x66));
}
