//! A port that a worker receives from, from the order to the return. Called by `worker` only.

use super::ways::Ways;
use super::{Now, seen};
use crate::forward::Forwarder;
use crate::forward::observe::Unobserved;
use crate::frame::Batch;
use crate::port::post::Lease;
use crate::port::wait::Sleep;
use crate::port::watch::Watch;
use crate::port::{PortError, Rx, Statistics};
use crate::state::State;
use crate::stats::{Link, Own, WorkerStats};
use warren_fib::View;

/// A receiving half and what has become of it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) rx: Box<Rx>,
    /// Why no more can come from it.
    pub(super) failed: Option<PortError>,
    stage: Stage,
    seen: Statistics,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Frames come.
    Open,
    /// To be given back when it is empty.
    Leaving,
    /// Nothing comes any more.
    Done,
}

impl Port {
    /// One that ends `sleep`. If it cannot, it has failed.
    pub(super) fn new(index: u32, rx: Box<Rx>, sleep: &Sleep) -> Port {
        let interface = || format!("interface {index}");
        let failed = sleep.add(&rx).err();
        let failed = failed.map(|source| PortError::System {
            interface: interface(),
            doing: "wait for frames",
            source,
        });
        let stage = if failed.is_some() { Stage::Done } else { Stage::Open };
        Port { index, rx, failed, stage, seen: Statistics::default() }
    }

    /// One that could not be given back yet.
    pub(super) fn finished(index: u32, rx: Box<Rx>, failed: Option<PortError>) -> Port {
        Port { index, rx, failed, stage: Stage::Done, seen: Statistics::default() }
    }

    /// To be given back once it is empty.
    pub(super) fn leave(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Leaving;
        }
    }

    /// To be given back now.
    pub(super) fn done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Receives a batch, forwards it and sends what comes of it; the number of frames received.
    pub(super) fn forward(
        &mut self,
        view: &View<'_>,
        state: &State,
        forwarder: &mut Forwarder,
        ways: &mut Ways,
        lease: &Lease,
        watch: &Watch,
    ) -> usize {
        let mut batch = Batch::new();
        let received = match self.rx.receive(&mut batch) {
            Ok(received) => received,
            // Frames come again when the interface is up.
            Err(PortError::Down { .. }) => 0,
            Err(error) => {
                (self.failed, self.stage) = (Some(error), Stage::Done);
                return 0;
            }
        };
        if received == 0 {
            drop(batch);
            if self.stage == Stage::Leaving {
                self.read_counters(state, &forwarder.stats);
                self.stage = Stage::Done;
            }
            return 0;
        }
        // The clock is read behind the ring: what was in the ring while the lease held, the guard has kept from the kernel.
        // Anything later the kernel may have forwarded, so it must go unread.
        let now = Now::read();
        if lease.holds(now.mono) {
            match watch.of(self.index) {
                None => forwarder.batch(now.env(view, state), &mut batch, &mut Unobserved),
                Some(session) => seen::batch(&session, forwarder, now.env(view, state), &mut batch),
            }
            ways.send(forwarder, &batch, state, watch);
        } else {
            forwarder.stats.own(Own::LapsedFrames, received as u64);
        }
        drop(batch);
        self.rx.release();
        received
    }

    /// Counts the frames that the ring had no room for since the last reading.
    pub(super) fn read_counters(&mut self, state: &State, stats: &WorkerStats) {
        let (Ok(now), Some(iface)) = (self.rx.statistics(), state.ifaces.get(self.index)) else { return };
        let lost = (now.dropped + now.unreadable).saturating_sub(self.seen.dropped + self.seen.unreadable);
        stats.link(Link::RxDropped, iface.slot, lost);
        self.seen = now;
    }
}
