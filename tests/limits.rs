//! How many ICMPv6 messages a host is sent: timed bursts through a kernel's router and through warren. Needs root.
//!
//! Decisions fall at least 20 ms from the moment at which they would turn, which is what a busy machine may be late; where
//! it was later than that, the burst is sent again. The arithmetic at every edge is tested beside the limiter.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use etherparse::PacketBuilder;
use std::net::Ipv6Addr;
use std::path::Path;
use warren::conform::{Frame, KernelBox, Outcome, compare, lift_global_limit, userspace};
use warren::scenario::Scenario;

/// How often a burst is sent before its outcome counts.
const ATTEMPTS: usize = 4;
const MS: u64 = 1_000_000;

/// Hosts behind p0 and p1, and a better way than this router for what is behind it.
const ROUTER: &str = r#"
[[link]]
name = "p0"
[[link]]
name = "p1"
[[address]]
dev = "p0"
prefix = "2001:db8:1::fe/64"
[[address]]
dev = "p1"
prefix = "2001:db8:2::fe/64"
[[neighbour]]
dev = "p0"
to = "2001:db8:1::1"
lladdr = "02:00:00:00:01:01"
[[neighbour]]
dev = "p0"
to = "fe80::99"
lladdr = "02:00:00:00:01:99"
[[route]]
dst = "2001:db8:b::/48"
via = "fe80::99"
dev = "p0"
[[route]]
dst = "2600::/16"
via = "fe80::99"
dev = "p0"
[sysctl]
"net.ipv6.auto_flowlabels" = 0
"#;

const HOST: &str = "2001:db8:1::1";
/// The better way leads there.
const BEHIND: &str = "2001:db8:b::1";

fn router(sysctls: &str) -> Scenario {
    Scenario::parse(&format!("{ROUTER}{sysctls}"), Path::new("router")).unwrap()
}

/// A UDP packet into p0 at so many milliseconds.
fn frame(ms: u64, src: &str, dst: &str, hops: u8) -> Frame {
    let [src, dst] = [src, dst].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    let mut bytes = Vec::new();
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 8, 8], [2, 0, 0, 0, 0, 2]).ipv6(src, dst, hops);
    packet.udp(1000, 2000).write(&mut bytes, &[0; 8]).unwrap();
    Frame { link: "p0".into(), time: 1_767_225_600_000_000_000 + ms * MS, bytes }
}

/// `count` packets at each of some moments, in milliseconds.
fn bursts(at: &[(u64, usize)], src: &str, dst: &str, hops: u8) -> Vec<Frame> {
    at.iter().flat_map(|&(ms, count)| (0..count).map(move |_| frame(ms, src, dst, hops))).collect()
}

/// How many messages of a type left, burst by burst.
fn messages(outcome: &Outcome, sent: &[Frame], kind: u8) -> Vec<usize> {
    let mut times: Vec<u64> = sent.iter().map(|f| f.time).collect();
    times.dedup();
    let is = |f: &&Frame| f.bytes.get(20) == Some(&58) && f.bytes.get(54) == Some(&kind);
    let all: Vec<&Frame> = outcome.frames.iter().filter(is).collect();
    times.iter().map(|time| all.iter().filter(|f| f.time == *time).count()).collect()
}

/// Plays on both sides until they agree to the byte; the messages that left.
fn agree(scenario: &Scenario, frames: &[Frame], kind: u8) -> Vec<usize> {
    assert!(rustix::process::geteuid().is_root(), "needs root, for network namespaces: sudo -E cargo test");
    let (ours, _) = userspace::play(scenario, Path::new("router"), frames, false).unwrap();
    let mut text = String::new();
    for _ in 0..ATTEMPTS {
        let name = format!("warren-t-limits-{}-{kind}", std::process::id());
        let (kernels, _) = KernelBox::build(&name, scenario).unwrap().play(frames).unwrap();
        let found = compare(scenario, &kernels, &ours);
        if found.is_empty() {
            return messages(&kernels, frames, kind);
        }
        text = found.to_string();
    }
    panic!("{text}");
}

#[test]
fn errors_to_one_host() {
    let mut scenario = router("");
    lift_global_limit(&mut scenario);
    // A tenth of a second each; what is left over is kept.
    let sent = bursts(&[(0, 10), (130, 3), (350, 5), (1500, 10), (1570, 3)], HOST, BEHIND, 1);
    assert_eq!(agree(&scenario, &sent, 3), [6, 1, 2, 6, 0]);
}

#[test]
fn errors_at_another_rate() {
    let mut scenario = router("\"net.ipv6.icmp.ratelimit\" = 500\n\"net.ipv6.icmp.ratemask\" = \"1\"\n");
    lift_global_limit(&mut scenario);
    let unlimited = bursts(&[(0, 10)], HOST, BEHIND, 1);
    assert_eq!(agree(&scenario, &unlimited, 3), [10], "time exceeded is not in the mask");
    let sent = bursts(&[(0, 10), (450, 2), (550, 2), (1600, 9)], HOST, "3fff::1", 64);
    assert_eq!(agree(&scenario, &sent, 1), [6, 0, 1, 2], "no route");
}

#[test]
fn redirects_one_a_second() {
    let mut scenario = router("");
    lift_global_limit(&mut scenario);
    let sent = bursts(&[(0, 10), (900, 2), (1100, 3), (2500, 4)], HOST, BEHIND, 64);
    assert_eq!(agree(&scenario, &sent, 137), [6, 0, 1, 1]);
}

#[test]
fn an_error_cuts_the_share_of_redirects() {
    let mut scenario = router("");
    lift_global_limit(&mut scenario);
    let mut sent = vec![frame(0, HOST, "2001:db8:b::2", 1)];
    // Half a second is left of the host's sixty; a whole one is needed.
    sent.extend(bursts(&[(200, 1), (400, 1), (700, 2), (1100, 1), (1600, 1)], HOST, BEHIND, 64));
    assert_eq!(agree(&scenario, &sent, 137), [0, 0, 0, 1, 0, 1]);
}

#[test]
fn all_hosts_together() {
    // The kernel takes 0, 1 or 2 credits for a message by lot: 50 are enough for 50 messages, give or take five
    // standard deviations of that sum (0.82 each). warren takes 1.
    const BOUNDS: std::ops::RangeInclusive<usize> = 25..=85;
    let scenario = router("\"net.ipv4.icmp_msgs_burst\" = 50\n\"net.ipv4.icmp_msgs_per_sec\" = 1000\n");
    let fresh = |ms, n: usize| frame(ms, &format!("2600::{n:x}"), BEHIND, 1);
    let sent: Vec<Frame> = (0..400).map(|n| fresh(if n < 200 { 0 } else { 200 }, n)).collect();
    let (ours, _) = userspace::play(&scenario, Path::new("router"), &sent, false).unwrap();
    assert_eq!(messages(&ours, &sent, 3), [50, 50]);
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let name = format!("warren-t-limits-{}-all", std::process::id());
        let (kernels, _) = KernelBox::build(&name, &scenario).unwrap().play(&sent).unwrap();
        let limited = kernels.counters.netns.get("IcmpOutRateLimitGlobal").copied().unwrap_or(0) as usize;
        found = messages(&kernels, &sent, 3);
        assert_eq!(found.iter().sum::<usize>() + limited, 400, "each is sent or counted");
        if found.iter().all(|sent| BOUNDS.contains(sent)) {
            return;
        }
    }
    panic!("{found:?}");
}
