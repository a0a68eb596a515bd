//! Routes of every kind are added, dumped and compared with what was asked; iproute2 must show the same, and an event must tell of it.
//! Needs root.

mod netlink_lab;

use std::process::Command;
use std::time::Duration;

use netlink_lab::{Lab, all_routes, ip, net, routing_lab, tunnel};
use serde_json::{Value, json};
use warren::control::netlink::*;

fn onlink(mut leg: Leg) -> Leg {
    leg.flags = leg_flag::ONLINK;
    leg
}

fn weighted(mut leg: Leg, weight: u16) -> Leg {
    leg.weight = weight;
    leg
}

fn routed(dst: &str, legs: Vec<Leg>, adjust: impl FnOnce(&mut RouteMsg)) -> RouteMsg {
    let mut route = RouteMsg::new(net(dst), RouteKind::Unicast, legs);
    adjust(&mut route);
    route
}

/// Routes to add, each with what iproute2 must show of it.
fn routes4() -> Vec<(RouteMsg, Value)> {
    let gateway = || Leg::via(ip("10.0.1.2"), Some(10));
    let six = || Leg::via(ip("2001:db8:1::2"), Some(10));
    let dev = || vec![Leg::dev(10)];
    vec![
        (
            routed("10.1.0.0/16", vec![gateway()], |_| ()),
            json!({"dst": "10.1.0.0/16", "gateway": "10.0.1.2", "dev": "p0", "protocol": "static"}),
        ),
        (routed("0.0.0.0/0", vec![gateway()], |r| r.priority = 5), json!({"dst": "default", "metric": 5})),
        (
            routed("10.2.0.0/16", dev(), |r| {
                r.table = 70_000;
                r.protocol = 186;
            }),
            json!({"dst": "10.2.0.0/16", "protocol": "bgp", "scope": "link"}),
        ),
        (
            routed("10.3.0.0/16", vec![gateway()], |r| {
                r.tos = 0x10;
                r.prefsrc = Some(ip("10.0.1.1"));
            }),
            json!({"dst": "10.3.0.0/16", "tos": "0x10", "prefsrc": "10.0.1.1"}),
        ),
        (
            routed("10.4.0.0/16", vec![gateway()], |r| {
                r.metrics.set(metric::MTU, 1400);
                r.metrics.set(metric::LOCK, 1 << metric::MTU);
                r.metrics.set(metric::HOPLIMIT, 9);
                r.metrics.set(metric::ADVMSS, 1000);
            }),
            json!({"dst": "10.4.0.0/16", "metrics": [{"mtu": 1400, "advmss": 1000, "hoplimit": 9}]}),
        ),
        (
            routed("10.5.0.0/16", vec![onlink(Leg::via(ip("172.16.0.1"), Some(10)))], |_| ()),
            json!({"dst": "10.5.0.0/16", "gateway": "172.16.0.1", "flags": ["onlink"]}),
        ),
        (
            routed("10.6.0.0/16", vec![six()], |_| ()),
            json!({"dst": "10.6.0.0/16", "via": {"family": "inet6", "host": "2001:db8:1::2"}}),
        ),
        (
            routed(
                "10.7.0.0/16",
                vec![
                    weighted(gateway(), 3),
                    weighted(six(), 256),
                    weighted(onlink(Leg::via(ip("172.16.0.9"), Some(11))), 1),
                ],
                |_| (),
            ),
            json!({"dst": "10.7.0.0/16", "nexthops": [
                {"gateway": "10.0.1.2", "dev": "p0", "weight": 3, "flags": []},
                {"via": {"family": "inet6", "host": "2001:db8:1::2"}, "dev": "p0", "weight": 256, "flags": []},
                {"gateway": "172.16.0.9", "dev": "p1", "weight": 1, "flags": ["onlink"]},
            ]}),
        ),
        (
            routed("10.17.0.0/16", vec![Leg { encap: Some(tunnel()), ..gateway() }], |_| ()),
            json!({"encap": "ip", "dst": "10.0.1.9", "gateway": "10.0.1.2"}),
        ),
    ]
}

fn routes6() -> Vec<(RouteMsg, Value)> {
    let gateway = |last: u16| Leg::via(ip(&format!("2001:db8:1::{last:x}")), Some(10));
    let dev = || vec![Leg::dev(10)];
    vec![
        (
            routed("2001:db8:a::/48", vec![gateway(2)], |r| r.priority = 1024),
            json!({"dst": "2001:db8:a::/48", "gateway": "2001:db8:1::2", "dev": "p0", "metric": 1024}),
        ),
        (
            routed("::/0", vec![gateway(2)], |r| {
                r.priority = 5;
                r.pref = 1;
            }),
            json!({"dst": "default", "metric": 5, "pref": "high"}),
        ),
        (
            routed("2001:db8:b::/48", dev(), |r| {
                r.priority = 3;
                r.table = 70_000;
                r.pref = 3;
            }),
            json!({"dst": "2001:db8:b::/48", "pref": "low"}),
        ),
        (
            routed("2001:db8:c::/48", vec![gateway(2)], |r| {
                r.priority = 3;
                r.src = Some(net("2001:db8:5::/48"));
                r.prefsrc = Some(ip("2001:db8:1::1"));
            }),
            json!({"dst": "2001:db8:c::/48", "from": "2001:db8:5::/48", "prefsrc": "2001:db8:1::1"}),
        ),
        (
            routed("2001:db8:d::/48", vec![gateway(2)], |r| {
                r.priority = 3;
                r.metrics.set(metric::MTU, 1400);
                r.metrics.set(metric::HOPLIMIT, 9);
            }),
            json!({"dst": "2001:db8:d::/48", "metrics": [{"mtu": 1400, "hoplimit": 9}]}),
        ),
        (
            routed("2001:db8:e::/48", vec![weighted(gateway(2), 3), weighted(gateway(3), 256)], |r| {
                r.priority = 3;
            }),
            json!({"dst": "2001:db8:e::/48", "nexthops": [
                {"gateway": "2001:db8:1::2", "dev": "p0", "weight": 3, "flags": []},
                {"gateway": "2001:db8:1::3", "dev": "p0", "weight": 256, "flags": []},
            ]}),
        ),
        (
            routed("2001:db8:f::/48", vec![onlink(Leg::via(ip("2001:db8:77::1"), Some(10)))], |r| {
                r.priority = 3;
            }),
            json!({"dst": "2001:db8:f::/48", "gateway": "2001:db8:77::1", "flags": ["onlink"]}),
        ),
    ]
}

/// One route of each type in a table of its own.
fn types() -> Vec<(RouteMsg, Value)> {
    use RouteKind::{Anycast, Blackhole, Broadcast, Local, Multicast, Prohibit, Throw, Unreachable};
    let dsts = [
        (Blackhole, "10.10.0.0/16", "2001:db8:10::/48"),
        (Unreachable, "10.11.0.0/16", "2001:db8:11::/48"),
        (Prohibit, "10.12.0.0/16", "2001:db8:12::/48"),
        (Throw, "10.13.0.0/16", "2001:db8:13::/48"),
        (Local, "10.14.0.0/16", "2001:db8:14::/64"),
        (Anycast, "10.15.0.0/16", "2001:db8:15::/64"),
        (Multicast, "239.1.0.0/16", "ff05::/16"),
        (Broadcast, "10.16.0.0/16", ""),
    ];
    let mut routes = Vec::new();
    for (kind, four, six) in dsts {
        for dst in [four, six].into_iter().filter(|dst| !dst.is_empty()) {
            let legs = if kind.is_reject() { vec![] } else { vec![Leg::dev(10)] };
            let mut route = RouteMsg::new(net(dst), kind, legs);
            (route.table, route.priority) = (1000, 7);
            let name = format!("{kind:?}").to_lowercase();
            routes.push((route, json!({"type": name, "dst": dst, "metric": 7})));
        }
    }
    routes
}

#[test]
fn routes() {
    let mut lab = routing_lab("routes");
    for routes in [routes4(), routes6(), types()] {
        for (route, shown) in &routes {
            let family = if route.family() == Family::V4 { "-4" } else { "-6" };
            lab.forget();
            lab.socket.add_route(route, Mode::Add).unwrap();
            let dumped = all_routes(&mut lab, Some(route.table));
            assert!(dumped.contains(route), "{route:#?} is not among {dumped:#?}");
            assert!(all_routes(&mut lab, None).contains(route));
            lab.expect(route, |e| matches!(e, Event::Route4(r, _) | Event::Route6(r, _) if r == route));
            lab.ip_shows(&format!("{family} route show table {}", route.table), shown);
            if route.metrics.is_locked(metric::MTU) {
                // iproute2 leaves the lock out of its JSON.
                let text = lab
                    .ns
                    .output(Command::new("ip").args(["route", "show", &route.dst.to_string()]))
                    .unwrap();
                assert!(String::from_utf8(text.stdout).unwrap().contains("mtu lock 1400"));
            }
        }
        for (route, _) in &routes {
            lab.forget();
            lab.socket.delete_route(route).unwrap();
            lab.expect(
                route,
                |e| matches!(e, Event::Route4Gone(r) | Event::Route6Gone(r) if r.dst == route.dst),
            );
            assert!(!all_routes(&mut lab, Some(route.table)).contains(route));
        }
    }
    let expiring =
        routed("2001:db8:99::/48", vec![Leg::dev(10)], |r| r.expires = Some(Duration::from_millis(99_500)));
    lab.socket.add_route(&expiring, Mode::Add).unwrap();
    let dumped = all_routes(&mut lab, Some(254)).into_iter().find(|r| r.dst == expiring.dst).unwrap();
    let left = dumped.expires.unwrap();
    assert!(left > Duration::from_secs(95) && left <= Duration::from_secs(100), "{left:?}");
}

/// The mode of a request decides the order of equal routes, and the mode of the event tells it.
#[test]
fn route_modes() {
    let mut lab = routing_lab("modes");
    let via =
        |last: u8| routed("10.1.0.0/16", vec![Leg::via(ip(&format!("10.0.1.{last}")), Some(10))], |_| ());
    let order = |lab: &mut Lab| -> Vec<RouteMsg> {
        all_routes(lab, Some(254)).into_iter().filter(|r| r.dst == net("10.1.0.0/16")).collect()
    };
    let steps = [
        (via(2), Mode::Add, Mode::Add, vec![via(2)]),
        (via(3), Mode::Append, Mode::Append, vec![via(2), via(3)]),
        (via(4), Mode::Prepend, Mode::Prepend, vec![via(4), via(2), via(3)]),
        (via(5), Mode::Replace, Mode::Replace, vec![via(5), via(2), via(3)]),
        (via(6), Mode::Change, Mode::Replace, vec![via(6), via(2), via(3)]),
    ];
    for (route, mode, told, expected) in steps {
        lab.forget();
        lab.socket.add_route(&route, mode).unwrap();
        assert_eq!(order(&mut lab), expected, "{mode:?}");
        lab.expect(mode, |e| *e == Event::Route4(route.clone(), told));
    }
    assert!(lab.socket.add_route(&via(9), Mode::Add).unwrap_err().is(libc::EEXIST));

    // IPv6: an append tells the complete set of legs, a deletion only the leg that went.
    let six = |last: &[u8]| {
        let leg = |n: &u8| Leg::via(ip(&format!("2001:db8:1::{n}")), Some(10));
        routed("2001:db8:a::/48", last.iter().map(leg).collect(), |r| r.priority = 1024)
    };
    lab.socket.add_route(&six(&[2]), Mode::Add).unwrap();
    lab.forget();
    lab.socket.add_route(&six(&[3]), Mode::Append).unwrap();
    lab.expect("both legs", |e| matches!(e, Event::Route6(r, Mode::Append) if r.legs.len() == 2));
    lab.socket.delete_route(&six(&[2])).unwrap();
    lab.expect("one leg", |e| *e == Event::Route6Gone(six(&[2])));
    assert!(all_routes(&mut lab, Some(254)).contains(&six(&[3])));
}

#[test]
fn tables_that_do_not_exist_are_empty() {
    let mut lab = routing_lab("empty");
    assert_eq!(all_routes(&mut lab, Some(4711)), []);
    assert!(!all_routes(&mut lab, Some(255)).is_empty());
}
