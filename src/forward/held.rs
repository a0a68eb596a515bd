//! Packets that waited: sent once their next hop is known, answered once it has failed.
//! RFC 4861 7.2.2, RFC 1812 3.3.2; Linux: neigh_update (queue flush), neigh_invalidate, ndisc_error_report, arp_error_report.

use super::act::{Act, Quote};
use super::ctx::Env;
use super::decision::{Decision, Egress, ReplyKind, Verdict};
use super::observe::Observer;
use super::{Forwarder, ip4, ip6};
use crate::drop::DropReason as D;
use crate::frame::PktType;
use crate::iface::Iface;
use crate::neigh::Waiting;
use crate::stats::Own;
use crate::wire::icmp;
use warren_fib::{Neighbour, Nud};

/// What became of a next hop that packets wait for.
#[derive(Clone, Copy)]
enum News {
    Known(Neighbour),
    Failed,
}

fn news(env: Env<'_>, w: &Waiting) -> Option<News> {
    let entry = env.view.neighbour(w.key.0, w.key.1)?;
    if entry.neighbour.state.is_valid() {
        return Some(News::Known(entry.neighbour));
    }
    // A failure from before the packet came only means that the kernel probes again.
    (entry.neighbour.state == Nud::FAILED && entry.number > w.seen).then_some(News::Failed)
}

impl Forwarder {
    /// Looks after the packets that wait; called when control says that neighbours changed. Outputs as in `batch`.
    pub fn held<O: Observer>(&mut self, env: Env<'_>, observer: &mut O) {
        let mut copy = std::mem::take(&mut self.copy);
        while let Some((what, waiting, offload, bytes)) = self.hold.take(|w| news(env, w)) {
            copy.clear();
            copy.extend_from_slice(bytes);
            let mut act = self.act(env, observer);
            let ifaces = &env.state.ifaces;
            let (Some(oif), Some(iif)) = (ifaces.get(waiting.key.0), ifaces.get(waiting.iif)) else {
                act.count_drop(D::NoPort, None, None);
                continue;
            };
            match what {
                News::Known(n) => {
                    act.stats.own(Own::HeldReleased, 1);
                    act.rule("neighbour: answered, what waited is sent");
                    let egress = Egress { oif, next: waiting.key.1, lladdr: n.lladdr, nud: n.state };
                    act.send_copy(&egress, &copy, offload);
                }
                News::Failed => fail(&mut act, oif, iif, &copy),
            }
        }
        self.copy = copy;
    }
}

/// The next hop did not answer: an error to the source, which quotes the packet with its hop limit lowered.
fn fail<'a, O: Observer>(act: &mut Act<'a, '_, O>, oif: &'a Iface, iif: &'a Iface, packet: &[u8]) {
    let v4 = packet.first().is_some_and(|b| b >> 4 == 4);
    let hops = packet.get(if v4 { 8 } else { 7 }).copied().unwrap_or(0);
    let quote = Quote { bytes: packet, hops, pkt_type: PktType::Host, iif };
    let reason = if v4 { D::V4NeighbourFailed } else { D::V6NeighbourFailed };
    if v4 {
        if let Some(options) = ip4::options::again(act.env, oif, packet) {
            let mut decision = Decision::bare(Verdict::Drop(reason));
            decision.echo = ip4::echo::Echo::of(act.env, &options);
            decision.header = Some(options.header);
            ip4::icmp::send(act, &quote, &decision, ReplyKind::Unreachable(icmp::v4::HOST_UNREACH));
        }
    } else {
        ip6::icmp::send(act, &quote, ReplyKind::Unreachable(icmp::v6::ADDR_UNREACH));
    }
    act.refuse(reason, Some(iif.slot), Some(oif.slot));
}
