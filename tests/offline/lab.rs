//! A scenario, frames built by etherparse, captures of them, and the program to run on both.

use etherparse::PacketBuilder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use warren::port::capture::{Packet, Writer};

/// Two links, a route behind the second of each family, and one next hop that nobody knows.
pub(crate) const SCENARIO: &str = r#"
link = [{ name = "p0" }, { name = "p1" }]
address = [
    { dev = "p0", prefix = "10.0.1.1/24" },
    { dev = "p1", prefix = "10.0.2.1/24" },
    { dev = "p0", prefix = "2001:db8:1::1/64" },
    { dev = "p1", prefix = "2001:db8:2::1/64" },
]
neighbour = [
    { dev = "p0", to = "10.0.1.9", lladdr = "02:00:00:00:00:a9" },
    { dev = "p1", to = "10.0.2.9", lladdr = "02:00:00:00:00:b9" },
    { dev = "p0", to = "2001:db8:1::9", lladdr = "02:00:00:00:00:a9" },
    { dev = "p1", to = "2001:db8:2::9", lladdr = "02:00:00:00:00:b9" },
]
route = [
    { dst = "10.9.0.0/16", via = "10.0.2.9" },
    { dst = "2001:db8:9::/48", via = "2001:db8:2::9" },
    { dst = "2001:db8:dead::/48", via = "2001:db8:2::dead" },
    { dst = "10.7.0.0/16", nexthop = [ { via = "10.0.1.9", weight = 1 }, { via = "10.0.2.9", weight = 3 } ] },
]
rule = [{ pref = 100, from = "10.66.0.0/16", action = "prohibit" }]
[sysctl]
"net.ipv4.fib_multipath_hash_seed" = 7
"net.ipv6.neigh.p1.mcast_solicit" = 2
"net.ipv6.neigh.p1.retrans_time_ms" = 100
"#;

/// An IPv6 UDP packet to the box's first link.
pub(crate) fn udp6(src: &str, dst: &str, hop_limit: u8, payload: usize) -> Vec<u8> {
    let (src, dst): (std::net::Ipv6Addr, std::net::Ipv6Addr) = (src.parse().unwrap(), dst.parse().unwrap());
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xa9], [2, 0, 0, 0, 0, 2])
        .ipv6(src.octets(), dst.octets(), hop_limit)
        .udp(1000, 2000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

/// An IPv4 UDP packet to the box's first link.
pub(crate) fn udp4(src: &str, dst: &str, ttl: u8, payload: usize) -> Vec<u8> {
    let (src, dst): (std::net::Ipv4Addr, std::net::Ipv4Addr) = (src.parse().unwrap(), dst.parse().unwrap());
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xa9], [2, 0, 0, 0, 0, 2])
        .ipv4(src.octets(), dst.octets(), ttl)
        .udp(1000, 2000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

/// A bit of everything, a millisecond apart.
pub(crate) fn mixture() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for n in 0..40 {
        let host = format!("2001:db8:1::{n:x}");
        frames.push(udp6(&host, "2001:db8:9::1", 64, 20));
        frames.push(udp4(&format!("10.0.1.{}", 10 + n), "10.9.0.1", 64, 20));
        frames.push(udp4("10.0.1.9", &format!("10.7.0.{n}"), 9, 100));
    }
    frames.push(udp6("2001:db8:1::9", "2001:db8:9::1", 1, 20));
    frames.push(udp6("2001:db8:1::9", "2001:db8:dead::1", 64, 20));
    frames.push(udp6("2001:db8:1::9", "2001:db8:1::1", 64, 20));
    frames.push(udp4("10.0.1.9", "192.0.2.1", 64, 20));
    frames
}

/// A folder with a scenario and a capture, gone at the end.
pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
}

impl Lab {
    /// The scenario as `s.toml`, the frames as `in.pcapng` on p0.
    pub(crate) fn new(frames: &[Vec<u8>]) -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap() };
        lab.write("s.toml", SCENARIO.as_bytes());
        lab.capture("in.pcapng", "p0", frames);
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Writes frames that came in by `link`, a millisecond apart.
    pub(crate) fn capture(&self, name: &str, link: &str, frames: &[Vec<u8>]) {
        let mut writer = Writer::create(&self.path(name)).unwrap();
        writer.add_interface(link).unwrap();
        for (bytes, n) in frames.iter().zip(0..) {
            let (time, wire_len) = (1_700_000_000_000_000_000 + n * 1_000_000, bytes.len() as u32);
            let packet = Packet { interface: 0, time, wire_len, bytes, direction: None, comment: "" };
            writer.write(&packet).unwrap();
        }
        writer.finish().unwrap();
    }

    /// A warren to be run in the folder.
    pub(crate) fn command(&self, words: &str) -> Command {
        command(self.folder.path(), words)
    }

    /// Runs warren in the folder.
    pub(crate) fn run(&self, words: &str) -> Output {
        warren(self.folder.path(), words)
    }

    /// What it prints; it must succeed.
    #[track_caller]
    pub(crate) fn prints(&self, words: &str) -> String {
        let out = self.run(words);
        assert!(out.status.success(), "warren {words}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The object that it prints with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, words: &str) -> serde_json::Value {
        let text = self.prints(&format!("{words} --json"));
        assert_eq!(text.lines().count(), 1, "one object on one line");
        serde_json::from_str(&text).unwrap()
    }
}

pub(crate) fn warren(folder: &Path, words: &str) -> Output {
    command(folder, words).output().unwrap()
}

fn command(folder: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.current_dir(folder).args(words.split_whitespace());
    command
}
