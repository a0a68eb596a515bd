//! Routing headers that name the hosts to visit: segment routing (RFC 8754) and source routes of low-power networks
//! (RFC 6554). Linux: ipv6_srh_rcv, ipv6_rpl_srh_rcv.
//!
//! Pure but for the errors: a header says where the packet goes next, `exthdrs` asks it, `onward` sends the packet there.
//! Two things the kernel does are not imitated, as they depend on what lies in its memory. It damages a packet that it sends
//! on by a segment routing header that does not stand right behind the fixed header; here the packet stays whole. And it
//! overflows the length of an RPL header of more than 127 addresses; here such packets are dropped.

use super::ip6::{Packet, error};
use crate::drop::DropReason as D;
use crate::forward::act::Act;
use crate::forward::decision::ReplyKind;
use crate::forward::observe::Observer;
use crate::wire::icmp::v6;
use crate::wire::ip6::{Ip6Hdr, RoutingHdr};
use crate::wire::proto;
use std::net::Ipv6Addr;
use zerocopy::IntoBytes;

/// Bytes of an address, and of the fixed part of either header.
const ADDR: usize = 16;
const FIXED: usize = 8;
/// Addresses that an RPL header may hold, as its length in units of eight bytes is one byte once it is unpacked.
const RPL_MAX: usize = 127;
/// Longest prefix that is left out of an address (RFC 6554 3).
const ELIDED_MAX: usize = ADDR - 1;

/// Where a routing header leads.
pub enum Step {
    /// On to the header behind it, so many bytes further: the packet has arrived.
    Behind(usize),
    /// To the packet that it carries, at this offset, of this protocol.
    Inside(usize, u8),
    /// To its next segment. The packet as it has become, and where in it the routing header stands.
    Onward(Vec<u8>, usize),
}

/// A segment routing header with `left` segments to visit, at `at` of the packet. RFC 8754 4.3.1.1; Linux: ipv6_srh_rcv.
pub fn segment_routing<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    header: &[u8],
    (routing, at): (&RoutingHdr, usize),
) -> Result<Step, D> {
    let (all, dev) = (&act.env.state.sysctl.all6, &packet.local.iif.conf6);
    if all.seg6_enabled.min(dev.seg6_enabled) == 0 {
        return Err(D::V6SegmentRoutingOff);
    }
    // No key is known here, so no proof can be right. Linux: seg6_hmac_validate_skb.
    let proof = has_hmac(header);
    let refused = if dev.seg6_require_hmac == 0 { proof } else { dev.seg6_require_hmac > 0 };
    if refused {
        return Err(D::V6SegmentHmac);
    }
    if routing.segments_left == 0 {
        act.rule("segment routing: the last segment");
        return Ok(end(routing, at, &[proto::IPV6, proto::IPIP]));
    }
    if routing.segments_left >= routing.ext.len >> 1 {
        return Err(too_many(act, packet, at));
    }
    let left = routing.segments_left - 1;
    let start = FIXED + usize::from(left) * ADDR;
    let next = header.get(start..start + ADDR).ok_or(D::V6SegmentsLeft)?;
    let mut bytes = packet.local.bytes.to_vec();
    set_destination(&mut bytes, next);
    set_left(&mut bytes, at, left);
    act.rule("segment routing: on to the next segment");
    Ok(Step::Onward(bytes, at))
}

/// Whether a header ends with a proof of who made it. RFC 8754 2.1.2; Linux: seg6_get_tlv_hmac.
fn has_hmac(header: &[u8]) -> bool {
    const FLAG: u8 = 0x08;
    const TYPE_AND_LEN: [u8; 2] = [5, 38];
    const LEN: usize = 40;
    let Some(&[_, units, _, _, last, flags, ..]) = header.first_chunk::<FIXED>() else { return false };
    let tlv = header.len().checked_sub(LEN).and_then(|at| header.get(at..at + 2));
    let room = usize::from(units) >= (usize::from(last) + 1) * 2 + LEN / 8;
    room && flags & FLAG != 0 && tlv == Some(&TYPE_AND_LEN)
}

/// The last segment is this host: the packet inside, if it is of one of these protocols, else what follows.
fn end(routing: &RoutingHdr, at: usize, inside: &[u8]) -> Step {
    let (len, next) = (routing.ext.byte_len(), routing.ext.next_header);
    if inside.contains(&next) { Step::Inside(at + len, next) } else { Step::Behind(len) }
}

/// The error for a header that is to lead further than it knows. Byte 3 of the header says how far.
fn too_many<O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'_, '_>, at: usize) -> D {
    error(act, packet, ReplyKind::ParamProblem(v6::HDR_FIELD, at as u32 + 3));
    D::V6SegmentsLeft
}

fn set_destination(bytes: &mut [u8], address: &[u8]) {
    if let Some(place) = bytes.get_mut(Ip6Hdr::LEN - ADDR..Ip6Hdr::LEN)
        && place.len() == address.len()
    {
        place.copy_from_slice(address);
    }
}

fn set_left(bytes: &mut [u8], at: usize, left: u8) {
    if let Some(place) = bytes.get_mut(at + 3) {
        *place = left;
    }
}

/// An RPL header at `at` of the packet. RFC 6554 4.2; Linux: ipv6_rpl_srh_rcv.
pub fn rpl<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    header: &[u8],
    (routing, at): (&RoutingHdr, usize),
) -> Result<Step, D> {
    let (all, dev) = (&act.env.state.sysctl.all6, &packet.local.iif.conf6);
    if all.rpl_seg_enabled.min(dev.rpl_seg_enabled) == 0 {
        return Err(D::V6SegmentRoutingOff);
    }
    if routing.segments_left == 0 {
        return Ok(end(routing, at, &[proto::IPV6]));
    }
    let mut route = unpack(header, packet.hdr.dst()).ok_or(D::V6RplForm)?;
    if usize::from(routing.segments_left) > route.len() {
        return Err(too_many(act, packet, at));
    }
    let left = routing.segments_left - 1;
    let current = route.len() - usize::from(routing.segments_left);
    let next = *route.get(current).ok_or(D::V6RplForm)?;
    if next.is_multicast() {
        return Err(D::V6RplMulticast);
    }
    if loops(act, &route) {
        // The error quotes the packet with the segments that are left, but still to this host.
        let mut bytes = packet.local.bytes.to_vec();
        set_left(&mut bytes, at, left);
        let local = super::Local { bytes: &bytes, ..packet.local };
        error(act, &Packet { local, hdr: packet.hdr }, ReplyKind::ParamProblem(v6::HDR_FIELD, 0));
        return Err(D::V6RplLoop);
    }
    act.rule("RPL: on to the next address");
    if let Some(place) = route.get_mut(current) {
        *place = packet.hdr.dst();
    }
    let packed = pack(&route, next, routing.ext.next_header, left);
    // What stood between the fixed header and this one is lost. Linux: ipv6_rpl_srh_rcv (skb_push).
    let rest = packet.local.bytes.get(at + header.len()..).unwrap_or_default();
    let mut fixed = packet.local.bytes.get(..Ip6Hdr::LEN).unwrap_or_default().to_vec();
    set_destination(&mut fixed, &next.octets());
    overwrite(
        &mut fixed,
        packet.local.eth.as_bytes(),
        (at + header.len()).checked_sub(Ip6Hdr::LEN + packed.len()),
    );
    let mut bytes = [&fixed, &packed, rest].concat();
    let payload = (bytes.len() - Ip6Hdr::LEN) as u16;
    if let Some(place) = bytes.get_mut(4..6) {
        place.copy_from_slice(&payload.to_be_bytes());
    }
    Ok(Step::Onward(bytes, Ip6Hdr::LEN))
}

/// Where the headers of a packet become shorter, the kernel moves the link-layer header before it moves the fixed header,
/// and so onto it: what leaves is damaged, and by the same bytes here. Linux: ipv6_rpl_srh_rcv (skb_mac_header_rebuild).
fn overwrite(fixed: &mut [u8], link: &[u8], shorter: Option<usize>) {
    let Some(end) = shorter else { return };
    for (from_end, byte) in link.iter().rev().enumerate() {
        if let Some(place) = end.checked_sub(from_end + 1).and_then(|at| fixed.get_mut(at)) {
            *place = *byte;
        }
    }
}

/// The addresses of an RPL header, each with the prefix of `dst` that it leaves out. RFC 6554 3; `None` if its lengths do
/// not fit each other. Linux: ipv6_rpl_srh_decompress.
fn unpack(header: &[u8], dst: Ipv6Addr) -> Option<Vec<Ipv6Addr>> {
    let [_, _, _, _, elided, pad, ..] = *header.first_chunk::<FIXED>()?;
    let (elided, elided_last) = (usize::from(elided >> 4), usize::from(elided & 15));
    let data = header.get(FIXED..)?;
    let data = data.get(..data.len().checked_sub(usize::from(pad >> 4))?)?;
    let (first, last) = data.split_at_checked(data.len().checked_sub(ADDR - elided_last)?)?;
    let tails = first.chunks_exact(ADDR - elided);
    if !tails.remainder().is_empty() || tails.len() + 1 > RPL_MAX {
        return None;
    }
    let whole = |tail: &[u8]| {
        let mut octets = dst.octets();
        octets.get_mut(ADDR - tail.len()..)?.copy_from_slice(tail);
        Some(octets.into())
    };
    tails.chain([last]).map(whole).collect()
}

/// Whether a route leads through this host, elsewhere, and here again. RFC 6554 4.2; Linux: ipv6_chk_rpl_srh_loop.
fn loops<O>(act: &Act<'_, '_, O>, route: &[Ipv6Addr]) -> bool {
    let ours = |a: &Ipv6Addr| act.env.state.ifaces.iter().any(|i| i.addrs6.iter().any(|own| own.addr == *a));
    let (mut found, mut separated) = (0, false);
    for address in route {
        if !ours(address) {
            separated = true;
            continue;
        }
        // The kernel lets two visits pass.
        if found > 1 && separated {
            return true;
        }
        (found, separated) = (found + 1, false);
    }
    false
}

/// The header with as little of each address as a packet to `dst` allows. Linux: ipv6_rpl_srh_compress.
fn pack(route: &[Ipv6Addr], dst: Ipv6Addr, next_header: u8, left: u8) -> Vec<u8> {
    let Some((last, first)) = route.split_last() else { return Vec::new() };
    let common = |a: &Ipv6Addr| (a.to_bits() ^ dst.to_bits()).leading_zeros() as usize / 8;
    let elided = first.iter().map(common).min().unwrap_or(ADDR).min(ELIDED_MAX);
    let elided_last = common(last).min(ELIDED_MAX);
    let mut header = vec![next_header, 0, super::exthdrs::TYPE_RPL, left, 0, 0, 0, 0];
    first.iter().for_each(|a| header.extend(a.octets().iter().skip(elided)));
    header.extend(last.octets().iter().skip(elided_last));
    let pad = header.len().next_multiple_of(8) - header.len();
    header.resize(header.len() + pad, 0);
    let units = header.len() / 8 - 1;
    if let Some([_, len, _, _, elisions, padding, ..]) = header.first_chunk_mut::<FIXED>() {
        (*len, *elisions, *padding) = (units as u8, (elided << 4 | elided_last) as u8, (pad << 4) as u8);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_to_the_same_route() {
        bolero::check!().with_type::<(Vec<(u8, u8)>, u8)>().for_each(|(ends, dst)| {
            let address =
                |site: u8, host: u8| Ipv6Addr::new(0x2001, 0xdb8, site.into(), 0, 0, 0, 0, host.into());
            let route: Vec<Ipv6Addr> = ends.iter().take(RPL_MAX).map(|&(s, h)| address(s % 3, h)).collect();
            let header = pack(&route, address(1, *dst), proto::UDP, 1);
            assert!(header.len().is_multiple_of(8));
            let unpacked = unpack(&header, address(1, *dst));
            assert_eq!(unpacked, (!route.is_empty()).then_some(route));
        });
    }

    #[test]
    fn any_header_unpacks_or_not() {
        bolero::check!().with_type::<(Vec<u8>, [u8; 16])>().for_each(|(header, dst)| {
            let route = unpack(header, (*dst).into());
            assert!(route.is_none_or(|r| r.len() <= RPL_MAX && !r.is_empty()));
            has_hmac(header);
        });
    }
}
