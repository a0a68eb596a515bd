//! What the host answers, what it refuses, and that no bytes upset it. Requests are made and answers read by smoltcp
//! and etherparse, so that both sides of a mistake would have to agree.

mod arp;
mod echo;
mod errors;
mod ndisc;
mod resolution;

use super::testkit::{Lab, PEER};
use crate::forward::testkit::{P0, P1, mac};
use crate::wire::eth::ETHERTYPE_ARP;
use etherparse::PacketBuilder;
use std::panic::AssertUnwindSafe;

/// Destinations that a hostile frame may have: ours, all, the solicited-node group of p0's address, a stranger's.
const TO: [[u8; 6]; 4] = [[2, 0, 0, 0, 0, 2], [0xff; 6], [0x33, 0x33, 0xff, 0, 0, 0xfe], PEER];

#[test]
fn no_bytes_upset_the_host() {
    let mut lab = AssertUnwindSafe(Lab::new());
    bolero::check!().with_type::<(u8, u8, Vec<u8>)>().for_each(|(to, kind, body)| {
        let ethertype = [ETHERTYPE_ARP, 0x0800, 0x86dd, 0x1234][usize::from(kind % 4)];
        let frame = Lab::frame(Some(TO[usize::from(to % 4)]), ethertype, body);
        for (_, sent) in lab.give(P0, &frame) {
            assert!([mac(P0), mac(P1)].iter().any(|ours| sent[6..12] == *ours), "sent from us: {sent:02x?}");
        }
        lab.bench.now += 1_000_000;
    });
}

/// Damage to packets that are for the host gets deeper than random bytes do.
#[test]
fn damaged_packets_do_not_upset_the_host() {
    let mut lab = AssertUnwindSafe(Lab::new());
    let (a, b) = ([10, 0, 1, 7], [10, 0, 1, 254]);
    let (c, d) = (
        [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe],
    );
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for tcp in [false, true] {
        let v4 = PacketBuilder::ipv4(a, b, 64);
        let v6 = PacketBuilder::ipv6(c, d, 255);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        if tcp {
            v4.tcp(1, 2, 3, 4).syn().write(&mut x, b"data").unwrap();
            v6.tcp(1, 2, 3, 4).syn().write(&mut y, b"data").unwrap();
        } else {
            v4.icmpv4_echo_request(1, 2).write(&mut x, b"data").unwrap();
            v6.icmpv6_echo_request(1, 2).write(&mut y, b"data").unwrap();
        }
        seeds.extend([x, y]);
    }
    seeds.push(ndisc::solicitation("2001:db8:1::7", "2001:db8:1::fe", "2001:db8:1::fe", Some(PEER)));
    let mut answered = 0;
    bolero::check!().with_type::<(u8, u8, u8, u8, u8)>().for_each(|(seed, at, value, next, cut)| {
        let mut packet = seeds[usize::from(*seed) % seeds.len()].clone();
        let v6 = packet[0] >> 4 == 6;
        if v6 && *next % 4 == 0 {
            // Read the data as some extension header instead.
            packet[6] = [0, 43, 44, 60, 59][usize::from(next / 4) % 5];
        }
        let place = usize::from(*at) % packet.len();
        packet[place] = *value;
        packet.truncate(packet.len() - usize::from(*cut) % 4);
        let frame = Lab::frame(None, if v6 { 0x86dd } else { 0x0800 }, &packet);
        answered += lab.give(P0, &frame).len();
        lab.bench.now += 1_000_000_000;
    });
    assert!(answered > 0, "some damage must have been harmless, else nothing was tested");
}
