//! The one place that acts: counts, makes ICMP messages, rewrites, sends, holds. `decide` said what, this does it.

use super::claim::Family;
use super::ctx::{self, Env};
use super::decision::{Decision, Edit, Egress, ReplyKind, Verdict, Wait};
use super::fast::Fast;
use super::l3::gso;
use super::l3::limit::Limits;
use super::observe::{Observer, Rule, Step};
use super::{ip4, ip6};
use crate::drop::{DropReason, Side};
use crate::frame::{Frame, Offload, Output, Outputs, PktType, Source};
use crate::iface::{Iface, LinkKind};
use crate::neigh::{Ask, Asks, Held, Hold, Waiting};
use crate::stats::{Link, Mib, Own, WorkerStats};
use crate::wire::csum;
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr};
use crate::wire::ip4::Ip4Hdr;
use std::fmt;
use std::net::IpAddr;
use warren_fib::{NeighbourEntry, Nud};
use zerocopy::{FromBytes, IntoBytes};

/// What a worker lends for acting on a batch.
pub struct Act<'a, 'w, O> {
    /// The published state.
    pub env: Env<'a>,
    /// This worker's counters.
    pub stats: &'w WorkerStats,
    /// Who may still be sent ICMP messages.
    pub limits: &'w Limits,
    /// Packets that wait for a next hop's address.
    pub hold: &'w mut Hold,
    /// What the control thread is to ask the kernel.
    pub asks: &'w mut Asks,
    /// What is to be sent.
    pub out: &'w mut Outputs,
    /// Told about messages made and not made.
    pub observer: &'w mut O,
}

/// The packet that an ICMP message is about.
#[derive(Clone, Copy)]
pub struct Quote<'p, 'a> {
    /// From its IP header on, layer-2 padding cut.
    pub bytes: &'p [u8],
    /// Hop limit or TTL to quote.
    pub hops: u8,
    /// For whom the link layer says it was.
    pub pkt_type: PktType,
    /// The interface that received it.
    pub iif: &'a Iface,
}

/// Where a made packet lies in the scratch arena, link-layer header included.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    start: usize,
    len: usize,
}

/// A packet being made.
pub struct Made<'s> {
    /// From its IP header on, zeroed.
    pub packet: &'s mut [u8],
    /// To send it by.
    pub place: Place,
}

impl<'a, O: Observer> Act<'a, '_, O> {
    /// Carries out what was decided for frame `index` of the batch; without a number for one that is in no batch, of which
    /// a copy is sent.
    pub fn perform(
        &mut self,
        index: Option<u16>,
        frame: &mut Frame<'_>,
        iif: &'a Iface,
        decision: &Decision<'a>,
    ) {
        for c in &decision.counts {
            self.stats.mib(c.mib, c.slot, c.by);
        }
        self.replies(frame, iif, decision);
        for &(oif, next) in &decision.passed_by {
            if self.env.view.neighbour(oif, next).is_some_and(NeighbourEntry::first_use) {
                self.asks.push(Ask::Probe { oif, next });
            }
        }
        match &decision.verdict {
            Verdict::Forward(egress, edit) => match index {
                Some(index) => self.forward(index, frame, egress, edit),
                None => {
                    self.rewrite(frame, edit);
                    self.send_copy(egress, packet(frame, edit.len), frame.meta.offload);
                }
            },
            Verdict::Fragment(egress, edit, mtu) => {
                self.rewrite(frame, edit);
                let pieces = ip4::fragment::Way::Send(egress);
                ip4::fragment::fragment(self, packet(frame, edit.len), *mtu, pieces, iif);
            }
            Verdict::HoldFragments(wait, edit, mtu) => {
                self.rewrite(frame, edit);
                let pieces = ip4::fragment::Way::Hold(wait);
                ip4::fragment::fragment(self, packet(frame, edit.len), *mtu, pieces, iif);
            }
            Verdict::Hold(wait, edit) => {
                self.rewrite(frame, edit);
                self.hold_packet(wait, packet(frame, edit.len), frame.meta.offload, iif);
            }
            Verdict::Drop(reason) => self.count_drop(*reason, Some(iif.slot), decision.out_slot),
            Verdict::Kernel(_) => self.stats.own(Own::LeftPackets, 1),
            Verdict::Local => {}
        }
    }

    /// Carries out a verdict that needed no notes.
    pub fn finish(&mut self, index: u16, frame: &mut Frame<'_>, iif: &'a Iface, verdict: Verdict<'a>) {
        let decision = Decision::bare(verdict);
        self.observer.decided(&decision);
        self.perform(Some(index), frame, iif, &decision);
    }

    /// Sends on a packet that the fast path decided for, with the counters that the full path would move.
    pub fn fast(&mut self, index: u16, frame: &mut Frame<'_>, iif: &Iface, fast: &Fast<'a>) {
        let (arrived, slot) = (frame.len() - EthHdr::LEN, Some(iif.slot));
        let (out, segments) = (Some(fast.egress.oif.slot), gso::segments(&frame.meta, arrived) as u64);
        let (stats, len) = (self.stats, fast.len as u64);
        match fast.family {
            Family::V6 => {
                stats.mib(Mib::Ip6InReceives, slot, 1);
                stats.mib(Mib::Ip6InOctets, slot, arrived as u64);
                stats.mib(ip6::ecn_counter(fast.ecn), slot, segments);
                stats.mib(Mib::Ip6OutForwDatagrams, out, 1);
                stats.mib(Mib::Ip6OutTransmits, out, 1);
                stats.mib(Mib::Ip6OutOctets, out, len);
            }
            Family::V4 => {
                stats.mib(Mib::IpInReceives, slot, 1);
                stats.mib(Mib::IpExtInOctets, slot, arrived as u64);
                stats.mib(ip4::ecn_counter(fast.ecn), slot, segments);
                stats.mib(Mib::IpForwDatagrams, out, 1);
                stats.mib(Mib::IpOutTransmits, out, 1);
                stats.mib(Mib::IpExtOutOctets, out, len);
            }
        }
        self.forward(index, frame, &fast.egress, &Edit { len: fast.len, decrement: true, header: None });
    }

    /// Sends a copy of a packet to a next hop whose address is known.
    pub fn send_copy(&mut self, egress: &Egress<'a>, packet: &[u8], offload: Offload) {
        let Some(made) = self.make(egress.oif, packet.len()) else { return };
        made.packet.copy_from_slice(packet);
        let place = made.place;
        self.send_made_with(egress, place, offload);
    }

    /// Counts a drop as its table line says.
    pub fn count_drop(&mut self, reason: DropReason, in_slot: Option<u16>, out_slot: Option<u16>) {
        self.stats.drop(reason as usize);
        for (side, mib) in reason.info().counters {
            let slot = match side {
                Side::In => in_slot,
                Side::Out => out_slot,
                Side::Neither => None,
            };
            self.stats.mib(*mib, slot, 1);
        }
    }

    fn replies(&mut self, frame: &Frame<'_>, iif: &'a Iface, decision: &Decision<'a>) {
        for reply in &decision.replies {
            let bytes = packet(frame, decision.len);
            let quote = Quote { bytes, hops: reply.quoted_hops, pkt_type: frame.meta.pkt_type, iif };
            match (reply.kind, bytes.first().map(|b| b >> 4)) {
                (ReplyKind::Redirect(IpAddr::V6(target)), _) => ip6::ndisc::redirect(self, &quote, target),
                (ReplyKind::Redirect(IpAddr::V4(gateway)), _) => {
                    ip4::icmp::redirect(self, &quote, decision, gateway);
                }
                (kind, Some(4)) => ip4::icmp::send(self, &quote, decision, kind),
                (kind, _) => ip6::icmp::send(self, &quote, kind),
            }
        }
    }

    /// Applies an edit to the packet in place: a new header, then the decrement. RFC 8200 3, RFC 1812 5.3.1.
    fn rewrite(&mut self, frame: &mut Frame<'_>, edit: &Edit) {
        let bytes = frame.bytes_mut().get_mut(EthHdr::LEN..).unwrap_or_default();
        if let Some(header) = &edit.header
            && let Some(place) = bytes.get_mut(..header.len())
        {
            place.copy_from_slice(header);
        }
        if !edit.decrement {
            return;
        }
        match bytes.first().map(|b| b >> 4) {
            Some(4) => {
                if let Ok((h, _)) = Ip4Hdr::mut_from_prefix(bytes) {
                    csum::decrease_ttl(h);
                }
            }
            _ => {
                if let Some(hops) = bytes.get_mut(7) {
                    *hops = hops.wrapping_sub(1);
                }
            }
        }
    }

    fn forward(&mut self, index: u16, frame: &mut Frame<'_>, egress: &Egress<'a>, edit: &Edit) {
        self.rewrite(frame, edit);
        self.report_use(egress);
        let bytes = frame.bytes_mut();
        let start = if egress.oif.kind == LinkKind::Raw { EthHdr::LEN } else { 0 };
        if start == 0 {
            let v6 = bytes.get(EthHdr::LEN).is_some_and(|b| b >> 4 != 4);
            link_header(bytes, egress, v6);
        }
        let len = EthHdr::LEN + edit.len - start;
        self.push(egress.oif, Source::Received(index), start, len, frame.meta.offload);
    }

    /// Tells the control thread once that a stale next hop is in use, so that the kernel verifies it.
    fn report_use(&mut self, egress: &Egress<'a>) {
        let (oif, next) = (egress.oif.index, egress.next);
        if egress.nud == Nud::STALE
            && self.env.view.neighbour(oif, next).is_some_and(NeighbourEntry::first_use)
        {
            self.asks.push(Ask::Used { oif, next });
        }
    }

    fn push(&mut self, oif: &Iface, source: Source, start: usize, len: usize, offload: Offload) {
        // Where the frame starts at the IP header, so does the place of the checksum.
        let offload = if oif.kind == LinkKind::Raw { offload.skip(EthHdr::LEN as u16) } else { offload };
        let output =
            Output { oif: oif.index, source, start: start as u32, len: len as u32, offload, slot: oif.slot };
        if self.out.push(output) {
            self.stats.link(Link::TxPackets, oif.slot, 1);
            self.stats.link(Link::TxBytes, oif.slot, len as u64);
        } else {
            self.stats.own(Own::ScratchFull, 1);
            self.count_drop(DropReason::NoScratch, None, None);
        }
    }

    /// Room for a packet of `len` bytes from its IP header on, to leave by `oif`.
    pub fn make(&mut self, oif: &Iface, len: usize) -> Option<Made<'_>> {
        let header = oif.header_len();
        match self.out.scratch.take(header + len) {
            Some((start, bytes)) => {
                let packet = bytes.get_mut(header..).unwrap_or_default();
                Some(Made { packet, place: Place { start, len: header + len } })
            }
            None => {
                self.stats.own(Own::ScratchFull, 1);
                None
            }
        }
    }

    /// Sends a made packet to its next hop, or lets it wait for the next hop's address.
    pub fn send_made(
        &mut self,
        oif: &'a Iface,
        next: IpAddr,
        fixed: Option<[u8; 6]>,
        place: Place,
        iif: &Iface,
    ) {
        match ctx::neighbour(self.env, oif, next, fixed) {
            Ok(egress) => self.send_made_to(&egress, place),
            Err(wait) => self.hold_made(&wait, place, Offload::default(), iif),
        }
    }

    /// Sends a made packet to a next hop whose address is known.
    pub fn send_made_to(&mut self, egress: &Egress<'a>, place: Place) {
        self.send_made_with(egress, place, Offload::default());
    }

    fn send_made_with(&mut self, egress: &Egress<'a>, place: Place, offload: Offload) {
        self.report_use(egress);
        let bytes = self.out.scratch.get_mut(place.start, place.len);
        if egress.oif.kind != LinkKind::Raw {
            let v6 = bytes.get(EthHdr::LEN).is_some_and(|b| b >> 4 != 4);
            link_header(bytes, egress, v6);
        }
        self.push(egress.oif, Source::Made, place.start, place.len, offload);
    }

    /// Copies a made packet into the hold queue.
    pub fn hold_made(&mut self, wait: &Wait<'a>, place: Place, offload: Offload, iif: &Iface) {
        let header = wait.oif.header_len();
        let bytes = self.out.scratch.get(place.start + header, place.len - header);
        let waiting = self.waiting(wait, iif);
        let held = self.hold.push(waiting, bytes, offload);
        self.after_hold(wait, held);
    }

    /// Copies a packet into the hold queue and asks for the next hop's address.
    pub fn hold_packet(&mut self, wait: &Wait<'a>, bytes: &[u8], offload: Offload, iif: &Iface) {
        let waiting = self.waiting(wait, iif);
        let held = self.hold.push(waiting, bytes, offload);
        self.after_hold(wait, held);
    }

    fn waiting(&self, wait: &Wait<'a>, iif: &Iface) -> Waiting {
        let seen = self.env.view.neighbour(wait.oif.index, wait.next).map_or(0, |n| n.number);
        let conf = if wait.next.is_ipv4() { &wait.oif.neigh4 } else { &wait.oif.neigh6 };
        let limit = usize::try_from(conf.unres_qlen_bytes).unwrap_or(0);
        Waiting { key: wait.key(), iif: iif.index, since: self.env.now, seen, limit }
    }

    fn after_hold(&mut self, wait: &Wait<'a>, held: Held) {
        self.stats.own(Own::HeldPackets, 1);
        for _ in 0..held.pushed_out {
            let v4 = wait.next.is_ipv4();
            let full = if v4 { DropReason::V4NeighbourQueueFull } else { DropReason::V6NeighbourQueueFull };
            self.refuse(full, None, Some(wait.oif.slot));
            self.stats.own(Own::HeldDropped, 1);
        }
        if held.first {
            self.stats.own(Own::ResolveAsked, 1);
            self.asks.push(Ask::Resolve { oif: wait.oif.index, next: wait.next });
        }
    }

    /// A message that the rules or the limiter keep back.
    pub fn unsent(&mut self, rule: Rule, found: fmt::Arguments<'_>) {
        self.stats.own(Own::RepliesUnsent, 1);
        self.observer.reply(Step { rule, found });
    }

    /// A message that was made.
    pub fn reply_made(&mut self, rule: Rule, found: fmt::Arguments<'_>) {
        self.stats.own(Own::RepliesSent, 1);
        self.observer.reply(Step { rule, found });
    }

    /// A rule was applied that drops nothing; see [`Observer::rule`].
    pub fn rule(&mut self, name: &'static str) {
        self.observer.rule(name);
    }

    /// The same, if it was.
    pub fn rule_if(&mut self, applied: bool, name: &'static str) {
        if applied {
            self.observer.rule(name);
        }
    }

    /// Drops what was not dropped when it was decided for: told to the observer, and counted.
    pub fn refuse(&mut self, reason: DropReason, in_slot: Option<u16>, out_slot: Option<u16>) {
        self.observer.check(reason, false);
        self.count_drop(reason, in_slot, out_slot);
    }
}

/// The IP packet in a received Ethernet frame, cut to `len` bytes.
fn packet<'f>(frame: &'f Frame<'_>, len: usize) -> &'f [u8] {
    let bytes = frame.bytes().get(EthHdr::LEN..).unwrap_or_default();
    bytes.get(..len).unwrap_or(bytes)
}

/// RFC 894, RFC 2464: the new link-layer header.
fn link_header(bytes: &mut [u8], egress: &Egress<'_>, v6: bool) {
    let ethertype = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    let header = EthHdr::new(egress.lladdr, egress.oif.mac, ethertype);
    if let Some(place) = bytes.get_mut(..EthHdr::LEN) {
        place.copy_from_slice(header.as_bytes());
    }
}
