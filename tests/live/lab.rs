//! Host a, router r, host b, each in a namespace, and a warren in r. All of it goes when the test ends, also by a failure.
//!
//! ```text
//! a a0 ---- r0 r r1 ---- b0 b      10.0.1.0/24, 2001:db8:1::/64 | 10.0.2.0/24, 2001:db8:2::/64; hosts are 1, r is 254 or fe
//! ```

use std::process::Command;

use serde_json::Value;
use warren::stats::Mib;
use warren::stats::kernel;
use warren::sys::netns::Namespace;

pub(crate) use crate::process::{Warren, run, start, try_run};

/// The addresses of host b.
pub(crate) const B4: &str = "10.0.2.1";
pub(crate) const B6: &str = "2001:db8:2::1";

pub(crate) struct Lab {
    pub(crate) a: Namespace,
    pub(crate) r: Namespace,
    pub(crate) b: Namespace,
}

impl Lab {
    pub(crate) fn new(tag: &str) -> Lab {
        let make = |part: &str| {
            let name = format!("warren-t-run-{tag}-{}-{part}", std::process::id());
            Namespace::create(&name).expect("run this test as root: it makes network namespaces")
        };
        let lab = Lab { a: make("a"), r: make("r"), b: make("b") };
        for space in [&lab.a, &lab.r, &lab.b] {
            run(space, "ip link set lo up");
        }
        run(&lab.r, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        lab.link(&lab.a, 'a', 0, 1);
        lab.link(&lab.b, 'b', 1, 2);
        lab
    }

    /// Joins `host` to the router.
    pub(crate) fn link(&self, host: &Namespace, name: char, port: u8, net: u8) {
        run(&self.r, &format!("ip link add r{port} type veth peer name {name}0 netns {}", host.name()));
        let ends = [(&self.r, format!("r{port}"), "254", "fe"), (host, format!("{name}0"), "1", "1")];
        for (space, device, four, six) in ends {
            run(space, &format!("sysctl -qw net.ipv6.conf.{device}.accept_dad=0"));
            run(space, &format!("ip link set {device} up"));
            run(space, &format!("ip addr add 10.0.{net}.{four}/24 dev {device}"));
            run(space, &format!("ip addr add 2001:db8:{net}::{six}/64 dev {device} nodad"));
        }
        run(host, &format!("ip route add default via 10.0.{net}.254"));
        run(host, &format!("ip route add default via 2001:db8:{net}::fe"));
    }

    /// Starts `warren run r0 r1` with more arguments and waits until it forwards.
    pub(crate) fn warren(&self, more: &str) -> Warren {
        let mut warren = self.start(&format!("run r0 r1 {more}"));
        warren.wait_for("forwarding on r0 r1");
        warren
    }

    /// Starts `warren` with these arguments.
    pub(crate) fn start(&self, arguments: &str) -> Warren {
        start(&self.r, arguments)
    }

    /// The rows of `warren show TOPIC --json`.
    pub(crate) fn shown(&self, topic: &str) -> Vec<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        let output = self.r.output(command.args(["show", topic, "--json"])).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        serde_json::from_value(answer[topic].take()).unwrap()
    }

    /// The row of a table in which `key` is `value`.
    pub(crate) fn row(&self, topic: &str, key: &str, value: &str) -> Option<Value> {
        self.shown(topic).into_iter().find(|row| row[key] == value)
    }

    /// What warren has counted under this name.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.row("counters", "counter", name).map_or(0, |row| row["warren"].as_u64().unwrap())
    }

    /// Packets that the kernel of the router has forwarded, by family.
    pub(crate) fn kernel_forwarded(&self) -> [u64; 2] {
        let counters = self.r.enter(kernel::counters).unwrap();
        [Mib::IpForwDatagrams, Mib::Ip6OutForwDatagrams].map(|m| counters.get(&m).copied().unwrap())
    }

    /// Fails unless host a gets `count` answers from `to`.
    pub(crate) fn ping(&self, count: u32, to: &str) {
        let said = run(&self.a, &format!("ping -c {count} -i 0.01 -W 2 {to}"));
        assert!(said.contains(&format!("{count} received")), "{said}");
    }

    /// What a single ping that fails within `seconds` says.
    pub(crate) fn no_ping(&self, seconds: u32, to: &str) -> String {
        let (ok, said) = try_run(&self.a, &format!("ping -c 1 -W {seconds} {to}"));
        assert!(!ok, "{said}");
        said
    }
}
