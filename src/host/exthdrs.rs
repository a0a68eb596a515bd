//! The extension headers of a packet for this host, up to the protocol that they lead to. RFC 8200 4;
//! Linux: ip6_protocol_deliver_rcu, ipv6_destopt_rcv, ipv6_rthdr_rcv.

use super::ip6::{Packet, Payload, error};
use crate::drop::DropReason as D;
use crate::forward::act::Act;
use crate::forward::decision::ReplyKind;
use crate::forward::observe::Observer;
use crate::frame::PktType;
use crate::wire::icmp::v6;
use crate::wire::ip6::{ExtHdr, FRAG_MF, FRAG_OFFSET, FragHdr, Ip6Hdr, RoutingHdr, opt};
use crate::wire::proto;
use zerocopy::FromBytes;

/// Segment routing (RFC 8754).
const TYPE_SRH: u8 = 4;
/// Routing for low-power networks (RFC 6554).
const TYPE_RPL: u8 = 3;

/// Goes through the headers, each as long as it says; the errors that they call for are sent from here.
pub fn walk<'p, O: Observer>(act: &mut Act<'_, '_, O>, packet: &Packet<'p, '_>) -> Result<Payload<'p>, D> {
    let bytes = packet.local.bytes;
    let (mut proto, mut named_at, mut at) = (packet.hdr.next_header, 6, Ip6Hdr::LEN);
    loop {
        let data = bytes.get(at..).unwrap_or_default();
        let len = match proto {
            // Its options were read on receipt. RFC 8200 4.3: only the first header may be one.
            proto::HOPOPTS if at == Ip6Hdr::LEN => extension(data).ok_or(D::V6HopoptsShort)?.len(),
            proto::DSTOPTS => {
                let header = extension(data).ok_or(D::V6DestoptsShort)?;
                options(act, packet, header, at)?;
                header.len()
            }
            proto::ROUTING => routing(act, packet, data, at)?,
            proto::FRAGMENT => whole(data)?,
            _ => return Ok(Payload { proto, named_at, data }),
        };
        proto = data.first().copied().unwrap_or(proto::NONE);
        (named_at, at) = (at, at + len);
    }
}

/// The header at the start of `data`, as long as it says.
fn extension(data: &[u8]) -> Option<&[u8]> {
    let (ext, _) = ExtHdr::ref_from_prefix(data).ok()?;
    data.get(..ext.byte_len())
}

/// RFC 6946: a fragment that is the whole packet. Others would have to wait for the rest.
fn whole(data: &[u8]) -> Result<usize, D> {
    let (fragment, _) = FragHdr::ref_from_prefix(data).map_err(|_| D::V6HostFragment)?;
    let atomic = fragment.frag.get() & (FRAG_OFFSET | FRAG_MF) == 0;
    if atomic { Ok(size_of::<FragHdr>()) } else { Err(D::V6HostFragment) }
}

/// Options for the destination: none is known here but padding. RFC 8200 4.2; Linux: ip6_tlvopt_unknown.
fn options<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    header: &[u8],
    start: usize,
) -> Result<(), D> {
    let mut at = 2;
    while let Some(&kind) = header.get(at) {
        if kind == opt::PAD1 {
            at += 1;
            continue;
        }
        let len = header.get(at + 1).map(|&l| usize::from(l) + 2).ok_or(D::V6OptionShort)?;
        header.get(at..at + len).ok_or(D::V6OptionShort)?;
        if kind != opt::PADN {
            unknown(act, packet, kind, start + at)?;
        }
        at += len;
    }
    Ok(())
}

fn unknown<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    kind: u8,
    pointer: usize,
) -> Result<(), D> {
    let group = packet.hdr.dst().is_multicast();
    match kind & opt::ACTION_MASK {
        opt::ACTION_SKIP => Ok(()),
        opt::ACTION_DROP => Err(D::V6OptionDiscard),
        opt::ACTION_SEND_UNICAST if group => Err(D::V6OptionDiscard),
        _ => {
            error(act, packet, ReplyKind::ParamProblem(v6::UNK_OPTION, pointer as u32));
            Err(D::V6OptionUnknown)
        }
    }
}

/// RFC 5095 3, RFC 8754 4.3; Linux: ipv6_rthdr_rcv. Returns the header's length if the packet has arrived.
fn routing<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    data: &[u8],
    at: usize,
) -> Result<usize, D> {
    let header = extension(data).ok_or(D::V6RoutingShort)?;
    let (routing, _) = RoutingHdr::ref_from_prefix(header).map_err(|_| D::V6RoutingShort)?;
    if packet.hdr.dst().is_multicast() || packet.local.meta.pkt_type != PktType::Host {
        return Err(D::V6RoutingAddress);
    }
    match routing.kind {
        TYPE_SRH | TYPE_RPL => Err(D::V6SegmentRoutingOff),
        _ if routing.segments_left == 0 => Ok(header.len()),
        _ => {
            // Byte 2 of the header is the type.
            error(act, packet, ReplyKind::ParamProblem(v6::HDR_FIELD, at as u32 + 2));
            Err(D::V6RoutingType)
        }
    }
}
