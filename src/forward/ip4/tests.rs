//! Each stage of the IPv4 path: the decision for one packet that its check stops, and for one that passes.

use super::super::decision::{ReplyKind, Verdict};
use super::super::testkit::{Bench, P0, P1, drops, fate, fate_of, framed, p, udp4, udp4_options};
use super::echo::Echo;
use crate::drop::DropReason as D;
use crate::frame::{Meta, PktType};
use crate::stats::Mib;
use crate::wire::csum;
use crate::wire::ip4::Ip4Hdr;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use warren_fib::{Hop, Hops, Place, Route, RouteType, Rule, RuleAction};
use zerocopy::FromBytes;

const HOST0: &str = "10.0.1.1";
const FAR: &str = "10.9.0.7";

/// A header field changed, the checksum made right again.
fn patched(mut packet: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet[10..12].fill(0);
    let end = usize::from(packet[0] & 15).max(5) * 4;
    let sum = csum::checksum(&packet[..end.min(packet.len())]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn a_good_packet_goes_on() {
    Bench::new().decide(&udp4(HOST0, FAR, 64, 100), |d| {
        let Verdict::Forward(egress, edit) = &d.verdict else { panic!("{:?}", d.verdict) };
        assert_eq!((egress.oif.index, egress.next), (P1, IpAddr::from([10, 0, 2, 1])));
        assert_eq!((edit.len, edit.decrement), (100, true));
    });
}

#[test]
fn receive_checks() {
    let good = udp4(HOST0, FAR, 64, 100);
    assert_eq!(drops(&good[..19]), Some(D::V4Short));
    assert_eq!(drops(&patched(good.clone(), 0, &[0x44])), Some(D::V4Header));
    assert_eq!(drops(&patched(good.clone(), 0, &[0x4f])[..40]), Some(D::V4OptionsShort));
    let mut wrong = good.clone();
    wrong[10] ^= 1;
    assert_eq!(drops(&wrong), Some(D::V4Checksum));
    assert_eq!(drops(&good[..99]), Some(D::V4Truncated));
    assert_eq!(drops(&patched(good, 2, &[0, 19])), Some(D::V4TotalLength));
}

#[test]
fn martians() {
    let of = |src, dst| drops(&udp4(src, dst, 64, 60));
    assert_eq!(of("224.0.0.1", FAR), Some(D::V4SourceInvalid));
    assert_eq!(of("255.255.255.255", FAR), Some(D::V4SourceInvalid));
    assert_eq!(of("0.0.0.0", FAR), Some(D::V4SourceInvalid));
    assert_eq!(of("0.1.2.3", FAR), None, "only the one address is special");
    assert_eq!(of(HOST0, "0.0.0.0"), Some(D::V4DestinationInvalid));
    assert_eq!(of(HOST0, "127.0.0.1"), Some(D::V4Localnet));
    assert_eq!(of("127.0.0.1", FAR), Some(D::V4Localnet));
    assert_eq!(of("10.0.1.254", FAR), Some(D::V4SourceLocal));
    assert_eq!(of("10.0.2.254", FAR), Some(D::V4SourceLocal));
    assert_eq!(of(HOST0, "224.0.0.9"), Some(D::V4MulticastNotMember));
}

#[test]
fn reverse_path() {
    let mut bench = Bench::new();
    let src = |bench: &Bench, src| fate(bench, &udp4(src, FAR, 64, 60)).0;
    bench.writer.update_iface(P0, |i| i.conf4.rp_filter = 1);
    bench.writer.publish();
    assert_eq!(src(&bench, HOST0), None);
    assert_eq!(src(&bench, "10.0.2.9"), Some(D::V4ReversePath), "its way leads through p1");
    assert_eq!(src(&bench, "203.0.113.1"), Some(D::V4ReversePath), "no way at all");
    bench.writer.update_iface(P0, |i| i.conf4.rp_filter = 2);
    bench.writer.publish();
    assert_eq!(src(&bench, "10.0.2.9"), None, "loose: any way will do");
    assert_eq!(src(&bench, "203.0.113.1"), Some(D::V4ReversePath));
    let nowhere = fate(&bench, &udp4("203.0.113.1", "198.51.100.1", 64, 60)).0;
    assert_eq!(nowhere, Some(D::V4NoRoute), "not asked where the destination has no route");
}

#[test]
fn routes_that_end_here() {
    let mut bench = Bench::new();
    for (prefix, kind) in [
        ("10.20.0.0/16", RouteType::Blackhole),
        ("10.21.0.0/16", RouteType::Unreachable),
        ("10.22.0.0/16", RouteType::Prohibit),
    ] {
        let mut route = Route::new(p(prefix), Hops::None);
        route.kind = kind;
        bench.writer.insert4(route, Place::New).unwrap();
    }
    bench.writer.publish();
    let to = |bench: &Bench, dst| fate(bench, &udp4(HOST0, dst, 64, 60));
    assert_eq!(to(&bench, "10.20.0.1"), (Some(D::V4Blackhole), vec![]));
    assert_eq!(to(&bench, "10.21.0.1"), (Some(D::V4Unreachable), vec![ReplyKind::Unreachable(1)]));
    assert_eq!(to(&bench, "10.22.0.1"), (Some(D::V4Prohibit), vec![ReplyKind::Unreachable(13)]));
    assert_eq!(to(&bench, "10.99.0.1"), (Some(D::V4NoRoute), vec![ReplyKind::Unreachable(0)]));
    bench.decide(&udp4(HOST0, "10.0.1.254", 64, 60), |d| assert_eq!(d.verdict, Verdict::Local));
    bench.writer.update_iface(P0, |i| i.conf4.forwarding = 0);
    bench.writer.publish();
    assert_eq!(to(&bench, FAR), (Some(D::V4ForwardingOff), vec![]));
}

#[test]
fn rules_choose_tables() {
    let mut bench = Bench::new();
    let mut rules: Vec<Rule<Ipv4Addr>> = warren_fib::Rules::default().iter().cloned().collect();
    let mut by_source = Rule::new(100, RuleAction::Table(77));
    by_source.from = p("10.66.0.0/16");
    let mut refused = Rule::new(101, RuleAction::Unreachable);
    refused.from = p("10.67.0.0/16");
    rules.extend([by_source, refused]);
    bench.writer.set_rules4(rules).unwrap();
    let mut route = Route::new(p("10.9.0.0/16"), Hops::one(P1, Some(IpAddr::from([10, 0, 2, 77]))));
    route.table = 77;
    bench.writer.insert4(route, Place::New).unwrap();
    bench.writer.publish();
    let next = |src: &str| {
        bench.decide(&udp4(src, FAR, 64, 60), |d| match &d.verdict {
            Verdict::Hold(wait, _) => wait.next.to_string(),
            Verdict::Forward(egress, _) => egress.next.to_string(),
            other => format!("{other:?}"),
        })
    };
    assert_eq!((next("10.66.1.1"), next(HOST0)), ("10.0.2.77".into(), "10.0.2.1".into()));
    assert_eq!(next("10.67.1.1"), "Drop(V4NoRoute)");
}

#[test]
fn forwarding_in_the_kernels_order() {
    let bench = Bench::new();
    for ttl in [0, 1] {
        assert_eq!(fate(&bench, &udp4(HOST0, FAR, ttl, 60)), (Some(D::V4Ttl), vec![ReplyKind::TimeExceeded]));
    }
    let group = Meta { iif: P0, pkt_type: PktType::Multicast, ..Meta::default() };
    assert_eq!(fate_of(&bench, &udp4(HOST0, FAR, 64, 60), group), (Some(D::V4NotHost), vec![]));
    let big = patched(udp4(HOST0, FAR, 64, 1501), 6, &[0x40, 0]);
    assert_eq!(fate(&bench, &big), (Some(D::V4TooBig), vec![ReplyKind::TooBig(1500)]));
    assert_eq!(fate(&bench, &patched(big, 8, &[1])).0, Some(D::V4Ttl), "the TTL is looked at first");
    assert_eq!(fate(&bench, &patched(udp4(HOST0, FAR, 64, 1500), 6, &[0x40, 0])), (None, vec![]));
}

#[test]
fn fragments_carry_on_offsets_and_blank_options() {
    let mut bench = Bench::new();
    let mut route = Route::new(p("10.30.0.0/16"), Hops::one(P1, Some(IpAddr::from([10, 0, 2, 1]))));
    route.mtu = 124;
    bench.writer.insert4(route, Place::New).unwrap();
    bench.writer.publish();
    // A record route (not copied) and a stream identifier (copied): 24 + 8 bytes of options with padding.
    let options = [&[7, 7, 8, 1, 1, 1, 1][..], &[136, 4, 9, 9], &[1]].concat();
    let (sent, counts) = bench.run(&[udp4_options(HOST0, "10.30.0.1", &options, 200)]);
    let packets: Vec<&[u8]> = sent.iter().map(|(_, f)| &f[14..]).collect();
    assert_eq!(packets.iter().map(|x| x.len()).collect::<Vec<_>>(), [32 + 88, 32 + 88, 32 + 24]);
    for (i, packet) in packets.iter().enumerate() {
        let (h, _) = Ip4Hdr::ref_from_prefix(packet).unwrap();
        assert_eq!((h.frag_offset(), h.more_fragments(), h.ttl), (i * 88, i < 2, 63));
        assert_eq!(csum::checksum(&packet[..32]), 0);
        assert_eq!(usize::from(h.total_len.get()), packet.len());
        let expect: &[u8] = if i == 0 { &options } else { &[1, 1, 1, 1, 1, 1, 1, 136, 4, 9, 9, 1] };
        assert_eq!(&packet[20..32], expect);
        assert!(packet[32..].iter().all(|&b| b == 7));
    }
    assert_eq!((counts.mib(Mib::IpFragOKs), counts.mib(Mib::IpFragCreates)), (1, 3));
    assert_eq!((counts.mib(Mib::IpForwDatagrams), counts.mib(Mib::IpOutTransmits)), (1, 3));
}

#[test]
fn options_record_us_and_complain() {
    let mut bench = Bench::new();
    let rr = [7, 7, 4, 0, 0, 0, 0, 0];
    let (sent, _) = bench.run(&[udp4_options(HOST0, FAR, &rr, 8)]);
    assert_eq!(&sent[0].1[34..42], [7, 7, 8, 10, 0, 2, 254, 0], "the egress address");
    assert_eq!((csum::checksum(&sent[0].1[14..42]), sent[0].1[22]), (0, 63));
    let stamp = [68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let (sent, _) = bench.run(&[udp4_options(HOST0, FAR, &stamp, 8)]);
    let ms = u32::from_be_bytes(sent[0].1[42..46].try_into().unwrap());
    assert_eq!(
        (&sent[0].1[36..42], u64::from(ms)),
        (&[13, 1, 10, 0, 1, 254][..], bench.now / 1_000_000 % 86_400_000)
    );
    let bad = |options: &[u8]| fate(&bench, &udp4_options(HOST0, FAR, options, 8));
    let at = |offset| (Some(D::V4Option), vec![ReplyKind::ParamProblem(0, offset)]);
    assert_eq!(bad(&[7, 2, 4, 0]), at(21));
    assert_eq!(bad(&[7, 7, 3, 0, 0, 0, 0, 0]), at(22));
    assert_eq!(bad(&[1, 130, 9, 0]), at(21), "longer than the header");
    assert_eq!(bad(&[148, 3, 0, 1]), at(21));
    assert_eq!(bad(&[131, 7, 4, 10, 0, 2, 1, 0]).0, Some(D::V4SourceRouteOff));
    let (sent, _) = bench.run(&[udp4_options(HOST0, FAR, &[0, 9, 9, 9], 8)]);
    assert_eq!(&sent[0].1[34..38], [0, 0, 0, 0], "what follows the end is blanked");
}

#[test]
fn errors_quote_and_choose_their_source() {
    let mut bench = Bench::new();
    let offender = udp4(HOST0, FAR, 1, 1000);
    let (sent, counts) = bench.run(&[offender.clone()]);
    let [(oif, frame)] = &sent[..] else { panic!("{sent:?}") };
    let (hdr, body) = Ip4Hdr::ref_from_prefix(&frame[14..]).unwrap();
    assert_eq!((*oif, hdr.src(), hdr.dst()), (P0, Ipv4Addr::new(10, 0, 1, 254), HOST0.parse().unwrap()));
    assert_eq!((frame.len(), hdr.tos, body[0], body[1]), (14 + 576, 0xc0, 11, 0));
    assert_eq!(&body[8..], &offender[..548]);
    assert_eq!((csum::checksum(body), counts.mib(Mib::IcmpOutTimeExcds)), (0, 1));
    let error = patched(udp4(HOST0, FAR, 1, 60), 9, &[1]);
    let mut error = error;
    error[20] = 3;
    assert_eq!(bench.run(&[error]).0.len(), 0, "no error about an error");
    let later = patched(udp4(HOST0, FAR, 1, 60), 6, &[0, 1]);
    assert_eq!(bench.run(&[later]).0.len(), 0, "none about a later fragment");
}

#[test]
fn a_fresh_source_without_a_route_hears_twice() {
    let (sent, counts) = Bench::new().run(&vec![udp4(HOST0, "10.99.0.1", 64, 60); 20]);
    assert_eq!((sent.len(), counts.mib(Mib::IpExtInNoRoutes)), (2, 20));
}

#[test]
fn a_redirect_goes_with_the_packet() {
    let mut bench = Bench::new();
    let better = Some(IpAddr::from([10, 0, 1, 1]));
    bench.writer.insert4(Route::new(p("10.40.0.0/16"), Hops::one(P0, better)), Place::New).unwrap();
    bench.writer.publish();
    let packet = udp4("10.0.1.9", "10.40.0.1", 64, 60);
    bench.writer.set_neighbour(
        P0,
        "10.0.1.9".parse().unwrap(),
        Some(warren_fib::Neighbour { lladdr: [2, 0, 0, 0, 9, 9], state: warren_fib::Nud::REACHABLE }),
    );
    let (sent, _) = bench.run(&[packet.clone()]);
    assert_eq!(sent.len(), 2, "the redirect, then the packet");
    let body = &sent[0].1[34..];
    assert_eq!((body[0], body[1], &body[4..8]), (5, 1, &[10, 0, 1, 1][..]));
    assert_eq!(body[8 + 8], 63, "quoted after the decrement");
    assert_eq!(csum::checksum(&body[8..28]), 0, "with a checksum to match");
    assert_eq!(sent[1].1[14 + 8], 63);
    assert_eq!(sent[1].1.len(), framed(&packet).len());
}

#[test]
fn an_interface_too_small_for_ipv4() {
    let mut bench = Bench::new();
    let packet = udp4(HOST0, FAR, 64, 60);
    for (mtu, dropped) in [(67, Some(D::V4NoAddress)), (68, None)] {
        bench.writer.update_iface(P0, |i| i.mtu = mtu);
        bench.writer.publish();
        assert_eq!(fate(&bench, &packet).0, dropped, "{mtu}");
    }
}

#[test]
fn an_error_to_a_broadcast_of_ours() {
    let mut bench = Bench::new();
    let route = Route { kind: RouteType::Broadcast, ..Route::new(p("10.0.2.255/32"), Hops::one(P1, None)) };
    bench.writer.insert4(route, Place::New).unwrap();
    bench.writer.publish();
    let (sent, counts) = bench.run(&[udp4("10.0.2.255", FAR, 1, 60)]);
    let [(oif, frame)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((*oif, &frame[..6], frame[34]), (P1, &[0xff; 6][..], 11));
    assert_eq!(counts.mib(Mib::IpExtOutBcastPkts), 1);
}

#[test]
fn an_mtu_without_room_for_a_piece() {
    let mut bench = Bench::new();
    for (prefix, mtu) in [("10.31.0.0/16", 27), ("10.32.0.0/16", 28)] {
        let mut route = Route::new(p(prefix), Hops::one(P1, Some(IpAddr::from([10, 0, 2, 1]))));
        route.mtu = mtu;
        bench.writer.insert4(route, Place::New).unwrap();
    }
    bench.writer.publish();
    let (sent, counts) = bench.run(&[udp4(HOST0, "10.31.0.1", 64, 60)]);
    assert_eq!((sent.len(), counts.drops(D::V4FragmentMtu as usize)), (0, 1));
    assert_eq!(bench.run(&[udp4(HOST0, "10.32.0.1", 64, 60)]).0.len(), 5, "eight bytes each");
}

#[test]
fn weights_share_flows_out() {
    let mut bench = Bench::new();
    let hop = |last: u8, weight| Hop { weight, ..Hop::new(P1, Some(IpAddr::from([10, 0, 2, last]))) };
    let hops = Hops::List(vec![hop(1, 1), hop(2, 3)]);
    bench.writer.insert4(Route::new(p("10.50.0.0/16"), hops), Place::New).unwrap();
    bench.writer.publish();
    let mut share = [0; 3];
    for i in 0..=255u8 {
        let packet = udp4(HOST0, &format!("10.50.1.{i}"), 64, 60);
        bench.decide(&packet, |d| match &d.verdict {
            Verdict::Forward(egress, _) => {
                share[1] += usize::from(egress.next == IpAddr::from([10, 0, 2, 1]));
            }
            Verdict::Hold(wait, _) => share[2] += usize::from(wait.next == IpAddr::from([10, 0, 2, 2])),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(share[1] + share[2], 256);
    assert!(share[1] > 40 && share[2] > 150, "{share:?}");
}

#[test]
fn any_options_are_repeated_in_whole_words() {
    let bench = AssertUnwindSafe(Bench::new()); // looked at only, and a panic ends the test
    bolero::check!().with_type::<[u8; 40]>().for_each(|options| {
        let whole = &bench;
        let packet = udp4_options(HOST0, FAR, options, 8);
        let len = whole.decide(&packet, |d| d.echo.as_ref().map_or(0, Echo::byte_len));
        assert!(len <= 40 && len.is_multiple_of(4), "{len} bytes");
    });
}
