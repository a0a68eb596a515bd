//! Redirects: a better first hop for a host on the link that the packet came from. RFC 4861 8.2;
//! Linux: ip6_forward, ndisc_send_redirect.

use super::super::act::{Act, Quote};
use super::super::l3::limit::{jiffies, second};
use super::super::observe::{Observer, Rule};
use super::icmp;
use super::own::{self, Made};
use super::route::Kind;
use crate::iface::Iface;
use crate::wire::icmp::v6;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::ndisc::Redirect;
use crate::wire::proto;
use std::net::{IpAddr, Ipv6Addr};
use zerocopy::{FromBytes, IntoBytes};

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
const SENT: Rule = Rule::new("redirect", "4861 8.2", "ndisc_send_redirect");

/// Sends a redirect towards `target` if the rows of ndisc_send_redirect allow, in its order.
pub fn redirect<O: Observer>(act: &mut Act<'_, '_, O>, quote: &Quote<'_, '_>, target: Ipv6Addr) {
    match prepare(act, quote, target) {
        Ok((src, dst, out)) => send(act, quote, target, (src, dst), out),
        Err(why) => act.unsent(why, format_args!("towards {target}")),
    }
}

fn prepare<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    quote: &Quote<'_, '_>,
    target: Ipv6Addr,
) -> Result<(Ipv6Addr, Ipv6Addr, &'a Iface), Rule> {
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
    let on_link = back.kind == Kind::Unicast && back.member.is_some_and(|m| m.via.is_none());
    let out = back.oif(env).filter(|_| on_link).ok_or(FAR_SOURCE)?;
    if !act.limits.peer(IpAddr::V6(hdr.src()), second(), now) {
        return Err(SOURCE_LIMIT);
    }
    Ok((src, hdr.src(), out))
}

fn send<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    quote: &Quote<'_, '_>,
    target: Ipv6Addr,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    out: &'a Iface,
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
    let len = Ip6Hdr::LEN + message.byte_len();
    let Some(made) = act.make(out, len) else { return };
    let mut header = Ip6Hdr::new((len - Ip6Hdr::LEN) as u16, proto::ICMPV6, 255, src, dst);
    header.set_traffic_class(iif.conf6.ndisc_tclass as u8);
    if let Some((head, body)) = made.packet.split_at_mut_checked(Ip6Hdr::LEN) {
        head.copy_from_slice(header.as_bytes());
        let _ = message.write(src, dst, body);
    }
    let place = made.place;
    icmp::count_sent(act, out, v6::REDIRECT, len);
    act.rule(match (known.is_some(), target == offender.dst()) {
        (false, _) => "redirect without the target's link-layer address",
        (true, true) => "redirect to the destination itself",
        (true, false) => "redirect to a better gateway",
    });
    act.reply_made(SENT, format_args!("of {} to {target}, from {src} to {dst}", offender.dst()));
    act.send_made(out, IpAddr::V6(dst), None, place, out);
}
