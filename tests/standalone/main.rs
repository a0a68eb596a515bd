//! `warren run --standalone` between two hosts that hold its TAP devices, with the tools that people use. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what cannot be set up must fail the test

mod lab;
#[path = "../process/mod.rs"]
mod process;

use lab::{Lab, run, start, try_run};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Every address of the router, and both hosts.
const EVERYONE: [&str; 8] = [
    "10.0.1.254",
    "10.0.2.254",
    "10.0.1.1",
    "10.0.2.1",
    "2001:db8:1::fe",
    "2001:db8:2::fe",
    "2001:db8:1::1",
    "2001:db8:2::1",
];

#[test]
fn everyone_reaches_everyone() {
    let lab = Lab::new("reach");
    for host in [&lab.a, &lab.b] {
        for to in EVERYONE {
            let said = run(host, &format!("ping -c 3 -i 0.01 -W 5 {to}"));
            assert!(said.contains(" 0% packet loss"), "{said}");
        }
    }
    // The whole group of nodes, and the router's link-local address.
    run(&lab.a, "ping -c 2 -i 0.01 -W 5 fe80::ff:fe00:2%t0");
    let said = run(&lab.a, "ping -c 2 -i 0.01 -W 5 ff02::1%t0");
    assert!(said.contains("from 2001:db8:1::fe"), "the source that suits the asker: {said}");
    // Larger than an MTU but whole on the wire: nothing has to be put together.
    run(&lab.a, "ping -c 2 -i 0.01 -W 5 -M do -s 1472 10.0.2.1");
    run(&lab.a, "ping -c 2 -i 0.01 -W 5 -M do -s 1452 2001:db8:2::1");
}

/// Who uses an address of the router is told whose it is, once in ten seconds (RFC 5227 2.4); for others' addresses it says
/// nothing.
#[test]
fn its_addresses_are_defended_and_no_others_answered_for() {
    let lab = Lab::new("defends");
    let arp = std::thread::scope(|s| {
        let seen = s.spawn(|| try_run(&lab.a, "timeout 5 tcpdump -l -n -e -i t0 arp").1);
        sleep(Duration::from_secs(1));
        run(&lab.a, "ip addr add 10.0.1.254/32 dev lo");
        // The questions bear the stolen address.
        assert!(!try_run(&lab.a, "ping -c 3 -i 0.3 -W 1 -I 10.0.1.254 10.0.1.7").0, "nobody is there");
        run(&lab.a, "ip addr del 10.0.1.254/32 dev lo");
        run(&lab.a, "ping -c 1 -W 2 10.0.1.254");
        seen.join().unwrap()
    });
    let of_router: Vec<_> = arp.lines().filter(|line| line.contains(" 02:00:00:00:00:02 > ")).collect();
    let announced = of_router.iter().filter(|line| {
        line.contains("> ff:ff:ff:ff:ff:ff")
            && line.contains("who-has 10.0.1.254")
            && line.contains("tell 10.0.1.254")
    });
    assert_eq!(announced.count(), 1, "{arp}");
    assert!(arp.matches("who-has 10.0.1.7").count() > 1, "{arp}");
    assert!(!arp.contains("10.0.1.7 is-at"), "{arp}");
    assert!(of_router.iter().any(|line| line.contains("10.0.1.254 is-at 02:00:00:00:00:02")), "{arp}");
}

#[test]
fn traceroute_names_the_router() {
    let lab = Lab::new("trace");
    for (to, router) in [("10.0.2.1", "10.0.1.254"), ("2001:db8:2::1", "2001:db8:1::fe")] {
        let said = run(&lab.a, &format!("traceroute -n -q 1 -w 5 {to}"));
        let hops: Vec<_> = said.lines().skip(1).filter_map(|l| l.split_whitespace().nth(1)).collect();
        assert_eq!(hops, [router, to], "{said}");
        // To the router itself: the closed port ends it.
        let said = run(&lab.a, &format!("traceroute -n -q 1 -w 5 {router}"));
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}

#[test]
fn hosts_that_do_not_answer_are_given_up() {
    let lab = Lab::new("lost");
    for (to, says) in [
        ("10.0.2.77", "From 10.0.1.254 icmp_seq=1 Destination Host Unreachable"),
        ("2001:db8:2::77", "From 2001:db8:1::fe icmp_seq=1 Destination unreachable: Address unreachable"),
    ] {
        let begin = Instant::now();
        let (ok, said) = try_run(&lab.a, &format!("ping -c 1 -W 20 {to}"));
        assert!(!ok && said.contains(says), "{said}");
        assert!(
            begin.elapsed() > Duration::from_secs(2),
            "three questions, a second apart, come first: {said}"
        );
    }
}

#[test]
fn tcp_is_refused_by_the_router_and_carried_between_hosts() {
    let lab = Lab::new("tcp");
    for router in ["10.0.1.254:80", "[2001:db8:1::fe]:80"] {
        let error = lab.a.enter(|| TcpStream::connect(router)).unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{router}");
    }
    const SIZE: usize = 32 << 20;
    let data: Vec<u8> = (0..SIZE).map(|i| (i * 31 + (i >> 8)) as u8).collect();
    for address in ["10.0.2.1:5001", "[2001:db8:2::1]:5001"] {
        let listener = lab.b.enter(|| TcpListener::bind(address)).unwrap().unwrap();
        let received = std::thread::scope(|s| {
            s.spawn(|| {
                let mut stream = lab.a.enter(|| TcpStream::connect(address)).unwrap().unwrap();
                stream.write_all(&data).unwrap();
            });
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::with_capacity(SIZE);
            stream.read_to_end(&mut all).unwrap();
            all
        });
        assert!(received == data, "{address}: {} of {SIZE} bytes, or others", received.len());
    }
}

#[test]
fn a_signal_ends_it_and_its_devices_go() {
    let mut lab = Lab::new("end");
    run(&lab.a, "ip link show t0");
    for signal in [Signal::TERM, Signal::INT] {
        lab.warren.signal(signal);
        let (code, said) = lab.warren.end();
        assert_eq!((code, said.as_str()), (Some(0), ""), "it has nothing more to say");
        let end = Instant::now() + Duration::from_secs(10);
        while run(&lab.r, "ip -o link").contains("t0") || run(&lab.a, "ip -o link").contains("t0") {
            assert!(Instant::now() < end, "the devices stay");
            sleep(Duration::from_millis(5));
        }
        lab.warren = start(&lab.r, &lab.arguments());
        lab.warren.wait_for("forwarding on t0 t1");
    }
}

#[test]
fn it_goes_on_without_a_device_and_ends_with_the_last() {
    let mut lab = Lab::new("gone");
    run(&lab.b, "ip link del t1");
    lab.warren.wait_for("warren: t1: has been deleted");
    assert!(run(&lab.a, "ping -c 1 -W 2 10.0.1.254").contains("1 received"));
    let (_, said) = try_run(&lab.a, "ping -c 1 -W 2 10.0.2.1");
    assert!(said.contains("Unreachable"), "{said}");
    run(&lab.a, "ip link del t0");
    let (code, said) = lab.warren.end();
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "warren: t0: has been deleted or moved to another namespace")
    );
}

#[test]
fn it_shows_what_it_counts() {
    let lab = Lab::new("show");
    run(&lab.a, "ping -c 3 -i 0.01 -W 2 10.0.2.1");
    let shown = |topic: &str| {
        let (code, said) = start(&lab.r, &format!("show {topic} --json")).end();
        (code, said)
    };
    let (code, counters) = shown("counters");
    assert!(
        code == Some(0) && counters.contains(r#""counter":"IpForwDatagrams","kernel":null"#),
        "{counters}"
    );
    let (code, links) = shown("links");
    assert!(code == Some(0) && links.contains(r#""name":"t0""#), "{links}");
    let (code, said) = shown("routes");
    assert!(code == Some(1) && said.contains("a standalone router shows links"), "{said}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let lab = Lab::new("bad");
    let empty = lab.file("empty.toml", "");
    let scenario = lab.arguments();
    for (arguments, code, says) in [
        ("run --standalone".to_owned(), 2, "--scenario"),
        ("run --io tap".to_owned(), 2, "run --io tap needs --standalone -s FILE"),
        (scenario.replace(" --io tap", ""), 2, "run --standalone needs --io tap"),
        (format!("{scenario} eth0"), 2, "cannot be used with"),
        (
            "run --standalone --io tap -s /nonexistent".to_owned(),
            1,
            "/nonexistent: cannot open it: No such file",
        ),
        (format!("run --standalone --io tap -s {empty}"), 1, "no [[link]]"),
        (scenario.clone(), 1, "another warren routes in this network namespace"),
    ] {
        let (got, said) = start(&lab.r, &arguments).end();
        assert_eq!(got, Some(code), "{arguments}: {said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{arguments}: {said}");
    }
}
