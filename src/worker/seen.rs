//! Frames shown to who captures: as they came, with what became of them, and as they leave. Called by `worker` only, and
//! only while somebody captures: the copies are the price.

use super::Now;
use crate::drop::DropReason;
use crate::forward::Forwarder;
use crate::forward::ctx::Env;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::observe::Observer;
use crate::frame::{BATCH, Frame};
use crate::port::capture::Direction;
use crate::port::watch::{Seen, Session};
use crate::stats::{Own, WorkerStats};

/// What became of each frame of a batch.
struct Fates {
    at: usize,
    of: [Fate; BATCH],
}

#[derive(Clone, Copy)]
enum Fate {
    /// The kernel's, which has it too.
    Left,
    /// Forwarded, held, or answered.
    Handled,
    Dropped(DropReason),
}

impl Observer for Fates {
    fn frame(&mut self, index: u16) {
        self.at = usize::from(index);
        if let Some(fate) = self.of.get_mut(self.at) {
            *fate = Fate::Handled;
        }
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        let Some(fate) = self.of.get_mut(self.at) else { return };
        match decision.verdict {
            Verdict::Drop(reason) => *fate = Fate::Dropped(reason),
            Verdict::Kernel(_) => *fate = Fate::Left,
            _ => {}
        }
    }
}

/// Forwards a batch, and shows each frame of it that is warren's as it was before.
pub(super) fn batch(session: &Session, forwarder: &mut Forwarder, env: Env<'_>, batch: &mut [Frame<'_>]) {
    // Forwarding rewrites in place.
    let before: Vec<(u32, Vec<u8>)> = batch.iter().map(|f| (f.meta.wire_len, f.bytes().to_vec())).collect();
    let mut fates = Fates { at: 0, of: [Fate::Left; BATCH] };
    forwarder.batch(env, batch, &mut fates);
    for ((wire_len, bytes), fate) in before.into_iter().zip(fates.of) {
        let dropped = match fate {
            Fate::Left => continue,
            Fate::Handled => None,
            Fate::Dropped(reason) => Some(reason),
        };
        let direction = Direction::In;
        offer(
            session,
            &forwarder.stats,
            Seen { time: env.wall, direction, dropped, wire_len, bytes, missed: 0 },
        );
    }
}

/// Shows frames that are about to be sent.
pub(super) fn sent<'b>(session: &Session, stats: &WorkerStats, frames: impl Iterator<Item = &'b [u8]>) {
    let time = Now::read().wall;
    for bytes in frames {
        let wire_len = bytes.len() as u32;
        let direction = Direction::Out;
        let seen = Seen { time, direction, dropped: None, wire_len, bytes: bytes.to_vec(), missed: 0 };
        offer(session, stats, seen);
    }
}

fn offer(session: &Session, stats: &WorkerStats, seen: Seen) {
    if !session.offer(seen) {
        stats.own(Own::CaptureLost, 1);
    }
}
