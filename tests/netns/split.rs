//! The split between warren and the kernel: every frame belongs to exactly one of them. One frame of each class is sent,
//! first through a kernel that routes alone, then with warren; both times it is counted on the hosts' links, in
//! `/proc`, and by warren.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use warren::cli::demo::net::{A, B, HOST_LINK, ROUTER_LINKS};
use warren::control::netlink::Family;
use warren::sys::netns::Namespace;

use crate::frames::{Echo, Macs, Wire, echo, link_local, mac, tagged, with_extension, with_ipv4};
use crate::net::{Lab, counters, run};

/// A link of the router that warren does not take, to b's second link.
const UNTAKEN: &str = "to-c";
const SECOND: &str = "eth1";
/// More addresses that the router finds at host a.
const GUESTS: [&str; 2] = ["2001:db8:a::31", "2001:db8:a::32"];
/// Longer than a neighbour takes to be found missing, of which one class tells the sender.
const LAST_ERRORS: Duration = Duration::from_secs(4);

/// Who counts a frame as received by IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Warren,
    Kernel,
    /// It never gets as far as IP.
    Nobody,
}
use Owner::{Kernel, Nobody, Warren};

struct Class {
    name: &'static str,
    owner: Owner,
    frame: Vec<u8>,
    mark: [u8; 8],
}

/// What was seen of one class.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: &'static str,
    /// Frames on the links of a, of b, and on b's second one.
    wires: [usize; 3],
}

#[test]
fn every_frame_is_handled_once() {
    let alone = pass(None);
    let shared = pass(Some(&ROUTER_LINKS));
    assert_eq!(shared, alone, "left: warren and the kernel; right: the kernel alone");
    // The classes would prove little if nothing were forwarded or answered.
    let of = |name: &str| alone.iter().find(|seen| seen.name == name).unwrap().wires;
    for forwarded in
        ["transit IPv4", "transit IPv6", "router alert IPv4", "router alert IPv6", "fragment IPv4"]
    {
        assert_eq!(of(forwarded), [0, 1, 0], "{forwarded}");
    }
    for answered in ["own IPv4", "own IPv6", "another link's own", "AnyIP", "subnet anycast"] {
        assert_eq!(of(answered), [1, 0, 0], "{answered}");
    }
    assert_eq!(of("to a link not taken"), [0, 0, 1]);
}

/// Sends one frame of each class, and checks after each who counted it.
fn pass(links: Option<&[&str]>) -> Vec<Seen> {
    let mut lab = Lab::kernel("split");
    prepare(&lab);
    if let Some(links) = links {
        lab.start(links);
    }
    let mut a = Wire::open(&lab.net.a, HOST_LINK);
    let [b, c] = [HOST_LINK, SECOND].map(|link| Wire::open(&lab.net.b, link));
    wait_for_quiet(&lab);
    let classes = classes(&lab);
    for class in &classes {
        let expected = match (class.owner, links) {
            (Nobody, _) => (0, 0),
            (Warren, Some(_)) => (1, 0),
            _ => (0, 1),
        };
        let before = received(&lab);
        a.send(&class.frame);
        let begin = Instant::now();
        let counted = || {
            let after = received(&lab);
            (after.0 - before.0, after.1 - before.1)
        };
        while counted() != expected && begin.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(30)); // a second handling would follow at once
        assert_eq!(counted(), expected, "{}: counted by (warren, kernel)", class.name);
    }
    sleep(LAST_ERRORS);
    let seen = |class: &Class| Seen {
        name: class.name,
        wires: [a.count(&class.mark), b.count(&class.mark), c.count(&class.mark)],
    };
    classes.iter().map(seen).collect()
}

/// What else the classes need of the router, and fixed neighbours, so that resolution adds no frames.
fn prepare(lab: &Lab) {
    let router = &lab.net.router;
    run(router, &format!("ip link add {UNTAKEN} type veth peer name {SECOND} netns {}", lab.net.b.name()));
    run(router, &format!("ip address add 198.18.0.1/24 dev {UNTAKEN}"));
    run(&lab.net.b, "ip address add 198.18.0.2/24 dev eth1");
    run(&lab.net.b, "ip link set eth1 up");
    run(router, &format!("ip link set {UNTAKEN} up"));
    while run(router, &format!("ip -o link show {UNTAKEN}")).contains("qdisc noop ") {
        sleep(Duration::from_millis(5));
    }
    run(router, "ip route add local 203.0.113.0/24 dev lo");
    run(router, "ip route add local 100.64.0.0/24 dev lo table 100");
    run(router, &format!("ip rule add from {} lookup 100", A.host(Family::V4)));
    run(router, "ip -6 route add local 2001:db8:64::/64 dev lo table 100");
    run(router, &format!("ip -6 rule add from {} lookup 100", A.host(Family::V6)));
    router.sysctl_write("net.ipv6.conf.to-a.proxy_ndp", "1").unwrap();
    run(router, "ip -6 neighbour add proxy 2001:db8:a::77 dev to-a");
    let fix = |space: &Namespace, to: &str, mac: [u8; 6], dev: &str| {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        run(space, &format!("ip neighbour replace {to} lladdr {mac} dev {dev} nud permanent"));
    };
    for ((link, side), host) in ROUTER_LINKS.into_iter().zip([A, B]).zip([&lab.net.a, &lab.net.b]) {
        let (near, far) = (mac(router, link), mac(host, HOST_LINK));
        for family in Family::BOTH {
            fix(router, &side.host(family).to_string(), far, link);
            fix(host, &side.router(family).to_string(), near, HOST_LINK);
        }
        fix(router, &link_local(far), far, link);
    }
    for guest in GUESTS {
        fix(router, guest, mac(&lab.net.a, HOST_LINK), ROUTER_LINKS[0]);
    }
    fix(router, "198.18.0.2", mac(&lab.net.b, SECOND), UNTAKEN);
}

/// IP packets received: by warren, by the kernel's own count.
fn received(lab: &Lab) -> (u64, u64) {
    let both = |counters: &BTreeMap<String, u64>| -> u64 {
        ["IpInReceives", "Ip6InReceives"].iter().filter_map(|name| counters.get(*name)).sum()
    };
    let warren = lab.warren_counters().as_ref().map_or(0, both);
    (warren, both(&counters(&lab.net.router)))
}

/// Waits until the router has received nothing for longer than the pause between two multicast listener reports
/// (mldv2_unsolicited_report_interval, at most one second).
fn wait_for_quiet(lab: &Lab) {
    let (begin, mut since, mut last) = (Instant::now(), Instant::now(), received(lab));
    while since.elapsed() < Duration::from_millis(1300) {
        sleep(Duration::from_millis(50));
        let now = received(lab);
        if now != last {
            (since, last) = (Instant::now(), now);
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the router's links do not become quiet");
    }
}

/// The frames, all from host a.
fn classes(lab: &Lab) -> Vec<Class> {
    let (host, router) = (mac(&lab.net.a, HOST_LINK), mac(&lab.net.router, ROUTER_LINKS[0]));
    let macs = Macs { from: host, to: router };
    let (from4, from6) = (A.host(Family::V4).to_string(), A.host(Family::V6).to_string());
    let (b4, b6) = (B.host(Family::V4).to_string(), B.host(Family::V6).to_string());
    let (near, far) = (link_local(router), link_local(host));
    let mut classes: Vec<Class> = Vec::new();
    let mut add = |name, owner, build: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mark: [u8; 8] = format!("split{:03}", classes.len()).into_bytes().try_into().unwrap();
        classes.push(Class { name, owner, frame: build(&mark), mark });
    };
    let ask4 = |to: &str, macs, mark: &[u8]| echo(macs, &from4, to, 64, Echo::Request, mark);
    let ask6 = |to: &str, macs, mark: &[u8]| echo(macs, &from6, to, 64, Echo::Request, mark);
    let tell4 = |to: &str, macs, mark: &[u8]| echo(macs, &from4, to, 64, Echo::Reply, mark);
    let tell6 = |to: &str, macs, mark: &[u8]| echo(macs, &from6, to, 64, Echo::Reply, mark);

    add("transit IPv4", Warren, &|m| tell4(&b4, macs, m));
    add("transit IPv6", Warren, &|m| tell6(&b6, macs, m));
    add("hop limit 1 IPv4", Warren, &|m| echo(macs, &from4, &b4, 1, Echo::Reply, m));
    add("hop limit 1 IPv6", Warren, &|m| echo(macs, &from6, &b6, 1, Echo::Reply, m));
    add("no route", Warren, &|m| tell4("192.88.99.1", macs, m));
    add("to a link not taken", Warren, &|m| tell4("198.18.0.2", macs, m));

    add("own IPv4", Kernel, &|m| ask4(&A.router(Family::V4).to_string(), macs, m));
    add("own IPv6", Kernel, &|m| ask6(&A.router(Family::V6).to_string(), macs, m));
    add("another link's own", Kernel, &|m| ask4(&B.router(Family::V4).to_string(), macs, m));
    add("own link-local", Kernel, &|m| echo(macs, &far, &near, 64, Echo::Request, m));
    add("AnyIP", Kernel, &|m| ask4("203.0.113.5", macs, m));
    // The kernel takes it but cannot answer: it looks for sources in the table `local` alone.
    add("policy-local IPv4", Kernel, &|m| ask4("100.64.0.5", macs, m));
    add("policy-local IPv6", Kernel, &|m| ask6("2001:db8:64::5", macs, m));
    add("subnet anycast", Kernel, &|m| ask6("2001:db8:b::", macs, m));
    // From addresses of their own: each causes several errors, and the kernel limits those to one address.
    add("proxied ND", Kernel, &|m| echo(macs, GUESTS[0], "2001:db8:a::77", 64, Echo::Reply, m));
    add("foreign link-local", Warren, &|m| echo(macs, GUESTS[1], "fe80::dead", 64, Echo::Reply, m));

    let broadcast = Macs { to: [0xff; 6], ..macs };
    let group4 = |last| Macs { to: [0x01, 0x00, 0x5e, 0, 0, last], ..macs };
    let group6 = Macs { to: [0x33, 0x33, 0, 0, 0, 1], ..macs };
    add("broadcast", Kernel, &|m| ask4(&Ipv4Addr::BROADCAST.to_string(), broadcast, m));
    add("directed broadcast", Kernel, &|m| ask4("192.0.2.255", broadcast, m));
    add("another link's broadcast", Kernel, &|m| ask4("198.51.100.255", macs, m));
    add("L2 broadcast, unicast IPv4", Kernel, &|m| tell4(&b4, broadcast, m));
    add("L2 broadcast, unicast IPv6", Kernel, &|m| tell6(&b6, broadcast, m));
    add("multicast IPv4", Kernel, &|m| ask4("224.0.0.1", group4(1), m));
    add("multicast IPv4 to our MAC", Kernel, &|m| ask4("239.1.2.3", macs, m));
    add("multicast IPv6", Kernel, &|m| ask6("ff02::1", group6, m));

    add("tagged", Nobody, &|m| tagged(tell4(&b4, macs, m), 5));
    let stranger = Macs { to: [0x02, 0, 0, 0, 0, 0x99], ..macs };
    add("other host IPv4", Nobody, &|m| tell4(&b4, stranger, m));
    add("other host IPv6", Nobody, &|m| tell6(&b6, stranger, m));

    add("router alert IPv4", Kernel, &|m| with_ipv4(tell4(&b4, macs, m), &[148, 4, 0, 0], 0)); // RFC 2113
    add("router alert IPv6", Kernel, &|m| with_extension(tell6(&b6, macs, m), 0, [0, 0, 5, 2, 0, 0, 1, 0])); // RFC 2711
    add("fragment IPv4", Warren, &|m| with_ipv4(tell4(&b4, macs, m), &[], 0x2000));
    add("later fragment IPv4", Warren, &|m| with_ipv4(tell4(&b4, macs, m), &[], 0x0010));
    add("fragment IPv6", Warren, &|m| with_extension(tell6(&b6, macs, m), 44, [0, 0, 0, 1, 0, 0, 0, 9]));

    let spoilt = |mut frame: Vec<u8>, at: usize, byte: u8| {
        frame[at] = byte;
        frame
    };
    add("wrong checksum", Warren, &|m| spoilt(tell4(&b4, macs, m), 24, 0xee));
    add("IPv4 too long", Warren, &|m| spoilt(tell4(&b4, macs, m), 16, 0x40));
    add("IPv4 of version 5", Warren, &|m| spoilt(tell4(&b4, macs, m), 14, 0x55));
    add("IPv6 too long", Warren, &|m| spoilt(tell6(&b6, macs, m), 18, 0x40));
    add("IPv6 of version 5", Warren, &|m| spoilt(tell6(&b6, macs, m), 14, 0x50));
    classes
}
