//! TCP through warren with the default offloads: iperf3, and a file that must arrive as it was.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use warren::cli::demo::net::{A, B};
use warren::control::netlink::Family;
use warren::sys::netns::Namespace;

use crate::net::{Lab, command, run};

/// More bytes sent again than this share of all is a storm: a router that drops or reorders what it should not.
/// A full queue now and then is how TCP finds the rate, and costs far less.
const RETRANSMITTED_MAX: f64 = 0.02;

/// A server that ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An iperf3 server in `space` that serves one client.
fn serve(space: &Namespace, address: &str) -> Server {
    let mut line = command(&format!("iperf3 -s -1 -B {address}"));
    let server = Server(space.spawn(line.stdout(Stdio::null())).unwrap());
    let listens = || run(space, "ss -Hltn").contains(":5201");
    while !listens() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

#[test]
fn iperf3_both_ways() {
    let lab = Lab::warren("iperf3");
    let (a, b) = (&lab.net.a, &lab.net.b);
    for family in Family::BOTH {
        for (way, flag) in [("a to b", ""), ("b to a", "-R")] {
            let address = B.host(family).to_string();
            let text = lab.forwards(&[(a, "TcpInSegs"), (b, "TcpInSegs")], || {
                let _server = serve(b, &address);
                run(a, &format!("iperf3 -c {address} -t 2 -J {flag}"))
            });
            let result: Value = serde_json::from_str(&text).unwrap();
            let end = |key: &str| result.pointer(&format!("/end/{key}")).and_then(Value::as_f64).unwrap();
            let (bytes, again) = (end("sum_received/bytes"), end("sum_sent/retransmits"));
            let segment = f64::from(u32::from(family == Family::V4) * 20 + 1328);
            println!(
                "{family:?} {way}: {:.2} Gbit/s, {again} segments sent again",
                end("sum_received/bits_per_second") / 1e9
            );
            assert!(bytes > 0.0, "{text}");
            assert!(again * segment < RETRANSMITTED_MAX * bytes, "{again} retransmissions for {bytes} bytes");
        }
    }
}

/// 100 MB from file to file, compared by sha256sum.
#[test]
fn a_large_file_arrives_as_it_was() {
    let lab = Lab::warren("copy");
    let folder = tempfile::tempdir().unwrap();
    let [original, copy] = ["original", "copy"].map(|name| folder.path().join(name));
    let mut noise = File::open("/dev/urandom").unwrap().take(100_000_000);
    io::copy(&mut noise, &mut File::create(&original).unwrap()).unwrap();
    for family in Family::BOTH {
        for (from, to, at) in [(&lab.net.a, &lab.net.b, B), (&lab.net.b, &lab.net.a, A)] {
            lab.forwards(&[(from, "TcpInSegs"), (to, "TcpInSegs")], || {
                let address = SocketAddr::new(at.host(family), 0);
                let listener = to.enter(|| TcpListener::bind(address)).unwrap().unwrap();
                let address = listener.local_addr().unwrap();
                let mut sender = from.enter(|| TcpStream::connect(address)).unwrap().unwrap();
                let patience = Some(Duration::from_secs(10));
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let (mut receiver, _) = listener.accept().unwrap();
                        receiver.set_read_timeout(patience).unwrap();
                        io::copy(&mut receiver, &mut File::create(&copy).unwrap()).unwrap();
                    });
                    sender.set_write_timeout(patience).unwrap();
                    io::copy(&mut File::open(&original).unwrap(), &mut sender).unwrap();
                    drop(sender);
                });
            });
            let sums = run(from, &format!("sha256sum {} {}", original.display(), copy.display()));
            let mut sums = sums.lines().map(|line| line.split_whitespace().next().unwrap());
            let (sent, arrived) = (sums.next().unwrap(), sums.next().unwrap());
            assert_eq!(sent.len(), 64);
            assert_eq!(sent, arrived, "{family:?}");
        }
    }
}
