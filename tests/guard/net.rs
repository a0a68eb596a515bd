//! A namespace that goes with its owner, commands in it, and raw frames.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) struct Space(String);

impl Space {
    /// A fresh namespace `warren-t-guard-<tag>-<pid>` without links but a loopback that is up.
    pub(crate) fn new(tag: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "run this test as root: it makes network namespaces");
        let space = Self(format!("warren-t-guard-{tag}-{}", std::process::id()));
        run(&format!("ip netns add {}", space.0));
        run(&format!("ip -n {} link set lo up", space.0));
        space
    }

    /// Runs `body` on a thread inside the namespace. Commands it starts are inside too.
    pub(crate) fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Runs a command line without quotes; gives what it printed.
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|e| panic!("{line}: {e}; install iproute2, nftables and iptables"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A veth pair, both ends up, without IPv6 chatter, with room for jumbo frames. The first end has the MAC 02::1.
pub(crate) fn veth(first: &str, second: &str) {
    run(&format!(
        "ip link add name {first} mtu 9000 address 02:00:00:00:00:01 type veth peer name {second} mtu 9000"
    ));
    for end in [first, second] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        run(&format!("ip link set dev {end} up"));
    }
}

pub(crate) fn index(device: &str) -> u32 {
    pnet_datalink::interfaces().iter().find(|i| i.name == device).unwrap().index
}

/// A raw socket: what it sends leaves through the device, what it receives came in or left there.
pub(crate) struct Raw {
    tx: Box<dyn DataLinkSender>,
    rx: Box<dyn DataLinkReceiver>,
}

impl Raw {
    pub(crate) fn open(device: &str) -> Self {
        let interface = pnet_datalink::interfaces().into_iter().find(|i| i.name == device).unwrap();
        let config = Config {
            read_timeout: Some(Duration::from_secs(2)),
            read_buffer_size: 16384,
            write_buffer_size: 16384,
            promiscuous: false,
            ..Config::default()
        };
        let Channel::Ethernet(tx, rx) = pnet_datalink::channel(&interface, config).unwrap() else {
            panic!("{device} is not Ethernet")
        };
        Self { tx, rx }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.tx.send_to(frame, None).unwrap().unwrap();
    }

    /// The next frame; panics after two seconds without one.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        self.rx.next().unwrap().to_vec()
    }
}

/// An Ethernet frame to 02::1.
pub(crate) fn frame(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], ethertype.to_be_bytes().as_slice(), packet].concat()
}

/// An IPv4 packet of `len` bytes in all with these options.
pub(crate) fn ipv4(to: &str, options: &[u8], len: usize) -> Vec<u8> {
    let to: std::net::Ipv4Addr = to.parse().unwrap();
    let words = u8::try_from(5 + options.len().div_ceil(4)).unwrap();
    let mut packet = vec![0x40 | words, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 1];
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    packet.extend(to.octets());
    packet.extend(options);
    packet.resize(len, 0);
    frame(0x0800, &packet)
}

/// An IPv6 packet with this next header and payload.
pub(crate) fn ipv6(to: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to] = ["2001:db8:f::1", to].map(|a| a.parse::<std::net::Ipv6Addr>().unwrap());
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, len[0], len[1], next_header, 64];
    frame(0x86dd, &[&head, &from.octets()[..], &to.octets(), payload].concat())
}
