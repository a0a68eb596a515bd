//! Redirects: a better first hop for a host on the link that the packet came from. RFC 4861 8.2;
//! Linux: ip6_forward, ndisc_send_redirect.

use super::super::act::{Act, Quote};
use super::super::decision::ReplyKind;
use super::super::l3::limit::{jiffies, second};
use super::super::observe::{Observer, Rule};
use super::own::{self, Made};
use super::pieces::{self, Way};
use super::route::{Kind, Route};
use super::{icmp, output};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::icmp::v6;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::ndisc::Redirect;
use crate::wire::proto;
use std::net::{IpAddr, Ipv6Addr};
use zerocopy::FromBytes;

const NO_HEADER: Rule = Rule::new("no redirect: there is no header to quote", "", "ndisc_send_redirect");
const DESTINATION_LIMIT: Rule =
    Rule::new("no redirect: the destination had its share", "4861 8.2", "ip6_forward");
const NO_LINK_LOCAL: Rule =
    Rule::new("no redirect: no link-local address to speak from", "4861 8.2", "ndisc_send_redirect");
const FAR_TARGET: Rule =
    Rule::new("no redirect: the better hop is not link-local", "4861 8.2", "ndisc_send_redirect");
const FAR_SOURCE: Rule =
    Rule::new("no redirect: the source is not on the link", "4861 8.2", "ndisc_send_redirect");
const SOURCE_LIMIT: Rule =
    Rule::new("no redirect: the source had its share", "4861 8.2", "ndisc_send_redirect");
const TOO_LONG: Rule = Rule::new("no redirect: too long for the way back", "8200 5", "ip6_fragment");
const SENT: Rule = Rule::new("redirect", "4861 8.2", "ndisc_send_redirect");

/// A redirect with all that it quotes fits the smallest MTU.
const ROOM: usize = ip6::MIN_MTU as usize - Ip6Hdr::LEN;

/// Sends a redirect towards `target` if the rows of ndisc_send_redirect allow, in its order.
pub fn redirect<O: Observer>(act: &mut Act<'_, '_, O>, quote: &Quote<'_, '_>, target: Ipv6Addr) {
    match prepare(act, quote, target) {
        Ok((src, back, out)) => send(act, quote, target, src, (&back, out)),
        Err(why) => act.unsent(why, format_args!("towards {target}")),
    }
}

fn prepare<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    quote: &Quote<'_, '_>,
    target: Ipv6Addr,
) -> Result<(Ipv6Addr, Route<'a>, &'a Iface), Rule> {
    let (hdr, _) = Ip6Hdr::ref_from_prefix(quote.bytes).map_err(|_| NO_HEADER)?;
    let (now, env) = (jiffies(act.env.now), act.env);
    if !act.limits.peer(IpAddr::V6(hdr.dst()), second(), now) {
        return Err(DESTINATION_LIMIT);
    }
    // The oldest of several, which is the last in the list. Linux: ipv6_get_lladdr.
    let mut own = quote.iif.addrs6.iter().rev().filter(|a| ip6::is_link_local(a.addr) && !a.tentative);
    let src = own.next().ok_or(NO_LINK_LOCAL)?.addr;
    if target != hdr.dst() && !ip6::is_link_local(target) {
        return Err(FAR_TARGET);
    }
    let back = own::output(env, Made::icmp(v6::REDIRECT, 0), Some(src), hdr.src(), quote.iif.index, &[]);
    // On any link: the kernel does not ask whether it is the one that the packet came from.
    let leads = matches!(back.kind, Kind::Unicast | Kind::Local) || back.is_over_lo();
    let told = back.exception.and_then(|e| e.gateway);
    let near = told.map_or(back.member.is_some_and(|m| m.via.is_none()), |gateway| gateway == hdr.src());
    let on_link = leads && near;
    let out = back.device(env).filter(|_| on_link).ok_or(FAR_SOURCE)?;
    if !act.limits.peer(IpAddr::V6(hdr.src()), second(), now) {
        return Err(SOURCE_LIMIT);
    }
    Ok((src, back, out))
}

fn send<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    quote: &Quote<'_, '_>,
    target: Ipv6Addr,
    src: Ipv6Addr,
    (back, out): (&Route<'a>, &'a Iface),
) {
    let (env, iif) = (act.env, quote.iif);
    let Ok((offender, _)) = Ip6Hdr::ref_from_prefix(quote.bytes) else { return };
    let known =
        env.view.neighbour(iif.index, IpAddr::V6(target)).map(|n| n.neighbour).filter(|n| n.state.is_valid());
    let message = Redirect {
        target,
        destination: offender.dst(),
        target_mac: known.map(|n| n.lladdr),
        packet: quote.bytes,
    };
    let (dst, mut room) = (offender.src(), [0; ROOM]);
    let Some(body) = message.write(src, dst, &mut room).and_then(|len| room.get(..len)) else { return };
    let mut header = Ip6Hdr::new(body.len() as u16, proto::ICMPV6, 255, src, dst);
    header.set_traffic_class(iif.conf6.ndisc_tclass as u8);
    let way = Way { route: back, oif: out, slot: back.oif(env).unwrap_or(out).slot };
    let len = Ip6Hdr::LEN + body.len();
    if !way.fits(len) && !back.is_over_lo() {
        // It may not be cut, and who is told is its sender. Linux: ip6_fragment (fail_toobig).
        act.unsent(TOO_LONG, format_args!("{len} bytes to {dst}"));
        act.stats.mib(Mib::Ip6OutRequests, Some(out.slot), 1);
        act.stats.mib(Mib::Ip6FragFails, Some(way.slot), 1);
        let mtu = output::route_mtu(back, out.conf6.mtu);
        return pieces::tell(act, out, &header, body, ReplyKind::TooBig(mtu));
    }
    if !pieces::send(act, way, &header, body, out) {
        return;
    }
    icmp::count_made(act, out, v6::REDIRECT);
    act.rule(match (known.is_some(), target == offender.dst()) {
        (false, _) => "redirect without the target's link-layer address",
        (true, true) => "redirect to the destination itself",
        (true, false) => "redirect to a better gateway",
    });
    act.reply_made(SENT, format_args!("of {} to {target}, from {src} to {dst}", offender.dst()));
}
