//! The batch as a whole: both routes through the code give the same, held packets, order, hostile bytes.

use super::observe::{Observer, Unobserved};
use super::testkit::{Bench, P0, P1, hbh6, p, udp4, udp4_options, udp6};
use crate::drop::DropReason as D;
use crate::frame::{Meta, PktType};
use crate::stats::{Counts, Link, Mib, Own};
use warren_fib::{Hops, Neighbour, Nud, Place, Route, RouteType, TABLE_LOCAL};

/// Any of many packets: good ones of both families, and bytes changed anywhere.
fn packet(kind: u8, host: u8, hops: u8, len: u16, flips: &[(u16, u8)]) -> Vec<u8> {
    let (n, far4, far6) = (host % 4, format!("10.9.0.{host}"), format!("2001:db8:9::{host:x}"));
    let (src4, src6) = (format!("10.0.1.{}", n + 1), format!("2001:db8:1::{:x}", n + 1));
    let len = 60 + usize::from(len) % 1500;
    let mut bytes = match kind % 10 {
        0..4 => udp6(&src6, &far6, 2 + hops % 62, len),
        4..8 => udp4(&src4, &far4, 2 + hops % 62, len),
        8 => hbh6(&src6, &far6, &[kind, hops % 3, 0, 0, 0, 0]),
        _ => udp4_options(&src4, &far4, &[7, 7, 4, 0, 0, 0, 0, 0], len % 99),
    };
    for &(at, value) in flips {
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
    }
    bytes
}

fn without_shares(c: &Counts) -> String {
    let mibs =
        Mib::ALL.iter().map(|&m| (m.name(), c.mib(m), (0..4).map(|s| c.mib_on(s, m)).collect::<Vec<_>>()));
    let moved: Vec<_> = mibs.filter(|(_, total, _)| *total > 0).collect();
    let drops: Vec<_> = D::ALL.iter().map(|&d| (d, c.drops(d as usize))).filter(|x| x.1 > 0).collect();
    let links: Vec<_> = (0..4).map(|s| Link::ALL.iter().map(|&l| c.link(s, l)).collect::<Vec<_>>()).collect();
    format!("{moved:?} {drops:?} {links:?}")
}

#[test]
fn the_fast_path_gives_what_the_full_path_gives() {
    bolero::check!().with_type::<(u8, u8, u8, u16, Vec<(u16, u8)>, u8)>().for_each(
        |(k, h, hops, len, flips, group)| {
            let flips = if k & 16 == 0 { &[][..] } else { &flips[..flips.len().min(3)] };
            let packet = packet(*k, *h, *hops, *len, flips);
            let pkt_type = if *group == 0 { PktType::Broadcast } else { PktType::Host };
            let meta = Meta { iif: P0, pkt_type, ..Meta::default() };
            let mut outcomes = [true, false].map(|full_only| {
                let mut bench = Bench::new();
                bench.forwarder.full_only = full_only;
                let (mut sent, counts) = bench.run_observed(&[packet.clone()], meta, &mut Unobserved);
                // The identification of an IPv4 packet that we make is random.
                for (_, frame) in
                    sent.iter_mut().filter(|(_, f)| f.len() > 34 && f[12..14] == [8, 0] && f[23] == 1)
                {
                    frame[18..20].fill(0);
                    frame[24..26].fill(0);
                }
                (sent, without_shares(&counts))
            });
            let [full, fast] = &mut outcomes;
            assert_eq!(full, fast, "{packet:02x?}");
        },
    );
}

#[test]
fn common_packets_take_the_fast_path() {
    let mut bench = Bench::new();
    let packets = [udp6("2001:db8:1::1", "2001:db8:9::1", 64, 100), udp4("10.0.1.1", "10.9.0.1", 64, 100)];
    let (sent, counts) = bench.run(&packets);
    assert_eq!((sent.len(), counts.own(Own::FastPackets), counts.own(Own::FullPackets)), (2, 2, 0));
    assert!(sent.iter().all(|(oif, _)| *oif == P1));
}

#[test]
fn a_route_that_a_user_put_into_table_local_is_heeded() {
    let mut bench = Bench::new();
    let packet = [udp6("2001:db8:1::1", "2001:db8:9::1", 64, 100)];
    let mut route = Route::new(p("2001:db8:9::/64"), Hops::None);
    (route.kind, route.table) = (RouteType::Blackhole, TABLE_LOCAL);
    bench.writer.insert6(route.clone(), Place::New).unwrap();
    assert!(bench.writer.changed(), "control publishes a new snapshot");
    bench.writer.publish();
    let (sent, counts) = bench.run(&packet);
    assert_eq!((sent.len(), counts.drops(D::V6Blackhole as usize)), (0, 1));
    assert!(bench.writer.remove6(&route).unwrap());
    bench.writer.publish();
    assert_eq!(bench.run(&packet).1.own(Own::FastPackets), 1);
}

#[test]
fn packets_leave_in_the_order_in_which_they_came() {
    let mut bench = Bench::new();
    let mut packets = Vec::new();
    for i in 0..20 {
        packets.push(udp6("2001:db8:1::1", "2001:db8:9::1", 64, 60 + i));
        packets.push(hbh6("2001:db8:1::1", "2001:db8:9::1", &[1, 4, 0, 0, 0, 0]));
    }
    let (sent, counts) = bench.run(&packets);
    let lens: Vec<usize> = sent.iter().map(|(_, f)| f.len() - 14).collect();
    assert_eq!(lens, packets.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!((counts.own(Own::FastPackets), counts.own(Own::FullPackets)), (20, 20));
}

#[test]
fn held_packets_are_sent_when_the_neighbour_answers() {
    let mut bench = Bench::new();
    let packets = [udp4("10.0.1.1", "10.0.2.7", 64, 60), udp6("2001:db8:1::1", "2001:db8:2::7", 64, 60)];
    let (sent, counts) = bench.run(&packets);
    assert_eq!((sent.len(), counts.own(Own::HeldPackets), counts.own(Own::ResolveAsked)), (0, 2, 2));
    assert_eq!((counts.mib(Mib::IpForwDatagrams), counts.mib(Mib::IpOutTransmits)), (1, 1));
    let known = Neighbour { lladdr: [2, 9, 9, 9, 9, 9], state: Nud::REACHABLE };
    for to in ["10.0.2.7", "2001:db8:2::7"] {
        bench.writer.set_neighbour(P1, to.parse().unwrap(), Some(known));
    }
    let (sent, counts) = bench.run(&[]);
    assert_eq!((sent.len(), counts.own(Own::HeldReleased)), (2, 2));
    assert_eq!((sent[0].0, &sent[0].1[..6], sent[0].1[22]), (P1, &known.lladdr[..], 63));
    assert_eq!(sent[1].1[21], 63);
}

#[test]
fn held_packets_are_answered_when_the_neighbour_fails() {
    let mut bench = Bench::new();
    let failed = Neighbour { lladdr: [0; 6], state: Nud::FAILED };
    let (v4, v6) = ("10.0.2.7".parse().unwrap(), "2001:db8:2::7".parse().unwrap());
    bench.writer.set_neighbour(P1, v4, Some(failed));
    let packets = [udp4("10.0.1.1", "10.0.2.7", 64, 60), udp6("2001:db8:1::1", "2001:db8:2::7", 64, 60)];
    assert_eq!(bench.run(&packets).0.len(), 0, "an old failure is no news");
    for to in [v4, v6] {
        bench.writer.set_neighbour(P1, to, Some(failed));
    }
    let (sent, counts) = bench.run(&[]);
    let [(i4, f4), (i6, f6)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (*i4, f4[34], f4[35], f4[42 + 8]),
        (P0, 3, 1, 63),
        "host unreachable, quoted after the decrement"
    );
    assert_eq!((*i6, f6[54], f6[55], f6[62 + 7]), (P0, 1, 3, 63), "address unreachable, likewise");
    assert_eq!(counts.drops(D::V4NeighbourFailed as usize), 1);
    assert_eq!(counts.drops(D::V6NeighbourFailed as usize), 1);
    assert!(bench.forwarder.hold.is_empty());
}

#[test]
fn a_stale_neighbour_is_reported_once() {
    let mut bench = Bench::new();
    let stale = Neighbour { lladdr: [2, 0, 0, 0, 1, 2], state: Nud::STALE };
    bench.writer.set_neighbour(P1, "10.0.2.1".parse().unwrap(), Some(stale));
    let (sent, _) = bench.run(&vec![udp4("10.0.1.1", "10.9.0.1", 64, 60); 5]);
    let asks: Vec<_> = bench.forwarder.asks.drain().collect();
    assert_eq!((sent.len(), asks.len()), (5, 1), "{asks:?}");
}

#[test]
fn any_bytes_are_survived_and_nothing_outside_is_touched() {
    let bench = std::sync::Mutex::new(Bench::new());
    bolero::check!().with_type::<(bool, u8, Vec<u8>)>().for_each(|(v4, pkt_type, bytes)| {
        let mut packet = bytes.clone();
        if let Some(first) = packet.first_mut() {
            *first = if *v4 { 0x40 | *first & 15 } else { 0x60 | *first & 15 };
        }
        let pkt_type =
            [PktType::Host, PktType::Host, PktType::Multicast, PktType::OtherHost][*pkt_type as usize % 4];
        let meta = Meta { iif: P0, pkt_type, ..Meta::default() };
        let (sent, _) = bench.lock().unwrap().run_observed(&[packet.clone()], meta, &mut Unobserved);
        for (_, frame) in sent {
            assert!(
                frame.len() <= packet.len() + 14 || frame.len() <= 14 + 1280,
                "longer than anything made of it"
            );
        }
    });
}

#[derive(Default)]
struct Steps(Vec<String>);

impl Observer for Steps {
    fn check(&mut self, reason: D, ok: bool) {
        self.0.push(format!("{reason} {}", if ok { "passed" } else { "failed" }));
    }
}

#[test]
fn the_observer_sees_the_checks_in_order() {
    let mut bench = Bench::new();
    bench.forwarder.full_only = true;
    let mut steps = Steps::default();
    bench.run_observed(
        &[udp6("2001:db8:1::1", "2001:db8:9::1", 1, 60)],
        Meta { iif: P0, ..Meta::default() },
        &mut steps,
    );
    assert_eq!(steps.0.first().map(String::as_str), Some("V6Disabled passed"));
    assert_eq!(steps.0.last().map(String::as_str), Some("V6HopLimit failed"));
    assert!(steps.0.contains(&"V6Truncated passed".to_owned()));
}
