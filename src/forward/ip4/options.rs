//! IPv4 options: read and written on the way in, finished on the way out.
//! RFC 791 3.1, RFC 1812 5.2.4; Linux: __ip_options_compile, ip_options_rcv_srr, ip_forward_options.
//!
//! Works on a copy of the header, so that the decision stays pure; `act` writes it back.

use super::super::ctx::{Ctx, Env, Nanos};
use super::super::decision::ReplyKind;
use super::super::observe::{Observer, Rule};
use super::echo::Echo;
use super::route::{self, Kind, Route};
use super::{Packet, addr};
use crate::drop::DropReason as D;
use crate::frame::PktType;
use crate::iface::Iface;
use crate::sysctl::combine;
use crate::wire::ip4::{Ip4Hdr, opt};
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// The copy of the header with what is still to be filled in once the way out is known.
#[derive(Clone, Debug)]
pub struct Options {
    /// The header with its options; the checksum is still that of the received one.
    pub header: ArrayVec<u8, 60>,
    /// Something was written.
    pub changed: bool,
    /// Where the record of the route stands, once it was found good.
    pub(super) record_route: Option<usize>,
    /// The same of the timestamps.
    pub(super) timestamp: Option<usize>,
    /// The same of a CIPSO label, good or not.
    pub(super) cipso: Option<usize>,
    /// The record had room for our address.
    pub(super) needs_route_address: bool,
    /// The timestamps had room for our address.
    pub(super) needs_time_address: bool,
    /// The timestamps had room for the time.
    pub(super) needs_time: bool,
    source_route: Option<SourceRoute>,
}

#[derive(Clone, Copy, Debug)]
struct SourceRoute {
    at: usize,
    strict: bool,
    /// The next hop that the option names, if it is our turn.
    hit: Option<Ipv4Addr>,
}

/// What a parameter problem points at, in bytes from the start of the header, and the rule that is broken.
struct Problem(usize, Rule);

const LENGTH: Rule = Rule::new("option at fault: its length", "791 3.1", "__ip_options_compile");
const SHORT: Rule = Rule::new("option at fault: too short for its kind", "791 3.1", "__ip_options_compile");
const POINTER: Rule =
    Rule::new("option at fault: points into its own header", "791 3.1", "__ip_options_compile");
const PLACE: Rule = Rule::new("option at fault: no whole place is left", "791 3.1", "__ip_options_compile");
const TWICE: Rule = Rule::new("option at fault: a second one of its kind", "791 3.1", "__ip_options_compile");
const OVERFLOW: Rule =
    Rule::new("option at fault: its overflow count is full", "791 3.1", "__ip_options_compile");
const LABEL: Rule = Rule::new("option at fault: a label of an unknown domain", "", "cipso_v4_validate");

impl Options {
    /// Those of a header, not read yet.
    fn unread(header: &[u8]) -> Options {
        Options {
            header: header.iter().copied().take(60).collect(),
            changed: false,
            record_route: None,
            timestamp: None,
            cipso: None,
            needs_route_address: false,
            needs_time_address: false,
            needs_time: false,
            source_route: None,
        }
    }

    /// Where the source route stands.
    pub(super) fn source_route_at(&self) -> Option<usize> {
        self.source_route.map(|s| s.at)
    }

    /// The option that stands at `at`.
    pub(super) fn option(&self, at: usize) -> &[u8] {
        self.header.get(at..at + self.byte(at + 1)).unwrap_or_default()
    }

    /// A strict source route may not go through a gateway.
    pub fn strict(&self) -> bool {
        self.source_route.is_some_and(|s| s.strict)
    }

    /// Where a source route leads next.
    pub fn hop(&self) -> Option<Ipv4Addr> {
        self.source_route.and_then(|s| s.hit)
    }

    /// A source-routed packet is never told of a better first hop.
    pub fn source_routed(&self) -> bool {
        self.source_route.is_some()
    }

    pub(super) fn byte(&self, at: usize) -> usize {
        self.header.get(at).map_or(0, |&b| usize::from(b))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.changed = true;
        }
    }

    /// The address that stands at `at`.
    pub fn address(&self, at: usize) -> Option<Ipv4Addr> {
        self.header.get(at..)?.first_chunk::<4>().map(|a| Ipv4Addr::from(*a))
    }

    /// The finished header for the way out, TTL lowered and checksum made anew. Linux: ip_forward_options.
    ///
    /// `ours` is our address on the way out towards a destination.
    pub fn finish(mut self, ours: impl Fn(Ipv4Addr) -> Ipv4Addr) -> ArrayVec<u8, 60> {
        let dst = self.address(16).unwrap_or(Ipv4Addr::UNSPECIFIED);
        if let (Some(at), true) = (self.record_route, self.needs_route_address) {
            self.put((at + self.byte(at + 2)).saturating_sub(5), &ours(dst).octets());
        }
        if let Some(SourceRoute { at, hit: Some(hop), .. }) = self.source_route {
            let (mut pointer, len) = (self.byte(at + 2), self.byte(at + 1));
            while pointer + 3 <= len && self.address(at + pointer - 1) != Some(hop) {
                pointer += 4;
            }
            if pointer + 3 <= len {
                self.put(16, &hop.octets());
                self.put(at + pointer - 1, &ours(hop).octets());
                self.put(at + 2, &[(pointer + 4) as u8]);
            }
            if let (Some(ts), true) = (self.timestamp, self.needs_time_address) {
                self.put(
                    (ts + self.byte(ts + 2)).saturating_sub(9),
                    &ours(self.address(16).unwrap_or(dst)).octets(),
                );
            }
        }
        if let Some(ttl) = self.header.get_mut(8) {
            *ttl = ttl.wrapping_sub(1);
        }
        if let Ok((h, rest)) = Ip4Hdr::mut_from_prefix(&mut self.header) {
            h.set_checksum(rest);
        }
        self.header
    }
}

/// Reads the options of a received packet, if it has any. Linux: ip_rcv_options.
pub fn receive<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &mut Route<'a>,
) -> Result<Option<Options>, D> {
    let header = packet.bytes.get(..packet.hdr.ihl()).unwrap_or_default();
    if header.len() <= Ip4Hdr::LEN {
        return Ok(None);
    }
    let mut options = Options::unread(header);
    let outcome = compile(cx.env, cx.iif, packet.hdr, route.kind == Kind::Local, &mut options);
    cx.echo = Echo::of(cx.env, &options);
    if let Err(Problem(at, rule)) = outcome {
        cx.step(rule, format_args!("at byte {at}"));
        cx.header = Some(options.header);
        cx.reply(ReplyKind::ParamProblem(0, at as u32), packet.hdr.ttl);
        return cx.check(D::V4Option, false).map(|()| None);
    }
    cx.check(D::V4Option, true)?;
    cx.header = options.changed.then(|| options.header.clone());
    if options.source_route.is_some() {
        let conf = (cx.env.state.sysctl.all4.accept_source_route, cx.iif.conf4.accept_source_route);
        cx.check(D::V4SourceRouteOff, combine::and(conf.0, conf.1))?;
        source_route(cx, packet, route, &mut options)?;
    }
    cx.header = options.changed.then(|| options.header.clone());
    Ok(Some(options))
}

/// Whether a packet's source route leads on. Linux: ip_options_rcv_srr.
pub fn leads_on(packet: &[u8]) -> bool {
    let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(packet) else { return false };
    let options = packet.get(Ip4Hdr::LEN..hdr.ihl()).unwrap_or_default();
    find_source_route(options).is_some_and(|(len, pointer)| pointer <= len)
}

/// Length and pointer of a source route among options.
pub(super) fn find_source_route(mut options: &[u8]) -> Option<(u8, u8)> {
    loop {
        options = match *options {
            [opt::NOP, ref rest @ ..] => rest,
            [opt::LSRR | opt::SSRR, len, pointer, ..] => return Some((len, pointer)),
            [kind, len, ..] if kind != opt::END && len >= 2 => options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// Reads and writes the options of a packet again that waited for its next hop in vain, as the kernel does before it
/// sends the error; `None` if they are malformed. Linux: ipv4_send_dest_unreach.
pub fn again(env: Env<'_>, dev: &Iface, packet: &[u8]) -> Option<Options> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(packet).ok()?;
    let mut options = Options::unread(packet.get(..hdr.ihl())?);
    compile(env, dev, hdr, false, &mut options).ok()?;
    Some(options)
}

/// Those of a packet that is for this host, as its way in left them: for what answers it. `alone`: it is for no group.
///
/// # Errors
/// Malformed ones, with the place of the fault: only what this host has said to itself may have such, for the forwarder
/// saw all others.
pub fn delivered(
    env: Env<'_>,
    dev: &Iface,
    packet: &[u8],
    alone: bool,
) -> Result<Option<Options>, Box<(Options, usize)>> {
    let header = Ip4Hdr::ref_from_prefix(packet).ok().filter(|(hdr, _)| hdr.ihl() > Ip4Hdr::LEN);
    let Some((hdr, _)) = header else { return Ok(None) };
    let mut options = Options::unread(packet.get(..hdr.ihl()).unwrap_or_default());
    if let Err(Problem(at, _)) = compile(env, dev, hdr, alone, &mut options) {
        return Err(Box::new((options, at)));
    }
    if let Some(SourceRoute { at, .. }) = options.source_route {
        // What is left of it are addresses of ours.
        let (pointer, len) = (options.byte(at + 2), options.byte(at + 1));
        let last = (pointer..).step_by(4).take_while(|place| place + 3 <= len).last();
        if let Some(hop) = last.and_then(|place| options.address(at + place - 1)) {
            options.put(16, &hop.octets());
        }
    }
    Ok(Some(options))
}

/// Linux: __ip_options_compile, row by row; the error is what a parameter problem points at. `local`: the packet is
/// for this host, which then speaks from the address that it was sent to.
fn compile(env: Env<'_>, dev: &Iface, hdr: &Ip4Hdr, local: bool, o: &mut Options) -> Result<(), Problem> {
    let spec_dst = || addr::spec_dst(env, dev, hdr.src(), hdr.tos).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let ours = || if local { hdr.dst() } else { spec_dst() };
    let mut at = Ip4Hdr::LEN;
    while let Some(&kind) = o.header.get(at) {
        match kind {
            opt::END => {
                for i in at + 1..o.header.len() {
                    if o.byte(i) != 0 {
                        o.put(i, &[0]);
                    }
                }
                return Ok(());
            }
            opt::NOP => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let len = o.byte(at + 1);
        if at + 1 >= o.header.len() || len < 2 || at + len > o.header.len() {
            return Err(Problem(at, LENGTH));
        }
        match kind {
            opt::LSRR | opt::SSRR => compile_source_route(o, at, len, kind == opt::SSRR)?,
            opt::RR => record_route(o, at, len, ours)?,
            opt::TS => timestamp(o, at, len, env, ours)?,
            opt::RA if len < 4 => return Err(Problem(at + 1, SHORT)),
            opt::CIPSO => {
                // No domain of interpretation is configured here. Linux: cipso_v4_validate.
                o.cipso = Some(at);
                return Err(if len < 8 { Problem(at + 1, SHORT) } else { Problem(at + 2, LABEL) });
            }
            _ => {}
        }
        at += len;
    }
    Ok(())
}

fn compile_source_route(o: &mut Options, at: usize, len: usize, strict: bool) -> Result<(), Problem> {
    if len < 3 {
        return Err(Problem(at + 1, SHORT));
    }
    if o.byte(at + 2) < 4 {
        return Err(Problem(at + 2, POINTER));
    }
    if o.source_route.is_some() {
        return Err(Problem(at, TWICE));
    }
    o.source_route = Some(SourceRoute { at, strict, hit: None });
    Ok(())
}

fn record_route(o: &mut Options, at: usize, len: usize, ours: impl Fn() -> Ipv4Addr) -> Result<(), Problem> {
    if o.record_route.is_some() {
        return Err(Problem(at, TWICE));
    }
    if len < 3 {
        return Err(Problem(at + 1, SHORT));
    }
    let pointer = o.byte(at + 2);
    if pointer < 4 {
        return Err(Problem(at + 2, POINTER));
    }
    if pointer <= len && pointer + 3 > len {
        return Err(Problem(at + 2, PLACE));
    }
    if pointer <= len {
        o.put(at + pointer - 1, &ours().octets());
        o.put(at + 2, &[(pointer + 4) as u8]);
        o.needs_route_address = true;
    }
    o.record_route = Some(at);
    Ok(())
}

/// Milliseconds since midnight UTC (RFC 791 3.1). Linux: inet_current_timestamp.
pub(super) fn milliseconds(wall: Nanos) -> [u8; 4] {
    ((wall / 1_000_000 % 86_400_000) as u32).to_be_bytes()
}

fn timestamp(
    o: &mut Options,
    at: usize,
    len: usize,
    env: Env<'_>,
    ours: impl Fn() -> Ipv4Addr,
) -> Result<(), Problem> {
    if o.timestamp.is_some() {
        return Err(Problem(at, TWICE));
    }
    if len < 4 {
        return Err(Problem(at + 1, SHORT));
    }
    let (pointer, flags) = (o.byte(at + 2), o.byte(at + 3));
    if pointer < 5 {
        return Err(Problem(at + 2, POINTER));
    }
    let time = milliseconds(env.wall);
    if pointer > len {
        // Full: the overflow count, except where the hops are prespecified.
        match (flags & 15, flags >> 4) {
            (3, _) => {}
            (_, 15) => return Err(Problem(at + 3, OVERFLOW)),
            (kind, overflow) => o.put(at + 3, &[(kind | (overflow + 1) << 4) as u8]),
        }
        o.timestamp = Some(at);
        return Ok(());
    }
    let needs = if matches!(flags & 15, 1 | 3) { 7 } else { 3 };
    if pointer + needs > len {
        return Err(Problem(at + 2, PLACE));
    }
    o.timestamp = Some(at);
    let slot = at + pointer - 1;
    match flags & 15 {
        0 => {
            o.put(slot, &time);
            o.put(at + 2, &[(pointer + 4) as u8]);
            o.needs_time = true;
        }
        1 => {
            o.put(slot, &ours().octets());
            o.put(slot + 4, &time);
            o.put(at + 2, &[(pointer + 8) as u8]);
            (o.needs_time_address, o.needs_time) = (true, true);
        }
        3 if o.address(slot).is_some_and(|a| addr::is_special(env, a)) => {
            o.put(slot + 4, &time);
            o.put(at + 2, &[(pointer + 8) as u8]);
            o.needs_time = true;
        }
        _ => {}
    }
    Ok(())
}

/// Whose turn it is in a source route. Linux: ip_options_rcv_srr.
fn source_route<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &mut Route<'a>,
    o: &mut Options,
) -> Result<(), D> {
    let Some(mut srr) = o.source_route else { return Ok(()) };
    cx.check(D::V4SourceRouteNotHost, packet.meta.pkt_type == PktType::Host)?;
    if route.kind == Kind::Unicast {
        cx.rule_if(!srr.strict, "source route: of other routers, sent on as it is");
        if srr.strict {
            cx.reply(ReplyKind::ParamProblem(0, 16), packet.hdr.ttl);
        }
        return cx.check(D::V4SourceRouteStrict, !srr.strict);
    }
    cx.check(D::V4SourceRouteHop, route.kind == Kind::Local)?;
    let (mut pointer, len) = (o.byte(srr.at + 2), o.byte(srr.at + 1));
    let mut hdr = *packet.hdr;
    while pointer <= len {
        if pointer + 3 > len {
            cx.rule("source route: no whole place is left");
            cx.header = Some(o.header.clone());
            cx.reply(ReplyKind::ParamProblem(0, srr.at as u32 + 2), packet.hdr.ttl);
            return cx.check(D::V4SourceRouteHop, false);
        }
        let hop = cx.some(D::V4SourceRouteHop, o.address(srr.at + pointer - 1))?;
        let next =
            route::towards(cx, &Packet { hdr: &hdr, ..*packet }, hop).map_err(|_| D::V4SourceRouteHop)?;
        cx.check(D::V4SourceRouteHop, matches!(next.kind, Kind::Unicast | Kind::Local))?;
        if next.kind != Kind::Local {
            cx.rule("source route: on to the hop that it names");
            srr.hit = Some(hop);
            o.source_route = Some(srr);
            o.changed = true;
            *route = next;
            return Ok(());
        }
        cx.rule("source route: the hop is ours, on to the next");
        // From here on the packet is for this hop, also to the hash that chooses the way to the next one.
        o.put(16, &hop.octets());
        hdr.dst = hop.octets();
        pointer += 4;
    }
    cx.rule("source route: at its end");
    Ok(())
}
