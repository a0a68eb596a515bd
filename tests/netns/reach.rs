//! ping, traceroute and tracepath through warren.

use warren::cli::demo::forwarded::Forwarded;
use warren::cli::demo::net::{A, B, SMALL_MTU};
use warren::control::netlink::Family;

use crate::net::{Lab, attempt, counters, number, run};

/// How the counters that hosts keep of echo messages are called.
fn echoes(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["IcmpInEchos", "IcmpInEchoReps"],
        Family::V6 => ["Icmp6InEchos", "Icmp6InEchoReplies"],
    }
}

#[test]
fn ping_is_answered() {
    let lab = Lab::warren("ping");
    let (a, b) = (&lab.net.a, &lab.net.b);
    for family in Family::BOTH {
        let [requests, replies] = echoes(family);
        // 1300 bytes of data and small packets alike.
        for size in [56, 1300] {
            let text = lab.forwards(&[(b, requests), (a, replies)], || {
                run(a, &format!("ping -n -c 50 -i 0.01 -s {size} {}", B.host(family)))
            });
            assert!(text.contains("50 packets transmitted, 50 received, 0% packet loss"), "{text}");
            assert!(!text.contains("DUP"), "{text}");
        }
    }
}

/// Fragments that the sender makes pass like any packet.
#[test]
fn ping_in_fragments_is_answered() {
    let lab = Lab::warren("fragments");
    let (a, b) = (&lab.net.a, &lab.net.b);
    for (family, arrived) in [(Family::V4, "IpReasmReqds"), (Family::V6, "Ip6ReasmReqds")] {
        let to = B.host(family);
        let (answered, text) = attempt(a, &format!("ping -n -c 1 -W 1 -s 1440 -M do {to}"));
        assert!(!answered, "the path MTU is not known yet: {text}");
        let text = lab.forwards(&[(a, arrived), (b, arrived)], || {
            run(a, &format!("ping -n -c 5 -i 0.05 -s 4000 -M want {to}"))
        });
        assert!(text.contains("5 received, 0% packet loss"), "{text}");
    }
}

/// What is too big for the way to b and may be cut (IPv4 without DF) is cut by the router.
#[test]
fn the_router_cuts_what_may_be_cut() {
    let lab = Lab::warren("cut");
    let (a, b) = (&lab.net.a, &lab.net.b);
    let pieces = || counters(b)["IpReasmReqds"];
    let before = pieces();
    // The replies come in two pieces that b makes.
    let text = lab.forwards(&[(b, "IcmpInEchos"), (a, "IpReasmReqds")], || {
        run(a, &format!("ping -n -c 5 -i 0.05 -s 1472 -M dont {}", B.host(Family::V4)))
    });
    assert!(text.contains("5 received, 0% packet loss"), "{text}");
    assert_eq!(pieces() - before, 10, "two pieces of each request");
}

/// How the hosts' counters of datagrams to a closed port are called, and of what is sent in answer.
fn closed_ports(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["UdpNoPorts", "IcmpOutDestUnreachs"],
        Family::V6 => ["Udp6NoPorts", "Icmp6OutDestUnreachs"],
    }
}

#[test]
fn traceroute_names_the_router() {
    let lab = Lab::warren("traceroute");
    let (a, b) = (&lab.net.a, &lab.net.b);
    for family in Family::BOTH {
        let [requests, replies] = echoes(family);
        let [datagrams, answers] = closed_ports(family);
        let methods = [
            ("-U", [(b, datagrams), (b, answers)]),
            ("-I", [(b, requests), (a, replies)]),
            ("-T", [(b, "TcpInSegs"), (a, "TcpInSegs")]),
        ];
        for (method, hosts) in methods {
            let line = format!("traceroute -n -q 1 -w 2 -m 5 {method} {}", B.host(family));
            let text = lab.forwards(&hosts, || run(a, &line));
            let hops: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().nth(1)).collect();
            let (router, host) = (A.router(family).to_string(), B.host(family).to_string());
            assert_eq!(hops, [Some(router.as_str()), Some(host.as_str())], "{line}: {text}");
        }
    }
}

/// The kernel counts an IPv4 packet as forwarded before it finds it too big, so the account is the kernel's own here.
#[test]
fn tracepath_finds_the_smaller_mtu() {
    let trace = |lab: &Lab| {
        for family in Family::BOTH {
            let (router, host) = (A.router(family).to_string(), B.host(family).to_string());
            let text = run(&lab.net.a, &format!("tracepath -n -m 5 {host}"));
            let line =
                |words: [&str; 2]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
            assert!(line([&router, &format!("pmtu {SMALL_MTU}")]) && line([&host, "reached"]), "{text}");
            assert!(text.contains(&format!("Resume: pmtu {SMALL_MTU} hops 2")), "{text}");
        }
        lab.forwarded()
    };
    let (_, alone) = trace(&Lab::kernel("tracepath"));
    assert!(alone.v4 > 0 && alone.v6 > 0, "{alone}");
    assert_eq!(
        trace(&Lab::warren("tracepath")),
        (alone, Forwarded::default()),
        "as forwarded: (warren, kernel)"
    );
}

/// The router knows nobody yet: warren has to ask the kernel to resolve b and to hold the packet meanwhile.
#[test]
fn the_first_ping_is_answered() {
    let lab = Lab::warren("first");
    for family in Family::BOTH {
        let [requests, replies] = echoes(family);
        let text = lab.forwards(&[(&lab.net.b, requests), (&lab.net.a, replies)], || {
            run(&lab.net.a, &format!("ping -n -c 1 -W 3 {}", B.host(family)))
        });
        let millis = number(&text, "time=");
        println!("first ping to an unresolved {family:?} host: {millis} ms (10 ms is the aim)");
        // Loosely: one resolution takes less than the second after which the kernel would ask again.
        assert!(millis < 900.0, "{text}");
    }
}
