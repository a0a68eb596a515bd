//! Sysctls, groups, addresses, neighbours and what is left to the kernel, as the snapshot shows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use warren::control::sync::Mirror;
use warren::state::State;
use warren::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf};
use warren_fib::Nud;

use crate::lab::{Lab, inside, ip, ip_output, sysctl};

fn state(lab: &Lab) -> std::sync::Arc<State> {
    lab.shared.state.load_full()
}

/// Handles events until the snapshot is as wanted. Ten seconds are far more than the round of a second needs.
#[track_caller]
fn wait(lab: &mut Lab, what: &str, wanted: impl Fn(&State, &Mirror) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if lab.mirror.handle().unwrap().snapshot {
            lab.mirror.publish();
        }
        if wanted(&state(lab), &lab.mirror) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(path: &str) -> Option<i64> {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?.trim().parse().ok()
}

/// Demands that the snapshot shows the kernel's own files, and that most of these exist.
fn assert_files(state: &State) {
    let iface = state.ifaces.by_name("v1").unwrap();
    let mut missing = Vec::new();
    let mut same = |path: String, value: Option<i64>| match read(&path) {
        Some(kernels) => assert_eq!(value, Some(kernels), "{path}"),
        None => missing.push(path),
    };
    for (name, _) in Conf4::NAMES {
        same(format!("ipv4/conf/v1/{name}"), iface.conf4.get(name));
        same(format!("ipv4/conf/all/{name}"), state.sysctl.all4.get(name));
        same(format!("ipv4/conf/default/{name}"), state.sysctl.default4.get(name));
    }
    for (name, _) in Conf6::NAMES {
        same(format!("ipv6/conf/v1/{name}"), iface.conf6.get(name));
        same(format!("ipv6/conf/all/{name}"), state.sysctl.all6.get(name));
        same(format!("ipv6/conf/default/{name}"), state.sysctl.default6.get(name));
    }
    for (name, _) in NeighConf::NAMES {
        same(format!("ipv4/neigh/v1/{name}"), iface.neigh4.get(name));
        same(format!("ipv6/neigh/v1/{name}"), iface.neigh6.get(name));
    }
    for (name, _) in Global4::NAMES {
        same(format!("ipv4/{name}"), state.sysctl.ip4.get(name));
    }
    for (name, _) in Global6::NAMES {
        let file = name.strip_prefix("icmp_").map_or((*name).to_owned(), |rest| format!("icmp/{rest}"));
        same(format!("ipv6/{file}"), state.sysctl.ip6.get(name));
    }
    // Not every kernel has every file.
    assert!(missing.len() < 10, "{missing:?}");
}

#[test]
fn sysctls_are_the_kernels() {
    inside("sysctls", || {
        let mut lab = Lab::new();
        assert_files(&state(&lab));
        for (name, value) in [
            ("ipv4.conf.v1.rp_filter", "2"),
            ("ipv4.conf.all.log_martians", "1"),
            ("ipv4.conf.default.accept_local", "1"),
            ("ipv4.conf.v1.send_redirects", "0"),
            ("ipv6.conf.v1.hop_limit", "33"),
            ("ipv6.conf.v1.router_probe_interval", "7"),
            ("ipv6.conf.v1.ioam6_id", "77"),
            ("ipv6.conf.all.proxy_ndp", "1"),
            ("ipv6.conf.default.accept_ra", "0"),
            ("ipv4.ip_default_ttl", "63"),
            ("ipv4.fib_multipath_hash_policy", "1"),
            ("ipv4.icmp_ratemask", "6168"),
            ("ipv6.icmp.ratelimit", "7"),
            ("ipv6.icmp.ratemask", "1,128"),
            ("ipv6.fib_multipath_hash_policy", "2"),
            ("ipv4.neigh.v1.unres_qlen_bytes", "4096"),
            ("ipv6.neigh.v1.mcast_solicit", "5"),
        ] {
            sysctl(&format!("net.{name}"), value);
        }
        wait(&mut lab, "the last sysctl", |state, _| {
            state.ifaces.by_name("v1").is_some_and(|i| i.neigh6.mcast_solicit == 5)
        });
        let new = state(&lab);
        assert_files(&new);
        assert!(new.sysctl.ratemask6.contains(128) && !new.sysctl.ratemask6.contains(2));
        assert_eq!(new.ifaces.by_name("v1").unwrap().conf6.hop_limit, 33);
        // An announced one needs no waiting.
        sysctl("net.ipv4.conf.v2.forwarding", "0");
        lab.follow();
        assert_eq!(state(&lab).ifaces.by_name("v2").unwrap().conf4.forwarding, 0);
    });
}

#[test]
fn groups_and_what_is_left_follow() {
    inside("left", || {
        let mut lab = Lab::new();
        let all: Ipv4Addr = "224.0.0.1".parse().unwrap();
        let routers: Ipv6Addr = "ff02::2".parse().unwrap();
        let first = state(&lab);
        let v1 = first.ifaces.by_name("v1").unwrap();
        assert!(v1.groups4.contains(&all) && v1.groups6.contains(&routers), "{v1:?}");
        let left4 = |addr: &str| {
            let addr: Ipv4Addr = addr.parse().unwrap();
            move |state: &State, _: &Mirror| state.left.contains4(addr)
        };
        let left6 = |addr: &str| {
            let addr: Ipv6Addr = addr.parse().unwrap();
            move |state: &State, _: &Mirror| state.left.contains6(addr)
        };
        for addr in ["10.0.1.1", "10.0.1.255", "127.0.0.1"] {
            assert!(first.left.contains4(addr.parse().unwrap()), "{addr}");
        }
        for addr in ["2001:db8:1::1", "2001:db8:1::", "fe80::", "::1"] {
            assert!(first.left.contains6(addr.parse().unwrap()), "{addr}");
        }
        assert!(!first.left.contains4("10.0.1.9".parse().unwrap()));
        ip("neigh add proxy 10.0.1.77 dev v1\nneigh add proxy 2001:db8:1::77 dev v2\n");
        wait(&mut lab, "the IPv4 proxy", left4("10.0.1.77"));
        wait(&mut lab, "the IPv6 proxy", left6("2001:db8:1::77"));
        ip("neigh del proxy 10.0.1.77 dev v1\n");
        wait(&mut lab, "the end of the proxy", |s, _| !s.left.contains4("10.0.1.77".parse().unwrap()));
        ip("route add 203.0.113.0/25 encap ip id 5 dst 10.0.1.9 via 10.0.1.2 dev v1\n\
            nexthop add id 7 encap ip id 5 dst 10.0.1.9 via 10.0.1.2 dev v1\n\
            nexthop add id 8 group 7\n\
            route add 203.0.113.128/26 nhid 7\nroute add 203.0.113.192/26 nhid 8\n\
            route add 198.18.7.0/24 via 10.0.1.2 dev v1 realm 5\n\
            route add 198.18.8.0/24 nexthop via 10.0.1.2 dev v1 realms 6 nexthop via 10.0.1.3 dev v1\n");
        for addr in ["203.0.113.1", "203.0.113.129", "203.0.113.193", "198.18.7.1", "198.18.8.1"] {
            wait(&mut lab, addr, left4(addr));
        }
        ip("nexthop replace id 7 via 10.0.1.2 dev v1\n");
        wait(&mut lab, "the end of the tunnel", |s, _| !s.left.contains4("203.0.113.193".parse().unwrap()));
        assert!(state(&lab).left.contains4("203.0.113.1".parse().unwrap()));
        lab.assert_equal("tunnels");
    });
}

/// Both interfaces have the broadcast address of one subnet: it stays with the kernel until the last one goes.
#[test]
fn a_prefix_is_left_while_any_route_asks_for_it() {
    inside("twice", || {
        let mut lab = Lab::new();
        let broadcast: Ipv4Addr = "10.0.1.255".parse().unwrap();
        ip("address add 10.0.1.7/24 broadcast 10.0.1.255 dev v2\naddress del 10.0.1.1/24 dev v1\n");
        lab.assert_equal("one of two");
        assert!(state(&lab).left.contains4(broadcast));
        ip("link set v2 down\n");
        lab.assert_equal("both gone");
        assert!(!state(&lab).left.contains4(broadcast));
    });
}

#[test]
fn the_kernel_resolves_on_demand() {
    inside("wishes", || {
        let mut lab = Lab::new();
        let (nobody, stale): (IpAddr, IpAddr) = ("10.0.3.99".parse().unwrap(), "10.0.2.2".parse().unwrap());
        let shared = std::sync::Arc::clone(&lab.shared);
        let known = |oif: u32, addr: IpAddr| {
            let mut reader = shared.fib.reader().unwrap();
            reader.pin().neighbour(oif, addr).map(|entry| entry.neighbour.state)
        };
        sysctl("net.ipv4.neigh.v3.mcast_solicit", "1");
        for _ in 0..1000 {
            lab.mirror.resolve(13, nobody);
        }
        wait(&mut lab, "the failure", |_, _| known(13, nobody) == Some(Nud::FAILED));
        assert!(ip_output("neigh show 10.0.3.99").contains("FAILED"));
        lab.mirror.resolve(13, nobody);
        assert_eq!(known(13, nobody), Some(Nud::INCOMPLETE));
        assert!(ip_output("neigh show 10.0.3.99").contains("INCOMPLETE"));
        wait(&mut lab, "the next failure", |_, _| known(13, nobody) == Some(Nud::FAILED));
        ip("neigh replace 10.0.2.2 lladdr 02:00:00:00:00:02 dev v2 nud stale\n");
        lab.follow();
        assert_eq!(known(12, stale), Some(Nud::STALE));
        lab.mirror.used(12, stale);
        // The kernel waits a while before it probes; it says nothing of that.
        assert!(ip_output("neigh show 10.0.2.2").contains("DELAY"));
        lab.assert_equal("wishes");
    });
}

/// What is made wrong on purpose is found, told and put right.
#[test]
fn an_audit_finds_and_repairs() {
    inside("audit", || {
        let mut lab = Lab::new();
        ip(
            "route add 192.0.2.0/24 via 10.0.1.2\nneigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev v1 nud permanent\n\
            nexthop add id 1 via 10.0.2.2 dev v2\nrule add pref 100 from 10.66.0.0/16 table 100\n",
        );
        lab.assert_equal("some objects");
        let writer = lab.mirror.writer();
        let prefix = |text: &str| text.parse::<warren_fib::Prefix<Ipv4Addr>>().unwrap();
        writer.set_routes4(254, prefix("192.0.2.0/24"), &[]).unwrap();
        let extra = warren_fib::Route::new(prefix("198.51.100.0/24"), warren_fib::Hops::one(11, None));
        writer.insert4(extra, warren_fib::Place::New).unwrap();
        writer.set_neighbour(11, "10.0.1.2".parse().unwrap(), None);
        writer.remove_nexthop(1);
        writer.set_rules6(Vec::new());
        writer.update_iface(12, |iface| iface.addrs6.clear());
        writer.update_iface(13, |iface| iface.mtu = 77);
        let audit = lab.mirror.audit_now().unwrap();
        for what in [
            "route 192.0.2.0/24",
            "route 198.51.100.0/24",
            "neighbour 10.0.1.2",
            "nexthop 1",
            "IPv6 rules",
            "addresses of v2",
            "link v3",
        ] {
            assert!(
                audit.differences.iter().any(|told| told.contains(what)),
                "{what}: {:#?}",
                audit.differences
            );
        }
        assert_eq!((audit.repaired, lab.mirror.status().divergence), (7, 7), "{:#?}", audit.differences);
        lab.assert_equal("the repair");
    });
}
