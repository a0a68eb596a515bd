//! A worker: one thread that receives a batch, forwards it, sends what comes of it, and sleeps when nothing comes.
//!
//! Invariant: within a round nothing waits, and no socket is opened or closed: both halves of each port come from control and
//! go back to it. Every frame that is not sent on is counted. `forward/` decides and knows no ports; here both meet.

mod port;
mod seen;
#[cfg(test)]
mod tests;
mod ways;

use crate::forward::Forwarder;
use crate::forward::ctx::Env;
use crate::forward::observe::Unobserved;
use crate::port::post::{Desk, News, Order};
use crate::port::wait::Idle;
use crate::port::watch::Watch;
use crate::state::{Shared, State};
use crate::sys::sched::set_slice;
use port::Port;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use warren_fib::{FibError, Reader, View};
use ways::Ways;

/// How often ring counters are read, in nanoseconds: each reading is a system call for each port.
const READ_COUNTERS: u64 = 1_000_000_000;

/// Short turns, so that a worker that a frame wakes need not wait until others end theirs.
const SLICE: Duration = Duration::from_micros(100);

/// One worker, to be [`run`](Worker::run) on its own thread.
pub struct Worker {
    shared: Arc<Shared>,
    reader: Reader,
    forwarder: Forwarder,
    desk: Desk,
    watch: Watch,
    ports: Vec<Port>,
    ways: Ways,
    stopping: bool,
    counters_due: u64,
}

/// What a round found to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    Busy,
    Empty,
    Over,
}

/// One moment by two clocks, in nanoseconds.
#[derive(Clone, Copy)]
struct Now {
    /// Since the machine started.
    mono: u64,
    /// Since 1970.
    wall: u64,
}

impl Now {
    fn read() -> Now {
        let nanos = |clock| {
            let t = clock_gettime(clock);
            t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
        };
        Now { mono: nanos(ClockId::Monotonic), wall: nanos(ClockId::Realtime) }
    }

    fn env<'a>(self, view: &'a View<'a>, state: &'a State) -> Env<'a> {
        Env { view, state, now: self.mono, wall: self.wall }
    }
}

impl Worker {
    /// A worker without ports, which shows its frames to who captures by `watch`. Fails if the tables have no room for
    /// one more reader.
    pub fn new(
        shared: &Arc<Shared>,
        forwarder: Forwarder,
        desk: Desk,
        watch: Watch,
    ) -> Result<Worker, FibError> {
        Ok(Worker {
            shared: Arc::clone(shared),
            reader: shared.fib.reader()?,
            forwarder,
            desk,
            watch,
            ports: Vec::new(),
            ways: Ways::default(),
            stopping: false,
            counters_due: 0,
        })
    }

    /// Works until control says stop and every port has been given back. `core`: stay on this one.
    pub fn run(mut self, core: Option<core_affinity::CoreId>) {
        if let Some(core) = core {
            // Refused in some containers: then the scheduler decides.
            core_affinity::set_for_current(core);
        }
        // Refused in some sandboxes: then others end their turns first when a frame wakes it.
        let _ = set_slice(SLICE);
        let mut idle = Idle::new(Instant::now());
        loop {
            match self.round() {
                Round::Over => return,
                Round::Busy => idle.busy(Instant::now()),
                Round::Empty if idle.sleepy(Instant::now()) => self.sleep(),
                Round::Empty => std::hint::spin_loop(),
            }
        }
    }

    /// Sleeps until a frame or an order comes. While asleep it holds up no reclamation.
    fn sleep(&mut self) {
        self.reader.sleep();
        // Fails only for want of kernel memory; then the loop spins until there is some.
        let _ = self.desk.sleep.wait(None);
    }

    /// One batch from each port.
    fn round(&mut self) -> Round {
        self.desk.beat();
        let ordered = self.take_orders();
        let Worker { reader, shared, forwarder, desk, ports, ways, watch, .. } = self;
        let (view, state) = (reader.pin(), shared.state.load());
        let now = Now::read();
        if ordered && !forwarder.hold.is_empty() {
            forwarder.held(now.env(&view, &state), &mut Unobserved);
            ways.send(forwarder, &[], &state, watch);
        }
        let mut frames = 0;
        for port in ports.iter_mut() {
            frames += port.forward(&view, &state, forwarder, ways, &desk.lease, watch);
        }
        for ask in forwarder.asks.drain() {
            // No room means that control is behind; the next packet wishes again.
            let _ = desk.tell(News::Ask(ask));
        }
        for line in forwarder.martians.drain() {
            // As above; others will follow.
            let _ = desk.tell(News::Line(line));
        }
        if now.mono >= self.counters_due {
            self.counters_due = now.mono + READ_COUNTERS;
            ports.iter_mut().for_each(|p| p.read_counters(&state, &forwarder.stats));
        }
        drop(state);
        self.give_back(frames == 0)
    }

    /// Carries out what control wants; whether there was anything.
    fn take_orders(&mut self) -> bool {
        let mut any = false;
        while let Ok(order) = self.desk.orders.try_recv() {
            any = true;
            match order {
                Order::Receive(index, rx) => self.ports.push(Port::new(index, rx, &self.desk.sleep)),
                Order::Return(index) => {
                    self.ports.iter_mut().filter(|p| p.index == index).for_each(Port::leave);
                }
                Order::Send(index, tx) => self.ways.set(index, Some(tx)),
                Order::Forget(index) => self.ways.set(index, None),
                Order::Neighbours => {}
                Order::Stop => {
                    self.stopping = true;
                    self.ports.iter_mut().for_each(Port::leave);
                }
            }
        }
        any
    }

    /// Gives back what control wants and what is of no more use, as far as control has room.
    fn give_back(&mut self, empty: bool) -> Round {
        while let Some(tx) = self.ways.unused.pop() {
            if let Err(News::Unused(tx)) = self.desk.tell(News::Unused(Box::new(tx))) {
                self.ways.unused.push(*tx);
                break;
            }
        }
        while let Some(at) = self.ports.iter().position(Port::done) {
            let Port { index, rx, failed, .. } = self.ports.swap_remove(at);
            self.desk.sleep.remove(&rx);
            if let Err(News::Returned(index, rx, failed)) = self.desk.tell(News::Returned(index, rx, failed))
            {
                self.ports.push(Port::finished(index, rx, failed));
                break;
            }
        }
        match empty {
            true if self.stopping && self.ports.is_empty() => Round::Over,
            true => Round::Empty,
            false => Round::Busy,
        }
    }
}
