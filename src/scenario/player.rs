//! Frames played through a scenario: one by one, in time order, with a model of what a kernel does in between.
//!
//! Capture time is the only clock, so the same frames give the same bytes. A next hop that nobody has described, and that
//! says nothing in the capture, fails after as many solicitations as the sysctls say; the packets that waited are dealt
//! with then. What is for the box itself is answered as by a kernel without programs: echo, ARP, discovery, closed ports.
//! Called by replay, explain, the recorded cases and tests.

use crate::forward::ctx::Env;
use crate::forward::l3::limit::Limits;
use crate::forward::observe::Observer;
use crate::forward::{Forwarder, Scope};
use crate::frame::{Frame, Offload};
use crate::host::{Host, loopback};
use crate::neigh::Ask;
use crate::port;
use crate::state::{Shared, State, Writer};
use crate::stats::{Counts, Own};
use std::sync::{Arc, Mutex, PoisonError};
use warren_fib::{FibError, Reader};

/// When the first frame may come, by the player's clock: the box has been up for an hour, its limiters are rested.
const UPTIME: u64 = 3_600_000_000_000;
/// Room before a frame, as ports leave it.
const HEADROOM: usize = 66;
/// Peers that the ICMP limiter knows at a time, and the seed of what it draws.
const PEERS: usize = 1 << 16;
const SEED: u64 = 1;

/// A frame that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the interface that receives it.
    pub link: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Bytes on the wire; more than `bytes` holds if the capture was cut.
    pub wire_len: u32,
    /// From the link-layer header on.
    pub bytes: Vec<u8>,
}

/// A frame that leaves.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'b> {
    /// Index of the interface that sends it.
    pub link: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// From the link-layer header on.
    pub bytes: &'b [u8],
    /// Checksum and segmentation left to do.
    pub offload: Offload,
}

/// One box at play. Several may share a state: each then has its own packets that wait and its own counters.
pub struct Player {
    writer: Arc<Mutex<Writer>>,
    shared: Arc<Shared>,
    reader: Reader,
    forwarder: Forwarder,
    host: Host,
    memory: Vec<u8>,
}

/// The ICMP limiter of a box, to be shared by its players.
pub fn limits() -> Arc<Limits> {
    Arc::new(Limits::new(PEERS, SEED))
}

/// The player's clock at a capture time, for routes that expire.
pub fn clock(time: u64) -> u64 {
    time.saturating_add(UPTIME)
}

impl Player {
    /// A player on this state, which holds up to as many readers as it was loaded for.
    pub fn new(
        writer: Arc<Mutex<Writer>>,
        shared: Arc<Shared>,
        limits: Arc<Limits>,
    ) -> Result<Player, FibError> {
        let reader = shared.fib.reader()?;
        let forwarder = Forwarder::new(limits, Scope::Whole);
        Ok(Player { writer, shared, reader, forwarder, host: Host::quiet(), memory: Vec::new() })
    }

    /// Leaves nothing to the fast path, so that an observer sees every packet.
    pub fn full_only(&mut self, on: bool) {
        self.forwarder.full_only = on;
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.forwarder.stats.snapshot()
    }

    /// Packets that had to wait for a next hop so far.
    pub fn held(&self) -> u64 {
        self.forwarder.stats.own_now(Own::HeldPackets)
    }

    /// Interfaces, sysctls and rules.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Packets that wait for a next hop.
    pub fn waiting(&self) -> usize {
        self.forwarder.hold.len()
    }

    /// Plays one frame, after what is due before it. Frames come in time order.
    pub fn play<O: Observer>(
        &mut self,
        arrival: &Arrival,
        observer: &mut O,
        sink: &mut impl FnMut(Departure<'_>),
    ) {
        self.until(arrival.time, observer, sink);
        let state = self.shared.state.load_full();
        let Some(iif) = state.ifaces.get(arrival.link) else { return };
        self.memory.clear();
        self.memory.resize(HEADROOM, 0);
        self.memory.extend_from_slice(&arrival.bytes);
        let meta = port::meta(iif.index, iif.mac, &arrival.bytes, Offload::default(), arrival.wire_len);
        let Some(frame) = Frame::new(&mut self.memory, HEADROOM, meta) else { return };
        let mut frames = [frame];
        {
            let view = self.reader.pin();
            let env = Env { view: &view, state: &state, now: clock(arrival.time), wall: arrival.time };
            let forwarder = &mut self.forwarder;
            forwarder.batch(env, &mut frames, observer);
            if let ([_], [frame]) = (&forwarder.local[..], &frames) {
                self.host.receive(&mut forwarder.act(env, &mut *observer), &frame.meta, frame.bytes());
            }
            loopback::hear(&mut self.host, forwarder, env, &frames);
            send(forwarder, &state, &frames, arrival.time, sink);
        }
        self.settle(arrival.time, observer, sink);
    }

    /// Lets time run until no packet waits any more.
    pub fn finish<O: Observer>(&mut self, observer: &mut O, sink: &mut impl FnMut(Departure<'_>)) {
        while !self.forwarder.hold.is_empty() {
            let Some(due) = self.due() else { break };
            self.until(due, observer, sink);
        }
    }

    /// Lets time run up to `time`.
    pub fn until<O: Observer>(&mut self, time: u64, observer: &mut O, sink: &mut impl FnMut(Departure<'_>)) {
        while let Some(due) = self.due().filter(|&due| due <= time) {
            self.with(due, |host, forwarder, env| host.poll(&mut forwarder.act(env, &mut *observer)));
            self.settle(due, observer, sink);
        }
    }

    /// Capture time at which the host's next timer ends.
    fn due(&self) -> Option<u64> {
        self.host.due().map(|due| due.saturating_sub(UPTIME))
    }

    /// Has the host carry out the forwarder's wishes, and looks after packets that wait, until nothing is new.
    fn settle<O: Observer>(&mut self, time: u64, observer: &mut O, sink: &mut impl FnMut(Departure<'_>)) {
        loop {
            let asks: Vec<Ask> = self.forwarder.asks.drain().collect();
            self.with(time, |host, forwarder, env| {
                asks.into_iter().for_each(|ask| host.ask(&mut forwarder.act(env, &mut *observer), ask));
            });
            // Kept until what waits has seen the news: the search that another player begins must not hide a failure.
            // One that panicked leaves the tables whole: each change is complete by itself.
            let owner = Arc::clone(&self.writer);
            let mut writer = owner.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.host.publish(&mut writer, clock(time)) {
                return;
            }
            self.with(time, |host, forwarder, env| {
                forwarder.held(env, observer);
                loopback::hear(host, forwarder, env, &[]);
                send(forwarder, env.state, &[], time, sink);
            });
        }
    }

    fn with(&mut self, time: u64, act: impl FnOnce(&mut Host, &mut Forwarder, Env<'_>)) {
        let state = self.shared.state.load_full();
        let view = self.reader.pin();
        let env = Env { view: &view, state: &state, now: clock(time), wall: time };
        act(&mut self.host, &mut self.forwarder, env);
    }
}

/// Hands on what a batch wants sent to others.
fn send(
    forwarder: &mut Forwarder,
    state: &State,
    frames: &[Frame<'_>],
    time: u64,
    sink: &mut impl FnMut(Departure<'_>),
) {
    let lo = state.ifaces.loopback().map(|lo| lo.index);
    for output in forwarder.out.iter().filter(|o| Some(o.oif) != lo) {
        let bytes = forwarder.out.bytes(output, frames);
        sink(Departure { link: output.oif, time, bytes, offload: output.offload });
    }
    forwarder.out.clear();
}
