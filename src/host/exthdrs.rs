//! The extension headers of a packet for this host, up to the protocol that they lead to. RFC 8200 4;
//! Linux: ip6_protocol_deliver_rcu, ipv6_destopt_rcv, ipv6_rthdr_rcv.

use super::ip6::{Packet, Payload, error, owner};
use super::segments::{self, Step};
use crate::drop::DropReason as D;
use crate::forward::act::Act;
use crate::forward::decision::ReplyKind;
use crate::forward::observe::Observer;
use crate::frame::PktType;
use crate::stats::Mib;
use crate::wire::icmp::{IcmpHdr, v6};
use crate::wire::ip6::{self, ExtHdr, FRAG_MF, FRAG_OFFSET, FragHdr, Ip6Hdr, RoutingHdr, opt};
use crate::wire::l4::{TcpHdr, UdpHdr};
use crate::wire::proto;
use zerocopy::FromBytes;

/// Bytes of padding that may stand in a row (RFC 4942 2.1.9.5).
const PADDING_MAX: usize = 7;

/// Segment routing (RFC 8754).
const TYPE_SRH: u8 = 4;
/// Routing for low-power networks (RFC 6554).
pub const TYPE_RPL: u8 = 3;

/// Where the headers lead.
pub enum Way<'p> {
    /// To a protocol of this host.
    Arrived(Payload<'p>),
    /// To a packet inside: where it starts, and its protocol.
    Inside(usize, u8),
    /// To another host: the packet as it has become, and where its routing header stands.
    Onward(Vec<u8>, usize),
}

/// Goes through the headers, each as long as it says; the errors that they call for are sent from here. `from` is the offset
/// of a routing header to begin with, else it is the first one.
pub fn walk<'p, O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'p, '_>,
    from: Option<usize>,
) -> Result<Way<'p>, D> {
    let bytes = packet.local.bytes;
    let first = (packet.hdr.next_header, 6, Ip6Hdr::LEN);
    let (mut proto, mut named_at, mut at) = from.map_or(first, |at| (proto::ROUTING, 6, at));
    let mut fragmented = false;
    loop {
        let data = bytes.get(at..).unwrap_or_default();
        let len = match proto {
            // Its options were read on receipt. RFC 8200 4.3: only the first header may be one.
            proto::HOPOPTS if at == Ip6Hdr::LEN => extension(data).ok_or(D::V6HopoptsShort)?.len(),
            proto::DSTOPTS => {
                let header = extension(data).ok_or(D::V6DestoptsShort)?;
                if header.len() as i64 > act.env.state.sysctl.ip6.max_dst_opts_length {
                    return Err(D::V6DestoptsLong);
                }
                options(act, packet, header, at)?;
                act.rule("destination options read");
                header.len()
            }
            proto::ROUTING => match routing(act, packet, data, at)? {
                Step::Behind(len) => len,
                Step::Inside(at, proto) => return Ok(Way::Inside(at, proto)),
                Step::Onward(bytes, at) => return Ok(Way::Onward(bytes, at)),
            },
            proto::FRAGMENT => {
                let len = fragment(act, packet, data, at, fragmented)?;
                fragmented = true;
                len
            }
            _ => return Ok(Way::Arrived(Payload { proto, named_at, data })),
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

/// RFC 6946: a fragment that is the whole packet goes on. Others would have to wait for the rest, unless they cannot be
/// part of any packet. RFC 8200 4.5; Linux: ipv6_frag_rcv, ip6_frag_queue.
fn fragment<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    data: &[u8],
    at: usize,
    again: bool,
) -> Result<usize, D> {
    let slot = Some(owner(act, packet));
    if !again {
        act.stats.mib(Mib::Ip6ReasmReqds, slot, 1);
    }
    let payload = usize::from(packet.hdr.payload_len.get());
    let header = FragHdr::ref_from_prefix(data).ok().filter(|_| payload != 0 && !again);
    let mut bad = |code, pointer: usize| {
        error(act, packet, ReplyKind::ParamProblem(code, pointer as u32));
        Err(D::V6FragmentForm)
    };
    let Some((fragment, rest)) = header else { return bad(v6::HDR_FIELD, at) };
    let frag = fragment.frag.get();
    if frag & (FRAG_OFFSET | FRAG_MF) == 0 {
        act.rule("fragment that is the whole packet");
        act.stats.mib(Mib::Ip6ReasmOKs, slot, 1);
        return Ok(size_of::<FragHdr>());
    }
    if first_is_cut(packet) {
        return bad(v6::HDR_INCOMPLETE, 0);
    }
    let end = usize::from(frag & FRAG_OFFSET) + rest.len();
    if end > usize::from(u16::MAX) {
        return bad(v6::HDR_FIELD, at + 2);
    }
    if frag & FRAG_MF != 0 && !end.is_multiple_of(8) {
        return bad(v6::HDR_FIELD, 4);
    }
    Err(D::V6HostFragment)
}

/// Whether a first fragment ends before the header of its protocol does. Linux: ipv6frag_thdr_truncated.
fn first_is_cut(packet: &Packet<'_, '_>) -> bool {
    let bytes = packet.local.bytes;
    match ip6::skip_ext(bytes, Ip6Hdr::LEN, packet.hdr.next_header) {
        Some((at, kind, frag)) if frag.is_none_or(|f| f & FRAG_OFFSET == 0) => {
            let header = match kind {
                proto::TCP => size_of::<TcpHdr>(),
                proto::UDP => size_of::<UdpHdr>(),
                proto::ICMPV6 => IcmpHdr::LEN,
                _ => 1,
            };
            at + header > bytes.len()
        }
        _ => false,
    }
}

/// Options for the destination: none is known here but padding. RFC 8200 4.2, RFC 8504 5.3; Linux: ip6_parse_tlv.
fn options<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    header: &[u8],
    start: usize,
) -> Result<(), D> {
    let budget = act.env.state.sysctl.ip6.max_dst_opts_number;
    let (mut at, mut padding, mut count) = (2, 0, 0);
    while let Some(&kind) = header.get(at) {
        let len = match kind {
            opt::PAD1 => 1,
            _ => header.get(at + 1).map(|&l| usize::from(l) + 2).ok_or(D::V6OptionShort)?,
        };
        let data = header.get(at..at + len).ok_or(D::V6OptionShort)?.get(2..).unwrap_or_default();
        if matches!(kind, opt::PAD1 | opt::PADN) {
            padding += len;
            must(padding <= PADDING_MAX, D::V6PaddingRun)?;
            must(data.iter().all(|&b| b == 0), D::V6PaddingData)?;
        } else {
            (padding, count) = (0, count + 1);
            must(count <= budget.abs(), D::V6OptionCount)?;
            must(budget >= 0, D::V6OptionRefused)?;
            unknown(act, packet, kind, start + at)?;
        }
        at += len;
    }
    Ok(())
}

fn must(ok: bool, reason: D) -> Result<(), D> {
    if ok { Ok(()) } else { Err(reason) }
}

fn unknown<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    kind: u8,
    pointer: usize,
) -> Result<(), D> {
    let group = packet.hdr.dst().is_multicast();
    match kind & opt::ACTION_MASK {
        opt::ACTION_SKIP => {
            act.rule("destination option skipped: unknown");
            Ok(())
        }
        opt::ACTION_DROP => Err(D::V6OptionDiscard),
        opt::ACTION_SEND_UNICAST if group => Err(D::V6OptionDiscard),
        _ => {
            error(act, packet, ReplyKind::ParamProblem(v6::UNK_OPTION, pointer as u32));
            Err(D::V6OptionUnknown)
        }
    }
}

/// RFC 8200 4.4, RFC 5095 3; Linux: ipv6_rthdr_rcv.
fn routing<O: Observer>(
    act: &mut Act<'_, '_, O>,
    packet: &Packet<'_, '_>,
    data: &[u8],
    at: usize,
) -> Result<Step, D> {
    let header = extension(data).ok_or(D::V6RoutingShort)?;
    let (routing, _) = RoutingHdr::ref_from_prefix(header).map_err(|_| D::V6RoutingShort)?;
    if packet.hdr.dst().is_multicast() || packet.local.meta.pkt_type != PktType::Host {
        return Err(D::V6RoutingAddress);
    }
    match routing.kind {
        TYPE_SRH => segments::segment_routing(act, packet, header, (routing, at)),
        TYPE_RPL => segments::rpl(act, packet, header, (routing, at)),
        _ if routing.segments_left == 0 => {
            act.rule("routing header passed: no segments left");
            Ok(Step::Behind(header.len()))
        }
        _ => {
            // Byte 2 of the header is the type.
            error(act, packet, ReplyKind::ParamProblem(v6::HDR_FIELD, at as u32 + 2));
            Err(D::V6RoutingType)
        }
    }
}
