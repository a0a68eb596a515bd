//! Network namespaces for the tests of the ports: made by `ip netns`, removed when dropped, also when a test fails;
//! and a TCP transfer over a bridge of two ports.

use super::wait::{Sleep, Waker};
use super::{Rx, Tx};
use crate::frame::{Batch, Frame};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A namespace with IPv6 off, so that nothing but the test's own frames is on its links.
pub(crate) struct Net(String);

impl Net {
    pub(crate) fn new() -> Net {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Net(format!("warren-t-port-{}-{n}", std::process::id()));
        run(&format!("ip netns add {}", net.0));
        net.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1");
        net
    }

    /// Two namespaces joined by a veth pair that is up: `p0` (MAC ends in 0a) in the first, `p1` (in 0b) in the second.
    pub(crate) fn pair() -> (Net, Net) {
        let (left, right) = (Net::new(), Net::new());
        left.veth("p0", "0a", &right, "p1", "0b");
        (left, right)
    }

    /// A veth pair from here to `other`; the addresses end in the given byte.
    pub(crate) fn veth(&self, name: &str, mac: &str, other: &Net, peer: &str, peer_mac: &str) {
        self.run(&format!(
            "ip link add name {name} address 02:00:00:00:00:{mac} type veth \
             peer name {peer} address 02:00:00:00:00:{peer_mac} netns {}",
            other.0
        ));
        self.run(&format!("ip link set {name} up"));
        other.run(&format!("ip link set {peer} up"));
        self.ready(name);
        other.ready(peer);
    }

    /// Waits until `name` can send: the kernel notices a carrier some time after the link is up, and until then
    /// its `noop` queue swallows frames without an error.
    pub(crate) fn ready(&self, name: &str) {
        let start = Instant::now();
        while self.run(&format!("ip -o link show {name}")).contains("qdisc noop ") {
            assert!(start.elapsed() < Duration::from_secs(20), "{name} stays without a queue");
        }
    }

    /// Runs a command, words split at spaces, inside; panics with its output unless it succeeds.
    pub(crate) fn run(&self, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.0))
    }

    /// Runs `f` inside, on a thread of its own.
    pub(crate) fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let net = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|s| {
            let inside = move || {
                move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                f()
            };
            s.spawn(inside).join().unwrap_or_else(|e| std::panic::resume_unwind(e))
        })
    }

    /// Interface index of `name`.
    pub(crate) fn index(&self, name: &str) -> u32 {
        self.run(&format!("cat /sys/class/net/{name}/ifindex")).trim().parse().unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Not `run`: a panic while panicking would hide the first.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{command}: {e} (the tests need root and iproute2)"));
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    assert!(output.status.success(), "{command}: {} (the tests need root)", text(&output.stderr));
    text(&output.stdout)
}

/// What a bridge of two ports saw.
#[derive(Debug, Default)]
struct Seen {
    super_frames: usize,
    longest: usize,
}

/// Copies frames between two ports as they are, straight from the memory they are lent from, until `stop`.
fn bridge([(rx0, tx0), (rx1, tx1)]: &mut [(Rx, Tx); 2], stop: &AtomicBool) -> Seen {
    let sleep = Sleep::new(Waker::new().unwrap()).unwrap();
    [&*rx0, &*rx1].into_iter().for_each(|rx| sleep.add(rx).unwrap());
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let mut round = 0;
        for (rx, tx) in [(&mut *rx0, &mut *tx1), (&mut *rx1, &mut *tx0)] {
            let mut batch = Batch::new();
            round += rx.receive(&mut batch).unwrap();
            let sent = tx.send(batch.iter().map(|f| (f.bytes(), &f.meta.offload)));
            // A queue may be full for a moment, which TCP repairs; nothing may be found wrong with a frame.
            assert_eq!(sent.lost(), sent.no_room, "{sent:?}");
            seen.super_frames += batch.iter().filter(|f| f.meta.offload.is_gso()).count();
            seen.longest = batch.iter().map(Frame::len).max().unwrap_or(0).max(seen.longest);
            drop(batch);
            rx.release();
        }
        if round == 0 {
            sleep.wait(Some(Duration::from_millis(50))).unwrap();
        }
    }
    seen
}

/// Sends 32 MiB over TCP from 10.0.0.1 in `left` to 10.0.0.2 in `right`, which only `ports` join, and asserts that
/// they arrive unaltered and that senders left checksums and segmentation to others.
pub(crate) fn transfer(left: &Net, right: &Net, mut ports: [(Rx, Tx); 2]) {
    let data: Vec<u8> = (0..32_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let listener = right.enter(|| TcpListener::bind("10.0.0.2:7000")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let bridge = s.spawn(|| bridge(&mut ports, &stop));
        let taker = s.spawn(|| {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all
        });
        let mut giver = left.enter(|| TcpStream::connect("10.0.0.2:7000")).unwrap();
        giver.write_all(&data).unwrap();
        drop(giver);
        let got = taker.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        let seen = bridge.join().unwrap();
        assert!(got == data, "{} of {} bytes, or altered", got.len(), data.len());
        assert!(seen.super_frames > 0 && seen.longest > 1514, "offloads were in use: {seen:?}");
    });
}
