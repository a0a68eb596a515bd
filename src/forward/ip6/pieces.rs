//! The last step of a packet that this router has made: out as a whole, or in fragments where the route's MTU is smaller.
//! RFC 8200 4.5; Linux: ip6_finish_output, ip6_fragment. Called by `icmp` and `host`.

use super::super::act::{Act, Quote};
use super::super::decision::ReplyKind;
use super::super::observe::Observer;
use super::route::Route;
use super::{icmp, output};
use crate::frame::PktType;
use crate::iface::{Iface, LinkKind};
use crate::stats::Mib;
use crate::wire::icmp::v6;
use crate::wire::ip6::{FRAG_MF, FragHdr, Ip6Hdr};
use crate::wire::proto;
use std::net::IpAddr;
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// A packet on its way out.
#[derive(Clone, Copy)]
pub struct Way<'a, 'r> {
    /// The route.
    pub route: &'r Route<'a>,
    /// The interface that it is given to.
    pub oif: &'a Iface,
    /// Where it is counted.
    pub slot: u16,
}

impl Way<'_, '_> {
    /// Whether a packet of `len` bytes is sent as a whole. Linux: ip6_output compares with dst_mtu.
    pub fn fits(&self, len: usize) -> bool {
        len <= output::route_mtu(self.route, self.oif.conf6.mtu) as usize
    }
}

/// Sends `body` behind `header`, whose payload length is that of `body`; false if there was no room for all of it.
/// Counters: Ip6OutTransmits and what follows.
pub fn send<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    way: Way<'a, '_>,
    header: &Ip6Hdr,
    body: &[u8],
    iif: &Iface,
) -> bool {
    if way.route.is_over_lo() {
        lose(act, way, header, body);
        return true;
    }
    if way.fits(Ip6Hdr::LEN + body.len()) {
        return piece(act, way, header, &[], body, iif);
    }
    // Each piece but the last holds whole units of eight bytes.
    let mtu = output::route_mtu(way.route, way.oif.conf6.mtu) as usize;
    let room = mtu.saturating_sub(Ip6Hdr::LEN + size_of::<FragHdr>()) & !7;
    let pieces = body.chunks(room.max(8));
    let id = u32::from(act.limits.next_id(IpAddr::V6(header.dst()))) + 1;
    let mut fragment =
        FragHdr { next_header: header.next_header, reserved: 0, frag: U16::ZERO, id: U32::new(id) };
    let (mut header, mut at, count) = (*header, 0, pieces.len());
    header.next_header = proto::FRAGMENT;
    for data in pieces {
        let more = if at + data.len() < body.len() { FRAG_MF } else { 0 };
        fragment.frag.set(at as u16 | more);
        header.payload_len.set((size_of::<FragHdr>() + data.len()) as u16);
        if !piece(act, way, &header, fragment.as_bytes(), data, iif) {
            return false;
        }
        // The first that a link without carrier does not take is the last.
        if !way.oif.carrier {
            act.stats.mib(Mib::Ip6FragFails, Some(way.slot), 1);
            return true;
        }
        at += data.len();
    }
    act.stats.mib(Mib::Ip6FragCreates, Some(way.slot), count as u64);
    act.stats.mib(Mib::Ip6FragOKs, Some(way.slot), 1);
    true
}

/// A route over lo rejects what is sent into it, and its sender is told: this router itself. Not of a message for which the
/// kernel needs the very socket that would tell. Linux: ip6_pkt_discard_out, icmpv6_xmit_lock.
fn lose<'a, O: Observer>(act: &mut Act<'a, '_, O>, way: Way<'a, '_>, header: &Ip6Hdr, body: &[u8]) {
    act.rule("lost in a route over lo");
    act.stats.mib(Mib::Ip6OutNoRoutes, None, 1);
    if header.next_header == proto::ICMPV6 && body.first() != Some(&v6::REDIRECT) {
        return;
    }
    tell(act, way.oif, header, body, ReplyKind::Unreachable(v6::NOROUTE));
}

/// Tells this router, as the sender of a packet, that it could not go out by `oif`.
pub fn tell<O: Observer>(
    act: &mut Act<'_, '_, O>,
    oif: &Iface,
    header: &Ip6Hdr,
    body: &[u8],
    kind: ReplyKind,
) {
    let bytes = [header.as_bytes(), body].concat();
    let quote = Quote { bytes: &bytes, hops: header.hop_limit, pkt_type: PktType::Host, iif: oif };
    icmp::send(act, &quote, kind);
}

fn piece<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    way: Way<'a, '_>,
    header: &Ip6Hdr,
    more: &[u8],
    data: &[u8],
    iif: &Iface,
) -> bool {
    let len = Ip6Hdr::LEN + more.len() + data.len();
    let Some(made) = act.make(way.oif, len) else { return false };
    let (mut rest, place) = (made.packet, made.place);
    for part in [header.as_bytes(), more, data] {
        let Some((here, behind)) = rest.split_at_mut_checked(part.len()) else { return false };
        here.copy_from_slice(part);
        rest = behind;
    }
    act.stats.mib(Mib::Ip6OutTransmits, Some(way.slot), 1);
    act.stats.mib(Mib::Ip6OutOctets, Some(way.slot), len as u64);
    act.send_made(way.oif, way.route.next_hop(header.dst()), None, place, iif);
    if way.oif.kind == LinkKind::Loopback {
        act.out.count_last_at(way.slot);
    }
    true
}
