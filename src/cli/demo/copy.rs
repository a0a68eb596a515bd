//! A copy over TCP from one namespace to another, compared by a checksum of both ends.
//!
//! Invariant: it ends, whatever happens on the way: every wait has a limit. Called by the demo's steps.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::sys::netns::Namespace;

/// The longest wait for a connection or for the next bytes.
const PATIENCE: Duration = Duration::from_secs(3);

/// What became of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// Bytes that arrived.
    pub bytes: usize,
    /// Checksum of what was sent.
    pub sent: u64,
    /// Checksum of what arrived.
    pub received: u64,
    /// From the connection to the last byte.
    pub took: Duration,
}

/// Copies `len` bytes from namespace `from` to the address `at` in namespace `to`.
///
/// # Errors
/// If there is no connection, or no byte moves for three seconds.
pub fn copy(from: &Namespace, to: &Namespace, at: IpAddr, len: usize) -> Result<Copied> {
    let data = noise(len);
    let listener = to.enter(|| TcpListener::bind(SocketAddr::new(at, 0)))?.context("cannot listen")?;
    let address = listener.local_addr()?;
    let mut sender = from
        .enter(|| TcpStream::connect_timeout(&address, PATIENCE))?
        .with_context(|| format!("no TCP connection to {at}"))?;
    sender.set_write_timeout(Some(PATIENCE))?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let begin = Instant::now();
    let (sent, received) = std::thread::scope(|scope| {
        let received = scope.spawn(move || {
            let mut arrived = Vec::with_capacity(len);
            receiver.read_to_end(&mut arrived).map(|_| arrived)
        });
        let sent = sender.write_all(&data);
        drop(sender);
        (sent, received.join())
    });
    sent.context("the copy stands still")?;
    let arrived = received.map_err(|_| anyhow!("the receiving thread panicked"))?;
    let arrived = arrived.context("the copy stands still")?;
    let took = begin.elapsed();
    Ok(Copied { bytes: arrived.len(), sent: checksum(&data), received: checksum(&arrived), took })
}

/// Bytes of which no two stretches are alike (Knuth's generator), so that one lost, doubled or out of place shows.
fn noise(len: usize) -> Vec<u8> {
    let next =
        |x: &u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1_u64), next).flat_map(u64::to_le_bytes).take(len).collect()
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
