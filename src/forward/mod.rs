//! The packet's way: `claim` says what is ours, `fast` takes the common packets, `ip6` and `ip4` decide the rest one by
//! one, `act` carries it out. Knows nothing of ports: frames come in as a batch, what is to be sent goes into `Outputs`.

pub mod act;
pub mod claim;
pub mod ctx;
pub mod decision;
pub mod fast;
mod held;
pub mod ip4;
pub mod ip6;
pub mod l3;
pub mod observe;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

use crate::drop::DropReason;
use crate::frame::{BATCH, Frame, Outputs, PktType};
use crate::iface::Iface;
use crate::neigh::{Asks, Hold};
use crate::stats::{Link, Own, WorkerStats};
use crate::wire::eth::EthHdr;
use act::Act;
use claim::Family;
use ctx::Env;
use decision::{Decision, Verdict, Why};
use ip4::martian::Martians;
use l3::limit::Limits;
use observe::Observer;
use std::sync::Arc;

/// Whose frames these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// A kernel stands behind: what the claim rule does not give us is its business.
    Split,
    /// No kernel behind (replay, standalone, tests): every IP packet is ours.
    Whole,
}

/// What a worker owns for forwarding, all of it allocated once.
pub struct Forwarder {
    /// This worker's counters.
    pub stats: Arc<WorkerStats>,
    /// Who may still be sent ICMP messages, shared by all workers.
    pub limits: Arc<Limits>,
    /// Packets that wait for a next hop.
    pub hold: Hold,
    /// Wishes to the control thread.
    pub asks: Asks,
    /// What is to be sent.
    pub out: Outputs,
    /// Lines about packets that cannot be, for whoever asked for them (`log_martians`).
    pub martians: Martians,
    /// Frames of the last batch that are the host's, by their place in it: what is delivered locally or is not IP.
    /// Filled in [`Scope::Whole`] only; with a kernel behind, the kernel has them.
    pub local: Vec<u16>,
    /// Whose frames these are.
    pub scope: Scope,
    /// Leave nothing to the fast path: for `explain` and for comparing both.
    pub full_only: bool,
    /// Bytes of the held packet that is being looked after.
    copy: Vec<u8>,
}

/// Most outputs of one batch, and bytes for packets made in it.
const OUTPUTS: usize = 8192;
const SCRATCH: usize = 4 << 20;

impl Forwarder {
    /// A worker's memory.
    pub fn new(limits: Arc<Limits>, scope: Scope) -> Forwarder {
        Forwarder {
            stats: Arc::new(WorkerStats::new(DropReason::ALL.len())),
            limits,
            hold: Hold::new(),
            asks: Asks::new(1024),
            out: Outputs::new(OUTPUTS, SCRATCH),
            martians: Martians::default(),
            local: Vec::with_capacity(BATCH),
            scope,
            full_only: false,
            copy: Vec::with_capacity(1 << 16),
        }
    }

    /// What acting needs, borrowed from here: for the stages of this floor, and for a host that answers for itself.
    pub fn act<'a, 'w, O: Observer>(&'w mut self, env: Env<'a>, observer: &'w mut O) -> Act<'a, 'w, O> {
        Act {
            env,
            stats: &self.stats,
            limits: &self.limits,
            hold: &mut self.hold,
            asks: &mut self.asks,
            out: &mut self.out,
            observer,
        }
    }

    /// Decides and acts for a batch of frames, in order. What is to be sent is in `out` then, what is for the host in
    /// `local`.
    pub fn batch<'a, O: Observer>(&mut self, env: Env<'a>, frames: &mut [Frame<'_>], observer: &mut O) {
        self.local.clear();
        for (index, frame) in frames.iter_mut().enumerate() {
            let Some(iif) = env.state.ifaces.get(frame.meta.iif) else { continue };
            observer.frame(index as u16);
            self.frame(env, index as u16, frame, iif, observer);
        }
    }

    fn frame<'a, O: Observer>(
        &mut self,
        env: Env<'a>,
        index: u16,
        frame: &mut Frame<'_>,
        iif: &'a Iface,
        observer: &mut O,
    ) {
        self.stats.link(Link::RxPackets, iif.slot, 1);
        self.stats.link(Link::RxBytes, iif.slot, frame.len() as u64);
        let (scope, full_only) = (self.scope, self.full_only);
        let family = match scope {
            Scope::Split => claim::claim(frame.bytes(), &frame.meta, &env.state.left),
            Scope::Whole => claim::family(frame.bytes(), &frame.meta),
        };
        let family = match family {
            Ok(family) => family,
            Err(why) => {
                if scope == Scope::Whole && why == Why::NotIp && frame.meta.pkt_type != PktType::OtherHost {
                    self.local.push(index);
                }
                return self.act(env, observer).finish(index, frame, iif, Verdict::Kernel(why));
            }
        };
        if frame.meta.pkt_type == PktType::OtherHost {
            self.stats.link(Link::RxOtherhostDropped, iif.slot, 1);
            return self.act(env, observer).finish(index, frame, iif, Verdict::Drop(DropReason::OtherHost));
        }
        if frame.meta.wire_len as usize > frame.len() {
            self.stats.own(Own::RxTruncated, 1);
            self.stats.link(Link::RxDropped, iif.slot, 1);
            return;
        }
        let packet = frame.bytes().get(EthHdr::LEN..).unwrap_or_default();
        if !full_only && let Some(fast) = fast::decide(env, iif, family, packet, &frame.meta) {
            self.stats.own(Own::FastPackets, 1);
            return self.act(env, observer).fast(index, frame, iif, &fast);
        }
        self.stats.own(Own::FullPackets, 1);
        let meta = frame.meta;
        let decision = decide(env, iif, family, packet, meta, observer);
        if scope == Scope::Whole && decision.verdict == Verdict::Local {
            self.local.push(index);
        }
        if let Verdict::Drop(reason) = decision.verdict {
            self.martians.note(env, iif, reason, frame.bytes().get(EthHdr::LEN..).unwrap_or_default());
        }
        self.act(env, observer).perform(Some(index), frame, iif, &decision);
    }
}

/// The full path for one packet (from its IP header on): pure, as all it may change is in the decision.
pub fn decide<'a, O: Observer>(
    env: Env<'a>,
    iif: &'a Iface,
    family: Family,
    packet: &[u8],
    meta: crate::frame::Meta,
    observer: &mut O,
) -> Decision<'a> {
    match family {
        Family::V4 => ip4::decide(env, iif, packet, meta, observer),
        Family::V6 => ip6::decide(env, iif, packet, meta, observer),
    }
}
