//! How fast frames are forwarded: in full batches as from a busy port, timed from batch to decision and rewrite.
//!
//! Timed is what a router does for a packet: classify, look up, rewrite, count. Not timed is what a port does: the copy
//! of the frames into place and the sending. The clock is read twice a batch.

use super::round::share;
use crate::cli::offline::Router;
use crate::forward::ctx::Env;
use crate::forward::observe::Unobserved;
use crate::forward::{Forwarder, Scope};
use crate::frame::Batch;
use crate::port::memory::Rx;
use crate::scenario::player::{self, Arrival};
use std::thread;
use std::time::{Duration, Instant};

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Packets, all rounds and workers together.
    pub packets: u64,
    /// Time of the worker that took longest.
    pub seconds: f64,
}

impl Speed {
    /// Million packets a second.
    pub fn mpps(&self) -> f64 {
        if self.seconds > 0.0 { self.packets as f64 / self.seconds / 1e6 } else { 0.0 }
    }

    /// Nanoseconds a packet, of all workers together.
    pub fn ns_per_packet(&self) -> f64 {
        if self.packets > 0 { self.seconds * 1e9 / self.packets as f64 } else { 0.0 }
    }
}

/// Plays the frames `rounds` times, shared among `workers` by flow.
pub fn measure(
    made: &Router,
    arrivals: &[(usize, Arrival)],
    workers: usize,
    rounds: u64,
) -> anyhow::Result<Speed> {
    let shares = share(arrivals, workers);
    let times: Vec<anyhow::Result<Duration>> = thread::scope(|scope| {
        let one = |share: &'_ Vec<usize>| {
            let frames: Vec<&Arrival> = share.iter().filter_map(|&at| Some(&arrivals.get(at)?.1)).collect();
            scope.spawn(move || worker(made, &frames, rounds))
        };
        let threads: Vec<_> = shares.iter().map(one).collect();
        threads.into_iter().filter_map(|t| t.join().ok()).collect()
    });
    let mut longest = Duration::ZERO;
    for time in times {
        longest = longest.max(time?);
    }
    Ok(Speed { packets: arrivals.len() as u64 * rounds, seconds: longest.as_secs_f64() })
}

/// One worker's time.
pub fn worker(made: &Router, frames: &[&Arrival], rounds: u64) -> anyhow::Result<Duration> {
    let mut rx = Rx::new(rounds, u64::MAX);
    let shared = &made.shared;
    let state = shared.state.load_full();
    // A batch comes from one port, so frames are sorted by theirs.
    let mut sorted = frames.to_vec();
    sorted.sort_by_key(|arrival| arrival.link);
    for arrival in sorted {
        let mac = state.ifaces.get(arrival.link).map_or([0; 6], |i| i.mac);
        rx.load(arrival.link, mac, 0, arrival.wire_len, &arrival.bytes)?;
    }
    let mut forwarder = Forwarder::new(player::limits(), Scope::Whole);
    let mut reader = shared.fib.reader()?;
    let begin = player::clock(frames.last().map_or(0, |arrival| arrival.time));
    let clock = Instant::now();
    let mut spent = Duration::ZERO;
    while rx.next_time().is_some() {
        let mut batch = Batch::new();
        rx.receive(&mut batch);
        let start = clock.elapsed();
        let view = reader.pin();
        let state = shared.state.load();
        let now = begin.saturating_add(start.as_nanos() as u64);
        forwarder.batch(Env { view: &view, state: &state, now, wall: now }, &mut batch, &mut Unobserved);
        spent += clock.elapsed() - start;
        forwarder.out.clear();
        forwarder.asks.drain().for_each(drop);
    }
    Ok(spent)
}
