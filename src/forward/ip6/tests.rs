//! Each stage of the IPv6 path: the decision for one packet that its check stops, and for one that passes.

mod edges;

use super::super::decision::{ReplyKind, Verdict};
use super::super::testkit::{Bench, HOST0, HOST1, P0, P1, drops, fate, fate_of, framed, hbh6, p, udp6};
use crate::drop::DropReason as D;
use crate::frame::{Meta, PktType};
use crate::stats::Mib;
use crate::wire::ip6::Ip6Hdr;
use std::net::IpAddr;
use warren_fib::{Hops, Neighbour, Nud, Place, Route, RouteType};
use zerocopy::FromBytes;

const FAR: &str = "2001:db8:9::7";

fn patched(mut packet: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn a_good_packet_goes_on() {
    Bench::new().decide(&udp6(HOST0, FAR, 64, 100), |d| {
        let Verdict::Forward(egress, edit) = &d.verdict else { panic!("{:?}", d.verdict) };
        assert_eq!((egress.oif.index, egress.next), (P1, HOST1.parse::<IpAddr>().unwrap()));
        assert_eq!((edit.len, edit.decrement), (100, true));
        let moved: Vec<_> = d.counts.iter().map(|c| (c.mib, c.by)).collect();
        assert_eq!(
            moved,
            [
                (Mib::Ip6InReceives, 1),
                (Mib::Ip6InOctets, 100),
                (Mib::Ip6InNoECTPkts, 1),
                (Mib::Ip6OutForwDatagrams, 1),
                (Mib::Ip6OutTransmits, 1),
                (Mib::Ip6OutOctets, 100)
            ]
        );
    });
}

#[test]
fn receive_checks() {
    let good = udp6(HOST0, FAR, 64, 100);
    assert_eq!(drops(&good[..39]), Some(D::V6Short));
    assert_eq!(drops(&patched(good.clone(), 0, &[0x50])), Some(D::V6Version));
    assert_eq!(drops(&udp6("::1", FAR, 64, 60)), Some(D::V6Loopback));
    assert_eq!(drops(&udp6(HOST0, "::1", 64, 60)), Some(D::V6Loopback));
    assert_eq!(drops(&udp6(HOST0, "ff01::1", 64, 60)), Some(D::V6ScopeInterface));
    assert_eq!(drops(&udp6(HOST0, "ff00::1", 64, 60)), Some(D::V6ScopeReserved));
    assert_eq!(drops(&udp6("ff02::1", FAR, 64, 60)), Some(D::V6SourceMulticast));
    assert_eq!(drops(&good[..99]), Some(D::V6Truncated));
}

#[test]
fn layer_2_padding_is_cut() {
    let padded = [udp6(HOST0, FAR, 64, 50), vec![0xee; 10]].concat();
    Bench::new().decide(&padded, |d| {
        assert!(matches!(&d.verdict, Verdict::Forward(_, edit) if edit.len == 50));
    });
}

#[test]
fn hop_by_hop_options() {
    let far = |options: &[u8]| drops(&hbh6(HOST0, FAR, options));
    assert_eq!(far(&[1, 4, 0, 0, 0, 0]), None, "PadN alone");
    assert_eq!(far(&[5, 2, 0, 0, 0, 0]), None, "router alert");
    assert_eq!(far(&[5, 3, 0, 0, 0, 0]), Some(D::V6RouterAlert));
    assert_eq!(far(&[1, 4, 0, 0, 0, 9]), Some(D::V6PaddingData));
    assert_eq!(far(&[1, 5, 0, 0, 0, 0]), Some(D::V6OptionShort));
    assert_eq!(far(&[0, 0, 0, 0, 0, 0x3e]), Some(D::V6OptionShort), "no length byte");
    assert_eq!(far(&[0, 1, 4, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0]), Some(D::V6PaddingRun));
    assert_eq!(far(&[0x1e, 0, 0x1e, 0, 0x1e, 0]), None, "three unknown ones to skip");
    let nine = [0x1e, 0].repeat(9);
    assert_eq!(far(&[&nine[..], &[1, 2, 0, 0]].concat()), Some(D::V6OptionCount));
    assert_eq!(far(&[0x7e, 0, 1, 2, 0, 0]), Some(D::V6OptionDiscard));
    assert_eq!(far(&[0x31, 2, 0, 0, 0, 0]), Some(D::V6Ioam), "not at a multiple of four");
    assert_eq!(far(&[7, 4, 0, 0, 0, 0]), Some(D::V6Calipso));
    let bench = Bench::new();
    let (reason, replies) = fate(&bench, &hbh6(HOST0, FAR, &[0xbe, 0, 1, 2, 0, 0]));
    assert_eq!((reason, &replies[..]), (Some(D::V6OptionUnknown), &[ReplyKind::ParamProblem(2, 42)][..]));
    let group = fate(&bench, &hbh6(HOST0, "ff0e::9", &[0xfe, 0, 1, 2, 0, 0]));
    assert_eq!(group, (Some(D::V6OptionDiscard), vec![]), "11 is silent for groups");
}

#[test]
fn jumbo_options() {
    let jumbo = |len: u32| [&[0xc2, 4][..], &len.to_be_bytes()].concat();
    let bench = Bench::new();
    let set = |len: u32| hbh6(HOST0, FAR, &jumbo(len));
    assert_eq!(fate(&bench, &set(65535)), (Some(D::V6JumboSmall), vec![ReplyKind::ParamProblem(0, 44)]));
    assert_eq!(fate(&bench, &set(65536)), (Some(D::V6JumboPayload), vec![ReplyKind::ParamProblem(0, 42)]));
    let empty = patched(set(65536), 4, &[0, 0]);
    assert_eq!(fate(&bench, &empty), (Some(D::V6JumboTruncated), vec![]));
    let whole = [empty, vec![0; 65536]].concat();
    assert_eq!(fate(&bench, &whole).0, Some(D::V6TooBig), "a jumbogram is too big for an Ethernet");
}

#[test]
fn routes_that_end_here() {
    let mut bench = Bench::new();
    for (prefix, kind) in [
        ("2001:db8:b::/48", RouteType::Blackhole),
        ("2001:db8:c::/48", RouteType::Unreachable),
        ("2001:db8:d::/48", RouteType::Prohibit),
    ] {
        let mut route = Route::new(p(prefix), Hops::None);
        route.kind = kind;
        bench.writer.insert6(route, Place::New).unwrap();
    }
    bench.writer.publish();
    let to = |dst| fate(&bench, &udp6(HOST0, dst, 64, 60));
    assert_eq!(to("2001:db8:b::1"), (Some(D::V6Blackhole), vec![]));
    assert_eq!(to("2001:db8:c::1"), (Some(D::V6NoRoute), vec![ReplyKind::Unreachable(0)]));
    assert_eq!(to("2001:db8:d::1"), (Some(D::V6Prohibit), vec![ReplyKind::Unreachable(1)]));
    assert_eq!(to("3fff::1"), (Some(D::V6NoRoute), vec![ReplyKind::Unreachable(0)]));
    assert_eq!(to("::"), (Some(D::V6DestinationUnspecified), vec![ReplyKind::Unreachable(0)]));
    assert_eq!(to("ff0e::9"), (Some(D::V6MulticastNotMember), vec![]));
    bench.decide(&udp6(HOST0, "2001:db8:1::fe", 64, 60), |d| assert_eq!(d.verdict, Verdict::Local));
}

#[test]
fn forwarding_in_the_kernels_order() {
    let mut bench = Bench::new();
    let to = |bench: &Bench, src, dst, hops| fate(bench, &udp6(src, dst, hops, 60));
    for hops in [0, 1] {
        assert_eq!(to(&bench, HOST0, FAR, hops), (Some(D::V6HopLimit), vec![ReplyKind::TimeExceeded]));
    }
    assert_eq!(to(&bench, HOST0, FAR, 2), (None, vec![]));
    assert_eq!(to(&bench, "::", FAR, 64), (Some(D::V6SourceUnspecified), vec![]));
    assert_eq!(to(&bench, "fe80::1", FAR, 64), (Some(D::V6SourceLinkLocal), vec![ReplyKind::Unreachable(2)]));
    assert_eq!(to(&bench, "fe80::1", FAR, 1).0, Some(D::V6HopLimit), "the hop limit is looked at first");
    let group = Meta { iif: P0, pkt_type: PktType::Broadcast, ..Meta::default() };
    assert_eq!(fate_of(&bench, &udp6(HOST0, FAR, 64, 60), group), (Some(D::V6NotHost), vec![]));
    bench.writer.draft_mut().sysctl.all6.forwarding = 0;
    bench.writer.publish();
    assert_eq!(to(&bench, HOST0, FAR, 64), (Some(D::V6ForwardingOff), vec![]));
    assert_eq!(to(&bench, HOST0, "3fff::1", 64).0, Some(D::V6NoRoute), "no route is found out before");
    bench.writer.update_iface(P0, |i| i.conf6.force_forwarding = 1);
    bench.writer.publish();
    assert_eq!(to(&bench, HOST0, FAR, 64), (None, vec![]));
}

#[test]
fn two_stages_of_mtu() {
    let mut bench = Bench::new();
    let mut route = Route::new(p("2001:db8:e::/48"), Hops::one(P1, None));
    (route.mtu, route.mtu_lock) = (1000, true);
    bench.writer.insert6(route, Place::New).unwrap();
    bench.writer.publish();
    let of = |dst: &str, len| {
        bench.decide(&udp6(HOST0, dst, 64, len), |d| {
            let reply = d.replies.first().map(|r| (r.kind, r.quoted_hops));
            (if let Verdict::Drop(r) = d.verdict { Some(r) } else { None }, reply)
        })
    };
    assert_eq!(of(FAR, 1500), (None, None));
    assert_eq!(of(FAR, 1501), (Some(D::V6TooBig), Some((ReplyKind::TooBig(1500), 64))));
    assert_eq!(of("2001:db8:e::1", 1281), (Some(D::V6TooBig), Some((ReplyKind::TooBig(1280), 64))));
    assert_eq!(of("2001:db8:e::1", 1280), (Some(D::V6TooBigRoute), Some((ReplyKind::TooBig(1000), 63))));
    assert_eq!(of("2001:db8:e::1", 1000), (None, None));
}

#[test]
fn an_unknown_next_hop_is_waited_for() {
    Bench::new().decide(&udp6(HOST0, "2001:db8:2::77", 64, 60), |d| {
        let Verdict::Hold(wait, edit) = &d.verdict else { panic!("{:?}", d.verdict) };
        assert_eq!((wait.key(), edit.decrement), ((P1, "2001:db8:2::77".parse().unwrap()), true));
    });
}

#[test]
fn errors_quote_and_choose_their_source() {
    let mut bench = Bench::new();
    let offender = udp6(HOST0, FAR, 1, 1400);
    let (sent, counts) = bench.run(&[offender.clone()]);
    let [(oif, frame)] = &sent[..] else { panic!("{sent:?}") };
    let (hdr, body) = Ip6Hdr::ref_from_prefix(&frame[14..]).unwrap();
    assert_eq!((*oif, hdr.src(), hdr.dst()), (P0, "2001:db8:1::fe".parse().unwrap(), HOST0.parse().unwrap()));
    assert_eq!((frame.len(), hdr.hop_limit, body[0], body[1]), (14 + 1280, 64, 3, 0));
    assert_eq!(&body[8..], &offender[..1232], "as much as fits into 1280 bytes, unchanged");
    assert_eq!(counts.mib(Mib::Ip6InHdrErrors), 1);
    assert_eq!(counts.mib_on(0, Mib::Icmp6OutTimeExcds) + counts.mib_on(1, Mib::Icmp6OutTimeExcds), 1);
    let error = patched(udp6(HOST0, FAR, 1, 60), 6, &[58]);
    let error = patched(error, 40, &[1, 0]);
    assert_eq!(bench.run(&[error]).0.len(), 0, "no error about an error");
}

#[test]
fn the_limiter_lets_six_pass() {
    let mut bench = Bench::new();
    let (sent, counts) = bench.run(&vec![udp6(HOST0, FAR, 1, 60); 20]);
    assert_eq!((sent.len(), counts.mib(Mib::Icmp6OutRateLimitHost)), (6, 14));
    assert_eq!(counts.mib(Mib::Icmp6OutMsgs), 6);
}

#[test]
fn a_redirect_goes_with_the_packet() {
    let mut bench = Bench::new();
    let better = Some("fe80::1".parse().unwrap());
    bench.writer.insert6(Route::new(p("2001:db8:f::/48"), Hops::one(P0, better)), Place::New).unwrap();
    bench.writer.publish();
    let packet = udp6(HOST0, "2001:db8:f::1", 64, 60);
    let (sent, _) = bench.run(&[packet.clone()]);
    assert_eq!(sent.len(), 2, "the redirect, then the packet");
    let body = &sent[0].1[54..];
    assert_eq!(
        (body[0], &body[8..24]),
        (137, &"fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets()[..])
    );
    assert_eq!(&body[40..48], [2, 1, 2, 0, 0, 0, 1, 1], "the target's link-layer address");
    let mut expect = framed(&packet);
    expect[..12].copy_from_slice(&[2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 2]);
    expect[21] = 63;
    assert_eq!(sent[1].1, expect);
}

#[test]
fn the_source_prefix_and_the_metric_choose_the_path() {
    let mut bench = Bench::new();
    let via = |host: &str| Some(host.parse().unwrap());
    let mut from = Route::new(p("2001:db8:5::/48"), Hops::one(P1, via("2001:db8:2::5")));
    from.src = p("2001:db8:1::/64");
    bench.writer.insert6(from, Place::New).unwrap();
    let hop = |dst: &str, metric, host| Route { metric, ..Route::new(p(dst), Hops::one(P1, via(host))) };
    for route in [
        hop("2001:db8:5::/48", 10, "2001:db8:2::6"),
        hop("2001:db8:6::/48", 10, "2001:db8:2::6"),
        hop("2001:db8:6::/48", 5, "2001:db8:2::7"),
    ] {
        bench.writer.insert6(route, Place::New).unwrap();
    }
    bench.writer.publish();
    let next = |src, dst| {
        bench.decide(&udp6(src, dst, 64, 60), |d| match &d.verdict {
            Verdict::Hold(wait, _) => wait.next.to_string(),
            other => format!("{other:?}"),
        })
    };
    assert_eq!(next(HOST0, "2001:db8:5::1"), "2001:db8:2::5");
    // Linux passes by a prefix's route for all sources where another is for some and none of those fits.
    assert_eq!(next("2001:db8:77::1", "2001:db8:5::1"), "Drop(V6NoRoute)");
    assert_eq!(next("2001:db8:77::1", "2001:db8:6::1"), "2001:db8:2::7");
}

#[test]
fn a_gateway_that_fails_is_passed_over_where_the_box_does_not_forward() {
    let hop = |oif, via: &str| Hops::one(oif, Some(via.parse().unwrap()));
    let mut bench = Bench::new();
    // The longer prefix has only the gateway that fails; of the two legs one does.
    for (dst, hops) in [
        ("2001:db8:5:1::/64", hop(P1, "2001:db8:2::bad")),
        ("2001:db8:5::/48", hop(P1, "2001:db8:2::6")),
        ("2001:db8:6::/48", hop(P1, "2001:db8:2::bad")),
    ] {
        bench.writer.insert6(Route::new(p(dst), hops), Place::New).unwrap();
    }
    let failed = Neighbour { lladdr: [0; 6], state: Nud::FAILED };
    bench.writer.set_neighbour(P1, "2001:db8:2::bad".parse().unwrap(), Some(failed));
    let next = |bench: &Bench, dst| {
        bench.decide(&udp6(HOST0, dst, 64, 60), |d| match &d.verdict {
            Verdict::Hold(wait, _) => wait.next.to_string(),
            other => format!("{other:?}"),
        })
    };
    bench.writer.publish();
    assert_eq!(next(&bench, "2001:db8:5:1::1"), "2001:db8:2::bad", "routers do not look");
    bench.writer.draft_mut().sysctl.all6.forwarding = 0;
    bench.writer.update_iface(P0, |i| i.conf6.force_forwarding = 1);
    bench.writer.publish();
    assert_eq!(next(&bench, "2001:db8:5:1::1"), "2001:db8:2::6");
    assert_eq!(next(&bench, "2001:db8:6::1"), "2001:db8:2::bad", "where there is nothing else");
}

#[test]
fn what_is_ours_does_not_depend_on_a_carrier() {
    let mut bench = Bench::new();
    bench.writer.update_iface(P1, |i| {
        i.carrier = false;
        i.conf6.ignore_routes_with_linkdown = 1;
    });
    bench.writer.publish();
    let local = |dst| bench.decide(&udp6(HOST0, dst, 64, 60), |d| matches!(d.verdict, Verdict::Local));
    assert!(local("2001:db8:2::fe"));
    assert_eq!(fate(&bench, &udp6(HOST0, HOST1, 64, 60)).0, Some(D::V6NoRoute));
}
