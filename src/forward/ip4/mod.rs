//! The IPv4 path in the kernel's order: `rcv` -> `route` (with source validation) -> `options` -> `forward` -> `output`
//! (with `fragment`), or local delivery. The same file names as in `ip6`, each function after a kernel function.

pub mod addr;
pub mod echo;
pub mod forward;
pub mod fragment;
pub mod icmp;
pub mod martian;
mod named;
pub mod options;
pub mod output;
mod rcv;
pub mod route;
#[cfg(test)]
mod tests;

pub use rcv::ecn_counter;

use super::ctx::{Ctx, Env};
use super::decision::{Decision, ReplyKind, Target, Verdict};
use super::observe::Observer;
use crate::drop::DropReason as D;
use crate::frame::{Meta, PktType};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::icmp::v4;
use crate::wire::ip4::Ip4Hdr;
use options::Options;
use route::{Kind, Route};

/// A received packet whose header was found good.
#[derive(Clone, Copy)]
pub struct Packet<'p> {
    /// The IPv4 packet, cut to its total length.
    pub bytes: &'p [u8],
    /// Its header without options.
    pub hdr: &'p Ip4Hdr,
    /// What travels beside the bytes.
    pub meta: Meta,
}

/// Decides for one IPv4 packet, given from its IP header on. Linux: ip_rcv.
pub fn decide<'a, O: Observer>(
    env: Env<'a>,
    iif: &'a Iface,
    bytes: &[u8],
    meta: Meta,
    observer: &mut O,
) -> Decision<'a> {
    let mut cx = Ctx::new(env, iif, bytes.len(), observer);
    let verdict = path(&mut cx, bytes, meta);
    cx.decide(verdict)
}

/// Linux: ip_rcv_core, ip_rcv_finish. Options are read after the route is known.
fn path<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, bytes: &[u8], meta: Meta) -> Result<Verdict<'a>, D> {
    let packet = rcv::receive(cx, bytes, meta)?;
    let mut route = route::input(cx, &packet)?;
    cx.target = target(&route);
    let options = options::receive(cx, &packet, &mut route)?;
    cx.target = target(&route);
    let dst = options.as_ref().and_then(Options::hop).unwrap_or(packet.hdr.dst());
    named::route(cx, &packet, &route, dst);
    if let Some(options) = &options {
        named::options(cx, &packet, options);
    }
    count_type(cx, &packet, &route);
    let l2_group = matches!(meta.pkt_type, PktType::Broadcast | PktType::Multicast);
    let unicast = matches!(route.kind, Kind::Unicast | Kind::Local | Kind::Error(_));
    let conf =
        (cx.env.state.sysctl.all4.drop_unicast_in_l2_multicast, cx.iif.conf4.drop_unicast_in_l2_multicast);
    let refused = unicast && l2_group && crate::sysctl::combine::or(conf.0, conf.1);
    cx.check(D::V4UnicastInL2Multicast, !refused)?;
    match route.kind {
        Kind::Unicast | Kind::BroadcastForward => forward::forward(cx, &packet, &route, options),
        Kind::Local | Kind::Broadcast | Kind::Multicast => Ok(Verdict::Local),
        Kind::Error(errno) => error(cx, &packet, errno),
    }
}

fn target(route: &Route<'_>) -> Target {
    match route.kind {
        Kind::Local => Target::Us,
        Kind::Broadcast | Kind::Multicast => Target::Group,
        Kind::Unicast | Kind::BroadcastForward | Kind::Error(_) => Target::Other,
    }
}

/// The packet cannot be routed: the error for its sender. RFC 1812 4.3.3.1 and 5.2.7.1; Linux: ip_error.
fn error<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    errno: route::Errno,
) -> Result<Verdict<'a>, D> {
    use route::Errno::{Blackhole, HostUnreachable, NetUnreachable, Prohibited};
    cx.check(D::V4ForwardingOff, cx.iif.conf4.forwarding != 0)?;
    let (reason, code) = match errno {
        NetUnreachable => (D::V4NoRoute, Some(v4::NET_UNREACH)),
        HostUnreachable => (D::V4Unreachable, Some(v4::HOST_UNREACH)),
        Prohibited => (D::V4Prohibit, Some(v4::PKT_FILTERED)),
        Blackhole => (D::V4Blackhole, None),
    };
    if let Some(code) = code {
        cx.reply(ReplyKind::Unreachable(code), packet.hdr.ttl);
    }
    Err(reason)
}

/// Counters of multicast and broadcast destinations. Linux: ip_rcv_finish_core.
fn count_type<O: Observer>(cx: &mut Ctx<'_, '_, O>, packet: &Packet<'_>, route: &Route<'_>) {
    let len = packet.bytes.len();
    match route.kind {
        Kind::Multicast => {
            cx.count_in(Mib::IpExtInMcastPkts, 1);
            cx.count_in(Mib::IpExtInMcastOctets, len);
        }
        Kind::Broadcast | Kind::BroadcastForward => {
            cx.count_in(Mib::IpExtInBcastPkts, 1);
            cx.count_in(Mib::IpExtInBcastOctets, len);
        }
        Kind::Unicast | Kind::Local | Kind::Error(_) => {}
    }
}
