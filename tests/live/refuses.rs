//! What warren does not take, and that it says why in one line.

use std::time::Duration;

use crate::lab::{B4, B6, Lab, run, try_run};

/// One line on standard error and exit code 1.
fn refused(lab: &Lab, arguments: &str, why: &str) {
    let (code, said) = lab.start(arguments).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(why) && said.lines().count() == 1, "{said}");
}

#[test]
fn bad_wishes_are_one_line() {
    let lab = Lab::new("wish");
    run(&lab.r, "ip link add br0 type bridge");
    run(&lab.r, "ip link add r7 type veth peer name r8");
    run(&lab.r, "ip link set r7 master br0");
    refused(&lab, "run r9", "r9: no such interface");
    refused(&lab, "run r0 r7", "r7: is a port of br0 (bridge)");
    refused(&lab, "run lo", "lo: is not an Ethernet interface");
    refused(&lab, "show workers", "no warren runs in this network namespace");
    let (code, said) = lab.start("run r0 --bypass everything").end();
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn one_namespace_has_one_warren() {
    let lab = Lab::new("twice");
    let _warren = lab.warren("");
    refused(&lab, "run r0", "another warren routes in this network namespace");
    lab.ping(3, B4);
}

#[test]
fn without_the_right_to_it_warren_says_which_is_wanted() {
    let lab = Lab::new("right");
    let program = env!("CARGO_BIN_EXE_warren");
    let (ok, said) =
        try_run(&lab.r, &format!("setpriv --bounding-set -all --inh-caps -all {program} run r0 r1"));
    assert!(!ok && said.contains("CAP_NET_ADMIN") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_firewall_keeps_its_traffic_with_the_kernel() {
    let lab = Lab::new("wall");
    run(&lab.r, "nft add table inet wall");
    run(&lab.r, "nft add chain inet wall guards { type filter hook forward priority 0 ; }");
    run(&lab.r, "nft add rule inet wall guards ip6 daddr 2001:db8:2::/64 drop");
    let mut warren = lab.start("run r0 r1");
    let line = warren.wait_for(
        "everything stays with the kernel: nftables chain inet wall guards (hook forward, 1 rules)",
    );
    assert!(line.contains("--bypass firewall"), "{line}");
    lab.ping(1, B4);
    lab.no_ping(1, B6);
    assert_eq!(lab.kernel_forwarded()[0], 2, "the kernel forwards");
    // It goes: warren takes over. Another comes: what that drops passes no more, the other family stays.
    run(&lab.r, "nft delete table inet wall");
    warren.wait_for("forwarding on r0 r1");
    lab.ping(1, B4);
    lab.ping(1, B6);
    let [_, six] = lab.kernel_forwarded();
    run(&lab.r, "nft add table ip wall");
    run(&lab.r, "nft add chain ip wall guards { type filter hook forward priority 0 ; policy drop ; }");
    std::thread::sleep(Duration::from_millis(100));
    lab.no_ping(1, B4);
    lab.ping(1, B6);
    assert_eq!(lab.kernel_forwarded()[1], six);
    assert_eq!(lab.counted("Ip6OutForwDatagrams"), 4);
}

#[test]
fn a_firewall_is_bypassed_on_request_only() {
    let lab = Lab::new("bypass");
    run(&lab.r, "nft add table ip wall");
    run(&lab.r, "nft add chain ip wall guards { type filter hook forward priority 0 ; policy drop ; }");
    let _warren = lab.warren("--bypass firewall,tc");
    lab.ping(1, B4);
}

#[test]
fn an_interface_that_goes_is_missed_and_taken_again_when_it_comes() {
    let lab = Lab::new("gone");
    let mut warren = lab.warren("");
    run(&lab.r, "ip link del r1");
    warren.wait_for("r1: no such interface");
    lab.ping(1, "10.0.1.254");
    lab.link(&lab.b, 'b', 1, 2);
    warren.wait_for("forwarding on r0 r1");
    lab.ping(3, B4);
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
}

#[test]
fn frames_that_will_be_lost_are_announced_with_the_cure() {
    let lab = Lab::new("big");
    run(&lab.r, "ip link set r0 gro_max_size 200000");
    let mut warren = lab.start("run r0 r1");
    warren.wait_for("cure: `ip link set r0 gro_max_size 65536");
    warren.wait_for("forwarding on r0 r1");
}

#[test]
fn traces_that_the_kernel_writes_into_keep_the_family_with_it() {
    let lab = Lab::new("ioam");
    let (known, said) = try_run(&lab.r, "ip ioam namespace add 123");
    if said.contains("Operation not supported") || said.contains("unknown") {
        println!("left out: this kernel or iproute2 has no IOAM: {said}");
        return;
    }
    assert!(known, "{said}");
    let mut warren = lab.warren("");
    lab.ping(1, B6);
    assert_eq!(lab.kernel_forwarded()[1], 0, "nobody traces yet");
    run(&lab.r, "sysctl -qw net.ipv6.conf.r0.ioam6_enabled=1");
    let line = warren.wait_for("IPv6 stays with the kernel: the kernel has IOAM namespaces");
    assert!(line.contains("ip ioam namespace show"), "{line}");
    lab.ping(1, B6);
    lab.ping(1, B4);
    assert_eq!(lab.kernel_forwarded(), [0, 2]);
    run(&lab.r, "ip ioam namespace del 123");
    warren.wait_for("IPv6 goes through warren again");
    lab.ping(1, B6);
    assert_eq!(lab.kernel_forwarded(), [0, 2]);
}
