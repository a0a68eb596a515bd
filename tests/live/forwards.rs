//! What hosts see through a running warren, and that the kernel of the router forwarded none of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{B4, B6, Lab, run, try_run};

/// More than changes of the kernel's state need to reach the workers.
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn pings_go_through_warren_and_not_through_the_kernel() {
    let lab = Lab::new("ping");
    let _warren = lab.warren("");
    let before = lab.kernel_forwarded();
    for to in [B4, B6] {
        lab.ping(20, to);
    }
    assert_eq!(lab.kernel_forwarded(), before, "the kernel forwarded");
    // 20 requests and 20 replies.
    assert_eq!([lab.counted("IpForwDatagrams"), lab.counted("Ip6OutForwDatagrams")], [40, 40]);
    for (device, taken) in [("r0", true), ("r1", true), ("lo", false)] {
        let row = lab.row("links", "name", device).unwrap();
        assert_eq!((row["taken"].as_bool(), row["tx_dropped"].as_u64()), (Some(taken), Some(0)), "{row}");
    }
}

#[test]
fn the_first_packet_to_a_fresh_host_waits_for_its_address() {
    let lab = Lab::new("first");
    let _warren = lab.warren("");
    for (to, router, host) in [(B4, "10.0.1.254", "10.0.1.1"), (B6, "2001:db8:1::fe", "2001:db8:1::1")] {
        // Only the way from r to b is to be resolved.
        lab.ping(1, router);
        run(&lab.r, &format!("ip neigh flush to {to}"));
        run(&lab.r, &format!("ping -c 1 -W 2 {host}"));
        settle();
        let said = run(&lab.a, &format!("ping -c 1 -W 2 {to}"));
        let time: f64 = said.split("time=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        // A lost packet would cost a whole second.
        assert!(time < 500.0, "{said}");
    }
    assert_eq!(lab.shown("workers")[0]["held_released"], 2);
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
}

#[test]
fn who_asks_for_a_host_that_is_not_there_gets_the_error() {
    let lab = Lab::new("nobody");
    let _warren = lab.warren("");
    for (to, error) in
        [("10.0.2.77", "Destination Host Unreachable"), ("2001:db8:2::77", "Address unreachable")]
    {
        let said = lab.no_ping(6, to);
        assert!(said.contains(error), "{said}");
    }
    assert_eq!([lab.counted("IcmpOutDestUnreachs"), lab.counted("Icmp6OutDestUnreachs")], [1, 1]);
    let reasons: Vec<_> = lab.shown("drops").iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(reasons, ["V6NeighbourFailed", "V4NeighbourFailed"]);
}

#[test]
fn the_hosts_own_addresses_stay_with_the_kernel() {
    let lab = Lab::new("own");
    let _warren = lab.warren("");
    for to in ["10.0.1.254", "10.0.2.254", "2001:db8:1::fe", "2001:db8:2::fe"] {
        lab.ping(2, to);
    }
    // An address that comes while warren runs, and moves to host b.
    for (to, via, bits) in [("10.9.9.9", B4, 32), ("2001:db8:9::9", B6, 128)] {
        run(&lab.r, &format!("ip addr add {to}/{bits} dev lo"));
        settle();
        lab.ping(2, to);
        run(&lab.r, &format!("ip addr del {to}/{bits} dev lo"));
        run(&lab.r, &format!("ip route add {to} via {via}"));
        run(&lab.b, &format!("ip addr add {to}/{bits} dev lo"));
        settle();
        lab.ping(2, to);
    }
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
}

#[test]
fn routes_that_change_are_followed() {
    let lab = Lab::new("routes");
    let _warren = lab.warren("");
    for (to, via, error) in [("10.7.0.1", B4, "Unreachable"), ("2001:db8:7::1", B6, "No route")] {
        run(&lab.b, &format!("ip addr add {to} dev lo"));
        let said = lab.no_ping(1, to);
        assert!(said.contains(error), "{said}");
        run(&lab.r, &format!("ip route add {to} via {via}"));
        settle();
        lab.ping(1, to);
        let row = lab.row("routes", "dst", &format!("{to}/{}", if via == B4 { 32 } else { 128 })).unwrap();
        assert_eq!(row["nexthops"][0], format!("via {via} dev r1"));
    }
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
}

#[test]
fn tcp_crosses_with_all_offloads_in_both_families() {
    let lab = Lab::new("tcp");
    let _warren = lab.warren("--workers 2");
    for to in [B4, B6] {
        let mut server = Command::new("iperf3");
        let server = server.args(["-s", "-1", "--forceflush"]).stdout(Stdio::piped());
        let mut server = lab.b.spawn(server).unwrap();
        let mut lines = std::io::BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(
                std::io::BufRead::read_line(&mut lines, &mut line).unwrap() > 0,
                "iperf3 does not listen"
            );
        }
        let said = run(&lab.a, &format!("iperf3 -J -n 64M -c {to}"));
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        let bytes = report["end"]["sum_received"]["bytes"].as_u64().unwrap();
        assert!(bytes > 60 << 20, "{bytes} bytes arrived");
        drop(lines);
        server.wait().unwrap();
    }
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
    let r0 = lab.row("links", "name", "r0").unwrap();
    let mean = r0["rx_bytes"].as_u64().unwrap() / r0["rx_packets"].as_u64().unwrap();
    assert!(mean > 3000, "super-frames were carried: {mean} bytes a frame");
}

#[test]
fn long_tables_come_in_pages() {
    let lab = Lab::new("pages");
    let batch: String =
        (0..10_000).map(|i| format!("route add 10.{}.{}.0/24 via {B4}\n", 128 + i / 256, i % 256)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    run(&lab.r, &format!("ip -batch {}", file.path().display()));
    let _warren = lab.warren("");
    let routes = lab.shown("routes");
    let mine = routes.iter().filter(|row| row["nexthops"][0] == format!("via {B4} dev r1"));
    let mut distinct: Vec<String> = mine.map(|row| row["dst"].to_string()).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 10_000);
    assert!(lab.row("sync", "what", "routes4").unwrap()["value"].as_u64().unwrap() > 10_000);
}

#[test]
fn a_gateway_that_failed_is_asked_again() {
    let lab = Lab::new("probe");
    for command in [
        "sysctl -qw net.ipv6.conf.all.forwarding=0",
        "sysctl -qw net.ipv6.conf.r0.force_forwarding=1 net.ipv6.conf.r1.force_forwarding=1",
        "sysctl -qw net.ipv6.conf.r1.router_probe_interval=2",
        "sysctl -qw net.ipv6.neigh.r1.mcast_solicit=1 net.ipv6.neigh.r1.retrans_time_ms=100",
        "ip route add 2001:db8:9::/64 nexthop via 2001:db8:2::66 dev r1 nexthop via 2001:db8:2::1 dev r1",
    ] {
        run(&lab.r, command);
    }
    run(&lab.b, "ip addr add 2001:db8:9::9/128 dev lo");
    run(&lab.r, "ping -c 1 -W 1 2001:db8:2::1");
    let _warren = lab.warren("");
    // Some flow takes the gateway that is not there, which fails.
    try_run(&lab.r, "ping -c 1 -W 1 2001:db8:2::66");
    let failed = || run(&lab.r, "ip neigh show 2001:db8:2::66 dev r1").contains("FAILED");
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !failed() {
        assert!(std::time::Instant::now() < end, "it does not fail");
        settle();
    }
    let asked = "icmp6 and ip6[40] == 135 and ip6[60:4] == 0x66";
    let listening = lab
        .b
        .spawn(
            Command::new("timeout")
                .args(["20", "tcpdump", "-c1", "-Q", "in", "-ni", "b0", asked])
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        )
        .unwrap();
    for _ in 0..20 {
        lab.ping(1, "2001:db8:9::9");
        settle();
    }
    let said = listening.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("who has 2001:db8:2::66"), "{said}");
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
}

#[test]
fn a_lowered_mtu_counts_at_once() {
    let lab = Lab::new("mtu");
    let _warren = lab.warren("");
    lab.ping(1, B6);
    run(&lab.r, "ip link set r1 mtu 1400");
    settle();
    let said = lab_says(&lab, "ping -c 1 -W 1 -M do -s 1440 2001:db8:2::1");
    assert!(said.contains("From 2001:db8:1::fe") && said.contains("mtu=1400"), "{said}");
    let said = lab_says(&lab, "ping -c 1 -W 1 -M do -s 1440 10.0.2.1");
    assert!(said.contains("From 10.0.1.254") && said.contains("1400"), "{said}");
}

/// What a command of host a says that need not go well.
fn lab_says(lab: &Lab, command: &str) -> String {
    try_run(&lab.a, command).1
}

#[test]
fn who_has_several_next_hops_is_told_that_the_seed_is_secret() {
    let lab = Lab::new("seed");
    run(&lab.r, "ip route add 10.0.77.0/24 nexthop via 10.0.2.1 dev r1 nexthop via 10.0.1.1 dev r0");
    let mut warren = lab.start("run r0 r1");
    let line = warren.wait_for("choosing among next hops is its secret");
    assert!(line.contains("sysctl -w net.ipv4.fib_multipath_hash_seed"), "{line}");
    lab.ping(1, B4);
}
