//! What a decision may look at, and where it writes down what it decides.
//!
//! `Env` is borrowed for a batch; `Ctx` lives for one packet. Nothing here reads a clock, locks or allocates.

use super::decision::{Count, Decision, Edit, Egress, Reply, ReplyKind, Target, Verdict, Wait};
use super::decision::{MAX_COUNTS, MAX_PASSED_BY};
use super::ip4::echo::Echo;
use super::observe::{Observer, Rule, Step};
use crate::drop::DropReason;
use crate::iface::{Iface, LinkKind};
use crate::state::State;
use crate::stats::Mib;
use arrayvec::ArrayVec;
use std::fmt;
use std::net::IpAddr;
use warren_fib::{Nud, View};

/// Nanoseconds of a monotonic clock, or of a capture.
pub type Nanos = u64;

/// The published state as one batch sees it.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// Routes, path sets, groups, adjacencies, neighbours.
    pub view: &'a View<'a>,
    /// Interfaces, sysctls, rules, what is left to the kernel.
    pub state: &'a State,
    /// When the batch was received, by a clock that never steps.
    pub now: Nanos,
    /// The same moment since 1970, for timestamps in packets.
    pub wall: Nanos,
}

/// The notes of one packet's decision.
pub struct Ctx<'a, 'o, O> {
    /// The published state.
    pub env: Env<'a>,
    /// The interface that received the packet.
    pub iif: &'a Iface,
    /// The route's interface, once known.
    pub oif: Option<&'a Iface>,
    /// Bytes of the IP packet once layer-2 padding is cut: what errors quote.
    pub len: usize,
    /// The IPv4 header after its options were acted on, checksum as received: what errors quote.
    pub header: Option<ArrayVec<u8, 60>>,
    /// The IPv4 options that errors repeat; `None` if none can be sent because of them.
    pub echo: Option<Echo>,
    /// Whom an IPv4 packet is for by its route.
    pub target: Target,
    replies: ArrayVec<Reply, 2>,
    counts: ArrayVec<Count, MAX_COUNTS>,
    passed_by: ArrayVec<(u32, IpAddr), MAX_PASSED_BY>,
    observer: &'o mut O,
}

impl<'a, 'o, O: Observer> Ctx<'a, 'o, O> {
    /// Notes for a packet received on `iif`.
    pub fn new(env: Env<'a>, iif: &'a Iface, len: usize, observer: &'o mut O) -> Self {
        Ctx {
            env,
            iif,
            oif: None,
            len,
            header: None,
            echo: Some(Echo::default()),
            target: Target::Other,
            replies: ArrayVec::new(),
            counts: ArrayVec::new(),
            passed_by: ArrayVec::new(),
            observer,
        }
    }

    /// A check of the table: goes on if `ok`, else the packet is dropped for `reason`.
    pub fn check(&mut self, reason: DropReason, ok: bool) -> Result<(), DropReason> {
        self.observer.check(reason, ok);
        if ok { Ok(()) } else { Err(reason) }
    }

    /// A check that yields a value: goes on with it, else the packet is dropped for `reason`.
    pub fn some<T>(&mut self, reason: DropReason, value: Option<T>) -> Result<T, DropReason> {
        self.observer.check(reason, value.is_some());
        value.ok_or(reason)
    }

    /// A step that is not a check.
    pub fn step(&mut self, rule: Rule, found: fmt::Arguments<'_>) {
        self.observer.step(Step { rule, found });
    }

    /// A rule was applied that drops nothing.
    pub fn rule(&mut self, name: &'static str) {
        self.observer.rule(name);
    }

    /// A rule was applied that drops nothing, if it was.
    pub fn rule_if(&mut self, applied: bool, name: &'static str) {
        if applied {
            self.observer.rule(name);
        }
    }

    /// Who watches, for a search that is done without these notes.
    pub fn observer(&mut self) -> &mut O {
        self.observer
    }

    /// Whether anybody listens for rules: naming some of them takes work.
    pub fn wants_rules(&self) -> bool {
        self.observer.wants_rules()
    }

    /// Counts on the interface that received the packet.
    pub fn count_in(&mut self, mib: Mib, by: usize) {
        self.push(mib, Some(self.iif.slot), by);
    }

    /// Counts for the namespace alone.
    pub fn count_alone(&mut self, mib: Mib, by: usize) {
        self.push(mib, None, by);
    }

    /// Counts on the route's interface.
    pub fn count_out(&mut self, mib: Mib, by: usize) {
        self.push(mib, self.oif.map(|o| o.slot), by);
    }

    fn push(&mut self, mib: Mib, slot: Option<u16>, by: usize) {
        let full = self.counts.try_push(Count { mib, slot, by: by as u64 }).is_err();
        debug_assert!(!full, "MAX_COUNTS is too small");
    }

    /// Asks for an ICMP message about the packet, which it quotes with this hop limit or TTL.
    pub fn reply(&mut self, kind: ReplyKind, quoted_hops: u8) {
        let full = self.replies.try_push(Reply { kind, quoted_hops }).is_err();
        debug_assert!(!full, "no rule sends more than two");
    }

    /// A gateway does not answer and was passed by. Those that find no room wait for the next packet.
    pub fn passed_by(&mut self, oif: u32, gateway: IpAddr) {
        let _ = self.passed_by.try_push((oif, gateway));
    }

    /// Closes the notes.
    pub fn decide(self, verdict: Result<Verdict<'a>, DropReason>) -> Decision<'a> {
        let verdict = verdict.unwrap_or_else(Verdict::Drop);
        let out_slot = self.oif.map(|o| o.slot);
        let decision = Decision {
            verdict,
            replies: self.replies,
            counts: self.counts,
            out_slot,
            len: self.len,
            header: self.header,
            echo: self.echo,
            target: self.target,
            passed_by: self.passed_by,
        };
        self.observer.decided(&decision);
        decision
    }
}

/// The link-layer step: goes out if the next hop's address is known, else waits for it. Linux: neigh_output.
///
/// `fixed` is the address of a multicast or broadcast next hop; a link without addresses needs none.
pub fn neighbour<'a>(
    env: Env<'a>,
    oif: &'a Iface,
    next: IpAddr,
    fixed: Option<[u8; 6]>,
) -> Result<Egress<'a>, Wait<'a>> {
    let fixed = fixed.or_else(|| (oif.kind != LinkKind::Ethernet).then_some([0; 6]));
    if let Some(lladdr) = fixed {
        return Ok(Egress { oif, next, lladdr, nud: Nud::NOARP });
    }
    match env.view.neighbour(oif.index, next).map(|n| n.neighbour) {
        Some(n) if n.state.is_valid() => Ok(Egress { oif, next, lladdr: n.lladdr, nud: n.state }),
        _ => Err(Wait { oif, next }),
    }
}

/// Sends on, or waits with the same edit.
pub fn send_or_hold<'a>(way: Result<Egress<'a>, Wait<'a>>, edit: Edit) -> Verdict<'a> {
    match way {
        Ok(egress) => Verdict::Forward(egress, edit),
        Err(wait) => Verdict::Hold(wait, edit),
    }
}
