//! The way out: options finished, the counters of the link, the next hop. Linux: ip_forward_finish to neigh_output.

use super::super::ctx::{Ctx, neighbour};
use super::super::decision::{Edit, Verdict};
use super::super::l3::named;
use super::super::observe::{Observer, Rule};
use super::options::Options;
use super::route::{self, Kind, Route};
use super::{Packet, addr};
use crate::drop::DropReason as D;
use crate::stats::Mib;
use std::net::Ipv4Addr;

/// A forwarded packet leaves, in pieces if `fragment` gives an MTU that it exceeds. Linux: ip_finish_output.
pub fn output<'a, O: Observer>(
    cx: &mut Ctx<'a, '_, O>,
    packet: &Packet<'_>,
    route: &Route<'a>,
    options: Option<Options>,
    fragment: Option<u32>,
) -> Result<Verdict<'a>, D> {
    let oif = cx.some(D::NoPort, cx.oif)?;
    let header = options.filter(|o| o.changed).map(|o| {
        let ours = |dst| addr::on_the_way_out(cx.env, cx.iif, packet.hdr, dst, route);
        o.finish(|dst| ours(dst).unwrap_or(Ipv4Addr::UNSPECIFIED))
    });
    cx.rule(if header.is_some() { "checksum: summed anew" } else { "checksum: adjusted" });
    // A finished header has its TTL lowered already: the kernel sums it anew, not incrementally.
    let edit = Edit { len: packet.bytes.len(), decrement: header.is_none(), header };
    let dst = match &edit.header {
        Some(h) => h.get(16..).and_then(|d| d.first_chunk::<4>()).map_or(packet.hdr.dst(), |&d| d.into()),
        None => packet.hdr.dst(),
    };
    let broadcast = route.kind == Kind::BroadcastForward;
    // Pieces are counted one by one.
    if broadcast && fragment.is_none() {
        cx.count_out(Mib::IpExtOutBcastPkts, 1);
        cx.count_out(Mib::IpExtOutBcastOctets, packet.bytes.len());
    }
    let next = route.next_hop(dst);
    cx.step(
        Rule::new("next hop", "1812 5.2.4.2", "ip_finish_output2"),
        format_args!("{next} on {}", oif.name),
    );
    let way = neighbour(cx.env, oif, next, route::for_all(cx.env, route, dst));
    named::neighbour(cx, &way);
    if fragment.is_none() {
        cx.count_out(Mib::IpOutTransmits, 1);
        cx.count_out(Mib::IpExtOutOctets, packet.bytes.len());
    }
    Ok(match (way, fragment) {
        (Ok(egress), None) => Verdict::Forward(egress, edit),
        (Ok(egress), Some(mtu)) => Verdict::Fragment(egress, edit, mtu),
        (Err(wait), None) => Verdict::Hold(wait, edit),
        (Err(wait), Some(mtu)) => Verdict::HoldFragments(wait, edit, mtu),
    })
}
