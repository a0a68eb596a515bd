//! The hop-by-hop options of a packet in transit. Linux: ipv6_parse_hopopts, ip6_parse_tlv.
//!
//! Only a hop-by-hop header directly behind the fixed header is read; other extension headers are not ours.

use super::super::ctx::Ctx;
use super::super::decision::ReplyKind;
use super::super::observe::Observer;
use super::Packet;
use crate::drop::DropReason as D;
use crate::wire::icmp::v6;
use crate::wire::ip6::{ExtHdr, Ip6Hdr, opt};
use zerocopy::FromBytes;

/// Bytes of padding that may stand in a row (RFC 4942 2.1.9.5).
const PADDING_MAX: usize = 7;

/// Walks the options, in the kernel's order of checks (RFC 8200 4.3).
pub fn hop_by_hop<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &mut Packet<'_>) -> Result<(), D> {
    let rest = packet.bytes.get(Ip6Hdr::LEN..).unwrap_or_default();
    let (ext, _) = cx.some(D::V6HopoptsShort, ExtHdr::ref_from_prefix(rest).ok())?;
    let len = ext.byte_len();
    let header = cx.some(D::V6HopoptsShort, rest.get(..len))?;
    cx.check(D::V6HopoptsLong, len as i64 <= cx.env.state.sysctl.ip6.max_hbh_length)?;
    let budget = cx.env.state.sysctl.ip6.max_hbh_opts_number;
    let mut walk = Walk { padding: 0, options: 0, budget };
    let mut at = 2;
    while let Some(&kind) = header.get(at) {
        let left = header.get(at..).unwrap_or_default();
        at += walk.option(cx, packet, kind, Ip6Hdr::LEN + at, left)?;
    }
    cx.rule("hop-by-hop options read");
    Ok(())
}

struct Walk {
    padding: usize,
    options: i64,
    budget: i64,
}

impl Walk {
    /// One option at `offset` of the packet; returns its length.
    fn option<O: Observer>(
        &mut self,
        cx: &mut Ctx<'_, '_, O>,
        packet: &mut Packet<'_>,
        kind: u8,
        offset: usize,
        left: &[u8],
    ) -> Result<usize, D> {
        if kind == opt::PAD1 {
            self.padding += 1;
            cx.rule("option passed: Pad1");
            return cx.check(D::V6PaddingRun, self.padding <= PADDING_MAX).map(|()| 1);
        }
        let len = left.get(1).map(|&l| usize::from(l) + 2);
        let data = cx.some(D::V6OptionShort, len.and_then(|l| left.get(2..l)))?;
        if kind == opt::PADN {
            self.padding += data.len() + 2;
            cx.check(D::V6PaddingRun, self.padding <= PADDING_MAX)?;
            cx.check(D::V6PaddingData, data.iter().all(|&b| b == 0))?;
            cx.rule("option passed: PadN");
            return Ok(data.len() + 2);
        }
        self.options += 1;
        cx.check(D::V6OptionCount, self.options <= self.budget.abs())?;
        self.padding = 0;
        self.known(cx, packet, kind, offset, data)?;
        Ok(data.len() + 2)
    }

    fn known<O: Observer>(
        &self,
        cx: &mut Ctx<'_, '_, O>,
        packet: &mut Packet<'_>,
        kind: u8,
        offset: usize,
        data: &[u8],
    ) -> Result<(), D> {
        match kind {
            // RFC 2711 2.1. Linux: ipv6_hop_ra; of several the last counts.
            opt::ROUTER_ALERT => {
                let value = data.first_chunk::<2>().filter(|_| data.len() == 2);
                if packet.alert.is_some() {
                    cx.rule("option taken: router alert, in the place of an earlier one");
                }
                packet.alert = Some(u16::from_be_bytes(*cx.some(D::V6RouterAlert, value)?));
                cx.rule("option taken: router alert");
                Ok(())
            }
            // RFC 9486 3. Linux: ipv6_hop_ioam; the alignment is checked even where IOAM is off.
            opt::IOAM => {
                cx.check(D::V6Ioam, offset.is_multiple_of(4))?;
                cx.check(D::V6Ioam, cx.iif.conf6.ioam6_enabled == 0 || trace_is_whole(data))?;
                let on = cx.iif.conf6.ioam6_enabled != 0;
                cx.rule(if on { "option passed: IOAM of nobody here" } else { "option passed: IOAM is off" });
                Ok(())
            }
            opt::JUMBO => jumbo(cx, packet, offset, data),
            // RFC 5570 5.1.1. Linux: ipv6_hop_calipso; no domain of interpretation is known here.
            opt::CALIPSO => cx.check(D::V6Calipso, false),
            _ => self.unknown(cx, packet, kind, offset),
        }
    }

    /// RFC 8200 4.2. Linux: ip6_tlvopt_unknown.
    fn unknown<O: Observer>(
        &self,
        cx: &mut Ctx<'_, '_, O>,
        packet: &Packet<'_>,
        kind: u8,
        offset: usize,
    ) -> Result<(), D> {
        cx.check(D::V6OptionRefused, self.budget >= 0)?;
        let action = kind & opt::ACTION_MASK;
        let multicast = packet.hdr.dst().is_multicast();
        cx.rule(match action {
            opt::ACTION_SKIP => "unknown option: 00, skip",
            opt::ACTION_DROP => "unknown option: 01, drop",
            opt::ACTION_SEND => "unknown option: 10, tell",
            _ if multicast => "unknown option: 11, to a group",
            _ => "unknown option: 11, tell",
        });
        let silent = action == opt::ACTION_DROP || (action == opt::ACTION_SEND_UNICAST && multicast);
        cx.check(D::V6OptionDiscard, !silent)?;
        if action != opt::ACTION_SKIP {
            let pointer = offset as u32;
            cx.reply(ReplyKind::ParamProblem(v6::UNK_OPTION, pointer), packet.hdr.hop_limit);
        }
        cx.check(D::V6OptionUnknown, action == opt::ACTION_SKIP)?;
        Ok(())
    }
}

/// RFC 9197 4.4.1: a trace has the room that it says, and its node length is that of its fields. Other kinds of option,
/// and traces of namespaces that nobody set up here, are passed on. Linux: ipv6_hop_ioam, ioam6_trace_compute_nodelen.
fn trace_is_whole(data: &[u8]) -> bool {
    const PREALLOCATED: u8 = 0;
    const SHORT_FIELDS: u32 = 0xff1f_fc00;
    const WIDE_FIELDS: u32 = 0x00e0_0000;
    match data {
        [_, PREALLOCATED, _, _, lengths, room, a, b, c, d, nodes @ ..] => {
            let fields = u32::from_be_bytes([*a, *b, *c, *d]);
            let words = (fields & SHORT_FIELDS).count_ones() + 2 * (fields & WIDE_FIELDS).count_ones();
            nodes.len() >= usize::from(room & 0x7f) * 4 && u32::from(lengths >> 3) == words
        }
        [_, kind, ..] => *kind != PREALLOCATED,
        _ => false,
    }
}

/// RFC 2675. Linux: ipv6_hop_jumbo.
fn jumbo<O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    packet: &mut Packet<'_>,
    offset: usize,
    data: &[u8],
) -> Result<(), D> {
    let value = data.first_chunk::<4>().filter(|_| data.len() == 4 && offset & 3 == 2);
    let len = u32::from_be_bytes(*cx.some(D::V6JumboForm, value)?);
    let hops = packet.hdr.hop_limit;
    if len <= u32::from(u16::MAX) {
        cx.reply(ReplyKind::ParamProblem(v6::HDR_FIELD, offset as u32 + 2), hops);
    }
    cx.check(D::V6JumboSmall, len > u32::from(u16::MAX))?;
    if packet.hdr.payload_len.get() != 0 {
        cx.reply(ReplyKind::ParamProblem(v6::HDR_FIELD, offset as u32), hops);
    }
    cx.check(D::V6JumboPayload, packet.hdr.payload_len.get() == 0)?;
    let end = Ip6Hdr::LEN + len as usize;
    packet.bytes = cx.some(D::V6JumboTruncated, packet.bytes.get(..end))?;
    cx.rule("option taken: jumbo payload");
    cx.len = end;
    Ok(())
}
