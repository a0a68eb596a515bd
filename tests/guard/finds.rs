//! Each kind of filter is found by name, an empty namespace has none, and changes are announced.

use std::os::fd::AsFd;
use std::time::Duration;

use ipnet::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use warren::control::guard::Guard;
use warren::control::guard::foreign::{Family, Finding, Interface, Watcher, What, find};
use warren::sys::bpf::{Hook, Program, ProgramKind};

use crate::net::{Space, index, run, veth};

/// What is found on `p0`, read from the kernel as control would.
fn found() -> Vec<Finding> {
    let link = run("ip -d link show dev p0");
    let word = |key: &str| link.split_whitespace().skip_while(|word| *word != key).nth(1);
    let interface = Interface {
        index: index("p0"),
        name: "p0",
        bridge: link.contains(" bridge "),
        qdisc: word("qdisc").unwrap(),
        xdp: word("prog/xdp").and_then(|_| word("id")?.parse().ok()),
    };
    find(&[interface]).unwrap()
}

fn lines() -> Vec<String> {
    found().iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_namespace_has_none() {
    Space::new("none").enter(|| {
        veth("p0", "p1");
        assert_eq!(found(), []);
    });
}

#[test]
fn nftables_chains() {
    Space::new("nftables").enter(|| {
        veth("p0", "p1");
        run("nft add table inet t");
        // Harmless: empty chains that accept, chains for local traffic only, and what no hook leads to.
        run("nft add chain inet t empty { type filter hook forward priority 5 ; policy accept ; }");
        run("nft add chain inet t local { type filter hook input priority 0 ; policy drop ; }");
        run("nft add chain inet t called");
        run("nft add rule inet t called drop");
        run("nft add table bridge t");
        run("nft add chain bridge t ports { type filter hook forward priority 0 ; policy drop ; }");
        assert_eq!(found(), []);

        run("nft add chain inet t forwarded { type filter hook forward priority 0 ; }");
        run("nft add rule inet t forwarded ip daddr 10.9.9.9 drop");
        run("nft add rule inet t forwarded counter");
        run("nft add table ip four");
        run("nft add chain ip four pre { type filter hook prerouting priority 0 ; policy drop ; }");
        run("nft add table ip6 six");
        run("nft add chain ip6 six post { type nat hook postrouting priority 100 ; }");
        run("nft add rule ip6 six post masquerade");
        run("nft add table netdev dev");
        run("nft add chain netdev dev in { type filter hook ingress device p0 priority 0 ; policy drop ; }");
        run("nft add chain netdev dev out { type filter hook egress devices = { p0, p1 } priority 0 ; }");
        run("nft add rule netdev dev out counter");
        let all = found();
        let lines: Vec<_> = all.iter().map(|f| (f.family, f.interface.as_deref(), f.line.as_str())).collect();
        let p0 = Some("p0");
        let want = [
            (None, None, "nftables chain inet t forwarded (hook forward, 2 rules)"),
            (None, p0, "nftables chain netdev dev in (hook ingress on p0, 0 rules, policy drop)"),
            (None, p0, "nftables chain netdev dev out (hook egress on p0, 1 rules)"),
            (None, Some("p1"), "nftables chain netdev dev out (hook egress on p1, 1 rules)"),
            (Some(Family::V4), None, "nftables chain ip four pre (hook prerouting, 0 rules, policy drop)"),
            (Some(Family::V6), None, "nftables chain ip6 six post (hook postrouting, 1 rules)"),
        ];
        assert_eq!(lines, want);
        assert!(all.iter().all(|f| f.what == What::Firewall));
    });
}

#[test]
fn legacy_tables() {
    Space::new("legacy").enter(|| {
        veth("p0", "p1");
        run("iptables-legacy -A FORWARD -j DROP");
        run("ip6tables-legacy -t mangle -A FORWARD -j ACCEPT");
        assert_eq!(lines(), ["iptables-legacy table filter", "ip6tables-legacy table mangle"]);
        assert_eq!(found()[1].family, Some(Family::V6));
    });
}

#[test]
fn ipsec_policies() {
    Space::new("ipsec").enter(|| {
        veth("p0", "p1");
        run("ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir in");
        assert_eq!(found(), []);
        run("ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd action block");
        run("ip xfrm policy add src 2001:db8::/32 dst ::/0 dir out");
        let want = [
            "ipsec policy fwd block from 10.0.0.0/8 to 10.1.0.0/16",
            "ipsec policy out allow from 2001:db8::/32 to ::/0",
        ];
        assert_eq!(lines(), want);
        assert_eq!(found()[0].family, Some(Family::V4));
        run("ip xfrm policy flush");
        run("ip xfrm policy setdefault in block fwd block out accept");
        assert_eq!(lines(), ["ipsec default policy fwd block"]);
    });
}

#[test]
fn traffic_control() {
    Space::new("tc").enter(|| {
        veth("p0", "p1");
        run("tc qdisc add dev p0 clsact");
        assert_eq!(found(), []);
        run("tc filter add dev p0 ingress pref 7 protocol ip u32 match ip dst 10.9.9.9/32 action mirred egress redirect dev p1");
        run("tc filter add dev p0 egress pref 9 protocol ip u32 match u32 0 0 classid 1:1");
        run("tc qdisc add dev p0 root tbf rate 1mbit burst 10k latency 50ms");
        let want = [
            "queueing discipline tbf of p0",
            "tc filter u32 (pref 7) at ingress of p0",
            "tc filter u32 (pref 9) at egress of p0",
        ];
        assert_eq!(lines(), want);
        run("tc qdisc del dev p0 clsact");
        run("tc qdisc del dev p0 root");
        run("tc qdisc add dev p0 ingress");
        run("tc filter add dev p0 ingress pref 3 protocol all u32 match u32 0 0 classid 1:1");
        assert_eq!(lines(), ["tc filter u32 (pref 3) at ingress of p0"]);
    });
}

#[test]
fn bpf_programs() {
    /// `r0 = 0; exit`
    const ZERO: [u64; 2] = [0xb7, 0x95];
    Space::new("bpf").enter(|| {
        veth("p0", "p1");
        let tcx = Program::load(ProgramKind::Tcx, "their_tcx", &ZERO).unwrap();
        let xdp = Program::load(ProgramKind::Xdp, "their_xdp", &ZERO).unwrap();
        let mut links = vec![
            tcx.attach(Hook::TcxIngress, index("p0"), 0).unwrap(),
            xdp.attach(Hook::Xdp, index("p0"), 2).unwrap(),
        ];
        let [tcx, xdp] = [tcx, xdp].map(|program| program.id().unwrap());
        let want = [
            format!("XDP program their_xdp (id {xdp}) of p0"),
            format!("tcx program their_tcx (id {tcx}) at ingress of p0"),
        ];
        assert_eq!(lines(), want);
        links.clear();
        assert_eq!(found(), []);
    });
}

#[test]
fn a_bridge_that_shows_its_frames_to_netfilter() {
    Space::new("bridge").enter(|| {
        run("ip link add name p0 type bridge");
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1").unwrap();
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0").unwrap();
        assert_eq!(lines(), ["br_netfilter on bridge p0 (net.bridge.bridge-nf-call-iptables = 1)"]);
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0").unwrap();
        assert_eq!(found(), []);
    });
}

#[test]
fn changes_are_announced_but_not_ours() {
    Space::new("watch").enter(|| {
        veth("p0", "p1");
        let watcher = Watcher::new().unwrap();
        assert!(!watcher.changed().unwrap());
        let left: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for mut guard in [Guard::tcx(&left).unwrap(), Guard::nft(&left).unwrap()] {
            guard.attach(index("p0")).unwrap();
            guard.renew().unwrap();
            guard.claim(&left).unwrap();
            assert_eq!(found(), []);
            guard.detach(index("p0")).unwrap();
        }
        assert!(!watcher.changed().unwrap(), "our own guards");
        for theirs in [
            "nft add table inet t",
            "nft add chain inet t forwarded { type filter hook forward priority 0 ; }",
            "nft add rule inet t forwarded drop",
            "nft flush ruleset",
            "tc qdisc add dev p0 clsact",
            "tc filter add dev p0 ingress protocol ip u32 match u32 0 0 classid 1:1",
            "ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd",
        ] {
            run(theirs);
            assert!(readable(&watcher), "{theirs}: the descriptor stays silent");
            assert!(watcher.changed().unwrap(), "{theirs}");
            assert!(!watcher.changed().unwrap(), "{theirs}: announced twice");
        }
        // More than the socket holds: lost messages count as a change, once.
        let rules = "add rule inet t forwarded counter\n".repeat(3000);
        let batch = format!("add table inet t\nadd chain inet t forwarded\n{rules}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        run(&format!("nft -f {}", file.path().display()));
        run(&format!("nft -f {}", file.path().display()));
        assert!(watcher.changed().unwrap());
        assert!(!watcher.changed().unwrap());
    });
}

fn readable(watcher: &Watcher) -> bool {
    let at_most = Timespec::try_from(Duration::from_secs(2)).unwrap();
    let fd = watcher.as_fd();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&at_most)).unwrap() == 1
}
