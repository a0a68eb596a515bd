//! A router with no kernel behind it: ports in, forwarder and host, ports out, on one thread that also owns the state.
//!
//! Invariant: a round takes one batch from each port and sends all that comes of it, answers included, before the next.
//! Only neighbours change after the start. The command line makes the state and the ports and calls [`Router::run`].

use super::{Host, loopback};
use crate::drop::DropReason;
use crate::forward::ctx::Env;
use crate::forward::observe::Unobserved;
use crate::forward::{Forwarder, Scope, l3::limit::Limits};
use crate::frame::{Batch, Frame};
use crate::neigh::Ask;
use crate::port::wait::{Idle, Sleep, Waker};
use crate::port::{PortError, Rx, Tx};
use crate::state::{Shared, State, Writer};
use crate::stats::{Link, Own, WorkerStats};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use warren_fib::{FibError, Reader};

/// Peers whose share of ICMP messages is remembered.
const PEERS: usize = 4096;

/// Why the router cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The tables have no room for a reader.
    #[error(transparent)]
    Fib(#[from] FibError),
    /// The kernel cannot let us sleep.
    #[error("cannot wait for frames: {0}")]
    Wait(#[from] std::io::Error),
}

/// A port of the router: the interface of the state that it stands for, and both halves.
pub struct Port {
    /// Interface index in the state; the device itself may have another.
    pub index: u32,
    /// Frames in.
    pub rx: Rx,
    /// Frames out.
    pub tx: Tx,
}

/// The whole router.
pub struct Router {
    writer: Writer,
    shared: Arc<Shared>,
    reader: Reader,
    forwarder: Forwarder,
    host: Host,
    receiving: Vec<(u32, Rx)>,
    sending: Vec<(u32, Tx)>,
    say: fn(&str),
}

/// One moment by two clocks, in nanoseconds: one that never steps, and one since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the machine started.
    pub mono: u64,
    /// Since 1970.
    pub wall: u64,
}

impl Now {
    /// This moment.
    pub fn read() -> Now {
        let nanos = |clock| {
            let t = clock_gettime(clock);
            t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
        };
        Now { mono: nanos(ClockId::Monotonic), wall: nanos(ClockId::Realtime) }
    }
}

impl Router {
    /// A router with the published state of `writer`, which `shared` reads. `seed` hides what peers must not guess; `say`
    /// tells the user one line.
    pub fn new(
        writer: Writer,
        shared: Arc<Shared>,
        ports: Vec<Port>,
        seed: u64,
        say: fn(&str),
    ) -> Result<Router, StandaloneError> {
        let (mut receiving, mut sending) = (Vec::new(), Vec::new());
        for Port { index, rx, tx } in ports {
            receiving.push((index, rx));
            sending.push((index, tx));
        }
        let reader = shared.fib.reader()?;
        let forwarder = Forwarder::new(Arc::new(Limits::new(PEERS, seed)), Scope::Whole);
        Ok(Router { writer, shared, reader, forwarder, host: Host::new(), receiving, sending, say })
    }

    /// The counters, to be read at any time.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.forwarder.stats
    }

    /// Routes until `stop` is set; whoever sets it wakes `waker`.
    pub fn run(&mut self, stop: &AtomicBool, waker: Waker) -> Result<(), StandaloneError> {
        let sleep = Sleep::new(waker)?;
        self.receiving.iter().try_for_each(|(_, rx)| sleep.add(rx))?;
        let mut idle = Idle::new(Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let now = Now::read();
            if self.round(now)? > 0 {
                idle.busy(Instant::now());
            } else if idle.sleepy(Instant::now()) {
                self.reader.sleep();
                self.receiving.iter_mut().for_each(|(_, rx)| rx.release());
                let left = self.host.due().map(|due| Duration::from_nanos(due.saturating_sub(now.mono)));
                sleep.wait(left)?;
            }
        }
        Ok(())
    }

    /// One batch from each port, then what time and neighbours ask for. Returns the number of frames received.
    pub fn round(&mut self, now: Now) -> Result<usize, StandaloneError> {
        let mut frames = 0;
        let mut gone = Vec::new();
        for (at, (index, rx)) in self.receiving.iter_mut().enumerate() {
            let mut batch = Batch::new();
            match rx.receive(&mut batch) {
                // Frames come again when the device is up.
                Ok(0) | Err(PortError::Down { .. }) => continue,
                Ok(n) => frames += n,
                Err(error) => {
                    gone.push((at, error));
                    continue;
                }
            }
            batch.iter_mut().for_each(|f| f.meta.iif = *index);
            let (view, state) = (self.reader.pin(), self.shared.state.load());
            let env = Env { view: &view, state: &state, now: now.mono, wall: now.wall };
            self.forwarder.batch(env, &mut batch, &mut Unobserved);
            answer(&mut self.host, &mut self.forwarder, env, &batch);
            self.forwarder.martians.drain().for_each(|line| (self.say)(&line));
            send(&mut self.sending, &mut self.forwarder, &batch, &state);
        }
        while let Some((at, error)) = gone.pop() {
            self.lose(at, error)?;
        }
        self.host_round(now);
        while self.host.publish(&mut self.writer, now.mono) {
            let (view, state) = (self.reader.pin(), self.shared.state.load());
            let env = Env { view: &view, state: &state, now: now.mono, wall: now.wall };
            self.forwarder.held(env, &mut Unobserved);
            loopback::hear(&mut self.host, &mut self.forwarder, env, &[]);
            wishes(&mut self.host, &mut self.forwarder, env);
            send(&mut self.sending, &mut self.forwarder, &[], &state);
        }
        Ok(frames)
    }

    /// Goes on without the device that is `at` this place, which has gone; fails if it was the last.
    fn lose(&mut self, at: usize, error: PortError) -> Result<(), StandaloneError> {
        let (index, _) = self.receiving.remove(at);
        self.sending.retain(|(other, _)| *other != index);
        self.writer.update_iface(index, |iface| (iface.up, iface.carrier) = (false, false));
        self.writer.publish();
        if self.receiving.is_empty() {
            return Err(error.into());
        }
        (self.say)(&error.to_string());
        Ok(())
    }

    /// The host's timers.
    fn host_round(&mut self, now: Now) {
        if self.host.due().is_none_or(|due| now.mono < due) {
            return;
        }
        let (view, state) = (self.reader.pin(), self.shared.state.load());
        let env = Env { view: &view, state: &state, now: now.mono, wall: now.wall };
        self.host.poll(&mut self.forwarder.act(env, &mut Unobserved));
        send(&mut self.sending, &mut self.forwarder, &[], &state);
    }
}

/// Hands the host its frames of a batch and the forwarder's wishes.
pub(super) fn answer(host: &mut Host, forwarder: &mut Forwarder, env: Env<'_>, batch: &[Frame<'_>]) {
    // Taken out for the loop, as acting borrows the forwarder; put back to keep its memory.
    let local = std::mem::take(&mut forwarder.local);
    for frame in local.iter().filter_map(|&i| batch.get(usize::from(i))) {
        host.receive(&mut forwarder.act(env, &mut Unobserved), &frame.meta, frame.bytes());
    }
    forwarder.local = local;
    loopback::hear(host, forwarder, env, batch);
    wishes(host, forwarder, env);
}

pub(super) fn wishes(host: &mut Host, forwarder: &mut Forwarder, env: Env<'_>) {
    let asks: Vec<Ask> = forwarder.asks.drain().collect();
    for ask in asks {
        host.ask(&mut forwarder.act(env, &mut Unobserved), ask);
    }
}

/// Sends all outputs, each by its port, in order; counts those that find none or are not taken.
fn send(ports: &mut [(u32, Tx)], forwarder: &mut Forwarder, batch: &[Frame<'_>], state: &State) {
    let Forwarder { out, stats, .. } = forwarder;
    for (index, tx) in ports.iter_mut() {
        let frames = out.iter().filter(|o| o.oif == *index).map(|o| (out.bytes(o, batch), &o.offload));
        let lost = u64::from(tx.send(frames).lost());
        if lost > 0 {
            stats.own(Own::TxFailed, lost);
            if let Some(iface) = state.ifaces.get(*index) {
                stats.link(Link::TxDropped, iface.slot, lost);
            }
        }
    }
    let stats: &WorkerStats = stats;
    let lo = state.ifaces.loopback().map(|lo| lo.index);
    let nowhere =
        out.iter().filter(|o| Some(o.oif) != lo && !ports.iter().any(|(index, _)| *index == o.oif)).count();
    (0..nowhere).for_each(|_| stats.drop(DropReason::NoPort as usize));
    out.clear();
}
