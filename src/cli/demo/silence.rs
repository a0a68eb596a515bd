//! How long nothing arrives when the router dies: a datagram every millisecond, and the longest wait between two arrivals.
//!
//! Invariant: it ends by itself after [`SENDING`], also when nothing arrives. Called by the demo's last step.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::sys::netns::Namespace;

/// How long datagrams are sent, and when the blow falls.
const SENDING: Duration = Duration::from_millis(1500);
const BLOW: Duration = Duration::from_millis(300);
/// From one datagram to the next.
const PACE: Duration = Duration::from_millis(1);
/// After this long without an arrival the receiver ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// Datagrams sent.
    pub sent: usize,
    /// Datagrams that arrived.
    pub arrived: usize,
    /// The longest time without an arrival before the blow: what this machine makes of a millisecond.
    pub before: Duration,
    /// The longest time without an arrival from the blow on; `None` if none arrived any more.
    pub after: Option<Duration>,
}

/// Sends datagrams from namespace `from` to the address `at` in namespace `to`, strikes `blow` meanwhile, and measures.
///
/// # Errors
/// If a socket cannot be had or `blow` fails.
pub fn silence(
    from: &Namespace,
    to: &Namespace,
    at: IpAddr,
    blow: impl FnOnce() -> Result<()>,
) -> Result<Silence> {
    let receiver = to.enter(|| UdpSocket::bind(SocketAddr::new(at, 0)))?.context("cannot bind")?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let address = receiver.local_addr()?;
    let any = SocketAddr::new(
        if at.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() },
        0,
    );
    let sender = from.enter(|| UdpSocket::bind(any))?.context("cannot bind")?;
    thread::scope(|scope| {
        let arrivals = scope.spawn(|| arrivals(&receiver));
        let sent = scope.spawn(|| send(&sender, address));
        thread::sleep(BLOW);
        let struck = Instant::now();
        blow()?;
        let panicked = |_| anyhow!("a thread of the measurement panicked");
        let (sent, arrivals) = (sent.join().map_err(panicked)?, arrivals.join().map_err(panicked)?);
        Ok(measure(sent, &arrivals, struck))
    })
}

fn send(socket: &UdpSocket, to: SocketAddr) -> usize {
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < SENDING {
        // A full queue or an ICMP error is a loss like any other: it shows as a datagram that does not arrive.
        sent += usize::from(socket.send_to(b"warren demo", to).is_ok());
        thread::sleep(PACE);
    }
    sent
}

/// When each datagram arrived.
fn arrivals(socket: &UdpSocket) -> Vec<Instant> {
    let mut times = Vec::new();
    let mut buffer = [0; 64];
    while socket.recv_from(&mut buffer).is_ok() {
        times.push(Instant::now());
    }
    times
}

fn measure(sent: usize, arrivals: &[Instant], struck: Instant) -> Silence {
    let waits = || arrivals.iter().zip(arrivals.iter().skip(1));
    let length = |(a, b): (&Instant, &Instant)| b.duration_since(*a);
    Silence {
        sent,
        arrived: arrivals.len(),
        before: waits().filter(|(_, b)| **b < struck).map(length).max().unwrap_or_default(),
        after: waits().filter(|(_, b)| **b >= struck).map(length).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_across_the_blow_counts_after_it() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let seen = measure(9, &[at(0), at(2), at(3), at(13), at(14)], at(5));
        assert_eq!((seen.sent, seen.arrived), (9, 5));
        assert_eq!(seen.before, Duration::from_millis(2));
        assert_eq!(seen.after, Some(Duration::from_millis(10)));
        assert_eq!(measure(9, &[at(0), at(2)], at(5)).after, None);
    }
}
