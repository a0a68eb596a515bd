//! Decoding: messages recorded from a kernel, the library's encoder as the other side, and hostile bytes.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{Emitable, Nla, ParseableParametrized};
use netlink_packet_route::RouteNetlinkMessage;

use super::super::*;
use super::{Event, Mode};
use crate::control::netlink::attr::body;

const RECORDED: &str = include_str!("recorded.txt");
/// Every message type that is decoded, and one that is not.
const KINDS: [u16; 18] = [16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 80, 81, 104, 105, 116, 117, 52, 0];

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn recordings() -> Vec<(&'static str, u16, u16, Vec<u8>)> {
    let line = |line: &'static str| {
        let fields: Vec<_> = line.split(' ').collect();
        let flags = u16::from_str_radix(fields[2].trim_start_matches("0x"), 16).unwrap();
        (fields[0], fields[1].parse().unwrap(), flags, bytes(fields[3]))
    };
    RECORDED.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

fn recorded(name: &str) -> Event {
    let (_, kind, flags, body) = recordings().into_iter().find(|r| r.0 == name).unwrap();
    Event::decode(kind, flags, &body).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn links() {
    let Event::Link(link) = recorded("link-up") else { panic!() };
    assert_eq!((link.index, link.name.as_str(), link.arphrd, link.mtu), (3, "p0", 1, 1500));
    assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 2]));
    assert!(link.is_up() && link.is_running() && link.is_lower_up() && !link.is_loopback() && link.carrier);
    assert_eq!((link.operstate, link.qdisc.as_str()), (6, "noqueue"));
    assert_eq!((link.kind.as_deref(), link.link, link.master), (Some("veth"), Some(2), None));
    assert_eq!((link.xdp, link.promiscuity), (None, 0));
    assert_eq!(link.conf4.get(devconf::v4::SHARED_MEDIA), Some(&1));
    assert_eq!(link.conf6.get(devconf::v6::HOP_LIMIT), Some(&64));
    assert_eq!(link.conf6.get(devconf::v6::MTU), Some(&1500));

    let Event::Link(new) = recorded("link-new") else { panic!() };
    assert!(!new.is_up() && !new.is_running() && !new.carrier);
    assert_eq!(new.operstate, 2);
}

#[test]
fn addresses() {
    let Event::Address(first) = recorded("address4") else { panic!() };
    assert_eq!((first.index, first.prefix), (3, "10.0.1.1/24".parse().unwrap()));
    assert_eq!(
        (first.peer, first.broadcast, first.label.as_deref()),
        (None, "10.0.1.255".parse().ok(), Some("p0:x"))
    );
    assert_eq!((first.flags, first.scope, first.valid, first.preferred), (0x80, 0, u32::MAX, u32::MAX));

    let Event::Address(peer) = recorded("address4-peer") else { panic!() };
    assert_eq!((peer.prefix, peer.peer), ("10.9.9.1/32".parse().unwrap(), Some(ip("10.9.9.2"))));

    let Event::Address(six) = recorded("address6") else { panic!() };
    assert_eq!(
        (six.prefix, six.flags, six.is_tentative()),
        ("2001:db8:1::1/64".parse().unwrap(), 0x82, false)
    );
}

#[test]
fn neighbours() {
    let mac = Some([2, 0, 0, 0, 0, 7]);
    let expected = NeighbourMsg::new(3, ip("10.0.1.7"), mac, NeighbourState::Permanent);
    assert_eq!(recorded("neighbour"), Event::Neighbour(expected));
}

#[test]
fn routes() {
    let mut first = Leg::via(ip("10.0.1.7"), Some(3));
    first.weight = 3;
    let mut second = Leg::via(ip("2001:db8:1::7"), Some(3));
    second.flags = leg_flag::ONLINK;
    let mut expected = RouteMsg::new("10.5.0.0/16".parse().unwrap(), RouteKind::Unicast, vec![first, second]);
    expected.protocol = 3;
    expected.metrics.set(metric::MTU, 1400);
    expected.metrics.set(metric::LOCK, 1 << metric::MTU);
    assert_eq!(recorded("route4-multipath"), Event::Route4(expected.clone(), Mode::Add));
    assert_eq!(recorded("route4-deleted"), Event::Route4Gone(expected.clone()));
    assert!(expected.metrics.is_locked(metric::MTU) && !expected.metrics.is_locked(metric::HOPLIMIT));

    let legs = vec![Leg::via(ip("2001:db8:1::7"), Some(3))];
    let mut expected = RouteMsg::new("2001:db8:5::/48".parse().unwrap(), RouteKind::Unicast, legs);
    expected.src = Some("2001:db8:9::/48".parse().unwrap());
    (expected.protocol, expected.priority, expected.pref) = (3, 77, 1);
    let Event::Route6(mut route, Mode::Add) = recorded("route6-source") else { panic!() };
    let left = route.expires.take().unwrap();
    assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100), "{left:?}");
    assert_eq!(route, expected);

    let Event::Route6(route, Mode::Prepend) = recorded("route6-multipath") else { panic!() };
    let legs: Vec<_> = route.legs.iter().map(|leg| (leg.gateway.unwrap().to_string(), leg.weight)).collect();
    assert_eq!(legs, [("2001:db8:1::7".to_owned(), 1), ("2001:db8:1::8".to_owned(), 2)]);

    let Event::Route6(route, _) = recorded("route6-blackhole") else { panic!() };
    assert_eq!((route.kind, route.table, route.priority), (RouteKind::Blackhole, 1000, 1024));
    assert!(route.legs.is_empty(), "lo is not a leg");
}

#[test]
fn rules() {
    let mut expected = RuleMsg::new(Family::V4, 100, 1000);
    expected.src = Some("10.66.0.0/16".parse().unwrap());
    expected.iif = Some("p0".to_owned());
    (expected.fwmark, expected.fwmask, expected.ip_proto) = (0x10, 0xf0, 17);
    expected.sport = Some(PortMatch::range(1000, 2000));
    expected.dport = Some(PortMatch::range(53, 53));
    expected.suppress_prefixlen = Some(0);
    expected.flags = rule_flag::INVERT;
    assert_eq!(recorded("rule"), Event::Rule(expected));
    // A matcher of a future kernel, and a mask of 0, which is none (Linux fib_rule_port_match).
    let (.., mut body) = recordings().into_iter().find(|r| r.0 == "rule").unwrap();
    body.extend([8, 0, 99, 0, 1, 0, 0, 0]);
    body.extend([6, 0, 28, 0, 0, 0, 0, 0]);
    let Event::Rule(rule) = Event::decode(32, 0, &body).unwrap() else { panic!() };
    assert_eq!((rule.unknown, rule.sport), (vec![99], Some(PortMatch::range(1000, 2000))));
}

#[test]
fn nexthops() {
    let Event::Nexthop(mut hop) = recorded("nexthop") else { panic!() };
    assert_eq!(std::mem::take(&mut hop.scope), 253);
    assert_eq!(hop, NexthopMsg::hop(1, Family::V4, 3, Some(ip("10.0.1.7"))));
    assert_eq!(recorded("nexthop-blackhole"), Event::Nexthop(NexthopMsg::blackhole(2, Family::V4)));
    let members = vec![Member { id: 1, weight: 3 }, Member { id: 3, weight: 1 }];
    let resilient = Resilient { buckets: 8, idle_timer: 6000, unbalanced_timer: 3000, unbalanced_time: 0 };
    assert_eq!(
        recorded("nexthop-resilient"),
        Event::Nexthop(NexthopMsg::group(11, members, Some(resilient)))
    );
}

#[test]
fn announced_sysctls() {
    let Event::Netconf(all) = recorded("netconf4-new") else { panic!() };
    assert_eq!((all.family, all.scope, all.forwarding), (Family::V4, Scope::Link(3), Some(0)));
    assert_eq!((all.rp_filter, all.bc_forwarding, all.force_forwarding), (Some(0), Some(0), None));
    let Event::Netconf(one) = recorded("netconf-forwarding") else { panic!() };
    assert_eq!((one.scope, one.forwarding, one.rp_filter), (Scope::Link(3), Some(1), None));
    let Event::Netconf(one) = recorded("netconf-rp-filter") else { panic!() };
    assert_eq!((one.scope, one.forwarding, one.rp_filter), (Scope::All, None, Some(2)));
    let Event::Netconf(six) = recorded("netconf6-new") else { panic!() };
    assert_eq!((six.family, six.bc_forwarding), (Family::V6, None));
}

#[test]
fn what_is_not_ours_is_ignored() {
    let (.., mut link) = recordings().into_iter().find(|r| r.0 == "link-up").unwrap();
    for family in [7, 10] {
        link[0] = family; // bridge ports and IPv6 send partial forms
        assert_eq!(Event::decode(16, 0, &link), Ok(Event::Ignored(16)));
    }
    for (kind, family) in [(24, 128), (24, 28), (28, 7), (32, 129), (80, 28), (20, 1)] {
        assert_eq!(Event::decode(kind, 0, &[family; 16]), Ok(Event::Ignored(kind)));
    }
    let (_, kind, flags, mut cloned) = recordings().into_iter().find(|r| r.0 == "route6-source").unwrap();
    cloned[9] |= 2; // RTM_F_CLONED
    assert!(matches!(Event::decode(kind, flags, &cloned), Ok(Event::Exception(_))));
    assert_eq!(Event::decode(25, flags, &cloned), Ok(Event::Ignored(25)), "it goes without a word");
    assert_eq!(Event::decode(9999, 0, &[]), Ok(Event::Ignored(9999)));
}

#[test]
fn what_does_not_fit_is_named() {
    assert_eq!(Event::decode(24, 0, &[2]), Err(Malformed { kind: 0, len: 1 }));
    let mut route = vec![2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    assert_eq!(
        Event::decode(24, 0, &route),
        Err(Malformed { kind: 1, len: 0 }),
        "only /0 may lack its address"
    );
    route.extend([6, 0, 1, 0, 10, 0, 0, 0]);
    assert_eq!(Event::decode(24, 0, &route), Err(Malformed { kind: 1, len: 2 }));
}

/// Hostile bytes: random ones, and recordings with bytes changed and ends cut off.
#[test]
fn decoding_is_total() {
    let recordings = recordings();
    bolero::check!().with_type::<(u8, u16, u16, Vec<(u16, u8)>, Vec<u8>)>().for_each(
        |(pick, flags, cut, edits, raw)| {
            let kind = KINDS[usize::from(*pick) % KINDS.len()];
            let _ = Event::decode(kind, *flags, raw);
            let (_, kind, _, body) = &recordings[usize::from(*pick) % recordings.len()];
            let mut body = body.clone();
            for (at, byte) in edits {
                let at = usize::from(*at) % body.len();
                body[at] = *byte;
            }
            let keep = body.len() - usize::from(*cut) % body.len();
            let _ = Event::decode(*kind, *flags, &body[..keep]);
            let _ = Event::decode(*kind, *flags, &body);
        },
    );
}

/// What the library reads from a recording and writes again, we read as the original.
#[test]
fn the_library_reads_the_recordings_alike() {
    for (name, kind, flags, body) in recordings() {
        let Ok(read) = RouteNetlinkMessage::parse_with_param(&body[..], kind) else {
            assert!(matches!(kind, 80 | 104), "{name}: the library lacks only netconf and next hops");
            continue;
        };
        let written = match &read {
            RouteNetlinkMessage::NewLink(m) => emitted(m),
            RouteNetlinkMessage::NewAddress(m) => emitted(m),
            RouteNetlinkMessage::NewNeighbour(m) => emitted(m),
            RouteNetlinkMessage::NewRoute(m) | RouteNetlinkMessage::DelRoute(m) => emitted(m),
            RouteNetlinkMessage::NewRule(m) => emitted(m),
            other => panic!("{name}: {other:?}"),
        };
        let mut ours = Event::decode(kind, flags, &body).unwrap();
        let mut theirs = Event::decode(kind, flags, &written).unwrap();
        for event in [&mut ours, &mut theirs] {
            if let Event::Link(link) = event {
                // The library keeps only the sysctls that it knows by name.
                link.conf4.truncate(32);
                link.conf6.truncate(50);
            }
        }
        assert_eq!(theirs, ours, "{name}");
    }
}

fn emitted(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn again(kind: u16, message: &impl Emitable, attributes: &[impl Nla]) -> Event {
    Event::decode(kind, Mode::Replace.flags(), &body(message, attributes).unwrap()).unwrap()
}

/// Every prefix, of either family, from six numbers.
fn prefix(six: bool, address: u128, len: u8) -> ipnet::IpNet {
    if six {
        ipnet::Ipv6Net::new(address.into(), len % 129).unwrap().trunc().into()
    } else {
        ipnet::Ipv4Net::new((address as u32).into(), len % 33).unwrap().trunc().into()
    }
}

/// What is written through the library is read back the same.
#[test]
fn routes_survive_writing_and_reading() {
    type Leg6 = (Option<u32>, Option<(bool, u128)>, u8, bool, Option<(u16, Vec<u8>)>);
    type Input = (
        bool,
        (u128, u8),
        Option<(u128, u8)>,
        (u32, u8, u8, u8),
        u32,
        Vec<(u8, u32)>,
        Vec<Leg6>,
        Option<u32>,
    );
    bolero::check!().with_type::<Input>().for_each(
        |(six, dst, src, (table, tos, kind, pref), priority, metrics, legs, id)| {
            let kind = RouteKind::from_number(*kind);
            let leg = |(link, gateway, weight, onlink, encap): &Leg6| Leg {
                link: link.filter(|link| *link != 0),
                gateway: gateway.map(|(other, ip)| prefix(*six || other, ip, 255).addr()),
                weight: u16::from(*weight) + 1,
                flags: if *onlink { leg_flag::ONLINK } else { 0 },
                realm: 0,
                encap: encap.clone().map(|(kind, data)| Encap { kind, data }),
            };
            let mut route = RouteMsg::new(prefix(*six, dst.0, dst.1), kind, legs.iter().map(leg).collect());
            route.src = src.map(|(ip, len)| prefix(*six, ip, len)).filter(|src| src.prefix_len() > 0);
            (route.table, route.tos, route.priority) = (*table, *tos, *priority);
            route.pref = if *six { *pref } else { 0 };
            for (number, value) in metrics.iter().filter(|(number, _)| *number != 16) {
                route.metrics.set(u16::from(*number), *value);
            }
            route.nexthop = *id;
            if route.kind.is_reject() || id.is_some() {
                route.legs.clear();
            }
            if let [only] = route.legs.as_mut_slice() {
                only.weight = 1; // a single leg has no place for a weight
            }
            // A single leg of nothing is no leg.
            route.legs.retain(|leg| leg.link.is_some() || leg.gateway.is_some() || leg.encap.is_some());
            if let [only] = route.legs.as_mut_slice() {
                only.weight = 1;
            }
            let message = route.encode();
            let event = again(libc::RTM_NEWROUTE, &message, &message.attributes);
            let expected =
                if *six { Event::Route6(route, Mode::Replace) } else { Event::Route4(route, Mode::Replace) };
            assert_eq!(event, expected);
        },
    );
}

#[test]
fn rules_survive_writing_and_reading() {
    type Ports = Option<(u16, u16, u16)>;
    type Input = (
        (bool, u32, u32, u8),
        [Option<(u128, u8)>; 2],
        (u8, u32, u32, u64, u8),
        [Ports; 2],
        [Option<u32>; 4],
        [bool; 3],
    );
    bolero::check!().with_type::<Input>().for_each(
        |(head, nets, match_, ports, options, [names, l3mdev, invert])| {
            let (six, priority, table, action) = *head;
            let mut rule = RuleMsg::new(if six { Family::V6 } else { Family::V4 }, priority, table);
            [rule.src, rule.dst] = nets.map(|net| net.map(|(ip, len)| prefix(six, ip, len)));
            (rule.tos, rule.fwmark, rule.fwmask, rule.tun_id, rule.ip_proto) = *match_;
            let port = |(start, end, mask): (u16, u16, u16)| PortMatch { start, end, mask: mask.max(1) };
            [rule.sport, rule.dport] = ports.map(|ports| ports.map(port));
            let [a, b, c, d] = *options;
            (rule.suppress_prefixlen, rule.suppress_ifgroup) =
                (a.filter(|v| *v != u32::MAX), b.filter(|v| *v != u32::MAX));
            rule.dscp = c.map(|v| (v as u8 & 0x3f, (v >> 8) as u8 & 0x3f));
            rule.flow_label = d.map(|v| (v & 0xf_ffff, v >> 12));
            rule.uids = a.zip(b);
            (rule.realm, rule.protocol) = (c.unwrap_or(0), action);
            rule.iif = names.then(|| "p0".to_owned());
            rule.oif = names.then(|| "a-name-of-15-by".to_owned());
            rule.l3mdev = *l3mdev;
            rule.flags = if *invert { rule_flag::INVERT } else { 0 };
            rule.action = match action % 6 {
                0 => RuleAction::Goto(table),
                1 => RuleAction::Table,
                2 => RuleAction::Nop,
                3 => RuleAction::Blackhole,
                4 => RuleAction::Unreachable,
                _ => RuleAction::Prohibit,
            };
            let message = rule.encode();
            assert_eq!(again(libc::RTM_NEWRULE, &message, &message.attributes), Event::Rule(rule));
        },
    );
}

#[test]
fn nexthops_survive_writing_and_reading() {
    type Input =
        (u32, bool, u8, u32, Option<u128>, Vec<(u32, u16)>, Option<(u16, u32, u32)>, Option<(u16, Vec<u8>)>);
    bolero::check!().with_type::<Input>().for_each(
        |(id, six, kind, link, gateway, members, resilient, encap)| {
            let family = if *six { Family::V6 } else { Family::V4 };
            let id = id | 1;
            let nexthop = match kind % 3 {
                0 => {
                    let gateway = gateway.map(|ip| prefix(*six, ip, if *six { 128 } else { 32 }).addr());
                    let encap = encap.clone().map(|(kind, data)| Encap { kind, data });
                    NexthopMsg {
                        kind: NexthopKind::Hop { link: *link, gateway, encap },
                        ..NexthopMsg::hop(id, family, 0, None)
                    }
                }
                1 => NexthopMsg::blackhole(id, family),
                _ => {
                    let members =
                        members.iter().map(|(id, weight)| Member { id: *id, weight: u32::from(*weight) + 1 });
                    let resilient = resilient.map(|(buckets, idle_timer, unbalanced_timer)| Resilient {
                        buckets,
                        idle_timer,
                        unbalanced_timer,
                        unbalanced_time: 0,
                    });
                    NexthopMsg::group(id, members.collect(), resilient)
                }
            };
            let message = nexthop.encode();
            assert_eq!(again(super::RTM_NEWNEXTHOP, &message, &message.attributes), Event::Nexthop(nexthop));
        },
    );
}
