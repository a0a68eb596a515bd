//! `warren snapshot` in a namespace: what it writes loads to what the kernel holds, and holds nothing that follows from
//! the rest.

use crate::kernel::{Kernel, load, routes_of};
use std::process::Command;
use warren::scenario::Scenario;
use warren_fib::{Nud, RuleAction};

/// Runs the command in the namespace; the scenario, and what it says it left out.
fn snapshot(kernel: &Kernel) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    let out = kernel.ns.output(command.arg("snapshot")).unwrap();
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{errors}");
    (String::from_utf8(out.stdout).unwrap(), errors)
}

/// A box with something of everything.
fn furnished(test: &str) -> Kernel {
    let kernel =
        Kernel::new(test, 2, &[("net.ipv6.conf.p1.hop_limit", "63"), ("net.ipv4.ip_default_ttl", "61")]);
    for command in [
        "address add 10.0.1.1/24 dev p0",
        "address add 10.0.1.2/24 dev p0",
        "address add 10.0.2.1/24 dev p1 noprefixroute",
        "address add 2001:db8:1::1/64 dev p0",
        "address add 2001:db8:1::2/64 dev p0 preferred_lft 0",
        "address add 2001:db8:2::1/64 dev p1",
        "address add fe80::77/64 dev p1",
        "address add 192.0.2.1/32 dev lo",
        "neighbour add 10.0.1.9 dev p0 lladdr 02:00:00:00:00:99",
        "neighbour add 2001:db8:2::9 dev p1 lladdr 02:00:00:00:00:98",
        "neighbour add proxy 2001:db8:1::77 dev p1",
        "nexthop add id 5 group 7,2/8,1",
        "route append 10.4.0.0/16 dev p1",
        "route append 10.3.0.0/16 via 10.4.7.7",
        "route append 10.5.0.0/16 nexthop via 10.0.1.9 weight 3 nexthop via 10.4.1.1 weight 2",
        "route append 10.6.0.0/16 via 10.9.9.9 dev p0 onlink mtu lock 1400",
        "route append blackhole 10.7.0.0/16 metric 9 table 77",
        "route append 10.8.0.0/16 nhid 5",
        "route append 10.8.0.0/16 tos 0x10 via 10.0.1.8",
        "route append 2001:db8:a::/48 via fe80::9 dev p0 pref high",
        "route append 2001:db8:b::/48 from 2001:db8:f::/48 via 2001:db8:2::9 hoplimit 3",
        "route append 2001:db8:c::/48 via 2001:db8:1::8",
        "route append 2001:db8:c::/48 via 2001:db8:2::8",
        "rule add pref 100 from 10.66.0.0/16 lookup 77",
        "rule add pref 101 not to 10.66.0.0/16 iif p0 ipproto tcp dport 80-90 prohibit",
        "-6 rule add pref 102 goto 200",
        "rule add pref 103 fwmark 7 lookup 77",
    ] {
        if command.starts_with("nexthop add id 5") {
            kernel.ip("nexthop add id 7 via 10.0.1.7 dev p0");
            kernel.ip("nexthop add id 8 via 10.0.1.8 dev p0");
        }
        kernel.ip(command);
    }
    kernel
}

#[test]
fn it_loads_to_what_the_kernel_holds() {
    let mut kernel = furnished("snap");
    let (text, left_out) = snapshot(&kernel);
    let loaded = load(&text);
    // Routes by objects show their legs only in the kernel's list.
    let by_object = |route: &String| route.contains("10.8.0.0/16");
    let ours: Vec<_> = routes_of(&loaded).into_iter().filter(|r| !by_object(r)).collect();
    let theirs: Vec<_> = kernel.routes().into_iter().filter(|r| !by_object(r)).collect();
    let text = text.replace("\n\n", "\n");
    assert_eq!(ours, theirs, "routes (ours left) of\n{text}");
    let state = loaded.shared.state.load();
    let (p0, p1) = (state.ifaces.by_name("p0").unwrap(), state.ifaces.by_name("p1").unwrap());
    assert_eq!((p1.conf6.hop_limit, state.sysctl.ip4.ip_default_ttl), (63, 61));
    assert_eq!(p1.proxies6.len(), 1);
    assert!(p0.addrs6.iter().any(|a| a.deprecated && a.addr.to_string() == "2001:db8:1::2"));
    let mut reader = loaded.shared.fib.reader().unwrap();
    let view = reader.pin();
    let known = view.neighbour(2, "10.0.1.9".parse().unwrap()).unwrap().neighbour;
    assert_eq!((known.lladdr, known.state), ([2, 0, 0, 0, 0, 0x99], Nud::PERMANENT));
    let prefs: Vec<_> = state.rules4.iter().map(|r| (r.pref, r.action)).collect();
    assert!(prefs.contains(&(100, RuleAction::Table(77))) && prefs.contains(&(101, RuleAction::Prohibit)));
    assert_eq!(state.rules6.iter().filter(|r| r.action == RuleAction::Goto(200)).count(), 1);
    assert!(left_out.contains("rule 103: it looks at marks"), "{left_out}");
}

#[test]
fn it_holds_nothing_that_follows_from_the_rest() {
    let mut kernel = Kernel::new("snapbare", 2, &[]);
    kernel.ip("address add 10.0.1.1/24 dev p0");
    kernel.ip("address add 2001:db8:1::1/64 dev p0");
    let links = "link = [{ name = \"p0\" }, { name = \"p1\" }]\n";
    let address = |prefix| format!("[[address]]\ndev = \"p0\"\nprefix = \"{prefix}\"\n");
    let bare = load(&format!("{links}{}{}", address("10.0.1.1/24"), address("2001:db8:1::1/64")));
    kernel.same_routes("snapbare", &bare);
    let (text, left_out) = snapshot(&kernel);
    let scenario = Scenario::parse(&text, std::path::Path::new("snapshot")).unwrap();
    assert_eq!((scenario.route.len(), scenario.rule.len(), scenario.address.len()), (0, 0, 2), "{text}");
    assert_eq!(left_out, "");
    let names: Vec<_> = scenario.link.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "q0", "q1"]);
}

#[test]
fn a_link_that_no_scenario_can_have_is_left_out() {
    let kernel = Kernel::new("snapbig", 1, &[]);
    kernel.ip("link add big mtu 70000 type ifb");
    let (text, left_out) = snapshot(&kernel);
    load(&text);
    assert!(left_out.contains("link big: its MTU is none of Ethernet"), "{left_out}");
}
