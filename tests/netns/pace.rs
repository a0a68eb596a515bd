//! Figures beside the kernel's from the same run: printed, never asserted, for they say as much about the machine.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use warren::cli::demo::net::{B, ROUTER_LINKS};
use warren::control::netlink::Family;

use crate::net::{Lab, counters, number, run};

/// How long datagrams are sent; a sender does some 200,000 a second.
const SENDING: Duration = Duration::from_millis(700);

/// Average round trip in milliseconds of pings far enough apart for everything to sleep in between.
fn idle_ping(lab: &Lab, family: Family) -> f64 {
    run(&lab.net.a, &format!("ping -n -c 2 -i 0.01 {}", B.host(family))); // resolves
    let text = run(&lab.net.a, &format!("ping -n -c 20 -i 0.05 {}", B.host(family)));
    assert!(text.contains("20 received"), "{text}");
    let (_, summary) = text.split_once("rtt min/avg/max/mdev = ").expect("a summary");
    number(summary, "/")
}

/// Datagrams sent by a and received by b, a second.
fn rate(lab: &Lab, family: Family) -> (f64, f64) {
    let sink = lab.net.b.enter(|| UdpSocket::bind(SocketAddr::new(B.host(family), 0))).unwrap().unwrap();
    let sender = lab.net.a.enter(|| {
        let any = if family == Family::V4 { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(any)
    });
    let sender = sender.unwrap().unwrap();
    sender.connect(sink.local_addr().unwrap()).unwrap();
    let name = if family == Family::V4 { "IpInReceives" } else { "Ip6InReceives" };
    let before = counters(&lab.net.b)[name];
    let begin = Instant::now();
    let mut sent = 0_u32;
    while begin.elapsed() < SENDING {
        sent += u32::from(sender.send(&[0; 18]).is_ok());
    }
    let took = begin.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(200)); // what is still queued
    let received = counters(&lab.net.b)[name] - before;
    assert!(received > 0, "nothing arrived");
    (f64::from(sent) / took, received as f64 / took)
}

#[test]
fn beside_the_kernel() {
    let mut lab = Lab::kernel("pace");
    let measure = |lab: &Lab| Family::BOTH.map(|family| (idle_ping(lab, family), rate(lab, family)));
    let kernel = measure(&lab);
    lab.start(&ROUTER_LINKS);
    let (_, before) = lab.forwarded();
    let warren = measure(&lab);
    let (forwarded, after) = lab.forwarded();
    assert_eq!(after, before, "the kernel forwarded too");
    assert!(forwarded.v4 > 0 && forwarded.v6 > 0, "warren forwarded {forwarded} packets");
    for (router, figures) in [("kernel", kernel), ("warren", warren)] {
        for (family, (rtt, (sent, received))) in Family::BOTH.into_iter().zip(figures) {
            println!(
                "{router} {family:?}: idle ping {rtt:.3} ms; {:.0} of {:.0} thousand datagrams a second arrive",
                received / 1e3,
                sent / 1e3
            );
        }
    }
}
