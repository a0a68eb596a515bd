//! The ways out of a worker: a sending half for each interface, and the grouping of a batch's outputs by interface.
//!
//! Called by `worker` only. What has no way out is lost, and counted like what the kernel refuses to send.

use super::seen;
use crate::forward::Forwarder;
use crate::frame::Frame;
use crate::port::Tx;
use crate::port::watch::Watch;
use crate::state::State;
use crate::stats::{Link, Own};
use ahash::AHashMap;

/// Sending halves by interface index.
#[derive(Debug, Default)]
pub(super) struct Ways {
    halves: AHashMap<u32, Box<Tx>>,
    /// Halves that control is to close.
    pub(super) unused: Vec<Tx>,
    /// Interfaces of the batch in hand; kept for its memory.
    oifs: Vec<u32>,
}

impl Ways {
    /// Sends on interface `index` by `tx` from now on, or not at all.
    pub(super) fn set(&mut self, index: u32, tx: Option<Box<Tx>>) {
        let old = match tx {
            Some(tx) => self.halves.insert(index, tx),
            None => self.halves.remove(&index),
        };
        self.unused.extend(old.map(|tx| *tx));
    }

    /// Sends the outputs, in their order on each interface, and forgets them. O(outputs x interfaces they leave by).
    pub(super) fn send(
        &mut self,
        forwarder: &mut Forwarder,
        batch: &[Frame<'_>],
        state: &State,
        watch: &Watch,
    ) {
        let Forwarder { out, stats, .. } = forwarder;
        self.oifs.clear();
        for output in out.iter() {
            if !self.oifs.contains(&output.oif) {
                self.oifs.push(output.oif);
            }
        }
        for &oif in &self.oifs {
            let outputs = || out.iter().filter(|o| o.oif == oif);
            if let Some(session) = watch.of(oif) {
                let frames = outputs().map(|o| out.bytes(o, batch));
                seen::sent(&session, stats, frames);
            }
            let lost = match self.halves.get_mut(&oif) {
                Some(tx) => tx.send(outputs().map(|o| (out.bytes(o, batch), &o.offload))).lost().into(),
                None => outputs().count() as u64,
            };
            if lost > 0 {
                stats.own(Own::TxFailed, lost);
                if let Some(iface) = state.ifaces.get(oif) {
                    stats.link(Link::TxDropped, iface.slot, lost);
                }
            }
        }
        out.clear();
    }
}
