//! What the kernel of the router is told of ways to others, which warren keeps to when it forwards.

use crate::lab::{Lab, run, try_run};
use std::time::{Duration, Instant};

/// Behind host b, over a link with an MTU of 1280.
const FAR4: &str = "10.0.9.9";
const FAR6: &str = "2001:db8:9::9";

/// A lab whose router has learned the MTU of the path behind host b, by a packet of its own.
fn narrow(name: &str) -> Lab {
    let lab = Lab::new(name);
    for command in [
        "ip link add narrow mtu 1280 type veth peer name end",
        "ip link set narrow up",
        "ip link set end up",
        "ip addr add 10.0.9.1/24 dev narrow",
        "ip addr add 2001:db8:9::1/64 dev narrow nodad",
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    ] {
        run(&lab.b, command);
    }
    run(&lab.r, "ip route add 10.0.9.0/24 via 10.0.2.1");
    run(&lab.r, "ip route add 2001:db8:9::/64 via 2001:db8:2::1");
    run(&lab.r, "sysctl -qw net.ipv4.ip_forward_use_pmtu=1");
    lab
}

/// Has the router learn.
fn learn(lab: &Lab, to: &str) {
    let (_, said) = try_run(&lab.r, &format!("ping -c 2 -i 0.2 -W 1 -M do -s 1400 {to}"));
    assert!(said.contains("1280"), "{said}");
    assert!(run(&lab.r, &format!("ip route get {to}")).contains("mtu 1280"));
}

/// Who tells host a that a packet of 1400 bytes is too big.
fn teller(lab: &Lab, to: &str) -> String {
    // What a has learned itself would keep it from asking.
    run(&lab.a, "ip route flush cache");
    run(&lab.a, "ip -6 route flush cache");
    let (_, said) = try_run(&lab.a, &format!("ping -c 1 -W 1 -M do -s 1400 {to}"));
    said.lines().find(|line| line.starts_with("From ")).unwrap_or_default().to_owned()
}

#[test]
fn a_path_mtu_that_the_kernel_learned_is_kept_to() {
    let lab = narrow("pmtu");
    let _warren = lab.warren("");
    for (to, router, host) in
        [(FAR4, "From 10.0.1.254", "From 10.0.2.1"), (FAR6, "From 2001:db8:1::fe", "From 2001:db8:2::1")]
    {
        let told = teller(&lab, to);
        assert!(told.starts_with(host), "before: {told}");
        learn(&lab, to);
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let told = teller(&lab, to);
            if told.starts_with(router) {
                break;
            }
            assert!(Instant::now() < end, "still told by: {told}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(lab.kernel_forwarded(), [0, 0]);
    assert!(lab.counted("Ip6FragFails") > 0 && lab.counted("IpFragFails") > 0);
    // What the kernel forgets, warren does.
    for flush in ["ip route flush cache", "ip -6 route flush cache", "ip route add 10.0.99.0/24 via 10.0.2.1"]
    {
        run(&lab.r, flush);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while !teller(&lab, FAR6).starts_with("From 2001:db8:2::1") {
        assert!(Instant::now() < end, "warren does not forget");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_snapshot_says_that_it_leaves_out_what_was_told() {
    let lab = narrow("left");
    learn(&lab, FAR6);
    let output =
        lab.r.output(std::process::Command::new(env!("CARGO_BIN_EXE_warren")).arg("snapshot")).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("left out: 2001:db8:9::9/128: what the kernel was told of the way there"),
        "{said}"
    );
}
