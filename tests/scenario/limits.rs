//! What a scenario refuses as a value, a kernel refuses too, and what a kernel takes may stand in a scenario.

use crate::kernel::Kernel;
use std::path::Path;
use std::process::Command;
use warren::scenario::Scenario;
use warren::scenario::limits::range;
use warren::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf};

/// How many seconds fit into a kernel's count of ticks depends on how it was built: some take more.
const TICKS: [&str; 2] = ["router_probe_interval", "delay_first_probe_time"];

fn read(text: &str) -> Result<Scenario, String> {
    Scenario::parse(text, Path::new("s.toml")).map_err(|e| e.to_string())
}

/// Demands that a scenario with this text is read if and only if the kernel takes the `ip` command.
#[track_caller]
fn same(kernel: &Kernel, command: &[&str], text: &str) {
    let out = kernel.ns.output(Command::new("ip").args(command)).unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(read(text).is_ok(), out.status.success(), "{text}: the kernel says {said:?} to {command:?}");
}

#[test]
fn links_are_what_a_kernel_takes() {
    let kernel = Kernel::new("links", 1, &[]);
    let longest = "0123456789abcde";
    for name in [
        longest,
        "0123456789abcdef",
        "a-b",
        "\u{1}",
        "a%",
        "a:b",
        ".",
        "..",
        "...",
        "all",
        "default",
        "à",
        "á",
    ] {
        let text = format!("[[link]]\nname = {}\n", toml::Value::from(name));
        same(&kernel, &["link", "add", name, "type", "veth", "peer", "name", "other"], &text);
        let _ = kernel.ns.output(Command::new("ip").args(["link", "del", "other"])).unwrap();
    }
    for mtu in ["0", "67", "68", "1279", "65535", "65536"] {
        let text = format!("[[link]]\nname = \"p0\"\nmtu = {mtu}\n");
        same(&kernel, &["link", "set", "p0", "mtu", mtu], &text);
    }
    for mac in ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "fe:00:00:00:00:00"] {
        let text = format!("[[link]]\nname = \"p0\"\nmac = \"{mac}\"\n");
        same(&kernel, &["link", "set", "p0", "address", mac], &text);
    }
}

/// Every sysctl that a scenario may set, with its last part.
fn sysctls() -> Vec<(String, &'static str)> {
    let of = |folder: &str, names: &[(&'static str, i64)]| {
        names.iter().map(|(leaf, _)| (format!("{folder}.{leaf}"), *leaf)).collect::<Vec<_>>()
    };
    let icmp = |(name, leaf): (String, _)| (name.replace("net.ipv6.icmp_", "net.ipv6.icmp."), leaf);
    let mut all = of("net.ipv4", Global4::NAMES);
    all.extend(of("net.ipv6", Global6::NAMES).into_iter().map(icmp));
    all.extend(of("net.ipv4.conf.default", Conf4::NAMES));
    all.extend(of("net.ipv6.conf.default", Conf6::NAMES));
    all.extend(of("net.ipv4.neigh.p0", NeighConf::NAMES));
    all.extend(of("net.ipv6.neigh.p0", NeighConf::NAMES));
    all
}

#[test]
fn sysctls_are_what_a_kernel_takes() {
    let kernel = Kernel::new("sysctls", 1, &[]);
    let takes = |name: &str, value: i64| kernel.ns.sysctl_write(name, &value.to_string()).is_ok();
    let reads = |name: &str, value: i64| read(&format!("[sysctl]\n{name:?} = {value}\n")).is_ok();
    let mut tried = 0;
    for (name, leaf) in sysctls() {
        let Ok(now) = kernel.ns.sysctl_read(&name) else { continue }; // younger than this kernel
        let (least, most) = range(&name).unwrap().into_inner();
        if leaf == "mc_forwarding" {
            assert!(!takes(&name, 1) && !reads(&name, 1), "{name}");
            continue;
        }
        for value in [least, most, now.trim().parse().unwrap()] {
            assert!(takes(&name, value) && reads(&name, value), "{name} = {value} is refused");
        }
        for value in [least - 1, most + 1] {
            assert!(!reads(&name, value), "{name} = {value} is read");
            assert!(TICKS.contains(&leaf) || !takes(&name, value), "{name} = {value} is taken by the kernel");
        }
        tried += 1;
    }
    assert!(tried > 60, "only {tried} sysctls were there");
}

#[test]
fn a_links_mtu_of_ipv6_is_at_most_its_own() {
    let kernel = Kernel::new("mtu6", 1, &[]);
    for value in [1280, 1500, 1501] {
        let text = format!("[[link]]\nname = \"p0\"\n[sysctl]\n\"net.ipv6.conf.p0.mtu\" = {value}\n");
        let taken = kernel.ns.sysctl_write("net.ipv6.conf.p0.mtu", &value.to_string()).is_ok();
        let loaded = read(&text).unwrap().load(Path::new("s.toml"), 1, 0);
        assert_eq!(loaded.is_ok(), taken, "{value}");
    }
}
