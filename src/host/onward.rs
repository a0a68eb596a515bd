//! Delivery that does not end here: packets that a routing header leads on, and packets that are taken out of others.
//! Linux: ipv6_srh_rcv and ipv6_rpl_srh_rcv (dst_input, netif_rx).
//!
//! Such a packet goes through the forwarder's full path, as a copy, until it leaves or this host has done with it. It
//! ends: each turn uses up a segment or a header. Called by the host.

use super::ip6::{self, Changed, Delivered};
use super::{Local, News, ip4};
use crate::forward;
use crate::forward::act::Act;
use crate::forward::claim::Family;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::observe::Observer;
use crate::frame::{Frame, Meta};
use crate::iface::Iface;
use crate::stats::Link;
use crate::wire::eth::EthHdr;
use crate::wire::proto;

/// Delivers an IPv6 packet as often as it turns out to be for this host; says what it tells.
pub fn deliver<'a, O: Observer>(act: &mut Act<'a, '_, O>, first: &Local<'_, 'a>) -> News {
    until_it_ends(act, first).unwrap_or_default()
}

fn until_it_ends<'a, O: Observer>(act: &mut Act<'a, '_, O>, first: &Local<'_, 'a>) -> Option<News> {
    let iif = first.iif;
    let mut delivered = ip6::deliver(act, first, None)?;
    loop {
        let (memory, meta, from) = match delivered {
            Delivered::News(news) => return Some(news),
            Delivered::Onward(Changed { bytes, meta }, header) => {
                let mut memory = framed(&bytes);
                match forward::ip6::onward(act.env, iif, &bytes, meta, act.observer) {
                    None => lower(&mut memory),
                    Some(decision) => perform(act, &mut memory, meta, iif, &decision)?,
                }
                (memory, meta, Some(header))
            }
            Delivered::Inside(Changed { bytes, meta }, proto) => {
                let mut memory = framed(&bytes);
                let family = if proto == proto::IPV6 { Family::V6 } else { Family::V4 };
                // It comes anew by the same interface. Linux: __skb_tunnel_rx.
                act.stats.link(Link::RxPackets, iif.slot, 1);
                act.stats.link(Link::RxBytes, iif.slot, bytes.len() as u64);
                let decision = forward::decide(act.env, iif, family, &bytes, meta, act.observer);
                perform(act, &mut memory, meta, iif, &decision)?;
                if family == Family::V4 {
                    let local = Local { bytes: memory.get(EthHdr::LEN..)?, meta: &meta, ..*first };
                    return Some(ip4::deliver(act, &local));
                }
                (memory, meta, None)
            }
        };
        let local = Local { bytes: memory.get(EthHdr::LEN..)?, meta: &meta, ..*first };
        delivered = ip6::deliver(act, &local, from)?;
    }
}

/// The packet behind room for a link-layer header.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [&[0; EthHdr::LEN], bytes].concat()
}

/// A visit of this host costs a hop.
fn lower(memory: &mut [u8]) {
    if let Some(hops) = memory.get_mut(EthHdr::LEN + 7) {
        *hops = hops.wrapping_sub(1);
    }
}

/// Carries out a decision; `None` unless it is that the packet is for this host.
fn perform<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    memory: &mut [u8],
    meta: Meta,
    iif: &'a Iface,
    decision: &Decision<'a>,
) -> Option<()> {
    act.perform(None, &mut Frame::new(memory, 0, meta)?, iif, decision);
    (decision.verdict == Verdict::Local).then_some(())
}
