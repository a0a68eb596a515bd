//! A neighbour that does not answer: the ICMP error comes when the kernel's would.

use std::net::IpAddr;
use std::time::Instant;

use warren::cli::demo::forwarded::Forwarded;
use warren::cli::demo::net::A;
use warren::control::netlink::Family;

use crate::net::{Lab, attempt};

/// An address on the link to b that nobody has.
fn nobody(family: Family) -> IpAddr {
    match family {
        Family::V4 => "198.51.100.99".parse().unwrap(),
        Family::V6 => "2001:db8:b::99".parse().unwrap(),
    }
}

/// Seconds until ping from a is told that nobody is there, by the router.
fn told_after(lab: &Lab, family: Family) -> f64 {
    let begin = Instant::now();
    let (_, text) = attempt(&lab.net.a, &format!("ping -n -c 1 -W 10 {}", nobody(family)));
    let after = begin.elapsed().as_secs_f64();
    let words = if family == Family::V4 { "Destination Host Unreachable" } else { "Address unreachable" };
    let told = |line: &str| {
        line.to_lowercase().contains(&format!("from {} ", A.router(family))) && line.contains(words)
    };
    assert!(text.lines().any(told), "{text}");
    after
}

/// Three requests a second apart, then the error (mcast_solicit, retrans_time). Half a second either way is allowed:
/// the kernel's timers have some slack, and the machine may be busy.
#[test]
fn a_dead_host_is_reported_when_the_kernel_would() {
    let mut lab = Lab::kernel("dead");
    let alone = Family::BOTH.map(|family| told_after(&lab, family));
    let (_, counted_alone) = lab.forwarded();
    drop(lab);
    lab = Lab::warren("dead");
    for (family, alone) in Family::BOTH.into_iter().zip(alone) {
        let warren = told_after(&lab, family);
        println!("{family:?}: told after {alone:.3} s by the kernel, {warren:.3} s by warren");
        assert!((warren - alone).abs() < 0.5, "{family:?}: kernel {alone:.3} s, warren {warren:.3} s");
    }
    assert_eq!(lab.forwarded(), (counted_alone, Forwarded::default()), "as forwarded: (warren, kernel)");
}
