//! What follows from links, addresses and routes, on both sides.

use crate::kernel::{Kernel, addresses_of, groups_of, load};
use std::path::Path;
use std::process::Command;
use warren::scenario::Scenario;

/// Lines of a scenario with these addresses, each `DEV PREFIX [flag]`.
fn addresses(lines: &[&str]) -> String {
    let entry = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        let flags = words.get(2).map(|f| format!("flags = [\"{f}\"]\n")).unwrap_or_default();
        format!("[[address]]\ndev = \"{}\"\nprefix = \"{}\"\n{flags}", words[0], words[1])
    };
    lines.iter().map(entry).collect()
}

const LINKS: &str = "[[link]]\nname = \"p0\"\n[[link]]\nname = \"p1\"\n";

/// Applies addresses on both sides and compares all that follows from them.
fn compare(test: &str, lines: &[&str], sysctls: &[(&str, &str)]) {
    let mut kernel = Kernel::new(test, 2, sysctls);
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let flag = words.get(2).map(|f| format!(" {f}")).unwrap_or_default();
        kernel.ip(&format!("address add {} dev {}{flag}", words[1], words[0]));
    }
    let set: String = sysctls.iter().map(|(name, value)| format!("\"{name}\" = {value}\n")).collect();
    let loaded = load(&format!("{LINKS}{}[sysctl]\n{set}", addresses(lines)));
    kernel.same_routes(test, &loaded);
    for (dev, index) in [("lo", 1), ("p0", 2), ("p1", 3)] {
        assert_eq!(groups_of(&loaded, dev), kernel.groups(dev), "{test}: groups of {dev}");
        assert_eq!(addresses_of(&loaded, index), kernel.addresses(index), "{test}: addresses of {dev}");
    }
}

#[test]
fn links_without_addresses() {
    compare("bare", &[], &[]);
}

#[test]
fn ipv4_subnets_of_all_lengths() {
    let lines = ["p0 10.0.1.1/24", "p0 10.0.1.2/24", "p0 10.0.2.1/32", "p1 10.0.3.1/31", "p1 10.0.1.9/24"];
    compare("v4", &lines, &[]);
    compare(
        "v4more",
        &["p0 10.0.5.1/30", "p0 10.0.5.1/24", "p1 10.9.0.0/16", "lo 10.8.0.1/24", "p1 10.7.7.7/8"],
        &[],
    );
    compare("v4flag", &["p0 10.0.5.1/24 noprefixroute", "lo 192.0.2.1/32"], &[]);
}

#[test]
fn ipv6_subnets_of_all_lengths() {
    let lines = [
        "p0 2001:db8:1::1/64",
        "p1 2001:db8:2::1/127",
        "p1 2001:db8:3::1/128",
        "p1 2001:db8:5::7/64 noprefixroute",
    ];
    compare("v6", &lines, &[]);
    compare(
        "v6any",
        &["p0 2001:db8:4::/64", "p0 2001:db8:1::1/126", "p1 fe80::5/64", "lo 2001:db8:9::1/128"],
        &[],
    );
    compare(
        "v6two",
        &["p0 2001:db8:1::1/64", "p0 2001:db8:1::2/64", "p1 2001:db8:1::3/64", "lo 2001:db8:8::1/64"],
        &[],
    );
}

#[test]
fn hosts_and_links_without_ipv6() {
    compare("host", &["p0 2001:db8:1::1/64", "p0 10.0.1.1/24"], &[("net.ipv6.conf.all.forwarding", "0")]);
    compare("half", &["p0 2001:db8:1::1/64"], &[("net.ipv6.conf.p0.forwarding", "0")]);
    compare("off", &["p0 10.0.1.1/24"], &[("net.ipv6.conf.p0.disable_ipv6", "1")]);
}

const CONNECTED: [&str; 4] =
    ["p0 10.0.1.1/24", "p1 10.0.2.1/24", "p0 2001:db8:1::1/64", "p1 2001:db8:2::1/64"];

/// What is down or lacks carrier goes down after all else.
fn compare_after(test: &str, link: &str, last: &str) {
    let mut kernel = Kernel::new(test, 2, &[]);
    for line in CONNECTED {
        let (dev, prefix) = line.split_once(' ').unwrap();
        kernel.ip(&format!("address add {prefix} dev {dev}"));
    }
    let routes = [
        ("10.5.0.0/16", "10.0.2.9"),
        ("10.6.0.0/16", "10.0.1.9"),
        ("2001:db8:5::/48", "2001:db8:2::9"),
        ("2001:db8:6::/48", "2001:db8:1::9"),
    ];
    let mut text =
        format!("{}{}", LINKS.replace("\"p1\"\n", &format!("\"p1\"\n{link}\n")), addresses(&CONNECTED));
    for (dst, via) in routes {
        kernel.ip(&format!("route append {dst} via {via}"));
        text += &format!("[[route]]\ndst = \"{dst}\"\nvia = \"{via}\"\n");
    }
    for (dst, legs) in [
        ("10.7.0.0/16", ["10.0.1.9 dev p0", "10.0.2.9 dev p1"]),
        ("2001:db8:7::/48", ["2001:db8:1::9 dev p0", "2001:db8:2::9 dev p1"]),
    ] {
        kernel.ip(&format!("route append {dst} nexthop via {} nexthop via {}", legs[0], legs[1]));
        let hop = |leg: &str| format!("{{ via = \"{}\" }}", leg.split(' ').next().unwrap());
        text += &format!("[[route]]\ndst = \"{dst}\"\nnexthop = [ {}, {} ]\n", hop(legs[0]), hop(legs[1]));
    }
    kernel.ip(last);
    kernel.same_routes(test, &load(&text));
}

#[test]
fn a_link_that_goes_down_takes_its_routes_along() {
    compare_after("down", "up = false", "link set p1 down");
}

#[test]
fn a_link_without_carrier_keeps_its_routes() {
    compare_after("carrier", "carrier = false", "link set q1 down");
}

#[test]
fn routes_of_every_type_and_with_every_attribute() {
    let mut kernel = Kernel::new("types", 2, &[]);
    for line in CONNECTED {
        let (dev, prefix) = line.split_once(' ').unwrap();
        kernel.ip(&format!("address add {prefix} dev {dev}"));
    }
    let mut text = format!("{LINKS}{}", addresses(&CONNECTED));
    for (command, keys) in [
        ("blackhole 10.1.0.0/16", "dst = \"10.1.0.0/16\"\ntype = \"blackhole\""),
        ("prohibit 10.2.0.0/16 metric 7", "dst = \"10.2.0.0/16\"\ntype = \"prohibit\"\nmetric = 7"),
        ("throw 10.3.0.0/16 table 9", "dst = \"10.3.0.0/16\"\ntype = \"throw\"\ntable = 9"),
        ("10.4.0.0/16 dev p1", "dst = \"10.4.0.0/16\"\ndev = \"p1\""),
        ("10.4.1.0/24 via 10.4.7.7", "dst = \"10.4.1.0/24\"\nvia = \"10.4.7.7\""),
        (
            "10.5.0.0/16 via 10.9.9.9 dev p0 onlink",
            "dst = \"10.5.0.0/16\"\nvia = \"10.9.9.9\"\ndev = \"p0\"\nonlink = true",
        ),
        ("default via 10.0.2.9", "dst = \"default\"\nvia = \"10.0.2.9\""),
        ("local 10.6.0.1 dev lo", "dst = \"10.6.0.1\"\ntype = \"local\"\ndev = \"lo\""),
        ("10.7.0.0/16 via inet6 fe80::9 dev p1", "dst = \"10.7.0.0/16\"\nvia = \"fe80::9\"\ndev = \"p1\""),
        (
            "10.8.0.0/16 via 10.0.1.9 src 10.0.2.1",
            "dst = \"10.8.0.0/16\"\nvia = \"10.0.1.9\"\nsrc = \"10.0.2.1\"",
        ),
        ("2001:db8:a::/48 via fe80::9 dev p0", "dst = \"2001:db8:a::/48\"\nvia = \"fe80::9\"\ndev = \"p0\""),
        ("2001:db8:b::/48 via 2001:db8:1::9", "dst = \"2001:db8:b::/48\"\nvia = \"2001:db8:1::9\""),
        ("2001:db8:b::/48 via 2001:db8:2::9", "dst = \"2001:db8:b::/48\"\nvia = \"2001:db8:2::9\""),
        ("2001:db8:c::/48 dev p1 metric 5", "dst = \"2001:db8:c::/48\"\ndev = \"p1\"\nmetric = 5"),
        ("local 2001:db8:d::/48 dev lo", "dst = \"2001:db8:d::/48\"\ntype = \"local\"\ndev = \"lo\""),
    ] {
        kernel.ip(&format!("route append {command}"));
        text += &format!("[[route]]\n{keys}\n");
    }
    kernel.same_routes("types", &load(&text));
}

#[test]
fn what_a_kernel_refuses_is_an_error() {
    let kernel = Kernel::new("refuse", 2, &[]);
    kernel.ip("address add 10.0.1.1/24 dev p0");
    for (command, keys) in [
        ("10.4.1.0/24 via 10.4.7.7", "dst = \"10.4.1.0/24\"\nvia = \"10.4.7.7\""),
        ("10.4.1.0/24 via 10.0.1.9 dev p1", "dst = \"10.4.1.0/24\"\nvia = \"10.0.1.9\"\ndev = \"p1\""),
        ("10.4.1.1/24 dev p1", "dst = \"10.4.1.1/24\"\ndev = \"p1\""),
        ("2001:db8::/48 via 2001:db8:7::7", "dst = \"2001:db8::/48\"\nvia = \"2001:db8:7::7\""),
        ("2001:db8::/48 via fe80::9", "dst = \"2001:db8::/48\"\nvia = \"fe80::9\""),
    ] {
        let asked = format!("route append {command}");
        let out = kernel.ns.output(Command::new("ip").args(asked.split(' '))).unwrap();
        assert!(!out.status.success(), "the kernel takes: ip {asked}");
        let text = format!("{LINKS}{}[[route]]\n{keys}\n", addresses(&["p0 10.0.1.1/24"]));
        let path = Path::new("s.toml");
        let refused = Scenario::parse(&text, path).unwrap().load(path, 1, 0);
        assert!(
            refused.is_err(),
            "{keys}: loaded, but the kernel says {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}

#[test]
fn buckets_of_a_fresh_resilient_group() {
    let mut kernel = Kernel::new("buckets", 2, &[]);
    kernel.ip("address add 10.0.1.1/24 dev p0");
    for id in 1..=3 {
        kernel.ip(&format!("nexthop add id {id} via 10.0.1.{} dev p0", id + 1));
    }
    kernel.ip("nexthop add id 10 group 1,3/2,2/3,5 type resilient buckets 37");
    let buckets: Vec<u32> = kernel.socket.buckets(10).unwrap().iter().map(|b| b.member).collect();
    let body = warren::scenario::resilient_buckets(&[(1, 3), (2, 2), (3, 5)], 37);
    assert_eq!(body, buckets);
}
