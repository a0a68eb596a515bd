//! Links, addresses, neighbours, next hops and rules: everything that can be asked of the kernel is asked, dumped and compared with
//! what was asked; iproute2 must show the same, and an event must tell of it. Routes are in `netlink_routes.rs`. Needs root.

mod netlink_lab;

use std::os::fd::AsFd;
use std::process::Command;

use netlink_lab::{Lab, all_routes, ip, net, routing_lab, tunnel};
use serde_json::{Value, json};
use warren::control::netlink::*;
use warren::sys::netns::Namespace;

#[test]
fn links() {
    let mut lab = Lab::new("links");
    let other = Namespace::create(&format!("warren-t-nl-links2-{}", std::process::id())).unwrap();
    lab.forget();

    let peer = NewLink {
        index: Some(77),
        mac: Some([2, 0, 0, 0, 0, 9]),
        mtu: Some(1400),
        netns: Some(other.as_fd()),
        ..NewLink::new("far", LinkKind::Dummy)
    };
    let near = NewLink {
        index: Some(55),
        mac: Some([2, 0, 0, 0, 0, 8]),
        mtu: Some(1300),
        ..NewLink::new("near", LinkKind::Veth(Box::new(peer)))
    };
    lab.socket.add_link(&near).unwrap();
    let mut far = other.enter(Socket::open).unwrap().unwrap();
    lab.socket.set_link(55, &LinkChange::UP).unwrap();
    far.set_link(77, &LinkChange::UP).unwrap();
    let link = lab.socket.link("near").unwrap();
    assert_eq!((link.index, link.mac, link.mtu), (55, Some([2, 0, 0, 0, 0, 8]), 1300));
    assert!(link.is_up() && link.is_running() && link.carrier);
    assert_eq!((link.kind.as_deref(), link.link, link.link_netns.is_some()), (Some("veth"), Some(77), true));
    lab.expect("near", |e| matches!(e, Event::Link(l) if l.name == "near" && l.mtu == 1300));
    let end = far.link("far").unwrap();
    assert_eq!((end.index, end.mac, end.mtu, end.is_up()), (77, Some([2, 0, 0, 0, 0, 9]), 1400, true));
    lab.ip_shows(
        "link",
        &json!({"ifname": "near", "ifindex": 55, "mtu": 1300, "address": "02:00:00:00:00:08"}),
    );

    let change =
        LinkChange { up: Some(false), name: Some("renamed"), mtu: Some(1280), ..LinkChange::default() };
    lab.socket.set_link(55, &change).unwrap();
    let link = lab.socket.links().unwrap().into_iter().find(|l| l.index == 55).unwrap();
    assert_eq!((link.name.as_str(), link.mtu, link.is_up()), ("renamed", 1280, false));
    let mac = LinkChange { mac: Some([2, 0, 0, 0, 0, 7]), ..LinkChange::default() };
    lab.socket.set_link(55, &mac).unwrap();
    assert_eq!(lab.socket.link("renamed").unwrap().mac, Some([2, 0, 0, 0, 0, 7]));
    lab.socket.delete_link(55).unwrap();
    lab.expect("deletion", |e| matches!(e, Event::LinkGone(l) if l.index == 55));
    assert!(matches!(far.link("far"), Err(Error::NoLink(name)) if name == "far"), "the peer goes too");

    lab.socket.add_link(&NewLink::new("br0", LinkKind::Bridge)).unwrap();
    let br0 = lab.socket.link("br0").unwrap();
    assert_eq!(br0.kind.as_deref(), Some("bridge"));
    lab.socket.set_link(11, &LinkChange { master: Some(br0.index), ..LinkChange::default() }).unwrap();
    let port = lab.socket.link("p1").unwrap();
    assert_eq!(
        (port.master, port.master_kind.as_deref(), port.promiscuity),
        (Some(br0.index), Some("bridge"), 1)
    );
    lab.socket.set_link(11, &LinkChange { master: Some(0), ..LinkChange::default() }).unwrap();
    assert_eq!(lab.socket.link("p1").unwrap().master, None);
    let pretend = LinkChange { carrier: Some(false), ..LinkChange::default() };
    assert!(
        lab.socket.set_link(11, &pretend).unwrap_err().is(libc::EOPNOTSUPP),
        "a veth's carrier is its peer"
    );
    let away = LinkChange { netns: Some(other.as_fd()), ..LinkChange::default() };
    lab.socket.set_link(11, &away).unwrap();
    assert!(matches!(lab.socket.link("p1"), Err(Error::NoLink(_))));
    assert_eq!(far.link("p1").unwrap().index, 11);
}

/// Not every kernel has dummy links: ours succeed exactly where those of iproute2 do, and then behave.
#[test]
fn dummies() {
    let mut lab = Lab::new("dummy");
    let theirs = lab.ns.output(Command::new("ip").args(["link", "add", "theirs", "type", "dummy"])).unwrap();
    let ours = lab.socket.add_link(&NewLink::new("ours", LinkKind::Dummy));
    if !theirs.status.success() {
        let refused = ours.unwrap_err();
        assert!(refused.is(libc::EOPNOTSUPP), "{refused}");
        assert!(String::from_utf8_lossy(&theirs.stderr).contains("Unknown device type"), "{theirs:?}");
        return;
    }
    ours.unwrap();
    let index = lab.socket.link("ours").unwrap().index;
    lab.socket.set_link(index, &LinkChange { carrier: Some(false), ..LinkChange::UP }).unwrap();
    let link = lab.socket.link("ours").unwrap();
    assert_eq!(
        (link.kind.as_deref(), link.carrier, link.is_up(), link.is_lower_up()),
        (Some("dummy"), false, true, false)
    );
}

#[test]
fn addresses() {
    let mut lab = Lab::new("addr");
    lab.forget();
    let labelled = |address: AddressMsg| AddressMsg { label: Some("p0".to_owned()), ..address };
    let wanted = [
        labelled(AddressMsg::new(10, net("10.0.1.1/24"))),
        labelled(AddressMsg {
            broadcast: "10.0.2.255".parse().ok(),
            metric: Some(50),
            ..AddressMsg::new(10, net("10.0.2.1/24"))
        }),
        labelled(AddressMsg {
            peer: Some(ip("10.9.9.2")),
            scope: 253,
            ..AddressMsg::new(10, net("10.9.9.1/32"))
        }),
        AddressMsg::new(10, net("2001:db8:1::1/64")),
        AddressMsg { protocol: 3, metric: Some(9), ..AddressMsg::new(10, net("2001:db8:2::1/64")) },
        AddressMsg { peer: Some(ip("2001:db8:3::2")), ..AddressMsg::new(10, net("2001:db8:3::1/128")) },
        AddressMsg { flags: 0x82 | 0x20, preferred: 0, ..AddressMsg::new(10, net("2001:db8:4::1/64")) },
    ];
    for address in &wanted {
        lab.socket.add_address(address, Mode::Add).unwrap();
        assert!(
            lab.socket.addresses().unwrap().contains(address),
            "{address:?} in {:#?}",
            lab.socket.addresses()
        );
        lab.expect(address, |e| *e == Event::Address(address.clone()));
        let (local, len) = (address.prefix.addr(), address.prefix.prefix_len());
        let info = lab.ip("address show dev p0")[0]["addr_info"].clone();
        let shown =
            info.as_array().unwrap().iter().find(|a| a["local"] == local.to_string()).unwrap().clone();
        assert_eq!(shown["prefixlen"], len);
        assert_eq!(shown["address"].as_str(), address.peer.map(|p| p.to_string()).as_deref(), "{shown}");
        assert_eq!(shown["metric"].as_u64(), address.metric.map(u64::from));
    }
    let limited = AddressMsg { valid: 1000, preferred: 500, flags: 0x02, ..wanted[3].clone() };
    lab.socket.add_address(&limited, Mode::Replace).unwrap();
    let now = lab.socket.addresses().unwrap().into_iter().find(|a| a.prefix == limited.prefix).unwrap();
    assert!((990..=1000).contains(&now.valid) && (490..=500).contains(&now.preferred), "{now:?}");
    assert_eq!(now.flags & 0x80, 0, "no longer permanent");

    for address in &wanted {
        lab.forget();
        lab.socket.delete_address(address).unwrap();
        lab.expect(address, |e| matches!(e, Event::AddressGone(gone) if gone.prefix == address.prefix));
    }
    let left = lab.socket.addresses().unwrap();
    assert!(wanted.iter().all(|gone| left.iter().all(|a| a.prefix != gone.prefix)), "{left:#?}");
}

#[test]
fn neighbours() {
    let mut lab = Lab::new("neigh");
    let mac = Some([2, 0, 0, 0, 0, 0x42]);
    lab.forget();
    let wanted = [
        NeighbourMsg::new(10, ip("10.0.1.7"), mac, NeighbourState::Permanent),
        NeighbourMsg::new(10, ip("10.0.1.8"), mac, NeighbourState::Noarp),
        NeighbourMsg {
            protocol: 186,
            ..NeighbourMsg::new(10, ip("2001:db8:1::7"), mac, NeighbourState::Permanent)
        },
        NeighbourMsg {
            flags: flag::ROUTER,
            ..NeighbourMsg::new(10, ip("2001:db8:1::8"), mac, NeighbourState::Stale)
        },
        NeighbourMsg {
            flags: flag::EXT_LEARNED,
            ..NeighbourMsg::new(10, ip("10.0.1.9"), mac, NeighbourState::Reachable)
        },
    ];
    for neighbour in &wanted {
        lab.socket.add_neighbour(neighbour, Mode::Add).unwrap();
        assert!(
            lab.socket.neighbours().unwrap().contains(neighbour),
            "{neighbour:?} in {:#?}",
            lab.socket.neighbours()
        );
        lab.expect(neighbour, |e| *e == Event::Neighbour(neighbour.clone()));
        let state = format!("{:?}", neighbour.state).to_uppercase();
        let fields = json!({"dst": neighbour.to.to_string(), "dev": "p0", "lladdr": "02:00:00:00:00:42", "state": [state]});
        lab.ip_shows("neigh show nud all", &fields);
    }
    let replaced = NeighbourMsg { mac: Some([2, 0, 0, 0, 0, 0x43]), ..wanted[0].clone() };
    lab.socket.add_neighbour(&replaced, Mode::Replace).unwrap();
    assert!(lab.socket.neighbours().unwrap().contains(&replaced));
    for neighbour in &wanted {
        lab.socket.delete_neighbour(neighbour).unwrap();
        lab.expect(neighbour, |e| matches!(e, Event::NeighbourGone(gone) if gone.to == neighbour.to));
    }
    assert!(lab.socket.neighbours().unwrap().iter().all(|n| n.mac != mac));

    for proxy in [NeighbourMsg::proxy(10, ip("10.0.1.200")), NeighbourMsg::proxy(10, ip("2001:db8:1::200"))] {
        lab.socket.add_neighbour(&proxy, Mode::Add).unwrap();
        let proxies = lab.socket.proxies().unwrap();
        assert!(
            proxies.iter().any(|p| (p.to, p.index, p.flags) == (proxy.to, 10, flag::PROXY)),
            "{proxies:?}"
        );
        assert!(
            lab.socket.neighbours().unwrap().iter().all(|n| n.to != proxy.to),
            "proxies are not neighbours"
        );
        lab.ip_shows("neigh show proxy", &json!({"dst": proxy.to.to_string(), "dev": "p0"}));
        lab.socket.delete_neighbour(&proxy).unwrap();
    }
    assert!(lab.socket.proxies().unwrap().is_empty());
}

/// The kernel resolves a neighbour that is used, and checks one that is probed.
#[test]
fn neighbour_resolution() {
    let mut lab = Lab::new("use");
    let other = Namespace::create(&format!("warren-t-nl-use2-{}", std::process::id())).unwrap();
    lab.socket.set_link(11, &LinkChange { netns: Some(other.as_fd()), ..LinkChange::default() }).unwrap();
    let mut far = other.enter(Socket::open).unwrap().unwrap();
    let index = far.link("p1").unwrap().index;
    far.set_link(
        index,
        &LinkChange { up: Some(true), mac: Some([2, 0, 0, 0, 0, 2]), ..LinkChange::default() },
    )
    .unwrap();
    far.add_address(&AddressMsg::new(index, net("10.0.1.2/24")), Mode::Add).unwrap();
    lab.socket.add_address(&AddressMsg::new(10, net("10.0.1.1/24")), Mode::Add).unwrap();

    lab.forget();
    lab.socket.use_neighbour(10, ip("10.0.1.2")).unwrap();
    let reachable = lab.wait("resolution", |e| match e {
        Event::Neighbour(n) if n.to == ip("10.0.1.2") && n.state == NeighbourState::Reachable => n.mac,
        _ => None,
    });
    assert_eq!(reachable, [2, 0, 0, 0, 0, 2]);
    let probe = NeighbourMsg::new(10, ip("10.0.1.2"), None, NeighbourState::Probe);
    lab.forget();
    lab.socket.add_neighbour(&probe, Mode::Replace).unwrap();
    lab.expect("probe", |e| matches!(e, Event::Neighbour(n) if n.state == NeighbourState::Probe));
    lab.expect("answer", |e| matches!(e, Event::Neighbour(n) if n.state == NeighbourState::Reachable));
}

#[test]
fn nexthops() {
    let mut lab = routing_lab("nexthop");
    let six = Family::V6;
    let member = |id, weight| Member { id, weight };
    let resilient = Resilient { buckets: 16, idle_timer: 6000, unbalanced_timer: 3000, unbalanced_time: 0 };
    let onlink =
        NexthopMsg { flags: 4, protocol: 186, ..NexthopMsg::hop(3, Family::V4, 10, Some(ip("172.16.0.1"))) };
    let encapsulated = NexthopKind::Hop { link: 10, gateway: Some(ip("10.0.1.2")), encap: Some(tunnel()) };
    let wanted = [
        (
            NexthopMsg::hop(1, Family::V4, 10, Some(ip("10.0.1.2"))),
            json!({"id": 1, "gateway": "10.0.1.2", "dev": "p0"}),
        ),
        (
            NexthopMsg::hop(2, six, 10, Some(ip("2001:db8:1::2"))),
            json!({"id": 2, "gateway": "2001:db8:1::2"}),
        ),
        (onlink, json!({"id": 3, "flags": ["onlink"], "protocol": "bgp"})),
        (NexthopMsg::hop(4, Family::V4, 11, None), json!({"id": 4, "dev": "p1"})),
        (NexthopMsg::blackhole(5, Family::V4), json!({"id": 5, "blackhole": null})),
        (NexthopMsg::blackhole(6, six), json!({"id": 6, "blackhole": null})),
        (
            NexthopMsg { kind: encapsulated, ..NexthopMsg::hop(7, Family::V4, 0, None) },
            json!({"encap": "ip", "dst": "10.0.1.9", "gateway": "10.0.1.2"}),
        ),
        (
            NexthopMsg::group(20, vec![member(1, 3), member(3, 256)], None),
            json!({"id": 20, "group": [{"id": 1, "weight": 3}, {"id": 3, "weight": 256}]}),
        ),
        // iproute2 6.1 does not know the high byte of a weight.
        (NexthopMsg::group(21, vec![member(1, 65_535), member(3, 257)], None), json!({"id": 21})),
        (
            NexthopMsg::group(22, vec![member(1, 1), member(3, 3)], Some(resilient)),
            json!({"id": 22, "type": "resilient"}),
        ),
    ];
    for (nexthop, shown) in &wanted {
        lab.forget();
        lab.socket.add_nexthop(nexthop, Mode::Add).unwrap();
        let dumped = lab.socket.nexthops().unwrap().into_iter().find(|n| n.id == nexthop.id).unwrap();
        let dumped = NexthopMsg { scope: 0, ..dumped };
        assert_eq!(dumped, *nexthop);
        lab.expect(
            nexthop,
            |e| matches!(e, Event::Nexthop(n) if NexthopMsg { scope: 0, ..n.clone() } == *nexthop),
        );
        lab.ip_shows("nexthop", shown);
    }
    let buckets = lab.socket.buckets(22).unwrap();
    assert_eq!(
        buckets.iter().map(|b| (b.group, b.index)).collect::<Vec<_>>(),
        (0..16).map(|i| (22, i)).collect::<Vec<_>>()
    );
    assert_eq!(buckets.iter().filter(|b| b.member == 3).count(), 12);
}

/// A route through a group lists the group's legs; objects change and go, and the groups follow.
#[test]
fn nexthops_in_use() {
    let mut lab = routing_lab("nhuse");
    let member = |id, weight| Member { id, weight };
    for (id, gateway) in [(1, "10.0.1.2"), (3, "10.0.1.4")] {
        lab.socket.add_nexthop(&NexthopMsg::hop(id, Family::V4, 10, Some(ip(gateway))), Mode::Add).unwrap();
    }
    let group = NexthopMsg::group(20, vec![member(1, 3), member(3, 256)], None);
    lab.socket.add_nexthop(&group, Mode::Add).unwrap();
    let mut by_group = RouteMsg::new(net("10.8.0.0/16"), RouteKind::Unicast, vec![]);
    by_group.nexthop = Some(20);
    lab.socket.add_route(&by_group, Mode::Add).unwrap();
    let dumped = all_routes(&mut lab, None).into_iter().find(|r| r.dst == by_group.dst).unwrap();
    assert_eq!(dumped.nexthop, Some(20));
    assert_eq!(
        dumped.legs.iter().map(|leg| leg.weight).collect::<Vec<_>>(),
        [3, 256],
        "listed too (nexthop_compat_mode)"
    );

    let moved = NexthopMsg::hop(1, Family::V4, 10, Some(ip("10.0.1.3")));
    lab.socket.add_nexthop(&moved, Mode::Replace).unwrap();
    assert!(lab.socket.nexthops().unwrap().iter().any(|n| NexthopMsg { scope: 0, ..n.clone() } == moved));
    lab.forget();
    lab.socket.delete_nexthop(3).unwrap();
    lab.expect("deletion", |e| matches!(e, Event::NexthopGone(n) if n.id == 3));
    lab.expect(
        "the group shrinks",
        |e| matches!(e, Event::Nexthop(n) if *n == NexthopMsg::group(20, vec![member(1, 3)], None)),
    );
}

fn rule(family: Family, pref: u32, adjust: impl FnOnce(&mut RuleMsg)) -> RuleMsg {
    let mut rule = RuleMsg::new(family, pref, 100);
    adjust(&mut rule);
    rule
}

const FOUR: Family = Family::V4;
const SIX: Family = Family::V6;

/// Rules that match something, each with what iproute2 must show of it (6.1 does not know the newest matchers).
fn matchers() -> Vec<(RuleMsg, Value)> {
    let ports = |start, end, mask| Some(PortMatch { start, end, mask });
    vec![
        (
            rule(FOUR, 100, |r| {
                r.src = Some(net("10.66.0.0/16"));
                r.dst = Some(net("10.67.1.0/24"));
            }),
            json!({"priority": 100, "src": "10.66.0.0", "srclen": 16, "dst": "10.67.1.0", "dstlen": 24, "table": "100"}),
        ),
        (
            rule(SIX, 101, |r| {
                r.src = Some(net("2001:db8:1::/48"));
                r.table = 70_000;
                r.protocol = 186;
            }),
            json!({"priority": 101, "src": "2001:db8:1::", "srclen": 48, "table": "70000", "protocol": "bgp"}),
        ),
        (
            rule(FOUR, 102, |r| {
                r.iif = Some("p0".into());
                r.oif = Some("absent".into());
                r.flags = 0x10;
            }),
            json!({"priority": 102, "iif": "p0", "oif": "absent", "oif_detached": null}),
        ),
        (
            rule(FOUR, 103, |r| {
                (r.fwmark, r.fwmask) = (0x10, 0xf0);
                r.flags = rule_flag::INVERT;
            }),
            json!({"priority": 103, "not": null, "fwmark": "0x10", "fwmask": "0xf0"}),
        ),
        (
            rule(FOUR, 104, |r| {
                r.tos = 0x10;
                r.ip_proto = 17;
                r.sport = ports(1000, 2000, 0xffff);
                r.dport = ports(53, 53, 0xffff);
            }),
            json!({"priority": 104, "tos": "0x10", "ipproto": "udp", "sport_start": 1000, "sport_end": 2000, "dport": 53}),
        ),
        (
            rule(SIX, 105, |r| {
                r.ip_proto = 6;
                r.sport = ports(0x1200, 0x1200, 0xff00);
            }),
            json!({"priority": 105}),
        ),
        (rule(FOUR, 106, |r| r.dscp = Some((10, 0x3f))), json!({"priority": 106})),
        (
            rule(SIX, 107, |r| {
                r.dscp = Some((0x28, 0x38));
                r.flow_label = Some((0x12345, 0xf_ffff));
            }),
            json!({"priority": 107}),
        ),
        (rule(SIX, 108, |r| r.flow_label = Some((0x12300, 0xf_ff00))), json!({"priority": 108})),
    ]
}

/// Rules that do something other than look in a table, or look in a special way.
fn actions() -> Vec<(RuleMsg, Value)> {
    vec![
        (
            rule(FOUR, 109, |r| {
                r.suppress_prefixlen = Some(0);
                r.suppress_ifgroup = Some(3);
            }),
            json!({"priority": 109, "suppress_prefixlen": 0, "suppress_ifgroup": "3"}),
        ),
        (
            rule(FOUR, 110, |r| {
                r.uids = Some((1000, 2000));
                r.tun_id = 0x1_2345_6789;
            }),
            json!({"priority": 110, "uid_start": 1000, "uid_end": 2000}),
        ),
        (
            rule(FOUR, 111, |r| {
                r.l3mdev = true;
                r.table = 0;
            }),
            json!({"priority": 111, "l3mdev": null}),
        ),
        (
            rule(FOUR, 112, |r| {
                r.action = RuleAction::Goto(120);
                r.table = 0;
                r.flags = rule_flag::UNRESOLVED;
            }),
            json!({"priority": 112, "goto": 120}),
        ),
        (
            rule(FOUR, 113, |r| {
                r.action = RuleAction::Nop;
                r.table = 0;
            }),
            json!({"priority": 113, "nop": null}),
        ),
        (
            rule(FOUR, 114, |r| {
                r.action = RuleAction::Blackhole;
                r.table = 0;
            }),
            json!({"priority": 114, "action": "blackhole"}),
        ),
        (
            rule(SIX, 115, |r| {
                r.action = RuleAction::Unreachable;
                r.table = 0;
            }),
            json!({"priority": 115, "action": "unreachable"}),
        ),
        (
            rule(SIX, 116, |r| {
                r.action = RuleAction::Prohibit;
                r.table = 0;
            }),
            json!({"priority": 116, "action": "prohibit"}),
        ),
    ]
}

#[test]
fn rules() {
    let mut lab = Lab::new("rules");
    let wanted = [matchers(), actions()].concat();
    for (rule, shown) in &wanted {
        lab.forget();
        lab.socket.add_rule(rule).unwrap();
        let dumped = lab.socket.rules().unwrap().into_iter().find(|r| r.priority == rule.priority).unwrap();
        assert_eq!(dumped, *rule);
        lab.expect(rule, |e| *e == Event::Rule(rule.clone()));
        lab.ip_shows(if rule.family == FOUR { "-4 rule" } else { "-6 rule" }, shown);
    }
    for (rule, _) in &wanted {
        lab.forget();
        lab.socket.delete_rule(rule).unwrap();
        lab.expect(rule, |e| matches!(e, Event::RuleGone(gone) if gone.priority == rule.priority));
    }
    let left: Vec<_> = lab.socket.rules().unwrap().iter().map(|r| (r.family, r.priority, r.table)).collect();
    assert_eq!(
        left,
        [(FOUR, 0, 255), (FOUR, 32766, 254), (FOUR, 32767, 253), (SIX, 0, 255), (SIX, 32766, 254)]
    );
}
