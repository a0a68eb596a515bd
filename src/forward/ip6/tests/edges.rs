//! What a packet seldom meets: switched-off interfaces, proxied addresses, super-frames, limits, routers without addresses.

use super::super::super::observe::{Observer, Step};
use super::super::super::testkit::mac;
use super::*;
use crate::frame::{GsoKind, Offload};
use crate::iface::LinkKind;
use crate::state::LinkInfo;
use warren_fib::{Hop, RuleAction, TABLE_LOCAL};

/// The names of rules as they are applied.
#[derive(Default)]
struct Names(Vec<&'static str>);

impl Observer for Names {
    fn rule(&mut self, name: &'static str) {
        self.0.push(name);
    }
    fn reply(&mut self, step: Step<'_>) {
        self.0.push(step.rule.name);
    }
    fn wants_rules(&self) -> bool {
        true
    }
}

/// How many frames leave, and the rules that were applied.
fn story(bench: &mut Bench, packet: Vec<u8>) -> (usize, Vec<&'static str>) {
    let mut names = Names::default();
    let (sent, _) = bench.run_observed(&[packet], Meta { iif: P0, ..Meta::default() }, &mut names);
    (sent.len(), names.0)
}

fn without_addresses(bench: &mut Bench, index: u32) {
    bench.writer.update_iface(index, |i| i.addrs6.clear());
}

#[test]
fn switched_off() {
    let mut bench = Bench::new();
    bench.writer.update_iface(P1, |i| i.conf6.disable_ipv6 = 1);
    bench.writer.publish();
    assert_eq!(fate(&bench, &udp6(HOST0, FAR, 64, 60)), (Some(D::V6OutDisabled), vec![]));
    bench.writer.update_iface(P0, |i| i.conf6.disable_ipv6 = 1);
    bench.writer.publish();
    assert_eq!(fate(&bench, &udp6(HOST0, FAR, 64, 60)), (Some(D::V6Disabled), vec![]));
}

#[test]
fn length_zero() {
    let kept = |packet: &[u8]| {
        Bench::new().decide(packet, |d| match &d.verdict {
            Verdict::Forward(_, edit) => edit.len,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(kept(&patched(udp6(HOST0, FAR, 64, 60), 4, &[0, 0])), 40);
    let options = patched(hbh6(HOST0, FAR, &[1, 4, 0, 0, 0, 0]), 4, &[0, 0]);
    assert_eq!(kept(&[&options[..], &[0xee; 9]].concat()), options.len() + 9, "padding and all");
}

#[test]
fn strange_addresses_are_looked_up() {
    let bench = Bench::new();
    for src in ["2001:db8:2::fe", "2001:db8:1::fe", "::ffff:192.0.2.1", "fec0::1", "::7"] {
        assert_eq!(fate(&bench, &udp6(src, FAR, 64, 60)), (None, vec![]), "{src}");
    }
    assert_eq!(fate(&bench, &udp6(HOST0, "::ffff:192.0.2.1", 64, 60)).0, Some(D::V6NoRoute));
}

#[test]
fn what_cannot_be_used_is_passed_over() {
    let mut bench = Bench::new();
    let gateway = Some("2001:db8:1::1".parse().unwrap());
    let narrow = Route { expires: bench.now, ..Route::new(p("2001:db8:9::/64"), Hops::one(P0, gateway)) };
    bench.writer.insert6(narrow, Place::New).unwrap();
    bench.writer.publish();
    let way = |bench: &Bench| {
        bench.decide(&udp6(HOST0, FAR, 64, 60), |d| match &d.verdict {
            Verdict::Forward(egress, _) => Ok(egress.oif.index),
            Verdict::Drop(reason) => Err(*reason),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(way(&bench), Ok(P1), "an expired route is none");
    bench.now -= 1;
    assert_eq!(way(&bench), Ok(P0));
    bench.now += 1;
    let p1 = LinkInfo {
        index: P1,
        name: "p1".into(),
        kind: LinkKind::Ethernet,
        mac: mac(P1),
        mtu: 1500,
        up: true,
        carrier: false,
    };
    bench.writer.set_link(p1);
    bench.writer.publish();
    assert_eq!(way(&bench), Ok(P1), "without carrier, and nobody minds");
    bench.writer.update_iface(P1, |i| i.conf6.ignore_routes_with_linkdown = 1);
    bench.writer.publish();
    assert_eq!(way(&bench), Err(D::V6NoRoute));
}

#[test]
fn proxied_addresses() {
    let mut bench = Bench::new();
    bench.writer.draft_mut().sysctl.all6.proxy_ndp = 1;
    bench.writer.update_iface(P0, |i| i.proxies6 = vec![FAR.parse().unwrap(), "fe80::77".parse().unwrap()]);
    bench.writer.publish();
    let discovery = |dst, hops| patched(patched(udp6(HOST0, dst, hops, 64), 6, &[58]), 40, &[135]);
    bench.decide(&discovery(FAR, 255), |d| assert_eq!(d.verdict, Verdict::Local));
    assert_eq!(fate(&bench, &discovery(FAR, 1)).0, Some(D::V6HopLimit), "that comes first");
    assert_eq!(fate(&bench, &udp6(HOST0, FAR, 64, 60)), (None, vec![]), "anything else goes on");
    let unreachable = (Some(D::V6ProxyLinkLocal), vec![ReplyKind::Unreachable(3)]);
    assert_eq!(fate(&bench, &udp6(HOST0, "fe80::77", 64, 60)), unreachable);
    bench.writer.draft_mut().sysctl.all6.proxy_ndp = 0;
    bench.writer.update_iface(P0, |i| i.conf6.proxy_ndp = 1);
    bench.writer.publish();
    assert_eq!(fate(&bench, &udp6(HOST0, "fe80::77", 64, 60)).0, None, "the interface's own does not count");
}

#[test]
fn super_frames_are_measured_by_their_segments() {
    let mut packet = patched(udp6(HOST0, FAR, 64, 4000), 6, &[6]);
    packet[52] = 0x50; // a TCP header of 20 bytes
    let of = |gso_size| {
        let offload = Offload {
            needs_csum: true,
            gso: GsoKind::Tcp6,
            gso_size,
            csum_start: 54,
            csum_offset: 16,
            ..Offload::default()
        };
        fate_of(&Bench::new(), &packet, Meta { iif: P0, offload, ..Meta::default() })
    };
    assert_eq!(of(1440), (None, vec![]));
    assert_eq!(of(1441), (Some(D::V6TooBig), vec![ReplyKind::TooBig(1500)]));
}

#[test]
fn a_group_by_a_unicast_route() {
    let mut bench = Bench::new();
    let everything = Route { table: 100, ..Route::new(p("::/0"), Hops::one(P0, None)) };
    bench.writer.insert6(everything, Place::New).unwrap();
    let rules = [100, TABLE_LOCAL].map(RuleAction::Table);
    bench.writer.set_rules6(rules.into_iter().map(|table| warren_fib::Rule::new(0, table)).collect());
    bench.writer.publish();
    bench.decide(&udp6(HOST0, "ff0e::9", 64, 60), |d| {
        let Verdict::Forward(egress, _) = &d.verdict else { panic!("{:?}", d.verdict) };
        assert_eq!((egress.oif.index, egress.lladdr), (P0, [0x33, 0x33, 0, 0, 0, 9]));
        assert!(d.counts.iter().any(|c| c.mib == Mib::Ip6OutMcastPkts));
        assert_eq!(d.counts.iter().filter(|c| c.mib == Mib::Ip6InReceives).count(), 1);
    });
    // Seen on Linux 6.18: Ip6InReceives, Ip6InOctets and the ECN counter once more, and nothing else.
    let group = "ff05::2".parse().unwrap();
    bench.writer.update_iface(P0, |iface| iface.groups6.push(group));
    bench.writer.publish();
    bench.decide(&udp6(HOST0, "ff05::2", 64, 60), |d| {
        assert!(matches!(d.verdict, Verdict::Forward(..)));
        for mib in [Mib::Ip6InReceives, Mib::Ip6InOctets, Mib::Ip6InNoECTPkts] {
            assert_eq!(d.counts.iter().filter(|c| c.mib == mib).count(), 2, "{mib:?}");
        }
    });
}

#[test]
fn when_no_redirect_is_sent() {
    let mut bench = Bench::new();
    for (prefix, gateway) in [("2001:db8:f::/48", "fe80::1"), ("2001:db8:10::/48", "2001:db8:1::1")] {
        let via = Some(gateway.parse().unwrap());
        bench.writer.insert6(Route::new(p(prefix), Hops::one(P0, via)), Place::New).unwrap();
    }
    bench.writer.publish();
    let says = |bench: &mut Bench, src, dst| {
        let (sent, names) = story(bench, udp6(src, dst, 64, 60));
        (sent, *names.iter().rfind(|name| name.contains("redirect")).unwrap())
    };
    assert_eq!(says(&mut bench, HOST0, "2001:db8:f::1"), (2, "redirect"));
    let far = "no redirect: the better hop is not link-local";
    assert_eq!(says(&mut bench, HOST0, "2001:db8:10::1"), (1, far));
    let stranger = "no redirect: the source is not on the link";
    assert_eq!(says(&mut bench, "2001:db8:9::5", "2001:db8:f::2"), (1, stranger));
    without_addresses(&mut bench, P0);
    bench.writer.publish();
    let mute = "no redirect: no link-local address to speak from";
    assert_eq!(says(&mut bench, HOST0, "2001:db8:f::3"), (1, mute));
}

#[test]
fn the_global_limit() {
    let mut bench = Bench::new();
    let sysctl = &mut bench.writer.draft_mut().sysctl.ip4;
    (sysctl.icmp_msgs_per_sec, sysctl.icmp_msgs_burst) = (1000, 10);
    bench.writer.publish();
    let packets: Vec<_> = (1..=50).map(|n| udp6(&format!("2001:db8:1::{n}"), FAR, 1, 60)).collect();
    let (_, counts) = bench.run(&packets);
    // Each message takes none, one or two of the ten.
    let sent = counts.mib(Mib::Icmp6OutMsgs);
    assert!((5..=40).contains(&sent), "{sent}");
    assert_eq!(counts.mib(Mib::IcmpOutRateLimitGlobal), 50 - sent);
}

#[test]
fn no_address_no_error() {
    let mut bench = Bench::new();
    [P0, P1].into_iter().for_each(|index| without_addresses(&mut bench, index));
    bench.writer.publish();
    let (sent, names) = story(&mut bench, udp6(HOST0, FAR, 1, 60));
    assert_eq!((sent, names.last()), (0, Some(&"no error: no address to speak from")));
}

#[test]
fn the_way_out_lends_its_address() {
    let mut bench = Bench::new();
    without_addresses(&mut bench, P0);
    bench.writer.update_iface(P0, |i| i.conf6.use_oif_addrs_only = 1);
    bench.writer.publish();
    let (sent, _) = bench.run(&[udp6(HOST1, "3fff::1", 1, 60)]);
    let (hdr, _) = Ip6Hdr::ref_from_prefix(&sent[0].1[14..]).unwrap();
    assert_eq!((sent[0].0, hdr.src().to_string()), (P1, "2001:db8:2::fe".to_owned()));
    let (_, names) = story(&mut bench, udp6(HOST1, "3fff::1", 1, 60));
    assert!(names.contains(&"source: chosen as seen from the way out"), "{names:?}");
}

#[test]
fn an_interface_insisted_on() {
    let mut bench = Bench::new();
    let legs = [P1, P0].map(|oif| Hop::new(oif, Some("fe80::1".parse().unwrap())));
    let both = Route::new(p("fe80:0:0:7::/64"), Hops::List(legs.to_vec()));
    bench.writer.insert6(both, Place::New).unwrap();
    bench.writer.publish();
    for host in 1..20 {
        bench.decide(&udp6(HOST0, &format!("fe80:0:0:7::{host}"), 64, 60), |d| {
            let Verdict::Forward(egress, _) = &d.verdict else { panic!("{:?}", d.verdict) };
            assert_eq!(egress.oif.index, P0);
        });
    }
}

/// Where the box as a whole does not forward, gateways that do not answer are passed by, and named to be asked again.
#[test]
fn gateways_that_are_passed_by_are_named() {
    let mut bench = Bench::new();
    let (dead, alive): (IpAddr, IpAddr) = ("fe80::66".parse().unwrap(), "2001:db8:2::1".parse().unwrap());
    let hops = Hops::List(vec![Hop::new(P1, Some(dead)), Hop::new(P1, Some(alive))]);
    bench.writer.insert6(Route::new(p("2001:db8:66::/48"), hops), Place::New).unwrap();
    let failed = Neighbour { lladdr: [0; 6], state: Nud::FAILED };
    bench.writer.set_neighbour(P1, dead, Some(failed));
    let named = |bench: &mut Bench| {
        let mut all = Vec::new();
        bench.decide(&udp6(HOST0, "2001:db8:66::9", 64, 60), |d| all.extend(d.passed_by.iter().copied()));
        all
    };
    bench.writer.publish();
    assert_eq!(named(&mut bench), []);
    bench.writer.draft_mut().sysctl.all6.forwarding = 0;
    bench.writer.update_iface(P0, |iface| iface.conf6.force_forwarding = 1);
    bench.writer.publish();
    assert_eq!(named(&mut bench), [(P1, dead)]);
}
